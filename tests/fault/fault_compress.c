/* Importance matrices and ternary models while memory runs out: an error, and nothing leaks. */
#include "compress/ternarize.h"
#include "support/fault.h"
#include "support/support.h"

#define MODEL "tests/golden/models/llama.gguf"
#define N_CTX 16

/* Written in place: that nothing half written stays is the test of base/os/outfile.h. */
static const char path[] = "/dev/null";

static tern_code ternarize(void *ctx, tern_err *err)
{
    const ternary_method *method = ctx;
    const tern_import_opts io = {0};
    int32_t ids[2 * N_CTX];
    compress_opts o;
    for (int i = 0; i < 2 * N_CTX; i++)
        ids[i] = 3 + i;
    const ternarize_opts t = {.method = *method,
                              .group =
                                  *method == TERNARY_OPTIMAL ? TERNARIZE_TENSOR : TERNARIZE_ROW,
                              .ids = ids,
                              .n_seq = 2,
                              .n_ctx = N_CTX,
                              .damp = 0.01};
    compress_opts_init(&o);
    return compress_ternarize(MODEL, &io, path, &o, &t, 1, err);
}

static tern_code weigh(void *ctx, const tern_tensor *t, tern_dtype to, const float **out,
                       tern_err *err)
{
    (void)to;
    return imatrix_weigh(ctx, t, out, err);
}

static tern_code quantize(void *ctx, tern_err *err)
{
    const tern_import_opts io = {0};
    compress_opts o;
    imatrix m;
    imatrix_init(&m);
    tern_code rc = imatrix_read(&m, ctx, err);
    compress_opts_init(&o);
    o.type = TERN_DT_Q4_0;
    o.importance = weigh;
    o.ctx = &m;
    if (rc == TERN_OK)
        rc = compress_convert(MODEL, &io, path, &o, 1, err);
    imatrix_done(&m);
    return rc;
}

static tern_code rewrite(void *ctx, tern_err *err)
{
    imatrix m;
    imatrix_init(&m);
    tern_code rc = imatrix_read(&m, "tests/golden/imatrix/llama.gguf", err);
    if (rc == TERN_OK)
        rc = imatrix_write(&m, path, *(const imatrix_format *)ctx, err);
    imatrix_done(&m);
    return rc;
}

static void sweep(tern_code (*f)(void *ctx, tern_err *err), void *ctx)
{
    assert_in_range(test_fault_sweep(f, ctx, TEST_FAULT_ONCE, 2000), 8, 2000);
    assert_in_range(test_fault_sweep(f, ctx, TEST_FAULT_FROM, 2000), 8, 2000);
}

static void test_ternarize(void **state)
{
    (void)state;
    ternary_method methods[] = {TERNARY_OPTIMAL, TERNARY_GPTQ};
    for (int i = 0; i < 2; i++)
        sweep(ternarize, &methods[i]);
}

static void test_imatrix(void **state)
{
    (void)state;
    char gguf[] = "tests/golden/imatrix/llama.gguf", dat[] = "tests/golden/imatrix/llama.dat";
    imatrix_format formats[] = {IMATRIX_GGUF, IMATRIX_DAT};
    sweep(quantize, gguf);
    sweep(quantize, dat);
    sweep(rewrite, &formats[0]);
    sweep(rewrite, &formats[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ternarize),
                                       cmocka_unit_test(test_imatrix)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
