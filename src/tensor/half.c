#include "tensor/half.h"
#include "tensor/tensor.h"

float tern_f16_to_f32(uint16_t h)
{
    return tern_half_f32(h);
}

uint16_t tern_f32_to_f16(float f)
{
    return tern_f32_half(f);
}

float tern_bf16_to_f32(uint16_t h)
{
    return tern_bhalf_f32(h);
}

uint16_t tern_f32_to_bf16(float f)
{
    return tern_f32_bhalf(f);
}
