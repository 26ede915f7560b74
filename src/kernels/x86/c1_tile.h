/* The loops of the column-major ternary products (T2C1 and T3C1, kernel.h) for few tokens, shared by the x86
 * instruction sets; dot_*.h is included first (see tile.h), then one of t2c1.h and t3c1.h, which define
 *   SLICE_ROWS PLANES    rows of a slice; codes of a byte, which are planes 64 rows apart
 *   SUMS EACH_SUM        sums kept of a byte, at least PLANES, and X(t, i, n) for every one
 *   COLS_CONST           what is set up once
 *   COLS_FORM(v)         what the factors of the sums are taken from, of packed bytes
 *   COLS_FACTOR(v, n)    the bytes that meet activations in sum n, taken in rising order
 *   COLS_NEXT(v)         what v becomes before the next one
 *   COLS_SUM(acc, p)     sums of codes of plane p, whose sums are at acc, those of the others 64 elements apart
 *
 * Columns come in fours, interleaved bytewise: a 32-bit element is then one row's four codes, which
 * meet the four activations of the columns.
 *
 * The columns of a slice are taken in blocks. A block stays in the first cache while it is passed over
 * once per token and for as many rows at a time as there are registers for; meanwhile the lines of
 * the next block, wherever they are, are prefetched: in the first half of the passes one of the two of
 * a column, the other of which the second cache fetches along, then both. Sums wait in scratch between
 * the passes. */
#ifndef TERN_KERNELS_C1_TILE_H
#define TERN_KERNELS_C1_TILE_H

#include "kernels/kernel.h"
#include "kernels/x86/interleave.h"
#include "kernels/x86/sparse_scratch.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* Loops that are surely unrolled, so that arrays are registers: tokens, and interleaved vectors. */
/* clang-format off */
#define EACH_TOKEN(X)  {X(0)} if (nt > 1) {X(1)} if (nt > 2) {X(2)} if (nt > 3) {X(3)}
#define EACH_VEC(X, t) {X(t, 0)} if (nv > 1) {X(t, 1)} if (nv > 2) {X(t, 2)} if (nv > 3) {X(t, 3)}
/* clang-format on */
#define VECS_OF(t) EACH_VEC(CELL, t) /* CELL(t, i) is what the user of EACH_CELL defines */
#define EACH_CELL  EACH_TOKEN(VECS_OF)

/* Columns of a block: of one token, which is waiting for memory, such that what it prefetches is not too
 * far ahead (AMD Zen 5); of more as many as 16-bit sums hold. */
#define BLOCK_OF(nt) ((nt) == 1 ? 48 : 128)
#ifdef SPAN
_Static_assert(4 * SPAN >= BLOCK_OF(2), "a block is summed at once");
#endif
_Static_assert(BLOCK_OF(2) <= TERN_LIST_PAD, "lists can be read a block ahead");

/* n columns of a slice: those listed, or all from w on. */
typedef struct col_block {
    const uint8_t *w;
    const int32_t *list; /* NULL: consecutive */
    int n;
    const int8_t *x; /* activations of the columns, padded with zeros to a multiple of four */
    size_t x_stride;
    int h0, h1;          /* parts of the columns: PART bytes each */
    int32_t *acc;        /* [nt][TOKEN_SUMS] */
    const uint8_t *next; /* n columns to prefetch, */
    const int32_t *next_list;
    /* and in either half of the passes those that come half a block later: column i + far_at for i */
    const uint8_t *far[2];
    const int32_t *far_list[2];
    int far_at[2];
} col_block;

enum { PART = 4 * VL, PARTS = TERN_T2C1_BYTES / PART };
/* Of half a slice, which is a line of each column; of a token and a slice. */
enum { HALF_ROWS = SLICE_ROWS / 2, HALF_SUMS = 64 * SUMS, TOKEN_SUMS = 2 * HALF_SUMS };
_Static_assert(HALF_ROWS == 64 * PLANES, "a byte has a row of each plane");
_Static_assert(HALF_ROWS <= TERN_SPARSE_ROWS && HALF_SUMS <= TERN_SPARSE_SUMS, "scratch is enough");

typedef void (*col_block_fn)(const col_block *b);

INLINE int32_t load_i32(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE const uint8_t *col_at(const uint8_t *w, const int32_t *list, int i)
{
    return w + TERN_T2C1_BYTES * (size_t)(list ? list[i] : i);
}

/* Interleaved vector i (0..3) of four columns. */
INLINE vi interleave(int i, vi a, vi b, vi c, vi d)
{
    vi ab = i < 2 ? v_lo8(a, b) : v_hi8(a, b), cd = i < 2 ? v_lo8(c, d) : v_hi8(c, d);
    return i % 2 ? v_hi16(ab, cd) : v_lo16(ab, cd);
}

/* Interleaved vectors i0 .. i0+nv of part h of each column, for tokens t0 .. t0+nt. A pass prefetches
 * share columns a step of the next block, from column `ahead` on. */
INLINE void pass_cols(const int nt, const int nv, const int i0, const int h, const int t0,
                      const int share, int ahead, const bool listed, const col_block *b)
{
    const int upper = h >= PARTS / 2;
    const int32_t *list = listed ? b->list : NULL, *next_list = listed ? b->next_list : NULL;
    const int32_t *far_list = listed ? b->far_list[upper] : NULL;
    const uint8_t *w = b->w + PART * h, *next = b->next, *far = b->far[upper];
    const int far_at = b->far_at[upper];
    const int8_t *x = b->x + (size_t)t0 * b->x_stride;
    const size_t stride = b->x_stride;
    int32_t *acc =
        b->acc + TOKEN_SUMS * t0 + PART * h / 64 * HALF_SUMS + VL * (h % (64 / PART)) + 16 * i0;
    COLS_CONST
    vdot dot[4][4][SUMS];
#define SUM_AT(t, i, n) (acc + TOKEN_SUMS * (t) + 16 * (i) + 64 * (n))
#define OPEN(t, i, n)   dot[t][i][n] = v_open(v_load(SUM_AT(t, i, n)));
#define CLOSE(t, i, n)  v_store(SUM_AT(t, i, n), v_close(dot[t][i][n], v_load(SUM_AT(t, i, n))));
#define CELL(t, i)      EACH_SUM(OPEN, t, i)
    EACH_CELL
#undef CELL
    int g = 0; /* there are columns: compilers make a copy of every sum in case there are not */
    do {
        vi v0 = v_load(col_at(w, list, g)), v1 = v_load(col_at(w, list, g + 1));
        vi v2 = v_load(col_at(w, list, g + 2)), v3 = v_load(col_at(w, list, g + 3));
        vi v[4], c[4], xt[4];
        for (int i = 0; i < share; i++) {
            const char *p = (const char *)col_at(next, next_list, ahead + i);
            _mm_prefetch((const char *)col_at(far, far_list, ahead + i + far_at), _MM_HINT_T0);
            _mm_prefetch(p, _MM_HINT_T0);
            _mm_prefetch(p + 64, _MM_HINT_T0);
        }
#define FORM(t, i)   v[i] = COLS_FORM(interleave(i0 + i, v0, v1, v2, v3));
#define FACTOR(t, i) c[i] = COLS_FACTOR(v[i], factor);
#define NEXT(t, i)   v[i] = COLS_NEXT(v[i]);
#define ACTS(t)      xt[t] = v_set1(load_i32(x + t * stride + g));
#define DOT(t, i)    dot[t][i][factor] = v_dot(dot[t][i][factor], c[i], xt[t]);
#define DOTS(t)      EACH_VEC(DOT, t)
#define SUM(t, i, n)                                                                               \
    {                                                                                              \
        enum { factor = n };                                                                       \
        EACH_VEC(FACTOR, 0)                                                                        \
        EACH_TOKEN(DOTS)                                                                           \
        if (n < SUMS - 1) {                                                                        \
            EACH_VEC(NEXT, 0)                                                                      \
        }                                                                                          \
    }
        EACH_VEC(FORM, 0)
        EACH_TOKEN(ACTS)
        EACH_SUM(SUM, 0, 0)
#undef FORM
#undef FACTOR
#undef NEXT
#undef ACTS
#undef DOT
#undef DOTS
#undef SUM
        ahead += share;
        g += 4;
    } while (g < b->n);
#define CELL(t, i) EACH_SUM(CLOSE, t, i)
    EACH_CELL
#undef CELL
#undef CLOSE
#undef OPEN
#undef SUM_AT
}

/* Outputs of rows [row, row1), at most a slice, from their sums: as passes leave them, of half a slice after the
 * other, or (half a slice) those of codes. */
static void finish_rows(const tern_mm *k, int t0, int nt, int row, int row1, const int32_t *acc,
                        size_t acc_stride, bool passed)
{
    for (int t = t0; t < t0 + nt; t++, acc += acc_stride) {
        for (int i = 0; row + i < row1; i += VL) {
            int n = row1 - row - i;
            const int32_t *at = acc + i / HALF_ROWS * HALF_SUMS + i % HALF_ROWS;
            vi sum = passed ? COLS_SUM(at, i % HALF_ROWS / 64) : v_load(at);
            if (k->acc) {
                int32_t *to = k->acc + (size_t)t * k->acc_stride + row + i;
                sum = v_add(sum, v_load_n(to, n));
                v_store_n(to, sum, n);
            }
            if (!k->y)
                continue;
            vf y = f_div(f_cvt(v_sub(sum, v_set1(k->act.sum[t]))), f_set1(k->act.scale[t]));
            y = f_mul(y, f_load(k->scale + row + i));
            f_store(k->y + (size_t)t * k->y_stride + row + i, y, n);
        }
    }
}

/* Activations of the listed columns, one after the other, with zeros to a multiple of 64. */
static void gather_acts(const tern_mm *k, int t0, int nt, int8_t *to, size_t to_stride)
{
    for (int t = t0; t < t0 + nt; t++, to += to_stride) {
        const int8_t *q = k->act.q + (size_t)t * k->act.stride;
        int i = 0;
        for (; i < k->n_list; i++)
            to[i] = q[k->list[i]];
        for (; i % 64 != 0; i++)
            to[i] = 0;
    }
}

/* Where columns from i on are, and of listed ones the rest of the list; where there is no column i, of
 * the next slice from its first on. */
static const uint8_t *cols_from(const tern_mm *k, const uint8_t *w, const uint8_t *w_next, int n,
                                int i, const int32_t **list)
{
    if (i >= n) {
        w = w_next;
        i = 0;
    }
    *list = k->list ? k->list + i : NULL;
    return k->list ? w : w + TERN_T2C1_BYTES * (size_t)i;
}

/* All columns of one slice, block after block; while the last are in work, the first columns of the
 * next slice are prefetched. */
static void run_slice(const tern_mm *k, const uint8_t *w, const uint8_t *w_next, int most,
                      col_block *b, col_block_fn fn)
{
    const int8_t *x = b->x;
    int n = k->list ? k->n_list : k->cols, n_block = (n + most - 1) / most;
    int size = n_block > 0 ? ((n + n_block - 1) / n_block + 7) / 8 * 8 : 0;
    for (int i = 0; i < n; i += size) {
        b->n = n - i <= size ? n - i : size;
        b->x = x + i;
        b->w = cols_from(k, w, w_next, n, i, &b->list);
        b->next = cols_from(k, w, w_next, n, i + size, &b->next_list);
        b->far[0] = b->next;
        b->far_list[0] = b->next_list;
        b->far[1] = cols_from(k, w, w_next, n, i + 2 * size, &b->far_list[1]);
        b->far_at[0] = size / 2;
        b->far_at[1] = -(b->n / 2); /* the last block may be smaller: not before the list */
        fn(b);
    }
    b->x = x;
}

/* The columns that nobody has prefetched when a product begins: while activations are gathered. */
static void first_block(const tern_mm *k, const uint8_t *w)
{
    int n = k->list ? k->n_list : k->cols;
    for (int i = 0; i < n && i < BLOCK_OF(k->n_tok); i++)
        for (int line = 0; line < TERN_T2C1_BYTES; line += 64)
            _mm_prefetch((const char *)col_at(w, k->list, i) + line, _MM_HINT_T0);
}

/* Tokens by fours, at most TERN_SPARSE_FEW, with a slice in the second cache meanwhile. fn[n - 1] takes
 * blocks of n tokens, of listed columns fn[n + 3]. */
static void run_few(const tern_mm *k, int row0, int row1, const col_block_fn *fn)
{
    sparse_scratch s = sparse_scratch_of(k);
    col_block b = {.acc = s.acc};
    const int8_t *x = k->act.q;
    b.x_stride = k->act.stride;
    first_block(k, k->w + (size_t)(row0 / SLICE_ROWS) * k->w_stride);
    if (k->list) {
        x = s.x;
        b.x_stride = tern_sparse_x_stride(k->cols);
        gather_acts(k, 0, k->n_tok, s.x, b.x_stride);
    }
    for (int row = row0, end; row < row1; row = end) {
        int slice = row / SLICE_ROWS, from = row % SLICE_ROWS;
        const uint8_t *w = k->w + (size_t)slice * k->w_stride;
        end = (slice + 1) * SLICE_ROWS < row1 ? (slice + 1) * SLICE_ROWS : row1;
        b.h0 = from / HALF_ROWS * (64 / PART);
        b.h1 = (end - row + from + HALF_ROWS - 1) / HALF_ROWS * (64 / PART);
        for (int t = 0, left = (k->n_tok + 3) / 4, nt; left > 0; left--, t += nt) {
            nt = (k->n_tok - t + left - 1) / left;
            b.x = x + (size_t)t * b.x_stride;
            memset(s.acc, 0, (size_t)nt * TOKEN_SUMS * sizeof *s.acc);
            run_slice(k, w, left > 1 || end == row1 ? w : w + k->w_stride, BLOCK_OF(nt), &b,
                      fn[nt - 1 + (k->list ? 4 : 0)]);
            finish_rows(k, t, nt, row, end, s.acc + from / HALF_ROWS * HALF_SUMS, TOKEN_SUMS, true);
        }
    }
}

#endif
