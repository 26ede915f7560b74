/* One measurement: a prompt through evaluation, or tokens through requests, as users get them. */
#include "base/clock.h"
#include "base/error.h"
#include "bench.h"

#include <stdlib.h>

/* ---- the rig ------------------------------------------------------------------------------- */

/* Any ids do; equal ones would be kinder to the caches than text is. */
static tern_code make_ids(size_t n, int32_t n_vocab, tern_ids *ids, tern_err *err)
{
    uint32_t x = 12345;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        TERN_TRY(tern_ids_push(ids, (int32_t)((x >> 8) % (uint32_t)n_vocab), err));
    }
    return TERN_OK;
}

tern_code bench_rig_init(bench_rig *g, cli *c, int32_t n_thread, int n_stream, size_t n_ctx,
                         tern_err *err)
{
    *g = (bench_rig){
        .c = c, .info.size = sizeof g->info, .profile = cli_flag(&c->opt, OPT_BENCH_PROFILE)};
    TERN_TRY(cli_model_open(c, n_thread, &g->m, err));
    tern_model_info_get(g->m, &g->info);
    TERN_TRY(make_ids(n_ctx, g->info.n_vocab, &g->ids, err));
    for (int i = 0; i < n_stream; i++) {
        TERN_TRY(cli_session_new(c, g->m, (int32_t)n_ctx, &g->s[i], err));
        g->n_stream++;
    }
    return TERN_OK;
}

void bench_rig_done(bench_rig *g)
{
    for (int i = 0; i < g->n_stream; i++)
        tern_session_free(g->s[i]);
    tern_model_close(g->m);
    tern_ids_done(&g->ids);
}

/* Streams differ from their first token on, or they would all say the same. */
static int32_t first_id(const bench_rig *g, int stream)
{
    return (g->ids.v[0] + stream) % g->info.n_vocab;
}

static tern_code eval(bench_rig *g, int stream, const int32_t *ids, size_t n, tern_err *err)
{
    cli_interrupt_target(g->s[stream]);
    tern_code rc = tern_session_eval(g->s[stream], ids, n, err);
    cli_interrupt_target(NULL);
    return rc;
}

tern_code bench_rig_depth(bench_rig *g, size_t n_depth, tern_err *err)
{
    for (int i = 0; i < g->n_stream; i++) {
        size_t n = 0;
        tern_session_rewind(g->s[i], n_depth);
        (void)tern_session_tokens(g->s[i], &n);
        if (n == 0 && n_depth > 0) {
            int32_t id = first_id(g, i);
            TERN_TRY(eval(g, i, &id, 1, err));
            n = 1;
        }
        if (n < n_depth)
            TERN_TRY(eval(g, i, g->ids.v + n, n_depth - n, err));
    }
    return TERN_OK;
}

/* ---- one run ------------------------------------------------------------------------------- */

static double seconds_since(uint64_t begin)
{
    return (double)(tern_clock_ns() - begin) * 1e-9;
}

static tern_code time_prompt(bench_rig *g, bench_row *row, double *rate, tern_err *err)
{
    tern_session_rewind(g->s[0], row->n_depth);
    bench_profile_begin(g);
    uint64_t begin = tern_clock_ns();
    TERN_TRY(eval(g, 0, g->ids.v + row->n_depth, row->n_tok, err));
    *rate = (double)row->n_tok / seconds_since(begin);
    bench_profile_end(g, row);
    return TERN_OK;
}

size_t bench_run_up(const bench_row *row)
{
    return row->spec ? row->n_tok + 1 : 1;
}

/* Greedy and to the given length: every step is one token of each stream. The prompt is what the
 * session has (one token at depth 0). */
static tern_code open_request(bench_rig *g, int stream, const bench_row *row, tern_request **out,
                              tern_err *err)
{
    tern_gen_opts o;
    size_t n;
    int32_t first = first_id(g, stream);
    const int32_t *ids = &first;
    tern_gen_opts_init(&o);
    o.temp = 0.0f;
    o.ignore_eos = true;
    o.spec = row->spec;
    o.n_predict = (int32_t)(row->n_tok + bench_run_up(row));
    tern_session_rewind(g->s[stream], row->n_depth);
    if (row->n_depth > 0)
        ids = tern_session_tokens(g->s[stream], &n);
    return tern_request_new(g->s[stream], ids, row->n_depth > 0 ? row->n_depth : 1, &o, out, err);
}

/* One token of each. */
static tern_code step(tern_request *const *r, int n, tern_err *err)
{
    tern_event ev[BENCH_MAX_STREAM];
    if (n == 1)
        TERN_TRY(tern_request_next(r[0], &ev[0], err));
    else
        TERN_TRY(tern_requests_next(r, (size_t)n, ev, err));
    for (int i = 0; i < n; i++) {
        if (ev[i].finish == TERN_FINISH_FAILED) {
            if (err)
                *err = *tern_request_error(r[i]);
            return tern_request_error(r[i])->code;
        }
        if (ev[i].finish == TERN_FINISH_CANCELLED || cli_interrupt_pending())
            return tern_fail(err, TERN_E_CANCELLED, "cancelled");
    }
    return TERN_OK;
}

static uint64_t bytes_so_far(const bench_rig *g)
{
    tern_model_counters c = {.size = sizeof c};
    tern_model_counters_get(g->m, &c);
    return c.read_bytes;
}

static double passes_so_far(tern_request *const *r, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) {
        tern_request_stats st;
        tern_request_stats_get(r[i], &st);
        sum += (double)st.n_pass;
    }
    return sum;
}

static tern_code time_generate(bench_rig *g, bench_row *row, double *rate, tern_err *err)
{
    tern_request *r[BENCH_MAX_STREAM] = {NULL};
    tern_code rc = TERN_OK;
    for (int i = 0; i < row->n_stream; i++)
        TERN_TRY_GOTO(open_request(g, i, row, &r[i], err));
    for (size_t i = 0; i < bench_run_up(row); i++)
        TERN_TRY_GOTO(step(r, row->n_stream, err));
    double n_pass = passes_so_far(r, row->n_stream);
    bench_profile_begin(g);
    uint64_t bytes = bytes_so_far(g), begin = tern_clock_ns();
    for (size_t i = 0; i < row->n_tok; i++)
        TERN_TRY_GOTO(step(r, row->n_stream, err));
    double n_tok = (double)row->n_tok * row->n_stream;
    *rate = n_tok / seconds_since(begin);
    row->weight_bytes = (double)(bytes_so_far(g) - bytes) / n_tok;
    row->n_pass = (passes_so_far(r, row->n_stream) - n_pass) / n_tok;
    bench_profile_end(g, row);
fail:
    for (int i = 0; i < row->n_stream; i++)
        tern_request_free(r[i]);
    return rc;
}

tern_code bench_rig_time(bench_rig *g, bench_row *row, double *rate, tern_err *err)
{
    return row->kind == BENCH_PROMPT ? time_prompt(g, row, rate, err)
                                     : time_generate(g, row, rate, err);
}
