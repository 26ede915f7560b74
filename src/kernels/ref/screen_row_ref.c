/* Reference of coding rows for screening planes. */
#define SCREEN_ROW_FN tern_screen_row_ref

#include "kernels/screen_row_tmpl.h"
