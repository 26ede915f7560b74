/* One line for each request, on standard error: as text, or as JSON. */
#include "base/clock.h"
#include "server/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void now_text(char buf[32])
{
    struct timespec t;
    struct tm tm;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    (void)gmtime_r(&t.tv_sec, &tm);
    size_t n = strftime(buf, 24, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(buf + n, 32 - n, ".%03ldZ", t.tv_nsec / 1000000);
}

static double seconds(uint64_t from, uint64_t to)
{
    return from && to > from ? (double)(to - from) * 1e-9 : 0.0;
}

/* What is said of a request: a copy, as others may still write while the client is gone already. */
typedef struct facts {
    const exchange *x;
    char when[32];
    int status;
    double seconds, first_s,
        speed; /* speed: tokens per second behind the first one; 0: not to be said */
    uint64_t count[COUNT_KINDS];
    bool gone;
} facts;

static void facts_get(exchange *x, facts *f)
{
    *f = (facts){.x = x, .seconds = seconds(x->begin_ns, tern_clock_ns())};
    pthread_mutex_lock(&x->mu);
    f->gone = x->gone;
    f->status = x->gone ? 499 : x->status; /* as proxies write a client that did not wait */
    memcpy(f->count, x->count, sizeof f->count);
    f->first_s = seconds(x->begin_ns, x->first_ns);
    uint64_t n = x->count[COUNT_GENERATED];
    double s = seconds(x->first_ns, x->last_ns);
    f->speed = n > 1 && s > 0 ? (double)(n - 1) / s : 0.0;
    pthread_mutex_unlock(&x->mu);
    now_text(f->when);
}

/* Numbers to three digits behind the point, so that lines stay short. */
static json_t *rounded(double v)
{
    return json_real((double)(int64_t)(v * 1e6 + 0.5) / 1e6);
}

static void set_count(json_t *o, const char *name, uint64_t n)
{
    (void)json_object_set_new(o, name, json_integer((json_int_t)n));
}

static void print_json(const facts *f)
{
    const exchange *x = f->x;
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:o}", "time", f->when, "id", x->id, "key",
                  key_name(&x->key), "method", x->method, "route", x->route ? x->route->path : "-",
                  "status", f->status, "seconds", rounded(f->seconds));
    if (o && x->serving) {
        (void)json_object_set_new(o, "model", json_string(x->serving->s.name));
        set_count(o, "prompt_tokens", f->count[COUNT_PROMPT]);
        set_count(o, "cached_tokens", f->count[COUNT_CACHED]);
        set_count(o, "generated_tokens", f->count[COUNT_GENERATED]);
        if (f->first_s > 0)
            (void)json_object_set_new(o, "first_token_s", rounded(f->first_s));
        if (f->speed > 0)
            (void)json_object_set_new(o, "tokens_per_s", rounded(f->speed));
    }
    if (o && x->srv->o->log_prompts && x->body.len > 0) {
        json_t *body = json_stringn(tern_str_get(&x->body), x->body.len); /* NULL: no UTF-8 */
        (void)json_object_set_new(o, "body", body ? body : json_null());
    }
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    if (text)
        (void)fprintf(stderr, "%s\n", text);
    free(text);
    json_decref(o);
}

#define MAX_SHOWN 4096 /* of a body in a line of text */

static void print_text(const facts *f)
{
    const exchange *x = f->x;
    char more[160] = "", body[MAX_SHOWN + 8] = "";
    if (x->serving && f->count[COUNT_PROMPT] + f->count[COUNT_GENERATED] > 0)
        (void)snprintf(more, sizeof more, " prompt=%llu cached=%llu generated=%llu",
                       (unsigned long long)f->count[COUNT_PROMPT],
                       (unsigned long long)f->count[COUNT_CACHED],
                       (unsigned long long)f->count[COUNT_GENERATED]);
    size_t n = strlen(more);
    if (f->first_s > 0)
        (void)snprintf(more + n, sizeof more - n, " first=%.3fs speed=%.1f/s", f->first_s,
                       f->speed);
    if (x->srv->o->log_prompts && x->body.len > 0) {
        memcpy(body, " body=", 6);
        (void)tern_quote(body + 6, sizeof body - 6, tern_str_get(&x->body), x->body.len);
    }
    (void)fprintf(stderr, "%s %s %s %s %s%s%s %d %.3fs%s%s\n", f->when, x->id, key_name(&x->key),
                  x->method, x->route ? x->route->path : "-", x->serving ? " model=" : "",
                  x->serving ? x->serving->s.name : "", f->status, f->seconds, more, body);
}

uint64_t log_exchange(exchange *x)
{
    metrics *m = &x->srv->metrics;
    facts f;
    facts_get(x, &f);
    metrics_request(m, x->route ? (size_t)(x->route - routes) : METRIC_ROUTES, f.status, f.seconds);
    metrics_add(m, &m->prompt, f.count[COUNT_PROMPT]);
    metrics_add(m, &m->cached, f.count[COUNT_CACHED]);
    metrics_add(m, &m->hits, f.count[COUNT_CACHED] > 0);
    metrics_add(m, &m->generated, f.count[COUNT_GENERATED]);
    metrics_add(m, &m->rejected, f.count[COUNT_REJECTED]);
    metrics_add(m, &m->cancelled, f.gone);
    if (!x->srv->o->log_off) {
        if (x->srv->o->log_json)
            print_json(&f);
        else
            print_text(&f);
    }
    return f.count[COUNT_PROMPT] + f.count[COUNT_GENERATED];
}

void log_line(const server *srv, const char *level, const char *text)
{
    char when[32];
    if (srv->o->log_off && strcmp(level, "info") == 0)
        return;
    now_text(when);
    if (!srv->o->log_json) {
        (void)fprintf(stderr, "%s %s: %s\n", when, level, text);
        return;
    }
    json_t *o = json_pack("{s:s, s:s, s:s}", "time", when, "level", level, "message", text);
    char *line = o ? json_dumps(o, JSON_COMPACT) : NULL;
    if (line)
        (void)fprintf(stderr, "%s\n", line);
    free(line);
    json_decref(o);
}

void exchange_note(const exchange *x, const char *text)
{
    log_line(x->srv, "warning", text);
}
