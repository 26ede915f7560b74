/* T3R1 as the loops of r1_tile.h and r1_panel.h take it. Where sums have 32 bits one or two tokens need no
 * codes: trit n is (3 p_n - p_{n+1}) / 256, so sums of bytes times activations will do, in front of the trit and
 * behind it. 256 times a row's sum of codes is below 2^31, and what wraps on the way there wraps back. Sums are
 * kept apart until enough products can be under way. */
#ifndef TERN_KERNELS_T3R1_H
#define TERN_KERNELS_T3R1_H

#include "kernels/x86/trits.h"

#define PLANES 5

#ifdef SPAN
#define STREAM_LOAD(p) v_form(v_load(p))
#define STREAM_SHIFT   0
#define STREAM_CONST
#define STREAM_SUMS(M, t) M(t, 0)
#define STREAM_PLANE(p)                                                                            \
    vi c = CODES(v);                                                                               \
    EACH_TOKEN(STREAM_DOT)                                                                         \
    v = triple(v);
#define STREAM_DOT(t) dot[t][0] = v_dot(dot[t][0], c, X(t));
#else
#define STREAM_LOAD(p) v_load(p)
#define STREAM_SHIFT   8
#define STREAM_CONST   const int chains = VL == 16 || nt == 1 ? 5 : 2;
#define STREAM_SUMS(M, t)                                                                          \
    M(t, 0) M(t, 1) M(t, 2) M(t, 3) M(t, 4) M(t, 5) M(t, 6) M(t, 7) M(t, 8) M(t, 9)
#define STREAM_PLANE(p)                                                                            \
    vi x[MAX_TOK];                                                                                 \
    EACH_TOKEN(STREAM_FRONT)                                                                       \
    v = triple(v);                                                                                 \
    EACH_TOKEN(STREAM_BACK)
/* Compilers would rather load them twice. */
#define STREAM_FRONT(t)                                                                            \
    x[t] = X(t);                                                                                   \
    __asm__("" : "+v"(x[t]));                                                                      \
    dot[t][plane % chains] = v_dot(dot[t][plane % chains], v, x[t]);
#define STREAM_BACK(t) dot[t][5 + plane % chains] = v_dot(dot[t][5 + plane % chains], v, x[t]);
#define STREAM_SUM(t)                                                                              \
    v_sub(STREAM_ALL(t, 0), v_sub(STREAM_ALL(t, 5), v_add(STREAM_ALL(t, 0), STREAM_ALL(t, 0))))
#define STREAM_ALL(t, i)                                                                           \
    v_add(v_add(v_add((vi)dot[t][i], (vi)dot[t][i + 1]),                                           \
                v_add((vi)dot[t][i + 2], (vi)dot[t][i + 3])),                                      \
          (vi)dot[t][i + 4])
#endif

#define TILE_LOAD(p)    v_form(v_load(p))
#define TILE_CODE(v, p) CODES(v)
#define TILE_NEXT(v)    triple(v)
#define TILE_SHIFT      CODE_SHIFT

#define PANEL_FORM(v)  v_form(v)
#define PANEL_CODES(v) PLAIN_CODES(v)
#define PANEL_NEXT(v)  triple(v)

#endif
