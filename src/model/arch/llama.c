/* Llama and its descendants: pre-norm blocks, SiLU-gated ffn, and what single families add as
 * optional tensors: biases on q, k, v (Qwen2), norms per head on q and k (Qwen3), and a norm before
 * each projection (`*_norm_in`, the BitNet embedding models). A tensor that is absent is a step that
 * is skipped. Mistral is a llama whose layers may all be windowed (arXiv 2310.06825). */
#include "model/arch/arch.h"

extern const tern_arch tern_arch_llama, tern_arch_qwen2, tern_arch_qwen3;

static const tern_tensor_spec tensors[] = {
    {TERN_W_EMBED, "token_embd.weight", TERN_D_VOCAB, TERN_D_MODEL, false},
    {TERN_W_HEAD, "output.weight", TERN_D_VOCAB, TERN_D_MODEL, true},
    {TERN_W_OUTPUT_NORM, "output_norm.weight", TERN_D_MODEL, TERN_D_NONE, false},
    {TERN_W_ROPE_FREQS, "rope_freqs.weight", TERN_D_ROT_HALF, TERN_D_NONE, true},
    {TERN_W_ROPE_SHORT, "rope_factors_short.weight", TERN_D_ROT_HALF, TERN_D_NONE, true},
    {TERN_W_ROPE_LONG, "rope_factors_long.weight", TERN_D_ROT_HALF, TERN_D_NONE, true},
    {TERN_W_ATTN_NORM, "blk.%d.attn_norm.weight", TERN_D_MODEL, TERN_D_NONE, false},
    {TERN_W_Q_NORM_IN, "blk.%d.attn_q_norm_in.weight", TERN_D_MODEL, TERN_D_NONE, true},
    {TERN_W_K_NORM_IN, "blk.%d.attn_k_norm_in.weight", TERN_D_MODEL, TERN_D_NONE, true},
    {TERN_W_V_NORM_IN, "blk.%d.attn_v_norm_in.weight", TERN_D_MODEL, TERN_D_NONE, true},
    {TERN_W_Q, "blk.%d.attn_q.weight", TERN_D_Q, TERN_D_MODEL, false},
    {TERN_W_K, "blk.%d.attn_k.weight", TERN_D_KV, TERN_D_MODEL, false},
    {TERN_W_V, "blk.%d.attn_v.weight", TERN_D_KV, TERN_D_MODEL, false},
    {TERN_W_Q_BIAS, "blk.%d.attn_q.bias", TERN_D_Q, TERN_D_NONE, true},
    {TERN_W_K_BIAS, "blk.%d.attn_k.bias", TERN_D_KV, TERN_D_NONE, true},
    {TERN_W_V_BIAS, "blk.%d.attn_v.bias", TERN_D_KV, TERN_D_NONE, true},
    {TERN_W_Q_HEAD_NORM, "blk.%d.attn_q_norm.weight", TERN_D_HEAD, TERN_D_NONE, true},
    {TERN_W_K_HEAD_NORM, "blk.%d.attn_k_norm.weight", TERN_D_HEAD, TERN_D_NONE, true},
    {TERN_W_O_NORM_IN, "blk.%d.attn_output_norm_in.weight", TERN_D_Q, TERN_D_NONE, true},
    {TERN_W_O, "blk.%d.attn_output.weight", TERN_D_MODEL, TERN_D_Q, false},
    {TERN_W_O_BIAS, "blk.%d.attn_output.bias", TERN_D_MODEL, TERN_D_NONE, true},
    {TERN_W_FFN_NORM, "blk.%d.ffn_norm.weight", TERN_D_MODEL, TERN_D_NONE, false},
    {TERN_W_GATE_NORM_IN, "blk.%d.ffn_gate_norm_in.weight", TERN_D_MODEL, TERN_D_NONE, true},
    {TERN_W_UP_NORM_IN, "blk.%d.ffn_up_norm_in.weight", TERN_D_MODEL, TERN_D_NONE, true},
    {TERN_W_GATE, "blk.%d.ffn_gate.weight", TERN_D_FF, TERN_D_MODEL, false},
    {TERN_W_UP, "blk.%d.ffn_up.weight", TERN_D_FF, TERN_D_MODEL, false},
    {TERN_W_DOWN_NORM_IN, "blk.%d.ffn_down_norm_in.weight", TERN_D_FF, TERN_D_NONE, true},
    {TERN_W_DOWN, "blk.%d.ffn_down.weight", TERN_D_MODEL, TERN_D_FF, false},
    {TERN_W_COUNT, NULL, TERN_D_NONE, TERN_D_NONE, false},
};

/* Converters permute q and k rows of this family for adjacent pairs. */
const tern_arch tern_arch_llama = {
    .name = "llama",
    .neox = false,
    .act = TERN_ACT_SILU,
    .tensors = tensors,
};

const tern_arch tern_arch_qwen2 = {
    .name = "qwen2",
    .neox = true,
    .act = TERN_ACT_SILU,
    .tensors = tensors,
};

const tern_arch tern_arch_qwen3 = {
    .name = "qwen3",
    .neox = true,
    .act = TERN_ACT_SILU,
    .tensors = tensors,
};
