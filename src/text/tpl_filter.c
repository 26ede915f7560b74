/* Filters of single values, and tests. Sequence filters are in tpl_seq.c. */
#include "text/tpl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* ---- arguments ------------------------------------------------------------------------------- */

tern_code tern_tpl_arg_int(tpl_rt *rt, const tpl_val *v, int64_t dflt, int64_t *out)
{
    *out = dflt;
    if (v->type == TPL_MISSING || v->type == TPL_NONE)
        return TERN_OK;
    if (v->type == TPL_UNDEF)
        return tern_tpl_undef_fail(rt, v);
    if (v->type != TPL_INT && v->type != TPL_BOOL)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "'%s' cannot be used as an integer",
                             tern_tpl_type_name(v));
    *out = v->type == TPL_BOOL ? v->u.b : v->u.i;
    return TERN_OK;
}

bool tern_tpl_arg_bool(const tpl_val *v, bool dflt)
{
    return v->type == TPL_MISSING ? dflt : tern_tpl_truthy(v);
}

tern_code tern_tpl_need_str(tpl_rt *rt, const tpl_val *v, const char *who)
{
    if (v->type == TPL_STR)
        return TERN_OK;
    return tern_tpl_fail(rt, TERN_E_FORMAT, "%s: expected a string, found '%s'", who,
                         tern_tpl_type_name(v));
}

static tern_code put_with_case(tpl_rt *rt, const tpl_val *v, tpl_case how, tpl_val *out)
{
    tpl_val s;
    TERN_TRY(tern_tpl_to_str(rt, v, &s));
    size_t mark = rt->out.len;
    TERN_TRY(tern_tpl_put_case(rt, s.u.s->p, s.u.s->n, how));
    TERN_TRY(tern_tpl_take(rt, mark, out));
    out->safe = s.safe;
    return TERN_OK;
}

/* ---- strings --------------------------------------------------------------------------------- */

static tern_code f_upper(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return put_with_case(rt, &a->self, TPL_UPPER, out);
}

static tern_code f_lower(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return put_with_case(rt, &a->self, TPL_LOWER, out);
}

static tern_code f_capitalize(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return put_with_case(rt, &a->self, TPL_CAPITAL, out);
}

/* Words begin behind white space, '-' and opening brackets; unlike str.title, not behind "'". */
static tern_code f_title(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    tpl_val v;
    TERN_TRY(tern_tpl_to_str(rt, &a->self, &v));
    const char *p = v.u.s->p;
    size_t n = v.u.s->n, mark = rt->out.len;
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t first = tern_tpl_next_cp(p + i, n - i, &cp), end = i + first;
        if (tern_tpl_is_space(cp) || (cp < 0x80 && strchr("-({[<", (int)cp))) {
            TERN_TRY(tern_tpl_put(rt, p + i, first));
            i = end;
            continue;
        }
        while (end < n) {
            size_t len = tern_tpl_next_cp(p + end, n - end, &cp);
            if (tern_tpl_is_space(cp) || (cp < 0x80 && cp && strchr("-({[<", (int)cp)))
                break;
            end += len;
        }
        TERN_TRY(tern_tpl_put_case(rt, p + i, first, TPL_UPPER));
        TERN_TRY(tern_tpl_put_case(rt, p + i + first, end - i - first, TPL_LOWER));
        i = end;
    }
    return tern_tpl_take(rt, mark, out);
}

static tern_code f_trim(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    tpl_val v;
    const tpl_str *chars = NULL;
    TERN_TRY(tern_tpl_to_str(rt, &a->self, &v));
    if (a->p[0].type != TPL_MISSING && a->p[0].type != TPL_NONE) {
        TERN_TRY(tern_tpl_need_str(rt, &a->p[0], "trim"));
        chars = a->p[0].u.s;
    }
    return tern_tpl_strip(rt, &v, chars, true, true, out);
}

static tern_code f_string(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return tern_tpl_to_str(rt, &a->self, out);
}

static tern_code f_escape(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    tpl_val v;
    TERN_TRY(tern_tpl_to_str(rt, &a->self, &v));
    size_t mark = rt->out.len;
    if (v.safe)
        *out = v;
    else
        TERN_TRY(tern_tpl_put_escaped(rt, v.u.s->p, v.u.s->n));
    if (!v.safe)
        TERN_TRY(tern_tpl_take(rt, mark, out));
    out->safe = true;
    return TERN_OK;
}

static tern_code f_forceescape(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    tpl_args b = *a;
    b.self.safe = false;
    return f_escape(rt, &b, out);
}

static tern_code f_safe(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    TERN_TRY(tern_tpl_to_str(rt, &a->self, out));
    out->safe = true;
    return TERN_OK;
}

static tern_code f_replace(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    tpl_val s, old, with;
    int64_t count;
    TERN_TRY(tern_tpl_to_str(rt, &a->self, &s));
    TERN_TRY(tern_tpl_to_str(rt, &a->p[0], &old));
    TERN_TRY(tern_tpl_to_str(rt, &a->p[1], &with));
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[2], -1, &count));
    return tern_tpl_replace(rt, s.u.s, old.u.s, with.u.s, count, out);
}

static tern_code f_indent(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    tpl_val s = a->self, by, lines, nl;
    int64_t width;
    bool first = tern_tpl_arg_bool(&a->p[1], false), blank = tern_tpl_arg_bool(&a->p[2], false);
    if (s.type == TPL_UNDEF)
        return tern_tpl_undef_fail(rt, &s);
    TERN_TRY(tern_tpl_need_str(rt, &s, "indent"));
    TERN_TRY(tern_tpl_strz(rt, "", &by));
    if (a->p[0].type == TPL_STR) {
        by = a->p[0];
    } else {
        TERN_TRY(tern_tpl_arg_int(rt, &a->p[0], 4, &width));
        TERN_TRY(tern_tpl_pad(rt, &by, 0, width, NULL, &by));
    }
    TERN_TRY(tern_tpl_strz(rt, "\n", &nl)); /* so that an empty text has one line */
    TERN_TRY(tern_tpl_binary(rt, '+', &s, &nl, &s));
    TERN_TRY(tern_tpl_splitlines(rt, s.u.s, false, &lines));
    size_t mark = rt->out.len;
    for (size_t i = 0; i < lines.u.l->n; i++) {
        const tpl_str *l = lines.u.l->v[i].u.s;
        if (i)
            TERN_TRY(tern_tpl_put(rt, "\n", 1));
        if (i ? blank || l->n : first)
            TERN_TRY(tern_tpl_put(rt, by.u.s->p, by.u.s->n));
        TERN_TRY(tern_tpl_put(rt, l->p, l->n));
    }
    return tern_tpl_take(rt, mark, out);
}

static tern_code f_center(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    int64_t width;
    tpl_val s;
    TERN_TRY(tern_tpl_to_str(rt, &a->self, &s));
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[0], 80, &width));
    int64_t pad = width - (int64_t)s.u.s->cp;
    if (pad < 0)
        pad = 0;
    int64_t left = pad / 2 + (pad & width & 1);
    return tern_tpl_pad(rt, &s, left, pad - left, NULL, out);
}

static tern_code f_truncate(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    int64_t length, leeway;
    size_t n;
    tpl_val end, head;
    TERN_TRY(tern_tpl_length(rt, &a->self, &n));
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[0], 255, &length));
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[3], 5, &leeway));
    TERN_TRY(tern_tpl_strz(rt, "...", &end));
    if (a->p[2].type != TPL_MISSING)
        end = a->p[2];
    TERN_TRY(tern_tpl_need_str(rt, &end, "truncate"));
    if (length < (int64_t)end.u.s->cp || leeway < 0)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "truncate: bad length or leeway");
    *out = a->self;
    if (leeway >= (int64_t)n || (int64_t)n - leeway <= length)
        return TERN_OK;
    TERN_TRY(tern_tpl_need_str(rt, &a->self, "truncate"));
    const tpl_str *s = a->self.u.s;
    size_t keep = tern_tpl_cp_offset(s, (size_t)length - end.u.s->cp);
    if (!tern_tpl_arg_bool(&a->p[1], false)) {
        const char *sp = keep ? memrchr(s->p, ' ', keep) : NULL;
        if (sp)
            keep = (size_t)(sp - s->p);
    }
    TERN_TRY(tern_tpl_str(rt, s->p, keep, &head));
    return tern_tpl_binary(rt, '+', &head, &end, out);
}

static tern_code f_wordcount(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    tpl_val s;
    int64_t words = 0;
    bool in = false;
    TERN_TRY(tern_tpl_to_str(rt, &a->self, &s));
    TERN_TRY(tern_tpl_spend(rt, s.u.s->n));
    for (size_t i = 0; i < s.u.s->n;) {
        uint32_t cp;
        i += tern_tpl_next_cp(s.u.s->p + i, s.u.s->n - i, &cp);
        utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
        bool word = cp == '_' || (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) ||
                    (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO);
        words += word && !in;
        in = word;
    }
    *out = TPL_V_INT(words);
    return TERN_OK;
}

static tern_code f_format(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    tpl_val s, args;
    TERN_TRY(tern_tpl_to_str(rt, &a->self, &s));
    if (a->call->n_kw) {
        TERN_TRY(tern_tpl_dict(rt, TPL_DICT, &args));
        for (size_t i = 0; i < a->call->n_kw; i++)
            TERN_TRY(tern_tpl_dict_set(rt, args.u.d, a->call->kw_name[i], a->call->kw[i]));
        return tern_tpl_percent(rt, &s, &args, out);
    }
    TERN_TRY(tern_tpl_list(rt, TPL_TUPLE, a->call->n_pos, &args));
    for (size_t i = 0; i < a->call->n_pos; i++)
        args.u.l->v[i] = a->call->pos[i];
    return tern_tpl_percent(rt, &s, &args, out);
}

static tern_code json_separators(tpl_rt *rt, const tpl_val *v, tpl_json *how)
{
    if (v->type == TPL_MISSING || v->type == TPL_NONE)
        return TERN_OK;
    const tpl_val *items;
    size_t n;
    TERN_TRY(tern_tpl_items(rt, v, &items, &n));
    if (n != 2 || items[0].type != TPL_STR || items[1].type != TPL_STR)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "tojson: separators must be two strings");
    how->item_sep = items[0].u.s;
    how->key_sep = items[1].u.s;
    return TERN_OK;
}

static tern_code f_tojson(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    static const tpl_str comma = {", ", 2, 2}, bare = {",", 1, 1}, colon = {": ", 2, 2};
    tpl_val indent;
    int64_t width;
    tpl_json how = {.ascii = tern_tpl_arg_bool(&a->p[0], false),
                    .sort = tern_tpl_arg_bool(&a->p[3], false),
                    .item_sep = &comma,
                    .key_sep = &colon};
    if (a->p[1].type == TPL_STR) {
        how.indent = a->p[1].u.s;
    } else if (a->p[1].type != TPL_MISSING && a->p[1].type != TPL_NONE) {
        TERN_TRY(tern_tpl_arg_int(rt, &a->p[1], 0, &width));
        TERN_TRY(tern_tpl_strz(rt, "", &indent));
        TERN_TRY(tern_tpl_pad(rt, &indent, 0, width, NULL, &indent));
        how.indent = indent.u.s;
    }
    if (how.indent)
        how.item_sep = &bare;
    TERN_TRY(json_separators(rt, &a->p[2], &how));
    size_t mark = rt->out.len;
    TERN_TRY(tern_tpl_put_json(rt, &a->self, &how, 0));
    return tern_tpl_take(rt, mark, out);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static tern_code f_abs(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    int64_t i;
    if (a->self.type == TPL_FLOAT) {
        *out = TPL_V_F64(fabs(a->self.u.f));
        return TERN_OK;
    }
    if (a->self.type != TPL_INT && a->self.type != TPL_BOOL)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "bad operand type for abs(): '%s'",
                             tern_tpl_type_name(&a->self));
    TERN_TRY(tern_tpl_arg_int(rt, &a->self, 0, &i));
    if (i == INT64_MIN)
        return tern_tpl_fail(rt, TERN_E_LIMIT, "an integer passes 64 bits");
    *out = TPL_V_INT(i < 0 ? -i : i);
    return TERN_OK;
}

static bool is_blank(char c)
{
    return tern_tpl_is_space((uint32_t)(unsigned char)c) && (unsigned char)c < 0x80;
}

static void trimmed(const tpl_str *s, const char **p, size_t *n)
{
    *p = s->p;
    *n = s->n;
    while (*n && is_blank(**p)) {
        ++*p;
        --*n;
    }
    while (*n && is_blank((*p)[*n - 1]))
        --*n;
}

static bool str_to_int(const tpl_str *s, int64_t base, int64_t *out)
{
    const char *p;
    size_t n;
    trimmed(s, &p, &n);
    if (base != 0 && (base < 2 || base > 36))
        return false;
    char digits[80];
    size_t sign = n && (*p == '-' || *p == '+') ? 1 : 0;
    char mark = n > sign + 1 && p[sign] == '0' ? (char)(p[sign + 1] | 32) : 0;
    int64_t prefix = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (prefix && (base == 0 || base == prefix) && n > sign + 2) {
        size_t skip = sign + 2 + (p[sign + 2] == '_' ? 1 : 0);
        if (n - skip >= sizeof digits)
            return false;
        digits[0] = sign ? *p : '+';
        memcpy(digits + 1, p + skip, n - skip);
        return tern_tpl_read_int(digits, n - skip + 1, (int)prefix, out);
    }
    return tern_tpl_read_int(p, n, base ? (int)base : 10, out);
}

static tern_code float_to_int(tpl_rt *rt, double f, tpl_val *out)
{
    if (!(f > -9.3e18 && f < 9.2e18))
        return tern_tpl_fail(rt, TERN_E_LIMIT, "a number passes 64 bits");
    *out = TPL_V_INT((int64_t)f);
    return TERN_OK;
}

static tern_code f_int(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_val *v = &a->self;
    int64_t base, i;
    double f;
    *out = a->p[0].type == TPL_MISSING ? TPL_V_INT(0) : a->p[0];
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[1], 10, &base));
    if (v->type == TPL_UNDEF)
        return tern_tpl_undef_fail(rt, v);
    if (v->type == TPL_INT || v->type == TPL_BOOL) {
        TERN_TRY(tern_tpl_arg_int(rt, v, 0, &i));
        *out = TPL_V_INT(i);
    } else if (v->type == TPL_FLOAT) {
        return v->u.f != v->u.f ? TERN_OK : float_to_int(rt, v->u.f, out);
    } else if (v->type == TPL_STR) {
        const char *p;
        size_t n;
        trimmed(v->u.s, &p, &n);
        if (str_to_int(v->u.s, base, &i))
            *out = TPL_V_INT(i);
        else if (tern_tpl_read_float(p, n, &f) && f - f == 0)
            return float_to_int(rt, f, out);
    }
    return TERN_OK;
}

static tern_code f_float(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_val *v = &a->self;
    double f = 0;
    *out = a->p[0].type == TPL_MISSING ? TPL_V_F64(0) : a->p[0];
    if (v->type == TPL_UNDEF)
        return tern_tpl_undef_fail(rt, v);
    if (v->type == TPL_FLOAT) {
        *out = *v;
    } else if (v->type == TPL_INT || v->type == TPL_BOOL) {
        *out = TPL_V_F64(v->type == TPL_BOOL ? (double)v->u.b : (double)v->u.i);
    } else if (v->type == TPL_STR) {
        const char *p;
        size_t n;
        trimmed(v->u.s, &p, &n);
        if (tern_tpl_read_float(p, n, &f))
            *out = TPL_V_F64(f);
    }
    return TERN_OK;
}

#define ROUND_DIGITS 60 /* more changes no double a template would print */

static tern_code round_float(tpl_rt *rt, double x, int64_t digits, tpl_val *out)
{
    char b[400];
    double r = x;
    if (digits < 0 && x - x == 0) {
        double p = pow(10, digits < -400 ? 400 : (double)-digits);
        r = p - p == 0 ? nearbyint(x / p) * p : 0;
    } else if (digits <= ROUND_DIGITS && x - x == 0 && fabs(x) < 1e300) {
        int n = snprintf(b, sizeof b, "%.*f", (int)digits, x); /* rounds the exact value */
        if (n < 0 || (size_t)n >= sizeof b || !tern_tpl_read_float(b, (size_t)n, &r))
            return tern_tpl_fail(rt, TERN_E_INTERNAL, "round");
    }
    *out = TPL_V_F64(r);
    return TERN_OK;
}

static tern_code round_int(tpl_rt *rt, int64_t x, int64_t digits, tpl_val *out)
{
    int64_t p = 1, q, rem;
    *out = TPL_V_INT(x);
    if (digits >= 0)
        return TERN_OK;
    for (int64_t i = 0; i < -digits && i < 19; i++)
        p = i < 18 ? p * 10 : 0;
    if (p == 0) {
        *out = TPL_V_INT(0);
        return TERN_OK;
    }
    q = x / p;
    rem = x % p < 0 ? -(x % p) : x % p;
    if (rem > p - rem || (rem == p - rem && (q & 1)))
        q += x < 0 ? -1 : 1;
    if (__builtin_mul_overflow(q, p, &q))
        return tern_tpl_fail(rt, TERN_E_LIMIT, "an integer passes 64 bits");
    *out = TPL_V_INT(q);
    return TERN_OK;
}

static tern_code f_round(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    int64_t digits, i = 0;
    const tpl_val *v = &a->self, *how = &a->p[1];
    if (v->type == TPL_UNDEF)
        return tern_tpl_undef_fail(rt, v);
    if (v->type != TPL_FLOAT && v->type != TPL_INT && v->type != TPL_BOOL)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "round: '%s' is not a number",
                             tern_tpl_type_name(v));
    if (v->type != TPL_FLOAT)
        TERN_TRY(tern_tpl_arg_int(rt, v, 0, &i));
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[0], 0, &digits));
    bool up = tern_tpl_is(how, "ceil");
    if (up || tern_tpl_is(how, "floor")) {
        double p = pow(10, digits < -400 ? -400 : digits > 400 ? 400 : (double)digits);
        double x = (v->type == TPL_FLOAT ? v->u.f : (double)i) * p;
        if (x - x != 0)
            return tern_tpl_fail(rt, TERN_E_FORMAT, "round: the number is too large");
        *out = TPL_V_F64((up ? ceil(x) : floor(x)) / p);
        return TERN_OK;
    }
    if (how->type != TPL_MISSING && !tern_tpl_is(how, "common"))
        return tern_tpl_fail(rt, TERN_E_FORMAT, "round: method must be common, ceil or floor");
    return v->type == TPL_FLOAT ? round_float(rt, v->u.f, digits, out)
                                : round_int(rt, i, digits, out);
}

/* ---- any value ------------------------------------------------------------------------------- */

static tern_code f_default(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    bool use = a->self.type == TPL_UNDEF ||
               (tern_tpl_arg_bool(&a->p[1], false) && !tern_tpl_truthy(&a->self));
    if (!use) {
        *out = a->self;
        return TERN_OK;
    }
    if (a->p[0].type == TPL_MISSING)
        return tern_tpl_strz(rt, "", out);
    *out = a->p[0];
    return TERN_OK;
}

static tern_code f_attr(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    tpl_val name;
    TERN_TRY(tern_tpl_to_str(rt, &a->p[0], &name));
    if (a->self.type == TPL_DICT &&
        !tern_tpl_find(tern_tpl_dict_methods, name.u.s->p, name.u.s->n)) /* never an item */
        return tern_tpl_undef(rt, TPL_U_ATTR, name.u.s->p, name.u.s->n, "dict", out);
    return tern_tpl_attr(rt, &a->self, &name, out);
}

static tern_code f_length(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    size_t n;
    TERN_TRY(tern_tpl_length(rt, &a->self, &n));
    *out = TPL_V_INT((int64_t)n);
    return TERN_OK;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static tern_code yes(tpl_val *out, bool v)
{
    *out = TPL_V_BOOL(v);
    return TERN_OK;
}

#define TYPE_TEST(name, cond)                                                                      \
    static tern_code t_##name(tpl_rt *rt, const tpl_args *a, tpl_val *out)                         \
    {                                                                                              \
        const tpl_val *v = &a->self;                                                               \
        (void)rt;                                                                                  \
        return yes(out, cond);                                                                     \
    }
TYPE_TEST(defined, v->type != TPL_UNDEF)
TYPE_TEST(undefined, v->type == TPL_UNDEF)
TYPE_TEST(none, v->type == TPL_NONE)
TYPE_TEST(boolean, v->type == TPL_BOOL)
TYPE_TEST(false, v->type == TPL_BOOL && !v->u.b)
TYPE_TEST(true, v->type == TPL_BOOL && v->u.b)
TYPE_TEST(integer, v->type == TPL_INT)
TYPE_TEST(float, v->type == TPL_FLOAT)
TYPE_TEST(number, v->type == TPL_BOOL || v->type == TPL_INT || v->type == TPL_FLOAT)
TYPE_TEST(string, v->type == TPL_STR)
TYPE_TEST(mapping, v->type == TPL_DICT)
TYPE_TEST(escaped, v->type == TPL_STR && v->safe)
TYPE_TEST(sequence, v->type == TPL_UNDEF || v->type == TPL_STR || v->type == TPL_LIST ||
                        v->type == TPL_TUPLE || v->type == TPL_DICT || v->type == TPL_RANGE)
TYPE_TEST(iterable, v->type == TPL_UNDEF || v->type == TPL_LOOP ||
                        (v->type >= TPL_STR && v->type <= TPL_VIEW))
TYPE_TEST(callable, v->type == TPL_UNDEF || v->type == TPL_MACRO || v->type == TPL_FUNC ||
                        v->type == TPL_METHOD || v->type == TPL_JOINER || v->type == TPL_LOOP)

/* Names of filters and tests are looked up in dicts. */
static tern_code named(tpl_rt *rt, const tpl_val *v, bool filter, tpl_val *out)
{
    bool found = false;
    if (!tern_tpl_hashable(v))
        return tern_tpl_fail(rt, TERN_E_FORMAT, "unhashable type: '%s'", tern_tpl_type_name(v));
    if (v->type == TPL_STR)
        found = filter ? tern_tpl_find_filter(v->u.s->p, v->u.s->n) != NULL
                       : tern_tpl_find(tern_tpl_tests, v->u.s->p, v->u.s->n) != NULL;
    return yes(out, found);
}

static tern_code t_filter(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return named(rt, &a->self, true, out);
}

static tern_code t_test(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return named(rt, &a->self, false, out);
}

static tern_code is_case(tpl_rt *rt, const tpl_args *a, int want, tpl_val *out)
{
    tpl_val s;
    bool any = false, other = false;
    TERN_TRY(tern_tpl_to_str(rt, &a->self, &s));
    TERN_TRY(tern_tpl_spend(rt, s.u.s->n));
    for (size_t i = 0; i < s.u.s->n;) {
        uint32_t cp;
        i += tern_tpl_next_cp(s.u.s->p + i, s.u.s->n - i, &cp);
        int c = tern_tpl_cp_case(cp);
        any |= c == want;
        other |= c == -want;
    }
    return yes(out, any && !other);
}

static tern_code t_lower(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return is_case(rt, a, -1, out);
}

static tern_code t_upper(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return is_case(rt, a, 1, out);
}

static tern_code modulo_is(tpl_rt *rt, const tpl_val *v, tpl_val by, int64_t want, tpl_val *out)
{
    tpl_val r, w = TPL_V_INT(want);
    bool same;
    TERN_TRY(tern_tpl_binary(rt, '%', v, &by, &r));
    TERN_TRY(tern_tpl_equal(rt, &r, &w, &same));
    return yes(out, same);
}

static tern_code t_odd(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return modulo_is(rt, &a->self, TPL_V_INT(2), 1, out);
}

static tern_code t_even(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return modulo_is(rt, &a->self, TPL_V_INT(2), 0, out);
}

static tern_code t_divisibleby(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return modulo_is(rt, &a->self, a->p[0], 0, out);
}

static tern_code t_eq(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    bool same;
    TERN_TRY(tern_tpl_equal(rt, &a->self, &a->p[0], &same));
    return yes(out, same);
}

static tern_code t_ne(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    TERN_TRY(t_eq(rt, a, out));
    return yes(out, !out->u.b);
}

#define ORDER_TEST(name, text, cond)                                                               \
    static tern_code t_##name(tpl_rt *rt, const tpl_args *a, tpl_val *out)                         \
    {                                                                                              \
        int c;                                                                                     \
        TERN_TRY(tern_tpl_compare(rt, &a->self, &a->p[0], text, &c));                              \
        return yes(out, c != 2 && (cond));                                                         \
    }
ORDER_TEST(lt, "<", c < 0)
ORDER_TEST(le, "<=", c <= 0)
ORDER_TEST(gt, ">", c > 0)
ORDER_TEST(ge, ">=", c >= 0)

static tern_code t_in(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    bool found;
    TERN_TRY(tern_tpl_contains(rt, &a->p[0], &a->self, &found));
    return yes(out, found);
}

/* Identity: small constants are themselves, containers are where they are. */
static tern_code t_sameas(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_val *v = &a->self, *w = &a->p[0];
    bool same = v->type == w->type;
    if (same && v->type <= TPL_STR)
        TERN_TRY(tern_tpl_equal(rt, v, w, &same));
    else if (same)
        same = v->u.d == w->u.d;
    return yes(out, same);
}

/* ---- tables ---------------------------------------------------------------------------------- */

const tpl_builtin tern_tpl_filters[] = {
    {"abs", "", 0, f_abs},
    {"attr", "name", 1, f_attr},
    {"capitalize", "", 0, f_capitalize},
    {"center", "width", 0, f_center},
    {"count", "", 0, f_length},
    {"d", "default_value boolean", 0, f_default},
    {"default", "default_value boolean", 0, f_default},
    {"e", "", 0, f_escape},
    {"escape", "", 0, f_escape},
    {"float", "default", 0, f_float},
    {"forceescape", "", 0, f_forceescape},
    {"format", "*", 0, f_format},
    {"indent", "width first blank", 0, f_indent},
    {"int", "default base", 0, f_int},
    {"length", "", 0, f_length},
    {"lower", "", 0, f_lower},
    {"replace", "old new count", 2, f_replace},
    {"round", "precision method", 0, f_round},
    {"safe", "", 0, f_safe},
    {"string", "", 0, f_string},
    {"title", "", 0, f_title},
    {"tojson", "ensure_ascii indent separators sort_keys", 0, f_tojson},
    {"trim", "chars", 0, f_trim},
    {"truncate", "length killwords end leeway", 0, f_truncate},
    {"upper", "", 0, f_upper},
    {"wordcount", "", 0, f_wordcount},
    {NULL, NULL, 0, NULL},
};

const tpl_builtin tern_tpl_tests[] = {
    {"!=", "b", 1, t_ne},
    {"<", "b", 1, t_lt},
    {"<=", "b", 1, t_le},
    {"==", "b", 1, t_eq},
    {">", "b", 1, t_gt},
    {">=", "b", 1, t_ge},
    {"boolean", "", 0, t_boolean},
    {"callable", "", 0, t_callable},
    {"defined", "", 0, t_defined},
    {"divisibleby", "num", 1, t_divisibleby},
    {"eq", "b", 1, t_eq},
    {"equalto", "b", 1, t_eq},
    {"escaped", "", 0, t_escaped},
    {"even", "", 0, t_even},
    {"false", "", 0, t_false},
    {"filter", "", 0, t_filter},
    {"float", "", 0, t_float},
    {"ge", "b", 1, t_ge},
    {"greaterthan", "b", 1, t_gt},
    {"gt", "b", 1, t_gt},
    {"in", "seq", 1, t_in},
    {"integer", "", 0, t_integer},
    {"iterable", "", 0, t_iterable},
    {"le", "b", 1, t_le},
    {"lessthan", "b", 1, t_lt},
    {"lower", "", 0, t_lower},
    {"lt", "b", 1, t_lt},
    {"mapping", "", 0, t_mapping},
    {"ne", "b", 1, t_ne},
    {"none", "", 0, t_none},
    {"number", "", 0, t_number},
    {"odd", "", 0, t_odd},
    {"sameas", "other", 1, t_sameas},
    {"sequence", "", 0, t_sequence},
    {"string", "", 0, t_string},
    {"test", "", 0, t_test},
    {"true", "", 0, t_true},
    {"undefined", "", 0, t_undefined},
    {"upper", "", 0, t_upper},
    {NULL, NULL, 0, NULL},
};

const tpl_builtin *tern_tpl_find(const tpl_builtin *table, const char *name, size_t n)
{
    for (; table->name; table++) {
        if (strlen(table->name) == n && memcmp(table->name, name, n) == 0)
            return table;
    }
    return NULL;
}

const tpl_builtin *tern_tpl_find_filter(const char *name, size_t n)
{
    const tpl_builtin *f = tern_tpl_find(tern_tpl_filters, name, n);
    return f ? f : tern_tpl_find(tern_tpl_seq_filters, name, n);
}
