#include "kernels/x86/lanes_avx2.h"

#include "kernels/x86/vector_tmpl.h"
