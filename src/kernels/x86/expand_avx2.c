/* Expansion of BLOCK-class rows, 32 elements at a time; see ref/expand_ref.c. The 512-bit kernels use it
 * as well: a block is 32 bytes of output, and what limits it is the reading. */
#include "kernels/rows.h"

#if !defined(__AVX2__) || !defined(__F16C__)
#error "build this file with -mavx2 -mf16c"
#endif

#include <immintrin.h>
#include <string.h>

/* The hardware stops its own prefetching at each page; ours asks two pages ahead, since between two
 * expansions the products read nothing. */
#define AHEAD 8192

static inline void ahead(const uint8_t *p)
{
    _mm_prefetch((const char *)p + AHEAD, _MM_HINT_T0);
}

static inline __m256i set_8(int b)
{
    return _mm256_set1_epi8((char)b);
}

static inline void store_v(int8_t *v, __m256i x)
{
    _mm256_store_si256((__m256i *)v, x);
}

static inline __m256i load_32(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline float half_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _cvtsh_ss(h);
}

static inline uint32_t u32_at(const uint8_t *p)
{
    uint32_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

/* 16 bytes -> 32 nibbles, the low ones first */
static inline __m256i nibbles(const uint8_t *qs)
{
    __m128i q = _mm_loadu_si128((const __m128i *)qs);
    __m256i both = _mm256_set_m128i(_mm_srli_epi16(q, 4), q);
    return _mm256_and_si256(both, set_8(15));
}

/* 32 bits -> 32 bytes of 0 or -1 */
static inline __m256i spread_bits(uint32_t bits)
{
    const __m256i from =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i b = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), from);
    return _mm256_cmpeq_epi8(_mm256_and_si256(b, bit), bit);
}

/* The half d to the two scales of block b. */
static inline void store_scale(float *scale16, const uint8_t *d)
{
    uint16_t h;
    memcpy(&h, d, sizeof h);
    _mm_storel_pi((__m64 *)scale16, _mm_cvtph_ps(_mm_set1_epi16((short)h)));
}

/* The halves d m likewise. */
static inline void store_scale_min(float *scale16, float *min16, const uint8_t *dm)
{
    __m128i h = _mm_cvtsi32_si128((int)u32_at(dm));
    __m128 f = _mm_cvtph_ps(_mm_shufflelo_epi16(h, 0x50));
    _mm_storel_pi((__m64 *)scale16, f);
    _mm_storeh_pi((__m64 *)min16, f);
}

static void expand_q4_0(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    (void)min16;
    for (int b = 0; b < cols / 32; b++, row += 18) {
        ahead(row);
        store_scale(scale16 + 2 * b, row);
        store_v(v + 32 * b, _mm256_sub_epi8(nibbles(row + 2), set_8(8)));
    }
}

static void expand_q4_1(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    for (int b = 0; b < cols / 32; b++, row += 20) {
        ahead(row);
        store_scale_min(scale16 + 2 * b, min16 + 2 * b, row);
        store_v(v + 32 * b, nibbles(row + 4));
    }
}

static void expand_q5_0(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    (void)min16;
    for (int b = 0; b < cols / 32; b++, row += 22) {
        ahead(row);
        store_scale(scale16 + 2 * b, row);
        /* q - 16 without the fifth bit, q with it */
        __m256i low = _mm256_andnot_si256(spread_bits(u32_at(row + 2)), set_8(0xf0));
        store_v(v + 32 * b, _mm256_or_si256(nibbles(row + 6), low));
    }
}

static void expand_q5_1(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    for (int b = 0; b < cols / 32; b++, row += 24) {
        ahead(row);
        store_scale_min(scale16 + 2 * b, min16 + 2 * b, row);
        __m256i high = _mm256_and_si256(spread_bits(u32_at(row + 4)), set_8(16));
        store_v(v + 32 * b, _mm256_or_si256(nibbles(row + 8), high));
    }
}

static void expand_q8_0(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    (void)min16;
    for (int b = 0; b < cols / 32; b++, row += 34) {
        ahead(row);
        store_scale(scale16 + 2 * b, row);
        store_v(v + 32 * b, load_32(row + 2));
    }
}

static void expand_iq4_nl(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    const __m256i level = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113));
    (void)min16;
    for (int b = 0; b < cols / 32; b++, row += 18) {
        ahead(row);
        store_scale(scale16 + 2 * b, row);
        store_v(v + 32 * b, _mm256_shuffle_epi8(level, nibbles(row + 2)));
    }
}

/* ---- K blocks ----------------------------------------------------------------------------- */

static inline void ahead_n(const uint8_t *p, int n)
{
    for (int i = 0; i < n; i += 64)
        ahead(p + i);
}

/* 16 int8 times d */
static inline void store_16(float *to, __m128i x, float d)
{
    __m256 f = _mm256_set1_ps(d);
    __m256i lo = _mm256_cvtepi8_epi32(x), hi = _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8));
    _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_cvtepi32_ps(lo), f));
    _mm256_storeu_ps(to + 8, _mm256_mul_ps(_mm256_cvtepi32_ps(hi), f));
}

/* Bits 2n and 2n + 1 of each byte */
static inline __m256i two_bits(__m256i x, int n)
{
    return _mm256_and_si256(_mm256_srli_epi16(x, 2 * n), set_8(3));
}

static void expand_q2_k(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    for (int b = 0; b < cols / 256; b++, row += 84, v += 256, scale16 += 16, min16 += 16) {
        ahead_n(row, 84);
        __m128i s = _mm_loadu_si128((const __m128i *)row), low4 = _mm_set1_epi8(15);
        store_16(scale16, _mm_and_si128(s, low4), half_at(row + 80));
        store_16(min16, _mm_and_si128(_mm_srli_epi16(s, 4), low4), -half_at(row + 82));
        for (int h = 0; h < 2; h++) {
            __m256i q = load_32(row + 16 + 32 * h);
            for (int n = 0; n < 4; n++)
                store_v(v + 128 * h + 32 * n, two_bits(q, n));
        }
    }
}

/* Scales: low four bits in 8 bytes (two a byte), high two bits in 4 (four a byte). */
static inline __m128i q3_k_scales(const uint8_t *s)
{
    uint64_t low;
    uint32_t high = u32_at(s + 8);
    memcpy(&low, s, sizeof low);
    __m128i l = _mm_set_epi64x((long long)(low >> 4), (long long)low);
    __m128i h = _mm_setr_epi32((int)high, (int)(high >> 2), (int)(high >> 4), (int)(high >> 6));
    l = _mm_and_si128(l, _mm_set1_epi8(15));
    h = _mm_slli_epi16(_mm_and_si128(h, _mm_set1_epi8(3)), 4);
    return _mm_sub_epi8(_mm_or_si128(l, h), _mm_set1_epi8(32));
}

static void expand_q3_k(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    (void)min16;
    for (int b = 0; b < cols / 256; b++, row += 110, v += 256, scale16 += 16) {
        ahead_n(row, 110);
        store_16(scale16, q3_k_scales(row + 96), half_at(row + 108));
        __m256i keep = load_32(row);
        for (int h = 0; h < 2; h++) {
            __m256i q = load_32(row + 32 + 32 * h);
            for (int n = 0; n < 4; n++) { /* the bit clear: 4 less */
                __m256i bit = set_8(1 << (4 * h + n));
                __m256i off =
                    _mm256_cmpeq_epi8(_mm256_and_si256(keep, bit), _mm256_setzero_si256());
                off = _mm256_and_si256(off, set_8(4));
                store_v(v + 128 * h + 32 * n, _mm256_sub_epi8(two_bits(q, n), off));
            }
        }
    }
}

/* Eight bytes times d, each twice. */
static inline void store_8_twice(float *to, uint32_t low, uint32_t high, float d)
{
    __m128i x = _mm_setr_epi32((int)low, (int)high, 0, 0);
    __m256 f = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(x)), _mm256_set1_ps(d));
    _mm256_storeu_ps(to, _mm256_permutevar8x32_ps(f, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)));
    _mm256_storeu_ps(to + 8,
                     _mm256_permutevar8x32_ps(f, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7)));
}

/* Four 6-bit values a word: the first four scales and minima are plain, the last four have their low
 * bits in the third word and their high bits on top of the first two. */
static inline void k_scales(const uint8_t *blk, float *scale16, float *min16)
{
    const uint32_t six = 0x3f3f3f3f, four = 0x0f0f0f0f, top = 0x30303030;
    uint32_t a = u32_at(blk + 4), b = u32_at(blk + 8), c = u32_at(blk + 12);
    store_8_twice(scale16, a & six, (c & four) | (a >> 2 & top), half_at(blk));
    store_8_twice(min16, b & six, (c >> 4 & four) | (b >> 2 & top), -half_at(blk + 2));
}

static void expand_q4_k(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    const __m256i low4 = set_8(15);
    for (int b = 0; b < cols / 256; b++, row += 144, v += 256, scale16 += 16, min16 += 16) {
        ahead_n(row, 144);
        k_scales(row, scale16, min16);
        for (int i = 0; i < 4; i++) {
            __m256i q = load_32(row + 16 + 32 * i);
            store_v(v + 64 * i, _mm256_and_si256(q, low4));
            store_v(v + 64 * i + 32, _mm256_and_si256(_mm256_srli_epi16(q, 4), low4));
        }
    }
}

/* Bit g of each byte, as 16 or 0 */
static inline __m256i fifth_bit(__m256i qh, int g)
{
    const __m256i bit = set_8(1 << g);
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(qh, bit), bit), set_8(16));
}

static void expand_q5_k(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    const __m256i low4 = set_8(15);
    for (int b = 0; b < cols / 256; b++, row += 176, v += 256, scale16 += 16, min16 += 16) {
        ahead_n(row, 176);
        k_scales(row, scale16, min16);
        __m256i qh = load_32(row + 16);
        for (int i = 0; i < 4; i++) {
            __m256i q = load_32(row + 48 + 32 * i), high = _mm256_srli_epi16(q, 4);
            q = _mm256_or_si256(_mm256_and_si256(q, low4), fifth_bit(qh, 2 * i));
            high = _mm256_or_si256(_mm256_and_si256(high, low4), fifth_bit(qh, 2 * i + 1));
            store_v(v + 64 * i, q);
            store_v(v + 64 * i + 32, high);
        }
    }
}

static void expand_q6_k(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    const __m256i low4 = set_8(15), top = set_8(0x30), offset = set_8(32);
    (void)min16;
    for (int b = 0; b < cols / 256; b++, row += 210, v += 256, scale16 += 16) {
        ahead_n(row, 210);
        store_16(scale16, _mm_loadu_si128((const __m128i *)(row + 192)), half_at(row + 208));
        for (int h = 0; h < 2; h++) {
            __m256i even = load_32(row + 64 * h), odd = load_32(row + 64 * h + 32);
            __m256i qh = load_32(row + 128 + 32 * h);
            __m256i q[4] = {even, odd, _mm256_srli_epi16(even, 4), _mm256_srli_epi16(odd, 4)};
            __m256i high[4] = {_mm256_slli_epi16(qh, 4), _mm256_slli_epi16(qh, 2), qh,
                               _mm256_srli_epi16(qh, 2)};
            for (int n = 0; n < 4; n++) {
                __m256i x =
                    _mm256_or_si256(_mm256_and_si256(q[n], low4), _mm256_and_si256(high[n], top));
                store_v(v + 128 * h + 32 * n, _mm256_sub_epi8(x, offset));
            }
        }
    }
}

tern_expand_fn tern_expand_avx2(tern_dtype dt)
{
    switch (dt) {
    case TERN_DT_Q4_0:
        return expand_q4_0;
    case TERN_DT_Q4_1:
        return expand_q4_1;
    case TERN_DT_Q5_0:
        return expand_q5_0;
    case TERN_DT_Q5_1:
        return expand_q5_1;
    case TERN_DT_Q8_0:
        return expand_q8_0;
    case TERN_DT_IQ4_NL:
        return expand_iq4_nl;
    case TERN_DT_Q2_K:
        return expand_q2_k;
    case TERN_DT_Q3_K:
        return expand_q3_k;
    case TERN_DT_Q4_K:
        return expand_q4_k;
    case TERN_DT_Q5_K:
        return expand_q5_k;
    case TERN_DT_Q6_K:
        return expand_q6_k;
    default:
        return NULL;
    }
}
