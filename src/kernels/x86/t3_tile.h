/* The loops of the base-3 matrix products, shared by the x86 instruction sets. Besides what tile.h wants
 * the file that includes this defines
 *   T3_SPAN             packed vectors v_dot may sum between v_open and v_close */
#include "kernels/x86/panel.h"
#include "kernels/x86/tile.h"
#include "kernels/x86/trits.h"

/* The last vector of a stripe may reach past the activations; then it meets a copy of them that is
 * padded with zeros. Whole vectors come first. */
enum { TAIL = 20 };

INLINE size_t whole_vecs(const tern_mm *k)
{
    size_t n_vec = ((size_t)k->cols + 19) / 20, n = k->act.stride / 20;
    return n < n_vec ? n : n_vec;
}

INLINE void copy_tail(const tern_mm *k, int tok, int nt, size_t n_whole, int8_t *tail)
{
    memset(tail, 0, (size_t)nt * TAIL);
    for (int t = 0; t < nt; t++)
        memcpy(tail + t * TAIL, k->act.q + (size_t)(tok + t) * k->act.stride + 20 * n_whole,
               k->act.stride - 20 * n_whole);
}

/* ---- a few tokens: codes in registers ------------------------------------------------------ */

/* Trit by trit; for the rest see STEP in t2_tile.h. The tile after this one is asked for at the same
 * place: streams side by side that each look ahead in themselves would miss their beginnings. */
#define T3_LOAD(t, i)                                                                              \
    p[i] = v_form(v_load(w + vec_at(i, w_stride)));                                                \
    if (VL == 16 || i % 2 == 0)                                                                    \
        _mm_prefetch((const char *)w + vec_at(i, w_stride) + next_tile, _MM_HINT_T0);
#define T3_CODE(t, i) c[i] = CODES(p[i]);
#define T3_NEXT(t, i) p[i] = triple(p[i]);
#define T3_DOT(t, i)  dot[t][i] = v_dot(dot[t][i], c[i], x);
#define T3_DOTS(t)                                                                                 \
    vi x = v_set1(load_i32((t < 6 ? q : q6) + t % 6 * stride + 4 * trit));                         \
    EACH_VEC(T3_DOT, t)
#define T3_TRIT(n)                                                                                 \
    {                                                                                              \
        enum { trit = n };                                                                         \
        EACH_VEC(T3_CODE, 0)                                                                       \
        EACH_TOKEN(T3_DOTS)                                                                        \
        if (trit < 4) {                                                                            \
            EACH_VEC(T3_NEXT, 0)                                                                   \
        }                                                                                          \
    }

INLINE void tile_t3r16(const int nt, const int nw, const tern_mm *k, const tile *a)
{
    const size_t w_stride = k->w_stride, n_whole = whole_vecs(k);
    const size_t next_tile = (size_t)nw * VL / 16 * w_stride;
    const uint8_t *w = a->w;
    const int8_t *q = k->act.q + (size_t)a->tok * k->act.stride;
    size_t stride = k->act.stride;
    int8_t tail[MAX_TOK * TAIL];
    vi p[MAX_VEC], c[MAX_VEC];
    vdot dot[MAX_TOK][MAX_VEC];
#ifdef SPAN
    vi acc[MAX_TOK][MAX_VEC];
#define CELL(t, i) acc[t][i] = v_set1(0);
#else
#define CELL(t, i) dot[t][i] = v_open(v_set1(0));
#endif
    EACH_CELL
#undef CELL
    size_t left = n_whole;
    for (bool in_tail = false;;) {
        for (size_t n; left > 0; left -= n) {
            n = left < T3_SPAN ? left : T3_SPAN;
#ifdef SPAN
#define CELL(t, i) dot[t][i] = v_open(acc[t][i]);
            EACH_CELL
#undef CELL
#endif
            for (const uint8_t *end = w + 64 * n; w < end; w += 64, q += 20) {
                const int8_t *q6 = nt > 6 ? q + 6 * stride : q;
                EACH_VEC(T3_LOAD, 0)
                T3_TRIT(0)
                T3_TRIT(1)
                T3_TRIT(2)
                T3_TRIT(3)
                T3_TRIT(4)
            }
#ifdef SPAN
#define CELL(t, i) acc[t][i] = v_close(dot[t][i], acc[t][i]);
            EACH_CELL
#undef CELL
#endif
        }
        if (in_tail || 20 * n_whole >= (size_t)k->cols)
            break;
        copy_tail(k, a->tok, nt, n_whole, tail);
        q = tail;
        stride = TAIL;
        left = 1;
        in_tail = true;
    }
#ifdef SPAN
#define SUM(t, i) acc[t][i]
#else
#define SUM(t, i) (vi) dot[t][i]
#endif
#define CELL(t, i)                                                                                 \
    finish(k, a, i, t, v_sub(v_sar(SUM(t, i), CODE_SHIFT), v_set1(k->act.sum[a->tok + t])));
    EACH_CELL
#undef CELL
#undef SUM
}

/* ---- one or two tokens: no codes at all ----------------------------------------------------- */

#ifndef SPAN
/* Trit n is (3 p_n - p_{n+1}) / 256, so the sum of trit times activation is that of two sums of bytes
 * times activations. With -1, 0, 1 for trits it is at most 127 * 2^16; 256 times that fits 32 bits, and
 * what wraps on the way there wraps back. Sums are kept apart until eight or more dot products can be
 * under way. */
INLINE void stream_t3r16(const int nt, const int ahead, const tern_mm *k, const tile *a)
{
    enum { nw = 16 / VL };
    const int chains = VL == 16 ? 5 : nt == 1 ? 2 : 1;
    const size_t n_whole = whole_vecs(k);
    const uint8_t *w = a->w, *end = w + 64 * n_whole;
    const int8_t *q = k->act.q + (size_t)a->tok * k->act.stride;
    size_t stride = k->act.stride;
    int8_t tail[MAX_TOK * TAIL];
    vdot front[MAX_TOK][MAX_VEC][5], back[MAX_TOK][MAX_VEC][5];
    vi p[MAX_VEC], sum;
#define ZERO(t, i, n)                                                                              \
    if (n < chains)                                                                                \
        front[t][i][n] = back[t][i][n] = v_open(v_set1(0));
#define CELL(t, i) ZERO(t, i, 0) ZERO(t, i, 1) ZERO(t, i, 2) ZERO(t, i, 3) ZERO(t, i, 4)
    EACH_CELL
#undef CELL
#undef ZERO
    for (bool in_tail = false;;) {
        for (; w < end; w += 64, q += 20) {
            _mm_prefetch((const char *)w + ahead, _MM_HINT_T0);
#define LOAD(t, i) p[i] = v_load(w + vec_at(i, 0));
#define CELL(t, i)                                                                                 \
    front[t][i][trit % chains] =                                                                   \
        v_dot(front[t][i][trit % chains], p[i], v_set1(load_i32(q + t * stride + 4 * trit)));
#define BACK(t, i)                                                                                 \
    back[t][i][trit % chains] =                                                                    \
        v_dot(back[t][i][trit % chains], p[i], v_set1(load_i32(q + t * stride + 4 * trit)));
#define BACKS(t) EACH_VEC(BACK, t)
#define TRIT(n)                                                                                    \
    {                                                                                              \
        enum { trit = n };                                                                         \
        EACH_CELL                                                                                  \
        EACH_VEC(T3_NEXT, 0)                                                                       \
        EACH_TOKEN(BACKS)                                                                          \
    }
            EACH_VEC(LOAD, 0)
            TRIT(0)
            TRIT(1)
            TRIT(2)
            TRIT(3)
            TRIT(4)
#undef LOAD
#undef CELL
#undef BACK
#undef BACKS
#undef TRIT
        }
        if (in_tail || 20 * n_whole >= (size_t)k->cols)
            break;
        copy_tail(k, a->tok, nt, n_whole, tail);
        q = tail;
        stride = TAIL;
        end = w + 64;
        in_tail = true;
    }
    /* Sums may wrap on the way, so they are not of signed elements. */
#define PLUS(a, b) v_sub(a, v_sub(v_set1(0), (vi)(b)))
#define GATHER(t, i, n)                                                                            \
    if (n < chains) {                                                                              \
        front[t][i][0] = (vdot)PLUS((vi)front[t][i][0], front[t][i][n]);                           \
        back[t][i][0] = (vdot)PLUS((vi)back[t][i][0], back[t][i][n]);                              \
    }
#define CELL(t, i)                                                                                 \
    GATHER(t, i, 1)                                                                                \
    GATHER(t, i, 2)                                                                                \
    GATHER(t, i, 3)                                                                                \
    GATHER(t, i, 4)                                                                                \
    sum = (vi)front[t][i][0];                                                                      \
    sum = PLUS(sum, PLUS(sum, sum));                                                               \
    sum = v_sub(sum, (vi)back[t][i][0]);                                                           \
    sum = v_sub(sum, v_set1((int32_t)((uint32_t)k->act.sum[a->tok + t] << 8)));                    \
    finish(k, a, i, t, v_sar(sum, 8));
    EACH_CELL
#undef CELL
#undef GATHER
#undef PLUS
}
#endif

/* ---- many tokens: codes in panels ----------------------------------------------------------- */

/* n_quad quads of a panel from the packed vectors at w, of which there are n_vec; zeros after them. */
static void unpack_t3r16(const uint8_t *w, size_t n_vec, size_t n_quad, size_t ahead, uint8_t *to)
{
    uint8_t *end = to + 64 * n_quad;
    for (; n_vec > 0 && to < end; n_vec--, w += 64) {
        _mm_prefetch((const char *)w + ahead, _MM_HINT_T1);
        for (int half = 0; half < 64; half += 4 * VL) {
            vi p = v_form(v_load(w + half));
            for (int n = 0; n < 5; n++, p = triple(p))
                v_store(to + 64 * n + half, PLAIN_CODES(p));
        }
        to += 320;
    }
    if (to < end)
        memset(to, 0, (size_t)(end - to));
}

/* ---- instances ----------------------------------------------------------------------------- */

#define T3R16(nt, nw)                                                                              \
    static void t3r16_##nt##x##nw(const tern_mm *k, const tile *a)                                 \
    {                                                                                              \
        tile_t3r16(nt, nw, k, a);                                                                  \
    }
#define T3_STREAM(nt, ahead)                                                                       \
    static void t3_stream_##nt(const tern_mm *k, const tile *a)                                    \
    {                                                                                              \
        stream_t3r16(nt, ahead, k, a);                                                             \
    }
