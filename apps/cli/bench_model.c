/* Synthetic models for `tern bench`: made, opened, and gone again unless the user keeps them. */
#include "base/error.h"
#include "base/str.h"
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool show_making(void *ctx, double fraction)
{
    cli_progress(ctx, "making a synthetic model", fraction, 1.0, "");
    return !cli_interrupt_pending();
}

/* A model without a name: the file is removed as soon as it is open, so that it cannot stay behind,
 * and opened again through the descriptor. */
static tern_code make_passing(bench_model *b, cli *c, tern_err *err)
{
    const char *tmp = getenv("TMPDIR");
    tern_str folder, path;
    tern_code rc = TERN_OK;
    tern_str_init(&folder, 4096);
    tern_str_init(&path, 4096);
    tern_str_printf(&folder, "%s/tern-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (folder.failed || !mkdtemp(folder.data)) {
        rc = tern_fail(err, TERN_E_IO, "%s: cannot make a folder: %s", tern_str_get(&folder),
                       strerror(errno));
        goto fail;
    }
    tern_str_printf(&path, "%s/model.gguf", folder.data);
    rc = bench_synthetic_check(&b->what, tern_str_get(&path), err);
    if (rc == TERN_OK)
        rc = bench_synthetic_write(&b->what, tern_str_get(&path), true, err);
    cli_progress_end(c);
    if (rc == TERN_OK) {
        b->fd = open(tern_str_get(&path), O_RDONLY | O_CLOEXEC);
        if (b->fd < 0)
            rc = tern_fail(err, TERN_E_IO, "%s: cannot open: %s", tern_str_get(&path),
                           strerror(errno));
    }
    (void)unlink(tern_str_get(&path));
    (void)rmdir(folder.data);
    (void)snprintf(b->path, sizeof b->path, "/proc/self/fd/%d", b->fd);
    c->opt.value[OPT_MODEL].text = b->path;
    c->opt.value[OPT_REPACK_CACHE].num = 0; /* nobody opens this one again */
fail:
    tern_str_done(&folder);
    tern_str_done(&path);
    return rc;
}

static tern_code make_kept(bench_model *b, cli *c, const char *path, tern_err *err)
{
    TERN_TRY(bench_synthetic_check(&b->what, path, err));
    tern_code rc = bench_synthetic_write(&b->what, path, false, err);
    cli_progress_end(c);
    c->opt.value[OPT_MODEL].text = path;
    return rc;
}

static tern_code read_options(bench_model *b, const cli *c, tern_err *err)
{
    const cli_options *o = &c->opt;
    bool relu2;
    TERN_TRY(bench_shape_find(cli_text(o, OPT_SYNTHETIC), &b->what.shape, err));
    relu2 = b->what.shape->relu2;
    if (!relu2 && cli_given(o, OPT_SYNTHETIC_ZEROS))
        return tern_fail(err, TERN_E_USAGE,
                         "--synthetic-zeros: shape %s has no squared ReLU, so no zeros",
                         b->what.shape->name);
    b->what.zeros = relu2 ? cli_real(o, OPT_SYNTHETIC_ZEROS) : 0.5;
    b->what.head_q6_k = strcmp(cli_text(o, OPT_SYNTHETIC_HEAD), "q6_k") == 0;
    return TERN_OK;
}

tern_code bench_model_init(bench_model *b, cli *c, tern_err *err)
{
    const cli_options *o = &c->opt;
    const char *out = cli_text(o, OPT_SYNTHETIC_OUT);
    *b = (bench_model){.fd = -1, .synthetic = cli_text(o, OPT_SYNTHETIC) != NULL};
    if (!b->synthetic) {
        static const cli_opt needs[] = {OPT_SYNTHETIC_OUT, OPT_SYNTHETIC_ZEROS, OPT_SYNTHETIC_HEAD};
        for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++)
            if (cli_given(o, needs[i]))
                return tern_fail(err, TERN_E_USAGE, "--synthetic-... options need --synthetic");
        return TERN_OK;
    }
    if (cli_model_asked(c))
        return tern_fail(err, TERN_E_USAGE, "--synthetic and a model exclude each other");
    b->what.progress = show_making;
    b->what.ctx = c;
    TERN_TRY(read_options(b, c, err));
    (void)snprintf(b->label, sizeof b->label, "SYNTHETIC %s", b->what.shape->name);
    c->label = b->label;
    return out ? make_kept(b, c, out, err) : make_passing(b, c, err);
}

void bench_model_done(bench_model *b)
{
    if (b->fd >= 0)
        (void)close(b->fd);
}

/* How far the best logit stands above the mean of all, in their standard deviations. */
static double peak_of(const float *logits, int32_t n)
{
    double sum = 0.0, sum2 = 0.0, max = (double)logits[0];
    for (int32_t i = 0; i < n; i++) {
        double x = (double)logits[i];
        sum += x;
        sum2 += x * x;
        max = x > max ? x : max;
    }
    double mean = sum / n, variance = sum2 / n - mean * mean;
    return variance > 0.0 ? (max - mean) / sqrt(variance) : 0.0;
}

/* Shares of zeros over the layers, as the model counted them. */
static tern_code zeros_json(bench_rig *g, json_t **out, tern_err *err)
{
    double sum = 0.0, least = 1.0, most = 0.0, down = 0.0;
    for (int32_t i = 0; i < g->info.n_layer; i++) {
        tern_ffn_stats f = {.size = sizeof f};
        TERN_TRY(tern_model_ffn_stats_get(g->m, i, &f, err));
        double n = (double)f.n_row * f.d_ff, share = n > 0.0 ? (double)f.gate_zero / n : 0.0;
        sum += share;
        down += n > 0.0 ? (double)f.input_zero / n : 0.0;
        least = share < least ? share : least;
        most = share > most ? share : most;
    }
    *out = json_pack("{s:f, s:f, s:f, s:f}", "mean", sum / g->info.n_layer, "min", least, "max",
                     most, "of_down_input", down / g->info.n_layer);
    return *out ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory");
}

#define PROBE_TOKENS 8

static tern_code probe(bench_rig *g, bench_samples *peak, tern_err *err)
{
    tern_session *s = g->s[0];
    for (int i = 0; i < PROBE_TOKENS && i < tern_session_n_ctx(s); i++) {
        int32_t id = (int32_t)((uint32_t)i * 7919u % (uint32_t)g->info.n_vocab);
        TERN_TRY(tern_session_eval(s, &id, 1, err));
        const float *logits = tern_session_logits(s);
        if (logits)
            bench_sample_add(peak, peak_of(logits, g->info.n_vocab));
    }
    tern_session_rewind(s, 0);
    return TERN_OK;
}

tern_code bench_model_describe(const bench_model *b, bench_rig *g, json_t **out, tern_err *err)
{
    bench_samples peak = {0};
    json_t *zeros = NULL;
    *out = NULL;
    if (!b->synthetic)
        return TERN_OK;
    tern_model_count_zeros(g->m, true);
    tern_code rc = probe(g, &peak, err);
    if (rc == TERN_OK && b->what.shape->relu2)
        rc = zeros_json(g, &zeros, err);
    tern_model_count_zeros(g->m, false);
    TERN_TRY(rc);
    *out = json_pack("{s:s, s:s, s:s, s:f}", "note", "SYNTHETIC: random weights, no real model",
                     "shape", b->what.shape->name, "shape_of", b->what.shape->of, "logit_peak_sd",
                     bench_median(&peak));
    if (*out && zeros) {
        (void)json_object_set_new(zeros, "asked", json_real(b->what.zeros));
        (void)json_object_set(*out, "zeros", zeros);
    }
    json_decref(zeros);
    return *out ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory");
}
