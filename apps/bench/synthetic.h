/* Models of random ternary weights in the shape of published ones, so that speed can be measured where
 * the model itself is not at hand. What a speed depends on is as in trained models, and selectable
 * where trained models differ: the share of zeros of squared ReLU, and how far the best logit stands
 * above the others. The text they generate means nothing. */
#ifndef BENCH_SYNTHETIC_H
#define BENCH_SYNTHETIC_H

#include "tern.h"

typedef struct bench_shape {
    const char *name, *arch;
    int n_layer, d_model, d_ff, n_head, n_kv_head, d_head, n_vocab, n_ctx;
    float rope_base, rms_eps;
    bool relu2, tied;
    const char *of; /* whose shape it is */
} bench_shape;

/* TERN_E_USAGE, naming all shapes, when there is none of this name. */
TERN_CHECK tern_code bench_shape_find(const char *name, const bench_shape **out, tern_err *err);

typedef struct bench_synthetic {
    const bench_shape *shape;
    double zeros;   /* share of zeros of squared ReLU, 0 to 0.95; 0.5 where shape->relu2 is false */
    bool head_q6_k; /* else f16 */
    bool (*progress)(void *ctx, double fraction); /* false: stop; may be NULL */
    void *ctx;
} bench_synthetic;

/* What it takes: bytes of the file, and of memory to run it with a short context. */
typedef struct bench_need {
    uint64_t file_bytes, memory_bytes;
} bench_need;

TERN_CHECK tern_code bench_synthetic_need(const bench_synthetic *s, bench_need *out, tern_err *err);
/* TERN_E_LIMIT, saying how much is needed, when the folder of path or this machine's memory has too
 * little left. */
TERN_CHECK tern_code bench_synthetic_check(const bench_synthetic *s, const char *path,
                                           tern_err *err);
/* The same bytes each time. Codes: TERN_E_IO, TERN_E_NOMEM, TERN_E_CANCELLED, TERN_E_USAGE (a head of
 * Q6_K in rows of no whole blocks). passing: the file is deleted before long. */
TERN_CHECK tern_code bench_synthetic_write(const bench_synthetic *s, const char *path, bool passing,
                                           tern_err *err);

#endif
