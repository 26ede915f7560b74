/* How close kernels that read a whole matrix for one token come to a plain read of memory: all take
 * turns over the same bytes in one process.
 *   bench_sweep [--threads N] [--cols C] [--mb SIZE] [--rounds N] [--region KB] [--only NAME]
 * Three pairs of columns, medians and best in GB/s over all threads: the bytes in one region, the bytes in a region for
 * each KB (3456: a matrix of BitNet-b1.58-2B-4T at 1.6 bits), and bytes that stay in the second-level
 * cache of each thread, where a kernel shows what it could compute. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/pool.h"
#include "kernels/ceiling.h"
#include "kernels/kernel.h"

#define MAX_ROUND 199
#define CACHE_KB  384

static struct {
    int threads, cols, mb, rounds, region;
    const char *only;
} opt = {.threads = 2, .cols = 2560, .mb = 192, .rounds = 15, .region = 3456};

typedef struct subject {
    const char *name;
    tern_op op; /* TERN_OP_COUNT: a plain read */
    tern_any_fn fn;
    size_t stripe;
    double gbs[3][MAX_ROUND];
} subject;

typedef struct sweep {
    const subject *s;
    const uint8_t *w;
    int n_stripe;
    bool cached;
    tern_mm mm;
    tern_screen4 n4;
} sweep;

static void *must(void *p)
{
    if (!p) {
        (void)fprintf(stderr, "no memory\n");
        exit(1);
    }
    return p;
}

static void rows(const sweep *k, const uint8_t *w, int row0, int row1)
{
    tern_mm mm = k->mm;
    tern_screen4 n4 = k->n4;
    switch (k->s->op) {
    case TERN_OP_COUNT:
        ((void (*)(const uint8_t *, size_t))k->s->fn)(w + (size_t)(row0 / 16) * k->s->stripe,
                                                      (size_t)((row1 - row0) / 16) * k->s->stripe);
        break;
    case TERN_OP_SCREEN4:
        n4.w = w;
        n4.w_stride = k->s->stripe;
        n4.rows = row1;
        ((tern_screen4_fn)k->s->fn)(&n4, row0, row1);
        break;
    default:
        mm.w = w;
        mm.w_stride = k->s->stripe;
        mm.rows = row1;
        ((tern_mm_fn)k->s->fn)(&mm, row0, row1);
    }
}

static void range(void *arg, int lane, int begin, int end)
{
    const sweep *k = arg;
    (void)lane;
    rows(k, k->w, begin, end);
}

/* Each lane its own bytes, again and again. */
static void cached_lane(void *arg, int lane, int n_lane)
{
    const sweep *k = arg;
    int n = k->n_stripe / n_lane;
    const uint8_t *w = k->w + (size_t)(lane * n) * k->s->stripe;
    for (int i = 0; i < 64; i++)
        rows(k, w, 0, 16 * n);
}

static double timed(tern_pool *pool, sweep *k, const uint8_t *data, size_t bytes, size_t region)
{
    size_t stripe = k->s->stripe, per_region = region / stripe, left = bytes / stripe, read = 0;
    uint64_t begin = tern_clock_ns();
    for (k->w = data; left > 0; left -= (size_t)k->n_stripe) {
        k->n_stripe = (int)(left < per_region ? left : per_region);
        if (k->cached) {
            tern_pool_run(pool, cached_lane, k);
            read += 64 * stripe * (size_t)(k->n_stripe / tern_pool_size(pool)) *
                    (size_t)tern_pool_size(pool);
        } else {
            tern_pool_for(pool, 16 * k->n_stripe, 16, range, k);
            read += stripe * (size_t)k->n_stripe;
        }
        k->w += stripe * (size_t)k->n_stripe;
    }
    return (double)read / (double)(tern_clock_ns() - begin);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int subjects(subject *s, int max)
{
    unsigned cpu;
    size_t n;
    int n_subject = 0;
    if (tern_cpu_flags(&cpu, NULL) != TERN_OK)
        return 0;
    const tern_ceiling *c = tern_ceiling_all(&n);
    for (size_t i = 0; i < n; i++)
        if (c[i].read && !(c[i].needs & ~cpu))
            s[0] = (subject){.name = "plain read",
                             .op = TERN_OP_COUNT,
                             .fn = (tern_any_fn)c[i].read,
                             .stripe = 16384};
    const tern_kernel *k = tern_kernel_all(&n);
    for (n_subject = 1; n > 0 && n_subject < max; n--, k++) {
        size_t stripe = k->op == TERN_OP_MM_T2R16   ? tern_t2_stripe_bytes(opt.cols)
                        : k->op == TERN_OP_MM_T3R16 ? tern_t3_stripe_bytes(opt.cols)
                        : k->op == TERN_OP_SCREEN4  ? tern_n4_stripe_bytes(opt.cols)
                                                    : 0;
        if (stripe && !(k->needs & ~cpu) && k->isa != TERN_ISA_REF &&
            (opt.only ? strstr(k->name, opt.only) != NULL : k->isa == TERN_ISA_VNNI))
            s[n_subject++] = (subject){.name = k->name, .op = k->op, .fn = k->fn, .stripe = stripe};
    }
    return n_subject;
}

static void options(int argc, char **argv)
{
    static const struct {
        const char *name;
        int *value;
    } all[] = {{"--threads", &opt.threads},
               {"--cols", &opt.cols},
               {"--mb", &opt.mb},
               {"--rounds", &opt.rounds},
               {"--region", &opt.region}};
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t v = 0;
        if (strcmp(argv[i], "--only") == 0)
            opt.only = argv[i + 1];
        else if (!tern_parse_u64(argv[i + 1], strlen(argv[i + 1]), &v) || v < 1 || v > 1 << 20)
            exit(2);
        for (size_t j = 0; j < sizeof all / sizeof all[0]; j++)
            if (strcmp(argv[i], all[j].name) == 0)
                *all[j].value = (int)v;
    }
    opt.rounds = opt.rounds < MAX_ROUND ? opt.rounds : MAX_ROUND;
}

int main(int argc, char **argv)
{
    static subject s[16];
    static int32_t sum[2];
    static float scale[1] = {1.0f};
    options(argc, argv);
    tern_pool *pool;
    if (tern_pool_new(opt.threads, &pool, NULL) != TERN_OK)
        return 1;
    size_t bytes = (size_t)opt.mb << 20, stride = ((size_t)opt.cols + 255) / 256 * 256;
    uint8_t *data = must(tern_pages_alloc(bytes + 65536));
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(1 + i % 255);
    float *y = must(tern_calloc(bytes / 64, sizeof *y));
    float *row_scale = must(tern_calloc(bytes / 64, sizeof *row_scale));
    int8_t *q = must(tern_calloc(stride, 1));
    for (int i = 0; i < opt.cols; i++)
        q[i] = (int8_t)(i % 255 - 127);
    sweep k = {.mm = {.cols = opt.cols,
                      .scale = row_scale,
                      .act = {.q = q, .stride = stride, .scale = scale, .sum = sum},
                      .n_tok = 1,
                      .y = y},
               .n4 = {.cols = opt.cols,
                      .scale = row_scale,
                      .act = {.hi = q, .lo = q, .stride = stride, .scale = scale, .sum = sum},
                      .n_tok = 1,
                      .y = y}};
    int n = subjects(s, 16);
    for (int r = 0; r < opt.rounds; r++)
        for (int i = 0; i < n; i++) {
            k.s = &s[i];
            k.cached = false;
            s[i].gbs[0][r] = timed(pool, &k, data, bytes, bytes);
            s[i].gbs[1][r] = timed(pool, &k, data, bytes, (size_t)opt.region << 10);
            k.cached = true;
            size_t cached = ((size_t)CACHE_KB << 10) * (size_t)opt.threads;
            s[i].gbs[2][r] = timed(pool, &k, data, cached, cached);
        }
    printf("%d threads, %d columns, GB/s:   one region                  %4d KiB each               "
           " in cache\n",
           opt.threads, opt.cols, opt.region);
    for (int i = 0; i < n; i++) {
        printf("%-24s", s[i].name);
        for (int j = 0; j < 3; j++) {
            qsort(s[i].gbs[j], (size_t)opt.rounds, sizeof(double), compare);
            qsort(s[0].gbs[j], (size_t)opt.rounds, sizeof(double), compare);
            double m = s[i].gbs[j][opt.rounds / 2], best = s[i].gbs[j][opt.rounds - 1];
            printf("   %6.1f (%3.0f%%) %6.1f (%3.0f%%)", m, 100 * m / s[0].gbs[j][opt.rounds / 2],
                   best, 100 * best / s[0].gbs[j][opt.rounds - 1]);
        }
        printf("\n");
    }
    tern_free(q);
    tern_free(row_scale);
    tern_free(y);
    tern_pages_free(data, bytes + 65536);
    tern_pool_free(pool);
    return 0;
}
