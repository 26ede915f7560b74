/* Methods of strings, lists, dicts and cyclers, as Python has them. Those that would change their
 * object are refused by the sandbox. */
#include "text/tpl.h"

#include <string.h>
#include <utf8proc.h>

static bool word_in(const char *const *words, const char *name, size_t n)
{
    for (; *words; words++) {
        if (strlen(*words) == n && memcmp(*words, name, n) == 0)
            return true;
    }
    return false;
}

bool tern_tpl_method_is_unsupported(const char *name, size_t n)
{
    static const char *const words[] = {
        "encode",      "decode",     "translate", "maketrans",        "format_map", "isidentifier",
        "isprintable", "expandtabs", "fromkeys",  "bit_length",       "to_bytes",   "from_bytes",
        "is_integer",  "istitle",    "hex",       "as_integer_ratio", "conjugate",  NULL};
    return word_in(words, name, n);
}

bool tern_tpl_method_is_unsafe(tpl_type type, const char *name, size_t n)
{
    static const char *const list[] = {"append", "clear",  "pop",    "reverse", "insert",
                                       "sort",   "extend", "remove", NULL};
    static const char *const dict[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    return (type == TPL_LIST && word_in(list, name, n)) ||
           (type == TPL_DICT && word_in(dict, name, n));
}

static bool given(const tpl_val *v)
{
    return v->type != TPL_MISSING && v->type != TPL_NONE;
}

/* ---- shared with filters --------------------------------------------------------------------- */

static bool strips(uint32_t cp, const tpl_str *chars)
{
    if (!chars)
        return tern_tpl_is_space(cp);
    for (size_t i = 0; i < chars->n;) {
        uint32_t c;
        i += tern_tpl_next_cp(chars->p + i, chars->n - i, &c);
        if (c == cp)
            return true;
    }
    return false;
}

tern_code tern_tpl_strip(tpl_rt *rt, const tpl_val *s, const tpl_str *chars, bool left, bool right,
                         tpl_val *out)
{
    const char *p = s->u.s->p;
    size_t b = 0, e = s->u.s->n;
    uint32_t cp;
    while (left && b < e) {
        size_t len = tern_tpl_next_cp(p + b, e - b, &cp);
        TERN_TRY(tern_tpl_owe(rt, chars ? chars->n : 0));
        if (!strips(cp, chars))
            break;
        b += len;
    }
    while (right && e > b) {
        size_t k = e - 1;
        while (k > b && ((unsigned char)p[k] & 0xc0) == 0x80)
            k--;
        (void)tern_tpl_next_cp(p + k, e - k, &cp);
        TERN_TRY(tern_tpl_owe(rt, chars ? chars->n : 0));
        if (!strips(cp, chars))
            break;
        e = k;
    }
    TERN_TRY(tern_tpl_str(rt, p + b, e - b, out));
    out->safe = s->safe;
    return TERN_OK;
}

tern_code tern_tpl_replace(tpl_rt *rt, const tpl_str *s, const tpl_str *old, const tpl_str *with,
                           int64_t count, tpl_val *out)
{
    size_t mark = rt->out.len, at = 0;
    for (int64_t i = 0; i != count; i++) {
        const char *hit = old->n && at < s->n ? memmem(s->p + at, s->n - at, old->p, old->n) : NULL;
        size_t skip = hit ? (size_t)(hit - (s->p + at)) : 0;
        if (!old->n) { /* before every character and at the end */
            uint32_t cp;
            TERN_TRY(tern_tpl_put(rt, with->p, with->n));
            if (at >= s->n)
                break;
            size_t len = tern_tpl_next_cp(s->p + at, s->n - at, &cp);
            TERN_TRY(tern_tpl_put(rt, s->p + at, len));
            at += len;
            continue;
        }
        if (!hit)
            break;
        TERN_TRY(tern_tpl_put(rt, s->p + at, skip));
        TERN_TRY(tern_tpl_put(rt, with->p, with->n));
        at += skip + old->n;
    }
    TERN_TRY(tern_tpl_put(rt, s->p + at, s->n - at));
    return tern_tpl_take(rt, mark, out);
}

tern_code tern_tpl_pad(tpl_rt *rt, const tpl_val *s, int64_t left, int64_t right,
                       const tpl_str *fill, tpl_val *out)
{
    static const tpl_str space = {" ", 1, 1};
    size_t mark = rt->out.len;
    const tpl_str *f = fill ? fill : &space;
    for (int64_t i = 0; i < left; i++)
        TERN_TRY(tern_tpl_put(rt, f->p, f->n));
    TERN_TRY(tern_tpl_put(rt, s->u.s->p, s->u.s->n));
    for (int64_t i = 0; i < right; i++)
        TERN_TRY(tern_tpl_put(rt, f->p, f->n));
    TERN_TRY(tern_tpl_take(rt, mark, out));
    out->safe = s->safe;
    return TERN_OK;
}

/* ---- lists of pieces ------------------------------------------------------------------------- */

typedef struct pieces {
    tpl_val *v;
    size_t n, cap;
} pieces;

static tern_code piece(tpl_rt *rt, pieces *l, const char *p, size_t n, bool safe)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        tpl_val *v = tern_tpl_alloc(rt, cap, sizeof *v);
        if (!v)
            return rt->code;
        if (l->n)
            memcpy(v, l->v, l->n * sizeof *v);
        l->v = v;
        l->cap = cap;
    }
    TERN_TRY(tern_tpl_str(rt, p, n, &l->v[l->n]));
    l->v[l->n++].safe = safe;
    return TERN_OK;
}

static tern_code pieces_done(tpl_rt *rt, const pieces *l, bool reversed, tpl_val *out)
{
    TERN_TRY(tern_tpl_list(rt, TPL_LIST, l->n, out));
    for (size_t i = 0; i < l->n; i++)
        out->u.l->v[i] = l->v[reversed ? l->n - 1 - i : i];
    return TERN_OK;
}

static bool line_end(uint32_t cp)
{
    return (cp >= 10 && cp <= 13) || (cp >= 0x1c && cp <= 0x1e) || cp == 0x85 || cp == 0x2028 ||
           cp == 0x2029;
}

tern_code tern_tpl_splitlines(tpl_rt *rt, const tpl_str *s, bool keep, tpl_val *out)
{
    pieces l = {0};
    size_t begin = 0;
    for (size_t i = 0; i < s->n;) {
        uint32_t cp;
        size_t at = i;
        i += tern_tpl_next_cp(s->p + i, s->n - i, &cp);
        if (!line_end(cp))
            continue;
        if (cp == '\r' && i < s->n && s->p[i] == '\n')
            i++;
        TERN_TRY(piece(rt, &l, s->p + begin, (keep ? i : at) - begin, false));
        begin = i;
    }
    if (begin < s->n)
        TERN_TRY(piece(rt, &l, s->p + begin, s->n - begin, false));
    return pieces_done(rt, &l, false, out);
}

static tern_code split_space(tpl_rt *rt, const tpl_val *v, int64_t max, pieces *l)
{
    const tpl_str *s = v->u.s;
    uint32_t cp;
    for (size_t i = 0; i < s->n;) {
        size_t len = tern_tpl_next_cp(s->p + i, s->n - i, &cp);
        if (tern_tpl_is_space(cp)) {
            i += len;
            continue;
        }
        size_t end = i;
        if (max >= 0 && (int64_t)l->n >= max) /* the rest as it is */
            return piece(rt, l, s->p + i, s->n - i, v->safe);
        while (end < s->n) {
            len = tern_tpl_next_cp(s->p + end, s->n - end, &cp);
            if (tern_tpl_is_space(cp))
                break;
            end += len;
        }
        TERN_TRY(piece(rt, l, s->p + i, end - i, v->safe));
        i = end;
    }
    return TERN_OK;
}

static size_t space_before(const tpl_str *s, size_t end, bool want)
{
    while (end > 0) {
        size_t k = end - 1;
        uint32_t cp;
        while (k > 0 && ((unsigned char)s->p[k] & 0xc0) == 0x80)
            k--;
        (void)tern_tpl_next_cp(s->p + k, end - k, &cp);
        if (tern_tpl_is_space(cp) != want)
            break;
        end = k;
    }
    return end;
}

static tern_code rsplit_space(tpl_rt *rt, const tpl_val *v, int64_t max, pieces *l)
{
    const tpl_str *s = v->u.s;
    for (size_t end = space_before(s, s->n, true); end > 0;) {
        size_t begin = space_before(s, end, false);
        if (max >= 0 && (int64_t)l->n >= max)
            return piece(rt, l, s->p, end, v->safe);
        TERN_TRY(piece(rt, l, s->p + begin, end - begin, v->safe));
        end = space_before(s, begin, true);
    }
    return TERN_OK;
}

/* The last place of sub in p[0..n); *hit is NULL if there is none. */
static tern_code find_last(tpl_rt *rt, const char *p, size_t n, const tpl_str *sub,
                           const char **hit)
{
    *hit = NULL;
    for (size_t end = n >= sub->n ? n - sub->n + 1 : 0; end > 0 && !*hit;) {
        const char *at = memrchr(p, sub->p[0], end);
        if (!at)
            break;
        TERN_TRY(tern_tpl_owe(rt, sub->n));
        if (memcmp(at, sub->p, sub->n) == 0)
            *hit = at;
        end = (size_t)(at - p);
    }
    return TERN_OK;
}

static tern_code split_by(tpl_rt *rt, const tpl_val *v, const tpl_str *sep, int64_t max, bool right,
                          pieces *l)
{
    const char *p = v->u.s->p;
    size_t n = v->u.s->n;
    while (n && (max < 0 || (int64_t)l->n < max)) {
        const char *hit = NULL;
        if (right)
            TERN_TRY(find_last(rt, p, n, sep, &hit));
        else
            hit = memmem(p, n, sep->p, sep->n);
        if (!hit)
            break;
        size_t before = (size_t)(hit - p), behind = before + sep->n;
        if (right) {
            TERN_TRY(piece(rt, l, p + behind, n - behind, v->safe));
            n = before;
        } else {
            TERN_TRY(piece(rt, l, p, before, v->safe));
            p += behind;
            n -= behind;
        }
    }
    return piece(rt, l, p, n, v->safe);
}

static tern_code split(tpl_rt *rt, const tpl_args *a, bool right, tpl_val *out)
{
    pieces l = {0};
    int64_t max;
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[1], -1, &max));
    TERN_TRY(tern_tpl_spend(rt, a->self.u.s->n));
    if (!given(&a->p[0])) {
        TERN_TRY((right ? rsplit_space : split_space)(rt, &a->self, max, &l));
    } else {
        TERN_TRY(tern_tpl_need_str(rt, &a->p[0], "split"));
        if (a->p[0].u.s->n == 0)
            return tern_tpl_fail(rt, TERN_E_FORMAT, "split: empty separator");
        TERN_TRY(split_by(rt, &a->self, a->p[0].u.s, max, right, &l));
    }
    return pieces_done(rt, &l, right, out);
}

static tern_code m_split(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return split(rt, a, false, out);
}

static tern_code m_rsplit(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return split(rt, a, true, out);
}

static tern_code m_splitlines(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return tern_tpl_splitlines(rt, a->self.u.s, tern_tpl_arg_bool(&a->p[0], false), out);
}

static tern_code partition(tpl_rt *rt, const tpl_args *a, bool right, tpl_val *out)
{
    const tpl_str *s = a->self.u.s, *sep;
    TERN_TRY(tern_tpl_need_str(rt, &a->p[0], "partition"));
    sep = a->p[0].u.s;
    if (sep->n == 0)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "partition: empty separator");
    const char *hit = NULL;
    TERN_TRY(tern_tpl_spend(rt, s->n));
    if (right)
        TERN_TRY(find_last(rt, s->p, s->n, sep, &hit));
    else if (s->n)
        hit = memmem(s->p, s->n, sep->p, sep->n);
    TERN_TRY(tern_tpl_list(rt, TPL_TUPLE, 3, out));
    tpl_val *v = out->u.l->v;
    if (!hit) {
        for (int i = 0; i < 3; i++)
            TERN_TRY(tern_tpl_strz(rt, "", &v[i]));
        v[right ? 2 : 0] = a->self;
        return TERN_OK;
    }
    size_t before = (size_t)(hit - s->p);
    TERN_TRY(tern_tpl_str(rt, s->p, before, &v[0]));
    v[1] = a->p[0];
    return tern_tpl_str(rt, hit + sep->n, s->n - before - sep->n, &v[2]);
}

static tern_code m_partition(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return partition(rt, a, false, out);
}

static tern_code m_rpartition(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return partition(rt, a, true, out);
}

static tern_code m_join(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_val *v;
    size_t n, mark = rt->out.len;
    TERN_TRY(tern_tpl_items(rt, &a->p[0], &v, &n));
    for (size_t i = 0; i < n; i++) {
        if (v[i].type != TPL_STR)
            return tern_tpl_fail(rt, TERN_E_FORMAT, "join: item %zu is '%s', expected a string", i,
                                 tern_tpl_type_name(&v[i]));
        if (i)
            TERN_TRY(tern_tpl_put(rt, a->self.u.s->p, a->self.u.s->n));
        if (a->self.safe && !v[i].safe)
            TERN_TRY(tern_tpl_put_escaped(rt, v[i].u.s->p, v[i].u.s->n));
        else
            TERN_TRY(tern_tpl_put(rt, v[i].u.s->p, v[i].u.s->n));
    }
    TERN_TRY(tern_tpl_take(rt, mark, out));
    out->safe = a->self.safe;
    return TERN_OK;
}

/* ---- case, ends, padding --------------------------------------------------------------------- */

static tern_code with_case(tpl_rt *rt, const tpl_args *a, tpl_case how, tpl_val *out)
{
    size_t mark = rt->out.len;
    TERN_TRY(tern_tpl_put_case(rt, a->self.u.s->p, a->self.u.s->n, how));
    TERN_TRY(tern_tpl_take(rt, mark, out));
    out->safe = a->self.safe;
    return TERN_OK;
}

#define CASE_METHOD(name, how)                                                                     \
    static tern_code m_##name(tpl_rt *rt, const tpl_args *a, tpl_val *out)                         \
    {                                                                                              \
        return with_case(rt, a, how, out);                                                         \
    }
CASE_METHOD(upper, TPL_UPPER)
CASE_METHOD(lower, TPL_LOWER)
CASE_METHOD(title, TPL_TITLE)
CASE_METHOD(capitalize, TPL_CAPITAL)
CASE_METHOD(swapcase, TPL_SWAP)
CASE_METHOD(casefold, TPL_FOLD)

static tern_code strip(tpl_rt *rt, const tpl_args *a, bool left, bool right, tpl_val *out)
{
    const tpl_str *chars = NULL;
    if (given(&a->p[0])) {
        TERN_TRY(tern_tpl_need_str(rt, &a->p[0], "strip"));
        chars = a->p[0].u.s;
    }
    return tern_tpl_strip(rt, &a->self, chars, left, right, out);
}

static tern_code m_strip(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return strip(rt, a, true, true, out);
}

static tern_code m_lstrip(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return strip(rt, a, true, false, out);
}

static tern_code m_rstrip(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return strip(rt, a, false, true, out);
}

static bool has_end(const char *p, size_t n, const tpl_str *part, bool at_end)
{
    return part->n <= n &&
           (part->n == 0 || memcmp(at_end ? p + n - part->n : p, part->p, part->n) == 0);
}

static tern_code remove_end(tpl_rt *rt, const tpl_args *a, bool at_end, tpl_val *out)
{
    const tpl_str *s = a->self.u.s;
    TERN_TRY(tern_tpl_need_str(rt, &a->p[0], "removeprefix"));
    const tpl_str *part = a->p[0].u.s;
    *out = a->self;
    if (!has_end(s->p, s->n, part, at_end))
        return TERN_OK;
    TERN_TRY(tern_tpl_str(rt, at_end ? s->p : s->p + part->n, s->n - part->n, out));
    out->safe = a->self.safe;
    return TERN_OK;
}

static tern_code m_removeprefix(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return remove_end(rt, a, false, out);
}

static tern_code m_removesuffix(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return remove_end(rt, a, true, out);
}

static tern_code justify(tpl_rt *rt, const tpl_args *a, int how, tpl_val *out)
{
    int64_t width;
    const tpl_str *fill = NULL;
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[0], 0, &width));
    if (given(&a->p[1])) {
        if (a->p[1].type != TPL_STR || a->p[1].u.s->cp != 1)
            return tern_tpl_fail(rt, TERN_E_FORMAT,
                                 "the fill character must be exactly one character long");
        fill = a->p[1].u.s;
    }
    int64_t pad = width - (int64_t)a->self.u.s->cp;
    if (pad < 0)
        pad = 0;
    int64_t left = how < 0 ? 0 : how > 0 ? pad : pad / 2 + (pad & width & 1);
    return tern_tpl_pad(rt, &a->self, left, pad - left, fill, out);
}

static tern_code m_ljust(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return justify(rt, a, -1, out);
}

static tern_code m_rjust(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return justify(rt, a, 1, out);
}

static tern_code m_center(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return justify(rt, a, 0, out);
}

static tern_code m_zfill(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    static const tpl_str zero = {"0", 1, 1};
    const tpl_str *s = a->self.u.s;
    int64_t width;
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[0], 0, &width));
    size_t sign = s->n && (s->p[0] == '-' || s->p[0] == '+') ? 1 : 0;
    tpl_val head, tail;
    TERN_TRY(tern_tpl_str(rt, s->p, sign, &head));
    TERN_TRY(tern_tpl_str(rt, s->p + sign, s->n - sign, &tail));
    TERN_TRY(tern_tpl_pad(rt, &tail, width - (int64_t)s->cp, 0, &zero, &tail));
    TERN_TRY(tern_tpl_binary(rt, '+', &head, &tail, out));
    out->safe = a->self.safe;
    return TERN_OK;
}

static tern_code m_replace(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    int64_t count;
    tpl_val with = a->p[1];
    TERN_TRY(tern_tpl_need_str(rt, &a->p[0], "replace"));
    TERN_TRY(tern_tpl_need_str(rt, &with, "replace"));
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[2], -1, &count));
    if (a->self.safe && !with.safe) {
        size_t mark = rt->out.len;
        TERN_TRY(tern_tpl_put_escaped(rt, with.u.s->p, with.u.s->n));
        TERN_TRY(tern_tpl_take(rt, mark, &with));
    }
    TERN_TRY(tern_tpl_replace(rt, a->self.u.s, a->p[0].u.s, with.u.s, count, out));
    out->safe = a->self.safe;
    return TERN_OK;
}

/* ---- searching ------------------------------------------------------------------------------- */

/* s[start:end] by the arguments at and at + 1: bytes [*b, *e), and *from the first code point. False
 * when start lies behind the end. */
static tern_code window(tpl_rt *rt, const tpl_args *a, int at, size_t *b, size_t *e, size_t *from,
                        bool *valid)
{
    const tpl_str *s = a->self.u.s;
    int64_t n = (int64_t)s->cp, start, end;
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[at], 0, &start));
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[at + 1], n, &end));
    TERN_TRY(tern_tpl_spend(rt, s->n));
    start = start < 0 ? (start + n < 0 ? 0 : start + n) : start;
    end = end < 0 ? (end + n < 0 ? 0 : end + n) : end > n ? n : end;
    *valid = start <= end;
    *from = *valid ? (size_t)start : 0;
    *b = *valid ? tern_tpl_cp_offset(s, (size_t)start) : 0;
    *e = *valid ? tern_tpl_cp_offset(s, (size_t)end) : 0;
    return TERN_OK;
}

static tern_code find(tpl_rt *rt, const tpl_args *a, bool right, bool must, tpl_val *out)
{
    const tpl_str *s = a->self.u.s, *sub;
    size_t b, e, from;
    bool valid;
    TERN_TRY(tern_tpl_need_str(rt, &a->p[0], "find"));
    TERN_TRY(window(rt, a, 1, &b, &e, &from, &valid));
    sub = a->p[0].u.s;
    const char *hit = NULL;
    if (valid && sub->n == 0)
        hit = s->p + (right ? e : b);
    else if (valid && right)
        TERN_TRY(find_last(rt, s->p + b, e - b, sub, &hit));
    else if (valid && e > b)
        hit = memmem(s->p + b, e - b, sub->p, sub->n);
    if (!hit && must)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "substring not found");
    *out = TPL_V_INT(-1);
    if (hit)
        *out = TPL_V_INT((int64_t)(from + tern_tpl_count_cp(s->p + b, (size_t)(hit - s->p) - b)));
    return TERN_OK;
}

static tern_code m_find(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return find(rt, a, false, false, out);
}

static tern_code m_rfind(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return find(rt, a, true, false, out);
}

static tern_code m_index(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return find(rt, a, false, true, out);
}

static tern_code m_rindex(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return find(rt, a, true, true, out);
}

static tern_code m_count(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_str *s = a->self.u.s, *sub;
    size_t b, e, from;
    bool valid;
    int64_t k = 0;
    TERN_TRY(tern_tpl_need_str(rt, &a->p[0], "count"));
    TERN_TRY(window(rt, a, 1, &b, &e, &from, &valid));
    sub = a->p[0].u.s;
    if (valid && sub->n == 0)
        k = (int64_t)tern_tpl_count_cp(s->p + b, e - b) + 1;
    while (valid && sub->n && e > b) {
        const char *hit = memmem(s->p + b, e - b, sub->p, sub->n);
        if (!hit)
            break;
        k++;
        b = (size_t)(hit - s->p) + sub->n;
    }
    *out = TPL_V_INT(k);
    return TERN_OK;
}

static tern_code ends(tpl_rt *rt, const tpl_args *a, bool at_end, tpl_val *out)
{
    const tpl_val *parts = &a->p[0];
    size_t n = 1, b, e, from;
    bool valid, yes = false;
    if (parts->type == TPL_TUPLE)
        TERN_TRY(tern_tpl_items(rt, &a->p[0], &parts, &n));
    TERN_TRY(window(rt, a, 1, &b, &e, &from, &valid));
    for (size_t i = 0; i < n && !yes; i++) {
        TERN_TRY(tern_tpl_need_str(rt, &parts[i], at_end ? "endswith" : "startswith"));
        yes = valid && has_end(a->self.u.s->p + b, e - b, parts[i].u.s, at_end);
    }
    *out = TPL_V_BOOL(yes);
    return TERN_OK;
}

static tern_code m_startswith(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return ends(rt, a, false, out);
}

static tern_code m_endswith(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return ends(rt, a, true, out);
}

/* ---- classes of characters ------------------------------------------------------------------- */

static bool is_digit_like(uint32_t cp)
{
    return cp == 0xb2 || cp == 0xb3 || cp == 0xb9 || (cp >= 0x2070 && cp <= 0x2089) ||
           (cp >= 0x2460 && cp <= 0x2468);
}

static tern_code all_in(tpl_rt *rt, const tpl_str *s, bool (*test)(uint32_t), tpl_val *out)
{
    bool yes = s->n > 0;
    TERN_TRY(tern_tpl_spend(rt, s->n));
    for (size_t i = 0; yes && i < s->n;) {
        uint32_t cp;
        i += tern_tpl_next_cp(s->p + i, s->n - i, &cp);
        yes = test(cp);
    }
    *out = TPL_V_BOOL(yes);
    return TERN_OK;
}

static utf8proc_category_t category(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp);
}

static bool is_alpha(uint32_t cp)
{
    return category(cp) >= UTF8PROC_CATEGORY_LU && category(cp) <= UTF8PROC_CATEGORY_LO;
}

static bool is_numeric(uint32_t cp)
{
    return category(cp) >= UTF8PROC_CATEGORY_ND && category(cp) <= UTF8PROC_CATEGORY_NO;
}

static bool is_decimal(uint32_t cp)
{
    return category(cp) == UTF8PROC_CATEGORY_ND;
}

static bool is_digit(uint32_t cp)
{
    return is_decimal(cp) || is_digit_like(cp);
}

static bool is_alnum(uint32_t cp)
{
    return is_alpha(cp) || is_numeric(cp);
}

#define CLASS_METHOD(name, test)                                                                   \
    static tern_code m_##name(tpl_rt *rt, const tpl_args *a, tpl_val *out)                         \
    {                                                                                              \
        return all_in(rt, a->self.u.s, test, out);                                                 \
    }
CLASS_METHOD(isalnum, is_alnum)
CLASS_METHOD(isalpha, is_alpha)
CLASS_METHOD(isdecimal, is_decimal)
CLASS_METHOD(isdigit, is_digit)
CLASS_METHOD(isnumeric, is_numeric)
CLASS_METHOD(isspace, tern_tpl_is_space)

static tern_code m_isascii(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    *out = TPL_V_BOOL(a->self.u.s->cp == a->self.u.s->n);
    return tern_tpl_spend(rt, 0);
}

static tern_code m_islower(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return tern_tpl_find(tern_tpl_tests, "lower", 5)->fn(rt, a, out);
}

static tern_code m_isupper(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return tern_tpl_find(tern_tpl_tests, "upper", 5)->fn(rt, a, out);
}

/* ---- lists, dicts, cyclers ------------------------------------------------------------------- */

static tern_code l_count(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    int64_t k = 0;
    for (size_t i = 0; i < a->self.u.l->n; i++) {
        bool same;
        TERN_TRY(tern_tpl_equal(rt, &a->self.u.l->v[i], &a->p[0], &same));
        k += same;
    }
    *out = TPL_V_INT(k);
    return TERN_OK;
}

static tern_code l_index(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_list *l = a->self.u.l;
    int64_t n = (int64_t)l->n, start, end;
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[1], 0, &start));
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[2], n, &end));
    start = start < 0 ? (start + n < 0 ? 0 : start + n) : start;
    end = end < 0 ? end + n : end > n ? n : end;
    for (int64_t i = start; i < end; i++) {
        bool same;
        TERN_TRY(tern_tpl_equal(rt, &l->v[i], &a->p[0], &same));
        if (same) {
            *out = TPL_V_INT(i);
            return TERN_OK;
        }
    }
    return tern_tpl_fail(rt, TERN_E_FORMAT, "index: the value is not in the list");
}

static tern_code same_self(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    *out = a->self; /* nothing can be changed, so a copy is the thing itself */
    return tern_tpl_spend(rt, 0);
}

static tern_code d_get(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    tpl_val *v;
    TERN_TRY(tern_tpl_dict_get(rt, a->self.u.d, a->p[0], &v));
    *out = v ? *v : a->p[1].type == TPL_MISSING ? TPL_V_NONE : a->p[1];
    return TERN_OK;
}

static tern_code view(tpl_rt *rt, const tpl_args *a, tpl_view_kind kind, tpl_val *out)
{
    tpl_view *w = tern_tpl_alloc(rt, 1, sizeof *w);
    if (!w)
        return rt->code;
    *w = (tpl_view){a->self.u.d, kind};
    *out = (tpl_val){.type = TPL_VIEW, .u.view = w};
    return TERN_OK;
}

static tern_code d_keys(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return view(rt, a, TPL_KEYS, out);
}

static tern_code d_values(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return view(rt, a, TPL_VALUES, out);
}

static tern_code d_items(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return view(rt, a, TPL_ITEMS, out);
}

static tern_code c_next(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    tpl_cycle *c = a->self.u.cycle;
    *out = c->v[c->pos];
    c->pos = (c->pos + 1) % c->n;
    return tern_tpl_spend(rt, 0);
}

static tern_code c_reset(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    a->self.u.cycle->pos = 0;
    *out = TPL_V_NONE;
    return tern_tpl_spend(rt, 0);
}

/* Parameters called by a digit cannot be given by name. */
const tpl_builtin tern_tpl_str_methods[] = {
    {"capitalize", "", 0, m_capitalize},
    {"casefold", "", 0, m_casefold},
    {"center", "0 1", 1, m_center},
    {"count", "0 1 2", 1, m_count},
    {"endswith", "0 1 2", 1, m_endswith},
    {"find", "0 1 2", 1, m_find},
    {"format", "*", 0, tern_tpl_format},
    {"index", "0 1 2", 1, m_index},
    {"isalnum", "", 0, m_isalnum},
    {"isalpha", "", 0, m_isalpha},
    {"isascii", "", 0, m_isascii},
    {"isdecimal", "", 0, m_isdecimal},
    {"isdigit", "", 0, m_isdigit},
    {"islower", "", 0, m_islower},
    {"isnumeric", "", 0, m_isnumeric},
    {"isspace", "", 0, m_isspace},
    {"isupper", "", 0, m_isupper},
    {"join", "0", 1, m_join},
    {"ljust", "0 1", 1, m_ljust},
    {"lower", "", 0, m_lower},
    {"lstrip", "0", 0, m_lstrip},
    {"partition", "0", 1, m_partition},
    {"removeprefix", "0", 1, m_removeprefix},
    {"removesuffix", "0", 1, m_removesuffix},
    {"replace", "0 1 2", 2, m_replace},
    {"rfind", "0 1 2", 1, m_rfind},
    {"rindex", "0 1 2", 1, m_rindex},
    {"rjust", "0 1", 1, m_rjust},
    {"rpartition", "0", 1, m_rpartition},
    {"rsplit", "sep maxsplit", 0, m_rsplit},
    {"rstrip", "0", 0, m_rstrip},
    {"split", "sep maxsplit", 0, m_split},
    {"splitlines", "keepends", 0, m_splitlines},
    {"startswith", "0 1 2", 1, m_startswith},
    {"strip", "0", 0, m_strip},
    {"swapcase", "", 0, m_swapcase},
    {"title", "", 0, m_title},
    {"upper", "", 0, m_upper},
    {"zfill", "0", 1, m_zfill},
    {NULL, NULL, 0, NULL},
};

const tpl_builtin tern_tpl_list_methods[] = {
    {"copy", "", 0, same_self},
    {"count", "0", 1, l_count},
    {"index", "0 1 2", 1, l_index},
    {NULL, NULL, 0, NULL},
};

const tpl_builtin tern_tpl_dict_methods[] = {
    {"copy", "", 0, same_self}, {"get", "0 1", 1, d_get},    {"items", "", 0, d_items},
    {"keys", "", 0, d_keys},    {"values", "", 0, d_values}, {NULL, NULL, 0, NULL},
};

const tpl_builtin tern_tpl_cycler_methods[] = {
    {"next", "", 0, c_next},
    {"reset", "", 0, c_reset},
    {NULL, NULL, 0, NULL},
};
