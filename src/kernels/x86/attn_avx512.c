#include "kernels/x86/lanes_avx512.h"

#define KV      f32
#define KV_ELEM float
#include "kernels/x86/attn_tmpl.h"

#define KV      f16
#define KV_ELEM uint16_t
#include "kernels/x86/attn_tmpl.h"

#include "kernels/x86/softmax_tmpl.h"
