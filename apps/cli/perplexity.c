/* How well a model predicts a text, counted as llama.cpp counts it, so that figures can be compared:
 * the tokens in chunks of n_ctx without overlap, the first of each replaced by BOS where the model
 * has one added, and of each chunk only the second half scored, where every token has half a chunk
 * before it. */
#include "base/error.h"
#include "base/utf8.h"
#include "cli.h"

#include <math.h>

typedef struct score {
    const int32_t *target; /* of row 0 */
    int32_t n_vocab;
    double sum, sum2; /* of -log p and its square */
    size_t n;
} score;

/* -log softmax(logits)[id] */
static double surprise(const float *logits, int32_t n_vocab, int32_t id)
{
    double max = (double)logits[0], sum = 0.0;
    for (int32_t i = 1; i < n_vocab; i++)
        max = (double)logits[i] > max ? (double)logits[i] : max;
    for (int32_t i = 0; i < n_vocab; i++)
        sum += exp((double)logits[i] - max);
    return max + log(sum) - (double)logits[id];
}

static void score_row(void *ctx, int row, const float *logits)
{
    score *k = ctx;
    double x = surprise(logits, k->n_vocab, k->target[row]);
    k->sum += x;
    k->sum2 += x * x;
    k->n++;
}

static double estimate(const score *k)
{
    return exp(k->sum / (double)k->n);
}

/* One standard error, carried through exp. */
static double error_bar(const score *k)
{
    double n = (double)k->n, mean = k->sum / n, variance = k->sum2 / n - mean * mean;
    return k->n > 1 && variance > 0 ? estimate(k) * sqrt(variance / (n - 1)) : 0.0;
}

/* tok[0..n): the second half's tokens are predicted from positions n/2 .. n-2. */
static tern_code score_chunk(tern_session *s, int32_t *tok, size_t n, int32_t bos, score *k,
                             tern_err *err)
{
    size_t first = n / 2;
    int32_t saved = tok[0];
    tern_session_rewind(s, 0);
    if (bos >= 0)
        tok[0] = bos;
    tern_code rc = tern_session_eval(s, tok, first, err);
    k->target = tok + first + 1;
    if (rc == TERN_OK)
        rc = tern_session_eval_all(s, tok + first, n - 1 - first, score_row, k, err);
    tok[0] = saved;
    return rc;
}

static tern_code run(cli *c, tern_session *s, cli_ids *ids, int32_t bos, size_t n_chunk, score *k,
                     tern_err *err)
{
    size_t n_ctx = (size_t)cli_int(&c->opt, OPT_CHUNK);
    char more[96] = "";
    for (size_t i = 0; i < n_chunk; i++) {
        cli_progress(c, "perplexity", (double)i, (double)n_chunk, more);
        if (cli_interrupt_pending())
            return tern_fail(err, TERN_E_CANCELLED, "interrupted");
        TERN_TRY(score_chunk(s, ids->v + i * n_ctx, n_ctx, bos, k, err));
        (void)snprintf(more, sizeof more, "%.4f after %zu of %zu chunks", estimate(k), i + 1,
                       n_chunk);
    }
    cli_progress_end(c);
    return TERN_OK;
}

static tern_code report(const cli *c, const score *k, size_t n_chunk, tern_err *err)
{
    if (c->json)
        return cli_print_json(json_pack("{s:f, s:f, s:f, s:I, s:I, s:I, s:s}", "perplexity",
                                        estimate(k), "standard_error", error_bar(k),
                                        "nats_per_token", k->sum / (double)k->n, "chunks",
                                        (json_int_t)n_chunk, "n_ctx",
                                        (json_int_t)cli_int(&c->opt, OPT_CHUNK), "scored_tokens",
                                        (json_int_t)k->n, "model", cli_model_label(c)),
                              err);
    (void)printf("%.4f +/- %.5f (%zu chunks of %lld, %zu tokens scored)\n", estimate(k),
                 error_bar(k), n_chunk, (long long)cli_int(&c->opt, OPT_CHUNK), k->n);
    return cli_flush(err);
}

tern_code cli_perplexity(cli *c, tern_err *err)
{
    int32_t n_ctx = (int32_t)cli_int(&c->opt, OPT_CHUNK);
    int64_t limit = cli_int(&c->opt, OPT_CHUNKS);
    tern_model_info info = {.size = sizeof info};
    tern_model *m = NULL;
    tern_session *s = NULL;
    cli_ids ids = {0};
    tern_code rc;
    TERN_TRY_GOTO(cli_model_open(c, (int32_t)cli_int(&c->opt, OPT_THREADS), &m, err));
    tern_model_info_get(m, &info);
    TERN_TRY_GOTO(cli_file_ids(c, m, "perplexity", &ids, err));
    size_t n_chunk = ids.n / (size_t)n_ctx;
    if (n_chunk == 0) {
        rc = tern_fail(err, TERN_E_USAGE,
                       "%s: too short: %zu tokens, one chunk takes %d (a smaller -c helps)",
                       cli_text(&c->opt, OPT_FILE), ids.n, n_ctx);
        goto fail;
    }
    if (limit > 0 && n_chunk > (size_t)limit)
        n_chunk = (size_t)limit;
    TERN_TRY_GOTO(cli_session_new(c, m, n_ctx, &s, err));
    cli_interrupt_init();
    score k = {.n_vocab = info.n_vocab};
    cli_interrupt_target(s);
    TERN_TRY_GOTO(run(c, s, &ids, info.add_bos ? info.bos : -1, n_chunk, &k, err));
    TERN_TRY_GOTO(report(c, &k, n_chunk, err));
fail:
    cli_interrupt_target(NULL);
    cli_ids_done(&ids);
    tern_session_free(s);
    tern_model_close(m);
    return rc;
}
