/* What the 256-bit base-3 products have in common: codes by comparing, for which bytes are signed. Twice
 * -1 or 0 and a 2 are a code. */
#define v_add8(a, b)   _mm256_add_epi8(a, b)
#define v_sar(a, n)    _mm256_srai_epi32(a, n)
#define v_form(p)      _mm256_xor_si256(p, _mm256_set1_epi8(-128))
#define CODE_SHIFT     0
#define PLAIN_CODES(p) CODES(p)

static inline __m256i CODES(__m256i p)
{
    __m256i low = _mm256_cmpgt_epi8(_mm256_set1_epi8(86 - 128), p);
    __m256i high = _mm256_cmpgt_epi8(_mm256_set1_epi8(171 - 128), p);
    return _mm256_add_epi8(_mm256_add_epi8(low, high), _mm256_set1_epi8(2));
}

#include "kernels/x86/panel_batch.h"
#include "kernels/x86/t3_tile.h"

static void unpack(const uint8_t *w, size_t n_vec, size_t n_quad, size_t next_tile, uint8_t *to)
{
    unpack_t3r16(w, n_vec, n_quad, next_tile, to);
}
