/* How much of each feed-forward is zero over a text, and so how many weight bytes a token that is
 * decoded alone need not read. As a table, and as CSV and SVG files. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/os/outfile.h"
#include "cli.h"

#include <string.h>

/* One layer, as shares and bytes per decoded token. */
typedef struct layer_row {
    double gate_zero, input_zero; /* shares in [0, 1] */
    double dense_bytes;           /* of gate, up and down, whole */
    double read_bytes;            /* of which a token reads, zeros left out */
} layer_row;

typedef struct table {
    layer_row *row; /* owned; [n_layer] */
    int32_t n_layer;
    uint64_t n_tok;
    bool relu2; /* else a gate output of 0 or less makes nothing zero */
    layer_row mean;
} table;

static layer_row row_of(const tern_ffn_stats *s)
{
    double n = (double)s->n_row * (double)s->d_ff;
    layer_row r = {.gate_zero = n > 0 ? (double)s->gate_zero / n : 0.0,
                   .input_zero = n > 0 ? (double)s->input_zero / n : 0.0,
                   .dense_bytes = (double)(s->gate_bytes + s->up_bytes + s->down_bytes)};
    r.read_bytes = r.dense_bytes - (r.gate_zero * (double)s->up_row_bytes +
                                    r.input_zero * (double)s->down_col_bytes) *
                                       (double)s->d_ff;
    return r;
}

static tern_code collect(tern_model *m, int32_t n_layer, table *t, tern_err *err)
{
    t->n_layer = n_layer;
    t->row = tern_calloc((size_t)n_layer, sizeof *t->row);
    if (!t->row)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the table");
    for (int32_t i = 0; i < n_layer; i++) {
        tern_ffn_stats s = {.size = sizeof s};
        TERN_TRY(tern_model_ffn_stats_get(m, i, &s, err));
        layer_row *r = &t->row[i];
        *r = row_of(&s);
        t->n_tok = s.n_row;
        t->relu2 |= s.gate_zero > 0;
        t->mean.gate_zero += r->gate_zero / (double)n_layer;
        t->mean.input_zero += r->input_zero / (double)n_layer;
        t->mean.dense_bytes += r->dense_bytes;
        t->mean.read_bytes += r->read_bytes;
    }
    return TERN_OK;
}

/* ---- output -------------------------------------------------------------------------------- */

static void print_table(const cli *c, const table *t)
{
    (void)printf("%s over %llu tokens: zeros of each feed-forward\n\n"
                 "| layer | gate <= 0 | input of down = 0 | MB read per token | of dense |\n"
                 "|---:|---:|---:|---:|---:|\n",
                 cli_model_label(c), (unsigned long long)t->n_tok);
    for (int32_t i = 0; i <= t->n_layer; i++) {
        const layer_row *r = i < t->n_layer ? &t->row[i] : &t->mean;
        char name[16] = "all";
        if (i < t->n_layer)
            (void)snprintf(name, sizeof name, "%d", i);
        (void)printf("| %s | %.1f %% | %.1f %% | %.4g | %.1f %% |\n", name, 100.0 * r->gate_zero,
                     100.0 * r->input_zero, r->read_bytes * 1e-6,
                     100.0 * r->read_bytes / r->dense_bytes);
    }
    if (!t->relu2)
        (void)puts("\nThe activation is no squared ReLU: no row of up can be left out.");
}

static void write_csv(FILE *f, const table *t)
{
    (void)fputs("layer,gate_zero_share,input_zero_share,dense_bytes,read_bytes\n", f);
    for (int32_t i = 0; i < t->n_layer; i++) {
        const layer_row *r = &t->row[i];
        (void)fprintf(f, "%d,%.6f,%.6f,%.0f,%.0f\n", i, r->gate_zero, r->input_zero, r->dense_bytes,
                      r->read_bytes);
    }
}

/* A plot of 640 x 360 with room for axes. */
#define PLOT_W 640
#define PLOT_H 360
#define LEFT   56
#define RIGHT  16
#define TOP    40
#define BOTTOM 44

static double x_at(const table *t, int32_t layer)
{
    double span = t->n_layer > 1 ? t->n_layer - 1 : 1;
    return LEFT + (PLOT_W - LEFT - RIGHT) * (double)layer / span;
}

static double y_at(double share)
{
    return TOP + (PLOT_H - TOP - BOTTOM) * (1.0 - share);
}

static void write_line(FILE *f, const table *t, const char *name, const char *color, int place,
                       double (*share)(const layer_row *r))
{
    (void)fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", color);
    for (int32_t i = 0; i < t->n_layer; i++)
        (void)fprintf(f, "%.1f,%.1f ", x_at(t, i), y_at(share(&t->row[i])));
    (void)fputs("\"/>\n", f);
    for (int32_t i = 0; i < t->n_layer; i++)
        (void)fprintf(f, "<circle r=\"2.5\" fill=\"%s\" cx=\"%.1f\" cy=\"%.1f\"/>\n", color,
                      x_at(t, i), y_at(share(&t->row[i])));
    (void)fprintf(f, "<text x=\"%d\" y=\"%d\" fill=\"%s\">%s</text>\n", LEFT + 190 * place,
                  TOP - 14, color, name);
}

static double gate_share(const layer_row *r)
{
    return r->gate_zero;
}

static double input_share(const layer_row *r)
{
    return r->input_zero;
}

static double read_share(const layer_row *r)
{
    return r->read_bytes / r->dense_bytes;
}

static void write_svg(FILE *f, const table *t)
{
    (void)fprintf(f,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                  "font-family=\"sans-serif\" font-size=\"12\">\n"
                  "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
                  PLOT_W, PLOT_H);
    for (int i = 0; i <= 4; i++) {
        double y = y_at(0.25 * i);
        (void)fprintf(f,
                      "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n"
                      "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%d %%</text>\n",
                      LEFT, PLOT_W - RIGHT, y, y, LEFT - 6, y + 4, 25 * i);
    }
    int32_t step = t->n_layer > 16 ? 5 : 1;
    for (int32_t i = 0; i < t->n_layer; i += step)
        (void)fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d</text>\n", x_at(t, i),
                      PLOT_H - BOTTOM + 18, i);
    (void)fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">layer</text>\n",
                  (LEFT + PLOT_W - RIGHT) / 2, PLOT_H - 8);
    if (t->relu2)
        write_line(f, t, "gate not above 0", "#b45309", 0, gate_share);
    write_line(f, t, "int8 input of down is 0", "#1d4ed8", 1, input_share);
    write_line(f, t, "weight bytes read", "#15803d", 2, read_share);
    (void)fputs("</svg>\n", f);
}

static tern_code write_file(const char *path, void (*write)(FILE *, const table *), const table *t,
                            tern_err *err)
{
    tern_outfile o;
    if (!path)
        return TERN_OK;
    TERN_TRY(tern_outfile_open(&o, path, 0, err));
    write(o.f, t);
    return tern_outfile_commit(&o, err);
}

static json_t *describe(const cli *c, const table *t)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < t->n_layer; i++) {
        const layer_row *r = &t->row[i];
        (void)json_array_append_new(
            list, json_pack("{s:i, s:f, s:f, s:f, s:f}", "layer", i, "gate_zero_share",
                            r->gate_zero, "input_zero_share", r->input_zero, "dense_bytes",
                            r->dense_bytes, "read_bytes", r->read_bytes));
    }
    return json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:o}", "model", cli_model_label(c), "tokens",
                     (json_int_t)t->n_tok, "gate_zero_share", t->mean.gate_zero, "input_zero_share",
                     t->mean.input_zero, "dense_bytes", t->mean.dense_bytes, "read_bytes",
                     t->mean.read_bytes, "layers", list);
}

/* ---- the verb ------------------------------------------------------------------------------ */

static tern_code evaluate(cli *c, tern_session *s, const tern_ids *ids, tern_err *err)
{
    size_t n_ctx = (size_t)cli_int(&c->opt, OPT_CHUNK), n = ids->n;
    int64_t limit = cli_int(&c->opt, OPT_CHUNKS);
    if (limit > 0 && n / n_ctx > (size_t)limit)
        n = (size_t)limit * n_ctx;
    for (size_t at = 0; at < n; at += n_ctx) {
        cli_progress(c, "stats", (double)at, (double)n, "");
        if (cli_interrupt_pending())
            return tern_fail(err, TERN_E_CANCELLED, "interrupted");
        tern_session_rewind(s, 0);
        TERN_TRY(tern_session_eval(s, ids->v + at, n - at < n_ctx ? n - at : n_ctx, err));
    }
    cli_progress_end(c);
    return TERN_OK;
}

tern_code cli_stats(cli *c, tern_err *err)
{
    tern_model_info info = {.size = sizeof info};
    tern_model *m = NULL;
    tern_session *s = NULL;
    tern_ids ids = {0};
    table t = {0};
    tern_code rc;
    /* What there is to gain, also of a model that is faster read whole here. */
    if (!cli_given(&c->opt, OPT_FFN_SPARSE))
        c->opt.value[OPT_FFN_SPARSE].num = TERN_FFN_SPARSE_ON;
    TERN_TRY_GOTO(cli_model_open(c, (int32_t)cli_int(&c->opt, OPT_THREADS), &m, err));
    tern_model_info_get(m, &info);
    TERN_TRY_GOTO(cli_file_ids(c, m, "stats", &ids, err));
    if (ids.n == 0) {
        rc = tern_fail(err, TERN_E_USAGE, "%s: no text", cli_text(&c->opt, OPT_FILE));
        goto fail;
    }
    TERN_TRY_GOTO(cli_session_new(c, m, (int32_t)cli_int(&c->opt, OPT_CHUNK), &s, err));
    cli_interrupt_init();
    cli_interrupt_target(s);
    tern_model_count_zeros(m, true);
    TERN_TRY_GOTO(evaluate(c, s, &ids, err));
    TERN_TRY_GOTO(collect(m, info.n_layer, &t, err));
    TERN_TRY_GOTO(write_file(cli_text(&c->opt, OPT_STATS_CSV), write_csv, &t, err));
    TERN_TRY_GOTO(write_file(cli_text(&c->opt, OPT_STATS_SVG), write_svg, &t, err));
    if (c->json) {
        rc = cli_print_json(describe(c, &t), err);
    } else {
        print_table(c, &t);
        rc = cli_flush(err);
    }
fail:
    cli_interrupt_target(NULL);
    tern_free(t.row);
    tern_ids_done(&ids);
    tern_session_free(s);
    tern_model_close(m);
    return rc;
}
