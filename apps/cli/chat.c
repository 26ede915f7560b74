/* `tern chat`: questions and answers in turn on a terminal; one question from a pipe. */
#include "chat.h"
#include "base/alloc.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- answers ------------------------------------------------------------------------------- */

static tern_code context_full(const chat *h, size_t n_tok, tern_err *err)
{
    return tern_fail(err, TERN_E_LIMIT,
                     "the conversation no longer fits: %zu tokens, the context holds %d; /clear "
                     "begins anew, /undo takes back a question, -c sets a larger context",
                     n_tok, tern_session_n_ctx(h->s));
}

static void after_answer(chat *h, bool show)
{
    const cli *c = h->c;
    h->n_answer++;
    h->total_generated += h->last.stats.n_generated;
    h->total_s += h->last.stats.prompt_s + h->last.stats.generate_s;
    if (show)
        (void)fputc('\n', stdout);
    (void)fflush(stdout);
    if (!c->quiet && (c->err_tty || c->verbose))
        cli_answer_print_stats(c, h->s, &h->last);
    if (c->verbose)
        (void)fprintf(stderr, "seed %llu\n", (unsigned long long)h->last.seed);
}

tern_code chat_answer(chat *h, tern_err *err)
{
    tern_ids ids = {0};
    tern_code rc = cli_chat_ids(h->m, h->t.messages, &ids, err);
    if (rc == TERN_OK && ids.n >= (size_t)tern_session_n_ctx(h->s))
        rc = context_full(h, ids.n, err);
    if (rc == TERN_OK) {
        cli_answer_done(&h->last);
        cli_answer_init(&h->last);
        h->last.seed = cli_seed(h->c, h->n_answer);
        rc = cli_answer_run(h->c, h->m, h->s, &ids, !h->c->json, &h->last, err);
    }
    tern_ids_done(&ids);
    TERN_TRY(rc);
    after_answer(h, !h->c->json);
    if (h->last.text.len == 0 && h->last.finish == TERN_FINISH_CANCELLED)
        return tern_fail(err, TERN_E_CANCELLED,
                         "stopped before the first word; the question is "
                         "taken back");
    return transcript_add(&h->t, "assistant", tern_str_get(&h->last.text), h->last.text.len, err);
}

tern_code chat_ask(chat *h, const char *text, size_t n, tern_err *err)
{
    TERN_TRY(transcript_add(&h->t, "user", text, n, err));
    tern_code rc = chat_answer(h, err);
    if (rc != TERN_OK)
        (void)transcript_undo(&h->t);
    return rc;
}

/* ---- the terminal -------------------------------------------------------------------------- */

/* $XDG_STATE_HOME/tern/history, its folder made; NULL: no place for it. */
static char *history_path(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    tern_str s;
    tern_str_init(&s, 1 << 12);
    if (state && *state == '/')
        tern_str_puts(&s, state);
    else if (home && *home)
        tern_str_printf(&s, "%s/.local/state", home);
    else
        return NULL;
    (void)mkdir(tern_str_get(&s), 0700);
    tern_str_puts(&s, "/tern");
    (void)mkdir(tern_str_get(&s), 0700);
    tern_str_puts(&s, "/history");
    char *path = tern_str_take(&s);
    tern_str_done(&s);
    return path;
}

#define QUOTES "\"\"\""

static bool ends_with(const tern_str *s, const char *end)
{
    size_t n = strlen(end);
    return s->len >= n && memcmp(s->data + s->len - n, end, n) == 0;
}

/* One entry, which several lines may make up: between triple quotes, or while lines end in \. */
static tern_code read_entry(lines *l, tern_str *entry, line_result *result, tern_err *err)
{
    tern_str line;
    tern_code rc;
    tern_str_init(&line, (size_t)1 << 24);
    tern_str_clear(entry);
    TERN_TRY_GOTO(lines_read(l, ">>> ", &line, result, err));
    bool quoted = *result == LINE_TEXT && strncmp(tern_str_get(&line), QUOTES, 3) == 0;
    if (quoted) {
        memmove(line.data, line.data + 3, line.len - 3);
        line.len -= 3;
    }
    while (*result == LINE_TEXT) {
        bool more = quoted ? !ends_with(&line, QUOTES) : ends_with(&line, "\\");
        size_t cut = quoted ? (more ? 0 : 3) : (more ? 1 : 0);
        tern_str_put(entry, tern_str_get(&line), line.len - cut);
        if (!more)
            break;
        tern_str_putc(entry, '\n');
        TERN_TRY_GOTO(lines_read(l, "... ", &line, result, err));
    }
    if (*result == LINE_END && entry->len) /* an unfinished entry is no wish to leave */
        *result = LINE_TEXT;
    if (entry->failed)
        rc = tern_fail(err, TERN_E_LIMIT, "the text is too long");
fail:
    tern_str_done(&line);
    return rc;
}

static void complain(const tern_err *err)
{
    (void)fprintf(stderr, "tern: %s\n", err->msg);
}

static void banner(const chat *h)
{
    tern_model_info info = {.size = sizeof info};
    char line[200];
    tern_model_info_get(h->m, &info);
    (void)snprintf(line, sizeof line,
                   "tern %s: %s, %.1f M parameters, context %d, %d threads; /help lists commands",
                   tern_version(), cli_model_label(h->c), (double)info.n_param * 1e-6,
                   tern_session_n_ctx(h->s), info.n_thread);
    if (!h->c->quiet)
        cli_dim(h->c, line);
}

/* A failure that ends the program: the answer cannot be written, or it is not about this entry. */
static bool is_fatal(tern_code rc)
{
    return rc == TERN_E_INTERNAL || ferror(stdout);
}

static tern_code take_entry(chat *h, const tern_str *entry, tern_err *err)
{
    const char *text = tern_str_get(entry);
    tern_code rc = TERN_OK;
    if (text[strspn(text, " \t\r\n")] == '\0')
        return TERN_OK;
    rc = text[0] == '/' ? chat_command(h, text, err) : chat_ask(h, text, entry->len, err);
    if (rc != TERN_OK && is_fatal(rc))
        return rc;
    if (rc != TERN_OK)
        complain(err);
    if (text[0] != '/' && cli_flag(&h->c->opt, OPT_SINGLE))
        h->leave = true;
    return TERN_OK;
}

static tern_code loop(chat *h, lines *l, tern_err *err)
{
    tern_str entry;
    tern_code rc = TERN_OK;
    bool warned = false; /* one Ctrl-C at the prompt came; the next leaves */
    tern_str_init(&entry, (size_t)1 << 25);
    while (rc == TERN_OK && !h->leave) {
        line_result result;
        rc = read_entry(l, &entry, &result, err);
        if (rc != TERN_OK || result == LINE_END)
            break;
        if (result == LINE_INTERRUPT) {
            if (warned)
                rc = tern_fail(err, TERN_E_CANCELLED, "interrupted");
            else
                (void)fputs("\n(Ctrl-C again or Ctrl-D leaves)\n", stderr);
            warned = true;
            continue;
        }
        warned = false;
        lines_remember(l, tern_str_get(&entry));
        rc = take_entry(h, &entry, err);
    }
    if (h->c->err_tty && !h->leave)
        (void)fputc('\n', stderr);
    tern_str_done(&entry);
    return rc;
}

static tern_code interactive(chat *h, tern_err *err)
{
    const char *first = cli_text(&h->c->opt, OPT_PROMPT);
    lines *l;
    banner(h);
    if (first && *first) {
        tern_str entry;
        tern_str_init(&entry, (size_t)1 << 25);
        tern_str_puts(&entry, first);
        tern_code rc = take_entry(h, &entry, err);
        tern_str_done(&entry);
        if (rc != TERN_OK || h->leave)
            return rc;
    }
    char *path = cli_flag(&h->c->opt, OPT_NO_HISTORY) ? NULL : history_path();
    TERN_TRY(lines_new(h->c, path, &l, err));
    tern_code rc = loop(h, l, err);
    lines_free(l);
    return rc;
}

/* ---- a pipe, or one question --------------------------------------------------------------- */

static tern_code once(chat *h, tern_err *err)
{
    const char *name;
    tern_str text;
    tern_code rc;
    tern_str_init(&text, CLI_MAX_INPUT);
    TERN_TRY_GOTO(cli_read_prompt(h->c, &text, &name, err));
    TERN_TRY_GOTO(cli_check_utf8(name, tern_str_get(&text), text.len, err));
    if (strcmp(name, "-p") != 0 && text.len && text.data[text.len - 1] == '\n')
        text.len--;
    if (text.len == 0) {
        rc = tern_fail(err, TERN_E_USAGE, "%s: the message is empty", name);
        goto fail;
    }
    TERN_TRY_GOTO(chat_ask(h, tern_str_get(&text), text.len, err));
    if (h->c->json)
        rc = cli_print_json(cli_answer_json(h->c, &h->last), err);
    else
        rc = cli_flush(err);
    if (rc == TERN_OK && h->last.finish == TERN_FINISH_CANCELLED)
        rc = tern_fail(err, TERN_E_CANCELLED, "interrupted");
fail:
    tern_str_done(&text);
    return rc;
}

tern_code cli_chat(cli *c, tern_err *err)
{
    const cli_options *o = &c->opt;
    chat h = {.c = c};
    tern_model_info info = {.size = sizeof info};
    bool talks = isatty(STDIN_FILENO) && !cli_text(o, OPT_FILE) && !c->json &&
                 !(cli_text(o, OPT_PROMPT) && cli_flag(o, OPT_SINGLE));
    tern_code rc;
    cli_answer_init(&h.last);
    TERN_TRY_GOTO(cli_model_open(c, (int32_t)cli_int(o, OPT_THREADS), &h.m, err));
    tern_model_info_get(h.m, &info);
    if (!info.has_chat_template || cli_flag(o, OPT_NO_CNV)) {
        rc = tern_fail(err, info.has_chat_template ? TERN_E_USAGE : TERN_E_UNSUPPORTED,
                       "%s: %s; 'tern run -no-cnv' continues a text, --chat-template NAME "
                       "chooses a template",
                       cli_model_label(c),
                       info.has_chat_template ? "a chat needs its chat template"
                                              : "the model has no chat template");
        goto fail;
    }
    TERN_TRY_GOTO(transcript_init(&h.t, cli_text(o, OPT_SYSTEM), err));
    TERN_TRY_GOTO(cli_session_new(c, h.m, (int32_t)cli_int(o, OPT_CTX), &h.s, err));
    cli_interrupt_init();
    rc = talks ? interactive(&h, err) : once(&h, err);
fail:
    cli_answer_done(&h.last);
    transcript_done(&h.t);
    tern_session_free(h.s);
    tern_model_close(h.m);
    return rc;
}
