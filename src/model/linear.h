/* One matrix as the engine multiplies with it: its layout, scales and shape. Callers say what goes
 * in and where the result goes; layout, kernel and number of rows are this file's business. */
#ifndef TERN_MODEL_LINEAR_H
#define TERN_MODEL_LINEAR_H

#include "base/pool.h"
#include "kernels/kernel.h"

/* Which form of its input a matrix reads. */
typedef enum tern_act_form {
    TERN_FORM_A8T = 1,
    TERN_FORM_A8B = 2,
    TERN_FORM_F32 = 4
} tern_act_form;

/* Layouts a ternary matrix may be asked to be packed in. The numbers are in files (model/packed.h). */
typedef enum tern_pack {
    TERN_PACK_T2R16,
    TERN_PACK_T3R16,
    TERN_PACK_T2R1,
    TERN_PACK_T2C1,
    TERN_PACK_T3R1,
    TERN_PACK_T3C1
} tern_pack;

/* Sums of codes and int8 inputs stay exact up to here (kernels/kernel.h). */
#define TERN_MAX_T2_COLS (1 << 18)

typedef struct tern_linear {
    const tern_tensor *src; /* borrowed from the file directory */
    tern_op op;
    tern_act_form form;
    int rows, cols, group;
    int grain;        /* rows between which lanes may be split */
    const uint8_t *w; /* packed (owned) or in the file map (borrowed) */
    size_t w_stride;
    tern_pack pack;      /* of packed weights */
    size_t packed_bytes; /* > 0: w is packed weights of this size, pages of its own unless */
    bool borrowed;       /* they are mapped from a file of such (model/packed.h) */
    float *scale;        /* owned; [n_scale]: row scales of a ternary matrix, or T2G group scales */
    size_t n_scale;
    bool tame;         /* scales per row, none above 1e10: finite inputs give finite results */
    const float *bias; /* borrowed from the model; NULL: none */
    size_t read_bytes; /* weight bytes one product reads */
} tern_linear;

/* Make src [out, in] ready: ternary formats are repacked on the pool, others stay in the file map.
 * token_act8: ternary weights take per-token int8 inputs whatever their format. pack: the layout a
 * ternary matrix should have, if it can. Codes: TERN_E_UNSUPPORTED (a class no kernel multiplies),
 * TERN_E_NOMEM. */
TERN_CHECK tern_code tern_linear_init(tern_linear *l, const tern_tensor *src, bool token_act8,
                                      tern_pack pack, tern_pool *pool, tern_err *err);
/* The same without weights: op, form and sizes. Nothing is allocated or read. */
TERN_CHECK tern_code tern_linear_plan(tern_linear *l, const tern_tensor *src, bool token_act8,
                                      tern_pack pack, tern_err *err);
void tern_linear_done(tern_linear *l);
/* Release the packed weights and scales only. */
void tern_linear_done_weights(tern_linear *l);

/* Input of a step in every form its readers need; prepared once, read by several matrices. */
typedef struct tern_input {
    const float *x; /* [n_tok][x_stride]; NULL: only int8 forms are there */
    size_t x_stride;
    tern_act8 a8t, a8b; /* views of the step's buffers */
    int n_tok;
} tern_input;

/* What of l may be left out of a product. */
tern_listed tern_linear_listed(const tern_linear *l);
/* Bytes of a row, respectively column, that may be left out; 0 where it may not. */
size_t tern_linear_row_bytes(const tern_linear *l);
size_t tern_linear_col_bytes(const tern_linear *l);

tern_mm_fn tern_linear_fn(const tern_linear *l, const tern_kernels *k);
/* The product as kernels take it; bias is not part of it. */
tern_mm tern_linear_mm(const tern_linear *l, const tern_input *in, float *y, size_t y_stride,
                       void *scratch);
/* y[t][row0..row1) for all tokens of in; row0 a multiple of l->grain. */
void tern_linear_rows(const tern_linear *l, const tern_kernels *k, const tern_input *in, float *y,
                      size_t y_stride, void *scratch, int row0, int row1);

#endif
