/* Attention over int8 pages: every variant against the reference bit for bit, and the references against
 * the layout and double arithmetic. Of a case, rows are positions, cols d_head and toks queries. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"

#define POS     TERN_KV8_POS
#define POS_MAX (TERN_KV8_PAGES * POS)
#define D_MAX   512

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

typedef struct attention {
    tern_kv8 k;
    check_buf page[TERN_KV8_PAGES], scale, x, x_scale, c, y;
    size_t n_y; /* floats of a result */
} attention;

/* Extreme sums: all products of one sign, and as large as they can be. */
static void fill_i16(int16_t *p, size_t n, check_fill f, uint32_t *seed)
{
    for (size_t i = 0; i < n; i++)
        switch (f) {
        case CHECK_RANDOM:
            p[i] = (int16_t)((int)(test_rand(seed) * 4u) % 65535 - 32767);
            break;
        case CHECK_MAX:
            p[i] = i & 1 ? 32767 : -32767;
            break;
        case CHECK_LAST:
            p[i] = i + 1 == n ? 32767 : 0;
            break;
        default:
            p[i] = (int16_t)(((int)f - CHECK_ZERO) * 32767);
        }
}

static attention attention_new(const check_case *c, bool qk, uint32_t *seed)
{
    size_t d = (size_t)c->cols, n = (size_t)c->rows, n_q = (size_t)c->toks;
    size_t page_bytes = POS * (qk ? d : round_up(d, 16));
    size_t n_x = qk ? d : round_up(n, 2), x_stride = n_x + 2 * (n_q % 3);
    attention a = {.scale = check_buf_new(n * 4, 4),
                   .x = check_buf_new(((n_q - 1) * x_stride + n_x) * 2, 4),
                   .x_scale = check_buf_new(n_q * 4, 4),
                   .c = check_buf_new(n_q * 4, 4)};
    a.k = (tern_kv8){.n_pos = c->rows,
                     .d_head = c->cols,
                     .scale = a.scale.p,
                     .n_q = c->toks,
                     .x = a.x.p,
                     .x_stride = x_stride,
                     .x_scale = a.x_scale.p,
                     .c = a.c.p,
                     .y_stride = (qk ? n : d) + n_q % 2};
    for (size_t i = 0; i * POS < n; i++) {
        a.page[i] = check_buf_new(page_bytes, 64);
        check_fill_i8(a.page[i].p, page_bytes, c->fill, seed);
        if (c->fill == CHECK_MAX) /* so that no two products differ in sign */
            memset(a.page[i].p, -128, page_bytes);
        a.k.page[i] = a.page[i].p;
        a.k.ahead[i] = n_q & 1 ? a.k.page[0] : NULL;
    }
    fill_i16(a.x.p, a.x.n / 2, c->fill == CHECK_MAX ? CHECK_PLUS : c->fill, seed);
    for (size_t i = 0; !qk && n % 2 && i < n_q; i++)
        ((int16_t *)a.x.p)[i * x_stride + n] = 0;
    for (size_t i = 0; i < n; i++)
        ((float *)a.scale.p)[i] = check_scale(seed);
    for (size_t i = 0; i < n_q; i++) {
        ((float *)a.x_scale.p)[i] = check_scale(seed);
        ((float *)a.c.p)[i] = i % 3 ? check_scale(seed) : 1.0f;
    }
    a.n_y = (n_q - 1) * a.k.y_stride + (qk ? n : d);
    a.y = check_buf_new(a.n_y * 4, 4);
    a.k.y = a.y.p;
    return a;
}

static void attention_free(attention *a)
{
    for (int i = 0; i < TERN_KV8_PAGES; i++)
        check_buf_free(&a->page[i]);
    check_buf_free(&a->scale);
    check_buf_free(&a->x);
    check_buf_free(&a->x_scale);
    check_buf_free(&a->c);
    check_buf_free(&a->y);
}

/* Into sums that were not 0 before; what lies between rows must stay. */
static void run_into(const tern_kernel *k, attention *a)
{
    for (size_t i = 0; i < a->n_y; i++)
        ((float *)a->y.p)[i] = (float)(i % 19) - 9;
    ((tern_kv8_fn)k->fn)(&a->k);
}

static void compare(tern_op op, const check_case *c)
{
    if (!check_wanted(NULL, c))
        return;
    uint32_t seed = (uint32_t)(c->rows * 17 + c->cols * 3 + c->toks);
    attention a = attention_new(c, op == TERN_OP_QK_I8, &seed);
    float *want = malloc(a.n_y * 4);
    assert_non_null(want);
    run_into(check_ref(op), &a);
    memcpy(want, a.y.p, a.n_y * 4);
    for (const tern_kernel *k = NULL; (k = check_next(op, k));) {
        run_into(k, &a);
        check_same(a.y.p, want, a.n_y, 4, k, c);
        check_report(check_buf_intact(&a.y), k, c, "written outside its buffer");
    }
    free(want);
    attention_free(&a);
}

static void sums_equal_reference(void **state)
{
    (void)state;
    static const int n_pos[] = {1,  2,  3,  8,  15,  16,  17,  31,  32,  33,  47, 48,
                                49, 63, 64, 65, 100, 127, 128, 129, 192, 255, 256};
    static const int n_q[] = {1, 2, 3, 4, 5, 7, 9, 64};
    for (int op = 0; op < 2; op++)
        for (int d = 8; d <= D_MAX; d += d < 160 ? 8 : 88)
            for (int j = 0; j < 23; j++)
                for (int q = 0; q < 8; q++)
                    for (check_fill f = 0; f < CHECK_FILL_COUNT; f++) {
                        check_case c = {.rows = n_pos[j], .cols = d, .toks = n_q[q], .fill = f};
                        if ((d / 8 + j + q + (int)f) % 31 == 0 || (q < 4 && d == 128 && !f))
                            compare(op ? TERN_OP_AV_I8 : TERN_OP_QK_I8, &c);
                    }
    check_done();
}

/* Sums at the end of the int32 range: 512 products of -128 and 32767 or -32767. */
static void sums_reach_the_end(void **state)
{
    (void)state;
    for (int op = 0; op < 2; op++)
        for (check_fill f = CHECK_MINUS; f <= CHECK_MAX; f++) {
            check_case c = {.rows = POS_MAX, .cols = D_MAX, .toks = 4, .fill = f};
            compare(op ? TERN_OP_AV_I8 : TERN_OP_QK_I8, &c);
        }
    check_done();
}

/* ---- what the references compute ------------------------------------------------------------ */

static int8_t element(int j, int d)
{
    return (int8_t)((j * 31 + d * 7) % 255 - 127);
}

/* Rows that were put come back, through queries with one element, and stand where kernel.h says. */
static void pages_hold_rows(void **state)
{
    (void)state;
    static const int sizes[] = {8, 16, 24, 64, 72, 80, 128, 200, 512};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        int d_head = sizes[s], wide = (d_head + 15) / 16 * 16;
        int8_t *kp = calloc((size_t)d_head, POS), *vp = calloc((size_t)wide, POS), row[D_MAX];
        assert_true(kp && vp);
        for (int j = POS - 1; j >= 0; j--) {
            for (int d = 0; d < d_head; d++)
                row[d] = element(j, d);
            tern_kv8_put_k(kp, j, row, d_head);
            tern_kv8_put_v(vp, j, row, d_head);
        }
        float one = 1, zero = 0, scale[POS], y[D_MAX];
        int16_t x[D_MAX] = {0};
        for (int j = 0; j < POS; j++)
            scale[j] = (float)(j % 3 + 1);
        tern_kv8 k = {.page = {kp},
                      .n_pos = POS,
                      .d_head = d_head,
                      .scale = scale,
                      .n_q = 1,
                      .x = x,
                      .x_scale = &one,
                      .c = &zero,
                      .y = y};
        for (int d = 0; d < d_head; d++) {
            x[d] = 2;
            ((tern_kv8_fn)check_ref(TERN_OP_QK_I8)->fn)(&k);
            for (int j = 0; j < POS; j++) {
                assert_true(y[j] == 2.0f * (float)element(j, d) * scale[j]);
                assert_int_equal(kp[d / 2 * 128 + 2 * j + d % 2], element(j, d));
            }
            x[d] = 0;
        }
        k.page[0] = vp;
        memset(y, 0, sizeof y);
        for (int j = 0; j < POS; j++) {
            x[j] = 3;
            ((tern_kv8_fn)check_ref(TERN_OP_AV_I8)->fn)(&k);
            for (int d = 0; d < d_head; d++) {
                int d0 = d - d % 64, w = wide - d0 < 64 ? wide - d0 : 64;
                assert_true(y[d] == 3.0f * (float)element(j, d));
                assert_int_equal(vp[d0 * POS + j / 2 * 2 * w + 2 * (d - d0) + j % 2],
                                 element(j, d));
            }
            x[j] = 0;
        }
        free(kp);
        free(vp);
    }
}

/* Random rows through the stores: scores and sums against double arithmetic on the floats they were made
 * from. A stored element is off by at most half a step of its row, and by the three roundings of making
 * and reading it; FUZZ is more than those. */
#define FUZZ (1 + 8 * (double)FLT_EPSILON)
enum { N = 150, D = 72 };

static float largest(const float *x, int n)
{
    float m = 0;
    for (int i = 0; i < n; i++)
        m = fabsf(x[i]) > m ? fabsf(x[i]) : m;
    return m;
}

static void scores_are_near_double(void **state)
{
    (void)state;
    static float rows[N][D];
    static int8_t pages[3][POS * D], row[D];
    tern_kv8_store_fn store8 = (tern_kv8_store_fn)check_ref(TERN_OP_KV8_STORE)->fn;
    tern_i16_store_fn store16 = (tern_i16_store_fn)check_ref(TERN_OP_I16_STORE)->fn;
    float q[D], scale[N], x_scale, y[N];
    int16_t x[D];
    uint32_t seed = 11;
    for (int d = 0; d < D; d++)
        q[d] = check_scale(&seed);
    for (int j = 0; j < N; j++) {
        for (int d = 0; d < D; d++)
            rows[j][d] = check_scale(&seed) * (d == 5 ? 9.0f : 1.0f);
        scale[j] = store8(rows[j], D, row);
        tern_kv8_put_k(pages[j / POS], j % POS, row, D);
    }
    x_scale = store16(q, NULL, D, x);
    tern_kv8 k = {.page = {pages[0], pages[1], pages[2]},
                  .n_pos = N,
                  .d_head = D,
                  .scale = scale,
                  .n_q = 1,
                  .x = x,
                  .x_scale = &x_scale,
                  .y = y};
    ((tern_kv8_fn)check_ref(TERN_OP_QK_I8)->fn)(&k);
    double q_half = (double)largest(q, D) / 65534;
    for (int j = 0; j < N; j++) {
        double want = 0, bound = 0, k_half = (double)largest(rows[j], D) / 254;
        for (int d = 0; d < D; d++) {
            want += (double)q[d] * (double)rows[j][d];
            bound += fabs((double)q[d]) * k_half + (fabs((double)rows[j][d]) + k_half) * q_half +
                     fabs(want) * 1e-6;
        }
        assert_true(fabs((double)y[j] - want) <= bound * FUZZ);
        assert_true(fabs((double)y[j] - want) <= 0.02 * D); /* and far from anything else */
    }
}

static void sums_are_near_double(void **state)
{
    (void)state;
    static float rows[N][D];
    static int8_t pages[3][POS * (D + 8)], row[D];
    tern_kv8_store_fn store8 = (tern_kv8_store_fn)check_ref(TERN_OP_KV8_STORE)->fn;
    tern_i16_store_fn store16 = (tern_i16_store_fn)check_ref(TERN_OP_I16_STORE)->fn;
    float p[N], scale[N], c = 0.5f, x_scale, y[D], top = 0;
    int16_t x[N];
    uint32_t seed = 12;
    for (int j = 0; j < N; j++) {
        p[j] = fabsf(check_scale(&seed)) / (float)(1 + j % 5);
        for (int d = 0; d < D; d++)
            rows[j][d] = check_scale(&seed);
        scale[j] = store8(rows[j], D, row);
        tern_kv8_put_v(pages[j / POS], j % POS, row, D);
        top = p[j] * scale[j] > top ? p[j] * scale[j] : top;
    }
    x_scale = store16(p, scale, N, x);
    for (int d = 0; d < D; d++)
        y[d] = (float)d;
    tern_kv8 k = {.page = {pages[0], pages[1], pages[2]},
                  .n_pos = N,
                  .d_head = D,
                  .n_q = 1,
                  .x = x,
                  .x_scale = &x_scale,
                  .c = &c,
                  .y = y};
    ((tern_kv8_fn)check_ref(TERN_OP_AV_I8)->fn)(&k);
    for (int d = 0; d < D; d++) {
        double want = d / 2.0, bound = d * 1e-6;
        for (int j = 0; j < N; j++) {
            double v_half = (double)scale[j] / 2;
            want += (double)p[j] * (double)rows[j][d];
            bound += (double)p[j] * v_half + 127 * (double)top / 65534 + fabs(want) * 1e-6;
        }
        assert_true(fabs((double)y[d] - want) <= bound * FUZZ);
    }
}

int main(int argc, char **argv)
{
    check_args(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_equal_reference), cmocka_unit_test(sums_reach_the_end),
        cmocka_unit_test(pages_hold_rows),      cmocka_unit_test(scores_are_near_double),
        cmocka_unit_test(sums_are_near_double),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
