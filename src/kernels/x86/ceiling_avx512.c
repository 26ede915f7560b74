#include "kernels/ceiling.h"
#include "kernels/x86/ceiling_tmpl.h"

#include <immintrin.h>

#ifndef __AVX512F__
#error "needs -mavx512f"
#endif

void tern_ceiling_read_avx512(const uint8_t *p, size_t n)
{
    __m512i sum[4];
    for (int j = 0; j < 4; j++)
        sum[j] = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 256)
        for (size_t j = 0; j < 4; j++) {
            _mm_prefetch((const char *)p + i + AHEAD + 64 * j, _MM_HINT_T0);
            sum[j] = _mm512_add_epi64(sum[j], _mm512_loadu_si512(p + i + 64 * j));
        }
    sum[0] = _mm512_add_epi64(_mm512_add_epi64(sum[0], sum[1]), _mm512_add_epi64(sum[2], sum[3]));
    __asm__ volatile("" ::"v"(sum[0]));
}
