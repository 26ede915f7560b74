/* Two steps: text to a tree of what rules say, as repetitions compile their part several times; the tree
 * to a network. */
#include "sample/grammar/gbnf.h"

#include "base/arena.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

/* Repetition operators behind one another. */
#define MAX_OPERATORS 8
#define NO_LIMIT      UINT32_MAX

typedef enum item_kind {
    ITEM_SEQUENCE, /* all of child, in order */
    ITEM_CHOICE,   /* one of child */
    ITEM_TEXT,
    ITEM_CLASS,
    ITEM_RULE,
    ITEM_REPEAT /* child from min to max times */
} item_kind;

typedef struct item item;
struct item {
    item_kind kind;
    item *child, *last, *next; /* the first and the last part; the one beside this */
    const char *text;          /* TEXT: n bytes */
    size_t n;                  /* CLASS: spans */
    const tern_net_span *span;
    uint32_t rule;
    uint32_t min, max;
    size_t line; /* RULE: where it is named */
};

typedef struct rule {
    const char *name; /* NUL-terminated */
    size_t n_name;
    item *says; /* NULL: named, but not defined so far */
    size_t line;
    struct rule *next;
} rule;

typedef struct gbnf {
    const char *p, *end;
    size_t line;
    int depth;
    tern_arena arena;
    tern_map by_name;
    rule *first, *last;
    rule **rules; /* [n_rule], by number */
    uint32_t n_rule;
    tern_err *err;
    tern_net_build b;
} gbnf;

static tern_code no_memory(const gbnf *g)
{
    return tern_fail(g->err, TERN_E_NOMEM, "grammar: out of memory");
}

static tern_code expected(const gbnf *g, const char *what)
{
    char buf[32];
    size_t n = 0;
    while (n < 12 && g->p + n < g->end && g->p[n] != '\n')
        n++;
    if (g->p == g->end)
        return tern_fail(g->err, TERN_E_USAGE,
                         "grammar: line %zu: expected %s, found the end of the text", g->line,
                         what);
    return tern_fail(g->err, TERN_E_USAGE, "grammar: line %zu: expected %s, found '%s'", g->line,
                     what, tern_quote(buf, sizeof buf, g->p, n ? n : 1));
}

static item *add_item(gbnf *g, item *parent, item_kind kind)
{
    item *i = tern_arena_calloc(&g->arena, 1, sizeof *i);
    if (!i)
        return NULL;
    i->kind = kind;
    if (parent && parent->last)
        parent->last->next = i;
    else if (parent)
        parent->child = i;
    if (parent)
        parent->last = i;
    return i;
}

/* ---- words and spaces ------------------------------------------------------------------------ */

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* Spaces and comments; with lines also what ends one. */
static void skip(gbnf *g, bool lines)
{
    for (; g->p < g->end; g->p++) {
        if (*g->p == '#') {
            while (g->p < g->end && *g->p != '\n' && *g->p != '\r')
                g->p++;
            if (g->p == g->end)
                return;
        }
        if (*g->p == '\n' || *g->p == '\r') {
            if (!lines)
                return;
            g->line += *g->p == '\n';
        } else if (*g->p != ' ' && *g->p != '\t') {
            return;
        }
    }
}

static bool next_is(const gbnf *g, const char *text)
{
    size_t n = strlen(text);
    return n <= (size_t)(g->end - g->p) && memcmp(g->p, text, n) == 0;
}

/* The rule of a name, new if need be. */
static tern_code find_rule(gbnf *g, const char *name, size_t n, uint32_t *out)
{
    bool ok;
    if (tern_map_find(&g->by_name, name, n, out))
        return TERN_OK;
    if (g->n_rule == TERN_GRAMMAR_RULES)
        return tern_fail(g->err, TERN_E_LIMIT, "grammar: line %zu: more than %d rules", g->line,
                         TERN_GRAMMAR_RULES);
    rule *r = tern_arena_calloc(&g->arena, 1, sizeof *r);
    char *copy = tern_arena_strdup_n(&g->arena, name, n);
    if (!r || !copy || (tern_map_add(&g->by_name, copy, n, g->n_rule, out, &ok), !ok))
        return no_memory(g);
    *r = (rule){.name = copy, .n_name = n, .line = g->line};
    g->rules[g->n_rule] = r;
    *out = g->n_rule++;
    return TERN_OK;
}

/* ---- characters ------------------------------------------------------------------------------ */

static tern_code read_hex(gbnf *g, int n_digit, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < n_digit; i++, g->p++) {
        char c = g->p < g->end ? *g->p : '\0';
        uint32_t d = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                     : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                            : 16;
        if (d == 16)
            return expected(g, "a hexadecimal digit");
        v = v << 4 | d;
    }
    if (v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
        return tern_fail(g->err, TERN_E_USAGE, "grammar: line %zu: U+%X is no character", g->line,
                         (unsigned)v);
    *out = v;
    return TERN_OK;
}

/* One character of a literal or class. */
static tern_code read_char(gbnf *g, uint32_t *cp)
{
    static const char names[] = "nrt\\\"[]-^/", values[] = "\n\r\t\\\"[]-^/";
    if (g->p == g->end)
        return expected(g, "a character");
    if (*g->p != '\\') {
        int n = tern_utf8_decode(g->p, (size_t)(g->end - g->p), cp);
        if (n == 0)
            return tern_fail(g->err, TERN_E_USAGE, "grammar: line %zu: not UTF-8", g->line);
        g->line += *g->p == '\n';
        g->p += n;
        return TERN_OK;
    }
    g->p++;
    char c = g->p < g->end ? *g->p : '\0';
    const char *at = c ? strchr(names, c) : NULL;
    int n_digit = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (at) {
        g->p++;
        *cp = (uint8_t)values[at - names];
        return TERN_OK;
    }
    if (n_digit == 0)
        return expected(g, "one of n r t \\ \" [ ] - ^ / x u U behind a backslash");
    g->p++;
    return read_hex(g, n_digit, cp);
}

static tern_code read_text(gbnf *g, item *sequence)
{
    tern_str s;
    item *i = add_item(g, sequence, ITEM_TEXT);
    tern_code rc = TERN_OK;
    tern_str_init(&s, TERN_GRAMMAR_TEXT);
    g->p++;
    while (rc == TERN_OK && g->p < g->end && *g->p != '"') {
        uint32_t cp;
        char utf8[4];
        rc = read_char(g, &cp);
        if (rc == TERN_OK)
            tern_str_put(&s, utf8, (size_t)tern_utf8_encode(cp, utf8));
    }
    if (rc == TERN_OK && g->p == g->end)
        rc = expected(g, "'\"'");
    if (rc == TERN_OK) {
        g->p++;
        const char *copy = tern_arena_strdup_n(&g->arena, tern_str_get(&s), s.len);
        if (!i || !copy || s.failed)
            rc = no_memory(g);
        else
            i->text = copy, i->n = s.len;
    }
    tern_str_done(&s);
    return rc;
}

static int by_first(const void *a, const void *b)
{
    uint32_t x = ((const tern_net_span *)a)->lo, y = ((const tern_net_span *)b)->lo;
    return (x > y) - (x < y);
}

/* Sort and join spans; of a negated class what lies between. Returns how many there are then: at most one
 * more. */
static size_t normalise(tern_net_span *s, size_t n, bool negated)
{
    size_t kept = 0;
    qsort(s, n, sizeof *s, by_first);
    for (size_t i = 0; i < n; i++) {
        if (kept && s[i].lo <= s[kept - 1].hi + 1)
            s[kept - 1].hi = s[i].hi > s[kept - 1].hi ? s[i].hi : s[kept - 1].hi;
        else
            s[kept++] = s[i];
    }
    if (!negated)
        return kept;
    uint32_t lo = 0;
    n = 0;
    for (size_t i = 0; i < kept; i++) {
        tern_net_span x = s[i];
        if (x.lo > lo)
            s[n++] = (tern_net_span){lo, x.lo - 1};
        lo = x.hi + 1;
    }
    if (lo <= 0x10ffff)
        s[n++] = (tern_net_span){lo, 0x10ffff};
    return n;
}

/* Most spans of one class. */
#define MAX_SPANS 4096

static tern_code read_spans(gbnf *g, tern_net_span *s, size_t *n, bool *negated)
{
    g->p++;
    *n = 0;
    *negated = g->p < g->end && *g->p == '^';
    g->p += *negated;
    while (g->p < g->end && *g->p != ']') {
        tern_net_span x;
        if (*n == MAX_SPANS)
            return tern_fail(g->err, TERN_E_LIMIT,
                             "grammar: line %zu: more than %d parts in a character class", g->line,
                             MAX_SPANS);
        TERN_TRY(read_char(g, &x.lo));
        x.hi = x.lo;
        if (g->end - g->p >= 2 && g->p[0] == '-' && g->p[1] != ']') {
            g->p++;
            TERN_TRY(read_char(g, &x.hi));
        }
        if (x.hi < x.lo)
            return tern_fail(g->err, TERN_E_USAGE,
                             "grammar: line %zu: a range from U+%X down to U+%X", g->line,
                             (unsigned)x.lo, (unsigned)x.hi);
        s[(*n)++] = x;
    }
    if (g->p == g->end)
        return expected(g, "']'");
    g->p++;
    return TERN_OK;
}

static tern_code read_class(gbnf *g, item *sequence)
{
    static const tern_net_span any = {0, 0x10ffff};
    item *i = add_item(g, sequence, ITEM_CLASS);
    bool negated;
    if (!i)
        return no_memory(g);
    if (*g->p == '.') {
        g->p++;
        i->span = &any;
        i->n = 1;
        return TERN_OK;
    }
    size_t room = 2; /* as many as there are bytes up to the end, at most */
    for (const char *p = g->p; p < g->end && *p != ']' && room < MAX_SPANS + 2; p++) {
        room++;
        p += *p == '\\' && p + 1 < g->end;
    }
    tern_net_span *s = tern_arena_calloc(&g->arena, room + 1, sizeof *s);
    if (!s)
        return no_memory(g);
    TERN_TRY(read_spans(g, s, &i->n, &negated));
    i->n = normalise(s, i->n, negated);
    i->span = s;
    return TERN_OK;
}

/* ---- what rules say -------------------------------------------------------------------------- */

static tern_code read_number(gbnf *g, uint32_t *out)
{
    uint32_t v = 0;
    if (g->p == g->end || *g->p < '0' || *g->p > '9')
        return expected(g, "a number");
    for (; g->p < g->end && *g->p >= '0' && *g->p <= '9'; g->p++) {
        v = v * 10 + (uint32_t)(*g->p - '0');
        if (v > TERN_GRAMMAR_REPEAT)
            return tern_fail(g->err, TERN_E_LIMIT, "grammar: line %zu: more than %d repetitions",
                             g->line, TERN_GRAMMAR_REPEAT);
    }
    *out = v;
    return TERN_OK;
}

/* {n}, {n,}, {n,m} or {,m} */
static tern_code read_counts(gbnf *g, uint32_t *min, uint32_t *max)
{
    g->p++;
    skip(g, g->depth > 0);
    *min = 0;
    if (g->p < g->end && *g->p != ',')
        TERN_TRY(read_number(g, min));
    *max = *min;
    skip(g, g->depth > 0);
    if (g->p < g->end && *g->p == ',') {
        g->p++;
        skip(g, g->depth > 0);
        *max = NO_LIMIT;
        if (g->p < g->end && *g->p != '}')
            TERN_TRY(read_number(g, max));
        skip(g, g->depth > 0);
    }
    if (g->p == g->end || *g->p != '}')
        return expected(g, "'}'");
    g->p++;
    if (*max < *min)
        return tern_fail(g->err, TERN_E_USAGE,
                         "grammar: line %zu: {%u,%u}: most is less than least", g->line,
                         (unsigned)*min, (unsigned)*max);
    return TERN_OK;
}

/* Operators behind the last part of a sequence: it becomes what they repeat. */
static tern_code read_operators(gbnf *g, item *sequence)
{
    for (int n = 0;; n++) {
        uint32_t min = 0, max = NO_LIMIT;
        skip(g, g->depth > 0);
        char c = g->p < g->end ? *g->p : '\0';
        if (c != '*' && c != '+' && c != '?' && c != '{')
            return TERN_OK;
        if (n == MAX_OPERATORS)
            return tern_fail(g->err, TERN_E_LIMIT,
                             "grammar: line %zu: more than %d repetitions of one another", g->line,
                             MAX_OPERATORS);
        if (c == '{') {
            TERN_TRY(read_counts(g, &min, &max));
        } else {
            min = c == '+';
            max = c == '?' ? 1 : NO_LIMIT;
            g->p++;
        }
        item *inner = tern_arena_calloc(&g->arena, 1, sizeof *inner), *last = sequence->last;
        if (!inner)
            return no_memory(g);
        *inner = *last;
        inner->next = NULL;
        *last = (item){.kind = ITEM_REPEAT, .child = inner, .last = inner, .min = min, .max = max};
    }
}

static tern_code read_choice(gbnf *g, item *parent);

static tern_code read_group(gbnf *g, item *sequence)
{
    if (g->depth == TERN_GRAMMAR_NESTING)
        return tern_fail(g->err, TERN_E_LIMIT, "grammar: line %zu: more than %d brackets nested",
                         g->line, TERN_GRAMMAR_NESTING);
    g->p++;
    g->depth++;
    TERN_TRY(read_choice(g, sequence));
    if (g->p == g->end || *g->p != ')')
        return expected(g, "')'");
    g->p++;
    g->depth--;
    return TERN_OK;
}

static tern_code read_reference(gbnf *g, item *sequence)
{
    item *i = add_item(g, sequence, ITEM_RULE);
    const char *name = g->p;
    while (g->p < g->end && is_word(*g->p))
        g->p++;
    if (!i)
        return no_memory(g);
    i->line = g->line;
    return find_rule(g, name, (size_t)(g->p - name), &i->rule);
}

/* One part with its operators; *more false: there is none here. */
static tern_code read_part(gbnf *g, item *sequence, bool *more)
{
    char c = g->p < g->end ? *g->p : '\0';
    *more = true;
    if (c == '"')
        TERN_TRY(read_text(g, sequence));
    else if (c == '[' || c == '.')
        TERN_TRY(read_class(g, sequence));
    else if (c == '(')
        TERN_TRY(read_group(g, sequence));
    else if (is_word(c))
        TERN_TRY(read_reference(g, sequence));
    else if (c == '<' || next_is(g, "!<"))
        return tern_fail(g->err, TERN_E_UNSUPPORTED,
                         "grammar: line %zu: tokens ('<...>') are not supported", g->line);
    else
        *more = false;
    return *more ? read_operators(g, sequence) : TERN_OK;
}

static tern_code read_sequence(gbnf *g, item *choice)
{
    item *sequence = add_item(g, choice, ITEM_SEQUENCE);
    bool more = true;
    if (!sequence)
        return no_memory(g);
    while (more) {
        skip(g, g->depth > 0);
        TERN_TRY(read_part(g, sequence, &more));
    }
    return TERN_OK;
}

/* Alternatives, up to the end of the line outside of brackets. */
static tern_code read_choice(gbnf *g, item *parent)
{
    item *choice = add_item(g, parent, ITEM_CHOICE);
    if (!choice)
        return no_memory(g);
    skip(g, g->depth > 0);
    TERN_TRY(read_sequence(g, choice));
    while (g->p < g->end && *g->p == '|') {
        g->p++;
        skip(g, true);
        TERN_TRY(read_sequence(g, choice));
    }
    return TERN_OK;
}

static tern_code read_rule(gbnf *g)
{
    const char *name = g->p;
    uint32_t number;
    item top = {.kind = ITEM_CHOICE};
    while (g->p < g->end && is_word(*g->p))
        g->p++;
    if (g->p == name)
        return expected(g, "the name of a rule");
    TERN_TRY(find_rule(g, name, (size_t)(g->p - name), &number));
    rule *r = g->rules[number];
    if (r->says)
        return tern_fail(g->err, TERN_E_USAGE, "grammar: line %zu: rule '%.100s' is defined twice",
                         g->line, r->name);
    skip(g, false);
    if (!next_is(g, "::="))
        return expected(g, "'::='");
    g->p += 3;
    skip(g, true);
    TERN_TRY(read_choice(g, &top));
    r->says = top.child;
    if (g->p < g->end && *g->p != '\n' && *g->p != '\r')
        return expected(g, "the end of the rule");
    return TERN_OK;
}

static tern_code read_rules(gbnf *g)
{
    uint32_t root;
    TERN_TRY(find_rule(g, "root", 4, &root));
    skip(g, true);
    while (g->p < g->end) {
        TERN_TRY(read_rule(g));
        skip(g, true);
    }
    if (!g->rules[root]->says)
        return tern_fail(g->err, TERN_E_USAGE, "grammar: there is no rule 'root'");
    return TERN_OK;
}

/* ---- to a network ---------------------------------------------------------------------------- */

static void compile(gbnf *g, const item *i, uint32_t from, uint32_t to);

static void compile_sequence(gbnf *g, const item *i, uint32_t from, uint32_t to)
{
    if (!i->child)
        tern_net_add_empty(&g->b, from, to);
    for (const item *c = i->child; c; c = c->next) {
        uint32_t next = c->next ? tern_net_add_node(&g->b) : to;
        compile(g, c, from, next);
        from = next;
    }
}

static void compile_text(gbnf *g, const item *i, uint32_t from, uint32_t to)
{
    if (i->n == 0)
        tern_net_add_empty(&g->b, from, to);
    for (size_t k = 0; k < i->n && !g->b.full; k++) {
        uint32_t next = k + 1 < i->n ? tern_net_add_node(&g->b) : to;
        tern_net_add_byte(&g->b, from, next, (uint8_t)i->text[k], (uint8_t)i->text[k]);
        from = next;
    }
}

/* What is repeated, once: a rule of its own unless that is as short. */
typedef struct body {
    const item *i;
    bool is_rule;
    uint32_t rule;
} body;

static const item *sole(const item *i)
{
    while ((i->kind == ITEM_CHOICE || i->kind == ITEM_SEQUENCE) && i->child && !i->child->next)
        i = i->child;
    return i;
}

static body body_of(gbnf *g, const item *repeat, uint32_t n_copy)
{
    body b = {.i = sole(repeat->child)};
    bool is_short = b.i->kind == ITEM_RULE || (b.i->kind == ITEM_TEXT && b.i->n <= 4) ||
                    (b.i->kind == ITEM_CLASS && b.i->n <= 4);
    if (is_short || n_copy <= 1)
        return b;
    b.is_rule = true;
    b.rule = tern_net_add_rule(&g->b);
    if (!g->b.failed && !g->b.full)
        compile(g, b.i, g->b.rule[b.rule].start, g->b.rule[b.rule].end);
    return b;
}

static void put_body(gbnf *g, const body *b, uint32_t from, uint32_t to)
{
    if (b->is_rule)
        tern_net_add_call(&g->b, from, to, b->rule);
    else
        compile(g, b->i, from, to);
}

static void compile_repeat(gbnf *g, const item *i, uint32_t from, uint32_t to)
{
    bool endless = i->max == NO_LIMIT;
    uint32_t n_before = endless ? (i->min ? i->min - 1 : 0) : i->min;
    body b = body_of(g, i, endless ? n_before + 1 : i->max);
    for (uint32_t k = 0; k < n_before && !g->b.full; k++) {
        uint32_t next = tern_net_add_node(&g->b);
        put_body(g, &b, from, next);
        from = next;
    }
    if (endless) { /* from -> a -body-> z, with z -> a, and past it if none is fine */
        uint32_t a = tern_net_add_node(&g->b), z = i->min ? tern_net_add_node(&g->b) : a;
        tern_net_add_empty(&g->b, from, a);
        put_body(g, &b, a, z);
        if (z != a)
            tern_net_add_empty(&g->b, z, a);
        tern_net_add_empty(&g->b, z, to);
        return;
    }
    for (uint32_t k = i->min; k < i->max && !g->b.full; k++) {
        uint32_t next = k + 1 < i->max ? tern_net_add_node(&g->b) : to;
        tern_net_add_empty(&g->b, from, to);
        put_body(g, &b, from, next);
        from = next;
    }
    if (i->max == i->min)
        tern_net_add_empty(&g->b, from, to);
}

/* As deep as brackets and operators are nested. */
static void compile(gbnf *g, const item *i, uint32_t from, uint32_t to)
{
    if (g->b.failed || g->b.full)
        return;
    switch (i->kind) {
    case ITEM_SEQUENCE:
        compile_sequence(g, i, from, to);
        break;
    case ITEM_CHOICE:
        for (const item *c = i->child; c; c = c->next)
            compile(g, c, from, to);
        break;
    case ITEM_TEXT:
        compile_text(g, i, from, to);
        break;
    case ITEM_CLASS:
        tern_net_add_class(&g->b, from, to, i->span, i->n);
        break;
    case ITEM_RULE:
        tern_net_add_call(&g->b, from, to, i->rule);
        break;
    case ITEM_REPEAT:
        compile_repeat(g, i, from, to);
        break;
    }
}

static const char *name_of(void *ctx, uint32_t number)
{
    const gbnf *g = ctx;
    return number < g->n_rule ? g->rules[number]->name : "(...)";
}

static tern_code build(gbnf *g, tern_net *out)
{
    for (uint32_t r = 0; r < g->n_rule; r++)
        (void)tern_net_add_rule(&g->b);
    for (uint32_t r = 0; r < g->n_rule; r++) {
        const rule *x = g->rules[r];
        if (!x->says)
            return tern_fail(g->err, TERN_E_USAGE,
                             "grammar: line %zu: rule '%.100s' is not defined", x->line, x->name);
        if (!g->b.failed && !g->b.full)
            compile(g, x->says, g->b.rule[r].start, g->b.rule[r].end);
    }
    return tern_net_finish(&g->b, out, name_of, g, g->err);
}

tern_code tern_gbnf_compile(const char *text, size_t n, tern_net *out, tern_err *err)
{
    gbnf g = {.p = text, .end = text + n, .line = 1, .err = err};
    tern_code rc;
    *out = (tern_net){0};
    if (n > TERN_GRAMMAR_TEXT)
        return tern_fail(err, TERN_E_LIMIT, "grammar: %zu bytes, expected at most %zu", n,
                         TERN_GRAMMAR_TEXT);
    tern_arena_init(&g.arena, (size_t)512 << 20);
    tern_map_init(&g.by_name);
    g.rules = tern_arena_calloc(&g.arena, TERN_GRAMMAR_RULES, sizeof *g.rules);
    rc = g.rules ? read_rules(&g) : no_memory(&g);
    if (rc == TERN_OK)
        rc = build(&g, out);
    tern_net_build_done(&g.b);
    tern_map_done(&g.by_name);
    tern_arena_done(&g.arena);
    return rc;
}
