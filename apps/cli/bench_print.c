/* Rows for people (md), tables (csv) and programs (json). Columns and keys are only ever appended:
 * scripts read them. */
#include "base/error.h"
#include "bench.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void bench_sample_add(bench_samples *s, double v)
{
    if (s->n < BENCH_MAX_REPEAT)
        s->v[s->n++] = v;
}

double bench_median(bench_samples *s)
{
    int n = s->n;
    if (n == 0)
        return 0.0;
    qsort(s->v, (size_t)n, sizeof s->v[0], compare);
    return n % 2 ? s->v[n / 2] : (s->v[n / 2 - 1] + s->v[n / 2]) / 2;
}

/* ---- what follows from a row --------------------------------------------------------------- */

typedef struct derived {
    double mid, low, high;         /* tokens a second */
    double weight_bytes, kv_bytes; /* read per token; 0 of a prompt */
    double read_bytes, macs;       /* the walls, a second; 0: not measured */
    double share;                  /* of the wall that is nearer; 0: not known */
    bool of_macs;                  /* that is the multiply-adds, else reading */
} derived;

/* Bytes of a cached number, against those of f16. */
static double cache_width(const cli *c, const tern_model_info *i, cli_opt id)
{
    const double q8 = (i->d_head + 4.0) / (2.0 * i->d_head); /* a float beside each head's bytes */
    /* In the order of tern_cache_type. */
    const double width[] = {i->d_head >= 32 ? q8 : 1.0, q8, 1.0, 2.0};
    return width[(size_t)c->opt.value[id].num];
}

/* Multiply-adds of the blocks' matrices per token. A prompt of n has the last feed-forward's only once; it
 * has the head's only once too, which do not count. */
static double block_macs(const tern_model_info *i, const bench_row *r)
{
    double d = i->d_model, q = (double)i->n_head * i->d_head, kv = (double)i->n_kv_head * i->d_head;
    double ffn = 3.0 * d * i->d_ff, n = (double)r->n_tok;
    double once = r->kind == BENCH_GENERATE ? 0.0 : ffn * (n - 1.0) / n;
    return i->n_layer * (2.0 * d * q + 2.0 * d * kv + ffn) - once;
}

static derived derive(const bench_table *t, bench_row *r, bench_walls *w)
{
    derived d = {.mid = bench_median(&r->rate)};
    d.low = r->rate.v[0];
    d.high = r->rate.v[r->rate.n - 1];
    d.read_bytes = bench_median(&w->read_bytes);
    d.macs = bench_median(&w->macs);
    double compute = d.macs > 0.0 ? d.mid * block_macs(&t->info, r) / d.macs : 0.0, read = 0.0;
    if (r->kind == BENCH_GENERATE) {
        double width = 0.5 * (cache_width(t->c, &t->info, OPT_CACHE_K) +
                              cache_width(t->c, &t->info, OPT_CACHE_V));
        double n_past = (double)(r->n_depth + bench_run_up(r)) + 0.5 * (double)r->n_tok;
        d.weight_bytes = r->weight_bytes;
        d.kv_bytes = (double)t->info.kv_f16_bytes * width * n_past * r->n_pass;
        if (d.read_bytes > 0.0)
            read = d.mid * (d.weight_bytes + d.kv_bytes) / d.read_bytes;
    }
    d.of_macs = compute > read;
    d.share = d.of_macs ? compute : read;
    return d;
}

static const char *spec_name(tern_spec_mode mode)
{
    static const char *const name[] = {
        [TERN_SPEC_OFF] = "off", [TERN_SPEC_NGRAM] = "ngram", [TERN_SPEC_ALWAYS] = "always"};
    return name[mode];
}

static const char *test_name(const bench_row *r)
{
    return r->kind == BENCH_PROMPT ? "prompt" : "generate";
}

/* ---- the formats --------------------------------------------------------------------------- */

static void print_head(bench_table *t)
{
    if (t->headed)
        return;
    t->headed = true;
    if (strcmp(t->p->format, "csv") == 0)
        (void)puts("model,test,threads,tokens,depth,median_tok_s,min_tok_s,max_tok_s,"
                   "bytes_per_token,gb_per_s,streams,share_of_wall,read_gb_per_s,int8_gmacs_per_s,"
                   "peak_rss_bytes,energy_source,gross_j_per_token,net_j_per_token,guesses,"
                   "passes_per_token");
    if (strcmp(t->p->format, "md") == 0)
        (void)printf("%s: %s, %.1f M parameters, %.2f MiB read per generated token\n\n"
                     "| test | threads | depth | tok/s (median) | min..max | GB/s | of the wall |\n"
                     "|---|---:|---:|---:|---:|---:|---:|\n",
                     cli_model_label(t->c), t->info.arch, (double)t->info.n_param * 1e-6,
                     (double)t->info.read_bytes / 1048576.0);
}

/* ",source,gross,net" */
static void energy_columns(const bench_table *t, const bench_row *r, const derived *d, char *buf,
                           size_t cap)
{
    const bench_energy *x = &r->energy;
    if (x->tokens > 0.0)
        (void)snprintf(buf, cap, ",%s,%.6g,%.6g", tern_energy_source(t->meter.e),
                       x->joules / x->tokens, (x->joules - x->idle_watts * x->seconds) / x->tokens);
    else if (t->meter.watts > 0.0)
        (void)snprintf(buf, cap, ",assumed %g W,%.6g,", t->meter.watts, t->meter.watts / d->mid);
    else
        (void)snprintf(buf, cap, ",%s,,", t->meter.wanted ? "not measurable" : "");
}

static void print_text_row(const bench_table *t, const bench_row *r, const derived *d)
{
    double bytes = d->weight_bytes + d->kv_bytes;
    char gb[24] = "", share[24] = "", streams[24] = "", passes[24] = "", energy[96];
    const char *guesses = r->spec ? ", guessing" : "";
    if (bytes > 0.0)
        (void)snprintf(gb, sizeof gb, "%.2f", bytes * d->mid * 1e-9);
    if (strcmp(t->p->format, "csv") == 0) {
        if (d->share > 0.0)
            (void)snprintf(share, sizeof share, "%.4f", d->share);
        if (r->kind == BENCH_GENERATE)
            (void)snprintf(passes, sizeof passes, "%.4f", r->n_pass);
        energy_columns(t, r, d, energy, sizeof energy);
        (void)printf("\"%s\",%s,%d,%zu,%zu,%.3f,%.3f,%.3f,%.0f,%s,%d,%s,%.3f,%.3f,%llu%s,%s,%s\n",
                     cli_model_label(t->c), test_name(r), r->n_thread, r->n_tok, r->n_depth, d->mid,
                     d->low, d->high, bytes, gb, r->n_stream, share, d->read_bytes * 1e-9,
                     d->macs * 1e-9, (unsigned long long)t->peak_rss, energy,
                     r->kind == BENCH_GENERATE ? spec_name(r->spec) : "", passes);
        return;
    }
    if (d->share > 0.0)
        (void)snprintf(share, sizeof share, "%.0f %% %s", 100.0 * d->share,
                       d->of_macs ? "int8" : "read");
    if (r->n_stream > 1)
        (void)snprintf(streams, sizeof streams, " x %d", r->n_stream);
    (void)printf("| %s %zu%s%s | %d | %zu | %.2f | %.2f..%.2f | %s | %s |\n", test_name(r),
                 r->n_tok, streams, guesses, r->n_thread, r->n_depth, d->mid, d->low, d->high, gb,
                 share);
}

static void set(json_t *o, const char *key, double v)
{
    (void)json_object_set_new(o, key, json_real(v));
}

static json_t *row_json(const bench_table *t, const bench_row *r, const derived *d)
{
    json_t *samples = json_array();
    double bytes = d->weight_bytes + d->kv_bytes;
    for (int i = 0; i < r->rate.n; i++)
        (void)json_array_append_new(samples, json_real(r->rate.v[i]));
    json_t *o = json_pack("{s:s, s:s, s:i, s:I, s:I, s:f, s:f, s:f, s:o, s:i}", "model",
                          cli_model_label(t->c), "test", test_name(r), "threads", r->n_thread,
                          "tokens", (json_int_t)r->n_tok, "depth", (json_int_t)r->n_depth,
                          "median_tok_s", d->mid, "min_tok_s", d->low, "max_tok_s", d->high,
                          "samples_tok_s", samples, "streams", r->n_stream);
    if (!o)
        return NULL;
    if (bytes > 0.0) {
        (void)json_object_set_new(o, "bytes_per_token", json_integer((json_int_t)(bytes + 0.5)));
        set(o, "gb_per_s", bytes * d->mid * 1e-9);
        set(o, "kv_bytes_per_token", d->kv_bytes);
    } else {
        set(o, "macs_per_token", block_macs(&t->info, r));
    }
    if (r->spec) {
        (void)json_object_set_new(o, "spec", json_string(spec_name(r->spec)));
        set(o, "passes_per_token", r->n_pass);
    }
    if (d->read_bytes > 0.0)
        set(o, "wall_read_bytes_per_s", d->read_bytes);
    if (d->macs > 0.0)
        set(o, "wall_int8_macs_per_s", d->macs);
    if (d->share > 0.0) {
        set(o, "share_of_wall", d->share);
        (void)json_object_set_new(o, "wall", json_string(d->of_macs ? "int8" : "read"));
    }
    if (t->peak_rss)
        (void)json_object_set_new(o, "peak_rss_bytes", json_integer((json_int_t)t->peak_rss));
    json_t *energy = bench_energy_json(&t->meter, r, d->mid);
    if (energy)
        (void)json_object_set_new(o, "energy", energy);
    json_t *profile = bench_profile_json(r);
    if (profile)
        (void)json_object_set_new(o, "profile", profile);
    if (t->synthetic)
        (void)json_object_set(o, "synthetic", t->synthetic);
    (void)json_object_set(o, "machine", t->machine);
    return o;
}

tern_code bench_print_row(bench_table *t, bench_row *r, bench_walls *w, tern_err *err)
{
    derived d = derive(t, r, w);
    if (strcmp(t->p->format, "json") == 0) {
        (void)json_array_append_new(t->list, row_json(t, r, &d));
        return TERN_OK;
    }
    print_head(t);
    print_text_row(t, r, &d);
    bench_energy_text(&t->meter, r, d.mid, &t->foot);
    if (strcmp(t->p->format, "md") == 0)
        bench_profile_text(r, d.read_bytes, &t->foot);
    return cli_flush(err);
}

void bench_add_foot(bench_table *t, int32_t n_thread, bench_walls *w)
{
    double read_bytes = bench_median(&w->read_bytes), macs = bench_median(&w->macs);
    tern_str *f = &t->foot;
    tern_str_printf(f, "%d thread%s:", n_thread, n_thread == 1 ? "" : "s");
    if (read_bytes > 0.0)
        tern_str_printf(f, " memory is read at %.1f GB/s,", read_bytes * 1e-9);
    if (macs > 0.0)
        tern_str_printf(f, " int8 multiply-adds peak at %.0f G/s,", macs * 1e-9);
    if (t->peak_rss)
        tern_str_printf(f, " peak memory %.0f MB\n", (double)t->peak_rss * 1e-6);
    else
        tern_str_puts(f, " peak memory unknown\n");
}

static void print_synthetic(const json_t *o)
{
    const json_t *zeros = json_object_get(o, "zeros");
    (void)printf(
        "SYNTHETIC: random weights in the shape of %s, no real model; the best logit stands "
        "%.1f standard deviations above the mean",
        json_string_value(json_object_get(o, "shape_of")),
        json_number_value(json_object_get(o, "logit_peak_sd")));
    if (zeros)
        (void)printf("; zeros after squared ReLU %.0f %% (%.0f..%.0f by layer)",
                     100.0 * json_number_value(json_object_get(zeros, "mean")),
                     100.0 * json_number_value(json_object_get(zeros, "min")),
                     100.0 * json_number_value(json_object_get(zeros, "max")));
    (void)putchar('\n');
}

tern_code bench_print_end(bench_table *t, tern_err *err)
{
    json_t *list = t->list;
    if (strcmp(t->p->format, "json") == 0) {
        t->list = NULL;
        return cli_print_json(list, err);
    }
    if (strcmp(t->p->format, "md") == 0) {
        (void)printf("\n%s", tern_str_get(&t->foot));
        if (t->meter.wanted && !t->meter.e)
            (void)printf("%s: %s\n", BENCH_NOT_MEASURABLE, t->meter.reason);
        if (t->synthetic)
            print_synthetic(t->synthetic);
    }
    return cli_flush(err);
}
