/* Coding of rows for screening planes, vectors by the compiler. */
#include <immintrin.h>

#define SCREEN_ROW_FN tern_screen_row_avx2
#define SIGN_BITS(v)  (uint8_t) _mm256_movemask_ps((__m256)(v))

#include "kernels/screen_row_tmpl.h"
