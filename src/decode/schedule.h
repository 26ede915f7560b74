/* Where the rows of a pass come from. A feed is ids that wait to be appended to one sequence; a pass
 * takes rows of every feed it is given through the model together: the next token of each answer,
 * tokens drafted to follow it, and chunks of prompts. What a row computes does not depend on who rides
 * beside it, so neither does any answer. */
#ifndef TERN_DECODE_SCHEDULE_H
#define TERN_DECODE_SCHEDULE_H

#include "decode/cost.h"
#include "model/exec.h"

#include <stdatomic.h>

typedef struct tern_feed tern_feed;
struct tern_feed {
    /* The caller's. */
    tern_seq *seq;      /* borrowed; one feed per sequence in a pass */
    const int32_t *ids; /* borrowed; [n_tok] */
    size_t n_tok;       /* at least 1 */
    int n_out;          /* 1..n_tok rows at the end that choices are made from; they share a pass */
    bool all_logits;    /* every row's logits are wanted, of which */
    size_t n_skip;      /* the first rows' are not */
    bool patient;       /* nobody waits for its end: it is read like a prompt even if it is short */
    bool all_hidden;    /* every row's hidden row is, and nothing else */
    bool whole_head;    /* choices need all logits */
    bool brief;         /* others may come that should not wait long for the end of a pass */
    bool waits;         /* without memory it takes no rows, rather than fail */
    uint64_t group;     /* prompts of each group get equal parts of a pass */
    tern_output_fn sink; /* row counts from the first id */
    void *sink_ctx;
    void (*progress)(void *ctx, size_t done, size_t total); /* after each pass; may be NULL */
    void *progress_ctx;
    const _Atomic bool *cancel; /* looked at before each pass; may be NULL */
    tern_feed *next;            /* of the list given to tern_pass */
    /* Written by tern_feed_begin and tern_pass. */
    size_t n_done;
    tern_code rc; /* not TERN_OK: it failed, and seq is what it was before */
    tern_err err;
    int n_before, row0, n_row;
    bool starved; /* waits, and had to in the last pass */
    bool whole;   /* all rows see each other, so they share one pass */
};

/* Codes: TERN_E_USAGE (id outside the vocabulary, n_tok 0), TERN_E_LIMIT (longer than the context, or
 * than a pass where rows see each other), TERN_E_UNSUPPORTED (more rows for a sequence whose rows have
 * seen each other); the feed is over then. */
TERN_CHECK tern_code tern_feed_begin(tern_feed *f, const tern_exec *e, tern_err *err);
/* Nothing is left to do, or it failed. */
static inline bool tern_feed_over(const tern_feed *f)
{
    return f->rc != TERN_OK || f->n_done == f->n_tok;
}
/* An answer's next rows rather than a prompt: all that is left is wanted, or cannot be parted. */
static inline bool tern_feed_is_short(const tern_feed *f)
{
    return f->whole || (!f->patient && f->n_tok - f->n_done <= (size_t)f->n_out);
}

/* One pass over the feeds that are not over; none is fine. Short ones come first and whole, as many as
 * the pass holds. Prompts share the rows that are left, or fewer where answers wait or a feed is brief
 * (decode/cost.h): equal parts for each group; in a group a quarter for the first of the list, so that it
 * comes to its end, and all else for those that have the least left. rows is scratch of
 * e->max_tok rows. A feed that fails (TERN_E_NOMEM, TERN_E_CANCELLED) does not touch the others; when
 * the model's file was cut (TERN_E_IO), all of them fail. */
void tern_pass(tern_exec *e, tern_row *rows, tern_feed *list, tern_cost *cost);

#endif
