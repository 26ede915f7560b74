#include "state/seq.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"

#include <string.h>

struct tern_page {
    int n_ref; /* sequences that point here; all have the same owner thread */
    size_t bytes;
    bool small;    /* small pages of the system */
    uint8_t *data; /* owned pages from the system */
};

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

size_t tern_seq_bytes(const tern_kv_shape *shape, int n_tok)
{
    size_t n_page = (size_t)pages_for(n_tok), bytes, ids, all;
    bool ok = tern_mul_size(n_page, page_bytes(shape) + sizeof(tern_page) + sizeof(tern_page *),
                            &bytes) &&
              tern_mul_size((size_t)n_tok, sizeof(int32_t), &ids) &&
              tern_add_size(bytes, ids, &all);
    return ok ? all : SIZE_MAX;
}

/* Room for need elements, doubling, so that a context of millions costs nothing before it is used. */
static bool grow(void **v, size_t size, int *cap, int need)
{
    if (need <= *cap)
        return true;
    int more = *cap > INT32_MAX / 2 ? INT32_MAX : 2 * *cap;
    more = more < need ? need : more;
    void *p = tern_realloc(*v, (size_t)*cap * size, (size_t)more * size);
    if (!p)
        return false;
    *v = p;
    *cap = more;
    return true;
}

/* Room in both tables for n tokens. */
static bool grow_tables(tern_seq *s, int n_tok)
{
    void *ids = s->ids, *pages = s->pages;
    bool ok = grow(&ids, sizeof *s->ids, &s->cap_tok, n_tok) &&
              grow(&pages, sizeof *s->pages, &s->cap_page, pages_for(n_tok));
    s->ids = ids;
    s->pages = pages;
    return ok;
}

static tern_page *page_new(const tern_kv_shape *shape)
{
    tern_page *p = tern_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->n_ref = 1;
    p->bytes = page_bytes(shape);
    p->small = shape->small_pages;
    p->data = p->small ? tern_lazy_alloc(p->bytes) : tern_pages_alloc(p->bytes);
    if (!p->data) {
        tern_free(p);
        return NULL;
    }
    return p;
}

static void page_drop(tern_page *p)
{
    if (p && --p->n_ref == 0) {
        if (p->small)
            tern_lazy_free(p->data, p->bytes);
        else
            tern_pages_free(p->data, p->bytes);
        tern_free(p);
    }
}

tern_code tern_seq_init(tern_seq *s, const tern_kv_shape *shape, int n_ctx, tern_err *err)
{
    *s = (tern_seq){.shape = *shape, .n_ctx = n_ctx};
    if (n_ctx < 1)
        return tern_fail(err, TERN_E_USAGE, "context size %d: at least 1 token is needed", n_ctx);
    if (!grow_tables(s, n_ctx < TERN_PAGE_TOK ? n_ctx : TERN_PAGE_TOK)) {
        tern_seq_done(s);
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a sequence of tokens");
    }
    return TERN_OK;
}

void tern_seq_done(tern_seq *s)
{
    for (int i = 0; i < s->n_page; i++)
        page_drop(s->pages[i]);
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
    tern_page *own = page_new(&s->shape);
    if (!own)
        return false;
    memcpy(own->data, old->data, own->bytes);
    page_drop(old);
    s->pages[i] = own;
    return true;
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
        } else if ((s->pages[i] = page_new(&s->shape)) != NULL) {
            s->n_page++;
        } else {
            ok = false;
        }
    }
    if (ok)
        return TERN_OK;
    while (s->n_page > have)
        page_drop(s->pages[--s->n_page]);
    return tern_fail(err, TERN_E_NOMEM,
                     "out of memory for the KV cache at %d tokens (%zu bytes each)", s->n_tok + n,
                     tern_kv_token_bytes(&s->shape));
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
        page_drop(s->pages[--s->n_page]);
}

tern_code tern_seq_snapshot(const tern_seq *s, tern_seq *dst, tern_err *err)
{
    TERN_TRY(tern_seq_init(dst, &s->shape, s->n_ctx, err));
    if (!grow_tables(dst, s->n_tok)) {
        tern_seq_done(dst);
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a copy of %d tokens", s->n_tok);
    }
    memcpy(dst->ids, s->ids, (size_t)s->n_tok * sizeof *s->ids);
    dst->n_tok = s->n_tok;
    dst->n_page = pages_for(s->n_tok);
    for (int i = 0; i < dst->n_page; i++) {
        dst->pages[i] = s->pages[i];
        dst->pages[i]->n_ref++;
    }
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
