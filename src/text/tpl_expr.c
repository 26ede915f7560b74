/* Expressions: access to attributes and items, and calls, with the meaning Python gives them.
 * Operators are in tpl_op.c. */
#include "text/tpl.h"

#include <string.h>

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
    if (!is_seq(obj) && obj->type != TPL_RANGE) /* unlike an index, this is never undefined */
        return tern_tpl_fail(rt, TERN_E_FORMAT, "'%s' object cannot be sliced",
                             tern_tpl_type_name(obj));
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
            return tern_tpl_fail(rt, TERN_E_LIMIT, "an integer passes 64 bits");
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
                                     tern_tpl_cut(name[i].u.s->p, name[i].u.s->n, 60),
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

/* A generator that fails with the present message when its items are taken. */
static tern_code failed_later(tpl_rt *rt, tpl_val *out)
{
    static const char unknown[] = "a filter failed";
    TERN_TRY(tern_tpl_iter(rt, NULL, 0, out));
    out->u.it->failure = unknown;
    if (!rt->err)
        return TERN_OK;
    out->u.it->failure = tern_arena_strdup_n(&rt->arena, rt->err->msg, strlen(rt->err->msg));
    return out->u.it->failure ? TERN_OK
                              : tern_tpl_arena_fail(&rt->arena, strlen(rt->err->msg) + 1, rt->err);
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
                return tern_tpl_fail(
                    rt, TERN_E_FORMAT, "%s: unexpected argument '%.*s'", fn->name,
                    tern_tpl_cut(call->kw_name[i].u.s->p, call->kw_name[i].u.s->n, 60),
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
    int nest = rt->nest;
    size_t mark = rt->out.len;
    rc = fn->fn(rt, &a, out);
    if (rc == TERN_E_FORMAT && tern_tpl_is_generator(fn)) {
        rt->nest = nest;
        rt->out.len = mark;
        rc = failed_later(rt, out);
    }
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
        TERN_TRY(tern_tpl_join(rt, out->u.s, v.u.s, out));
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
    tpl_val v, zero = TPL_V_INT(0);
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
    return tern_tpl_binary(rt, e->kind == E_NEG ? '-' : '+', &zero, &v, out);
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
