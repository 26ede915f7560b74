/* Norms, rotation, gates, stores and attention: every variant against the reference bit for bit, and the
 * references against double arithmetic. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ref/ref.h"
#include "support/check.h"

#define N_MAX 2600

static const int lengths[] = {1,  2,  3,  4,  5,  7,  8,  9,  15,  16,  17,  23,  24,   31,
                              32, 33, 40, 47, 48, 63, 64, 65, 100, 128, 160, 576, 1536, 2560};
#define N_LENGTH (sizeof lengths / sizeof lengths[0])

/* Half units of the last place, relative to a result. */
static double ulps(double n)
{
    return n * (double)FLT_EPSILON / 2;
}

/* The reference, then every variant this machine runs. */
static const tern_kernel *each(tern_op op, const tern_kernel *prev)
{
    return !prev ? check_ref(op) : check_next(op, prev->isa == TERN_ISA_REF ? NULL : prev);
}

/* ---- one vector in, one out ----------------------------------------------------------------- */

typedef struct vectors {
    check_buf a, b, y;
    int n;
} vectors;

/* Runs one kernel of an op on a and b (which are refilled by the caller) into y. */
typedef void (*vector_run)(const tern_kernel *k, vectors *v);

static void run_rmsnorm(const tern_kernel *k, vectors *v)
{
    ((tern_rmsnorm_fn)k->fn)(v->a.p, v->b.p, 1e-5f, v->n, v->y.p);
}

static void run_rmsnorm_plain(const tern_kernel *k, vectors *v)
{
    memcpy(v->y.p, v->a.p, v->y.n);
    ((tern_rmsnorm_fn)k->fn)(v->y.p, NULL, 1e-5f, v->n, v->y.p);
}

static void run_glu(const tern_kernel *k, vectors *v)
{
    ((tern_glu_fn)k->fn)(v->a.p, v->b.p, v->n, v->y.p);
}

static void run_act(const tern_kernel *k, vectors *v)
{
    memcpy(v->y.p, v->a.p, v->y.n);
    ((tern_glu_fn)k->fn)(v->y.p, NULL, v->n, v->y.p);
}

static void run_add(const tern_kernel *k, vectors *v)
{
    memcpy(v->y.p, v->a.p, v->y.n);
    ((tern_add_fn)k->fn)(v->y.p, v->b.p, v->n);
}

static void run_scale_add(const tern_kernel *k, vectors *v)
{
    memcpy(v->y.p, v->a.p, v->y.n);
    ((tern_scale_add_fn)k->fn)(v->y.p, 0.3f, v->b.p, -1.7f, v->n);
}

/* Rotate the even part; what is left over must stay. */
static void run_rope(const tern_kernel *k, vectors *v, bool neox)
{
    memcpy(v->y.p, v->a.p, v->y.n);
    ((tern_rope_fn)k->fn)(v->y.p, v->b.p, v->n / 2 * 2, neox);
}

static void run_rope_pairs(const tern_kernel *k, vectors *v)
{
    run_rope(k, v, false);
}

static void run_rope_halves(const tern_kernel *k, vectors *v)
{
    run_rope(k, v, true);
}

static void run_f16(const tern_kernel *k, vectors *v)
{
    ((tern_f16_store_fn)k->fn)(v->a.p, v->n, v->y.p);
}

static void run_kv8(const tern_kernel *k, vectors *v)
{
    float *y = v->y.p;
    y[0] = ((tern_kv8_store_fn)k->fn)(v->a.p, v->n, (int8_t *)(y + 1));
}

static void run_hadamard(const tern_kernel *k, vectors *v)
{
    memcpy(v->y.p, v->a.p, v->y.n);
    ((tern_hadamard_fn)k->fn)(v->y.p, v->n);
}

static void run_i16(const tern_kernel *k, vectors *v)
{
    float *y = v->y.p;
    y[0] = ((tern_i16_store_fn)k->fn)(v->a.p, NULL, v->n, (int16_t *)(y + 1));
}

static void run_i16_mul(const tern_kernel *k, vectors *v)
{
    float *y = v->y.p;
    y[0] = ((tern_i16_store_fn)k->fn)(v->a.p, v->b.p, v->n, (int16_t *)(y + 1));
}

static const struct {
    tern_op op;
    vector_run run;
    size_t y_elem, y_extra; /* bytes of output per element, and before them */
} vector_ops[] = {
    {TERN_OP_RMSNORM, run_rmsnorm, 4, 0},   {TERN_OP_RMSNORM, run_rmsnorm_plain, 4, 0},
    {TERN_OP_RELU2_MUL, run_glu, 4, 0},     {TERN_OP_RELU2_MUL, run_act, 4, 0},
    {TERN_OP_SILU_MUL, run_glu, 4, 0},      {TERN_OP_SILU_MUL, run_act, 4, 0},
    {TERN_OP_GELU_MUL, run_glu, 4, 0},      {TERN_OP_GELU_MUL, run_act, 4, 0},
    {TERN_OP_ADD, run_add, 4, 0},           {TERN_OP_ROPE, run_rope_pairs, 4, 0},
    {TERN_OP_ROPE, run_rope_halves, 4, 0},  {TERN_OP_F16_STORE, run_f16, 2, 0},
    {TERN_OP_KV8_STORE, run_kv8, 1, 4},     {TERN_OP_I16_STORE, run_i16, 2, 4},
    {TERN_OP_I16_STORE, run_i16_mul, 2, 4}, {TERN_OP_SCALE_ADD, run_scale_add, 4, 0},
    {TERN_OP_HADAMARD, run_hadamard, 4, 0},
};

static void compare_vector(size_t i, const check_case *c)
{
    if (!check_wanted(NULL, c))
        return;
    uint32_t seed = (uint32_t)c->cols * 31 + (uint32_t)c->fill;
    size_t n = (size_t)c->cols, bytes = n * vector_ops[i].y_elem + vector_ops[i].y_extra;
    vectors v = {
        .a = check_buf_new(n * 4, 4),
        .b = check_buf_new(n * 4, 4),
        .y = check_buf_new(bytes, vector_ops[i].y_elem == 2 && !vector_ops[i].y_extra ? 2 : 4),
        .n = c->cols};
    uint8_t want[4 * N_MAX];
    check_fill_f32(v.a.p, n, c->fill, &seed);
    check_fill_f32(v.b.p, n, c->fill, &seed);
    vector_ops[i].run(check_ref(vector_ops[i].op), &v);
    memcpy(want, v.y.p, bytes);
    for (const tern_kernel *k = NULL; (k = check_next(vector_ops[i].op, k));) {
        check_buf_reset(&v.y);
        vector_ops[i].run(k, &v);
        check_same(v.y.p, want, bytes, 1, k, c);
        check_report(check_buf_intact(&v.y) && check_buf_intact(&v.a) && check_buf_intact(&v.b), k,
                     c, "written outside its buffer");
    }
    check_buf_free(&v.a);
    check_buf_free(&v.b);
    check_buf_free(&v.y);
}

static void vectors_equal_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vector_ops / sizeof vector_ops[0]; i++)
        for (size_t j = 0; j < N_LENGTH; j++)
            for (check_fill f = 0; f < CHECK_FILL_COUNT; f++) {
                check_case c = {.cols = lengths[j], .fill = f};
                compare_vector(i, &c);
            }
    check_done();
}

/* ---- what the references compute ------------------------------------------------------------ */

/* Every 997th float of the range. 1.04 units of the last place were measured over every seventh. */
static void exp_is_near_double(void **state)
{
    (void)state;
    for (uint32_t u = 0; u < 0xff800000u; u += 997) {
        float x;
        memcpy(&x, &u, sizeof x);
        if (!(x >= -87.3f && x <= 88.37f))
            continue;
        double want = exp((double)x), got = (double)tern_exp_ref(x);
        double ulp = (double)(nextafterf((float)want, INFINITY) - (float)want);
        if (!(fabs(got - want) <= 1.1 * ulp))
            fail_msg("exp(%a) = %a, not %a", (double)x, got, want);
    }
    assert_true(tern_exp_ref(0.0f) == 1.0f && tern_exp_ref(-0.0f) == 1.0f);
    assert_true(tern_exp_ref(-INFINITY) == 0.0f && tern_exp_ref(nextafterf(-87.3f, -100)) == 0.0f);
    assert_true(tern_exp_ref(-87.3f) >= FLT_MIN && tern_exp_ref(-FLT_MAX) == 0.0f);
    assert_true(tern_exp_ref(INFINITY) == tern_exp_ref(88.37f) && isfinite(tern_exp_ref(FLT_MAX)));
    for (uint32_t u = 0x7f800001; u < 0x7fffffffu; u += 9973) { /* any payload, either sign */
        float x;
        memcpy(&x, &u, sizeof x);
        assert_true(isnan(tern_exp_ref(x)) && isnan(tern_exp_ref(-x)));
    }
}

static float activate(tern_op op, float g)
{
    float y;
    ((tern_glu_fn)check_ref(op)->fn)(&g, NULL, 1, &y);
    return y;
}

/* silu: the exponential within 1.04 units of the last place, a sum and a division: 4 half units.
 * gelu: z is off by at most 5 half units of itself, and |z| s(z) (1 - s(z)) <= 0.224, so with the same
 * three steps 6 half units of g. Where exp saturates both are within 1e-36 of 0. */
static void gates_are_near_double(void **state)
{
    (void)state;
    for (float g = -120; g < 120; g += 0.00371f) {
        double x = (double)g, want = x / (1 + exp(-x));
        double got = (double)activate(TERN_OP_SILU_MUL, g);
        if (!(fabs(got - want) <= ulps(4) * fabs(want) + 1e-36))
            fail_msg("silu(%a) = %a, not %a", x, got, want);
        want = 0.5 * x * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
        got = (double)activate(TERN_OP_GELU_MUL, g);
        if (!(fabs(got - want) <= ulps(6) * fabs(x) + 1e-36))
            fail_msg("gelu(%a) = %a, not %a", x, got, want);
        assert_true(activate(TERN_OP_RELU2_MUL, g) == (g > 0 ? g * g : 0));
    }
    assert_true(activate(TERN_OP_SILU_MUL, 0) == 0 && activate(TERN_OP_GELU_MUL, 0) == 0);
    float g = -3, u = -2, y;
    ((tern_glu_fn)check_ref(TERN_OP_RELU2_MUL)->fn)(&g, &u, 1, &y);
    assert_true(y == 0);
    g = 3;
    ((tern_glu_fn)check_ref(TERN_OP_RELU2_MUL)->fn)(&g, &u, 1, &y);
    assert_true(y == -18);
}

static void fill_near_one(float *p, size_t n, uint32_t *seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = check_scale(seed);
}

/* A lane adds n / 16 terms, four folds, and eight single steps. */
static void rmsnorm_is_near_double(void **state)
{
    (void)state;
    uint32_t seed = 5;
    float x[N_MAX], w[N_MAX], y[N_MAX];
    for (size_t j = 0; j < N_LENGTH; j++) {
        int n = lengths[j];
        fill_near_one(x, (size_t)n, &seed);
        fill_near_one(w, (size_t)n, &seed);
        ((tern_rmsnorm_fn)check_ref(TERN_OP_RMSNORM)->fn)(x, w, 1e-5f, n, y);
        double ss = 0;
        for (int i = 0; i < n; i++)
            ss += (double)x[i] * (double)x[i];
        for (int i = 0; i < n; i++) {
            double want = (double)x[i] / sqrt(ss / n + (double)1e-5f) * (double)w[i];
            assert_true(fabs((double)y[i] - want) <= ulps(n / 16 + 12) * fabs(want));
        }
    }
}

static void rope_turns_pairs(void **state)
{
    (void)state;
    float cs[32], x[32], y[32];
    uint32_t seed = 3;
    fill_near_one(x, 32, &seed);
    for (int i = 0; i < 16; i++) {
        cs[2 * i] = cosf((float)i + 1);
        cs[2 * i + 1] = sinf((float)i + 1);
    }
    for (int neox = 0; neox < 2; neox++) {
        memcpy(y, x, sizeof y);
        ((tern_rope_fn)check_ref(TERN_OP_ROPE)->fn)(y, cs, 24, neox);
        for (int i = 0; i < 12; i++) {
            int at = neox ? i : 2 * i, to = neox ? i + 12 : 2 * i + 1;
            double a = (double)x[at], b = (double)x[to], t = i + 1;
            assert_true(fabs((double)y[at] - (a * cos(t) - b * sin(t))) < ulps(12));
            assert_true(fabs((double)y[to] - (a * sin(t) + b * cos(t))) < ulps(12));
        }
        assert_memory_equal(y + 24, x + 24, 8 * sizeof *x);
    }
}

/* Against the matrix itself, whose sign at (i, j) is the parity of the bits of i & j: inside each block of
 * the power of two that divides n. */
static void hadamard_is_its_matrix(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 6, 8, 24, 64, 80, 96, 128, 512};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        int n = sizes[s], size = 1;
        while (n % (2 * size) == 0)
            size *= 2;
        float x[512], y[512];
        uint32_t seed = 4;
        fill_near_one(x, (size_t)n, &seed);
        memcpy(y, x, (size_t)n * sizeof *y);
        ((tern_hadamard_fn)check_ref(TERN_OP_HADAMARD)->fn)(y, n);
        for (int i = 0; i < n; i++) {
            double want = 0, mag = 0;
            for (int j = i / size * size; j < i / size * size + size; j++) {
                double v = (double)x[j];
                want += __builtin_popcount((unsigned)(i % size & j % size)) & 1 ? -v : v;
                mag += fabs(v);
            }
            assert_true(fabs((double)y[i] - want) <= ulps(9) * mag);
        }
    }
}

/* ---- stores --------------------------------------------------------------------------------- */

/* Every half comes back, halfway points go to the even neighbour: for every kernel. */
static void f16_rounds(void **state)
{
    (void)state;
    static const float known[] = {1, -0.17f, 0.756f, 3.14159274f, 1e-34f, 65519.996f, 65520};
    static const uint16_t bits[] = {0x3c00, 0xb171, 0x3a0c, 0x4248, 0, 0x7bff, 0x7c00};
    for (const tern_kernel *k = NULL; (k = each(TERN_OP_F16_STORE, k));) {
        tern_f16_store_fn store = (tern_f16_store_fn)k->fn;
        uint16_t h[32];
        store(known, 7, h);
        assert_memory_equal(h, bits, sizeof bits);
        for (uint32_t u = 0; u < 0x7bff; u += 2) { /* u even, u + 1 odd, the middle between them */
            float lo = tern_f16_to_f32((uint16_t)u), hi = tern_f16_to_f32((uint16_t)(u + 1));
            float mid = (lo + hi) / 2;
            float x[5] = {lo, hi, mid, nextafterf(mid, 1e9f), -nextafterf(mid, 0)};
            store(x, 5, h);
            assert_true(h[0] == u && h[1] == u + 1 && h[2] == u && h[3] == u + 1 &&
                        h[4] == (u | 0x8000));
        }
    }
}

/* The value of every half, whatever follows the last one. */
static void f16_values(void **state)
{
    (void)state;
    static uint16_t all[1 << 16];
    static float values[1 << 16];
    for (int i = 0; i < 1 << 16; i++)
        all[i] = (uint16_t)i;
    for (const tern_kernel *k = NULL; (k = each(TERN_OP_F16_LOAD, k));)
        for (int n = (1 << 16) - 37; n <= 1 << 16; n++) {
            values[n - 1] = values[n & 0xffff] = 7;
            ((tern_f16_load_fn)k->fn)(all, n, values);
            for (int i = 0; i < n; i++) {
                float want = tern_f16_to_f32(all[i]);
                assert_true(values[i] == want || (isnan(want) && isnan(values[i])));
            }
            assert_true(n == 1 << 16 || values[n] == 7);
        }
}

static void kv8_rounds(void **state)
{
    (void)state;
    static const float x[] = {-127, 2.5f, 3.5f, -0.5f, 126.5f, 0, 1e-30f, 63.49f};
    static const int8_t want[] = {-127, 2, 4, 0, 126, 0, 0, 63};
    tern_kv8_store_fn store = (tern_kv8_store_fn)check_ref(TERN_OP_KV8_STORE)->fn;
    int8_t q[8];
    assert_true(store(x, 8, q) == 1.0f);
    assert_memory_equal(q, want, sizeof q);
    static const float tiny[] = {1e-38f, -1e-40f}, zero[2] = {0, -0.0f};
    assert_true(store(tiny, 2, q) == 0 && !q[0] && !q[1]);
    assert_true(store(zero, 2, q) == 0 && !q[0] && !q[1]);
}

static void i16_rounds(void **state)
{
    (void)state;
    static const float x[] = {-32767, 2.5f, 3.5f, -0.5f, 32765.5f, 0, 1e-30f, 63.49f};
    static const int16_t want[] = {-32767, 2, 4, 0, 32766, 0, 0, 63};
    static const float half[] = {16383.5f, 1, -1}, mul[] = {2, -7, 0.5f};
    static const float tiny[] = {9e-35f, -1e-40f};
    tern_i16_store_fn store = (tern_i16_store_fn)check_ref(TERN_OP_I16_STORE)->fn;
    int16_t q[8];
    assert_true(store(x, NULL, 8, q) == 1.0f);
    assert_memory_equal(q, want, sizeof q);
    assert_true(store(half, mul, 3, q) == 1.0f);
    assert_true(q[0] == 32767 && q[1] == -7 && q[2] == 0);
    assert_true(store(tiny, NULL, 2, q) == 0 && !q[0] && !q[1]);
}

/* ---- attention ------------------------------------------------------------------------------ */

typedef struct attention {
    tern_attn_tile t;
    check_buf kv, q, p, out;
} attention;

/* bytes: of a cache element, 2 (f16) or 4 (f32). */
static attention attention_new(const check_case *c, size_t bytes, uint32_t *seed)
{
    size_t d = (size_t)c->cols, n = (size_t)c->rows, stride = d + 8 * (n % 3);
    size_t n_kv = (n - 1) * stride + d;
    attention a = {.kv = check_buf_new(n_kv * bytes, bytes),
                   .q = check_buf_new(d * 4, 4),
                   .p = check_buf_new(n * 4, 4)};
    check_fill_f32(a.q.p, d, c->fill, seed);
    check_fill_f32(a.p.p, n, c->fill, seed);
    if (bytes == 4)
        check_fill_f32(a.kv.p, n_kv, c->fill, seed);
    else
        for (size_t i = 0; i < n_kv; i++) {
            float f;
            check_fill_f32(&f, 1, c->fill, seed);
            uint16_t h = tern_f32_to_f16(f);
            if ((h & 0x7c00) == 0x7c00)
                h = i & 1 ? 0xfbff : 0x7bff;
            ((uint16_t *)a.kv.p)[i] = h;
        }
    a.t = (tern_attn_tile){.kv = a.kv.p, .stride = stride, .n_pos = c->rows, .d_head = c->cols};
    return a;
}

static void attention_free(attention *a)
{
    check_buf_free(&a->kv);
    check_buf_free(&a->q);
    check_buf_free(&a->p);
    check_buf_free(&a->out);
}

/* The output of one kernel: scores of n_pos positions, or d_head sums that were not 0 before. */
static void run_attention(const tern_kernel *k, attention *a, bool qk)
{
    if (qk) {
        ((tern_attn_qk_fn)k->fn)(&a->t, a->q.p, 0.125f, a->out.p);
        return;
    }
    memcpy(a->out.p, a->q.p, a->q.n);
    ((tern_attn_av_fn)k->fn)(&a->t, a->p.p, a->out.p);
}

static void compare_attention(tern_op op, const check_case *c)
{
    bool qk = op == TERN_OP_QK_F32 || op == TERN_OP_QK_F16;
    size_t bytes = op == TERN_OP_QK_F16 || op == TERN_OP_AV_F16 ? 2 : 4;
    if (!check_wanted(NULL, c))
        return;
    uint32_t seed = (uint32_t)(c->rows * 17 + c->cols);
    attention a = attention_new(c, bytes, &seed);
    size_t n = (size_t)(qk ? c->rows : c->cols);
    a.out = check_buf_new(n * 4, 4);
    float *want = malloc(n * 4);
    assert_non_null(want);
    run_attention(check_ref(op), &a, qk);
    memcpy(want, a.out.p, n * 4);
    for (const tern_kernel *k = NULL; (k = check_next(op, k));) {
        check_buf_reset(&a.out);
        run_attention(k, &a, qk);
        check_same(a.out.p, want, n, 4, k, c);
        check_report(check_buf_intact(&a.out), k, c, "written outside its buffer");
    }
    free(want);
    attention_free(&a);
}

static void attention_equals_reference(void **state)
{
    (void)state;
    static const tern_op ops[] = {TERN_OP_QK_F32, TERN_OP_QK_F16, TERN_OP_AV_F32, TERN_OP_AV_F16};
    static const int n_pos[] = {1, 2, 3, 4, 5, 7, 8, 13, 64};
    for (int i = 0; i < 4; i++)
        for (int d = 8; d <= 256; d += 8)
            for (int j = 0; j < 9; j++)
                for (check_fill f = 0; f < CHECK_FILL_COUNT; f++) {
                    check_case c = {.rows = n_pos[j], .cols = d, .fill = f};
                    if (f == CHECK_RANDOM || (d + j) % 4 == 0)
                        compare_attention(ops[i], &c);
                }
    check_done();
}

/* qk: products, d / 16 additions in a lane, four folds and a scale; av: a product and n additions; half
 * units of the sum of magnitudes. */
static void attention_is_near_double(void **state)
{
    (void)state;
    check_case c = {.rows = 37, .cols = 72, .fill = CHECK_RANDOM};
    uint32_t seed = 8;
    attention a = attention_new(&c, 2, &seed);
    fill_near_one(a.q.p, 72, &seed);
    fill_near_one(a.p.p, 37, &seed);
    double av[72], av_mag[72];
    const float *q = a.q.p, *p = a.p.p;
    float score[37], acc[72];
    memcpy(acc, q, sizeof acc);
    ((tern_attn_qk_fn)check_ref(TERN_OP_QK_F16)->fn)(&a.t, q, 0.3f, score);
    ((tern_attn_av_fn)check_ref(TERN_OP_AV_F16)->fn)(&a.t, p, acc);
    for (int d = 0; d < 72; d++)
        av_mag[d] = fabs(av[d] = (double)q[d]);
    for (size_t j = 0; j < 37; j++) {
        double sum = 0, mag = 0;
        for (size_t d = 0; d < 72; d++) {
            double v = (double)tern_f16_to_f32(((const uint16_t *)a.kv.p)[j * a.t.stride + d]);
            sum += (double)q[d] * v * (double)0.3f;
            mag += fabs((double)q[d] * v * (double)0.3f);
            av[d] += (double)p[j] * v;
            av_mag[d] += fabs((double)p[j] * v);
        }
        assert_true(fabs((double)score[j] - sum) <= ulps(72 / 16 + 8) * mag);
    }
    for (int d = 0; d < 72; d++)
        assert_true(fabs((double)acc[d] - av[d]) <= ulps(37 + 2) * av_mag[d]);
    attention_free(&a);
}

/* ---- softmax -------------------------------------------------------------------------------- */

static void fill_scores(float *s, size_t n, check_fill f, uint32_t *seed)
{
    check_fill_f32(s, n, f, seed);
    for (size_t i = 0; i < n; i++)
        if (f == CHECK_RANDOM)
            s[i] = test_rand(seed) % 11 == 0 ? -INFINITY : 10 * s[i];
}

static void softmax_equals_reference(void **state)
{
    (void)state;
    static const float earlier[] = {-INFINITY, -1e30f, -3, -0.0f, 2, 1e30f};
    for (size_t j = 0; j < N_LENGTH; j++)
        for (check_fill f = 0; f < CHECK_FILL_COUNT; f++)
            for (size_t e = 0; e < sizeof earlier / sizeof earlier[0]; e++) {
                check_case c = {.cols = lengths[j], .fill = f};
                if (!check_wanted(NULL, &c))
                    continue;
                size_t n = (size_t)c.cols;
                uint32_t seed = (uint32_t)n;
                check_buf s = check_buf_new(n * 4, 4);
                float in[N_MAX], want[N_MAX], r[3], wr[3] = {earlier[e], e ? 2.5f : 0, 0};
                fill_scores(in, n, f, &seed);
                memcpy(want, in, n * 4);
                wr[2] =
                    ((tern_softmax_fn)check_ref(TERN_OP_SOFTMAX)->fn)(want, c.cols, &wr[0], &wr[1]);
                for (const tern_kernel *k = NULL; (k = check_next(TERN_OP_SOFTMAX, k));) {
                    memcpy(s.p, in, n * 4);
                    r[0] = earlier[e];
                    r[1] = e ? 2.5f : 0;
                    r[2] = ((tern_softmax_fn)k->fn)(s.p, c.cols, &r[0], &r[1]);
                    check_same(s.p, want, n, 4, k, &c);
                    check_same(r, wr, 3, 4, k, &c);
                    check_report(check_buf_intact(&s), k, &c, "written outside its buffer");
                }
                check_buf_free(&s);
            }
    check_done();
}

/* Tiles one after another give the softmax of the whole. A score's difference from the maximum is
 * rounded, which the exponential turns into a relative error of half a unit of |difference|; then 2 half
 * units of the exponential, rescaling once a tile (3), and a sum of up to n / 16 + 4. */
static void softmax_is_near_double(void **state)
{
    (void)state;
    tern_softmax_fn softmax = (tern_softmax_fn)check_ref(TERN_OP_SOFTMAX)->fn;
    enum { N = 200, TILE = 50 };
    float s[N], p[N], m = -INFINITY, l = 0, rest[N / TILE];
    uint32_t seed = 77;
    for (int i = 0; i < N; i++)
        s[i] = 12 * check_scale(&seed) + (float)i / 40;
    s[3] = s[120] = -INFINITY;
    memcpy(p, s, sizeof p);
    for (int i = 0; i < N; i += TILE) {
        float c = softmax(p + i, TILE, &m, &l);
        for (int j = 0; j < i / TILE; j++)
            rest[j] *= c;
        rest[i / TILE] = 1;
    }
    double top = (double)-INFINITY, sum = 0;
    for (int i = 0; i < N; i++)
        top = (double)s[i] > top ? (double)s[i] : top;
    for (int i = 0; i < N; i++)
        sum += exp((double)s[i] - top);
    assert_true((double)m == top);
    assert_true(fabs((double)l - sum) <= ulps(30 + 5 + 12 + N / 16 + 4) * sum);
    for (int i = 0; i < N; i++) {
        double want = exp((double)s[i] - top), got = (double)p[i] * (double)rest[i / TILE];
        assert_true(fabs(got - want) <= ulps(60 + 5 + 12) * want + 1e-37);
    }
}

static void softmax_of_nothing(void **state)
{
    (void)state;
    for (const tern_kernel *k = NULL; (k = each(TERN_OP_SOFTMAX, k));) {
        float s[3] = {-INFINITY, -INFINITY, -INFINITY}, m = -INFINITY, l = 0;
        assert_true(((tern_softmax_fn)k->fn)(s, 3, &m, &l) == 1);
        assert_true(m == -INFINITY && l == 0 && s[0] == 0 && s[1] == 0 && s[2] == 0);
        float t[2] = {4, -INFINITY};
        assert_true(((tern_softmax_fn)k->fn)(t, 2, &m, &l) == 0);
        assert_true(m == 4 && l == 1 && t[0] == 1 && t[1] == 0);
        s[1] = -INFINITY;
        assert_true(((tern_softmax_fn)k->fn)(s + 1, 1, &m, &l) == 1 && m == 4 && l == 1);
    }
}

/* ---- NaN ------------------------------------------------------------------------------------ */

/* One NaN among 37 elements, anywhere: it stays in its place, and sums that meet it become NaN. */
static void nan_at(const tern_kernel *k, int at)
{
    enum { N = 37 };
    float x[N], y[N], u[N], m = -INFINITY, l = 0;
    uint16_t h[N];
    int8_t q[N];
    int16_t i16[N];
    for (int i = 0; i < N; i++) {
        x[i] = y[i] = u[i] = 0.5f;
    }
    x[at] = NAN;
    switch (k->op) {
    case TERN_OP_RMSNORM:
        ((tern_rmsnorm_fn)k->fn)(x, u, 1e-5f, N, y);
        for (int i = 0; i < N; i++)
            assert_true(isnan(y[i]));
        return;
    case TERN_OP_ADD:
        ((tern_add_fn)k->fn)(y, x, N);
        break;
    case TERN_OP_SOFTMAX:
        memcpy(y, x, sizeof y);
        ((tern_softmax_fn)k->fn)(y, N, &m, &l);
        assert_true(isnan(l) && m == 0.5f);
        break;
    case TERN_OP_F16_STORE:
        ((tern_f16_store_fn)k->fn)(x, N, h);
        for (int i = 0; i < N; i++)
            y[i] = tern_f16_to_f32(h[i]);
        break;
    case TERN_OP_SCALE_ADD:
        ((tern_scale_add_fn)k->fn)(y, 2, x, 0.5f, N);
        break;
    case TERN_OP_I16_STORE:
        assert_true(isnan(((tern_i16_store_fn)k->fn)(u, x, N, i16)));
        x[at] = INFINITY;
        assert_true(isinf(((tern_i16_store_fn)k->fn)(x, NULL, N, i16)) && i16[at] == 0);
        return;
    case TERN_OP_KV8_STORE:
        assert_true(isnan(((tern_kv8_store_fn)k->fn)(x, N, q)));
        x[at] = -INFINITY;
        assert_true(isinf(((tern_kv8_store_fn)k->fn)(x, N, q)) && q[at] == 0);
        return;
    default:
        ((tern_glu_fn)k->fn)(x, u, N, y);
    }
    for (int i = 0; i < N; i++)
        assert_true(isnan(y[i]) == (i == at));
}

static void nan_stays(void **state)
{
    (void)state;
    static const tern_op ops[] = {TERN_OP_RMSNORM,   TERN_OP_ADD,       TERN_OP_SOFTMAX,
                                  TERN_OP_F16_STORE, TERN_OP_KV8_STORE, TERN_OP_RELU2_MUL,
                                  TERN_OP_SILU_MUL,  TERN_OP_GELU_MUL,  TERN_OP_SCALE_ADD,
                                  TERN_OP_I16_STORE};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        for (const tern_kernel *k = NULL; (k = each(ops[i], k));)
            for (int at = 0; at < 37; at++)
                nan_at(k, at);
}

int main(int argc, char **argv)
{
    check_args(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_equal_reference),
        cmocka_unit_test(exp_is_near_double),
        cmocka_unit_test(gates_are_near_double),
        cmocka_unit_test(rmsnorm_is_near_double),
        cmocka_unit_test(rope_turns_pairs),
        cmocka_unit_test(hadamard_is_its_matrix),
        cmocka_unit_test(f16_rounds),
        cmocka_unit_test(f16_values),
        cmocka_unit_test(kv8_rounds),
        cmocka_unit_test(i16_rounds),
        cmocka_unit_test(attention_equals_reference),
        cmocka_unit_test(attention_is_near_double),
        cmocka_unit_test(softmax_equals_reference),
        cmocka_unit_test(softmax_is_near_double),
        cmocka_unit_test(softmax_of_nothing),
        cmocka_unit_test(nan_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
