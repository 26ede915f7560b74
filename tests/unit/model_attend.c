/* Attention over long contexts: what a row computes is the softmax average of the values it sees, and
 * depends on neither the rows beside it nor the number of threads. No weights take part. */
#include "base/cpu.h"
#include "model/mixer/attend.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_POS 4400 /* more than 16 of the shortest parts, which then grow */
#define D_MAX 40

typedef struct shape {
    int n_head, n_kv_head, d_head;
} shape;

/* Groups of 3, of 1, and of more heads than are taken together. */
static const shape shapes[] = {{6, 2, 24}, {3, 3, 40}, {70, 1, 8}};

typedef struct fixture {
    tern_weights w; /* a shape and nothing else */
    tern_pool *pool;
    tern_exec e;
    tern_seq seq;
    int window;       /* most positions a row sees; 0: all */
    float *q, *k, *v; /* [N_POS][heads][d_head] */
} fixture;

static float draw(uint32_t *seed)
{
    return (float)test_rand(seed) / 16384.0f - 1.0f; /* [-1, 1) */
}

static float *draw_rows(int n_head, int d_head, uint32_t *seed)
{
    size_t n = (size_t)N_POS * (size_t)n_head * (size_t)d_head;
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = draw(seed);
    return x;
}

static void store(const tern_kernels *k, tern_kv_dtype dt, tern_kv_rows to, int at, int d,
                  const float *x, bool is_k)
{
    int8_t row[D_MAX];
    float y[D_MAX];
    memcpy(y, x, (size_t)d * sizeof *y);
    switch (dt) {
    case TERN_KV_F16:
        k->f16_store(y, d, (uint16_t *)to.rows + at * d);
        break;
    case TERN_KV_F32:
        memcpy((float *)to.rows + at * d, y, (size_t)d * sizeof *y);
        break;
    case TERN_KV_I8:
        if (is_k)
            k->hadamard(y, d);
        to.scale[at] = k->kv8_store(y, d, row);
        (is_k ? tern_kv8_put_k : tern_kv8_put_v)(to.rows, at, row, d);
    }
}

static void set_up(fixture *f, const shape *s, tern_kv_dtype k, tern_kv_dtype v)
{
    tern_err err = {0};
    uint32_t seed = 1;
    int d = s->d_head;
    *f = (fixture){0};
    f->w.h = (tern_hparams){.n_layer = 1,
                            .d_model = 64,
                            .d_ff = 64,
                            .n_vocab = 64,
                            .n_head = s->n_head,
                            .n_kv_head = s->n_kv_head,
                            .d_head = d,
                            .attn_scale = 3.0f / sqrtf((float)d),
                            .rope = {.n_rot = 8}};
    tern_kv_shape state = {
        .n_block = 2, .n_kv_head = s->n_kv_head, .d_k = d, .d_v = d, .k = k, .v = v};
    f->q = draw_rows(s->n_head, d, &seed);
    f->k = draw_rows(s->n_kv_head, d, &seed);
    f->v = draw_rows(s->n_kv_head, d, &seed);
    tern_kernels kernels;
    tern_kernels_select(0, &kernels);
    assert_int_equal(tern_seq_init(&f->seq, &state, N_POS, &err), TERN_OK);
    assert_int_equal(tern_seq_reserve(&f->seq, N_POS, &err), TERN_OK);
    for (int pos = 0; pos < N_POS; pos++)
        for (int i = 0; i < s->n_kv_head; i++) {
            int page = pos / TERN_PAGE_TOK, at = pos % TERN_PAGE_TOK;
            const float *row = f->k + (pos * s->n_kv_head + i) * d;
            store(&kernels, k, tern_seq_k(&f->seq, 1, page, i), at, d, row, true);
            row = f->v + (pos * s->n_kv_head + i) * d;
            store(&kernels, v, tern_seq_v(&f->seq, 1, page, i), at, d, row, false);
        }
}

static void tear_down(fixture *f)
{
    tern_seq_done(&f->seq);
    free(f->q);
    free(f->k);
    free(f->v);
}

/* What n rows of these positions give, on n_thread threads: [n][n_head * d_head], to be freed. */
static float *attend(fixture *f, int n_thread, const int *pos, int n)
{
    tern_err err = {0};
    unsigned cpu;
    tern_row rows[64];
    const tern_hparams *h = &f->w.h;
    size_t d_q = (size_t)h->n_head * (size_t)h->d_head;
    assert_int_equal(tern_cpu_flags(&cpu, &err), TERN_OK);
    assert_int_equal(tern_pool_new(n_thread, &f->pool, &err), TERN_OK);
    assert_int_equal(tern_exec_init(&f->e, &f->w, f->pool, cpu, 64, &err), TERN_OK);
    float *out = malloc((size_t)n * d_q * sizeof *out);
    assert_non_null(out);
    for (int i = 0; i < n; i++) {
        rows[i] = (tern_row){.seq = &f->seq, .pos = pos[i]};
        float *q = f->e.q + (size_t)i * f->e.q_stride;
        memcpy(q, f->q + (size_t)pos[i] * d_q, d_q * sizeof *q);
        for (int j = 0; f->seq.shape.k == TERN_KV_I8 && j < h->n_head; j++)
            f->e.k.hadamard(q + j * h->d_head, h->d_head);
    }
    tern_attend(&f->e, 1, f->window, rows, n);
    for (int i = 0; i < n; i++)
        memcpy(out + (size_t)i * d_q, f->e.att + (size_t)i * f->e.q_stride, d_q * sizeof *out);
    tern_exec_done(&f->e);
    tern_pool_free(f->pool);
    return out;
}

/* ---- against double arithmetic ------------------------------------------------------------- */

/* The row at pos, which sees [from, to). */
static void oracle(const fixture *f, int pos, int from, int to, double *out)
{
    const tern_hparams *h = &f->w.h;
    static double p[N_POS];
    int d = h->d_head, group = h->n_head / h->n_kv_head;
    for (int head = 0; head < h->n_head; head++) {
        const float *q = f->q + (pos * h->n_head + head) * d;
        double top = -1e300, sum = 0;
        for (int j = from; j < to; j++) {
            const float *k = f->k + (j * h->n_kv_head + head / group) * d;
            p[j] = 0;
            for (int i = 0; i < d; i++)
                p[j] += (double)q[i] * (double)k[i] * (double)h->attn_scale;
            top = p[j] > top ? p[j] : top;
        }
        for (int i = 0; i < d; i++)
            out[head * d + i] = 0;
        for (int j = from; j < to; j++) {
            const float *v = f->v + (j * h->n_kv_head + head / group) * d;
            double e = exp(p[j] - top);
            sum += e;
            for (int i = 0; i < d; i++)
                out[head * d + i] += e * (double)v[i];
        }
        for (int i = 0; i < d; i++)
            out[head * d + i] /= sum;
    }
}

/* Error of the rows at pos, root mean square over root mean square. */
static double error_of(fixture *f, const int *pos, int n)
{
    size_t d_q = (size_t)f->w.h.n_head * (size_t)f->w.h.d_head;
    double *want = malloc(d_q * sizeof *want), diff = 0, all = 0;
    assert_non_null(want);
    float *got = attend(f, 2, pos, n);
    for (int i = 0; i < n; i++) {
        int to = f->w.h.bidirectional ? pos[n - 1] + 1 : pos[i] + 1;
        oracle(f, pos[i], f->window && to > f->window ? to - f->window : 0, to, want);
        for (size_t j = 0; j < d_q; j++) {
            double x = (double)got[(size_t)i * d_q + j] - want[j];
            diff += x * x;
            all += want[j] * want[j];
        }
    }
    free(want);
    free(got);
    return sqrt(diff / all);
}

/* A score is off by about |q| times the rounding of an element of k, a twelfth of its step squared, and
 * with it p; a sum of many by as much of itself. Scores here are up to 3 sqrt(d) / 3. int8: the step is
 * max / 127, the largest of 40 uniform or rotated elements 3 times their mean size; f16: 2^-12 of an
 * element; f32: rounding alone. Each with a factor of 2 to spare. */
static const double bound[] = {[TERN_KV_F16] = 1e-3, [TERN_KV_I8] = 0.04, [TERN_KV_F32] = 3e-6};

static void test_rows_are_softmax_averages(void **state)
{
    (void)state;
    static const int pos[] = {0, 1, 15, 63, 64, 255, 256, 257, 511, 800, 4095, 4096, 4399};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int k = 0; k < 3; k++)
            for (int v = 0; v < 3; v++) {
                fixture f;
                if (s > 0 && k != v)
                    continue;
                set_up(&f, &shapes[s], (tern_kv_dtype)k, (tern_kv_dtype)v);
                double e = error_of(&f, pos, sizeof pos / sizeof pos[0]);
                if (!(e <= fmax(bound[k], bound[v])))
                    fail_msg("shape %zu, types %d and %d: error %g", s, k, v, e);
                tear_down(&f);
            }
}

static const int windows[] = {1, 5, 63, 64, 65, 256, 300, 512, 1000, 4399};
#define N_WINDOW (int)(sizeof windows / sizeof windows[0])

static void test_windows_hide_what_lies_before_them(void **state)
{
    (void)state;
    static const int pos[] = {0, 4, 63, 64, 255, 256, 257, 300, 511, 700, 1000, 4095, 4096, 4399};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int k = 0; k < 3; k++) {
            fixture f;
            set_up(&f, &shapes[s], (tern_kv_dtype)k, (tern_kv_dtype)k);
            for (int w = 0; w < N_WINDOW; w++) {
                f.window = windows[w];
                double e = error_of(&f, pos, sizeof pos / sizeof pos[0]);
                if (!(e <= bound[k]))
                    fail_msg("shape %zu, type %d, window %d: error %g", s, k, windows[w], e);
            }
            tear_down(&f);
        }
}

static void test_rows_may_see_those_behind_them(void **state)
{
    (void)state;
    int pos[64];
    for (int i = 0; i < 64; i++)
        pos[i] = i;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int k = 0; k < 3; k++)
            for (int n = 1; n <= 64; n += 9) {
                fixture f;
                set_up(&f, &shapes[s], (tern_kv_dtype)k, (tern_kv_dtype)k);
                f.w.h.bidirectional = true;
                double e = error_of(&f, pos, n);
                if (!(e <= bound[k]))
                    fail_msg("shape %zu, type %d, %d rows: error %g", s, k, n, e);
                tear_down(&f);
            }
}

/* ---- bits ---------------------------------------------------------------------------------- */

/* Rows first..first + n - 1 together give the bits they give one by one. */
static void check_rows(fixture *f, int first, int n, int n_thread)
{
    size_t d_q = (size_t)f->w.h.n_head * (size_t)f->w.h.d_head;
    int pos[64];
    for (int i = 0; i < n; i++)
        pos[i] = first + i;
    float *all = attend(f, n_thread, pos, n);
    for (int i = 0; i < n; i++) {
        float *one = attend(f, 1 + (i + n_thread) % 4, pos + i, 1);
        if (memcmp(one, all + (size_t)i * d_q, d_q * sizeof *one) != 0)
            fail_msg("%d heads, row %d of %d from %d, %d threads: other bits", f->w.h.n_head, i, n,
                     first, n_thread);
        free(one);
    }
    free(all);
}

static void test_bits_do_not_depend_on_company(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int k = 0; k < 3; k++)
            for (int v = 0; v < 3; v++) {
                fixture f;
                if (s > 0 && k != v)
                    continue;
                set_up(&f, &shapes[s], (tern_kv_dtype)k, (tern_kv_dtype)v);
                check_rows(&f, 0, 3, 2);
                check_rows(&f, 40, 40, 3);
                check_rows(&f, 250, 8, 4);  /* parts begin, and lie with several lanes */
                check_rows(&f, 500, 24, 2); /* the same within one lane */
                check_rows(&f, 4093, 8, 3); /* parts grow */
                check_rows(&f, 4090, 30, 1);
                tear_down(&f);
            }
}

static void test_bits_do_not_depend_on_company_in_a_window(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int k = 0; k < 3; k++) {
            fixture f;
            set_up(&f, &shapes[s], (tern_kv_dtype)k, (tern_kv_dtype)k);
            for (int w = s > 0 ? 5 : 1; w<N_WINDOW; w += s> 0 ? 3 : 1) {
                f.window = windows[w];
                check_rows(&f, 0, 3, 2);
                check_rows(&f, 40, 40, 3);
                check_rows(&f, 250, 8, 4);
                check_rows(&f, 508, 8, 3); /* parts begin, and windows of 256 and 300 lie in two */
                check_rows(&f, 600, 24, 2);
                check_rows(&f, 4093, 8, 3);
                check_rows(&f, 4090, 30, 1);
            }
            tear_down(&f);
        }
}

/* Rows of several sequences in one step, in any order of lengths. */
static void test_sequences_do_not_mix(void **state)
{
    (void)state;
    static const int pos[] = {4200, 3, 300, 64, 1000, 1001, 1002, 2};
    enum { N = sizeof pos / sizeof pos[0] };
    for (int k = 0; k < 3; k++)
        for (int n = 5; n <= N; n += 3) {
            fixture f;
            tern_err err = {0};
            tern_seq copies[N];
            tern_row rows[N];
            set_up(&f, &shapes[0], (tern_kv_dtype)k, (tern_kv_dtype)k);
            size_t d_q = (size_t)f.w.h.n_head * (size_t)f.w.h.d_head;
            unsigned cpu;
            f.seq.n_tok = N_POS; /* a snapshot shares complete tokens */
            memset(f.seq.ids, 0, N_POS * sizeof *f.seq.ids);
            assert_int_equal(tern_cpu_flags(&cpu, &err), TERN_OK);
            assert_int_equal(tern_pool_new(3, &f.pool, &err), TERN_OK);
            assert_int_equal(tern_exec_init(&f.e, &f.w, f.pool, cpu, 64, &err), TERN_OK);
            for (int i = 0; i < n; i++) {
                assert_int_equal(tern_seq_snapshot(&f.seq, &copies[i], &err), TERN_OK);
                rows[i] = (tern_row){.seq = &copies[i], .pos = pos[i]};
                float *q = f.e.q + (size_t)i * f.e.q_stride;
                memcpy(q, f.q + (size_t)pos[i] * d_q, d_q * sizeof *q);
                for (int j = 0; k == TERN_KV_I8 && j < f.w.h.n_head; j++)
                    f.e.k.hadamard(q + j * f.w.h.d_head, f.w.h.d_head);
            }
            tern_attend(&f.e, 1, f.window, rows, n);
            tern_exec e = f.e;
            tern_pool *pool = f.pool;
            for (int i = 0; i < n; i++) {
                float *one = attend(&f, 2, &pos[i], 1);
                assert_memory_equal(one, e.att + (size_t)i * e.q_stride, d_q * sizeof *one);
                free(one);
                tern_seq_done(&copies[i]);
            }
            tern_exec_done(&e);
            tern_pool_free(pool);
            tear_down(&f);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_softmax_averages),
        cmocka_unit_test(test_windows_hide_what_lies_before_them),
        cmocka_unit_test(test_rows_may_see_those_behind_them),
        cmocka_unit_test(test_bits_do_not_depend_on_company),
        cmocka_unit_test(test_bits_do_not_depend_on_company_in_a_window),
        cmocka_unit_test(test_sequences_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
