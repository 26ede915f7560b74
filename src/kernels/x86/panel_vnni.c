/* Panels with 512-bit vpdpbusd. */
#include "kernels/x86/dot_vnni.h"

#include "kernels/x86/panel_tile.h"

/* clang-format off */
PANEL(1, 2) PANEL(2, 2) PANEL(3, 2) PANEL(4, 2) PANEL(5, 2) PANEL(6, 2)
PANEL(7, 2) PANEL(8, 2) PANEL(9, 2) PANEL(10, 2) PANEL(11, 2) PANEL(12, 2)
PANEL(1, 1) PANEL(2, 1) PANEL(3, 1) PANEL(4, 1) PANEL(5, 1) PANEL(6, 1)
PANEL(7, 1) PANEL(8, 1) PANEL(9, 1) PANEL(10, 1) PANEL(11, 1) PANEL(12, 1)

static const block_fn two[] = {
    NULL, panel_1x2, panel_2x2, panel_3x2, panel_4x2, panel_5x2, panel_6x2, panel_7x2, panel_8x2,
    panel_9x2, panel_10x2, panel_11x2, panel_12x2};
static const block_fn one[] = {
    NULL, panel_1x1, panel_2x1, panel_3x1, panel_4x1, panel_5x1, panel_6x1, panel_7x1, panel_8x1,
    panel_9x1, panel_10x1, panel_11x1, panel_12x1};
/* clang-format on */

/* 24 sums, 2 vectors of codes, an activation. */
void tern_panel_vnni(const tern_panels *p)
{
    run_blocks(p, 2, two, one, 12);
}
