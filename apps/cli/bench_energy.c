/* Joules per token, from the machine's own counters or not at all; what assumes a power says so. */
#include "base/clock.h"
#include "base/error.h"
#include "bench.h"

#include <string.h>
#include <unistd.h>

#define MIN_RUNS 3

void bench_meter_init(bench_meter *m, const cli *c)
{
    tern_err why;
    *m = (bench_meter){.wanted = cli_flag(&c->opt, OPT_BENCH_ENERGY),
                       .watts = cli_real(&c->opt, OPT_BENCH_WATTS),
                       .seconds = (double)cli_int(&c->opt, OPT_BENCH_ENERGY_SECONDS)};
    if (m->wanted && tern_energy_open("", NULL, NULL, &m->e, &why) != TERN_OK)
        (void)snprintf(m->reason, sizeof m->reason, "%s", why.msg);
}

void bench_meter_done(bench_meter *m)
{
    tern_energy_close(m->e);
}

static double seconds_since(uint64_t begin)
{
    return (double)(tern_clock_ns() - begin) * 1e-9;
}

/* Watts of the machine while this program sleeps, over the given time. */
static tern_code idle(bench_meter *m, double *watts, tern_err *err)
{
    TERN_TRY(tern_energy_sample(m->e, err));
    uint64_t begin = tern_clock_ns();
    double before = tern_energy_joules(m->e), s = 0.0;
    while (s < m->seconds) {
        if (cli_interrupt_pending())
            return tern_fail(err, TERN_E_CANCELLED, "cancelled");
        (void)usleep(200000);
        s = seconds_since(begin);
        TERN_TRY(tern_energy_sample(m->e, err));
    }
    *watts = (tern_energy_joules(m->e) - before) / s;
    return TERN_OK;
}

static tern_code measure_row(bench_meter *m, bench_rig *g, bench_row *row, tern_err *err)
{
    bench_energy *x = &row->energy;
    /* Tokens that its rate does not count take energy too. */
    size_t extra = row->kind == BENCH_GENERATE ? bench_run_up(row) : 0;
    *x = (bench_energy){0};
    TERN_TRY(tern_energy_sample(m->e, err));
    uint64_t begin = tern_clock_ns();
    double before = tern_energy_joules(m->e), rate;
    for (int i = 0; i < MIN_RUNS || x->seconds < m->seconds; i++) {
        TERN_TRY(bench_rig_time(g, row, &rate, err));
        TERN_TRY(tern_energy_sample(m->e, err));
        x->tokens += (double)(row->n_tok + extra) * row->n_stream;
        x->seconds = seconds_since(begin);
    }
    x->joules = tern_energy_joules(m->e) - before;
    return TERN_OK;
}

/* Idle, prompts, generation, idle: the baseline is the mean of both ends. */
tern_code bench_meter_rows(bench_meter *m, bench_rig *g, bench_row *rows, size_t n, tern_err *err)
{
    double before, after;
    if (!m->e)
        return TERN_OK;
    TERN_TRY(idle(m, &before, err));
    for (size_t i = 0; i < n; i++)
        if (rows[i].n_tok)
            TERN_TRY(measure_row(m, g, &rows[i], err));
    TERN_TRY(idle(m, &after, err));
    for (size_t i = 0; i < n; i++)
        rows[i].energy.idle_watts = 0.5 * (before + after);
    return TERN_OK;
}

/* ---- output -------------------------------------------------------------------------------- */

static double gross(const bench_energy *x)
{
    return x->joules / x->tokens;
}

static double net(const bench_energy *x)
{
    return (x->joules - x->idle_watts * x->seconds) / x->tokens;
}

/* The host of a virtual machine has one counter for all of its guests. */
static bool shared_host(void)
{
    char line[4096];
    bool found = false;
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && !found && fgets(line, sizeof line, f))
        found = strncmp(line, "flags", 5) == 0 && strstr(line, " hypervisor") != NULL;
    if (f)
        (void)fclose(f);
    return found;
}

static json_t *domains_json(const bench_meter *m)
{
    const tern_energy_domain *d;
    json_t *list = json_array();
    for (size_t i = 0; (d = tern_energy_domain_get(m->e, i)) != NULL; i++)
        (void)json_array_append_new(
            list, json_pack("{s:s, s:b}", "name", d->name, "counted", d->in_total));
    return list;
}

json_t *bench_energy_json(const bench_meter *m, const bench_row *row, double rate)
{
    const bench_energy *x = &row->energy;
    json_t *o = json_object();
    if (m->e && x->tokens > 0.0)
        (void)json_object_update_new(
            o, json_pack("{s:s, s:s, s:o, s:f, s:f, s:f, s:f, s:f, s:b}", "source",
                         tern_energy_source(m->e), "note", tern_energy_note(m->e), "domains",
                         domains_json(m), "seconds", x->seconds, "tokens", x->tokens, "idle_watts",
                         x->idle_watts, "gross_joules_per_token", gross(x), "net_joules_per_token",
                         net(x), "shared_host", shared_host()));
    else if (m->wanted)
        (void)json_object_update_new(o, json_pack("{s:n, s:s, s:s}", "source", "status",
                                                  BENCH_NOT_MEASURABLE, "reason", m->reason));
    if (m->watts > 0.0)
        (void)json_object_set_new(
            o, "assumed",
            json_pack("{s:f, s:f}", "watts", m->watts, "joules_per_token", m->watts / rate));
    if (json_object_size(o))
        return o;
    json_decref(o);
    return NULL;
}

void bench_energy_text(const bench_meter *m, const bench_row *row, double rate, tern_str *out)
{
    const bench_energy *x = &row->energy;
    const char *what = row->kind == BENCH_PROMPT ? "prompt" : "generate";
    char where[96];
    (void)snprintf(where, sizeof where, "%s %zu, depth %zu, %d thread%s", what, row->n_tok,
                   row->n_depth, row->n_thread, row->n_thread == 1 ? "" : "s");
    if (m->e && x->tokens > 0.0)
        tern_str_printf(out,
                        "energy of %s: %.4g J/token, %.4g J/token above the idle %.1f W (%s%s)\n",
                        where, gross(x), net(x), x->idle_watts, tern_energy_source(m->e),
                        shared_host() ? ", shared host" : "");
    if (m->watts > 0.0)
        tern_str_printf(out, "energy of %s: %.4g J/token at an assumed %.4g W\n", where,
                        m->watts / rate, m->watts);
}
