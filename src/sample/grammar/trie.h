/* A vocabulary's text tokens by their bytes, in an order in which one walk meets every token with its
 * beginnings gone through once. Made once per model, immutable, shared by its grammars. */
#ifndef TERN_SAMPLE_GRAMMAR_TRIE_H
#define TERN_SAMPLE_GRAMMAR_TRIE_H

#include "text/tokenizer.h"

/* Nodes stand in the order of a walk that goes to the children first. */
typedef struct tern_trie_node {
    uint32_t end;   /* the first node that is not below this one */
    uint32_t token; /* tokens spelled so are id[token .. next node's token) */
    uint16_t depth; /* 1 for the first byte */
    uint8_t byte;
} tern_trie_node;

typedef struct tern_trie {
    const tern_tokenizer *tok; /* borrowed */
    tern_trie_node *node;      /* owned; [n_node + 1] */
    int32_t *id;               /* owned; [n_id] */
    int32_t *eog;              /* owned; [n_eog]: tokens that end the answer */
    uint32_t n_node, n_id, n_eog;
    int n_vocab;
    int max_depth;
} tern_trie;

/* Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_trie_new(const tern_tokenizer *tok, tern_trie **out, tern_err *err);
void tern_trie_free(tern_trie *t);
/* A token that stands for bytes of text: control and unknown ones do not, nor do those that end. */
bool tern_trie_has(const tern_trie *t, int32_t id);

#endif
