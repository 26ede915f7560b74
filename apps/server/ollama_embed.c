/* POST /api/embed and /api/embeddings: vectors of texts in Ollama's form. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "common/text_ids.h"
#include "server/ollama.h"

#include <math.h>
#include <string.h>

#define MAX_TEXTS 2048

static tern_code no_memory(fault *f)
{
    return fault_set(f, TERN_E_NOMEM, NULL, "out of memory");
}

/* Texts as ids. */
typedef struct batch {
    tern_embed_text *texts; /* owned, and their ids */
    size_t n, n_tok;
} batch;

static void batch_done(batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        tern_free((void *)(uintptr_t)b->texts[i].ids);
    tern_free(b->texts);
}

static tern_code tokenize(const serving *s, const json_t *text, const params *p, size_t i, batch *b,
                          fault *f)
{
    const char *bytes = json_string_value(text);
    size_t n_bytes = json_string_length(text), most = (size_t)s->info.n_ctx_train;
    tern_ids ids = {0};
    tern_code rc = text_ids_add(&ids, s->model, bytes, n_bytes, TERN_TOKENIZE_ADD_SPECIAL, &f->err);
    size_t n = ids.n;
    b->texts[b->n++] = (tern_embed_text){ids.v, n < most ? n : most};
    TERN_TRY(rc);
    if (n == 0) {
        (void)fault_set(f, TERN_E_USAGE, NULL, "an empty text has no vector");
        return fault_param(f, "input[%zu]", i);
    }
    if (n > most && !p->truncate) {
        (void)fault_set(f, TERN_E_LIMIT, NULL, "a text of %zu tokens, the context has %zu", n,
                        most);
        return fault_param(f, "input[%zu]", i);
    }
    b->n_tok += n < most ? n : most;
    return TERN_OK;
}

static tern_code read_texts(const serving *s, const params *p, const json_t *input, batch *b,
                            fault *f)
{
    size_t n = json_is_array(input) ? json_array_size(input) : 1;
    if (n > MAX_TEXTS)
        return fault_set(f, TERN_E_USAGE, "input", "input: expected at most %d texts", MAX_TEXTS);
    b->texts = tern_calloc(n ? n : 1, sizeof *b->texts);
    if (!b->texts)
        return no_memory(f);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_is_array(input) ? json_array_get(input, i) : input;
        if (!json_is_string(one))
            return fault_set(f, TERN_E_USAGE, "input", "input: expected a text or a list of texts");
        TERN_TRY(tokenize(s, one, p, i, b, f));
    }
    return TERN_OK;
}

/* The first n numbers, to length 1 again if there are fewer than there were. */
static json_t *vector_json(const float *v, size_t n, bool cut)
{
    json_t *list = json_array();
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    double scale = cut && sum > 0.0 ? 1.0 / sqrt(sum) : 1.0;
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(list, json_real((double)v[i] * scale)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* Vectors of all texts, [n][d_model], tern_free'd by the caller. */
static tern_code embed(const serving *s, const batch *b, bool normalize, float **out, fault *f)
{
    tern_embed_opts o;
    tern_embed_opts_init(&o);
    o.normalize = normalize;
    *out = tern_calloc(b->n ? b->n : 1, (size_t)s->info.d_model * sizeof **out);
    if (!*out)
        return no_memory(f);
    return b->n ? tern_model_embed(s->model, b->texts, b->n, &o, *out, &f->err) : TERN_OK;
}

static tern_code read_dimensions(const serving *s, const params *p, size_t *n, fault *f)
{
    *n = p->dimensions > 0 ? (size_t)p->dimensions : (size_t)s->info.d_model;
    if (*n > (size_t)s->info.d_model)
        return fault_set(f, TERN_E_USAGE, "dimensions", "dimensions: expected at most %d",
                         s->info.d_model);
    return TERN_OK;
}

static json_t *vectors_json(const serving *s, const batch *b, const float *v, size_t n)
{
    json_t *list = json_array();
    size_t d = (size_t)s->info.d_model;
    for (size_t i = 0; i < b->n; i++)
        if (json_array_append_new(list, vector_json(v + i * d, n, n < d)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static tern_code answer(exchange *x, const params *p, bool old, fault *f)
{
    const serving *s = exchange_serving(x);
    uint64_t begin = tern_clock_ns();
    batch b = {0};
    float *v = NULL;
    size_t n = 0;
    json_t *text = old && p->prompt_text ? json_string(p->prompt_text) : NULL;
    const json_t *input = old ? text : p->input;
    tern_code rc = TERN_OK;
    if (!input)
        rc = fault_set(f, TERN_E_USAGE, old ? "prompt" : "input", "%s: expected, but absent",
                       old ? "prompt" : "input");
    if (rc == TERN_OK)
        rc = read_dimensions(s, p, &n, f);
    if (rc == TERN_OK)
        rc = read_texts(s, p, input, &b, f);
    if (rc == TERN_OK)
        rc = embed(s, &b, !old, &v, f);
    if (rc == TERN_OK) {
        exchange_log(x, COUNT_PROMPT, b.n_tok);
        exchange_reply_json(x, 200,
                            old ? json_pack("{s:o}", "embedding", vector_json(v, n, false))
                                : json_pack("{s:o,s:o,s:I,s:i,s:I}", "model", ollama_name_json(s),
                                            "embeddings", vectors_json(s, &b, v, n),
                                            "total_duration", (json_int_t)(tern_clock_ns() - begin),
                                            "load_duration", 0, "prompt_eval_count",
                                            (json_int_t)b.n_tok));
    }
    tern_free(v);
    json_decref(text);
    batch_done(&b);
    return rc;
}

static void serve(exchange *x, bool old)
{
    json_t *body;
    params p;
    fault f = {0};
    if (!generate_read(x, old ? PARAM_OLLAMA_EMBEDDINGS : PARAM_OLLAMA_EMBED, &body, &p))
        return;
    if (answer(x, &p, old, &f) != TERN_OK)
        fault_reply(x, &f);
    json_decref(body);
}

void server_ollama_embed(exchange *x)
{
    serve(x, false);
}

void server_ollama_embeddings(exchange *x)
{
    serve(x, true);
}
