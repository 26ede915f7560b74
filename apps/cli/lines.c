/* Typed lines: libedit where it was built in and a terminal shows what is typed, else plain reads.
 * Everything shown goes to the terminal behind standard error, so that standard output carries the
 * answers alone. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/utf8.h"
#include "chat.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#ifdef TERN_LIBEDIT
#include <histedit.h>
#endif

#define MAX_LINE  ((size_t)1 << 24)
#define N_HISTORY 1000

struct lines {
    FILE *show; /* where prompts appear; NULL: nowhere */
    char *path; /* owned; of the history; NULL: none is kept */
    const char *prompt;
#ifdef TERN_LIBEDIT
    EditLine *el;     /* owned; NULL: plain reads */
    History *history; /* owned */
#endif
};

/* Wait for input with Ctrl-C let in only here: it cannot slip between the look and the wait. */
static bool wait_input(void)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    sigset_t block, before;
    sigemptyset(&block);
    sigaddset(&block, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &block, &before);
    int n = -1;
    if (cli_interrupt_pending())
        errno = EINTR;
    else
        n = ppoll(&p, 1, NULL, &before);
    int why = errno;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    errno = why;
    return n > 0;
}

/* The next byte of standard input; -1 at its end or, with errno EINTR, on Ctrl-C. */
static int next_byte(void)
{
    unsigned char byte;
    errno = 0;
    if (!wait_input())
        return -1;
    ssize_t n = read(STDIN_FILENO, &byte, 1);
    return n == 1 ? byte : -1;
}

static line_result read_plain(tern_str *out)
{
    int ch;
    while ((ch = next_byte()) >= 0 && ch != '\n')
        tern_str_putc(out, (char)ch);
    if (ch < 0 && errno == EINTR)
        return LINE_INTERRUPT;
    return ch < 0 && out->len == 0 ? LINE_END : LINE_TEXT;
}

#ifdef TERN_LIBEDIT

static char *show_prompt(EditLine *el)
{
    lines *l;
    static char text[64];
    (void)el_get(el, EL_CLIENTDATA, &l);
    (void)snprintf(text, sizeof text, "%s", l->prompt);
    return text;
}

/* libedit's own reader goes on after a signal; this one ends the line. Bytes to characters: invalid
 * ones become U+FFFD. */
static int read_character(EditLine *el, wchar_t *out)
{
    char buf[4];
    size_t n = 0;
    uint32_t cp = 0xfffd;
    (void)el;
    do {
        int ch = next_byte();
        if (ch < 0)
            return errno == EINTR ? -1 : 0;
        buf[n++] = (char)ch;
    } while (tern_utf8_partial_tail(buf, n) == n && n < sizeof buf);
    (void)tern_utf8_decode(buf, n, &cp);
    if (cp == 0) /* what a Ctrl-D becomes that was typed before the terminal gave up whole lines */
        cp = 4;
    *out = (wchar_t)cp;
    return 1;
}

/* Tab: the rest of a slash command, as far as it is certain. */
static unsigned char complete(EditLine *el, int key)
{
    const LineInfo *line = el_line(el);
    size_t n = (size_t)(line->cursor - line->buffer), n_common = 0;
    const char *found = NULL, *name;
    (void)key;
    if (n == 0 || line->buffer[0] != '/')
        return CC_NORM;
    for (size_t i = 0; (name = chat_command_name(i)) != NULL; i++) {
        if (strncmp(name, line->buffer, n) != 0)
            continue;
        if (!found)
            n_common = strlen(name);
        for (size_t j = 0; found && j < n_common; j++)
            if (found[j] != name[j])
                n_common = j;
        found = name;
    }
    char rest[32] = "";
    if (found && n_common > n)
        (void)snprintf(rest, sizeof rest, "%.*s", (int)(n_common - n), found + n);
    if (!*rest || el_insertstr(el, rest) != 0)
        return CC_REFRESH_BEEP;
    return CC_REFRESH;
}

static void open_editor(lines *l)
{
    HistEvent event;
    l->el = el_init("tern", stdin, l->show, l->show);
    l->history = l->el ? history_init() : NULL;
    if (!l->history)
        return;
    (void)history(l->history, &event, H_SETSIZE, N_HISTORY);
    (void)history(l->history, &event, H_SETUNIQUE, 1);
    if (l->path)
        (void)history(l->history, &event, H_LOAD, l->path);
    (void)el_set(l->el, EL_CLIENTDATA, l);
    (void)el_set(l->el, EL_PROMPT, show_prompt);
    (void)el_set(l->el, EL_EDITOR, "emacs");
    (void)el_set(l->el, EL_SIGNAL, 0);
    (void)el_set(l->el, EL_HIST, history, l->history);
    (void)el_set(l->el, EL_GETCFN, read_character);
    (void)el_set(l->el, EL_ADDFN, "tern-complete", "complete a command", complete);
    (void)el_set(l->el, EL_BIND, "^I", "tern-complete", NULL);
    (void)el_set(l->el, EL_BIND, "\\e[3~", "ed-delete-next-char", NULL);
    (void)el_source(l->el, NULL); /* the user's ~/.editrc */
}

static line_result read_edited(lines *l, tern_str *out)
{
    int n = 0;
    errno = 0;
    el_resize(l->el);
    const char *text = el_gets(l->el, &n);
    if (!text || n <= 0) {
        bool interrupted = cli_interrupt_take();
        el_reset(l->el);
        return interrupted ? LINE_INTERRUPT : LINE_END;
    }
    size_t len = (size_t)n;
    if (text[len - 1] == '\n')
        len--;
    tern_str_put(out, text, len);
    return LINE_TEXT;
}

#endif

tern_code lines_new(const cli *c, char *history, lines **out, tern_err *err)
{
    lines *l = tern_calloc(1, sizeof *l);
    *out = l;
    if (!l) {
        tern_free(history);
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    }
    l->path = history;
    l->show = c->err_tty ? stderr : isatty(STDOUT_FILENO) ? stdout : NULL;
#ifdef TERN_LIBEDIT
    if (l->show)
        open_editor(l);
#endif
    return TERN_OK;
}

void lines_free(lines *l)
{
    if (!l)
        return;
#ifdef TERN_LIBEDIT
    if (l->history) {
        HistEvent event;
        if (l->path) {
            /* Written for the owner alone, also where the file is new. */
            mode_t mask = umask(077);
            if (history(l->history, &event, H_SAVE, l->path) >= 0)
                (void)chmod(l->path, 0600);
            (void)umask(mask);
        }
        history_end(l->history);
    }
    if (l->el)
        el_end(l->el);
#endif
    tern_free(l->path);
    tern_free(l);
}

tern_code lines_read(lines *l, const char *prompt, tern_str *out, line_result *result,
                     tern_err *err)
{
    tern_str_clear(out);
    l->prompt = prompt;
    (void)fflush(stdout);
#ifdef TERN_LIBEDIT
    if (l->history) {
        *result = read_edited(l, out);
        return out->failed ? tern_fail(err, TERN_E_LIMIT, "the line is too long") : TERN_OK;
    }
#endif
    if (l->show) {
        (void)fputs(prompt, l->show);
        (void)fflush(l->show);
    }
    *result = read_plain(out);
    if (*result == LINE_INTERRUPT)
        (void)cli_interrupt_take();
    return out->failed ? tern_fail(err, TERN_E_LIMIT, "the line is too long") : TERN_OK;
}

void lines_remember(lines *l, const char *text)
{
#ifdef TERN_LIBEDIT
    HistEvent event;
    if (l->history && *text)
        (void)history(l->history, &event, H_ENTER, text);
#else
    (void)l;
    (void)text;
#endif
}
