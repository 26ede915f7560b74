/* Ternary matrix products with 512-bit vpdpbusd. */
#include "kernels/x86/dot_vnni.h"

#include "kernels/x86/panel_batch.h"
#include "kernels/x86/t2_tile.h"

/* Three and four tokens take four stripes: each activation is read half as often as with two (AMD
 * Zen 5: 25 instead of 20 GB/s). */
/* clang-format off */
STREAM(1, 8192)
STREAM(2, 8192)
T2R16(3, 4, 0)
T2R16(4, 4, 0)
T2R16(5, 2, 0)
T2R16(6, 2, 0)
T2R16(7, 2, 0)
T2R16(8, 2, 0)
T2R16(9, 2, 0)
T2R16(10, 2, 0)
T2R16(11, 2, 0)
T2R16(12, 2, 0)
T2R16(3, 1, 4096)
T2R16(4, 1, 4096)
T2R16(5, 1, 4096)
T2R16(6, 1, 4096)
T2R16(7, 1, 4096)
T2R16(8, 1, 4096)
T2R16(9, 1, 4096)
T2R16(10, 1, 4096)
T2R16(11, 1, 4096)
T2R16(12, 1, 4096)
T2G(1, 2, 4096)
T2G(2, 2, 4096)
T2G(3, 2, 4096)
T2G(4, 2, 4096)
T2G(5, 2, 4096)
T2G(1, 1, 4096)
T2G(2, 1, 4096)
T2G(3, 1, 4096)
T2G(4, 1, 4096)
T2G(5, 1, 4096)

static const tile_fn one[] = {
    NULL, stream_1, stream_2, t2r16_3x1, t2r16_4x1, t2r16_5x1, t2r16_6x1, t2r16_7x1, t2r16_8x1,
    t2r16_9x1, t2r16_10x1, t2r16_11x1, t2r16_12x1};
static const tile_fn two[] = {
    NULL, NULL, NULL, NULL, NULL, t2r16_5x2, t2r16_6x2, t2r16_7x2, t2r16_8x2, t2r16_9x2, t2r16_10x2,
    t2r16_11x2, t2r16_12x2};
static const tile_fn four[] = {NULL, NULL, NULL, t2r16_3x4, t2r16_4x4};
static const tile_fn group_one[] = {NULL, t2g_1x1, t2g_2x1, t2g_3x1, t2g_4x1, t2g_5x1};
static const tile_fn group_two[] = {NULL, t2g_1x2, t2g_2x2, t2g_3x2, t2g_4x2, t2g_5x2};
/* clang-format on */

void tern_mm_t2r16_vnni(const tern_mm *k, int row0, int row1)
{
    if (k->n_tok <= 2)
        run_tiles(k, row0, row1, 1, one, one, 2);
    else if (k->n_tok <= 4)
        run_tiles(k, row0, row1, 4, four, one, 4);
    else /* 24 accumulators, 2 packed, 2 codes, mask, activation */
        run_tiles(k, row0, row1, 2, two, one, 12);
}

void tern_mm_t2g_vnni(const tern_mm *k, int row0, int row1)
{
    run_tiles(k, row0, row1, 2, group_two, group_one, 5);
}

static void unpack(const uint8_t *w, size_t n_vec, size_t n_quad, size_t next_tile, uint8_t *to)
{
    const vi mask = v_set1(0x03030303);
    (void)n_vec; /* a stripe ends with the columns */
    for (size_t e = 0; e < n_quad; e += 4, w += 64, to += 256) {
        vi v = v_load(w);
        _mm_prefetch((const char *)w + next_tile, _MM_HINT_T1);
        v_store(to, v_and(v, mask));
        v_store(to + 64, v_and(v_shr(v, 2), mask));
        v_store(to + 128, v_and(v_shr(v, 4), mask));
        v_store(to + 192, v_and(v_shr(v, 6), mask));
    }
}

void tern_t2r16_batch_vnni(const tern_mm *k, int row0, int row1, tern_panel_fn *dot)
{
    run_batch(k, row0, row1, 4, ((size_t)k->cols + 63) / 64 * 4, unpack, dot);
}
