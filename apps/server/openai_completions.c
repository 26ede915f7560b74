/* POST /v1/completions: prompts without a template. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/utf8.h"
#include "server/openai.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PROMPTS 256
#define OBJECT      "text_completion"

typedef struct completion {
    openai_reply r;
    generate_prompt *prompts; /* owned; texts and ids are of the body */
    size_t n_prompt;
    tern_str *echo; /* owned; [n_prompt]: a prompt's text */
    size_t *offset; /* owned; [n_prompt * n_each]: characters so far, for text_offset */
    int32_t n_each; /* answers that are generated for each prompt; of them p.n are told */
} completion;

static void completion_free(completion *c)
{
    for (size_t i = 0; c->echo && i < c->n_prompt; i++)
        tern_str_done(&c->echo[i]);
    tern_free(c->echo);
    tern_free(c->offset);
    tern_free(c->prompts);
    openai_reply_free(&c->r);
}

static size_t n_chars(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((uint8_t)s[i] & 0xC0) != 0x80;
    return count;
}

/* ---- the prompts ------------------------------------------------------------------------------------- */

static bool is_ids(const json_t *v)
{
    return json_array_size(v) > 0 && json_is_integer(json_array_get(v, 0));
}

static tern_code read_one(const json_t *v, generate_prompt *out, fault *f)
{
    if (json_is_string(v))
        *out = (generate_prompt){json_string_value(v), json_string_length(v), NULL};
    else if (is_ids(v))
        *out = (generate_prompt){.ids = v};
    else
        return fault_set(
            f, TERN_E_USAGE, "prompt",
            "prompt: expected a string, a list of strings or of token ids, or a list of "
            "such lists");
    return TERN_OK;
}

static tern_code read_prompts(completion *c, fault *f)
{
    const json_t *v = c->r.p.prompt;
    if (!v)
        return fault_set(f, TERN_E_USAGE, "prompt", "prompt: required");
    bool list = json_is_array(v) && !is_ids(v);
    size_t n = list ? json_array_size(v) : 1;
    if (n == 0 || n > MAX_PROMPTS)
        return fault_set(f, TERN_E_USAGE, "prompt", "prompt: expected 1 to %d prompts",
                         MAX_PROMPTS);
    c->prompts = tern_calloc(n, sizeof *c->prompts);
    c->echo = tern_calloc(n, sizeof *c->echo);
    c->offset = tern_calloc(n * (size_t)c->n_each, sizeof *c->offset);
    if (!c->prompts || !c->echo || !c->offset)
        return fault_set(f, TERN_E_NOMEM, NULL, "out of memory for a request");
    c->n_prompt = n;
    for (size_t i = 0; i < n; i++)
        TERN_TRY(read_one(list ? json_array_get(v, i) : v, &c->prompts[i], f));
    return TERN_OK;
}

/* The text of a prompt, for echo and offsets. */
static tern_code prompt_text(completion *c, size_t i, tern_err *err)
{
    const generate_prompt *p = &c->prompts[i];
    tern_str *out = &c->echo[i];
    tern_str_init(out, (size_t)32 << 20);
    if (!p->ids) {
        tern_str_put(out, p->text, p->n_text);
    } else {
        for (size_t k = 0; k < json_array_size(p->ids); k++) {
            json_int_t id = json_integer_value(json_array_get(p->ids, k));
            size_t n;
            const char *bytes = tern_model_token_bytes(
                c->r.s->model, id >= 0 && id <= INT32_MAX ? (int32_t)id : -1, &n);
            tern_str_put(out, bytes, n);
        }
        if (!tern_utf8_valid(tern_str_get(out), out->len))
            tern_str_clear(out); /* ids that are no text have none to echo */
    }
    return out->failed ? tern_fail(err, TERN_E_NOMEM, "out of memory for a request") : TERN_OK;
}

/* ---- replies ----------------------------------------------------------------------------------------- */

/* How far a token takes the text: what the vocabulary puts before a text, a BOS or a space, is not in it. */
static size_t token_chars(const json_t *token, const tern_str *prompt, size_t offset)
{
    const char *name = json_string_value(json_object_get(token, "token"));
    const char *text = tern_str_get(prompt);
    size_t n = strlen(name);
    if (offset == 0 && json_is_null(json_object_get(token, "logprob")) &&
        strncmp(text, name, n) != 0 && name[0] != ' ')
        return 0;
    if (offset == 0 && name[0] == ' ' && text[0] != ' ' && prompt->len)
        return n_chars(name, n) - 1;
    return n_chars(name, n);
}

/* Tokens as this endpoint's clients know them: lists side by side. *offset goes on behind them. */
static json_t *logprobs_json(const json_t *tokens, bool top, const tern_str *prompt, size_t *offset)
{
    json_t *names = json_array(), *values = json_array(), *likeliest = json_array(),
           *offsets = json_array();
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        const json_t *t = json_array_get(tokens, i), *name = json_object_get(t, "token");
        const json_t *list = json_object_get(t, "top_logprobs");
        json_t *others = json_object();
        for (size_t k = 0; k < json_array_size(list); k++) {
            const json_t *o = json_array_get(list, k);
            const char *key = json_string_value(json_object_get(o, "token"));
            if (key && !json_object_get(others, key))
                (void)json_object_set(others, key, json_object_get(o, "logprob"));
        }
        bool none = json_is_null(json_object_get(t, "logprob"));
        (void)json_array_append(names, (json_t *)(uintptr_t)name);
        (void)json_array_append(values, json_object_get(t, "logprob"));
        (void)json_array_append_new(likeliest, none ? json_null() : json_incref(others));
        (void)json_array_append_new(offsets, json_integer((json_int_t)*offset));
        json_decref(others);
        *offset += token_chars(t, prompt, *offset);
    }
    if (!top) {
        json_decref(likeliest);
        likeliest = json_null();
    }
    return json_pack("{s:o,s:o,s:o,s:o}", "tokens", names, "token_logprobs", values, "top_logprobs",
                     likeliest, "text_offset", offsets);
}

static json_t *choice_json(size_t index, json_t *text, json_t *logprobs, const char *finish)
{
    return json_pack("{s:i,s:o,s:o,s:o}", "index", (int)index, "text", text, "logprobs", logprobs,
                     "finish_reason", finish ? json_string(finish) : json_null());
}

static void send_choice(completion *c, json_t *choice, const generate_usage *timings)
{
    openai_send(&c->r, json_pack("[o]", choice), NULL, timings, NULL);
}

static void send_text(completion *c, const generate_event *ev)
{
    json_t *logprobs = json_null();
    if (ev->n_token) {
        json_t *tokens = json_array();
        for (size_t i = 0; i < ev->n_token; i++)
            (void)json_array_append_new(tokens, generate_token_json(c->r.s->model, &ev->tokens[i]));
        logprobs = logprobs_json(tokens, c->r.p.logprobs_k > 0, &c->echo[ev->answer / c->n_each],
                                 &c->offset[ev->answer]);
        json_decref(tokens);
    }
    send_choice(c,
                choice_json((size_t)ev->answer, openai_text(ev->text, ev->n_text), logprobs, NULL),
                c->r.p.timings ? ev->usage : NULL);
}

static void begin_stream(completion *c)
{
    openai_stream_begin(&c->r, OBJECT);
    for (size_t i = 0; c->r.p.echo && i < c->n_prompt * (size_t)c->n_each; i++) {
        const tern_str *text = &c->echo[i / (size_t)c->n_each];
        send_choice(
            c, choice_json(i, openai_text(tern_str_get(text), text->len), json_null(), NULL), NULL);
    }
}

static void on_stream(void *ctx, const generate_event *ev)
{
    completion *c = ctx;
    if (!c->r.began && !ev->fault)
        begin_stream(c);
    if (ev->kind == GENERATE_TEXT && (ev->n_text || ev->n_token))
        send_text(c, ev);
    else if (ev->kind == GENERATE_ANSWER)
        send_choice(c,
                    choice_json((size_t)ev->answer, json_string(""), json_null(),
                                openai_finish(ev->finish)),
                    ev->usage);
    else if (ev->kind == GENERATE_PING)
        (void)exchange_stream_write(c->r.x, ": ping\n\n", 8);
    if (ev->kind != GENERATE_END)
        return;
    openai_stream_end(&c->r, ev);
    completion_free(c);
}

/* Of best_of answers the likelier one, by the mean over their tokens. */
static double mean_logprob(const generate_answer *a)
{
    double sum = 0;
    size_t n = json_array_size(a->tokens);
    for (size_t i = 0; i < n; i++)
        sum += json_number_value(json_object_get(json_array_get(a->tokens, i), "logprob"));
    return n ? sum / (double)n : -HUGE_VAL;
}

static void best_first(generate_answer *v, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        generate_answer a = v[i];
        size_t at = i;
        for (; at > 0 && mean_logprob(&v[at - 1]) < mean_logprob(&a); at--)
            v[at] = v[at - 1];
        v[at] = a;
    }
}

static json_t *answer_json(completion *c, size_t prompt, size_t k)
{
    const generate_answer *a = &c->r.all.v[prompt * (size_t)c->n_each + k];
    json_t *logprobs = json_null();
    tern_str text;
    tern_str_init(&text, (size_t)128 << 20);
    if (c->r.p.echo)
        tern_str_put(&text, tern_str_get(&c->echo[prompt]), c->echo[prompt].len);
    tern_str_put(&text, tern_str_get(&a->text), a->text.len);
    if (c->r.p.logprobs_k >= 0)
        logprobs = logprobs_json(a->tokens, c->r.p.logprobs_k > 0, &c->echo[prompt],
                                 &c->offset[prompt * (size_t)c->n_each + k]);
    json_t *choice =
        choice_json(prompt * (size_t)c->r.p.n + k, openai_text(tern_str_get(&text), text.len),
                    logprobs, openai_finish(a->finish));
    tern_str_done(&text);
    return choice;
}

static void on_whole(void *ctx, const generate_event *ev)
{
    completion *c = ctx;
    if (ev->kind != GENERATE_END) {
        generate_gather_add(&c->r.all, ev);
        return;
    }
    if (ev->fault) {
        fault_reply(c->r.x, ev->fault);
        completion_free(c);
        return;
    }
    json_t *choices = json_array(), *whole = openai_head(&c->r, OBJECT);
    for (size_t i = 0; i < c->n_prompt; i++) {
        if (c->n_each > c->r.p.n)
            best_first(&c->r.all.v[i * (size_t)c->n_each], (size_t)c->n_each);
        for (size_t k = 0; k < (size_t)c->r.p.n; k++)
            (void)json_array_append_new(choices, answer_json(c, i, k));
    }
    (void)json_object_set_new(whole, "choices", choices);
    (void)json_object_set_new(whole, "usage", openai_usage(ev->usage));
    (void)json_object_set_new(whole, "timings", generate_timings_json(ev->usage));
    exchange_reply_json(c->r.x, 200, c->r.all.failed ? (json_decref(whole), NULL) : whole);
    completion_free(c);
}

/* ---- the request ------------------------------------------------------------------------------------- */

static tern_code check(completion *c, fault *f)
{
    const params *p = &c->r.p;
    if (p->suffix) {
        (void)fault_set(f, TERN_E_UNSUPPORTED, "suffix",
                        "suffix: this model does not fill in between texts");
        f->status = 501;
        return TERN_E_UNSUPPORTED;
    }
    c->n_each = (int32_t)(p->best_of > p->n ? p->best_of : p->n);
    if (p->stream && c->n_each > p->n)
        return fault_set(f, TERN_E_USAGE, "best_of", "best_of: cannot be streamed");
    return TERN_OK;
}

static tern_code start(completion *c, fault *f)
{
    const params *p = &c->r.p;
    generate_request r = {.x = c->r.x, .p = p, .ctx = c};
    TERN_TRY(check(c, f));
    TERN_TRY(read_prompts(c, f));
    for (size_t i = 0; i < c->n_prompt; i++) {
        TERN_TRY(prompt_text(c, i, &f->err));
        for (size_t k = 0; !p->echo && k < (size_t)c->n_each; k++)
            c->offset[i * (size_t)c->n_each + k] =
                n_chars(tern_str_get(&c->echo[i]), c->echo[i].len);
    }
    TERN_TRY(openai_format(p, p->response_format, "response_format", &r, f));
    r.prompts = c->prompts;
    r.n_prompt = c->n_prompt;
    r.logprobs = p->logprobs_k >= 0 || c->n_each > p->n;
    r.n_top = p->logprobs_k > 0 ? (int32_t)p->logprobs_k : 0;
    r.echo = p->echo && p->logprobs_k >= 0;
    r.n_answer = c->n_each;
    r.on_event = p->stream ? on_stream : on_whole;
    if (!p->stream)
        TERN_TRY(generate_gather_init(&c->r.all, c->r.s->model, c->n_prompt * (size_t)c->n_each,
                                      &f->err));
    return generate_start(&r, f);
}

void openai_completions(exchange *x)
{
    fault f = {0};
    completion *c = openai_reply_new(x, sizeof *c, PARAM_COMPLETION, "cmpl-");
    if (c && start(c, &f) != TERN_OK) {
        fault_reply(x, &f);
        completion_free(c);
    }
}
