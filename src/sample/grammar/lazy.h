/* A network as a machine that reads bytes: states are made as they are met. A state is a set of places, each
 * a node of the network with a stack of the nodes that calls come back to; equal sets are one state, equal
 * stacks one number. What follows a state by a class of bytes is computed once. Not locked. */
#ifndef TERN_SAMPLE_GRAMMAR_LAZY_H
#define TERN_SAMPLE_GRAMMAR_LAZY_H

#include "sample/grammar/net.h"

/* Calls within calls; deeper ones are as if they were not in the grammar. */
#define TERN_LAZY_DEPTH 1024
/* Places looked at for one token; a grammar that needs more is refused there. */
#define TERN_LAZY_WORK ((uint64_t)8000000)
/* Memory that one token may make it take. */
#define TERN_LAZY_BYTES ((size_t)192 << 20)
/* Places of one state. */
#define TERN_LAZY_PLACES 65536

/* States that are always there. */
enum { TERN_LAZY_UNKNOWN, TERN_LAZY_DEAD };

typedef struct tern_lazy_place {
    uint32_t node;
    uint32_t stack; /* 0: empty */
} tern_lazy_place;

typedef struct tern_lazy_frame {
    uint32_t back;  /* node that the call comes back to */
    uint32_t under; /* the stack below */
    uint32_t depth;
} tern_lazy_frame;

typedef struct tern_lazy_state {
    uint32_t place, n_place; /* [place .. place + n_place) */
    uint32_t mask;           /* for whoever keeps masks: number + 1; 0: none */
    bool may_end;            /* what was read is a whole text of the grammar */
} tern_lazy_state;

typedef struct tern_lazy {
    const tern_net *net; /* borrowed */
    /* Owned, growing. */
    tern_lazy_state *state;
    tern_lazy_place *place;
    tern_lazy_frame *frame;
    uint32_t *next;        /* [n_state][n_class] */
    uint32_t *state_table; /* open addressing: state; 0: free */
    uint32_t *frame_table;
    size_t n_state, cap_state, n_place, cap_place, n_frame, cap_frame, cap_next;
    size_t cap_state_table, cap_frame_table;
    /* Scratch of one step. */
    tern_lazy_place *list; /* reached; a prefix of them is looked at */
    uint32_t *seen;        /* open addressing: place of list + 1 */
    size_t n_list, cap_list, cap_seen;
    uint32_t start;
    uint64_t work; /* left for this token; whoever begins one sets it */
    tern_code rc;  /* why a step failed, until it is cleared */
} tern_lazy;

/* Codes: TERN_E_NOMEM, TERN_E_LIMIT. */
TERN_CHECK tern_code tern_lazy_init(tern_lazy *z, const tern_net *net, tern_err *err);
void tern_lazy_done(tern_lazy *z);
size_t tern_lazy_bytes(const tern_lazy *z);

/* What state s becomes by byte c, computed if need be; TERN_LAZY_DEAD when nothing does, or after a failure,
 * which z->rc tells. Pointers into z are stale then. */
uint32_t tern_lazy_step(tern_lazy *z, uint32_t s, uint8_t c);
static inline uint32_t tern_lazy_next(tern_lazy *z, uint32_t s, uint8_t c)
{
    uint32_t t = z->next[(size_t)s * (size_t)z->net->n_class + z->net->class_of[c]];
    return t != TERN_LAZY_UNKNOWN ? t : tern_lazy_step(z, s, c);
}
/* The message for z->rc. */
tern_code tern_lazy_why(const tern_lazy *z, tern_err *err);

/* The only byte that may follow; -1: there are several, or none, or the text may end. */
int tern_lazy_only(const tern_lazy *z, uint32_t s);
/* Nothing may follow but the end. */
static inline bool tern_lazy_is_over(const tern_lazy *z, uint32_t s)
{
    return z->state[s].may_end && z->state[s].n_place == 0;
}

/* State s of another machine of the same network, in this one; TERN_LAZY_DEAD after a failure. */
uint32_t tern_lazy_copy(tern_lazy *z, const tern_lazy *from, uint32_t s);

#endif
