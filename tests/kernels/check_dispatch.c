/* The kernel table and what dispatch makes of it under every CPU mask. */
#include <string.h>

#include "support/check.h"

static void rows_are_sound(void **state)
{
    (void)state;
    size_t n;
    const tern_kernel *k = tern_kernel_all(&n);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++) {
        assert_non_null(k[i].fn);
        assert_true(strncmp(k[i].name, tern_op_name(k[i].op), strlen(tern_op_name(k[i].op))) == 0);
        assert_non_null(strstr(k[i].name, tern_isa_name(k[i].isa)));
        assert_true((k[i].isa == TERN_ISA_REF) == (k[i].needs == 0));
        bool first = true;
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(k[i].name, k[j].name);
            first = first && k[j].op != k[i].op;
        }
        assert_true(first == (k[i].isa == TERN_ISA_REF));
    }
}

/* Every subset of the flags: what is chosen can run, and no later row of the op could. */
static void select_under_masks(void **state)
{
    (void)state;
    size_t n;
    const tern_kernel *all = tern_kernel_all(&n);
    for (unsigned cpu = 0; cpu < 2 * TERN_CPU_I8MM; cpu++) {
        tern_kernels k;
        tern_kernels_select(cpu, &k);
        assert_int_equal(k.cpu, cpu);
        for (int op = 0; op < TERN_OP_COUNT; op++) {
            const tern_kernel *last = NULL;
            for (size_t i = 0; i < n; i++)
                if ((int)all[i].op == op && !(all[i].needs & ~cpu))
                    last = &all[i];
            assert_ptr_equal(k.chosen[op], last);
        }
    }
}

static void fall_back(void **state)
{
    (void)state;
    tern_kernels k;
    tern_kernels_select(~0u, &k);
    assert_true(k.mm_t2r16 == (tern_mm_fn)k.chosen[TERN_OP_MM_T2R16]->fn);
    tern_kernels_fall_back(&k, TERN_OP_MM_T2R16);
    assert_true(k.mm_t2r16 == tern_mm_t2r16_ref);
    assert_int_equal(k.chosen[TERN_OP_MM_T2R16]->isa, TERN_ISA_REF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_sound),
        cmocka_unit_test(select_under_masks),
        cmocka_unit_test(fall_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
