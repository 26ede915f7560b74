/* The loops of the row-major ternary product (T2R1, kernel.h) for few tokens, shared by the x86
 * instruction sets; dot_*.h is included first (see tile.h).
 *
 * Rows are taken one after the other, each for all tokens of a tile, so that its bytes are read, and
 * those of a later row prefetched, in their order. Sums run along the columns; those of four rows are
 * folded together. The four codes of a byte are four planes; nb of them have sums of their own, so
 * that a plane is masked where it stands in its byte, worth 4^b times as much, and exact shifts of the
 * sums undo the factors at the end. Sums of one lane stay within 192 * 128 * cols / 16 < 2^31. */
#ifndef TERN_KERNELS_T2R1_TILE_H
#define TERN_KERNELS_T2R1_TILE_H

#include "kernels/kernel.h"
#include "kernels/x86/interleave.h"

#define INLINE  static inline __attribute__((always_inline))
#define MAX_TOK 6

/* Planes with sums of their own: where sums are short there is no room for factors. */
#ifdef SPAN
enum { nb = 1 };
#else
enum { nb = 4 };
#endif

/* Loops that are surely unrolled, so that arrays are registers. */
/* clang-format off */
#define EACH_BAND(X, t) {X(t, 0)} if (nb > 1) {X(t, 1)} if (nb > 2) {X(t, 2)} if (nb > 3) {X(t, 3)}
#define EACH_TOKEN(X)                                                                              \
    {X(0)} if (nt > 1) {X(1)} if (nt > 2) {X(2)} if (nt > 3) {X(3)} if (nt > 4) {X(4)}              \
    if (nt > 5) {X(5)}
/* clang-format on */
#define BANDS_OF(t) EACH_BAND(CELL, t) /* CELL(t, b) is what the user of EACH_CELL defines */
#define EACH_CELL   EACH_TOKEN(BANDS_OF)

/* Four rows (at the end of a list some of them the same) and the tokens from tok. */
typedef struct row_tile {
    int row[4];
    const uint8_t *w[4], *next[4]; /* rows to prefetch meanwhile */
    int tok;
} row_tile;

typedef void (*row_tile_fn)(const tern_mm *k, const row_tile *a);

/* Products of a packed vector, `at` bytes into the row, with up to planes vectors of activations. */
#define STEP(at, planes)                                                                           \
    {                                                                                              \
        const int8_t *qp = q + (at) / 64 * 256 + (at) % 64;                                        \
        vi v = v_load(w + (at)), c;                                                                \
        if (VL == 16 || (at) % 64 == 0)                                                            \
            _mm_prefetch((const char *)next + (at), _MM_HINT_T0);                                  \
        STEP_PLANE(0)                                                                              \
        if ((planes) > 1)                                                                          \
            STEP_PLANE(1)                                                                          \
        if ((planes) > 2)                                                                          \
            STEP_PLANE(2)                                                                          \
        if ((planes) > 3)                                                                          \
            STEP_PLANE(3)                                                                          \
    }
#define STEP_PLANE(p)                                                                              \
    {                                                                                              \
        enum { plane = p, band = p % nb, shift = 2 * (p - p % nb) };                               \
        c = v_and(shift ? v_shr(v, shift) : v, mask[band]);                                        \
        EACH_TOKEN(STEP_DOT)                                                                       \
    }
#define STEP_DOT(t) dot[t][band] = v_dot(dot[t][band], c, v_load(qp + t * stride + 64 * plane));

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

INLINE void tile_t2r1(const int nt, const tern_mm *k, const row_tile *a)
{
    const size_t stride = k->act.stride, n64 = ((size_t)k->cols + 63) / 64;
    const size_t whole = n64 / 4 * 64, left = n64 % 4;
    const int8_t *q = k->act.q + (size_t)a->tok * stride;
    const vi mask[4] = {v_set1(0x03030303), v_set1(0x0c0c0c0c), v_set1(0x30303030),
                        v_set1((int32_t)0xc0c0c0c0u)};
    vi sum[MAX_TOK][4];
    for (int r = 0; r < 4; r++) {
        const uint8_t *w = a->w[r], *next = a->next[r];
        vdot dot[MAX_TOK][nb];
#define CELL(t, b) dot[t][b] = v_open(v_set1(0));
        EACH_CELL
#undef CELL
#ifdef SPAN
#define CELL(t, b) sum[t][r] = v_set1(0);
        EACH_CELL
#undef CELL
        for (size_t b0 = 0, b1; b0 < whole; b0 = b1) {
            b1 = whole - b0 < SPAN * VL ? whole : b0 + SPAN * VL;
            for (size_t b = b0; b < b1; b += 4 * VL)
                STEP(b, 4)
#define CELL(t, b)                                                                                 \
    sum[t][r] = v_close(dot[t][b], sum[t][r]);                                                     \
    dot[t][b] = v_open(v_set1(0));
            EACH_CELL
#undef CELL
        }
#else
        for (size_t b = 0; b < whole; b += 4 * VL)
            STEP(b, 4)
#endif
        for (size_t b = whole; left > 0 && b < whole + 64; b += 4 * VL)
            STEP(b, left)
#ifdef SPAN
#define CELL(t, b) sum[t][r] = v_close(dot[t][b], sum[t][r]);
#else /* right shifts of signed elements are arithmetic */
#define CELL(t, b) sum[t][r] = b ? v_add(sum[t][r], (vi)(dot[t][b] >> 2 * b)) : (vi)dot[t][b];
#endif
        EACH_CELL
#undef CELL
    }
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

/* Rows to prefetch ahead of their use: 8 KiB (AMD Zen 5: with 4 KiB 5 % less when all are listed), and
 * no more of them than a list is padded by. */
static int rows_ahead(const tern_mm *k)
{
    size_t n = 8192 / (k->w_stride + 1) + 1;
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

/* An instance: nt tokens. */
#define T2R1(nt)                                                                                   \
    static void t2r1_##nt(const tern_mm *k, const row_tile *a)                                     \
    {                                                                                              \
        tile_t2r1(nt, k, a);                                                                       \
    }

#endif
