/* Coding of rows for screening planes, vectors by the compiler. */
#define SCREEN_ROW_FN tern_screen_row_avx2

#include "kernels/screen_row_tmpl.h"
