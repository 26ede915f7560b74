/* Bytes of five trits (T3R16 and its like, kernel.h) as vectors; dot_*.h is included first.
 *   v_form(p)      bytes as CODES and triple take them: p or p - 128 mod 256, for 3 (p - 128) = 3 p - 128
 *   triple(p)      brings the next trit to the front: 3 p mod 256
 *   CODES(p)       the codes of the first trits, shifted left by CODE_SHIFT; PLAIN_CODES not shifted
 *   v_add8 v_sar   bytes, wrapping; elements of 32 bits, arithmetic */
#ifndef TERN_KERNELS_TRITS_H
#define TERN_KERNELS_TRITS_H

#if VL == 16

#define v_add8(a, b)   _mm512_add_epi8(a, b)
#define v_sar(a, n)    _mm512_srai_epi32(a, n)
#define v_form(p)      (p)
#define CODES(p)       _mm512_and_si512(front_bits(p), v_set1((int32_t)0xc0c0c0c0u))
#define CODE_SHIFT     6
#define PLAIN_CODES(p) _mm512_and_si512(_mm512_srli_epi16(front_bits(p), 6), v_set1(0x03030303))

/* The trit in the two highest bits: 3 p / 4 by averages, which round up, hence p - 1; p is never 0. Additions and
 * averages run where vpdpbusd does not (AMD Zen 5: a saturating subtraction, which would do for 0
 * too, a compare or a shift would take its place). */
static inline __m512i front_bits(__m512i p)
{
    __m512i x = _mm512_add_epi8(p, _mm512_set1_epi8(-1));
    return _mm512_avg_epu8(x, _mm512_avg_epu8(x, _mm512_setzero_si512()));
}

#else

#define v_add8(a, b)   _mm256_add_epi8(a, b)
#define v_sar(a, n)    _mm256_srai_epi32(a, n)
#define v_form(p)      _mm256_xor_si256(p, _mm256_set1_epi8(-128))
#define CODE_SHIFT     0
#define PLAIN_CODES(p) CODES(p)

/* By comparing, for which bytes are signed: a code is how many of two limits they pass, each of which gives -1. */
static inline __m256i CODES(__m256i p)
{
    __m256i low = _mm256_cmpgt_epi8(p, _mm256_set1_epi8(85 - 128));
    __m256i high = _mm256_cmpgt_epi8(p, _mm256_set1_epi8(170 - 128));
    return _mm256_abs_epi8(_mm256_add_epi8(low, high));
}

#endif

static inline __attribute__((always_inline)) vi triple(vi p)
{
    p = v_add8(p, v_add8(p, p));
    __asm__("" : "+v"(p)); /* else clang multiplies by 9 and 27, which takes longer */
    return p;
}

#endif
