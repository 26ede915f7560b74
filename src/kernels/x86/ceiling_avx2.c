#include "kernels/ceiling.h"
#include "kernels/x86/ceiling_tmpl.h"

#include <immintrin.h>

#ifndef __AVX2__
#error "needs -mavx2"
#endif

void tern_ceiling_read_avx2(const uint8_t *p, size_t n)
{
    __m256i sum[4];
    for (int j = 0; j < 4; j++)
        sum[j] = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += 128) {
        _mm_prefetch((const char *)p + i + AHEAD, _MM_HINT_T0);
        _mm_prefetch((const char *)p + i + AHEAD + 64, _MM_HINT_T0);
        for (size_t j = 0; j < 4; j++)
            sum[j] = _mm256_add_epi64(sum[j], _mm256_loadu_si256((const void *)(p + i + 32 * j)));
    }
    sum[0] = _mm256_add_epi64(_mm256_add_epi64(sum[0], sum[1]), _mm256_add_epi64(sum[2], sum[3]));
    __asm__ volatile("" ::"x"(sum[0]));
}

/* Without a dot product instruction: byte products to 16-bit pairs, then their sum. */
int64_t tern_ceiling_macs_avx2(int64_t n_step)
{
    __m256i a[N_CHAIN], t, w = _mm256_set1_epi8(1), q = _mm256_set1_epi8(2);
    for (int i = 0; i < N_CHAIN; i++)
        a[i] = _mm256_setzero_si256();
    for (int64_t i = 0; i < n_step; i++) {
#define STEP(j)                                                                                    \
    __asm__ volatile("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0"                                  \
                     : "+x"(a[j]), "=&x"(t)                                                        \
                     : "x"(w), "x"(q));
        CHAINS(STEP)
#undef STEP
    }
    return n_step * N_CHAIN * 32;
}
