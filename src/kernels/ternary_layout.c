/* The ternary layouts of kernel.h but for T2R16 (t2_stripe.c): sizes, packing and its inverse, and a table of all. */
#include "kernels/kernel.h"

#include <string.h>

static size_t blocks(size_t n, size_t of)
{
    return (n + of - 1) / of;
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

/* Byte of each of the 243 numbers that five trits make. */
#define FRACTION(v) ((v) == 0 ? 1 : ((v)*256 + 242) / 243)
#define F3(v)       FRACTION(v), FRACTION((v) + 1), FRACTION((v) + 2)
#define F9(v)       F3(v), F3((v) + 3), F3((v) + 6)
#define F27(v)      F9(v), F9((v) + 9), F9((v) + 18)
#define F81(v)      F27(v), F27((v) + 27), F27((v) + 54)
static const uint8_t fraction[243] = {F81(0), F81(81), F81(162)};

/* Four columns at once: numbers up to 242 stay in their bytes. */
static void pack_20(const uint8_t *codes, uint8_t *to)
{
    uint32_t c[5], v;
    memcpy(c, codes, sizeof c);
    v = (((c[0] * 3 + c[1]) * 3 + c[2]) * 3 + c[3]) * 3 + c[4];
    v = fraction[v & 255] | (uint32_t)fraction[v >> 8 & 255] << 8 |
        (uint32_t)fraction[v >> 16 & 255] << 16 | (uint32_t)fraction[v >> 24] << 24;
    memcpy(to, &v, sizeof v);
}

void tern_t3_pack_stripe(const uint8_t *codes, size_t codes_stride, int cols, uint8_t *stripe)
{
    size_t n = (size_t)cols / 20, rest = (size_t)cols % 20;
    for (size_t r = 0; r < 16; r++) {
        const uint8_t *c = codes + r * codes_stride;
        for (size_t b = 0; b < n; b++)
            pack_20(c + 20 * b, stripe + 64 * b + 4 * r);
        if (rest) {
            uint8_t last[20];
            memset(last, 1, sizeof last);
            memcpy(last, c + 20 * n, rest);
            pack_20(last, stripe + 64 * n + 4 * r);
        }
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

/* Codes that a byte holds, of columns or rows that are 64 apart: each is of a plane. */
enum { TWO_BITS = 4, TRITS = 5 };

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

/* One vector: planes of 64 columns. */
static inline void pack_vector(int planes, const uint8_t *c, uint8_t *to)
{
    for (int b = 0; b < 64; b++, c++)
        if (planes == TRITS)
            to[b] = fraction[(((c[0] * 3 + c[64]) * 3 + c[128]) * 3 + c[192]) * 3 + c[256]];
        else
            to[b] = (uint8_t)(c[0] | c[64] << 2 | c[128] << 4 | c[192] << 6);
}

static inline void pack_row(int planes, const uint8_t *codes, int cols, uint8_t *row)
{
    int c = 0, span = 64 * planes;
    for (; cols - c >= span; c += span, row += 64)
        pack_vector(planes, codes + c, row);
    if (c < cols) {
        uint8_t last[64 * TRITS];
        memset(last, 1, sizeof last);
        memcpy(last, codes + c, (size_t)(cols - c));
        pack_vector(planes, last, row);
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

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "eight bytes are a word, first lowest");

static uint64_t load_8(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Bytes of an 8 x 8 square in words: byte i of word j becomes byte j of word i, first byte lowest. */
static void transpose_8x8(uint64_t *a)
{
    static const uint64_t low[] = {0x00ff00ff00ff00ff, 0x0000ffff0000ffff, 0x00000000ffffffff};
    for (int s = 0; s < 3; s++)
        for (int i = 0; i < 8; i++)
            if (!(i >> s & 1)) {
                uint64_t *x = &a[i], *y = &a[i + (1 << s)];
                uint64_t t = ((*x >> (8 << s)) ^ *y) & low[s];
                *y ^= t;
                *x ^= t << (8 << s);
            }
}

typedef struct slice_codes {
    const uint8_t *codes;
    size_t stride;
    int n_row, cols, planes;
} slice_codes;

/* Codes of a row in columns c .. c+8, first column lowest. */
static uint64_t eight_codes(const slice_codes *s, int row, int c)
{
    uint64_t v = 0x0101010101010101;
    const uint8_t *p = s->codes + (size_t)row * s->stride + (size_t)c;
    if (row >= s->n_row)
        return v;
    if (s->cols - c >= 8)
        return load_8(p);
    for (int i = 0; i < s->cols - c; i++)
        v = (v & ~((uint64_t)3 << (8 * i))) | (uint64_t)p[i] << (8 * i);
    return v;
}

/* Byte of five trits in eight columns: numbers up to 242 stay in their bytes. */
static uint64_t eight_fractions(const slice_codes *s, int row, int c)
{
    uint64_t v = 0, bytes = 0;
    for (int n = 0; n < TRITS; n++)
        v = v * 3 + eight_codes(s, row + 64 * n, c);
    for (int i = 0; i < 64; i += 8)
        bytes |= (uint64_t)fraction[v >> i & 255] << i;
    return bytes;
}

/* Bytes byte .. byte+8 of columns c .. c+8, as far as there are columns. */
static void pack_8x8(const slice_codes *s, int byte, int c, int cols_pad, uint8_t *slice)
{
    uint64_t a[8];
    for (int i = 0; i < 8; i++) {
        int r = row_of(s->planes, byte + i);
        a[i] = s->planes == TRITS
                   ? eight_fractions(s, r, c)
                   : eight_codes(s, r, c) | eight_codes(s, r + 64, c) << 2 |
                         eight_codes(s, r + 128, c) << 4 | eight_codes(s, r + 192, c) << 6;
    }
    transpose_8x8(a);
    for (int i = 0; i < 8 && c + i < cols_pad; i++)
        memcpy(slice + (size_t)(c + i) * TERN_T2C1_BYTES + (size_t)byte, &a[i], sizeof a[i]);
}

static void pack_slice(const slice_codes *s, uint8_t *slice)
{
    enum { TILE = 128 }; /* columns whose bytes stay in the first cache until they are complete */
    int cols_pad = (int)blocks((size_t)s->cols, 4) * 4;
    for (int c0 = 0; c0 < s->cols; c0 += TILE)
        for (int byte = 0; byte < TERN_T2C1_BYTES; byte += 8)
            for (int c = c0; c < s->cols && c < c0 + TILE; c += 8)
                pack_8x8(s, byte, c, cols_pad, slice);
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
