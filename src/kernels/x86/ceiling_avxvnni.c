#include "kernels/ceiling.h"
#include "kernels/x86/ceiling_tmpl.h"

#include <immintrin.h>

#ifndef __AVXVNNI__
#error "needs -mavxvnni"
#endif

int64_t tern_ceiling_macs_avxvnni(int64_t n_step)
{
    __m256i a[N_CHAIN], w = _mm256_set1_epi8(1), q = _mm256_set1_epi8(2);
    for (int i = 0; i < N_CHAIN; i++)
        a[i] = _mm256_setzero_si256();
    for (int64_t i = 0; i < n_step; i++) {
#define STEP(j) __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(a[j]) : "x"(w), "x"(q));
        CHAINS(STEP)
#undef STEP
    }
    return n_step * N_CHAIN * 32;
}
