#include "state/seq.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "kernels/kernel.h"

#include <string.h>

struct tern_page {
    int n_ref;  /* sequences that point here; all have the same owner thread */
    int n_kept; /* of them kept for later */
    size_t bytes, cost;
    tern_budget *budget;
    bool small;    /* small pages of the system */
    uint8_t *data; /* owned pages from the system */
};

#define SYSTEM_PAGE 4096

static size_t rows_bytes(tern_kv_dtype dt, int d)
{
    static const size_t elem[] = {[TERN_KV_F16] = 2, [TERN_KV_I8] = 1, [TERN_KV_F32] = 4};
    size_t n = dt == TERN_KV_I8 ? tern_round_up((size_t)d, 16) : (size_t)d;
    return (size_t)TERN_PAGE_TOK * n * elem[dt];
}

static size_t scales_bytes(tern_kv_dtype dt)
{
    return dt == TERN_KV_I8 ? TERN_PAGE_TOK * sizeof(float) : 0;
}

/* One head of K or V: scales first, so that both parts stay 64-byte aligned. */
static size_t head_bytes(tern_kv_dtype dt, int d)
{
    return tern_round_up(scales_bytes(dt) + rows_bytes(dt, d), 64);
}

static size_t block_bytes(const tern_kv_shape *s)
{
    return (size_t)s->n_kv_head * (head_bytes(s->k, s->d_k) + head_bytes(s->v, s->d_v));
}

static size_t page_bytes(const tern_kv_shape *s)
{
    return (size_t)s->n_block * block_bytes(s);
}

size_t tern_kv_token_bytes(const tern_kv_shape *shape)
{
    return page_bytes(shape) / TERN_PAGE_TOK;
}

static int pages_for(int n_tok)
{
    return n_tok / TERN_PAGE_TOK + (n_tok % TERN_PAGE_TOK != 0);
}

/* What a page takes of the system, and what stands for it. */
static size_t page_cost(const tern_kv_shape *shape)
{
    return tern_round_up(page_bytes(shape), SYSTEM_PAGE) + sizeof(tern_page);
}

size_t tern_seq_bytes(const tern_kv_shape *shape, int n_tok)
{
    size_t n_page = (size_t)pages_for(n_tok), bytes, ids, all;
    bool ok = tern_mul_size(n_page, page_cost(shape) + sizeof(tern_page *), &bytes) &&
              tern_mul_size((size_t)n_tok, sizeof(int32_t), &ids) &&
              tern_add_size(bytes, ids, &all);
    return ok ? all : SIZE_MAX;
}

/* Room for need elements, doubling up to most, so that a context of millions costs nothing before it is
 * used. */
static bool grow(const tern_seq *s, void **v, size_t size, int *cap, int need, int most)
{
    if (need <= *cap)
        return true;
    int more = *cap > most / 2 ? most : 2 * *cap;
    more = more < need ? need : more;
    size_t added = (size_t)(more - *cap) * size;
    if (!tern_budget_take(s->budget, added))
        return false;
    void *p = tern_realloc(*v, (size_t)*cap * size, (size_t)more * size);
    if (!p) {
        tern_budget_give(s->budget, added);
        return false;
    }
    if (s->budget && s->kept)
        s->budget->kept += added;
    *v = p;
    *cap = more;
    return true;
}

/* Room in both tables for n tokens. */
static bool grow_tables(tern_seq *s, int n_tok)
{
    void *ids = s->ids, *pages = s->pages;
    bool ok =
        grow(s, &ids, sizeof *s->ids, &s->cap_tok, n_tok, s->n_ctx) &&
        grow(s, &pages, sizeof *s->pages, &s->cap_page, pages_for(n_tok), pages_for(s->n_ctx));
    s->ids = ids;
    s->pages = pages;
    return ok;
}

/* A page that only kept sequences hold counts as kept. */
static bool only_kept(const tern_page *p)
{
    return p->n_ref > 0 && p->n_ref == p->n_kept;
}

static void page_count(tern_page *p, int n_ref, int n_kept)
{
    bool before = only_kept(p);
    p->n_ref += n_ref;
    p->n_kept += n_kept;
    if (p->budget && before != only_kept(p))
        p->budget->kept += before ? -p->cost : p->cost;
}

static tern_page *page_new(const tern_seq *s)
{
    size_t cost = page_cost(&s->shape);
    if (!tern_budget_take(s->budget, cost))
        return NULL;
    tern_page *p = tern_calloc(1, sizeof *p);
    if (!p) {
        tern_budget_give(s->budget, cost);
        return NULL;
    }
    p->bytes = page_bytes(&s->shape);
    p->cost = cost;
    p->budget = s->budget;
    p->small = s->shape.small_pages;
    p->data = p->small ? tern_lazy_alloc(p->bytes) : tern_pages_alloc(p->bytes);
    if (!p->data) {
        tern_budget_give(s->budget, cost);
        tern_free(p);
        return NULL;
    }
    page_count(p, 1, s->kept);
    return p;
}

static void page_hold(const tern_seq *s, tern_page *p)
{
    page_count(p, 1, s->kept);
}

static void page_drop(const tern_seq *s, tern_page *p)
{
    page_count(p, -1, -(int)s->kept);
    if (p->n_ref > 0)
        return;
    if (p->small)
        tern_lazy_free(p->data, p->bytes);
    else
        tern_pages_free(p->data, p->bytes);
    tern_budget_give(p->budget, p->cost);
    tern_free(p);
}

static tern_code init(tern_seq *s, const tern_seq *like, tern_err *err)
{
    int n_ctx = like->n_ctx;
    *s = *like;
    if (n_ctx < 1)
        return tern_fail(err, TERN_E_USAGE, "context size %d: at least 1 token is needed", n_ctx);
    if (!grow_tables(s, n_ctx < TERN_PAGE_TOK ? n_ctx : TERN_PAGE_TOK)) {
        tern_seq_done(s);
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a sequence of tokens");
    }
    return TERN_OK;
}

tern_code tern_seq_init(tern_seq *s, const tern_kv_shape *shape, int n_ctx, tern_err *err)
{
    return init(s, &(tern_seq){.shape = *shape, .n_ctx = n_ctx}, err);
}

tern_code tern_seq_init_within(tern_seq *s, const tern_kv_shape *shape, int n_ctx,
                               tern_budget *budget, tern_err *err)
{
    return init(s, &(tern_seq){.shape = *shape, .n_ctx = n_ctx, .budget = budget}, err);
}

void tern_seq_done(tern_seq *s)
{
    for (int i = 0; i < s->n_page; i++)
        page_drop(s, s->pages[i]);
    size_t tables = (size_t)s->cap_tok * sizeof *s->ids + (size_t)s->cap_page * sizeof *s->pages;
    if (s->budget && s->kept)
        s->budget->kept -= tables;
    tern_budget_give(s->budget, tables);
    tern_free(s->pages);
    tern_free(s->ids);
    *s = (tern_seq){0};
}

/* Replace a shared page by a private copy. */
static bool page_own(tern_seq *s, int i)
{
    tern_page *old = s->pages[i];
    if (old->n_ref == 1)
        return true;
    tern_page *own = page_new(s);
    if (!own)
        return false;
    memcpy(own->data, old->data, own->bytes);
    page_drop(s, old);
    s->pages[i] = own;
    return true;
}

static tern_code no_memory(const tern_seq *s, int n, bool over, tern_err *err)
{
    size_t each = tern_kv_token_bytes(&s->shape);
    if (over)
        return tern_fail(err, TERN_E_NOMEM,
                         "the memory for keys and values is used up: no room for %d tokens of %zu "
                         "bytes within %zu bytes (raise --mem)",
                         s->n_tok + n, each, s->budget->limit);
    return tern_fail(err, TERN_E_NOMEM,
                     "out of memory for the KV cache at %d tokens (%zu bytes each)", s->n_tok + n,
                     each);
}

tern_code tern_seq_reserve(tern_seq *s, int n, tern_err *err)
{
    if (n > s->n_ctx - s->n_tok)
        return tern_fail(err, TERN_E_LIMIT,
                         "context full: %d tokens present, %d more wanted, %d fit (raise -c)",
                         s->n_tok, n, s->n_ctx);
    int have = s->n_page, want = pages_for(s->n_tok + n);
    bool ok = grow_tables(s, s->n_tok + n);
    for (int i = s->n_tok / TERN_PAGE_TOK; ok && i < want; i++) {
        if (i < s->n_page) {
            ok = page_own(s, i);
        } else if ((s->pages[i] = page_new(s)) != NULL) {
            s->n_page++;
        } else {
            ok = false;
        }
    }
    if (ok)
        return TERN_OK;
    bool over = s->budget && s->budget->limit - s->budget->used < page_cost(&s->shape);
    while (s->n_page > have)
        page_drop(s, s->pages[--s->n_page]);
    return no_memory(s, n, over, err);
}

void tern_seq_commit(tern_seq *s, const int32_t *ids, int n)
{
    memcpy(s->ids + s->n_tok, ids, (size_t)n * sizeof *ids);
    s->n_tok += n;
}

void tern_seq_truncate(tern_seq *s, int n)
{
    if (n >= s->n_tok)
        return;
    s->n_tok = n < 0 ? 0 : n;
    while (s->n_page > pages_for(s->n_tok))
        page_drop(s, s->pages[--s->n_page]);
}

tern_code tern_seq_snapshot(const tern_seq *s, tern_seq *dst, tern_err *err)
{
    return tern_seq_share(s, s->n_tok, s->kept, dst, err);
}

tern_code tern_seq_share(const tern_seq *s, int n, bool kept, tern_seq *dst, tern_err *err)
{
    const tern_seq like = {.shape = s->shape, .n_ctx = s->n_ctx, .budget = s->budget, .kept = kept};
    TERN_TRY(init(dst, &like, err));
    tern_code rc = tern_seq_extend(dst, s, n, err);
    if (rc != TERN_OK)
        tern_seq_done(dst);
    return rc;
}

tern_code tern_seq_extend(tern_seq *s, const tern_seq *src, int n, tern_err *err)
{
    int whole = s->n_tok / TERN_PAGE_TOK, n_page = pages_for(n);
    if (n > s->n_ctx)
        return tern_fail(err, TERN_E_LIMIT, "context full: %d tokens are to be copied, %d fit", n,
                         s->n_ctx);
    if (!grow_tables(s, n))
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a copy of %d tokens", n);
    while (s->n_page > whole)
        page_drop(s, s->pages[--s->n_page]);
    for (; s->n_page < n_page; s->n_page++) {
        s->pages[s->n_page] = src->pages[s->n_page];
        page_hold(s, s->pages[s->n_page]);
    }
    memcpy(s->ids + s->n_tok, src->ids + s->n_tok, (size_t)(n - s->n_tok) * sizeof *s->ids);
    s->n_tok = n;
    return TERN_OK;
}

static tern_kv_rows rows_at(uint8_t *p, tern_kv_dtype dt)
{
    return (tern_kv_rows){.rows = p + scales_bytes(dt),
                          .scale = dt == TERN_KV_I8 ? (float *)(void *)p : NULL};
}

tern_kv_rows tern_seq_k(const tern_seq *s, int block, int page, int kv_head)
{
    uint8_t *b = s->pages[page]->data + (size_t)block * block_bytes(&s->shape);
    return rows_at(b + (size_t)kv_head * head_bytes(s->shape.k, s->shape.d_k), s->shape.k);
}

tern_kv_rows tern_seq_v(const tern_seq *s, int block, int page, int kv_head)
{
    const tern_kv_shape *h = &s->shape;
    uint8_t *b = s->pages[page]->data + (size_t)block * block_bytes(h);
    size_t all_k = (size_t)h->n_kv_head * head_bytes(h->k, h->d_k);
    return rows_at(b + all_k + (size_t)kv_head * head_bytes(h->v, h->d_v), h->v);
}

/* ---- bytes --------------------------------------------------------------------------------- */

size_t tern_seq_raw_bytes(const tern_kv_shape *shape, int n0, int n1)
{
    return (size_t)(pages_for(n1) - n0 / TERN_PAGE_TOK) * page_bytes(shape);
}

/* Positions [n, TERN_PAGE_TOK) of one head become 0: they may hold rows of other texts, or none. */
static void clear_rows(tern_kv_rows r, tern_kv_dtype dt, int d, bool is_k, int n)
{
    static const int8_t zeros[512];
    size_t elem = dt == TERN_KV_F16 ? 2 : 4, at = (size_t)n * (size_t)d * elem;
    if (dt != TERN_KV_I8) {
        memset((uint8_t *)r.rows + at, 0, (size_t)TERN_PAGE_TOK * (size_t)d * elem - at);
        return;
    }
    memset(r.scale + n, 0, (size_t)(TERN_PAGE_TOK - n) * sizeof *r.scale);
    for (int j = n; j < TERN_PAGE_TOK; j++)
        (is_k ? tern_kv8_put_k : tern_kv8_put_v)(r.rows, j, zeros, d);
}

static void clear_tail(const tern_kv_shape *h, uint8_t *page, int n)
{
    size_t k_bytes = head_bytes(h->k, h->d_k), v_bytes = head_bytes(h->v, h->d_v);
    for (int b = 0; b < h->n_block; b++)
        for (int head = 0; head < h->n_kv_head; head++) {
            uint8_t *block = page + (size_t)b * block_bytes(h);
            uint8_t *k = block + (size_t)head * k_bytes;
            uint8_t *v = block + (size_t)h->n_kv_head * k_bytes + (size_t)head * v_bytes;
            clear_rows(rows_at(k, h->k), h->k, h->d_k, true, n);
            clear_rows(rows_at(v, h->v), h->v, h->d_v, false, n);
        }
}

void tern_seq_raw_get(const tern_seq *s, int n0, int n1, uint8_t *to)
{
    size_t bytes = page_bytes(&s->shape);
    for (int i = n0 / TERN_PAGE_TOK; i < pages_for(n1); i++, to += bytes)
        memcpy(to, s->pages[i]->data, bytes);
    if (n1 % TERN_PAGE_TOK != 0)
        clear_tail(&s->shape, to - bytes, n1 % TERN_PAGE_TOK);
}

const uint8_t *tern_seq_raw_view(const tern_seq *s, int page)
{
    return s->pages[page]->data;
}

tern_code tern_seq_raw_put(tern_seq *s, const int32_t *ids, int n, const uint8_t *from,
                           tern_err *err)
{
    size_t bytes = page_bytes(&s->shape);
    TERN_TRY(tern_seq_reserve(s, n, err));
    int end = pages_for(s->n_tok + n); /* more may be reserved */
    for (int i = s->n_tok / TERN_PAGE_TOK; i < end; i++, from += bytes)
        memcpy(s->pages[i]->data, from, bytes);
    tern_seq_commit(s, ids, n);
    if (s->n_tok % TERN_PAGE_TOK != 0)
        clear_tail(&s->shape, s->pages[end - 1]->data, s->n_tok % TERN_PAGE_TOK);
    return TERN_OK;
}
