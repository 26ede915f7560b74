/* The loops of the row-major ternary products (T2R1 and T3R1, kernel.h) for few tokens, shared by the x86
 * instruction sets; dot_*.h is included first (see tile.h), then one of t2r1.h and t3r1.h, which define
 *   PLANES                  codes a byte holds, of columns 64 apart
 *   STREAM_SUMS(M, t)       M(t, n) for each running sum dot[t][n] of a token, n < 10, and
 *   STREAM_CONST            what is set up once
 *   STREAM_LOAD(p)          the packed vector at p, as
 *   STREAM_PLANE(p)         takes it: plane p of vector v is added for each token, X(t) its activations, X_STEP
 *                           between their planes; planes come in rising order
 *   STREAM_SUM(t)           the sum of all planes, times 2^STREAM_SHIFT, modulo 2^32
 *   TILE_LOAD TILE_CODE(v, p) TILE_NEXT(v) TILE_SHIFT   the same for a vector's codes: those of plane p, what
 *                           v becomes before the next plane
 *
 * Sums run along the columns; those of four rows are folded together. One or two tokens take row after
 * row, so that bytes are read, and those of a later row prefetched, in their order, which memory likes
 * best. With registers for more tokens four rows go side by side, each activation vector for all. */
#ifndef TERN_KERNELS_R1_TILE_H
#define TERN_KERNELS_R1_TILE_H

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

/* Rows row[0..n) and the tokens from tok. Behind the list come rows to prefetch, near ones and others
 * that are twice as far. */
typedef struct row_span {
    const int32_t *row;
    int n, near, far;
    int tok;
} row_span;

typedef void (*row_span_fn)(const tern_mm *k, const row_span *s);

INLINE const uint8_t *row_at(const tern_mm *k, int row)
{
    return k->w + (size_t)row * k->w_stride;
}

/* Up to n of the planes of the vectors `at` bytes into the rows; qp becomes their activations. */
#define STEP(at, n)                                                                                \
    {                                                                                              \
        const size_t a0 = (at);                                                                    \
        const int8_t *qp = q + a0 / 64 * (64 * PLANES) + a0 % 64;                                  \
        LOAD_STEP                                                                                  \
        PLANE(0)                                                                                   \
        if ((n) > 1)                                                                               \
            PLANE(1)                                                                               \
        if ((n) > 2)                                                                               \
            PLANE(2)                                                                               \
        if ((n) > 3)                                                                               \
            PLANE(3)                                                                               \
        if ((n) > 4)                                                                               \
            PLANE(4)                                                                               \
    }

/* The same of line i of some, and its prefetches. */
#if VL == 16
#define LINE(i, at, n)                                                                             \
    {                                                                                              \
        AHEAD(i, at)                                                                               \
        STEP(at, n)                                                                                \
    }
#else
#define LINE(i, at, n)                                                                             \
    {                                                                                              \
        AHEAD(i, at)                                                                               \
        STEP(at, n)                                                                                \
        STEP((at) + 32, n)                                                                         \
    }
#endif

/* Sums of four vectors, in order. */
INLINE __m128i fold_rows(vi a, vi b, vi c, vi d)
{
    vi ab = v_add(v_lo32(a, b), v_hi32(a, b)), cd = v_add(v_lo32(c, d), v_hi32(c, d));
    return v_fold(v_add(v_lo64(ab, cd), v_hi64(ab, cd)));
}

/* Outputs of up to four rows from their sums, times 2^shift. */
INLINE void finish_rows(const tern_mm *k, const int32_t *row, int n, int t, __m128i acc, int shift)
{
    float *y = k->y + (size_t)t * k->y_stride, v[4];
    __m128 scale =
        _mm_setr_ps(k->scale[row[0]], k->scale[row[1]], k->scale[row[2]], k->scale[row[3]]);
    acc = _mm_sub_epi32(_mm_srai_epi32(acc, shift), _mm_set1_epi32(k->act.sum[t]));
    _mm_storeu_ps(
        v, _mm_mul_ps(_mm_div_ps(_mm_cvtepi32_ps(acc), _mm_set1_ps(k->act.scale[t])), scale));
    y[row[0]] = v[0];
    for (int r = 1; r < 4 && r < n; r++)
        y[row[r]] = v[r];
}

/* Row after row, and one or two tokens.
 *
 * A core has few buffers for lines on their way to the first cache. So of rows far ahead only every
 * other line is asked for: the second cache, which has more, brings its neighbour along (AMD Zen 5, 30 %
 * of rows of 640 bytes listed: 23 GB/s for one core, 19 without). Lines go by fours, lest one
 * instruction walk along a row, which the prefetcher that watches instructions takes for a sweep. */
#ifdef SPAN
_Static_assert(SPAN *VL == 256, "four lines are what 16 bits can sum");
#endif
/* Four rows of s from i on. */
INLINE void stream_rows(const int nt, const size_t n64, const tern_mm *k, const row_span *s, int i)
{
    const size_t stride = k->act.stride;
    const size_t whole = n64 / PLANES * 64, left = n64 % PLANES;
    const int8_t *q = k->act.q + (size_t)s->tok * stride;
    vdot dot[MAX_TOK][10];
    vi sum[MAX_TOK][4];
    const int32_t *at = s->row + i;
    STREAM_CONST
#define AHEAD(i, at)                                                                               \
    if ((i) % 2 == 0)                                                                              \
        _mm_prefetch((const char *)far + (at), _MM_HINT_T0);                                       \
    _mm_prefetch((const char *)next + (at), _MM_HINT_T0);
#define LOAD_STEP vi v = STREAM_LOAD(w + a0);
#define PLANE(p)                                                                                   \
    {                                                                                              \
        enum { plane = p };                                                                        \
        STREAM_PLANE(p)                                                                            \
    }
#define X(t)        v_load(qp + t * stride + 64 * plane)
#define OPEN(t)     STREAM_SUMS(START, t)
#define START(t, n) dot[t][n] = v_open(v_set1(0));
#ifdef SPAN
#define ROW_OPEN                                                                                   \
    EACH_TOKEN(ZERO)                                                                               \
    EACH_TOKEN(OPEN)
#define ZERO(t) sum[t][row] = v_set1(0);
#define CLOSE(t)                                                                                   \
    sum[t][row] = v_close(dot[t][0], sum[t][row]);                                                 \
    dot[t][0] = v_open(sum[t][row]);
#define SPAN_CLOSE EACH_TOKEN(CLOSE)
#else
#define ROW_OPEN EACH_TOKEN(OPEN)
#define CLOSE(t) sum[t][row] = STREAM_SUM(t);
#define SPAN_CLOSE
#endif
#define ROW(unused, r)                                                                             \
    {                                                                                              \
        enum { row = r };                                                                          \
        const uint8_t *w = row_at(k, at[r]), *next = row_at(k, at[r + s->near]);                   \
        const uint8_t *far = row_at(k, at[r + s->far]);                                            \
        size_t b = 0;                                                                              \
        ROW_OPEN                                                                                   \
        for (; whole - b >= 256; b += 256) {                                                       \
            LINE(0, b, PLANES)                                                                     \
            LINE(1, b + 64, PLANES)                                                                \
            LINE(2, b + 128, PLANES)                                                               \
            LINE(3, b + 192, PLANES)                                                               \
            SPAN_CLOSE                                                                             \
        }                                                                                          \
        if (whole - b > 0)                                                                         \
            LINE(0, b, PLANES)                                                                     \
        if (whole - b > 64)                                                                        \
            LINE(1, b + 64, PLANES)                                                                \
        if (whole - b > 128)                                                                       \
            LINE(2, b + 128, PLANES)                                                               \
        if (left > 0)                                                                              \
            LINE(0, whole, left)                                                                   \
        EACH_TOKEN(CLOSE)                                                                          \
    }
    EACH_ROW(ROW, 0)
#undef ROW
#undef ROW_OPEN
#undef SPAN_CLOSE
#undef CLOSE
#undef OPEN
#undef START
#undef ZERO
#define ROWS(t)                                                                                    \
    finish_rows(k, at, s->n - i, s->tok + t,                                                       \
                fold_rows(sum[t][0], sum[t][1], sum[t][2], sum[t][3]), STREAM_SHIFT);
    EACH_TOKEN(ROWS)
#undef ROWS
#undef LOAD_STEP
#undef AHEAD
#undef PLANE
#undef X
}

#ifndef SPAN
/* Four rows side by side and nt tokens. */
INLINE void tile_rows(const int nt, const tern_mm *k, const row_span *s, int i)
{
    const size_t stride = k->act.stride, n64 = ((size_t)k->cols + 63) / 64;
    const size_t whole = n64 / PLANES * 64, left = n64 % PLANES;
    const int8_t *q = k->act.q + (size_t)s->tok * stride;
    vdot dot[MAX_TOK][4];
    vi v[4], c[4];
    const int32_t *at = s->row + i;
    const uint8_t *w[4], *next[4];
#define ROW(unused, r)                                                                             \
    w[r] = row_at(k, at[r]);                                                                       \
    next[r] = row_at(k, at[r + s->near]);
    EACH_ROW(ROW, 0)
#undef ROW
#define LOAD_ROW(t, r)                                                                             \
    v[r] = TILE_LOAD(w[r] + a0);                                                                   \
    if (VL == 16 || a0 % 64 == 0)                                                                  \
        _mm_prefetch((const char *)next[r] + a0, _MM_HINT_T0);
#define LOAD_STEP  EACH_ROW(LOAD_ROW, 0)
#define CODE(t, r) c[r] = TILE_CODE(v[r], plane);
#define NEXT(t, r) v[r] = TILE_NEXT(v[r]);
#define DOT(t, r)  dot[t][r] = v_dot(dot[t][r], c[r], x);
#define DOTS(t)                                                                                    \
    vi x = v_load(qp + t * stride + 64 * plane);                                                   \
    EACH_ROW(DOT, t)
#define PLANE(p)                                                                                   \
    {                                                                                              \
        enum { plane = p };                                                                        \
        EACH_ROW(CODE, 0)                                                                          \
        EACH_TOKEN(DOTS)                                                                           \
        EACH_ROW(NEXT, 0)                                                                          \
    }
#define CELL(t, r) dot[t][r] = v_open(v_set1(0));
    EACH_CELL
#undef CELL
    for (size_t b = 0; b < whole; b += 4 * VL)
        STEP(b, PLANES)
    for (size_t b = whole; left > 0 && b < whole + 64; b += 4 * VL)
        STEP(b, left)
#define ROWS(t)                                                                                    \
    finish_rows(k, at, s->n - i, s->tok + t,                                                       \
                fold_rows((vi)dot[t][0], (vi)dot[t][1], (vi)dot[t][2], (vi)dot[t][3]),             \
                TILE_SHIFT);
    EACH_TOKEN(ROWS)
#undef ROWS
#undef LOAD_STEP
#undef LOAD_ROW
#undef CODE
#undef NEXT
#undef DOT
#undef DOTS
#undef PLANE
}
#endif

/* Rows to prefetch ahead: listed ones of 5 KiB, of all 8 KiB (AMD Zen 5), but no more than a quarter
 * of what a list is padded by. */
static int rows_ahead(const tern_mm *k)
{
    size_t n = (k->list ? 5120 : 8192) / (k->w_stride + 1) + 1;
    return n < TERN_LIST_PAD / 4 ? (int)n : TERN_LIST_PAD / 4;
}

/* The rows that nobody has prefetched when a product begins. */
static void first_rows(const tern_mm *k, const int32_t *row, int n)
{
    for (int i = 0; i < n; i++)
        for (size_t b = 0; b < k->w_stride; b += 64)
            _mm_prefetch((const char *)row_at(k, row[i]) + b, _MM_HINT_T0);
}

/* All rows and tokens, at most max tokens at a time, as equal as they can be. Blocks of rows stay in
 * the second cache while the tokens pass. fn[n] takes n tokens. */
static void run_rows(const tern_mm *k, int row0, int row1, const row_span_fn *fn, int max)
{
    enum { BLOCK = 128 };
    int32_t rows[BLOCK + TERN_LIST_PAD];
    int n = k->list ? k->n_list : row1 - row0, near = rows_ahead(k);
    row_span s = {.near = near, .far = 2 * near};
    for (int begin = 0; begin < n; begin += BLOCK) {
        for (int i = 0; !k->list && i < BLOCK + TERN_LIST_PAD; i++)
            rows[i] = row0 + (begin + i < n ? begin + i : n - 1);
        s.row = k->list ? k->list + begin : rows;
        s.n = n - begin < BLOCK ? n - begin : BLOCK;
        s.tok = 0;
        if (begin == 0)
            first_rows(k, s.row, n < s.far ? n : s.far);
        for (int left = (k->n_tok + max - 1) / max, nt; left > 0; left--, s.tok += nt) {
            nt = (k->n_tok - s.tok + left - 1) / left;
            fn[nt](k, &s);
        }
    }
}

/* Instances: nt tokens. */
#define STREAM(nt)                                                                                 \
    static void rows_##nt(const tern_mm *k, const row_span *s)                                     \
    {                                                                                              \
        for (int i = 0; i < s->n; i += 4)                                                          \
            stream_rows(nt, ((size_t)k->cols + 63) / 64, k, s, i);                                 \
    }
/* And of a known width, in units of 64 columns: without branches a row takes a tenth less time. */
#define STREAM_OF(nt, width)                                                                       \
    static void rows_##nt##_##width(const tern_mm *k, const row_span *s)                           \
    {                                                                                              \
        for (int i = 0; i < s->n; i += 4)                                                          \
            stream_rows(nt, width, k, s, i);                                                       \
    }
#define TILE(nt)                                                                                   \
    static void rows_##nt(const tern_mm *k, const row_span *s)                                     \
    {                                                                                              \
        for (int i = 0; i < s->n; i += 4)                                                          \
            tile_rows(nt, k, s, i);                                                                \
    }

STREAM(1)
STREAM(2)
STREAM_OF(1, 32)
STREAM_OF(1, 40)
STREAM_OF(1, 64)

static row_span_fn stream_of(const tern_mm *k)
{
    switch (k->list ? (k->cols + 63) / 64 : 0) {
    case 32:
        return rows_1_32;
    case 40:
        return rows_1_40;
    case 64:
        return rows_1_64;
    default:
        return rows_1;
    }
}

#endif
