/* Formatting: the % operator, str.format, and strftime. */
#include "text/tpl.h"

#include <stdio.h>
#include <string.h>

#define MAX_WIDTH 100000

/* How one value is laid out, from either kind of format text. */
typedef struct layout {
    char fill[4];
    size_t n_fill;
    char align; /* '<', '>', '^', '=' (between sign and digits) or 0 */
    char sign;  /* '+', ' ' or 0 */
    bool alt, comma;
    int64_t width, precision; /* -1: not given */
    char type;                /* 0: by value */
} layout;

static tern_code put_times(tpl_rt *rt, const char *p, size_t n, int64_t times)
{
    for (int64_t i = 0; i < times; i++)
        TERN_TRY(tern_tpl_put(rt, p, n));
    return TERN_OK;
}

/* sign and body, padded. */
static tern_code put_padded(tpl_rt *rt, const layout *l, const char *sign, const char *p, size_t n,
                            char dflt)
{
    char align = l->align ? l->align : dflt;
    int64_t pad = l->width - (int64_t)strlen(sign) - (int64_t)tern_tpl_count_cp(p, n);
    int64_t left = align == '<' ? 0 : align == '^' ? pad / 2 : pad;
    if (align == '=')
        TERN_TRY(tern_tpl_putz(rt, sign));
    TERN_TRY(put_times(rt, l->fill, l->n_fill, left));
    if (align != '=')
        TERN_TRY(tern_tpl_putz(rt, sign));
    TERN_TRY(tern_tpl_put(rt, p, n));
    return put_times(rt, l->fill, l->n_fill, pad - (left > 0 ? left : 0));
}

static const char *sign_text(const layout *l, bool minus)
{
    return minus ? "-" : l->sign == '+' ? "+" : l->sign == ' ' ? " " : "";
}

/* Thousands: the digits before a point get commas. */
static size_t add_commas(char *b, size_t n, size_t cap)
{
    size_t whole = 0;
    while (whole < n && b[whole] >= '0' && b[whole] <= '9')
        whole++;
    for (size_t i = whole; i > 3 && n + 1 < cap; i -= 3) {
        memmove(b + i - 2, b + i - 3, n - i + 3);
        b[i - 3] = ',';
        n++;
    }
    return n;
}

static tern_code put_int(tpl_rt *rt, const layout *l, int64_t v)
{
    char b[128], sign[8];
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    size_t n = sizeof b;
    unsigned base = l->type == 'x' || l->type == 'X' ? 16
                    : l->type == 'o'                 ? 8
                    : l->type == 'b'                 ? 2
                                                     : 10;
    const char *digits = l->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    do {
        b[--n] = digits[u % base];
        u /= base;
    } while (u);
    (void)snprintf(sign, sizeof sign, "%s%s", sign_text(l, v < 0),
                   !l->alt || base == 10 ? ""
                   : l->type == 'x'      ? "0x"
                   : l->type == 'X'      ? "0X"
                   : base == 8           ? "0o"
                                         : "0b");
    size_t len = sizeof b - n;
    memmove(b, b + n, len);
    if (l->precision > (int64_t)len) { /* %-formatting: at least so many digits */
        size_t zeros = (size_t)l->precision - len;
        if (zeros > sizeof b - len)
            return tern_tpl_fail(rt, TERN_E_UNSUPPORTED, "format: precision over 128");
        memmove(b + zeros, b, len);
        memset(b, '0', zeros);
        len += zeros;
    }
    if (l->comma)
        len = add_commas(b, len, sizeof b);
    return put_padded(rt, l, sign, b, len, '>');
}

static tern_code put_double(tpl_rt *rt, const layout *l, double v)
{
    char b[640];
    int p = l->precision < 0 ? 6 : (int)l->precision;
    bool minus = v < 0 || (v == 0 && 1 / v < 0);
    double x = minus ? -v : v;
    int n = 0;
    if (p > 250)
        return tern_tpl_fail(rt, TERN_E_UNSUPPORTED, "format: precision over 250");
    switch (l->type) {
    case 'e':
        n = snprintf(b, sizeof b, "%.*e", p, x);
        break;
    case 'E':
        n = snprintf(b, sizeof b, "%.*E", p, x);
        break;
    case 'g':
        n = snprintf(b, sizeof b, "%.*g", p, x);
        break;
    case 'G':
        n = snprintf(b, sizeof b, "%.*G", p, x);
        break;
    case '%':
        n = snprintf(b, sizeof b, "%.*f%%", p, x * 100);
        break;
    default:
        n = snprintf(b, sizeof b, "%.*f", p, x);
        break;
    }
    if (n < 0 || (size_t)n >= sizeof b)
        return tern_tpl_fail(rt, TERN_E_INTERNAL, "format");
    size_t len = (size_t)n;
    if (l->comma)
        len = add_commas(b, len, sizeof b);
    return put_padded(rt, l, sign_text(l, minus), b, len, '>');
}

static tern_code put_text(tpl_rt *rt, const layout *l, const tpl_str *s, char dflt)
{
    size_t n = s->n;
    if (l->precision >= 0 && (uint64_t)l->precision < s->cp)
        n = tern_tpl_cp_offset(s, (size_t)l->precision);
    return put_padded(rt, l, "", s->p, n, dflt);
}

static tern_code read_width(tpl_rt *rt, const char **p, const char *end, int64_t *out)
{
    while (*p < end && **p >= '0' && **p <= '9') {
        *out = (*out < 0 ? 0 : *out) * 10 + (**p - '0');
        if (*out > MAX_WIDTH)
            return tern_tpl_fail(rt, TERN_E_LIMIT, "format: width over %d", MAX_WIDTH);
        ++*p;
    }
    return TERN_OK;
}

/* ---- the % operator -------------------------------------------------------------------------- */

typedef struct percent {
    const tpl_val *items; /* positional values */
    size_t n, used;
    const tpl_val *map; /* the dict, or NULL */
} percent;

static tern_code next_arg(tpl_rt *rt, percent *a, tpl_val *out)
{
    if (a->used >= a->n)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "not enough arguments for format string");
    *out = a->items[a->used++];
    return TERN_OK;
}

static tern_code named_arg(tpl_rt *rt, const percent *a, const char *p, size_t n, tpl_val *out)
{
    tpl_val key, *v;
    if (!a->map)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "format requires a mapping");
    TERN_TRY(tern_tpl_str(rt, p, n, &key));
    TERN_TRY(tern_tpl_dict_get(rt, a->map->u.d, key, &v));
    if (!v)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "format: key '%.*s' is missing",
                             tern_tpl_cut(p, n, 60), p);
    *out = *v;
    return TERN_OK;
}

static void percent_flags(const char **p, const char *end, layout *l)
{
    for (; *p < end && **p && strchr("-+ 0#", **p); ++*p) {
        if (**p == '-')
            l->align = '<';
        else if (**p == '+' || (**p == ' ' && l->sign != '+'))
            l->sign = **p;
        else if (**p == '#')
            l->alt = true;
        else if (**p == '0')
            l->fill[0] = '0';
    }
    if (l->align == '<')
        l->fill[0] = ' ';
    else if (l->fill[0] == '0')
        l->align = '=';
}

static tern_code put_percent(tpl_rt *rt, layout *l, tpl_val v)
{
    bool integer = strchr("diuxXoc", l->type) != NULL, is_float = strchr("eEfFgG", l->type) != NULL;
    bool number = v.type == TPL_INT || v.type == TPL_BOOL || v.type == TPL_FLOAT;
    if (l->type == 's' || l->type == 'r' || l->type == 'a') {
        size_t mark = rt->out.len;
        l->fill[0] = ' ';
        l->align = l->align == '=' ? '>' : l->align;
        TERN_TRY(l->type == 's' ? tern_tpl_put_str(rt, &v) : tern_tpl_put_repr(rt, &v));
        TERN_TRY(tern_tpl_take(rt, mark, &v));
        return put_text(rt, l, v.u.s, '>');
    }
    if (l->type == 'c' || l->type == 'a' || (!integer && !is_float))
        return tern_tpl_fail(rt, TERN_E_UNSUPPORTED, "format: %%%c is not supported", l->type);
    if (!number)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "%%%c format: a number is required, not %s",
                             l->type, tern_tpl_type_name(&v));
    double f = v.type == TPL_FLOAT ? v.u.f : v.type == TPL_BOOL ? v.u.b : (double)v.u.i;
    if (is_float)
        return put_double(rt, l, f);
    if (v.type == TPL_FLOAT && !(f > -9.2e18 && f < 9.2e18))
        return tern_tpl_fail(rt, TERN_E_LIMIT, "format: an integer passes 64 bits");
    return put_int(rt, l, v.type == TPL_FLOAT ? (int64_t)f : v.type == TPL_BOOL ? v.u.b : v.u.i);
}

/* One conversion behind its '%'. */
static tern_code percent_one(tpl_rt *rt, percent *a, const char **p, const char *end)
{
    layout l = {.fill = " ", .n_fill = 1, .width = -1, .precision = -1};
    tpl_val v = {.type = TPL_MISSING};
    if (*p < end && **p == '(') {
        const char *close = memchr(*p, ')', (size_t)(end - *p));
        if (!close)
            return tern_tpl_fail(rt, TERN_E_FORMAT, "format: incomplete key");
        TERN_TRY(named_arg(rt, a, *p + 1, (size_t)(close - *p - 1), &v));
        *p = close + 1;
    }
    percent_flags(p, end, &l);
    if (*p < end && **p == '*')
        return tern_tpl_fail(rt, TERN_E_UNSUPPORTED, "format: '*' is not supported");
    TERN_TRY(read_width(rt, p, end, &l.width));
    if (*p < end && **p == '.') {
        ++*p;
        l.precision = 0;
        TERN_TRY(read_width(rt, p, end, &l.precision));
    }
    while (*p < end && (**p == 'h' || **p == 'l' || **p == 'L'))
        ++*p;
    if (*p >= end || !**p)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "incomplete format");
    l.type = *(*p)++;
    if (l.type == '%')
        return tern_tpl_put(rt, "%", 1);
    if (v.type == TPL_MISSING)
        TERN_TRY(next_arg(rt, a, &v));
    return put_percent(rt, &l, v);
}

tern_code tern_tpl_percent(tpl_rt *rt, const tpl_val *fmt, const tpl_val *args, tpl_val *out)
{
    const char *p = fmt->u.s->p, *end = p + fmt->u.s->n;
    percent a = {.items = args, .n = 1};
    size_t mark = rt->out.len;
    if (args->type == TPL_TUPLE)
        TERN_TRY(tern_tpl_items(rt, args, &a.items, &a.n));
    if (args->type == TPL_DICT)
        a.map = args;
    while (p < end) {
        const char *at = memchr(p, '%', (size_t)(end - p));
        TERN_TRY(tern_tpl_put(rt, p, (size_t)((at ? at : end) - p)));
        if (!at)
            break;
        p = at + 1;
        TERN_TRY(percent_one(rt, &a, &p, end));
    }
    bool spare = args->type == TPL_LIST || args->type == TPL_DICT; /* may go unused */
    if (a.used < a.n && !spare)
        return tern_tpl_fail(rt, TERN_E_FORMAT,
                             "not all arguments converted during string formatting");
    TERN_TRY(tern_tpl_take(rt, mark, out));
    out->safe = fmt->safe;
    return TERN_OK;
}

/* ---- str.format ------------------------------------------------------------------------------ */

static tern_code read_spec(tpl_rt *rt, const char *p, const char *end, layout *l)
{
    uint32_t cp;
    size_t first = p < end ? tern_tpl_next_cp(p, (size_t)(end - p), &cp) : 0;
    if (first && p + first < end && p[first] && strchr("<>^=", p[first])) {
        memcpy(l->fill, p, first);
        l->n_fill = first;
        l->align = p[first];
        p += first + 1;
    } else if (first && *p && strchr("<>^=", *p)) {
        l->align = *p++;
    }
    if (p < end && (*p == '+' || *p == '-' || *p == ' '))
        l->sign = *p++;
    if (p < end && *p == '#') {
        l->alt = true;
        p++;
    }
    if (p < end && *p == '0' && !l->align) {
        l->fill[0] = '0';
        l->n_fill = 1;
        l->align = '=';
    }
    TERN_TRY(read_width(rt, &p, end, &l->width));
    if (p < end && *p == ',') {
        l->comma = true;
        p++;
    }
    if (p < end && *p == '.') {
        p++;
        TERN_TRY(read_width(rt, &p, end, &l->precision));
    }
    if (p < end)
        l->type = *p++;
    if (p != end)
        return tern_tpl_fail(rt, TERN_E_UNSUPPORTED, "format: this specification is not supported");
    return TERN_OK;
}

static tern_code put_field(tpl_rt *rt, const tpl_val *v, const char *spec, const char *end)
{
    layout l = {.fill = " ", .n_fill = 1, .width = -1, .precision = -1};
    if (spec == end)
        return tern_tpl_put_str(rt, v);
    TERN_TRY(read_spec(rt, spec, end, &l));
    bool integer = v->type == TPL_INT || v->type == TPL_BOOL;
    bool float_type = l.type && strchr("eEfFgG%", l.type);
    if (v->type == TPL_STR && (!l.type || l.type == 's') && l.align != '=')
        return put_text(rt, &l, v->u.s, '<');
    if ((integer || v->type == TPL_FLOAT) && float_type)
        return put_double(rt, &l, v->type == TPL_FLOAT ? v->u.f : (double)v->u.i);
    if (v->type == TPL_INT && l.precision < 0 && (!l.type || strchr("dxXob", l.type)) &&
        !(l.comma && l.align == '='))
        return put_int(rt, &l, v->u.i);
    return tern_tpl_fail(rt, TERN_E_UNSUPPORTED,
                         "format: this specification for '%s' is not supported",
                         tern_tpl_type_name(v));
}

typedef struct fields {
    const tpl_call *call;
    size_t next; /* of "{}" */
    bool automatic, by_number;
} fields;

static tern_code first_value(tpl_rt *rt, fields *f, const char *p, size_t n, tpl_val *out)
{
    int64_t i = -1;
    bool number = n && p[0] >= '0' && p[0] <= '9' && tern_tpl_read_int(p, n, 10, &i);
    if (n == 0) {
        i = (int64_t)f->next++;
        f->automatic = true;
    }
    f->by_number |= number;
    if (f->automatic && f->by_number)
        return tern_tpl_fail(rt, TERN_E_FORMAT,
                             "format: numbered and unnumbered fields cannot be mixed");
    if (i >= 0) {
        if ((uint64_t)i >= f->call->n_pos)
            return tern_tpl_fail(rt, TERN_E_FORMAT, "format: replacement index out of range");
        *out = f->call->pos[i];
        return TERN_OK;
    }
    for (size_t k = 0; k < f->call->n_kw; k++) {
        const tpl_str *s = f->call->kw_name[k].u.s;
        if (s->n == n && memcmp(s->p, p, n) == 0) {
            *out = f->call->kw[k];
            return TERN_OK;
        }
    }
    return tern_tpl_fail(rt, TERN_E_FORMAT, "format: '%.*s' was not given", tern_tpl_cut(p, n, 60),
                         p);
}

/* "name.attr[index]" */
static tern_code field_value(tpl_rt *rt, fields *f, const char *p, const char *end, tpl_val *out)
{
    size_t n = 0;
    while (p + n < end && p[n] != '.' && p[n] != '[')
        n++;
    TERN_TRY(first_value(rt, f, p, n, out));
    p += n;
    while (p < end) {
        bool attr = *p++ == '.';
        const char *stop = p;
        while (stop < end && (attr ? *stop != '.' && *stop != '[' : *stop != ']'))
            stop++;
        tpl_val key;
        int64_t i;
        n = (size_t)(stop - p);
        if (n == 0 || (!attr && stop == end))
            return tern_tpl_fail(rt, TERN_E_FORMAT, "format: malformed field");
        TERN_TRY(tern_tpl_str(rt, p, n, &key));
        if (!attr && *p >= '0' && *p <= '9' && tern_tpl_read_int(p, n, 10, &i))
            key = TPL_V_INT(i);
        TERN_TRY((attr ? tern_tpl_attr : tern_tpl_item)(rt, out, &key, out));
        p = attr ? stop : stop + 1;
    }
    return TERN_OK;
}

static tern_code format_one(tpl_rt *rt, fields *f, const char *p, const char *end)
{
    const char *spec = memchr(p, ':', (size_t)(end - p)), *name_end = spec ? spec : end;
    const char *bang = memchr(p, '!', (size_t)(name_end - p));
    tpl_val v;
    if (spec && memchr(spec, '{', (size_t)(end - spec)))
        return tern_tpl_fail(rt, TERN_E_UNSUPPORTED, "format: nested fields are not supported");
    TERN_TRY(field_value(rt, f, p, bang ? bang : name_end, &v));
    if (bang) {
        size_t mark = rt->out.len;
        if (name_end - bang != 2 || (bang[1] != 'r' && bang[1] != 's'))
            return tern_tpl_fail(rt, TERN_E_UNSUPPORTED,
                                 "format: this conversion is not supported");
        TERN_TRY(bang[1] == 'r' ? tern_tpl_put_repr(rt, &v) : tern_tpl_put_str(rt, &v));
        TERN_TRY(tern_tpl_take(rt, mark, &v));
    }
    return put_field(rt, &v, spec ? spec + 1 : end, end);
}

tern_code tern_tpl_format(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const char *p = a->self.u.s->p, *end = p + a->self.u.s->n;
    fields f = {.call = a->call};
    size_t mark = rt->out.len;
    if (a->self.safe)
        return tern_tpl_fail(rt, TERN_E_UNSUPPORTED, "format of a safe string is not supported");
    for (; p < end; p++) {
        if (*p != '{' && *p != '}') {
            TERN_TRY(tern_tpl_put(rt, p, 1));
        } else if (p + 1 < end && p[1] == *p) {
            TERN_TRY(tern_tpl_put(rt, p++, 1));
        } else {
            const char *close = memchr(p, '}', (size_t)(end - p));
            if (*p == '}' || !close)
                return tern_tpl_fail(rt, TERN_E_FORMAT, "format: single '%c' in format string", *p);
            TERN_TRY(format_one(rt, &f, p + 1, close));
            p = close;
        }
    }
    return tern_tpl_take(rt, mark, out);
}

/* ---- strftime -------------------------------------------------------------------------------- */

typedef struct moment {
    int64_t year;
    int month, day, yday, wday, hour, minute, second; /* month, yday, wday from 0; Sunday is 0 */
} moment;

/* Days since 1970-01-01 to the Gregorian calendar, by eras of 400 years that begin in March. */
static moment moment_of(int64_t now)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t days = now / 86400 - (now % 86400 < 0), sec = now - days * 86400;
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    moment m = {.day = (int)(doy - (153 * mp + 2) / 5 + 1),
                .month = (int)(mp < 10 ? mp + 2 : mp - 10),
                .wday = (int)(((days + 4) % 7 + 7) % 7),
                .hour = (int)(sec / 3600),
                .minute = (int)(sec / 60 % 60),
                .second = (int)(sec % 60)};
    m.year = yoe + era * 400 + (m.month < 2);
    bool leap = (m.year % 4 == 0 && m.year % 100 != 0) || m.year % 400 == 0;
    m.yday = before[m.month] + m.day - 1 + (leap && m.month > 1);
    return m;
}

static tern_code put_number(tpl_rt *rt, int64_t v, int width, char pad, char flag)
{
    char b[32];
    if (flag == '-')
        (void)snprintf(b, sizeof b, "%" PRId64, v);
    else if (flag == '_' || (pad == ' ' && flag != '0'))
        (void)snprintf(b, sizeof b, "%*" PRId64, width, v);
    else
        (void)snprintf(b, sizeof b, "%0*" PRId64, width, v);
    return tern_tpl_putz(rt, b);
}

static tern_code put_name(tpl_rt *rt, const char *name, size_t n, char flag)
{
    return flag == '^' ? tern_tpl_put_case(rt, name, n, TPL_UPPER) : tern_tpl_put(rt, name, n);
}

static tern_code put_directive(tpl_rt *rt, const moment *m, char c, char flag)
{
    static const char *const months[] = {"January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December"};
    static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};
    int h12 = m->hour % 12 ? m->hour % 12 : 12;
    switch (c) {
    case 'a':
        return put_name(rt, days[m->wday], 3, flag);
    case 'A':
        return put_name(rt, days[m->wday], strlen(days[m->wday]), flag);
    case 'b':
    case 'h':
        return put_name(rt, months[m->month], 3, flag);
    case 'B':
        return put_name(rt, months[m->month], strlen(months[m->month]), flag);
    case 'c':
        return tern_tpl_put_time(rt, "%a %b %e %H:%M:%S %Y", 20);
    case 'd':
        return put_number(rt, m->day, 2, '0', flag);
    case 'D':
    case 'x':
        return tern_tpl_put_time(rt, "%m/%d/%y", 8);
    case 'e':
        return put_number(rt, m->day, 2, ' ', flag);
    case 'f':
        return tern_tpl_put(rt, "000000", 6);
    case 'F':
        return tern_tpl_put_time(rt, "%Y-%m-%d", 8);
    case 'H':
        return put_number(rt, m->hour, 2, '0', flag);
    case 'I':
        return put_number(rt, h12, 2, '0', flag);
    case 'j':
        return put_number(rt, m->yday + 1, 3, '0', flag);
    case 'm':
        return put_number(rt, m->month + 1, 2, '0', flag);
    case 'M':
        return put_number(rt, m->minute, 2, '0', flag);
    case 'p':
        return tern_tpl_put(rt, m->hour < 12 ? "AM" : "PM", 2);
    case 'R':
        return tern_tpl_put_time(rt, "%H:%M", 5);
    case 'S':
        return put_number(rt, m->second, 2, '0', flag);
    case 'T':
    case 'X':
        return tern_tpl_put_time(rt, "%H:%M:%S", 8);
    case 'u':
        return put_number(rt, m->wday ? m->wday : 7, 1, '0', flag);
    case 'U':
        return put_number(rt, (m->yday + 7 - m->wday) / 7, 2, '0', flag);
    case 'w':
        return put_number(rt, m->wday, 1, '0', flag);
    case 'W':
        return put_number(rt, (m->yday + 7 - (m->wday + 6) % 7) / 7, 2, '0', flag);
    case 'y':
        return put_number(rt, m->year % 100, 2, '0', flag);
    case 'Y':
        return put_number(rt, m->year, 1, '0', flag);
    case 'z':
    case 'Z': /* Python's clock without a zone prints nothing */
        return TERN_OK;
    case 'n':
        return tern_tpl_put(rt, "\n", 1);
    case 't':
        return tern_tpl_put(rt, "\t", 1);
    case '%':
        return tern_tpl_put(rt, "%", 1);
    default:
        return tern_tpl_fail(rt, TERN_E_UNSUPPORTED, "strftime_now: %%%c is not supported",
                             c >= ' ' && c < 127 ? c : '?');
    }
}

tern_code tern_tpl_put_time(tpl_rt *rt, const char *fmt, size_t n)
{
    if (rt->now < -62135596800 || rt->now > 253402300799) /* years 1 to 9999 */
        return tern_tpl_fail(rt, TERN_E_LIMIT, "strftime_now: the clock is out of range");
    moment m = moment_of(rt->now);
    for (size_t i = 0; i < n; i++) {
        if (fmt[i] != '%') {
            TERN_TRY(tern_tpl_put(rt, fmt + i, 1));
            continue;
        }
        char flag = i + 1 < n && fmt[i + 1] && strchr("-_0^", fmt[i + 1]) ? fmt[++i] : 0;
        if (++i >= n)
            return tern_tpl_fail(rt, TERN_E_FORMAT, "strftime_now: incomplete format");
        TERN_TRY(put_directive(rt, &m, fmt[i], flag));
    }
    return TERN_OK;
}
