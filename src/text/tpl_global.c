/* The global functions a template may call: the fixed list of what it can reach. */
#include "text/tpl.h"

#include <string.h>

#define MAX_RANGE 100000 /* the sandbox's own limit */

static tern_code g_range(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    int64_t v[3] = {0, 0, 1};
    size_t n = a->call->n_pos;
    if (n < 1 || n > 3 || a->call->n_kw)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "range takes 1 to 3 integers");
    for (size_t i = 0; i < n; i++) {
        if (a->call->pos[i].type == TPL_NONE)
            return tern_tpl_fail(rt, TERN_E_FORMAT, "range takes integers, not None");
        TERN_TRY(tern_tpl_arg_int(rt, &a->call->pos[i], 0, &v[n == 1 ? 1 : i]));
    }
    if (v[2] == 0)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "range: the step must not be zero");
    bool up = v[2] > 0;
    uint64_t span = 0, by = up ? (uint64_t)v[2] : 0 - (uint64_t)v[2];
    if (up ? v[1] > v[0] : v[0] > v[1])
        span = up ? (uint64_t)v[1] - (uint64_t)v[0] : (uint64_t)v[0] - (uint64_t)v[1];
    uint64_t count = span ? (span - 1) / by + 1 : 0;
    if (count > MAX_RANGE)
        return tern_tpl_fail(rt, TERN_E_LIMIT, "a range has more than %d items", MAX_RANGE);
    tpl_range *r = tern_tpl_alloc(rt, 1, sizeof *r);
    if (!r)
        return rt->code;
    *r = (tpl_range){v[0], v[1], v[2], (size_t)count};
    *out = (tpl_val){.type = TPL_RANGE, .u.r = r};
    return TERN_OK;
}

static tern_code fill_dict(tpl_rt *rt, const tpl_call *c, tpl_dict *d)
{
    if (c->n_pos > 1)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "dict takes at most 1 argument");
    if (c->n_pos && (c->pos[0].type == TPL_DICT || c->pos[0].type == TPL_NAMESPACE)) {
        for (size_t i = 0; i < c->pos[0].u.d->n; i++)
            TERN_TRY(tern_tpl_dict_set(rt, d, c->pos[0].u.d->k[i], c->pos[0].u.d->v[i]));
    } else if (c->n_pos) {
        const tpl_val *v, *pair;
        size_t n, two;
        TERN_TRY(tern_tpl_items(rt, &c->pos[0], &v, &n));
        for (size_t i = 0; i < n; i++) {
            TERN_TRY(tern_tpl_items(rt, &v[i], &pair, &two));
            if (two != 2)
                return tern_tpl_fail(rt, TERN_E_FORMAT, "dict: item %zu is not a pair", i);
            TERN_TRY(tern_tpl_dict_set(rt, d, pair[0], pair[1]));
        }
    }
    for (size_t i = 0; i < c->n_kw; i++)
        TERN_TRY(tern_tpl_dict_set(rt, d, c->kw_name[i], c->kw[i]));
    return TERN_OK;
}

static tern_code g_dict(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    TERN_TRY(tern_tpl_dict(rt, TPL_DICT, out));
    return fill_dict(rt, a->call, out->u.d);
}

static tern_code g_namespace(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    TERN_TRY(tern_tpl_dict(rt, TPL_NAMESPACE, out));
    TERN_TRY(fill_dict(rt, a->call, out->u.d));
    for (size_t i = 0; i < out->u.d->n; i++) {
        const tpl_val *k = &out->u.d->k[i];
        if (k->type == TPL_STR && k->u.s->n && k->u.s->p[0] == '_')
            return tern_tpl_fail(rt, TERN_E_FORMAT, "a namespace name begins with '_'");
    }
    return TERN_OK;
}

static tern_code cycle_new(tpl_rt *rt, tpl_type type, const tpl_val *v, size_t n, tpl_val *out)
{
    tpl_cycle *c = tern_tpl_alloc(rt, 1, sizeof *c);
    if (!c)
        return rt->code;
    *c = (tpl_cycle){.v = v, .n = n};
    *out = (tpl_val){.type = (uint8_t)type, .u.cycle = c};
    return TERN_OK;
}

static tern_code g_cycler(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    if (!a->call->n_pos || a->call->n_kw)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "cycler: at least one item has to be provided");
    return cycle_new(rt, TPL_CYCLER, a->call->pos, a->call->n_pos, out);
}

static tern_code g_joiner(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    tpl_val sep;
    TERN_TRY(tern_tpl_list(rt, TPL_LIST, 1, &sep));
    if (a->p[0].type == TPL_MISSING)
        TERN_TRY(tern_tpl_strz(rt, ", ", &sep.u.l->v[0]));
    else
        sep.u.l->v[0] = a->p[0];
    return cycle_new(rt, TPL_JOINER, sep.u.l->v, 1, out);
}

static tern_code g_raise(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    tpl_val s;
    TERN_TRY(tern_tpl_to_str(rt, &a->p[0], &s));
    (void)out;
    return tern_fail(rt->err, TERN_E_USAGE, "%.*s", s.u.s->n > 255 ? 255 : (int)s.u.s->n, s.u.s->p);
}

static tern_code g_strftime(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    TERN_TRY(tern_tpl_need_str(rt, &a->p[0], "strftime_now"));
    size_t mark = rt->out.len;
    TERN_TRY(tern_tpl_put_time(rt, a->p[0].u.s->p, a->p[0].u.s->n));
    return tern_tpl_take(rt, mark, out);
}

const tpl_builtin tern_tpl_globals[] = {
    {"cycler", "*", 0, g_cycler},
    {"dict", "*", 0, g_dict},
    {"joiner", "sep", 0, g_joiner},
    {"namespace", "*", 0, g_namespace},
    {"raise_exception", "message", 1, g_raise},
    {"range", "*", 0, g_range},
    {"strftime_now", "format", 1, g_strftime},
    {NULL, NULL, 0, NULL},
};
