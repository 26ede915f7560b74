/* Panels with 256-bit vpdpbusd. A panel is two vectors. */
#include "kernels/x86/dot_avxvnni.h"

#include "kernels/x86/panel_tile.h"

/* clang-format off */
PANEL(1, 2) PANEL(2, 2) PANEL(3, 2) PANEL(4, 2) PANEL(5, 2) PANEL(6, 2)

static const block_fn one[] = {
    NULL, panel_1x2, panel_2x2, panel_3x2, panel_4x2, panel_5x2, panel_6x2};
/* clang-format on */

/* 12 sums, 2 vectors of codes, an activation. */
void tern_panel_avxvnni(const tern_panels *p)
{
    run_blocks(p, 1, one, one, 6);
}
