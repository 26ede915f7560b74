/* Speed of the ternary kernels beside what this machine could do at best: a plain read of the same
 * bytes, and a register-only loop of the multiply-add the kernel is built on.
 *
 *   bench_kernels [--threads N] [--only NAME] [--rows R] [--cols C] [--toks T] [--group G] [--mb SIZE]
 *                 [--ms TIME]
 *
 * A run reads a set of matrices larger than the caches (--mb), as a model does. The fastest run within
 * --ms counts, for other processes only ever add time. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/pool.h"
#include "engine/ceiling.h"
#include "kernels/kernel.h"

static struct {
    int threads, rows, cols, toks, group, mb, ms;
    const char *only;
} opt = {.rows = 2560, .cols = 6912, .group = 128, .mb = 256, .ms = 300};

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "no memory\n");
        exit(1);
    }
    return p;
}

/* ---- one measurement ---------------------------------------------------------------------- */

typedef struct bench {
    tern_pool *pool;
    uint8_t *w; /* one span, cut into matrices of the layout at hand */
    size_t w_bytes, mat_bytes;
    int n_mat;
    tern_mm mm;
    tern_mm_fn fn;
    void *scratch[64];
    void (*read)(const uint8_t *p, size_t n); /* the plain read of kernels/ceiling.h */
} bench;

static void run_mm(void *arg, int lane, int n_lane)
{
    bench *b = arg;
    int r0, r1;
    tern_pool_split(b->mm.rows, 32, lane, n_lane, &r0, &r1);
    tern_mm k = b->mm;
    k.scratch = b->scratch[lane];
    for (int i = 0; i < b->n_mat; i++) {
        k.w = b->w + (size_t)i * b->mat_bytes;
        b->fn(&k, r0, r1);
    }
}

static void run_read(void *arg, int lane, int n_lane)
{
    bench *b = arg;
    int r0, r1;
    tern_pool_split((int)(b->w_bytes / 4096), 1, lane, n_lane, &r0, &r1);
    b->read(b->w + (size_t)r0 * 4096, (size_t)(r1 - r0) * 4096);
}

static double best(bench *b, tern_pool_fn fn)
{
    uint64_t t = UINT64_MAX, begin = tern_clock_ns(), t0 = begin, t1;
    for (int i = 0; i < 3 || t0 - begin < (uint64_t)opt.ms * 1000000; i++) {
        tern_pool_run(b->pool, fn, b);
        t1 = tern_clock_ns();
        t = t1 - t0 < t ? t1 - t0 : t;
        t0 = t1;
    }
    return (double)t * 1e-9;
}

/* ---- the run ------------------------------------------------------------------------------ */

static void prepare(bench *b, int rows, int cols, int max_tok)
{
    size_t stride = ((size_t)cols + 63) / 64 * 64;
    size_t pad_rows = ((size_t)rows + 15) / 16 * 16, n_tok = (size_t)max_tok;
    b->w_bytes = (size_t)opt.mb * 1000000 / 4096 * 4096;
    if (b->w_bytes < tern_t2_bytes(rows, cols))
        b->w_bytes = tern_t2_bytes(rows, cols) / 4096 * 4096 + 4096;
    b->w = must(tern_pages_alloc(b->w_bytes + 64));
    uint32_t s = 1;
    for (size_t i = 0; i < b->w_bytes; i += 4) {
        s = s * 1664525 + 1013904223;
        uint32_t v = (s >> 7 & 0x55555555) | (s >> 16 & 0x00005555 & ~(s >> 7));
        memcpy(b->w + i, &v, 4);
    }
    float *scale = must(tern_calloc(pad_rows * (stride / 32), sizeof *scale));
    for (size_t i = 0; i < pad_rows * (stride / 32); i++)
        scale[i] = 0.5f;
    int8_t *q = must(tern_calloc(n_tok, stride));
    for (size_t i = 0; i < n_tok * stride; i++)
        q[i] = (int8_t)(i * 2654435761u >> 13);
    float *d = must(tern_calloc(n_tok * (stride / 32), sizeof *d));
    for (size_t i = 0; i < n_tok * (stride / 32); i++)
        d[i] = 1.5f;
    b->mm = (tern_mm){
        .rows = rows,
        .cols = cols,
        .group = opt.group,
        .scale = scale,
        .gscale = scale,
        .act = {.q = q,
                .stride = stride,
                .scale = d,
                .sum = must(tern_calloc(n_tok * (stride / 16), sizeof(int32_t)))},
        .y = must(tern_calloc(n_tok * pad_rows, sizeof(float))),
        .y_stride = pad_rows,
    };
    for (int i = 0; i < tern_pool_size(b->pool); i++)
        b->scratch[i] = must(tern_alloc(tern_mm_scratch_bytes(cols, max_tok)));
}

static void release(bench *b)
{
    for (int i = 0; i < tern_pool_size(b->pool); i++)
        tern_free(b->scratch[i]);
    tern_pages_free(b->w, b->w_bytes + 64);
    tern_free((void *)(uintptr_t)b->mm.scale);
    tern_free(b->mm.act.q);
    tern_free(b->mm.act.scale);
    tern_free(b->mm.act.sum);
    tern_free(b->mm.y);
    tern_pool_free(b->pool);
}

static void line(bench *b, const tern_kernel *k, int toks, double peak)
{
    bool t3 = k->op == TERN_OP_MM_T3R16;
    b->fn = (tern_mm_fn)k->fn;
    b->mm.n_tok = toks;
    b->mm.w_stride = (t3 ? tern_t3_stripe_bytes : tern_t2_stripe_bytes)(b->mm.cols);
    b->mat_bytes = ((size_t)b->mm.rows + 15) / 16 * b->mm.w_stride;
    b->n_mat = (int)(b->w_bytes / b->mat_bytes);
    double t = best(b, run_mm), bytes = (double)b->mat_bytes * b->n_mat;
    double w = (double)b->mm.rows * b->mm.cols * b->n_mat;
    printf("%d thr  %-20s %4d tok %7.2f GB/s %7.1f Gw/s %8.1f Gmac/s", tern_pool_size(b->pool),
           k->name, toks, bytes / t * 1e-9, w / t * 1e-9, w * toks / t * 1e-9);
    if (toks <= 16)
        printf("  %5.1f%% of read", 100 * bytes / t / ((double)b->w_bytes / best(b, run_read)));
    if (peak > 0)
        printf("  %5.1f%% of peak", 100 * w * toks / t / peak);
    printf("\n");
}

static void bench_threads(int threads)
{
    static const int toks[] = {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 32, 64, 128, 256, 512};
    bench b = {0};
    tern_ceilings c;
    tern_err err;
    if (tern_pool_new(threads, &b.pool, &err) != TERN_OK) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    prepare(&b, opt.rows, opt.cols, opt.toks > 512 ? opt.toks : 512);
    size_t n;
    const tern_kernel *all = tern_kernel_all(&n);
    unsigned cpu;
    if (tern_cpu_flags(&cpu, &err) != TERN_OK)
        exit(1);
    size_t n_ceiling;
    const tern_ceiling *ceilings = tern_ceiling_all(&n_ceiling);
    for (size_t i = 0; i < n_ceiling; i++)
        if (ceilings[i].read && !(ceilings[i].needs & ~cpu))
            b.read = ceilings[i].read;
    tern_ceilings_measure(b.pool, cpu, &c);
    printf("%d thr  read %.2f GB/s;", threads, c.read_bytes_per_s * 1e-9);
    for (int isa = 0; isa < TERN_ISA_COUNT; isa++)
        if (c.macs_per_s[isa] > 0)
            printf(" %s %.0f Gmac/s", tern_isa_name(isa), c.macs_per_s[isa] * 1e-9);
    printf("\n");
    for (const tern_kernel *k = all; k < all + n; k++) {
        bool mine =
            k->op == TERN_OP_MM_T2R16 || k->op == TERN_OP_MM_T2G || k->op == TERN_OP_MM_T3R16;
        if (!mine || k->isa == TERN_ISA_REF || k->needs & ~cpu ||
            (opt.only && strcmp(opt.only, k->name) != 0))
            continue;
        for (size_t i = 0; i < sizeof toks / sizeof toks[0]; i++)
            if (!opt.toks || opt.toks == toks[i])
                line(&b, k, toks[i], c.macs_per_s[k->isa]);
    }
    release(&b);
}

static int number(const char *s)
{
    int v = 0;
    for (; *s >= '0' && *s <= '9' && v < 1000000; s++)
        v = v * 10 + (*s - '0');
    return v;
}

int main(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        int v = number(argv[i + 1]);
        if (strcmp(argv[i], "--threads") == 0)
            opt.threads = v;
        else if (strcmp(argv[i], "--only") == 0)
            opt.only = argv[i + 1];
        else if (strcmp(argv[i], "--rows") == 0)
            opt.rows = v;
        else if (strcmp(argv[i], "--cols") == 0)
            opt.cols = v;
        else if (strcmp(argv[i], "--toks") == 0)
            opt.toks = v;
        else if (strcmp(argv[i], "--group") == 0)
            opt.group = v;
        else if (strcmp(argv[i], "--mb") == 0)
            opt.mb = v;
        else if (strcmp(argv[i], "--ms") == 0)
            opt.ms = v;
    }
    for (int t = 1; t <= tern_cpu_count() && t <= 64; t *= 2)
        if (!opt.threads || opt.threads == t)
            bench_threads(t);
    return 0;
}
