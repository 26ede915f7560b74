/* The 16 lanes of the LANES sums as two 256-bit registers; see lanes_avx512.h. */
#ifndef TERN_LANES_AVX2_H
#define TERN_LANES_AVX2_H

#if !defined(__AVX2__) || !defined(__F16C__)
#error "build this file with -mavx2 -mf16c"
#endif

#include <immintrin.h>
#include <string.h>

#include "kernels/kernel.h"

#define LANES_FN(name)    LANES_JOIN(tern_, LANES_JOIN(name, _avx2))
#define LANES_JOIN(a, b)  LANES_JOIN_(a, b)
#define LANES_JOIN_(a, b) a##b
#define LANES_INLINE      static inline __attribute__((always_inline))
#define LANES_UNROLL      _Pragma("GCC unroll 8")
/* 8 of the 16 registers hold sums: 4 rows of one token or 2 rows x 2 tokens */
#define LANES_TILE_TOKS        2
#define LANES_TILE_ROWS(n_tok) ((n_tok) == 1 ? 4 : 2)
#define LANES_AV_VECTORS       4

typedef struct vf { /* 16 floats */
    __m256 lo, hi;
} vf;
typedef struct vi { /* 16 int32 or 64 int8 */
    __m256i lo, hi;
} vi;

/* The registers a vector consists of: block by block code works on these, to need few at a time. */
#define N_PART 2
typedef __m256 pf;
typedef __m256i pi;

LANES_INLINE pf *vf_part(vf *x, int h)
{
    return h ? &x->hi : &x->lo;
}

/* All ones in the first n of 8 lanes; n may be outside 0..8. */
LANES_INLINE __m256i lanes_mask(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

LANES_INLINE vf vf_zero(void)
{
    return (vf){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

LANES_INLINE vf vf_set1(float x)
{
    return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

LANES_INLINE vf vf_load(const float *p)
{
    return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

LANES_INLINE vf vf_load_n(const float *p, int n)
{
    if (n == 16)
        return vf_load(p);
    return (vf){_mm256_maskload_ps(p, lanes_mask(n)), _mm256_maskload_ps(p + 8, lanes_mask(n - 8))};
}

LANES_INLINE void vf_store(float *p, vf x)
{
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
}

LANES_INLINE void vf_store_n(float *p, vf x, int n)
{
    if (n == 16) {
        vf_store(p, x);
        return;
    }
    _mm256_maskstore_ps(p, lanes_mask(n), x.lo);
    _mm256_maskstore_ps(p + 8, lanes_mask(n - 8), x.hi);
}

LANES_INLINE vf vf_add(vf a, vf b)
{
    return (vf){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}

LANES_INLINE vf vf_sub(vf a, vf b)
{
    return (vf){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}

LANES_INLINE vf vf_mul(vf a, vf b)
{
    return (vf){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}

LANES_INLINE vf vf_div(vf a, vf b)
{
    return (vf){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}

/* a > b ? a : b, and a < b ? a : b */
LANES_INLINE vf vf_max(vf a, vf b)
{
    return (vf){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}

LANES_INLINE vf vf_min(vf a, vf b)
{
    return (vf){_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}

/* lane < n ? x : y */
LANES_INLINE vf vf_first_n(vf x, vf y, int n)
{
    return (vf){_mm256_blendv_ps(y.lo, x.lo, _mm256_castsi256_ps(lanes_mask(n))),
                _mm256_blendv_ps(y.hi, x.hi, _mm256_castsi256_ps(lanes_mask(n - 8)))};
}

/* 0 where x < c, else y */
LANES_INLINE vf vf_zero_below(vf y, vf x, vf c)
{
    return (vf){_mm256_andnot_ps(_mm256_cmp_ps(x.lo, c.lo, _CMP_LT_OQ), y.lo),
                _mm256_andnot_ps(_mm256_cmp_ps(x.hi, c.hi, _CMP_LT_OQ), y.hi)};
}

LANES_INLINE __m256 pow2_8(__m256 t)
{
    __m256i u = _mm256_add_epi32(_mm256_castps_si256(t), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(u, 23));
}

/* (bits(t) + 127) << 23 */
LANES_INLINE vf vf_pow2(vf t)
{
    return (vf){pow2_8(t.lo), pow2_8(t.hi)};
}

LANES_INLINE vf vf_neg(vf x)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return (vf){_mm256_xor_ps(x.lo, sign), _mm256_xor_ps(x.hi, sign)};
}

LANES_INLINE vf vf_load_f32(const void *p)
{
    return vf_load(p);
}

LANES_INLINE vf vf_load_n_f32(const void *p, int n)
{
    return vf_load_n(p, n);
}

/* ---- other widths ------------------------------------------------------------------------- */

LANES_INLINE __m256i load_32(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

LANES_INLINE __m128i load_16(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

LANES_INLINE __m128i load_8(const void *p)
{
    return _mm_loadl_epi64((const __m128i *)p);
}

LANES_INLINE vf vf_load_f16(const void *p)
{
    const uint16_t *h = p;
    return (vf){_mm256_cvtph_ps(load_16(h)), _mm256_cvtph_ps(load_16(h + 8))};
}

LANES_INLINE vf vf_load_n_f16(const void *p, int n)
{
    if (n == 8)
        return (vf){_mm256_cvtph_ps(load_16(p)), _mm256_setzero_ps()};
    uint16_t h[16] = {0};
    memcpy(h, p, (size_t)n * sizeof h[0]);
    return vf_load_f16(h);
}

LANES_INLINE __m256 bf16_to_8(__m128i h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

LANES_INLINE vf vf_load_bf16(const void *p)
{
    const uint16_t *h = p;
    return (vf){bf16_to_8(load_16(h)), bf16_to_8(load_16(h + 8))};
}

LANES_INLINE vf vf_load_n_bf16(const void *p, int n)
{
    uint16_t h[16] = {0};
    memcpy(h, p, (size_t)n * sizeof h[0]);
    return vf_load_bf16(h);
}

LANES_INLINE __m256 i8_to_8(__m128i b)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b));
}

LANES_INLINE vf vf_load_i8(const void *p)
{
    const int8_t *b = p;
    return (vf){i8_to_8(load_8(b)), i8_to_8(load_8(b + 8))};
}

LANES_INLINE vf vf_load_n_i32(const int32_t *p, int n)
{
    return (vf){_mm256_cvtepi32_ps(_mm256_maskload_epi32(p, lanes_mask(n))),
                _mm256_cvtepi32_ps(_mm256_maskload_epi32(p + 8, lanes_mask(n - 8)))};
}

LANES_INLINE void vf_store_f16_n(uint16_t *p, vf x, int n)
{
    uint16_t h[16];
    uint16_t *to = n == 16 ? p : h;
    _mm_storeu_si128((__m128i *)to, _mm256_cvtps_ph(x.lo, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(to + 8), _mm256_cvtps_ph(x.hi, _MM_FROUND_TO_NEAREST_INT));
    if (to == h)
        memcpy(p, h, (size_t)n * sizeof h[0]);
}

/* rint to even, to 16 bits */
LANES_INLINE __m256i vf_to_i16(vf x)
{
    __m256i w = _mm256_packs_epi32(_mm256_cvtps_epi32(x.lo), _mm256_cvtps_epi32(x.hi));
    return _mm256_permute4x64_epi64(w, 0xd8);
}

LANES_INLINE void vf_store_i16_n(int16_t *p, vf x, int n)
{
    int16_t h[16];
    int16_t *to = n == 16 ? p : h;
    _mm256_storeu_si256((__m256i *)to, vf_to_i16(x));
    if (to == h)
        memcpy(p, h, (size_t)n * sizeof h[0]);
}

/* rint to even; the values are within -128..127 */
LANES_INLINE void vf_store_i8_n(int8_t *p, vf x, int n)
{
    __m256i w = vf_to_i16(x);
    __m128i b = _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    int8_t q[16];
    if (n == 16) {
        _mm_storeu_si128((__m128i *)p, b);
    } else {
        _mm_storeu_si128((__m128i *)q, b);
        memcpy(p, q, (size_t)n);
    }
}

/* ---- across lanes ------------------------------------------------------------------------- */

LANES_INLINE __m128 fold_to_4(vf x)
{
    __m256 a = _mm256_add_ps(x.lo, x.hi);
    return _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
}

LANES_INLINE float vf_first(vf x)
{
    return _mm256_cvtss_f32(x.lo);
}

LANES_INLINE float vf_fold_max(vf x)
{
    __m256 a = _mm256_max_ps(x.lo, x.hi);
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

LANES_INLINE __m256 max_abs_bits_8(__m256 a, __m256 x)
{
    __m256i u = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(a), u));
}

/* The larger of each lane's bits without the sign: a NaN is above everything. */
LANES_INLINE vf vf_max_abs_bits(vf a, vf x)
{
    return (vf){max_abs_bits_8(a.lo, x.lo), max_abs_bits_8(a.hi, x.hi)};
}

LANES_INLINE uint32_t vf_fold_max_bits(vf x)
{
    __m256i a = _mm256_max_epi32(_mm256_castps_si256(x.lo), _mm256_castps_si256(x.hi));
    __m128i b = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    b = _mm_max_epi32(b, _mm_shuffle_epi32(b, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epi32(b, _mm_shuffle_epi32(b, 0xb1)));
}

/* x0 x0 x2 x2 .., x1 x1 x3 x3 .., x1 x0 x3 x2 .., and x with even lanes negated */
LANES_INLINE vf vf_dup_even(vf x)
{
    return (vf){_mm256_moveldup_ps(x.lo), _mm256_moveldup_ps(x.hi)};
}

LANES_INLINE vf vf_dup_odd(vf x)
{
    return (vf){_mm256_movehdup_ps(x.lo), _mm256_movehdup_ps(x.hi)};
}

LANES_INLINE vf vf_swap_pairs(vf x)
{
    return (vf){_mm256_permute_ps(x.lo, 0xb1), _mm256_permute_ps(x.hi, 0xb1)};
}

LANES_INLINE vf vf_neg_even(vf x)
{
    const __m256 sign = _mm256_castsi256_ps(_mm256_set1_epi64x(0x80000000));
    return (vf){_mm256_xor_ps(x.lo, sign), _mm256_xor_ps(x.hi, sign)};
}

LANES_INLINE __m256 swap_8(__m256 x, const int h)
{
    return h == 1   ? _mm256_permute_ps(x, 0xb1)
           : h == 2 ? _mm256_permute_ps(x, 0x4e)
                    : _mm256_permute2f128_ps(x, x, 1);
}

/* Lane i and lane i ^ h change places; h is 1, 2, 4 or 8. */
LANES_INLINE vf vf_swap(vf x, const int h)
{
    return h == 8 ? (vf){x.hi, x.lo} : (vf){swap_8(x.lo, h), swap_8(x.hi, h)};
}

/* Lanes i with i & h negated. */
LANES_INLINE vf vf_neg_bit(vf x, const int h)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i bit = _mm256_and_si256(lane, _mm256_set1_epi32(h)); /* h or 0; to the sign */
    __m256 sign = _mm256_castsi256_ps(_mm256_slli_epi32(bit, h == 1 ? 31 : h == 2 ? 30 : 29));
    if (h == 8)
        return (vf){x.lo, _mm256_xor_ps(x.hi, _mm256_set1_ps(-0.0f))};
    return (vf){_mm256_xor_ps(x.lo, sign), _mm256_xor_ps(x.hi, sign)};
}

/* 16 interleaved floats -> 8 even or, odd, by permuting 4x64 after an in-lane shuffle */
LANES_INLINE __m256 pairs_8(const float *p, int odd)
{
    __m256 a = _mm256_loadu_ps(p), b = _mm256_loadu_ps(p + 8);
    __m256 s = odd ? _mm256_shuffle_ps(a, b, 0xdd) : _mm256_shuffle_ps(a, b, 0x88);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(s), 0xd8));
}

/* 32 interleaved floats -> the even ones and the odd ones */
LANES_INLINE void vf_load_pairs(const float *p, vf *even, vf *odd)
{
    *even = (vf){pairs_8(p, 0), pairs_8(p + 16, 0)};
    *odd = (vf){pairs_8(p, 1), pairs_8(p + 16, 1)};
}

/* ---- int8 blocks: 64 bytes are two blocks of 32, a lane is a quad of bytes ----------------- */

LANES_INLINE const pi *vi_part(const vi *x, int h)
{
    return h ? &x->hi : &x->lo;
}

LANES_INLINE vi vi_load(const void *p)
{
    const __m256i *v = p;
    return (vi){_mm256_load_si256(v), _mm256_load_si256(v + 1)};
}

LANES_INLINE pi pi_load(const void *p)
{
    return _mm256_load_si256((const __m256i *)p);
}

LANES_INLINE pf pf_from_i32(pi x)
{
    return _mm256_cvtepi32_ps(x);
}

LANES_INLINE pf pf_add(pf a, pf b)
{
    return _mm256_add_ps(a, b);
}

LANES_INLINE pf pf_mul(pf a, pf b)
{
    return _mm256_mul_ps(a, b);
}

/* The scales of 16 columns that begin at p, each to its four lanes. */
LANES_INLINE pf pf_quad_scale(const float *p)
{
    __m256 s = _mm256_castpd_ps(_mm256_broadcast_sd((const double *)(const void *)p));
    return _mm256_permutevar8x32_ps(s, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
}

/* The scales of 32 columns that begin at p, each to its eight lanes: here one. */
LANES_INLINE pf pf_oct_scale(const float *p, const int single)
{
    (void)single;
    return _mm256_set1_ps(p[0]);
}

LANES_INLINE vi vi_zero(void)
{
    return (vi){_mm256_setzero_si256(), _mm256_setzero_si256()};
}

LANES_INLINE vi vi_set1_i8(int8_t x)
{
    return (vi){_mm256_set1_epi8(x), _mm256_set1_epi8(x)};
}

/* Of each int32. */
LANES_INLINE vi vi_neg(vi x)
{
    const __m256i zero = _mm256_setzero_si256();
    return (vi){_mm256_sub_epi32(zero, x.lo), _mm256_sub_epi32(zero, x.hi)};
}

LANES_INLINE __m256i nibbles_32(const uint8_t *p)
{
    __m128i x = load_16(p);
    __m256i both = _mm256_set_m128i(_mm_srli_epi16(x, 4), x);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

/* Two times 16 bytes -> 64 nibbles: a's low ones, a's high ones, b's low ones, b's high ones */
LANES_INLINE vi vi_nibbles(const uint8_t *a, const uint8_t *b)
{
    return (vi){nibbles_32(a), nibbles_32(b)};
}

/* The int8 of the first or second Q8_0 block at p */
LANES_INLINE pi pi_load_q8(const uint8_t *p, int h)
{
    return load_32(p + 2 + 34 * h);
}

LANES_INLINE __m256i six_bits_32(__m256i l, __m256i h)
{
    return _mm256_or_si256(_mm256_and_si256(l, _mm256_set1_epi8(0x0f)),
                           _mm256_and_si256(h, _mm256_set1_epi8(0x30)));
}

/* 64 low (high = 0) or high nibbles of ql; above them bits 0..1 (4..5) of qh's 32 bytes for the first
 * half and bits 2..3 (6..7) for the second */
LANES_INLINE vi vi_six_bits(const uint8_t *ql, const uint8_t *qh, const int high)
{
    __m256i a = load_32(ql), b = load_32(ql + 32), h = load_32(qh);
    if (high)
        return (vi){six_bits_32(_mm256_srli_epi16(a, 4), h),
                    six_bits_32(_mm256_srli_epi16(b, 4), _mm256_srli_epi16(h, 2))};
    return (vi){six_bits_32(a, _mm256_slli_epi16(h, 4)), six_bits_32(b, _mm256_slli_epi16(h, 2))};
}

LANES_INLINE vf vf_from_i32(vi x)
{
    return (vf){_mm256_cvtepi32_ps(x.lo), _mm256_cvtepi32_ps(x.hi)};
}

LANES_INLINE vf vf_oct_scale(const float *p)
{
    return (vf){_mm256_set1_ps(p[0]), _mm256_set1_ps(p[1])};
}

/* Lanes 4v .. 4v + 3 of s, each to four. */
LANES_INLINE vf vf_quad(vf s, const int v)
{
    const int at = 4 * (v & 1);
    __m256 x = v < 2 ? s.lo : s.hi;
    __m256i i = _mm256_setr_epi32(at, at, at, at, at + 1, at + 1, at + 1, at + 1);
    return (vf){_mm256_permutevar8x32_ps(x, i),
                _mm256_permutevar8x32_ps(x, _mm256_add_epi32(i, _mm256_set1_epi32(2)))};
}

/* The first two floats, each to eight lanes. */
LANES_INLINE vf vf_oct(__m128 p)
{
    return (vf){_mm256_broadcastss_ps(p), _mm256_broadcastss_ps(_mm_movehdup_ps(p))};
}

/* n / 2 scales of 32 columns (n even, 0..16), each to its two half-blocks. */
LANES_INLINE vf vf_dup_scale_n(const float *p, int n)
{
    __m256 s = _mm256_maskload_ps(p, lanes_mask(n / 2));
    return (vf){_mm256_permutevar8x32_ps(s, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)),
                _mm256_permutevar8x32_ps(s, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7))};
}

#include "kernels/x86/lanes_fold.h"

#endif
