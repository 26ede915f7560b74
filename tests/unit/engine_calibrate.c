/* Calibrations are kept and found again, and a file that is lost, torn or wrong does no harm. */
#include "base/os/outfile.h"
#include "engine/engine.h"
#include "support/support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/tern-calibrate-XXXXXX", file[64];

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(file, sizeof file, "%s/calibration.json", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(file);
    return rmdir(dir);
}

static void write_text(const char *text)
{
    tern_outfile o;
    assert_int_equal(tern_outfile_open(&o, file, 0, NULL), TERN_OK);
    (void)fputs(text, o.f);
    assert_int_equal(tern_outfile_commit(&o, NULL), TERN_OK);
}

/* Open the built-in model for so many streams; where its calibration came from. */
static const char *origin_for(int32_t n_stream, bool calibrate, int32_t n_thread, tern_tune *tune)
{
    tern_model_opts o;
    tern_model *m;
    tern_err err;
    tern_model_opts_init(&o);
    o.cache_dir = dir;
    o.calibrate = calibrate;
    o.n_thread = n_thread;
    o.n_stream = n_stream;
    if (tern_model_open("models/tern-stories.gguf", &o, &m, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    const char *origin = m->tune_origin;
    *tune = m->tune;
    tern_model_close(m);
    return origin;
}

static const char *origin_of(bool calibrate, int32_t n_thread, tern_tune *tune)
{
    return origin_for(0, calibrate, n_thread, tune);
}

static void test_it_is_kept(void **state)
{
    (void)state;
    tern_tune first, second;
    assert_string_equal(origin_of(false, 1, &first), "measured");
    assert_string_equal(origin_of(false, 1, &second), "cache");
    /* d_model, which is the heads' width too, and d_ff; the same with lists. */
    assert_int_equal(first.n_shape, 4);
    assert_int_equal(second.n_shape, 4);
    for (int i = 0; i < 4; i++) {
        static const tern_listed listed[] = {TERN_LISTED_NONE, TERN_LISTED_NONE, TERN_LISTED_ROWS,
                                             TERN_LISTED_COLS};
        assert_int_equal(second.shape[i].listed, listed[i]);
        assert_int_equal(second.shape[i].cols, i % 2 ? 1024 : 256);
        assert_true(first.shape[i].t2 > 0 && first.shape[i].t3 > 0);
        double kept = second.shape[i].t3 / first.shape[i].t3;
        assert_true(kept > 0.9999 && kept < 1.0001); /* six digits are written */
        assert_true(tern_tune_base3(&first, listed[i], first.shape[i].cols) ==
                    (first.shape[i].t3 < 0.95 * first.shape[i].t2));
    }
    assert_true(first.up_limit > 0 && first.up_limit <= 1);
    assert_true(first.down_limit > 0 && first.down_limit <= 1);
    assert_true(first.own_up_limit > 0 && first.own_up_limit <= 1);
    assert_true(first.own_down_limit > 0 && first.own_down_limit <= 1);
    double kept = second.own_up_limit / first.own_up_limit;
    assert_true(kept > 0.9999 && kept < 1.0001);
    /* Another number of threads is another machine; tern tune measures anew. */
    assert_string_equal(origin_of(false, 2, &first), "measured");
    assert_string_equal(origin_of(false, 2, &first), "cache");
    assert_string_equal(origin_of(false, 1, &first), "cache");
    assert_string_equal(origin_of(true, 1, &first), "measured");
}

/* What is generated together is measured by itself, and weighed as one stream alone is. */
static void test_streams_have_their_own(void **state)
{
    (void)state;
    tern_tune alone, first, second;
    assert_string_equal(origin_for(1, true, 1, &alone), "measured");
    assert_string_equal(origin_for(4, false, 1, &first), "measured");
    assert_string_equal(origin_for(4, false, 1, &second), "cache");
    assert_int_equal(alone.n_stream, 1);
    assert_int_equal(first.n_stream, 4);
    assert_int_equal(second.n_stream, 4);
    for (int i = 0; i < 4; i++) {
        const tern_tune_shape *s = &first.shape[i];
        assert_true(alone.shape[i].together_2 == 0 && alone.shape[i].together_3 == 0);
        assert_true(s->together_2 > 0 && s->together_3 > 0);
        double kept = second.shape[i].together_3 / s->together_3;
        assert_true(kept > 0.9999 && kept < 1.0001);
    }
    tern_tune_shape *s = &first.shape[0];
    *s = (tern_tune_shape){.cols = 256, .t2 = 10, .t3 = 8, .together_2 = 20, .together_3 = 30};
    assert_false(tern_tune_base3(&first, TERN_LISTED_NONE, 256));
    s->together_3 = 21;
    assert_true(tern_tune_base3(&first, TERN_LISTED_NONE, 256));
    s->together_2 = s->together_3 = 0;
    assert_true(tern_tune_base3(&first, TERN_LISTED_NONE, 256));
}

static void test_what_is_wrong_is_measured_again(void **state)
{
    (void)state;
    tern_tune t;
    char text[4096];
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[n] = 0;
    text[n / 2] = 0; /* torn */
    write_text(text);
    assert_string_equal(origin_of(false, 1, &t), "measured");
    write_text("[1, 2]");
    assert_string_equal(origin_of(false, 1, &t), "measured");
    assert_string_equal(origin_of(false, 1, &t), "cache");
    /* Numbers that make no sense. */
    f = fopen(file, "r");
    assert_non_null(f);
    n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[n] = 0;
    char *limit = strstr(text, "\"up_limit\": ");
    assert_non_null(limit);
    limit[strlen("\"up_limit\": ")] = '7';
    write_text(text);
    assert_string_equal(origin_of(false, 1, &t), "measured");
    assert_true(t.up_limit <= 1);
}

static void test_no_folder_is_no_failure(void **state)
{
    (void)state;
    tern_model_opts o;
    tern_model *m;
    tern_model_opts_init(&o);
    o.cache_dir = "/nonexistent/tern";
    assert_int_equal(tern_model_open("models/tern-stories.gguf", &o, &m, NULL), TERN_OK);
    assert_string_equal(m->tune_origin, "measured");
    tern_model_close(m);
    /* Nothing to choose: no calibration. */
    assert_int_equal(tern_model_open("models/test/stories260K.gguf", &o, &m, NULL), TERN_OK);
    assert_null(m->tune_origin);
    tern_model_close(m);
}

/* Lists are worth it where what they save of one stream outweighs what they cost several, and themselves. */
static void test_lists_have_to_pay(void **state)
{
    (void)state;
    tern_tune t = {.n_shape = 3, .n_stream = 1};
    t.shape[0] = (tern_tune_shape){.cols = 2560, .t2 = 10, .t3 = 8};
    t.shape[1] = (tern_tune_shape){.listed = TERN_LISTED_ROWS, .cols = 2560, .t2 = 14, .t3 = 17};
    t.shape[2] = (tern_tune_shape){.listed = TERN_LISTED_COLS, .cols = 2560, .t2 = 20, .t3 = 28};
    for (int i = 0; i < 3; i++) /* seconds of 10^9 weights are ns of one */
        t.shape[i].t2 *= 1e-3, t.shape[i].t3 *= 1e-3;
    assert_true(tern_tune_skips(&t, TERN_LISTED_ROWS, 6912, 2560, false, false));
    assert_false(tern_tune_skips(&t, TERN_LISTED_ROWS, 6912, 2560, true, true)); /* 8.5 to 8 */
    assert_false(tern_tune_skips(&t, TERN_LISTED_ROWS, 64, 2560, false, false)); /* the list */
    assert_true(tern_tune_skips(&t, TERN_LISTED_COLS, 1024, 2560, false, false));
    assert_false(tern_tune_skips(&t, TERN_LISTED_COLS, 520, 2560, false, false)); /* padding */
    assert_true(tern_tune_skips(&t, TERN_LISTED_ROWS, 64, 64, false, false)); /* nothing known */
    for (int i = 0; i < 3; i++)
        t.shape[i].together_2 = t.shape[i].together_3 = 20e-3;
    assert_true(tern_tune_skips(&t, TERN_LISTED_ROWS, 6912, 2560, false, false));
    t.shape[1].together_2 = 30e-3; /* 7 * 30 to 10 * 20 */
    assert_false(tern_tune_skips(&t, TERN_LISTED_ROWS, 6912, 2560, false, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_kept),
        cmocka_unit_test(test_streams_have_their_own),
        cmocka_unit_test(test_lists_have_to_pay),
        cmocka_unit_test(test_what_is_wrong_is_measured_again),
        cmocka_unit_test(test_no_folder_is_no_failure),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
