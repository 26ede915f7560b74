/* POST /v1/embeddings, on the worker's thread. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "common/text_ids.h"
#include "server/openai.h"

#include <math.h>
#include <string.h>

#define MAX_INPUTS 2048

typedef struct inputs {
    tern_embed_text *v; /* owned, with its ids */
    size_t n, n_tok;
} inputs;

static void inputs_done(inputs *in)
{
    for (size_t i = 0; in->v && i < in->n; i++)
        tern_free((void *)(uintptr_t)in->v[i].ids);
    tern_free(in->v);
}

static bool is_ids(const json_t *v)
{
    return json_array_size(v) > 0 && json_is_integer(json_array_get(v, 0));
}

static tern_code bad_input(fault *f)
{
    return fault_set(
        f, TERN_E_USAGE, "input",
        "input: expected a text, a list of at most %d texts, a list of token ids, or a list "
        "of such lists; none of them empty",
        MAX_INPUTS);
}

static tern_code read_ids(const serving *s, const json_t *v, tern_ids *ids, fault *f)
{
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *id = json_array_get(v, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= s->info.n_vocab)
            return fault_set(f, TERN_E_USAGE, "input", "input: expected token ids from 0 to %d",
                             s->info.n_vocab - 1);
        TERN_TRY(tern_ids_push(ids, (int32_t)json_integer_value(id), &f->err));
    }
    return TERN_OK;
}

static tern_code read_input(const serving *s, const json_t *v, tern_embed_text *out, fault *f)
{
    size_t bytes = json_string_length(v);
    bool text = json_is_string(v);
    if (!(text && bytes) && !is_ids(v))
        return bad_input(f);
    tern_ids ids = {0};
    tern_code rc = text ? text_ids_add(&ids, s->model, json_string_value(v), bytes,
                                       TERN_TOKENIZE_ADD_SPECIAL, &f->err)
                        : read_ids(s, v, &ids, f);
    *out = (tern_embed_text){ids.v, ids.n};
    return rc;
}

static tern_code read_inputs(const serving *s, const json_t *v, inputs *in, fault *f)
{
    bool list = json_is_array(v) && !is_ids(v);
    size_t n = list ? json_array_size(v) : 1;
    if (!v || n == 0 || n > MAX_INPUTS)
        return bad_input(f);
    in->v = tern_calloc(n, sizeof *in->v);
    if (!in->v)
        return fault_set(f, TERN_E_NOMEM, NULL, "out of memory for the texts");
    in->n = n;
    for (size_t i = 0; i < n; i++) {
        TERN_TRY(read_input(s, list ? json_array_get(v, i) : v, &in->v[i], f));
        in->n_tok += in->v[i].n_tok;
    }
    return TERN_OK;
}

/* ---- replies ------------------------------------------------------------------------------------------ */

/* Little-endian floats in base64. */
static json_t *base64_json(const float *v, size_t n)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n_byte = 4 * n;
    uint8_t *bytes = tern_alloc(n_byte + 2);
    tern_str s;
    tern_str_init(&s, 2 * n_byte + 8);
    for (size_t i = 0; bytes && i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], 4);
        for (int k = 0; k < 4; k++)
            bytes[4 * i + (size_t)k] = (uint8_t)(bits >> (8 * k));
    }
    if (bytes)
        memset(bytes + n_byte, 0, 2);
    for (size_t i = 0; bytes && i < n_byte; i += 3) {
        uint32_t x = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        tern_str_putc(&s, letters[x >> 18]);
        tern_str_putc(&s, letters[x >> 12 & 63]);
        tern_str_putc(&s, i + 1 < n_byte ? letters[x >> 6 & 63] : '=');
        tern_str_putc(&s, i + 2 < n_byte ? letters[x & 63] : '=');
    }
    json_t *text = bytes && !s.failed ? json_stringn(tern_str_get(&s), s.len) : NULL;
    tern_str_done(&s);
    tern_free(bytes);
    return text;
}

static json_t *float_json(const float *v, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(list, json_real((double)v[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static void to_length_1(float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    for (size_t i = 0; sum > 0 && i < n; i++)
        v[i] = (float)((double)v[i] / sqrt(sum));
}

static json_t *reply_json(const serving *s, const params *p, const inputs *in, float *vectors)
{
    size_t d = (size_t)s->info.d_model, n = p->dimensions ? (size_t)p->dimensions : d;
    bool base64 = strcmp(p->encoding_format, "base64") == 0;
    json_t *data = json_array();
    for (size_t i = 0; i < in->n; i++) {
        float *v = vectors + i * d;
        if (n < d)
            to_length_1(v, n);
        (void)json_array_append_new(data, json_pack("{s:s,s:i,s:o}", "object", "embedding", "index",
                                                    (int)i, "embedding",
                                                    base64 ? base64_json(v, n) : float_json(v, n)));
    }
    json_t *whole = json_pack("{s:s,s:o,s:s,s:{s:I,s:I}}", "object", "list", "data", data, "model",
                              s->name, "usage", "prompt_tokens", (json_int_t)in->n_tok,
                              "total_tokens", (json_int_t)in->n_tok);
    if (json_array_size(data) == in->n)
        return whole;
    json_decref(whole);
    return NULL;
}

/* ---- the request -------------------------------------------------------------------------------------- */

static bool go_on(void *ctx, size_t done, size_t total)
{
    (void)done, (void)total;
    return !exchange_is_gone(ctx);
}

static tern_code embed(exchange *x, const inputs *in, float *vectors, fault *f)
{
    const serving *s = exchange_serving(x);
    tern_embed_opts o;
    tern_scheduler_stats st = {.size = sizeof st};
    tern_scheduler_stats_get(s->scheduler, &st);
    for (size_t i = 0; i < in->n; i++) {
        if (in->v[i].n_tok <= (size_t)st.n_ctx)
            continue;
        (void)fault_set(
            f, TERN_E_LIMIT, "input",
            "this model's maximum context length is %d tokens, but text %zu has %zu tokens",
            st.n_ctx, i, in->v[i].n_tok);
        f->code = "context_length_exceeded";
        return TERN_E_LIMIT;
    }
    tern_embed_opts_init(&o);
    o.n_ctx = st.n_ctx;
    o.progress = go_on;
    o.ctx = x;
    tern_code rc = tern_model_embed(s->model, in->v, in->n, &o, vectors, &f->err);
    if (rc != TERN_OK)
        fault_param(f, "input");
    return rc;
}

void openai_embeddings(exchange *x)
{
    const serving *s = exchange_serving(x);
    json_t *body;
    params p;
    fault f = {0};
    inputs in = {0};
    float *vectors = NULL;
    size_t n;
    tern_code rc;
    if (!generate_read(x, PARAM_EMBEDDING, &body, &p))
        return;
    TERN_TRY_GOTO(p.dimensions > s->info.d_model
                      ? fault_set(&f, TERN_E_USAGE, "dimensions",
                                  "dimensions: expected an integer from 1 to %d", s->info.d_model)
                      : TERN_OK);
    TERN_TRY_GOTO(read_inputs(s, p.input, &in, &f));
    vectors =
        tern_mul_size(in.n, (size_t)s->info.d_model, &n) ? tern_calloc(n, sizeof *vectors) : NULL;
    TERN_TRY_GOTO(vectors ? TERN_OK
                          : fault_set(&f, TERN_E_NOMEM, NULL, "out of memory for vectors"));
    TERN_TRY_GOTO(embed(x, &in, vectors, &f));
    exchange_log(x, COUNT_PROMPT, in.n_tok);
    exchange_reply_json(x, 200, reply_json(s, &p, &in, vectors));
fail:
    if (rc != TERN_OK)
        fault_reply(x, &f);
    tern_free(vectors);
    inputs_done(&in);
    json_decref(body);
}
