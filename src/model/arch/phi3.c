/* Phi-3 and Phi-4 (technical report, arXiv 2404.14219): Llama blocks whose q, k, v and whose gate and up
 * are one matrix each in the file, part of each head rotated in some, RoPE factors per dimension for
 * short and for long contexts (LongRoPE), all layers windowed in some. */
#include "model/arch/arch.h"

extern const tern_arch tern_arch_phi3;

static const tern_tensor_spec tensors[] = {
    {TERN_W_EMBED, "token_embd.weight", TERN_D_VOCAB, TERN_D_MODEL, false},
    {TERN_W_HEAD, "output.weight", TERN_D_VOCAB, TERN_D_MODEL, true},
    {TERN_W_OUTPUT_NORM, "output_norm.weight", TERN_D_MODEL, TERN_D_NONE, false},
    {TERN_W_ROPE_SHORT, "rope_factors_short.weight", TERN_D_ROT_HALF, TERN_D_NONE, true},
    {TERN_W_ROPE_LONG, "rope_factors_long.weight", TERN_D_ROT_HALF, TERN_D_NONE, true},
    {TERN_W_ATTN_NORM, "blk.%d.attn_norm.weight", TERN_D_MODEL, TERN_D_NONE, false},
    {TERN_W_QKV, "blk.%d.attn_qkv.weight", TERN_D_QKV, TERN_D_MODEL, false},
    {TERN_W_O, "blk.%d.attn_output.weight", TERN_D_MODEL, TERN_D_Q, false},
    {TERN_W_FFN_NORM, "blk.%d.ffn_norm.weight", TERN_D_MODEL, TERN_D_NONE, false},
    {TERN_W_GATE_UP, "blk.%d.ffn_up.weight", TERN_D_GATE_UP, TERN_D_MODEL, false},
    {TERN_W_DOWN, "blk.%d.ffn_down.weight", TERN_D_MODEL, TERN_D_FF, false},
    {TERN_W_COUNT, NULL, TERN_D_NONE, TERN_D_NONE, false},
};

const tern_arch tern_arch_phi3 = {
    .name = "phi3",
    .neox = true,
    .act = TERN_ACT_SILU,
    .tensors = tensors,
};
