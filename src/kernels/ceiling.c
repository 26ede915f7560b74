#include "kernels/ceiling.h"

static const tern_ceiling rows[] = {
    {TERN_ISA_REF, 0, tern_ceiling_read_ref, NULL},
#if defined(__x86_64__)
    {TERN_ISA_AVX2, TERN_CPU_AVX2, tern_ceiling_read_avx2, tern_ceiling_macs_avx2},
    {TERN_ISA_AVXVNNI, TERN_CPU_AVX2 | TERN_CPU_AVX_VNNI, NULL, tern_ceiling_macs_avxvnni},
    {TERN_ISA_AVX512, TERN_CPU_AVX512, tern_ceiling_read_avx512, NULL},
    {TERN_ISA_VNNI, TERN_CPU_AVX512 | TERN_CPU_AVX512_VNNI, NULL, tern_ceiling_macs_vnni},
#if defined(TERN_AMX) /* the compiler has it */
    {TERN_ISA_AMX, TERN_CPU_AMX_INT8, NULL, tern_ceiling_macs_amx},
#endif
#endif
};

const tern_ceiling *tern_ceiling_all(size_t *n)
{
    *n = sizeof rows / sizeof rows[0];
    return rows;
}
