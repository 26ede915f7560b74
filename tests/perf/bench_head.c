/* Speed of the screening planes: the coarse one swept for several tokens, listed rows of a finer one
 * for several tokens that take turns as in sample/screen.c.
 *
 *   bench_head [--threads N] [--only NAME] [--rows N] [--cols N] [--ms TIME]
 *
 * The planes are random and larger than the caches. Kernels take turns, so that what other programs take
 * is taken from all; the median and the fastest run of each count. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/pool.h"
#include "kernels/kernel.h"

static struct {
    int threads, rows, cols, ms;
    const char *only;
} opt = {.threads = 2, .rows = 128256, .cols = 2560, .ms = 1000};

enum { MAX_TOK = 16, UNIT = 1024, MAX_RUN = 64, MAX_CASE = 64 };

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "no memory\n");
        exit(1);
    }
    return p;
}

typedef struct bench {
    tern_pool *pool;
    tern_screen4 four;
    tern_screen1 one;
    int32_t *list[MAX_TOK]; /* [rows]; of each unit its own part */
    int *n_list[MAX_TOK];   /* [units] */
    float *y;
} bench;

typedef struct run {
    const char *name;
    tern_screen4_fn four; /* NULL: one */
    tern_screen1_fn one;
    int toks;
    double share;
    int n;
    double s[MAX_RUN];
} run;

typedef struct task {
    const bench *b;
    const run *r;
} task;

static void range4(void *arg, int lane, int begin, int end)
{
    const task *t = arg;
    tern_screen4 k = t->b->four;
    (void)lane;
    k.n_tok = t->r->toks;
    t->r->four(&k, begin, end);
}

static void range1(void *arg, int lane, int begin, int end)
{
    const task *t = arg;
    (void)lane;
    for (int u = begin; u < end; u++)
        for (int i = 0; i < t->r->toks; i++) {
            tern_screen1 k = t->b->one;
            k.x += (size_t)i * 8 * tern_n1_input_stride(opt.cols);
            k.row = t->b->list[i] + u * UNIT;
            k.y = t->b->y + (size_t)i * (size_t)opt.rows + u * UNIT;
            t->r->one(&k, 0, t->b->n_list[i][u]);
        }
}

/* Each unit's listed rows at the beginning of its part; returns how many there are. */
static size_t make_lists(bench *b, const run *r)
{
    uint32_t s = 5;
    size_t n = 0;
    for (int i = 0; i < r->toks; i++)
        for (int u = 0; u * UNIT < opt.rows; u++) {
            int m = 0;
            for (int row = u * UNIT; row < opt.rows && row < (u + 1) * UNIT; row++) {
                s = s * 1664525 + 1013904223;
                if ((double)(s >> 8) < r->share * (1 << 24))
                    b->list[i][u * UNIT + m++] = row;
            }
            b->n_list[i][u] = m;
            n += (size_t)m;
        }
    return n;
}

static void once(bench *b, run *r)
{
    task t = {b, r};
    uint64_t begin = tern_clock_ns();
    if (r->four)
        tern_pool_for(b->pool, opt.rows, UNIT, range4, &t);
    else
        tern_pool_for(b->pool, (opt.rows + UNIT - 1) / UNIT, 1, range1, &t);
    r->s[r->n++] = (double)(tern_clock_ns() - begin) * 1e-9;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(bench *b, run *r)
{
    double bytes = (double)b->four.w_stride * ((double)opt.rows / 16);
    if (!r->four)
        bytes = (double)make_lists(b, r) * (double)b->one.w_stride;
    qsort(r->s, (size_t)r->n, sizeof r->s[0], by_size);
    printf("%-16s %2d tok  share %.2f  %7.3f ms (fastest %7.3f)  %6.1f GB/s %s\n", r->name, r->toks,
           r->share, r->s[r->n / 2] * 1e3, r->s[0] * 1e3, bytes / r->s[r->n / 2] * 1e-9,
           r->four ? "of the plane" : "of listed rows");
}

static int list_runs(run *runs, unsigned cpu)
{
    static const int toks[] = {1, 2, 4, 8};
    static const double shares[] = {0.05, 0.25, 0.9};
    size_t n_kernel;
    int n = 0;
    const tern_kernel *all = tern_kernel_all(&n_kernel);
    for (const tern_kernel *k = all; k < all + n_kernel; k++) {
        if ((k->op != TERN_OP_SCREEN4 && k->op != TERN_OP_SCREEN1) || k->isa == TERN_ISA_REF ||
            k->needs & ~cpu || (opt.only && strcmp(opt.only, k->name) != 0))
            continue;
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < (k->op == TERN_OP_SCREEN4 ? 1 : 3) && n < MAX_CASE; j++) {
                runs[n] = (run){.name = k->name, .toks = toks[i], .share = 1};
                if (k->op == TERN_OP_SCREEN4) {
                    runs[n++].four = (tern_screen4_fn)k->fn;
                } else {
                    runs[n].share = shares[j];
                    runs[n++].one = (tern_screen1_fn)k->fn;
                }
            }
    }
    return n;
}

static void fill(uint8_t *p, size_t n)
{
    uint64_t s = 1;
    for (size_t i = 0; i + 8 <= n; i += 8) {
        s = s * 6364136223846793005u + 1442695040888963407u;
        memcpy(p + i, &s, 8);
    }
}

static void prepare(bench *b)
{
    size_t rows = (size_t)opt.rows + UNIT, stride = ((size_t)opt.cols + 255) / 256 * 256;
    size_t bytes4 = tern_n4_bytes(opt.rows, opt.cols), bytes1 = tern_n1_bytes(opt.rows, opt.cols);
    uint8_t *w4 = must(tern_pages_alloc(bytes4)), *w1 = must(tern_pages_alloc(bytes1));
    float *scale = must(tern_calloc(rows, sizeof *scale));
    tern_act12 act = {.hi = must(tern_calloc(MAX_TOK, stride)),
                      .lo = must(tern_calloc(MAX_TOK, stride)),
                      .stride = stride,
                      .scale = must(tern_calloc(MAX_TOK, sizeof(float))),
                      .sum = must(tern_calloc(MAX_TOK, 2 * sizeof(int32_t)))};
    fill(w4, bytes4);
    fill(w1, bytes1);
    fill((uint8_t *)act.hi, MAX_TOK * stride);
    for (size_t i = 0; i < MAX_TOK * stride; i++)
        act.lo[i] = (int8_t)((int)(i * 37 % 256) - 128);
    b->y = must(tern_calloc(MAX_TOK * rows, sizeof *b->y));
    b->four = (tern_screen4){.w = w4,
                             .w_stride = tern_n4_stripe_bytes(opt.cols),
                             .rows = opt.rows,
                             .cols = opt.cols,
                             .scale = scale,
                             .act = act,
                             .y = b->y,
                             .y_stride = rows};
    b->one = (tern_screen1){.w = w1,
                            .w_stride = tern_n1_row_bytes(opt.cols),
                            .cols = opt.cols,
                            .scale = scale,
                            .x = must(tern_calloc(MAX_TOK, 8 * tern_n1_input_stride(opt.cols)))};
    for (int i = 0; i < MAX_TOK; i++) {
        b->list[i] = must(tern_calloc(rows, sizeof **b->list));
        b->n_list[i] = must(tern_calloc(rows / UNIT + 1, sizeof **b->n_list));
    }
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
    static run runs[MAX_CASE];
    bench b = {0};
    unsigned cpu;
    tern_err err;
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
        else if (strcmp(argv[i], "--ms") == 0)
            opt.ms = v;
    }
    if (tern_cpu_flags(&cpu, &err) != TERN_OK ||
        tern_pool_new(opt.threads, &b.pool, &err) != TERN_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    prepare(&b);
    int n = list_runs(runs, cpu);
    uint64_t begin = tern_clock_ns();
    for (int round = 0; round < MAX_RUN; round++) {
        for (int i = 0; i < n; i++) {
            if (!runs[i].four)
                (void)make_lists(&b, &runs[i]);
            once(&b, &runs[i]);
        }
        if (tern_clock_ns() - begin > (uint64_t)opt.ms * 1000000)
            break;
    }
    for (int i = 0; i < n; i++)
        print(&b, &runs[i]);
    return 0;
}
