/* Values of the chat template engine: making them, and what all types share: truth, equality,
 * order, containment, length and iteration, as Python defines them. */
#include "base/hash.h"
#include "base/utf8.h"
#include "text/tpl.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- failure, fuel, memory ------------------------------------------------------------------- */

tern_code tern_tpl_fail(tpl_rt *rt, tern_code code, const char *fmt, ...)
{
    char msg[200];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    rt->code = code;
    return tern_fail(rt->err, code, "template line %d: %s", rt->line, msg);
}

tern_code tern_tpl_spend(tpl_rt *rt, size_t bytes)
{
    uint64_t steps = bytes / 256 + 1;
    if (steps > rt->fuel)
        return tern_tpl_fail(rt, TERN_E_LIMIT, "the template takes too many steps");
    rt->fuel -= steps;
    return TERN_OK;
}

tern_code tern_tpl_owe(tpl_rt *rt, size_t bytes)
{
    rt->owed += (bytes < SIZE_MAX / 2 ? bytes : SIZE_MAX / 2) + 8;
    if (rt->owed < 256)
        return TERN_OK;
    size_t owed = rt->owed;
    rt->owed = 0;
    return tern_tpl_spend(rt, owed);
}

tern_code tern_tpl_enter(tpl_rt *rt)
{
    if (rt->nest >= rt->max_nest)
        return tern_tpl_fail(rt, TERN_E_LIMIT, "the template recurses too deep");
    rt->nest++;
    return tern_tpl_spend(rt, 0);
}

void tern_tpl_leave(tpl_rt *rt)
{
    rt->nest--;
}

void *tern_tpl_alloc(tpl_rt *rt, size_t n, size_t size)
{
    size_t bytes = n * size;
    if (size && n > SIZE_MAX / size)
        bytes = SIZE_MAX;
    void *p = bytes == SIZE_MAX ? NULL : tern_arena_alloc(&rt->arena, bytes);
    if (!p)
        rt->code = tern_tpl_arena_fail(&rt->arena, bytes, rt->err);
    return p;
}

int tern_tpl_cut(const char *p, size_t n, size_t max)
{
    if (n > max)
        n = max - tern_utf8_partial_tail(p, max);
    return (int)n;
}

/* ---- strings --------------------------------------------------------------------------------- */

size_t tern_tpl_next_cp(const char *p, size_t n, uint32_t *cp)
{
    int len = tern_utf8_decode(p, n, cp);
    if (len > 0)
        return (size_t)len;
    *cp = 0xfffd;
    return 1;
}

size_t tern_tpl_count_cp(const char *p, size_t n)
{
    size_t cp = 0;
    for (size_t i = 0; i < n; cp++) {
        uint32_t c;
        i += (unsigned char)p[i] < 0x80 ? 1 : tern_tpl_next_cp(p + i, n - i, &c);
    }
    return cp;
}

size_t tern_tpl_cp_offset(const tpl_str *s, size_t i)
{
    if (s->cp == s->n)
        return i;
    size_t at = 0;
    for (uint32_t c; i > 0 && at < s->n; i--)
        at += tern_tpl_next_cp(s->p + at, s->n - at, &c);
    return at;
}

static tern_code str_known(tpl_rt *rt, const char *p, size_t n, size_t cp, tpl_val *out)
{
    tpl_str *s = tern_tpl_alloc(rt, 1, sizeof *s);
    if (!s)
        return rt->code;
    *s = (tpl_str){p, n, cp};
    *out = (tpl_val){.type = TPL_STR, .u.s = s};
    return TERN_OK;
}

tern_code tern_tpl_str(tpl_rt *rt, const char *p, size_t n, tpl_val *out)
{
    TERN_TRY(tern_tpl_spend(rt, n));
    return str_known(rt, p, n, tern_tpl_count_cp(p, n), out);
}

tern_code tern_tpl_strz(tpl_rt *rt, const char *text, tpl_val *out)
{
    return tern_tpl_str(rt, text, strlen(text), out);
}

tern_code tern_tpl_put(tpl_rt *rt, const char *p, size_t n)
{
    TERN_TRY(tern_tpl_owe(rt, n));
    if (n > rt->out.max - rt->out.len)
        return tern_tpl_fail(rt, TERN_E_LIMIT, "the output is longer than %zu bytes", rt->out.max);
    tern_str_put(&rt->out, p, n);
    if (rt->out.failed)
        return tern_tpl_fail(rt, TERN_E_NOMEM, "out of memory");
    return TERN_OK;
}

tern_code tern_tpl_putz(tpl_rt *rt, const char *text)
{
    return tern_tpl_put(rt, text, strlen(text));
}

tern_code tern_tpl_take(tpl_rt *rt, size_t mark, tpl_val *out)
{
    size_t n = rt->out.len - mark;
    char *p = tern_tpl_alloc(rt, n ? n : 1, 1);
    if (!p)
        return rt->code;
    if (n) {
        memcpy(p, rt->out.data + mark, n);
        rt->out.len = mark;
        rt->out.data[mark] = 0;
    }
    return tern_tpl_str(rt, p, n, out);
}

/* ---- containers ------------------------------------------------------------------------------ */

tern_code tern_tpl_list(tpl_rt *rt, tpl_type type, size_t n, tpl_val *out)
{
    TERN_TRY(tern_tpl_spend(rt, n > SIZE_MAX / 16 ? SIZE_MAX : n * 16));
    tpl_list *l = tern_tpl_alloc(rt, 1, sizeof *l);
    tpl_val *v = l ? tern_tpl_alloc(rt, n ? n : 1, sizeof *v) : NULL;
    if (!v)
        return rt->code;
    *l = (tpl_list){.v = v, .n = n};
    *out = (tpl_val){.type = (uint8_t)type, .u.l = l};
    return TERN_OK;
}

tern_code tern_tpl_pair(tpl_rt *rt, tpl_val a, tpl_val b, tpl_val *out)
{
    TERN_TRY(tern_tpl_list(rt, TPL_TUPLE, 2, out));
    out->u.l->v[0] = a;
    out->u.l->v[1] = b;
    return TERN_OK;
}

tern_code tern_tpl_iter(tpl_rt *rt, const tpl_val *v, size_t n, tpl_val *out)
{
    tpl_iter *it = tern_tpl_alloc(rt, 1, sizeof *it);
    if (!it)
        return rt->code;
    *it = (tpl_iter){.v = v, .n = n};
    *out = (tpl_val){.type = TPL_ITER, .u.it = it};
    return TERN_OK;
}

tern_code tern_tpl_dict(tpl_rt *rt, tpl_type type, tpl_val *out)
{
    tpl_dict *d = tern_tpl_alloc(rt, 1, sizeof *d);
    if (!d)
        return rt->code;
    *d = (tpl_dict){0};
    *out = (tpl_val){.type = (uint8_t)type, .u.d = d};
    return TERN_OK;
}

bool tern_tpl_hashable(const tpl_val *v)
{
    if (v->type == TPL_TUPLE) { /* tuples within tuples may nest without end: refused as keys */
        for (size_t i = 0; i < v->u.l->n; i++) {
            if (v->u.l->v[i].type == TPL_TUPLE || !tern_tpl_hashable(&v->u.l->v[i]))
                return false;
        }
        return true;
    }
    return v->type != TPL_LIST && v->type != TPL_DICT && v->type != TPL_VIEW;
}

static bool is_number(const tpl_val *v)
{
    return v->type == TPL_BOOL || v->type == TPL_INT || v->type == TPL_FLOAT;
}

static int64_t as_int(const tpl_val *v)
{
    return v->type == TPL_BOOL ? v->u.b : v->u.i;
}

static double as_float(const tpl_val *v)
{
    return v->type == TPL_FLOAT ? v->u.f : (double)as_int(v);
}

/* Equal values hash alike: numbers by value, whatever their type. */
static uint64_t hash_val(const tpl_val *v)
{
    if (v->type == TPL_STR)
        return tern_hash64(v->u.s->p, v->u.s->n, 0);
    if (is_number(v)) {
        double f = as_float(v);
        f = f == 0 ? 0 : f;
        return tern_hash64(&f, sizeof f, 1);
    }
    if (v->type == TPL_TUPLE) {
        uint64_t h = 2;
        for (size_t i = 0; i < v->u.l->n; i++)
            h = h * 31 + hash_val(&v->u.l->v[i]);
        return h;
    }
    return v->type;
}

static tern_code dict_find(tpl_rt *rt, const tpl_dict *d, const tpl_val *k, size_t *at)
{
    bool same = false;
    *at = d->n;
    if (!d->index) {
        for (size_t i = 0; i < d->n; i++) {
            TERN_TRY(tern_tpl_equal(rt, &d->k[i], k, &same));
            if (same) {
                *at = i;
                break;
            }
        }
        return TERN_OK;
    }
    for (size_t h = hash_val(k) & (d->index_cap - 1);; h = (h + 1) & (d->index_cap - 1)) {
        if (!d->index[h])
            return TERN_OK;
        size_t i = d->index[h] - 1;
        TERN_TRY(tern_tpl_equal(rt, &d->k[i], k, &same));
        if (same) {
            *at = i;
            return TERN_OK;
        }
    }
}

static void index_add(tpl_dict *d, size_t i)
{
    size_t h = hash_val(&d->k[i]) & (d->index_cap - 1);
    while (d->index[h])
        h = (h + 1) & (d->index_cap - 1);
    d->index[h] = (uint32_t)i + 1;
}

#define DICT_SMALL 8

static tern_code dict_grow(tpl_rt *rt, tpl_dict *d)
{
    size_t cap = d->cap ? d->cap * 2 : 4;
    if (cap > UINT32_MAX / 2)
        return tern_tpl_fail(rt, TERN_E_LIMIT, "a dict is too large");
    tpl_val *k = tern_tpl_alloc(rt, cap, 2 * sizeof *k);
    if (!k)
        return rt->code;
    if (d->n) {
        memcpy(k, d->k, d->n * sizeof *k);
        memcpy(k + cap, d->v, d->n * sizeof *k);
    }
    d->k = k;
    d->v = k + cap;
    d->cap = cap;
    if (cap <= DICT_SMALL)
        return TERN_OK;
    d->index = tern_tpl_alloc(rt, cap * 2, sizeof *d->index);
    if (!d->index)
        return rt->code;
    d->index_cap = cap * 2;
    memset(d->index, 0, d->index_cap * sizeof *d->index);
    for (size_t i = 0; i < d->n; i++)
        index_add(d, i);
    return tern_tpl_spend(rt, cap * 16);
}

tern_code tern_tpl_dict_get(tpl_rt *rt, const tpl_dict *d, tpl_val k, tpl_val **found)
{
    size_t at;
    if (!tern_tpl_hashable(&k))
        return tern_tpl_fail(rt, TERN_E_FORMAT, "unhashable type: '%s'", tern_tpl_type_name(&k));
    TERN_TRY(dict_find(rt, d, &k, &at));
    *found = at < d->n ? &d->v[at] : NULL;
    return TERN_OK;
}

tern_code tern_tpl_dict_set(tpl_rt *rt, tpl_dict *d, tpl_val k, tpl_val v)
{
    tpl_val *old;
    TERN_TRY(tern_tpl_dict_get(rt, d, k, &old));
    if (old) {
        *old = v;
        return TERN_OK;
    }
    if (d->n == d->cap)
        TERN_TRY(dict_grow(rt, d));
    d->k[d->n] = k;
    d->v[d->n++] = v;
    if (d->index)
        index_add(d, d->n - 1);
    return TERN_OK;
}

tern_code tern_tpl_undef(tpl_rt *rt, tpl_undef_kind kind, const char *text, size_t n,
                         const char *owner, tpl_val *out)
{
    tpl_undef *u = tern_tpl_alloc(rt, 1, sizeof *u);
    if (!u)
        return rt->code;
    *u = (tpl_undef){kind, text, n, owner};
    *out = (tpl_val){.type = TPL_UNDEF, .u.u = u};
    return TERN_OK;
}

tern_code tern_tpl_undef_fail(tpl_rt *rt, const tpl_val *v)
{
    const tpl_undef *u = v->u.u;
    int n = tern_tpl_cut(u->text, u->n, 80);
    switch (u->kind) {
    case TPL_U_NAME:
        return tern_tpl_fail(rt, TERN_E_FORMAT, "'%.*s' is undefined", n, u->text);
    case TPL_U_ATTR:
        return tern_tpl_fail(rt, TERN_E_FORMAT, "'%s' has no attribute '%.*s'", u->owner, n,
                             u->text);
    case TPL_U_PARAM:
        return tern_tpl_fail(rt, TERN_E_FORMAT, "parameter '%.*s' was not provided", n, u->text);
    case TPL_U_UNSAFE:
        return tern_tpl_fail(rt, TERN_E_FORMAT, "'%.*s' of '%s' would change it: forbidden", n,
                             u->text, u->owner);
    case TPL_U_TEXT:
        break;
    }
    return tern_tpl_fail(rt, TERN_E_FORMAT, "%.*s", n, u->text);
}

/* ---- from JSON ------------------------------------------------------------------------------- */

static tern_code json_object_val(tpl_rt *rt, const json_t *j, tpl_val *out)
{
    TERN_TRY(tern_tpl_dict(rt, TPL_DICT, out));
    json_t *o = (json_t *)(uintptr_t)j; /* jansson's iterators take no const; they change nothing */
    tern_code rc = TERN_OK;
    for (void *it = json_object_iter(o); it && rc == TERN_OK; it = json_object_iter_next(o, it)) {
        tpl_val k, v;
        rc = tern_tpl_str(rt, json_object_iter_key(it), json_object_iter_key_len(it), &k);
        if (rc == TERN_OK)
            rc = tern_tpl_from_json(rt, json_object_iter_value(it), &v);
        if (rc == TERN_OK)
            rc = tern_tpl_dict_set(rt, out->u.d, k, v);
    }
    return rc;
}

tern_code tern_tpl_from_json(tpl_rt *rt, const json_t *j, tpl_val *out)
{
    tern_code rc = TERN_OK;
    TERN_TRY(tern_tpl_enter(rt));
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        rc = json_object_val(rt, j, out);
        break;
    case JSON_ARRAY:
        rc = tern_tpl_list(rt, TPL_LIST, json_array_size(j), out);
        for (size_t i = 0; rc == TERN_OK && i < json_array_size(j); i++)
            rc = tern_tpl_from_json(rt, json_array_get(j, i), &out->u.l->v[i]);
        break;
    case JSON_STRING:
        rc = tern_tpl_str(rt, json_string_value(j), json_string_length(j), out);
        break;
    case JSON_INTEGER:
        *out = TPL_V_INT(json_integer_value(j));
        break;
    case JSON_REAL:
        *out = TPL_V_F64(json_real_value(j));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = TPL_V_BOOL(json_is_true(j));
        break;
    case JSON_NULL:
        *out = TPL_V_NONE;
        break;
    }
    tern_tpl_leave(rt);
    return rc;
}

/* ---- what all types share -------------------------------------------------------------------- */

const char *tern_tpl_type_name(const tpl_val *v)
{
    static const char *const names[] = {
        "missing",     "Undefined", "None",     "bool",   "int",       "float",     "str",
        "list",        "tuple",     "dict",     "range",  "generator", "dict view", "Namespace",
        "LoopContext", "Macro",     "function", "method", "Cycler",    "Joiner"};
    return names[v->type];
}

bool tern_tpl_is(const tpl_val *v, const char *text)
{
    return v->type == TPL_STR && v->u.s->n == strlen(text) &&
           memcmp(v->u.s->p, text, v->u.s->n) == 0;
}

bool tern_tpl_truthy(const tpl_val *v)
{
    switch ((tpl_type)v->type) {
    case TPL_MISSING:
    case TPL_UNDEF:
    case TPL_NONE:
        return false;
    case TPL_BOOL:
        return v->u.b;
    case TPL_INT:
        return v->u.i != 0;
    case TPL_FLOAT:
        return v->u.f != 0;
    case TPL_STR:
        return v->u.s->n > 0;
    case TPL_LIST:
    case TPL_TUPLE:
        return v->u.l->n > 0;
    case TPL_DICT:
        return v->u.d->n > 0;
    case TPL_RANGE:
        return v->u.r->n > 0;
    case TPL_VIEW:
        return v->u.view->d->n > 0;
    default:
        return true;
    }
}

static tern_code equal_lists(tpl_rt *rt, const tpl_list *a, const tpl_list *b, bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; *out && i < a->n; i++)
        TERN_TRY(tern_tpl_equal(rt, &a->v[i], &b->v[i], out));
    return TERN_OK;
}

static tern_code equal_dicts(tpl_rt *rt, const tpl_dict *a, const tpl_dict *b, bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; *out && i < a->n; i++) {
        tpl_val *other;
        TERN_TRY(tern_tpl_dict_get(rt, b, a->k[i], &other));
        *out = other != NULL;
        if (other)
            TERN_TRY(tern_tpl_equal(rt, &a->v[i], other, out));
    }
    return TERN_OK;
}

static bool equal_numbers(const tpl_val *a, const tpl_val *b)
{
    if (a->type != TPL_FLOAT && b->type != TPL_FLOAT)
        return as_int(a) == as_int(b);
    return as_float(a) == as_float(b);
}

static bool equal_ranges(const tpl_range *a, const tpl_range *b)
{
    return a->n == b->n &&
           (a->n == 0 || (a->start == b->start && (a->n == 1 || a->step == b->step)));
}

tern_code tern_tpl_equal(tpl_rt *rt, const tpl_val *a, const tpl_val *b, bool *out)
{
    tern_code rc = TERN_OK;
    if (is_number(a) && is_number(b)) {
        *out = equal_numbers(a, b);
        return tern_tpl_spend(rt, 0);
    }
    *out = false;
    if (a->type != b->type)
        return tern_tpl_spend(rt, 0);
    TERN_TRY(tern_tpl_enter(rt));
    switch ((tpl_type)a->type) {
    case TPL_UNDEF:
    case TPL_NONE:
        *out = true;
        break;
    case TPL_STR:
        *out = a->u.s->n == b->u.s->n && memcmp(a->u.s->p, b->u.s->p, a->u.s->n) == 0;
        rc = tern_tpl_spend(rt, a->u.s->n);
        break;
    case TPL_LIST:
    case TPL_TUPLE:
        rc = equal_lists(rt, a->u.l, b->u.l, out);
        break;
    case TPL_DICT:
        rc = equal_dicts(rt, a->u.d, b->u.d, out);
        break;
    case TPL_RANGE:
        *out = equal_ranges(a->u.r, b->u.r);
        break;
    default: /* everything else is equal only to itself */
        *out = a->u.d == b->u.d;
        break;
    }
    tern_tpl_leave(rt);
    return rc;
}

static int order_bytes(const tpl_str *a, const tpl_str *b)
{
    size_t n = a->n < b->n ? a->n : b->n;
    int c = n ? memcmp(a->p, b->p, n) : 0; /* UTF-8 sorts as its code points do */
    return c ? (c > 0) - (c < 0) : (a->n > b->n) - (a->n < b->n);
}

static tern_code order_lists(tpl_rt *rt, const tpl_list *a, const tpl_list *b, const char *op,
                             int *out)
{
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        bool same;
        TERN_TRY(tern_tpl_equal(rt, &a->v[i], &b->v[i], &same));
        if (!same)
            return tern_tpl_compare(rt, &a->v[i], &b->v[i], op, out);
    }
    *out = (a->n > b->n) - (a->n < b->n);
    return TERN_OK;
}

tern_code tern_tpl_compare(tpl_rt *rt, const tpl_val *a, const tpl_val *b, const char *op, int *out)
{
    if (a->type == TPL_UNDEF || b->type == TPL_UNDEF)
        return tern_tpl_undef_fail(rt, a->type == TPL_UNDEF ? a : b);
    if (is_number(a) && is_number(b)) {
        if (a->type == TPL_FLOAT || b->type == TPL_FLOAT) {
            double x = as_float(a), y = as_float(b);
            *out = x != x || y != y ? 2 : (x > y) - (x < y);
        } else {
            *out = (as_int(a) > as_int(b)) - (as_int(a) < as_int(b));
        }
        return tern_tpl_spend(rt, 0);
    }
    if (a->type == TPL_STR && b->type == TPL_STR) {
        *out = order_bytes(a->u.s, b->u.s);
        return tern_tpl_spend(rt, a->u.s->n);
    }
    if (a->type == b->type && (a->type == TPL_LIST || a->type == TPL_TUPLE)) {
        TERN_TRY(tern_tpl_enter(rt));
        tern_code rc = order_lists(rt, a->u.l, b->u.l, op, out);
        tern_tpl_leave(rt);
        return rc;
    }
    return tern_tpl_fail(rt, TERN_E_FORMAT, "'%s' not supported between '%s' and '%s'", op,
                         tern_tpl_type_name(a), tern_tpl_type_name(b));
}

tern_code tern_tpl_contains(tpl_rt *rt, const tpl_val *seq, const tpl_val *x, bool *out)
{
    *out = false;
    if (seq->type == TPL_STR) {
        if (x->type != TPL_STR)
            return tern_tpl_fail(rt, TERN_E_FORMAT, "'in <string>' requires string, not %s",
                                 tern_tpl_type_name(x));
        *out = x->u.s->n == 0 ||
               (seq->u.s->n && memmem(seq->u.s->p, seq->u.s->n, x->u.s->p, x->u.s->n) != NULL);
        return tern_tpl_spend(rt, seq->u.s->n);
    }
    if (seq->type == TPL_DICT || (seq->type == TPL_VIEW && seq->u.view->kind == TPL_KEYS)) {
        tpl_val *found;
        TERN_TRY(
            tern_tpl_dict_get(rt, seq->type == TPL_DICT ? seq->u.d : seq->u.view->d, *x, &found));
        *out = found != NULL;
        return TERN_OK;
    }
    const tpl_val *v;
    size_t n;
    TERN_TRY(tern_tpl_items(rt, seq, &v, &n));
    for (size_t i = 0; !*out && i < n; i++)
        TERN_TRY(tern_tpl_equal(rt, &v[i], x, out));
    return TERN_OK;
}

tern_code tern_tpl_length(tpl_rt *rt, const tpl_val *v, size_t *out)
{
    switch ((tpl_type)v->type) {
    case TPL_UNDEF:
        *out = 0;
        return TERN_OK;
    case TPL_STR:
        *out = v->u.s->cp;
        return TERN_OK;
    case TPL_LIST:
    case TPL_TUPLE:
        *out = v->u.l->n;
        return TERN_OK;
    case TPL_DICT:
        *out = v->u.d->n;
        return TERN_OK;
    case TPL_RANGE:
        *out = v->u.r->n;
        return TERN_OK;
    case TPL_VIEW:
        *out = v->u.view->d->n;
        return TERN_OK;
    case TPL_LOOP:
        TERN_TRY(tern_tpl_loop_fill(rt, v->u.loop, SIZE_MAX));
        *out = v->u.loop->n;
        return TERN_OK;
    default:
        return tern_tpl_fail(rt, TERN_E_FORMAT, "object of type '%s' has no len()",
                             tern_tpl_type_name(v));
    }
}

static tern_code str_items(tpl_rt *rt, const tpl_str *s, tpl_val *v)
{
    for (size_t i = 0, at = 0; i < s->cp; i++) {
        uint32_t c;
        size_t len = tern_tpl_next_cp(s->p + at, s->n - at, &c);
        TERN_TRY(str_known(rt, s->p + at, len, 1, &v[i]));
        at += len;
    }
    return TERN_OK;
}

static tern_code view_items(tpl_rt *rt, const tpl_view *w, tpl_val *v)
{
    for (size_t i = 0; i < w->d->n; i++)
        TERN_TRY(tern_tpl_pair(rt, w->d->k[i], w->d->v[i], &v[i]));
    return TERN_OK;
}

tern_code tern_tpl_items(tpl_rt *rt, const tpl_val *v, const tpl_val **items, size_t *n)
{
    *items = NULL;
    *n = 0;
    if (v->type == TPL_UNDEF)
        return TERN_OK;
    if (v->type == TPL_ITER) {
        if (v->u.it->failure)
            return tern_fail(rt->err, TERN_E_FORMAT, "%s", v->u.it->failure);
        *items = v->u.it->n ? v->u.it->v + v->u.it->pos : NULL;
        *n = v->u.it->n - v->u.it->pos;
        v->u.it->pos = v->u.it->n;
        return TERN_OK;
    }
    if (v->type == TPL_LIST || v->type == TPL_TUPLE) {
        *items = v->u.l->v;
        *n = v->u.l->n;
        return TERN_OK;
    }
    if (v->type == TPL_DICT || (v->type == TPL_VIEW && v->u.view->kind != TPL_ITEMS)) {
        const tpl_dict *d = v->type == TPL_DICT ? v->u.d : v->u.view->d;
        *items = v->type == TPL_VIEW && v->u.view->kind == TPL_VALUES ? d->v : d->k;
        *n = d->n;
        return TERN_OK;
    }
    if (v->type != TPL_STR && v->type != TPL_RANGE && v->type != TPL_VIEW)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "'%s' object is not iterable",
                             tern_tpl_type_name(v));
    tpl_val l;
    size_t count;
    TERN_TRY(tern_tpl_length(rt, v, &count));
    TERN_TRY(tern_tpl_list(rt, TPL_LIST, count, &l));
    if (v->type == TPL_STR)
        TERN_TRY(str_items(rt, v->u.s, l.u.l->v));
    else if (v->type == TPL_VIEW)
        TERN_TRY(view_items(rt, v->u.view, l.u.l->v));
    else
        for (size_t i = 0; i < count; i++)
            l.u.l->v[i] = TPL_V_INT(v->u.r->start + (int64_t)i * v->u.r->step);
    *items = l.u.l->v;
    *n = count;
    return TERN_OK;
}
