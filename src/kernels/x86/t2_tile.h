/* The loops of the 2-bit matrix products, shared by the x86 instruction sets; see tile.h for what the
 * file that includes this defines first. */
#include "kernels/x86/tile.h"

/* Products of one packed vector of each row set at w with all tokens, added to dot; q is the first
 * token's activations. Token t is a base plus one of six offsets, which addressing modes make from
 * few registers. Bytes are prefetched `ahead` of their use, for the hardware's streams stop at each
 * 4 KiB page; 0 is at the same place of the next tile, which streams side by side need: looking ahead each in
 * itself they would miss their beginnings. A macro, for compilers keep an array in registers only within one function. */
#define STEP(w, q)                                                                                 \
    {                                                                                              \
        const uint8_t *wp = (w);                                                                   \
        const int8_t *qp = (q), *qp6 = nt > 6 ? qp + 6 * stride : qp;                              \
        EACH_VEC(STEP_LOAD, 0)                                                                     \
        STEP_PLANE(0)                                                                              \
        STEP_PLANE(1)                                                                              \
        STEP_PLANE(2)                                                                              \
        STEP_PLANE(3)                                                                              \
    }
#define STEP_LOAD(t, i)                                                                            \
    v[i] = v_load(wp + vec_at(i, w_stride));                                                       \
    if (VL == 16 || i % 2 == 0)                                                                    \
        _mm_prefetch((const char *)wp + vec_at(i, w_stride) + further, _MM_HINT_T0);
#define STEP_PLANE(p)                                                                              \
    {                                                                                              \
        enum { plane = p };                                                                        \
        EACH_VEC(STEP_CODE, 0)                                                                     \
        EACH_TOKEN(STEP_DOTS)                                                                      \
    }
#define STEP_CODE(t, i) c[i] = v_and(plane ? v_shr(v[i], 2 * plane) : v[i], mask);
#define STEP_DOT(t, i)  dot[t][i] = v_dot(dot[t][i], c[i], x);
#define STEP_DOTS(t)                                                                               \
    vi x = v_set1(load_i32((t < 6 ? qp : qp6) + t % 6 * stride + 4 * plane));                      \
    EACH_VEC(STEP_DOT, t)

INLINE void tile_t2r16(const int nt, const int nw, const int ahead, const tern_mm *k, const tile *a)
{
    const size_t w_stride = k->w_stride, stride = k->act.stride;
    const size_t further = ahead ? (size_t)ahead : (size_t)nw * VL / 16 * w_stride;
    const size_t n_vec = ((size_t)k->cols + 15) / 16;
    const int8_t *q = k->act.q + (size_t)a->tok * stride;
    const vi mask = v_set1(0x03030303);
    vdot dot[MAX_TOK][MAX_VEC];
    vi v[MAX_VEC], c[MAX_VEC];
#ifdef SPAN
    vi acc[MAX_TOK][MAX_VEC];
#define CELL(t, i) acc[t][i] = v_set1(-k->act.sum[a->tok + t]);
    EACH_CELL
#undef CELL
    for (size_t b0 = 0, b1; b0 < n_vec; b0 = b1) {
        b1 = n_vec - b0 < SPAN / 4 ? n_vec : b0 + SPAN / 4;
#define CELL(t, i) dot[t][i] = v_open(acc[t][i]);
        EACH_CELL
#undef CELL
        for (size_t b = b0; b < b1; b++)
            STEP(a->w + 64 * b, q + 16 * b)
#define CELL(t, i) acc[t][i] = v_close(dot[t][i], acc[t][i]);
        EACH_CELL
#undef CELL
    }
#define CELL(t, i) dot[t][i] = (vdot)acc[t][i];
    EACH_CELL
#undef CELL
#else
#define CELL(t, i) dot[t][i] = v_open(v_set1(-k->act.sum[a->tok + t]));
    EACH_CELL
#undef CELL
    for (size_t b = 0; b < n_vec; b++)
        STEP(a->w + 64 * b, q + 16 * b)
#endif
#define CELL(t, i) finish(k, a, i, t, (vi)dot[t][i]);
    EACH_CELL
#undef CELL
}

INLINE void tile_t2g(const int nt, const int nw, const int ahead, const tern_mm *k, const tile *a)
{
    const size_t w_stride = k->w_stride, stride = k->act.stride;
    const size_t further = ahead ? (size_t)ahead : (size_t)nw * VL / 16 * w_stride;
    const size_t n_blk = ((size_t)k->cols + 31) / 32, per_group = (size_t)k->group / 32;
    const size_t n_group = (n_blk + per_group - 1) / per_group;
    const uint8_t *w = a->w;
    const int8_t *q = k->act.q + (size_t)a->tok * stride;
    const float *d = k->act.scale + (size_t)a->tok * (stride / 32);
    const int32_t *bsum = k->act.sum + (size_t)a->tok * (stride / 16);
    const float *gscale = k->gscale + (size_t)(a->row / 16) * n_group * 16 + (size_t)(a->row % 16);
    const vi mask = v_set1(0x03030303), zero = v_set1(0);
    vdot dot[MAX_TOK][MAX_VEC];
    vi acc[MAX_TOK][MAX_VEC], v[MAX_VEC], c[MAX_VEC];
    vf y[MAX_TOK][MAX_VEC], part[MAX_TOK][MAX_VEC];
#define CELL(t, i) y[t][i] = f_set1(0);
    EACH_CELL
#undef CELL
    for (size_t left = n_blk, n; left > 0; left -= n, gscale += 16) {
        n = left < per_group ? left : per_group;
#define CELL(t, i) part[t][i] = f_set1(0);
        EACH_CELL
#undef CELL
        for (size_t b = 0; b < n; b++, w += 128, q += 32, d++, bsum += 2) {
#define CELL(t, i)                                                                                 \
    acc[t][i] = sum;                                                                               \
    dot[t][i] = v_open(acc[t][i]);
#define BEGIN(t)                                                                                   \
    vi sum = v_sub(zero, v_set1(bsum[t * (stride / 16)]));                                         \
    sum = v_sub(sum, v_set1(bsum[t * (stride / 16) + 1]));                                         \
    EACH_VEC(CELL, t)
            EACH_TOKEN(BEGIN)
#undef CELL
#undef BEGIN
            STEP(w, q)
            STEP(w + 64, q + 16)
#define CELL(t, i)                                                                                 \
    acc[t][i] = v_close(dot[t][i], acc[t][i]);                                                     \
    part[t][i] = f_add(part[t][i], f_mul(f_cvt(acc[t][i]), f_set1(d[t * (stride / 32)])));
            EACH_CELL
#undef CELL
        }
#define CELL(t, i)                                                                                 \
    y[t][i] = f_add(y[t][i], f_mul(part[t][i], f_load(gscale + vec_at(i, n_group * 64) / 4)));
        EACH_CELL
#undef CELL
    }
#define CELL(t, i) put(k, a, i, t, y[t][i]);
    EACH_CELL
#undef CELL
}

#ifndef SPAN
/* A stripe and one or two tokens, where bytes must stream. Codes stay where they are in their byte,
 * worth 1, 4, 16 or 64 times as much; each place has its own sums and exact shifts undo the factors at the
 * end: 4 masks in place of 3 shifts and 4 masks. With one token two packed vectors are under way, for
 * four chains of products would wait for each other (AMD Zen 5, in cache: 63 and 84 GB/s a core).
 * |acc| <= 192 * 128 * cols / 4 < 2^31 for cols <= 2^18. */
INLINE void stream_t2r16(const int nt, const int ahead, const tern_mm *k, const tile *a)
{
    enum { nw = 16 / VL };
    const int chains = nt * nw == 1 ? 2 : 1; /* packed vectors under way */
    /* Whole quads of vectors are there, with activations of 0. */
    const size_t stride = k->act.stride, n_vec = ((size_t)k->cols + 31) / 32 * 2;
    const int8_t *q = k->act.q + (size_t)a->tok * stride;
    const vi m0 = v_set1(0x03030303), m1 = v_set1(0x0c0c0c0c), m2 = v_set1(0x30303030),
             m3 = v_set1((int32_t)0xc0c0c0c0u);
    vdot dot[MAX_TOK][MAX_VEC][2][4];
    vi v;
#define ZERO(t, i, c)                                                                              \
    if (c < chains)                                                                                \
        dot[t][i][c][0] = dot[t][i][c][1] = dot[t][i][c][2] = dot[t][i][c][3] = v_open(v_set1(0));
#define CELL(t, i)                                                                                 \
    ZERO(t, i, 0)                                                                                  \
    ZERO(t, i, 1)                                                                                  \
    dot[t][i][0][0] = v_open(v_set1(-k->act.sum[a->tok + t]));
    EACH_CELL
#undef CELL
#undef ZERO
#define PLACE(t, i, c, p, mask)                                                                    \
    dot[t][i][c][p] =                                                                              \
        v_dot(dot[t][i][c][p], v_and(v, mask), v_set1(load_i32(x + t * stride + 4 * p)));
#define CELL(t, i)                                                                                 \
    v = v_load(w + vec_at(i, 0));                                                                  \
    PLACE(t, i, chain, 0, m0)                                                                      \
    PLACE(t, i, chain, 1, m1)                                                                      \
    PLACE(t, i, chain, 2, m2)                                                                      \
    PLACE(t, i, chain, 3, m3)
#define VECTOR(n)                                                                                  \
    {                                                                                              \
        const int chain = n % chains;                                                              \
        const uint8_t *w = a->w + 64 * (b + n);                                                    \
        const int8_t *x = q + 16 * (b + n);                                                        \
        _mm_prefetch((const char *)w + ahead, _MM_HINT_T0);                                        \
        EACH_CELL                                                                                  \
    }
    for (size_t b = 0; b < n_vec; b += 2) {
        VECTOR(0)
        VECTOR(1)
    }
#undef VECTOR
#undef CELL
#undef PLACE
    /* Right shifts of signed elements are arithmetic. */
#define CELL(t, i)                                                                                 \
    if (chains == 2) {                                                                             \
        dot[t][i][0][0] += dot[t][i][1][0];                                                        \
        dot[t][i][0][1] += dot[t][i][1][1];                                                        \
        dot[t][i][0][2] += dot[t][i][1][2];                                                        \
        dot[t][i][0][3] += dot[t][i][1][3];                                                        \
    }                                                                                              \
    dot[t][i][0][0] += (dot[t][i][0][1] >> 2) + (dot[t][i][0][2] >> 4) + (dot[t][i][0][3] >> 6);   \
    finish(k, a, i, t, (vi)dot[t][i][0][0]);
    EACH_CELL
#undef CELL
}
#endif

/* Instances: nt tokens, nw vectors. */
#define T2R16(nt, nw, ahead)                                                                       \
    static void t2r16_##nt##x##nw(const tern_mm *k, const tile *a)                                 \
    {                                                                                              \
        tile_t2r16(nt, nw, ahead, k, a);                                                           \
    }
#define T2G(nt, nw, ahead)                                                                         \
    static void t2g_##nt##x##nw(const tern_mm *k, const tile *a)                                   \
    {                                                                                              \
        tile_t2g(nt, nw, ahead, k, a);                                                             \
    }
#define STREAM(nt, ahead)                                                                          \
    static void stream_##nt(const tern_mm *k, const tile *a)                                       \
    {                                                                                              \
        stream_t2r16(nt, ahead, k, a);                                                             \
    }
