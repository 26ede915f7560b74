/* The loop of panel.h, shared by the x86 instruction sets; see tile.h for what the file that includes
 * this defines first. A tile is nw vectors of VL rows by nt tokens. */
#include "kernels/x86/panel.h"
#include "kernels/x86/tile.h"

typedef struct block {
    const uint8_t *w;
    size_t w_stride, n_quad;
    const int8_t *q;
    size_t q_stride;
    int32_t *acc;
    size_t acc_stride;
    bool add;
} block;

typedef void (*block_fn)(const block *b);

/* One column quad; token t is a base plus one of six offsets, as addressing modes make them from few
 * registers. */
#define LOAD(t, i) c[i] = v_load(w + vec_at(i, w_stride));
#define DOT(t, i)  dot[t][i] = v_dot(dot[t][i], c[i], x);
#define DOTS(t)                                                                                    \
    vi x = v_set1(load_i32((t < 6 ? q : q6) + t % 6 * stride));                                    \
    EACH_VEC(DOT, t)

INLINE void panel_tile(const int nt, const int nw, const block *a)
{
    const size_t w_stride = a->w_stride, stride = a->q_stride;
    const uint8_t *w = a->w;
    const int8_t *q = a->q;
    vdot dot[MAX_TOK][MAX_VEC];
    vi c[MAX_VEC];
    bool add = a->add;
    for (size_t left = a->n_quad, n; left > 0; left -= n, add = true) {
#ifdef SPAN
        n = left < SPAN ? left : SPAN;
#define CELL(t, i) dot[t][i] = v_open(v_set1(0));
        EACH_CELL
#undef CELL
#else
        n = left;
#define CELL(t, i)                                                                                 \
    dot[t][i] = v_open(add ? v_load(a->acc + t * a->acc_stride + i * VL) : v_set1(0));
        EACH_CELL
#undef CELL
#endif
        for (const uint8_t *end = w + 64 * n; w < end; w += 64, q += 4) {
            const int8_t *q6 = nt > 6 ? q + 6 * stride : q;
            EACH_VEC(LOAD, 0)
            EACH_TOKEN(DOTS)
        }
#ifdef SPAN
#define CELL(t, i)                                                                                 \
    sum = add ? v_load(a->acc + t * a->acc_stride + i * VL) : v_set1(0);                           \
    v_store(a->acc + t * a->acc_stride + i * VL, v_close(dot[t][i], sum));
        vi sum;
        EACH_CELL
#undef CELL
#else
#define CELL(t, i) v_store(a->acc + t * a->acc_stride + i * VL, (vi)dot[t][i]);
        EACH_CELL
#undef CELL
#endif
    }
}

/* Panels so many at a time (fn_one: one), tokens at most max, as equal as they can be. fn[n] makes a
 * tile of n tokens. */
static inline void run_blocks(const tern_panels *p, int panels, const block_fn *fn,
                              const block_fn *fn_one, int max)
{
    for (int i = 0, n; i < p->n_panel; i += n) {
        n = i + panels <= p->n_panel ? panels : 1;
        for (int t = 0, left = (p->n_tok + max - 1) / max, nt; left > 0; left--, t += nt) {
            nt = (p->n_tok - t + left - 1) / left;
            block b = {.w = p->w + (size_t)i * p->w_stride,
                       .w_stride = p->w_stride,
                       .n_quad = (size_t)p->n_quad,
                       .q = p->q + (size_t)t * p->q_stride,
                       .q_stride = p->q_stride,
                       .acc = p->acc + (size_t)t * p->acc_stride + 16 * i,
                       .acc_stride = p->acc_stride,
                       .add = p->add};
            (n == panels ? fn : fn_one)[nt](&b);
        }
    }
}

/* Instances: nt tokens, nw vectors. */
#define PANEL(nt, nw)                                                                              \
    static void panel_##nt##x##nw(const block *b)                                                  \
    {                                                                                              \
        panel_tile(nt, nw, b);                                                                     \
    }
