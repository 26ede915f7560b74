/* Speed of a feed-forward that leaves rows of up and columns of down out (model/ffn/sparse.c), as a
 * step of one token runs it, beside plain reads of as many bytes.
 *
 *   bench_ffn [--threads N] [--layers N] [--rounds N] [--d-model N] [--d-ff N] [--toks N]
 *             [--share PERCENT]
 *
 * The layers together are far larger than the caches. A round takes every variant once, each behind a
 * sweep that empties the caches; times of a layer are the fastest of all rounds, for other processes
 * only ever add, and are summed over the layers. "up" is gate and up less gate alone. Bytes are those
 * of the weights that are needed, 2 bits each; "read" reads as many in the same regions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/num.h"
#include "kernels/ceiling.h"
#include "model/exec.h"

static struct {
    int threads, layers, rounds, d_model, d_ff, toks, percent;
} opt = {2, 30, 15, 2560, 6912, 1, 0};

enum { GATE, GATE_UP, DOWN, READ_UP, READ_DOWN, WAYS };
enum { SWEEP = 64 << 20, PIECE = 1 << 20 };

typedef struct bench {
    tern_pool *pool;
    tern_exec e;
    tern_weights w;
    tern_tensor src;
    tern_input in, down_in;
    int8_t *down_q;   /* [n_layer][toks][stride] */
    int n_row, n_col; /* needed, of all layers */
    void (*read)(const uint8_t *p, size_t n);
    uint8_t *data; /* what reads read */
    size_t data_bytes, at;
    const uint8_t *piece; /* of a region: */
    size_t piece_bytes;
    double *time[WAYS]; /* [n_layer] */
} bench;

static void *must(void *p)
{
    if (!p) {
        (void)fprintf(stderr, "no memory\n");
        exit(1);
    }
    return p;
}

static uint32_t rnd(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

/* ---- the model ----------------------------------------------------------------------------- */

/* All codes are 2, trits of +1, in every layout. */
static tern_linear matrix(bench *b, tern_op op, int rows, int cols)
{
    const tern_layout *layout = tern_layout_of(op);
    tern_linear l = {.src = &b->src,
                     .op = op,
                     .form = TERN_FORM_A8T,
                     .rows = rows,
                     .cols = cols,
                     .group = cols,
                     .grain = layout->grain,
                     .w_stride = layout->unit_bytes(cols),
                     .packed_bytes = layout->bytes(rows, cols),
                     .tame = true};
    l.read_bytes = l.packed_bytes - 64;
    uint8_t *w = must(tern_pages_alloc(l.packed_bytes));
    memset(w, layout->base3 ? 0xff : 0xaa, l.packed_bytes);
    l.w = w;
    l.scale = must(tern_calloc(tern_round_up((size_t)rows, 1024), sizeof(float)));
    for (int i = 0; i < rows; i++)
        l.scale[i] = 0.01f;
    return l;
}

static void make_model(bench *b)
{
    tern_err err;
    tern_hparams *h = &b->w.h;
    h->n_layer = opt.layers;
    h->d_model = opt.d_model;
    h->d_ff = opt.d_ff;
    h->n_head = h->n_kv_head = opt.d_model / 64;
    h->d_head = h->rope.n_rot = 64;
    h->n_vocab = 64;
    b->w.blocks = must(tern_calloc((size_t)opt.layers, sizeof *b->w.blocks));
    for (int i = 0; i < opt.layers; i++) {
        tern_dense *f = &b->w.blocks[i].f.dense;
        f->act = TERN_ACT_RELU2;
        f->gate = matrix(b, TERN_OP_MM_T3R16, opt.d_ff, opt.d_model);
        f->up = matrix(b, TERN_OP_MM_T2R1, opt.d_ff, opt.d_model);
        f->down = matrix(b, TERN_OP_MM_T2C1, opt.d_model, opt.d_ff);
    }
    unsigned cpu;
    if (tern_cpu_flags(&cpu, &err) != TERN_OK ||
        tern_exec_init(&b->e, &b->w, b->pool, cpu, opt.toks, &err) != TERN_OK) {
        (void)fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    b->e.up_limit = b->e.down_limit = 1.0f;
    size_t n;
    const tern_ceiling *all = tern_ceiling_all(&n);
    for (size_t i = 0; i < n; i++)
        if (all[i].read && (all[i].needs & ~cpu) == 0)
            b->read = all[i].read;
    for (int i = 0; i < opt.toks * opt.d_model; i++)
        b->e.h[i / opt.d_model * (int)b->e.x_stride + i % opt.d_model] = 1.0f;
    tern_prepare p = {.x = b->e.h,
                      .x_stride = b->e.x_stride,
                      .cols = opt.d_model,
                      .n_tok = opt.toks,
                      .forms = TERN_FORM_A8T};
    tern_exec_prepare(&b->e, &p, &b->in);
    b->in.a8t.q = must(tern_calloc((size_t)opt.toks, b->in.a8t.stride));
    memcpy(b->in.a8t.q, b->e.a8t.q, (size_t)opt.toks * b->in.a8t.stride);
    b->down_in = b->in;
    b->down_in.a8t.stride = b->e.ff_stride;
    b->down_q = must(tern_calloc((size_t)opt.layers * (size_t)opt.toks, b->down_in.a8t.stride));
    b->data_bytes = (size_t)SWEEP + (size_t)opt.layers * (size_t)opt.d_ff * (size_t)opt.d_model / 4;
    b->data = must(tern_pages_alloc(b->data_bytes + 8192));
    memset(b->data, 1, b->data_bytes + 8192);
    for (int i = 0; i < WAYS; i++)
        b->time[i] = must(tern_calloc((size_t)opt.layers, sizeof *b->time[i]));
}

/* The share of rows that the gate lets through, and of columns whose input is not 0. */
static void choose(bench *b, double share)
{
    uint32_t seed = 1;
    b->n_row = b->n_col = 0;
    for (int i = 0; i < opt.layers; i++) {
        float *scale = b->w.blocks[i].f.dense.gate.scale;
        int8_t *q = b->down_q + (size_t)i * (size_t)opt.toks * b->e.ff_stride;
        for (int j = 0; j < opt.d_ff; j++) {
            bool row = rnd(&seed) < share * (1 << 24), col = rnd(&seed) < share * (1 << 24);
            scale[j] = row ? 0.01f : -0.01f;
            for (int t = 0; t < opt.toks; t++)
                q[(size_t)t * b->e.ff_stride + (size_t)j] = col ? (int8_t)(j % 100 + 1) : 0;
            b->n_row += row;
            b->n_col += col;
        }
    }
}

/* ---- timing -------------------------------------------------------------------------------- */

static void read_lane(void *arg, int lane, int n_lane)
{
    const bench *b = arg;
    int begin, end; /* in KiB */
    tern_pool_split((int)(b->piece_bytes >> 10), 4, lane, n_lane, &begin, &end);
    b->read(b->piece + ((size_t)begin << 10), (size_t)(end - begin) << 10);
}

static void read_piece(bench *b, size_t bytes)
{
    if (b->at + bytes > b->data_bytes)
        b->at = 0;
    b->piece = b->data + b->at;
    b->piece_bytes = bytes;
    b->at += bytes;
    tern_pool_run(b->pool, read_lane, b);
}

static void run_layer(bench *b, int way, int layer)
{
    tern_block *k = &b->w.blocks[layer];
    tern_product gate = {&k->f.dense.gate, &b->in, b->e.gate, b->e.ff_stride};
    bool done = true;
    switch (way) {
    case GATE:
        tern_exec_run(&b->e, TERN_SPAN_GATE_UP, &gate, 1, NULL);
        break;
    case GATE_UP:
        done = tern_sparse_gate_up(&b->e, k, &b->in);
        break;
    case DOWN:
        b->down_in.a8t.q = b->down_q + (size_t)layer * (size_t)opt.toks * b->e.ff_stride;
        done = tern_sparse_down(&b->e, k, &b->down_in);
        break;
    default:
        read_piece(b, (size_t)(way == READ_UP ? b->n_row : b->n_col) * (size_t)opt.d_model / 4 /
                          (size_t)opt.layers / 1024 * 1024);
    }
    if (!done) {
        (void)fprintf(stderr, "not a sparse product\n");
        exit(1);
    }
}

static void round_of(bench *b)
{
    for (int way = 0; way < WAYS; way++) {
        for (size_t i = 0; i < SWEEP / PIECE; i++)
            read_piece(b, PIECE);
        for (int i = 0; i < opt.layers; i++) {
            uint64_t begin = tern_clock_ns();
            run_layer(b, way, i);
            double t = (double)(tern_clock_ns() - begin) * 1e-9, *best = &b->time[way][i];
            *best = *best == 0 || t < *best ? t : *best;
        }
    }
}

static void line(const char *name, double t, size_t bytes, double read)
{
    printf(" | %s %.3f ms %5.1f GB/s %3.0f%%", name, t * 1e3, (double)bytes / t * 1e-9,
           100 * (double)bytes / t / read);
}

static void bench_share(bench *b, double share)
{
    double sum[WAYS] = {0};
    choose(b, share);
    for (int way = 0; way < WAYS; way++)
        memset(b->time[way], 0, (size_t)opt.layers * sizeof *b->time[way]);
    for (int i = 0; i < opt.rounds; i++)
        round_of(b);
    for (int way = 0; way < WAYS; way++)
        for (int i = 0; i < opt.layers; i++)
            sum[way] += b->time[way][i];
    size_t up = (size_t)b->n_row * (size_t)opt.d_model / 4,
           down = (size_t)b->n_col * (size_t)opt.d_model / 4;
    size_t gate = (size_t)opt.layers * (b->w.blocks[0].f.dense.gate.packed_bytes - 64);
    double read_up = (double)up / sum[READ_UP], read_down = (double)down / sum[READ_DOWN];
    printf("share %.2f: read %.1f, %.1f GB/s", share, read_up * 1e-9, read_down * 1e-9);
    line("gate", sum[GATE], gate, read_up);
    line("up", sum[GATE_UP] - sum[GATE], up, read_up);
    line("down", sum[DOWN], down, read_down);
    printf("\n");
}

static int number(const char *s)
{
    uint64_t n;
    return tern_parse_u64(s, strlen(s), &n) && n > 0 && n < 1 << 20 ? (int)n : 1;
}

int main(int argc, char **argv)
{
    static const double shares[] = {0.17, 0.3, 0.5, 1};
    static bench b;
    tern_err err;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *names[] = {"--threads", "--layers", "--rounds",
                               "--d-model", "--d-ff",   "--toks"};
        int *values[] = {&opt.threads, &opt.layers, &opt.rounds, &opt.d_model,
                         &opt.d_ff,    &opt.toks,   &opt.percent};
        for (size_t j = 0; j < sizeof names / sizeof names[0]; j++)
            if (strcmp(argv[i], names[j]) == 0)
                *values[j] = number(argv[i + 1]);
    }
    if (tern_pool_new(opt.threads, &b.pool, &err) != TERN_OK) {
        (void)fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    make_model(&b);
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++)
        if (!opt.percent || opt.percent == (int)(shares[i] * 100 + 0.5))
            bench_share(&b, shares[i]);
    for (int i = 0; i < opt.layers; i++) {
        tern_linear_done(&b.w.blocks[i].f.dense.gate);
        tern_linear_done(&b.w.blocks[i].f.dense.up);
        tern_linear_done(&b.w.blocks[i].f.dense.down);
    }
    tern_exec_done(&b.e);
    tern_free(b.w.blocks);
    tern_free(b.in.a8t.q);
    tern_free(b.down_q);
    tern_pages_free(b.data, b.data_bytes + 8192);
    for (int i = 0; i < WAYS; i++)
        tern_free(b.time[i]);
    tern_pool_free(b.pool);
    return 0;
}
