/* POST /tokenize, /detokenize and /apply-template: what text is to the model. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/utf8.h"
#include "common/text_ids.h"
#include "server/generate.h"

#include <string.h>

static tern_code no_memory(fault *f)
{
    return fault_set(f, TERN_E_NOMEM, NULL, "out of memory");
}

/* ---- tokenize -------------------------------------------------------------------------------- */

/* Replies are written as text: a value for each token of a large one would take fifty times as much. */
#define MAX_REPLY ((size_t)1 << 30)

static tern_code put_piece(const tern_model *m, int32_t id, tern_str *out, fault *f)
{
    size_t n;
    const char *bytes = tern_model_token_bytes(m, id, &n);
    json_t *piece = json_stringn(bytes, n);
    char *quoted = piece ? json_dumps(piece, JSON_ENCODE_ANY) : NULL;
    if (quoted) {
        tern_str_puts(out, quoted);
    } else if (!piece) { /* a part of a character: its bytes */
        for (size_t i = 0; i < n; i++)
            tern_str_printf(out, "%c%d", i > 0 ? ',' : '[', (unsigned char)bytes[i]);
        tern_str_puts(out, n > 0 ? "]" : "[]");
    }
    free(quoted);
    json_decref(piece);
    return piece && !quoted ? no_memory(f) : TERN_OK;
}

static tern_code put_tokens(const tern_model *m, const int32_t *ids, size_t n, bool with_pieces,
                            tern_str *out, fault *f)
{
    tern_str_puts(out, "{\"tokens\":[");
    for (size_t i = 0; i < n && !out->failed; i++) {
        if (i > 0)
            tern_str_putc(out, ',');
        if (with_pieces) {
            tern_str_printf(out, "{\"id\":%d,\"piece\":", ids[i]);
            TERN_TRY(put_piece(m, ids[i], out, f));
            tern_str_putc(out, '}');
        } else {
            tern_str_printf(out, "%d", ids[i]);
        }
    }
    tern_str_puts(out, "]}");
    return out->failed ? no_memory(f) : TERN_OK;
}

static tern_code reply_tokens(exchange *x, const params *p, fault *f)
{
    const tern_model *m = exchange_serving(x)->model;
    unsigned flags = (p->add_special ? TERN_TOKENIZE_ADD_SPECIAL : 0u) |
                     (p->parse_special ? TERN_TOKENIZE_PARSE_SPECIAL : 0u);
    tern_ids ids = {0};
    tern_str text;
    if (!p->content)
        return fault_set(f, TERN_E_USAGE, "content", "content: expected a string, but absent");
    tern_str_init(&text, MAX_REPLY);
    tern_code rc = text_ids_add(&ids, m, p->content, strlen(p->content), flags, &f->err);
    if (rc == TERN_OK)
        rc = put_tokens(m, ids.v, ids.n, p->with_pieces, &text, f);
    if (rc == TERN_OK)
        exchange_reply(x, 200, "application/json", tern_str_get(&text), text.len);
    tern_ids_done(&ids);
    tern_str_done(&text);
    return rc;
}

/* ---- detokenize ------------------------------------------------------------------------------ */

static tern_code read_ids(const serving *s, const json_t *list, int32_t **out, size_t *n, fault *f)
{
    *n = json_array_size(list);
    *out = tern_calloc(*n ? *n : 1, sizeof **out);
    if (!*out)
        return no_memory(f);
    for (size_t i = 0; i < *n; i++) {
        const json_t *v = json_array_get(list, i);
        json_int_t id = json_integer_value(v);
        if (!json_is_integer(v) || id < 0 || id >= s->info.n_vocab) {
            (void)fault_set(f, TERN_E_USAGE, NULL, "expected an id from 0 to %d",
                            s->info.n_vocab - 1);
            return fault_param(f, "tokens[%zu]", i);
        }
        (*out)[i] = (int32_t)id;
    }
    return TERN_OK;
}

/* Ids may end within a character; what is not whole shows as the mark for such. */
static json_t *lossy_json(const char *text, size_t n)
{
    json_t *whole = json_stringn(text, n);
    if (whole)
        return whole;
    tern_str s;
    tern_str_init(&s, 64u << 20);
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        int len = tern_utf8_decode(text + i, n - i, &cp);
        if (len > 0)
            tern_str_put(&s, text + i, (size_t)len);
        else
            tern_str_puts(&s, "\xef\xbf\xbd");
        i += len > 0 ? (size_t)len : 1;
    }
    whole = s.failed ? NULL : json_stringn(tern_str_get(&s), s.len);
    tern_str_done(&s);
    return whole;
}

static tern_code reply_text(exchange *x, const params *p, fault *f)
{
    const serving *s = exchange_serving(x);
    int32_t *ids = NULL;
    char *text = NULL;
    size_t n = 0, n_text = 0;
    if (!p->tokens)
        return fault_set(f, TERN_E_USAGE, "tokens", "tokens: expected a list of ids, but absent");
    tern_code rc = read_ids(s, p->tokens, &ids, &n, f);
    if (rc == TERN_OK)
        rc = tern_model_detokenize(s->model, ids, n, p->show_special, &text, &n_text, &f->err);
    tern_free(ids);
    if (rc == TERN_OK)
        exchange_reply_json(x, 200, json_pack("{s:o}", "content", lossy_json(text, n_text)));
    tern_string_free(text);
    return rc;
}

/* ---- templates ------------------------------------------------------------------------------- */

static tern_code reply_prompt(exchange *x, const params *p, fault *f)
{
    generate_request g = {.x = x,
                          .p = p,
                          .messages = p->messages,
                          .tools = json_array_size(p->tools) > 0 ? p->tools : NULL,
                          .vars = p->template_vars};
    char *text = NULL;
    size_t n;
    if (!p->messages)
        return fault_set(f, TERN_E_USAGE, "messages", "messages: expected a list, but absent");
    TERN_TRY(generate_text(&g, p->add_generation_prompt, &text, &n, f));
    exchange_reply_json(x, 200, json_pack("{s:o}", "prompt", lossy_json(text, n)));
    tern_string_free(text);
    return TERN_OK;
}

/* ---- endpoints ------------------------------------------------------------------------------- */

static void serve(exchange *x, param_endpoint endpoint,
                  tern_code (*answer)(exchange *x, const params *p, fault *f))
{
    json_t *body;
    params p;
    fault f = {0};
    if (!generate_read(x, endpoint, &body, &p))
        return;
    if (answer(x, &p, &f) != TERN_OK)
        fault_reply(x, &f);
    json_decref(body);
}

void server_tokenize(exchange *x)
{
    serve(x, PARAM_TOKENIZE, reply_tokens);
}

void server_detokenize(exchange *x)
{
    serve(x, PARAM_DETOKENIZE, reply_text);
}

void server_apply_template(exchange *x)
{
    serve(x, PARAM_TEMPLATE, reply_prompt);
}
