/* How far a model's predictions are from those of another one, its base: for instance of its weights before
 * they were quantised. What the base predicted is kept in a file, that of llama-perplexity
 * --kl-divergence-base (docs/EVALUATION.md has the bytes), with a checksum behind it, which llama.cpp does not read. */
#ifndef EVAL_DIVERGENCE_H
#define EVAL_DIVERGENCE_H

#include "base/os/outfile.h"

/* Of a text in chunks of n_ctx tokens, what follows each token of a chunk's second half but the last. */
typedef struct eval_base_head {
    int32_t n_ctx, n_vocab, n_chunk;
} eval_base_head;

/* Rows of a chunk. */
static inline size_t eval_base_rows(const eval_base_head *h)
{
    return (size_t)(h->n_ctx - 1 - h->n_ctx / 2);
}

/* ---- the file ------------------------------------------------------------------------------ */

typedef struct eval_base_writer {
    tern_outfile out;
    eval_base_head h;
    uint16_t *row; /* owned */
    uint64_t sum;
} eval_base_writer;

/* tokens [n_chunk * n_ctx]. Codes: TERN_E_IO, TERN_E_NOMEM. */
TERN_CHECK tern_code eval_base_create(eval_base_writer *w, const char *path,
                                      const eval_base_head *h, const int32_t *tokens,
                                      tern_err *err);
/* The next row's logits [n_vocab]; what fails is known at the end. */
void eval_base_write(eval_base_writer *w, const float *logits);
TERN_CHECK tern_code eval_base_commit(eval_base_writer *w, tern_err *err);
/* Leaves no file; fine after commit. */
void eval_base_abort(eval_base_writer *w);

typedef struct eval_base_reader {
    FILE *f;    /* owned */
    char *path; /* owned */
    eval_base_head h;
    int32_t *tokens; /* owned; [n_chunk * n_ctx] */
    uint16_t *row;   /* owned */
    uint64_t sum;
    bool has_sum;
    tern_err *err; /* borrowed: why rc is not TERN_OK */
    tern_code rc;  /* of the rows so far */
} eval_base_reader;

/* Read head and tokens. Codes: TERN_E_NOT_FOUND, TERN_E_IO, TERN_E_FORMAT, TERN_E_NOMEM. */
TERN_CHECK tern_code eval_base_open(eval_base_reader *r, const char *path, tern_err *err);
/* The next row as logarithms of probabilities [n_vocab]; false: r->rc says why there is none. */
bool eval_base_read(eval_base_reader *r, float *log_prob);
/* After the last row: is the file what was written? Codes: TERN_E_FORMAT, and those of rows. */
TERN_CHECK tern_code eval_base_check(eval_base_reader *r, tern_err *err);
void eval_base_close(eval_base_reader *r);

/* One row to and from the file's form, [eval_base_row_size(n_vocab)]. */
size_t eval_base_row_size(int32_t n_vocab);
void eval_base_pack(const float *logits, int32_t n_vocab, uint16_t *row);
void eval_base_unpack(const uint16_t *row, int32_t n_vocab, float *log_prob);

/* ---- the figures --------------------------------------------------------------------------- */

typedef struct eval_divergence {
    size_t n, cap;
    float *kl, *dp; /* owned; [cap]: of each token */
    double nll, nll2, base, base2,
        cross;       /* sums of -log p, of the base's, their squares and product */
    size_t n_same;   /* tokens where both have the same likeliest one */
    float *log_prob; /* owned; scratch [n_vocab] */
} eval_divergence;

/* Room for n_row tokens. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code eval_divergence_init(eval_divergence *d, size_t n_row, int32_t n_vocab,
                                          tern_err *err);
void eval_divergence_done(eval_divergence *d);
/* A row: the model's logits, d->log_prob as the base's, and the token that follows. */
void eval_divergence_add(eval_divergence *d, const float *logits, int32_t n_vocab, int32_t id);

/* A figure with its standard error. */
typedef struct eval_value {
    double value, error;
} eval_value;

typedef struct eval_divergence_figures {
    eval_value ppl, ppl_base, log_ratio, ratio; /* ratio: of the perplexities */
    double correlation;                         /* of -log p and the base's */
    eval_value kl;                              /* mean */
    double kl_median, kl_90, kl_95, kl_99, kl_999, kl_max;
    eval_value dp, dp_rms; /* difference of the probabilities of the text's tokens */
    double dp_min, dp_median, dp_max;
    eval_value same_top;
} eval_divergence_figures;

/* Sorts what d holds. */
void eval_divergence_sum_up(eval_divergence *d, eval_divergence_figures *out);

#endif
