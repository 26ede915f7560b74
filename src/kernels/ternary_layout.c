/* The ternary layouts of kernel.h but for T2R16 (t2_stripe.c): sizes, packing and its inverse, and a table of all. */
#include "kernels/kernel.h"

#include <string.h>

static size_t blocks(size_t n, size_t of)
{
    return (n + of - 1) / of;
}

/* ---- bytes -------------------------------------------------------------------------------- */

/* Codes that a byte holds, of columns or rows that are 64 apart: each is of a plane. */
enum { TWO_BITS = 4, TRITS = 5 };

/* Byte of the number v < 243 that five trits make, 256 v / 243 rounded up but 1 for 0: as no other is whole,
 * one more than the whole part. That is v and the whole part of 13 v / 243, which (219 v + 16) / 4096 has for
 * all of them. Other than a table's, these steps in 16 bits are what compilers find vectors for. */
static inline uint8_t fraction(uint8_t v)
{
    uint16_t beyond = (uint16_t)(219 * v + 16) >> 12;
    return (uint8_t)(v + 1 + beyond);
}

/* 3 v + code in sums, as bytes have no vectors of products. */
static inline uint8_t next_trit(uint8_t v, uint8_t code)
{
    return (uint8_t)(v + v + v + code);
}

/* n bytes, each of one code from every plane; two-bit codes leave the last plane alone. */
static void pack_planes(int planes, const uint8_t *const plane[TRITS], int n, uint8_t *restrict to)
{
    const uint8_t *c0 = plane[0], *c1 = plane[1], *c2 = plane[2], *c3 = plane[3], *c4 = plane[4];
    if (planes == TRITS)
        for (int i = 0; i < n; i++) {
            uint8_t v = next_trit(next_trit(c0[i], c1[i]), c2[i]);
            to[i] = fraction(next_trit(next_trit(v, c3[i]), c4[i]));
        }
    else
        for (int i = 0; i < n; i++)
            to[i] = (uint8_t)(c0[i] | c1[i] << 2 | c2[i] << 4 | c3[i] << 6);
}

/* A span of codes, in last with padding when fewer are left. */
static const uint8_t *padded(const uint8_t *codes, int left, int span, uint8_t *last)
{
    if (left >= span)
        return codes;
    memset(last, 1, (size_t)span);
    return memcpy(last, codes, (size_t)left);
}

/* ---- T3R16 -------------------------------------------------------------------------------- */

size_t tern_t3_stripe_bytes(int cols)
{
    return blocks((size_t)cols, 20) * 64;
}

size_t tern_t3_bytes(int rows, int cols)
{
    return blocks((size_t)rows, 16) * tern_t3_stripe_bytes(cols) + 64;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "four bytes are a word, first lowest");

/* Numbers of four columns' trits at once, up to 242 in their bytes. Products of two words of codes bring
 * their sum to the upper word; what they leave in the lower, at most 60 a byte, carries nothing into it. */
static inline uint32_t four_numbers(const uint8_t *codes)
{
    uint64_t c01, c23;
    uint32_t c4;
    memcpy(&c01, codes, sizeof c01);
    memcpy(&c23, codes + 8, sizeof c23);
    memcpy(&c4, codes + 16, sizeof c4);
    c01 *= (uint64_t)81 << 32 | 27;
    c23 *= (uint64_t)9 << 32 | 3;
    return (uint32_t)((c01 + c23) >> 32) + c4;
}

static void fractions(const uint8_t *restrict v, size_t n, uint8_t *restrict to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = fraction(v[i]);
}

void tern_t3_pack_stripe(const uint8_t *codes, size_t codes_stride, int cols, uint8_t *stripe)
{
    enum { VECTORS = 16, SPAN = 20 * VECTORS };
    uint8_t last[SPAN];
    uint32_t v[VECTORS][16]; /* of rows */
    for (int c = 0; c < cols; c += SPAN, stripe += sizeof v) {
        for (size_t r = 0; r < 16; r++) {
            const uint8_t *p = padded(codes + r * codes_stride + (size_t)c, cols - c, SPAN, last);
            for (size_t i = 0; i < VECTORS; i++)
                v[i][r] = four_numbers(p + 20 * i);
        }
        size_t n = tern_t3_stripe_bytes(cols - c);
        fractions((const uint8_t *)v, n < sizeof v ? n : sizeof v, stripe);
    }
}

void tern_t3_unpack_stripe(const uint8_t *stripe, int cols, uint8_t *codes, size_t codes_stride)
{
    for (int b = 0; b * 20 < cols; b++)
        for (int r = 0; r < 16; r++) {
            uint8_t *c = codes + (size_t)r * codes_stride + (size_t)b * 20;
            int left = cols - b * 20;
            for (int j = 0; j < 4; j++) {
                uint8_t p = stripe[(size_t)b * 64 + (size_t)(4 * r + j)];
                for (int n = 0; n < 5; n++, p = (uint8_t)(3 * p))
                    if (4 * n + j < left)
                        c[4 * n + j] = (uint8_t)(3 * p >> 8);
            }
        }
}

/* ---- T2R1 and T3R1 ------------------------------------------------------------------------ */

static size_t row_bytes(int planes, int cols)
{
    return blocks((size_t)cols, 64 * (size_t)planes) * 64;
}

size_t tern_t2r1_row_bytes(int cols)
{
    return row_bytes(TWO_BITS, cols);
}

size_t tern_t2r1_bytes(int rows, int cols)
{
    return (size_t)rows * tern_t2r1_row_bytes(cols) + 64;
}

size_t tern_t3r1_row_bytes(int cols)
{
    return row_bytes(TRITS, cols);
}

size_t tern_t3r1_bytes(int rows, int cols)
{
    return (size_t)rows * tern_t3r1_row_bytes(cols) + 64;
}

static void pack_row(int planes, const uint8_t *codes, int cols, uint8_t *row)
{
    uint8_t last[64 * TRITS];
    for (int c = 0, span = 64 * planes; c < cols; c += span, row += 64) {
        const uint8_t *p = padded(codes + c, cols - c, span, last);
        pack_planes(planes, (const uint8_t *[]){p, p + 64, p + 128, p + 192, p + 256}, 64, row);
    }
}

void tern_t2r1_pack_row(const uint8_t *codes, int cols, uint8_t *row)
{
    pack_row(TWO_BITS, codes, cols, row);
}

void tern_t3r1_pack_row(const uint8_t *codes, int cols, uint8_t *row)
{
    pack_row(TRITS, codes, cols, row);
}

/* Code n of a byte. */
static uint8_t code_in(int planes, uint8_t byte, int n)
{
    static const uint8_t power[TRITS] = {1, 3, 9, 27, 81}; /* of 3, brings a trit to the front */
    if (planes == TWO_BITS)
        return byte >> (2 * n) & 3;
    return (uint8_t)(3 * (uint8_t)(byte * power[n]) >> 8);
}

static void unpack_row(int planes, const uint8_t *row, int cols, uint8_t *codes)
{
    for (int c = 0; c < cols; c++)
        codes[c] = code_in(planes, row[c / (64 * planes) * 64 + c % 64], c / 64 % planes);
}

void tern_t2r1_unpack_row(const uint8_t *row, int cols, uint8_t *codes)
{
    unpack_row(TWO_BITS, row, cols, codes);
}

void tern_t3r1_unpack_row(const uint8_t *row, int cols, uint8_t *codes)
{
    unpack_row(TRITS, row, cols, codes);
}

/* ---- T2C1 and T3C1 ------------------------------------------------------------------------ */

size_t tern_t2c1_slice_bytes(int cols)
{
    return blocks((size_t)cols, 4) * 4 * TERN_T2C1_BYTES;
}

size_t tern_t2c1_bytes(int rows, int cols)
{
    return blocks((size_t)rows, TERN_T2C1_ROWS) * tern_t2c1_slice_bytes(cols) + 64;
}

size_t tern_t2c1_col_bytes(int rows)
{
    return blocks((size_t)rows, TERN_T2C1_ROWS) * TERN_T2C1_BYTES;
}

size_t tern_t3c1_slice_bytes(int cols)
{
    return tern_t2c1_slice_bytes(cols);
}

size_t tern_t3c1_bytes(int rows, int cols)
{
    return blocks((size_t)rows, TERN_T3C1_ROWS) * tern_t3c1_slice_bytes(cols) + 64;
}

size_t tern_t3c1_col_bytes(int rows)
{
    return blocks((size_t)rows, TERN_T3C1_ROWS) * TERN_T2C1_BYTES;
}

_Static_assert(TERN_T2C1_ROWS == TERN_T2C1_BYTES * TWO_BITS &&
                   TERN_T3C1_ROWS == TERN_T2C1_BYTES * TRITS,
               "columns have the same bytes");

/* Where row r of a slice is within a column's bytes. */
static size_t byte_of(int planes, int r)
{
    return (size_t)(64 * (r / 64 / planes) + 16 * (r / 4 % 4) + 4 * (r / 16 % 4) + r % 4);
}

/* And the first of the rows that a byte holds. */
static int row_of(int planes, int byte)
{
    return 64 * planes * (byte / 64) + 16 * (byte / 4 % 4) + 4 * (byte / 16 % 4) + byte % 4;
}

typedef struct slice_codes {
    const uint8_t *codes;
    size_t stride;
    int n_row, cols, planes;
} slice_codes;

/* A row of so many columns' bytes, eight times: each code row is read far enough ahead for the processor to
 * foresee it, and what becomes of them stays in the first cache until it turns, a part after the other. */
enum { TILE = 1024, TURN = 64 };
typedef uint8_t tile[8][TILE];

/* Bytes byte .. byte+8 of n columns from c on, and of those that pad them to a multiple of four. */
static void pack_tile(const slice_codes *s, int byte, int c, int n, tile to)
{
    uint8_t none[TILE];
    memset(none, 1, (size_t)n);
    for (int j = 0; j < 8; j++) {
        const uint8_t *plane[TRITS];
        for (int p = 0, row = row_of(s->planes, byte + j); p < TRITS; p++, row += 64)
            plane[p] = row < s->n_row ? s->codes + (size_t)row * s->stride + (size_t)c : none;
        pack_planes(s->planes, plane, n, to[j]);
        memset(to[j] + n, s->planes == TRITS ? fraction(121) : 0x55, (size_t)(-n & 3));
    }
}

/* Eight bytes of each of n columns to their places. */
static void turn_tile(const tile from, int n, uint8_t *to)
{
    uint8_t eight[TURN][8];
    for (int c = 0; c < n; c += TURN) {
        int m = n - c < TURN ? n - c : TURN;
        for (int i = 0; i < m; i++)
            for (int j = 0; j < 8; j++)
                eight[i][j] = from[j][c + i];
        for (int i = 0; i < m; i++, to += TERN_T2C1_BYTES)
            memcpy(to, eight[i], sizeof eight[i]);
    }
}

static void pack_slice(const slice_codes *s, uint8_t *slice)
{
    tile t;
    for (int c = 0; c < s->cols; c += TILE, slice += TILE * TERN_T2C1_BYTES) {
        int n = s->cols - c < TILE ? s->cols - c : TILE;
        for (int byte = 0; byte < TERN_T2C1_BYTES; byte += 8) {
            pack_tile(s, byte, c, n, t);
            turn_tile(t, n + (-n & 3), slice + byte);
        }
    }
}

void tern_t2c1_pack_slice(const uint8_t *codes, size_t codes_stride, int n_row, int cols,
                          uint8_t *slice)
{
    pack_slice(&(slice_codes){codes, codes_stride, n_row, cols, TWO_BITS}, slice);
}

void tern_t3c1_pack_slice(const uint8_t *codes, size_t codes_stride, int n_row, int cols,
                          uint8_t *slice)
{
    pack_slice(&(slice_codes){codes, codes_stride, n_row, cols, TRITS}, slice);
}

static void unpack_slice(const uint8_t *slice, const slice_codes *s, uint8_t *codes)
{
    for (int r = 0; r < s->n_row; r++)
        for (int i = 0; i < s->cols; i++)
            codes[(size_t)r * s->stride + (size_t)i] =
                code_in(s->planes, slice[(size_t)i * TERN_T2C1_BYTES + byte_of(s->planes, r)],
                        r / 64 % s->planes);
}

void tern_t2c1_unpack_slice(const uint8_t *slice, int n_row, int cols, uint8_t *codes,
                            size_t codes_stride)
{
    unpack_slice(slice, &(slice_codes){NULL, codes_stride, n_row, cols, TWO_BITS}, codes);
}

void tern_t3c1_unpack_slice(const uint8_t *slice, int n_row, int cols, uint8_t *codes,
                            size_t codes_stride)
{
    unpack_slice(slice, &(slice_codes){NULL, codes_stride, n_row, cols, TRITS}, codes);
}

/* ---- all of them --------------------------------------------------------------------------- */

static void pack_t2r16(const uint8_t *codes, size_t codes_stride, int n_row, int cols, uint8_t *to)
{
    (void)n_row;
    tern_t2_pack_stripe(codes, codes_stride, cols, to);
}

static void pack_t3r16(const uint8_t *codes, size_t codes_stride, int n_row, int cols, uint8_t *to)
{
    (void)n_row;
    tern_t3_pack_stripe(codes, codes_stride, cols, to);
}

static void pack_t2r1(const uint8_t *codes, size_t codes_stride, int n_row, int cols, uint8_t *to)
{
    (void)codes_stride, (void)n_row;
    tern_t2r1_pack_row(codes, cols, to);
}

static void pack_t3r1(const uint8_t *codes, size_t codes_stride, int n_row, int cols, uint8_t *to)
{
    (void)codes_stride, (void)n_row;
    tern_t3r1_pack_row(codes, cols, to);
}

const tern_layout *tern_layout_of(tern_op op)
{
    static const tern_layout all[] = {
        {TERN_OP_MM_T2R16, TERN_LISTED_NONE, false, 16, 16, 1 << 18, tern_t2_bytes,
         tern_t2_stripe_bytes, pack_t2r16},
        {TERN_OP_MM_T3R16, TERN_LISTED_NONE, true, 16, 16, 1 << 16, tern_t3_bytes,
         tern_t3_stripe_bytes, pack_t3r16},
        {TERN_OP_MM_T2R1, TERN_LISTED_ROWS, false, 1, 16, 1 << 18, tern_t2r1_bytes,
         tern_t2r1_row_bytes, pack_t2r1},
        {TERN_OP_MM_T3R1, TERN_LISTED_ROWS, true, 1, 16, 1 << 15, tern_t3r1_bytes,
         tern_t3r1_row_bytes, pack_t3r1},
        {TERN_OP_MM_T2C1, TERN_LISTED_COLS, false, TERN_T2C1_ROWS, TERN_T2C1_GRAIN, 1 << 16,
         tern_t2c1_bytes, tern_t2c1_slice_bytes, tern_t2c1_pack_slice},
        {TERN_OP_MM_T3C1, TERN_LISTED_COLS, true, TERN_T3C1_ROWS, TERN_T3C1_GRAIN, 1 << 15,
         tern_t3c1_bytes, tern_t3c1_slice_bytes, tern_t3c1_pack_slice},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i].op == op)
            return &all[i];
    return NULL;
}
