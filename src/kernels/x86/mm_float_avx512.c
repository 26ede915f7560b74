#include "kernels/rows.h"
#include "kernels/x86/lanes_avx512.h"

#define W       f32
#define W_BYTES 4
#include "kernels/x86/mm_float_tmpl.h"

#define W       f16
#define W_BYTES 2
#include "kernels/x86/mm_float_tmpl.h"

#define W       bf16
#define W_BYTES 2
#include "kernels/x86/mm_float_tmpl.h"
