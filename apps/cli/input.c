#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/utf8.h"
#include "cli.h"
#include "common/text_ids.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static tern_code read_all(int fd, const char *name, tern_str *out, tern_err *err)
{
    char buf[1 << 14];
    for (;;) {
        ssize_t n = read(fd, buf, sizeof buf);
        if (n < 0 && errno == EINTR)
            return tern_fail(err, TERN_E_CANCELLED, "%s: interrupted", name);
        if (n < 0)
            return tern_fail(err, TERN_E_IO, "%s: %s", name, strerror(errno));
        if (n == 0)
            return TERN_OK;
        tern_str_put(out, buf, (size_t)n);
        if (out->failed && out->len + (size_t)n > out->max)
            return tern_fail(err, TERN_E_LIMIT, "%s: longer than %zu bytes", name, out->max);
        if (out->failed)
            return tern_fail(err, TERN_E_NOMEM, "%s: out of memory", name);
    }
}

tern_code cli_read_file(const char *path, tern_str *out, tern_err *err)
{
    if (strcmp(path, "-") == 0)
        return read_all(STDIN_FILENO, "standard input", out, err);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tern_fail(err, errno == ENOENT ? TERN_E_NOT_FOUND : TERN_E_IO, "%s: %s", path,
                         strerror(errno));
    tern_code rc = read_all(fd, path, out, err);
    (void)close(fd);
    return rc;
}

tern_code cli_read_prompt(const cli *c, tern_str *out, const char **name, tern_err *err)
{
    const char *text = cli_text(&c->opt, OPT_PROMPT), *file = cli_text(&c->opt, OPT_FILE);
    if (text && file && c->opt.value[OPT_PROMPT].source == c->opt.value[OPT_FILE].source)
        return tern_fail(err, TERN_E_USAGE, "-p and -f (or -) exclude each other");
    if (text && (!file || c->opt.value[OPT_PROMPT].source == CLI_ARG)) {
        *name = "-p";
        tern_str_puts(out, text);
        return out->failed ? tern_fail(err, TERN_E_NOMEM, "-p: out of memory") : TERN_OK;
    }
    if (!file && isatty(STDIN_FILENO))
        return tern_fail(err, TERN_E_USAGE, "no text: give -p TEXT, -f FILE, or - for a pipe");
    if (!file)
        file = "-";
    *name = strcmp(file, "-") == 0 ? "standard input" : file;
    return cli_read_file(file, out, err);
}

tern_code cli_check_utf8(const char *name, const char *text, size_t n, tern_err *err)
{
    size_t at = 0;
    while (at < n) {
        uint32_t cp;
        int len = tern_utf8_decode(text + at, n - at, &cp);
        if (len == 0)
            return tern_fail(err, TERN_E_USAGE, "%s: not UTF-8 text: byte 0x%02x at offset %zu",
                             name, (unsigned char)text[at], at);
        at += (size_t)len;
    }
    return TERN_OK;
}

/* ---- ids ----------------------------------------------------------------------------------- */

tern_code cli_ids_parse(const char *what, const char *list, int32_t min, int32_t max, tern_ids *out,
                        tern_err *err)
{
    static const char separators[] = ", \t\r\n";
    const char *at = list + strspn(list, separators);
    char shown[40];
    while (*at) {
        size_t n = strcspn(at, separators);
        uint64_t id;
        if (!tern_parse_u64(at, n, &id) || id < (uint64_t)min || id > (uint64_t)max)
            return tern_fail(err, TERN_E_USAGE, "%s: '%s': expected numbers from %d to %d", what,
                             tern_quote(shown, sizeof shown, at, n), min, max);
        TERN_TRY(tern_ids_push(out, (int32_t)id, err));
        at += n;
        at += strspn(at, separators);
    }
    if (out->n == 0)
        return tern_fail(err, TERN_E_USAGE, "%s: the list is empty", what);
    return TERN_OK;
}

tern_code cli_file_ids(cli *c, const tern_model *m, const char *verb, tern_ids *ids, tern_err *err)
{
    const char *path = cli_text(&c->opt, OPT_FILE);
    tern_str text;
    if (!path)
        return tern_fail(err, TERN_E_USAGE, "%s needs -f FILE (- is standard input)", verb);
    tern_str_init(&text, CLI_MAX_INPUT);
    tern_code rc = cli_read_file(path, &text, err);
    if (rc == TERN_OK && !tern_utf8_valid(tern_str_get(&text), text.len))
        cli_warn(c, "%s: not all of it is UTF-8; tokenised byte by byte there", path);
    /* As llama.cpp does with -f, without one newline at the end. */
    if (rc == TERN_OK && text.len && text.data[text.len - 1] == '\n')
        text.len--;
    if (rc == TERN_OK)
        rc = text_ids_add(ids, m, tern_str_get(&text), text.len, TERN_TOKENIZE_ADD_SPECIAL, err);
    tern_str_done(&text);
    return rc;
}
