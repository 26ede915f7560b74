/* What endpoints share: bodies read by the table, whole replies gathered from events, faults and events as
 * JSON. */
#include "server/words.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define MAX_ANSWER ((size_t)64 << 20)

/* ---- whole replies --------------------------------------------------------------------------------- */

tern_code generate_gather_init(generate_gather *g, const tern_model *m, size_t n_answer,
                               tern_err *err)
{
    *g = (generate_gather){.m = m};
    g->v = tern_calloc(n_answer, sizeof *g->v);
    if (!g->v)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the answers");
    g->n = n_answer;
    for (size_t i = 0; i < n_answer; i++) {
        tern_str_init(&g->v[i].text, MAX_ANSWER);
        tern_str_init(&g->v[i].reasoning, MAX_ANSWER);
        g->v[i].stop = -1;
    }
    return TERN_OK;
}

void generate_gather_done(generate_gather *g)
{
    for (size_t i = 0; i < g->n; i++) {
        generate_answer *a = &g->v[i];
        tern_str_done(&a->text);
        tern_str_done(&a->reasoning);
        for (size_t k = 0; k < a->n_call; k++) {
            tern_free(a->calls[k].name);
            tern_free(a->calls[k].id);
            tern_str_done(&a->calls[k].arguments);
        }
        tern_free(a->calls);
        json_decref(a->tokens);
    }
    tern_free(g->v);
    *g = (generate_gather){0};
}

static void add_call(generate_gather *g, generate_answer *a, const generate_event *ev)
{
    if (a->n_call == a->cap_call) {
        size_t cap = a->cap_call ? 2 * a->cap_call : 4;
        generate_call *v = tern_realloc(a->calls, a->cap_call * sizeof *v, cap * sizeof *v);
        if (!v) {
            g->failed = true;
            return;
        }
        a->calls = v;
        a->cap_call = cap;
    }
    generate_call *c = &a->calls[a->n_call++];
    *c = (generate_call){.name = tern_strdup_n(ev->name, strlen(ev->name)),
                         .id = tern_strdup_n(ev->id, strlen(ev->id))};
    tern_str_init(&c->arguments, MAX_ANSWER);
    g->failed |= !c->name || !c->id;
}

static void add_tokens(generate_gather *g, generate_answer *a, const generate_event *ev)
{
    if (g->no_tokens)
        return;
    if (ev->n_token && !a->tokens)
        a->tokens = json_array();
    for (size_t i = 0; i < ev->n_token; i++)
        g->failed |=
            json_array_append_new(a->tokens, generate_token_json(g->m, &ev->tokens[i])) != 0;
}

void generate_gather_add(generate_gather *g, const generate_event *ev)
{
    if (ev->answer < 0 || (size_t)ev->answer >= g->n || g->failed)
        return;
    generate_answer *a = &g->v[ev->answer];
    tern_str *to = NULL;
    switch (ev->kind) {
    case GENERATE_TEXT:
        to = &a->text;
        add_tokens(g, a, ev);
        break;
    case GENERATE_REASONING:
        to = &a->reasoning;
        break;
    case GENERATE_CALL:
        add_call(g, a, ev);
        break;
    case GENERATE_ARGUMENTS:
        to = a->n_call ? &a->calls[a->n_call - 1].arguments : NULL;
        break;
    case GENERATE_ANSWER:
        a->finish = ev->finish;
        a->stop = ev->stop;
        a->usage = *ev->usage;
        break;
    default:
        break;
    }
    if (to) {
        tern_str_put(to, ev->text, ev->n_text);
        g->failed |= to->failed;
    }
}

/* ---- tokens and times ------------------------------------------------------------------------------ */

/* Bytes as text, what is no UTF-8 as U+FFFD. */
static json_t *token_text(const char *bytes, size_t n)
{
    tern_str s;
    tern_str_init(&s, 4 * n + 4);
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        int len = tern_utf8_decode(bytes + i, n - i, &cp);
        if (len)
            tern_str_put(&s, bytes + i, (size_t)len);
        else
            tern_str_puts(&s, "\xEF\xBF\xBD");
        i += len ? (size_t)len : 1;
    }
    json_t *text = json_stringn(tern_str_get(&s), s.len);
    tern_str_done(&s);
    return text;
}

/* JSON has no infinity; what cannot come is told as very unlikely, as OpenAI does. */
static double finite_logprob(float v)
{
    return isfinite(v) ? (double)v : -9999.0;
}

static json_t *one_token(const char *bytes, size_t n, float logprob)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer((uint8_t)bytes[i]));
    json_t *o =
        json_pack("{s:o,s:o,s:o}", "token", token_text(bytes, n), "logprob",
                  isnan(logprob) ? json_null() : json_real(finite_logprob(logprob)), "bytes", list);
    return o;
}

json_t *generate_token_json(const tern_model *m, const generate_token *t)
{
    json_t *o = one_token(t->text, t->n_text, t->logprob), *top = json_array();
    for (size_t i = 0; i < t->n_top; i++) {
        size_t n;
        const char *bytes = tern_model_token_bytes(m, t->top[i].id, &n);
        json_array_append_new(top, one_token(bytes, n, t->top[i].logprob));
    }
    if (json_object_set_new(o, "top_logprobs", top) == 0)
        return o;
    json_decref(o);
    return NULL;
}

static double rate(size_t n, double s)
{
    return s > 0 ? (double)n / s : 0.0;
}

json_t *generate_timings_json(const generate_usage *u)
{
    size_t read = u->n_prompt - (u->n_cached < u->n_prompt ? u->n_cached : u->n_prompt);
    json_t *o = json_pack(
        "{s:I,s:I,s:f,s:f,s:I,s:f,s:f,s:I,s:I}", "cache_n", (json_int_t)u->n_cached, "prompt_n",
        (json_int_t)read, "prompt_ms", u->prompt_s * 1e3, "prompt_per_second",
        rate(read, u->prompt_s), "predicted_n", (json_int_t)u->n_generated, "predicted_ms",
        u->generate_s * 1e3, "predicted_per_second", rate(u->n_generated, u->generate_s), "draft_n",
        (json_int_t)u->n_drafted, "draft_n_accepted", (json_int_t)u->n_accepted);
    if (o && u->joules > 0.0)
        (void)json_object_set_new(o, "energy_j", json_real(u->joules));
    return o;
}

/* ---- faults ---------------------------------------------------------------------------------------- */

static int fault_status(const fault *f)
{
    return f->status ? f->status : tern_code_info_get(f->err.code)->http_status;
}

static const char *fault_code(const fault *f)
{
    return f->code ? f->code : tern_code_info_get(f->err.code)->name;
}

void fault_reply(exchange *x, const fault *f)
{
    exchange_refuse(x, fault_status(f), fault_code(f), f->param[0] ? f->param : NULL, "%s",
                    f->err.msg);
}

json_t *fault_json(const exchange *x, const fault *f)
{
    return exchange_error_json(x, fault_status(f), fault_code(f), f->param[0] ? f->param : NULL,
                               f->err.msg);
}

/* ---- bodies ---------------------------------------------------------------------------------------- */

/* Ollama's clients name a tag, "latest" where there is none. */
static bool is_tagged(const exchange *x, const serving *s, const char *name)
{
    static const char tag[] = ":latest";
    size_t n = strlen(name), n_tag = sizeof tag - 1;
    if (exchange_dialect_get(x) != DIALECT_OLLAMA || n <= n_tag ||
        strcmp(name + n - n_tag, tag) != 0)
        return false;
    char *bare = tern_strdup_n(name, n - n_tag);
    bool is = bare && serving_is(s, bare);
    tern_free(bare);
    return is;
}

static bool check_model(exchange *x, const params *p)
{
    const serving *s = exchange_serving(x);
    tern_str list;
    if (!p->model || !s || serving_is(s, p->model) || is_tagged(x, s, p->model))
        return true;
    tern_str_init(&list, 200);
    tern_str_puts(&list, s->name);
    for (size_t i = 0; i < s->n_alias && !list.failed; i++)
        tern_str_printf(&list, ", %s", s->aliases[i]);
    exchange_refuse(x, 404, "model_not_found", "model", "there is no such model; there is: %s",
                    tern_str_get(&list));
    tern_str_done(&list);
    return false;
}

/* Whether a name is met for the first time; of no more than a few it is told. */
static bool is_new(generate_words *w, const char *name, size_t n)
{
    bool known = n >= sizeof w->seen[0];
    pthread_mutex_lock(&w->seen_mu);
    for (size_t i = 0; i < w->n_seen && !known; i++)
        known = strlen(w->seen[i]) == n && memcmp(w->seen[i], name, n) == 0;
    if (!known && w->n_seen < WORDS_MAX_SEEN)
        memcpy(w->seen[w->n_seen++], name, n);
    else
        known = true;
    pthread_mutex_unlock(&w->seen_mu);
    return !known;
}

/* Each field that is ignored stands in the log once. */
static void note_unknown(exchange *x, const char *names)
{
    const serving *s = exchange_serving(x);
    while (s && s->words && *names) {
        size_t n = strcspn(names, ",");
        char line[160];
        if (is_new(s->words, names, n)) {
            snprintf(line, sizeof line, "a request has the field %.*s, which is ignored", (int)n,
                     names);
            exchange_note(x, line);
        }
        names += n;
        names += *names == ',';
    }
}

bool generate_read(exchange *x, param_endpoint endpoint, json_t **body, params *p)
{
    fault f = {0};
    tern_str unknown;
    const serving *s = exchange_serving(x);
    tern_str_init(&unknown, 1024);
    bool ok = exchange_json(x, body, &f.err) == TERN_OK;
    if (ok)
        ok = params_read(*body, endpoint, s ? &s->gen : NULL, p, &unknown, &f) == TERN_OK;
    if (!ok)
        fault_reply(x, &f);
    else if (unknown.len) {
        (void)exchange_set_header(x, "Tern-Ignored", tern_str_get(&unknown));
        note_unknown(x, tern_str_get(&unknown));
    }
    tern_str_done(&unknown);
    ok = ok && check_model(x, p);
    if (!ok) {
        json_decref(*body);
        *body = NULL;
    }
    return ok;
}

/* ---- ids -------------------------------------------------------------------------------------------- */

void generate_id(char id[GENERATE_ID], const char *prefix, size_t n)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    uint8_t random[GENERATE_ID_LETTERS] = {0};
    size_t at = (size_t)snprintf(id, GENERATE_ID - sizeof random, "%s", prefix);
    (void)!getrandom(random, sizeof random, 0);
    for (size_t i = 0; i < n && i < sizeof random; i++)
        id[at++] = letters[random[i] % (sizeof letters - 1)];
    id[at] = '\0';
}

/* ---- events ---------------------------------------------------------------------------------------- */

bool exchange_event(exchange *x, const char *name, json_t *value)
{
    tern_str s;
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(value);
    if (!text)
        return false;
    tern_str_init(&s, (size_t)128 << 20);
    if (name)
        tern_str_printf(&s, "event: %s\n", name);
    tern_str_printf(&s, "data: %s\n\n", text);
    free(text);
    bool ok = !s.failed && exchange_stream_write(x, tern_str_get(&s), s.len);
    tern_str_done(&s);
    return ok;
}
