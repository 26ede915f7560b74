/* Tokens to expressions. The grammar is Jinja2's: a test or filter binds tighter than arithmetic, and
 * '**' associates to the left. */
#include "base/utf8.h"
#include "text/tpl_parse.h"

#include <string.h>

static tern_code parse_unary(parser *p, bool with_filter, tpl_node **out);

static const char *token_text(const tpl_token *t, int *n)
{
    *n = tern_tpl_cut(t->p, t->n, 40);
    return t->type == T_EOF ? "end of template" : t->p;
}

tern_code tern_tpl_p_bad(parser *p, const char *expected)
{
    int n;
    const char *text = token_text(p->tok, &n);
    if (p->tok->type == T_EOF)
        n = (int)strlen(text);
    return tern_fail(p->err, TERN_E_FORMAT, "template line %d: found '%.*s', expected %s",
                     p->tok->line, n, text, expected);
}

tern_code tern_tpl_p_unsupported(parser *p, int line, const char *what, const char *name, size_t n)
{
    return tern_fail(p->err, TERN_E_UNSUPPORTED, "template line %d: %s '%.*s' is not supported",
                     line, what, tern_tpl_cut(name, n, 40), name);
}

void *tern_tpl_p_take(parser *p, size_t n, size_t size, tern_code *rc)
{
    void *m = tern_arena_calloc(&p->t->arena, n ? n : 1, size);
    *rc = m ? TERN_OK : tern_tpl_arena_fail(&p->t->arena, n * size, p->err);
    return m;
}

tern_code tern_tpl_p_node_new(parser *p, int kind, int line, tpl_node **out)
{
    tern_code rc;
    tpl_node *n = tern_tpl_p_take(p, 1, sizeof *n, &rc);
    if (n) {
        n->kind = (uint8_t)kind;
        n->line = line;
    }
    *out = n;
    return rc;
}

tern_code tern_tpl_p_enter(parser *p)
{
    if (++p->depth > TPL_PARSE_DEPTH)
        return tern_fail(p->err, TERN_E_LIMIT, "template line %d: nested deeper than %d",
                         p->tok->line, TPL_PARSE_DEPTH);
    return TERN_OK;
}

void tern_tpl_p_append(node_list *l, tpl_node *n)
{
    if (l->tail)
        l->tail->next = n;
    else
        l->head = n;
    l->tail = n;
    l->n++;
}

tern_code tern_tpl_p_list_done(parser *p, const node_list *l, tpl_node ***v, size_t *n)
{
    tern_code rc;
    *n = l->n;
    *v = tern_tpl_p_take(p, l->n, sizeof **v, &rc);
    if (!*v)
        return rc;
    size_t i = 0;
    for (tpl_node *k = l->head; k; k = k->next)
        (*v)[i++] = k;
    return TERN_OK;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

bool tern_tpl_p_at_name(const parser *p, const char *word)
{
    return p->tok->type == T_NAME && p->tok->n == strlen(word) &&
           memcmp(p->tok->p, word, p->tok->n) == 0;
}

void tern_tpl_p_next(parser *p)
{
    if (p->tok->type != T_EOF)
        p->tok++;
}

bool tern_tpl_p_skip(parser *p, int type)
{
    bool yes = p->tok->type == type;
    if (yes)
        tern_tpl_p_next(p);
    return yes;
}

bool tern_tpl_p_skip_name(parser *p, const char *word)
{
    bool yes = tern_tpl_p_at_name(p, word);
    if (yes)
        tern_tpl_p_next(p);
    return yes;
}

tern_code tern_tpl_p_expect(parser *p, int type, const char *what)
{
    return tern_tpl_p_skip(p, type) ? TERN_OK : tern_tpl_p_bad(p, what);
}

tern_code tern_tpl_p_intern(parser *p, const char *s, size_t n, uint32_t *id)
{
    uint32_t old;
    bool ok;
    if (tern_map_add(&p->ids, s, n, (uint32_t)p->t->names.n, &old, &ok)) {
        *id = old;
        return TERN_OK;
    }
    tpl_names *names = &p->t->names;
    tern_code rc = TERN_OK;
    if (!ok)
        return tern_fail(p->err, TERN_E_NOMEM, "template: out of memory");
    if (names->n == names->cap) {
        size_t cap = names->cap ? names->cap * 2 : 64;
        const tpl_str **v = tern_tpl_p_take(p, cap, sizeof *v, &rc);
        bool *a = rc ? NULL : tern_tpl_p_take(p, cap, sizeof *a, &rc);
        if (!a)
            return rc;
        for (size_t i = 0; i < names->n; i++) {
            v[i] = names->v[i];
            a[i] = p->assigned[i];
        }
        names->v = v;
        names->cap = cap;
        p->assigned = a;
    }
    tpl_str *text = tern_tpl_p_take(p, 1, sizeof *text, &rc);
    if (!text)
        return rc;
    *text = (tpl_str){s, n, n};
    *id = (uint32_t)names->n;
    names->v[names->n++] = text;
    return TERN_OK;
}

tern_code tern_tpl_p_const_str(parser *p, const char *s, size_t n, tpl_val *out)
{
    tern_code rc;
    tpl_str *t = tern_tpl_p_take(p, 1, sizeof *t, &rc);
    if (!t)
        return rc;
    *t = (tpl_str){s, n, tern_tpl_count_cp(s, n)};
    *out = (tpl_val){.type = TPL_STR, .u.s = t};
    return TERN_OK;
}

/* Takes the current name token as a string constant. */
static tern_code name_const(parser *p, tpl_val *out)
{
    if (p->tok->type != T_NAME)
        return tern_tpl_p_bad(p, "a name");
    TERN_TRY(tern_tpl_p_const_str(p, p->tok->p, p->tok->n, out));
    tern_tpl_p_next(p);
    return TERN_OK;
}

/* ---- literals -------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 32);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Python's unicode_escape for one backslash sequence; s is behind the backslash. Returns the bytes
 * read, 0 if malformed. */
static size_t unescape_one(const char *s, size_t n, char out[5], int *n_out)
{
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    const char *at = s[0] ? strchr(from, s[0]) : NULL;
    if (at) {
        out[0] = to[at - from];
        *n_out = 1;
        return 1;
    }
    if (s[0] == '\n') {
        *n_out = 0;
        return 1;
    }
    uint32_t cp = 0;
    size_t used = 0;
    if (s[0] >= '0' && s[0] <= '7') {
        while (used < 3 && used < n && s[used] >= '0' && s[used] <= '7')
            cp = cp * 8 + (uint32_t)(s[used++] - '0');
    } else if (s[0] == 'x' || s[0] == 'u' || s[0] == 'U') {
        size_t want = s[0] == 'x' ? 2 : s[0] == 'u' ? 4 : 8;
        for (used = 1; used <= want; used++) {
            int d = used < n ? hex_digit(s[used]) : -1;
            if (d < 0)
                return 0;
            cp = cp * 16 + (uint32_t)d;
        }
    } else { /* unknown: the backslash stays */
        out[0] = '\\';
        out[1] = s[0];
        *n_out = 2;
        return 1;
    }
    *n_out = tern_utf8_encode(cp, out);
    return *n_out ? used : 0;
}

static tern_code parse_string(parser *p, tpl_node *e)
{
    size_t total = 0, n = 0;
    for (const tpl_token *t = p->tok; t->type == T_STR; t++)
        total += t->n;
    tern_code rc;
    char *buf = tern_tpl_p_take(p, total + 4, 1, &rc);
    if (!buf)
        return rc;
    for (; p->tok->type == T_STR; tern_tpl_p_next(p)) {
        const char *s = p->tok->p;
        for (size_t i = 0; i < p->tok->n; i++) {
            char out[5];
            int n_out;
            if (s[i] != '\\') {
                buf[n++] = s[i];
                continue;
            }
            if (s[i + 1] == 'N')
                return tern_tpl_p_unsupported(p, p->tok->line, "escape", "\\N", 2);
            size_t used = unescape_one(s + i + 1, p->tok->n - i - 1, out, &n_out);
            if (!used)
                return tern_tpl_p_bad(p, "a valid escape sequence");
            memcpy(buf + n, out, (size_t)n_out);
            n += (size_t)n_out;
            i += used;
        }
    }
    return tern_tpl_p_const_str(p, buf, n, &e->val);
}

static tern_code parse_number(parser *p, tpl_node *e)
{
    const tpl_token *t = p->tok;
    if (t->type == T_FLOAT) {
        double f;
        if (!tern_tpl_read_float(t->p, t->n, &f))
            return tern_tpl_p_bad(p, "a number");
        e->val = TPL_V_F64(f);
    } else {
        char c = t->n > 1 ? (char)(t->p[1] | 32) : 0;
        int base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;
        size_t off = base == 10 ? 0 : 2;
        if (off && t->n > off && t->p[off] == '_')
            off++;
        int64_t i;
        if (!tern_tpl_read_int(t->p + off, t->n - off, base, &i))
            return tern_tpl_p_unsupported(p, t->line, "integer", t->p, t->n);
        e->val = TPL_V_INT(i);
    }
    tern_tpl_p_next(p);
    return TERN_OK;
}

/* ---- expressions ----------------------------------------------------------------------------- */

static bool tuple_ends(const parser *p, const char *stop)
{
    int t = p->tok->type;
    return t == T_VAR_END || t == T_BLOCK_END || t == ')' || (stop && tern_tpl_p_at_name(p, stop));
}

static tern_code parse_cond(parser *p, tpl_node **out);
static tern_code parse_or(parser *p, tpl_node **out);

/* One expression, or several with commas as a tuple. stop: a word that also ends it. */
tern_code tern_tpl_p_tuple(parser *p, tuple_mode mode, const char *stop, bool parens,
                           tpl_node **out)
{
    node_list l = {0};
    bool tuple = false;
    int line = p->tok->line;
    for (;;) {
        tpl_node *e;
        if (l.n && !tern_tpl_p_skip(p, ','))
            return tern_tpl_p_bad(p, "','");
        if (tuple_ends(p, stop))
            break;
        if (mode == TUPLE_TARGET)
            TERN_TRY(tern_tpl_p_primary(p, true, &e));
        else
            TERN_TRY((mode == TUPLE_EXPR ? parse_cond : parse_or)(p, &e));
        tern_tpl_p_append(&l, e);
        if (p->tok->type != ',')
            break;
        tuple = true;
    }
    if (!tuple) {
        *out = l.head;
        if (l.head)
            return TERN_OK;
        if (!parens)
            return tern_tpl_p_bad(p, "an expression");
    }
    TERN_TRY(tern_tpl_p_node_new(p, E_TUPLE, line, out));
    return tern_tpl_p_list_done(p, &l, &(*out)->v, &(*out)->n_v);
}

static tern_code parse_list(parser *p, tpl_node **out)
{
    node_list l = {0};
    TERN_TRY(tern_tpl_p_node_new(p, E_LIST, p->tok->line, out));
    tern_tpl_p_next(p);
    while (p->tok->type != ']') {
        tpl_node *e;
        if (l.n)
            TERN_TRY(tern_tpl_p_expect(p, ',', "',' or ']'"));
        if (p->tok->type == ']')
            break;
        TERN_TRY(tern_tpl_p_expr(p, &e));
        tern_tpl_p_append(&l, e);
    }
    tern_tpl_p_next(p);
    return tern_tpl_p_list_done(p, &l, &(*out)->v, &(*out)->n_v);
}

static tern_code parse_dict(parser *p, tpl_node **out)
{
    node_list k = {0}, v = {0};
    TERN_TRY(tern_tpl_p_node_new(p, E_DICT, p->tok->line, out));
    tern_tpl_p_next(p);
    while (p->tok->type != '}') {
        tpl_node *e;
        if (k.n)
            TERN_TRY(tern_tpl_p_expect(p, ',', "',' or '}'"));
        if (p->tok->type == '}')
            break;
        TERN_TRY(tern_tpl_p_expr(p, &e));
        tern_tpl_p_append(&k, e);
        TERN_TRY(tern_tpl_p_expect(p, ':', "':'"));
        TERN_TRY(tern_tpl_p_expr(p, &e));
        tern_tpl_p_append(&v, e);
    }
    tern_tpl_p_next(p);
    TERN_TRY(tern_tpl_p_list_done(p, &k, &(*out)->v, &(*out)->n_v));
    return tern_tpl_p_list_done(p, &v, &(*out)->w, &(*out)->n_w);
}

static void note_special(parser *p, uint32_t id)
{
    if (!p->macro)
        return;
    p->macro->uses_caller |= id == TPL_NAME_CALLER;
    p->macro->uses_varargs |= id == TPL_NAME_VARARGS;
    p->macro->uses_kwargs |= id == TPL_NAME_KWARGS;
}

tern_code tern_tpl_p_name(parser *p, bool target, tpl_node **out)
{
    static const struct {
        const char *word;
        uint8_t type;
        bool value;
    } words[] = {{"true", TPL_BOOL, true},   {"True", TPL_BOOL, true},  {"false", TPL_BOOL, false},
                 {"False", TPL_BOOL, false}, {"none", TPL_NONE, false}, {"None", TPL_NONE, false}};
    const tpl_token *t = p->tok;
    TERN_TRY(tern_tpl_p_node_new(p, E_NAME, t->line, out));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (tern_tpl_p_at_name(p, words[i].word)) {
            if (target)
                return tern_tpl_p_bad(p, "a name to assign to");
            (*out)->kind = E_CONST;
            (*out)->val = (tpl_val){.type = words[i].type, .u.b = words[i].value};
            tern_tpl_p_next(p);
            return TERN_OK;
        }
    }
    TERN_TRY(tern_tpl_p_intern(p, t->p, t->n, &(*out)->name));
    tern_tpl_p_next(p);
    if (target && p->tok->type == '.') {
        tern_tpl_p_next(p);
        (*out)->kind = E_NSREF;
        return name_const(p, &(*out)->val);
    }
    if (target)
        p->assigned[(*out)->name] = true;
    else
        note_special(p, (*out)->name);
    return TERN_OK;
}

tern_code tern_tpl_p_primary(parser *p, bool target, tpl_node **out)
{
    int type = p->tok->type;
    if (type == T_NAME)
        return tern_tpl_p_name(p, target, out);
    if (type == '(') {
        TERN_TRY(tern_tpl_p_enter(p));
        tern_tpl_p_next(p);
        TERN_TRY(tern_tpl_p_tuple(p, target ? TUPLE_TARGET : TUPLE_EXPR, NULL, true, out));
        p->depth--;
        return tern_tpl_p_expect(p, ')', "')'");
    }
    if (target)
        return tern_tpl_p_bad(p, "a name to assign to");
    if (type == '[' || type == '{') {
        TERN_TRY(tern_tpl_p_enter(p));
        TERN_TRY((type == '[' ? parse_list : parse_dict)(p, out));
        p->depth--;
        return TERN_OK;
    }
    if (type != T_STR && type != T_INT && type != T_FLOAT)
        return tern_tpl_p_bad(p, "an expression");
    TERN_TRY(tern_tpl_p_node_new(p, E_CONST, p->tok->line, out));
    return type == T_STR ? parse_string(p, *out) : parse_number(p, *out);
}

/* One index or slice between brackets. */
static tern_code parse_subscript(parser *p, tpl_node **out)
{
    int line = p->tok->line;
    tpl_node *first = NULL, *s;
    if (p->tok->type != ':') {
        TERN_TRY(tern_tpl_p_expr(p, &first));
        if (p->tok->type != ':') {
            *out = first;
            return TERN_OK;
        }
    }
    TERN_TRY(tern_tpl_p_node_new(p, E_SLICE, line, &s));
    s->a = first;
    tern_tpl_p_next(p);
    if (p->tok->type != ':' && p->tok->type != ']' && p->tok->type != ',')
        TERN_TRY(tern_tpl_p_expr(p, &s->b));
    if (tern_tpl_p_skip(p, ':') && p->tok->type != ']' && p->tok->type != ',')
        TERN_TRY(tern_tpl_p_expr(p, &s->c));
    *out = s;
    return TERN_OK;
}

static tern_code parse_index(parser *p, tpl_node *of, tpl_node **out)
{
    tpl_node *e, *tuple;
    node_list l = {0};
    TERN_TRY(tern_tpl_p_node_new(p, E_ITEM, p->tok->line, out));
    tern_tpl_p_next(p);
    (*out)->a = of;
    while (p->tok->type != ']') {
        if (l.n)
            TERN_TRY(tern_tpl_p_expect(p, ',', "',' or ']'"));
        TERN_TRY(parse_subscript(p, &e));
        tern_tpl_p_append(&l, e);
        if (l.n > 1 && (e->kind == E_SLICE || l.head->kind == E_SLICE))
            return tern_tpl_p_unsupported(p, e->line, "index", "slice in a tuple", 16);
    }
    tern_tpl_p_next(p);
    (*out)->b = l.head;
    if (l.n == 1)
        return TERN_OK;
    TERN_TRY(tern_tpl_p_node_new(p, E_TUPLE, (*out)->line, &tuple));
    (*out)->b = tuple;
    return tern_tpl_p_list_done(p, &l, &tuple->v, &tuple->n_v);
}

static tern_code parse_one_arg(parser *p, tpl_argnodes *a, node_list *pos, node_list *kw)
{
    tpl_node *e;
    if (p->tok->type == '*' || p->tok->type == T_POW) {
        bool two = p->tok->type == T_POW;
        if (a->star2 || (!two && a->star))
            return tern_tpl_p_bad(p, "an argument");
        tern_tpl_p_next(p);
        return tern_tpl_p_expr(p, two ? &a->star2 : &a->star);
    }
    if (p->tok->type == T_NAME && p->tok[1].type == '=') {
        if (a->star2)
            return tern_tpl_p_bad(p, "')'");
        TERN_TRY(tern_tpl_p_node_new(p, E_CONST, p->tok->line, &e));
        TERN_TRY(name_const(p, &e->val));
        tern_tpl_p_append(kw, e);
        tern_tpl_p_next(p);
        TERN_TRY(tern_tpl_p_expr(p, &e));
        tern_tpl_p_append(kw, e);
        return TERN_OK;
    }
    if (a->star || a->star2 || kw->n)
        return tern_tpl_p_bad(p, "a keyword argument");
    TERN_TRY(tern_tpl_p_expr(p, &e));
    tern_tpl_p_append(pos, e);
    return TERN_OK;
}

static tern_code parse_args(parser *p, const tpl_argnodes **out)
{
    tern_code rc;
    node_list pos = {0}, kw = {0};
    tpl_argnodes *a = tern_tpl_p_take(p, 1, sizeof *a, &rc);
    if (!a)
        return rc;
    TERN_TRY(tern_tpl_p_enter(p));
    TERN_TRY(tern_tpl_p_expect(p, '(', "'('"));
    for (bool first = true; p->tok->type != ')'; first = false) {
        if (!first) {
            TERN_TRY(tern_tpl_p_expect(p, ',', "',' or ')'"));
            if (p->tok->type == ')')
                break;
        }
        TERN_TRY(parse_one_arg(p, a, &pos, &kw));
    }
    tern_tpl_p_next(p);
    p->depth--;
    *out = a;
    TERN_TRY(tern_tpl_p_list_done(p, &pos, &a->pos, &a->n_pos));
    TERN_TRY(tern_tpl_p_list_done(p, &kw, &a->kw, &a->n_kw));
    a->n_kw /= 2;
    return TERN_OK;
}

static tern_code parse_call(parser *p, tpl_node *callee, tpl_node **out)
{
    TERN_TRY(tern_tpl_p_node_new(p, E_CALL, p->tok->line, out));
    (*out)->a = callee;
    if (callee->kind == E_ATTR &&
        tern_tpl_method_is_unsupported(callee->val.u.s->p, callee->val.u.s->n))
        return tern_tpl_p_unsupported(p, callee->line, "method", callee->val.u.s->p,
                                      callee->val.u.s->n);
    if (callee->kind == E_NAME) { /* known names are settled at the end of the template */
        tpl_node *note;
        TERN_TRY(tern_tpl_p_node_new(p, E_NAME, callee->line, &note));
        note->name = callee->name;
        note->next = p->calls;
        p->calls = note;
    }
    return parse_args(p, &(*out)->args);
}

static tern_code parse_postfix(parser *p, tpl_node **e)
{
    for (;;) {
        tpl_node *n = NULL;
        if (p->tok->type == '.') {
            tern_tpl_p_next(p);
            TERN_TRY(tern_tpl_p_node_new(p, E_ATTR, p->tok->line, &n));
            n->a = *e;
            if (p->tok->type == T_INT) { /* x.0 is x[0] */
                n->kind = E_ITEM;
                TERN_TRY(tern_tpl_p_node_new(p, E_CONST, p->tok->line, &n->b));
                TERN_TRY(parse_number(p, n->b));
            } else {
                TERN_TRY(name_const(p, &n->val));
            }
        } else if (p->tok->type == '[') {
            TERN_TRY(tern_tpl_p_enter(p));
            TERN_TRY(parse_index(p, *e, &n));
            p->depth--;
        } else if (p->tok->type == '(') {
            TERN_TRY(parse_call(p, *e, &n));
        } else {
            return TERN_OK;
        }
        *e = n;
    }
}

/* "map('name')" and the like name a filter or test in their first argument: settle it now. */
static tern_code check_indirect(parser *p, const tpl_node *f)
{
    const char *name = f->fn->name;
    bool attr = strcmp(name, "selectattr") == 0 || strcmp(name, "rejectattr") == 0;
    bool test = attr || strcmp(name, "select") == 0 || strcmp(name, "reject") == 0;
    size_t at = attr ? 1 : 0;
    if ((!test && strcmp(name, "map") != 0) || f->args->n_pos <= at)
        return TERN_OK;
    const tpl_node *arg = f->args->pos[at];
    if (arg->kind != E_CONST || arg->val.type != TPL_STR)
        return TERN_OK;
    const tpl_str *s = arg->val.u.s;
    if (test ? !tern_tpl_find(tern_tpl_tests, s->p, s->n) : !tern_tpl_find_filter(s->p, s->n))
        return tern_tpl_p_unsupported(p, arg->line, test ? "test" : "filter", s->p, s->n);
    return TERN_OK;
}

static tern_code no_args(parser *p, const tpl_argnodes **out)
{
    tern_code rc;
    *out = tern_tpl_p_take(p, 1, sizeof **out, &rc);
    return rc;
}

/* A filter's name and arguments behind '|'. */
tern_code tern_tpl_p_filter(parser *p, tpl_node *of, tpl_node **out)
{
    if (p->tok->type != T_NAME)
        return tern_tpl_p_bad(p, "the name of a filter");
    TERN_TRY(tern_tpl_p_node_new(p, E_FILTER, p->tok->line, out));
    (*out)->a = of;
    (*out)->fn = tern_tpl_find_filter(p->tok->p, p->tok->n);
    if (!(*out)->fn || p->tok[1].type == '.')
        return tern_tpl_p_unsupported(p, p->tok->line, "filter", p->tok->p, p->tok->n);
    tern_tpl_p_next(p);
    if (p->tok->type == '(')
        TERN_TRY(parse_args(p, &(*out)->args));
    else
        TERN_TRY(no_args(p, &(*out)->args));
    return check_indirect(p, *out);
}

static tern_code parse_test(parser *p, tpl_node *of, tpl_node **out)
{
    int line = p->tok->line;
    tern_tpl_p_next(p);
    bool negated = tern_tpl_p_skip_name(p, "not");
    if (p->tok->type != T_NAME)
        return tern_tpl_p_bad(p, "the name of a test");
    tpl_node *t;
    TERN_TRY(tern_tpl_p_node_new(p, E_TEST, line, &t));
    t->a = of;
    t->fn = tern_tpl_find(tern_tpl_tests, p->tok->p, p->tok->n);
    if (!t->fn || p->tok[1].type == '.')
        return tern_tpl_p_unsupported(p, line, "test", p->tok->p, p->tok->n);
    tern_tpl_p_next(p);
    int type = p->tok->type;
    if (type == '(') {
        TERN_TRY(parse_args(p, &t->args));
    } else {
        TERN_TRY(no_args(p, &t->args));
        bool arg = type == T_NAME || type == T_STR || type == T_INT || type == T_FLOAT ||
                   type == '[' || type == '{';
        if (arg && !tern_tpl_p_at_name(p, "else") && !tern_tpl_p_at_name(p, "or") &&
            !tern_tpl_p_at_name(p, "and")) {
            tern_code rc;
            tpl_argnodes *a = tern_tpl_p_take(p, 1, sizeof *a, &rc);
            if (!a)
                return rc;
            if (tern_tpl_p_at_name(p, "is"))
                return tern_tpl_p_bad(p, "no second test");
            a->pos = tern_tpl_p_take(p, 1, sizeof *a->pos, &rc);
            if (!a->pos)
                return rc;
            a->n_pos = 1;
            TERN_TRY(tern_tpl_p_primary(p, false, &a->pos[0]));
            TERN_TRY(parse_postfix(p, &a->pos[0]));
            t->args = a;
        }
    }
    *out = t;
    if (!negated)
        return TERN_OK;
    TERN_TRY(tern_tpl_p_node_new(p, E_NOT, line, out));
    (*out)->a = t;
    return TERN_OK;
}

static tern_code parse_filters(parser *p, tpl_node **e)
{
    for (;;) {
        tpl_node *n = NULL;
        if (tern_tpl_p_skip(p, '|'))
            TERN_TRY(tern_tpl_p_filter(p, *e, &n));
        else if (tern_tpl_p_at_name(p, "is"))
            TERN_TRY(parse_test(p, *e, &n));
        else if (p->tok->type == '(') /* calls are valid behind a filter */
            TERN_TRY(parse_call(p, *e, &n));
        else
            return TERN_OK;
        *e = n;
    }
}

static tern_code parse_unary(parser *p, bool with_filter, tpl_node **out)
{
    int type = p->tok->type;
    TERN_TRY(tern_tpl_p_enter(p));
    if (type == '-' || type == '+') {
        TERN_TRY(tern_tpl_p_node_new(p, type == '-' ? E_NEG : E_POS, p->tok->line, out));
        tern_tpl_p_next(p);
        TERN_TRY(parse_unary(p, false, &(*out)->a));
    } else {
        TERN_TRY(tern_tpl_p_primary(p, false, out));
    }
    TERN_TRY(parse_postfix(p, out));
    if (with_filter)
        TERN_TRY(parse_filters(p, out));
    p->depth--;
    return TERN_OK;
}

static tern_code binary(parser *p, int op, int line, tpl_node *a, tpl_node *b, tpl_node **out)
{
    TERN_TRY(tern_tpl_p_node_new(p, E_BIN, line, out));
    (*out)->op = op;
    (*out)->a = a;
    (*out)->b = b;
    return TERN_OK;
}

static tern_code parse_pow(parser *p, tpl_node **out)
{
    TERN_TRY(parse_unary(p, true, out));
    while (p->tok->type == T_POW) {
        tpl_node *b;
        int line = p->tok->line;
        tern_tpl_p_next(p);
        TERN_TRY(parse_unary(p, true, &b));
        TERN_TRY(binary(p, T_POW, line, *out, b, out));
    }
    return TERN_OK;
}

static tern_code parse_product(parser *p, tpl_node **out)
{
    TERN_TRY(parse_pow(p, out));
    for (;;) {
        tpl_node *b;
        int type = p->tok->type, line = p->tok->line;
        if (type != '*' && type != '/' && type != T_FLOORDIV && type != '%')
            return TERN_OK;
        tern_tpl_p_next(p);
        TERN_TRY(parse_pow(p, &b));
        TERN_TRY(binary(p, type, line, *out, b, out));
    }
}

static tern_code parse_concat(parser *p, tpl_node **out)
{
    node_list l = {0};
    tpl_node *e;
    TERN_TRY(parse_product(p, &e));
    *out = e;
    if (p->tok->type != '~')
        return TERN_OK;
    tern_tpl_p_append(&l, e);
    while (tern_tpl_p_skip(p, '~')) {
        TERN_TRY(parse_product(p, &e));
        tern_tpl_p_append(&l, e);
    }
    TERN_TRY(tern_tpl_p_node_new(p, E_CONCAT, l.head->line, out));
    return tern_tpl_p_list_done(p, &l, &(*out)->v, &(*out)->n_v);
}

static tern_code parse_sum(parser *p, tpl_node **out)
{
    TERN_TRY(parse_concat(p, out));
    while (p->tok->type == '+' || p->tok->type == '-') {
        tpl_node *b;
        int type = p->tok->type, line = p->tok->line;
        tern_tpl_p_next(p);
        TERN_TRY(parse_concat(p, &b));
        TERN_TRY(binary(p, type, line, *out, b, out));
    }
    return TERN_OK;
}

/* The comparison at hand, 0 if none; its tokens are passed. */
static int compare_op(parser *p)
{
    int type = p->tok->type;
    if (type == T_EQ || type == T_NE || type == T_GE || type == T_LE || type == '<' ||
        type == '>') {
        tern_tpl_p_next(p);
        return type;
    }
    if (tern_tpl_p_skip_name(p, "in"))
        return TPL_OP_IN;
    if (tern_tpl_p_at_name(p, "not") && p->tok[1].type == T_NAME && p->tok[1].n == 2 &&
        memcmp(p->tok[1].p, "in", 2) == 0) {
        tern_tpl_p_next(p);
        tern_tpl_p_next(p);
        return TPL_OP_NOT_IN;
    }
    return 0;
}

/* Comparisons chain as in Python. Each operand carries the operator before it in op. */
static tern_code parse_compare(parser *p, tpl_node **out)
{
    node_list l = {0};
    tpl_node *first, *e, *box;
    int op, line = p->tok->line;
    TERN_TRY(parse_sum(p, &first));
    while ((op = compare_op(p)) != 0) {
        TERN_TRY(parse_sum(p, &e));
        TERN_TRY(tern_tpl_p_node_new(p, E_CMP, line, &box));
        box->op = op;
        box->a = e;
        tern_tpl_p_append(&l, box);
    }
    *out = first;
    if (!l.n)
        return TERN_OK;
    TERN_TRY(tern_tpl_p_node_new(p, E_CMP, line, out));
    (*out)->a = first;
    return tern_tpl_p_list_done(p, &l, &(*out)->v, &(*out)->n_v);
}

static tern_code parse_not(parser *p, tpl_node **out)
{
    int line = p->tok->line;
    if (!tern_tpl_p_at_name(p, "not"))
        return parse_compare(p, out);
    tern_tpl_p_next(p);
    TERN_TRY(tern_tpl_p_node_new(p, E_NOT, line, out));
    TERN_TRY(tern_tpl_p_enter(p));
    TERN_TRY(parse_not(p, &(*out)->a));
    p->depth--;
    return TERN_OK;
}

/* All operands of one "and" or "or" in one node: long chains stay flat. */
static tern_code parse_logic(parser *p, const char *word, int kind,
                             tern_code (*operand)(parser *, tpl_node **), tpl_node **out)
{
    node_list l = {0};
    tpl_node *e;
    int line = p->tok->line;
    TERN_TRY(operand(p, &e));
    *out = e;
    if (!tern_tpl_p_at_name(p, word))
        return TERN_OK;
    tern_tpl_p_append(&l, e);
    while (tern_tpl_p_skip_name(p, word)) {
        TERN_TRY(operand(p, &e));
        tern_tpl_p_append(&l, e);
    }
    TERN_TRY(tern_tpl_p_node_new(p, kind, line, out));
    return tern_tpl_p_list_done(p, &l, &(*out)->v, &(*out)->n_v);
}

static tern_code parse_and(parser *p, tpl_node **out)
{
    return parse_logic(p, "and", E_AND, parse_not, out);
}

static tern_code parse_or(parser *p, tpl_node **out)
{
    return parse_logic(p, "or", E_OR, parse_and, out);
}

static tern_code parse_cond(parser *p, tpl_node **out)
{
    TERN_TRY(tern_tpl_p_enter(p));
    TERN_TRY(parse_or(p, out));
    while (tern_tpl_p_at_name(p, "if")) {
        tpl_node *n;
        TERN_TRY(tern_tpl_p_node_new(p, E_COND, p->tok->line, &n));
        tern_tpl_p_next(p);
        n->b = *out;
        TERN_TRY(parse_or(p, &n->a));
        if (tern_tpl_p_skip_name(p, "else"))
            TERN_TRY(parse_cond(p, &n->c));
        *out = n;
    }
    p->depth--;
    return TERN_OK;
}

tern_code tern_tpl_p_expr(parser *p, tpl_node **out)
{
    return parse_cond(p, out);
}
