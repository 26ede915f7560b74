/* Speed of the dense, vector and attention kernels. Matrices are larger than the caches (--mb), so that
 * one token measures memory (beside a plain read of the same bytes) and many tokens arithmetic.
 *
 *   bench_dense [--threads N] [--only NAME] [--dtype NAME] [--toks T] [--cols C] [--mb SIZE] [--reps N]
 *
 * Times are the fastest of reps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/pool.h"
#include "kernels/kernel.h"

static struct {
    int threads, toks, cols, mb, reps;
    const char *only, *dtype;
} opt = {.cols = 2560, .mb = 256, .reps = 5};

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "no memory\n");
        exit(1);
    }
    return p;
}

static bool wanted(const tern_kernel *k)
{
    unsigned cpu;
    return tern_cpu_flags(&cpu, NULL) == TERN_OK && !(k->needs & ~cpu) &&
           (opt.only ? strcmp(opt.only, k->name) == 0 : k->isa != TERN_ISA_REF);
}

/* ---- matrices ----------------------------------------------------------------------------- */

typedef struct bench {
    tern_pool *pool;
    uint8_t *w;
    size_t w_bytes;
    tern_mm mm;
    tern_mm_fn fn;
    void *scratch[64];
} bench;

static void run_mm(void *arg, int lane, int n_lane)
{
    bench *b = arg;
    int r0, r1;
    tern_pool_split(b->mm.rows, 16, lane, n_lane, &r0, &r1);
    tern_mm k = b->mm;
    k.scratch = b->scratch[lane];
    b->fn(&k, r0, r1);
}

/* A plain read, in the compiler's widest portable vectors. */
typedef uint64_t wide __attribute__((vector_size(32), aligned(1), may_alias));

static void run_read(void *arg, int lane, int n_lane)
{
    bench *b = arg;
    int r0, r1;
    tern_pool_split(b->mm.rows, 16, lane, n_lane, &r0, &r1);
    const uint8_t *p = b->w + (size_t)r0 * b->mm.w_stride;
    const uint8_t *end = b->w + (size_t)r1 * b->mm.w_stride;
    wide s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    for (; end - p >= 128; p += 128) {
        const wide *v = (const wide *)(const void *)p;
        __builtin_prefetch(p + 4096);
        __builtin_prefetch(p + 4096 + 64);
        s0 += v[0];
        s1 += v[1];
        s2 += v[2];
        s3 += v[3];
    }
    s0 += s1 + s2 + s3;
    __asm__ volatile("" ::"r"(s0[0] + s0[1] + s0[2] + s0[3]));
}

static double best(bench *b, tern_pool_fn fn)
{
    double t = 1e9;
    for (int i = 0; i < opt.reps; i++) {
        uint64_t t0 = tern_clock_ns();
        tern_pool_run(b->pool, fn, b);
        double s = (double)(tern_clock_ns() - t0) * 1e-9;
        t = s < t ? s : t;
    }
    return t;
}

/* Random blocks: bit 6 of every byte is 0, so that no half among them is an infinity. Floats within
 * -1 and 1. */
static void fill(uint8_t *w, size_t n, tern_dtype dt)
{
    uint32_t s = 1;
    for (size_t i = 0; i + 4 <= n; i += 4) {
        s = s * 1664525 + 1013904223;
        float f = (float)(int32_t)s * 0x1p-31f;
        uint32_t v = s & 0xbfbfbfbf;
        if (dt == TERN_DT_F16)
            v = tern_f32_to_f16(f) * 0x10001u;
        else if (dt == TERN_DT_BF16)
            v = tern_f32_to_bf16(f) * 0x10001u;
        else if (dt == TERN_DT_F32)
            memcpy(&v, &f, 4);
        memcpy(w + i, &v, 4);
    }
}

static void prepare(bench *b, tern_dtype dt, int rows, int cols, int max_tok)
{
    const tern_dtype_info *info = tern_dtype_get(dt);
    size_t stride = ((size_t)cols + 63) / 64 * 64, n = (size_t)max_tok * stride;
    size_t row = (size_t)(cols / info->blk_elems) * (size_t)info->blk_bytes;
    b->w_bytes = row * (size_t)rows;
    b->w = must(tern_pages_alloc(b->w_bytes));
    fill(b->w, b->w_bytes, dt);
    int8_t *q = must(tern_calloc(n, 1));
    float *x = must(tern_calloc(n, sizeof *x)), *d = must(tern_calloc(n / 32, sizeof *d));
    for (size_t i = 0; i < n; i++) {
        q[i] = (int8_t)((int)(i * 2654435761u >> 13 & 255) - 127);
        x[i] = (float)q[i] / 64;
    }
    for (size_t i = 0; i < n / 32; i++)
        d[i] = 1.5f;
    b->mm = (tern_mm){
        .w = b->w,
        .w_stride = row,
        .dtype = dt,
        .rows = rows,
        .cols = cols,
        .act = {.q = q,
                .stride = stride,
                .scale = d,
                .sum = must(tern_calloc(n / 16, sizeof(int32_t)))},
        .x = x,
        .x_stride = stride,
        .y = must(tern_calloc((size_t)rows * (size_t)max_tok, sizeof(float))),
        .y_stride = (size_t)rows,
    };
    for (int i = 0; i < tern_pool_size(b->pool); i++)
        b->scratch[i] = must(tern_alloc(tern_mm_scratch_bytes(cols, max_tok)));
}

static void release(bench *b)
{
    for (int i = 0; i < tern_pool_size(b->pool); i++)
        tern_free(b->scratch[i]);
    tern_pages_free(b->w, b->w_bytes);
    tern_free(b->mm.act.q);
    tern_free(b->mm.act.scale);
    tern_free(b->mm.act.sum);
    tern_free((void *)(uintptr_t)b->mm.x);
    tern_free(b->mm.y);
}

static tern_op op_of(tern_dtype dt)
{
    return dt == TERN_DT_F32    ? TERN_OP_MM_F32
           : dt == TERN_DT_F16  ? TERN_OP_MM_F16
           : dt == TERN_DT_BF16 ? TERN_OP_MM_BF16
                                : TERN_OP_MM_BLOCK;
}

static void bench_matrix(bench *b, tern_dtype dt, int rows, int cols)
{
    static const int toks[] = {1, 2, 4, 16, 128};
    const tern_dtype_info *info = tern_dtype_get(dt);
    if ((opt.dtype && strcmp(opt.dtype, info->name) != 0) || cols % info->blk_elems)
        return;
    size_t row = (size_t)(cols / info->blk_elems) * (size_t)info->blk_bytes;
    if (row * (size_t)rows > (size_t)opt.mb << 20)
        rows = (int)(((size_t)opt.mb << 20) / row / 16 * 16);
    prepare(b, dt, rows, cols, 128);
    double read_s = best(b, run_read);
    size_t n;
    const tern_kernel *all = tern_kernel_all(&n);
    for (const tern_kernel *k = all; k < all + n; k++) {
        if (k->op != op_of(dt) || !wanted(k))
            continue;
        for (size_t i = 0; i < sizeof toks / sizeof toks[0]; i++) {
            if (opt.toks && opt.toks != toks[i])
                continue;
            b->fn = (tern_mm_fn)k->fn;
            b->mm.n_tok = toks[i];
            b->mm.rows = toks[i] > 4 && rows > 4096 ? 4096 : rows;
            double t = best(b, run_mm), part = (double)b->mm.rows / rows;
            printf(
                "%d thr %-7s %6d x %-5d %-18s %4d tok %7.2f GB/s %4.0f%% of read %8.1f GFLOP/s\n",
                tern_pool_size(b->pool), info->name, b->mm.rows, cols, k->name, toks[i],
                (double)b->w_bytes * part / t * 1e-9, 100 * read_s * part / t,
                2e-9 * b->mm.rows * cols * toks[i] / t);
        }
    }
    release(b);
}

/* ---- vectors and attention, one thread, in the first-level cache ---------------------------- */

enum { N = 2560, HEAD = 128, POS = 64 };

typedef struct vectors {
    float x[N], w[N], y[N];
    float f32[POS * HEAD];
    uint16_t f16[POS * HEAD];
    _Alignas(64) int8_t i8[POS * HEAD];
    int16_t i16[N];
    float scale[POS], score[POS];
    tern_attn_tile t32, t16;
    tern_kv8 t8; /* four queries */
} vectors;

static const tern_attn_tile *tile_of(tern_op op, const vectors *v)
{
    return op == TERN_OP_QK_F32 || op == TERN_OP_AV_F32 ? &v->t32 : &v->t16;
}

static void run_vector(const tern_kernel *k, vectors *v)
{
    float m = 0, l = 0;
    switch (k->op) {
    case TERN_OP_RMSNORM:
        ((tern_rmsnorm_fn)k->fn)(v->x, v->w, 1e-5f, N, v->y);
        break;
    case TERN_OP_ROPE:
        for (int i = 0; i < N; i += HEAD)
            ((tern_rope_fn)k->fn)(v->y + i, v->w, HEAD, true);
        break;
    case TERN_OP_RELU2_MUL:
    case TERN_OP_SILU_MUL:
    case TERN_OP_GELU_MUL:
        ((tern_glu_fn)k->fn)(v->x, v->w, N, v->y);
        break;
    case TERN_OP_ADD:
        ((tern_add_fn)k->fn)(v->y, v->x, N);
        break;
    case TERN_OP_SOFTMAX:
        ((tern_softmax_fn)k->fn)(v->y, N, &m, &l);
        break;
    case TERN_OP_F16_LOAD:
        ((tern_f16_load_fn)k->fn)(v->f16, N, v->y);
        break;
    case TERN_OP_F16_STORE:
        ((tern_f16_store_fn)k->fn)(v->x, N, v->f16);
        break;
    case TERN_OP_KV8_STORE:
        (void)((tern_kv8_store_fn)k->fn)(v->x, N, v->i8);
        break;
    case TERN_OP_I16_STORE:
        (void)((tern_i16_store_fn)k->fn)(v->x, v->w, N, v->i16);
        break;
    case TERN_OP_HADAMARD:
        for (int i = 0; i < N; i += HEAD)
            ((tern_hadamard_fn)k->fn)(v->y + i, HEAD);
        break;
    case TERN_OP_SCALE_ADD:
        ((tern_scale_add_fn)k->fn)(v->y, 0.5f, v->x, 0.25f, N);
        break;
    case TERN_OP_QK_I8:
    case TERN_OP_AV_I8:
        ((tern_kv8_fn)k->fn)(&v->t8);
        break;
    case TERN_OP_QK_F32:
    case TERN_OP_QK_F16:
        ((tern_attn_qk_fn)k->fn)(tile_of(k->op, v), v->x, 0.1f, v->score);
        break;
    case TERN_OP_AV_F32:
    case TERN_OP_AV_F16:
        ((tern_attn_av_fn)k->fn)(tile_of(k->op, v), v->w, v->y);
        break;
    default:
        break;
    }
}

static void bench_vectors(void)
{
    vectors *v = must(tern_calloc(1, sizeof *v));
    size_t n;
    const tern_kernel *all = tern_kernel_all(&n);
    v->t32 = (tern_attn_tile){v->f32, HEAD, POS, HEAD};
    v->t16 = (tern_attn_tile){v->f16, HEAD, POS, HEAD};
    v->t8 = (tern_kv8){.page = {v->i8},
                       .n_pos = POS,
                       .d_head = HEAD,
                       .scale = v->scale,
                       .n_q = 4,
                       .x = v->i16,
                       .x_stride = HEAD,
                       .x_scale = v->scale,
                       .c = v->scale,
                       .y = v->y,
                       .y_stride = HEAD};
    for (const tern_kernel *k = all; k < all + n; k++) {
        if (k->op < TERN_OP_RMSNORM || !wanted(k) || opt.dtype || opt.toks)
            continue;
        int tiles = k->op == TERN_OP_QK_I8 || k->op == TERN_OP_AV_I8     ? 4
                    : k->op >= TERN_OP_QK_F16 && k->op <= TERN_OP_AV_F32 ? 1
                                                                         : 0;
        double best_s = 1e9;
        for (int r = 0; r < 20 * opt.reps; r++) {
            for (int i = 0; i < N; i++) {
                v->x[i] = (float)(i % 37) / 8 - 2;
                v->w[i] = v->y[i] = 0.5f;
            }
            uint64_t t0 = tern_clock_ns();
            for (int i = 0; i < 16; i++)
                run_vector(k, v);
            double s = (double)(tern_clock_ns() - t0) * 1e-9 / 16;
            best_s = s < best_s ? s : best_s;
        }
        printf("%-20s %7.2f us  %6.2f elements/ns\n", k->name, best_s * 1e6,
               (tiles ? tiles * POS * HEAD : N) / best_s * 1e-9);
    }
    tern_free(v);
}

/* ---- the run ------------------------------------------------------------------------------ */

static int number(const char *s)
{
    int v = 0;
    for (; *s >= '0' && *s <= '9' && v < 1000000; s++)
        v = v * 10 + (*s - '0');
    return v;
}

int main(int argc, char **argv)
{
    static const tern_dtype dts[] = {TERN_DT_Q8_0, TERN_DT_Q4_0, TERN_DT_Q4_1, TERN_DT_Q6_K,
                                     TERN_DT_Q4_K, TERN_DT_F16,  TERN_DT_BF16, TERN_DT_F32};
    for (int i = 1; i + 1 < argc; i += 2) {
        int v = number(argv[i + 1]);
        if (strcmp(argv[i], "--threads") == 0)
            opt.threads = v;
        else if (strcmp(argv[i], "--only") == 0)
            opt.only = argv[i + 1];
        else if (strcmp(argv[i], "--dtype") == 0)
            opt.dtype = argv[i + 1];
        else if (strcmp(argv[i], "--toks") == 0)
            opt.toks = v;
        else if (strcmp(argv[i], "--cols") == 0)
            opt.cols = v;
        else if (strcmp(argv[i], "--mb") == 0)
            opt.mb = v;
        else if (strcmp(argv[i], "--reps") == 0)
            opt.reps = v;
    }
    for (int t = 1; t <= tern_cpu_count() && t <= 64; t *= 2) {
        bench b = {0};
        tern_err err;
        if (opt.threads && opt.threads != t)
            continue;
        if (tern_pool_new(t, &b.pool, &err) != TERN_OK) {
            fprintf(stderr, "%s\n", err.msg);
            return 1;
        }
        for (size_t i = 0; i < sizeof dts / sizeof dts[0]; i++)
            bench_matrix(&b, dts[i], 128256, opt.cols);
        tern_pool_free(b.pool);
    }
    bench_vectors();
    return 0;
}
