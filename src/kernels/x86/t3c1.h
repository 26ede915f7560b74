/* T3C1 as c1_tile.h and c1_panel.h want it, which see. Where sums have 32 bits no codes are taken at all: with
 * p_0 a byte, p_{n+1} = 3 p_n mod 256, trit n is (3 p_n - p_{n+1}) / 256, so that sums D_n of p_n times activations
 * give (3 D_n - D_{n+1}) / 256 for plane n. They may wrap, for 256 times a sum of trits is exact: it is within
 * [-2^31, 2^31) for cols <= 2^15, as 2 * 128 * 2^15 = 2^23 and activations above 0 are at most 127. */
#ifndef TERN_KERNELS_T3C1_H
#define TERN_KERNELS_T3C1_H

#include "kernels/kernel.h"
#include "kernels/x86/interleave.h"
#include "kernels/x86/trits.h"

#define SLICE_ROWS TERN_T3C1_ROWS
#define PLANES     5

#define COLS_CONST
#define COLS_NEXT(v) triple(v)
#ifdef SPAN
#define SUMS              5
#define EACH_SUM(X, t, i) X(t, i, 0) X(t, i, 1) X(t, i, 2) X(t, i, 3) X(t, i, 4)
#define COLS_FORM(v)      v_form(v)
#define COLS_FACTOR(v, n) CODES(v)
#define COLS_SUM(acc, p)  v_load(acc)
#else
#define SUMS              6
#define EACH_SUM(X, t, i) X(t, i, 0) X(t, i, 1) X(t, i, 2) X(t, i, 3) X(t, i, 4) X(t, i, 5)
#define COLS_FORM(v)      (v)
#define COLS_FACTOR(v, n) (v)
#define COLS_SUM(acc, p)  third_less(v_load(acc), v_load((acc) + 64))

static inline vi third_less(vi front, vi back)
{
    return v_sar(v_sub(v_add(v_add(front, front), front), back), 8);
}
#endif

#define PANEL_FORM(v)  v_form(v)
#define PANEL_CODES(v) PLAIN_CODES(v)
#define PANEL_NEXT(v)  triple(v)

#endif
