/* BitNet b1.58: pre-norm blocks with a norm before attn_output (attn_sub_norm) and before ffn_down
 * (ffn_sub_norm), no biases, head tied to the embedding (Ma et al. 2024, arXiv 2402.17764; the
 * technical report of b1.58 2B4T, arXiv 2504.12285, for squared ReLU). */
#include "model/arch/arch.h"

extern const tern_arch tern_arch_bitnet, tern_arch_bitnet_25, tern_arch_bitnet_b158;

static const tern_tensor_spec tensors[] = {
    {TERN_W_EMBED, "token_embd.weight", TERN_D_VOCAB, TERN_D_MODEL, false},
    {TERN_W_OUTPUT_NORM, "output_norm.weight", TERN_D_MODEL, TERN_D_NONE, false},
    {TERN_W_ROPE_FREQS, "rope_freqs.weight", TERN_D_ROT_HALF, TERN_D_NONE, true},
    {TERN_W_ATTN_NORM, "blk.%d.attn_norm.weight", TERN_D_MODEL, TERN_D_NONE, false},
    {TERN_W_Q, "blk.%d.attn_q.weight", TERN_D_Q, TERN_D_MODEL, false},
    {TERN_W_K, "blk.%d.attn_k.weight", TERN_D_KV, TERN_D_MODEL, false},
    {TERN_W_V, "blk.%d.attn_v.weight", TERN_D_KV, TERN_D_MODEL, false},
    {TERN_W_ATTN_SUB_NORM, "blk.%d.attn_sub_norm.weight", TERN_D_Q, TERN_D_NONE, false},
    {TERN_W_O, "blk.%d.attn_output.weight", TERN_D_MODEL, TERN_D_Q, false},
    {TERN_W_FFN_NORM, "blk.%d.ffn_norm.weight", TERN_D_MODEL, TERN_D_NONE, false},
    {TERN_W_GATE, "blk.%d.ffn_gate.weight", TERN_D_FF, TERN_D_MODEL, false},
    {TERN_W_UP, "blk.%d.ffn_up.weight", TERN_D_FF, TERN_D_MODEL, false},
    {TERN_W_FFN_SUB_NORM, "blk.%d.ffn_sub_norm.weight", TERN_D_FF, TERN_D_NONE, false},
    {TERN_W_DOWN, "blk.%d.ffn_down.weight", TERN_D_MODEL, TERN_D_FF, false},
    {TERN_W_COUNT, NULL, TERN_D_NONE, TERN_D_NONE, false},
};

/* The vocabulary of Llama 3, which the 2B4T models use and the older SiLU models do not. */
#define VOCAB_LLAMA3 128256

/* Mainline converters write 2B4T, a squared-ReLU model, as plain "bitnet". */
static void adjust_bitnet(tern_hparams *h, bool act_in_file)
{
    if (!act_in_file && h->n_vocab == VOCAB_LLAMA3 && h->d_model == 2560)
        h->act = TERN_ACT_RELU2;
}

/* Recent converters write the older SiLU models under this name too. */
static void adjust_b158(tern_hparams *h, bool act_in_file)
{
    if (!act_in_file && h->n_vocab != VOCAB_LLAMA3)
        h->act = TERN_ACT_SILU;
}

const tern_arch tern_arch_bitnet = {
    .name = "bitnet",
    .neox = true,
    .token_act8 = true,
    .act = TERN_ACT_SILU,
    .tied_always = true,
    .adjust = adjust_bitnet,
    .tensors = tensors,
};

const tern_arch tern_arch_bitnet_25 = {
    .name = "bitnet-25",
    .neox = true,
    .token_act8 = true,
    .act = TERN_ACT_RELU2,
    .tied_always = true,
    .tensors = tensors,
};

const tern_arch tern_arch_bitnet_b158 = {
    .name = "bitnet-b1.58",
    .neox = true,
    .token_act8 = true,
    .act = TERN_ACT_RELU2,
    .tied_always = true,
    .adjust = adjust_b158,
    .tensors = tensors,
};
