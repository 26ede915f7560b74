#include "kernels/x86/lanes_avx512.h"

#include "kernels/x86/vector_tmpl.h"
