/* Inside of the chat template engine: tokens (tpl_lex.c) -> syntax tree (tpl_parse.c) -> values
 * (tpl_value.c, tpl_text.c) computed by expressions (tpl_expr.c, tpl_filter.c, tpl_seq.c,
 * tpl_method.c) under statements (tpl_run.c). Semantics are those of Jinja2's immutable sandbox with
 * trim_blocks, lstrip_blocks and loop controls.
 *
 * A compiled template is immutable: one arena holds tokens, tree and names. A render owns a second
 * arena for values, and one output buffer that is also the stack for every string being built: mark
 * the length, append, then move what lies above the mark into a value. */
#ifndef TERN_TEXT_TPL_H
#define TERN_TEXT_TPL_H

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "text/template.h"

/* ---- values --------------------------------------------------------------------------------- */

typedef enum tpl_type {
    TPL_MISSING, /* an argument that was not given; never seen by templates */
    TPL_UNDEF,
    TPL_NONE,
    TPL_BOOL,
    TPL_INT,
    TPL_FLOAT,
    TPL_STR,
    TPL_LIST,
    TPL_TUPLE,
    TPL_DICT,
    TPL_RANGE,
    TPL_ITER, /* a generator: its items can be taken once */
    TPL_VIEW, /* keys, values or items of a dict */
    TPL_NAMESPACE,
    TPL_LOOP,
    TPL_MACRO,
    TPL_FUNC,
    TPL_METHOD,
    TPL_CYCLER,
    TPL_JOINER
} tpl_type;

typedef struct tpl_val tpl_val;
typedef struct tpl_rt tpl_rt;
typedef struct tpl_node tpl_node;
typedef struct tpl_scope tpl_scope;
typedef struct tpl_builtin tpl_builtin;

/* Bytes are UTF-8 and borrowed (template, variables or render arena). */
typedef struct tpl_str {
    const char *p;
    size_t n;
    size_t cp; /* code points */
} tpl_str;

/* Immutable once visible. Items [n, buf->used) of the buffer may belong to a longer list, which is
 * how list + [item] in a loop stays cheap. */
typedef struct tpl_buf {
    size_t used, cap;
} tpl_buf;
typedef struct tpl_list {
    tpl_val *v;
    size_t n;
    tpl_buf *buf; /* NULL: not growable */
    bool group;   /* a groupby pair: .grouper and .list */
} tpl_list;

typedef struct tpl_dict {
    tpl_val *k, *v; /* in order of insertion */
    size_t n, cap;
    uint32_t *index; /* open addressing, entry + 1; NULL while small */
    size_t index_cap;
} tpl_dict;

typedef struct tpl_range {
    int64_t start, stop, step; /* stop is only for printing */
    size_t n;
} tpl_range;

typedef struct tpl_iter {
    const tpl_val *v;
    size_t n, pos;
    const char *failure; /* what taking an item says; NULL: nothing went wrong */
} tpl_iter;

typedef enum tpl_view_kind { TPL_KEYS, TPL_VALUES, TPL_ITEMS } tpl_view_kind;
typedef struct tpl_view {
    tpl_dict *d;
    tpl_view_kind kind;
} tpl_view;

typedef enum tpl_undef_kind {
    TPL_U_NAME,
    TPL_U_ATTR,
    TPL_U_PARAM,
    TPL_U_UNSAFE,
    TPL_U_TEXT
} tpl_undef_kind;
typedef struct tpl_undef {
    tpl_undef_kind kind;
    const char *text; /* name, attribute or the whole message */
    size_t n;
    const char *owner; /* type that lacks the attribute */
} tpl_undef;

typedef struct tpl_macro {
    const tpl_node *node; /* N_MACRO, or N_CALLBLOCK for a caller */
    tpl_scope *closure;
} tpl_macro;

typedef struct tpl_method tpl_method;
typedef struct tpl_cycle tpl_cycle;
typedef struct tpl_loop tpl_loop;

struct tpl_val {
    uint8_t type;
    bool safe; /* TPL_STR: marked safe for HTML, so joining it escapes the rest */
    union {
        bool b;
        int64_t i;
        double f;
        tpl_str *s;
        tpl_list *l; /* list, tuple */
        tpl_dict *d; /* dict, namespace */
        tpl_range *r;
        tpl_iter *it;
        tpl_view *view;
        tpl_undef *u;
        tpl_macro *macro;
        tpl_loop *loop;
        const tpl_builtin *fn;
        tpl_method *method;
        tpl_cycle *cycle; /* cycler, joiner */
    } u;
};

struct tpl_method {
    const tpl_builtin *fn;
    tpl_val self;
};

struct tpl_cycle {
    const tpl_val *v;
    size_t n, pos; /* a joiner has one item and pos 1 once it was called */
};

#define TPL_V_NONE    ((tpl_val){.type = TPL_NONE})
#define TPL_V_BOOL(x) ((tpl_val){.type = TPL_BOOL, .u.b = (x)})
#define TPL_V_INT(x)  ((tpl_val){.type = TPL_INT, .u.i = (x)})
#define TPL_V_F64(x)  ((tpl_val){.type = TPL_FLOAT, .u.f = (x)})

/* ---- built-in functions, filters, tests and methods ----------------------------------------- */

#define TPL_MAX_PARAMS 6

typedef struct tpl_call {
    const tpl_val *pos;
    size_t n_pos;
    const tpl_val *kw_name, *kw; /* names are strings */
    size_t n_kw;
} tpl_call;

typedef struct tpl_args {
    tpl_val self; /* filtered, tested or owning value */
    tpl_val p[TPL_MAX_PARAMS];
    const tpl_call *call; /* everything as given, for functions that take any number */
} tpl_args;

typedef tern_code (*tpl_fn)(tpl_rt *rt, const tpl_args *a, tpl_val *out);

struct tpl_builtin {
    const char *name;
    const char *params; /* names in order, separated by spaces; "*": the function looks itself */
    int n_min;          /* how many of them must be given */
    tpl_fn fn;
};

/* Tables end with a NULL name. */
extern const tpl_builtin tern_tpl_filters[], tern_tpl_seq_filters[], tern_tpl_tests[];
extern const tpl_builtin tern_tpl_globals[], tern_tpl_str_methods[], tern_tpl_loop_methods[];
extern const tpl_builtin tern_tpl_list_methods[], tern_tpl_dict_methods[],
    tern_tpl_cycler_methods[];
const tpl_builtin *tern_tpl_find(const tpl_builtin *table, const char *name, size_t n);
const tpl_builtin *tern_tpl_find_filter(const char *name, size_t n);
/* Jinja2 computes this filter's items only when they are taken. */
bool tern_tpl_is_generator(const tpl_builtin *fn);
/* Python has the method, we do not: refused when the template is compiled. */
bool tern_tpl_method_is_unsupported(const char *name, size_t n);
/* A method that changes its object: the sandbox forbids it. */
bool tern_tpl_method_is_unsafe(tpl_type type, const char *name, size_t n);

/* ---- tokens ---------------------------------------------------------------------------------- */

typedef enum tpl_token_type {
    T_EOF = 0,
    /* one-character operators are their character */
    T_DATA = 256,
    T_VAR_BEGIN,
    T_VAR_END,
    T_BLOCK_BEGIN,
    T_BLOCK_END,
    T_NAME,
    T_STR,
    T_INT,
    T_FLOAT,
    T_POW,
    T_FLOORDIV,
    T_EQ,
    T_NE,
    T_GE,
    T_LE
} tpl_token_type;

typedef struct tpl_token {
    int type, line;
    const char *p; /* text; for strings what lies between the quotes */
    size_t n;
} tpl_token;

/* src is normalised already (line ends, last newline). Tokens are in the arena, T_EOF last. */
TERN_CHECK tern_code tern_tpl_lex(tern_arena *arena, const char *src, size_t n, tpl_token **out,
                                  size_t *n_out, tern_err *err);
/* Python's str.strip set. */
bool tern_tpl_is_space(uint32_t cp);
/* NULL from an arena: its limit (TERN_E_LIMIT) or the system's (TERN_E_NOMEM). */
tern_code tern_tpl_arena_fail(const tern_arena *a, size_t want, tern_err *err);

/* ---- syntax tree ----------------------------------------------------------------------------- */

typedef enum tpl_kind {
    /* statements */
    N_DATA,        /* val */
    N_OUTPUT,      /* a */
    N_IF,          /* a ? v : w; flag: w is one N_IF from elif */
    N_FOR,         /* a target, b iterable, c filter or NULL, v body, w else */
    N_SET,         /* a target, b value */
    N_SETBLOCK,    /* a target, b filters over E_BODY or NULL, v body */
    N_MACRO,       /* name, params, v body */
    N_CALLBLOCK,   /* a call, params, v body */
    N_FILTERBLOCK, /* b filters over E_BODY, v body */
    N_WITH,        /* w N_SET each, v body */
    N_SCOPE,       /* v body */
    N_BREAK,
    N_CONTINUE,
    /* expressions */
    E_CONST,  /* val */
    E_NAME,   /* name */
    E_NSREF,  /* name, val attribute: only as a target */
    E_TUPLE,  /* v */
    E_LIST,   /* v */
    E_DICT,   /* v keys, w values */
    E_ATTR,   /* a . val */
    E_ITEM,   /* a [b] */
    E_SLICE,  /* a : b : c, each may be NULL; only below E_ITEM */
    E_CALL,   /* a (args) */
    E_FILTER, /* a | fn(args) */
    E_TEST,   /* a is fn(args) */
    E_BIN,    /* a op b */
    E_CMP,    /* a, then v with ops */
    E_AND,
    E_OR,
    E_NOT,
    E_NEG,
    E_POS,
    E_CONCAT, /* v */
    E_COND,   /* a ? b : c, c may be NULL */
    E_BODY    /* the text of a set or filter block */
} tpl_kind;

enum { TPL_OP_IN = 1, TPL_OP_NOT_IN }; /* beside tokens, in E_CMP */

typedef struct tpl_argnodes {
    tpl_node **pos, **kw; /* positional; E_CONST string and value alternate in kw */
    size_t n_pos, n_kw;
    tpl_node *star, *star2;
} tpl_argnodes;

typedef struct tpl_params {
    tpl_val *name; /* strings */
    uint32_t *id;
    tpl_node **dflt; /* NULL: none */
    size_t n;
    bool uses_caller, uses_varargs, uses_kwargs, names_caller;
} tpl_params;

struct tpl_node {
    uint8_t kind;
    bool flag;
    int op, line;
    uint32_t name; /* index into the template's names */
    tpl_node *a, *b, *c, *next;
    tpl_node **v, **w;
    size_t n_v, n_w;
    uint8_t *ops;
    tpl_val val;
    const tpl_builtin *fn;
    const tpl_argnodes *args;
    const tpl_params *params;
};

typedef struct tpl_names {
    const tpl_str **v; /* in the arena */
    size_t n, cap;
} tpl_names;

/* Names every template has, in this order. */
enum { TPL_NAME_LOOP, TPL_NAME_CALLER, TPL_NAME_VARARGS, TPL_NAME_KWARGS };

struct tern_template {
    tern_arena arena; /* owns everything below */
    tpl_node **body;
    size_t n_body;
    tpl_names names;
};

/* n, or what of max bytes ends with a whole character: for messages. */
int tern_tpl_cut(const char *p, size_t n, size_t max);

#define TPL_PARSE_DEPTH   100
#define TPL_COMPILE_BYTES ((size_t)32 << 20)

TERN_CHECK tern_code tern_tpl_parse(tern_template *t, const tpl_token *tok, size_t n_tok,
                                    tern_err *err);

/* ---- one render ------------------------------------------------------------------------------ */

typedef struct tpl_var {
    uint32_t name;
    tpl_val val;
} tpl_var;

struct tpl_scope {
    tpl_scope *parent; /* NULL: next are the root variables */
    tpl_var *v;
    size_t n, cap;
};

struct tpl_loop {
    const tpl_node *node;
    tpl_scope *outer;     /* where the filter is evaluated */
    tpl_scope *test;      /* the filter's own scope, reused */
    const tpl_val *src;   /* what is left to be filtered: [pos, n_src) */
    tpl_val *items;       /* what passed */
    size_t n_src, pos, n; /* n items known so far */
    size_t index0;
    int depth0;
    const tpl_val *changed; /* arguments of the last changed() */
    size_t n_changed;
};

struct tpl_rt {
    const tern_template *t;
    tern_arena arena;
    tern_str out;  /* the output, and above it strings being built */
    tpl_val *root; /* one value for each name: variables, then what the template sets */
    tpl_scope *scope;
    tpl_val body; /* what E_BODY stands for */
    uint64_t fuel;
    size_t owed;        /* bytes put and not yet paid for */
    int nest, max_nest; /* levels of evaluation: bounds the C stack */
    int calls, max_calls;
    int loops;
    int line;
    int64_t now;
    tern_code code; /* of the last failure */
    tern_err *err;
    char *tail; /* behind the newest joined string: the next join may extend it in place */
    size_t tail_left;
};

/* Fill the error with the current line and return code. */
tern_code tern_tpl_fail(tpl_rt *rt, tern_code code, const char *fmt, ...) TERN_PRINTF(3, 4);
/* Account for work on bytes: a step per 256. */
TERN_CHECK tern_code tern_tpl_spend(tpl_rt *rt, size_t bytes);
/* The same for small work that is done often: it adds up before it costs a step. */
TERN_CHECK tern_code tern_tpl_owe(tpl_rt *rt, size_t bytes);
TERN_CHECK tern_code tern_tpl_enter(tpl_rt *rt);
void tern_tpl_leave(tpl_rt *rt);
/* n * size bytes, not cleared; NULL sets rt->code. */
void *tern_tpl_alloc(tpl_rt *rt, size_t n, size_t size);

/* ---- tpl_value.c ----------------------------------------------------------------------------- */

size_t tern_tpl_count_cp(const char *p, size_t n);
/* Length of the sequence at p[0..n) and its code point; an invalid byte counts as one. */
size_t tern_tpl_next_cp(const char *p, size_t n, uint32_t *cp);
/* Byte offset of code point i <= s->cp. */
size_t tern_tpl_cp_offset(const tpl_str *s, size_t i);
TERN_CHECK tern_code tern_tpl_str(tpl_rt *rt, const char *p, size_t n, tpl_val *out);
TERN_CHECK tern_code tern_tpl_strz(tpl_rt *rt, const char *text, tpl_val *out);
/* Building: append to rt->out; then everything above mark becomes a string. */
TERN_CHECK tern_code tern_tpl_put(tpl_rt *rt, const char *p, size_t n);
TERN_CHECK tern_code tern_tpl_putz(tpl_rt *rt, const char *text);
TERN_CHECK tern_code tern_tpl_take(tpl_rt *rt, size_t mark, tpl_val *out);
TERN_CHECK tern_code tern_tpl_list(tpl_rt *rt, tpl_type type, size_t n, tpl_val *out);
TERN_CHECK tern_code tern_tpl_pair(tpl_rt *rt, tpl_val a, tpl_val b, tpl_val *out);
TERN_CHECK tern_code tern_tpl_iter(tpl_rt *rt, const tpl_val *v, size_t n, tpl_val *out);
TERN_CHECK tern_code tern_tpl_dict(tpl_rt *rt, tpl_type type, tpl_val *out);
TERN_CHECK tern_code tern_tpl_dict_set(tpl_rt *rt, tpl_dict *d, tpl_val k, tpl_val v);
/* *found is NULL when absent. Fails for keys that cannot be hashed. */
TERN_CHECK tern_code tern_tpl_dict_get(tpl_rt *rt, const tpl_dict *d, tpl_val k, tpl_val **found);
TERN_CHECK tern_code tern_tpl_undef(tpl_rt *rt, tpl_undef_kind kind, const char *text, size_t n,
                                    const char *owner, tpl_val *out);
TERN_CHECK tern_code tern_tpl_from_json(tpl_rt *rt, const json_t *j, tpl_val *out);

const char *tern_tpl_type_name(const tpl_val *v);
bool tern_tpl_is(const tpl_val *v, const char *text); /* is it this string */
bool tern_tpl_hashable(const tpl_val *v);
bool tern_tpl_truthy(const tpl_val *v);
TERN_CHECK tern_code tern_tpl_equal(tpl_rt *rt, const tpl_val *a, const tpl_val *b, bool *out);
/* -1, 0, 1; fails for types without order. op is for the message. 2: unordered (NaN). */
TERN_CHECK tern_code tern_tpl_compare(tpl_rt *rt, const tpl_val *a, const tpl_val *b,
                                      const char *op, int *out);
TERN_CHECK tern_code tern_tpl_contains(tpl_rt *rt, const tpl_val *seq, const tpl_val *x, bool *out);
TERN_CHECK tern_code tern_tpl_length(tpl_rt *rt, const tpl_val *v, size_t *out);
/* All items as an array; a generator is used up. */
TERN_CHECK tern_code tern_tpl_items(tpl_rt *rt, const tpl_val *v, const tpl_val **items, size_t *n);
/* The error that using an undefined value raises. */
tern_code tern_tpl_undef_fail(tpl_rt *rt, const tpl_val *v);

/* ---- tpl_text.c: values as text -------------------------------------------------------------- */

/* Append str(v) or repr(v). */
TERN_CHECK tern_code tern_tpl_put_str(tpl_rt *rt, const tpl_val *v);
TERN_CHECK tern_code tern_tpl_put_repr(tpl_rt *rt, const tpl_val *v);
/* str(v) as a string value; strings pass unchanged. */
TERN_CHECK tern_code tern_tpl_to_str(tpl_rt *rt, const tpl_val *v, tpl_val *out);
TERN_CHECK tern_code tern_tpl_put_float(tpl_rt *rt, double x);
TERN_CHECK tern_code tern_tpl_put_cp(tpl_rt *rt, uint32_t cp);
TERN_CHECK tern_code tern_tpl_put_escaped(tpl_rt *rt, const char *p, size_t n);
/* A number as Python's float() and the lexer read it, correctly rounded; false if malformed. */
bool tern_tpl_read_float(const char *p, size_t n, double *out);
/* base 2..36 digits with optional sign, '_' between digits; false if malformed or too large. */
bool tern_tpl_read_int(const char *p, size_t n, int base, int64_t *out);
typedef struct tpl_json {
    bool ascii, sort;
    const tpl_str *indent, *item_sep, *key_sep; /* indent NULL: one line */
} tpl_json;
TERN_CHECK tern_code tern_tpl_put_json(tpl_rt *rt, const tpl_val *v, const tpl_json *how,
                                       size_t level);
TERN_CHECK tern_code tern_tpl_percent(tpl_rt *rt, const tpl_val *fmt, const tpl_val *args,
                                      tpl_val *out);
TERN_CHECK tern_code tern_tpl_put_time(tpl_rt *rt, const char *fmt, size_t n);
/* Letters that have a case: +1 upper or title, -1 lower, 0 none. */
int tern_tpl_cp_case(uint32_t cp);
typedef enum tpl_case { TPL_UPPER, TPL_LOWER, TPL_CAPITAL, TPL_TITLE, TPL_SWAP, TPL_FOLD } tpl_case;
TERN_CHECK tern_code tern_tpl_put_case(tpl_rt *rt, const char *p, size_t n, tpl_case how);

/* ---- tpl_expr.c ------------------------------------------------------------------------------ */

TERN_CHECK tern_code tern_tpl_eval(tpl_rt *rt, const tpl_node *e, tpl_val *out);
TERN_CHECK tern_code tern_tpl_join(tpl_rt *rt, const tpl_str *a, const tpl_str *b, tpl_val *out);
TERN_CHECK tern_code tern_tpl_binary(tpl_rt *rt, int op, const tpl_val *a, const tpl_val *b,
                                     tpl_val *out);
TERN_CHECK tern_code tern_tpl_attr(tpl_rt *rt, const tpl_val *obj, const tpl_val *name,
                                   tpl_val *out);
TERN_CHECK tern_code tern_tpl_item(tpl_rt *rt, const tpl_val *obj, const tpl_val *key,
                                   tpl_val *out);
TERN_CHECK tern_code tern_tpl_call_val(tpl_rt *rt, const tpl_val *f, const tpl_call *call,
                                       tpl_val *out);
/* caller: for call blocks, else NULL. */
TERN_CHECK tern_code tern_tpl_eval_call(tpl_rt *rt, const tpl_node *e, const tpl_val *caller,
                                        tpl_val *out);
TERN_CHECK tern_code tern_tpl_call_builtin(tpl_rt *rt, const tpl_builtin *fn, const tpl_val *self,
                                           const tpl_call *call, tpl_val *out);
/* Stable ascending order of [0, n) by keys[]; reverse keeps stability as Python does. */
TERN_CHECK tern_code tern_tpl_sort(tpl_rt *rt, const tpl_val *keys, size_t n, bool reverse,
                                   size_t *order);

/* ---- tpl_filter.c: arguments of built-ins ----------------------------------------------------- */

/* An argument as an integer or truth value; missing or None gives dflt. */
TERN_CHECK tern_code tern_tpl_arg_int(tpl_rt *rt, const tpl_val *v, int64_t dflt, int64_t *out);
bool tern_tpl_arg_bool(const tpl_val *v, bool dflt);
/* Fails unless v is a string. */
TERN_CHECK tern_code tern_tpl_need_str(tpl_rt *rt, const tpl_val *v, const char *who);
/* s without the code points in chars (white space if NULL) at its ends; shares bytes. */
TERN_CHECK tern_code tern_tpl_strip(tpl_rt *rt, const tpl_val *s, const tpl_str *chars, bool left,
                                    bool right, tpl_val *out);
/* count < 0: all. */
TERN_CHECK tern_code tern_tpl_replace(tpl_rt *rt, const tpl_str *s, const tpl_str *old,
                                      const tpl_str *with, int64_t count, tpl_val *out);
TERN_CHECK tern_code tern_tpl_splitlines(tpl_rt *rt, const tpl_str *s, bool keep, tpl_val *out);
TERN_CHECK tern_code tern_tpl_pad(tpl_rt *rt, const tpl_val *s, int64_t left, int64_t right,
                                  const tpl_str *fill, tpl_val *out);
TERN_CHECK tern_code tern_tpl_format(tpl_rt *rt, const tpl_args *a, tpl_val *out);

/* ---- tpl_run.c ------------------------------------------------------------------------------- */

tpl_val *tern_tpl_lookup(tpl_rt *rt, uint32_t name);
TERN_CHECK tern_code tern_tpl_assign(tpl_rt *rt, uint32_t name, tpl_val v);
TERN_CHECK tern_code tern_tpl_scope_new(tpl_rt *rt, tpl_scope *parent, tpl_scope **out);
TERN_CHECK tern_code tern_tpl_call_macro(tpl_rt *rt, const tpl_macro *m, const tpl_call *call,
                                         tpl_val *out);
/* Filter further items until at least want are known or the source is used up. */
TERN_CHECK tern_code tern_tpl_loop_fill(tpl_rt *rt, tpl_loop *l, size_t want);
TERN_CHECK tern_code tern_tpl_loop_attr(tpl_rt *rt, const tpl_val *loop, const char *name, size_t n,
                                        tpl_val *out, bool *found);

#endif
