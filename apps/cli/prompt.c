/* From a conversation to token ids, such that no message can spell a control token.
 *
 * The template writes control tokens as text, so its output must be tokenised with them recognised;
 * a message that contains "<|im_end|>" would then end its own turn. When a message holds such a
 * spelling, a mark (a character found in no message) is put inside it before the template runs, so
 * that only the template's own control tokens are recognised in the result. The text between those
 * is then tokenised without recognition and without the marks: a control token separates what
 * stands on its two sides, so the pieces have the ids they have in the whole. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/utf8.h"
#include "cli.h"

#include <stdlib.h>
#include <string.h>

/* The text of a control token, which shows only on demand; NULL for other ids. Released by
 * tern_string_free. */
static tern_code control_text(const tern_model *m, int32_t id, char **text, size_t *n,
                              tern_err *err)
{
    char *hidden;
    size_t n_hidden;
    *text = NULL;
    TERN_TRY(tern_model_detokenize(m, &id, 1, false, &hidden, &n_hidden, err));
    tern_string_free(hidden);
    if (n_hidden > 0)
        return TERN_OK;
    TERN_TRY(tern_model_detokenize(m, &id, 1, true, text, n, err));
    if (*n == 0) {
        tern_string_free(*text);
        *text = NULL;
    }
    return TERN_OK;
}

/* Put the mark into each control token spelled in text. *n_found: how many there were. */
static tern_code mark_once(const tern_model *m, const char *mark, const tern_str *text,
                           tern_str *out, size_t *n_found, tern_err *err)
{
    cli_ids ids = {0};
    const char *at = tern_str_get(text), *end = at + text->len;
    tern_code rc = cli_ids_add(m, at, text->len, TERN_TOKENIZE_PARSE_SPECIAL, &ids, err);
    *n_found = 0;
    for (size_t i = 0; rc == TERN_OK && i < ids.n; i++) {
        char *word;
        size_t n;
        rc = control_text(m, ids.v[i], &word, &n, err);
        const char *found = rc == TERN_OK && word ? memmem(at, (size_t)(end - at), word, n) : NULL;
        if (found) {
            uint32_t cp;
            int first = tern_utf8_decode(found, (size_t)(end - found), &cp);
            size_t keep = (size_t)(found - at) + (size_t)(first > 0 ? first : 1);
            tern_str_put(out, at, keep);
            tern_str_puts(out, mark);
            at += keep;
            ++*n_found;
        }
        if (rc == TERN_OK)
            tern_string_free(word);
    }
    tern_str_put(out, at, (size_t)(end - at));
    if (rc == TERN_OK && out->failed)
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory for the prompt");
    cli_ids_done(&ids);
    return rc;
}

/* A mark may leave a shorter control token inside a longer one; a few rounds end that. */
#define MAX_ROUNDS 8

static tern_code mark_text(const tern_model *m, const char *mark, tern_str *text, bool *marked,
                           tern_err *err)
{
    for (int round = 0; round < MAX_ROUNDS; round++) {
        tern_str next;
        size_t n_found;
        tern_str_init(&next, CLI_MAX_INPUT);
        tern_code rc = mark_once(m, mark, text, &next, &n_found, err);
        if (rc != TERN_OK || n_found == 0) {
            tern_str_done(&next);
            return rc;
        }
        *marked = true;
        tern_str_done(text);
        *text = next;
    }
    return tern_fail(err, TERN_E_USAGE, "a message spells control tokens in too many ways");
}

/* A copy of the messages with marks, or *out NULL when none is needed. */
static tern_code mark_messages(const tern_model *m, const char *mark, const json_t *messages,
                               json_t **out, tern_err *err)
{
    bool marked = false;
    tern_code rc = TERN_OK;
    json_t *copy = json_deep_copy(messages), *message;
    size_t i;
    *out = NULL;
    if (!copy)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the prompt");
    json_array_foreach(copy, i, message)
    {
        json_t *content = json_object_get(message, "content");
        tern_str text;
        if (!json_is_string(content))
            continue;
        tern_str_init(&text, CLI_MAX_INPUT);
        tern_str_put(&text, json_string_value(content), json_string_length(content));
        rc = text.failed ? tern_fail(err, TERN_E_NOMEM, "out of memory for the prompt")
                         : mark_text(m, mark, &text, &marked, err);
        if (rc == TERN_OK && json_object_set_new(message, "content",
                                                 json_stringn(tern_str_get(&text), text.len)) != 0)
            rc = tern_fail(err, TERN_E_NOMEM, "out of memory for the prompt");
        tern_str_done(&text);
        if (rc != TERN_OK)
            break;
    }
    if (rc == TERN_OK && marked)
        *out = copy;
    else
        json_decref(copy);
    return rc;
}

/* Ids of text without its marks and without recognising control tokens. */
static tern_code add_plain(const tern_model *m, const char *mark, const char *text, size_t n,
                           cli_ids *out, tern_err *err)
{
    tern_str plain;
    const char *at = text, *end = text + n, *found;
    tern_code rc = TERN_OK;
    tern_str_init(&plain, CLI_MAX_INPUT);
    while ((found = memmem(at, (size_t)(end - at), mark, strlen(mark))) != NULL) {
        tern_str_put(&plain, at, (size_t)(found - at));
        at = found + strlen(mark);
    }
    tern_str_put(&plain, at, (size_t)(end - at));
    if (plain.failed)
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory for the prompt");
    else if (plain.len)
        rc = cli_ids_add(m, tern_str_get(&plain), plain.len, 0, out, err);
    tern_str_done(&plain);
    return rc;
}

/* The ids between: walks from one control token to the next. */
static tern_code add_pieces(const tern_model *m, const char *mark, const char *text, size_t n,
                            const cli_ids *ids, cli_ids *out, tern_err *err)
{
    const char *at = text, *end = text + n;
    for (size_t i = 0; i < ids->n; i++) {
        char *word;
        size_t n_word;
        TERN_TRY(control_text(m, ids->v[i], &word, &n_word, err));
        /* What stands nowhere is an unknown token, which the plain text brings by itself. */
        const char *found = word ? memmem(at, (size_t)(end - at), word, n_word) : NULL;
        tern_string_free(word);
        if (!found)
            continue;
        TERN_TRY(add_plain(m, mark, at, (size_t)(found - at), out, err));
        TERN_TRY(cli_ids_push(out, ids->v[i], err));
        at = found + n_word;
    }
    return add_plain(m, mark, at, (size_t)(end - at), out, err);
}

static tern_code add_marked(const tern_model *m, const char *mark, const char *text, size_t n,
                            cli_ids *out, tern_err *err)
{
    const unsigned parse = TERN_TOKENIZE_PARSE_SPECIAL;
    cli_ids bare = {0}, full = {0};
    tern_code rc;
    TERN_TRY_GOTO(cli_ids_add(m, text, n, parse, &bare, err));
    TERN_TRY_GOTO(cli_ids_add(m, text, n, parse | TERN_TOKENIZE_ADD_SPECIAL, &full, err));
    /* What the vocabulary adds: a BOS before all, an EOS after. */
    bool bos = full.n > bare.n &&
               (bare.n == 0 || memcmp(full.v + 1, bare.v, bare.n * sizeof *bare.v) == 0);
    if (bos)
        TERN_TRY_GOTO(cli_ids_push(out, full.v[0], err));
    TERN_TRY_GOTO(add_pieces(m, mark, text, n, &bare, out, err));
    if (full.n > bare.n + bos)
        TERN_TRY_GOTO(cli_ids_push(out, full.v[full.n - 1], err));
fail:
    cli_ids_done(&bare);
    cli_ids_done(&full);
    return rc;
}

/* A character of the last private plane that no message contains. */
static tern_code choose_mark(const char *messages, char mark[5], tern_err *err)
{
    for (uint32_t cp = 0x10fffd; cp > 0x10ff00; cp--) {
        int n = tern_utf8_encode(cp, mark);
        mark[n] = '\0';
        if (!strstr(messages, mark))
            return TERN_OK;
    }
    return tern_fail(err, TERN_E_USAGE, "the messages use all private characters");
}

static tern_code render(const tern_model *m, const json_t *messages, char **text, size_t *n,
                        tern_err *err)
{
    char *json = json_dumps(messages, 0);
    *text = NULL;
    if (!json)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the prompt");
    tern_code rc = tern_model_chat_prompt(m, json, NULL, true, text, n, err);
    free(json);
    return rc;
}

tern_code cli_chat_ids(const tern_model *m, const json_t *messages, cli_ids *out, tern_err *err)
{
    char mark[5], *text = NULL, *json = json_dumps(messages, 0);
    json_t *marked = NULL;
    size_t n;
    tern_code rc = TERN_E_NOMEM;
    if (!json)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the prompt");
    TERN_TRY_GOTO(choose_mark(json, mark, err));
    TERN_TRY_GOTO(mark_messages(m, mark, messages, &marked, err));
    TERN_TRY_GOTO(render(m, marked ? marked : messages, &text, &n, err));
    if (marked)
        rc = add_marked(m, mark, text, n, out, err);
    else
        rc = cli_ids_add(m, text, n, TERN_TOKENIZE_ADD_SPECIAL | TERN_TOKENIZE_PARSE_SPECIAL, out,
                         err);
fail:
    tern_string_free(text);
    json_decref(marked);
    free(json);
    return rc;
}
