/* What several rows in a pass are worth, on any model. All variants take turns, medians are printed.
 *   bench_passes rows    MODEL [DEPTH]          time of passes of 1 to 8 rows of one sequence
 *   bench_passes streams MODEL [N...]           tokens per second of 1 and of N requests together
 *   bench_passes text    MODEL PROMPT N [TEMP]  N tokens after the text of file PROMPT, each way of
 *                                               drafting; "chat:PROMPT" uses the chat template
 * TERN_THREADS: 2. ROUNDS: 9, or 5 of text. Of text: NO_ALWAYS leaves out the third way, SPEC_MAX and
 * IGNORE_EOS are options, SHOW prints the answer, ONLY=N allows the first N ids alone, so that a model
 * without sense repeats itself. */
#include "base/clock.h"
#include "base/num.h"
#include "engine/engine.h"
#include "tern.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROUND  99
#define MAX_STREAM 64

static void check(tern_code rc, const tern_err *err)
{
    if (rc == TERN_OK)
        return;
    (void)fprintf(stderr, "bench_passes: %s\n", err->msg);
    exit(1);
}

static int number(const char *s, int otherwise)
{
    uint64_t n;
    return s && tern_parse_u64(s, strlen(s), &n) && n < 1 << 24 ? (int)n : otherwise;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, compare);
    return v[n / 2];
}

static double seconds(uint64_t begin)
{
    return (double)(tern_clock_ns() - begin) * 1e-9;
}

static tern_session *open_session(tern_model *m, int n_ctx)
{
    tern_session *s;
    tern_session_opts o;
    tern_err err;
    tern_session_opts_init(&o);
    o.n_ctx = n_ctx;
    check(tern_session_new(m, &o, &s, &err), &err);
    return s;
}

static void random_ids(const tern_model *m, uint32_t seed, int32_t *ids, int n)
{
    tern_model_info info = {.size = sizeof info};
    uint32_t x = seed * 2654435761u + 1;
    tern_model_info_get(m, &info);
    for (int i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        ids[i] = (int32_t)((x >> 8) % (uint32_t)info.n_vocab);
    }
}

/* ---- rows ---------------------------------------------------------------------------------- */

static void rows(tern_model *m, int depth, int n_round)
{
    static double t[TERN_MAX_OUT + 1][MAX_ROUND];
    int32_t *ids = calloc((size_t)depth + TERN_MAX_OUT, sizeof *ids);
    tern_session *s = open_session(m, depth + TERN_MAX_OUT);
    tern_err err;
    random_ids(m, 1, ids, depth + TERN_MAX_OUT);
    check(tern_session_eval(s, ids, (size_t)depth, &err), &err);
    for (int round = -2; round < n_round; round++)
        for (int n = 1; n <= TERN_MAX_OUT; n++) {
            uint64_t begin = tern_clock_ns();
            check(tern_session_step(s, ids + depth, (size_t)n, n, &err), &err);
            if (round >= 0)
                t[n][round] = seconds(begin);
            tern_session_rewind(s, (size_t)depth);
        }
    double one = median(t[1], n_round);
    for (int n = 1; n <= TERN_MAX_OUT; n++) {
        double mid = median(t[n], n_round);
        printf("%d rows: %8.3f ms (%.3f..%.3f), %.2f of one, %.1f rows/s\n", n, mid * 1e3,
               t[n][0] * 1e3, t[n][n_round - 1] * 1e3, mid / one, n / mid);
    }
    tern_session_free(s);
    free(ids);
}

/* ---- streams ------------------------------------------------------------------------------- */

/* Tokens per second of all together, prompts aside. */
static double stream(tern_model *m, int n, int n_gen)
{
    tern_session *s[MAX_STREAM];
    tern_request *r[MAX_STREAM];
    tern_event ev[MAX_STREAM];
    tern_gen_opts o;
    tern_err err;
    tern_gen_opts_init(&o);
    o.n_predict = n_gen;
    o.ignore_eos = true;
    o.temp = 0.0f;
    o.spec = TERN_SPEC_OFF;
    for (int i = 0; i < n; i++) {
        int32_t ids[16];
        random_ids(m, (uint32_t)i, ids, 16);
        s[i] = open_session(m, n_gen + 17);
        check(tern_request_new(s[i], ids, 16, &o, &r[i], &err), &err);
    }
    check(tern_requests_next(r, (size_t)n, ev, &err), &err);
    while (ev[n - 1].id < 0)
        check(tern_requests_next(r, (size_t)n, ev, &err), &err);
    uint64_t begin = tern_clock_ns();
    for (int i = 1; i < n_gen / 2; i++)
        check(tern_requests_next(r, (size_t)n, ev, &err), &err);
    double rate = (double)n * (n_gen / 2 - 1) / seconds(begin);
    for (int i = 0; i < n; i++) {
        tern_request_free(r[i]);
        tern_session_free(s[i]);
    }
    return rate;
}

static void streams(tern_model *m, char **list, int n_list, int n_round)
{
    static double t[16][MAX_ROUND];
    int count[16] = {1, 2, 4, 8}, n = n_list ? 1 : 4;
    for (int i = 0; i < n_list && n < 16; i++)
        count[n++] = number(list[i], 1);
    for (int round = -1; round < n_round; round++)
        for (int i = 0; i < n; i++) {
            double rate = stream(m, count[i], 48);
            if (round >= 0)
                t[i][round] = rate;
        }
    double one = median(t[0], n_round);
    for (int i = 0; i < n; i++) {
        double mid = median(t[i], n_round);
        printf("%2d streams: %8.1f tok/s (%.1f..%.1f), %.2f times one\n", count[i], mid, t[i][0],
               t[i][n_round - 1], mid / one);
    }
}

/* ---- text ---------------------------------------------------------------------------------- */

static size_t read_prompt(const tern_model *m, const char *path, int32_t *ids, size_t cap)
{
    static char text[1 << 20];
    char *prompt = text;
    tern_err err;
    size_t n = 0, n_text;
    bool chat = strncmp(path, "chat:", 5) == 0;
    FILE *f = fopen(path + (chat ? 5 : 0), "rb");
    if (!f) {
        (void)fprintf(stderr, "bench_passes: no file %s\n", path);
        exit(1);
    }
    n_text = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[n_text] = '\0';
    if (chat) {
        json_t *list = json_pack("[{s:s, s:s}]", "role", "user", "content", text);
        char *messages = json_dumps(list, 0);
        check(tern_model_chat_prompt(m, messages, NULL, true, &prompt, &n_text, &err), &err);
        free(messages);
        json_decref(list);
    }
    check(tern_model_tokenize(m, prompt, n_text,
                              (chat ? 0u : TERN_TOKENIZE_ADD_SPECIAL) | TERN_TOKENIZE_PARSE_SPECIAL,
                              ids, cap, &n, &err),
          &err);
    if (chat)
        tern_string_free(prompt);
    return n;
}

static void text(tern_model *m, const char *path, int n_gen, float temp, int n_round)
{
    static const char *const names[] = {"plain", "ngram", "always"};
    static double t[3][MAX_ROUND], ratio[3][MAX_ROUND];
    static int32_t ids[1 << 16];
    tern_request_stats st[3] = {0};
    tern_err err;
    int n_mode = getenv("NO_ALWAYS") ? 2 : 3;
    size_t n = read_prompt(m, path, ids, 1 << 16), n_bias = 0;
    tern_model_info info = {.size = sizeof info};
    tern_model_info_get(m, &info);
    tern_token_bias *bias = calloc((size_t)info.n_vocab, sizeof *bias);
    for (int32_t id = number(getenv("ONLY"), info.n_vocab); bias && id < info.n_vocab; id++)
        bias[n_bias++] = (tern_token_bias){id, -INFINITY};
    tern_session *s = open_session(m, (int)n + n_gen + 1);
    for (int round = -1; round < n_round; round++)
        for (int mode = 0; mode < n_mode; mode++) {
            tern_request *r;
            tern_event ev = {0};
            tern_gen_opts o;
            tern_gen_opts_init(&o);
            o.n_predict = n_gen;
            o.temp = temp;
            o.seed = (uint64_t)round + 2;
            o.spec = (tern_spec_mode)mode;
            o.spec_max = number(getenv("SPEC_MAX"), o.spec_max);
            o.ignore_eos = getenv("IGNORE_EOS") != NULL;
            o.bias = bias;
            o.n_bias = n_bias;
            check(tern_request_new(s, ids, n, &o, &r, &err), &err);
            while (ev.finish == TERN_FINISH_NONE) {
                check(tern_request_next(r, &ev, &err), &err);
                if (round == 0 && mode == 0 && getenv("SHOW"))
                    (void)fwrite(ev.text, 1, ev.n_text, stdout);
            }
            tern_request_stats_get(r, &st[mode]);
            tern_request_free(r);
            if (round >= 0) {
                t[mode][round] = (double)(st[mode].n_generated - 1) / st[mode].generate_s;
                ratio[mode][round] = t[mode][round] / t[0][round];
            }
        }
    for (int mode = 0; mode < n_mode; mode++) {
        double rate = median(t[mode], n_round), to_plain = median(ratio[mode], n_round);
        printf("%-6s %zu+%zu tokens: %8.1f tok/s, %.3f of plain (%.3f..%.3f); last round %.3f "
               "tokens per pass, %zu of %zu drafted accepted\n",
               names[mode], n, st[mode].n_generated, rate, to_plain, ratio[mode][0],
               ratio[mode][n_round - 1],
               (double)(st[mode].n_generated - 1) / (double)(st[mode].n_pass ? st[mode].n_pass : 1),
               st[mode].n_accepted, st[mode].n_drafted);
    }
    free(bias);
    tern_session_free(s);
}

int main(int argc, char **argv)
{
    tern_model *m;
    tern_model_opts o;
    tern_err err;
    double temp = 0.0;
    if (argc < 3) {
        (void)fputs("usage: bench_passes rows|streams|text MODEL ...\n", stderr);
        return 2;
    }
    tern_model_opts_init(&o);
    o.n_thread = number(getenv("TERN_THREADS"), 2);
    check(tern_model_open(argv[2], &o, &m, &err), &err);
    int n_round = number(getenv("ROUNDS"), argv[1][0] == 't' ? 5 : 9);
    if (strcmp(argv[1], "rows") == 0)
        rows(m, argc > 3 ? number(argv[3], 16) : 16, n_round);
    else if (strcmp(argv[1], "streams") == 0)
        streams(m, argv + 3, argc - 3, n_round);
    else if (argc > 4 && (argc < 6 || tern_parse_f64(argv[5], strlen(argv[5]), &temp)))
        text(m, argv[3], number(argv[4], 64), (float)temp, n_round);
    tern_model_close(m);
    return 0;
}
