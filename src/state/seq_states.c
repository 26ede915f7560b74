/* Attention for the prefix tree: its state can go on from any token. */
#include "base/alloc.h"
#include "state/seq.h"

static void *share(void *ctx, const void *from, int n)
{
    (void)ctx;
    tern_seq *s = tern_alloc(sizeof *s);
    if (s && tern_seq_share(from, n, true, s, NULL) != TERN_OK) {
        tern_free(s);
        return NULL;
    }
    return s;
}

static void free_state(void *state)
{
    tern_seq_done(state);
    tern_free(state);
}

static bool extend(void *state, const void *from, int n)
{
    return tern_seq_extend(state, from, n, NULL) == TERN_OK;
}

static int shorten(void *state, int floor)
{
    tern_seq *s = state;
    int n = (s->n_tok - 1) / TERN_PAGE_TOK * TERN_PAGE_TOK;
    tern_seq_truncate(s, n < floor && floor < s->n_tok ? floor : n);
    return s->n_tok;
}

static int resume(const void *state, int n)
{
    const tern_seq *s = state;
    return n < s->n_tok ? n : s->n_tok;
}

static size_t save_bytes(const void *state, int n0, int n1)
{
    const tern_seq *s = state;
    return tern_seq_raw_bytes(&s->shape, n0, n1);
}

static void save(const void *state, int n0, int n1, uint8_t *to)
{
    tern_seq_raw_get(state, n0, n1, to);
}

static const uint8_t *view(const void *state, int n0, int n1)
{
    return n1 - n0 == TERN_PAGE_TOK ? tern_seq_raw_view(state, n0 / TERN_PAGE_TOK) : NULL;
}

static bool load(void *state, int n0, const int32_t *ids, int n, const uint8_t *from, size_t bytes)
{
    tern_seq *s = state;
    tern_seq_truncate(s, n0);
    return n > 0 && s->n_tok == n0 && n0 % TERN_PAGE_TOK == 0 && n <= s->n_ctx - n0 &&
           bytes == tern_seq_raw_bytes(&s->shape, n0, n0 + n) &&
           tern_seq_raw_put(s, ids, n, from, NULL) == TERN_OK;
}

tern_states tern_seq_states(tern_budget *budget)
{
    return (tern_states){.budget = budget,
                         .grain = TERN_PAGE_TOK,
                         .share = share,
                         .free = free_state,
                         .extend = extend,
                         .shorten = shorten,
                         .resume = resume,
                         .save_bytes = save_bytes,
                         .save = save,
                         .view = view,
                         .load = load};
}
