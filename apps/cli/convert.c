/* `tern convert`, `tern quantize` and `tern ternarize`: any model that can be opened, written as a GGUF file with other
 * tensor types, then opened again and compared. */
#include "compress/convert.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/os/outfile.h"
#include "cli.h"
#include "common/text_ids.h"
#include "compress/ternarize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct job {
    cli *c;
    const char *in, *out;
    compress_opts o;
    compress_override overrides[CLI_MAX_LIST];
    json_t *rows;       /* owned: what became of each tensor */
    uint64_t bytes_out; /* of the tensors */
    size_t n_tensor;
    bool ternarize;
    ternarize_opts ternary;
    tern_ids ids;                /* to calibrate with */
    double mse, relative, zeros; /* summed over what was made ternary */
    size_t n_ternary;
    imatrix weights; /* of --imatrix; empty: errors weigh by the values alone */
} job;

/* ---- what became of each tensor ------------------------------------------------------------ */

static void note_import(void *ctx, const tern_tensor *from, const char *to, const char *note)
{
    job *j = ctx;
    json_t *row = json_pack("{s:s, s:s?, s:s, s:s}", "source", from->name, "name", to, "from",
                            tern_dtype_get(from->dtype)->name, "note", note);
    (void)json_array_append_new(j->rows, row);
}

static json_t *row_of(const job *j, const char *name)
{
    size_t i;
    json_t *row;
    json_array_foreach(j->rows, i, row)
    {
        const char *to = json_string_value(json_object_get(row, "name"));
        if (to && strcmp(to, name) == 0)
            return row;
    }
    row = json_pack("{s:s, s:s, s:s}", "source", name, "name", name, "note", "");
    (void)json_array_append_new(j->rows, row);
    return row;
}

static void note_type(void *ctx, const compress_note *n)
{
    job *j = ctx;
    json_t *row = row_of(j, n->name);
    if (!json_object_get(row, "from"))
        (void)json_object_set_new(row, "from", json_string(tern_dtype_get(n->from)->name));
    (void)json_object_set_new(row, "to", json_string(tern_dtype_get(n->to)->name));
    (void)json_object_set_new(row, "bytes", json_integer((json_int_t)n->bytes_out));
    if (n->why)
        (void)json_object_set_new(row, "why", json_string(n->why));
    j->bytes_out += n->bytes_out;
    j->n_tensor++;
}

static const char *text_at(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* What was made ternary has its errors there. */
static void note_ternary(void *ctx, const ternarize_report *r)
{
    job *j = ctx;
    json_t *row = row_of(j, r->name);
    char text[112], group[32] = "the matrix";
    if (r->group != TERNARIZE_TENSOR)
        (void)snprintf(group, sizeof group, "%zu", r->group);
    (void)snprintf(text, sizeof text,
                   "mse %.3g, %.1f %% of its square, %.0f %% zeros, a scale per %s", r->mse,
                   100.0 * r->relative, 100.0 * r->zeros, group);
    (void)json_object_set_new(row, "mse", json_real(r->mse));
    (void)json_object_set_new(row, "relative_mse", json_real(r->relative));
    (void)json_object_set_new(row, "zeros", json_real(r->zeros));
    (void)json_object_set_new(row, "note", json_string(text));
    j->mse += r->mse;
    j->relative += r->relative;
    j->zeros += r->zeros;
    j->n_ternary++;
}

static void print_rows(const job *j, FILE *to)
{
    size_t i;
    json_t *row;
    (void)fputs("| tensor | becomes | from | to | because |\n|---|---|---|---|---|\n", to);
    json_array_foreach(j->rows, i, row)
    {
        const char *note = text_at(row, "note"), *why = text_at(row, "why");
        (void)fprintf(to, "| %s | %s | %s | %s | %s%s%s |\n", text_at(row, "source"),
                      *text_at(row, "name") ? text_at(row, "name") : "left out",
                      text_at(row, "from"), text_at(row, "to"), note, *note && *why ? "; " : "",
                      why);
    }
}

/* ---- options ------------------------------------------------------------------------------- */

static tern_code type_option(const cli *c, cli_opt id, tern_dtype *out, tern_err *err)
{
    const char *s = cli_text(&c->opt, id);
    return s ? compress_type_parse(s, out, err) : TERN_OK;
}

/* "regex=type" */
static tern_code add_override(job *j, const char *item, tern_err *err)
{
    const char *type = strrchr(item, '=');
    char *pattern = type ? tern_strdup_n(item, (size_t)(type - item)) : NULL;
    compress_override *v = &j->overrides[j->o.n_override];
    if (!type)
        return tern_fail(err, TERN_E_USAGE, "--tensor-type '%.60s': expected REGEX=TYPE", item);
    if (!pattern)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    tern_code rc = compress_type_parse(type + 1, &v->type, err);
    if (rc == TERN_OK && regcomp(&v->name, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        rc = tern_fail(err, TERN_E_USAGE, "--tensor-type '%.60s': no regular expression", pattern);
    else if (rc == TERN_OK)
        j->o.n_override++;
    tern_free(pattern);
    return rc;
}

static tern_code weigh(void *ctx, const tern_tensor *t, tern_dtype to, const float **out,
                       tern_err *err)
{
    job *j = ctx;
    if (tern_dtype_get(to)->cls != TERN_CLASS_BLOCK || to == TERN_DT_Q8_0)
        return TERN_OK; /* leaves no choice */
    return imatrix_weigh(&j->weights, t, out, err);
}

/* What llama.cpp's quantiser notes. */
static void put_keys(void *ctx, tern_gguf_writer *w)
{
    const job *j = ctx;
    tern_gguf_key_str(w, "quantize.imatrix.file", cli_text(&j->c->opt, OPT_IMATRIX));
    if (*j->weights.dataset)
        tern_gguf_key_str(w, "quantize.imatrix.dataset", j->weights.dataset);
    tern_gguf_key_u32(w, "quantize.imatrix.entries_count", (uint32_t)j->weights.n);
    if (j->weights.n_chunk > 0)
        tern_gguf_key_u32(w, "quantize.imatrix.chunks_count", j->weights.n_chunk);
}

static tern_code read_weights(job *j, tern_err *err)
{
    const char *path = cli_text(&j->c->opt, OPT_IMATRIX);
    imatrix_init(&j->weights);
    if (!path)
        return TERN_OK;
    j->ternary.weights = &j->weights;
    j->o.importance = weigh;
    j->o.keys = put_keys;
    return imatrix_read(&j->weights, path, err);
}

static void show_progress(void *ctx, uint64_t done, uint64_t total)
{
    job *j = ctx;
    cli_progress(j->c, "writing", (double)done, (double)total, "");
}

static bool is_cancelled(void *ctx)
{
    (void)ctx;
    return cli_interrupt_pending();
}

static tern_code read_options(job *j, tern_err *err)
{
    const cli *c = j->c;
    compress_opts_init(&j->o);
    j->o.note = note_type;
    j->o.progress = show_progress;
    j->o.cancelled = is_cancelled;
    j->o.ctx = j;
    j->o.force = cli_flag(&c->opt, OPT_FORCE);
    j->o.overrides = j->overrides;
    TERN_TRY(type_option(c, OPT_EMBED_TYPE, &j->o.embed, err));
    TERN_TRY(type_option(c, OPT_HEAD_TYPE, &j->o.head, err));
    for (size_t i = 0; i < c->opt.tensor_type.n; i++)
        TERN_TRY(add_override(j, c->opt.tensor_type.item[i], err));
    return TERN_OK;
}

/* ---- the check ----------------------------------------------------------------------------- */

static const char check_text[] =
    "The river rose in the night, and by morning the lower fields were under water. Nobody had "
    "expected it so early in the year, and the bridge had to be closed.";

#define CHECK_MAX 48

typedef struct logits {
    float *v; /* owned; [n_tok][n_vocab] */
    int32_t n_vocab;
    size_t n_tok;
} logits;

static void keep_row(void *ctx, int row, const float *v)
{
    logits *l = ctx;
    memcpy(l->v + (size_t)row * (size_t)l->n_vocab, v, (size_t)l->n_vocab * sizeof *v);
}

static tern_code read_logits(cli *c, const char *path, logits *l, tern_err *err)
{
    tern_model_info info = {.size = sizeof info};
    tern_model_opts mo;
    tern_model *m = NULL;
    tern_session *s = NULL;
    tern_ids ids = {0};
    tern_code rc;
    tern_model_opts_init(&mo);
    mo.n_thread = (int32_t)cli_int(&c->opt, OPT_THREADS);
    mo.pre_tokenizer = cli_text(&c->opt, OPT_PRE);
    mo.i2s_layout = cli_text(&c->opt, OPT_I2S_LAYOUT);
    TERN_TRY_GOTO(tern_model_open(path, &mo, &m, err));
    tern_model_info_get(m, &info);
    TERN_TRY_GOTO(
        text_ids_add(&ids, m, check_text, sizeof check_text - 1, TERN_TOKENIZE_ADD_SPECIAL, err));
    l->n_vocab = info.n_vocab;
    l->n_tok = ids.n < CHECK_MAX ? ids.n : CHECK_MAX;
    l->v = calloc(l->n_tok * (size_t)l->n_vocab, sizeof *l->v);
    if (!l->v) {
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory for the comparison");
        goto fail;
    }
    TERN_TRY_GOTO(cli_session_new(c, m, CHECK_MAX, &s, err));
    TERN_TRY_GOTO(tern_session_eval_all(s, ids.v, l->n_tok, keep_row, l, err));
fail:
    tern_ids_done(&ids);
    tern_session_free(s);
    tern_model_close(m);
    return rc;
}

static size_t largest(const float *v, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (v[i] > v[best])
            best = i;
    return best;
}

/* Same top tokens, the largest difference as a share of the largest logit, mean KL divergence. */
static tern_code compare(const logits *a, const logits *b, json_t **out, tern_err *err)
{
    size_t n = (size_t)a->n_vocab, same = 0;
    double worst = 0.0, top = 0.0, kl = 0.0;
    if (a->n_vocab != b->n_vocab || a->n_tok != b->n_tok)
        return tern_fail(err, TERN_E_SELFTEST,
                         "what was written has %d tokens in its vocabulary and %zu in a text, the "
                         "source %d and %zu",
                         b->n_vocab, b->n_tok, a->n_vocab, a->n_tok);
    for (size_t t = 0; t < a->n_tok; t++) {
        const float *x = a->v + t * n, *y = b->v + t * n;
        size_t best = largest(x, n), best_y = largest(y, n);
        double sx = 0.0, sy = 0.0, sum = 0.0;
        same += best == best_y;
        for (size_t i = 0; i < n; i++) {
            double d = fabs((double)x[i] - (double)y[i]), m = fabs((double)x[i]);
            if (!isfinite(d))
                return tern_fail(err, TERN_E_SELFTEST, "a logit of token %zu is not finite", t);
            worst = d > worst ? d : worst;
            top = m > top ? m : top;
            sx += exp((double)x[i] - (double)x[best]);
            sy += exp((double)y[i] - (double)y[best_y]);
        }
        double lx = log(sx) + (double)x[best], ly = log(sy) + (double)y[best_y];
        for (size_t i = 0; i < n; i++)
            sum += exp((double)x[i] - lx) * (((double)x[i] - lx) - ((double)y[i] - ly));
        kl += sum;
    }
    *out = json_pack("{s:I, s:I, s:f, s:f}", "tokens", (json_int_t)a->n_tok, "same_top",
                     (json_int_t)same, "largest_difference", top > 0.0 ? worst / top : 0.0,
                     "mean_kl", a->n_tok ? kl / (double)a->n_tok : 0.0);
    return TERN_OK;
}

/* What was written against the source's logits, which were taken before: a source that does not run is
 * not written at all. */
static tern_code check(const job *j, const logits *source, json_t **out, tern_err *err)
{
    logits l = {0};
    tern_code rc = read_logits(j->c, j->out, &l, err);
    if (rc == TERN_OK)
        rc = compare(source, &l, out, err);
    free(l.v);
    return rc;
}

/* ---- the verbs ----------------------------------------------------------------------------- */

/* Means over the matrices. */
static json_t *describe_ternary(const job *j)
{
    double n = j->n_ternary > 0 ? (double)j->n_ternary : 1.0;
    return json_pack("{s:I, s:f, s:f, s:f}", "matrices", (json_int_t)j->n_ternary, "mse",
                     j->mse / n, "relative_mse", j->relative / n, "zeros", j->zeros / n);
}

static tern_code report(const job *j, json_t *checked, tern_err *err)
{
    if (j->c->json) {
        json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:O}", "source", j->in, "file", j->out,
                              "tensors", (json_int_t)j->n_tensor, "tensor_bytes",
                              (json_int_t)j->bytes_out, "rows", j->rows);
        if (j->ternarize)
            (void)json_object_set_new(o, "ternary", describe_ternary(j));
        if (checked)
            (void)json_object_set(o, "check", checked);
        return cli_print_json(o, err);
    }
    FILE *to = strcmp(j->out, "-") == 0 ? stderr : stdout;
    if (cli_flag(&j->c->opt, OPT_EXPLAIN))
        print_rows(j, to);
    if (j->n_ternary > 0 && (to == stdout || !j->c->quiet))
        (void)fprintf(to,
                      "%zu matrices made ternary: mean squared error %.3g, %.1f %% of their "
                      "square, %.0f %% zeros (means over matrices)\n",
                      j->n_ternary, j->mse / (double)j->n_ternary,
                      100.0 * j->relative / (double)j->n_ternary,
                      100.0 * j->zeros / (double)j->n_ternary);
    if (to == stdout || !j->c->quiet)
        (void)fprintf(to, "%s: %zu tensors, %.1f MB\n", j->out, j->n_tensor,
                      (double)j->bytes_out * 1e-6);
    if (checked)
        (void)printf("compared with the source: the same likeliest token %lld times of %lld, "
                     "largest difference %.2g of the largest logit, mean KL divergence %.2g\n",
                     (long long)json_integer_value(json_object_get(checked, "same_top")),
                     (long long)json_integer_value(json_object_get(checked, "tokens")),
                     json_number_value(json_object_get(checked, "largest_difference")),
                     json_number_value(json_object_get(checked, "mean_kl")));
    return cli_flush(err);
}

static tern_code write_file(job *j, tern_err *err)
{
    static const char *const layouts[] = {"x86", "arm", "rows4"};
    tern_import_opts io = {.note = note_import, .ctx = j};
    for (int i = 0; i < 3; i++)
        if (strcmp(cli_text(&j->c->opt, OPT_I2S_LAYOUT), layouts[i]) == 0)
            io.dir.i2s_layout = (tern_i2s_layout)i;
    int n_thread = (int)cli_int(&j->c->opt, OPT_THREADS);
    tern_code rc = j->ternarize
                       ? compress_ternarize(j->in, &io, j->out, &j->o, &j->ternary, n_thread, err)
                       : compress_convert(j->in, &io, j->out, &j->o, n_thread, err);
    cli_progress_end(j->c);
    return rc;
}

/* What is no file can be written, but not read again; and standard output holds one thing. */
static tern_code check_target(const job *j, tern_err *err)
{
    bool to_stdout = strcmp(j->out, "-") == 0;
    if (!cli_flag(&j->c->opt, OPT_NO_CHECK) && !tern_outfile_is_file(j->out))
        return tern_fail(err, TERN_E_USAGE,
                         "%s cannot be read again for the comparison with the source: add "
                         "--no-check, or write to a file",
                         to_stdout ? "standard output" : j->out);
    if (to_stdout && j->c->json)
        return tern_fail(err, TERN_E_USAGE, "standard output is for the model: no --json with it");
    if (to_stdout && isatty(STDOUT_FILENO))
        return tern_fail(err, TERN_E_USAGE, "standard output is a terminal: write to a file");
    return TERN_OK;
}

/* Chunks of -f's text as tern perplexity cuts it. */
static tern_code read_calibration(job *j, tern_err *err)
{
    const cli *c = j->c;
    size_t n_ctx = (size_t)cli_int(&c->opt, OPT_CHUNK);
    tern_model_info info = {.size = sizeof info};
    tern_model_opts mo;
    tern_model *m = NULL;
    if (!j->ternarize || j->ternary.method != TERNARY_GPTQ)
        return TERN_OK;
    tern_model_opts_init(&mo);
    mo.n_thread = (int32_t)cli_int(&c->opt, OPT_THREADS);
    mo.pre_tokenizer = cli_text(&c->opt, OPT_PRE);
    TERN_TRY(tern_model_open(j->in, &mo, &m, err));
    tern_model_info_get(m, &info);
    tern_code rc = cli_file_ids(j->c, m, "ternarize --method gptq", &j->ids, err);
    size_t n = j->ids.n / n_ctx, most = (size_t)cli_int(&c->opt, OPT_TERNARIZE_CHUNKS);
    j->ternary.n_seq = n < most ? n : most;
    j->ternary.n_ctx = (int)n_ctx;
    j->ternary.ids = j->ids.v;
    for (size_t i = 0; info.add_bos && i < j->ternary.n_seq; i++)
        j->ids.v[i * n_ctx] = info.bos;
    tern_model_close(m);
    if (rc == TERN_OK && n == 0)
        rc = tern_fail(err, TERN_E_USAGE,
                       "%s: too short: %zu tokens, one chunk takes %zu (a smaller -c helps)",
                       cli_text(&c->opt, OPT_FILE), j->ids.n, n_ctx);
    return rc;
}

static tern_code run(job *j, tern_err *err)
{
    json_t *checked = NULL;
    logits source = {0};
    bool compared = !cli_flag(&j->c->opt, OPT_NO_CHECK);
    tern_code rc;
    tern_str path;
    cli_interrupt_init();
    tern_str_init(&path, 1 << 14);
    TERN_TRY_GOTO(check_target(j, err));
    j->rows = json_array();
    TERN_TRY_GOTO(read_weights(j, err));
    TERN_TRY_GOTO(cli_model_path(j->c, j->in, &path, NULL, err));
    j->in = tern_str_get(&path);
    if (compared)
        TERN_TRY_GOTO(read_logits(j->c, j->in, &source, err));
    TERN_TRY_GOTO(read_calibration(j, err));
    TERN_TRY_GOTO(write_file(j, err));
    cli_warn_unweighted(j->c, &j->weights);
    if (compared)
        TERN_TRY_GOTO(check(j, &source, &checked, err));
    TERN_TRY_GOTO(report(j, checked, err));
fail:
    for (size_t i = 0; i < j->o.n_override; i++)
        regfree(&j->overrides[i].name);
    imatrix_done(&j->weights);
    free(source.v);
    tern_ids_done(&j->ids);
    json_decref(checked);
    json_decref(j->rows);
    tern_str_done(&path);
    return rc;
}

tern_code cli_convert(cli *c, tern_err *err)
{
    job j = {.c = c, .out = cli_text(&c->opt, OPT_OUT_FILE)};
    if (c->opt.words.n != 1 || !j.out)
        return tern_fail(err, TERN_E_USAGE, "convert needs a folder or file, and -o OUT.gguf");
    j.in = c->opt.words.item[0];
    TERN_TRY(read_options(&j, err));
    TERN_TRY(type_option(c, OPT_TYPE, &j.o.type, err));
    return run(&j, err);
}

tern_code cli_quantize(cli *c, tern_err *err)
{
    job j = {.c = c};
    if (c->opt.words.n != 3)
        return tern_fail(err, TERN_E_USAGE, "quantize needs IN, OUT and TYPE");
    j.in = c->opt.words.item[0];
    j.out = c->opt.words.item[1];
    TERN_TRY(read_options(&j, err));
    TERN_TRY(compress_type_parse(c->opt.words.item[2], &j.o.type, err));
    return run(&j, err);
}

/* "row", "tensor", or a number of columns. */
static tern_code read_group(const cli *c, size_t *out, tern_err *err)
{
    const char *s = cli_text(&c->opt, OPT_GROUP);
    uint64_t n;
    *out = TERNARIZE_BLOCK;
    if (!s)
        return TERN_OK;
    if (strcmp(s, "row") == 0)
        *out = TERNARIZE_ROW;
    else if (strcmp(s, "tensor") == 0)
        *out = TERNARIZE_TENSOR;
    else if (tern_parse_u64(s, strlen(s), &n) && n > 0 && n <= INT32_MAX)
        *out = (size_t)n;
    else
        return tern_fail(err, TERN_E_USAGE, "--group '%.40s': expected a number, row or tensor", s);
    return TERN_OK;
}

tern_code cli_ternarize(cli *c, tern_err *err)
{
    job j = {.c = c, .ternarize = true};
    if (c->opt.words.n != 2)
        return tern_fail(err, TERN_E_USAGE, "ternarize needs IN and OUT.gguf");
    j.in = c->opt.words.item[0];
    j.out = c->opt.words.item[1];
    j.ternary = (ternarize_opts){.method = (ternary_method)cli_int(&c->opt, OPT_METHOD),
                                 .damp = 0.01,
                                 .report = note_ternary,
                                 .ctx = &j};
    if (j.ternary.method == TERNARY_GPTQ && !cli_text(&c->opt, OPT_FILE))
        return tern_fail(err, TERN_E_USAGE,
                         "--method gptq needs a text to calibrate with: -f FILE");
    if (j.ternary.method != TERNARY_OPTIMAL && cli_text(&c->opt, OPT_IMATRIX))
        return tern_fail(err, TERN_E_USAGE, "--imatrix goes with --method optimal only");
    TERN_TRY(read_group(c, &j.ternary.group, err));
    TERN_TRY(read_options(&j, err));
    TERN_TRY(type_option(c, OPT_TERNARIZE_TYPE, &j.o.type, err));
    return run(&j, err);
}
