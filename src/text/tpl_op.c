/* Operators: arithmetic, joining and repeating, as Python defines them; and sorting. */
#include "text/tpl.h"

#include <math.h>
#include <string.h>

/* a + b. Room is left behind the result, so that s = s + x in a loop copies only x. */
tern_code tern_tpl_join(tpl_rt *rt, const tpl_str *a, const tpl_str *b, tpl_val *out)
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
    TERN_TRY(tern_tpl_join(rt, a.u.s, b.u.s, out));
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
