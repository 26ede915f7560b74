/* Tokens to a syntax tree: statements and the bodies between them. A tuple needs no parentheses where
 * a statement ends it. Whatever is valid Jinja2 but outside the subset fails here, with its line. */
#include "text/tpl_parse.h"

#include <string.h>

static tern_code parse_body(parser *p, const char *const *stops, tpl_node ***v, size_t *n);

/* Behind a statement's head: "%}", then its body up to one of the stops, whose word is current. */
static tern_code parse_block(parser *p, const char *const *stops, tpl_node ***v, size_t *n)
{
    tern_tpl_p_skip(p, ':'); /* accepted for Python's sake */
    TERN_TRY(tern_tpl_p_expect(p, T_BLOCK_END, "'%}'"));
    return parse_body(p, stops, v, n);
}

/* A body whose text is caught: break and continue cannot leave it. */
static tern_code parse_caught(parser *p, const char *const *last, tpl_node *s)
{
    int loops = p->loops;
    p->loops = 0;
    TERN_TRY(parse_block(p, last, &s->v, &s->n_v));
    p->loops = loops;
    tern_tpl_p_next(p); /* its end */
    return TERN_OK;
}

static tern_code parse_if(parser *p, tpl_node *s)
{
    static const char *const stops[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    for (;;) {
        TERN_TRY(tern_tpl_p_tuple(p, TUPLE_NO_COND, NULL, false, &s->a));
        TERN_TRY(parse_block(p, stops, &s->v, &s->n_v));
        if (!tern_tpl_p_skip_name(p, "elif"))
            break;
        tpl_node *more;
        tern_code rc;
        TERN_TRY(tern_tpl_p_node_new(p, N_IF, p->tok->line, &more));
        s->flag = true;
        s->n_w = 1;
        s->w = tern_tpl_p_take(p, 1, sizeof *s->w, &rc);
        if (!s->w)
            return rc;
        s->w[0] = more;
        s = more;
    }
    if (tern_tpl_p_skip_name(p, "else"))
        TERN_TRY(parse_block(p, last, &s->w, &s->n_w));
    tern_tpl_p_next(p); /* endif */
    return TERN_OK;
}

static tern_code parse_for(parser *p, tpl_node *s)
{
    static const char *const stops[] = {"else", "endfor", NULL};
    static const char *const last[] = {"endfor", NULL};
    TERN_TRY(tern_tpl_p_tuple(p, TUPLE_TARGET, "in", false, &s->a));
    if (!tern_tpl_p_skip_name(p, "in") || s->a->kind == E_NSREF)
        return tern_tpl_p_bad(p, "'in' behind the loop's variable");
    TERN_TRY(tern_tpl_p_tuple(p, TUPLE_NO_COND, "recursive", false, &s->b));
    if (tern_tpl_p_skip_name(p, "if"))
        TERN_TRY(tern_tpl_p_expr(p, &s->c));
    if (tern_tpl_p_at_name(p, "recursive"))
        return tern_tpl_p_unsupported(p, p->tok->line, "loop", "recursive", 9);
    p->loops++;
    TERN_TRY(parse_block(p, stops, &s->v, &s->n_v));
    p->loops--;
    if (tern_tpl_p_skip_name(p, "else"))
        TERN_TRY(parse_block(p, last, &s->w, &s->n_w));
    tern_tpl_p_next(p); /* endfor */
    return TERN_OK;
}

static tern_code parse_filter_chain(parser *p, tpl_node **out)
{
    TERN_TRY(tern_tpl_p_node_new(p, E_BODY, p->tok->line, out));
    do {
        tpl_node *f = NULL;
        TERN_TRY(tern_tpl_p_filter(p, *out, &f));
        *out = f;
    } while (tern_tpl_p_skip(p, '|'));
    return TERN_OK;
}

static tern_code parse_set(parser *p, tpl_node *s)
{
    static const char *const last[] = {"endset", NULL};
    TERN_TRY(tern_tpl_p_tuple(p, TUPLE_TARGET, NULL, false, &s->a));
    if (tern_tpl_p_skip(p, '='))
        return tern_tpl_p_tuple(p, TUPLE_EXPR, NULL, false, &s->b);
    s->kind = N_SETBLOCK;
    if (tern_tpl_p_skip(p, '|'))
        TERN_TRY(parse_filter_chain(p, &s->b));
    return parse_caught(p, last, s);
}

static tern_code parse_params(parser *p, tpl_params *out)
{
    node_list l = {0};
    tern_code rc;
    TERN_TRY(tern_tpl_p_expect(p, '(', "'('"));
    while (p->tok->type != ')') {
        tpl_node *e;
        if (l.n)
            TERN_TRY(tern_tpl_p_expect(p, ',', "',' or ')'"));
        if (p->tok->type != T_NAME)
            return tern_tpl_p_bad(p, "the name of a parameter");
        const tpl_token *t = p->tok;
        TERN_TRY(tern_tpl_p_name(p, true, &e));
        if (e->kind != E_NAME)
            return tern_tpl_p_bad(p, "',' or ')'");
        TERN_TRY(tern_tpl_p_const_str(p, t->p, t->n, &e->val));
        if (tern_tpl_p_skip(p, '='))
            TERN_TRY(tern_tpl_p_expr(p, &e->a));
        else if (l.n && l.tail->a)
            return tern_tpl_p_bad(p, "a default value");
        out->names_caller |= e->name == TPL_NAME_CALLER;
        tern_tpl_p_append(&l, e);
    }
    tern_tpl_p_next(p);
    out->n = l.n;
    out->name = tern_tpl_p_take(p, l.n, sizeof *out->name, &rc);
    out->id = rc ? NULL : tern_tpl_p_take(p, l.n, sizeof *out->id, &rc);
    out->dflt = rc ? NULL : tern_tpl_p_take(p, l.n, sizeof *out->dflt, &rc);
    if (rc)
        return rc;
    size_t i = 0;
    for (tpl_node *e = l.head; e; e = e->next, i++) {
        out->name[i] = e->val;
        out->id[i] = e->name;
        out->dflt[i] = e->a;
    }
    return TERN_OK;
}

/* Parameters and body of a macro or call block; special names used inside are its own. */
static tern_code parse_macro_body(parser *p, tpl_node *s, tpl_params *params,
                                  const char *const *last)
{
    tpl_params *outer = p->macro;
    p->macro = params;
    s->params = params;
    TERN_TRY(parse_caught(p, last, s));
    if (outer) {
        outer->uses_caller |= params->uses_caller;
        outer->uses_varargs |= params->uses_varargs;
        outer->uses_kwargs |= params->uses_kwargs;
    }
    p->macro = outer;
    return TERN_OK;
}

static tern_code parse_macro(parser *p, tpl_node *s)
{
    static const char *const last[] = {"endmacro", NULL};
    tern_code rc;
    tpl_node *name;
    tpl_params *params = tern_tpl_p_take(p, 1, sizeof *params, &rc);
    if (!params)
        return rc;
    if (p->tok->type != T_NAME)
        return tern_tpl_p_bad(p, "the name of the macro");
    TERN_TRY(tern_tpl_p_name(p, true, &name));
    if (name->kind != E_NAME)
        return tern_tpl_p_bad(p, "'('");
    s->name = name->name;
    TERN_TRY(parse_params(p, params));
    return parse_macro_body(p, s, params, last);
}

static tern_code parse_call_block(parser *p, tpl_node *s)
{
    static const char *const last[] = {"endcall", NULL};
    tern_code rc;
    tpl_params *params = tern_tpl_p_take(p, 1, sizeof *params, &rc);
    if (!params)
        return rc;
    if (p->tok->type == '(')
        TERN_TRY(parse_params(p, params));
    TERN_TRY(tern_tpl_p_expr(p, &s->a));
    if (s->a->kind != E_CALL)
        return tern_tpl_p_bad(p, "a call");
    s->name = TPL_NAME_CALLER;
    return parse_macro_body(p, s, params, last);
}

static tern_code parse_filter_block(parser *p, tpl_node *s)
{
    static const char *const last[] = {"endfilter", NULL};
    TERN_TRY(parse_filter_chain(p, &s->b));
    return parse_caught(p, last, s);
}

static tern_code parse_with(parser *p, tpl_node *s)
{
    static const char *const last[] = {"endwith", NULL};
    node_list l = {0};
    while (p->tok->type != T_BLOCK_END) {
        tpl_node *set;
        if (l.n)
            TERN_TRY(tern_tpl_p_expect(p, ',', "','"));
        TERN_TRY(tern_tpl_p_node_new(p, N_SET, p->tok->line, &set));
        TERN_TRY(tern_tpl_p_primary(p, true, &set->a));
        if (set->a->kind == E_NSREF)
            return tern_tpl_p_bad(p, "a name");
        TERN_TRY(tern_tpl_p_expect(p, '=', "'='"));
        TERN_TRY(tern_tpl_p_expr(p, &set->b));
        tern_tpl_p_append(&l, set);
    }
    TERN_TRY(tern_tpl_p_list_done(p, &l, &s->w, &s->n_w));
    TERN_TRY(parse_block(p, last, &s->v, &s->n_v));
    tern_tpl_p_next(p);
    return TERN_OK;
}

static tern_code parse_generation(parser *p, tpl_node *s)
{
    static const char *const last[] = {"endgeneration", NULL};
    return parse_caught(p, last, s);
}

static tern_code parse_jump(parser *p, tpl_node *s)
{
    if (p->loops)
        return TERN_OK;
    return tern_fail(p->err, TERN_E_FORMAT, "template line %d: break or continue outside a loop",
                     s->line);
}

static tern_code parse_statement(parser *p, tpl_node **out)
{
    static const struct {
        const char *word;
        int kind;
        tern_code (*parse)(parser *, tpl_node *);
    } known[] = {{"if", N_IF, parse_if},
                 {"for", N_FOR, parse_for},
                 {"set", N_SET, parse_set},
                 {"macro", N_MACRO, parse_macro},
                 {"call", N_CALLBLOCK, parse_call_block},
                 {"filter", N_FILTERBLOCK, parse_filter_block},
                 {"with", N_WITH, parse_with},
                 {"generation", N_SCOPE, parse_generation},
                 {"break", N_BREAK, parse_jump},
                 {"continue", N_CONTINUE, parse_jump}};
    static const char *const others[] = {"include",    "import", "from",  "extends", "block",
                                         "autoescape", "do",     "trans", "debug",   "print"};
    if (p->tok->type != T_NAME)
        return tern_tpl_p_bad(p, "the name of a statement");
    const tpl_token *t = p->tok;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (tern_tpl_p_at_name(p, known[i].word)) {
            TERN_TRY(tern_tpl_p_node_new(p, known[i].kind, t->line, out));
            tern_tpl_p_next(p);
            TERN_TRY(tern_tpl_p_enter(p));
            TERN_TRY(known[i].parse(p, *out));
            p->depth--;
            return tern_tpl_p_expect(p, T_BLOCK_END, "'%}'");
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (tern_tpl_p_at_name(p, others[i]))
            return tern_tpl_p_unsupported(p, t->line, "statement", t->p, t->n);
    }
    return tern_tpl_p_bad(p, "a statement");
}

static bool at_stop(const parser *p, const char *const *stops)
{
    for (; stops && *stops; stops++) {
        if (tern_tpl_p_at_name(p, *stops))
            return true;
    }
    return false;
}

static tern_code parse_body(parser *p, const char *const *stops, tpl_node ***v, size_t *n)
{
    node_list l = {0};
    for (;;) {
        tpl_node *s = NULL;
        const tpl_token *t = p->tok;
        if (t->type == T_EOF && stops)
            return tern_tpl_p_bad(p, stops[0]);
        if (t->type == T_EOF)
            return tern_tpl_p_list_done(p, &l, v, n);
        tern_tpl_p_next(p);
        if (t->type == T_DATA) {
            TERN_TRY(tern_tpl_p_node_new(p, N_DATA, t->line, &s));
            TERN_TRY(tern_tpl_p_const_str(p, t->p, t->n, &s->val));
        } else if (t->type == T_VAR_BEGIN) {
            TERN_TRY(tern_tpl_p_node_new(p, N_OUTPUT, t->line, &s));
            TERN_TRY(tern_tpl_p_tuple(p, TUPLE_EXPR, NULL, false, &s->a));
            TERN_TRY(tern_tpl_p_expect(p, T_VAR_END, "'}}'"));
        } else { /* T_BLOCK_BEGIN */
            if (at_stop(p, stops))
                return tern_tpl_p_list_done(p, &l, v, n);
            TERN_TRY(parse_statement(p, &s));
        }
        tern_tpl_p_append(&l, s);
    }
}

/* A call of a name that nothing defines can only fail when it is reached: refuse it now. */
static tern_code check_calls(parser *p)
{
    for (const tpl_node *c = p->calls; c; c = c->next) {
        const tpl_str *s = p->t->names.v[c->name];
        if (!p->assigned[c->name] && !tern_tpl_find(tern_tpl_globals, s->p, s->n) &&
            c->name > TPL_NAME_KWARGS)
            return tern_tpl_p_unsupported(p, c->line, "function", s->p, s->n);
    }
    return TERN_OK;
}

tern_code tern_tpl_parse(tern_template *t, const tpl_token *tok, size_t n_tok, tern_err *err)
{
    static const char *const special[] = {"loop", "caller", "varargs", "kwargs"};
    parser p = {.t = t, .tok = tok, .err = err};
    tern_code rc = TERN_OK;
    (void)n_tok;
    tern_map_init(&p.ids);
    for (size_t i = 0; i < sizeof special / sizeof *special && rc == TERN_OK; i++) {
        uint32_t id;
        rc = tern_tpl_p_intern(&p, special[i], strlen(special[i]), &id);
    }
    if (rc == TERN_OK)
        rc = parse_body(&p, NULL, &t->body, &t->n_body);
    if (rc == TERN_OK)
        rc = check_calls(&p);
    tern_map_done(&p.ids);
    return rc;
}
