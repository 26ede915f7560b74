/* Raw logits of a text or of ids, for comparison with other software. */
#include "base/error.h"
#include "base/os/outfile.h"
#include "cli.h"
#include "common/text_ids.h"
#include "npy.h"

#include <errno.h>
#include <string.h>

static tern_code read_ids(cli *c, const tern_model *m, int32_t n_vocab, tern_ids *ids,
                          tern_err *err)
{
    unsigned flags = (cli_flag(&c->opt, OPT_NO_SPECIAL) ? 0u : TERN_TOKENIZE_ADD_SPECIAL) |
                     (cli_flag(&c->opt, OPT_NO_PARSE) ? 0u : TERN_TOKENIZE_PARSE_SPECIAL);
    const char *list = cli_text(&c->opt, OPT_IDS), *name;
    tern_str text;
    if (list && (cli_text(&c->opt, OPT_PROMPT) || cli_text(&c->opt, OPT_FILE)))
        return tern_fail(err, TERN_E_USAGE, "--ids and a text exclude each other");
    if (list)
        return cli_ids_parse("--ids", list, 0, n_vocab - 1, ids, err);
    tern_str_init(&text, CLI_MAX_INPUT);
    tern_code rc = cli_read_prompt(c, &text, &name, err);
    if (rc == TERN_OK)
        rc = text_ids_add(ids, m, tern_str_get(&text), text.len, flags, err);
    if (rc == TERN_OK && ids->n == 0)
        rc = tern_fail(err, TERN_E_USAGE, "%s: no tokens", name);
    tern_str_done(&text);
    return rc;
}

typedef struct sink {
    FILE *f;
    size_t n_vocab;
} sink;

static void write_row(void *ctx, int row, const float *logits)
{
    const sink *k = ctx;
    (void)row;
    cli_npy_values(k->f, logits, k->n_vocab);
}

static tern_code write_logits(cli *c, tern_session *s, size_t n_vocab, const tern_ids *ids,
                              const char *path, tern_err *err)
{
    bool all = cli_flag(&c->opt, OPT_ALL);
    const size_t dims[] = {ids->n, n_vocab};
    tern_outfile o;
    tern_code rc;
    TERN_TRY(tern_outfile_open(&o, path, 0, err));
    sink k = {.f = o.f, .n_vocab = n_vocab};
    if (all)
        cli_npy_header(o.f, dims, 2);
    else
        cli_npy_header(o.f, dims + 1, 1);
    cli_interrupt_target(s);
    rc = all ? tern_session_eval_all(s, ids->v, ids->n, write_row, &k, err)
             : tern_session_eval(s, ids->v, ids->n, err);
    cli_interrupt_target(NULL);
    cli_progress_end(c);
    if (rc == TERN_OK && !all)
        write_row(&k, 0, tern_session_logits(s));
    if (rc == TERN_OK)
        return tern_outfile_commit(&o, err);
    tern_outfile_abort(&o);
    return rc;
}

static tern_code report(const cli *c, const char *path, const tern_ids *ids, size_t n_vocab,
                        tern_err *err)
{
    bool all = cli_flag(&c->opt, OPT_ALL);
    if (!c->json)
        return TERN_OK;
    json_t *list = json_array();
    for (size_t i = 0; i < ids->n; i++)
        (void)json_array_append_new(list, json_integer(ids->v[i]));
    json_t *shape = all ? json_pack("[I, I]", (json_int_t)ids->n, (json_int_t)n_vocab)
                        : json_pack("[I]", (json_int_t)n_vocab);
    return cli_print_json(json_pack("{s:s, s:o, s:o}", "file", path, "shape", shape, "ids", list),
                          err);
}

tern_code cli_logits(cli *c, tern_err *err)
{
    const char *path = cli_text(&c->opt, OPT_OUT_FILE);
    tern_model_info info = {.size = sizeof info};
    tern_model *m = NULL;
    tern_session *s = NULL;
    tern_ids ids = {0};
    tern_code rc;
    if (!path)
        return tern_fail(err, TERN_E_USAGE, "logits needs -o OUT.npy (- is standard output)");
    if (c->json && strcmp(path, "-") == 0)
        return tern_fail(err, TERN_E_USAGE, "--json and -o - both want standard output");
    TERN_TRY_GOTO(cli_model_open(c, (int32_t)cli_int(&c->opt, OPT_THREADS), &m, err));
    tern_model_info_get(m, &info);
    TERN_TRY_GOTO(read_ids(c, m, info.n_vocab, &ids, err));
    TERN_TRY_GOTO(cli_session_new(c, m, (int32_t)cli_int(&c->opt, OPT_CTX), &s, err));
    cli_interrupt_init();
    TERN_TRY_GOTO(write_logits(c, s, (size_t)info.n_vocab, &ids, path, err));
    TERN_TRY_GOTO(report(c, path, &ids, (size_t)info.n_vocab, err));
fail:
    tern_ids_done(&ids);
    tern_session_free(s);
    tern_model_close(m);
    return rc;
}
