/* Where the time of a token goes: the parts of the steps of a row's runs. */
#include "bench.h"

#include <stdlib.h>

void bench_profile_begin(const bench_rig *g)
{
    if (g->profile)
        tern_model_profile_start(g->m);
}

void bench_profile_end(const bench_rig *g, bench_row *row)
{
    tern_profile_part part[BENCH_MAX_PART];
    if (!g->profile)
        return;
    tern_model_profile_stop(g->m);
    size_t n = tern_model_profile_get(g->m, part, BENCH_MAX_PART);
    row->profile.n = n < BENCH_MAX_PART ? n : BENCH_MAX_PART;
    for (size_t i = 0; i < row->profile.n; i++) {
        row->profile.part[i].name = part[i].name;
        row->profile.part[i].seconds += part[i].seconds;
        row->profile.part[i].read_bytes += part[i].read_bytes;
    }
    row->profile.n_tok += (double)row->n_tok * row->n_stream;
}

static double total(const bench_profile *p)
{
    double sum = 0.0;
    for (size_t i = 0; i < p->n; i++)
        sum += p->part[i].seconds;
    return sum;
}

void bench_profile_text(const bench_row *row, double wall_bytes, tern_str *out)
{
    const bench_profile *p = &row->profile;
    double all = total(p);
    if (!(all > 0.0))
        return;
    tern_str_printf(out,
                    "\nwhere the time of %s %zu at depth %zu goes, %d thread%s:\n\n"
                    "| part | ms per token | share | GB/s | of reading |\n"
                    "|---|---:|---:|---:|---:|\n",
                    row->kind == BENCH_PROMPT ? "prompt" : "generate", row->n_tok, row->n_depth,
                    row->n_thread, row->n_thread == 1 ? "" : "s");
    for (size_t i = 0; i < p->n; i++) {
        const tern_profile_part *x = &p->part[i];
        double rate = x->seconds > 0.0 ? (double)x->read_bytes / x->seconds : 0.0;
        if (!(x->seconds > 0.0))
            continue;
        tern_str_printf(out, "| %s | %.3f | %.1f %% |", x->name, 1e3 * x->seconds / p->n_tok,
                        100.0 * x->seconds / all);
        if (row->kind == BENCH_GENERATE && x->read_bytes && wall_bytes > 0.0)
            tern_str_printf(out, " %.1f | %.0f %% |\n", rate * 1e-9, 100.0 * rate / wall_bytes);
        else
            tern_str_puts(out, "  |  |\n");
    }
    tern_str_puts(out, "\n");
}

json_t *bench_profile_json(const bench_row *row)
{
    const bench_profile *p = &row->profile;
    json_t *list = p->n ? json_array() : NULL;
    for (size_t i = 0; list && i < p->n; i++)
        (void)json_array_append_new(
            list, json_pack("{s:s, s:f, s:f}", "part", p->part[i].name, "seconds_per_token",
                            p->part[i].seconds / p->n_tok, "weight_bytes_per_token",
                            (double)p->part[i].read_bytes / p->n_tok));
    return list;
}
