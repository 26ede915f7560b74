/* Ternary matrix products with 512-bit vpdpbusd: one vector is one column quad of 16 rows. */
#include <immintrin.h>
#include <stdint.h>

#if !defined(__AVX512VNNI__) || !defined(__AVX512BW__) || !defined(__AVX512VL__)
#error "needs -mavx512f -mavx512bw -mavx512vl -mavx512vnni"
#endif

typedef __m512i vi;
typedef int32_t vdot __attribute__((vector_size(64)));
typedef __m512 vf;
#define VL                16
#define v_load(p)         _mm512_loadu_si512(p)
#define v_and(a, b)       _mm512_and_si512(a, b)
#define v_shr(a, n)       _mm512_srli_epi32(a, n)
#define v_sub(a, b)       _mm512_sub_epi32(a, b)
#define v_set1(x)         _mm512_set1_epi32(x)
#define v_open(acc)       (vdot)(acc)
#define v_close(dot, acc) (vi)(dot)
#define v_dot(acc, c, x)  (vdot) _mm512_dpbusd_epi32((vi)(acc), c, x)
#define f_cvt(a)          _mm512_cvtepi32_ps(a)
#define f_set1(x)         _mm512_set1_ps(x)
#define f_load(p)         _mm512_loadu_ps(p)
#define f_add(a, b)       _mm512_add_ps(a, b)
#define f_mul(a, b)       _mm512_mul_ps(a, b)
#define f_div(a, b)       _mm512_div_ps(a, b)

static inline void f_store(float *p, vf v, int n)
{
    _mm512_mask_storeu_ps(p, n < 16 ? (__mmask16)((1u << n) - 1) : 0xffff, v);
}

#include "kernels/x86/t2_tile.h"

/* One or two tokens, where bytes must stream (AMD Zen 5, one thread: 35 of the 36 GB/s that a plain
 * read gets). Codes stay where they are in their byte, worth 1, 4, 16 or 64 times as much; each place
 * has its own accumulator and exact shifts undo the factors at the end: 4 masks in place of 3 shifts
 * and 4 masks, and 4 * nt chains. |acc| <= 192 * 128 * cols / 4 < 2^31 for cols <= 2^18. */
INLINE void stream_t2r16(const int nt, const tern_mm *k, const tile *a)
{
    int n_vec = (k->cols + 15) / 16;
    const int8_t *q = k->act.q + (size_t)a->tok * k->act.stride;
    const vi m0 = v_set1(0x03030303), m1 = v_set1(0x0c0c0c0c), m2 = v_set1(0x30303030),
             m3 = v_set1((int)0xc0c0c0c0u);
    vdot acc[4][4];
    for (int t = 0; t < nt; t++) {
        acc[t][0] = v_open(v_set1(-k->act.sum[a->tok + t]));
        acc[t][1] = acc[t][2] = acc[t][3] = v_open(v_set1(0));
    }
    for (int b = 0; b < n_vec; b++) {
        vi v = v_load(a->w + 64 * (size_t)b);
        _mm_prefetch((const char *)a->w + 64 * (size_t)b + 8192, _MM_HINT_T0);
        vi c0 = v_and(v, m0), c1 = v_and(v, m1), c2 = v_and(v, m2), c3 = v_and(v, m3);
#define TOKEN(t)                                                                                   \
    if (t < nt) {                                                                                  \
        const int8_t *x = q + (size_t)t * k->act.stride + 16 * (size_t)b;                          \
        acc[t][0] = v_dot(acc[t][0], c0, v_set1(load_i32(x)));                                     \
        acc[t][1] = v_dot(acc[t][1], c1, v_set1(load_i32(x + 4)));                                 \
        acc[t][2] = v_dot(acc[t][2], c2, v_set1(load_i32(x + 8)));                                 \
        acc[t][3] = v_dot(acc[t][3], c3, v_set1(load_i32(x + 12)));                                \
    }
        TOKEN(0) TOKEN(1)
#undef TOKEN
    }
    for (int t = 0; t < nt; t++) {
        /* right shifts of signed elements are arithmetic */
        acc[t][0] += (acc[t][1] >> 2) + (acc[t][2] >> 4) + (acc[t][3] >> 6);
        finish_t2r16(k, a, 0, t, (vi)acc[t][0]);
    }
}

static void stream_1(const tern_mm *k, const tile *a)
{
    stream_t2r16(1, k, a);
}

static void stream_2(const tern_mm *k, const tile *a)
{
    stream_t2r16(2, k, a);
}

/* clang-format off */
T2R16(3, 1, 4096) T2R16(4, 1, 4096) T2R16(5, 1, 4096) T2R16(6, 1, 4096) T2R16(7, 1, 4096)
T2R16(8, 1, 4096) T2R16(9, 1, 4096) T2R16(10, 1, 4096) T2R16(11, 1, 4096) T2R16(12, 1, 4096)
T2R16(5, 2, 4096) T2R16(6, 2, 4096) T2R16(7, 2, 4096) T2R16(8, 2, 4096) T2R16(9, 2, 4096)
T2R16(10, 2, 4096) T2R16(11, 2, 4096) T2R16(12, 2, 4096)
/* Four streams, so that fewer activations are read for each weight; shorter ahead for that. */
T2R16(3, 4, 2048) T2R16(4, 4, 2048)
T2G(1, 1, 4096) T2G(2, 1, 4096) T2G(3, 1, 4096) T2G(4, 1, 4096) T2G(5, 1, 4096) T2G(6, 1, 4096)
T2G(1, 2, 4096) T2G(2, 2, 4096) T2G(3, 2, 4096) T2G(4, 2, 4096) T2G(5, 2, 4096) T2G(6, 2, 4096)
    /* clang-format on */

    void tern_mm_t2r16_vnni(const tern_mm *k, int row0, int row1)
{
    static const tile_fn one[] = {NULL,       stream_1,   stream_2,  t2r16_3x1, t2r16_4x1,
                                  t2r16_5x1,  t2r16_6x1,  t2r16_7x1, t2r16_8x1, t2r16_9x1,
                                  t2r16_10x1, t2r16_11x1, t2r16_12x1};
    static const tile_fn two[] = {NULL,       NULL,       NULL,      NULL,      NULL,
                                  t2r16_5x2,  t2r16_6x2,  t2r16_7x2, t2r16_8x2, t2r16_9x2,
                                  t2r16_10x2, t2r16_11x2, t2r16_12x2};
    static const tile_fn four[] = {NULL, NULL, NULL, t2r16_3x4, t2r16_4x4};
    if (k->n_tok <= 2)
        run_tiles(k, row0, row1, 1, one, one, 2);
    else if (k->n_tok <= 4)
        run_tiles(k, row0, row1, 4, four, one, 4);
    else /* 24 accumulators, 2 packed, 2 codes, mask, activation */
        run_tiles(k, row0, row1, 2, two, one, 12);
}

void tern_mm_t2g_vnni(const tern_mm *k, int row0, int row1)
{
    static const tile_fn one[] = {NULL, t2g_1x1, t2g_2x1, t2g_3x1, t2g_4x1, t2g_5x1, t2g_6x1};
    static const tile_fn two[] = {NULL, t2g_1x2, t2g_2x2, t2g_3x2, t2g_4x2, t2g_5x2, t2g_6x2};
    run_tiles(k, row0, row1, 2, two, one, 6); /* 12 accumulators and 12 partial sums */
}
