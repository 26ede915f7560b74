/* T2R1 as the loops of r1_tile.h and r1_panel.h take it. Where sums have 32 bits planes are masked where they
 * stand in their byte, worth 4^p times as much, and have sums of their own; exact shifts undo the factors at the
 * end. Sums of one lane stay within 192 * 128 * cols / 16 < 2^31. */
#ifndef TERN_KERNELS_T2R1_H
#define TERN_KERNELS_T2R1_H

#define PLANES 4

#define STREAM_LOAD(p) v_load(p)
#define STREAM_SHIFT   0
#define STREAM_CONST                                                                               \
    const vi mask[4] = {v_set1(0x03030303), v_set1(0x0c0c0c0c), v_set1(0x30303030),                \
                        v_set1((int32_t)0xc0c0c0c0u)};
#ifdef SPAN
#define STREAM_SUMS(M, t) M(t, 0)
#define STREAM_PLANE(p)                                                                            \
    vi c = v_and((p) ? v_shr(v, 2 * (p)) : v, mask[0]);                                            \
    EACH_TOKEN(STREAM_DOT)
#define STREAM_DOT(t) dot[t][0] = v_dot(dot[t][0], c, X(t));
#else
#define STREAM_SUMS(M, t) M(t, 0) M(t, 1) M(t, 2) M(t, 3)
#define STREAM_PLANE(p)                                                                            \
    vi c = v_and(v, mask[p]);                                                                      \
    EACH_TOKEN(STREAM_DOT)
#define STREAM_DOT(t) dot[t][plane] = v_dot(dot[t][plane], c, X(t));
/* Right shifts of signed elements are arithmetic. */
#define STREAM_SUM(t) (vi)(dot[t][0] + (dot[t][1] >> 2) + (dot[t][2] >> 4) + (dot[t][3] >> 6))
#endif

#define TILE_LOAD(p)    v_load(p)
#define TILE_CODE(v, p) PANEL_CODES((p) ? v_shr(v, 2 * (p)) : (v))
#define TILE_NEXT(v)    (v)
#define TILE_SHIFT      0

#define PANEL_FORM(v)  (v)
#define PANEL_CODES(v) v_and(v, v_set1(0x03030303))
#define PANEL_NEXT(v)  v_shr(v, 2)

#endif
