/* What the two halves of the parser share: tpl_grammar.c (tokens, literals, expressions) and
 * tpl_parse.c (statements). */
#ifndef TERN_TEXT_TPL_PARSE_H
#define TERN_TEXT_TPL_PARSE_H

#include "base/hash.h"
#include "text/tpl.h"

typedef struct parser {
    tern_template *t;
    const tpl_token *tok; /* the current one; T_EOF is never passed */
    tern_map ids;         /* name -> index */
    tern_err *err;
    int depth, loops;
    tpl_params *macro; /* the innermost macro, whose special names are noted */
    tpl_node *calls;   /* E_CALL of plain names, by next */
    bool *assigned;    /* by name: set somewhere in the template */
    size_t assigned_cap;
} parser;

typedef struct node_list {
    tpl_node *head, *tail;
    size_t n;
} node_list;

typedef enum tuple_mode { TUPLE_EXPR, TUPLE_NO_COND, TUPLE_TARGET } tuple_mode;

tern_code tern_tpl_p_bad(parser *p, const char *expected);
tern_code tern_tpl_p_unsupported(parser *p, int line, const char *what, const char *name, size_t n);
void *tern_tpl_p_take(parser *p, size_t n, size_t size, tern_code *rc);
tern_code tern_tpl_p_node_new(parser *p, int kind, int line, tpl_node **out);
tern_code tern_tpl_p_enter(parser *p);
void tern_tpl_p_append(node_list *l, tpl_node *n);
tern_code tern_tpl_p_list_done(parser *p, const node_list *l, tpl_node ***v, size_t *n);
bool tern_tpl_p_at_name(const parser *p, const char *word);
void tern_tpl_p_next(parser *p);
bool tern_tpl_p_skip(parser *p, int type);
bool tern_tpl_p_skip_name(parser *p, const char *word);
tern_code tern_tpl_p_expect(parser *p, int type, const char *what);
tern_code tern_tpl_p_intern(parser *p, const char *s, size_t n, uint32_t *id);
tern_code tern_tpl_p_const_str(parser *p, const char *s, size_t n, tpl_val *out);
tern_code tern_tpl_p_expr(parser *p, tpl_node **out);
tern_code tern_tpl_p_tuple(parser *p, tuple_mode mode, const char *stop, bool parens,
                           tpl_node **out);
tern_code tern_tpl_p_primary(parser *p, bool target, tpl_node **out);
tern_code tern_tpl_p_name(parser *p, bool target, tpl_node **out);
tern_code tern_tpl_p_filter(parser *p, tpl_node *of, tpl_node **out);

#endif
