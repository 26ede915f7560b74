#include "sample/grammar/regex.h"

#include "base/error.h"
#include "base/utf8.h"
#include "sample/grammar/net.h"

#include <stdlib.h>
#include <string.h>

#define LAST      0x10ffffu
#define MAX_SPANS 1024
/* Groups within groups; with what schemas put around them they stay below TERN_GRAMMAR_NESTING. */
#define MAX_DEPTH 48

typedef struct regex {
    const char *begin, *p, *end;
    const tern_regex_opts *o;
    int depth;
    tern_str *out;
    tern_err *err;
    tern_net_span span[MAX_SPANS]; /* of the class being read */
    size_t n_span;
} regex;

static tern_code wrong(const regex *r, const char *what)
{
    return tern_fail(r->err, TERN_E_USAGE, "pattern: offset %zu: %s", (size_t)(r->p - r->begin),
                     what);
}

static tern_code unsupported(const regex *r, const char *what)
{
    return tern_fail(r->err, TERN_E_UNSUPPORTED, "pattern: offset %zu: %s not supported",
                     (size_t)(r->p - r->begin), what);
}

static char peek(const regex *r, size_t i)
{
    return (size_t)(r->end - r->p) > i ? r->p[i] : '\0';
}

static bool at_text(const regex *r, const char *s)
{
    size_t n = strlen(s);
    return (size_t)(r->end - r->p) >= n && memcmp(r->p, s, n) == 0;
}

/* ---- what is written ------------------------------------------------------------------------- */

static void put_escaped(tern_str *out, uint32_t cp)
{
    bool plain = (cp >= '0' && cp <= '9') || (cp >= 'a' && cp <= 'z') || (cp >= 'A' && cp <= 'Z') ||
                 cp == ' ' || cp == '_';
    if (plain)
        tern_str_putc(out, (char)cp);
    else
        tern_str_printf(out,
                        cp < 0x100     ? "\\x%02X"
                        : cp < 0x10000 ? "\\u%04X"
                                       : "\\U%08X",
                        (unsigned)cp);
}

void tern_gbnf_put_text(tern_str *out, const char *s, size_t n)
{
    tern_str_putc(out, '"');
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"' || s[i] == '\\')
            tern_str_putc(out, '\\');
        if ((unsigned char)s[i] < 0x20)
            tern_str_printf(out, "\\x%02X", (unsigned)s[i]);
        else
            tern_str_putc(out, s[i]);
    }
    tern_str_putc(out, '"');
}

static void put_class(tern_str *out, const tern_net_span *s, size_t n)
{
    tern_str_putc(out, '[');
    for (size_t i = 0; i < n; i++) {
        put_escaped(out, s[i].lo);
        if (s[i].hi == s[i].lo)
            continue;
        tern_str_putc(out, '-');
        put_escaped(out, s[i].hi);
    }
    tern_str_putc(out, ']');
}

/* Characters that stand in JSON strings behind a backslash. */
static char escape_of(uint32_t cp)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *at = cp > 0 && cp < 0x80 ? strchr(from, (int)cp) : NULL;
    return at ? to[at - from] : '\0';
}

static bool has(const regex *r, uint32_t cp)
{
    for (size_t i = 0; i < r->n_span; i++)
        if (cp >= r->span[i].lo && cp <= r->span[i].hi)
            return true;
    return false;
}

/* The class as it stands in a JSON string. all: control characters were not asked for one by one, so those
 * without an escape of one letter are left out. */
static void put_json_class(regex *r, bool all)
{
    tern_net_span direct[MAX_SPANS + 4];
    size_t n = 0;
    for (size_t i = 0; i < r->n_span; i++) {
        /* cut where characters cannot stand for themselves: 0..31, ", \, 127 */
        static const tern_net_span part[] = {
            {0x20, 0x21}, {0x23, 0x5b}, {0x5d, 0x7e}, {0x80, LAST}};
        for (size_t k = 0; k < 4; k++) {
            uint32_t lo = r->span[i].lo > part[k].lo ? r->span[i].lo : part[k].lo;
            uint32_t hi = r->span[i].hi < part[k].hi ? r->span[i].hi : part[k].hi;
            if (lo <= hi && n < MAX_SPANS + 4)
                direct[n++] = (tern_net_span){lo, hi};
        }
    }
    tern_str_putc(r->out, '(');
    put_class(r->out, direct, n);
    for (uint32_t cp = 1; cp < 0x80; cp++) {
        char e = escape_of(cp);
        if ((cp >= 0x20 && cp != 0x7f && !e) || !has(r, cp))
            continue;
        if (e)
            tern_str_printf(r->out, " | \"\\\\%s%c\"", e == '"' || e == '\\' ? "\\" : "", e);
        else if (!all)
            tern_str_printf(r->out, " | \"\\\\u%04x\"", (unsigned)cp);
    }
    tern_str_putc(r->out, ')');
}

static void put_set(regex *r, bool all)
{
    if (r->o->json)
        put_json_class(r, all);
    else
        put_class(r->out, r->span, r->n_span);
}

/* ---- sets of characters ---------------------------------------------------------------------- */

static tern_code add_span(regex *r, uint32_t lo, uint32_t hi)
{
    if (r->n_span == MAX_SPANS)
        return tern_fail(r->err, TERN_E_LIMIT, "pattern: a class of more than %d ranges",
                         MAX_SPANS);
    r->span[r->n_span++] = (tern_net_span){lo, hi};
    return TERN_OK;
}

static int by_first(const void *a, const void *b)
{
    uint32_t x = ((const tern_net_span *)a)->lo, y = ((const tern_net_span *)b)->lo;
    return (x > y) - (x < y);
}

/* What is not in the set, of r->span[first..). */
static tern_code negate(regex *r, size_t first)
{
    tern_net_span *s = r->span + first;
    size_t n = r->n_span - first, kept = 0;
    uint32_t lo = 0;
    qsort(s, n, sizeof *s, by_first);
    for (size_t i = 0; i < n; i++) {
        tern_net_span x = s[i];
        if (x.lo > lo)
            s[kept++] = (tern_net_span){lo, x.lo - 1};
        if (x.hi + 1 > lo)
            lo = x.hi + 1;
    }
    r->n_span = first + kept;
    return lo <= LAST ? add_span(r, lo, LAST) : TERN_OK;
}

/* \d, \w, \s and their opposites; *found false: c is none of them. */
static tern_code add_named(regex *r, char c, bool *found)
{
    size_t first = r->n_span;
    *found = true;
    switch (c | 0x20) {
    case 'd':
        TERN_TRY(add_span(r, '0', '9'));
        break;
    case 'w':
        TERN_TRY(add_span(r, '0', '9'));
        TERN_TRY(add_span(r, 'A', 'Z'));
        TERN_TRY(add_span(r, '_', '_'));
        TERN_TRY(add_span(r, 'a', 'z'));
        break;
    case 's':
        TERN_TRY(add_span(r, '\t', '\r'));
        TERN_TRY(add_span(r, ' ', ' '));
        break;
    default:
        *found = false;
        return TERN_OK;
    }
    return c < 'a' ? negate(r, first) : TERN_OK;
}

static bool hex_digit(char c, uint32_t *v)
{
    uint32_t d = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                 : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                 : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                        : 16;
    *v = *v << 4 | (d & 15);
    return d < 16;
}

static tern_code read_hex(regex *r, int n_digit, uint32_t *cp)
{
    bool braces = peek(r, 0) == '{';
    *cp = 0;
    r->p += braces;
    if (braces)
        n_digit = 6;
    for (int i = 0; i < n_digit && !(braces && i > 0 && peek(r, 0) == '}'); i++, r->p++)
        if (!hex_digit(peek(r, 0), cp))
            return wrong(r, "expected a hexadecimal digit");
    if (braces && peek(r, 0) != '}')
        return wrong(r, "expected '}'");
    r->p += braces;
    if (*cp > LAST || (*cp >= 0xd800 && *cp <= 0xdfff))
        return wrong(r, "this number is no character");
    return TERN_OK;
}

/* Behind a backslash that stands for one character. */
static tern_code read_escape(regex *r, uint32_t *cp)
{
    static const char names[] = "nrtfv", values[] = "\n\r\t\f\v";
    char c = peek(r, 0);
    const char *at = c ? strchr(names, c) : NULL;
    if (r->p == r->end)
        return wrong(r, "a backslash at the end");
    if (at) {
        r->p++;
        *cp = (uint8_t)values[at - names];
        return TERN_OK;
    }
    if (c == 'x' || c == 'u') {
        r->p++;
        return read_hex(r, c == 'x' ? 2 : 4, cp);
    }
    if (c >= '0' && c <= '9')
        return unsupported(r, "back-references and octal escapes are");
    if (c == 'b' || c == 'B')
        return unsupported(r, "word boundaries (\\b, \\B) are");
    if (c == 'p' || c == 'P')
        return unsupported(r, "Unicode properties (\\p) are");
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return unsupported(r, "this letter behind a backslash is");
    int n = tern_utf8_decode(r->p, (size_t)(r->end - r->p), cp);
    if (n == 0)
        return wrong(r, "not UTF-8");
    r->p += n;
    return TERN_OK;
}

/* One character or a named set within a class; *single false: a set, added. */
static tern_code read_member(regex *r, uint32_t *cp, bool *single)
{
    *single = true;
    if (at_text(r, "[:") || at_text(r, "[.") || at_text(r, "[="))
        return unsupported(r, "POSIX classes ([:...:]) are");
    if (peek(r, 0) == '\\') {
        bool found;
        r->p++;
        TERN_TRY(add_named(r, peek(r, 0), &found));
        *single = !found;
        if (!found && peek(r, 0) == 'b') {
            r->p++;
            *cp = '\b';
            return TERN_OK;
        }
        if (found)
            r->p++;
        return found ? TERN_OK : read_escape(r, cp);
    }
    int n = tern_utf8_decode(r->p, (size_t)(r->end - r->p), cp);
    if (n == 0)
        return wrong(r, "not UTF-8");
    r->p += n;
    return TERN_OK;
}

static tern_code read_class(regex *r)
{
    bool negated = peek(r, 1) == '^', first = true, wide = negated;
    r->p += 1 + negated;
    r->n_span = 0;
    for (; peek(r, 0) != ']' || first; first = false) {
        uint32_t lo, hi;
        bool single;
        if (r->p == r->end)
            return wrong(r, "expected ']'");
        TERN_TRY(read_member(r, &lo, &single));
        if (!single) {
            wide = true;
            continue;
        }
        hi = lo;
        if (peek(r, 0) == '-' && peek(r, 1) != ']' && r->end - r->p > 1) {
            r->p++;
            TERN_TRY(read_member(r, &hi, &single));
            if (!single || hi < lo)
                return wrong(r, "a range that is none");
        }
        TERN_TRY(add_span(r, lo, hi));
    }
    r->p++;
    if (negated)
        TERN_TRY(negate(r, 0));
    put_set(r, wide);
    return TERN_OK;
}

static tern_code put_char(regex *r, uint32_t cp)
{
    r->n_span = 0;
    TERN_TRY(add_span(r, cp, cp));
    put_set(r, false);
    return TERN_OK;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static tern_code read_choice(regex *r);

static tern_code read_group(regex *r)
{
    if (r->depth == MAX_DEPTH)
        return tern_fail(r->err, TERN_E_LIMIT, "pattern: more than %d groups nested", MAX_DEPTH);
    if (at_text(r, "(?=") || at_text(r, "(?!") || at_text(r, "(?<=") || at_text(r, "(?<!"))
        return unsupported(r, "look-around is");
    if (at_text(r, "(?P=") || at_text(r, "(*"))
        return unsupported(r, "back-references and verbs are");
    if (at_text(r, "(?:")) {
        r->p += 3;
    } else if (at_text(r, "(?P<") || at_text(r, "(?<")) {
        while (r->p < r->end && *r->p != '>')
            r->p++;
        if (r->p == r->end)
            return wrong(r, "expected '>'");
        r->p++;
    } else if (at_text(r, "(?")) {
        return unsupported(r, "flags, conditions and atomic groups ((?...)) are");
    } else {
        r->p++;
    }
    r->depth++;
    tern_str_putc(r->out, '(');
    TERN_TRY(read_choice(r));
    tern_str_putc(r->out, ')');
    r->depth--;
    if (peek(r, 0) != ')')
        return wrong(r, "expected ')'");
    r->p++;
    return TERN_OK;
}

static tern_code read_backslash(regex *r)
{
    bool found;
    uint32_t cp;
    r->p++;
    r->n_span = 0;
    TERN_TRY(add_named(r, peek(r, 0), &found));
    if (found) {
        r->p++;
        put_set(r, true);
        return TERN_OK;
    }
    TERN_TRY(read_escape(r, &cp));
    return put_char(r, cp);
}

/* One part without what repeats it. */
static tern_code read_atom(regex *r)
{
    uint32_t cp;
    switch (*r->p) {
    case '(':
        return read_group(r);
    case '[':
        return read_class(r);
    case '\\':
        return read_backslash(r);
    case '.':
        r->p++;
        r->n_span = 0;
        TERN_TRY(add_span(r, 0, '\n' - 1));
        TERN_TRY(add_span(r, '\n' + 1, LAST));
        put_set(r, true);
        return TERN_OK;
    case '*':
    case '+':
    case '?':
        return wrong(r, "nothing to repeat");
    case '^':
    case '$':
        return unsupported(r, "anchors but at the beginning and the end are");
    default:
        break;
    }
    int n = tern_utf8_decode(r->p, (size_t)(r->end - r->p), &cp);
    if (n == 0)
        return wrong(r, "not UTF-8");
    r->p += n;
    return put_char(r, cp);
}

/* Bytes of a counted repetition at r->p; 0: these are plain characters. */
static size_t counts_at(const regex *r)
{
    size_t i = 1;
    if (peek(r, 0) != '{' || peek(r, 1) < '0' || peek(r, 1) > '9')
        return 0;
    while (peek(r, i) >= '0' && peek(r, i) <= '9')
        i++;
    if (peek(r, i) == ',')
        i++;
    while (peek(r, i) >= '0' && peek(r, i) <= '9')
        i++;
    return peek(r, i) == '}' ? i + 1 : 0;
}

static tern_code read_repeat(regex *r)
{
    char c = peek(r, 0);
    size_t n = c == '*' || c == '+' || c == '?' ? 1 : counts_at(r);
    if (n == 0)
        return TERN_OK;
    tern_str_put(r->out, r->p, n);
    r->p += n;
    if (peek(r, 0) == '?') /* lazy: the same texts */
        r->p++;
    c = peek(r, 0);
    if (c == '+')
        return unsupported(r, "possessive repetition is");
    if (c == '*' || c == '?' || counts_at(r))
        return wrong(r, "a repetition of a repetition: put it in brackets");
    return TERN_OK;
}

static void put_around(regex *r, bool anchored)
{
    if (!anchored && r->o->around)
        tern_str_printf(r->out, " %s ", r->o->around);
}

static bool is_anchor(const regex *r, char plain, const char *escaped, size_t *n)
{
    *n = peek(r, 0) == plain ? 1 : at_text(r, escaped) ? 2 : 0;
    return *n != 0;
}

static tern_code read_sequence(regex *r)
{
    bool top = r->depth == 0, ended = false;
    size_t n;
    bool anchored = top && is_anchor(r, '^', "\\A", &n);
    if (anchored)
        r->p += n;
    tern_str_puts(r->out, "\"\"");
    if (top)
        put_around(r, anchored);
    while (r->p < r->end && *r->p != '|' && *r->p != ')') {
        if (top && is_anchor(r, '$', "\\z", &n) &&
            ((size_t)(r->end - r->p) == n || r->p[n] == '|')) {
            r->p += n;
            ended = true;
            break;
        }
        tern_str_putc(r->out, ' ');
        TERN_TRY(read_atom(r));
        TERN_TRY(read_repeat(r));
    }
    if (top)
        put_around(r, ended);
    return TERN_OK;
}

static tern_code read_choice(regex *r)
{
    TERN_TRY(read_sequence(r));
    while (peek(r, 0) == '|') {
        r->p++;
        tern_str_puts(r->out, " | ");
        TERN_TRY(read_sequence(r));
    }
    return TERN_OK;
}

tern_code tern_regex_to_gbnf(const char *pattern, size_t n, const tern_regex_opts *o, tern_str *out,
                             tern_err *err)
{
    regex r = {.begin = pattern, .p = pattern, .end = pattern + n, .o = o, .out = out, .err = err};
    TERN_TRY(read_choice(&r));
    if (r.p < r.end)
        return wrong(&r, "')' without '('");
    if (!out->failed)
        return TERN_OK;
    return out->len < out->max / 2 ? tern_fail(err, TERN_E_NOMEM, "pattern: out of memory")
                                   : tern_fail(err, TERN_E_LIMIT, "pattern: too long");
}
