/* What an answer may be, as a network of byte edges and calls: one part per rule, each with a start and an
 * end. Text is accepted along a way from the first rule's start to its end, where a call goes through the
 * part of another rule and comes back. Characters are compiled to the bytes of their UTF-8, so that tokens
 * need not be whole characters. Built once, then immutable. */
#ifndef TERN_SAMPLE_GRAMMAR_NET_H
#define TERN_SAMPLE_GRAMMAR_NET_H

#include "tern.h"

/* Limits of docs/GRAMMAR.md. */
#define TERN_GRAMMAR_RULES   4096                /* rules with a name */
#define TERN_GRAMMAR_NESTING 64                  /* brackets within brackets */
#define TERN_GRAMMAR_REPEAT  10000               /* a count of repetitions */
#define TERN_GRAMMAR_NODES   ((uint32_t)1000000) /* of the network */
#define TERN_GRAMMAR_TEXT    ((size_t)4 << 20)   /* bytes of the grammar's text */

typedef enum tern_net_kind {
    TERN_NET_EMPTY, /* nothing is read */
    TERN_NET_BYTES, /* one byte of lo..hi */
    TERN_NET_CALL   /* the part of a rule */
} tern_net_kind;

typedef struct tern_net_edge {
    uint32_t to;
    uint32_t rule; /* of a call */
    uint8_t kind, lo, hi;
} tern_net_edge;

typedef struct tern_net_rule {
    uint32_t start, end;
} tern_net_rule;

typedef struct tern_net {
    uint32_t n_node, n_edge, n_rule;
    uint32_t *first; /* owned; [n_node + 1]: edges of a node are edge[first[i] .. first[i + 1]) */
    tern_net_edge *edge;   /* owned */
    tern_net_rule *rule;   /* owned; the first one is the answer */
    uint8_t *is_end;       /* owned; [n_node] */
    uint8_t class_of[256]; /* bytes that no edge tells apart share a class */
    uint8_t class_byte[256];
    int n_class;
} tern_net;

void tern_net_done(tern_net *n);

/* ---- building ------------------------------------------------------------------------------- */

/* Edges of a node under construction hang in a list. A failure sticks: later calls do nothing, and it
 * comes out of tern_net_finish. */
typedef struct tern_net_build {
    uint32_t n_node, cap_node, n_edge, cap_edge, n_rule, cap_rule;
    uint32_t *head;      /* owned; [n_node]: its last edge + 1 */
    uint32_t *next;      /* owned; [n_edge]: the node's edge before + 1 */
    tern_net_edge *edge; /* owned */
    tern_net_rule *rule; /* owned */
    bool failed, full;   /* memory; TERN_GRAMMAR_NODES */
} tern_net_build;

/* Code points lo..hi. */
typedef struct tern_net_span {
    uint32_t lo, hi;
} tern_net_span;

void tern_net_build_done(tern_net_build *b);
/* A new rule with a start and an end; its number. */
uint32_t tern_net_add_rule(tern_net_build *b);
uint32_t tern_net_add_node(tern_net_build *b);
void tern_net_add_empty(tern_net_build *b, uint32_t from, uint32_t to);
void tern_net_add_byte(tern_net_build *b, uint32_t from, uint32_t to, uint8_t lo, uint8_t hi);
void tern_net_add_call(tern_net_build *b, uint32_t from, uint32_t to, uint32_t rule);
/* One character of s[0..n), in rising order without overlap; surrogates are left out. */
void tern_net_add_class(tern_net_build *b, uint32_t from, uint32_t to, const tern_net_span *s,
                        size_t n);
/* Check and order what was built; b can be done away with then. name_of: a rule's name for messages. What
 * can never come to an end is taken out. Codes: TERN_E_USAGE (left recursion, nothing can be said),
 * TERN_E_LIMIT, TERN_E_NOMEM; out is empty then. */
TERN_CHECK tern_code tern_net_finish(tern_net_build *b, tern_net *out,
                                     const char *(*name_of)(void *ctx, uint32_t rule), void *ctx,
                                     tern_err *err);

#endif
