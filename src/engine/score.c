/* How likely the ends of texts are. Neighbours that begin alike share what they have in common: the texts
 * make a tree whose branches are runs of tokens, a branch goes on from a copy of its parent's state
 * (pages are shared until written), and each row scores the next token of every text that runs through it. */
#include "base/alloc.h"
#include "base/error.h"
#include "engine/engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows that a branch must save to be worth a copy of its parent's last pages. */
#define MIN_SAVED 8
/* Texts beyond the first unfinished one that may begin; more would only hold memory. */
#define MAX_AHEAD 64

typedef struct scorer scorer;

/* Rows that texts first .. first + n_text - 1 have in common. */
typedef struct branch {
    size_t first, n_text;
    size_t begin,
        end; /* positions of the rows; none when a text's last token follows its parent's rows */
    struct branch *parent; /* NULL: it begins its texts */
    size_t n_waiting;      /* branches that go on from this one and have not begun */
    enum { WAITING, RUNNING, OVER } state;
    scorer *owner;
    tern_seq seq;
    tern_feed feed;
} branch;

struct scorer {
    tern_model *m;
    tern_score_opts o;
    tern_kv_shape shape;
    const tern_score_text *texts;
    size_t n_text, first; /* the first one that is not done */
    size_t longest;
    size_t n_base; /* first tokens of all texts whose state o.base has */
    tern_score *out;
    branch *b; /* owned; [n_branch] */
    size_t n_branch;
    branch **leaf; /* owned; [n_text]: the one that ends with the text */
};

void tern_score_opts_init(tern_score_opts *o)
{
    *o = (tern_score_opts){.size = sizeof *o};
}

/* ---- the tree ------------------------------------------------------------------------------ */

/* Rows that two texts can share; a text's last token needs none. */
static size_t common(const tern_score_text *a, const tern_score_text *b)
{
    size_t most = a->n_tok < b->n_tok ? a->n_tok - 1 : b->n_tok - 1, n = 0;
    while (n < most && a->ids[n] == b->ids[n])
        n++;
    return n;
}

/* Every run of neighbours that have more in common than with those around it: a stack of the runs still
 * open, in rising lengths, as one goes through the texts. Until it is linked, end is the common length. */
static void find_runs(scorer *s, branch **open)
{
    size_t n_open = 0;
    for (size_t i = 0; i < s->n_text; i++) {
        const tern_score_text *t = &s->texts[i];
        size_t shared = i + 1 < s->n_text ? common(t, t + 1) : 0, first = i;
        s->b[s->n_branch++] = (branch){.first = i, .n_text = 1, .end = t->n_tok - 1};
        while (n_open > 0 && open[n_open - 1]->end > shared) {
            branch *b = open[--n_open];
            b->n_text = i + 1 - b->first;
            first = b->first;
        }
        if (shared > 0 && (n_open == 0 || open[n_open - 1]->end < shared)) {
            s->b[s->n_branch] = (branch){.first = first, .end = shared};
            open[n_open++] = &s->b[s->n_branch++];
        }
    }
}

/* Outer runs before inner ones, which is an order where parents come first. */
static int compare(const void *pa, const void *pb)
{
    const branch *a = pa, *b = pb;
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    if (a->n_text != b->n_text)
        return a->n_text > b->n_text ? -1 : 1;
    return a->end < b->end ? -1 : a->end > b->end;
}

/* Drop runs that save too little and link the others. */
static void link_runs(scorer *s)
{
    size_t n = 0;
    branch *last = NULL; /* of those kept: it and its parents are the runs one is in */
    for (size_t i = 0; i < s->n_branch; i++) {
        branch b = s->b[i];
        while (last && b.first >= last->first + last->n_text)
            last = last->parent;
        b.begin = last ? last->end : s->n_base;
        if (b.n_text > 1 && (b.end <= b.begin || (b.end - b.begin) * (b.n_text - 1) < MIN_SAVED))
            continue;
        b.parent = last;
        b.owner = s;
        if (last)
            last->n_waiting++;
        s->b[n] = b;
        if (b.n_text > 1)
            last = &s->b[n];
        else
            s->leaf[b.first] = &s->b[n];
        n++;
    }
    s->n_branch = n;
}

static tern_code make_tree(scorer *s, tern_err *err)
{
    branch **open = tern_calloc(s->n_text, sizeof(branch *));
    s->b = tern_calloc(2 * s->n_text, sizeof *s->b);
    s->leaf = tern_calloc(s->n_text, sizeof(branch *));
    if (!open || !s->b || !s->leaf) {
        tern_free(open);
        return tern_fail(err, TERN_E_NOMEM, "scoring: out of memory for %zu texts", s->n_text);
    }
    find_runs(s, open);
    qsort(s->b, s->n_branch, sizeof *s->b, compare);
    link_runs(s);
    tern_free(open);
    return TERN_OK;
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* log(sum of exp) of all logits, and the first of the greatest ones. */
static double normaliser(const float *logits, int n_vocab, int32_t *best)
{
    double sum = 0.0;
    *best = 0;
    for (int32_t i = 1; i < n_vocab; i++)
        *best = logits[i] > logits[*best] ? i : *best;
    float max = logits[*best];
    for (int i = 0; i < n_vocab; i++)
        sum += (double)expf(logits[i] - max);
    return (double)max + log(sum);
}

static void score_row(void *ctx, int row, const tern_output *out)
{
    branch *b = ctx;
    scorer *s = b->owner;
    size_t next = b->begin + (size_t)row + 1;
    int32_t best;
    double log_sum = normaliser(out->logits, s->m->w.h.n_vocab, &best);
    for (size_t i = b->first; i < b->first + b->n_text; i++) {
        const tern_score_text *t = &s->texts[i];
        if (next < t->n_given || next >= t->n_tok)
            continue;
        s->out[i].log_prob += (double)out->logits[t->ids[next]] - log_sum;
        s->out[i].greedy &= t->ids[next] == best;
    }
}

/* The state a branch goes on from: the last one to do so takes it over. */
static tern_code inherit(scorer *s, branch *b, tern_err *err)
{
    branch *p = b->parent;
    if (!p && s->n_base > 0)
        return tern_seq_snapshot(&s->o.base->seq, &b->seq, err);
    if (!p)
        return tern_seq_init(&b->seq, &s->shape, (int)s->longest, err);
    if (p->n_waiting > 1)
        TERN_TRY(tern_seq_snapshot(&p->seq, &b->seq, err));
    else {
        b->seq = p->seq;
        p->seq = (tern_seq){0};
    }
    p->n_waiting--;
    return TERN_OK;
}

/* First rows of a branch that score nothing. */
static size_t rows_unscored(const scorer *s, const branch *b)
{
    size_t given = SIZE_MAX;
    for (size_t i = b->first; i < b->first + b->n_text; i++)
        given = s->texts[i].n_given < given ? s->texts[i].n_given : given;
    return given - 1 > b->begin ? given - 1 - b->begin : 0;
}

static tern_code begin(scorer *s, branch *b, tern_err *err)
{
    TERN_TRY(inherit(s, b, err));
    b->state = RUNNING;
    if (b->end == b->begin)
        return TERN_OK;
    b->feed = (tern_feed){.seq = &b->seq,
                          .ids = s->texts[b->first].ids + b->begin,
                          .n_tok = b->end - b->begin,
                          .n_out = 1,
                          .all_logits = true,
                          .n_skip = rows_unscored(s, b),
                          .patient = true,
                          .sink = score_row,
                          .sink_ctx = b};
    return tern_feed_begin(&b->feed, &s->m->e, err);
}

static size_t rows_left(const branch *b)
{
    return b->end - b->begin - b->feed.n_done;
}

/* A branch that has run: its text is done, or its state waits for those that go on from it. */
static tern_code end(scorer *s, branch *b, tern_err *err)
{
    if (b->feed.rc != TERN_OK) {
        if (err)
            *err = b->feed.err;
        return b->feed.rc;
    }
    b->state = OVER;
    if (b->n_text == 1) {
        s->out[b->first].done = true;
        tern_seq_done(&b->seq);
    }
    return TERN_OK;
}

/* ---- passes -------------------------------------------------------------------------------- */

/* The outermost branch on the way to a text that is not over. */
static branch *next_of(const scorer *s, size_t text)
{
    branch *b = s->leaf[text];
    while (b->parent && b->parent->state != OVER)
        b = b->parent;
    return b;
}

/* Begin branches while their rows fit the next pass; *list: all that run. */
static tern_code fill(scorer *s, tern_feed **list, tern_err *err)
{
    size_t n_row = 0, last = s->first + MAX_AHEAD;
    tern_feed **tail = list;
    branch *before = NULL;
    for (size_t i = s->first; i < s->n_text && i < last && n_row < (size_t)s->m->e.max_tok; i++) {
        branch *b = next_of(s, i);
        if (b == before || b->state == OVER)
            continue;
        before = b;
        if (b->state == WAITING)
            TERN_TRY(begin(s, b, err));
        if (rows_left(b) == 0) {
            TERN_TRY(end(s, b, err));
            continue;
        }
        n_row += rows_left(b);
        *tail = &b->feed;
        tail = &b->feed.next;
    }
    *tail = NULL;
    return TERN_OK;
}

/* Those of the list that the pass brought to their ends. */
static tern_code collect(scorer *s, tern_feed *list, tern_err *err)
{
    for (tern_feed *f = list; f; f = f->next)
        if (tern_feed_over(f))
            TERN_TRY(end(s, f->sink_ctx, err));
    while (s->first < s->n_text && s->out[s->first].done)
        s->first++;
    return TERN_OK;
}

static tern_code score_all(scorer *s, tern_err *err)
{
    while (s->first < s->n_text) {
        tern_feed *list;
        if (s->o.progress && !s->o.progress(s->o.ctx, s->first, s->n_text))
            return tern_fail(err, TERN_E_CANCELLED, "cancelled after %zu of %zu texts", s->first,
                             s->n_text);
        TERN_TRY(fill(s, &list, err));
        tern_turn_take(&s->m->turn);
        for (tern_feed *f = list; f; f = f->next)
            f->brief = tern_turn_is_awaited(&s->m->turn);
        tern_pass(&s->m->e, s->m->rows, list, &s->m->cost);
        tern_turn_give(&s->m->turn);
        TERN_TRY(collect(s, list, err));
    }
    return TERN_OK;
}

static tern_code check_text(const scorer *s, size_t i, tern_err *err)
{
    const tern_score_text *t = &s->texts[i];
    int n_vocab = s->m->w.h.n_vocab;
    if (t->n_given < 1 || t->n_given >= t->n_tok || t->n_tok > INT32_MAX)
        return tern_fail(
            err, TERN_E_USAGE,
            "text %zu: %zu tokens of which %zu are given: at least 1 must be, and 1 not", i + 1,
            t->n_tok, t->n_given);
    for (size_t k = 0; k < t->n_tok; k++)
        if (t->ids[k] < 0 || t->ids[k] >= n_vocab)
            return tern_fail(err, TERN_E_USAGE, "text %zu: token %zu is id %d, expected 0..%d",
                             i + 1, k, t->ids[k], n_vocab - 1);
    return TERN_OK;
}

static bool same_shape(const tern_kv_shape *a, const tern_kv_shape *b)
{
    return a->k == b->k && a->v == b->v && a->d_k == b->d_k && a->d_v == b->d_v;
}

static tern_code check_base(scorer *s, tern_err *err)
{
    const tern_session *base = s->o.base;
    if (!base)
        return TERN_OK;
    size_t n = (size_t)tern_session_n_tok(base);
    if (base->m != s->m || !same_shape(&base->seq.shape, &s->shape))
        return tern_fail(err, TERN_E_USAGE,
                         "scoring: the session is of another model or has another cache type");
    for (size_t i = 0; i < s->n_text; i++) {
        const tern_score_text *t = &s->texts[i];
        if (t->n_given <= n || memcmp(t->ids, base->seq.ids, n * sizeof *t->ids) != 0)
            return tern_fail(err, TERN_E_USAGE,
                             "text %zu: does not begin with the session's %zu tokens and one more",
                             i + 1, n);
        if (t->n_tok - 1 > (size_t)base->seq.n_ctx)
            return tern_fail(err, TERN_E_LIMIT,
                             "text %zu: %zu tokens, the session's context holds %d", i + 1,
                             t->n_tok, base->seq.n_ctx);
    }
    s->n_base = n;
    return TERN_OK;
}

tern_code tern_model_score(tern_model *m, const tern_score_text *texts, size_t n_text,
                           const tern_score_opts *opts, tern_score *out, tern_err *err)
{
    scorer s = {.m = m, .texts = texts, .n_text = n_text, .out = out};
    TERN_TRY(tern_model_needs_weights(m, err));
    tern_score_opts_init(&s.o);
    if (opts)
        memcpy(&s.o, opts, opts->size < sizeof s.o ? opts->size : sizeof s.o);
    for (size_t i = 0; i < n_text; i++)
        out[i] = (tern_score){.greedy = true};
    if (m->w.h.bidirectional)
        return tern_fail(err, TERN_E_UNSUPPORTED,
                         "%s: attention goes both ways in this model: it predicts no next token",
                         m->dir->path);
    TERN_TRY(tern_cache_shape(m, s.o.cache_k, s.o.cache_v, &s.shape, err));
    for (size_t i = 0; i < n_text; i++) {
        TERN_TRY(check_text(&s, i, err));
        s.longest = texts[i].n_tok > s.longest ? texts[i].n_tok : s.longest;
    }
    if (n_text == 0)
        return TERN_OK;
    TERN_TRY(check_base(&s, err));
    tern_code rc = make_tree(&s, err);
    if (rc == TERN_OK)
        rc = score_all(&s, err);
    for (size_t i = 0; s.b && i < s.n_branch; i++)
        tern_seq_done(&s.b[i].seq);
    tern_free(s.b);
    tern_free(s.leaf);
    return rc;
}
