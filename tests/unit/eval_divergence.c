/* Files of predictions, one of them llama-perplexity's (tests/golden/eval/base.logits: stories260K on the first 64
 * tokens of tests/e2e/story.txt, -c 32 --chunks 2), and figures of small distributions by hand. The figures
 * of llama-perplexity --kl-divergence are in tests/e2e/test_eval.sh. */
#include "eval/divergence.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOLDEN "tests/golden/eval/base.logits"

static bool near(double a, double b, double bound)
{
    return fabs(a - b) <= bound;
}

static void test_a_file_of_llama_cpp(void **state)
{
    eval_base_reader r;
    tern_err err;
    float p[512];
    double nll = 0;
    (void)state;
    assert_int_equal(eval_base_open(&r, GOLDEN, &err), TERN_OK);
    assert_int_equal(r.h.n_ctx, 32);
    assert_int_equal(r.h.n_vocab, 512);
    assert_int_equal(r.h.n_chunk, 2);
    assert_false(r.has_sum);
    assert_int_equal(r.tokens[0], 1);
    assert_int_equal(r.tokens[1], 403);
    for (size_t i = 0; i < 2 * eval_base_rows(&r.h); i++) {
        size_t chunk = i / 15, at = i % 15;
        double sum = 0;
        assert_true(eval_base_read(&r, p));
        for (size_t k = 0; k < 512; k++)
            sum += exp((double)p[k]);
        assert_true(
            near(sum, 1.0, 1e-3)); /* steps of 16/65535, and unlikely tokens made likelier */
        nll -= (double)p[r.tokens[32 * chunk + 16 + at + 1]];
    }
    assert_true(near(exp(nll / 30), 5.1675, 0.01)); /* as llama-perplexity printed */
    assert_int_equal(eval_base_check(&r, &err), TERN_OK);
    assert_false(eval_base_read(&r, p));
    assert_int_equal(r.rc, TERN_E_FORMAT);
    eval_base_close(&r);
}

static void test_rows(void **state)
{
    static const float x[5] = {0, -1, 2, -30, 1.5f};
    uint16_t row[10];
    float p[5];
    double sum = 0;
    (void)state;
    for (size_t i = 0; i < 5; i++)
        sum += exp((double)x[i]);
    assert_int_equal(eval_base_row_size(5), 10);
    assert_int_equal(eval_base_row_size(6), 10);
    row[9] = 7;
    eval_base_pack(x, 5, row);
    assert_int_equal(row[9], 0);
    assert_int_equal(row[4 + 2], 65535);
    assert_int_equal(row[4 + 3], 0);
    eval_base_unpack(row, 5, p);
    for (size_t i = 0; i < 5; i++) {
        double want = i == 3 ? 2.0 - 16.0 - log(sum) : (double)x[i] - log(sum);
        assert_true(near((double)p[i], want, 16.0 / 65535 / 2 + 1e-5));
    }
    const float flat[3] = {4, 4, 4}, bad[3] = {NAN, INFINITY, 0};
    eval_base_pack(flat, 3, row);
    eval_base_unpack(row, 3, p);
    for (size_t i = 0; i < 3; i++)
        assert_true(near((double)p[i], log(1.0 / 3), 1e-6));
    eval_base_pack(bad, 3, row); /* of no use, but no harm */
}

/* Base 0.5 0.25 0.25, then 0.8 0.1 0.1; the model 0.25 0.5 0.25, then the same as the base. */
static void test_figures(void **state)
{
    static const float base[2][3] = {{0.5f, 0.25f, 0.25f}, {0.8f, 0.1f, 0.1f}};
    static const float model[2][3] = {{0.25f, 0.5f, 0.25f}, {0.8f, 0.1f, 0.1f}};
    eval_divergence d;
    eval_divergence_figures f;
    tern_err err;
    (void)state;
    assert_int_equal(eval_divergence_init(&d, 2, 3, &err), TERN_OK);
    for (size_t i = 0; i < 2; i++) {
        float logits[3];
        for (size_t k = 0; k < 3; k++) {
            d.log_prob[k] = logf(base[i][k]);
            logits[k] = logf(model[i][k]) + 5.0f;
        }
        eval_divergence_add(&d, logits, 3, 0);
    }
    eval_divergence_sum_up(&d, &f);
    double kl = 0.25 * log(2.0);
    assert_true(near(f.kl.value, kl / 2, 1e-6));
    assert_true(near(f.kl.error, kl / 2, 1e-6)); /* two values: half their distance */
    assert_true(near(f.kl_max, kl, 1e-6));
    assert_true(near(f.kl_median, kl / 2, 1e-6));
    assert_true(near(f.kl_90, 0.9 * kl, 1e-6));
    assert_true(near(f.ppl.value, 1 / sqrt(0.25 * 0.8), 1e-5));
    assert_true(near(f.ppl_base.value, 1 / sqrt(0.5 * 0.8), 1e-5));
    assert_true(near(f.ratio.value, sqrt(2.0), 1e-5));
    assert_true(near(f.dp.value, -0.125, 1e-6));
    assert_true(near(f.dp_rms.value, 0.25 / sqrt(2.0), 1e-6));
    assert_true(near(f.dp_min, -0.25, 1e-6) && near(f.dp_max, 0, 1e-6));
    assert_true(near(f.same_top.value, 0.5, 0));
    assert_true(near(f.same_top.error, 0.5, 1e-12));
    eval_divergence_done(&d);
}

/* A file with two rows of three tokens, as bytes. */
static size_t write_file(const char *path, uint8_t **bytes)
{
    static const float rows[2][3] = {{1, 2, 3}, {0, 0, 5}};
    static const int32_t tokens[6] = {0, 1, 2, 2, 1, 0};
    const eval_base_head h = {6, 3, 1};
    eval_base_writer w;
    tern_err err;
    size_t n;
    assert_int_equal(eval_base_create(&w, path, &h, tokens, &err), TERN_OK);
    eval_base_write(&w, rows[0]);
    eval_base_write(&w, rows[1]);
    assert_int_equal(eval_base_commit(&w, &err), TERN_OK);
    eval_base_abort(&w);
    *bytes = test_read_file(path, &n);
    assert_non_null(*bytes);
    assert_int_equal(n, 8 + 12 + 24 + 2 * 16 + 16);
    return n;
}

/* All of the file; the code of the first failure. */
static tern_code read_file(const char *path, const uint8_t *bytes, size_t n, tern_err *err)
{
    eval_base_reader r;
    float p[3];
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    tern_code rc = eval_base_open(&r, path, err);
    if (rc != TERN_OK)
        return rc;
    if (r.h.n_vocab == 3)
        for (size_t i = 0; i < eval_base_rows(&r.h) * (size_t)r.h.n_chunk; i++)
            (void)eval_base_read(&r, p);
    rc = eval_base_check(&r, err);
    eval_base_close(&r);
    return rc;
}

static void test_damage_is_found(void **state)
{
    char path[64];
    uint8_t *bytes;
    tern_err err;
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/tern-base-%ld", (long)getpid());
    size_t n = write_file(path, &bytes);
    assert_int_equal(read_file(path, bytes, n, &err), TERN_OK);
    assert_int_equal(read_file(path, bytes, n - 16, &err), TERN_OK); /* llama.cpp's has no sum */
    for (size_t i = 0; i < n; i++) {
        bytes[i] ^= 0x10;
        assert_int_equal(read_file(path, bytes, n, &err), TERN_E_FORMAT);
        bytes[i] ^= 0x10;
    }
    for (size_t len = 0; len < n; len++)
        if (len != n - 16)
            assert_int_equal(read_file(path, bytes, len, &err), TERN_E_FORMAT);
    bytes[8 + 12] = 3;
    assert_int_equal(read_file(path, bytes, n, &err), TERN_E_FORMAT);
    assert_non_null(strstr(err.msg, "token 0 is id 3, expected 0..2"));
    free(bytes);
    (void)unlink(path);
    eval_base_reader r;
    assert_int_equal(eval_base_open(&r, path, &err), TERN_E_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_of_llama_cpp),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_figures),
        cmocka_unit_test(test_damage_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
