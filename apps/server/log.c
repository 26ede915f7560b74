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

/* Tokens per second behind the first one; 0: not to be said. */
static double speed(const exchange *x)
{
    uint64_t n = x->count[COUNT_GENERATED];
    double s = seconds(x->first_ns, x->last_ns);
    return n > 1 && s > 0 ? (double)(n - 1) / s : 0.0;
}

/* Numbers to three digits behind the point, so that lines stay short. */
static json_t *rounded(double v)
{
    return json_real((double)(int64_t)(v * 1e6 + 0.5) / 1e6);
}

static void print_json(const exchange *x, const char *when, int status, double s)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:o}", "time", when, "id", x->id, "key",
                          key_name(&x->key), "method", x->method, "route",
                          x->route ? x->route->path : "-", "status", status, "seconds", rounded(s));
    if (o && x->serving) {
        (void)json_object_set_new(o, "model", json_string(x->serving->s.name));
        (void)json_object_set_new(o, "prompt_tokens",
                                  json_integer((json_int_t)x->count[COUNT_PROMPT]));
        (void)json_object_set_new(o, "cached_tokens",
                                  json_integer((json_int_t)x->count[COUNT_CACHED]));
        (void)json_object_set_new(o, "generated_tokens",
                                  json_integer((json_int_t)x->count[COUNT_GENERATED]));
        if (x->first_ns)
            (void)json_object_set_new(o, "first_token_s",
                                      rounded(seconds(x->begin_ns, x->first_ns)));
        if (speed(x) > 0)
            (void)json_object_set_new(o, "tokens_per_s", rounded(speed(x)));
    }
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    if (text)
        (void)fprintf(stderr, "%s\n", text);
    free(text);
    json_decref(o);
}

static void print_text(const exchange *x, const char *when, int status, double s)
{
    char more[160] = "";
    if (x->serving && x->count[COUNT_PROMPT] + x->count[COUNT_GENERATED] > 0)
        (void)snprintf(more, sizeof more, " prompt=%llu cached=%llu generated=%llu",
                       (unsigned long long)x->count[COUNT_PROMPT],
                       (unsigned long long)x->count[COUNT_CACHED],
                       (unsigned long long)x->count[COUNT_GENERATED]);
    size_t n = strlen(more);
    if (x->first_ns)
        (void)snprintf(more + n, sizeof more - n, " first=%.3fs speed=%.1f/s",
                       seconds(x->begin_ns, x->first_ns), speed(x));
    (void)fprintf(stderr, "%s %s %s %s %s%s%s %d %.3fs%s\n", when, x->id, key_name(&x->key),
                  x->method, x->route ? x->route->path : "-", x->serving ? " model=" : "",
                  x->serving ? x->serving->s.name : "", status, s, more);
}

void log_exchange(const exchange *x)
{
    const server *srv = x->srv;
    char when[32];
    uint64_t now = tern_clock_ns();
    int status = x->gone ? 499 : x->status; /* as proxies write a client that did not wait */
    double s = seconds(x->begin_ns, now);
    metrics *m = &x->srv->metrics;
    metrics_request(m, x->route ? (size_t)(x->route - routes) : METRIC_ROUTES, status, s);
    metrics_add(m, &m->prompt, x->count[COUNT_PROMPT]);
    metrics_add(m, &m->cached, x->count[COUNT_CACHED]);
    metrics_add(m, &m->hits, x->count[COUNT_CACHED] > 0);
    metrics_add(m, &m->generated, x->count[COUNT_GENERATED]);
    metrics_add(m, &m->rejected, x->count[COUNT_REJECTED]);
    metrics_add(m, &m->cancelled, x->gone);
    if (srv->o->log_off)
        return;
    now_text(when);
    if (srv->o->log_json)
        print_json(x, when, status, s);
    else
        print_text(x, when, status, s);
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
