/* The contracts of every kernel. A kernel knows nothing of threads, arenas or models: it works on
 * rows [row0, row1) of prepared buffers, is never given an impossible shape, and returns nothing.
 *
 * The scalar functions in ref/ are the specification. Every variant equals them BIT FOR BIT (a NaN
 * for a NaN, whatever its payload), float kernels too: additions have one fixed shape (LANES below),
 * multiplication and addition are rounded separately (no fused multiply-add), and exp is our own
 * polynomial. So every CPU, thread count and batch gives the same logits.
 *
 * LANES: a float sum over k = 0..n-1 keeps 16 accumulators; term k goes to lane k % 16 in rising k;
 * at the end lanes fold as a[l] += a[l+8] (l < 8), then +4, +2, +1. Absent terms leave a lane alone.
 *
 * Buffers: quantised and float activations are 64-byte aligned and padded with zeros to a multiple of
 * 64 elements; packed weights are 64-byte aligned and readable up to 64 bytes past their end (their
 * contents there do not matter); weights in file order (W_ROWS) have any alignment and nothing past
 * the last row may be read. Outputs are written exactly in [row0, row1). */
#ifndef TERN_KERNELS_KERNEL_H
#define TERN_KERNELS_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "tensor/tensor.h"

#define TERN_LANES 16

/* ---- activations ------------------------------------------------------------------------- */

/* A8T: int8 per token, W1.58A8 (ternary-format numerics, absmax per token):
 *   m = max(max|x|, 1e-5); s = 127 / m; q = int8(x * s); sum = sum of q.
 * A8B: int8 per block of 32: m = max|x|; d = m / 127; i = 127 / m, or 0 when that is not finite
 *   (m = 0 or below 3.8e-37); q = int8(x * i); bsum16[g] = sum of q over the 16 elements of
 *   half-block g.
 * int8(v): rint to even, clamped to -127..127, which no finite value needs; NaN gives -127 and never
 * counts as the maximum. Products of two int8 thus fit 15 bits with their sign. */
typedef struct tern_act8 {
    int8_t *q;     /* [n_tok][stride], zero-padded */
    size_t stride; /* multiple of 64, >= cols */
    float *scale;  /* A8T: [n_tok] s.  A8B: [n_tok][stride/32] d */
    int32_t *sum;  /* A8T: [n_tok].    A8B: [n_tok][stride/16] bsum16 */
} tern_act8;

/* x [n_tok][x_stride] -> act; cols > 0; writes q up to stride. tok0..tok1 half open. */
typedef struct tern_quant {
    const float *x;
    size_t x_stride;
    int cols;
    tern_act8 act;
} tern_quant;
typedef void (*tern_quant_fn)(const tern_quant *k, int tok0, int tok1);

/* ---- matrices ---------------------------------------------------------------------------- */

/* Weight layouts kernels read.
 *
 * T2*: cols <= 2^18, for sums of scaled codes must fit 32 bits.
 * T2R16: ternary, 16 rows interleaved. Rows padded to 16 and cols to 64 with code 1. Stripe i holds
 *   rows 16i..16i+15 as cols_pad/16 vectors of 64 bytes; in vector b, byte 4r+j (r = row in stripe,
 *   j = 0..3) holds in bits 2p..2p+1 (p = 0..3) the code of column 16b + 4p + j. code = trit + 1.
 *   scale[row]: f32. With A8T:
 *     acc = sum_k code * q - sum; y = ((float)acc / s) * scale[row].
 * T2G: the same codes (0..3, value code - 1) with a scale per group of columns (32, 64, 128 or 256):
 *   gscale[(stripe * n_group + g) * 16 + r], n_group = ceil(cols / group). With A8B, per 32-column
 *   block b < ceil(cols / 32) of one row:
 *     a_b = sum code * q - (bsum16[2b] + bsum16[2b+1]);
 *     s_g = sum over the group's blocks of (float)a_b * d_b;   y = sum over g of s_g * gscale[g];
 *   both sums start at +0 and go in rising order: rows stand side by side, so no lanes are needed.
 * T3R16: ternary, 16 rows interleaved, five trits a byte (1.6 bits). Stripe i is ceil(cols/20) vectors of
 *   64 bytes; in vector b, byte 4r+j holds trit codes t0..t4 of columns 20b + 4n + j (n = 0..4) as
 *   ceil(256 * (81 t0 + 27 t1 + 9 t2 + 3 t3 + t4) / 243), but 1 for 0: a fraction, first trit most
 *   significant, so that with p_0 the byte and p_{n+1} = 3 p_n mod 256, t_n = (3 p_n - p_{n+1}) / 256, and
 *   no p_n is 0. Codes past cols are 1. Quads of columns at or past act.stride are not read (the last vector
 *   may reach beyond it). cols <= 2^16, so that 256 times a sum of -1, 0, 1 times activations of at most 127
 *   fits 32 bits, through which sums may wrap. y as T2R16, with scale[row].
 * T2R1: ternary, row-major, for matrices of which some rows are skipped. Row r at w + r * w_stride is
 *   ceil(cols/256) vectors of 64 bytes; in vector v, byte b holds in bits 2p..2p+1 the code of column 256v + 64p + b.
 *   Codes past cols are 1; columns at or past act.stride are not read. y as T2R16. With a list only
 *   the listed rows are computed, the others of y stay as they are.
 * T3R1: T2R1 with five trits a byte, those of T3R16. Row r is ceil(cols/320) vectors of 64 bytes; in vector v, byte b
 *   holds trits n = 0..4 of columns 320v + 64n + b. cols <= 2^15, so that 256 times a sum of codes fits 32 bits.
 * T2C1: ternary, column-major in slices of TERN_T2C1_ROWS rows, for matrices of which some columns are skipped,
 *   those whose input is 0. Slice s at w + s * w_stride holds for each column (cols padded to 4) TERN_T2C1_BYTES,
 *   two lines that memory brings together; byte 64h + 16l + 4i + j (h = 0..1; l, i, j = 0..3) of column c holds in
 *   bits 2p..2p+1 the code of row 512s + 256h + 64p + 16i + 4l + j: so that four columns interleaved bytewise give
 *   vectors of 16 consecutive rows. Rows and columns of padding are code 1; scale is padded to whole slices.
 *   cols <= 2^16. y as T2R16; with a list the sum runs over the listed columns (the caller lists every column
 *   where some token's q is not 0). row0 is a multiple of TERN_T2C1_GRAIN.
 *   With acc, the bare sums of code * q are added to it, and y is of what it then holds, or NULL: lanes may each
 *   sum parts of the list.
 * T3C1: T2C1 in base 3, slices of TERN_T3C1_ROWS rows: byte 64h + 16l + 4i + j of column c holds as T3R16 does the
 *   trit codes t0..t4 of rows 640s + 320h + 64n + 16i + 4l + j (n = 0..4). cols <= 2^15, so that 256 times a sum
 *   of codes times activations, which may be -128, fits 32 bits. row0 is a multiple of TERN_T3C1_GRAIN.
 * W_ROWS: rows in the file's own format (BLOCK and FLOAT classes), row r at w + r * w_stride.
 *   BLOCK with A8B: the row is expanded to int8 v[k] (-128..127), scale16[k/16] (f32) and, where the
 *   format has minima, min16[k/16] (f32, added), so that value = scale16 * v + min16. For lane l = 0..15
 *   of each pair of 32-blocks (block b, element quad e = 0..7 of the block, l = 8 * (b & 1) + e):
 *     i = sum of 4 products v*q of the quad (q within -127..127, as A8B gives but for NaN);  acc[l] += (float)i * (scale16[2b + e/4] * d_b)
 *   then, when the format has minima, one more LANES pass over half-blocks g:
 *     mac[g % 16] += min16[g] * (d_{g/2} * (float)bsum16[g])
 *   y = fold(acc) + fold(mac)   (without minima: fold(acc)).
 *   FLOAT with f32 activations: y = LANES sum of w[k] * x[k]. */
/* Of a column-major product: the columns each token needs by itself, those whose activation is not 0. A part is
 * TERN_T2C1_PART columns of the matrix, which with sums of half a slice stay in a second-level cache while all tokens
 * meet them. */
typedef struct tern_own_cols {
    const int32_t *n; /* [n_tok][n_part]: how many */
    const int32_t
        *list;       /* [n_tok][stride]: those of part p from p * TERN_T2C1_PART on, rising; up to
                            three more make the number a multiple of four, any columns of the matrix */
    const int8_t *q; /* their activations; 0 of the three */
    size_t stride;
    int n_part;
} tern_own_cols;

typedef struct tern_mm {
    const uint8_t *w;
    size_t w_stride;  /* T2*: bytes per stripe; ROWS: bytes per row */
    tern_dtype dtype; /* ROWS: the file format */
    int rows, cols;   /* true sizes */
    int group;        /* T2G: columns per scale */
    const float *
        scale; /* T2R16, T3R16: [rows padded to 16]; T2R1, T3R1; T2C1, T3C1: [rows padded to slices] */
    const float *gscale; /* T2G */
    tern_act8 act;       /* int8 activations, for all but FLOAT */
    const float *x;      /* FLOAT: [n_tok][x_stride], zero-padded to 64 */
    size_t x_stride;
    int n_tok;
    float *y; /* [n_tok][y_stride], element [t][row] */
    size_t y_stride;
    /* T2R1, T3R1: rows to compute, each in [row0, row1); T2C1, T3C1: columns to sum; rising. NULL: all. Readable for
     * TERN_LIST_PAD entries past n_list, which are valid indices but otherwise do not matter. */
    const int32_t *list;
    int n_list;
    const tern_own_cols *own; /* T2C1, T3C1, in place of a list; without acc */
    int32_t *acc;             /* T2C1, T3C1: [n_tok][acc_stride], element [t][row]; or NULL */
    size_t acc_stride;
    void
        *scratch; /* private to the lane that calls; tern_mm_scratch_bytes of it, 64-byte aligned */
} tern_mm;
#define TERN_LIST_PAD   128
#define TERN_T2C1_ROWS  512
#define TERN_T2C1_BYTES (TERN_T2C1_ROWS / 4)
#define TERN_T2C1_GRAIN 256
#define TERN_T3C1_ROWS  640
#define TERN_T3C1_GRAIN 320
#define TERN_T2C1_PART  1024

/* y[t][r] for every t and r in [row0, row1); row0 is a multiple of 16. Results do not depend on
 * n_tok: a row of one token equals the same row inside a batch. */
typedef void (*tern_mm_fn)(const tern_mm *k, int row0, int row1);

/* Scratch one lane needs for matrices of up to cols columns and n_tok tokens. */
size_t tern_mm_scratch_bytes(int cols, int n_tok);

/* Expansion of one BLOCK-class row, see W_ROWS: v [cols padded to 32], scale16 and min16
 * [cols/16]. Returns nothing; tern_expand_has_min tells whether min16 is meaningful. */
typedef void (*tern_expand_fn)(const uint8_t *row, int cols, int8_t *v, float *scale16,
                               float *min16);
bool tern_expand_has_min(tern_dtype dt);

/* ---- lists ------------------------------------------------------------------------------- */

/* Indices i in [i0, i1), rising, at which some token has not (x <= 0), respectively q != 0; NaN counts as
 * active. Element [t][i] is at t * stride + i; i0 is a multiple of 16. Writes the indices to out, which has room
 * for i1 - i0 + 16, and returns how many there are. */
typedef int (*tern_list_f32_fn)(const float *x, size_t stride, int n_tok, int i0, int i1,
                                int32_t *out);
typedef int (*tern_list_i8_fn)(const int8_t *q, size_t stride, int n_tok, int i0, int i1,
                               int32_t *out);

/* ---- screening planes -------------------------------------------------------------------- */

/* ACT12: one f32 vector in about 12 bits, as int8 values: each column has a high one of its own, and the two
 * whose codes share a byte of N4R16 share a low one, which has the places of their codes:
 *   x[c] ~ scale * (256 * hi[c] + 16^h * lo[c/8*4 + c%4]),     h = c / 4 % 2
 * so that one product of whole bytes serves both. Modulo 256 the multiples of 1 and 16 are 256 points a grid of
 * 16 x 16 apart: columns come as close to any value as with 12 bits of their own (model/screen.c). hi is within
 * -127..127, lo any int8, but 0 where one of its columns is past the last. */
typedef struct tern_act12 {
    int8_t *hi, *lo; /* [n_tok][stride], zero-padded; of lo the first half */
    size_t stride;   /* multiple of 256, >= cols */
    float *scale;    /* [n_tok] */
    int32_t *sum;    /* [n_tok][2]: of hi; of lo, 17 times, which is what it adds to all columns */
} tern_act12;

/* Coarse copies of a large matrix, from which bounds of its products are had (model/head.h).
 *
 * N4R16: 4-bit codes, 16 rows interleaved as in T2R16. Rows are padded to 16 and columns to 8 with any
 *   code. Stripe i is cols_pad/8 vectors of 64 bytes; in vector b, byte 4r+j (r = row in stripe,
 *   j = 0..3) holds the code of column 8b + j in its low half and of column 8b + 4 + j in its high one.
 *     H = sum_k (2 * code - 15) * hi[k];  L the same with 16^h * lo
 *     y = (((float)H * 256 + (float)L) * act.scale) * scale[row]
 * N1R1: 1-bit codes, row by row, columns padded to 64 with any code; bit c % 8 of byte c / 8 is that of column c.
 *     y = ((float)(sum_c (2 * code - 1) * x[c]) * x_scale) * scale[row]
 * Exact: a byte of codes is at most 255, and |255 * 128 * cols / 2| < 2^31 for cols <= 2^17, the most that either
 * plane may have. */
#define TERN_SCREEN_MAX_COLS (1 << 17)
#define TERN_SCREEN_MAX_FINE 2

typedef struct tern_screen4 {
    const uint8_t *w; /* N4R16 */
    size_t w_stride;  /* bytes per stripe */
    int rows, cols;
    const float *scale; /* [rows padded to 16] */
    tern_act12 act;
    int n_tok;
    float *y; /* [n_tok][y_stride], element [t][row] */
    size_t y_stride;
} tern_screen4;
/* y[t][r] for every t and r in [row0, row1); row0 is a multiple of 16. */
typedef void (*tern_screen4_fn)(const tern_screen4 *k, int row0, int row1);

typedef struct tern_screen1 {
    const uint8_t *w; /* N1R1 */
    size_t w_stride;  /* bytes per row */
    int cols;
    const float *scale; /* [rows] */
    const int8_t
        *x; /* column c at c % 8 * tern_n1_input_stride(cols) + c / 8, the others 0; none is -128 */
    float x_scale;
    int32_t x_sum;      /* of x */
    const int32_t *row; /* which rows, any order */
    float *y;           /* y[i] is of row[i] */
} tern_screen1;
/* y[i] for i in [i0, i1). */
typedef void (*tern_screen1_fn)(const tern_screen1 *k, int i0, int i1);

/* One row's codes in all planes (model/head.h says what they are). Radii are no less than they should be but for what
 * rounding of v and of step * code takes; NaN and infinities give codes, and sizes that are none. Finer planes have
 * some code in columns of extra, which are not in their radii. */
typedef struct tern_screen_row {
    float *v;            /* [n padded to 8 with 0]: the row; lost */
    const float *mean;   /* [n padded to 8 with 0] */
    const int32_t *keep; /* [n padded to 8]: -1, but 0 in columns of extra and of padding */
    int n, n_extra, n_fine;
    const int32_t *extra; /* [n_extra <= TERN_SCREEN_MAX_EXTRA]: columns that are stored again */
    uint8_t *codes;       /* [n + 2 n_extra]: of N4R16, 0..15 */
    uint8_t *fine[TERN_SCREEN_MAX_FINE]; /* rows of N1R1 */
    float norm;                          /* no less than |row| */
    float step, size;                    /* of the coarse codes; |their row| */
    float radius
        [1 + TERN_SCREEN_MAX_FINE]; /* |D remainder| after the coarse plane, after each finer one */
} tern_screen_row;
#define TERN_SCREEN_MAX_EXTRA 128
typedef void (*tern_screen_row_fn)(tern_screen_row *k);

/* ---- vectors ----------------------------------------------------------------------------- */

/* y = (x * (1 / sqrt(ss / n + eps))) * w, ss = LANES sum of x*x; the division, square root and
 * reciprocal in f32. w NULL: no weight. x may be y. */
typedef void (*tern_rmsnorm_fn)(const float *x, const float *w, float eps, int n, float *y);

/* Rotate pairs of one head: (a, b) -> (a*c - b*s, a*s + b*c), c = cs[2i], s = cs[2i+1] for pair i of
 * n_rot/2. neox: pair i is (x[i], x[i + n_rot/2]); else (x[2i], x[2i+1]). x[n_rot..] is left alone. */
typedef void (*tern_rope_fn)(float *x, const float *cs, int n_rot, bool neox);

/* y[i] = act(g[i]) * u[i]; relu2: max(g,0)^2 * u; silu: g / (1 + exp(-g)) * u; gelu: tanh form
 * 0.5*g*(1+tanh(0.79788456*(g+0.044715*g^3))) * u, which is g / (1 + exp(z)) * u with
 * z = g * (g*g * -0.07135481 - 1.59576912). u NULL: y = act(g). y may be g or u. */
typedef void (*tern_glu_fn)(const float *g, const float *u, int n, float *y);

/* y[i] += x[i] */
typedef void (*tern_add_fn)(float *y, const float *x, int n);

/* y[i] = y[i] * a + x[i] * b: the product of each, then the sum. */
typedef void (*tern_scale_add_fn)(float *y, float a, const float *x, float b, int n);

/* ---- attention --------------------------------------------------------------------------- */

/* Over one tile of a page whose rows are f32 or f16, for one query head:
 * qk:  score[j] = (LANES sum over d of q[d] * K[j][d]) * scale   for j in [0, n_pos)
 * av:  acc[d] += p[j] * V[j][d], in rising j
 * stride in elements.
 * softmax: given running max m and sum l of earlier tiles, with tile max t: m' = max(m, t);
 *   c = exp(m - m'); p[j] = exp(score[j] - m'); l' = l * c + (LANES sum of p); returns c, by which
 *   the caller scales acc. exp(-inf) = 0. While m' is -inf all p are 0 and c is 1. A NaN score is
 *   no maximum; its p, and with it l', is NaN. */
typedef struct tern_attn_tile {
    const void *kv;    /* first row of the tile */
    size_t stride;     /* elements between positions */
    int n_pos, d_head; /* d_head % 8 == 0; rows have exactly d_head elements readable */
} tern_attn_tile;
typedef void (*tern_attn_qk_fn)(const tern_attn_tile *t, const float *q, float scale, float *score);
typedef void (*tern_attn_av_fn)(const tern_attn_tile *t, const float *p, float *acc);
typedef float (*tern_softmax_fn)(float *score, int n, float *m, float *l);

/* An int8 cache is read with integers alone: each K and V row is int8 with one scale (kv8_store),
 * queries and probabilities are int16 with one scale (i16_store), and the sums of their products are
 * exact, so no variant can differ:
 *   qk:  y[i][j] = ((float)(sum over d of x[i][d] * K[j][d]) * scale[j]) * x_scale[i]
 *   av:  y[i][d] = y[i][d] * c[i] + (float)(sum over j of x[i][j] * V[j][d]) * x_scale[i]
 * for n_q queries i. 512 products of 128 * 32767 still fit 32 bits.
 *
 * A page of K or V is a run of pairs, so that 16 sums stand side by side in a vector and one
 * instruction adds two products to each; n = TERN_KV8_POS:
 *   K[j][d] at  (d / 2) * 2n + 2j + d % 2
 *   V[j][d] at  n * d0 + (j / 2) * 2w + 2(d - d0) + j % 2   with d0 = d / 64 * 64 and
 *           w = min(64, d_head rounded up to 16 - d0): dimensions go 64 at a time.
 * Pages are 64-byte aligned; K takes n * d_head bytes, V n * (d_head rounded up to 16). What lies in
 * absent positions and padding does not matter. */
#define TERN_KV8_POS   64 /* positions of a page */
#define TERN_KV8_PAGES 4  /* most pages of one call */
typedef struct tern_kv8 {
    const int8_t *page[TERN_KV8_PAGES];
    int n_pos, d_head;  /* n_pos over all pages, each but the last full; d_head even, <= 512 */
    const float *scale; /* qk: [n_pos] of the K rows */
    int n_q;
    const int16_t *x; /* [n_q][x_stride]: qk d_head, av n_pos and, when odd, a zero; 4-aligned */
    size_t x_stride;  /* even */
    const float *x_scale; /* [n_q] */
    const float *c;       /* av: [n_q] */
    float *y;             /* [n_q][y_stride]: qk n_pos, av d_head */
    size_t y_stride;
    /* Pages the caller reads next, or NULL: a hint, read by no instruction that could fail. */
    const int8_t *ahead[TERN_KV8_PAGES];
} tern_kv8;
typedef void (*tern_kv8_fn)(const tern_kv8 *k);

/* Keys have some large dimensions, whose scale would coarsen the others: an int8 cache holds H k, queries are
 * H q, where H adds and subtracts until every element has its share of each of n dimensions, and
 * (H q)(H k) = b q k. b is the largest power of two that divides n; for h = 1, 2, .. b / 2 in turn
 * (x[i], x[i + h]) -> (x[i] + x[i + h], x[i] - x[i + h]) for all i < n with i % 2h < h. */
typedef void (*tern_hadamard_fn)(float *x, int n);
static inline int tern_hadamard_size(int n)
{
    return n & -n;
}

/* Put the row of position j (0 .. TERN_KV8_POS - 1) into a page of K or V. */
void tern_kv8_put_k(int8_t *page, int j, const int8_t *row, int d_head);
void tern_kv8_put_v(int8_t *page, int j, const int8_t *row, int d_head);

/* dst f32 <- f16 of any alignment: the very value. */
typedef void (*tern_f16_load_fn)(const void *x, int n, float *dst);

/* dst f16 <- f32 (round to nearest even), and int8 with one scale: m = max|x|, returns m / 127,
 * q = rint_even(x * (127 / m)). When 127 / m is not finite (m below 3.8e-37) all is 0; when m is inf or
 * NaN so is the scale, and q is 0. int16: the same with 32767 (m below 9.7e-35) and, unless mul is NULL,
 * of x[i] * mul[i]. */
typedef void (*tern_f16_store_fn)(const float *x, int n, uint16_t *dst);
typedef float (*tern_kv8_store_fn)(const float *x, int n, int8_t *dst);
typedef float (*tern_i16_store_fn)(const float *x, const float *mul, int n, int16_t *dst);

/* ---- the table --------------------------------------------------------------------------- */

/* Every operation: X(ID, name, function type). MM_* is a matrix product for any n_tok; MM_BLOCK
 * expands with the EXPAND kernel of its dtype on the same ISA. */
#define TERN_OPS(X)                                                                                \
    X(MM_T2R16, mm_t2r16, tern_mm_fn)                                                              \
    X(MM_T2G, mm_t2g, tern_mm_fn)                                                                  \
    X(MM_T3R16, mm_t3r16, tern_mm_fn)                                                              \
    X(MM_T2R1, mm_t2r1, tern_mm_fn)                                                                \
    X(MM_T3R1, mm_t3r1, tern_mm_fn)                                                                \
    X(MM_T2C1, mm_t2c1, tern_mm_fn)                                                                \
    X(MM_T3C1, mm_t3c1, tern_mm_fn)                                                                \
    X(MM_BLOCK, mm_block, tern_mm_fn)                                                              \
    X(MM_F32, mm_f32, tern_mm_fn)                                                                  \
    X(MM_F16, mm_f16, tern_mm_fn)                                                                  \
    X(MM_BF16, mm_bf16, tern_mm_fn)                                                                \
    X(QUANT_A8T, quant_a8t, tern_quant_fn)                                                         \
    X(QUANT_A8B, quant_a8b, tern_quant_fn)                                                         \
    X(LIST_F32, list_f32, tern_list_f32_fn)                                                        \
    X(LIST_I8, list_i8, tern_list_i8_fn)                                                           \
    X(SCREEN4, screen4, tern_screen4_fn)                                                           \
    X(SCREEN1, screen1, tern_screen1_fn)                                                           \
    X(SCREEN_ROW, screen_row, tern_screen_row_fn)                                                  \
    X(RMSNORM, rmsnorm, tern_rmsnorm_fn)                                                           \
    X(ROPE, rope, tern_rope_fn)                                                                    \
    X(RELU2_MUL, relu2_mul, tern_glu_fn)                                                           \
    X(SILU_MUL, silu_mul, tern_glu_fn)                                                             \
    X(GELU_MUL, gelu_mul, tern_glu_fn)                                                             \
    X(ADD, add, tern_add_fn)                                                                       \
    X(SCALE_ADD, scale_add, tern_scale_add_fn)                                                     \
    X(HADAMARD, hadamard, tern_hadamard_fn)                                                        \
    X(QK_F16, qk_f16, tern_attn_qk_fn)                                                             \
    X(QK_F32, qk_f32, tern_attn_qk_fn)                                                             \
    X(QK_I8, qk_i8, tern_kv8_fn)                                                                   \
    X(AV_F16, av_f16, tern_attn_av_fn)                                                             \
    X(AV_F32, av_f32, tern_attn_av_fn)                                                             \
    X(AV_I8, av_i8, tern_kv8_fn)                                                                   \
    X(SOFTMAX, softmax, tern_softmax_fn)                                                           \
    X(F16_LOAD, f16_load, tern_f16_load_fn)                                                        \
    X(F16_STORE, f16_store, tern_f16_store_fn)                                                     \
    X(KV8_STORE, kv8_store, tern_kv8_store_fn)                                                     \
    X(I16_STORE, i16_store, tern_i16_store_fn)

typedef enum tern_op {
#define TERN_X(id, name, type) TERN_OP_##id,
    TERN_OPS(TERN_X)
#undef TERN_X
        TERN_OP_COUNT
} tern_op;

typedef enum tern_isa {
    TERN_ISA_REF,
    TERN_ISA_AVX2,
    TERN_ISA_AVXVNNI,
    TERN_ISA_AVX512,
    TERN_ISA_VNNI,
    TERN_ISA_AMX,
    TERN_ISA_COUNT
} tern_isa;

/* kernels.def declares every kernel with its op's function type. */
#define TERN_X(id, name, type) typedef __typeof__(*(type)0) tern_fn_##id;
TERN_OPS(TERN_X)
#undef TERN_X
#define KERNEL(op, isa, needs, function) tern_fn_##op function;
#include "kernels/kernels.def"
#undef KERNEL

typedef void (*tern_any_fn)(void);

typedef struct tern_kernel {
    tern_op op;
    const char *name; /* the function's, without "tern_" */
    tern_isa isa;
    unsigned needs; /* tern_cpu_flag bits */
    tern_any_fn fn; /* cast to the op's type */
} tern_kernel;

/* All rows of kernels.def, *n of them, in table order: per op the reference first, later rows faster. */
const tern_kernel *tern_kernel_all(size_t *n);

/* The kernels chosen for one set of CPU flags. Plain data, copied freely. */
typedef struct tern_kernels {
    unsigned cpu;
    const tern_kernel *chosen[TERN_OP_COUNT];
#define TERN_X(id, name, type) type name;
    TERN_OPS(TERN_X)
#undef TERN_X
} tern_kernels;

/* Per op the last row whose needs are within cpu. */
void tern_kernels_select(unsigned cpu, tern_kernels *out);
/* Put one op back to the reference (a failed self check). */
void tern_kernels_fall_back(tern_kernels *k, tern_op op);
const char *tern_op_name(tern_op op);    /* "mm_t2r16" */
const char *tern_isa_name(tern_isa isa); /* "avx2" */

/* ---- repacking --------------------------------------------------------------------------- */

/* Bytes of T2R16/T2G codes of a [rows, cols] matrix, 64 readable bytes past the end included. */
size_t tern_t2_bytes(int rows, int cols);
size_t tern_t2_stripe_bytes(int cols);
/* Codes of one stripe's 16 rows (codes[16][cols_pad64], code 1 in the padding) -> the stripe, and
 * its inverse. */
void tern_t2_pack_stripe(const uint8_t *codes, size_t codes_stride, int cols, uint8_t *stripe);
void tern_t2_unpack_stripe(const uint8_t *stripe, int cols, uint8_t *codes, size_t codes_stride);

/* The same for T3R16; codes_stride >= cols, and what lies past cols is not looked at. */
size_t tern_t3_bytes(int rows, int cols);
size_t tern_t3_stripe_bytes(int cols);
void tern_t3_pack_stripe(const uint8_t *codes, size_t codes_stride, int cols, uint8_t *stripe);
void tern_t3_unpack_stripe(const uint8_t *stripe, int cols, uint8_t *codes, size_t codes_stride);

/* T2R1, one row: codes[cols]. */
size_t tern_t2r1_bytes(int rows, int cols);
size_t tern_t2r1_row_bytes(int cols);
void tern_t2r1_pack_row(const uint8_t *codes, int cols, uint8_t *row);
void tern_t2r1_unpack_row(const uint8_t *row, int cols, uint8_t *codes);

/* The same for T3R1. */
size_t tern_t3r1_bytes(int rows, int cols);
size_t tern_t3r1_row_bytes(int cols);
void tern_t3r1_pack_row(const uint8_t *codes, int cols, uint8_t *row);
void tern_t3r1_unpack_row(const uint8_t *row, int cols, uint8_t *codes);

/* T2C1, rows [0, n_row) of one slice: codes[n_row][codes_stride >= cols]. */
size_t tern_t2c1_bytes(int rows, int cols);
size_t tern_t2c1_slice_bytes(int cols);
size_t tern_t2c1_col_bytes(int rows); /* of one column in all slices */
void tern_t2c1_pack_slice(const uint8_t *codes, size_t codes_stride, int n_row, int cols,
                          uint8_t *slice);
void tern_t2c1_unpack_slice(const uint8_t *slice, int n_row, int cols, uint8_t *codes,
                            size_t codes_stride);

/* The same for T3C1. */
size_t tern_t3c1_bytes(int rows, int cols);
size_t tern_t3c1_slice_bytes(int cols);
size_t tern_t3c1_col_bytes(int rows);
void tern_t3c1_pack_slice(const uint8_t *codes, size_t codes_stride, int n_row, int cols,
                          uint8_t *slice);
void tern_t3c1_unpack_slice(const uint8_t *slice, int n_row, int cols, uint8_t *codes,
                            size_t codes_stride);

/* What may be left out of a product. */
typedef enum tern_listed { TERN_LISTED_NONE, TERN_LISTED_ROWS, TERN_LISTED_COLS } tern_listed;

/* The above as packers and callers of products see it: units of so many rows, each packed from
 * codes[n_row][codes_stride], n_row <= unit, code 1 in the padding of a row; T2R16 and T3R16 want all rows, code 1 in
 * those from n_row on. */
typedef struct tern_layout {
    tern_op op;
    tern_listed listed;
    bool base3; /* no code 3 */
    int unit;
    int grain; /* rows between which lanes may be split */
    int max_cols;
    size_t (*bytes)(int rows, int cols);
    size_t (*unit_bytes)(int cols);
    void (*pack)(const uint8_t *codes, size_t codes_stride, int n_row, int cols, uint8_t *to);
} tern_layout;
/* Of a ternary product with a scale per row; NULL for others. */
const tern_layout *tern_layout_of(tern_op op);

/* N4R16: the stripe of codes[16][codes_stride >= cols] (0..15), and N1R1: one row of codes[cols] (0..1),
 * with their sizes; 64 readable bytes past the end are included in the wholes. */
size_t tern_n4_bytes(int rows, int cols);
size_t tern_n4_stripe_bytes(int cols);
void tern_n4_pack_stripe(const uint8_t *codes, size_t codes_stride, int cols, uint8_t *stripe);
size_t tern_n1_bytes(int rows, int cols);
size_t tern_n1_row_bytes(int cols);
size_t tern_n1_input_stride(int cols); /* of eight parts of an input */
void tern_n1_pack_row(const uint8_t *codes, int cols, uint8_t *row);

#endif
