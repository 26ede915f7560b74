/* The loops of the row-major ternary product (T2R1, kernel.h) for few tokens, shared by the x86
 * instruction sets; dot_*.h is included first (see tile.h).
 *
 * Sums run along the columns; those of four rows are folded together. One or two tokens take row after
 * row, so that bytes are read, and those of a later row prefetched, in their order, which memory likes
 * best. With registers for more tokens four rows go side by side, each activation vector for all. */
#ifndef TERN_KERNELS_T2R1_TILE_H
#define TERN_KERNELS_T2R1_TILE_H

#include "kernels/kernel.h"
#include "kernels/x86/interleave.h"

#define INLINE  static inline __attribute__((always_inline))
#define MAX_TOK 6

/* Loops that are surely unrolled, so that arrays are registers. */
/* clang-format off */
#define EACH_ROW(X, t) {X(t, 0)} {X(t, 1)} {X(t, 2)} {X(t, 3)}
#define EACH_TOKEN(X)                                                                              \
    {X(0)} if (nt > 1) {X(1)} if (nt > 2) {X(2)} if (nt > 3) {X(3)} if (nt > 4) {X(4)}              \
    if (nt > 5) {X(5)}
/* clang-format on */
#define ROWS_OF(t) EACH_ROW(CELL, t) /* CELL(t, r) is what the user of EACH_CELL defines */
#define EACH_CELL  EACH_TOKEN(ROWS_OF)

/* Four rows (at the end of a list some of them the same) and the tokens from tok. */
typedef struct row_tile {
    int row[4];
    const uint8_t *w[4], *next[4]; /* rows to prefetch meanwhile */
    int tok;
} row_tile;

typedef void (*row_tile_fn)(const tern_mm *k, const row_tile *a);

/* Up to n of the four planes of the vectors `at` bytes into the rows; qp becomes their activations. */
#define STEP(at, n)                                                                                \
    {                                                                                              \
        const size_t a0 = (at);                                                                    \
        const int8_t *qp = q + a0 / 64 * 256 + a0 % 64;                                            \
        LOAD_STEP                                                                                  \
        PLANE(0)                                                                                   \
        if ((n) > 1)                                                                               \
            PLANE(1)                                                                               \
        if ((n) > 2)                                                                               \
            PLANE(2)                                                                               \
        if ((n) > 3)                                                                               \
            PLANE(3)                                                                               \
    }

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

/* Row after row, and one or two tokens. Where sums have 32 bits planes are masked where they stand in
 * their byte, worth 4^p times as much, and have sums of their own; exact shifts undo the factors at the
 * end. Sums of one lane stay within 192 * 128 * cols / 16 < 2^31. */
#ifdef SPAN
#define SUM_OF(p)   0
#define PLANE_OF(p) v_and((p) ? v_shr(v, 2 * (p)) : v, mask[0])
#else
#define SUM_OF(p)   (p)
#define PLANE_OF(p) v_and(v, mask[p])
#endif
INLINE void stream_t2r1(const int nt, const tern_mm *k, const row_tile *a)
{
    const size_t stride = k->act.stride, n64 = ((size_t)k->cols + 63) / 64;
    const size_t whole = n64 / 4 * 64, left = n64 % 4;
    const int8_t *q = k->act.q + (size_t)a->tok * stride;
    const vi mask[4] = {v_set1(0x03030303), v_set1(0x0c0c0c0c), v_set1(0x30303030),
                        v_set1((int32_t)0xc0c0c0c0u)};
    vdot dot[MAX_TOK][4];
    vi sum[MAX_TOK][4];
#define LOAD_STEP                                                                                  \
    vi v = v_load(w + a0);                                                                         \
    if (VL == 16 || a0 % 64 == 0)                                                                  \
        _mm_prefetch((const char *)next + a0, _MM_HINT_T0);
#define PLANE(p)                                                                                   \
    {                                                                                              \
        enum { plane = p, n = SUM_OF(p) };                                                         \
        vi c = PLANE_OF(p);                                                                        \
        EACH_TOKEN(DOT)                                                                            \
    }
#define DOT(t) dot[t][n] = v_dot(dot[t][n], c, v_load(qp + t * stride + 64 * plane));
    for (int r = 0; r < 4; r++) {
        const uint8_t *w = a->w[r], *next = a->next[r];
#define OPEN(t) dot[t][0] = dot[t][1] = dot[t][2] = dot[t][3] = v_open(v_set1(0));
        EACH_TOKEN(OPEN)
#ifdef SPAN
#define CLOSE(t)                                                                                   \
    sum[t][r] = v_close(dot[t][0], sum[t][r]);                                                     \
    dot[t][0] = v_open(sum[t][r]);
#define ZERO(t) sum[t][r] = v_set1(0);
        EACH_TOKEN(ZERO)
#undef ZERO
        for (size_t b0 = 0, b1; b0 < whole; b0 = b1) {
            b1 = whole - b0 < SPAN * VL ? whole : b0 + SPAN * VL;
            for (size_t b = b0; b < b1; b += 4 * VL)
                STEP(b, 4)
            EACH_TOKEN(CLOSE)
        }
#else /* right shifts of signed elements are arithmetic */
#define CLOSE(t)                                                                                   \
    sum[t][r] = (vi)(dot[t][0] + (dot[t][1] >> 2) + (dot[t][2] >> 4) + (dot[t][3] >> 6));
        for (size_t b = 0; b < whole; b += 4 * VL)
            STEP(b, 4)
#endif
        for (size_t b = whole; left > 0 && b < whole + 64; b += 4 * VL)
            STEP(b, left)
        EACH_TOKEN(CLOSE)
#undef CLOSE
#undef OPEN
    }
#define ROWS(t)                                                                                    \
    finish_rows(k, a, a->tok + t, fold_rows(sum[t][0], sum[t][1], sum[t][2], sum[t][3]));
    EACH_TOKEN(ROWS)
#undef ROWS
#undef LOAD_STEP
#undef PLANE
#undef DOT
}

#ifndef SPAN
/* Four rows side by side and nt tokens. */
INLINE void tile_t2r1(const int nt, const tern_mm *k, const row_tile *a)
{
    const size_t stride = k->act.stride, n64 = ((size_t)k->cols + 63) / 64;
    const size_t whole = n64 / 4 * 64, left = n64 % 4;
    const int8_t *q = k->act.q + (size_t)a->tok * stride;
    const vi mask = v_set1(0x03030303);
    vdot dot[MAX_TOK][4];
    vi v[4], c[4];
#define LOAD_ROW(t, r)                                                                             \
    v[r] = v_load(a->w[r] + a0);                                                                   \
    if (VL == 16 || a0 % 64 == 0)                                                                  \
        _mm_prefetch((const char *)a->next[r] + a0, _MM_HINT_T0);
#define LOAD_STEP  EACH_ROW(LOAD_ROW, 0)
#define CODE(t, r) c[r] = v_and(plane ? v_shr(v[r], 2 * plane) : v[r], mask);
#define DOT(t, r)  dot[t][r] = v_dot(dot[t][r], c[r], x);
#define DOTS(t)                                                                                    \
    vi x = v_load(qp + t * stride + 64 * plane);                                                   \
    EACH_ROW(DOT, t)
#define PLANE(p)                                                                                   \
    {                                                                                              \
        enum { plane = p };                                                                        \
        EACH_ROW(CODE, 0)                                                                          \
        EACH_TOKEN(DOTS)                                                                           \
    }
#define CELL(t, r) dot[t][r] = v_open(v_set1(0));
    EACH_CELL
#undef CELL
    for (size_t b = 0; b < whole; b += 4 * VL)
        STEP(b, 4)
    for (size_t b = whole; left > 0 && b < whole + 64; b += 4 * VL)
        STEP(b, left)
#define ROWS(t)                                                                                    \
    finish_rows(k, a, a->tok + t,                                                                  \
                fold_rows((vi)dot[t][0], (vi)dot[t][1], (vi)dot[t][2], (vi)dot[t][3]));
    EACH_TOKEN(ROWS)
#undef ROWS
#undef LOAD_STEP
#undef PLANE
}
#endif

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

/* The rows that nobody has prefetched when a product begins. */
static void first_rows(const tern_mm *k, int row0, int n)
{
    for (int i = 0; i < n; i++) {
        const char *w = (const char *)k->w + (size_t)row_at(k, row0, i) * k->w_stride;
        for (size_t b = 0; b < k->w_stride; b += 64)
            _mm_prefetch(w + b, _MM_HINT_T0);
    }
}

/* All rows and tokens, by tiles of at most max tokens, as equal as they can be. Blocks of rows stay in
 * the second cache while the tokens pass. fn[n] makes a tile of n tokens. */
static void run_rows(const tern_mm *k, int row0, int row1, const row_tile_fn *fn, int max)
{
    enum { BLOCK = 128 };
    int n = k->list ? k->n_list : row1 - row0, ahead = rows_ahead(k);
    row_tile a;
    first_rows(k, row0, n < ahead ? n : ahead);
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

/* Instances: nt tokens. */
#define STREAM(nt)                                                                                 \
    static void t2r1_##nt(const tern_mm *k, const row_tile *a)                                     \
    {                                                                                              \
        stream_t2r1(nt, k, a);                                                                     \
    }
#define TILE(nt)                                                                                   \
    static void t2r1_##nt(const tern_mm *k, const row_tile *a)                                     \
    {                                                                                              \
        tile_t2r1(nt, k, a);                                                                       \
    }

#endif
