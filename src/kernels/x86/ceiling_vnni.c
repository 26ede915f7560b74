#include "kernels/ceiling.h"
#include "kernels/x86/ceiling_tmpl.h"

#include <immintrin.h>

#ifndef __AVX512VNNI__
#error "needs -mavx512vnni"
#endif

int64_t tern_ceiling_macs_vnni(int64_t n_step)
{
    __m512i a[N_CHAIN], w = _mm512_set1_epi8(1), q = _mm512_set1_epi8(2);
    for (int i = 0; i < N_CHAIN; i++)
        a[i] = _mm512_setzero_si512();
    for (int64_t i = 0; i < n_step; i++) {
#define STEP(j) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(a[j]) : "v"(w), "v"(q));
        CHAINS(STEP)
#undef STEP
    }
    return n_step * N_CHAIN * 64;
}
