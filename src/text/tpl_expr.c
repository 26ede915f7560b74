/* Expressions: operators, access to attributes and items, and calls, with the meaning Python gives
 * them. */
#include "text/tpl.h"

#include <math.h>
#include <string.h>

/* ---- operators ------------------------------------------------------------------------------- */

/* a + b. Room is left behind the result, so that s = s + x in a loop copies only x. */
static tern_code join_str(tpl_rt *rt, const tpl_str *a, const tpl_str *b, tpl_val *out)
{
    size_t n = a->n + b->n; /* both in memory, so no overflow */
    TERN_TRY(tern_tpl_spend(rt, b->n));
    tpl_str *s = tern_tpl_alloc(rt, 1, sizeof *s);
    if (!s)
        return rt->code;
    if (a->n && a->p + a->n == rt->tail && b->n <= rt->tail_left) {
        memcpy(rt->tail, b->p, b->n);
        s->p = a->p;
        rt->tail += b->n;
        rt->tail_left -= b->n;
    } else {
        size_t cap = n < 64 ? n : n + n / 2;
        TERN_TRY(tern_tpl_spend(rt, a->n));
        char *p = tern_tpl_alloc(rt, cap ? cap : 1, 1);
        if (!p)
            return rt->code;
        if (a->n)
            memcpy(p, a->p, a->n);
        if (b->n)
            memcpy(p + a->n, b->p, b->n);
        s->p = p;
        rt->tail = p + n;
        rt->tail_left = cap - n;
    }
    s->n = n;
    s->cp = a->cp + b->cp;
    *out = (tpl_val){.type = TPL_STR, .u.s = s};
    return TERN_OK;
}

static tern_code escaped(tpl_rt *rt, const tpl_val *v, tpl_val *out)
{
    size_t mark = rt->out.len;
    TERN_TRY(tern_tpl_put_escaped(rt, v->u.s->p, v->u.s->n));
    return tern_tpl_take(rt, mark, out);
}

static tern_code add_str(tpl_rt *rt, tpl_val a, tpl_val b, tpl_val *out)
{
    bool safe = a.safe || b.safe;
    if (safe && !a.safe)
        TERN_TRY(escaped(rt, &a, &a));
    if (safe && !b.safe)
        TERN_TRY(escaped(rt, &b, &b));
    TERN_TRY(join_str(rt, a.u.s, b.u.s, out));
    out->safe = safe;
    return TERN_OK;
}

/* The same for lists: list + [item] in a loop. */
static tern_code add_list(tpl_rt *rt, const tpl_val *a, const tpl_val *b, tpl_val *out)
{
    const tpl_list *x = a->u.l, *y = b->u.l;
    size_t n = x->n + y->n;
    tpl_list *l = tern_tpl_alloc(rt, 1, sizeof *l);
    if (!l)
        return rt->code;
    *l = *x;
    l->group = false;
    l->n = n;
    TERN_TRY(tern_tpl_spend(rt, y->n * sizeof *y->v));
    if (!x->buf || x->buf->used != x->n || y->n > x->buf->cap - x->n) {
        size_t cap = n + n / 2 + 2;
        TERN_TRY(tern_tpl_spend(rt, x->n * sizeof *x->v));
        l->buf = tern_tpl_alloc(rt, 1, sizeof *l->buf);
        l->v = l->buf ? tern_tpl_alloc(rt, cap, sizeof *l->v) : NULL;
        if (!l->v)
            return rt->code;
        l->buf->cap = cap;
        if (x->n)
            memcpy(l->v, x->v, x->n * sizeof *x->v);
    }
    if (y->n)
        memcpy(l->v + x->n, y->v, y->n * sizeof *y->v);
    l->buf->used = n;
    *out = (tpl_val){.type = a->type, .u.l = l};
    return TERN_OK;
}

static tern_code repeat(tpl_rt *rt, const tpl_val *seq, int64_t times, tpl_val *out)
{
    size_t k = times > 0 ? (size_t)times : 0, one;
    TERN_TRY(tern_tpl_length(rt, seq, &one));
    if (one == 0)
        k = 0;
    TERN_TRY(tern_tpl_spend(rt, k));
    if (seq->type == TPL_STR) {
        size_t mark = rt->out.len;
        for (size_t i = 0; i < k; i++)
            TERN_TRY(tern_tpl_put(rt, seq->u.s->p, seq->u.s->n));
        TERN_TRY(tern_tpl_take(rt, mark, out));
        out->safe = seq->safe;
        return TERN_OK;
    }
    size_t total;
    if (__builtin_mul_overflow(k, one, &total))
        total = SIZE_MAX;
    TERN_TRY(tern_tpl_list(rt, (tpl_type)seq->type, total, out));
    for (size_t i = 0; i < k; i++)
        memcpy(out->u.l->v + i * one, seq->u.l->v, one * sizeof *seq->u.l->v);
    return TERN_OK;
}

static const char *op_text(int op)
{
    switch (op) {
    case T_FLOORDIV:
        return "//";
    case T_POW:
        return "**";
    case '+':
        return "+";
    case '-':
        return "-";
    case '*':
        return "*";
    case '/':
        return "/";
    default:
        return "%";
    }
}

static tern_code too_large(tpl_rt *rt)
{
    return tern_tpl_fail(rt, TERN_E_LIMIT, "an integer passes 64 bits");
}

static tern_code int_pow(tpl_rt *rt, int64_t a, int64_t b, tpl_val *out)
{
    int64_t r = 1;
    for (;;) {
        if (b & 1 && __builtin_mul_overflow(r, a, &r))
            return too_large(rt);
        b >>= 1;
        if (!b)
            break;
        if (__builtin_mul_overflow(a, a, &a))
            return too_large(rt);
    }
    *out = TPL_V_INT(r);
    return TERN_OK;
}

static tern_code int_op(tpl_rt *rt, int op, int64_t a, int64_t b, tpl_val *out)
{
    int64_t r = 0;
    bool over = false;
    if ((op == '/' || op == T_FLOORDIV || op == '%') && b == 0)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "division by zero");
    switch (op) {
    case '+':
        over = __builtin_add_overflow(a, b, &r);
        break;
    case '-':
        over = __builtin_sub_overflow(a, b, &r);
        break;
    case '*':
        over = __builtin_mul_overflow(a, b, &r);
        break;
    case '/':
        *out = TPL_V_F64((double)a / (double)b);
        return TERN_OK;
    case T_FLOORDIV: /* rounds down, and the remainder has the divisor's sign */
        over = a == INT64_MIN && b == -1;
        r = over ? 0 : a / b - (a % b != 0 && (a < 0) != (b < 0));
        break;
    case '%':
        r = b == -1 ? 0 : a % b;
        if (r != 0 && (r < 0) != (b < 0))
            r += b;
        break;
    default: /* T_POW */
        if (b >= 0)
            return int_pow(rt, a, b, out);
        if (a == 0)
            return tern_tpl_fail(rt, TERN_E_FORMAT, "0.0 cannot be raised to a negative power");
        *out = TPL_V_F64(pow((double)a, (double)b));
        return TERN_OK;
    }
    if (over)
        return too_large(rt);
    *out = TPL_V_INT(r);
    return TERN_OK;
}

static tern_code float_pow(tpl_rt *rt, double a, double b, tpl_val *out)
{
    if (a == 0 && b < 0)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "0.0 cannot be raised to a negative power");
    if (a < 0 && b != floor(b))
        return tern_tpl_fail(rt, TERN_E_UNSUPPORTED, "complex numbers are not supported");
    double r = pow(a, b);
    if (r - r != 0 && a - a == 0 && b - b == 0)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "a power is too large");
    *out = TPL_V_F64(r);
    return TERN_OK;
}

static tern_code float_op(tpl_rt *rt, int op, double a, double b, tpl_val *out)
{
    double r = 0;
    if ((op == '/' || op == T_FLOORDIV || op == '%') && b == 0)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "float division by zero");
    switch (op) {
    case '+':
        r = a + b;
        break;
    case '-':
        r = a - b;
        break;
    case '*':
        r = a * b;
        break;
    case '/':
        r = a / b;
        break;
    case T_POW:
        return float_pow(rt, a, b, out);
    default: {
        double mod = fmod(a, b), div = (a - mod) / b;
        if (mod != 0 && (b < 0) != (mod < 0)) {
            mod += b;
            div -= 1;
        }
        mod = mod == 0 ? copysign(0, b) : mod;
        double down = floor(div);
        if (div != 0)
            div = div - down > 0.5 ? down + 1 : down;
        else
            div = copysign(0, a / b);
        r = op == '%' ? mod : div;
        break;
    }
    }
    *out = TPL_V_F64(r);
    return TERN_OK;
}

static bool is_int(const tpl_val *v)
{
    return v->type == TPL_INT || v->type == TPL_BOOL;
}

static int64_t as_int(const tpl_val *v)
{
    return v->type == TPL_BOOL ? v->u.b : v->u.i;
}

static bool is_seq(const tpl_val *v)
{
    return v->type == TPL_STR || v->type == TPL_LIST || v->type == TPL_TUPLE;
}

tern_code tern_tpl_binary(tpl_rt *rt, int op, const tpl_val *a, const tpl_val *b, tpl_val *out)
{
    if (op == '%' && a->type == TPL_STR)
        return tern_tpl_percent(rt, a, b, out);
    if (a->type == TPL_UNDEF || b->type == TPL_UNDEF)
        return tern_tpl_undef_fail(rt, a->type == TPL_UNDEF ? a : b);
    if (is_int(a) && is_int(b))
        return int_op(rt, op, as_int(a), as_int(b), out);
    if ((is_int(a) || a->type == TPL_FLOAT) && (is_int(b) || b->type == TPL_FLOAT))
        return float_op(rt, op, a->type == TPL_FLOAT ? a->u.f : (double)as_int(a),
                        b->type == TPL_FLOAT ? b->u.f : (double)as_int(b), out);
    if (op == '+' && a->type == b->type && a->type == TPL_STR)
        return add_str(rt, *a, *b, out);
    if (op == '+' && a->type == b->type && is_seq(a))
        return add_list(rt, a, b, out);
    if (op == '*' && is_seq(a) && is_int(b))
        return repeat(rt, a, as_int(b), out);
    if (op == '*' && is_int(a) && is_seq(b))
        return repeat(rt, b, as_int(a), out);
    return tern_tpl_fail(rt, TERN_E_FORMAT, "unsupported operand types for %s: '%s' and '%s'",
                         op_text(op), tern_tpl_type_name(a), tern_tpl_type_name(b));
}

/* ---- attributes and items -------------------------------------------------------------------- */

static tern_code method_val(tpl_rt *rt, const tpl_builtin *fn, const tpl_val *self, tpl_val *out)
{
    tpl_method *m = tern_tpl_alloc(rt, 1, sizeof *m);
    if (!m)
        return rt->code;
    *m = (tpl_method){fn, *self};
    *out = (tpl_val){.type = TPL_METHOD, .u.method = m};
    return TERN_OK;
}

/* What Python's getattr would find. */
static tern_code own_attr(tpl_rt *rt, const tpl_val *obj, const tpl_str *name, tpl_val *out,
                          bool *found)
{
    const tpl_builtin *methods = NULL;
    *found = true;
    switch ((tpl_type)obj->type) {
    case TPL_STR:
        methods = tern_tpl_str_methods;
        break;
    case TPL_LIST:
    case TPL_TUPLE:
        if (obj->u.l->group && name->n == 7 && memcmp(name->p, "grouper", 7) == 0) {
            *out = obj->u.l->v[0];
            return TERN_OK;
        }
        if (obj->u.l->group && name->n == 4 && memcmp(name->p, "list", 4) == 0) {
            *out = obj->u.l->v[1];
            return TERN_OK;
        }
        methods = tern_tpl_list_methods;
        break;
    case TPL_DICT:
        methods = tern_tpl_dict_methods;
        break;
    case TPL_CYCLER:
        if (name->n == 7 && memcmp(name->p, "current", 7) == 0) {
            *out = obj->u.cycle->v[obj->u.cycle->pos];
            return TERN_OK;
        }
        methods = tern_tpl_cycler_methods;
        break;
    case TPL_LOOP:
        TERN_TRY(tern_tpl_loop_attr(rt, obj, name->p, name->n, out, found));
        if (*found)
            return TERN_OK;
        *found = true;
        methods = tern_tpl_loop_methods;
        break;
    case TPL_NAMESPACE: {
        tpl_val key = {.type = TPL_STR, .u.s = (tpl_str *)(uintptr_t)name}, *v;
        TERN_TRY(tern_tpl_dict_get(rt, obj->u.d, key, &v));
        *found = v != NULL;
        if (v)
            *out = *v;
        return TERN_OK;
    }
    case TPL_MACRO:
        *found = name->n == 4 && memcmp(name->p, "name", 4) == 0;
        if (*found) {
            const tpl_str *s = rt->t->names.v[obj->u.macro->node->name];
            return tern_tpl_str(rt, s->p, s->n, out);
        }
        return TERN_OK;
    default:
        break;
    }
    const tpl_builtin *fn = methods ? tern_tpl_find(methods, name->p, name->n) : NULL;
    if (fn && !(obj->type == TPL_TUPLE && strcmp(fn->name, "copy") == 0))
        return method_val(rt, fn, obj, out);
    if (tern_tpl_method_is_unsafe((tpl_type)obj->type, name->p, name->n))
        return tern_tpl_undef(rt, TPL_U_UNSAFE, name->p, name->n, tern_tpl_type_name(obj), out);
    *found = false;
    return TERN_OK;
}

/* obj[key]; *found is false for what Python raises TypeError or LookupError for. */
static tern_code own_item(tpl_rt *rt, const tpl_val *obj, const tpl_val *key, tpl_val *out,
                          bool *found)
{
    *found = false;
    if (obj->type == TPL_UNDEF)
        return tern_tpl_undef_fail(rt, obj);
    if (obj->type == TPL_DICT) {
        tpl_val *v = NULL;
        if (key->type == TPL_UNDEF || tern_tpl_hashable(key))
            TERN_TRY(tern_tpl_dict_get(rt, obj->u.d, *key, &v));
        *found = v != NULL;
        if (v)
            *out = *v;
        return TERN_OK;
    }
    if (!is_int(key) || (!is_seq(obj) && obj->type != TPL_RANGE))
        return TERN_OK;
    size_t n;
    TERN_TRY(tern_tpl_length(rt, obj, &n));
    int64_t i = as_int(key), len = (int64_t)n;
    if (i < 0)
        i += len;
    if (i < 0 || i >= len)
        return TERN_OK;
    *found = true;
    if (obj->type == TPL_RANGE) {
        *out = TPL_V_INT(obj->u.r->start + i * obj->u.r->step);
    } else if (obj->type != TPL_STR) {
        *out = obj->u.l->v[i];
    } else {
        const tpl_str *s = obj->u.s;
        TERN_TRY(tern_tpl_spend(rt, s->cp == s->n ? 0 : s->n));
        size_t at = tern_tpl_cp_offset(s, (size_t)i);
        uint32_t cp;
        TERN_TRY(tern_tpl_str(rt, s->p + at, tern_tpl_next_cp(s->p + at, s->n - at, &cp), out));
        out->safe = obj->safe;
    }
    return TERN_OK;
}

static tern_code no_attr(tpl_rt *rt, const tpl_val *obj, const tpl_val *name, tpl_val *out)
{
    tpl_val text;
    TERN_TRY(tern_tpl_to_str(rt, name, &text));
    return tern_tpl_undef(rt, TPL_U_ATTR, text.u.s->p, text.u.s->n, tern_tpl_type_name(obj), out);
}

/* obj.name: attributes first, then items. */
tern_code tern_tpl_attr(tpl_rt *rt, const tpl_val *obj, const tpl_val *name, tpl_val *out)
{
    bool found;
    if (obj->type == TPL_UNDEF)
        return tern_tpl_undef_fail(rt, obj);
    TERN_TRY(own_attr(rt, obj, name->u.s, out, &found));
    if (!found)
        TERN_TRY(own_item(rt, obj, name, out, &found));
    return found ? TERN_OK : no_attr(rt, obj, name, out);
}

/* obj[key]: items first, then attributes. */
tern_code tern_tpl_item(tpl_rt *rt, const tpl_val *obj, const tpl_val *key, tpl_val *out)
{
    bool found;
    TERN_TRY(own_item(rt, obj, key, out, &found));
    if (!found && key->type == TPL_STR)
        TERN_TRY(own_attr(rt, obj, key->u.s, out, &found));
    return found ? TERN_OK : no_attr(rt, obj, key, out);
}

/* One bound of a slice over n items, clamped as Python does. */
static tern_code bound(tpl_rt *rt, const tpl_node *e, int64_t n, int64_t step, int64_t dflt,
                       int64_t *out)
{
    tpl_val v = TPL_V_NONE;
    if (e)
        TERN_TRY(tern_tpl_eval(rt, e, &v));
    *out = dflt;
    if (v.type == TPL_NONE)
        return TERN_OK;
    if (!is_int(&v))
        return tern_tpl_fail(rt, TERN_E_FORMAT, "slice indices must be integers or None, not %s",
                             tern_tpl_type_name(&v));
    int64_t i = as_int(&v), low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    if (i < 0)
        i += n;
    *out = i < low ? low : i > high ? high : i;
    return TERN_OK;
}

static tern_code take_slice(tpl_rt *rt, const tpl_val *obj, int64_t start, int64_t step, size_t k,
                            tpl_val *out)
{
    if (obj->type == TPL_STR && step == 1) { /* shares the bytes */
        const tpl_str *s = obj->u.s;
        TERN_TRY(tern_tpl_spend(rt, s->cp == s->n ? 0 : s->n));
        size_t from = tern_tpl_cp_offset(s, (size_t)start);
        size_t to = k ? tern_tpl_cp_offset(s, (size_t)start + k) : from;
        TERN_TRY(tern_tpl_str(rt, s->p + from, to - from, out));
        out->safe = obj->safe;
        return TERN_OK;
    }
    const tpl_val *v;
    size_t n, mark = rt->out.len;
    TERN_TRY(tern_tpl_items(rt, obj, &v, &n));
    if (obj->type != TPL_STR) {
        tpl_type type = obj->type == TPL_TUPLE ? TPL_TUPLE : TPL_LIST;
        TERN_TRY(tern_tpl_list(rt, type, k, out));
        for (size_t i = 0; i < k; i++)
            out->u.l->v[i] = v[start + (int64_t)i * step];
        return TERN_OK;
    }
    for (size_t i = 0; i < k; i++)
        TERN_TRY(tern_tpl_put_str(rt, &v[start + (int64_t)i * step]));
    TERN_TRY(tern_tpl_take(rt, mark, out));
    out->safe = obj->safe;
    return TERN_OK;
}

static tern_code slice(tpl_rt *rt, const tpl_val *obj, const tpl_node *e, tpl_val *out)
{
    size_t len;
    int64_t start, stop, step = 1;
    tpl_val v = TPL_V_NONE;
    if (obj->type == TPL_UNDEF)
        return tern_tpl_undef_fail(rt, obj);
    if (!is_seq(obj) && obj->type != TPL_RANGE) {
        tpl_val name;
        TERN_TRY(tern_tpl_strz(rt, "slice", &name));
        return no_attr(rt, obj, &name, out);
    }
    if (e->c)
        TERN_TRY(tern_tpl_eval(rt, e->c, &v));
    if (v.type != TPL_NONE) {
        if (!is_int(&v) || as_int(&v) == 0)
            return tern_tpl_fail(rt, TERN_E_FORMAT, "slice step must be a nonzero integer");
        step = as_int(&v);
    }
    TERN_TRY(tern_tpl_length(rt, obj, &len));
    int64_t n = (int64_t)len;
    TERN_TRY(bound(rt, e->a, n, step, step < 0 ? n - 1 : 0, &start));
    TERN_TRY(bound(rt, e->b, n, step, step < 0 ? -1 : n, &stop));
    uint64_t span = step > 0 ? (stop > start ? (uint64_t)(stop - start) : 0)
                             : (start > stop ? (uint64_t)(start - stop) : 0);
    uint64_t by = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    uint64_t k = span ? (span - 1) / by + 1 : 0;
    if (k <= 1) /* a huge step is never multiplied */
        step = 1;
    if (obj->type == TPL_RANGE) {
        tpl_range *r = tern_tpl_alloc(rt, 1, sizeof *r);
        if (!r)
            return rt->code;
        const tpl_range *o = obj->u.r;
        int64_t from, to, by2; /* in range: each is an element or one step past the last */
        if (__builtin_mul_overflow(start, o->step, &from) ||
            __builtin_add_overflow(from, o->start, &from) ||
            __builtin_mul_overflow(stop, o->step, &to) ||
            __builtin_add_overflow(to, o->start, &to) ||
            __builtin_mul_overflow(o->step, step, &by2))
            return too_large(rt);
        *r = (tpl_range){from, to, by2, k};
        *out = (tpl_val){.type = TPL_RANGE, .u.r = r};
        return TERN_OK;
    }
    if (k == 0)
        start = 0;
    return take_slice(rt, obj, start, step, k, out);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static tern_code star_args(tpl_rt *rt, const tpl_argnodes *a, const tpl_val **star, size_t *n_star,
                           tpl_val *star2)
{
    *n_star = 0;
    *star2 = TPL_V_NONE;
    if (a->star) {
        tpl_val v;
        TERN_TRY(tern_tpl_eval(rt, a->star, &v));
        TERN_TRY(tern_tpl_items(rt, &v, star, n_star));
    }
    if (a->star2) {
        TERN_TRY(tern_tpl_eval(rt, a->star2, star2));
        if (star2->type != TPL_DICT)
            return tern_tpl_fail(rt, TERN_E_FORMAT, "argument after ** must be a mapping, not %s",
                                 tern_tpl_type_name(star2));
    }
    return TERN_OK;
}

/* Evaluate arguments; extra is one more keyword argument (a call block's caller) or NULL. */
static tern_code eval_args(tpl_rt *rt, const tpl_argnodes *a, const tpl_val *extra, tpl_call *out)
{
    const tpl_val *star = NULL;
    size_t n_star;
    tpl_val star2;
    TERN_TRY(star_args(rt, a, &star, &n_star, &star2));
    size_t n2 = star2.type == TPL_DICT ? star2.u.d->n : 0;
    size_t n_pos = a->n_pos + n_star, n_kw = a->n_kw + n2 + (extra ? 1 : 0);
    tpl_val *v = tern_tpl_alloc(rt, n_pos + 2 * n_kw + 1, sizeof *v);
    if (!v)
        return rt->code;
    tpl_val *name = v + n_pos, *kw = name + n_kw;
    *out = (tpl_call){.pos = v, .n_pos = n_pos, .kw_name = name, .kw = kw, .n_kw = n_kw};
    for (size_t i = 0; i < a->n_pos; i++)
        TERN_TRY(tern_tpl_eval(rt, a->pos[i], &v[i]));
    if (n_star)
        memcpy(v + a->n_pos, star, n_star * sizeof *v);
    for (size_t i = 0; i < a->n_kw; i++) {
        name[i] = a->kw[2 * i]->val;
        TERN_TRY(tern_tpl_eval(rt, a->kw[2 * i + 1], &kw[i]));
    }
    for (size_t i = 0; i < n2; i++) {
        name[a->n_kw + i] = star2.u.d->k[i];
        kw[a->n_kw + i] = star2.u.d->v[i];
        if (star2.u.d->k[i].type != TPL_STR)
            return tern_tpl_fail(rt, TERN_E_FORMAT, "keywords must be strings");
    }
    if (extra) {
        TERN_TRY(tern_tpl_strz(rt, "caller", &name[n_kw - 1]));
        kw[n_kw - 1] = *extra;
    }
    for (size_t i = 0; i < n_kw; i++) {
        for (size_t k = 0; k < i; k++) {
            bool same;
            TERN_TRY(tern_tpl_equal(rt, &name[i], &name[k], &same));
            if (same)
                return tern_tpl_fail(rt, TERN_E_FORMAT, "keyword argument '%.*s' given twice",
                                     name[i].u.s->n > 60 ? 60 : (int)name[i].u.s->n,
                                     name[i].u.s->p);
        }
    }
    return TERN_OK;
}

/* Index of a name in "a b c", -1 if absent. */
static int param_index(const char *params, const tpl_str *name)
{
    int i = 0;
    while (*params) {
        size_t n = strcspn(params, " ");
        if (n == name->n && memcmp(params, name->p, n) == 0)
            return i;
        params += n + (params[n] == ' ');
        i++;
    }
    return -1;
}

static size_t param_count(const char *params)
{
    size_t n = *params ? 1 : 0;
    for (; *params; params++)
        n += *params == ' ';
    return n;
}

tern_code tern_tpl_call_builtin(tpl_rt *rt, const tpl_builtin *fn, const tpl_val *self,
                                const tpl_call *call, tpl_val *out)
{
    tpl_args a = {.self = *self, .call = call};
    tern_code rc = TERN_OK;
    if (strcmp(fn->params, "*") != 0) {
        if (call->n_pos > param_count(fn->params))
            return tern_tpl_fail(rt, TERN_E_FORMAT, "%s takes at most %zu arguments, %zu given",
                                 fn->name, param_count(fn->params), call->n_pos);
        for (size_t i = 0; i < call->n_pos; i++)
            a.p[i] = call->pos[i];
        for (size_t i = 0; i < call->n_kw; i++) {
            int at = param_index(fn->params, call->kw_name[i].u.s);
            if (at < 0 || a.p[at].type != TPL_MISSING)
                return tern_tpl_fail(rt, TERN_E_FORMAT, "%s: unexpected argument '%.*s'", fn->name,
                                     call->kw_name[i].u.s->n > 60 ? 60
                                                                  : (int)call->kw_name[i].u.s->n,
                                     call->kw_name[i].u.s->p);
            a.p[at] = call->kw[i];
        }
        for (int i = 0; i < fn->n_min; i++) {
            if (a.p[i].type == TPL_MISSING)
                return tern_tpl_fail(rt, TERN_E_FORMAT, "%s: argument %d is missing", fn->name,
                                     i + 1);
        }
    }
    TERN_TRY(tern_tpl_enter(rt));
    rc = fn->fn(rt, &a, out);
    tern_tpl_leave(rt);
    return rc;
}

tern_code tern_tpl_call_val(tpl_rt *rt, const tpl_val *f, const tpl_call *call, tpl_val *out)
{
    tpl_val none = TPL_V_NONE;
    switch ((tpl_type)f->type) {
    case TPL_UNDEF:
        return tern_tpl_undef_fail(rt, f);
    case TPL_MACRO:
        return tern_tpl_call_macro(rt, f->u.macro, call, out);
    case TPL_FUNC:
        return tern_tpl_call_builtin(rt, f->u.fn, &none, call, out);
    case TPL_METHOD:
        return tern_tpl_call_builtin(rt, f->u.method->fn, &f->u.method->self, call, out);
    case TPL_JOINER: /* a separator from the second call on */
        if (f->u.cycle->pos++)
            *out = f->u.cycle->v[0];
        else
            return tern_tpl_strz(rt, "", out);
        return TERN_OK;
    default:
        break;
    }
    return tern_tpl_fail(rt, TERN_E_FORMAT, "'%s' object is not callable", tern_tpl_type_name(f));
}

tern_code tern_tpl_eval_call(tpl_rt *rt, const tpl_node *e, const tpl_val *caller, tpl_val *out)
{
    tpl_val f;
    tpl_call call;
    TERN_TRY(tern_tpl_eval(rt, e->a, &f));
    TERN_TRY(eval_args(rt, e->args, caller, &call));
    rt->line = e->line;
    return tern_tpl_call_val(rt, &f, &call, out);
}

/* ---- evaluation ------------------------------------------------------------------------------ */

static tern_code eval_seq(tpl_rt *rt, const tpl_node *e, tpl_val *out)
{
    TERN_TRY(tern_tpl_list(rt, e->kind == E_LIST ? TPL_LIST : TPL_TUPLE, e->n_v, out));
    for (size_t i = 0; i < e->n_v; i++)
        TERN_TRY(tern_tpl_eval(rt, e->v[i], &out->u.l->v[i]));
    return TERN_OK;
}

static tern_code eval_dict(tpl_rt *rt, const tpl_node *e, tpl_val *out)
{
    TERN_TRY(tern_tpl_dict(rt, TPL_DICT, out));
    for (size_t i = 0; i < e->n_v; i++) {
        tpl_val k, v;
        TERN_TRY(tern_tpl_eval(rt, e->v[i], &k));
        TERN_TRY(tern_tpl_eval(rt, e->w[i], &v));
        TERN_TRY(tern_tpl_dict_set(rt, out->u.d, k, v));
    }
    return TERN_OK;
}

static tern_code compare_one(tpl_rt *rt, int op, const tpl_val *a, const tpl_val *b, bool *out)
{
    static const struct {
        int op;
        const char *text;
    } order[] = {{'<', "<"}, {T_LE, "<="}, {'>', ">"}, {T_GE, ">="}};
    if (op == TPL_OP_IN || op == TPL_OP_NOT_IN) {
        TERN_TRY(tern_tpl_contains(rt, b, a, out));
        *out = *out == (op == TPL_OP_IN);
        return TERN_OK;
    }
    if (op == T_EQ || op == T_NE) {
        TERN_TRY(tern_tpl_equal(rt, a, b, out));
        *out = *out == (op == T_EQ);
        return TERN_OK;
    }
    int c, i = 0;
    while (order[i].op != op)
        i++;
    TERN_TRY(tern_tpl_compare(rt, a, b, order[i].text, &c));
    *out = c != 2 &&
           ((i == 0 && c < 0) || (i == 1 && c <= 0) || (i == 2 && c > 0) || (i == 3 && c >= 0));
    return TERN_OK;
}

static tern_code eval_compare(tpl_rt *rt, const tpl_node *e, tpl_val *out)
{
    tpl_val a, b;
    bool yes = true;
    TERN_TRY(tern_tpl_eval(rt, e->a, &a));
    for (size_t i = 0; yes && i < e->n_v; i++) {
        TERN_TRY(tern_tpl_eval(rt, e->v[i]->a, &b));
        rt->line = e->line;
        TERN_TRY(compare_one(rt, e->v[i]->op, &a, &b, &yes));
        a = b;
    }
    *out = TPL_V_BOOL(yes);
    return TERN_OK;
}

static tern_code eval_concat(tpl_rt *rt, const tpl_node *e, tpl_val *out)
{
    tpl_val v;
    TERN_TRY(tern_tpl_eval(rt, e->v[0], out));
    TERN_TRY(tern_tpl_to_str(rt, out, out));
    for (size_t i = 1; i < e->n_v; i++) {
        TERN_TRY(tern_tpl_eval(rt, e->v[i], &v));
        TERN_TRY(tern_tpl_to_str(rt, &v, &v));
        TERN_TRY(join_str(rt, out->u.s, v.u.s, out));
    }
    out->safe = false;
    return TERN_OK;
}

static tern_code eval_name(tpl_rt *rt, const tpl_node *e, tpl_val *out)
{
    const tpl_val *v = tern_tpl_lookup(rt, e->name);
    const tpl_str *s = rt->t->names.v[e->name];
    if (v->type == TPL_MISSING)
        return tern_tpl_undef(rt, TPL_U_NAME, s->p, s->n, NULL, out);
    *out = *v;
    return TERN_OK;
}

static tern_code eval_sign(tpl_rt *rt, const tpl_node *e, tpl_val *out)
{
    tpl_val v;
    TERN_TRY(tern_tpl_eval(rt, e->a, &v));
    if (v.type == TPL_FLOAT) {
        *out = TPL_V_F64(e->kind == E_NEG ? -v.u.f : v.u.f);
        return TERN_OK;
    }
    if (v.type == TPL_UNDEF)
        return tern_tpl_undef_fail(rt, &v);
    if (!is_int(&v))
        return tern_tpl_fail(rt, TERN_E_FORMAT, "bad operand type for unary %c: '%s'",
                             e->kind == E_NEG ? '-' : '+', tern_tpl_type_name(&v));
    return int_op(rt, e->kind == E_NEG ? '-' : '+', 0, as_int(&v), out);
}

static tern_code eval_logic(tpl_rt *rt, const tpl_node *e, tpl_val *out)
{
    for (size_t i = 0; i < e->n_v; i++) {
        TERN_TRY(tern_tpl_eval(rt, e->v[i], out));
        if (tern_tpl_truthy(out) == (e->kind == E_OR))
            break;
    }
    return TERN_OK;
}

static tern_code eval_cond(tpl_rt *rt, const tpl_node *e, tpl_val *out)
{
    static const char text[] = "the inline if-expression was false and has no else";
    tpl_val v;
    TERN_TRY(tern_tpl_eval(rt, e->a, &v));
    if (tern_tpl_truthy(&v))
        return tern_tpl_eval(rt, e->b, out);
    if (e->c)
        return tern_tpl_eval(rt, e->c, out);
    return tern_tpl_undef(rt, TPL_U_TEXT, text, sizeof text - 1, NULL, out);
}

static tern_code eval_builtin(tpl_rt *rt, const tpl_node *e, tpl_val *out)
{
    tpl_val v;
    tpl_call call;
    TERN_TRY(tern_tpl_eval(rt, e->a, &v));
    TERN_TRY(eval_args(rt, e->args, NULL, &call));
    rt->line = e->line;
    return tern_tpl_call_builtin(rt, e->fn, &v, &call, out);
}

static tern_code eval_item(tpl_rt *rt, const tpl_node *e, tpl_val *out)
{
    tpl_val obj, key;
    TERN_TRY(tern_tpl_eval(rt, e->a, &obj));
    if (e->b && e->b->kind == E_SLICE)
        return slice(rt, &obj, e->b, out);
    TERN_TRY(tern_tpl_eval(rt, e->b, &key));
    rt->line = e->line;
    return tern_tpl_item(rt, &obj, &key, out);
}

static tern_code eval(tpl_rt *rt, const tpl_node *e, tpl_val *out)
{
    tpl_val a, b;
    switch ((tpl_kind)e->kind) {
    case E_CONST:
        *out = e->val;
        return TERN_OK;
    case E_NAME:
        return eval_name(rt, e, out);
    case E_TUPLE:
    case E_LIST:
        return eval_seq(rt, e, out);
    case E_DICT:
        return eval_dict(rt, e, out);
    case E_ATTR:
        TERN_TRY(tern_tpl_eval(rt, e->a, &a));
        return tern_tpl_attr(rt, &a, &e->val, out);
    case E_ITEM:
        return eval_item(rt, e, out);
    case E_CALL:
        return tern_tpl_eval_call(rt, e, NULL, out);
    case E_FILTER:
    case E_TEST:
        return eval_builtin(rt, e, out);
    case E_BIN:
        TERN_TRY(tern_tpl_eval(rt, e->a, &a));
        TERN_TRY(tern_tpl_eval(rt, e->b, &b));
        rt->line = e->line;
        return tern_tpl_binary(rt, e->op, &a, &b, out);
    case E_CMP:
        return eval_compare(rt, e, out);
    case E_AND:
    case E_OR:
        return eval_logic(rt, e, out);
    case E_NOT:
        TERN_TRY(tern_tpl_eval(rt, e->a, &a));
        *out = TPL_V_BOOL(!tern_tpl_truthy(&a));
        return TERN_OK;
    case E_NEG:
    case E_POS:
        return eval_sign(rt, e, out);
    case E_CONCAT:
        return eval_concat(rt, e, out);
    case E_COND:
        return eval_cond(rt, e, out);
    case E_BODY:
        *out = rt->body;
        return TERN_OK;
    default:
        return tern_tpl_fail(rt, TERN_E_INTERNAL, "not an expression");
    }
}

tern_code tern_tpl_eval(tpl_rt *rt, const tpl_node *e, tpl_val *out)
{
    rt->line = e->line;
    TERN_TRY(tern_tpl_enter(rt));
    tern_code rc = eval(rt, e, out);
    tern_tpl_leave(rt);
    return rc;
}

/* ---- sorting --------------------------------------------------------------------------------- */

/* Bottom-up merge sort of indices: stable, and each comparison may fail. */
tern_code tern_tpl_sort(tpl_rt *rt, const tpl_val *keys, size_t n, bool reverse, size_t *order)
{
    size_t *from = order, *to = tern_tpl_alloc(rt, n ? n : 1, sizeof *to);
    if (!to)
        return rt->code;
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    for (size_t w = 1; w < n; w *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * w) {
            size_t mid = lo + w < n ? lo + w : n, hi = mid + w < n ? mid + w : n;
            size_t a = lo, b = mid;
            for (size_t k = lo; k < hi; k++) {
                bool take_b = a == mid;
                if (!take_b && b < hi) {
                    int c;
                    TERN_TRY(tern_tpl_compare(rt, &keys[from[b]], &keys[from[a]], "<", &c));
                    take_b = reverse ? c == 1 : c == -1;
                }
                to[k] = take_b ? from[b++] : from[a++];
            }
        }
        size_t *t = from;
        from = to;
        to = t;
    }
    if (from != order)
        memcpy(order, from, n * sizeof *order);
    return TERN_OK;
}
