/* T2C1 as c1_tile.h and c1_panel.h want it, which see. Where sums have 32 bits planes are masked where they
 * stand, worth 4^p times as much, and exact shifts undo the factors in the end: |sum| <= 192 * 128 * cols < 2^31
 * for cols <= 2^16. */
#ifndef TERN_KERNELS_T2C1_H
#define TERN_KERNELS_T2C1_H

#include "kernels/kernel.h"

#define SLICE_ROWS        TERN_T2C1_ROWS
#define PLANES            4
#define SUMS              4
#define EACH_SUM(X, t, i) X(t, i, 0) X(t, i, 1) X(t, i, 2) X(t, i, 3)

#define COLS_FORM(v) (v)
#define COLS_NEXT(v) (v)
#ifdef SPAN
#define COLS_CONST        const vi mask = v_set1(0x03030303);
#define COLS_FACTOR(v, n) v_and((n) ? v_shr(v, 2 * (n)) : (v), mask)
#define COLS_SUM(acc, p)  v_load(acc)
#else
#define COLS_CONST                                                                                 \
    const vi mask[4] = {v_set1(0x03030303), v_set1(0x0c0c0c0c), v_set1(0x30303030),                \
                        v_set1((int32_t)0xc0c0c0c0u)};
#define COLS_FACTOR(v, n) v_and(v, mask[n])
#define COLS_SUM(acc, p)  (vi)((vdot)v_load(acc) >> (2 * (p))) /* of signed elements: arithmetic */
#endif

#define PANEL_FORM(v)  (v)
#define PANEL_CODES(v) v_and(v, v_set1(0x03030303))
#define PANEL_NEXT(v)  v_shr(v, 2)

#endif
