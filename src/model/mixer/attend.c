/* Softmax attention over paged KV with grouped heads. Query rows walk their sequence tile by tile with
 * an online softmax (Milakov and Gimelshein 2018, arXiv 1805.02867; tiling as in FlashAttention, arXiv
 * 2205.14135), all heads that share a KV head, and rows that stand together, over each tile in turn, so
 * that it is read once. What a row sees is cut into parts, which are attended to apart and added up in
 * order (as in Flash-Decoding), so that few heads keep many lanes busy. Where tiles and parts begin
 * depends on the row's position alone, so what it computes does not depend on the batch, the chunk of
 * a prefill or the number of threads. Of a windowed block (Beltagy et al. 2020, arXiv 2004.05150) what
 * lies before the window of all rows of a unit is not read. */
#include "model/mixer/attend.h"
#include "base/num.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Query heads that are taken through a tile together, over all rows of a block. */
#define QUERIES 64
/* Positions of an int8 tile; sums are scaled and the softmax moves on once a tile. */
#define TILE (TERN_KV8_PAGES * TERN_PAGE_TOK)
/* Shortest part, and a multiple of every tile. */
#define PART TILE

static_assert(TERN_KV8_POS == TERN_PAGE_TOK, "kernels know the size of a page");

typedef struct attend_task {
    const tern_exec *e;
    int slot;
    const tern_row *rows;
    int n_row;
    int window; /* most positions a row sees; 0: all */
    bool split; /* parts go to e->parts */
} attend_task;

/* Rows of one sequence and some heads of one KV head, over positions [pos0, pos1). */
typedef struct unit {
    int row0, row1, head0, head1, pos0, pos1;
} unit;

/* A lane's workspace; queries are row by row, the heads of each side by side. */
typedef struct space {
    float m[QUERIES], l[QUERIES];         /* running softmax of the part */
    float m_all[QUERIES], l_all[QUERIES]; /* of the parts so far */
    float q_scale[QUERIES], c[QUERIES], p_scale[QUERIES];
    float k_scale[TILE], v_scale[TILE];
    float score[QUERIES][TILE];
    int16_t p[QUERIES][TILE];
    float rest[]; /* acc [QUERIES][d], acc_all [QUERIES][d], q [QUERIES][d], see vector() */
} space;

/* Elements of one head's vector: the kernels read none beyond, whatever the padding of the state. */
static size_t head_stride(const tern_hparams *h)
{
    return tern_round_up((size_t)h->d_head, 16);
}

size_t tern_attend_scratch_bytes(const tern_hparams *h)
{
    return sizeof(space) + 3 * QUERIES * head_stride(h) * sizeof(float);
}

enum { ACC, ACC_ALL, Q };
static float *vector(const attend_task *t, space *s, int kind, int query)
{
    return s->rest + (size_t)(kind * QUERIES + query) * head_stride(&t->e->w->h);
}

/* Queries of an int8 cache take the room of float ones. */
static int16_t *vector_i16(const attend_task *t, space *s, int query)
{
    return (int16_t *)vector(t, s, Q, 0) + (size_t)query * head_stride(&t->e->w->h);
}

/* ---- what a row sees ----------------------------------------------------------------------- */

/* Positions [sees_from, sees_to): both rise with the rows of a sequence. */
static int sees_to(const attend_task *t, int row)
{
    return t->e->see ? t->e->see[row] : t->rows[row].pos + 1;
}

static int sees_from(const attend_task *t, int row)
{
    int to = sees_to(t, row);
    return t->window && to > t->window ? to - t->window : 0;
}

/* ---- parts --------------------------------------------------------------------------------- */

/* Positions of a part of a row that sees up to `to`. Parts begin at multiples of it, so that a window may
 * begin inside one, which makes one more. */
static int part_length(const attend_task *t, int to)
{
    int n = t->window && to > t->window ? t->window : to, len = PART;
    int most = t->window ? TERN_ATTEND_PARTS - 1 : TERN_ATTEND_PARTS;
    while ((n - 1) / most >= len)
        len *= 2;
    return len;
}

static int n_part_of(const attend_task *t, int row)
{
    int to = sees_to(t, row), len = part_length(t, to);
    return (to - 1) / len - sees_from(t, row) / len + 1;
}

/* m, l and then, from PART_ACC on, the sums of one part. */
#define PART_ACC 16

static size_t part_stride(const tern_hparams *h)
{
    return PART_ACC + head_stride(h);
}

size_t tern_attend_part_floats(const tern_hparams *h, int max_tok)
{
    int n_row = max_tok < TERN_ATTEND_SPLIT_ROWS ? max_tok : TERN_ATTEND_SPLIT_ROWS;
    return (size_t)n_row * (size_t)h->n_head * TERN_ATTEND_PARTS * part_stride(h);
}

static float *part_at(const attend_task *t, int row, int head, int part)
{
    const tern_hparams *h = &t->e->w->h;
    size_t i = (size_t)(row * h->n_head + head) * TERN_ATTEND_PARTS + (size_t)part;
    return t->e->parts + i * part_stride(h);
}

/* Add part (pm, pl, acc) to what came before it (m, l, all). */
static void add_part(const attend_task *t, float *m, float *l, float *all, float pm, float pl,
                     const float *acc)
{
    float p = pm, sum = 0.0f;
    float c = t->e->k.softmax(&p, 1, m, &sum); /* p = exp(pm - m) of the new m */
    *l = *l * c + pl * p;
    t->e->k.scale_add(all, c, acc, p, t->e->w->h.d_head);
}

static void write_out(const attend_task *t, int row, int head, const float *acc, float l)
{
    int d = t->e->w->h.d_head;
    float *out = t->e->att + (size_t)row * t->e->q_stride + (size_t)head * (size_t)d;
    for (int i = 0; i < d; i++)
        out[i] = acc[i] / l;
}

/* A part of query i of the unit ends: pass it on, and begin the next. */
static void end_part(const attend_task *t, const unit *u, space *s, int i, int part, int n_part)
{
    size_t bytes = head_stride(&t->e->w->h) * sizeof(float);
    int row = u->row0 + i / (u->head1 - u->head0), head = u->head0 + i % (u->head1 - u->head0);
    float *acc = vector(t, s, ACC, i), *all = vector(t, s, ACC_ALL, i);
    if (n_part == 1) {
        write_out(t, row, head, acc, s->l[i]);
    } else if (t->split) {
        float *to = part_at(t, row, head, part);
        to[0] = s->m[i];
        to[1] = s->l[i];
        memcpy(to + PART_ACC, acc, bytes);
    } else if (part == 0) {
        s->m_all[i] = s->m[i];
        s->l_all[i] = s->l[i];
        memcpy(all, acc, bytes);
    } else {
        add_part(t, &s->m_all[i], &s->l_all[i], all, s->m[i], s->l[i], acc);
        if (part + 1 == n_part)
            write_out(t, row, head, all, s->l_all[i]);
    }
    s->m[i] = -INFINITY;
    s->l[i] = 0.0f;
    memset(acc, 0, bytes);
}

/* Add up the parts of each row and head. */
static void combine_lane(void *arg, int lane, int n_lane)
{
    const attend_task *t = arg;
    const tern_hparams *h = &t->e->w->h;
    int begin, end;
    tern_pool_split(t->n_row * h->n_head, 1, lane, n_lane, &begin, &end);
    for (int i = begin; i < end; i++) {
        int row = i / h->n_head, head = i % h->n_head, n_part = n_part_of(t, row);
        if (n_part == 1)
            continue;
        float *all = part_at(t, row, head, 0);
        for (int part = 1; part < n_part; part++) {
            const float *p = part_at(t, row, head, part);
            add_part(t, &all[0], &all[1], all + PART_ACC, p[0], p[1], p + PART_ACC);
        }
        write_out(t, row, head, all + PART_ACC, all[1]);
    }
}

/* ---- one tile ------------------------------------------------------------------------------ */

/* Positions [pos, pos + n) of one KV head, and the queries [q0, n_q) that see some of them. */
typedef struct tile {
    tern_seq *seq;
    int kv_head, pos, n;
    int q0, n_q;
    int page0; /* pages of it before this one none of them sees */
} tile;

static tern_kv_rows k_rows(const attend_task *t, const tile *a, int page)
{
    return tern_seq_k(a->seq, t->slot, a->pos / TERN_PAGE_TOK + page, a->kv_head);
}

static tern_kv_rows v_rows(const attend_task *t, const tile *a, int page)
{
    return tern_seq_v(a->seq, t->slot, a->pos / TERN_PAGE_TOK + page, a->kv_head);
}

static int n_page_of(const tile *a)
{
    return (a->n - 1) / TERN_PAGE_TOK + 1;
}

/* Of n positions of a tile those in one of its pages; may be negative. */
static int page_n(int n, int page)
{
    n -= page * TERN_PAGE_TOK;
    return n < TERN_PAGE_TOK ? n : TERN_PAGE_TOK;
}

static int row_of(const unit *u, int query)
{
    return u->row0 + query / (u->head1 - u->head0);
}

/* Query i sees the tile's positions [hidden, seen): at least 1. */
static int seen(const attend_task *t, const unit *u, const tile *a, int i)
{
    int n = sees_to(t, row_of(u, i)) - a->pos;
    return n < a->n ? n : a->n;
}

static int hidden(const attend_task *t, const unit *u, const tile *a, int i)
{
    int n = t->window ? sees_from(t, row_of(u, i)) - a->pos : 0;
    return n > 0 ? n : 0;
}

static bool is_i8(tern_kv_dtype dt)
{
    return dt == TERN_KV_I8;
}

/* Scores of int8 keys; meanwhile the values of the tile are fetched. */
static void scores_i8(const attend_task *t, const tile *a, space *s)
{
    const tern_hparams *h = &t->e->w->h;
    size_t d = head_stride(h);
    int page0 = a->page0, pos0 = page0 * TERN_PAGE_TOK;
    tern_kv8 k = {.n_pos = a->n - pos0,
                  .d_head = a->seq->shape.d_k,
                  .scale = s->k_scale + pos0,
                  .n_q = a->n_q - a->q0,
                  .x = vector_i16(t, s, a->q0),
                  .x_stride = d,
                  .x_scale = s->q_scale + a->q0,
                  .y = s->score[a->q0] + pos0,
                  .y_stride = TILE};
    for (int i = page0; i < n_page_of(a); i++) {
        tern_kv_rows r = k_rows(t, a, i);
        k.page[i - page0] = r.rows;
        if (is_i8(a->seq->shape.v))
            k.ahead[i - page0] = v_rows(t, a, i).rows;
        memcpy(s->k_scale + i * TERN_PAGE_TOK, r.scale, TERN_PAGE_TOK * sizeof *r.scale);
    }
    t->e->k.qk_i8(&k);
}

/* Positions [j0, j1) of a page that holds float rows of d elements. */
static tern_attn_tile rows_tile(tern_kv_rows r, tern_kv_dtype dt, int j0, int j1, int d)
{
    size_t elem = dt == TERN_KV_F16 ? sizeof(uint16_t) : sizeof(float);
    return (tern_attn_tile){.kv = (const uint8_t *)r.rows + (size_t)j0 * (size_t)d * elem,
                            .stride = (size_t)d,
                            .n_pos = j1 - j0,
                            .d_head = d};
}

/* Where in a page to begin when the tile's first n positions are hidden: perhaps behind its end. */
static int page_begin(int n, int page)
{
    n -= page * TERN_PAGE_TOK;
    return n > 0 ? n : 0;
}

static void scores_float(const attend_task *t, const unit *u, const tile *a, space *s)
{
    const tern_kernels *k = &t->e->k;
    tern_attn_qk_fn qk = a->seq->shape.k == TERN_KV_F16 ? k->qk_f16 : k->qk_f32;
    for (int page = a->page0; page < n_page_of(a); page++) {
        tern_kv_rows r = k_rows(t, a, page);
        for (int i = a->q0; i < a->n_q; i++) {
            int j0 = page_begin(hidden(t, u, a, i), page), j1 = page_n(seen(t, u, a, i), page);
            tern_attn_tile kt = rows_tile(r, a->seq->shape.k, j0, j1, a->seq->shape.d_k);
            if (j0 < j1)
                qk(&kt, vector(t, s, Q, i), t->e->w->h.attn_scale,
                   s->score[i] + page * TERN_PAGE_TOK + j0);
        }
    }
}

/* Sums of int8 values with probabilities as int16 of the tile; meanwhile the keys of the next tile are
 * fetched. */
static void values_i8(const attend_task *t, const unit *u, const tile *a, const tile *next,
                      space *s)
{
    int page0 = a->page0, pos0 = page0 * TERN_PAGE_TOK;
    tern_kv8 k = {.n_pos = a->n - pos0,
                  .d_head = a->seq->shape.d_v,
                  .n_q = a->n_q - a->q0,
                  .x = s->p[a->q0] + pos0,
                  .x_stride = TILE,
                  .x_scale = s->p_scale + a->q0,
                  .c = s->c + a->q0,
                  .y = vector(t, s, ACC, a->q0),
                  .y_stride = head_stride(&t->e->w->h)};
    for (int i = page0; i < n_page_of(a); i++) {
        tern_kv_rows r = v_rows(t, a, i);
        k.page[i - page0] = r.rows;
        memcpy(s->v_scale + i * TERN_PAGE_TOK, r.scale, TERN_PAGE_TOK * sizeof *r.scale);
    }
    for (int i = 0; next->seq && is_i8(next->seq->shape.k) && i < n_page_of(next) - next->page0;
         i++)
        k.ahead[i] = k_rows(t, next, next->page0 + i).rows;
    for (int i = a->q0; i < a->n_q; i++) {
        int n = seen(t, u, a, i), padded = a->n + a->n % 2, j0 = hidden(t, u, a, i);
        s->p_scale[i] = t->e->k.i16_store(s->score[i] + j0, s->v_scale + j0, n - j0, s->p[i] + j0);
        memset(s->p[i] + n, 0, (size_t)(padded - n) * sizeof s->p[i][0]);
        if (j0 > pos0)
            memset(s->p[i] + pos0, 0, (size_t)(j0 - pos0) * sizeof s->p[i][0]);
    }
    t->e->k.av_i8(&k);
}

static void values_float(const attend_task *t, const unit *u, const tile *a, space *s)
{
    const tern_kernels *k = &t->e->k;
    tern_attn_av_fn av = a->seq->shape.v == TERN_KV_F16 ? k->av_f16 : k->av_f32;
    for (int page = a->page0; page < n_page_of(a); page++) {
        tern_kv_rows r = v_rows(t, a, page);
        for (int i = a->q0; i < a->n_q; i++) {
            int j0 = page_begin(hidden(t, u, a, i), page), j1 = page_n(seen(t, u, a, i), page);
            tern_attn_tile vt = rows_tile(r, a->seq->shape.v, j0, j1, a->seq->shape.d_v);
            float *acc = vector(t, s, ACC, i);
            if (page == a->page0 && s->c[i] != 1.0f)
                for (int j = 0; j < t->e->w->h.d_head; j++)
                    acc[j] *= s->c[i];
            if (j0 < j1)
                av(&vt, s->score[i] + page * TERN_PAGE_TOK + j0, acc);
        }
    }
}

/* ---- one unit ------------------------------------------------------------------------------ */

/* Pages are the tiles of float caches: their sums take as long as the softmax around them. */
static int tile_length(const tern_kv_shape *shape)
{
    return is_i8(shape->k) || is_i8(shape->v) ? TILE : TERN_PAGE_TOK;
}

/* The tile of u that begins at pos, or the next one that a row sees; without a sequence when there is
 * none. */
static tile tile_at(const attend_task *t, const unit *u, int pos)
{
    const tern_hparams *h = &t->e->w->h;
    if (pos >= u->pos1)
        return (tile){0};
    tern_seq *seq = t->rows[u->row0].seq;
    int n_head = u->head1 - u->head0, row = u->row0, row1 = u->row1, page0 = 0;
    int len = tile_length(&seq->shape), n = u->pos1 - pos < len ? u->pos1 - pos : len;
    while (sees_to(t, row) <= pos)
        row++;
    if (t->window) {
        int from = sees_from(t, row);
        if (from >= pos + n)
            return tile_at(t, u, from / len * len);
        while (sees_from(t, row1 - 1) >= pos + n)
            row1--;
        page0 = from > pos ? (from - pos) / TERN_PAGE_TOK : 0;
    }
    return (tile){.seq = seq,
                  .kv_head = u->head0 / (h->n_head / h->n_kv_head),
                  .pos = pos,
                  .n = n,
                  .q0 = (row - u->row0) * n_head,
                  .n_q = (row1 - u->row0) * n_head,
                  .page0 = page0};
}

static void load_queries(const attend_task *t, const unit *u, space *s)
{
    const tern_exec *e = t->e;
    const tern_hparams *h = &e->w->h;
    const tern_kv_shape *shape = &t->rows[u->row0].seq->shape;
    size_t d = head_stride(h), n_head = (size_t)(u->head1 - u->head0);
    float scale_i8 = h->attn_scale / (float)tern_hadamard_size(h->d_head);
    for (size_t i = 0; i < (size_t)(u->row1 - u->row0) * n_head; i++) {
        const float *q = e->q + ((size_t)u->row0 + i / n_head) * e->q_stride +
                         ((size_t)u->head0 + i % n_head) * (size_t)h->d_head;
        s->m[i] = -INFINITY;
        s->l[i] = 0.0f;
        memset(vector(t, s, ACC, (int)i), 0, d * sizeof(float));
        if (is_i8(shape->k)) {
            int16_t *x = vector_i16(t, s, (int)i);
            s->q_scale[i] = e->k.i16_store(q, NULL, h->d_head, x) * scale_i8;
            memset(x + h->d_head, 0, (d - (size_t)h->d_head) * sizeof *x);
        } else {
            float *x = vector(t, s, Q, (int)i);
            memcpy(x, q, (size_t)h->d_head * sizeof *x);
            memset(x + h->d_head, 0, (d - (size_t)h->d_head) * sizeof *x);
        }
    }
}

/* next: the unit the lane goes on with, or one of no positions. */
static void attend(const attend_task *t, const unit *u, const unit *next, space *s)
{
    const tern_kv_shape *shape = &t->rows[u->row0].seq->shape;
    load_queries(t, u, s);
    for (tile a = tile_at(t, u, u->pos0), b; a.seq; a = b) {
        int end = a.pos + a.n;
        b = tile_at(t, u, end);
        tile after = b.seq ? b : tile_at(t, next, next->pos0);
        if (is_i8(shape->k))
            scores_i8(t, &a, s);
        else
            scores_float(t, u, &a, s);
        for (int i = a.q0; i < a.n_q; i++) {
            int j0 = hidden(t, u, &a, i);
            s->c[i] = t->e->k.softmax(s->score[i] + j0, seen(t, u, &a, i) - j0, &s->m[i], &s->l[i]);
        }
        if (is_i8(shape->v))
            values_i8(t, u, &a, &after, s);
        else
            values_float(t, u, &a, s);
        for (int i = a.q0; i < a.n_q; i++) {
            int row = row_of(u, i), n = sees_to(t, row), len = part_length(t, n);
            if (end >= n || end % len == 0)
                end_part(t, u, s, i, a.pos / len - sees_from(t, row) / len, n_part_of(t, row));
        }
    }
}

/* ---- the work of a lane -------------------------------------------------------------------- */

/* Walks all units: for each KV head the blocks of rows, for each block its parts. */
typedef struct walk {
    const attend_task *t;
    unit u;     /* the last one given */
    int n_head; /* heads of a block */
} walk;

static walk walk_begin(const attend_task *t)
{
    const tern_hparams *h = &t->e->w->h;
    int group = h->n_head / h->n_kv_head;
    return (walk){.t = t, .n_head = group < QUERIES ? group : QUERIES};
}

/* Rows of the sequence of row0 that are taken together. */
static int block_end(const walk *w, int row0)
{
    const tern_row *rows = w->t->rows;
    int row1 = row0 + 1, most = QUERIES / w->n_head;
    while (row1 < w->t->n_row && row1 - row0 < most && rows[row1].seq == rows[row0].seq)
        row1++;
    return row1;
}

/* n: how far the last row sees. A window may begin inside a part. */
static int part_end(const walk *w, int pos0, int n)
{
    int len = part_length(w->t, n), end = pos0 / len * len + len;
    return w->t->split && n > end ? end : n;
}

/* The first tile that row0, and so any row after it, sees. */
static int block_begin(const walk *w, int row0)
{
    int len = tile_length(&w->t->rows[row0].seq->shape);
    return sees_from(w->t, row0) / len * len;
}

static bool walk_next(walk *w)
{
    const tern_hparams *h = &w->t->e->w->h;
    int group = h->n_head / h->n_kv_head;
    unit *u = &w->u;
    int n = u->row1 > 0 ? sees_to(w->t, u->row1 - 1) : 0;
    if (u->pos1 < n) { /* the next part */
        u->pos0 = u->pos1;
    } else {
        u->row0 = u->row1;
        if (u->row0 == w->t->n_row || u->head1 == 0) { /* the next heads, all of one KV head */
            u->row0 = 0;
            u->head0 = u->head1;
            int group_end = u->head0 / group * group + group;
            u->head1 = u->head0 + w->n_head < group_end ? u->head0 + w->n_head : group_end;
        }
        if (u->head0 == h->n_head)
            return false;
        u->row1 = block_end(w, u->row0);
        u->pos0 = block_begin(w, u->row0);
        n = sees_to(w->t, u->row1 - 1);
    }
    u->pos1 = part_end(w, u->pos0, n);
    return true;
}

/* In positions of a query; reading a position costs as much as some queries do. */
static int64_t cost_of(const unit *u)
{
    return (int64_t)(u->pos1 - u->pos0) * ((u->row1 - u->row0) * (u->head1 - u->head0) + 4);
}

/* Units are dealt out in order: a lane has those whose middle lies in its share of the cost. */
static void attend_lane(void *arg, int lane, int n_lane)
{
    const attend_task *t = arg;
    space *s = tern_exec_scratch(t->e, lane);
    int64_t total = 0, at = 0;
    for (walk w = walk_begin(t); walk_next(&w);)
        total += cost_of(&w.u);
    int64_t begin = total * lane / n_lane, end = total * (lane + 1) / n_lane;
    unit u = {0};
    for (walk w = walk_begin(t); walk_next(&w);) {
        int64_t cost = cost_of(&w.u), middle = at + cost / 2;
        at += cost;
        if (middle < begin || middle >= end)
            continue;
        if (u.pos1 > 0)
            attend(t, &u, &w.u, s);
        u = w.u;
    }
    if (u.pos1 > 0)
        attend(t, &u, &(unit){0}, s);
}

/* A row sees its sequence's rows of the step, all of them. */
static void see_all(tern_exec *e, const tern_row *rows, int n_row)
{
    for (int i = n_row - 1; i >= 0; i--)
        e->see[i] =
            i + 1 < n_row && rows[i + 1].seq == rows[i].seq ? e->see[i + 1] : rows[i].pos + 1;
}

void tern_attend(tern_exec *e, int slot, int window, const tern_row *rows, int n_row)
{
    attend_task t = {.e = e, .slot = slot, .rows = rows, .n_row = n_row, .window = window};
    bool several = false;
    if (e->see)
        see_all(e, rows, n_row);
    for (int i = 0; i < n_row; i++)
        several = several || n_part_of(&t, i) > 1;
    t.split = several && n_row <= TERN_ATTEND_SPLIT_ROWS && tern_pool_size(e->pool) > 1;
    tern_pool_run(e->pool, attend_lane, &t);
    if (t.split)
        tern_pool_run(e->pool, combine_lane, &t);
}
