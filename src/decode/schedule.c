#include "decode/schedule.h"
#include "base/clock.h"
#include "base/error.h"

static tern_code check(const tern_feed *f, const tern_exec *e, tern_err *err)
{
    if (f->n_tok == 0)
        return tern_fail(err, TERN_E_USAGE, "no tokens to evaluate: the prompt is empty");
    for (size_t i = 0; i < f->n_tok; i++)
        if (f->ids[i] < 0 || f->ids[i] >= e->w->h.n_vocab)
            return tern_fail(err, TERN_E_USAGE, "token %zu is id %d, expected 0..%d", i, f->ids[i],
                             e->w->h.n_vocab - 1);
    int n_free = f->seq->n_ctx - f->seq->n_tok;
    if (f->n_tok > (size_t)n_free)
        return tern_fail(err, TERN_E_LIMIT,
                         "the prompt is too long: %zu tokens, of %d in the context %d are free "
                         "(shorten it or raise -c)",
                         f->n_tok, f->seq->n_ctx, n_free);
    if (f->whole && f->seq->n_tok > 0)
        return tern_fail(
            err, TERN_E_UNSUPPORTED,
            "attention goes both ways in this model: a text is evaluated whole, nothing "
            "can follow it");
    if (f->whole && f->n_tok > (size_t)e->max_tok)
        return tern_fail(err, TERN_E_LIMIT,
                         "the text is too long: %zu tokens, at most %d fit a pass where attention "
                         "goes both ways",
                         f->n_tok, e->max_tok);
    return TERN_OK;
}

tern_code tern_feed_begin(tern_feed *f, const tern_exec *e, tern_err *err)
{
    f->n_done = 0;
    f->n_before = f->seq->n_tok;
    f->n_row = 0;
    f->whole = e->w->h.bidirectional;
    return f->rc = check(f, e, err);
}

static void give_up(tern_feed *f, tern_code rc)
{
    f->rc = rc;
    f->n_row = 0;
    tern_seq_truncate(f->seq, f->n_before);
}

/* Rows of a prompt that go into n_free. The last n_out ids are not torn apart: after their pass
 * nothing can fail but the model's file, so that outputs are replaced all or not at all. */
static int chunk_rows(const tern_feed *f, int n_free)
{
    size_t left = f->n_tok - f->n_done, n = (size_t)n_free;
    if (left <= n)
        return (int)left;
    return (int)(left - n < (size_t)f->n_out ? left - (size_t)f->n_out : n);
}

static bool is_prompt(const tern_feed *f)
{
    return !tern_feed_over(f) && !tern_feed_is_short(f);
}

static size_t rows_left(const tern_feed *f)
{
    return f->n_tok - f->n_done - (size_t)f->n_row;
}

static int give(tern_feed *f, int n)
{
    size_t left = rows_left(f);
    n = left < (size_t)n ? (int)left : n;
    f->n_row += n;
    return n;
}

/* The prompt of the group that has least left to be given rows, of equal ones the first; NULL: none. */
static tern_feed *nearest_end(tern_feed *list, uint64_t group)
{
    tern_feed *best = NULL;
    for (tern_feed *f = list; f; f = f->next)
        if (is_prompt(f) && f->group == group && rows_left(f) &&
            (!best || rows_left(f) < rows_left(best)))
            best = f;
    return best;
}

/* Up to n rows for a group; first is its first prompt. Returns how many. */
static int give_group(tern_feed *list, tern_feed *first, int n)
{
    int given = give(first, (n + 3) / 4);
    for (tern_feed *f; given < n && (f = nearest_end(list, first->group)) != NULL;)
        given += give(f, n - given);
    return given;
}

static bool leads_group(tern_feed *list, const tern_feed *f)
{
    for (const tern_feed *g = list; g != f; g = g->next)
        if (is_prompt(g) && g->group == f->group)
            return false;
    return is_prompt(f);
}

/* What groups do not need goes to the others, in further rounds. */
static void share_prompts(tern_feed *list, int n_free)
{
    for (int given = 1; n_free > 0 && given > 0;) {
        int n_group = 0, part;
        given = 0;
        for (tern_feed *f = list; f; f = f->next)
            n_group += leads_group(list, f) && nearest_end(list, f->group);
        part = n_group && n_free > n_group ? n_free / n_group : 1;
        for (tern_feed *f = list; f && given < n_free; f = f->next)
            if (leads_group(list, f))
                given += give_group(list, f, part < n_free - given ? part : n_free - given);
        n_free -= given;
    }
    for (tern_feed *f = list; f; f = f->next)
        if (is_prompt(f))
            f->n_row = chunk_rows(f, f->n_row);
}

static void share_rows(int max_tok, tern_feed *list, const tern_cost *cost)
{
    int n_free = max_tok;
    bool brief = false;
    for (tern_feed *f = list; f; f = f->next) {
        f->n_row = 0;
        f->starved = false;
        brief |= f->brief && is_prompt(f);
        if (tern_feed_over(f) || !tern_feed_is_short(f) || f->n_tok - f->n_done > (size_t)n_free)
            continue;
        f->n_row = (int)(f->n_tok - f->n_done);
        n_free -= f->n_row;
    }
    if (n_free < max_tok || brief) {
        int n = tern_cost_prompt_rows(cost, max_tok - n_free);
        n_free = n < n_free ? n : n_free;
    }
    share_prompts(list, n_free);
}

static void starve(tern_feed *f)
{
    f->starved = true;
    f->n_row = 0;
}

/* Whether the feed may go on, and room for its rows. */
static void admit(tern_feed *f)
{
    if (f->cancel && atomic_load_explicit(f->cancel, memory_order_relaxed))
        give_up(f, tern_fail(&f->err, TERN_E_CANCELLED, "cancelled after %zu of %zu tokens",
                             f->n_done, f->n_tok));
    else if (tern_seq_reserve(f->seq, f->n_row, &f->err) == TERN_OK)
        return;
    else if (f->waits && f->err.code == TERN_E_NOMEM)
        starve(f);
    else
        give_up(f, f->err.code);
}

/* What the row is for that `left` rows, itself included, are left of. */
static tern_want wanted(const tern_feed *f, size_t left)
{
    if (f->all_hidden)
        return TERN_WANT_HIDDEN;
    if (f->all_logits)
        return f->n_tok - left < f->n_skip ? TERN_WANT_NOTHING : TERN_WANT_LOGITS;
    if (left > (size_t)f->n_out)
        return TERN_WANT_NOTHING;
    return f->whole_head ? TERN_WANT_LOGITS : TERN_WANT_CHOICE;
}

static int build_rows(tern_row *rows, tern_feed *list)
{
    int n = 0;
    for (tern_feed *f = list; f; f = f->next) {
        f->row0 = n;
        for (int i = 0; i < f->n_row; i++, n++) {
            size_t at = f->n_done + (size_t)i;
            rows[n] = (tern_row){.seq = f->seq,
                                 .id = f->ids[at],
                                 .pos = f->seq->n_tok + i,
                                 .wants = wanted(f, f->n_tok - at)};
        }
    }
    return n;
}

/* Rows are numbered within a pass by forward and within the feed by its sink; they come in order. */
static void to_feed(void *ctx, int row, const tern_output *out)
{
    tern_feed **at = ctx, *f = *at;
    while (row >= f->row0 + f->n_row)
        f = f->next;
    *at = f;
    f->sink(f->sink_ctx, (int)f->n_done + row - f->row0, out);
}

static void finish_rows(tern_feed *f)
{
    tern_seq_commit(f->seq, f->ids + f->n_done, f->n_row);
    f->n_done += (size_t)f->n_row;
    if (f->progress)
        f->progress(f->progress_ctx, f->n_done, f->n_tok);
}

void tern_pass(tern_exec *e, tern_row *rows, tern_feed *list, tern_cost *cost)
{
    int n_prompt = 0;
    tern_feed *at = list;
    share_rows(e->max_tok, list, cost);
    for (tern_feed *f = list; f; f = f->next)
        if (f->n_row > 0) {
            bool prompt = is_prompt(f);
            admit(f);
            n_prompt += prompt ? f->n_row : 0;
        }
    int n_row = build_rows(rows, list);
    if (n_row == 0)
        return;
    uint64_t begin = tern_clock_ns();
    tern_forward(e, rows, n_row, to_feed, &at);
    tern_err err;
    bool whole = tern_dir_check_whole(e->w->dir, &err) == TERN_OK;
    double ns = (double)(tern_clock_ns() - begin);
    if (n_prompt == 0) /* what drafting must know the cost of */
        tern_cost_add(cost, n_row, ns);
    else
        tern_cost_add_prompt(cost, n_row - n_prompt, n_prompt, ns);
    for (tern_feed *f = list; f; f = f->next)
        if (f->n_row > 0 && whole) {
            finish_rows(f);
        } else if (f->n_row > 0) {
            f->err = err;
            give_up(f, err.code);
        }
}
