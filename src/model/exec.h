/* What it takes to run steps: threads, kernels and the buffers of one step. One step at a time; the
 * engine locks. Buffers are sized once for max_tok rows, so a step allocates nothing. */
#ifndef TERN_MODEL_EXEC_H
#define TERN_MODEL_EXEC_H

#include "base/pool.h"
#include "model/head_cost.h"
#include "model/model.h"
#include "model/span.h"
#include "state/seq.h"

/* What is computed of a row at the end. */
typedef enum tern_want {
    TERN_WANT_NOTHING,
    TERN_WANT_HIDDEN, /* the normed hidden row that the head would read */
    TERN_WANT_CHOICE, /* what a choice needs: the screened head where there is one, else logits */
    TERN_WANT_LOGITS
} tern_want;

/* One row of a batch: a token at a position of a sequence. Rows of one sequence stand together, in
 * rising positions, and continue what the sequence has. */
typedef struct tern_row {
    tern_seq *seq;
    int32_t id;
    int pos;
    tern_want wants;
} tern_row;

/* What one feed-forward's zeros were, over the rows that passed since the counters were cleared. */
typedef struct tern_ffn_count {
    uint64_t n_row;      /* rows of batches */
    uint64_t gate_zero;  /* gate outputs not above 0, where the activation is a squared ReLU */
    uint64_t input_zero; /* zeros of down's int8 input */
} tern_ffn_count;

/* Rows of a step up to which what no row needs is left out; the union of more leaves little out. */
#define TERN_SKIP_MAX_TOK 4

typedef struct tern_exec {
    const tern_weights *w; /* borrowed */
    tern_pool *pool;       /* borrowed */
    tern_kernels k;
    int max_tok;
    int max_logit_rows; /* head rows computed at a time */
    bool low_memory;    /* a head that is read where it is mapped does not stay in memory */

    /* All owned, in one block; strides in elements, rows padded to 64 with zeros. */
    float *x, *h; /* [max_tok][d_model]: residual stream; normed input of a matrix */
    float *mid;   /* [max_tok][max(d_ff, d_q, d_model)]: normed input of o and down */
    float *q, *kv_k, *kv_v, *att; /* [max_tok][d_q or d_kv] */
    float *gate, *up;             /* [max_tok][d_ff] */
    float *out;                   /* [max_tok][d_model]: what a block adds */
    float *parts;                 /* of attention, see mixer/attend.h */
    const float *pending;         /* [max_tok][x_stride], to be added to x; NULL: nothing */
    float *cs;                    /* [max_tok][n_rot]: cos, sin */
    float *cs_local;    /* the same of windowed blocks whose base is another one; else NULL */
    int *see;           /* [max_tok]: each row sees positions below; NULL: those up to its own */
    float *logits;      /* [max_logit_rows][n_vocab]: logits or coarse products */
    float *head_max;    /* [max_logit_rows][2][blocks of the head], see head.h */
    tern_act12 act12;   /* input of the head's planes, max_logit_rows rows */
    bool head_mapped;   /* pages of the head may be in memory, for it was read whole */
    uint8_t *head_rows; /* [n_lane][head_rows_stride]: copies of rows of the head */
    size_t head_rows_stride;
    /* Choices in a row that had to read the whole head after all, or nearly as much, make the next ones
     * do so at once, from 1 to 32 of them. */
    int n_unscreened, unscreened_left;
    tern_head_cost head_cost; /* for several rows */
    tern_act8 a8t, a8b;       /* widest input, max_tok rows */
    size_t x_stride, q_stride, kv_stride, ff_stride, mid_stride, vocab_stride;
    /* Feed-forwards with zeros (ffn/sparse.c). */
    bool count_zeros;
    tern_watch_fn watch; /* NULL: nobody looks at inputs */
    void *watch_ctx;
    float up_limit, down_limit; /* shares of rows and columns from which all are read (tune.h) */
    float own_up_limit, own_down_limit; /* the same in batches */
    tern_ffn_count *count;              /* [n_layer]; kept while count_zeros */
    uint64_t n_step, n_row;             /* so far */
    uint64_t read_bytes; /* weight bytes that the steps so far have read, each once per step */
    tern_spans spans;
    int32_t *list; /* [n_lane][list_stride] */
    size_t list_stride;
    int32_t *n_listed; /* [n_lane], one cache line apart */
    /* Columns of down that each row needs by itself; NULL unless there are squared ReLUs. */
    int32_t *own_n, *own_list;
    int8_t *own_q;
    size_t own_stride;
    int own_parts;
    uint8_t *own_rest; /* [n_layer]: batches that do not look whether gates are closed */
    int32_t *part;     /* [n_lane][TERN_SKIP_MAX_TOK][part_stride]: sums of columns */
    size_t part_stride;
    uint8_t *scratch; /* [n_lane][scratch_stride] */
    size_t scratch_stride;
    void *block;
    size_t block_bytes;
} tern_exec;

/* Codes: TERN_E_NOMEM. w and pool outlive e. */
TERN_CHECK tern_code tern_exec_init(tern_exec *e, const tern_weights *w, tern_pool *pool,
                                    unsigned cpu, int max_tok, tern_err *err);
/* What its buffers take, as far as so many rows use them; SIZE_MAX: more than there is. */
size_t tern_exec_bytes(const tern_weights *w, tern_pool *pool, int max_tok);
void tern_exec_done(tern_exec *e);
/* What the step does from here on is counted as span; returns what it counted as before. */
static inline tern_span tern_exec_span(tern_exec *e, tern_span span)
{
    return tern_span_begin(&e->spans, span, e->read_bytes);
}
static inline void *tern_exec_scratch(const tern_exec *e, int lane)
{
    return e->scratch + (size_t)lane * e->scratch_stride;
}

/* Of one wanted row, valid during the call that brings it. */
typedef struct tern_output {
    const float *hidden;       /* [d_model] and zeros up to x_stride */
    const float *logits;       /* [n_vocab]; NULL: not computed */
    const tern_screen *screen; /* NULL: not screened */
} tern_output;

/* Called for each wanted row, in order. */
typedef void (*tern_output_fn)(void *ctx, int row, const tern_output *out);

/* One step over rows[0..n_row), n_row <= max_tok; positions are reserved in their sequences. Writes
 * KV, calls sink for wanted rows. Does not commit. Cannot fail, allocates nothing. */
void tern_forward(tern_exec *e, const tern_row *rows, int n_row, tern_output_fn sink, void *ctx);

/* Its parts, for those who go through a text block by block: the rows' embeddings (and rotations, which
 * blocks need) to the residual stream e->x; what block i adds to it. */
void tern_forward_embed(tern_exec *e, const tern_row *rows, int n_row);
void tern_forward_block(tern_exec *e, int i, const tern_row *rows, int n_row);

/* ---- steps the mixers and ffns share ------------------------------------------------------- */

/* y[t] = norm(x[t]) * w for every row (w NULL: copy), then the int8 forms the readers ask for. */
typedef struct tern_prepare {
    const float *x;
    size_t x_stride;
    const float *norm; /* NULL: x is used as it is and y is not written */
    float *y;
    size_t y_stride;
    int cols, n_tok;
    unsigned forms; /* tern_act_form bits of the matrices that will read it */
    /* y is read, too. It is if there are no forms or one is TERN_FORM_F32; else y and the input's x
     * are not there, which spares a batch a pass through memory. */
    bool keep;
} tern_prepare;
void tern_exec_prepare(tern_exec *e, const tern_prepare *p, tern_input *in);

/* norm(residual stream), in e->h where it is kept, in the int8 forms the readers ask for. */
void tern_exec_input(tern_exec *e, const float *norm, unsigned forms, int n_row, tern_input *in);

/* Several products of one input in one parallel region; with glu set, jobs[0] and jobs[1] are gate
 * and up, and jobs[0].y becomes act(gate) * up. */
typedef struct tern_product {
    const tern_linear *l;
    const tern_input *in;
    float *y;
    size_t y_stride;
} tern_product;
void tern_exec_run(tern_exec *e, tern_span span, const tern_product *jobs, int n_job,
                   tern_glu_fn glu);
/* What the region after the next reads, matrices one below the other: lanes that wait fetch the
 * beginning of their parts. */
void tern_exec_ahead(tern_exec *e, const tern_linear *const *l, int n);
/* The same of the first product of block i, or of the head after the last block. */
void tern_exec_ahead_block(tern_exec *e, int i);
/* All logits of in's rows, to e->logits. */
void tern_exec_head(tern_exec *e, const tern_input *in);
/* Products of the normed residual stream: h = norm(x), which every job reads; a job with a norm of its
 * own (norm_in[i] not NULL) reads that norm of h. Fills jobs[i].in. glu as above. */
void tern_exec_project(tern_exec *e, tern_span span, const float *norm, tern_product *jobs,
                       const float *const *norm_in, int n_job, tern_glu_fn glu, int n_row);

/* x[t] += norm(y[t]) for all rows; norm NULL: y as it is, and the sum waits for the norm that reads x next
 * (tern_exec_prepare) or for tern_exec_settle, until when y stays. */
void tern_exec_residual(tern_exec *e, const float *y, const float *norm, int n_tok);
void tern_exec_settle(tern_exec *e, int n_tok);

void tern_attention_forward(tern_exec *e, const tern_block *b, const tern_row *rows, int n_row);
void tern_dense_forward(tern_exec *e, const tern_block *b, int n_row);
/* With count_zeros: of e->gate before the activation, and of down's int8 input. */
void tern_count_gate_zeros(tern_exec *e, const tern_block *b, int n_row);
void tern_count_input_zeros(tern_exec *e, const tern_block *b, const tern_input *in);
/* gate = act(gate x) * up x with rows of up left out; x is e->h prepared as in. False: nothing
 * was done, the caller computes all. */
bool tern_sparse_gate_up(tern_exec *e, const tern_block *b, const tern_input *in);
/* out = down in, with columns left out; false as above. */
bool tern_sparse_down(tern_exec *e, const tern_block *b, const tern_input *in);

/* ---- self check --------------------------------------------------------------------------- */

/* Compare every kernel this model uses with the reference, matrices on their first rows and
 * pseudo-random inputs. A mismatch is written to report (one line, names the kernel) and the op
 * falls back to the reference; returns the number of mismatches. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_exec_selftest(tern_exec *e, char *report, size_t report_cap,
                                        int *n_mismatch, tern_err *err);

#endif
