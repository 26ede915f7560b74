#include "kernels/kernel.h"
#include "kernels/rows.h"

#include <string.h>

static const tern_kernel rows[] = {
#define KERNEL(op, isa, needs, function)                                                           \
    {TERN_OP_##op, &#function[sizeof "tern_" - 1], TERN_ISA_##isa, needs, (tern_any_fn)function},
#include "kernels/kernels.def"
#undef KERNEL
};
#define N_ROW (sizeof rows / sizeof rows[0])

const tern_kernel *tern_kernel_all(size_t *n)
{
    *n = N_ROW;
    return rows;
}

static void choose(tern_kernels *k, const tern_kernel *row)
{
    k->chosen[row->op] = row;
    switch (row->op) {
#define TERN_X(id, name, type)                                                                     \
    case TERN_OP_##id:                                                                             \
        k->name = (type)row->fn;                                                                   \
        break;
        TERN_OPS(TERN_X)
#undef TERN_X
    case TERN_OP_COUNT:
        break;
    }
}

void tern_kernels_select(unsigned cpu, tern_kernels *out)
{
    memset(out, 0, sizeof *out);
    out->cpu = cpu;
    for (size_t i = 0; i < N_ROW; i++)
        if (!(rows[i].needs & ~cpu))
            choose(out, &rows[i]);
}

void tern_kernels_fall_back(tern_kernels *k, tern_op op)
{
    for (size_t i = N_ROW; i-- > 0;)
        if (rows[i].op == op && rows[i].isa == TERN_ISA_REF)
            choose(k, &rows[i]);
}

tern_expand_fn tern_expand_of(const tern_kernels *k, tern_dtype dt)
{
#if defined(__x86_64__)
    if (k->chosen[TERN_OP_MM_BLOCK]->isa != TERN_ISA_REF)
        return tern_expand_avx2(dt);
#endif
    (void)k;
    return tern_expand_ref(dt);
}

const char *tern_op_name(tern_op op)
{
    static const char *const names[] = {
#define TERN_X(id, name, type) #name,
        TERN_OPS(TERN_X)
#undef TERN_X
    };
    return (unsigned)op < TERN_OP_COUNT ? names[op] : "?";
}

const char *tern_isa_name(tern_isa isa)
{
    static const char *const names[] = {"ref", "avx2", "avxvnni", "avx512", "vnni", "amx"};
    _Static_assert(sizeof names / sizeof names[0] == TERN_ISA_COUNT, "a name per ISA");
    return (unsigned)isa < TERN_ISA_COUNT ? names[isa] : "?";
}
