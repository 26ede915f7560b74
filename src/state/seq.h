/* What one sequence remembers: its token ids and, per block, the mixer's state. Today every block is
 * attention, so the state is KV pages; other mixers add their slots here behind the same calls
 * (truncate, snapshot), so that decode loops never ask what a block is.
 *
 * Positions live in pages of TERN_PAGE_TOK tokens. A page holds, for each attention block, K and V
 * of all KV heads as [n_kv_head][TERN_PAGE_TOK][d_row], so one head's positions are contiguous; int8
 * rows are interleaved (tern_kv8 of kernels/kernel.h).
 * Pages are reference-counted: a snapshot shares them and the first write after it copies. The counts are
 * plain integers: sequences that share pages, and all within one budget, belong to one thread. Another
 * may read the rows of a sequence that its owner neither changes nor frees meanwhile: nobody writes rows
 * of a page that two hold.
 * Threads: one owner at a time. */
#ifndef TERN_STATE_SEQ_H
#define TERN_STATE_SEQ_H

#include "state/states.h"
#include "tern.h"

#define TERN_PAGE_TOK 64

typedef enum tern_kv_dtype { TERN_KV_F16, TERN_KV_I8, TERN_KV_F32 } tern_kv_dtype;

/* int8, but halves for heads so small that a scale for each is coarse (docs/CACHE.md). */
static inline tern_kv_dtype tern_kv_auto(int d_head)
{
    return d_head >= 32 ? TERN_KV_I8 : TERN_KV_F16;
}

/* Shape of the state, fixed for a session. */
typedef struct tern_kv_shape {
    int n_block; /* attention blocks */
    int n_kv_head;
    int d_k, d_v; /* stored row length: head size padded to 8 */
    tern_kv_dtype k, v;
    bool small_pages; /* take no more memory than is used, rather than larger pages of the system */
} tern_kv_shape;

/* One head's rows inside one page. */
typedef struct tern_kv_rows {
    void *rows;   /* uint16_t or float [TERN_PAGE_TOK][d], or a page of int8_t; 64-byte aligned */
    float *scale; /* TERN_KV_I8: [TERN_PAGE_TOK]; else NULL */
} tern_kv_rows;

typedef struct tern_page tern_page;

typedef struct tern_seq {
    tern_kv_shape shape;
    int n_ctx;         /* most tokens it may hold */
    int n_tok;         /* tokens whose state is complete */
    int32_t *ids;      /* owned; [cap_tok], which grows with the tokens, not with the promise */
    tern_page **pages; /* owned; [cap_page] */
    int n_page, cap_tok, cap_page;
    tern_budget *budget; /* borrowed; counts pages and tables; NULL: nobody does */
    bool kept;           /* for later (state/prefix.h): what it alone holds can be given back */
} tern_seq;

/* Codes: TERN_E_USAGE (n_ctx < 1), TERN_E_NOMEM. */
TERN_CHECK tern_code tern_seq_init(tern_seq *s, const tern_kv_shape *shape, int n_ctx,
                                   tern_err *err);
/* The same within a budget, which may be NULL and outlives it. */
TERN_CHECK tern_code tern_seq_init_within(tern_seq *s, const tern_kv_shape *shape, int n_ctx,
                                          tern_budget *budget, tern_err *err);
void tern_seq_done(tern_seq *s);
/* Bytes of state per token for one shape. */
size_t tern_kv_token_bytes(const tern_kv_shape *shape);

/* Bytes that n_tok tokens take, in whole pages and with the sequence's tables; SIZE_MAX: too many. */
size_t tern_seq_bytes(const tern_kv_shape *shape, int n_tok);

/* Make positions [n_tok, n_tok + n) writable: pages exist and are not shared. Afterwards a step can
 * write them without allocating. On failure the sequence is unchanged. Codes: TERN_E_LIMIT (context
 * full), TERN_E_NOMEM. */
TERN_CHECK tern_code tern_seq_reserve(tern_seq *s, int n, tern_err *err);
/* The step is done: its n ids (copied) now belong to the sequence. */
void tern_seq_commit(tern_seq *s, const int32_t *ids, int n);
/* Forget everything from position n on. */
void tern_seq_truncate(tern_seq *s, int n);
/* dst, not yet initialised, becomes an independent copy that shares pages until written. */
TERN_CHECK tern_code tern_seq_snapshot(const tern_seq *s, tern_seq *dst, tern_err *err);
/* The same of the first n tokens; kept: as the field. */
TERN_CHECK tern_code tern_seq_share(const tern_seq *s, int n, bool kept, tern_seq *dst,
                                    tern_err *err);
/* s holds less than the first n tokens of src, of which it becomes a copy; pages it has whole stay its
 * own. On failure it is unchanged. Codes: TERN_E_NOMEM, TERN_E_LIMIT. */
TERN_CHECK tern_code tern_seq_extend(tern_seq *s, const tern_seq *src, int n, tern_err *err);

/* Rows of positions [n0, n1), n0 at the beginning of a page, as bytes: pages one behind the other, their
 * absent positions 0. Nothing but the shape and the rows decides them. */
size_t tern_seq_raw_bytes(const tern_kv_shape *shape, int n0, int n1);
void tern_seq_raw_get(const tern_seq *s, int n0, int n1, uint8_t *to);
/* The bytes of a page that has no absent positions. */
const uint8_t *tern_seq_raw_view(const tern_seq *s, int page);
/* Append the n tokens whose rows are these bytes, of tern_seq_raw_bytes; any bytes are accepted. s ends
 * with a whole page. Codes: TERN_E_NOMEM, TERN_E_LIMIT. */
TERN_CHECK tern_code tern_seq_raw_put(tern_seq *s, const int32_t *ids, int n, const uint8_t *from,
                                      tern_err *err);

/* Sequences of one shape as the prefix tree sees them (state/states.h); states are tern_seq *. The budget,
 * which may be NULL, and the shape outlive what is made. */
tern_states tern_seq_states(tern_budget *budget);

/* Rows of one KV head of one block; page index = position / TERN_PAGE_TOK. */
tern_kv_rows tern_seq_k(const tern_seq *s, int block, int page, int kv_head);
tern_kv_rows tern_seq_v(const tern_seq *s, int block, int page, int kv_head);

#endif
