/* `tern bench --server`: how a server holds up. Steps of more and more clients that ask without pause; short
 * requests beside a long prompt; ordinary clients beside connections that only hold it up. Works with any
 * server that has OpenAI's chat or completions. */
#include "base/clock.h"
#include "base/error.h"
#include "base/num.h"
#include "bench.h"
#include "bench/load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a phase came to. Times in seconds. */
typedef struct phase {
    size_t n_client, n_request, n_failed;
    size_t n_prompt, n_cached, n_tok;
    double wall_s;
    load_samples first, gap, whole;
    double stream_tok, stream_s; /* tokens behind the first ones, and the time they took */
    char why[160];               /* of the first failure */
} phase;

typedef struct server_bench {
    cli *c;
    load_target t;
    char key[512];
    const char *path;
    bool chat;
    tern_str model; /* what requests call it */
    size_t n_prompt, n_answer;
    double words_per_token, words_rest; /* words of a prompt of n tokens: n * a - rest */
    uint64_t seed;
    tern_ids steps;
    /* Of the phase that runs. */
    phase *now;
    size_t n_background, background_prompt;
    json_t *out;
    bool table;
} server_bench;

static void phase_done(phase *p)
{
    load_samples_done(&p->first);
    load_samples_done(&p->gap);
    load_samples_done(&p->whole);
}

/* ---- requests ------------------------------------------------------------------------------ */

static const char *const words[] = {
    "the",   "boat", "went", "out",  "to",    "sea",   "and",  "came",  "back", "with",  "a",
    "small", "fish", "in",   "its",  "net",   "while", "rain", "fell",  "on",   "old",   "town",
    "where", "we",   "had",  "once", "been",  "young", "of",   "light", "over", "water", "that",
    "day",   "so",   "we",   "sat",  "under", "trees", "for",  "some",  "time", "then",  "home",
};

static uint32_t next_random(server_bench *b)
{
    b->seed ^= b->seed << 13;
    b->seed ^= b->seed >> 7;
    b->seed ^= b->seed << 17;
    return (uint32_t)(b->seed >> 32);
}

/* No two prompts begin alike, so no cache of prefixes has them. */
static void put_words(server_bench *b, size_t n, tern_str *out)
{
    tern_str_printf(out, "%08x", next_random(b));
    for (size_t i = 0; i < n; i++)
        tern_str_printf(out, " %s", words[next_random(b) % (sizeof words / sizeof words[0])]);
}

static size_t words_for(const server_bench *b, size_t n_tok)
{
    double n = (double)n_tok * b->words_per_token - b->words_rest;
    return n > 0 ? (size_t)(n + 0.5) : 0;
}

static void put_body(server_bench *b, size_t n_word, size_t n_answer, bool stream, tern_str *out)
{
    tern_str_printf(out, "{\"model\":%s,", tern_str_get(&b->model));
    tern_str_puts(out,
                  b->chat ? "\"messages\":[{\"role\":\"user\",\"content\":\"" : "\"prompt\":\"");
    put_words(b, n_word, out);
    tern_str_puts(out, b->chat ? "\"}]," : "\",");
    /* Servers that do not know ignore_eos answer until the model ends. */
    tern_str_printf(out, "\"max_tokens\":%zu,\"temperature\":0,\"ignore_eos\":true", n_answer);
    tern_str_puts(out,
                  stream ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}" : "}");
}

static void next_body(void *ctx, size_t client, tern_str *out)
{
    server_bench *b = ctx;
    if (client < b->n_background)
        put_body(b, words_for(b, b->background_prompt), 1, true, out);
    else
        put_body(b, words_for(b, b->n_prompt), b->n_answer, true, out);
}

static void seen(void *ctx, size_t client, const load_reply *r, const double *gaps, size_t n_gap)
{
    server_bench *b = ctx;
    phase *p = b->now;
    (void)client;
    p->n_request++;
    if (!r->done || r->n_event == 0) {
        if (p->n_failed++ == 0)
            (void)snprintf(p->why, sizeof p->why, "status %d, %s", r->status,
                           r->why ? r->why : "no text");
        return;
    }
    p->n_prompt += r->n_prompt;
    p->n_cached += r->n_cached;
    p->n_tok += r->n_tok;
    load_samples_add(&p->first, r->first_s);
    load_samples_add(&p->whole, r->end_s);
    if (r->n_tok > 1) {
        p->stream_tok += (double)(r->n_tok - 1);
        p->stream_s += r->last_s - r->first_s;
    }
    for (size_t i = 0; i < n_gap; i++)
        load_samples_add(&p->gap, gaps[i]);
}

/* ---- the server ---------------------------------------------------------------------------- */

/* The key from the environment, or the first word of a file's first line that is no comment. */
static tern_code read_key(server_bench *b, tern_err *err)
{
    const char *path = cli_text(&b->c->opt, OPT_BENCH_KEY_FILE), *key = getenv("TERN_API_KEY");
    tern_str text;
    tern_code rc = TERN_OK;
    tern_str_init(&text, 1 << 20);
    if (path)
        rc = cli_read_file(path, &text, err);
    const char *at = path ? tern_str_get(&text) : key ? key : "";
    while (*at == '#' || *at == '\n')
        at += strcspn(at, "\n") + (at[strcspn(at, "\n")] == '\n');
    size_t n = strcspn(at, " \t\r\n");
    if (rc == TERN_OK && n >= sizeof b->key)
        rc = tern_fail(err, TERN_E_USAGE, "the key for the server is longer than %zu bytes",
                       sizeof b->key - 1);
    if (rc == TERN_OK && n > 0) {
        memcpy(b->key, at, n);
        b->t.key = b->key;
    }
    if (text.data)
        explicit_bzero(text.data, text.len);
    tern_str_done(&text);
    return rc;
}

static tern_code fetch_json(const server_bench *b, const char *method, const char *path,
                            const char *body, json_t **out, tern_err *err)
{
    load_reply r;
    tern_str reply;
    *out = NULL;
    tern_str_init(&reply, 16 << 20);
    tern_code rc = load_fetch(&b->t, method, path, body, &r, &reply, err);
    if (rc == TERN_OK && r.status == 200)
        *out = json_loadb(tern_str_get(&reply), reply.len, 0, NULL);
    char shown[120];
    if (rc == TERN_OK && !*out)
        rc = tern_fail(err, TERN_E_NETWORK, "%s: the server says %d: %s", path, r.status,
                       tern_quote(shown, sizeof shown, tern_str_get(&reply), reply.len));
    tern_str_done(&reply);
    return rc;
}

/* The first model that the server names, unless -m does. */
static tern_code find_model(server_bench *b, tern_err *err)
{
    const char *name = cli_model_asked(b->c);
    json_t *list = NULL, *text = NULL;
    if (!name) {
        TERN_TRY(fetch_json(b, "GET", "/v1/models", NULL, &list, err));
        name = json_string_value(
            json_object_get(json_array_get(json_object_get(list, "data"), 0), "id"));
    }
    text = json_string(name ? name : "");
    char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    if (quoted)
        tern_str_puts(&b->model, quoted);
    bool ok = quoted && !b->model.failed;
    free(quoted);
    json_decref(text);
    json_decref(list);
    return ok ? TERN_OK : tern_fail(err, TERN_E_USAGE, "the model's name is no UTF-8 text");
}

static tern_code count_tokens(server_bench *b, size_t n_word, double *n_tok, tern_err *err)
{
    tern_str body;
    json_t *reply;
    tern_str_init(&body, SIZE_MAX / 4);
    put_body(b, n_word, 1, false, &body);
    tern_code rc = body.failed ? tern_fail(err, TERN_E_NOMEM, "out of memory for a request")
                               : fetch_json(b, "POST", b->path, tern_str_get(&body), &reply, err);
    tern_str_done(&body);
    if (rc != TERN_OK)
        return rc;
    const json_t *n = json_object_get(json_object_get(reply, "usage"), "prompt_tokens");
    *n_tok = json_number_value(n);
    rc = json_is_integer(n) ? TERN_OK
                            : tern_fail(err, TERN_E_NETWORK,
                                        "%s: the reply has no "
                                        "usage.prompt_tokens",
                                        b->path);
    json_decref(reply);
    return rc;
}

/* How many words make a prompt of so many tokens: two prompts tell. The server is warm then, too. */
static tern_code learn_words(server_bench *b, tern_err *err)
{
    enum { FEW = 16, MANY = 64 };
    double few, many;
    TERN_TRY(count_tokens(b, FEW, &few, err));
    TERN_TRY(count_tokens(b, MANY, &many, err));
    if (many <= few)
        return tern_fail(err, TERN_E_NETWORK,
                         "usage.prompt_tokens of the server does not grow with the prompt");
    b->words_per_token = (MANY - FEW) / (many - few);
    b->words_rest = few * b->words_per_token - FEW;
    return TERN_OK;
}

/* ---- phases -------------------------------------------------------------------------------- */

static tern_code run_phase(server_bench *b, size_t n_client, size_t n_request, load_hostile *h,
                           phase *p, tern_err *err)
{
    const load_plan plan = {.n_client = n_client + b->n_background,
                            .n_request = n_request,
                            .n_background = b->n_background,
                            .path = b->path,
                            .body = next_body,
                            .seen = seen,
                            .interrupted = cli_interrupt_pending,
                            .ctx = b};
    *p = (phase){.n_client = n_client};
    b->now = p;
    TERN_TRY(load_run(&b->t, &plan, h, &p->wall_s, err));
    if (p->first.failed || p->gap.failed || p->whole.failed)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the times");
    if (p->n_failed == p->n_request)
        return tern_fail(err, TERN_E_NETWORK, "no request was answered: %s", p->why);
    if (p->n_failed)
        cli_warn(b->c, "%zu of %zu requests failed, the first with %s", p->n_failed, p->n_request,
                 p->why);
    return TERN_OK;
}

/* Of sums, not a mean of rates: pieces of an answer that arrive together would count as endless speed. */
static double client_rate(const phase *p)
{
    return p->stream_s > 0.0 ? p->stream_tok / p->stream_s : 0.0;
}

static json_t *percentiles(load_samples *s)
{
    if (s->n == 0)
        return json_null();
    return json_pack("{s:I, s:f, s:f, s:f, s:f}", "samples", (json_int_t)s->n, "p50",
                     load_percentile(s, 0.50), "p95", load_percentile(s, 0.95), "p99",
                     load_percentile(s, 0.99), "max", load_percentile(s, 1.0));
}

static json_t *phase_json(phase *p)
{
    double answered = (double)(p->n_request - p->n_failed);
    return json_pack("{s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:f, s:f, s:f}", "clients",
                     (json_int_t)p->n_client, "requests", (json_int_t)p->n_request, "errors",
                     (json_int_t)p->n_failed, "seconds", p->wall_s, "prompt_tokens",
                     (double)p->n_prompt / answered, "cached_tokens",
                     (double)p->n_cached / answered, "answer_tokens", (double)p->n_tok / answered,
                     "first_token_s", percentiles(&p->first), "inter_token_s", percentiles(&p->gap),
                     "request_s", percentiles(&p->whole), "tokens_per_second_client",
                     client_rate(p), "tokens_per_second", (double)p->n_tok / p->wall_s,
                     "prompt_tokens_per_second", (double)p->n_prompt / p->wall_s);
}

static void print_ms(load_samples *s)
{
    static const double q[] = {0.50, 0.95, 0.99};
    for (size_t i = 0; i < 3; i++)
        if (s->n)
            (void)printf(" %.1f |", 1e3 * load_percentile(s, q[i]));
        else
            (void)printf(" - |");
}

static void print_head(const server_bench *b, const char *first)
{
    if (b->table)
        (void)printf("\n| %s | requests | errors | first token ms p50 | p95 | p99 | between tokens "
                     "ms p50 | p95 "
                     "| p99 | tok/s each | tok/s all | prompt tok/s |\n"
                     "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
                     first);
}

static void print_phase(const server_bench *b, const char *name, phase *p)
{
    if (!b->table)
        return;
    (void)printf("| %s | %zu | %zu |", name, p->n_request, p->n_failed);
    print_ms(&p->first);
    print_ms(&p->gap);
    (void)printf(" %.1f | %.1f | %.1f |\n", client_rate(p), (double)p->n_tok / p->wall_s,
                 (double)p->n_prompt / p->wall_s);
    (void)fflush(stdout);
}

static bool keep(json_t *o, const char *key, json_t *v)
{
    return v && json_object_set_new(o, key, v) == 0;
}

static tern_code run_steps(server_bench *b, size_t n_request, tern_err *err)
{
    json_t *steps = json_array();
    bool ok = steps != NULL;
    tern_code rc = TERN_OK;
    print_head(b, "clients");
    for (size_t i = 0; ok && rc == TERN_OK && i < b->steps.n; i++) {
        phase p;
        char name[24];
        (void)snprintf(name, sizeof name, "%d", b->steps.v[i]);
        cli_progress(b->c, "measuring", (double)i, (double)b->steps.n, "");
        rc = run_phase(b, (size_t)b->steps.v[i], n_request, NULL, &p, err);
        cli_progress_end(b->c);
        if (rc == TERN_OK) {
            print_phase(b, name, &p);
            ok = json_array_append_new(steps, phase_json(&p)) == 0;
        }
        phase_done(&p);
    }
    ok = keep(b->out, "steps", steps) && ok;
    return rc != TERN_OK || ok ? rc : tern_fail(err, TERN_E_NOMEM, "out of memory");
}

/* ---- short requests beside a long prompt --------------------------------------------------- */

#define SHORT_PROMPT 16
#define SHORT_ANSWER 8

static tern_code run_mixed(server_bench *b, size_t n_long, size_t n_request, tern_err *err)
{
    size_t n_prompt = b->n_prompt, n_answer = b->n_answer;
    phase idle = {0}, busy = {0};
    b->n_prompt = SHORT_PROMPT;
    b->n_answer = SHORT_ANSWER;
    tern_code rc = run_phase(b, 1, n_request, NULL, &idle, err);
    if (rc == TERN_OK) {
        b->n_background = 1;
        b->background_prompt = n_long;
        rc = run_phase(b, 1, n_request, NULL, &busy, err);
        b->n_background = 0;
    }
    b->n_prompt = n_prompt;
    b->n_answer = n_answer;
    if (rc == TERN_OK) {
        double a = load_percentile(&idle.whole, 0.95), z = load_percentile(&busy.whole, 0.95);
        char name[64];
        print_head(b, "short requests");
        print_phase(b, "idle", &idle);
        (void)snprintf(name, sizeof name, "while %zu tokens are read", n_long);
        print_phase(b, name, &busy);
        if (b->table)
            (void)printf("\nwhole short requests, p95: %.1f ms idle, %.1f ms beside: %.2f times\n",
                         1e3 * a, 1e3 * z, z / a);
        if (!keep(b->out, "short_during_prefill",
                  json_pack("{s:I, s:o, s:o, s:f}", "tokens", (json_int_t)n_long, "idle",
                            phase_json(&idle), "busy", phase_json(&busy), "p95_ratio", z / a)))
            rc = tern_fail(err, TERN_E_NOMEM, "out of memory");
    }
    phase_done(&idle);
    phase_done(&busy);
    return rc;
}

/* ---- ordinary clients beside hostile ones -------------------------------------------------- */

static const char *const kinds[LOAD_KINDS] = {"idle", "slow", "stalled"};

static json_t *hostile_json(const load_hostile *h, const size_t n[LOAD_KINDS], bool print)
{
    json_t *o = json_object();
    for (int k = 0; k < LOAD_KINDS; k++) {
        size_t n_open, n_cut;
        load_hostile_count(h, (load_hostile_kind)k, &n_open, &n_cut);
        (void)json_object_set_new(o, kinds[k],
                                  json_pack("{s:I, s:I, s:I}", "asked", (json_int_t)n[k], "open",
                                            (json_int_t)n_open, "cut", (json_int_t)n_cut));
        if (print && n[k])
            (void)printf("%s: %zu of %zu connections open at the end, %zu cut by the server\n",
                         kinds[k], n_open, n[k], n_cut);
    }
    return o;
}

static tern_code run_hostile(server_bench *b, const size_t n[LOAD_KINDS], size_t n_request,
                             tern_err *err)
{
    phase before = {0}, during = {0};
    load_hostile *h = NULL;
    tern_str body;
    size_t n_client = (size_t)b->steps.v[b->steps.n - 1];
    tern_str_init(&body, SIZE_MAX / 4);
    put_body(b, 8, 4096, true, &body);
    tern_code rc = run_phase(b, n_client, n_request, NULL, &before, err);
    if (rc == TERN_OK)
        rc = load_hostile_new(&b->t, n, b->path, tern_str_get(&body), &h, err);
    if (rc == TERN_OK)
        rc = run_phase(b, n_client, n_request, h, &during, err);
    if (rc == TERN_OK) {
        print_head(b, "clients beside hostile connections");
        print_phase(b, "before", &before);
        print_phase(b, "during", &during);
        if (b->table)
            (void)putchar('\n');
        double ratio = load_percentile(&during.first, 0.99) / load_percentile(&before.first, 0.99);
        if (!keep(b->out, "hostile",
                  json_pack("{s:o, s:o, s:o, s:f}", "before", phase_json(&before), "during",
                            phase_json(&during), "connections", hostile_json(h, n, b->table),
                            "first_token_p99_ratio", ratio)))
            rc = tern_fail(err, TERN_E_NOMEM, "out of memory");
    }
    load_hostile_free(h);
    phase_done(&before);
    phase_done(&during);
    tern_str_done(&body);
    return rc;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static tern_code run_all(server_bench *b, tern_err *err)
{
    const cli_options *o = &b->c->opt;
    size_t n_request = (size_t)cli_int(o, OPT_BENCH_REQUESTS),
           n_long = (size_t)cli_int(o, OPT_BENCH_SHORT);
    const size_t n[LOAD_KINDS] = {[LOAD_IDLE] = (size_t)cli_int(o, OPT_BENCH_IDLE),
                                  [LOAD_SLOW] = (size_t)cli_int(o, OPT_BENCH_SLOW),
                                  [LOAD_STALLED] = (size_t)cli_int(o, OPT_BENCH_STALLED)};
    TERN_TRY(find_model(b, err));
    TERN_TRY(learn_words(b, err));
    if (b->table)
        (void)printf("%s, prompts of %zu tokens, answers of %zu, %zu requests a client\n",
                     tern_str_get(&b->model), b->n_prompt, b->n_answer, n_request);
    b->out = json_pack("{s:s, s:I, s:I}", "model", tern_str_get(&b->model), "n_prompt",
                       (json_int_t)b->n_prompt, "n_gen", (json_int_t)b->n_answer);
    if (!b->out)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    TERN_TRY(run_steps(b, n_request, err));
    if (n_long)
        TERN_TRY(run_mixed(b, n_long, n_request, err));
    if (n[0] + n[1] + n[2])
        TERN_TRY(run_hostile(b, n, n_request, err));
    return TERN_OK;
}

tern_code bench_server(cli *c, tern_err *err)
{
    const cli_options *o = &c->opt;
    server_bench b = {.c = c,
                      .chat = cli_int(o, OPT_BENCH_ENDPOINT) == 0,
                      .n_prompt = (size_t)cli_int(o, OPT_BENCH_PROMPT),
                      .n_answer = (size_t)cli_int(o, OPT_BENCH_GEN),
                      .seed = tern_clock_ns() | 1,
                      .table = !c->json};
    tern_code rc;
    b.path = b.chat ? "/v1/chat/completions" : "/v1/completions";
    tern_str_init(&b.model, 1 << 16);
    if (b.n_prompt == 0 || b.n_answer == 0)
        return tern_fail(err, TERN_E_USAGE, "--server: -p and -n are at least 1");
    TERN_TRY(load_target_parse(&b.t, cli_text(o, OPT_BENCH_SERVER), err));
    b.t.timeout_s = (double)cli_int(o, OPT_BENCH_TIMEOUT);
    cli_interrupt_init();
    TERN_TRY_GOTO(
        cli_ids_parse("--concurrency", cli_text(o, OPT_BENCH_CONCURRENCY), 1, 4096, &b.steps, err));
    TERN_TRY_GOTO(read_key(&b, err));
    TERN_TRY_GOTO(run_all(&b, err));
    rc = b.table ? cli_flush(err) : cli_print_json(json_incref(b.out), err);
fail:
    json_decref(b.out);
    explicit_bzero(b.key, sizeof b.key);
    tern_ids_done(&b.steps);
    tern_str_done(&b.model);
    return rc;
}
