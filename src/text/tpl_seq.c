/* Filters over sequences. Those that are generators in Jinja2 give a value whose items can be taken
 * once; they are computed at once here, and a failure waits until the items are taken. */
#include "text/tpl.h"

#include <string.h>

static tpl_val missing(void)
{
    return (tpl_val){.type = TPL_MISSING};
}

static tern_code empty_undef(tpl_rt *rt, const char *text, tpl_val *out)
{
    return tern_tpl_undef(rt, TPL_U_TEXT, text, strlen(text), NULL, out);
}

/* ---- keys: attribute paths and folded case --------------------------------------------------- */

/* item.a.b for the path "a.b"; parts of digits are indices. */
static tern_code get_path(tpl_rt *rt, const tpl_val *item, const char *path, size_t n,
                          const tpl_val *dflt, tpl_val *out)
{
    *out = *item;
    for (size_t i = 0; i <= n;) {
        const char *dot = i < n ? memchr(path + i, '.', n - i) : NULL;
        size_t len = dot ? (size_t)(dot - (path + i)) : n - i;
        tpl_val key;
        int64_t index;
        bool digits = len > 0;
        for (size_t k = 0; k < len; k++)
            digits = digits && path[i + k] >= '0' && path[i + k] <= '9';
        if (digits && tern_tpl_read_int(path + i, len, 10, &index))
            key = TPL_V_INT(index);
        else
            TERN_TRY(tern_tpl_str(rt, path + i, len, &key));
        TERN_TRY(tern_tpl_item(rt, out, &key, out));
        if (out->type == TPL_UNDEF && dflt->type != TPL_MISSING && dflt->type != TPL_NONE)
            *out = *dflt;
        i += len + 1;
    }
    return TERN_OK;
}

static tern_code get_attr(tpl_rt *rt, const tpl_val *item, const tpl_val *attr, const tpl_val *dflt,
                          tpl_val *out)
{
    *out = *item;
    if (attr->type == TPL_MISSING || attr->type == TPL_NONE)
        return TERN_OK;
    if (attr->type == TPL_STR)
        return get_path(rt, item, attr->u.s->p, attr->u.s->n, dflt, out);
    TERN_TRY(tern_tpl_item(rt, item, attr, out));
    if (out->type == TPL_UNDEF && dflt->type != TPL_MISSING && dflt->type != TPL_NONE)
        *out = *dflt;
    return TERN_OK;
}

static tern_code fold(tpl_rt *rt, tpl_val *v)
{
    if (v->type != TPL_STR)
        return TERN_OK;
    size_t mark = rt->out.len;
    TERN_TRY(tern_tpl_put_case(rt, v->u.s->p, v->u.s->n, TPL_LOWER));
    return tern_tpl_take(rt, mark, v);
}

typedef struct key_rule {
    const tpl_val *attr, *dflt;
    bool fold_case;
    bool many; /* attr lists paths with commas; the key is a list, so equal parts need no order */
} key_rule;

static tern_code one_key(tpl_rt *rt, const tpl_val *item, const key_rule *k, tpl_val *out)
{
    const tpl_str *s = k->attr->type == TPL_STR ? k->attr->u.s : NULL;
    size_t n = 1, at = 0;
    tpl_val one;
    if (!k->many || !s) {
        TERN_TRY(get_attr(rt, item, k->attr, k->dflt, &one));
        if (k->fold_case)
            TERN_TRY(fold(rt, &one));
        *out = one;
        if (!k->many)
            return TERN_OK;
        TERN_TRY(tern_tpl_list(rt, TPL_LIST, 1, out));
        out->u.l->v[0] = one;
        return TERN_OK;
    }
    for (size_t i = 0; i < s->n; i++)
        n += s->p[i] == ',';
    TERN_TRY(tern_tpl_list(rt, TPL_LIST, n, out));
    for (size_t i = 0; i < n; i++) {
        const char *comma = memchr(s->p + at, ',', s->n - at);
        size_t len = comma ? (size_t)(comma - (s->p + at)) : s->n - at;
        TERN_TRY(get_path(rt, item, s->p + at, len, k->dflt, &out->u.l->v[i]));
        if (k->fold_case)
            TERN_TRY(fold(rt, &out->u.l->v[i]));
        at += len + 1;
    }
    return TERN_OK;
}

static tern_code keys_of(tpl_rt *rt, const tpl_val *v, size_t n, const key_rule *k, tpl_val **out)
{
    *out = tern_tpl_alloc(rt, n ? n : 1, sizeof **out);
    if (!*out)
        return rt->code;
    for (size_t i = 0; i < n; i++)
        TERN_TRY(one_key(rt, &v[i], k, &(*out)[i]));
    return TERN_OK;
}

/* v in the order of its keys, as a list. */
static tern_code sorted(tpl_rt *rt, const tpl_val *v, size_t n, const tpl_val *keys, bool reverse,
                        tpl_val *out)
{
    size_t *order = tern_tpl_alloc(rt, n ? n : 1, sizeof *order);
    if (!order)
        return rt->code;
    TERN_TRY(tern_tpl_sort(rt, keys, n, reverse, order));
    TERN_TRY(tern_tpl_list(rt, TPL_LIST, n, out));
    for (size_t i = 0; i < n; i++)
        out->u.l->v[i] = v[order[i]];
    return TERN_OK;
}

/* ---- plain ----------------------------------------------------------------------------------- */

static tern_code f_list(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_val *v;
    size_t n;
    TERN_TRY(tern_tpl_items(rt, &a->self, &v, &n));
    TERN_TRY(tern_tpl_list(rt, TPL_LIST, n, out));
    if (n)
        memcpy(out->u.l->v, v, n * sizeof *v);
    return TERN_OK;
}

static tern_code f_first(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_val *v;
    size_t n;
    if (a->self.type == TPL_ITER) { /* takes one item and leaves the rest */
        tpl_iter *it = a->self.u.it;
        if (!it->failure && it->pos < it->n) {
            *out = it->v[it->pos++];
            return TERN_OK;
        }
    }
    TERN_TRY(tern_tpl_items(rt, &a->self, &v, &n));
    if (n == 0)
        return empty_undef(rt, "No first item, sequence was empty.", out);
    *out = v[0];
    return TERN_OK;
}

static bool reversible(const tpl_val *v)
{
    return v->type == TPL_UNDEF ||
           (v->type >= TPL_STR && v->type <= TPL_VIEW && v->type != TPL_ITER);
}

static tern_code f_last(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_val *v;
    size_t n;
    if (!reversible(&a->self))
        return tern_tpl_fail(rt, TERN_E_FORMAT, "'%s' object is not reversible",
                             tern_tpl_type_name(&a->self));
    TERN_TRY(tern_tpl_items(rt, &a->self, &v, &n));
    if (n == 0)
        return empty_undef(rt, "No last item, sequence was empty.", out);
    *out = v[n - 1];
    return TERN_OK;
}

static tern_code f_reverse(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_val *v;
    size_t n, mark = rt->out.len;
    TERN_TRY(tern_tpl_items(rt, &a->self, &v, &n));
    if (a->self.type == TPL_STR) {
        for (size_t i = n; i > 0; i--)
            TERN_TRY(tern_tpl_put_str(rt, &v[i - 1]));
        TERN_TRY(tern_tpl_take(rt, mark, out));
        out->safe = a->self.safe;
        return TERN_OK;
    }
    TERN_TRY(tern_tpl_list(rt, TPL_LIST, n, out));
    for (size_t i = 0; i < n; i++)
        out->u.l->v[i] = v[n - 1 - i];
    return reversible(&a->self) ? tern_tpl_iter(rt, out->u.l->v, n, out) : TERN_OK;
}

static tern_code f_join(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_val *v;
    size_t n, mark = rt->out.len;
    tpl_val sep, item, none = missing();
    TERN_TRY(tern_tpl_strz(rt, "", &sep));
    if (a->p[0].type != TPL_MISSING)
        TERN_TRY(tern_tpl_to_str(rt, &a->p[0], &sep));
    TERN_TRY(tern_tpl_items(rt, &a->self, &v, &n));
    for (size_t i = 0; i < n; i++) {
        if (i)
            TERN_TRY(tern_tpl_put(rt, sep.u.s->p, sep.u.s->n));
        TERN_TRY(get_attr(rt, &v[i], &a->p[1], &none, &item));
        TERN_TRY(tern_tpl_put_str(rt, &item));
    }
    return tern_tpl_take(rt, mark, out);
}

static tern_code dict_pairs(tpl_rt *rt, const tpl_val *v, tpl_val *out)
{
    tpl_view view = {v->u.d, TPL_ITEMS};
    tpl_val w = {.type = TPL_VIEW, .u.view = &view};
    const tpl_val *items;
    size_t n;
    TERN_TRY(tern_tpl_items(rt, &w, &items, &n));
    TERN_TRY(tern_tpl_list(rt, TPL_LIST, n, out));
    if (n)
        memcpy(out->u.l->v, items, n * sizeof *items);
    return TERN_OK;
}

static tern_code f_items(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    if (a->self.type == TPL_UNDEF)
        return tern_tpl_iter(rt, NULL, 0, out);
    if (a->self.type != TPL_DICT)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "Can only get item pairs from a mapping.");
    TERN_TRY(dict_pairs(rt, &a->self, out));
    return tern_tpl_iter(rt, out->u.l->v, out->u.l->n, out);
}

/* ---- order ----------------------------------------------------------------------------------- */

static tern_code f_dictsort(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    tpl_val pairs, pos, none = missing();
    bool by_value = tern_tpl_is(&a->p[1], "value");
    if (a->self.type == TPL_UNDEF)
        return tern_tpl_undef_fail(rt, &a->self);
    if (a->self.type != TPL_DICT)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "dictsort: '%s' has no items",
                             tern_tpl_type_name(&a->self));
    if (!by_value && a->p[1].type != TPL_MISSING && !tern_tpl_is(&a->p[1], "key"))
        return tern_tpl_fail(rt, TERN_E_FORMAT, "dictsort sorts by 'key' or 'value'");
    pos = TPL_V_INT(by_value);
    key_rule k = {&pos, &none, !tern_tpl_arg_bool(&a->p[0], false), false};
    tpl_val *keys;
    TERN_TRY(dict_pairs(rt, &a->self, &pairs));
    TERN_TRY(keys_of(rt, pairs.u.l->v, pairs.u.l->n, &k, &keys));
    return sorted(rt, pairs.u.l->v, pairs.u.l->n, keys, tern_tpl_arg_bool(&a->p[2], false), out);
}

static tern_code f_sort(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_val *v;
    tpl_val *keys, none = missing();
    size_t n;
    key_rule k = {&a->p[2], &none, !tern_tpl_arg_bool(&a->p[1], false), true};
    TERN_TRY(tern_tpl_items(rt, &a->self, &v, &n));
    TERN_TRY(keys_of(rt, v, n, &k, &keys));
    return sorted(rt, v, n, keys, tern_tpl_arg_bool(&a->p[0], false), out);
}

static tern_code extreme(tpl_rt *rt, const tpl_args *a, int want, tpl_val *out)
{
    const tpl_val *v;
    tpl_val *keys, none = missing();
    size_t n, best = 0;
    key_rule k = {&a->p[1], &none, !tern_tpl_arg_bool(&a->p[0], false), false};
    TERN_TRY(tern_tpl_items(rt, &a->self, &v, &n));
    if (n == 0)
        return empty_undef(rt, "No aggregated item, sequence was empty.", out);
    TERN_TRY(keys_of(rt, v, n, &k, &keys));
    for (size_t i = 1; i < n; i++) {
        int c;
        TERN_TRY(tern_tpl_compare(rt, &keys[i], &keys[best], want < 0 ? "<" : ">", &c));
        if (c == want)
            best = i;
    }
    *out = v[best];
    return TERN_OK;
}

static tern_code f_min(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return extreme(rt, a, -1, out);
}

static tern_code f_max(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return extreme(rt, a, 1, out);
}

static tern_code f_unique(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_val *v;
    tpl_val *keys, seen, l, none = missing();
    size_t n, k = 0;
    key_rule rule = {&a->p[1], &none, !tern_tpl_arg_bool(&a->p[0], false), false};
    TERN_TRY(tern_tpl_items(rt, &a->self, &v, &n));
    TERN_TRY(keys_of(rt, v, n, &rule, &keys));
    TERN_TRY(tern_tpl_dict(rt, TPL_DICT, &seen));
    TERN_TRY(tern_tpl_list(rt, TPL_LIST, n, &l));
    for (size_t i = 0; i < n; i++) {
        tpl_val *old;
        TERN_TRY(tern_tpl_dict_get(rt, seen.u.d, keys[i], &old));
        if (old)
            continue;
        TERN_TRY(tern_tpl_dict_set(rt, seen.u.d, keys[i], none));
        l.u.l->v[k++] = v[i];
    }
    return tern_tpl_iter(rt, l.u.l->v, k, out);
}

static tern_code group_one(tpl_rt *rt, tpl_val key, const tpl_val *v, size_t n, tpl_val *out)
{
    tpl_val items;
    TERN_TRY(tern_tpl_list(rt, TPL_LIST, n, &items));
    memcpy(items.u.l->v, v, n * sizeof *v);
    TERN_TRY(tern_tpl_pair(rt, key, items, out));
    out->u.l->group = true;
    return TERN_OK;
}

static tern_code f_groupby(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_val *v;
    tpl_val *keys, all, groups, key;
    size_t n, k = 0;
    key_rule rule = {&a->p[0], &a->p[1], !tern_tpl_arg_bool(&a->p[2], false), false};
    TERN_TRY(tern_tpl_items(rt, &a->self, &v, &n));
    TERN_TRY(keys_of(rt, v, n, &rule, &keys));
    TERN_TRY(sorted(rt, v, n, keys, false, &all));
    v = all.u.l->v;
    TERN_TRY(keys_of(rt, v, n, &rule, &keys));
    TERN_TRY(tern_tpl_list(rt, TPL_LIST, n, &groups));
    for (size_t i = 0, end; i < n; i = end) {
        bool same = true;
        for (end = i + 1; end < n; end++) {
            TERN_TRY(tern_tpl_equal(rt, &keys[i], &keys[end], &same));
            if (!same)
                break;
        }
        key = keys[i];
        if (rule.fold_case) /* the group is named as its first item spells it */
            TERN_TRY(get_attr(rt, &v[i], rule.attr, rule.dflt, &key));
        TERN_TRY(group_one(rt, key, v + i, end - i, &groups.u.l->v[k++]));
    }
    groups.u.l->n = k;
    *out = groups;
    return TERN_OK;
}

static tern_code f_sum(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_val *v;
    tpl_val item, none = missing();
    size_t n;
    *out = a->p[1].type == TPL_MISSING ? TPL_V_INT(0) : a->p[1];
    if (out->type == TPL_STR)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "sum() can't sum strings");
    TERN_TRY(tern_tpl_items(rt, &a->self, &v, &n));
    for (size_t i = 0; i < n; i++) {
        TERN_TRY(get_attr(rt, &v[i], &a->p[0], &none, &item));
        TERN_TRY(tern_tpl_binary(rt, '+', out, &item, out));
    }
    return TERN_OK;
}

/* ---- slices ---------------------------------------------------------------------------------- */

static tern_code f_batch(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_val *v;
    tpl_val l;
    size_t n, k = 0;
    int64_t size;
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[0], 0, &size));
    TERN_TRY(tern_tpl_items(rt, &a->self, &v, &n));
    if (size <= 0) /* Jinja2 never sees the batch as full */
        size = n ? (int64_t)n : 1;
    size_t w = (uint64_t)size < n ? (size_t)size : n;
    bool fill = a->p[1].type != TPL_MISSING && a->p[1].type != TPL_NONE;
    if (fill && (uint64_t)size > n && n)
        TERN_TRY(tern_tpl_spend(rt, (size_t)size));
    TERN_TRY(tern_tpl_list(rt, TPL_LIST, w ? n / w + 1 : 0, &l));
    for (size_t i = 0; i < n; i += w) {
        size_t have = n - i < w ? n - i : w, len = fill ? (size_t)size : have;
        tpl_val *row = &l.u.l->v[k++];
        TERN_TRY(tern_tpl_list(rt, TPL_LIST, len, row));
        for (size_t c = 0; c < len; c++)
            row->u.l->v[c] = c < have ? v[i + c] : a->p[1];
    }
    return tern_tpl_iter(rt, l.u.l->v, k, out);
}

static tern_code f_slice(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_val *v;
    tpl_val l;
    size_t n, at = 0;
    int64_t count;
    TERN_TRY(tern_tpl_arg_int(rt, &a->p[0], 0, &count));
    TERN_TRY(tern_tpl_items(rt, &a->self, &v, &n));
    if (count <= 0)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "slice: the number of slices must be positive");
    bool fill = a->p[1].type != TPL_MISSING && a->p[1].type != TPL_NONE;
    size_t k = (size_t)count, per = n / k, more = n % k;
    TERN_TRY(tern_tpl_list(rt, TPL_LIST, k, &l));
    for (size_t i = 0; i < k; i++) {
        size_t have = per + (i < more), len = have + (fill && i >= more);
        TERN_TRY(tern_tpl_list(rt, TPL_LIST, len, &l.u.l->v[i]));
        for (size_t c = 0; c < len; c++)
            l.u.l->v[i].u.l->v[c] = c < have ? v[at + c] : a->p[1];
        at += have;
    }
    return tern_tpl_iter(rt, l.u.l->v, k, out);
}

/* ---- map, select, reject --------------------------------------------------------------------- */

/* The keyword argument of that name, or missing. */
static tpl_val keyword(const tpl_call *c, const char *name)
{
    for (size_t i = 0; i < c->n_kw; i++) {
        if (tern_tpl_is(&c->kw_name[i], name))
            return c->kw[i];
    }
    return missing();
}

static tern_code f_map(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    const tpl_call *c = a->call;
    const tpl_val *v;
    tpl_val l, attr = keyword(c, "attribute"), dflt = keyword(c, "default");
    const tpl_builtin *f = NULL;
    tpl_call rest = *c;
    size_t n;
    if (!tern_tpl_truthy(&a->self))
        return tern_tpl_iter(rt, NULL, 0, out);
    if (c->n_pos) {
        TERN_TRY(tern_tpl_need_str(rt, &c->pos[0], "map"));
        f = tern_tpl_find_filter(c->pos[0].u.s->p, c->pos[0].u.s->n);
        if (!f)
            return tern_tpl_fail(rt, TERN_E_UNSUPPORTED, "map: this filter is not supported");
        rest.pos++;
        rest.n_pos--;
    } else if (attr.type == TPL_MISSING || c->n_kw > 1 + (size_t)(dflt.type != TPL_MISSING)) {
        return tern_tpl_fail(rt, TERN_E_FORMAT, "map requires a filter or an attribute");
    }
    TERN_TRY(tern_tpl_items(rt, &a->self, &v, &n));
    TERN_TRY(tern_tpl_list(rt, TPL_LIST, n, &l));
    for (size_t i = 0; i < n; i++) {
        if (f)
            TERN_TRY(tern_tpl_call_builtin(rt, f, &v[i], &rest, &l.u.l->v[i]));
        else
            TERN_TRY(get_attr(rt, &v[i], &attr, &dflt, &l.u.l->v[i]));
    }
    return tern_tpl_iter(rt, l.u.l->v, n, out);
}

static tern_code choose(tpl_rt *rt, const tpl_args *a, bool by_attr, bool want, tpl_val *out)
{
    tpl_call rest = *a->call;
    const tpl_builtin *test = NULL;
    const tpl_val *v;
    tpl_val l, attr = missing(), none = missing(), x;
    size_t n, k = 0;
    if (!tern_tpl_truthy(&a->self))
        return tern_tpl_iter(rt, NULL, 0, out);
    if (by_attr) {
        if (!rest.n_pos)
            return tern_tpl_fail(rt, TERN_E_FORMAT, "Missing parameter for attribute name");
        attr = *rest.pos++;
        rest.n_pos--;
    }
    if (rest.n_pos) {
        TERN_TRY(tern_tpl_need_str(rt, &rest.pos[0], "test"));
        test = tern_tpl_find(tern_tpl_tests, rest.pos[0].u.s->p, rest.pos[0].u.s->n);
        if (!test)
            return tern_tpl_fail(rt, TERN_E_UNSUPPORTED, "select: this test is not supported");
        rest.pos++;
        rest.n_pos--;
    }
    TERN_TRY(tern_tpl_items(rt, &a->self, &v, &n));
    TERN_TRY(tern_tpl_list(rt, TPL_LIST, n, &l));
    for (size_t i = 0; i < n; i++) {
        TERN_TRY(get_attr(rt, &v[i], &attr, &none, &x));
        if (test)
            TERN_TRY(tern_tpl_call_builtin(rt, test, &x, &rest, &x));
        if (tern_tpl_truthy(&x) == want)
            l.u.l->v[k++] = v[i];
    }
    return tern_tpl_iter(rt, l.u.l->v, k, out);
}

static tern_code f_select(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return choose(rt, a, false, true, out);
}

static tern_code f_reject(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return choose(rt, a, false, false, out);
}

static tern_code f_selectattr(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return choose(rt, a, true, true, out);
}

static tern_code f_rejectattr(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    return choose(rt, a, true, false, out);
}

bool tern_tpl_is_generator(const tpl_builtin *fn)
{
    static const tpl_fn generators[] = {f_batch,  f_items,      f_map,   f_reject, f_rejectattr,
                                        f_select, f_selectattr, f_slice, f_unique};
    for (size_t i = 0; i < sizeof generators / sizeof *generators; i++) {
        if (fn->fn == generators[i])
            return true;
    }
    return false;
}

const tpl_builtin tern_tpl_seq_filters[] = {
    {"batch", "linecount fill_with", 1, f_batch},
    {"dictsort", "case_sensitive by reverse", 0, f_dictsort},
    {"first", "", 0, f_first},
    {"groupby", "attribute default case_sensitive", 1, f_groupby},
    {"items", "", 0, f_items},
    {"join", "d attribute", 0, f_join},
    {"last", "", 0, f_last},
    {"list", "", 0, f_list},
    {"map", "*", 0, f_map},
    {"max", "case_sensitive attribute", 0, f_max},
    {"min", "case_sensitive attribute", 0, f_min},
    {"reject", "*", 0, f_reject},
    {"rejectattr", "*", 0, f_rejectattr},
    {"reverse", "", 0, f_reverse},
    {"select", "*", 0, f_select},
    {"selectattr", "*", 0, f_selectattr},
    {"slice", "slices fill_with", 1, f_slice},
    {"sort", "reverse case_sensitive attribute", 0, f_sort},
    {"sum", "attribute start", 0, f_sum},
    {"unique", "case_sensitive attribute", 0, f_unique},
    {NULL, NULL, 0, NULL},
};
