/* The numbers of one model, read from metadata and checked: whatever is divided by, indexed with or
 * allocated from is in range once tern_hparams_read succeeds. */
#ifndef TERN_MODEL_HPARAMS_H
#define TERN_MODEL_HPARAMS_H

#include "file/dir.h"

typedef enum tern_act_kind { TERN_ACT_RELU2, TERN_ACT_SILU, TERN_ACT_GELU } tern_act_kind;

typedef enum tern_rope_scaling {
    TERN_ROPE_NONE,
    TERN_ROPE_LINEAR,
    TERN_ROPE_YARN,
    TERN_ROPE_LLAMA3,
    TERN_ROPE_LONGROPE
} tern_rope_scaling;

typedef struct tern_rope {
    int n_rot; /* rotated dimensions of a head, even */
    float base;
    bool neox; /* pairs (i, i + n_rot/2); else (2i, 2i+1) */
    tern_rope_scaling scaling;
    float factor;               /* >= 1 stretches the context */
    int n_ctx_orig;             /* context before stretching; YaRN, llama3, longrope */
    float attn_factor;          /* multiplies cos and sin, besides what YaRN derives from factor */
    float beta_fast, beta_slow; /* YaRN */
    float low_freq, high_freq;  /* llama3 */
} tern_rope;

typedef struct tern_hparams {
    const char *arch; /* static: "bitnet-b1.58" */
    int n_layer, d_model, d_ff, n_head, n_kv_head, d_head, n_vocab, n_ctx_train;
    float rms_eps;
    float attn_scale; /* scores are multiplied by it */
    tern_act_kind act;
    bool
        token_act8; /* trained as W1.58A8: ternary weights of any format take per-token int8 inputs */
    tern_rope rope;
    float rope_local_base; /* of windowed layers, which scale nothing; 0: they are as all others */
    float embed_scale;     /* embeddings are multiplied by it */
    /* Positions that a row of a windowed layer sees, itself included; 0: no layer is windowed. */
    int window;
    int window_period;              /* every layer but the last of so many in turn is; 0: all are */
    const tern_meta *window_layers; /* borrowed from the file: which ones, instead; or NULL */
    bool bidirectional; /* a row sees all rows of its sequence, which is evaluated in one step */
    int pooling;        /* as the file says, TERN_POOLING_*; -1: it does not */
} tern_hparams;

/* Is this layer windowed? */
bool tern_hparams_windowed(const tern_hparams *h, int layer);

typedef struct tern_arch tern_arch;

/* n_vocab is the rows of the embedding, which may exceed the tokenizer's tokens. Codes: TERN_E_FORMAT,
 * TERN_E_UNSUPPORTED; the message names the key. */
TERN_CHECK tern_code tern_hparams_read(const tern_dir *d, const tern_arch *arch, tern_hparams *out,
                                       tern_err *err);

const char *tern_act_name(tern_act_kind act);
const char *tern_rope_scaling_name(tern_rope_scaling s);

#endif
