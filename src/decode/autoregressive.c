#include "decode/autoregressive.h"
#include "base/error.h"

/* Rows are numbered within a chunk by forward and within the call by the sink. */
typedef struct shifted {
    const tern_eval_opts *opts;
    int first;
} shifted;

static void shifted_sink(void *ctx, int row, const float *logits)
{
    const shifted *s = ctx;
    s->opts->sink(s->opts->sink_ctx, s->first + row, logits);
}

static tern_code check_ids(const tern_exec *e, const int32_t *ids, size_t n_tok, tern_err *err)
{
    for (size_t i = 0; i < n_tok; i++)
        if (ids[i] < 0 || ids[i] >= e->w->h.n_vocab)
            return tern_fail(err, TERN_E_USAGE, "token %zu is id %d, expected 0..%d", i, ids[i],
                             e->w->h.n_vocab - 1);
    return TERN_OK;
}

/* Rows of the next chunk. The last n_out ids are not torn apart: after their chunk nothing can fail. */
static int chunk_rows(const tern_exec *e, size_t left, int n_out)
{
    size_t n = (size_t)e->max_tok;
    if (left <= n)
        return (int)left;
    return (int)(left - n < (size_t)n_out ? left - (size_t)n_out : n);
}

tern_code tern_eval(tern_exec *e, tern_seq *seq, const int32_t *ids, size_t n_tok, tern_row *rows,
                    const tern_eval_opts *opts, tern_err *err)
{
    int n_before = seq->n_tok;
    tern_code rc = TERN_OK;
    if (n_tok == 0)
        return tern_fail(err, TERN_E_USAGE, "no tokens to evaluate: the prompt is empty");
    TERN_TRY(check_ids(e, ids, n_tok, err));
    if (n_tok > (size_t)(seq->n_ctx - seq->n_tok))
        return tern_fail(err, TERN_E_LIMIT,
                         "the prompt is too long: %zu tokens, of %d in the context %d are free "
                         "(shorten it or raise -c)",
                         n_tok, seq->n_ctx, seq->n_ctx - seq->n_tok);
    for (size_t done = 0; rc == TERN_OK && done < n_tok;) {
        int n = chunk_rows(e, n_tok - done, opts->n_out);
        if (opts->cancel && atomic_load_explicit(opts->cancel, memory_order_relaxed)) {
            rc = tern_fail(err, TERN_E_CANCELLED, "cancelled after %zu of %zu tokens", done, n_tok);
            break;
        }
        rc = tern_seq_reserve(seq, n, err);
        if (rc != TERN_OK)
            break;
        for (int i = 0; i < n; i++)
            rows[i] = (tern_row){.seq = seq,
                                 .id = ids[done + (size_t)i],
                                 .pos = seq->n_tok + i,
                                 .wants_logits = opts->sink &&
                                                 (opts->all_logits ||
                                                  n_tok - done - (size_t)i <= (size_t)opts->n_out)};
        shifted s = {.opts = opts, .first = (int)done};
        tern_forward(e, rows, n, shifted_sink, &s);
        tern_seq_commit(seq, ids + done, n);
        done += (size_t)n;
        if (opts->progress)
            opts->progress(opts->progress_ctx, done, n_tok);
    }
    if (rc != TERN_OK)
        tern_seq_truncate(seq, n_before);
    return rc;
}
