/* Speed of reading a prompt and of generating, per thread count and depth: the median of several
 * rounds after a warm-up, with the fastest and slowest, beside what the machine could do at best. The
 * tests of a round and the measurement of the walls take turns, so that what other programs take is
 * taken from all. */
#include "bench.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One depth: warm-up, then rounds. */
static tern_code bench_depth(bench_rig *g, bench_table *t, size_t n_depth, bench_walls *w,
                             tern_err *err)
{
    const bench_plan *p = t->p;
    bench_row rows[2] = {
        {.kind = BENCH_PROMPT, .n_tok = p->n_prompt, .n_stream = 1},
        {.kind = BENCH_GENERATE, .n_tok = p->n_gen, .n_stream = p->n_stream, .spec = p->spec}};
    TERN_TRY(bench_rig_depth(g, n_depth, err));
    for (int round = -1; round < p->n_repeat; round++) { /* -1: the warm-up, not counted */
        cli_progress(t->c, "measuring", round + 1, p->n_repeat + 1, "");
        if (p->walls && round >= 0)
            TERN_TRY(bench_walls_measure(w, g->info.n_thread, err));
        bench_peak_rss_reset(); /* the walls' buffer is not the model's */
        for (size_t i = 0; i < 2; i++) {
            double rate = 0.0;
            rows[i].n_thread = g->info.n_thread;
            rows[i].n_depth = n_depth;
            if (rows[i].n_tok == 0)
                continue;
            TERN_TRY(bench_rig_time(g, &rows[i], &rate, err));
            if (round >= 0)
                bench_sample_add(&rows[i].rate, rate);
            else
                rows[i].profile = (bench_profile){0};
        }
        uint64_t rss = bench_peak_rss();
        t->peak_rss = rss > t->peak_rss ? rss : t->peak_rss;
    }
    cli_progress_end(t->c);
    TERN_TRY(bench_meter_rows(&t->meter, g, rows, 2, err));
    for (size_t i = 0; i < 2; i++)
        if (rows[i].n_tok) {
            TERN_TRY(bench_print_row(t, &rows[i], w, err));
            bench_baseline_check(&t->baseline, t->c, &rows[i], w);
        }
    return TERN_OK;
}

static size_t deepest(const bench_plan *p)
{
    int32_t most = 0;
    for (size_t i = 0; i < p->depths.n; i++)
        most = p->depths.v[i] > most ? p->depths.v[i] : most;
    return (size_t)most;
}

static tern_code bench_threads(bench_table *t, const bench_model *b, int32_t n_thread,
                               tern_err *err)
{
    const bench_plan *p = t->p;
    size_t n_gen = 2 * p->n_gen + 2; /* with a run-up */
    size_t n_max = deepest(p) + (p->n_prompt > n_gen ? p->n_prompt : n_gen);
    bench_rig *g = calloc(1, sizeof *g);
    bench_walls *w = calloc(1, sizeof *w);
    tern_code rc = TERN_OK;
    if (!g || !w) {
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory");
        goto fail;
    }
    bench_peak_rss_reset();
    TERN_TRY_GOTO(bench_rig_init(g, t->c, n_thread, p->n_stream, n_max, err));
    t->info = g->info;
    t->peak_rss = bench_peak_rss(); /* of opening */
    if (!t->synthetic)
        TERN_TRY_GOTO(bench_model_describe(b, g, &t->synthetic, err));
    for (size_t i = 0; i < p->depths.n; i++)
        TERN_TRY_GOTO(bench_depth(g, t, (size_t)p->depths.v[i], w, err));
    bench_add_foot(t, g->info.n_thread, w);
fail:
    if (g)
        bench_rig_done(g);
    free(g);
    free(w);
    return rc;
}

/* Figures of a busy machine are no figures. */
static void check_load(cli *c)
{
    double load = 0.0;
    long n_cpu = sysconf(_SC_NPROCESSORS_ONLN);
    if (getloadavg(&load, 1) == 1 && load > 0.5 * (double)n_cpu)
        cli_warn(c, "the machine is busy (load %.1f on %ld CPUs): these figures are too low", load,
                 n_cpu);
}

static tern_code read_plan(const cli *c, bench_plan *p, tern_err *err)
{
    const cli_options *o = &c->opt;
    *p = (bench_plan){.n_prompt = (size_t)cli_int(o, OPT_BENCH_PROMPT),
                      .n_gen = (size_t)cli_int(o, OPT_BENCH_GEN),
                      .n_stream = (int)cli_int(o, OPT_BENCH_STREAMS),
                      .n_repeat = (int)cli_int(o, OPT_BENCH_REPEAT),
                      /* the choices stand in this order */
                      .spec = (tern_spec_mode)cli_int(o, OPT_BENCH_SPEC),
                      .walls = !cli_flag(o, OPT_BENCH_NO_WALLS),
                      .format = c->json ? "json" : cli_text(o, OPT_FORMAT)};
    if (p->n_prompt + p->n_gen == 0)
        return tern_fail(err, TERN_E_USAGE, "-p 0 and -n 0 leave nothing to measure");
    TERN_TRY(cli_ids_parse("--threads", cli_text(o, OPT_BENCH_THREADS), 0, 1024, &p->threads, err));
    return cli_ids_parse("--n-depth", cli_text(o, OPT_BENCH_DEPTH), 0, 1 << 20, &p->depths, err);
}

tern_code cli_bench(cli *c, tern_err *err)
{
    bench_plan p = {0};
    bench_model b = {.fd = -1};
    bench_table t = {.c = c, .p = &p};
    tern_code rc;
    if (cli_flag(&c->opt, OPT_BENCH_ARITH))
        return bench_arith(c, err);
    if (cli_text(&c->opt, OPT_BENCH_SERVER))
        return bench_server(c, err);
    tern_str_init(&t.foot, 1 << 16);
    cli_interrupt_init();
    t.list = json_array();
    TERN_TRY_GOTO(read_plan(c, &p, err));
    bench_meter_init(&t.meter, c);
    TERN_TRY_GOTO(bench_machine_describe(&t.machine, err));
    TERN_TRY_GOTO(
        bench_baseline_init(&t.baseline, cli_text(&c->opt, OPT_BENCH_BASELINE), t.machine, err));
    TERN_TRY_GOTO(bench_model_init(&b, c, err));
    check_load(c);
    for (size_t i = 0; i < p.threads.n; i++)
        TERN_TRY_GOTO(bench_threads(&t, &b, p.threads.v[i], err));
    TERN_TRY_GOTO(bench_print_end(&t, err));
    TERN_TRY_GOTO(bench_baseline_end(&t.baseline, c, err));
fail:
    bench_meter_done(&t.meter);
    bench_baseline_done(&t.baseline);
    bench_model_done(&b);
    tern_ids_done(&p.threads);
    tern_ids_done(&p.depths);
    tern_str_done(&t.foot);
    json_decref(t.list);
    json_decref(t.machine);
    json_decref(t.synthetic);
    return rc;
}
