#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- terminal ------------------------------------------------------------------------------ */

/* --color beats NO_COLOR beats CLICOLOR_FORCE beats what the terminal is. */
static bool wants_color(const cli_options *o, bool tty)
{
    const char *mode = cli_text(o, OPT_COLOR), *no = getenv("NO_COLOR");
    const char *force = getenv("CLICOLOR_FORCE"), *term = getenv("TERM");
    if (mode && strcmp(mode, "auto") != 0)
        return strcmp(mode, "always") == 0;
    if (no && *no)
        return false;
    if (force && *force && strcmp(force, "0") != 0)
        return true;
    return tty && !(term && strcmp(term, "dumb") == 0);
}

void cli_init(cli *c)
{
    c->json = cli_flag(&c->opt, OPT_JSON);
    c->quiet = cli_flag(&c->opt, OPT_QUIET);
    c->verbose = cli_flag(&c->opt, OPT_VERBOSE);
    c->err_tty = isatty(STDERR_FILENO) != 0;
    c->err_color = wants_color(&c->opt, c->err_tty);
}

void cli_warn(cli *c, const char *fmt, ...)
{
    char line[300];
    va_list ap;
    if (c->quiet)
        return;
    cli_progress_end(c);
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, "tern: warning: %s\n", line);
}

void cli_dim(const cli *c, const char *line)
{
    (void)fprintf(stderr, c->err_color ? "\033[2m%s\033[0m\n" : "%s\n", line);
}

/* How often progress is shown: smooth on a terminal, rare in a log. */
#define TTY_NS 100000000u
#define LOG_NS 5000000000u

void cli_progress(cli *c, const char *what, double done, double total, const char *more)
{
    uint64_t now = tern_clock_ns();
    if (c->quiet)
        return;
    if (c->progress_what != what) { /* what begins now is not worth a line yet */
        cli_progress_end(c);
        c->progress_what = what;
        c->progress_ns = now;
        return;
    }
    if (now - c->progress_ns < (c->err_tty ? TTY_NS : LOG_NS))
        return;
    c->progress_ns = now;
    (void)fprintf(stderr, "%s%s: %.0f%%%s%s", c->err_tty ? "\r\033[K" : "", what,
                  total > 0 ? 100.0 * done / total : 0.0, *more ? ", " : "", more);
    if (!c->err_tty)
        (void)fputc('\n', stderr);
    c->progress_open = c->err_tty;
    (void)fflush(stderr);
}

void cli_progress_end(cli *c)
{
    if (c->progress_open)
        (void)fputs("\r\033[K", stderr);
    c->progress_open = false;
    c->progress_what = NULL;
}

tern_code cli_flush(tern_err *err)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return TERN_OK;
    return tern_fail(err, TERN_E_IO, "standard output: %s", strerror(errno));
}

tern_code cli_print_json(json_t *value, tern_err *err)
{
    char *text = value ? json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(value);
    if (!text)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the JSON text");
    (void)puts(text);
    free(text);
    return cli_flush(err);
}

tern_code cli_print_text(const cli *c, const char *key, tern_str *text, tern_err *err)
{
    tern_code rc = TERN_OK;
    if (text->failed)
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory");
    else if (c && c->json)
        rc = cli_print_json(json_pack("{s:s}", key, tern_str_get(text)), err);
    else
        (void)fwrite(tern_str_get(text), 1, text->len, stdout);
    tern_str_done(text);
    return rc == TERN_OK ? cli_flush(err) : rc;
}

/* ---- models and sessions ------------------------------------------------------------------- */

const char *cli_model_asked(const cli *c)
{
    return c->opt.value[OPT_MODEL].source == CLI_ARG ? cli_text(&c->opt, OPT_MODEL) : NULL;
}

const cli_builtin *cli_model_builtin(const cli *c)
{
    const char *name = cli_text(&c->opt, OPT_MODEL);
    return name ? cli_builtin_find(name) : cli_builtin_get(0);
}

const char *cli_model_label(const cli *c)
{
    const char *path = cli_text(&c->opt, OPT_MODEL);
    if (c->label)
        return c->label;
    const cli_builtin *inside = cli_model_builtin(c);
    if (inside)
        return inside->label;
    if (!path)
        return "no model";
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static void show_loading(void *ctx, double fraction)
{
    cli_progress(ctx, "loading", fraction, 1.0, "");
}

static void show_warning(void *ctx, const char *line)
{
    cli_warn(ctx, "%s", line);
}

char *cli_cache_dir(const cli *c)
{
    const char *given = cli_text(&c->opt, OPT_CACHE_DIR);
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    tern_str s;
    tern_str_init(&s, 1 << 12);
    if (given) {
        tern_str_puts(&s, given);
    } else if (cache && *cache == '/') {
        (void)mkdir(cache, 0700);
        tern_str_printf(&s, "%s/tern", cache);
    } else if (home && *home) {
        tern_str_printf(&s, "%s/.cache", home);
        (void)mkdir(tern_str_get(&s), 0700);
        tern_str_puts(&s, "/tern");
    } else {
        return NULL;
    }
    (void)mkdir(tern_str_get(&s), 0700);
    char *dir = tern_str_take(&s);
    tern_str_done(&s);
    return dir;
}

/* What the options say of a model, and where it is. */
typedef struct source {
    tern_model_opts opts;
    tern_str text, file;       /* a template; the path */
    char *cache_dir;           /* owned */
    const cli_builtin *inside; /* NULL: the file */
} source;

static void source_done(source *s)
{
    tern_str_done(&s->text);
    tern_str_done(&s->file);
    tern_free(s->cache_dir);
}

/* How many answers the verb generates at a time. */
static int32_t streams_of(const cli_options *o)
{
    switch (o->verb) {
    case CLI_BENCH:
        return (int32_t)cli_int(o, OPT_BENCH_STREAMS);
    case CLI_EVAL:
        return (int32_t)cli_int(o, OPT_EVAL_STREAMS);
    case CLI_PLAN:
        return (int32_t)cli_int(o, OPT_PLAN_SESSIONS);
    case CLI_SERVE:
        return (int32_t)cli_int(o, OPT_SLOTS_N);
    case CLI_TUNE:
        return (int32_t)cli_int(o, OPT_TUNE_STREAMS);
    default:
        return 1;
    }
}

static void read_options(cli *c, int32_t n_thread, source *s)
{
    tern_model_opts *o = &s->opts;
    tern_model_opts_init(o);
    o->n_thread = n_thread;
    o->i2s_layout = cli_text(&c->opt, OPT_I2S_LAYOUT);
    if (c->opt.value[OPT_ACTIVATION].num != 0)
        o->activation = cli_text(&c->opt, OPT_ACTIVATION);
    o->pre_tokenizer = cli_text(&c->opt, OPT_PRE);
    o->chat_template = cli_text(&c->opt, OPT_TEMPLATE);
    o->strict = cli_flag(&c->opt, OPT_STRICT);
    /* Choices stand in the order of their types. */
    o->pin = (tern_pin)c->opt.value[OPT_PIN].num;
    o->cache_dir = s->cache_dir = cli_cache_dir(c);
    o->calibrate = c->calibrate;
    o->repack_cache = c->opt.value[OPT_REPACK_CACHE].num != 0;
    o->low_memory = cli_flag(&c->opt, OPT_LOW_MEMORY);
    o->any_memory = cli_flag(&c->opt, OPT_ANY_MEMORY);
    o->ffn_sparse = (tern_ffn_sparse)c->opt.value[OPT_FFN_SPARSE].num;
    o->weight_bits = (tern_weight_bits)c->opt.value[OPT_WEIGHT_BITS].num;
    o->n_stream = streams_of(&c->opt);
    o->head = (tern_head_mode)c->opt.value[OPT_HEAD].num;
    o->text_only = c->opt.verb == CLI_TOKENIZE;
    if (c->opt.verb == CLI_EMBED) /* no token is chosen */
        o->head = TERN_HEAD_FULL;
    o->mapped = s->inside != NULL;
    o->progress = show_loading;
    o->warn = show_warning;
    o->ctx = c;
}

static tern_code source_init(cli *c, int32_t n_thread, source *s, tern_err *err)
{
    const char *path = cli_text(&c->opt, OPT_MODEL);
    const char *template_file = cli_text(&c->opt, OPT_TEMPLATE_FILE);
    tern_code rc = TERN_OK;
    *s = (source){.inside = cli_model_builtin(c)};
    tern_str_init(&s->text, 1 << 20);
    tern_str_init(&s->file, 1 << 14);
    read_options(c, n_thread, s);
    if (template_file) {
        rc = cli_read_file(template_file, &s->text, err);
        s->opts.chat_template = tern_str_get(&s->text);
    }
    if (rc == TERN_OK && path && !s->inside)
        rc = cli_model_path(c, path, &s->file, NULL, err);
    else if (rc == TERN_OK && !s->inside)
        rc =
            tern_fail(err, TERN_E_USAGE, "no model: name a GGUF file (this build has none inside)");
    if (rc != TERN_OK)
        source_done(s);
    return rc;
}

static void show_reading(void *ctx, size_t done, size_t total)
{
    if (done < total)
        cli_progress(ctx, "reading", (double)done, (double)total, "");
    else
        cli_progress_end(ctx);
}

static void session_opts(cli *c, int32_t n_ctx, tern_session_opts *o)
{
    tern_session_opts_init(o);
    o->n_ctx = n_ctx;
    /* Choices stand in the order of the type. */
    o->cache_k = (tern_cache_type)c->opt.value[OPT_CACHE_K].num;
    o->cache_v = (tern_cache_type)c->opt.value[OPT_CACHE_V].num;
    o->progress = show_reading;
    o->ctx = c;
}

tern_code cli_model_open(cli *c, int32_t n_thread, tern_model **out, tern_err *err)
{
    source s;
    *out = NULL;
    TERN_TRY(source_init(c, n_thread, &s, err));
    tern_code rc = s.inside ? tern_model_open_memory(s.inside->data, cli_builtin_bytes(s.inside),
                                                     s.inside->label, &s.opts, out, err)
                            : tern_model_open(tern_str_get(&s.file), &s.opts, out, err);
    source_done(&s);
    cli_progress_end(c);
    if (rc == TERN_OK) {
        tern_gen_opts gen;
        tern_model_gen_opts(*out, &gen);
        cli_options_recommend(&c->opt, &gen);
    }
    return rc;
}

tern_code cli_model_plan(cli *c, bool low_memory, int32_t n_ctx, int32_t n_session, tern_plan *out,
                         tern_err *err)
{
    source s;
    tern_session_opts session;
    *out = (tern_plan){.size = sizeof *out};
    TERN_TRY(source_init(c, (int32_t)cli_int(&c->opt, OPT_THREADS), &s, err));
    s.opts.low_memory = low_memory;
    session_opts(c, n_ctx, &session);
    tern_code rc =
        s.inside ? tern_model_plan_memory(s.inside->data, cli_builtin_bytes(s.inside),
                                          s.inside->label, &s.opts, &session, n_session, out, err)
                 : tern_model_plan(tern_str_get(&s.file), &s.opts, &session, n_session, out, err);
    source_done(&s);
    cli_progress_end(c);
    return rc;
}

tern_code cli_session_new(cli *c, tern_model *m, int32_t n_ctx, tern_session **out, tern_err *err)
{
    tern_model_info info = {.size = sizeof info};
    tern_session_opts o;
    tern_model_info_get(m, &info);
    if (info.n_ctx_train > 0 && n_ctx > info.n_ctx_train)
        cli_warn(
            c, "context %d passes the %d this model was trained with; answers may become nonsense",
            n_ctx, info.n_ctx_train);
    session_opts(c, n_ctx, &o);
    return tern_session_new(m, &o, out, err);
}

double cli_surprise(const float *logits, int32_t n_vocab, int32_t id)
{
    double max = (double)logits[0], sum = 0.0;
    for (int32_t i = 1; i < n_vocab; i++)
        max = (double)logits[i] > max ? (double)logits[i] : max;
    for (int32_t i = 0; i < n_vocab; i++)
        sum += exp((double)logits[i] - max);
    return max + log(sum) - (double)logits[id];
}
