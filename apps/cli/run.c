/* One prompt, one answer: plain on standard output, or one JSON object. */
#include "base/error.h"
#include "cli.h"
#include "common/text_ids.h"

#include <string.h>

static tern_code chat_ids(const cli *c, const tern_model *m, const tern_str *text, tern_ids *ids,
                          tern_err *err)
{
    const char *system = cli_text(&c->opt, OPT_SYSTEM);
    json_t *messages = json_array();
    tern_code rc = TERN_OK;
    bool ok = messages != NULL;
    if (ok && system)
        ok = json_array_append_new(
                 messages, json_pack("{s:s, s:s}", "role", "system", "content", system)) == 0;
    ok = ok && json_array_append_new(messages, json_pack("{s:s, s:s%}", "role", "user", "content",
                                                         tern_str_get(text), text->len)) == 0;
    if (ok)
        rc = cli_chat_ids(m, messages, ids, err);
    else
        rc = tern_fail(err, TERN_E_USAGE, "the prompt or the system message is not UTF-8 text");
    json_decref(messages);
    return rc;
}

static tern_code make_ids(cli *c, const tern_model *m, const tern_str *text, tern_ids *ids,
                          tern_err *err)
{
    tern_model_info info = {.size = sizeof info};
    tern_model_info_get(m, &info);
    bool insist = cli_flag(&c->opt, OPT_CNV), plain = cli_flag(&c->opt, OPT_NO_CNV);
    if (insist && plain)
        return tern_fail(err, TERN_E_USAGE, "-cnv and -no-cnv exclude each other");
    if (insist || (info.has_chat_template && !plain)) {
        if (text->len == 0)
            return tern_fail(err, TERN_E_USAGE, "the prompt is empty");
        return chat_ids(c, m, text, ids, err);
    }
    if (cli_given(&c->opt, OPT_SYSTEM))
        cli_warn(c, "without a chat template the system message is not used");
    return text_ids_add(ids, m, tern_str_get(text), text->len,
                        TERN_TOKENIZE_ADD_SPECIAL | TERN_TOKENIZE_PARSE_SPECIAL, err);
}

static tern_code read_prompt(const cli *c, tern_str *text, tern_err *err)
{
    const char *name;
    TERN_TRY(cli_read_prompt(c, text, &name, err));
    TERN_TRY(cli_check_utf8(name, tern_str_get(text), text->len, err));
    if (strcmp(name, "-p") == 0)
        return TERN_OK;
    if (text->len && text->data[text->len - 1] == '\n') /* the editor's, not the author's */
        text->data[--text->len] = '\0';
    if (text->len == 0)
        return tern_fail(err, TERN_E_USAGE, "%s: the prompt is empty", name);
    return TERN_OK;
}

/* What --prompt-cache has: of a file that is of no use here a warning is all. */
static tern_code load_cache(cli *c, tern_session *s, tern_err *err)
{
    const char *path = cli_text(&c->opt, OPT_PROMPT_CACHE);
    tern_err why;
    if (!path)
        return TERN_OK;
    tern_code rc = tern_session_load(s, path, &why);
    if (rc == TERN_E_FORMAT || rc == TERN_E_LIMIT)
        cli_warn(c, "%s; the prompt is read anew", why.msg);
    else if (rc != TERN_OK && rc != TERN_E_NOT_FOUND)
        return tern_fail(err, rc, "%s", why.msg);
    return TERN_OK;
}

/* The prompt, without the answer, unless the file had it all. */
static tern_code save_cache(const cli *c, tern_session *s, const tern_ids *ids, const cli_answer *a,
                            tern_err *err)
{
    const char *path = cli_text(&c->opt, OPT_PROMPT_CACHE);
    size_t n_tok;
    if (!path || a->stats.n_cached + 1 >= ids->n)
        return TERN_OK;
    tern_session_rewind(s, ids->n);
    (void)tern_session_tokens(s, &n_tok);
    return n_tok ? tern_session_save(s, path, err) : TERN_OK;
}

static tern_code answer(cli *c, tern_model *m, const tern_ids *ids, tern_err *err)
{
    tern_session *s;
    cli_answer a;
    TERN_TRY(cli_session_new(c, m, (int32_t)cli_int(&c->opt, OPT_CTX), &s, err));
    cli_answer_init(&a);
    a.seed = cli_seed(c, 0);
    cli_interrupt_init();
    tern_code rc = load_cache(c, s, err);
    if (rc == TERN_OK)
        rc = cli_answer_run(c, m, s, ids, !c->json, &a, err);
    if (c->json && rc == TERN_OK)
        rc = cli_print_json(cli_answer_json(c, &a), err);
    else if (!c->json && (rc == TERN_OK || a.text.len)) {
        (void)fputc('\n', stdout);
        tern_code rc2 = cli_flush(rc == TERN_OK ? err : NULL);
        rc = rc == TERN_OK ? rc2 : rc;
    }
    if (rc == TERN_OK && !c->quiet && (c->err_tty || c->verbose))
        cli_answer_print_stats(c, s, &a);
    if (rc == TERN_OK && c->verbose)
        (void)fprintf(stderr, "seed %llu\n", (unsigned long long)a.seed);
    if (rc == TERN_OK)
        rc = save_cache(c, s, ids, &a, err);
    if (rc == TERN_OK && a.finish == TERN_FINISH_CANCELLED)
        rc = tern_fail(err, TERN_E_CANCELLED, "interrupted");
    cli_answer_done(&a);
    tern_session_free(s);
    return rc;
}

tern_code cli_run(cli *c, tern_err *err)
{
    tern_model *m = NULL;
    tern_ids ids = {0};
    tern_str text;
    tern_code rc;
    tern_str_init(&text, CLI_MAX_INPUT);
    TERN_TRY_GOTO(read_prompt(c, &text, err));
    TERN_TRY_GOTO(cli_model_open(c, (int32_t)cli_int(&c->opt, OPT_THREADS), &m, err));
    TERN_TRY_GOTO(make_ids(c, m, &text, &ids, err));
    TERN_TRY_GOTO(answer(c, m, &ids, err));
fail:
    tern_ids_done(&ids);
    tern_model_close(m);
    tern_str_done(&text);
    return rc;
}
