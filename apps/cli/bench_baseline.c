/* Is this build slower than the last one? The fastest run of each row is compared with the one that
 * was recorded on this machine, corrected by what the machine itself does now: where memory is read
 * 10 % slower than then, generating may be. The first run records. */
#include "base/error.h"
#include "base/os/outfile.h"
#include "bench.h"

#include <stdlib.h>

#define SLOWER 0.97 /* of the baseline, and less, fails */

/* { machine: { row: {"best_tok_s", "wall"} } }, the wall of the row's kind, 0 unmeasured */
tern_code bench_baseline_init(bench_baseline *b, const char *path, const json_t *machine,
                              tern_err *err)
{
    const json_t *cpu = json_object_get(machine, "cpu");
    char name[128];
    tern_str text;
    *b = (bench_baseline){.path = path, .worst = 1.0};
    if (!path)
        return TERN_OK;
    tern_str_init(&text, (size_t)1 << 24);
    tern_code rc = cli_read_file(path, &text, err);
    if (rc == TERN_OK) {
        b->root = json_loadb(tern_str_get(&text), text.len, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(b->root))
            rc = tern_fail(err, TERN_E_FORMAT, "%s: not a baseline that tern bench wrote", path);
    } else if (rc == TERN_E_NOT_FOUND) {
        b->root = json_object();
        rc = TERN_OK;
    }
    tern_str_done(&text);
    TERN_TRY(rc);
    (void)snprintf(name, sizeof name, "%s x %lld", json_string_value(json_object_get(cpu, "model")),
                   (long long)json_integer_value(json_object_get(cpu, "cpus")));
    b->rows = json_object_get(b->root, name);
    if (!b->rows) {
        (void)json_object_set_new(b->root, name, json_object());
        b->rows = json_object_get(b->root, name);
    }
    return json_is_object(b->rows)
               ? TERN_OK
               : tern_fail(err, TERN_E_FORMAT, "%s: not a baseline that tern bench wrote", path);
}

void bench_baseline_done(bench_baseline *b)
{
    json_decref(b->root);
}

static double most(const bench_samples *s)
{
    double best = 0.0;
    for (int i = 0; i < s->n; i++)
        best = s->v[i] > best ? s->v[i] : best;
    return best;
}

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

void bench_baseline_check(bench_baseline *b, cli *c, const bench_row *r, const bench_walls *w)
{
    double best = most(&r->rate), wall = most(r->kind == BENCH_PROMPT ? &w->macs : &w->read_bytes);
    char key[160];
    if (!b->path)
        return;
    (void)snprintf(key, sizeof key, "%s: %s %zu x %d%s, depth %zu, %d threads", cli_model_label(c),
                   r->kind == BENCH_PROMPT ? "prompt" : "generate", r->n_tok, r->n_stream,
                   r->spec ? " with guesses" : "", r->n_depth, r->n_thread);
    const json_t *then = json_object_get(b->rows, key);
    double was = number(then, "best_tok_s"), was_wall = number(then, "wall");
    if (was <= 0.0) {
        (void)json_object_set_new(b->rows, key,
                                  json_pack("{s:f, s:f}", "best_tok_s", best, "wall", wall));
        b->n_new++;
        return;
    }
    double expected = was;
    if (wall > 0.0 && was_wall > wall)
        expected *= wall / was_wall;
    b->n_compared++;
    if (best >= SLOWER * expected)
        return;
    cli_warn(c, "%s: %.2f tok/s, %.1f %% below the %.2f expected of the baseline's %.2f", key, best,
             100.0 * (1.0 - best / expected), expected, was);
    b->n_slow++;
    b->worst = best / expected < b->worst ? best / expected : b->worst;
}

static tern_code save(const bench_baseline *b, tern_err *err)
{
    tern_outfile o;
    char *text = json_dumps(b->root, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
    if (!text)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the baseline");
    tern_code rc = tern_outfile_open(&o, b->path, 0, err);
    if (rc == TERN_OK) {
        (void)fprintf(o.f, "%s\n", text);
        rc = tern_outfile_commit(&o, err); /* looks at what fprintf met */
    }
    free(text);
    return rc;
}

tern_code bench_baseline_end(bench_baseline *b, cli *c, tern_err *err)
{
    if (!b->path)
        return TERN_OK;
    if (b->n_new) {
        TERN_TRY(save(b, err));
        if (!c->quiet)
            (void)fprintf(stderr, "baseline: %d rows recorded in %s\n", b->n_new, b->path);
    }
    if (b->n_slow)
        return tern_fail(err, TERN_E_THRESHOLD,
                         "%d of %d rows more than 3 %% slower than the baseline, at worst %.1f %% "
                         "(remove %.80s to record anew)",
                         b->n_slow, b->n_compared, 100.0 * (1.0 - b->worst), b->path);
    if (b->n_compared && !c->quiet)
        (void)fprintf(stderr, "baseline: none of %d rows is more than 3 %% slower\n",
                      b->n_compared);
    return TERN_OK;
}
