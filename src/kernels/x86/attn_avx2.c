#include "kernels/x86/lanes_avx2.h"

#define KV        f32
#define KV_ELEM   float
#define KV_SCALED 0
#include "kernels/x86/attn_tmpl.h"

#define KV        f16
#define KV_ELEM   uint16_t
#define KV_SCALED 0
#include "kernels/x86/attn_tmpl.h"

#define KV        i8
#define KV_ELEM   int8_t
#define KV_SCALED 1
#include "kernels/x86/attn_tmpl.h"

#include "kernels/x86/softmax_tmpl.h"
