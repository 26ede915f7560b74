/* The loops of the column-major ternary product (T2C1, kernel.h) for few tokens, shared by the x86
 * instruction sets; dot_*.h is included first (see tile.h).
 *
 * Columns come in fours, interleaved bytewise: a 32-bit element is then one row's four codes, which
 * meet the four activations of the columns. The four codes of a byte are planes 64 rows apart; where
 * sums have 32 bits planes are masked where they stand, worth 4^p times as much, and exact shifts undo
 * the factors in the end: |sum| <= 192 * 128 * cols < 2^31 for cols <= 2^16.
 *
 * The columns of a slice are taken in blocks. A block stays in the first cache while it is passed over
 * once per token and for as many rows at a time as there are registers for; meanwhile the lines of
 * the next block, wherever they are, are prefetched: in the first half of the passes one of the two of
 * a column, the other of which the second cache fetches along, then both. Sums wait in scratch between
 * the passes. */
#ifndef TERN_KERNELS_T2C1_TILE_H
#define TERN_KERNELS_T2C1_TILE_H

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
    int32_t *acc;        /* [nt][TERN_T2C1_ROWS] */
    const uint8_t *next; /* n columns to prefetch, */
    const int32_t *next_list;
    /* and in either half of the passes those that come half a block later: column i + far_at for i */
    const uint8_t *far[2];
    const int32_t *far_list[2];
    int far_at[2];
} col_block;

enum { PART = 4 * VL, PARTS = TERN_T2C1_BYTES / PART };

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

#ifdef SPAN
#define IN_PLACE(v, p)  v_and((p) ? v_shr(v, 2 * (p)) : (v), mask[0])
#define UNSCALE(acc, p) (acc)
#else
#define IN_PLACE(v, p)  v_and(v, mask[p])
#define UNSCALE(acc, p) (vi)((vdot)(acc) >> (2 * (p))) /* of signed elements: arithmetic */
#endif

/* Interleaved vectors i0 .. i0+nv of part h of each column, for tokens t0 .. t0+nt. A pass prefetches
 * share columns a step of the next block, from column `ahead` on. */
INLINE void pass_t2c1(const int nt, const int nv, const int i0, const int h, const int t0,
                      const int share, int ahead, const bool listed, const col_block *b)
{
    const int upper = h >= PARTS / 2;
    const int32_t *list = listed ? b->list : NULL, *next_list = listed ? b->next_list : NULL;
    const int32_t *far_list = listed ? b->far_list[upper] : NULL;
    const uint8_t *w = b->w + PART * h, *next = b->next, *far = b->far[upper];
    const int far_at = b->far_at[upper];
    const int8_t *x = b->x + (size_t)t0 * b->x_stride;
    const size_t stride = b->x_stride;
    enum { ROWS = TERN_T2C1_ROWS };
    int32_t *acc = b->acc + ROWS * t0 + PART * h / 64 * 256 + VL * (h % (64 / PART)) + 16 * i0;
    const vi mask[4] = {v_set1(0x03030303), v_set1(0x0c0c0c0c), v_set1(0x30303030),
                        v_set1((int32_t)0xc0c0c0c0u)};
    vdot dot[4][4][4];
#define CELL(t, i)                                                                                 \
    dot[t][i][0] = v_open(v_load(acc + ROWS * t + 16 * i));                                        \
    dot[t][i][1] = v_open(v_load(acc + ROWS * t + 16 * i + 64));                                   \
    dot[t][i][2] = v_open(v_load(acc + ROWS * t + 16 * i + 128));                                  \
    dot[t][i][3] = v_open(v_load(acc + ROWS * t + 16 * i + 192));
    EACH_CELL
#undef CELL
    for (int g = 0; g < b->n; g += 4, ahead += share) {
        vi v0 = v_load(col_at(w, list, g)), v1 = v_load(col_at(w, list, g + 1));
        vi v2 = v_load(col_at(w, list, g + 2)), v3 = v_load(col_at(w, list, g + 3));
        vi c[4][4], xt;
        for (int i = 0; i < share; i++) {
            const char *p = (const char *)col_at(next, next_list, ahead + i);
            _mm_prefetch((const char *)col_at(far, far_list, ahead + i + far_at), _MM_HINT_T0);
            _mm_prefetch(p, _MM_HINT_T0);
            _mm_prefetch(p + 64, _MM_HINT_T0);
        }
#define CODES(t, i)                                                                                \
    c[i][0] = interleave(i0 + i, v0, v1, v2, v3);                                                  \
    c[i][1] = IN_PLACE(c[i][0], 1);                                                                \
    c[i][2] = IN_PLACE(c[i][0], 2);                                                                \
    c[i][3] = IN_PLACE(c[i][0], 3);                                                                \
    c[i][0] = IN_PLACE(c[i][0], 0);
        EACH_VEC(CODES, 0)
#undef CODES
#define DOTS(t, i)                                                                                 \
    dot[t][i][0] = v_dot(dot[t][i][0], c[i][0], xt);                                               \
    dot[t][i][1] = v_dot(dot[t][i][1], c[i][1], xt);                                               \
    dot[t][i][2] = v_dot(dot[t][i][2], c[i][2], xt);                                               \
    dot[t][i][3] = v_dot(dot[t][i][3], c[i][3], xt);
#define TOKEN(t)                                                                                   \
    xt = v_set1(load_i32(x + t * stride + g));                                                     \
    EACH_VEC(DOTS, t)
        EACH_TOKEN(TOKEN)
#undef TOKEN
#undef DOTS
    }
#define CLOSE(t, i, p)                                                                             \
    v_store(acc + ROWS * t + 16 * i + 64 * p,                                                      \
            v_close(dot[t][i][p], v_load(acc + ROWS * t + 16 * i + 64 * p)));
#define CELL(t, i) CLOSE(t, i, 0) CLOSE(t, i, 1) CLOSE(t, i, 2) CLOSE(t, i, 3)
    EACH_CELL
#undef CELL
#undef CLOSE
}

/* Outputs of rows [row, row1), at most a slice, from their sums, which may be scaled by plane. */
static void finish_rows(const tern_mm *k, int t0, int nt, int row, int row1, const int32_t *acc,
                        size_t acc_stride, bool scaled)
{
    for (int t = t0; t < t0 + nt; t++, acc += acc_stride) {
        for (int i = 0; row + i < row1; i += VL) {
            int n = row1 - row - i;
            vi sum = v_load(acc + i);
            if (scaled)
                sum = UNSCALE(sum, i / 64 % 4);
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
    first_block(k, k->w + (size_t)(row0 / TERN_T2C1_ROWS) * k->w_stride);
    if (k->list) {
        x = s.x;
        b.x_stride = tern_sparse_x_stride(k->cols);
        gather_acts(k, 0, k->n_tok, s.x, b.x_stride);
    }
    for (int row = row0, end; row < row1; row = end) {
        int slice = row / TERN_T2C1_ROWS, from = row % TERN_T2C1_ROWS;
        const uint8_t *w = k->w + (size_t)slice * k->w_stride;
        end = (slice + 1) * TERN_T2C1_ROWS < row1 ? (slice + 1) * TERN_T2C1_ROWS : row1;
        b.h0 = from / 4 / PART;
        b.h1 = (end - row + from + 255) / 256 * 64 / PART;
        for (int t = 0, left = (k->n_tok + 3) / 4, nt; left > 0; left--, t += nt) {
            nt = (k->n_tok - t + left - 1) / left;
            b.x = x + (size_t)t * b.x_stride;
            memset(s.acc, 0, (size_t)nt * TERN_T2C1_ROWS * sizeof *s.acc);
            run_slice(k, w, left > 1 || end == row1 ? w : w + k->w_stride, BLOCK_OF(nt), &b,
                      fn[nt - 1 + (k->list ? 4 : 0)]);
            finish_rows(k, t, nt, row, end, s.acc + from, TERN_T2C1_ROWS, true);
        }
    }
}

#endif
