/* What the formats share: their declarations, the constants of dtype.def, loads and stores, and the
 * loops over blocks of ternary codes. Only tensor/ includes this.
 *
 * Block structs hold bytes only, so their alignment is 1 and a row may start anywhere in a file. */
#ifndef TERN_TENSOR_FMT_FMT_H
#define TERN_TENSOR_FMT_FMT_H

#include "tensor/half.h"
#include "tensor/tensor.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* TERN_Q4_0_ELEMS, TERN_Q4_0_BYTES and so on, for array sizes and the structs' assertions. */
enum {
#define DTYPE(id, name, file_id, el, rows, by, head, ...)                                          \
    TERN_##id##_ELEMS = el, TERN_##id##_BYTES = by, TERN_##id##_HEAD = head,
#include "tensor/dtype.def"
#undef DTYPE
};

#define DECL_0(declaration)
#define DECL_1(declaration) declaration;
#define DTYPE(id, name, file_id, el, rows, by, head, tail, unit, class, group, prefix, has_row,    \
              has_codes, has_pack)                                                                 \
    DECL_##has_row(void tern_##prefix##_unpack_row(const tern_tensor *t, size_t row, float *dst))  \
        DECL_##has_codes(void tern_##prefix##_unpack_codes(const tern_tensor *t, size_t row,       \
                                                           uint8_t *codes, float *scales))         \
            DECL_##has_pack(void tern_##prefix##_pack(const float *src, size_t rows_, size_t cols, \
                                                      const float *importance, uint8_t *dst))
#include "tensor/dtype.def"
#undef DTYPE
#undef DECL_0
#undef DECL_1

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define TERN_LE16(v) __builtin_bswap16(v)
#define TERN_LE32(v) __builtin_bswap32(v)
#define TERN_LE64(v) __builtin_bswap64(v)
#else
#define TERN_LE16(v) (v)
#define TERN_LE32(v) (v)
#define TERN_LE64(v) (v)
#endif

static inline uint16_t load16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return TERN_LE16(v);
}

static inline uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return TERN_LE32(v);
}

static inline void store16(uint8_t *p, uint16_t v)
{
    v = TERN_LE16(v);
    memcpy(p, &v, sizeof v);
}

static inline void store32(uint8_t *p, uint32_t v)
{
    v = TERN_LE32(v);
    memcpy(p, &v, sizeof v);
}

static inline void store64(uint8_t *p, uint64_t v)
{
    v = TERN_LE64(v);
    memcpy(p, &v, sizeof v);
}

static inline float load_half(const uint8_t *p)
{
    return tern_half_f32(load16(p));
}

static inline void store_half(uint8_t *p, float v)
{
    store16(p, tern_f32_half(v));
}

/* First block of a row of a TERN_UNIT_BLOCK format. */
static inline const uint8_t *block_row(const tern_tensor *t, size_t row, size_t elems, size_t bytes)
{
    return t->data + row * (t->ne[0] / elems * bytes);
}

/* trunc(v) into [0, max]; NaN and infinities give 0, so that no input reaches an undefined conversion.
 * They come from blocks below 2^-128, whose scale has no inverse and is 0 in f16: 0 is what the
 * reference quantisers, which do convert them, write on x86. */
static inline int quant_trunc(float v, int max)
{
    return v >= (float)max ? (v < INFINITY ? max : 0) : v > 0.0f ? (int)v : 0;
}

/* 1/d, or 0 for a block of zeros, as every reference quantiser has it. */
static inline float quant_inverse(float d)
{
    return d != 0.0f ? 1.0f / d : 0.0f;
}

/* A block format of ternary codes with one f16 scale at byte d_at. */
typedef struct tern_code_block {
    size_t elems, bytes, d_at;
    uint8_t lost; /* all codes of a block whose scale has no inverse, see quant_trunc */
    void (*decode)(const uint8_t *block, uint8_t *codes);
    void (*encode)(const uint8_t *codes, uint8_t *block); /* leaves the scale; NULL: no packing */
} tern_code_block;

enum { TERN_CODE_BLOCK_MAX = 256 }; /* elems of the largest block */

void tern_code_row(const tern_code_block *f, const tern_tensor *t, size_t row, float *dst);
void tern_code_codes(const tern_code_block *f, const tern_tensor *t, size_t row, uint8_t *codes,
                     float *scales);
/* scale = max |x| of the block, code = x / scale rounded half away from zero, plus 1. */
void tern_code_pack(const tern_code_block *f, const float *src, size_t n, uint8_t *dst);
/* Four codes 3 become four codes 1: clear a pair's high bit where its low bit is set as well. A pair
 * of 1 has no high bit to clear. */
static inline uint8_t no_threes(uint8_t q)
{
    return q & (uint8_t) ~((q & 0x55) << 1);
}
/* The codes that n bytes hold at bit `shift`, 1 for code 3. */
void tern_code_pairs(const uint8_t *q, size_t n, unsigned shift, uint8_t *codes);
/* dst[i] = scale * (codes[i] - 1) */
void tern_code_values(const uint8_t *codes, size_t n, float scale, float *dst);

#endif
