/* The load-time self check finds a kernel that is wrong, names it and puts the reference in. */
#include "base/cpu.h"
#include "file/dir.h"
#include "model/exec.h"
#include "support/support.h"

#include <string.h>

#define MODEL "tests/golden/models/bitnet-b158.gguf"

typedef struct fixture {
    tern_dir *dir;
    tern_pool *pool;
    tern_weights w;
    tern_exec e;
} fixture;

static void set_up(fixture *f)
{
    tern_err err = {0};
    unsigned cpu;
    assert_int_equal(tern_cpu_flags(&cpu, &err), TERN_OK);
    if (tern_gguf_open(MODEL, NULL, &f->dir, &err) != TERN_OK ||
        tern_pool_new(2, &f->pool, &err) != TERN_OK ||
        tern_weights_read(&f->w, f->dir, 0, &err) != TERN_OK ||
        tern_weights_bind(&f->w, &(tern_bind_opts){0}, f->pool, &err) != TERN_OK ||
        tern_exec_init(&f->e, &f->w, f->pool, cpu, 32, &err) != TERN_OK)
        fail_msg("%s", err.msg);
}

static void tear_down(fixture *f)
{
    tern_exec_done(&f->e);
    tern_weights_done(&f->w);
    tern_pool_free(f->pool);
    tern_dir_close(f->dir);
}

static int check(fixture *f, char *report, size_t cap)
{
    int n;
    tern_err err = {0};
    assert_int_equal(tern_exec_selftest(&f->e, report, cap, &n, &err), TERN_OK);
    return n;
}

static void test_the_chosen_kernels_pass(void **state)
{
    (void)state;
    fixture f;
    char report[200];
    set_up(&f);
    assert_int_equal(check(&f, report, sizeof report), 0);
    assert_string_equal(report, "");
    tear_down(&f);
}

static tern_mm_fn honest_mm;

/* Wrong in the last bit of one element of a batch. */
static void wrong_mm(const tern_mm *k, int row0, int row1)
{
    honest_mm(k, row0, row1);
    if (k->n_tok > 1) {
        uint32_t bits;
        memcpy(&bits, &k->y[k->y_stride + 3], sizeof bits);
        bits ^= 1;
        memcpy(&k->y[k->y_stride + 3], &bits, sizeof bits);
    }
}

static float wrong_softmax(float *score, int n, float *m, float *l)
{
    (void)score;
    *m = *l = (float)n;
    return 1.0f;
}

/* Any row of the table that is not the reference lends its name. */
static const tern_kernel *variant_of(tern_op op)
{
    size_t n;
    const tern_kernel *all = tern_kernel_all(&n);
    for (size_t i = 0; i < n; i++)
        if (all[i].op == op && all[i].isa != TERN_ISA_REF)
            return &all[i];
    return NULL;
}

static void test_a_wrong_matrix_kernel_is_named_and_replaced(void **state)
{
    (void)state;
    fixture f;
    char report[200];
    const tern_kernel *v = variant_of(TERN_OP_MM_T2R16);
    if (!v)
        skip();
    set_up(&f);
    honest_mm = f.e.k.mm_t2r16;
    f.e.k.mm_t2r16 = wrong_mm;
    f.e.k.chosen[TERN_OP_MM_T2R16] = v;
    assert_int_equal(check(&f, report, sizeof report), 1);
    assert_non_null(strstr(report, v->name));
    assert_non_null(strstr(report, "blk.0."));
    assert_int_equal(f.e.k.chosen[TERN_OP_MM_T2R16]->isa, TERN_ISA_REF);
    assert_int_equal(check(&f, report, sizeof report), 0);
    tear_down(&f);
}

static void test_a_wrong_vector_kernel_is_named_and_replaced(void **state)
{
    (void)state;
    fixture f;
    char report[30]; /* short on purpose: reports are cut, not overrun */
    set_up(&f);
    f.e.k.softmax = wrong_softmax;
    assert_true(check(&f, report, sizeof report) > 0);
    assert_true(strlen(report) > 0 && strlen(report) < sizeof report);
    assert_true(f.e.k.softmax != wrong_softmax);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_chosen_kernels_pass),
        cmocka_unit_test(test_a_wrong_matrix_kernel_is_named_and_replaced),
        cmocka_unit_test(test_a_wrong_vector_kernel_is_named_and_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
