/* A bound model: hyperparameters and blocks whose fields point at prepared weights. Immutable once
 * tern_weights_bind succeeds; shared by all sequences. */
#ifndef TERN_MODEL_MODEL_H
#define TERN_MODEL_MODEL_H

#include "model/head.h"
#include "model/hparams.h"
#include "model/linear.h"
#include "model/packed.h"

/* Softmax attention with grouped KV heads (mixer/attention.c). Norm and bias vectors are NULL when
 * the family has none. */
typedef struct tern_attention {
    tern_linear q, k, v, o;
    const float *q_norm_in, *k_norm_in, *v_norm_in, *o_norm_in; /* before a projection */
    const float *q_head_norm, *k_head_norm;                     /* per head, before RoPE */
    const float *sub_norm; /* over the concatenated heads, before o */
    int slot;              /* index of this block's KV state */
    int window;            /* most positions a row sees, itself included; 0: all */
    bool local_rope;       /* rotates by rope_local */
} tern_attention;

/* Gated feed-forward: down(norm(act(gate x) * up x)) (ffn/dense.c). */
typedef struct tern_dense {
    tern_linear gate, up, down;
    const float *gate_norm_in, *up_norm_in, *down_norm_in;
    const float *sub_norm;
    tern_act_kind act;
} tern_dense;

/* RoPE at one base and scaling. */
typedef struct tern_rope_table {
    float *inv_freq; /* owned; [n_rot / 2], scaling applied; NULL: the model has no such table */
    float mscale;    /* multiplies cos and sin */
} tern_rope_table;

/* A block is a mixer and a ffn, each behind its own norm and added to the residual stream. The
 * kinds grow with the families; forward.c switches on them once per block. */
typedef enum tern_mixer_kind { TERN_MIXER_ATTENTION } tern_mixer_kind;
typedef enum tern_ffn_kind { TERN_FFN_DENSE } tern_ffn_kind;

typedef struct tern_block {
    tern_mixer_kind mixer;
    tern_ffn_kind ffn;
    const float *mixer_norm, *ffn_norm;
    const float *mixer_post_norm, *ffn_post_norm; /* of what is added to the stream; may be NULL */
    union {
        tern_attention attention;
    } m;
    union {
        tern_dense dense;
    } f;
} tern_block;

typedef struct tern_weights {
    tern_hparams h;
    const tern_dir *dir;      /* borrowed; outlives this */
    const tern_arch *arch;    /* static */
    const tern_tensor *embed; /* [n_vocab, d_model], rows unpacked on demand */
    tern_linear head;
    tern_head screen; /* of head; empty: it is read whole. Made after binding */
    bool head_tied;
    const float *output_norm;
    tern_rope_table rope;
    tern_rope_table rope_local; /* of windowed blocks, where their base is another one */
    tern_rope_table rope_long;  /* of sequences whose context passes rope.n_ctx_orig */
    tern_block *blocks;         /* owned; [n_layer] */
    float **vectors;            /* owned; every norm and bias as f32 */
    size_t n_vector, cap_vector;
    tern_tensor *views; /* owned; matrices that are some rows of one in the file */
    size_t n_view;
    size_t read_bytes;   /* weight bytes read per decoded token, head included */
    size_t packed_bytes; /* memory taken by repacked copies */
    size_t vector_bytes; /* by norms and biases */
} tern_weights;

typedef struct tern_bind_opts {
    /* Is a matrix of a squared-ReLU feed-forward packed so that rows or columns can be left out? NULL: none is. */
    bool (*skips)(void *ctx, tern_listed listed, int rows, int cols);
    /* Does a ternary matrix of so many columns, of which rows or columns may be left out, take 1.6 bits? NULL: none
     * does. */
    bool (*base3)(void *ctx, tern_listed listed, int cols);
    tern_packed *packed; /* where packed weights are found; NULL: they are made of the file's */
    void (*progress)(void *ctx, double fraction); /* in [0, 1]; may be NULL */
    void *ctx;
} tern_bind_opts;

/* First everything the file says is checked, before memory is taken for any of it; w then has its
 * numbers. n_token: tokens of the vocabulary, each of which needs a row of the embedding. Codes:
 * TERN_E_FORMAT, TERN_E_UNSUPPORTED; the message names the key or tensor. */
TERN_CHECK tern_code tern_weights_read(tern_weights *w, const tern_dir *d, int n_token,
                                       tern_err *err);
/* Then the weights are prepared. On failure w is empty. Codes: TERN_E_FORMAT (values),
 * TERN_E_UNSUPPORTED, TERN_E_NOMEM; with o->packed also TERN_E_IO, and TERN_E_FORMAT means that file first
 * of all: it is worth trying without. */
TERN_CHECK tern_code tern_weights_bind(tern_weights *w, const tern_bind_opts *o, tern_pool *pool,
                                       tern_err *err);
/* The same without weights, in a w of its own made from one that was read: matrices have their sizes, and
 * nothing else may be used. It walks the tensors as binding does, so it is what binding will take. Codes:
 * TERN_E_UNSUPPORTED, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_weights_plan(const tern_weights *read, const tern_bind_opts *o,
                                       tern_weights *w, tern_err *err);
/* All matrices, of absent ones src is NULL. Each call gives them in the same order; out NULL: how many. */
size_t tern_weights_matrices(const tern_weights *w, const tern_linear **out);
/* Does any matrix have a ternary format? */
bool tern_weights_ternary(const tern_weights *w);
void tern_weights_done(tern_weights *w);

/* Weight bytes read per decoded token: of a screened head its plane. */
static inline size_t tern_weights_token_bytes(const tern_weights *w)
{
    return w->screen.l ? w->read_bytes - w->head.read_bytes + tern_head_plane_bytes(&w->screen)
                       : w->read_bytes;
}

/* RoPE frequencies of a model: inv_freq[i] multiplies the position. factors [n_rot/2]
 * (rope_freqs.weight and its kin) may be NULL. */
void tern_rope_frequencies(const tern_rope *r, const float *factors, tern_rope_table *out);
/* cs[2i], cs[2i+1] = cos, sin of pair i at this position. */
void tern_rope_row(const tern_rope_table *t, int n_rot, int pos, float *cs);

#endif
