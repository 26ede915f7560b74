/* Values as text: Python's str and repr, floats in their shortest form, JSON as json.dumps writes
 * it, case mapping, and reading numbers. */
#include "base/utf8.h"
#include "text/tpl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* ---- numbers --------------------------------------------------------------------------------- */

/* jansson's number reader is correctly rounded and knows no locale. */
static bool read_json_number(const char *s, size_t n, double *out)
{
    json_error_t e;
    json_t *j = json_loadb(s, n, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &e);
    if (!j) {
        *out = HUGE_VAL;
        return json_error_code(&e) == json_error_numeric_overflow;
    }
    *out = json_real_value(j);
    json_decref(j);
    return true;
}

static bool word_is(const char *p, size_t n, const char *word)
{
    for (; n && *word; n--, p++, word++) {
        if ((*p | 32) != *word)
            return false;
    }
    return n == 0 && !*word;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

#define NUMBER_CHARS 400

/* Copy digits with single underscores between them; false when malformed or too long. */
static bool copy_digits(const char **p, const char *end, char *buf, size_t *n)
{
    size_t begin = *n;
    while (*p < end && is_digit(**p)) {
        if (*n >= NUMBER_CHARS)
            return false;
        if (*n == begin + 1 && buf[begin] == '0')
            *n = begin; /* JSON knows no leading zeros */
        buf[(*n)++] = *(*p)++;
        if (*p + 1 < end && **p == '_' && is_digit((*p)[1]))
            (*p)++;
    }
    return *n > begin;
}

static bool copy_fraction(const char **p, const char *end, char *buf, size_t *n)
{
    size_t begin = *n;
    for (; *p < end && (is_digit(**p) || (**p == '_' && *n > begin)); (*p)++) {
        if (*n >= NUMBER_CHARS)
            return false;
        if (**p != '_')
            buf[(*n)++] = **p;
        else if (*p + 1 == end || !is_digit((*p)[1]))
            return false;
    }
    return true;
}

bool tern_tpl_read_float(const char *p, size_t n, double *out)
{
    char buf[NUMBER_CHARS + 16];
    size_t len = 0;
    const char *end = p + n;
    bool minus = n && *p == '-';
    if (n && (*p == '-' || *p == '+'))
        p++;
    n = (size_t)(end - p);
    if (word_is(p, n, "inf") || word_is(p, n, "infinity") || word_is(p, n, "nan")) {
        *out = (*p | 32) == 'n' ? (double)NAN : minus ? -HUGE_VAL : HUGE_VAL;
        return true;
    }
    bool digits = copy_digits(&p, end, buf, &len);
    if (!digits)
        buf[len++] = '0';
    if (p < end && *p == '.') {
        size_t dot = len;
        p++;
        buf[len++] = '.';
        if (!copy_fraction(&p, end, buf, &len) || (!digits && len == dot + 1))
            return false;
        if (len == dot + 1)
            buf[len++] = '0';
    } else if (!digits) {
        return false;
    }
    if (p < end && (*p | 32) == 'e') {
        buf[len++] = 'e';
        p++;
        if (p < end && (*p == '-' || *p == '+'))
            buf[len++] = *p++;
        size_t e = len;
        if (!copy_digits(&p, end, buf, &len))
            return false;
        if (len - e > 6) /* far past the range: the sign decides */
            len = e + 6;
    }
    if (p != end || !read_json_number(buf, len, out))
        return false;
    if (minus)
        *out = -*out;
    return true;
}

bool tern_tpl_read_int(const char *p, size_t n, int base, int64_t *out)
{
    int64_t v = 0;
    size_t i = 0;
    bool minus = n && p[0] == '-';
    if (n && (p[0] == '-' || p[0] == '+'))
        i++;
    if (i == n)
        return false;
    for (bool digit = false; i < n; i++) {
        char c = (char)(p[i] | 32);
        int d = is_digit(p[i]) ? p[i] - '0' : c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
        if (p[i] == '_' && digit && i + 1 < n) {
            digit = false;
            continue;
        }
        if (d >= base || __builtin_mul_overflow(v, base, &v) ||
            __builtin_sub_overflow(v, d, &v)) /* negative: reaches INT64_MIN */
            return false;
        digit = true;
    }
    if (!minus && v == INT64_MIN)
        return false;
    *out = minus ? v : -v;
    return true;
}

/* The fewest digits that read back as x, in Python's layout. */
tern_code tern_tpl_put_float(tpl_rt *rt, double x)
{
    char e[40], digits[24];
    if (x != x || x - x != 0)
        return tern_tpl_putz(rt, x != x ? "nan" : x > 0 ? "inf" : "-inf");
    /* 15 digits settle what is shorter, but a subnormal number has fewer to give */
    for (int p = fabs(x) < 2.3e-308 ? 0 : 14; p <= 16; p++) {
        double back;
        int n = snprintf(e, sizeof e, "%.*e", p, x);
        if (read_json_number(e, (size_t)n, &back) && back == x)
            break;
    }
    const char *s = e;
    if (*s == '-') {
        TERN_TRY(tern_tpl_put(rt, "-", 1));
        s++;
    }
    int n = 0, ex = 0;
    for (; *s && *s != 'e'; s++) {
        if (is_digit(*s))
            digits[n++] = *s;
    }
    bool minus = s[1] == '-';
    for (s += 2; *s; s++)
        ex = ex * 10 + (*s - '0');
    ex = minus ? -ex : ex;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    if (ex < -4 || ex >= 16) {
        char tail[16];
        TERN_TRY(tern_tpl_put(rt, digits, 1));
        if (n > 1)
            TERN_TRY(tern_tpl_put(rt, ".", 1));
        TERN_TRY(tern_tpl_put(rt, digits + 1, (size_t)n - 1));
        (void)snprintf(tail, sizeof tail, "e%c%02d", minus ? '-' : '+', minus ? -ex : ex);
        return tern_tpl_putz(rt, tail);
    }
    if (ex < 0) {
        TERN_TRY(tern_tpl_put(rt, "0.000", (size_t)(1 - ex)));
        return tern_tpl_put(rt, digits, (size_t)n);
    }
    for (int i = 0; i <= ex; i++)
        TERN_TRY(tern_tpl_put(rt, i < n ? digits + i : "0", 1));
    if (n <= ex + 1)
        return tern_tpl_putz(rt, ".0");
    TERN_TRY(tern_tpl_put(rt, ".", 1));
    return tern_tpl_put(rt, digits + ex + 1, (size_t)(n - ex - 1));
}

/* ---- str and repr ---------------------------------------------------------------------------- */

tern_code tern_tpl_put_cp(tpl_rt *rt, uint32_t cp)
{
    char b[4];
    int n = tern_utf8_encode(cp, b);
    return tern_tpl_put(rt, b, (size_t)n);
}

tern_code tern_tpl_put_escaped(tpl_rt *rt, const char *p, size_t n)
{
    static const char from[] = "&<>'\"";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    size_t done = 0;
    for (size_t i = 0; i < n; i++) {
        const char *at = p[i] ? strchr(from, p[i]) : NULL;
        if (!at)
            continue;
        TERN_TRY(tern_tpl_put(rt, p + done, i - done));
        TERN_TRY(tern_tpl_putz(rt, to[at - from]));
        done = i + 1;
    }
    return tern_tpl_put(rt, p + done, n - done);
}

static bool printable(uint32_t cp)
{
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return cp == ' ' ||
           (c != UTF8PROC_CATEGORY_ZS && c != UTF8PROC_CATEGORY_ZL && c != UTF8PROC_CATEGORY_ZP &&
            c != UTF8PROC_CATEGORY_CC && c != UTF8PROC_CATEGORY_CF && c != UTF8PROC_CATEGORY_CS &&
            c != UTF8PROC_CATEGORY_CO && c != UTF8PROC_CATEGORY_CN);
}

static tern_code put_repr_cp(tpl_rt *rt, uint32_t cp, char quote)
{
    static const char from[] = "\n\r\t\\", to[] = "nrt\\";
    char b[16];
    const char *at = cp && cp < 0x80 ? strchr(from, (int)cp) : NULL;
    if (at || cp == (uint32_t)quote)
        (void)snprintf(b, sizeof b, "\\%c", at ? to[at - from] : quote);
    else if (printable(cp))
        return tern_tpl_put_cp(rt, cp);
    else if (cp < 0x100)
        (void)snprintf(b, sizeof b, "\\x%02x", (unsigned)cp);
    else if (cp < 0x10000)
        (void)snprintf(b, sizeof b, "\\u%04x", (unsigned)cp);
    else
        (void)snprintf(b, sizeof b, "\\U%08x", (unsigned)cp);
    return tern_tpl_putz(rt, b);
}

static tern_code put_repr_str(tpl_rt *rt, const tpl_val *v)
{
    const tpl_str *s = v->u.s;
    bool single = s->n && memchr(s->p, '\'', s->n), dbl = s->n && memchr(s->p, '"', s->n);
    char quote = single && !dbl ? '"' : '\'';
    if (v->safe)
        TERN_TRY(tern_tpl_putz(rt, "Markup("));
    TERN_TRY(tern_tpl_put(rt, &quote, 1));
    for (size_t i = 0; i < s->n;) {
        uint32_t cp;
        i += tern_tpl_next_cp(s->p + i, s->n - i, &cp);
        TERN_TRY(put_repr_cp(rt, cp, quote));
    }
    TERN_TRY(tern_tpl_put(rt, &quote, 1));
    return v->safe ? tern_tpl_put(rt, ")", 1) : TERN_OK;
}

static tern_code put_list(tpl_rt *rt, const tpl_val *v, size_t n, const char *open,
                          const char *close)
{
    TERN_TRY(tern_tpl_putz(rt, open));
    for (size_t i = 0; i < n; i++) {
        if (i)
            TERN_TRY(tern_tpl_putz(rt, ", "));
        TERN_TRY(tern_tpl_put_repr(rt, &v[i]));
    }
    return tern_tpl_putz(rt, close);
}

static tern_code put_dict(tpl_rt *rt, const tpl_dict *d)
{
    TERN_TRY(tern_tpl_putz(rt, "{"));
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            TERN_TRY(tern_tpl_putz(rt, ", "));
        TERN_TRY(tern_tpl_put_repr(rt, &d->k[i]));
        TERN_TRY(tern_tpl_putz(rt, ": "));
        TERN_TRY(tern_tpl_put_repr(rt, &d->v[i]));
    }
    return tern_tpl_putz(rt, "}");
}

static tern_code put_view(tpl_rt *rt, const tpl_val *v)
{
    static const char *const open[] = {"dict_keys([", "dict_values([", "dict_items(["};
    const tpl_val *items;
    size_t n;
    TERN_TRY(tern_tpl_items(rt, v, &items, &n));
    return put_list(rt, items, n, open[v->u.view->kind], "])");
}

static tern_code put_range(tpl_rt *rt, const tpl_range *r)
{
    char b[96];
    if (r->step == 1)
        (void)snprintf(b, sizeof b, "range(%" PRId64 ", %" PRId64 ")", r->start, r->stop);
    else
        (void)snprintf(b, sizeof b, "range(%" PRId64 ", %" PRId64 ", %" PRId64 ")", r->start,
                       r->stop, r->step);
    return tern_tpl_putz(rt, b);
}

static tern_code put_other(tpl_rt *rt, const tpl_val *v)
{
    char b[96];
    switch ((tpl_type)v->type) {
    case TPL_NAMESPACE:
        TERN_TRY(tern_tpl_putz(rt, "<Namespace "));
        TERN_TRY(put_dict(rt, v->u.d));
        break;
    case TPL_LOOP: {
        size_t n;
        TERN_TRY(tern_tpl_length(rt, v, &n));
        (void)snprintf(b, sizeof b, "<LoopContext %zu/%zu", v->u.loop->index0 + 1, n);
        TERN_TRY(tern_tpl_putz(rt, b));
        break;
    }
    case TPL_MACRO:
        TERN_TRY(tern_tpl_putz(rt, "<Macro '"));
        TERN_TRY(tern_tpl_put(rt, rt->t->names.v[v->u.macro->node->name]->p,
                              rt->t->names.v[v->u.macro->node->name]->n));
        TERN_TRY(tern_tpl_putz(rt, "'"));
        break;
    default:
        TERN_TRY(tern_tpl_putz(rt, "<"));
        TERN_TRY(tern_tpl_putz(rt, tern_tpl_type_name(v)));
        TERN_TRY(tern_tpl_putz(rt, " object"));
        break;
    }
    return tern_tpl_putz(rt, ">");
}

static tern_code put_repr(tpl_rt *rt, const tpl_val *v)
{
    char b[32];
    switch ((tpl_type)v->type) {
    case TPL_UNDEF:
        return tern_tpl_putz(rt, "Undefined");
    case TPL_NONE:
        return tern_tpl_putz(rt, "None");
    case TPL_BOOL:
        return tern_tpl_putz(rt, v->u.b ? "True" : "False");
    case TPL_INT:
        (void)snprintf(b, sizeof b, "%" PRId64, v->u.i);
        return tern_tpl_putz(rt, b);
    case TPL_FLOAT:
        return tern_tpl_put_float(rt, v->u.f);
    case TPL_STR:
        return put_repr_str(rt, v);
    case TPL_LIST:
        return put_list(rt, v->u.l->v, v->u.l->n, "[", "]");
    case TPL_TUPLE:
        return put_list(rt, v->u.l->v, v->u.l->n, "(", v->u.l->n == 1 ? ",)" : ")");
    case TPL_DICT:
        return put_dict(rt, v->u.d);
    case TPL_RANGE:
        return put_range(rt, v->u.r);
    case TPL_VIEW:
        return put_view(rt, v);
    default:
        return put_other(rt, v);
    }
}

tern_code tern_tpl_put_repr(tpl_rt *rt, const tpl_val *v)
{
    TERN_TRY(tern_tpl_enter(rt));
    TERN_TRY(put_repr(rt, v));
    tern_tpl_leave(rt);
    return TERN_OK;
}

tern_code tern_tpl_put_str(tpl_rt *rt, const tpl_val *v)
{
    if (v->type == TPL_STR)
        return tern_tpl_put(rt, v->u.s->p, v->u.s->n);
    return v->type == TPL_UNDEF ? TERN_OK : tern_tpl_put_repr(rt, v);
}

tern_code tern_tpl_to_str(tpl_rt *rt, const tpl_val *v, tpl_val *out)
{
    if (v->type == TPL_STR) {
        *out = *v;
        return TERN_OK;
    }
    size_t mark = rt->out.len;
    TERN_TRY(tern_tpl_put_str(rt, v));
    return tern_tpl_take(rt, mark, out);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static tern_code put_json_str(tpl_rt *rt, const tpl_str *s, bool ascii)
{
    static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
    size_t done = 0;
    TERN_TRY(tern_tpl_put(rt, "\"", 1));
    for (size_t i = 0, len; i < s->n; i += len) {
        char b[16];
        uint32_t cp;
        len = tern_tpl_next_cp(s->p + i, s->n - i, &cp);
        const char *at = cp && cp < 0x80 ? strchr(from, (int)cp) : NULL;
        if (!at && cp >= 0x20 && (cp < 0x7f || !ascii))
            continue;
        if (at)
            (void)snprintf(b, sizeof b, "\\%c", to[at - from]);
        else if (cp < 0x10000)
            (void)snprintf(b, sizeof b, "\\u%04x", (unsigned)cp);
        else
            (void)snprintf(b, sizeof b, "\\u%04x\\u%04x", (unsigned)(0xd7c0 + (cp >> 10)),
                           (unsigned)(0xdc00 + (cp & 0x3ff)));
        TERN_TRY(tern_tpl_put(rt, s->p + done, i - done));
        TERN_TRY(tern_tpl_putz(rt, b));
        done = i + len;
    }
    TERN_TRY(tern_tpl_put(rt, s->p + done, s->n - done));
    return tern_tpl_put(rt, "\"", 1);
}

static tern_code put_json_break(tpl_rt *rt, const tpl_json *how, size_t level)
{
    if (!how->indent)
        return TERN_OK;
    TERN_TRY(tern_tpl_put(rt, "\n", 1));
    for (size_t i = 0; i < level; i++)
        TERN_TRY(tern_tpl_put(rt, how->indent->p, how->indent->n));
    return TERN_OK;
}

static tern_code put_json_scalar(tpl_rt *rt, const tpl_val *v, bool ascii)
{
    if (v->type == TPL_STR)
        return put_json_str(rt, v->u.s, ascii);
    if (v->type == TPL_NONE)
        return tern_tpl_putz(rt, "null");
    if (v->type == TPL_BOOL)
        return tern_tpl_putz(rt, v->u.b ? "true" : "false");
    if (v->type == TPL_FLOAT && (v->u.f != v->u.f || v->u.f - v->u.f != 0))
        return tern_tpl_putz(rt, v->u.f != v->u.f ? "NaN" : v->u.f > 0 ? "Infinity" : "-Infinity");
    if (v->type == TPL_INT || v->type == TPL_FLOAT)
        return tern_tpl_put_repr(rt, v);
    return tern_tpl_fail(rt, TERN_E_FORMAT, "Object of type %s is not JSON serializable",
                         tern_tpl_type_name(v));
}

static tern_code put_json_key(tpl_rt *rt, const tpl_val *k, const tpl_json *how)
{
    if (k->type == TPL_STR)
        return put_json_str(rt, k->u.s, how->ascii);
    if (k->type == TPL_TUPLE || k->type > TPL_STR || k->type == TPL_UNDEF)
        return tern_tpl_fail(rt, TERN_E_FORMAT,
                             "keys must be str, int, float, bool or None, not %s",
                             tern_tpl_type_name(k));
    TERN_TRY(tern_tpl_put(rt, "\"", 1));
    TERN_TRY(put_json_scalar(rt, k, how->ascii));
    return tern_tpl_put(rt, "\"", 1);
}

static tern_code put_json_dict(tpl_rt *rt, const tpl_dict *d, const tpl_json *how, size_t level)
{
    size_t *order = NULL;
    if (d->n == 0)
        return tern_tpl_putz(rt, "{}");
    if (how->sort) {
        order = tern_tpl_alloc(rt, d->n, sizeof *order);
        if (!order)
            return rt->code;
        TERN_TRY(tern_tpl_sort(rt, d->k, d->n, false, order));
    }
    TERN_TRY(tern_tpl_put(rt, "{", 1));
    for (size_t i = 0; i < d->n; i++) {
        size_t k = order ? order[i] : i;
        if (i)
            TERN_TRY(tern_tpl_put(rt, how->item_sep->p, how->item_sep->n));
        TERN_TRY(put_json_break(rt, how, level + 1));
        TERN_TRY(put_json_key(rt, &d->k[k], how));
        TERN_TRY(tern_tpl_put(rt, how->key_sep->p, how->key_sep->n));
        TERN_TRY(tern_tpl_put_json(rt, &d->v[k], how, level + 1));
    }
    TERN_TRY(put_json_break(rt, how, level));
    return tern_tpl_put(rt, "}", 1);
}

static tern_code put_json_list(tpl_rt *rt, const tpl_list *l, const tpl_json *how, size_t level)
{
    if (l->n == 0)
        return tern_tpl_putz(rt, "[]");
    TERN_TRY(tern_tpl_put(rt, "[", 1));
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            TERN_TRY(tern_tpl_put(rt, how->item_sep->p, how->item_sep->n));
        TERN_TRY(put_json_break(rt, how, level + 1));
        TERN_TRY(tern_tpl_put_json(rt, &l->v[i], how, level + 1));
    }
    TERN_TRY(put_json_break(rt, how, level));
    return tern_tpl_put(rt, "]", 1);
}

tern_code tern_tpl_put_json(tpl_rt *rt, const tpl_val *v, const tpl_json *how, size_t level)
{
    TERN_TRY(tern_tpl_enter(rt));
    if (v->type == TPL_DICT)
        TERN_TRY(put_json_dict(rt, v->u.d, how, level));
    else if (v->type == TPL_LIST || v->type == TPL_TUPLE)
        TERN_TRY(put_json_list(rt, v->u.l, how, level));
    else
        TERN_TRY(put_json_scalar(rt, v, how->ascii));
    tern_tpl_leave(rt);
    return TERN_OK;
}

/* ---- case ------------------------------------------------------------------------------------ */

int tern_tpl_cp_case(uint32_t cp)
{
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    if (c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LT)
        return 1;
    return c == UTF8PROC_CATEGORY_LL ? -1 : 0;
}

/* Characters whose upper and title case are several characters (Unicode SpecialCasing, the
 * unconditional Latin part). */
static const struct {
    uint32_t cp;
    const char *upper, *title;
} many[] = {{0xdf, "SS", "Ss"},
            {0x149, "\xca\xbcN", "\xca\xbcN"},
            {0x1f0, "J\xcc\x8c", "J\xcc\x8c"},
            {0xfb00, "FF", "Ff"},
            {0xfb01, "FI", "Fi"},
            {0xfb02, "FL", "Fl"},
            {0xfb03, "FFI", "Ffi"},
            {0xfb04, "FFL", "Ffl"},
            {0xfb05, "ST", "St"},
            {0xfb06, "ST", "St"}};

static tern_code put_upper(tpl_rt *rt, uint32_t cp, bool title)
{
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
        if (many[i].cp == cp)
            return tern_tpl_putz(rt, title ? many[i].title : many[i].upper);
    }
    utf8proc_int32_t c = (utf8proc_int32_t)cp;
    return tern_tpl_put_cp(rt, (uint32_t)(title ? utf8proc_totitle(c) : utf8proc_toupper(c)));
}

static bool case_ignorable(uint32_t cp)
{
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return cp == '\'' || cp == '.' || cp == ':' || cp == 0xb7 || cp == 0x2019 ||
           c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_ME || c == UTF8PROC_CATEGORY_CF ||
           c == UTF8PROC_CATEGORY_LM || c == UTF8PROC_CATEGORY_SK;
}

/* A capital sigma at p[at] ends its word: a letter stands before it and none behind. */
static bool final_sigma(const char *p, size_t n, size_t at)
{
    uint32_t cp = 0;
    bool before = false;
    for (size_t i = 0, len; i < at; i += len) {
        len = tern_tpl_next_cp(p + i, n - i, &cp);
        if (!case_ignorable(cp))
            before = tern_tpl_cp_case(cp) != 0;
    }
    for (size_t i = at + 2; i < n;) {
        i += tern_tpl_next_cp(p + i, n - i, &cp);
        if (!case_ignorable(cp))
            return before && tern_tpl_cp_case(cp) == 0;
    }
    return before;
}

static tern_code put_lower(tpl_rt *rt, const char *p, size_t n, size_t at, uint32_t cp)
{
    if (cp == 0x130)
        return tern_tpl_putz(rt, "i\xcc\x87");
    if (cp == 0x3a3) {
        TERN_TRY(tern_tpl_spend(rt, n));
        return tern_tpl_put_cp(rt, final_sigma(p, n, at) ? 0x3c2 : 0x3c3);
    }
    return tern_tpl_put_cp(rt, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
}

tern_code tern_tpl_put_case(tpl_rt *rt, const char *p, size_t n, tpl_case how)
{
    bool after_letter = false;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp;
        len = tern_tpl_next_cp(p + i, n - i, &cp);
        int cased = tern_tpl_cp_case(cp);
        bool up = how == TPL_UPPER || (how == TPL_CAPITAL && i == 0) ||
                  (how == TPL_TITLE && !after_letter) || (how == TPL_SWAP && cased < 0);
        if (how == TPL_SWAP && cased == 0)
            TERN_TRY(tern_tpl_put(rt, p + i, len));
        else if (how == TPL_FOLD && cp == 0xdf)
            TERN_TRY(tern_tpl_putz(rt, "ss"));
        else if (how == TPL_FOLD && (cp == 0x3a3 || cp == 0x3c2))
            TERN_TRY(tern_tpl_put_cp(rt, 0x3c3));
        else if (up)
            TERN_TRY(put_upper(rt, cp, how == TPL_TITLE || how == TPL_CAPITAL));
        else
            TERN_TRY(put_lower(rt, p, n, i, cp));
        after_letter = cased != 0;
    }
    return TERN_OK;
}
