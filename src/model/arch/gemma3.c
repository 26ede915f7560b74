/* Gemma 3 (technical report, arXiv 2503.19786), text: embeddings scaled by the root of the width, norms
 * before and after mixer and ffn, norms per head on q and k, GELU-gated ffn, five windowed layers to one
 * that sees all, each kind with its own RoPE base. Norms are stored with the 1 added that the family's
 * definition has. `*_norm_in` are those of the BitNet embedding models. */
#include "model/arch/arch.h"

#include <math.h>

extern const tern_arch tern_arch_gemma3;

static const tern_tensor_spec tensors[] = {
    {TERN_W_EMBED, "token_embd.weight", TERN_D_VOCAB, TERN_D_MODEL, false},
    {TERN_W_HEAD, "output.weight", TERN_D_VOCAB, TERN_D_MODEL, true},
    {TERN_W_OUTPUT_NORM, "output_norm.weight", TERN_D_MODEL, TERN_D_NONE, false},
    {TERN_W_ATTN_NORM, "blk.%d.attn_norm.weight", TERN_D_MODEL, TERN_D_NONE, false},
    {TERN_W_Q_NORM_IN, "blk.%d.attn_q_norm_in.weight", TERN_D_MODEL, TERN_D_NONE, true},
    {TERN_W_K_NORM_IN, "blk.%d.attn_k_norm_in.weight", TERN_D_MODEL, TERN_D_NONE, true},
    {TERN_W_V_NORM_IN, "blk.%d.attn_v_norm_in.weight", TERN_D_MODEL, TERN_D_NONE, true},
    {TERN_W_Q, "blk.%d.attn_q.weight", TERN_D_Q, TERN_D_MODEL, false},
    {TERN_W_K, "blk.%d.attn_k.weight", TERN_D_KV, TERN_D_MODEL, false},
    {TERN_W_V, "blk.%d.attn_v.weight", TERN_D_KV, TERN_D_MODEL, false},
    {TERN_W_Q_HEAD_NORM, "blk.%d.attn_q_norm.weight", TERN_D_HEAD, TERN_D_NONE, false},
    {TERN_W_K_HEAD_NORM, "blk.%d.attn_k_norm.weight", TERN_D_HEAD, TERN_D_NONE, false},
    {TERN_W_O_NORM_IN, "blk.%d.attn_output_norm_in.weight", TERN_D_Q, TERN_D_NONE, true},
    {TERN_W_O, "blk.%d.attn_output.weight", TERN_D_MODEL, TERN_D_Q, false},
    {TERN_W_ATTN_POST_NORM, "blk.%d.post_attention_norm.weight", TERN_D_MODEL, TERN_D_NONE, false},
    {TERN_W_FFN_NORM, "blk.%d.ffn_norm.weight", TERN_D_MODEL, TERN_D_NONE, false},
    {TERN_W_GATE_NORM_IN, "blk.%d.ffn_gate_norm_in.weight", TERN_D_MODEL, TERN_D_NONE, true},
    {TERN_W_UP_NORM_IN, "blk.%d.ffn_up_norm_in.weight", TERN_D_MODEL, TERN_D_NONE, true},
    {TERN_W_GATE, "blk.%d.ffn_gate.weight", TERN_D_FF, TERN_D_MODEL, false},
    {TERN_W_UP, "blk.%d.ffn_up.weight", TERN_D_FF, TERN_D_MODEL, false},
    {TERN_W_DOWN_NORM_IN, "blk.%d.ffn_down_norm_in.weight", TERN_D_FF, TERN_D_NONE, true},
    {TERN_W_DOWN, "blk.%d.ffn_down.weight", TERN_D_MODEL, TERN_D_FF, false},
    {TERN_W_FFN_POST_NORM, "blk.%d.post_ffw_norm.weight", TERN_D_MODEL, TERN_D_NONE, false},
    {TERN_W_COUNT, NULL, TERN_D_NONE, TERN_D_NONE, false},
};

/* Files do not say what scores are divided by: the root of the head size, but of the 27B model, which
 * is known by its layers, that of the width per head. */
#define N_LAYER_27B 62

static void adjust(tern_hparams *h, bool act_in_file)
{
    (void)act_in_file;
    h->embed_scale = (float)sqrt((double)h->d_model);
    if (h->n_layer == N_LAYER_27B)
        h->attn_scale = 1.0f / sqrtf((float)(h->d_model / h->n_head));
}

const tern_arch tern_arch_gemma3 = {
    .name = "gemma3",
    .neox = true,
    .act = TERN_ACT_GELU,
    .window_period = 6,
    .local_base = 10000.0f,
    .adjust = adjust,
    .tensors = tensors,
};
