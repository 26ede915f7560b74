/* What constraints cost: bench_grammar MODEL [N_TOKEN [ROUNDS]]. The same number of greedy tokens free and under
 * a schema whose text never ends, in turns; the first mask of an open string, which goes through the whole
 * vocabulary, and the compilation of a large schema. Milliseconds; the fastest of ROUNDS. */
#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "sample/grammar/matcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_PROMPT 64

typedef struct bench {
    tern_model *m;
    tern_session *s;
    int32_t prompt[MAX_PROMPT];
    size_t n_prompt;
    int32_t n_token;
    int32_t *ids; /* [n_token]: generated last */
} bench;

static tern_err err;

static void must(tern_code rc)
{
    if (rc == TERN_OK)
        return;
    (void)fprintf(stderr, "%s\n", err.msg);
    exit(1);
}

static double ms_since(uint64_t begin)
{
    return (double)(tern_clock_ns() - begin) * 1e-6;
}

static tern_grammar *compile(const bench *b, tern_grammar_kind kind, const char *text, double *ms)
{
    tern_grammar *g;
    uint64_t begin = tern_clock_ns();
    must(tern_grammar_new(b->m, kind, text, strlen(text), &g, &err));
    *ms = ms_since(begin);
    return g;
}

static double cpu_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* Processor time in microseconds that the masks of the ids take each, and the longest. */
static double replay(tern_grammar *g, const int32_t *ids, int32_t n, double *most)
{
    tern_matcher *m;
    tern_allowed a;
    double begin = cpu_us(), before = begin;
    *most = 0;
    must(tern_matcher_new(g, NULL, 0, false, &m, &err));
    for (int32_t i = 0; i < n; i++) {
        must(tern_matcher_allowed(m, &a, &err));
        must(tern_matcher_accept(m, ids[i], &err));
        double now = cpu_us();
        *most = now - before > *most ? now - before : *most;
        before = now;
    }
    double each = (cpu_us() - begin) / (n ? n : 1);
    tern_matcher_free(m);
    return each;
}

/* Milliseconds a token after the first few; *first: until the first token. */
static double generate(bench *b, tern_grammar *g, double *first)
{
    tern_gen_opts o;
    tern_request *r;
    tern_event ev = {0};
    int32_t n = 0;
    tern_gen_opts_init(&o);
    o.temp = 0;
    o.n_predict = b->n_token;
    o.ignore_eos = true;
    o.spec = TERN_SPEC_OFF;
    o.grammar = g;
    must(tern_request_new(b->s, b->prompt, b->n_prompt, &o, &r, &err));
    uint64_t begin = tern_clock_ns();
    must(tern_request_next(r, &ev, &err));
    *first = ms_since(begin);
    b->ids[0] = ev.id;
    begin = tern_clock_ns();
    while (ev.finish == TERN_FINISH_NONE) {
        must(tern_request_next(r, &ev, &err));
        b->ids[++n] = ev.id;
    }
    double each = n ? ms_since(begin) / n : 0;
    tern_request_free(r);
    return each;
}

static void compare(bench *b, const char *name, tern_grammar_kind kind, const char *text,
                    int n_round)
{
    double free_ms = 1e9, held_ms = 1e9, cold_ms = 0, first, compile_ms;
    for (int i = 0; i < n_round; i++) {
        double ms = generate(b, NULL, &first);
        free_ms = ms < free_ms ? ms : free_ms;
        tern_grammar *g = compile(b, kind, text, &compile_ms);
        ms = generate(b, g, &first); /* every mask is new */
        cold_ms = i == 0 || ms < cold_ms ? ms : cold_ms;
        ms = generate(b, g, &first);
        held_ms = ms < held_ms ? ms : held_ms;
        tern_grammar_free(g);
    }
    tern_grammar *g = compile(b, kind, text, &compile_ms);
    double most, again, new_us = replay(g, b->ids, b->n_token, &most),
                        kept_us = replay(g, b->ids, b->n_token, &again);
    tern_grammar_free(g);
    (void)printf("%-16s free %.3f, first time %.3f (%+.1f %%), then %.3f (%+.1f %%); compiled in "
                 "%.2f\n",
                 name, free_ms, cold_ms, 100 * (cold_ms / free_ms - 1), held_ms,
                 100 * (held_ms / free_ms - 1), compile_ms);
    (void)printf(
        "%-16s masks alone, of processor time: first time %.1f us a token (%.2f %% of free; "
        "the longest %.1f), then %.1f (%.2f %%)\n",
        "", new_us, new_us / free_ms / 10, most, kept_us, kept_us / free_ms / 10);
}

/* A schema with n optional properties of several types. */
static char *large_schema(int n)
{
    tern_str s;
    tern_str_init(&s, (size_t)16 << 20);
    tern_str_puts(&s, "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{");
    for (int i = 0; i < n; i++)
        tern_str_printf(&s,
                        "%s\"property_number_%d\":{\"type\":\"object\",\"description\":\"one of "
                        "many properties that tools of large programs have, %d of them\","
                        "\"properties\":{\"name\":{\"type\":\"string\"},\"count\":{\"type\":"
                        "\"integer\",\"minimum\":0,\"maximum\":%d}},\"required\":[\"name\"]}",
                        i ? "," : "", i, n, 100 + i);
    tern_str_puts(&s, "}}");
    return tern_str_take(&s);
}

int main(int argc, char **argv)
{
    static const char text[] = "Once upon a time there was";
    static const char object[] =
        "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":12},"
        "\"kind\":{\"enum\":[\"cat\",\"dog\",\"bird\"]},\"age\":{\"type\":\"integer\",\"minimum\":"
        "0,"
        "\"maximum\":99},\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"minItems\":"
        "1000}},\"required\":[\"name\",\"kind\",\"age\",\"tags\"],\"additionalProperties\":false}";
    bench b = {.n_token = 64};
    tern_session_opts so;
    uint64_t n, rounds = 3;
    double ms, first;
    if (argc < 2 || (argc > 2 && (!tern_parse_u64(argv[2], strlen(argv[2]), &n) || n > 100000)) ||
        (argc > 3 && !tern_parse_u64(argv[3], strlen(argv[3]), &rounds)))
        return 2;
    if (argc > 2)
        b.n_token = (int32_t)n;
    b.ids = calloc((size_t)b.n_token + 1, sizeof *b.ids);
    if (!b.ids)
        return 1;
    must(tern_model_open(argv[1], NULL, &b.m, &err));
    tern_session_opts_init(&so);
    so.n_ctx = b.n_token + MAX_PROMPT;
    must(tern_session_new(b.m, &so, &b.s, &err));
    must(tern_model_tokenize(b.m, text, sizeof text - 1, TERN_TOKENIZE_ADD_SPECIAL, b.prompt,
                             MAX_PROMPT, &b.n_prompt, &err));
    tern_grammar *g = compile(&b, TERN_GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\"}", &ms);
    (void)printf("first grammar %.2f (with the vocabulary's trie)\n", ms);
    tern_grammar_free(g);
    compare(&b, "object", TERN_GRAMMAR_JSON_SCHEMA, object, (int)rounds);
    compare(&b, "string of 5000", TERN_GRAMMAR_JSON_SCHEMA,
            "{\"type\":\"string\",\"minLength\":5000,\"maxLength\":5000}", (int)rounds);
    compare(&b, "words", TERN_GRAMMAR_REGEX, "([A-Z]?[a-z]+,? ){5000}", (int)rounds);
    b.n_token = 1;
    (void)generate(&b, NULL, &first);
    double plain = first;
    g = compile(&b, TERN_GRAMMAR_REGEX, "[^\"]{5000}", &ms);
    (void)generate(&b, g, &first);
    (void)printf("first token free %.3f, in an open string %.3f\n", plain, first);
    tern_grammar_free(g);
    char *large = large_schema(400);
    if (large) {
        g = compile(&b, TERN_GRAMMAR_JSON_SCHEMA, large, &ms);
        (void)generate(&b, g, &first);
        (void)printf("schema of %zu bytes: compiled in %.2f, first token %.3f\n", strlen(large), ms,
                     first);
        tern_grammar_free(g);
    }
    free(b.ids);
    tern_string_free(large);
    tern_session_free(b.s);
    tern_model_close(b.m);
    return 0;
}
