/* The prefix tree against plain lists of texts; its states are attention's, and others that can go on only from
 * where a snapshot was taken. */
#include "base/alloc.h"
#include "state/prefix.h"
#include "state/seq.h"
#include "support/support.h"

#include <string.h>

static const tern_kv_shape shape = {
    .n_block = 2, .n_kv_head = 1, .d_k = 8, .d_v = 8, .k = TERN_KV_F16, .v = TERN_KV_I8};

#define N_CTX 640

/* ---- texts whose rows tell which tokens led to them ------------------------------------------- */

static uint16_t mark_of(const int32_t *ids, int pos)
{
    uint32_t h = 1;
    for (int i = 0; i <= pos; i++)
        h = (h ^ (uint32_t)ids[i]) * 0x01000193u;
    return (uint16_t)(h >> 16 ^ h);
}

static uint16_t *k_at(const tern_seq *s, int pos)
{
    tern_kv_rows r = tern_seq_k(s, 1, pos / TERN_PAGE_TOK, 0);
    return (uint16_t *)r.rows + (size_t)(pos % TERN_PAGE_TOK) * 8;
}

/* Read ids[s->n_tok .. n) into s. */
static bool read_on(tern_seq *s, const int32_t *ids, int n)
{
    int n0 = s->n_tok;
    if (n <= n0)
        return true;
    if (tern_seq_reserve(s, n - n0, NULL) != TERN_OK)
        return false;
    uint32_t h = 1;
    for (int i = 0; i < n; i++) {
        h = (h ^ (uint32_t)ids[i]) * 0x01000193u;
        if (i >= n0)
            k_at(s, i)[3] = (uint16_t)(h >> 16 ^ h);
    }
    tern_seq_commit(s, ids + n0, n - n0);
    return true;
}

static void expect_rows(const tern_seq *s, const int32_t *ids, int n)
{
    assert_int_equal(s->n_tok, n);
    assert_memory_equal(s->ids, ids, (size_t)n * sizeof *ids);
    for (int i = 0; i < n; i += i % 61 == 0 ? 1 : 7)
        assert_int_equal(k_at(s, i)[3], mark_of(ids, i));
    if (n)
        assert_int_equal(k_at(s, n - 1)[3], mark_of(ids, n - 1));
}

/* ---- one tree ------------------------------------------------------------------------------- */

typedef struct fixture {
    tern_budget budget;
    tern_states ops;
    tern_prefix tree;
} fixture;

static void set_up(fixture *f, size_t limit)
{
    *f = (fixture){.budget = {.limit = limit}};
    f->ops = tern_seq_states(&f->budget);
    assert_int_equal(tern_prefix_init(&f->tree, &f->ops, NULL), TERN_OK);
}

static void tear_down(fixture *f)
{
    tern_prefix_done(&f->tree);
    assert_int_equal(f->budget.used, 0);
    assert_int_equal(f->budget.kept, 0);
}

static size_t page_cost(void)
{
    return tern_seq_bytes(&shape, 2 * TERN_PAGE_TOK) - tern_seq_bytes(&shape, TERN_PAGE_TOK);
}

/* A whole request: find, read, keep. Returns what was found, -1 without memory. */
static int ask(fixture *f, uint64_t owner, const int32_t *ids, int n)
{
    tern_seq s;
    tern_prefix_pin pin = {0};
    if (tern_seq_init_within(&s, &shape, N_CTX, &f->budget, NULL) != TERN_OK)
        return -1;
    int found = tern_prefix_find(&f->tree, owner, ids, n, &s, 0, &pin);
    expect_rows(&s, ids, found);
    if (read_on(&s, ids, n)) {
        tern_prefix_insert(&f->tree, owner, ids, n, &s, &pin);
        expect_rows(&s, ids, n);
    } else {
        found = -1;
    }
    tern_prefix_unpin(&f->tree, &pin);
    tern_seq_done(&s);
    return found;
}

/* Only look. */
static int look(fixture *f, uint64_t owner, const int32_t *ids, int n)
{
    tern_seq s;
    tern_prefix_pin pin = {0};
    assert_int_equal(tern_seq_init_within(&s, &shape, N_CTX, &f->budget, NULL), TERN_OK);
    int found = tern_prefix_find(&f->tree, owner, ids, n, &s, 0, &pin);
    expect_rows(&s, ids, found);
    tern_prefix_unpin(&f->tree, &pin);
    tern_seq_done(&s);
    return found;
}

static void count_up(int32_t *ids, int n, int32_t from)
{
    for (int i = 0; i < n; i++)
        ids[i] = from + i;
}

static void test_what_was_read_is_found_to_the_token(void **state)
{
    (void)state;
    fixture f;
    int32_t a[300], b[300];
    set_up(&f, SIZE_MAX);
    count_up(a, 300, 1000);
    assert_int_equal(ask(&f, 1, a, 200), 0);
    assert_int_equal(look(&f, 1, a, 300), 200);
    assert_int_equal(look(&f, 1, a, 131), 131);
    memcpy(b, a, sizeof a);
    b[77] = 5; /* inside a page */
    assert_int_equal(ask(&f, 1, b, 300), 77);
    assert_int_equal(look(&f, 1, b, 300), 300);
    assert_int_equal(look(&f, 1, a, 300), 200);
    assert_int_equal(ask(&f, 1, a, 300), 200);
    assert_int_equal(look(&f, 1, a, 300), 300);
    b[0] = 6;
    assert_int_equal(look(&f, 1, b, 300), 0);
    tear_down(&f);
}

static void test_owners_share_nothing(void **state)
{
    (void)state;
    fixture f;
    int32_t a[100];
    set_up(&f, SIZE_MAX);
    count_up(a, 100, 1);
    assert_int_equal(ask(&f, 7, a, 100), 0);
    assert_int_equal(ask(&f, 8, a, 100), 0);
    assert_int_equal(ask(&f, 0, a, 100), 0);
    assert_int_equal(look(&f, UINT64_MAX, a, 100), 0);
    assert_int_equal(look(&f, 7, a, 100), 100);
    tear_down(&f);
}

/* What is in the tree costs its pages once, however many texts go through them. */
static void test_pages_are_shared(void **state)
{
    (void)state;
    fixture f;
    int32_t a[320];
    set_up(&f, SIZE_MAX);
    count_up(a, 320, 1);
    assert_int_equal(ask(&f, 1, a, 320), 0);
    size_t one = f.budget.used;
    assert_true(one >= 5 * page_cost());
    assert_true(f.budget.kept + f.tree.own_bytes == f.budget.used);
    for (int i = 0; i < 10; i++) {
        a[300] = 1000 + i;
        assert_int_equal(ask(&f, 1, a, 320), 300);
    }
    /* one page more for each, and tables */
    assert_in_range(f.budget.used, one + 10 * page_cost(), one + 10 * (page_cost() + 4096));
    tear_down(&f);
}

/* Two requests with one beginning: the second takes each page as soon as the first has kept it. */
static void test_following_a_text_that_is_being_read(void **state)
{
    (void)state;
    fixture f;
    int32_t a[400], b[400];
    tern_seq s, t;
    tern_prefix_pin ps = {0}, pt = {0};
    set_up(&f, SIZE_MAX);
    count_up(a, 400, 1);
    memcpy(b, a, sizeof a);
    b[200] = 9999;
    assert_int_equal(tern_seq_init_within(&s, &shape, N_CTX, &f.budget, NULL), TERN_OK);
    assert_int_equal(tern_seq_init_within(&t, &shape, N_CTX, &f.budget, NULL), TERN_OK);
    assert_int_equal(tern_prefix_find(&f.tree, 1, a, 400, &s, 0, &ps), 0);
    for (int n = 64, have = 0; n <= 384; n += 64) {
        assert_true(read_on(&s, a, n));
        tern_prefix_insert(&f.tree, 1, a, n, &s, &ps);
        have = tern_prefix_find(&f.tree, 1, b, 400, &t, have, &pt);
        assert_int_equal(have, n < 200 ? n : 200);
        expect_rows(&t, b, have);
        assert_ptr_equal(s.pages[0], t.pages[0]);
    }
    assert_true(read_on(&t, b, 400));
    tern_prefix_insert(&f.tree, 1, b, 400, &t, &pt);
    assert_int_equal(look(&f, 1, b, 400), 400);
    tern_prefix_unpin(&f.tree, &ps);
    tern_prefix_unpin(&f.tree, &pt);
    expect_rows(&t, b, 400);
    tern_seq_done(&s);
    tern_seq_done(&t);
    tear_down(&f);
}

static void test_the_least_recently_used_goes_from_its_end(void **state)
{
    (void)state;
    fixture f;
    int32_t a[256], b[256], c[256];
    set_up(&f, 14 * page_cost());
    count_up(a, 256, 1000);
    count_up(b, 256, 2000);
    count_up(c, 256, 3000);
    memcpy(b, a, 128 * sizeof *a); /* a and b share two pages */
    assert_int_equal(ask(&f, 1, a, 256), 0);
    assert_int_equal(ask(&f, 1, b, 256), 128);
    assert_int_equal(ask(&f, 1, c, 256), 0);
    assert_int_equal(look(&f, 1, b, 256), 256); /* the order is now a, c, b */
    tern_prefix_reclaim(&f.tree, f.budget.used - 1);
    assert_int_equal(look(&f, 1, b, 256), 256);
    assert_int_equal(look(&f, 1, c, 256), 256);
    assert_int_equal(look(&f, 1, a, 256), 192);
    /* now b, c, a */
    tern_prefix_reclaim(&f.tree, f.budget.used - page_cost() - 500);
    assert_int_equal(look(&f, 1, c, 256), 256);
    assert_int_equal(look(&f, 1, b, 256), 128); /* which a holds too */
    assert_int_equal(look(&f, 1, a, 192), 192);
    tern_prefix_reclaim(&f.tree, 0);
    assert_int_equal(f.budget.used, 0);
    assert_int_equal(f.tree.n_node, 0);
    tear_down(&f);
}

static void test_what_is_in_use_stays(void **state)
{
    (void)state;
    fixture f;
    int32_t a[256], b[256];
    tern_seq s;
    tern_prefix_pin pin = {0};
    set_up(&f, SIZE_MAX);
    count_up(a, 256, 1000);
    count_up(b, 256, 2000);
    assert_int_equal(ask(&f, 1, a, 256), 0);
    assert_int_equal(tern_seq_init_within(&s, &shape, N_CTX, &f.budget, NULL), TERN_OK);
    assert_int_equal(tern_prefix_find(&f.tree, 1, a, 150, &s, 0, &pin), 150);
    assert_int_equal(ask(&f, 1, b, 256), 0);
    tern_prefix_reclaim(&f.tree, 0);
    assert_int_equal(look(&f, 1, b, 256), 0);
    assert_int_equal(look(&f, 1, a, 256), 150); /* and no more: the rest is not in use */
    expect_rows(&s, a, 150);
    size_t used = f.budget.used;
    assert_true(f.budget.kept < page_cost());
    tern_prefix_unpin(&f.tree, &pin);
    tern_seq_done(&s);
    assert_true(f.budget.kept >= 3 * page_cost() && f.budget.used <= used);
    tern_prefix_reclaim(&f.tree, 0);
    assert_int_equal(f.budget.used, 0);
    tear_down(&f);
}

/* A budget that running sequences fill alone: they are told so, and nothing breaks. */
static void test_a_full_budget_is_an_error_and_no_more(void **state)
{
    (void)state;
    fixture f;
    int32_t a[600], b[600];
    tern_seq s, t;
    tern_err err;
    set_up(&f, 8 * page_cost());
    count_up(a, 600, 1);
    count_up(b, 600, 7000);
    assert_int_equal(ask(&f, 1, a, 384), 0);
    assert_int_equal(tern_seq_init_within(&s, &shape, N_CTX, &f.budget, NULL), TERN_OK);
    assert_int_equal(tern_seq_init_within(&t, &shape, N_CTX, &f.budget, NULL), TERN_OK);
    assert_true(read_on(&s, b, 256)); /* takes pages of a */
    assert_in_range(look(&f, 1, a, 384), 64, 256);
    assert_true(read_on(&t, b, 128));
    assert_int_equal(tern_seq_reserve(&t, 192, &err), TERN_E_NOMEM);
    assert_non_null(strstr(err.msg, "--mem"));
    assert_true(f.budget.used <= f.budget.limit);
    expect_rows(&s, b, 256);
    expect_rows(&t, b, 128);
    tern_seq_done(&s);
    assert_true(read_on(&t, b, 320));
    tern_seq_done(&t);
    tear_down(&f);
}

/* ---- against lists --------------------------------------------------------------------------- */

#define N_TEXT 400

typedef struct text {
    uint64_t owner;
    int n;
    int32_t ids[N_CTX];
} text;

static uint32_t seed;

static int draw(int n)
{
    seed = seed * 1664525u + 1013904223u;
    return (int)((seed >> 8) % (uint32_t)n);
}

/* Grow a text out of another one, so that they share beginnings of all lengths. */
static void make_text(text *t, const text *all, int n_text)
{
    static const int32_t wide[] = {2, 3, 50000};
    t->owner = (uint64_t)draw(2);
    t->n = 0;
    if (n_text && draw(10) > 1) {
        const text *from = &all[draw(n_text)];
        t->owner = draw(20) ? from->owner : t->owner;
        t->n = draw(from->n + 1);
        memcpy(t->ids, from->ids, (size_t)t->n * sizeof *t->ids);
    }
    int32_t vocab = wide[draw(3)];
    for (int more = 1 + draw(draw(3) ? 60 : 300); more > 0 && t->n < N_CTX - 1; more--)
        t->ids[t->n++] = draw(vocab);
}

static int longest(const text *all, int n_text, const text *t, int n)
{
    int best = 0;
    for (int i = 0; i < n_text; i++) {
        int k = 0;
        while (all[i].owner == t->owner && k < all[i].n && k < n && all[i].ids[k] == t->ids[k])
            k++;
        best = k > best ? k : best;
    }
    return best;
}

/* Counters against what is there, and the order of the list. */
static void check_tree(const fixture *f)
{
    size_t n = 0, n_listed = 0, own = 0;
    for (size_t i = 0; i < f->tree.cap; i++)
        for (const tern_prefix_node *c = f->tree.table[i]; c; c = c->next) {
            n++;
            own += (size_t)c->cap * sizeof *c->ids;
            n_listed += c->n_pin == 0;
            if (!c->parent)
                continue;
            assert_int_equal(c->begin, c->parent->end);
            assert_true(c->end > c->begin && c->end - c->begin <= c->cap);
            assert_int_equal(c->key, (uint32_t)c->ids[0]);
            assert_true((c->child == NULL) == (c->state != NULL));
            assert_true(c->parent->n_pin >= c->n_pin);
        }
    assert_int_equal(n, f->tree.n_node);
    assert_true(own <= f->tree.own_bytes);
    for (const tern_prefix_node *c = f->tree.newest; c; c = c->older) {
        n_listed--;
        assert_true(c->older || c == f->tree.oldest);
        if (c->parent && c->parent->n_pin == 0) { /* which stands before it */
            const tern_prefix_node *p = c;
            for (int i = 0; p && i < 8 && p != c->parent; i++)
                p = p->newer;
            while (p && p != c->parent)
                p = p->newer;
            assert_non_null(p);
        }
    }
    assert_int_equal(n_listed, 0);
    assert_true(f->budget.used <= f->budget.limit);
    assert_true(f->budget.kept + f->tree.own_bytes <= f->budget.used);
}

static void test_unlimited_it_finds_the_longest_beginning(void **state)
{
    (void)state;
    static text all[N_TEXT];
    fixture f;
    set_up(&f, SIZE_MAX);
    seed = 1;
    for (int i = 0; i < N_TEXT; i++) {
        make_text(&all[i], all, i);
        int most = draw(4) ? all[i].n : draw(all[i].n + 1);
        assert_int_equal(look(&f, all[i].owner, all[i].ids, most), longest(all, i, &all[i], most));
        int want = longest(all, i, &all[i], all[i].n);
        assert_int_equal(ask(&f, all[i].owner, all[i].ids, all[i].n), want);
        if (i % 16 == 0)
            check_tree(&f);
    }
    tear_down(&f);
}

/* Requests that run at the same time within a small budget. */
typedef struct running {
    bool on;
    text t;
    tern_seq s;
    tern_prefix_pin pin;
} running;

#define N_RUNNING 5

static void begin(fixture *f, running *r, text *all, int n_text, int *n_found)
{
    make_text(&r->t, all, n_text);
    if (tern_seq_init_within(&r->s, &shape, N_CTX, &f->budget, NULL) != TERN_OK)
        return;
    r->on = true;
    int n = tern_prefix_find(&f->tree, r->t.owner, r->t.ids, r->t.n - 1, &r->s, 0, &r->pin);
    assert_true(n <= longest(all, n_text, &r->t, r->t.n - 1));
    *n_found += n;
    expect_rows(&r->s, r->t.ids, n);
    all[n_text] = r->t;
}

static void end(fixture *f, running *r)
{
    tern_prefix_unpin(&f->tree, &r->pin);
    tern_seq_done(&r->s);
    r->on = false;
}

/* A step of one request; returns whether it has read its text, and kept it. */
static bool step(fixture *f, running *r)
{
    int n = r->s.n_tok + 1 + draw(100), have = r->s.n_tok;
    have = tern_prefix_find(&f->tree, r->t.owner, r->t.ids, r->t.n - 1, &r->s, have, &r->pin);
    expect_rows(&r->s, r->t.ids, have);
    n = n < have ? have : n > r->t.n ? r->t.n : n;
    if (!read_on(&r->s, r->t.ids, n)) {
        end(f, r);
        return false;
    }
    int keep = n == r->t.n ? n : n / TERN_PAGE_TOK * TERN_PAGE_TOK;
    tern_prefix_insert(&f->tree, r->t.owner, r->t.ids, keep, &r->s, &r->pin);
    expect_rows(&r->s, r->t.ids, n);
    if (n < r->t.n)
        return false;
    end(f, r);
    return true;
}

static void run_against_lists(size_t pages, int n_step)
{
    static text all[2000];
    running r[N_RUNNING] = {0};
    fixture f;
    int n_text = 0, n_found = 0, n_whole = 0;
    set_up(&f, pages * page_cost());
    for (int i = 0; i < n_step && n_text < 2000; i++) {
        running *one = &r[draw(N_RUNNING)];
        if (!one->on) {
            begin(&f, one, all, n_text, &n_found);
            n_text += one->on;
        } else if (draw(30) == 0) {
            end(&f, one);
        } else {
            n_whole += step(&f, one);
        }
        if (draw(200) == 0)
            tern_prefix_reclaim(&f.tree, f.budget.used / 2);
        assert_true(f.budget.used <= f.budget.limit);
        if (i % 64 == 0)
            check_tree(&f);
    }
    assert_true(n_whole > 50 && n_found > 1000);
    for (int i = 0; i < N_RUNNING; i++)
        if (r[i].on)
            end(&f, &r[i]);
    check_tree(&f);
    tern_prefix_reclaim(&f.tree, 0);
    assert_int_equal(f.tree.n_node, 0);
    tear_down(&f);
}

static void test_within_small_budgets_it_is_right_at_every_step(void **state)
{
    (void)state;
    seed = 7;
    run_against_lists(12, 6000);
    run_against_lists(40, 6000);
    run_against_lists(120, 6000);
}

static bool now_and_then(void *ctx, const char *site, size_t size)
{
    (void)site;
    (void)size;
    return ++*(int *)ctx % 7 == 0;
}

/* Allocations fail now and then: less is kept, all stays in order. */
static void test_without_memory_less_is_kept(void **state)
{
    (void)state;
    int n = 0;
    fixture f;
    static text all[60];
    set_up(&f, SIZE_MAX);
    seed = 3;
    for (int i = 0; i < 60; i++) {
        make_text(&all[i], all, i);
        tern_alloc_hook_set(now_and_then, &n);
        (void)ask(&f, all[i].owner, all[i].ids, all[i].n);
        tern_alloc_hook_set(NULL, NULL);
        check_tree(&f);
    }
    tear_down(&f);
}

/* ---- states that can go on only from snapshots -------------------------------------------------- */

/* A snapshot every 50 tokens and at the end; each is a block of its own, which states share. */
#define EVERY 50

typedef struct snap {
    int n_ref, n_tok;
    uint16_t mark;
} snap;

typedef struct rec {
    int n_tok, n_snap;
    snap *snaps[32];
} rec;

static tern_budget rec_budget;
#define SNAP_BYTES 5000

static void snap_drop(snap *p)
{
    if (--p->n_ref == 0) {
        tern_budget_give(&rec_budget, SNAP_BYTES);
        tern_free(p);
    }
}

static int rec_resume(const void *state, int n)
{
    const rec *r = state;
    int at = 0;
    for (int i = 0; i < r->n_snap; i++)
        if (r->snaps[i]->n_tok <= n && r->snaps[i]->n_tok > at)
            at = r->snaps[i]->n_tok;
    return at;
}

static bool rec_extend(void *state, const void *from, int n)
{
    rec *r = state;
    const rec *f = from;
    int at = rec_resume(r, INT32_MAX);
    for (int i = 0; i < f->n_snap; i++)
        if (f->snaps[i]->n_tok > at && f->snaps[i]->n_tok <= n) {
            f->snaps[i]->n_ref++;
            r->snaps[r->n_snap++] = f->snaps[i];
        }
    r->n_tok = n;
    return true;
}

static void *rec_share(void *ctx, const void *from, int n)
{
    (void)ctx;
    rec *r = tern_calloc(1, sizeof *r);
    if (r)
        (void)rec_extend(r, from, n);
    return r;
}

static void rec_done(rec *r)
{
    for (int i = 0; i < r->n_snap; i++)
        snap_drop(r->snaps[i]);
    *r = (rec){0};
}

static void rec_free(void *state)
{
    rec_done(state);
    tern_free(state);
}

static int rec_shorten(void *state, int floor)
{
    (void)floor;
    rec *r = state;
    if (r->n_snap > 0 && r->snaps[r->n_snap - 1]->n_tok == r->n_tok)
        snap_drop(r->snaps[--r->n_snap]);
    r->n_tok = r->n_snap ? r->snaps[r->n_snap - 1]->n_tok : 0;
    return r->n_tok;
}

static void rec_read(rec *r, const int32_t *ids, int n)
{
    for (int at = r->n_tok + 1; at <= n; at++)
        if (at % EVERY == 0 || at == n) {
            if (!tern_budget_take(&rec_budget, SNAP_BYTES))
                continue;
            snap *p = tern_calloc(1, sizeof *p);
            assert_non_null(p);
            *p = (snap){1, at, mark_of(ids, at - 1)};
            assert_true(r->n_snap < 32);
            r->snaps[r->n_snap++] = p;
        }
    r->n_tok = n;
}

static const tern_states rec_ops = {.budget = &rec_budget,
                                    .grain = 1,
                                    .share = rec_share,
                                    .free = rec_free,
                                    .extend = rec_extend,
                                    .shorten = rec_shorten,
                                    .resume = rec_resume};

static int rec_ask(tern_prefix *t, uint64_t owner, const int32_t *ids, int n)
{
    rec r = {0};
    tern_prefix_pin pin = {0};
    int found = tern_prefix_find(t, owner, ids, n - 1, &r, 0, &pin);
    assert_int_equal(rec_resume(&r, INT32_MAX), found);
    for (int i = 0; i < r.n_snap; i++)
        assert_int_equal(r.snaps[i]->mark, mark_of(ids, r.snaps[i]->n_tok - 1));
    r.n_tok = found;
    rec_read(&r, ids, n);
    if (rec_resume(&r, n) == n)
        tern_prefix_insert(t, owner, ids, n, &r, &pin);
    tern_prefix_unpin(t, &pin);
    rec_done(&r);
    return found;
}

static void test_states_that_resume_only_at_snapshots(void **state)
{
    (void)state;
    static text all[N_TEXT];
    tern_prefix t;
    int32_t ids[300];
    rec_budget = (tern_budget){.limit = SIZE_MAX};
    assert_int_equal(tern_prefix_init(&t, &rec_ops, NULL), TERN_OK);
    count_up(ids, 300, 1);
    assert_int_equal(rec_ask(&t, 1, ids, 230), 0);
    assert_int_equal(rec_ask(&t, 1, ids, 300), 230);
    assert_int_equal(rec_ask(&t, 1, ids, 300), 250); /* 299 tokens may be used */
    ids[180] = 7;
    assert_int_equal(rec_ask(&t, 1, ids, 300), 150);
    assert_int_equal(rec_ask(&t, 2, ids, 300), 0);
    tern_prefix_done(&t);
    assert_int_equal(rec_budget.used, 0);

    rec_budget = (tern_budget){.limit = 60 * SNAP_BYTES};
    assert_int_equal(tern_prefix_init(&t, &rec_ops, NULL), TERN_OK);
    seed = 11;
    size_t n_found = 0;
    for (int i = 0; i < N_TEXT; i++) {
        make_text(&all[i], all, i);
        int n = rec_ask(&t, all[i].owner, all[i].ids, all[i].n);
        assert_true(n <= longest(all, i, &all[i], all[i].n - 1));
        assert_true(rec_budget.used <= rec_budget.limit);
        n_found += (size_t)n;
    }
    assert_true(n_found > 1000);
    tern_prefix_reclaim(&t, 0);
    assert_int_equal(rec_budget.used, 0);
    tern_prefix_done(&t);
}

/* ---- bytes ------------------------------------------------------------------------------------- */

static void test_rows_as_bytes(void **state)
{
    (void)state;
    static const tern_kv_dtype types[] = {TERN_KV_F16, TERN_KV_I8, TERN_KV_F32};
    int32_t ids[200];
    count_up(ids, 200, 50);
    for (int i = 0; i < 9; i++) {
        tern_kv_shape h = shape;
        tern_seq s, t;
        h.k = types[i / 3];
        h.v = types[i % 3];
        assert_int_equal(tern_seq_init(&s, &h, N_CTX, NULL), TERN_OK);
        assert_int_equal(tern_seq_init(&t, &h, N_CTX, NULL), TERN_OK);
        assert_int_equal(tern_seq_reserve(&s, 200, NULL), TERN_OK);
        for (int page = 0; page < 4;
             page++) /* small numbers whatever the type, behind position 200 too */
            for (int b = 0; b < 2; b++) {
                tern_kv_rows k = tern_seq_k(&s, b, page, 0), v = tern_seq_v(&s, b, page, 0);
                memset(k.rows, 0x11 + page, 64 * 8 * (h.k == TERN_KV_I8 ? 1 : 2));
                memset(v.rows, 0x21 + page, 64 * 8 * (h.v == TERN_KV_I8 ? 1 : 2));
                if (k.scale)
                    memset(k.scale, 0x31, 64 * sizeof(float));
                if (v.scale)
                    memset(v.scale, 0x32, 64 * sizeof(float));
            }
        tern_seq_commit(&s, ids, 200);
        size_t n1 = tern_seq_raw_bytes(&h, 0, 128), n2 = tern_seq_raw_bytes(&h, 128, 200);
        uint8_t *p = tern_alloc(n1 + n2), *q = tern_alloc(n1 + n2);
        assert_true(p && q);
        tern_seq_raw_get(&s, 0, 128, p);
        tern_seq_raw_get(&s, 128, 200, p + n1);
        assert_int_equal(tern_seq_raw_put(&t, ids, 128, p, NULL), TERN_OK);
        assert_int_equal(tern_seq_raw_put(&t, ids + 128, 72, p + n1, NULL), TERN_OK);
        assert_int_equal(t.n_tok, 200);
        assert_memory_equal(t.ids, ids, sizeof ids);
        tern_seq_raw_get(&t, 0, 200, q);
        assert_memory_equal(p, q, n1 + n2);
        /* Behind the last token there is nothing, whatever was there. */
        tern_kv_rows k = tern_seq_k(&t, 1, 3, 0), v = tern_seq_v(&t, 1, 3, 0);
        if (k.scale)
            assert_true(k.scale[7] > 0 && k.scale[8] == 0);
        if (v.scale)
            assert_true(v.scale[7] > 0 && v.scale[63] == 0);
        if (h.k == TERN_KV_F32)
            assert_true(((float *)k.rows)[8 * 8] == 0);
        if (h.v == TERN_KV_F16)
            assert_true(((uint16_t *)v.rows)[8 * 8 - 1] != 0 && ((uint16_t *)v.rows)[64] == 0);
        tern_free(p);
        tern_free(q);
        tern_seq_done(&s);
        tern_seq_done(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_read_is_found_to_the_token),
        cmocka_unit_test(test_owners_share_nothing),
        cmocka_unit_test(test_pages_are_shared),
        cmocka_unit_test(test_following_a_text_that_is_being_read),
        cmocka_unit_test(test_the_least_recently_used_goes_from_its_end),
        cmocka_unit_test(test_what_is_in_use_stays),
        cmocka_unit_test(test_a_full_budget_is_an_error_and_no_more),
        cmocka_unit_test(test_unlimited_it_finds_the_longest_beginning),
        cmocka_unit_test(test_within_small_budgets_it_is_right_at_every_step),
        cmocka_unit_test(test_without_memory_less_is_kept),
        cmocka_unit_test(test_states_that_resume_only_at_snapshots),
        cmocka_unit_test(test_rows_as_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
