/* The plain loop: ids in chunks through the model, in order. */
#ifndef TERN_DECODE_AUTOREGRESSIVE_H
#define TERN_DECODE_AUTOREGRESSIVE_H

#include "model/exec.h"

#include <stdatomic.h>

typedef struct tern_eval_opts {
    bool all_logits;     /* every row's logits; else those of the last n_out rows */
    int n_out;           /* at least 1; these rows go through the model together, at the end */
    tern_logits_fn sink; /* row counts from the first id of the call */
    void *sink_ctx;
    void (*progress)(void *ctx, size_t done, size_t total); /* after each chunk; may be NULL */
    void *progress_ctx;
    const _Atomic bool *cancel; /* looked at before each chunk; may be NULL */
} tern_eval_opts;

/* Append ids[0..n_tok) to seq. rows is scratch of e->max_tok rows. On failure seq is what it was.
 * Codes: TERN_E_USAGE (id outside the vocabulary, n_tok 0), TERN_E_LIMIT, TERN_E_NOMEM,
 * TERN_E_CANCELLED. */
TERN_CHECK tern_code tern_eval(tern_exec *e, tern_seq *seq, const int32_t *ids, size_t n_tok,
                               tern_row *rows, const tern_eval_opts *opts, tern_err *err);

#endif
