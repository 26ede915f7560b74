/* Base-3 matrix products, their layout, and the panels batches are multiplied with. */
#include <stdlib.h>
#include <string.h>

#include "support/check.h"

#define N(a) ((int)(sizeof(a) / sizeof(a)[0]))

/* ---- panels ------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#include "kernels/x86/panel.h"

static const tern_kernel panel_rows[] = {
    {TERN_OP_MM_T3R16, "panel_avx2", TERN_ISA_AVX2, TERN_CPU_AVX2, (tern_any_fn)tern_panel_avx2},
    {TERN_OP_MM_T3R16, "panel_avxvnni", TERN_ISA_AVXVNNI, TERN_CPU_AVX_VNNI,
     (tern_any_fn)tern_panel_avxvnni},
    {TERN_OP_MM_T3R16, "panel_vnni", TERN_ISA_VNNI, TERN_CPU_AVX512_VNNI,
     (tern_any_fn)tern_panel_vnni},
};

/* Case: rows is 16 times the panels, cols 4 times the quads. */
static void panel_case(const check_case *c, bool add, uint32_t seed)
{
    size_t n_panel = (size_t)c->rows / 16, n_quad = (size_t)c->cols / 4, toks = (size_t)c->toks;
    size_t w_stride = (n_quad + 1) * 64, q_stride = n_quad * 4 + 4, acc_stride = n_panel * 16 + 3;
    size_t n_acc = (toks - 1) * acc_stride + n_panel * 16;
    check_buf w = check_buf_new((n_panel - 1) * w_stride + n_quad * 64, 64);
    check_buf q = check_buf_new((toks - 1) * q_stride + n_quad * 4, 4);
    check_buf want = check_buf_new(n_acc * 4, 4), got = check_buf_new(n_acc * 4, 4);
    check_fill_codes(w.p, w.n, c->fill, true, &seed);
    check_fill_i8(q.p, q.n, c->fill, &seed);
    int32_t *sums = want.p;
    for (size_t t = 0; t < toks; t++)
        for (size_t r = 0; r < n_panel * 16; r++) {
            const uint8_t *p = (uint8_t *)w.p + r / 16 * w_stride + r % 16 * 4;
            const int8_t *x = (int8_t *)q.p + t * q_stride;
            int64_t sum = add ? sums[t * acc_stride + r] : 0;
            for (size_t k = 0; k < n_quad * 4; k++)
                sum += p[k / 4 * 64 + k % 4] * x[k];
            sums[t * acc_stride + r] = (int32_t)sum;
        }
    for (int i = 0; i < N(panel_rows); i++) {
        const tern_kernel *k = &panel_rows[i];
        if (k->needs & ~tern_cpu_detect() || !check_wanted(k->name, c))
            continue;
        check_buf_reset(&got); /* canaries are also what is added to */
        tern_panels p = {w.p,      w_stride, (int)n_panel, (int)n_quad, q.p,
                         q_stride, c->toks,  got.p,        acc_stride,  add};
        ((tern_panel_fn *)k->fn)(&p);
        (void)check_same(got.p, want.p, n_acc, 4, k, c);
        check_report(check_buf_intact(&got), k, c, "wrote outside its buffers");
    }
    check_buf_free(&w);
    check_buf_free(&q);
    check_buf_free(&want);
    check_buf_free(&got);
}

static void panels(void **state)
{
    (void)state;
    static const int rows[] = {16, 32, 48}, quads[] = {1, 5, 16, 32, 33, 160, 336};
    for (int r = 0; r < N(rows); r++)
        for (int q = 0; q < N(quads); q++)
            for (int toks = 1; toks <= 40; toks += toks < 26 ? 1 : 7)
                for (int f = 0; f < CHECK_FILL_COUNT; f += toks < 14 ? 1 : CHECK_FILL_COUNT) {
                    check_case c = {rows[r], 4 * quads[q], toks, (check_fill)f};
                    if ((quads[q] < 100 || toks % 6 == 1) && check_wanted(NULL, &c))
                        panel_case(&c, (toks + q) % 2, (uint32_t)(toks + q));
                }
    check_done();
}
#endif

int main(int argc, char **argv)
{
    check_args(argc, argv);
    const struct CMUnitTest tests[] = {
#if defined(__x86_64__)
        cmocka_unit_test(panels),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
