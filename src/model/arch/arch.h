/* An architecture is a table: its names in general.architecture, how it differs from the common
 * hyperparameters, and which tensors a block has. The recipe (which mixer, which ffn) follows from
 * the same table. Adding a family is a file here and a row in arch.def. */
#ifndef TERN_MODEL_ARCH_ARCH_H
#define TERN_MODEL_ARCH_ARCH_H

#include "model/hparams.h"

/* Roles of weights. Matrices first, then vectors; bind.c maps each to its field. */
typedef enum tern_role {
    TERN_W_EMBED,
    TERN_W_HEAD,
    TERN_W_Q,
    TERN_W_K,
    TERN_W_V,
    TERN_W_QKV, /* rows of q, k and v one below the other */
    TERN_W_O,
    TERN_W_GATE,
    TERN_W_UP,
    TERN_W_GATE_UP, /* rows of gate, then of up */
    TERN_W_DOWN,
    TERN_W_OUTPUT_NORM,
    TERN_W_ROPE_FREQS,
    TERN_W_ROPE_SHORT,
    TERN_W_ROPE_LONG,
    TERN_W_ATTN_NORM,
    TERN_W_ATTN_SUB_NORM,
    TERN_W_ATTN_POST_NORM,
    TERN_W_FFN_NORM,
    TERN_W_FFN_SUB_NORM,
    TERN_W_FFN_POST_NORM,
    TERN_W_Q_BIAS,
    TERN_W_K_BIAS,
    TERN_W_V_BIAS,
    TERN_W_O_BIAS,
    TERN_W_Q_HEAD_NORM,
    TERN_W_K_HEAD_NORM,
    TERN_W_Q_NORM_IN,
    TERN_W_K_NORM_IN,
    TERN_W_V_NORM_IN,
    TERN_W_O_NORM_IN,
    TERN_W_GATE_NORM_IN,
    TERN_W_UP_NORM_IN,
    TERN_W_DOWN_NORM_IN,
    TERN_W_COUNT
} tern_role;
#define TERN_W_IS_MATRIX(role) ((role) <= TERN_W_DOWN)
#define TERN_W_IS_BLOCK(role)                                                                      \
    ((role) != TERN_W_EMBED && (role) != TERN_W_HEAD &&                                            \
     ((role) < TERN_W_OUTPUT_NORM || (role) > TERN_W_ROPE_LONG))

/* Symbolic dimensions, resolved from the hyperparameters. */
typedef enum tern_dim {
    TERN_D_NONE,
    TERN_D_MODEL,
    TERN_D_FF,
    TERN_D_VOCAB,
    TERN_D_Q,
    TERN_D_KV,
    TERN_D_QKV,
    TERN_D_GATE_UP,
    TERN_D_HEAD,
    TERN_D_ROT_HALF
} tern_dim;

typedef struct tern_tensor_spec {
    tern_role role;
    const char *name; /* "%d" is the block */
    tern_dim out, in; /* vectors: out only */
    bool optional;
} tern_tensor_spec;

struct tern_arch {
    const char *name;
    bool neox;         /* RoPE pairing */
    bool token_act8;   /* trained as W1.58A8 */
    tern_act_kind act; /* when the file does not say */
    bool tied_always;  /* the head is the embedding even if output.weight exists */
    int window_period; /* of windowed layers, when the file does not say; see tern_hparams */
    float local_base;  /* RoPE base of windowed layers, when the file does not say; 0: the same */
    void (*adjust)(tern_hparams *h, bool act_in_file); /* NULL: nothing more to decide */
    const tern_tensor_spec *tensors;                   /* ends with a NULL name */
};

/* By general.architecture; NULL when unknown. */
const tern_arch *tern_arch_find(const char *name, size_t n);
/* "bitnet, bitnet-25, llama, ..." for messages. */
const char *tern_arch_list(void);

#endif
