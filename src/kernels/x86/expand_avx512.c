#include "kernels/rows.h"
#include "kernels/x86/lanes_avx512.h"

tern_expand_fn tern_expand_avx512(tern_dtype dt)
{
    return tern_expand_ref(dt);
}
