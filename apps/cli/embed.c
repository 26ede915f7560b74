/* Texts to vectors: one text of -p, or a text a line. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/os/outfile.h"
#include "base/utf8.h"
#include "cli.h"
#include "common/text_ids.h"
#include "npy.h"

#include <string.h>

/* Texts whose vectors are held in memory at a time. */
#define BATCH 1024

typedef struct job {
    cli *c;
    tern_model *m;
    tern_model_info info;
    tern_embed_opts o;
    tern_ids ids;
    size_t *begin;          /* owned; [n_text + 1]: each text's first id */
    tern_embed_text *texts; /* owned; [n_text] */
    size_t n_text, batch0;
    float *out; /* owned; [BATCH][d_model] */
} job;

/* ---- texts --------------------------------------------------------------------------------- */

static tern_code count_texts(job *j, const char *s, size_t n, bool lines, tern_err *err)
{
    j->n_text = 1;
    for (size_t i = 0; lines && i + 1 < n; i++)
        j->n_text += s[i] == '\n';
    if (lines && n == 0)
        j->n_text = 0;
    j->begin = tern_calloc(j->n_text + 1, sizeof *j->begin);
    j->texts = tern_calloc(j->n_text + 1, sizeof *j->texts);
    return j->begin && j->texts
               ? TERN_OK
               : tern_fail(err, TERN_E_NOMEM, "out of memory for %zu texts", j->n_text);
}

/* Ids of one text behind the prefix. */
static tern_code add_text(job *j, const char *s, size_t n, tern_str *both, tern_err *err)
{
    const cli_options *o = &j->c->opt;
    const char *prefix = cli_text(o, OPT_PREFIX);
    unsigned flags = (cli_flag(o, OPT_NO_SPECIAL) ? 0u : TERN_TOKENIZE_ADD_SPECIAL) |
                     (cli_flag(o, OPT_NO_PARSE) ? 0u : TERN_TOKENIZE_PARSE_SPECIAL);
    tern_str_clear(both);
    if (prefix)
        tern_str_puts(both, prefix);
    tern_str_put(both, s, n);
    if (both->failed)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a text");
    return text_ids_add(&j->ids, j->m, tern_str_get(both), both->len, flags, err);
}

static tern_code add_texts(job *j, const char *s, size_t n, bool lines, tern_err *err)
{
    tern_str both;
    tern_code rc = TERN_OK;
    size_t at = 0;
    tern_str_init(&both, 2 * CLI_MAX_INPUT);
    for (size_t i = 0; rc == TERN_OK && i < j->n_text; i++) {
        const char *end = lines ? memchr(s + at, '\n', n - at) : NULL;
        size_t len = end ? (size_t)(end - s) - at : n - at, next = at + len + 1;
        if (lines && len > 0 && s[at + len - 1] == '\r')
            len--;
        rc = add_text(j, s + at, len, &both, err);
        at = next;
        j->begin[i + 1] = j->ids.n;
    }
    tern_str_done(&both);
    for (size_t i = 0; rc == TERN_OK && i < j->n_text; i++)
        j->texts[i] = (tern_embed_text){j->ids.v + j->begin[i], j->begin[i + 1] - j->begin[i]};
    return rc;
}

static tern_code read_texts(job *j, tern_err *err)
{
    tern_str text;
    const char *name;
    tern_str_init(&text, CLI_MAX_INPUT);
    tern_code rc = cli_read_prompt(j->c, &text, &name, err);
    const char *s = tern_str_get(&text);
    bool lines = rc == TERN_OK && strcmp(name, "-p") != 0;
    if (rc == TERN_OK && !tern_utf8_valid(s, text.len))
        cli_warn(j->c, "%s: not all of it is UTF-8; tokenised byte by byte there", name);
    if (rc == TERN_OK)
        rc = count_texts(j, s, text.len, lines, err);
    if (rc == TERN_OK && j->n_text == 0)
        rc = tern_fail(err, TERN_E_USAGE, "%s: no texts", name);
    if (rc == TERN_OK)
        rc = add_texts(j, s, text.len, lines, err);
    tern_str_done(&text);
    return rc;
}

/* ---- vectors ------------------------------------------------------------------------------- */

static bool go_on(void *ctx, size_t done, size_t total)
{
    job *j = ctx;
    (void)total;
    cli_progress(j->c, "embedding", (double)(j->batch0 + done), (double)j->n_text, "");
    return !cli_interrupt_pending();
}

/* What is done with the vectors [n][d_model] of texts from batch0 on. */
typedef void (*give_fn)(void *ctx, const job *j, const float *v, size_t n);

static tern_code each_batch(job *j, give_fn give, void *ctx, tern_err *err)
{
    size_t d = (size_t)j->info.d_model, n = j->n_text < BATCH ? j->n_text : BATCH;
    TERN_TRY(tern_model_embed(j->m, j->texts, j->n_text, &j->o, NULL, err)); /* looks at them */
    j->out = tern_calloc(n * d, sizeof *j->out);
    if (!j->out)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for %zu vectors", n);
    for (j->batch0 = 0; j->batch0 < j->n_text; j->batch0 += n) {
        n = j->n_text - j->batch0 < BATCH ? j->n_text - j->batch0 : BATCH;
        TERN_TRY(tern_model_embed(j->m, j->texts + j->batch0, n, &j->o, j->out, err));
        cli_progress_end(j->c);
        give(ctx, j, j->out, n);
    }
    return TERN_OK;
}

static void write_rows(void *ctx, const job *j, const float *v, size_t n)
{
    cli_npy_values(ctx, v, n * (size_t)j->info.d_model);
}

static void print_rows(void *ctx, const job *j, const float *v, size_t n)
{
    size_t d = (size_t)j->info.d_model;
    (void)ctx;
    for (size_t i = 0; i < n * d; i++)
        (void)printf("%.9g%c", (double)v[i], (i + 1) % d ? ' ' : '\n');
}

static void append_rows(void *ctx, const job *j, const float *v, size_t n)
{
    size_t d = (size_t)j->info.d_model;
    for (size_t i = 0; i < n; i++) {
        json_t *x = json_array();
        for (size_t k = 0; k < d; k++)
            (void)json_array_append_new(x, json_real((double)v[i * d + k]));
        size_t text = j->batch0 + i;
        (void)json_array_append_new(ctx, json_pack("{s:I, s:I, s:o}", "index", (json_int_t)text,
                                                   "tokens", (json_int_t)j->texts[text].n_tok,
                                                   "embedding", x));
    }
}

/* ---- the verb ------------------------------------------------------------------------------ */

static json_t *report(const job *j)
{
    static const char *const names[] = {"", "mean", "cls", "last"};
    return json_pack("{s:s, s:s, s:b, s:i, s:I}", "model", cli_model_label(j->c), "pooling",
                     names[j->o.pooling], "normalized", j->o.normalize, "dimensions",
                     (int)j->info.d_model, "tokens", (json_int_t)j->ids.n);
}

static tern_code write_npy(job *j, const char *path, tern_err *err)
{
    const size_t dims[] = {j->n_text, (size_t)j->info.d_model};
    tern_outfile o;
    TERN_TRY(tern_outfile_open(&o, path, 0, err));
    cli_npy_header(o.f, dims, 2);
    tern_code rc = each_batch(j, write_rows, o.f, err);
    if (rc == TERN_OK)
        rc = tern_outfile_commit(&o, err);
    else
        tern_outfile_abort(&o);
    if (rc != TERN_OK || !j->c->json)
        return rc;
    json_t *r = report(j);
    (void)json_object_set_new(r, "file", json_string(path));
    (void)json_object_set_new(r, "shape",
                              json_pack("[I, I]", (json_int_t)dims[0], (json_int_t)dims[1]));
    return cli_print_json(r, err);
}

static tern_code print_json(job *j, tern_err *err)
{
    json_t *r = report(j), *data = json_array();
    tern_code rc = each_batch(j, append_rows, data, err);
    (void)json_object_set_new(r, "data", data);
    if (rc == TERN_OK)
        return cli_print_json(r, err);
    json_decref(r);
    return rc;
}

static tern_code set_options(job *j, tern_err *err)
{
    const cli_options *o = &j->c->opt;
    bool plain = cli_flag(o, OPT_NO_NORMALIZE);
    if (plain && cli_flag(o, OPT_NORMALIZE))
        return tern_fail(err, TERN_E_USAGE, "--normalize and --no-normalize exclude each other");
    tern_embed_opts_init(&j->o);
    j->o.normalize = !plain;
    j->o.n_ctx = (int32_t)cli_int(o, OPT_CTX);
    j->o.pooling = (tern_pooling)o->value[OPT_POOLING].num; /* choices in the order of the type */
    j->o.cache_k = (tern_cache_type)o->value[OPT_CACHE_K].num;
    j->o.cache_v = (tern_cache_type)o->value[OPT_CACHE_V].num;
    j->o.progress = go_on;
    j->o.ctx = j;
    return TERN_OK;
}

/* What the model names, so that it can be told. */
static void choose_pooling(job *j)
{
    if (j->o.pooling != TERN_POOLING_AUTO || j->info.pooling > TERN_POOLING_LAST)
        return;
    j->o.pooling = (tern_pooling)j->info.pooling;
    if (j->o.pooling != TERN_POOLING_AUTO)
        return;
    cli_warn(j->c, "%s names no pooling: the mean is taken (--pooling says otherwise)",
             cli_model_label(j->c));
    j->o.pooling = TERN_POOLING_MEAN;
}

tern_code cli_embed(cli *c, tern_err *err)
{
    const char *npy = cli_text(&c->opt, OPT_NPY);
    job j = {.c = c, .info.size = sizeof j.info};
    tern_code rc;
    if (c->json && npy && strcmp(npy, "-") == 0)
        return tern_fail(err, TERN_E_USAGE, "--json and --npy - both want standard output");
    TERN_TRY_GOTO(set_options(&j, err));
    TERN_TRY_GOTO(cli_model_open(c, (int32_t)cli_int(&c->opt, OPT_THREADS), &j.m, err));
    tern_model_info_get(j.m, &j.info);
    TERN_TRY_GOTO(read_texts(&j, err));
    choose_pooling(&j);
    cli_interrupt_init();
    if (npy)
        rc = write_npy(&j, npy, err);
    else if (c->json)
        rc = print_json(&j, err);
    else
        rc = each_batch(&j, print_rows, NULL, err);
    if (rc == TERN_OK && !npy && !c->json)
        rc = cli_flush(err);
fail:
    cli_progress_end(c);
    tern_ids_done(&j.ids);
    tern_free(j.begin);
    tern_free(j.texts);
    tern_free(j.out);
    tern_model_close(j.m);
    return rc;
}
