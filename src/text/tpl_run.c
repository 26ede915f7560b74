/* Statements, scopes, loops and macros, and the two entry points: compile and render. */
#include "base/alloc.h"
#include "base/utf8.h"
#include "text/tpl.h"

#include <string.h>

typedef enum flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE } flow;

static tern_code exec_body(tpl_rt *rt, tpl_node *const *v, size_t n, flow *f);

/* ---- scopes ---------------------------------------------------------------------------------- */

tern_code tern_tpl_scope_new(tpl_rt *rt, tpl_scope *parent, tpl_scope **out)
{
    tpl_scope *s = tern_tpl_alloc(rt, 1, sizeof *s);
    if (!s)
        return rt->code;
    *s = (tpl_scope){.parent = parent};
    *out = s;
    return TERN_OK;
}

tpl_val *tern_tpl_lookup(tpl_rt *rt, uint32_t name)
{
    for (const tpl_scope *s = rt->scope; s; s = s->parent) {
        for (size_t i = 0; i < s->n; i++) {
            if (s->v[i].name == name)
                return &s->v[i].val;
        }
    }
    return &rt->root[name];
}

tern_code tern_tpl_assign(tpl_rt *rt, uint32_t name, tpl_val v)
{
    tpl_scope *s = rt->scope;
    if (!s) {
        rt->root[name] = v;
        return TERN_OK;
    }
    for (size_t i = 0; i < s->n; i++) {
        if (s->v[i].name == name) {
            s->v[i].val = v;
            return TERN_OK;
        }
    }
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 4;
        tpl_var *more = tern_tpl_alloc(rt, cap, sizeof *more);
        if (!more)
            return rt->code;
        if (s->n)
            memcpy(more, s->v, s->n * sizeof *more);
        s->v = more;
        s->cap = cap;
    }
    s->v[s->n++] = (tpl_var){name, v};
    return TERN_OK;
}

static tern_code assign_attr(tpl_rt *rt, const tpl_node *t, const tpl_val *v)
{
    const tpl_val *ns = tern_tpl_lookup(rt, t->name);
    if (ns->type != TPL_NAMESPACE)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "cannot assign attribute on non-namespace object");
    if (t->val.u.s->p[0] == '_')
        return tern_tpl_fail(rt, TERN_E_FORMAT, "a namespace name begins with '_'");
    return tern_tpl_dict_set(rt, ns->u.d, t->val, *v);
}

/* Assign to a name, a namespace's attribute, or unpack to a tuple of them. */
static tern_code assign(tpl_rt *rt, const tpl_node *t, const tpl_val *v)
{
    if (t->kind == E_NAME)
        return tern_tpl_assign(rt, t->name, *v);
    if (t->kind == E_NSREF)
        return assign_attr(rt, t, v);
    const tpl_val *items;
    size_t n;
    TERN_TRY(tern_tpl_enter(rt));
    if (v->type == TPL_UNDEF && t->n_v) /* an undefined value iterates as empty */
        return tern_tpl_fail(rt, TERN_E_FORMAT, "not enough values to unpack");
    TERN_TRY(tern_tpl_items(rt, v, &items, &n));
    if (n != t->n_v)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "%s values to unpack (expected %zu, got %zu)",
                             n < t->n_v ? "not enough" : "too many", t->n_v, n);
    for (size_t i = 0; i < n; i++)
        TERN_TRY(assign(rt, t->v[i], &items[i]));
    tern_tpl_leave(rt);
    return TERN_OK;
}

/* Run a body with its output as a string value; its assignments are its own. */
static tern_code capture(tpl_rt *rt, tpl_node *const *v, size_t n, tpl_val *out)
{
    size_t mark = rt->out.len;
    tpl_scope *outer = rt->scope;
    flow f = FLOW_NEXT;
    TERN_TRY(tern_tpl_scope_new(rt, outer, &rt->scope));
    TERN_TRY(exec_body(rt, v, n, &f));
    rt->scope = outer;
    return tern_tpl_take(rt, mark, out);
}

/* ---- loops ----------------------------------------------------------------------------------- */

tern_code tern_tpl_loop_fill(tpl_rt *rt, tpl_loop *l, size_t want)
{
    tpl_scope *here = rt->scope;
    while (l->n < want && l->pos < l->n_src) {
        const tpl_val *item = &l->src[l->pos++];
        bool pass = true;
        TERN_TRY(tern_tpl_spend(rt, 0));
        if (l->node->c) {
            tpl_val v;
            rt->scope = l->test;
            l->test->n = 0;
            TERN_TRY(assign(rt, l->node->a, item));
            TERN_TRY(tern_tpl_eval(rt, l->node->c, &v));
            rt->scope = here;
            pass = tern_tpl_truthy(&v);
        }
        if (pass)
            l->items[l->n++] = *item;
    }
    return TERN_OK;
}

static bool named(const char *name, size_t n, const char *text)
{
    return n == strlen(text) && memcmp(name, text, n) == 0;
}

static tern_code neighbour(tpl_rt *rt, const tpl_loop *l, bool next, tpl_val *out)
{
    static const char before[] = "there is no previous item", behind[] = "there is no next item";
    if (next ? l->index0 + 1 < l->n : l->index0 > 0)
        *out = l->items[next ? l->index0 + 1 : l->index0 - 1];
    else
        return tern_tpl_undef(rt, TPL_U_TEXT, next ? behind : before,
                              next ? sizeof behind - 1 : sizeof before - 1, NULL, out);
    return TERN_OK;
}

tern_code tern_tpl_loop_attr(tpl_rt *rt, const tpl_val *loop, const char *name, size_t n,
                             tpl_val *out, bool *found)
{
    tpl_loop *l = loop->u.loop;
    int64_t i = (int64_t)l->index0;
    *found = true;
    if (named(name, n, "index"))
        *out = TPL_V_INT(i + 1);
    else if (named(name, n, "index0"))
        *out = TPL_V_INT(i);
    else if (named(name, n, "first"))
        *out = TPL_V_BOOL(i == 0);
    else if (named(name, n, "depth") || named(name, n, "depth0"))
        *out = TPL_V_INT(n == 5 ? 1 : 0); /* counts recursion, which is refused */
    else if (named(name, n, "previtem"))
        return neighbour(rt, l, false, out);
    else if (named(name, n, "last") || named(name, n, "nextitem")) {
        TERN_TRY(tern_tpl_loop_fill(rt, l, l->index0 + 2));
        if (n != 4)
            return neighbour(rt, l, true, out);
        *out = TPL_V_BOOL(l->index0 + 1 >= l->n);
    } else if (named(name, n, "length") || named(name, n, "revindex") ||
               named(name, n, "revindex0")) {
        TERN_TRY(tern_tpl_loop_fill(rt, l, SIZE_MAX));
        *out = TPL_V_INT((int64_t)l->n - (n == 6 ? 0 : n == 8 ? i : i + 1));
    } else
        *found = false;
    return TERN_OK;
}

static tern_code m_cycle(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    if (!a->call->n_pos || a->call->n_kw)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "no items for cycling given");
    *out = a->call->pos[a->self.u.loop->index0 % a->call->n_pos];
    return TERN_OK;
}

static tern_code m_changed(tpl_rt *rt, const tpl_args *a, tpl_val *out)
{
    tpl_loop *l = a->self.u.loop;
    bool same = l->changed && l->n_changed == a->call->n_pos;
    for (size_t i = 0; same && i < l->n_changed; i++)
        TERN_TRY(tern_tpl_equal(rt, &l->changed[i], &a->call->pos[i], &same));
    l->changed = a->call->pos;
    l->n_changed = a->call->n_pos;
    *out = TPL_V_BOOL(!same);
    return TERN_OK;
}

const tpl_builtin tern_tpl_loop_methods[] = {
    {"changed", "*", 0, m_changed},
    {"cycle", "*", 0, m_cycle},
    {NULL, NULL, 0, NULL},
};

static tern_code loop_new(tpl_rt *rt, const tpl_node *s, tpl_loop **out)
{
    tpl_val iter;
    TERN_TRY(tern_tpl_eval(rt, s->b, &iter));
    rt->line = s->line;
    tpl_loop *l = tern_tpl_alloc(rt, 1, sizeof *l);
    if (!l)
        return rt->code;
    *l = (tpl_loop){.node = s};
    TERN_TRY(tern_tpl_items(rt, &iter, &l->src, &l->n_src));
    l->items = tern_tpl_alloc(rt, l->n_src + 1, sizeof *l->items);
    if (!l->items)
        return rt->code;
    if (s->c)
        TERN_TRY(tern_tpl_scope_new(rt, rt->scope, &l->test));
    *out = l;
    return TERN_OK;
}

static tern_code exec_for(tpl_rt *rt, const tpl_node *s, flow *out)
{
    tpl_loop *l = NULL;
    tpl_scope *outer = rt->scope, *own = NULL;
    TERN_TRY(loop_new(rt, s, &l));
    TERN_TRY(tern_tpl_scope_new(rt, outer, &own));
    for (l->index0 = 0;; l->index0++) {
        flow f = FLOW_NEXT;
        TERN_TRY(tern_tpl_loop_fill(rt, l, l->index0 + 1));
        if (l->index0 >= l->n)
            break;
        own->n = 0;
        rt->scope = own;
        TERN_TRY(tern_tpl_assign(rt, TPL_NAME_LOOP, (tpl_val){.type = TPL_LOOP, .u.loop = l}));
        TERN_TRY(assign(rt, s->a, &l->items[l->index0]));
        TERN_TRY(exec_body(rt, s->v, s->n_v, &f));
        rt->scope = outer;
        if (f == FLOW_BREAK)
            break;
    }
    if (l->n == 0 && s->n_w) {
        TERN_TRY(tern_tpl_scope_new(rt, outer, &rt->scope));
        TERN_TRY(exec_body(rt, s->w, s->n_w, out));
        rt->scope = outer;
    }
    return TERN_OK;
}

/* ---- macros ---------------------------------------------------------------------------------- */

static tern_code kw_find(tpl_rt *rt, const tpl_call *c, const tpl_val *name, bool *used,
                         const tpl_val **out)
{
    *out = NULL;
    for (size_t i = 0; i < c->n_kw && !*out; i++) {
        bool same;
        TERN_TRY(tern_tpl_equal(rt, &c->kw_name[i], name, &same));
        if (same) {
            *out = &c->kw[i];
            used[i] = true;
        }
    }
    return TERN_OK;
}

static tern_code bind_caller(tpl_rt *rt, const tpl_params *p, const tpl_call *c, bool *used)
{
    static const char none[] = "No caller defined";
    tpl_val name, v;
    const tpl_val *given;
    if (!p->uses_caller || p->names_caller)
        return TERN_OK;
    TERN_TRY(tern_tpl_strz(rt, "caller", &name));
    TERN_TRY(kw_find(rt, c, &name, used, &given));
    if (given && given->type != TPL_NONE)
        v = *given;
    else
        TERN_TRY(tern_tpl_undef(rt, TPL_U_TEXT, none, sizeof none - 1, NULL, &v));
    return tern_tpl_assign(rt, TPL_NAME_CALLER, v);
}

static tern_code bind_rest(tpl_rt *rt, const tpl_params *p, const tpl_call *c, const bool *used)
{
    tpl_val v;
    if (p->uses_kwargs)
        TERN_TRY(tern_tpl_dict(rt, TPL_DICT, &v));
    for (size_t i = 0; i < c->n_kw; i++) {
        const tpl_str *s = c->kw_name[i].u.s;
        if (used[i])
            continue;
        if (!p->uses_kwargs)
            return tern_tpl_fail(rt, TERN_E_FORMAT, "macro takes no keyword argument '%.*s'",
                                 tern_tpl_cut(s->p, s->n, 60), s->p);
        TERN_TRY(tern_tpl_dict_set(rt, v.u.d, c->kw_name[i], c->kw[i]));
    }
    if (p->uses_kwargs)
        TERN_TRY(tern_tpl_assign(rt, TPL_NAME_KWARGS, v));
    size_t more = c->n_pos > p->n ? c->n_pos - p->n : 0;
    if (!p->uses_varargs && more)
        return tern_tpl_fail(rt, TERN_E_FORMAT, "macro takes not more than %zu argument(s)", p->n);
    if (!p->uses_varargs)
        return TERN_OK;
    TERN_TRY(tern_tpl_list(rt, TPL_TUPLE, more, &v));
    if (more)
        memcpy(v.u.l->v, c->pos + p->n, more * sizeof *c->pos);
    return tern_tpl_assign(rt, TPL_NAME_VARARGS, v);
}

/* Arguments into the macro's own scope, which is current. */
static tern_code bind_params(tpl_rt *rt, const tpl_params *p, const tpl_call *c)
{
    bool *used = tern_tpl_alloc(rt, c->n_kw + 1, sizeof *used);
    if (!used)
        return rt->code;
    memset(used, 0, (c->n_kw + 1) * sizeof *used);
    const tpl_val **given = tern_tpl_alloc(rt, p->n + 1, sizeof *given);
    if (!given)
        return rt->code;
    for (size_t i = 0; i < p->n; i++) {
        given[i] = i < c->n_pos ? &c->pos[i] : NULL;
        if (!given[i])
            TERN_TRY(kw_find(rt, c, &p->name[i], used, &given[i]));
    }
    TERN_TRY(bind_caller(rt, p, c, used));
    TERN_TRY(bind_rest(rt, p, c, used));
    for (size_t i = 0; i < p->n; i++) {
        tpl_val v;
        if (given[i])
            v = *given[i];
        else if (p->dflt[i]) /* may use the parameters before it */
            TERN_TRY(tern_tpl_eval(rt, p->dflt[i], &v));
        else
            TERN_TRY(
                tern_tpl_undef(rt, TPL_U_PARAM, p->name[i].u.s->p, p->name[i].u.s->n, NULL, &v));
        TERN_TRY(tern_tpl_assign(rt, p->id[i], v));
    }
    return TERN_OK;
}

tern_code tern_tpl_call_macro(tpl_rt *rt, const tpl_macro *m, const tpl_call *call, tpl_val *out)
{
    tpl_scope *here = rt->scope;
    tpl_val body = rt->body;
    flow f = FLOW_NEXT;
    if (rt->calls >= rt->max_calls)
        return tern_tpl_fail(rt, TERN_E_LIMIT, "macros call each other deeper than %d",
                             rt->max_calls);
    rt->calls++;
    size_t mark = rt->out.len;
    TERN_TRY(tern_tpl_scope_new(rt, m->closure, &rt->scope));
    TERN_TRY(bind_params(rt, m->node->params, call));
    TERN_TRY(exec_body(rt, m->node->v, m->node->n_v, &f));
    TERN_TRY(tern_tpl_take(rt, mark, out));
    rt->scope = here;
    rt->body = body;
    rt->calls--;
    return TERN_OK;
}

static tern_code macro_val(tpl_rt *rt, const tpl_node *s, tpl_val *out)
{
    tpl_macro *m = tern_tpl_alloc(rt, 1, sizeof *m);
    if (!m)
        return rt->code;
    *m = (tpl_macro){s, rt->scope};
    *out = (tpl_val){.type = TPL_MACRO, .u.macro = m};
    return TERN_OK;
}

/* ---- statements ------------------------------------------------------------------------------ */

static tern_code exec_if(tpl_rt *rt, const tpl_node *s, flow *f)
{
    for (;;) {
        tpl_val v;
        TERN_TRY(tern_tpl_eval(rt, s->a, &v));
        if (tern_tpl_truthy(&v))
            return exec_body(rt, s->v, s->n_v, f);
        if (!s->flag)
            return exec_body(rt, s->w, s->n_w, f);
        s = s->w[0];
    }
}

static tern_code exec_set(tpl_rt *rt, const tpl_node *s)
{
    tpl_val v;
    TERN_TRY(tern_tpl_eval(rt, s->b, &v));
    rt->line = s->line;
    return assign(rt, s->a, &v);
}

/* The body's text through the block's filters. */
static tern_code filtered(tpl_rt *rt, const tpl_node *s, tpl_val *out)
{
    tpl_val outer = rt->body;
    TERN_TRY(capture(rt, s->v, s->n_v, out));
    if (!s->b)
        return TERN_OK;
    rt->body = *out;
    TERN_TRY(tern_tpl_eval(rt, s->b, out));
    rt->body = outer;
    return TERN_OK;
}

static tern_code exec_with(tpl_rt *rt, const tpl_node *s, flow *f)
{
    tpl_scope *outer = rt->scope, *own = NULL;
    TERN_TRY(tern_tpl_scope_new(rt, outer, &own));
    for (size_t i = 0; i < s->n_w; i++) {
        tpl_val v; /* values are evaluated outside */
        TERN_TRY(tern_tpl_eval(rt, s->w[i]->b, &v));
        rt->scope = own;
        TERN_TRY(assign(rt, s->w[i]->a, &v));
        rt->scope = outer;
    }
    rt->scope = own;
    TERN_TRY(exec_body(rt, s->v, s->n_v, f));
    rt->scope = outer;
    return TERN_OK;
}

static tern_code put_val(tpl_rt *rt, const tpl_node *s, tpl_val *v)
{
    rt->line = s->line;
    return tern_tpl_put_str(rt, v);
}

static tern_code exec_one(tpl_rt *rt, const tpl_node *s, flow *f)
{
    tpl_val v, caller;
    switch ((tpl_kind)s->kind) {
    case N_DATA:
        return tern_tpl_put(rt, s->val.u.s->p, s->val.u.s->n);
    case N_OUTPUT:
        TERN_TRY(tern_tpl_eval(rt, s->a, &v));
        return put_val(rt, s, &v);
    case N_IF:
        return exec_if(rt, s, f);
    case N_FOR:
        return exec_for(rt, s, f);
    case N_SET:
        return exec_set(rt, s);
    case N_SETBLOCK:
        TERN_TRY(filtered(rt, s, &v));
        return assign(rt, s->a, &v);
    case N_FILTERBLOCK:
        TERN_TRY(filtered(rt, s, &v));
        return put_val(rt, s, &v);
    case N_MACRO:
        TERN_TRY(macro_val(rt, s, &v));
        return tern_tpl_assign(rt, s->name, v);
    case N_CALLBLOCK:
        TERN_TRY(macro_val(rt, s, &caller));
        TERN_TRY(tern_tpl_eval_call(rt, s->a, &caller, &v));
        return put_val(rt, s, &v);
    case N_WITH:
        return exec_with(rt, s, f);
    case N_SCOPE:
        TERN_TRY(capture(rt, s->v, s->n_v, &v));
        return put_val(rt, s, &v);
    case N_BREAK:
        *f = FLOW_BREAK;
        return TERN_OK;
    case N_CONTINUE:
        *f = FLOW_CONTINUE;
        return TERN_OK;
    default:
        return tern_tpl_fail(rt, TERN_E_INTERNAL, "not a statement");
    }
}

static tern_code exec_body(tpl_rt *rt, tpl_node *const *v, size_t n, flow *f)
{
    TERN_TRY(tern_tpl_enter(rt));
    for (size_t i = 0; i < n && *f == FLOW_NEXT; i++) {
        rt->line = v[i]->line;
        TERN_TRY(tern_tpl_spend(rt, 0));
        TERN_TRY(exec_one(rt, v[i], f));
    }
    tern_tpl_leave(rt);
    return TERN_OK;
}

/* ---- compile --------------------------------------------------------------------------------- */

/* All line ends become '\n', and one at the very end goes. */
static size_t normalise(const char *src, size_t n, char *out)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        out[k++] = src[i] == '\r' ? '\n' : src[i];
        if (src[i] == '\r' && i + 1 < n && src[i + 1] == '\n')
            i++;
    }
    return k && out[k - 1] == '\n' ? k - 1 : k;
}

tern_code tern_template_compile(const char *src, size_t n, tern_template **out, tern_err *err)
{
    tern_code rc = TERN_OK;
    tpl_token *tok;
    size_t n_tok;
    *out = NULL;
    if (!tern_utf8_valid(src, n))
        return tern_fail(err, TERN_E_FORMAT, "template: not valid UTF-8");
    tern_template *t = tern_alloc(sizeof *t);
    if (!t)
        return tern_fail(err, TERN_E_NOMEM, "template: out of memory");
    *t = (tern_template){0};
    tern_arena_init(&t->arena, TPL_COMPILE_BYTES);
    char *text = tern_arena_alloc(&t->arena, n);
    if (!text) {
        rc = tern_tpl_arena_fail(&t->arena, n, err);
        goto fail;
    }
    TERN_TRY_GOTO(tern_tpl_lex(&t->arena, text, normalise(src, n, text), &tok, &n_tok, err));
    TERN_TRY_GOTO(tern_tpl_parse(t, tok, n_tok, err));
    *out = t;
    return TERN_OK;
fail:
    tern_template_free(t);
    return rc;
}

void tern_template_free(tern_template *t)
{
    if (!t)
        return;
    tern_arena_done(&t->arena);
    tern_free(t);
}

/* ---- render ---------------------------------------------------------------------------------- */

/* Variables, and the functions that they do not hide. Names the template never uses are left out. */
static tern_code fill_root(tpl_rt *rt, const json_t *vars)
{
    const tpl_names *names = &rt->t->names;
    rt->root = tern_tpl_alloc(rt, names->n, sizeof *rt->root);
    if (!rt->root)
        return rt->code;
    for (size_t i = 0; i < names->n; i++) {
        const tpl_str *s = names->v[i];
        const tpl_builtin *fn = tern_tpl_find(tern_tpl_globals, s->p, s->n);
        const json_t *j = vars ? json_object_getn(vars, s->p, s->n) : NULL;
        rt->root[i] = (tpl_val){.type = TPL_MISSING};
        if (j)
            TERN_TRY(tern_tpl_from_json(rt, j, &rt->root[i]));
        else if (fn)
            rt->root[i] = (tpl_val){.type = TPL_FUNC, .u.fn = fn};
    }
    return TERN_OK;
}

tern_code tern_template_render(const tern_template *t, const json_t *vars, int64_t now,
                               const tern_template_limits *limits, tern_str *out, tern_err *err)
{
    static const tern_template_limits dflt = TERN_TEMPLATE_LIMITS;
    const tern_template_limits *lim = limits ? limits : &dflt;
    tpl_rt rt = {.t = t,
                 .body = TPL_V_NONE,
                 .fuel = lim->fuel,
                 .max_nest = lim->depth > INT32_MAX / 10 ? INT32_MAX : 10 * lim->depth,
                 .max_calls = lim->depth,
                 .line = 1,
                 .now = now,
                 .err = err};
    tern_code rc = TERN_OK;
    flow f = FLOW_NEXT;
    tern_arena_init(&rt.arena, lim->arena_bytes);
    tern_str_init(&rt.out, lim->output_bytes);
    TERN_TRY_GOTO(fill_root(&rt, vars));
    TERN_TRY_GOTO(exec_body(&rt, t->body, t->n_body, &f));
    tern_str_put(out, rt.out.data, rt.out.len);
    if (out->failed)
        rc = tern_fail(err, TERN_E_NOMEM, "template: no room for %zu bytes of output", rt.out.len);
fail:
    tern_str_done(&rt.out);
    tern_arena_done(&rt.arena);
    return rc;
}
