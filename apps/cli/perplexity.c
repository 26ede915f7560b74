/* How well a model predicts a text. Without --stride it is counted as llama.cpp counts it, so that figures
 * can be compared: the tokens in chunks of n_ctx without overlap, the first of each replaced by BOS where
 * the model has one added, and of each chunk only the second half scored, where every token has half a
 * chunk before it. With it each token is scored once, in windows that overlap (docs/EVALUATION.md). */
#include "base/error.h"
#include "cli.h"
#include "eval/divergence.h"

#include <math.h>
#include <string.h>

typedef struct measure {
    cli *c;
    tern_session *s; /* owned */
    int32_t n_vocab, bos;
    size_t n_ctx, stride; /* stride 0: chunks */
    size_t n_chunk;       /* or windows */
    tern_ids ids;
    eval_base_writer keep; /* if keeps */
    eval_base_reader base; /* if compares */
    bool keeps, compares;
    eval_divergence d;
    const int32_t *target; /* of row 0 */
    double sum, sum2;      /* of -log p and its square */
    size_t n;
} measure;

/* ---- rows ---------------------------------------------------------------------------------- */

static void score_row(void *ctx, int row, const float *logits)
{
    measure *k = ctx;
    double x = cli_surprise(logits, k->n_vocab, k->target[row]);
    k->sum += x;
    k->sum2 += x * x;
    k->n++;
    if (k->keeps)
        eval_base_write(&k->keep, logits);
    if (k->compares && eval_base_read(&k->base, k->d.log_prob))
        eval_divergence_add(&k->d, logits, k->n_vocab, k->target[row]);
}

static double estimate(const measure *k)
{
    return exp(k->sum / (double)k->n);
}

/* One standard error, carried through exp. */
static double error_bar(const measure *k)
{
    double n = (double)k->n, mean = k->sum / n, variance = k->sum2 / n - mean * mean;
    return k->n > 1 && variance > 0 ? estimate(k) * sqrt(variance / (n - 1)) : 0.0;
}

/* tok[0..n) is a text; tokens from first + 1 on are predicted. */
static tern_code score_text(measure *k, const int32_t *tok, size_t n, size_t first, tern_err *err)
{
    tern_session_rewind(k->s, 0);
    if (first > 0)
        TERN_TRY(tern_session_eval(k->s, tok, first, err));
    k->target = tok + first + 1;
    TERN_TRY(tern_session_eval_all(k->s, tok + first, n - 1 - first, score_row, k, err));
    return k->compares ? k->base.rc : TERN_OK;
}

static tern_code score_chunk(measure *k, size_t i, tern_err *err)
{
    int32_t *tok = k->ids.v + i * k->n_ctx, saved = tok[0];
    if (k->bos >= 0)
        tok[0] = k->bos;
    tern_code rc = score_text(k, tok, k->n_ctx, k->n_ctx / 2, err);
    tok[0] = saved;
    return rc;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Window i scores what the one before it did not reach. */
static tern_code score_window(measure *k, size_t i, tern_err *err)
{
    size_t begin = i * k->stride, n = smaller(k->n_ctx, k->ids.n - begin);
    size_t first = i > 0 ? k->n_ctx - k->stride - 1 : 0;
    return score_text(k, k->ids.v + begin, n, first, err);
}

static tern_code run(measure *k, tern_err *err)
{
    const char *part = k->stride ? "windows" : "chunks";
    char more[96] = "";
    for (size_t i = 0; i < k->n_chunk; i++) {
        cli_progress(k->c, "perplexity", (double)i, (double)k->n_chunk, more);
        if (cli_interrupt_pending())
            return tern_fail(err, TERN_E_CANCELLED, "interrupted");
        TERN_TRY(k->stride ? score_window(k, i, err) : score_chunk(k, i, err));
        (void)snprintf(more, sizeof more, "%.4f after %zu of %zu %s", estimate(k), i + 1,
                       k->n_chunk, part);
    }
    cli_progress_end(k->c);
    return TERN_OK;
}

/* ---- output -------------------------------------------------------------------------------- */

static json_t *divergence_json(const eval_divergence_figures *f)
{
    return json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}, "
        "s:{s:f, s:f, s:f, s:f, s:f, s:f, s:f}, s:{s:f, s:f}}",
        "base_perplexity", f->ppl_base.value, "base_standard_error", f->ppl_base.error,
        "perplexity_ratio", f->ratio.value, "perplexity_ratio_error", f->ratio.error,
        "log_perplexity_ratio", f->log_ratio.value, "log_perplexity_ratio_error",
        f->log_ratio.error, "correlation", f->correlation, "kl", "mean", f->kl.value,
        "standard_error", f->kl.error, "median", f->kl_median, "p90", f->kl_90, "p95", f->kl_95,
        "p99", f->kl_99, "p99.9", f->kl_999, "max", f->kl_max, "probability_difference", "mean",
        f->dp.value, "standard_error", f->dp.error, "rms", f->dp_rms.value, "rms_error",
        f->dp_rms.error, "min", f->dp_min, "median", f->dp_median, "max", f->dp_max, "same_top",
        "share", f->same_top.value, "standard_error", f->same_top.error);
}

static void print_divergence(const eval_divergence_figures *f)
{
    (void)printf("\n| against the base | value | standard error |\n|---|---:|---:|\n"
                 "| perplexity of the base | %.4f | %.4f |\n"
                 "| ratio of perplexities | %.6f | %.6f |\n"
                 "| correlation of log p | %.4f | |\n"
                 "| KL divergence, mean | %.6f | %.6f |\n"
                 "| median | %.6f | |\n| 90 %% | %.6f | |\n| 95 %% | %.6f | |\n"
                 "| 99 %% | %.6f | |\n| 99.9 %% | %.6f | |\n| maximum | %.6f | |\n",
                 f->ppl_base.value, f->ppl_base.error, f->ratio.value, f->ratio.error,
                 f->correlation, f->kl.value, f->kl.error, f->kl_median, f->kl_90, f->kl_95,
                 f->kl_99, f->kl_999, f->kl_max);
    (void)printf("| difference of p, mean | %.4f %% | %.4f %% |\n"
                 "| difference of p, RMS | %.4f %% | %.4f %% |\n"
                 "| same likeliest token | %.3f %% | %.3f %% |\n",
                 100 * f->dp.value, 100 * f->dp.error, 100 * f->dp_rms.value, 100 * f->dp_rms.error,
                 100 * f->same_top.value, 100 * f->same_top.error);
}

static tern_code report(measure *k, tern_err *err)
{
    eval_divergence_figures f;
    if (k->compares)
        eval_divergence_sum_up(&k->d, &f);
    if (k->c->json) {
        json_t *o = json_pack("{s:f, s:f, s:f, s:I, s:I, s:I, s:s}", "perplexity", estimate(k),
                              "standard_error", error_bar(k), "nats_per_token",
                              k->sum / (double)k->n, k->stride ? "windows" : "chunks",
                              (json_int_t)k->n_chunk, "n_ctx", (json_int_t)k->n_ctx,
                              "scored_tokens", (json_int_t)k->n, "model", cli_model_label(k->c));
        if (k->stride)
            (void)json_object_set_new(o, "stride", json_integer((json_int_t)k->stride));
        if (k->compares)
            (void)json_object_set_new(o, "base", divergence_json(&f));
        return cli_print_json(o, err);
    }
    (void)printf("%.4f +/- %.5f (%zu %s of %zu, %zu tokens scored)\n", estimate(k), error_bar(k),
                 k->n_chunk, k->stride ? "windows" : "chunks", k->n_ctx, k->n);
    if (k->compares)
        print_divergence(&f);
    return cli_flush(err);
}

/* ---- the verb ------------------------------------------------------------------------------ */

static tern_code check_options(measure *k, tern_err *err)
{
    const cli_options *o = &k->c->opt;
    k->n_ctx = (size_t)cli_int(o, OPT_CHUNK);
    k->stride = (size_t)cli_int(o, OPT_STRIDE);
    k->keeps = cli_text(o, OPT_SAVE_LOGITS) != NULL;
    k->compares = cli_text(o, OPT_KL) != NULL;
    if (k->stride > 0 && (k->keeps || k->compares))
        return tern_fail(err, TERN_E_USAGE,
                         "--stride has no place beside --save-logits and --kl, which take chunks");
    if (k->stride >= k->n_ctx)
        return tern_fail(err, TERN_E_USAGE, "--stride %zu: expected less than the context of %zu",
                         k->stride, k->n_ctx);
    if (k->compares && (cli_text(o, OPT_FILE) || k->keeps))
        return tern_fail(err, TERN_E_USAGE,
                         "--kl excludes -f and --save-logits: its file has the text");
    return TERN_OK;
}

/* The text of a file of predictions. */
static tern_code take_base(measure *k, tern_err *err)
{
    const char *path = cli_text(&k->c->opt, OPT_KL);
    const eval_base_head *h = &k->base.h;
    TERN_TRY(eval_base_open(&k->base, path, err));
    if (h->n_vocab != k->n_vocab)
        return tern_fail(err, TERN_E_USAGE,
                         "%s: predictions of another vocabulary: %d tokens, the model has %d", path,
                         h->n_vocab, k->n_vocab);
    k->n_ctx = (size_t)h->n_ctx;
    for (size_t i = 0; i < (size_t)h->n_chunk * k->n_ctx; i++)
        TERN_TRY(tern_ids_push(&k->ids, k->base.tokens[i], err));
    return TERN_OK;
}

static tern_code cut_text(measure *k, tern_err *err)
{
    int64_t limit = cli_int(&k->c->opt, OPT_CHUNKS);
    const char *path = cli_text(&k->c->opt, OPT_FILE);
    if (k->stride > 0 && k->ids.n > 1)
        k->n_chunk = 1 + (k->ids.n > k->n_ctx ? (k->ids.n - k->n_ctx - 1) / k->stride + 1 : 0);
    else if (k->stride == 0)
        k->n_chunk = k->ids.n / k->n_ctx;
    if (k->n_chunk == 0)
        return tern_fail(err, TERN_E_USAGE,
                         "%s: too short: %zu tokens, one chunk takes %zu (a smaller -c helps)",
                         path, k->ids.n, k->stride ? 2 : k->n_ctx);
    if (limit > 0 && k->n_chunk > (size_t)limit)
        k->n_chunk = (size_t)limit;
    return TERN_OK;
}

static tern_code prepare(measure *k, tern_model *m, tern_err *err)
{
    cli *c = k->c;
    if (k->compares)
        TERN_TRY(take_base(k, err));
    else
        TERN_TRY(cli_file_ids(c, m, "perplexity", &k->ids, err));
    TERN_TRY(cut_text(k, err));
    TERN_TRY(cli_session_new(c, m, (int32_t)k->n_ctx, &k->s, err));
    eval_base_head h = {(int32_t)k->n_ctx, k->n_vocab, (int32_t)k->n_chunk};
    if (k->compares)
        TERN_TRY(eval_divergence_init(&k->d, k->n_chunk * eval_base_rows(&h), k->n_vocab, err));
    if (k->keeps)
        TERN_TRY(eval_base_create(&k->keep, cli_text(&c->opt, OPT_SAVE_LOGITS), &h, k->ids.v, err));
    return TERN_OK;
}

tern_code cli_perplexity(cli *c, tern_err *err)
{
    tern_model_info info = {.size = sizeof info};
    tern_model *m = NULL;
    measure k = {.c = c};
    tern_code rc;
    TERN_TRY(check_options(&k, err));
    TERN_TRY_GOTO(cli_model_open(c, (int32_t)cli_int(&c->opt, OPT_THREADS), &m, err));
    tern_model_info_get(m, &info);
    k.n_vocab = info.n_vocab;
    k.bos = info.add_bos ? info.bos : -1;
    TERN_TRY_GOTO(prepare(&k, m, err));
    cli_interrupt_init();
    cli_interrupt_target(k.s);
    TERN_TRY_GOTO(run(&k, err));
    /* A part of the chunks leaves the rest of the file unread. */
    if (k.compares && k.n_chunk == (size_t)k.base.h.n_chunk)
        TERN_TRY_GOTO(eval_base_check(&k.base, err));
    if (k.keeps)
        TERN_TRY_GOTO(eval_base_commit(&k.keep, err));
    TERN_TRY_GOTO(report(&k, err));
fail:
    cli_interrupt_target(NULL);
    tern_ids_done(&k.ids);
    eval_base_abort(&k.keep);
    eval_base_close(&k.base);
    eval_divergence_done(&k.d);
    tern_session_free(k.s);
    tern_model_close(m);
    return rc;
}
