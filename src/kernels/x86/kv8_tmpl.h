/* Attention over int8 pages on the lanes of one instruction set; see ref/kv8_ref.c. The includer defines
 *   KV8_FN(name)   names of the two functions
 *   KV8_BLOCKS     vectors of 16 sums per query, 1 or 4; with KV8_QUERIES queries the sums, one tile
 *                  vector per block and one of x must fit the registers
 *   KV8_QUERIES    queries at once, 4
 *   wide_t         16 pairs of int16, with
 *   wide_load(p)   32 int8 widened, wide_set1(p) the pair at p for all, and
 *   wide_dot(acc, t, x)  acc + the two products of each lane. */
#define POS TERN_KV8_POS

typedef struct kv8_sums {
    vi v[KV8_QUERIES][KV8_BLOCKS];
} kv8_sums;

LANES_INLINE void sums_clear(kv8_sums *s, const int nq, const int nb)
{
    LANES_UNROLL
    for (int i = 0; i < nq; i++)
        LANES_UNROLL
    for (int b = 0; b < nb; b++)
        s->v[i][b] = vi_zero();
}

/* n_pair rows of pairs, step bytes apart, of 16 nb columns; as many rows of the page at ahead are asked for
 * meanwhile (it moves by ahead_step, which is 0 when there is none). */
LANES_INLINE void sums_add(kv8_sums *s, const int8_t *t, size_t step, int n_pair, const int16_t *x,
                           size_t x_stride, const int8_t *ahead, size_t ahead_step, const int nq,
                           const int nb)
{
    for (int k = 0; k < n_pair; k++, t += step, x += 2, ahead += ahead_step) {
        wide_t tv[KV8_BLOCKS];
        __builtin_prefetch(ahead, 0, 2);
        __builtin_prefetch(ahead + 64, 0, 2);
        LANES_UNROLL
        for (int b = 0; b < nb; b++)
            tv[b] = wide_load(t + 32 * b);
        LANES_UNROLL
        for (int i = 0; i < nq; i++) {
            wide_t xv = wide_set1(x + (size_t)i * x_stride);
            LANES_UNROLL
            for (int b = 0; b < nb; b++)
                s->v[i][b] = wide_dot(s->v[i][b], tv[b], xv);
        }
    }
}

typedef struct kv8_ahead {
    const int8_t *p;
    size_t step;
} kv8_ahead;

/* Only the first queries ask: the others find the pages in the cache. */
LANES_INLINE kv8_ahead ahead_of(const tern_kv8 *k, int page, size_t at, int q0)
{
    if (q0 > 0 || !k->ahead[page])
        return (kv8_ahead){k->page[page] + at, 0};
    return (kv8_ahead){k->ahead[page] + at, 128};
}

LANES_INLINE int kv8_min(int a, int b)
{
    return a < b ? a : b;
}

/* ---- scores ------------------------------------------------------------------------------- */

/* Columns [col, col + 16 nb) of one page. */
LANES_INLINE void scores(const tern_kv8 *k, int page, int col, int q0, const int nq, const int nb)
{
    kv8_sums s;
    kv8_ahead a = ahead_of(k, page, (size_t)(2 * col), q0);
    sums_clear(&s, nq, nb);
    sums_add(&s, k->page[page] + 2 * col, 2 * POS, k->d_head / 2, k->x + (size_t)q0 * k->x_stride,
             k->x_stride, a.p, a.step, nq, nb);
    int j = page * POS + col;
    LANES_UNROLL
    for (int b = 0; b < nb; b++, j += 16) {
        int n = kv8_min(16, k->n_pos - j);
        vf scale = vf_load_n(k->scale + j, n);
        LANES_UNROLL
        for (int i = 0; i < nq; i++) {
            vf y = vf_mul(vf_mul(vf_from_i32(s.v[i][b]), scale), vf_set1(k->x_scale[q0 + i]));
            vf_store_n(k->y + (size_t)(q0 + i) * k->y_stride + j, y, n);
        }
    }
}

LANES_INLINE void page_scores(const tern_kv8 *k, int page, int q0, const int nq)
{
    int n_block = (kv8_min(POS, k->n_pos - page * POS) + 15) / 16, b = 0;
    if (KV8_BLOCKS >= 4 && n_block == 4) {
        scores(k, page, 0, q0, nq, KV8_BLOCKS);
        return;
    }
    for (; b < n_block; b++)
        scores(k, page, 16 * b, q0, nq, 1);
}

void KV8_FN(qk_i8)(const tern_kv8 *k)
{
    for (int page = 0; page * POS < k->n_pos; page++) {
        int q = 0;
        for (; q + 4 <= k->n_q; q += 4)
            page_scores(k, page, q, 4);
        if (k->n_q - q == 3)
            page_scores(k, page, q, 3);
        else if (k->n_q - q == 2)
            page_scores(k, page, q, 2);
        else if (k->n_q - q == 1)
            page_scores(k, page, q, 1);
    }
}

/* ---- values ------------------------------------------------------------------------------- */

/* Columns [col, col + 16 nb) of the width dimensions that begin at d0. */
LANES_INLINE void values(const tern_kv8 *k, int d0, int width, int col, int q0, const int nq,
                         const int nb)
{
    kv8_sums s;
    size_t at = (size_t)(POS * d0 + 2 * col);
    sums_clear(&s, nq, nb);
    for (int page = 0; page * POS < k->n_pos; page++) {
        kv8_ahead a = ahead_of(k, page, at, q0);
        int n = kv8_min(POS, k->n_pos - page * POS);
        sums_add(&s, k->page[page] + at, (size_t)(2 * width), (n + 1) / 2,
                 k->x + (size_t)q0 * k->x_stride + page * POS, k->x_stride, a.p, a.step, nq, nb);
    }
    int d = d0 + col;
    LANES_UNROLL
    for (int b = 0; b < nb; b++, d += 16) {
        int n = kv8_min(16, k->d_head - d);
        LANES_UNROLL
        for (int i = 0; i < nq; i++) {
            float *to = k->y + (size_t)(q0 + i) * k->y_stride + d;
            vf old = vf_mul(vf_load_n(to, n), vf_set1(k->c[q0 + i]));
            vf y = vf_mul(vf_from_i32(s.v[i][b]), vf_set1(k->x_scale[q0 + i]));
            vf_store_n(to, vf_add(old, y), n);
        }
    }
}

LANES_INLINE void chunk_values(const tern_kv8 *k, int d0, int q0, const int nq)
{
    int width = kv8_min(64, (k->d_head + 15) / 16 * 16 - d0), col = 0;
    if (KV8_BLOCKS >= 4 && width == 64) {
        values(k, d0, width, 0, q0, nq, KV8_BLOCKS);
        return;
    }
    for (; col < width; col += 16)
        values(k, d0, width, col, q0, nq, 1);
}

void KV8_FN(av_i8)(const tern_kv8 *k)
{
    for (int d0 = 0; d0 < k->d_head; d0 += 64) {
        int q = 0;
        for (; q + 4 <= k->n_q; q += 4)
            chunk_values(k, d0, q, 4);
        if (k->n_q - q == 3)
            chunk_values(k, d0, q, 3);
        else if (k->n_q - q == 2)
            chunk_values(k, d0, q, 2);
        else if (k->n_q - q == 1)
            chunk_values(k, d0, q, 1);
    }
}
