/* `tern plan`: what a model will take and how fast it will be, before it is opened. */
#include "base/error.h"
#include "base/memory.h"
#include "cli.h"

#include <string.h>

/* Shares of what memory and int8 units can do at most that models have reached (docs/BENCHMARKS.md). */
#define READ_SHARE 0.85
#define MAC_SHARE  0.65
#define AMX_SHARE  0.15

typedef struct forecast {
    tern_plan as_it_is, low; /* as the options say; with --low-memory */
    uint64_t program;        /* resident before there was a model */
    tern_memory now;
    uint64_t room;
    const char *who;                     /* what bounds it */
    double read_bytes_per_s, macs_per_s; /* measured; 0: not */
    double mac_share;                    /* of macs_per_s that prompts reach */
} forecast;

static double mb(uint64_t n)
{
    return (double)n * 1e-6;
}

static uint64_t total(const forecast *f, const tern_plan *p)
{
    return p->total_bytes + f->program;
}

static uint64_t needed(const forecast *f, const tern_plan *p)
{
    return p->needed_bytes + f->program;
}

/* ---- advice -------------------------------------------------------------------------------- */

/* The longest context with which the plan fits, in steps of a page; 0: none does. */
static int32_t longest(const forecast *f, const tern_plan *p)
{
    uint64_t rest = needed(f, p) - p->kv_bytes, token = p->kv_token_bytes * (uint64_t)p->n_session;
    if (rest >= f->room || token == 0)
        return 0;
    uint64_t n = (f->room - rest) / token / 64 * 64;
    return n < (uint64_t)p->n_ctx ? (int32_t)n : p->n_ctx;
}

/* Settings with which it would fit, as many words as help. */
static void advise(cli *c, const forecast *f, char *buf, size_t cap)
{
    const tern_plan *p = &f->as_it_is;
    int32_t n = longest(f, p), n_low = longest(f, &f->low);
    bool wide = p->cache_k > TERN_CACHE_Q8 || p->cache_v > TERN_CACHE_Q8;
    size_t at = 0;
    buf[0] = '\0';
    if (n >= 64)
        at += (size_t)snprintf(buf + at, cap - at, "%s-c %d", at ? " or " : "", n);
    if (wide && at < cap && p->kv_bytes > 0 &&
        needed(f, p) - p->kv_bytes / 2 <= f->room) /* q8_0 halves f16 */
        at += (size_t)snprintf(buf + at, cap - at, "%s-ctk q8_0 -ctv q8_0", at ? " or " : "");
    if (!cli_flag(&c->opt, OPT_LOW_MEMORY) && at < cap && needed(f, &f->low) <= f->room)
        at += (size_t)snprintf(buf + at, cap - at, "%s--low-memory", at ? " or " : "");
    else if (!cli_flag(&c->opt, OPT_LOW_MEMORY) && at < cap && n_low >= 64 && n_low > n)
        at += (size_t)snprintf(buf + at, cap - at, "%s--low-memory -c %d", at ? " or " : "", n_low);
    if (at == 0)
        (void)snprintf(buf, cap, "no setting; a smaller model is needed");
}

/* "yes", "slowly": weights that stay in the file do not fit beside the rest; "no". */
static const char *fits(const forecast *f)
{
    if (needed(f, &f->as_it_is) > f->room)
        return "no";
    return total(f, &f->as_it_is) > f->room ? "slowly" : "yes";
}

/* ---- speed --------------------------------------------------------------------------------- */

/* Tokens a second of one conversation with so many tokens behind it; 0: not measured. */
static double generates(const forecast *f, const tern_plan *p, int32_t depth)
{
    double bytes = (double)p->read_bytes + (double)p->kv_token_bytes * depth;
    return bytes > 0 ? READ_SHARE * f->read_bytes_per_s / bytes : 0;
}

/* Of a prompt; 0 also where products are not of int8. */
static double reads(const forecast *f, const tern_plan *p)
{
    return p->n_mac > 0 && p->n_float_mac == 0 ? f->mac_share * f->macs_per_s / (double)p->n_mac
                                               : 0;
}

/* ---- print --------------------------------------------------------------------------------- */

static const char *cache_name(tern_cache_type t)
{
    static const char *const names[] = {"auto", "q8_0", "f16", "f32"};
    return names[t];
}

static void print_row(const char *name, uint64_t a, uint64_t b)
{
    (void)printf("%-40s %11.1f %13.1f\n", name, mb(a), mb(b));
}

static void print_table(const cli *c, const forecast *f)
{
    const tern_plan *p = &f->as_it_is, *l = &f->low;
    (void)printf("%s: %.1f MB; context %d, %d conversation%s, keys %s, values %s, %d threads\n\n",
                 cli_model_label(c), mb(p->file_bytes), p->n_ctx, p->n_session,
                 p->n_session == 1 ? "" : "s", cache_name(p->cache_k), cache_name(p->cache_v),
                 p->n_thread);
    (void)printf("%-40s %11s %13s\n", "MB of memory", "as asked", "--low-memory");
    print_row("packed ternary weights", p->packed_bytes, l->packed_bytes);
    print_row("planes of the output head, at most", p->head_bytes, l->head_bytes);
    print_row("weights used where the file is mapped", p->mapped_bytes, l->mapped_bytes);
    print_row("keys and values of full contexts", p->kv_bytes, l->kv_bytes);
    print_row("buffers of a step, at most", p->step_bytes, l->step_bytes);
    print_row("outputs that conversations keep", p->session_bytes, l->session_bytes);
    print_row("vocabulary, template, norms", p->other_bytes, l->other_bytes);
    print_row("the program", f->program, f->program);
    print_row("all", total(f, p), total(f, l));
    print_row("of which has to fit", needed(f, p), needed(f, l));
}

static void print_speed(const forecast *f)
{
    const tern_plan *p = &f->as_it_is;
    double prompt = reads(f, p);
    if (f->read_bytes_per_s <= 0)
        return;
    (void)printf(
        "\nmemory is read at %.1f GB/s; a token reads %.1f MB of weights and %.1f kB per token "
        "before it\n",
        f->read_bytes_per_s * 1e-9, mb(p->read_bytes), (double)p->kv_token_bytes * 1e-3);
    (void)printf("expected: generates %.1f tok/s, %.1f with a full context", generates(f, p, 0),
                 generates(f, p, p->n_ctx));
    if (prompt > 0)
        (void)printf("; reads prompts at %.0f tok/s", prompt);
    (void)printf(
        "\n(%.0f %% of what reading memory allows%s; weights that fit the caches and zeros "
        "that are skipped make it faster)\n",
        100 * READ_SHARE, prompt > 0 ? ", 65 % of the int8 peak" : "");
}

static void print_verdict(const forecast *f, const char *advice)
{
    const char *fit = fits(f);
    (void)printf("\n%.0f MB of %s are free: ", mb(f->room), f->who);
    if (strcmp(fit, "yes") == 0)
        (void)puts("it fits");
    else if (strcmp(fit, "slowly") == 0)
        (void)puts("it fits, but not all weights that stay in the file: tokens will wait for the "
                   "disk");
    else
        (void)printf("it does not fit; would fit with: %s\n", advice);
}

static json_t *plan_json(const forecast *f, const tern_plan *p)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f}",
                     "packed_bytes", (json_int_t)p->packed_bytes, "head_bytes",
                     (json_int_t)p->head_bytes, "mapped_bytes", (json_int_t)p->mapped_bytes,
                     "kv_bytes", (json_int_t)p->kv_bytes, "step_bytes", (json_int_t)p->step_bytes,
                     "session_bytes", (json_int_t)p->session_bytes, "other_bytes",
                     (json_int_t)p->other_bytes, "total_bytes", (json_int_t)total(f, p),
                     "needed_bytes", (json_int_t)needed(f, p), "read_bytes_per_token",
                     (json_int_t)p->read_bytes, "generates_tok_s", generates(f, p, 0),
                     "generates_full_tok_s", generates(f, p, p->n_ctx), "reads_tok_s", reads(f, p));
}

static tern_code print_json(const cli *c, const forecast *f, const char *advice, tern_err *err)
{
    const tern_plan *p = &f->as_it_is;
    json_t *room = f->room == TERN_NO_LIMIT ? json_null() : json_integer((json_int_t)f->room);
    return cli_print_json(
        json_pack("{s:s, s:I, s:i, s:i, s:i, s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:s, s:s, s:s?, "
                  "s:f, s:f}",
                  "model", cli_model_label(c), "file_bytes", (json_int_t)p->file_bytes, "context",
                  p->n_ctx, "conversations", p->n_session, "threads", p->n_thread, "cache_k",
                  cache_name(p->cache_k), "cache_v", cache_name(p->cache_v), "kv_bytes_per_token",
                  (json_int_t)p->kv_token_bytes, "program_bytes", (json_int_t)f->program,
                  "as_asked", plan_json(f, p), "low_memory", plan_json(f, &f->low),
                  "available_bytes", room, "limited_by", f->who, "fits", fits(f), "would_fit_with",
                  advice, "read_bytes_per_s", f->read_bytes_per_s, "int8_macs_per_s",
                  f->macs_per_s),
        err);
}

/* ---- the verb ------------------------------------------------------------------------------ */

static tern_code measure(cli *c, forecast *f, tern_err *err)
{
    char *text;
    if (cli_flag(&c->opt, OPT_BENCH_NO_WALLS))
        return TERN_OK;
    TERN_TRY(tern_system_describe(f->as_it_is.n_thread, true, &text, err));
    json_t *o = json_loads(text, 0, NULL);
    tern_string_free(text);
    f->read_bytes_per_s =
        json_number_value(json_object_get(json_object_get(o, "memory"), "read_bytes_per_s"));
    const json_t *compute = json_object_get(o, "compute");
    double peak = json_number_value(json_object_get(compute, "int8_macs_per_s"));
    double tiles = json_number_value(
        json_object_get(json_object_get(compute, "int8_macs_per_s_by_isa"), "amx"));
    f->macs_per_s = peak;
    f->mac_share = peak > 0 && peak <= tiles ? AMX_SHARE : MAC_SHARE;
    json_decref(o);
    return TERN_OK;
}

tern_code cli_plan(cli *c, tern_err *err)
{
    forecast f = {.program = tern_memory_resident()};
    int32_t n_ctx = (int32_t)cli_int(&c->opt, OPT_CTX);
    int32_t n_session = (int32_t)cli_int(&c->opt, OPT_PLAN_SESSIONS);
    char advice[160];
    tern_memory_get(&f.now);
    f.room = tern_memory_room(&f.now, &f.who);
    if (f.room != TERN_NO_LIMIT)
        f.room += f.program; /* which is in the plan, and taken already */
    TERN_TRY(
        cli_model_plan(c, cli_flag(&c->opt, OPT_LOW_MEMORY), n_ctx, n_session, &f.as_it_is, err));
    TERN_TRY(cli_model_plan(c, true, n_ctx, n_session, &f.low, err));
    /* The second time the heap has what the first one freed. */
    f.low.total_bytes += f.as_it_is.other_bytes - f.low.other_bytes;
    f.low.needed_bytes += f.as_it_is.other_bytes - f.low.other_bytes;
    f.low.other_bytes = f.as_it_is.other_bytes;
    bool fit = strcmp(fits(&f), "no") != 0;
    TERN_TRY(measure(c, &f, err));
    advise(c, &f, advice, sizeof advice);
    if (c->json) {
        TERN_TRY(print_json(c, &f, fit ? NULL : advice, err));
        c->answered = true;
    } else {
        print_table(c, &f);
        print_speed(&f);
        print_verdict(&f, advice);
        TERN_TRY(cli_flush(err));
    }
    if (fit)
        return TERN_OK;
    return tern_fail(err, TERN_E_NOMEM,
                     "%s: needs %.0f MB of memory, but %.0f MB of %s are free; would fit with: %s",
                     cli_model_label(c), mb(needed(&f, &f.as_it_is)), mb(f.room), f.who, advice);
}
