/* Vectors that change places, beside those of dot_*.h, which is included first:
 *   v_lo8 v_hi8 .. v_lo64 v_hi64   interleave the low or high halves of each 128 bits
 *   v_fold(a)           the sum of the 128-bit parts, elementwise
 *   v_store_n(p, v, n)  the first n > 0 elements; v_load_n(p, n) these and zeros
 *   v_transpose(a)      VL vectors: element i of vector j becomes element j of vector i */
#ifndef TERN_KERNELS_INTERLEAVE_H
#define TERN_KERNELS_INTERLEAVE_H

#if VL == 16

#define v_add(a, b)  _mm512_add_epi32(a, b)
#define v_lo8(a, b)  _mm512_unpacklo_epi8(a, b)
#define v_hi8(a, b)  _mm512_unpackhi_epi8(a, b)
#define v_lo16(a, b) _mm512_unpacklo_epi16(a, b)
#define v_hi16(a, b) _mm512_unpackhi_epi16(a, b)
#define v_lo32(a, b) _mm512_unpacklo_epi32(a, b)
#define v_hi32(a, b) _mm512_unpackhi_epi32(a, b)
#define v_lo64(a, b) _mm512_unpacklo_epi64(a, b)
#define v_hi64(a, b) _mm512_unpackhi_epi64(a, b)

static inline __m128i v_fold(vi a)
{
    __m256i b = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));
}

static inline void v_store_n(int32_t *p, vi v, int n)
{
    _mm512_mask_storeu_epi32(p, n < 16 ? (__mmask16)((1u << n) - 1) : 0xffff, v);
}

static inline vi v_load_n(const int32_t *p, int n)
{
    return _mm512_maskz_loadu_epi32(n < 16 ? (__mmask16)((1u << n) - 1) : 0xffff, p);
}

#else

#define v_add(a, b)  _mm256_add_epi32(a, b)
#define v_lo8(a, b)  _mm256_unpacklo_epi8(a, b)
#define v_hi8(a, b)  _mm256_unpackhi_epi8(a, b)
#define v_lo16(a, b) _mm256_unpacklo_epi16(a, b)
#define v_hi16(a, b) _mm256_unpackhi_epi16(a, b)
#define v_lo32(a, b) _mm256_unpacklo_epi32(a, b)
#define v_hi32(a, b) _mm256_unpackhi_epi32(a, b)
#define v_lo64(a, b) _mm256_unpacklo_epi64(a, b)
#define v_hi64(a, b) _mm256_unpackhi_epi64(a, b)

static inline __m128i v_fold(vi a)
{
    return _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
}

static inline void v_store_n(int32_t *p, vi v, int n)
{
    __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    if (n >= 8)
        _mm256_storeu_si256((__m256i *)p, v);
    else
        _mm256_maskstore_epi32(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), index), v);
}

static inline vi v_load_n(const int32_t *p, int n)
{
    __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_epi32(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), index));
}

#endif

/* Four vectors: within each 128 bits, element i of vector j becomes element j of vector i. */
static inline __attribute__((always_inline)) void v_transpose4(vi *a)
{
    vi lo01 = v_lo32(a[0], a[1]), hi01 = v_hi32(a[0], a[1]);
    vi lo23 = v_lo32(a[2], a[3]), hi23 = v_hi32(a[2], a[3]);
    a[0] = v_lo64(lo01, lo23);
    a[1] = v_hi64(lo01, lo23);
    a[2] = v_lo64(hi01, hi23);
    a[3] = v_hi64(hi01, hi23);
}

/* Written out, for compilers keep an array in registers only where no loop is left. */
#if VL == 16

#define V_ACROSS(j)                                                                                \
    {                                                                                              \
        vi lo01 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0x44);                                      \
        vi hi01 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0xee);                                      \
        vi lo23 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0x44);                                 \
        vi hi23 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0xee);                                 \
        a[j] = _mm512_shuffle_i32x4(lo01, lo23, 0x88);                                             \
        a[4 + j] = _mm512_shuffle_i32x4(lo01, lo23, 0xdd);                                         \
        a[8 + j] = _mm512_shuffle_i32x4(hi01, hi23, 0x88);                                         \
        a[12 + j] = _mm512_shuffle_i32x4(hi01, hi23, 0xdd);                                        \
    }

static inline __attribute__((always_inline)) void v_transpose(vi a[16])
{
    v_transpose4(a); /* part l of vector 4g+j: element 4l+j of rows 4g.. */
    v_transpose4(a + 4);
    v_transpose4(a + 8);
    v_transpose4(a + 12);
    V_ACROSS(0)
    V_ACROSS(1)
    V_ACROSS(2)
    V_ACROSS(3)
}

/* X(i) for every vector of a transpose. */
#define V_EACH(X)                                                                                  \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

#else

#define V_ACROSS(j)                                                                                \
    {                                                                                              \
        vi lo = _mm256_permute2x128_si256(a[j], a[4 + j], 0x20);                                   \
        a[4 + j] = _mm256_permute2x128_si256(a[j], a[4 + j], 0x31);                                \
        a[j] = lo;                                                                                 \
    }

static inline __attribute__((always_inline)) void v_transpose(vi a[8])
{
    v_transpose4(a);
    v_transpose4(a + 4);
    V_ACROSS(0)
    V_ACROSS(1)
    V_ACROSS(2)
    V_ACROSS(3)
}

#define V_EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)

#endif

#undef V_ACROSS

#endif
