/* Speed of the ternary products that leave rows or columns out, beside what this machine could do at
 * best (kernels/ceiling.h).
 *
 *   bench_sparse [--threads N] [--only NAME] [--toks T] [--mb SIZE] [--ms TIME]
 *
 * A run reads a set of matrices larger than the caches (--mb), as a model does, of which for up to 4 tokens
 * some share of the rows or columns is listed: GB/s counts listed weights alone. The fastest run within --ms counts, for other processes only ever add
 * time. Packing is timed too. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/pool.h"
#include "engine/ceiling.h"

static struct {
    int threads, toks, mb, ms;
    const char *only;
} opt = {.mb = 256, .ms = 300};

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "no memory\n");
        exit(1);
    }
    return p;
}

enum { MAX_TOK = 256, MAX_LANE = 64, CODE_ROWS = 640 };

typedef struct bench {
    tern_pool *pool;
    const tern_layout *layout;
    uint8_t *w;
    size_t w_bytes, mat_bytes;
    int n_mat, n_run; /* matrices there are, and how many a run takes */
    tern_mm mm;
    tern_mm_fn fn;
    void *scratch[MAX_LANE];
    int32_t *list[MAX_LANE];
    int n_list[MAX_LANE];
    bool listed;
    const uint8_t *codes;
} bench;

static bool by_cols(const bench *b)
{
    return b->layout->listed == TERN_LISTED_COLS;
}

static void lane_rows(const bench *b, int lane, int n_lane, int *r0, int *r1)
{
    tern_pool_split(b->mm.rows, b->layout->grain > 32 ? b->layout->grain : 32, lane, n_lane, r0,
                    r1);
}

static void run_mm(void *arg, int lane, int n_lane)
{
    bench *b = arg;
    int r0, r1;
    lane_rows(b, lane, n_lane, &r0, &r1);
    tern_mm k = b->mm;
    k.scratch = b->scratch[lane];
    k.list = b->listed ? b->list[lane] : NULL;
    k.n_list = b->n_list[lane];
    for (int i = 0; i < b->n_run; i++) {
        k.w = b->w + (size_t)i * b->mat_bytes;
        b->fn(&k, r0, r1);
    }
}

static void run_pack(void *arg, int lane, int n_lane)
{
    bench *b = arg;
    const tern_layout *to = b->layout;
    int r0, r1, cols = b->mm.cols;
    tern_pool_split(b->mm.rows, to->unit > 32 ? to->unit : 32, lane, n_lane, &r0, &r1);
    for (int i = 0; i < b->n_run; i++) {
        uint8_t *w = b->w + (size_t)i * b->mat_bytes;
        for (int r = r0; r < r1; r += to->unit) {
            const uint8_t *codes =
                b->codes + (size_t)(to->unit > 1 ? 0 : r % CODE_ROWS) * (size_t)cols;
            to->pack(codes, (size_t)cols, r1 - r < to->unit ? r1 - r : to->unit, cols,
                     w + (size_t)(r / to->unit) * b->mm.w_stride);
        }
    }
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

/* The share of each lane's rows, or of all columns, that is listed; returns what share it became. */
static double make_lists(bench *b, double share)
{
    uint32_t s = 5;
    int n = 0, all = 0;
    b->listed = share < 1;
    for (int lane = 0; lane < tern_pool_size(b->pool); lane++) {
        int i0 = 0, i1 = b->mm.cols, m = 0;
        if (!by_cols(b))
            lane_rows(b, lane, tern_pool_size(b->pool), &i0, &i1);
        for (int i = i0; i < i1; i++) {
            s = s * 1664525 + 1013904223;
            if ((double)(s >> 8) < share * (1 << 24))
                b->list[lane][m++] = i;
        }
        for (int i = 0; i < TERN_LIST_PAD; i++)
            b->list[lane][m + i] = i0;
        b->n_list[lane] = m;
        n += m;
        all += i1 - i0;
    }
    return b->listed ? (double)n / all : 1;
}

static void prepare(bench *b, int rows, int cols)
{
    size_t stride = ((size_t)cols + 63) / 64 * 64, unit = (size_t)b->layout->unit,
           pad_rows = ((size_t)rows + unit - 1) / unit * unit;
    b->mm.w_stride = b->layout->unit_bytes(cols);
    b->mat_bytes = b->layout->bytes(rows, cols) - 64;
    b->n_mat = (int)((size_t)opt.mb * 1000000 / b->mat_bytes) + 1;
    b->w_bytes = b->mat_bytes * (size_t)b->n_mat;
    b->w = must(tern_pages_alloc(b->w_bytes + 64));
    uint8_t *codes = must(tern_alloc((size_t)CODE_ROWS * (size_t)cols));
    uint32_t s = 1;
    for (size_t i = 0; i < (size_t)CODE_ROWS * (size_t)cols; i++) {
        s = s * 1664525 + 1013904223;
        codes[i] = (uint8_t)(s >> 16) % 3;
    }
    b->codes = codes;
    float *scale = must(tern_calloc(pad_rows, sizeof *scale));
    for (size_t i = 0; i < pad_rows; i++)
        scale[i] = 0.5f;
    int8_t *q = must(tern_calloc(MAX_TOK, stride));
    for (size_t i = 0; i < MAX_TOK * stride; i++)
        q[i] = i % stride < (size_t)cols ? (int8_t)(i * 2654435761u >> 13) : 0;
    float *d = must(tern_calloc(MAX_TOK, sizeof *d));
    for (int i = 0; i < MAX_TOK; i++)
        d[i] = 1.5f;
    b->mm.rows = rows;
    b->mm.cols = cols;
    b->mm.scale = scale;
    b->mm.act = (tern_act8){q, stride, d, must(tern_calloc(MAX_TOK, sizeof(int32_t)))};
    b->mm.y = must(tern_calloc(MAX_TOK * pad_rows, sizeof(float)));
    b->mm.y_stride = pad_rows;
    for (int i = 0; i < tern_pool_size(b->pool); i++) {
        b->scratch[i] = must(tern_alloc(tern_mm_scratch_bytes(cols, MAX_TOK)));
        b->list[i] = must(tern_calloc((size_t)(rows > cols ? rows : cols) + TERN_LIST_PAD, 4));
    }
    b->n_run = b->n_mat;
    double t = best(b, run_pack);
    printf("%s: packs %d x %d, %.2f G weights/s\n", tern_op_name(b->layout->op), rows, cols,
           (double)rows * cols * b->n_mat / t * 1e-9);
}

static void release(bench *b)
{
    for (int i = 0; i < tern_pool_size(b->pool); i++) {
        tern_free(b->scratch[i]);
        tern_free(b->list[i]);
    }
    tern_pages_free(b->w, b->w_bytes + 64);
    tern_free((void *)(uintptr_t)b->codes);
    tern_free((void *)(uintptr_t)b->mm.scale);
    tern_free(b->mm.act.q);
    tern_free(b->mm.act.scale);
    tern_free(b->mm.act.sum);
    tern_free(b->mm.y);
}

static void line(bench *b, const tern_kernel *k, int toks, double share, const tern_ceilings *c)
{
    b->fn = (tern_mm_fn)k->fn;
    b->mm.n_tok = toks;
    b->n_run = b->n_mat;
    double real = make_lists(b, share), t = best(b, run_mm);
    double weights = (double)b->mm.rows * b->mm.cols;
    double useful = (double)b->mat_bytes * b->n_run * real,
           macs = useful / (double)b->mat_bytes * weights * toks;
    printf("%d thr  %-16s %3d tok  share %.2f %7.2f GB/s", tern_pool_size(b->pool), k->name, toks,
           share, useful / t * 1e-9);
    if (toks <= 16)
        printf(" %5.1f%% of read  as %6.2f", 100 * useful / t / c->read_bytes_per_s,
               useful / real / t * 1e-9);
    printf(" %8.1f Gmac/s", macs / t * 1e-9);
    if (toks > 4 && c->macs_per_s[k->isa] > 0)
        printf(" %5.1f%% of peak", 100 * macs / t / c->macs_per_s[k->isa]);
    printf("\n");
}

static void bench_op(tern_pool *pool, tern_op op, unsigned cpu, const tern_ceilings *c)
{
    static const int toks[] = {1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 64, 128, 256};
    static const double shares[] = {1, 0.999, 0.5, 0.25, 0.1};
    bench b = {.pool = pool, .layout = tern_layout_of(op)};
    prepare(&b, by_cols(&b) ? 2560 : 6912, by_cols(&b) ? 6912 : 2560);
    size_t n;
    const tern_kernel *all = tern_kernel_all(&n);
    for (const tern_kernel *k = all; k < all + n; k++) {
        if (k->op != op || k->isa == TERN_ISA_REF || k->needs & ~cpu ||
            (opt.only && strcmp(opt.only, k->name) != 0))
            continue;
        for (size_t i = 0; i < sizeof toks / sizeof toks[0]; i++)
            for (size_t s = 0; s < sizeof shares / sizeof shares[0]; s++)
                if ((!opt.toks || opt.toks == toks[i]) && (s == 0 || toks[i] <= 4))
                    line(&b, k, toks[i], shares[s], c);
    }
    release(&b);
}

static void bench_threads(int threads, unsigned cpu)
{
    tern_pool *pool;
    tern_err err;
    tern_ceilings c;
    if (tern_pool_new(threads, &pool, &err) != TERN_OK) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    tern_ceilings_measure(pool, cpu, &c);
    printf("%d thr  read %.2f GB/s;", threads, c.read_bytes_per_s * 1e-9);
    for (int isa = 0; isa < TERN_ISA_COUNT; isa++)
        if (c.macs_per_s[isa] > 0)
            printf(" %s %.0f Gmac/s", tern_isa_name((tern_isa)isa), c.macs_per_s[isa] * 1e-9);
    printf("\n");
    bench_op(pool, TERN_OP_MM_T2R1, cpu, &c);
    bench_op(pool, TERN_OP_MM_T3R1, cpu, &c);
    bench_op(pool, TERN_OP_MM_T2C1, cpu, &c);
    bench_op(pool, TERN_OP_MM_T3C1, cpu, &c);
    tern_pool_free(pool);
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
        else if (strcmp(argv[i], "--toks") == 0)
            opt.toks = v;
        else if (strcmp(argv[i], "--mb") == 0)
            opt.mb = v;
        else if (strcmp(argv[i], "--ms") == 0)
            opt.ms = v;
    }
    unsigned cpu;
    tern_err err;
    if (tern_cpu_flags(&cpu, &err) != TERN_OK)
        return 1;
    for (int t = 1; t <= tern_cpu_count() && t <= MAX_LANE; t *= 2)
        if (!opt.threads || opt.threads == t)
            bench_threads(t, cpu);
    return 0;
}
