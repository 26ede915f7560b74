#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/random.h>

void cli_answer_init(cli_answer *a)
{
    *a = (cli_answer){0};
    tern_str_init(&a->text, CLI_MAX_INPUT);
}

void cli_answer_done(cli_answer *a)
{
    tern_str_done(&a->text);
}

uint64_t cli_seed(const cli *c, uint64_t turn)
{
    int64_t seed = cli_int(&c->opt, OPT_SEED);
    uint32_t random = 0; /* 32 bits: every JSON reader keeps them exactly */
    if (seed >= 0)
        return (uint64_t)seed + turn;
    (void)getrandom(&random, sizeof random, 0);
    return random;
}

/* "15043+1.5", "15043-1", "15043-inf" */
static tern_code parse_bias(const char *s, tern_token_bias *out, tern_err *err)
{
    size_t n_id = strcspn(s, "+-");
    uint64_t id;
    double x = (double)INFINITY;
    char shown[40];
    const char *value = s[n_id] ? s + n_id + 1 : "";
    if (!tern_parse_u64(s, n_id, &id) || id > INT32_MAX || *value == '-' ||
        (strcmp(value, "inf") != 0 && !tern_parse_f64(value, strlen(value), &x)) ||
        (s[n_id] == '+' && !isfinite(x)) || (isfinite(x) && x > 1e6))
        return tern_fail(err, TERN_E_USAGE, "--logit-bias '%s': expected ID+X or ID-X",
                         tern_quote(shown, sizeof shown, s, strlen(s)));
    *out = (tern_token_bias){(int32_t)id, (float)(s[n_id] == '-' ? -x : x)};
    return TERN_OK;
}

static void fill(const cli *c, tern_gen_opts *g)
{
    const cli_options *o = &c->opt;
    tern_gen_opts_init(g);
    g->n_predict = (int32_t)cli_int(o, OPT_N_PREDICT);
    g->temp = (float)cli_real(o, OPT_TEMP);
    g->top_k = (int32_t)cli_int(o, OPT_TOP_K);
    g->top_p = (float)cli_real(o, OPT_TOP_P);
    g->min_p = (float)cli_real(o, OPT_MIN_P);
    g->typical_p = (float)cli_real(o, OPT_TYPICAL);
    g->repeat_penalty = (float)cli_real(o, OPT_REPEAT_PENALTY);
    g->repeat_last_n = (int32_t)cli_int(o, OPT_REPEAT_LAST_N);
    g->presence_penalty = (float)cli_real(o, OPT_PRESENCE);
    g->frequency_penalty = (float)cli_real(o, OPT_FREQUENCY);
    g->ignore_eos = cli_flag(o, OPT_IGNORE_EOS);
    g->show_special = cli_flag(o, OPT_SPECIAL);
    g->spec = (tern_spec_mode)cli_int(o, OPT_SPEC); /* the choices stand in this order */
    g->spec_max = (int32_t)cli_int(o, OPT_SPEC_MAX);
    g->stop = o->stop.item;
    g->n_stop = o->stop.n;
}

static tern_code stream(tern_request *r, bool show, cli_answer *a, tern_err *err)
{
    tern_event ev = {0};
    while (ev.finish == TERN_FINISH_NONE) {
        TERN_TRY(tern_request_next(r, &ev, err));
        tern_str_put(&a->text, ev.text, ev.n_text);
        if (show && ev.n_text) {
            (void)fwrite(ev.text, 1, ev.n_text, stdout);
            TERN_TRY(cli_flush(err));
        }
    }
    a->finish = ev.finish;
    return a->text.failed ? tern_fail(err, TERN_E_NOMEM, "out of memory for the answer") : TERN_OK;
}

tern_code cli_answer_run(cli *c, const tern_model *m, tern_session *s, const tern_ids *ids,
                         bool show, cli_answer *a, tern_err *err)
{
    tern_token_bias bias[CLI_MAX_LIST];
    tern_gen_opts g;
    tern_grammar *grammar;
    tern_request *r;
    fill(c, &g);
    for (size_t i = 0; i < c->opt.bias.n; i++)
        TERN_TRY(parse_bias(c->opt.bias.item[i], &bias[i], err));
    g.bias = bias;
    g.n_bias = c->opt.bias.n;
    g.seed = a->seed;
    TERN_TRY(cli_grammar_new(c, m, &grammar, err));
    g.grammar = grammar;
    tern_code rc = tern_request_new(s, ids->v, ids->n, &g, &r, err);
    tern_grammar_free(grammar);
    TERN_TRY(rc);
    cli_interrupt_target(s);
    rc = stream(r, show, a, err);
    cli_interrupt_target(NULL);
    cli_progress_end(c);
    tern_request_stats_get(r, &a->stats);
    tern_request_free(r);
    return rc;
}

double cli_answer_speed(const tern_request_stats *st)
{
    if (st->n_generated < 2 || st->generate_s <= 0)
        return 0.0;
    return (double)(st->n_generated - 1) / st->generate_s;
}

/* Of the tokens after the first, which the prompt's pass gave. */
static double tokens_per_pass(const tern_request_stats *st)
{
    return st->n_pass ? (double)(st->n_generated - 1) / (double)st->n_pass : 0.0;
}

void cli_answer_print_stats(const cli *c, const tern_session *s, const cli_answer *a)
{
    const tern_request_stats *st = &a->stats;
    char line[200];
    size_t n_used;
    (void)tern_session_tokens(s, &n_used);
    (void)snprintf(line, sizeof line,
                   "[%zu tokens, %.1f tok/s; prompt %zu tokens, %zu cached, first token %.2f s; "
                   "context %zu of %d]",
                   st->n_generated, cli_answer_speed(st), st->n_prompt, st->n_cached, st->prompt_s,
                   n_used, tern_session_n_ctx(s));
    cli_dim(c, line);
    if (!c->verbose)
        return;
    (void)snprintf(line, sizeof line,
                   "[%zu passes, %.2f tokens each; %zu tokens guessed, %zu of them right]",
                   st->n_pass, tokens_per_pass(st), st->n_drafted, st->n_accepted);
    cli_dim(c, line);
}

static const char *finish_name(tern_finish f)
{
    static const char *const names[] = {
        [TERN_FINISH_NONE] = "none",           [TERN_FINISH_EOG] = "eog",
        [TERN_FINISH_STOP] = "stop",           [TERN_FINISH_LENGTH] = "length",
        [TERN_FINISH_CANCELLED] = "cancelled",
    };
    return names[f];
}

json_t *cli_answer_json(const cli *c, const cli_answer *a)
{
    const tern_request_stats *st = &a->stats;
    return json_pack("{s:o, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:I, s:I, s:I, s:f, s:I, s:s}",
                     "text", json_stringn(tern_str_get(&a->text), a->text.len), "finish",
                     finish_name(a->finish), "prompt_tokens", (json_int_t)st->n_prompt,
                     "cached_tokens", (json_int_t)st->n_cached, "generated_tokens",
                     (json_int_t)st->n_generated, "prompt_s", st->prompt_s, "generate_s",
                     st->generate_s, "tok_per_s", cli_answer_speed(st), "passes",
                     (json_int_t)st->n_pass, "drafted_tokens", (json_int_t)st->n_drafted,
                     "accepted_tokens", (json_int_t)st->n_accepted, "tokens_per_pass",
                     tokens_per_pass(st), "seed", (json_int_t)a->seed, "model", cli_model_label(c));
}
