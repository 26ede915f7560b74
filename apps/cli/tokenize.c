#include "base/error.h"
#include "base/utf8.h"
#include "cli.h"
#include "common/text_ids.h"

#include <string.h>

/* The text of one token as it stands inside a text. SentencePiece drops the space before the first
 * token, so it is the second of two equal ones that is looked at. */
static tern_code piece_of(const tern_model *m, int32_t id, tern_str *out, tern_err *err)
{
    const int32_t twice[] = {id, id};
    char *one = NULL, *two = NULL;
    size_t n_one, n_two;
    tern_code rc;
    TERN_TRY_GOTO(tern_model_detokenize(m, twice, 1, true, &one, &n_one, err));
    TERN_TRY_GOTO(tern_model_detokenize(m, twice, 2, true, &two, &n_two, err));
    if (n_two >= n_one)
        tern_str_put(out, two + n_one, n_two - n_one);
    if (out->failed)
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory");
fail:
    tern_string_free(one);
    tern_string_free(two);
    return rc;
}

/* One line per token must stay one line. */
static void print_piece(int32_t id, const tern_str *piece)
{
    (void)printf("%6d ", id);
    for (size_t i = 0; i < piece->len; i++) {
        unsigned char ch = (unsigned char)piece->data[i];
        if (ch == '\n')
            (void)fputs("\\n", stdout);
        else if (ch == '\\')
            (void)fputs("\\\\", stdout);
        else if (ch < 32 || ch == 127)
            (void)printf("\\x%02x", ch);
        else
            (void)putchar(ch);
    }
    (void)putchar('\n');
}

static tern_code print_pieces(const cli *c, const tern_model *m, const tern_ids *ids, tern_err *err)
{
    json_t *o = json_object(), *list = json_array(), *pieces = json_array();
    tern_code rc = TERN_OK;
    tern_str piece;
    tern_str_init(&piece, 1 << 24);
    for (size_t i = 0; rc == TERN_OK && i < ids->n; i++) {
        tern_str_clear(&piece);
        rc = piece_of(m, ids->v[i], &piece, err);
        if (rc == TERN_OK && c->json) {
            (void)json_array_append_new(list, json_integer(ids->v[i]));
            (void)json_array_append_new(pieces, json_stringn(tern_str_get(&piece), piece.len));
        } else if (rc == TERN_OK) {
            print_piece(ids->v[i], &piece);
        }
    }
    tern_str_done(&piece);
    (void)json_object_set_new(o, "n", json_integer((json_int_t)ids->n));
    (void)json_object_set_new(o, "ids", list);
    (void)json_object_set_new(o, "pieces", pieces);
    if (rc == TERN_OK && c->json)
        return cli_print_json(o, err);
    json_decref(o);
    return rc;
}

static tern_code detokenize(const cli *c, const tern_model *m, const char *list, tern_err *err)
{
    tern_model_info info = {.size = sizeof info};
    tern_ids ids = {0};
    char *text = NULL;
    size_t n;
    tern_code rc;
    tern_model_info_get(m, &info);
    TERN_TRY_GOTO(cli_ids_parse("--detokenize", list, 0, info.n_vocab - 1, &ids, err));
    TERN_TRY_GOTO(
        tern_model_detokenize(m, ids.v, ids.n, cli_flag(&c->opt, OPT_SPECIAL), &text, &n, err));
    if (c->json) {
        rc = cli_print_json(json_pack("{s:s%}", "text", text, n), err);
    } else {
        (void)fwrite(text, 1, n, stdout);
        (void)putchar('\n');
    }
fail:
    tern_ids_done(&ids);
    tern_string_free(text);
    return rc;
}

static tern_code tokenize(cli *c, const tern_model *m, tern_err *err)
{
    unsigned flags = (cli_flag(&c->opt, OPT_NO_SPECIAL) ? 0u : TERN_TOKENIZE_ADD_SPECIAL) |
                     (cli_flag(&c->opt, OPT_NO_PARSE) ? 0u : TERN_TOKENIZE_PARSE_SPECIAL);
    const char *name;
    tern_ids ids = {0};
    tern_str text;
    tern_code rc;
    tern_str_init(&text, CLI_MAX_INPUT);
    TERN_TRY_GOTO(cli_read_prompt(c, &text, &name, err));
    if (!tern_utf8_valid(tern_str_get(&text), text.len))
        cli_warn(c, "%s: not all of it is UTF-8; tokenised byte by byte there", name);
    TERN_TRY_GOTO(text_ids_add(&ids, m, tern_str_get(&text), text.len, flags, err));
    if (c->json || cli_flag(&c->opt, OPT_PIECES)) {
        rc = print_pieces(c, m, &ids, err);
    } else {
        for (size_t i = 0; i < ids.n; i++)
            (void)printf("%s%d", i ? " " : "", ids.v[i]);
        (void)putchar('\n');
    }
fail:
    tern_ids_done(&ids);
    tern_str_done(&text);
    return rc;
}

tern_code cli_tokenize(cli *c, tern_err *err)
{
    const char *list = cli_text(&c->opt, OPT_DETOKENIZE);
    tern_model *m;
    TERN_TRY(cli_model_open(c, (int32_t)cli_int(&c->opt, OPT_THREADS), &m, err));
    tern_code rc = list ? detokenize(c, m, list, err) : tokenize(c, m, err);
    tern_model_close(m);
    return rc == TERN_OK ? cli_flush(err) : rc;
}
