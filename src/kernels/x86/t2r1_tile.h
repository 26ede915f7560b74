/* The loops of the row-major ternary product (T2R1, kernel.h) for few tokens, shared by the x86
 * instruction sets; dot_*.h is included first (see tile.h).
 *
 * A tile is four rows by nt tokens. Sums run along the columns and are folded once a tile: each packed
 * vector is used for all tokens, each activation vector for all rows. The four codes of a byte are
 * four planes; nb of them have sums of their own, so that a plane is masked where it stands in its
 * byte, worth 4^b times as much, and exact shifts of the sums undo the factors at the end. Sums of
 * one lane stay within 192 * 128 * cols / 16 < 2^31. */
#ifndef TERN_KERNELS_T2R1_TILE_H
#define TERN_KERNELS_T2R1_TILE_H

#include "kernels/kernel.h"
#include "kernels/x86/interleave.h"

#define INLINE   static inline __attribute__((always_inline))
#define MAX_TOK  6
#define MAX_BAND 4

/* Loops that are surely unrolled, so that arrays are registers. */
/* clang-format off */
#define EACH_ROW(X, t)  {X(t, 0)} {X(t, 1)} {X(t, 2)} {X(t, 3)}
#define EACH_BAND(X)    {X(0)} if (nb > 1) {X(1)} if (nb > 2) {X(2)} if (nb > 3) {X(3)}
#define EACH_TOKEN(X)                                                                              \
    {X(0)} if (nt > 1) {X(1)} if (nt > 2) {X(2)} if (nt > 3) {X(3)} if (nt > 4) {X(4)}              \
    if (nt > 5) {X(5)}
/* clang-format on */
#define CELLS_OF(t) EACH_ROW(CELL, t) /* CELL(t, r) is what the user of EACH_CELL defines */
#define EACH_CELL   EACH_TOKEN(CELLS_OF)

/* Four rows (at the end of a list some of them the same) and the tokens from tok. */
typedef struct row_tile {
    int row[4];
    const uint8_t *w[4], *next[4]; /* rows to prefetch meanwhile */
    int tok;
} row_tile;

typedef void (*row_tile_fn)(const tern_mm *k, const row_tile *a);

/* Products of a packed vector of each row, `at` bytes into it, with up to planes vectors of
 * activations. */
#define STEP(at, planes)                                                                           \
    {                                                                                              \
        const size_t a0 = (at);                                                                    \
        const int8_t *qp = q + a0 / 64 * 256 + a0 % 64;                                            \
        EACH_ROW(STEP_LOAD, 0)                                                                     \
        STEP_PLANE(0)                                                                              \
        if ((planes) > 1)                                                                          \
            STEP_PLANE(1)                                                                          \
        if ((planes) > 2)                                                                          \
            STEP_PLANE(2)                                                                          \
        if ((planes) > 3)                                                                          \
            STEP_PLANE(3)                                                                          \
    }
#define STEP_LOAD(t, r)                                                                            \
    v[r] = v_load(a->w[r] + a0);                                                                   \
    if (prefetch && (VL == 16 || a0 % 64 == 0))                                                    \
        _mm_prefetch((const char *)a->next[r] + a0, _MM_HINT_T0);
#define STEP_PLANE(p)                                                                              \
    {                                                                                              \
        enum { plane = p };                                                                        \
        EACH_ROW(STEP_CODE, 0)                                                                     \
        EACH_TOKEN(STEP_DOTS)                                                                      \
    }
#define STEP_CODE(t, r)                                                                            \
    c[r] = v_and(plane / nb ? v_shr(v[r], 2 * (plane / nb * nb)) : v[r], mask[plane % nb]);
#define STEP_DOT(t, r) dot[t][r][plane % nb] = v_dot(dot[t][r][plane % nb], c[r], x);
#define STEP_DOTS(t)                                                                               \
    vi x = v_load(qp + t * stride + 64 * plane);                                                   \
    EACH_ROW(STEP_DOT, t)

/* Sums of four vectors, in order. */
INLINE __m128i fold_rows(vi a, vi b, vi c, vi d)
{
    vi ab = v_add(v_lo32(a, b), v_hi32(a, b)), cd = v_add(v_lo32(c, d), v_hi32(c, d));
    return v_fold(v_add(v_lo64(ab, cd), v_hi64(ab, cd)));
}

INLINE void finish_rows(const tern_mm *k, const row_tile *a, int t, __m128i acc)
{
    float *y = k->y + (size_t)t * k->y_stride, v[4];
    __m128 scale = _mm_setr_ps(k->scale[a->row[0]], k->scale[a->row[1]], k->scale[a->row[2]],
                               k->scale[a->row[3]]);
    acc = _mm_sub_epi32(acc, _mm_set1_epi32(k->act.sum[t]));
    _mm_storeu_ps(
        v, _mm_mul_ps(_mm_div_ps(_mm_cvtepi32_ps(acc), _mm_set1_ps(k->act.scale[t])), scale));
    for (int r = 0; r < 4; r++)
        y[a->row[r]] = v[r];
}

INLINE void tile_t2r1(const int nt, const int nb, const bool prefetch, const tern_mm *k,
                      const row_tile *a)
{
    const size_t stride = k->act.stride, n64 = ((size_t)k->cols + 63) / 64;
    const size_t whole = n64 / 4 * 64, left = n64 % 4;
    const int8_t *q = k->act.q + (size_t)a->tok * stride;
    const vi mask[MAX_BAND] = {v_set1(0x03030303), v_set1(0x0c0c0c0c), v_set1(0x30303030),
                               v_set1((int32_t)0xc0c0c0c0u)};
    vdot dot[MAX_TOK][4][MAX_BAND];
    vi sum[MAX_TOK][4], v[4], c[4];
#define CELL(t, r) sum[t][r] = v_set1(0);
    EACH_CELL
#undef CELL
#ifdef SPAN
    for (size_t b0 = 0, b1; b0 < whole; b0 = b1) {
        b1 = whole - b0 < SPAN * VL ? whole : b0 + SPAN * VL;
#define CELL(t, r) dot[t][r][0] = v_open(sum[t][r]);
        EACH_CELL
#undef CELL
        for (size_t b = b0; b < b1; b += 4 * VL)
            STEP(b, 4)
#define CELL(t, r) sum[t][r] = v_close(dot[t][r][0], sum[t][r]);
        EACH_CELL
#undef CELL
    }
#endif
#define BAND(b) dot[t1][r1][b] = v_open(sum[t1][r1]);
#define CELL(t, r)                                                                                 \
    {                                                                                              \
        enum { t1 = t, r1 = r };                                                                   \
        EACH_BAND(BAND)                                                                            \
    }
    EACH_CELL
#undef BAND
#undef CELL
#ifndef SPAN
    for (size_t b = 0; b < whole; b += 4 * VL)
        STEP(b, 4)
#endif
    for (size_t b = whole; left > 0 && b < whole + 64; b += 4 * VL)
        STEP(b, left)
#define BAND(b)                                                                                    \
    /* right shifts of signed elements are arithmetic */                                           \
    sum[t1][r1] = b ? v_add(sum[t1][r1], (vi)(dot[t1][r1][b] >> 2 * b))                            \
                    : v_close(dot[t1][r1][0], sum[t1][r1]);
#define CELL(t, r)                                                                                 \
    {                                                                                              \
        enum { t1 = t, r1 = r };                                                                   \
        EACH_BAND(BAND)                                                                            \
    }
    EACH_CELL
#undef BAND
#undef CELL
#define ROWS(t)                                                                                    \
    finish_rows(k, a, a->tok + t, fold_rows(sum[t][0], sum[t][1], sum[t][2], sum[t][3]));
    EACH_TOKEN(ROWS)
#undef ROWS
}

/* Row i of those to compute, or beyond them something harmless to prefetch. */
INLINE int row_at(const tern_mm *k, int row0, int i)
{
    return k->list ? k->list[i] : row0 + i;
}

/* Rows to prefetch ahead of their use: a few KiB, and no more of them than a list is padded by. */
static int rows_ahead(const tern_mm *k)
{
    size_t n = AHEAD / (k->w_stride + 1) / 4 * 4 + 4;
    return n < 64 ? (int)n : 64;
}

/* All rows and tokens, by tiles of at most max tokens, as equal as they can be. Blocks of rows stay in
 * the second cache while the tokens pass. fn[n] makes a tile of n tokens. */
static void run_rows(const tern_mm *k, int row0, int row1, const row_tile_fn *fn, int max)
{
    enum { BLOCK = 128 };
    int n = k->list ? k->n_list : row1 - row0, ahead = rows_ahead(k);
    row_tile a;
    for (int i0 = 0, i1; i0 < n; i0 = i1) {
        i1 = n - i0 < BLOCK ? n : i0 + BLOCK;
        a.tok = 0;
        for (int left = (k->n_tok + max - 1) / max, nt; left > 0; left--, a.tok += nt) {
            nt = (k->n_tok - a.tok + left - 1) / left;
            for (int i = i0; i < i1; i += 4) {
                for (int r = 0; r < 4; r++) {
                    a.row[r] = row_at(k, row0, i + r < i1 ? i + r : i1 - 1);
                    a.w[r] = k->w + (size_t)a.row[r] * k->w_stride;
                    a.next[r] = k->w + (size_t)row_at(k, row0, i + r + ahead) * k->w_stride;
                }
                fn[nt](k, &a);
            }
        }
    }
}

/* An instance: nt tokens, nb bands. */
#define T2R1(nt, nb, prefetch)                                                                     \
    static void t2r1_##nt(const tern_mm *k, const row_tile *a)                                     \
    {                                                                                              \
        tile_t2r1(nt, nb, prefetch, k, a);                                                         \
    }

#endif
