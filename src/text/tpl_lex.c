/* Template source to tokens: text, {{ }}, {% %}, comments and raw blocks, with the whitespace rules
 * of trim_blocks (a newline behind a block or comment goes) and lstrip_blocks (blanks before one
 * go when nothing else stands on the line); '-' strips, '+' keeps. */
#include "base/utf8.h"
#include "text/tpl.h"

#include <string.h>

typedef struct lexer {
    const char *s;
    size_t n, pos;
    int line;
    size_t line_pos; /* line is counted up to here */
    tern_arena *arena;
    tpl_token *tok;
    size_t n_tok, cap;
    char close[TPL_PARSE_DEPTH]; /* brackets still open in this tag */
    int n_close;
    tern_err *err;
} lexer;

bool tern_tpl_is_space(uint32_t cp)
{
    return (cp >= 9 && cp <= 13) || (cp >= 0x1c && cp <= 0x20) || cp == 0x85 || cp == 0xa0 ||
           cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 ||
           cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

tern_code tern_tpl_arena_fail(const tern_arena *a, size_t want, tern_err *err)
{
    if (want > a->max || a->used > a->max - want)
        return tern_fail(err, TERN_E_LIMIT, "template needs more than its %zu bytes of memory",
                         a->max);
    return tern_fail(err, TERN_E_NOMEM, "template: out of memory");
}

static int line_at(lexer *x, size_t pos)
{
    while (x->line_pos < pos) {
        const char *nl = memchr(x->s + x->line_pos, '\n', pos - x->line_pos);
        if (!nl) {
            x->line_pos = pos;
            break;
        }
        x->line++;
        x->line_pos = (size_t)(nl - x->s) + 1;
    }
    return x->line;
}

static tern_code push(lexer *x, int type, size_t at, size_t n)
{
    if (x->n_tok == x->cap) {
        size_t cap = x->cap ? x->cap * 2 : 256;
        tpl_token *t = tern_arena_alloc(x->arena, cap * sizeof *t);
        if (!t)
            return tern_tpl_arena_fail(x->arena, cap * sizeof *t, x->err);
        if (x->n_tok)
            memcpy(t, x->tok, x->n_tok * sizeof *t);
        x->tok = t;
        x->cap = cap;
    }
    x->tok[x->n_tok++] = (tpl_token){.type = type, .line = line_at(x, at), .p = x->s + at, .n = n};
    return TERN_OK;
}

static tern_code bad(lexer *x, size_t at, const char *what)
{
    return tern_fail(x->err, TERN_E_FORMAT, "template line %d: %s", line_at(x, at), what);
}

static bool starts(const lexer *x, size_t at, const char *text)
{
    size_t n = strlen(text);
    return n <= x->n - at && memcmp(x->s + at, text, n) == 0;
}

static size_t skip_space(const lexer *x, size_t at)
{
    while (at < x->n) {
        uint32_t cp;
        int len = tern_utf8_decode(x->s + at, x->n - at, &cp);
        if (len == 0 || !tern_tpl_is_space(cp))
            break;
        at += (size_t)len;
    }
    return at;
}

static size_t strip_right(const lexer *x, size_t begin, size_t end)
{
    while (end > begin) {
        size_t k = end - 1;
        while (k > begin && ((unsigned char)x->s[k] & 0xc0) == 0x80)
            k--;
        uint32_t cp;
        if (tern_utf8_decode(x->s + k, end - k, &cp) == 0 || !tern_tpl_is_space(cp))
            break;
        end = k;
    }
    return end;
}

/* Text before a tag: what is left of [begin, tag) after the tag's sign or lstrip_blocks. */
static size_t text_end(const lexer *x, size_t begin, size_t tag, char sign, bool lstrip)
{
    if (sign == '-')
        return strip_right(x, begin, tag);
    if (sign == '+' || !lstrip)
        return tag;
    size_t l = tag;
    while (l > begin && x->s[l - 1] != '\n')
        l--;
    bool line_start = l > begin || begin == 0 || x->s[begin - 1] == '\n';
    return line_start && strip_right(x, l, tag) == l ? l : tag;
}

/* If a block or comment closes at `at` ("%}" or "#}" with optional sign): true and *next behind it
 * and whatever it swallows. */
static bool closes(const lexer *x, size_t at, const char *end, size_t *next)
{
    char sign = 0;
    if (at < x->n && (x->s[at] == '-' || x->s[at] == '+'))
        sign = x->s[at++];
    if (!starts(x, at, end))
        return false;
    at += 2;
    if (sign == '-')
        at = skip_space(x, at);
    else if (sign == 0 && at < x->n && x->s[at] == '\n')
        at++;
    *next = at;
    return true;
}

static char sign_at(const lexer *x, size_t at)
{
    return at < x->n && (x->s[at] == '-' || x->s[at] == '+') ? x->s[at] : 0;
}

static tern_code lex_comment(lexer *x, size_t tag)
{
    size_t at = tag + 2;
    at += sign_at(x, at) ? 1 : 0;
    size_t begin = at;
    for (; at < x->n; at++) {
        if (closes(x, at, "#}", &x->pos))
            return TERN_OK;
    }
    if (at == begin) /* nothing at all behind the tag: Jinja2 lets it pass */
        return TERN_OK;
    return bad(x, tag, "comment without an end '#}'");
}

/* Is there "{%- raw %}" (or endraw) at tag? *next: behind it. */
static bool raw_tag(const lexer *x, size_t tag, const char *word, bool begin, size_t *next)
{
    size_t at = tag + 2;
    at += sign_at(x, at) ? 1 : 0;
    at = skip_space(x, at);
    if (!starts(x, at, word))
        return false;
    at = skip_space(x, at + strlen(word));
    if (!begin)
        return closes(x, at, "%}", next);
    /* the newline behind {% raw %} stays */
    if (starts(x, at, "-%}")) {
        *next = skip_space(x, at + 3);
        return true;
    }
    *next = at + 2;
    return starts(x, at, "%}");
}

static tern_code lex_raw(lexer *x, size_t tag, size_t body)
{
    for (size_t at = body; at < x->n; at++) {
        size_t next;
        if (!starts(x, at, "{%") || !raw_tag(x, at, "endraw", false, &next))
            continue;
        size_t end = text_end(x, body, at, sign_at(x, at + 2), true);
        if (end > body)
            TERN_TRY(push(x, T_DATA, body, end - body));
        x->pos = next;
        return TERN_OK;
    }
    if (body == x->n) /* as for comments */
        return TERN_OK;
    return bad(x, tag, "raw block without {% endraw %}");
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits with single underscores between them, from at; returns the end (at if none). */
static size_t digits(const lexer *x, size_t at)
{
    size_t end = at;
    while (at < x->n && digit(x->s[at])) {
        end = ++at;
        if (at < x->n && x->s[at] == '_')
            at++;
    }
    return end;
}

static bool base_digit(char c, char base)
{
    if (base == 'b')
        return c == '0' || c == '1';
    if (base == 'o')
        return c >= '0' && c <= '7';
    return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static tern_code lex_number(lexer *x)
{
    size_t at = x->pos, end = digits(x, at);
    bool after_dot = at > 0 && x->s[at - 1] == '.';
    if (!after_dot) {
        size_t frac = end;
        if (end < x->n && x->s[end] == '.' && digits(x, end + 1) > end + 1)
            frac = digits(x, end + 1);
        size_t e = frac;
        if (e < x->n && (x->s[e] == 'e' || x->s[e] == 'E')) {
            size_t d = e + 1;
            if (d < x->n && (x->s[d] == '+' || x->s[d] == '-'))
                d++;
            if (digits(x, d) > d)
                frac = digits(x, d);
        }
        if (frac > end) {
            x->pos = frac;
            return push(x, T_FLOAT, at, frac - at);
        }
    }
    if (x->s[at] == '0') {
        char base = at + 1 < x->n ? (char)(x->s[at + 1] | 32) : 0;
        size_t k = at + 2;
        if (base == 'b' || base == 'o' || base == 'x') {
            size_t good = at + 2;
            while (k < x->n && (base_digit(x->s[k], base) || x->s[k] == '_')) {
                if (x->s[k] != '_')
                    good = k + 1;
                else if (x->s[k - 1] == '_')
                    break;
                k++;
            }
            if (good > at + 2) {
                x->pos = good;
                return push(x, T_INT, at, good - at);
            }
        }
        end = at + 1; /* only zeros may follow a zero */
        while (end < x->n &&
               (x->s[end] == '0' || (x->s[end] == '_' && end + 1 < x->n && x->s[end + 1] == '0')))
            end++;
    }
    x->pos = end;
    return push(x, T_INT, at, end - at);
}

static bool name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static tern_code lex_string(lexer *x)
{
    size_t at = x->pos;
    char q = x->s[at];
    for (size_t k = at + 1; k < x->n; k++) {
        if (x->s[k] == '\\') {
            k++;
        } else if (x->s[k] == q) {
            x->pos = k + 1;
            return push(x, T_STR, at + 1, k - at - 1);
        }
    }
    return bad(x, at, "string without an end");
}

static tern_code lex_operator(lexer *x)
{
    static const struct {
        char text[3];
        int type;
    } two[] = {{"//", T_FLOORDIV}, {"**", T_POW}, {"==", T_EQ},
               {"!=", T_NE},       {">=", T_GE},  {"<=", T_LE}};
    size_t at = x->pos;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++) {
        if (starts(x, at, two[i].text)) {
            x->pos += 2;
            return push(x, two[i].type, at, 2);
        }
    }
    char c = x->s[at];
    if (!c || !strchr("+-/*%~[](){}><=.:|,;", c))
        return tern_fail(x->err, TERN_E_FORMAT, "template line %d: unexpected byte 0x%02x",
                         line_at(x, at), (unsigned)(unsigned char)c);
    if (c == '(' || c == '[' || c == '{') {
        if (x->n_close == TPL_PARSE_DEPTH)
            return tern_fail(x->err, TERN_E_LIMIT, "template line %d: more than %d open brackets",
                             line_at(x, at), TPL_PARSE_DEPTH);
        x->close[x->n_close++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
        if (x->n_close == 0 || x->close[x->n_close - 1] != c)
            return tern_fail(x->err, TERN_E_FORMAT, "template line %d: unexpected '%c'",
                             line_at(x, at), c);
        x->n_close--;
    }
    x->pos++;
    return push(x, (unsigned char)c, at, 1);
}

/* One token inside a tag; *done when it was the tag's end. */
static tern_code lex_inside(lexer *x, bool block, bool *done)
{
    size_t at = x->pos, next;
    if (x->n_close == 0) {
        if (block && closes(x, at, "%}", &next)) {
            *done = true;
            x->pos = next;
            return push(x, T_BLOCK_END, at, 2);
        }
        bool strip = starts(x, at, "-}}");
        if (!block && (strip || starts(x, at, "}}"))) {
            *done = true;
            x->pos = strip ? skip_space(x, at + 3) : at + 2;
            return push(x, T_VAR_END, at, 2);
        }
    }
    char c = x->s[at];
    if (skip_space(x, at) > at) {
        x->pos = skip_space(x, at);
        return TERN_OK;
    }
    if (digit(c))
        return lex_number(x);
    if (name_start(c)) {
        while (x->pos < x->n && (name_start(x->s[x->pos]) || digit(x->s[x->pos])))
            x->pos++;
        return push(x, T_NAME, at, x->pos - at);
    }
    if ((unsigned char)c >= 0x80)
        return tern_fail(x->err, TERN_E_UNSUPPORTED,
                         "template line %d: only ASCII is supported in names", line_at(x, at));
    if (c == '\'' || c == '"')
        return lex_string(x);
    return lex_operator(x);
}

static tern_code lex_tag(lexer *x, size_t tag, bool block)
{
    x->pos = tag + 2;
    x->pos += sign_at(x, x->pos) ? 1 : 0;
    x->n_close = 0;
    TERN_TRY(push(x, block ? T_BLOCK_BEGIN : T_VAR_BEGIN, tag, 2));
    for (bool done = false; !done;) {
        if (x->pos >= x->n)
            return bad(x, tag, "tag without an end");
        TERN_TRY(lex_inside(x, block, &done));
    }
    return TERN_OK;
}

/* The next "{{", "{%" or "{#" at or behind from; n when there is none. */
static size_t next_tag(const lexer *x, size_t from)
{
    while (from < x->n) {
        const char *p = memchr(x->s + from, '{', x->n - from);
        if (!p || p + 1 == x->s + x->n)
            break;
        from = (size_t)(p - x->s);
        if (p[1] == '{' || p[1] == '%' || p[1] == '#')
            return from;
        from++;
    }
    return x->n;
}

tern_code tern_tpl_lex(tern_arena *arena, const char *src, size_t n, tpl_token **out, size_t *n_out,
                       tern_err *err)
{
    lexer x = {.s = src, .n = n, .line = 1, .arena = arena, .err = err};
    while (x.pos < n) {
        size_t begin = x.pos, tag = next_tag(&x, begin), end = n, raw = 0;
        char kind = tag < n ? src[tag + 1] : 0;
        if (kind)
            end = text_end(&x, begin, tag, sign_at(&x, tag + 2), kind != '{');
        if (end > begin)
            TERN_TRY(push(&x, T_DATA, begin, end - begin));
        x.pos = n;
        if (kind == '#')
            TERN_TRY(lex_comment(&x, tag));
        else if (kind == '%' && raw_tag(&x, tag, "raw", true, &raw))
            TERN_TRY(lex_raw(&x, tag, raw));
        else if (kind)
            TERN_TRY(lex_tag(&x, tag, kind == '%'));
    }
    TERN_TRY(push(&x, T_EOF, n, 0));
    *out = x.tok;
    *n_out = x.n_tok;
    return TERN_OK;
}
