/* POST /completion: a prompt and its answer in the form of llama.cpp's server. */
#include "base/alloc.h"
#include "base/error.h"
#include "common/text_ids.h"
#include "server/generate.h"

#include <math.h>
#include <string.h>

#define MAX_PROMPTS 64

static tern_code no_memory(fault *f)
{
    return fault_set(f, TERN_E_NOMEM, NULL, "out of memory");
}

/* ---- prompts --------------------------------------------------------------------------------- */

/* A text, ids, both in one list, or a list of such. */
typedef struct prompts {
    generate_prompt v[MAX_PROMPTS];
    json_t *ids[MAX_PROMPTS]; /* owned; NULL: of a text */
    size_t n;
    bool many; /* a list of prompts: a list of replies */
} prompts;

static void prompts_done(prompts *ps)
{
    for (size_t i = 0; i < ps->n; i++)
        json_decref(ps->ids[i]);
}

/* The ids of one text within a list of ids; the first thing of a prompt gets BOS and the like. */
static tern_code add_text(const tern_model *m, const json_t *text, bool first, json_t *out,
                          fault *f)
{
    tern_ids ids = {0};
    unsigned flags = TERN_TOKENIZE_PARSE_SPECIAL | (first ? TERN_TOKENIZE_ADD_SPECIAL : 0u);
    tern_code rc =
        text_ids_add(&ids, m, json_string_value(text), json_string_length(text), flags, &f->err);
    for (size_t i = 0; rc == TERN_OK && i < ids.n; i++)
        if (json_array_append_new(out, json_integer(ids.v[i])) != 0)
            rc = no_memory(f);
    tern_ids_done(&ids);
    return rc;
}

/* Ids with texts between them. */
static tern_code mixed_ids(const tern_model *m, const json_t *list, json_t **out, fault *f)
{
    tern_code rc = TERN_OK;
    *out = json_array();
    if (!*out)
        return no_memory(f);
    for (size_t i = 0; rc == TERN_OK && i < json_array_size(list); i++) {
        json_t *e = json_array_get(list, i);
        if (json_is_string(e))
            rc = add_text(m, e, i == 0, *out, f);
        else if (!json_is_integer(e))
            rc = fault_set(f, TERN_E_USAGE, "prompt", "prompt: expected texts and ids only");
        else if (json_array_append(*out, e) != 0)
            rc = no_memory(f);
    }
    return rc;
}

static tern_code add_prompt(const tern_model *m, const json_t *one, prompts *ps, fault *f)
{
    generate_prompt *p = &ps->v[ps->n];
    *p = (generate_prompt){0};
    ps->ids[ps->n++] = NULL;
    if (json_is_string(one)) {
        p->text = json_string_value(one);
        p->n_text = json_string_length(one);
        return TERN_OK;
    }
    if (!json_is_array(one))
        return fault_set(f, TERN_E_USAGE, "prompt",
                         "prompt: expected a text, a list of ids and texts, or a list of such");
    TERN_TRY(mixed_ids(m, one, &ps->ids[ps->n - 1], f));
    p->ids = ps->ids[ps->n - 1];
    return TERN_OK;
}

/* A list is one prompt if there is an id in it, else one of prompts. */
static bool is_list_of_prompts(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_is_integer(json_array_get(list, i)))
            return false;
    return json_array_size(list) > 0;
}

static tern_code prompts_read(const tern_model *m, const json_t *prompt, prompts *ps, fault *f)
{
    ps->n = 0;
    ps->many = is_list_of_prompts(prompt);
    if (!prompt)
        return fault_set(f, TERN_E_USAGE, "prompt", "prompt: expected, but absent");
    if (!ps->many)
        return add_prompt(m, prompt, ps, f);
    size_t n = json_array_size(prompt);
    if (n > MAX_PROMPTS)
        return fault_set(f, TERN_E_USAGE, "prompt", "prompt: expected at most %d prompts",
                         MAX_PROMPTS);
    for (size_t i = 0; i < n; i++)
        TERN_TRY(add_prompt(m, json_array_get(prompt, i), ps, f));
    return TERN_OK;
}

/* ---- replies --------------------------------------------------------------------------------- */

/* One reply on its way; it is gone when its last event was seen. */
typedef struct reply {
    exchange *x; /* borrowed: generate keeps it until then */
    const serving *s;
    bool stream, begun, many, probs_final, tokens, timings;
    int32_t n_probs;
    json_t *stops, *settings, *fields, *prompts; /* owned */
    size_t n;                                    /* prompts */
    struct counts {
        size_t n_prompt, n_cached, n_token;
    } * counts;             /* owned: of each prompt, as far as it is known */
    json_t **ids;           /* owned: of each answer, if asked for */
    json_t **probabilities; /* owned: of each answer, if asked for; of a whole reply */
    generate_gather gather;
} reply;

static void reply_free(reply *r)
{
    for (size_t i = 0; i < r->n; i++) {
        if (r->ids)
            json_decref(r->ids[i]);
        if (r->probabilities)
            json_decref(r->probabilities[i]);
    }
    tern_free(r->ids);
    tern_free(r->probabilities);
    tern_free(r->counts);
    json_decref(r->stops);
    json_decref(r->settings);
    json_decref(r->fields);
    json_decref(r->prompts);
    generate_gather_done(&r->gather);
    tern_free(r);
}

/* A token's text as bytes and, where it is whole, as text. */
static bool put_text(json_t *o, const char *text, size_t n)
{
    json_t *bytes = json_array(), *whole = json_stringn(text, n);
    bool fine = json_object_set_new(o, "bytes", bytes) == 0;
    for (size_t i = 0; fine && i < n; i++)
        fine = json_array_append_new(bytes, json_integer((unsigned char)text[i])) == 0;
    /* not UTF-8: the part of a character that it is shows as the mark for such */
    return fine &
           (json_object_set_new(o, "token", whole ? whole : json_string("\xef\xbf\xbd")) == 0);
}

/* Probabilities of what the sampler chose from are told as such, the model's as logarithms. */
static json_t *chance_json(const reply *r, int32_t id, float logprob, const char *text, size_t n)
{
    json_t *o = json_pack("{s:i}", "id", id);
    double value = r->probs_final ? exp((double)logprob) : (double)logprob;
    json_t *number = isfinite(value)  ? json_real(value)
                     : r->probs_final ? json_real(0)
                                      : json_real(-9999); /* JSON has no infinity */
    bool fine = o && put_text(o, text, n);
    if (json_object_set_new(o, r->probs_final ? "prob" : "logprob", number) != 0 || !fine) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static json_t *token_json(const reply *r, const generate_token *t)
{
    json_t *o = chance_json(r, t->id, t->logprob, t->text, t->n_text), *top = json_array();
    bool fine = json_object_set_new(o, r->probs_final ? "top_probs" : "top_logprobs", top) == 0;
    for (size_t i = 0; fine && i < t->n_top; i++) {
        size_t n;
        const char *text = tern_model_token_bytes(r->s->model, t->top[i].id, &n);
        fine = json_array_append_new(top,
                                     chance_json(r, t->top[i].id, t->top[i].logprob, text, n)) == 0;
    }
    if (!fine) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static json_t *tokens_json(const reply *r, const generate_event *ev)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ev->n_token; i++)
        if (json_array_append_new(list, token_json(r, &ev->tokens[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *ids_json(const generate_event *ev)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ev->n_token; i++)
        if (json_array_append_new(list, json_integer(ev->tokens[i].id)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static const char *stop_type(const generate_answer *a)
{
    if (a->finish == GENERATE_LENGTH)
        return "limit";
    return a->stop >= 0 ? "word" : "eos";
}

static json_t *stopping_word(const reply *r, const generate_answer *a)
{
    json_t *s = json_is_array(r->stops) ? json_array_get(r->stops, (size_t)a->stop) : r->stops;
    return a->stop >= 0 && s ? json_incref(s) : json_string("");
}

static json_t *final_json(const reply *r, size_t i)
{
    const generate_answer *a = &r->gather.v[i];
    const generate_usage *u = &a->usage;
    const char *text = r->stream ? "" : tern_str_get(&a->text);
    size_t n = r->stream ? 0 : a->text.len;
    json_t *prompt = r->many ? json_array_get(r->prompts, i) : r->prompts;
    json_t *o = json_pack(
        "{s:I,s:s%,s:o,s:i,s:b,s:s,s:I,s:I,s:I,s:O,s:O,s:b,s:b,s:s,s:o,s:o}", "index",
        (json_int_t)i, "content", text, n, "tokens",
        r->ids && !r->stream ? json_incref(r->ids[i]) : json_array(), "id_slot", -1, "stop", 1,
        "model", r->s->name, "tokens_predicted", (json_int_t)u->n_generated, "tokens_evaluated",
        (json_int_t)u->n_prompt, "tokens_cached", (json_int_t)u->n_cached, "generation_settings",
        r->settings, "prompt", prompt, "has_new_line",
        memchr(tern_str_get(&a->text), '\n', a->text.len) != NULL, "truncated", 0, "stop_type",
        stop_type(a), "stopping_word", stopping_word(r, a), "timings", generate_timings_json(u));
    if (o && r->probabilities && !r->stream &&
        json_object_set(o, "completion_probabilities", r->probabilities[i]) != 0) {
        json_decref(o);
        return NULL;
    }
    return o;
}

/* ---- only some fields ------------------------------------------------------------------------ */

/* The value at "a/b/c" of o. */
static json_t *find(json_t *o, const char *path)
{
    for (int depth = 0; o && depth < 8; depth++) {
        const char *slash = strchr(path, '/');
        if (!slash)
            return json_object_get(o, path);
        o = json_object_getn(o, path, (size_t)(slash - path));
        path = slash + 1;
    }
    return NULL;
}

/* Releases o. As llama.cpp has it: the last part of a path is the name in the reply. */
static json_t *chosen(const reply *r, json_t *o)
{
    size_t n = json_array_size(r->fields);
    if (!o || n == 0)
        return o;
    json_t *out = json_object();
    for (size_t i = 0; out && i < n; i++) {
        const char *path = json_string_value(json_array_get(r->fields, i));
        json_t *v = path ? find(o, path) : NULL;
        const char *slash = path ? strrchr(path, '/') : NULL;
        if (v && json_object_set(out, slash ? slash + 1 : path, v) != 0) {
            json_decref(out);
            out = NULL;
        }
    }
    json_decref(o);
    return out;
}

/* ---- events ---------------------------------------------------------------------------------- */

static void write_event(reply *r, json_t *value)
{
    if (!r->begun)
        exchange_stream_begin(r->x, "text/event-stream");
    r->begun = true;
    (void)exchange_event(r->x, NULL, value);
}

static void write_part(reply *r, const generate_event *ev)
{
    struct counts *c = &r->counts[ev->answer];
    c->n_token += ev->n_token;
    if (ev->n_text == 0 && ev->n_token == 0)
        return;
    json_t *o = json_pack("{s:i,s:s%,s:o,s:b,s:i,s:I,s:I}", "index", (int)ev->answer, "content",
                          ev->text, ev->n_text, "tokens", r->tokens ? ids_json(ev) : json_array(),
                          "stop", 0, "id_slot", -1, "tokens_predicted", (json_int_t)c->n_token,
                          "tokens_evaluated", (json_int_t)c->n_prompt);
    if (o && r->n_probs > 0 && ev->n_token > 0 &&
        json_object_set_new(o, "completion_probabilities", tokens_json(r, ev)) != 0) {
        json_decref(o);
        o = NULL;
    }
    write_event(r, chosen(r, o));
}

static void write_progress(reply *r, const generate_event *ev)
{
    json_t *progress = json_pack("{s:I,s:I,s:I}", "total", (json_int_t)ev->n_prompt, "cache",
                                 (json_int_t)ev->n_cached, "processed", (json_int_t)ev->n_done);
    write_event(r, json_pack("{s:i,s:s,s:[],s:b,s:i,s:o}", "index", (int)ev->answer, "content", "",
                             "tokens", "stop", 0, "id_slot", -1, "prompt_progress", progress));
}

static void write_ping(reply *r)
{
    if (!r->begun)
        exchange_stream_begin(r->x, "text/event-stream");
    r->begun = true;
    (void)exchange_stream_write(r->x, ":\n\n", 3);
}

static void end_stream(reply *r, const fault *f)
{
    if (f && !r->begun)
        fault_reply(r->x, f);
    else if (f)
        (void)exchange_event(r->x, "error", fault_json(r->x, f));
    if (r->begun)
        exchange_stream_end(r->x);
}

static void on_stream(void *ctx, const generate_event *ev)
{
    reply *r = ctx;
    generate_gather_add(&r->gather, ev);
    switch (ev->kind) {
    case GENERATE_PROMPT:
        r->counts[ev->answer].n_prompt = ev->n_prompt;
        if (r->timings)
            write_progress(r, ev);
        break;
    case GENERATE_PING:
        write_ping(r);
        break;
    case GENERATE_TEXT:
        write_part(r, ev);
        break;
    case GENERATE_ANSWER:
        write_event(r, chosen(r, final_json(r, (size_t)ev->answer)));
        break;
    case GENERATE_REASONING:
    case GENERATE_CALL:
    case GENERATE_ARGUMENTS:
        break;
    case GENERATE_END:
        end_stream(r, ev->fault);
        reply_free(r);
        break;
    }
}

/* Releases more. */
static bool extend(json_t *list, json_t *more)
{
    bool fine = more && json_array_extend(list, more) == 0;
    json_decref(more);
    return fine;
}

static json_t *whole_json(const reply *r)
{
    if (!r->many)
        return chosen(r, final_json(r, 0));
    json_t *list = json_array();
    for (size_t i = 0; i < r->n; i++)
        if (json_array_append_new(list, chosen(r, final_json(r, i))) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static void on_whole(void *ctx, const generate_event *ev)
{
    reply *r = ctx;
    generate_gather_add(&r->gather, ev);
    if (ev->kind == GENERATE_TEXT && ev->n_token > 0) {
        if (r->ids && !extend(r->ids[ev->answer], ids_json(ev)))
            r->gather.failed = true;
        if (r->probabilities && !extend(r->probabilities[ev->answer], tokens_json(r, ev)))
            r->gather.failed = true;
    }
    if (ev->kind != GENERATE_END)
        return;
    if (ev->fault)
        fault_reply(r->x, ev->fault);
    else
        exchange_reply_json(r->x, 200, r->gather.failed ? NULL : whole_json(r));
    reply_free(r);
}

/* ---- endpoint -------------------------------------------------------------------------------- */

static json_t *settings_json(const params *p)
{
    return json_pack("{s:I,s:f,s:I,s:f,s:f,s:f,s:f,s:I,s:f,s:f,s:I,s:b,s:b,s:I,s:o?}", "seed",
                     (json_int_t)(p->has_seed ? p->seed : -1), "temperature", p->temperature,
                     "top_k", (json_int_t)p->top_k, "top_p", p->top_p, "min_p", p->min_p,
                     "typical_p", p->typical_p, "repeat_penalty", p->repeat_penalty,
                     "repeat_last_n", (json_int_t)p->repeat_last_n, "frequency_penalty",
                     p->frequency_penalty, "presence_penalty", p->presence_penalty, "n_predict",
                     (json_int_t)p->max_tokens, "ignore_eos", (int)p->ignore_eos, "stream",
                     (int)p->stream, "n_probs", (json_int_t)p->top_logprobs, "stop",
                     p->stop ? json_deep_copy(p->stop) : json_array());
}

static bool lists_new(json_t ***out, size_t n)
{
    *out = tern_calloc(n, sizeof **out);
    for (size_t i = 0; *out && i < n; i++) {
        (*out)[i] = json_array();
        if (!(*out)[i])
            return false;
    }
    return *out != NULL;
}

static reply *reply_new(exchange *x, const params *p, const prompts *ps)
{
    reply *r = tern_calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->x = x;
    r->s = exchange_serving(x);
    r->stream = p->stream;
    r->timings = p->progress;
    r->many = ps->many;
    r->probs_final = p->logprobs_final;
    r->n_probs = (int32_t)p->top_logprobs;
    r->tokens = p->return_tokens;
    r->n = ps->n;
    r->settings = settings_json(p);
    r->prompts = json_deep_copy(p->prompt);
    r->stops = p->stop ? json_deep_copy(p->stop) : NULL;
    r->fields = p->response_fields ? json_deep_copy(p->response_fields) : NULL;
    r->counts = tern_calloc(ps->n, sizeof *r->counts);
    bool fine = r->settings && r->prompts && r->counts && (r->stops || !p->stop) &&
                (r->fields || !p->response_fields) &&
                generate_gather_init(&r->gather, r->s->model, ps->n, NULL) == TERN_OK;
    r->gather.no_tokens = true; /* ids and probabilities are lists of their own */
    if (fine && p->return_tokens)
        fine = lists_new(&r->ids, ps->n);
    if (fine && p->top_logprobs > 0)
        fine = lists_new(&r->probabilities, ps->n);
    if (!fine) {
        reply_free(r);
        return NULL;
    }
    return r;
}

/* At most one thing may say what the answer is. */
static tern_code read_format(const params *p, generate_request *g, fault *f)
{
    int n = (p->grammar && p->grammar[0]) + (p->json_schema != NULL) + (p->regex != NULL) +
            (p->choice != NULL);
    if (n > 1)
        return fault_set(f, TERN_E_USAGE, "grammar",
                         "of grammar, json_schema, regex and choice only one may be there");
    if (p->grammar && p->grammar[0]) {
        g->format = GENERATE_GBNF;
        g->format_text = p->grammar;
        g->format_name = "grammar";
    } else if (p->json_schema) {
        g->format = GENERATE_JSON_SCHEMA;
        g->format_json = p->json_schema;
        g->format_name = "json_schema";
    } else if (p->regex) {
        g->format = GENERATE_REGEX;
        g->format_text = p->regex;
        g->format_name = "regex";
    } else if (p->choice) {
        g->format = GENERATE_CHOICE;
        g->format_json = p->choice;
        g->format_name = "choice";
    }
    return TERN_OK;
}

static tern_code start(exchange *x, const params *p, const prompts *ps, fault *f)
{
    generate_request g = {.x = x,
                          .p = p,
                          .prompts = ps->v,
                          .n_prompt = ps->n,
                          .n_answer = 1,
                          .keep_reasoning = true,
                          .progress = p->progress,
                          .logprobs = p->top_logprobs > 0 || p->return_tokens,
                          .n_top = (int32_t)p->top_logprobs};
    TERN_TRY(read_format(p, &g, f));
    reply *r = reply_new(x, p, ps);
    if (!r)
        return no_memory(f);
    g.ctx = r;
    g.on_event = r->stream ? on_stream : on_whole;
    tern_code rc = generate_start(&g, f);
    if (rc != TERN_OK)
        reply_free(r);
    return rc;
}

void server_completion(exchange *x)
{
    json_t *body;
    params p;
    prompts ps = {.n = 0};
    fault f = {0};
    if (!generate_read(x, PARAM_LLAMA, &body, &p))
        return;
    tern_code rc = prompts_read(exchange_serving(x)->model, p.prompt, &ps, &f);
    if (rc == TERN_OK)
        rc = start(x, &p, &ps, &f);
    if (rc != TERN_OK)
        fault_reply(x, &f);
    prompts_done(&ps);
    json_decref(body);
}
