#include "base/reader.h"
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t counted[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void test_reads_are_little_endian_and_in_order(void **state)
{
    (void)state;
    tern_reader r;
    tern_reader_init(&r, counted, sizeof counted);
    assert_int_equal(tern_read_u8(&r), 1);
    assert_int_equal(tern_read_u16(&r), 0x0302);
    assert_int_equal(tern_read_u32(&r), 0x07060504);
    assert_true(tern_read_u64(&r) == 0x0f0e0d0c0b0a0908u);
    assert_int_equal(tern_reader_left(&r), 0);
    assert_false(r.failed);
    assert_non_null(tern_reader_take(&r, 0));
    assert_false(r.failed);
}

static void test_a_failure_stays_and_says_where(void **state)
{
    (void)state;
    tern_reader r;
    tern_reader_init(&r, counted, 6);
    assert_int_equal(tern_read_u32(&r), 0x04030201);
    assert_int_equal(tern_read_u32(&r), 0);
    assert_true(r.failed);
    assert_int_equal(r.fail_pos, 4);
    assert_int_equal(r.fail_need, 4);
    /* Two bytes are left, but the record is broken. */
    assert_int_equal(tern_read_u8(&r), 0);
    assert_int_equal(tern_read_u64(&r), 0);
    assert_null(tern_reader_take(&r, 0));
    assert_false(tern_reader_seek(&r, 0));
    assert_int_equal(r.pos, 4);
    assert_int_equal(r.fail_pos, 4);
}

static void test_lengths_near_the_top_do_not_wrap(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        tern_reader r;
        tern_reader_init(&r, counted, sizeof counted);
        (void)tern_read_u8(&r);
        assert_null(tern_reader_take(&r, i == 0 ? SIZE_MAX : i == 1 ? SIZE_MAX - 1 : 15));
        assert_true(r.failed);
        assert_int_equal(r.fail_pos, 1);
    }
}

static void test_seek_reaches_the_end_but_not_past_it(void **state)
{
    (void)state;
    tern_reader r;
    tern_reader_init(&r, counted, 5);
    assert_true(tern_reader_seek(&r, 5));
    assert_int_equal(tern_reader_left(&r), 0);
    assert_true(tern_reader_seek(&r, 1));
    assert_int_equal(tern_read_u8(&r), 2);
    assert_false(tern_reader_seek(&r, 6));
    assert_true(r.failed);
    assert_int_equal(r.pos, 2);
    assert_int_equal(r.fail_pos, 6);
    tern_reader_init(&r, NULL, 0);
    assert_int_equal(tern_read_u8(&r), 0);
    assert_true(r.failed);
}

/* Each load from the last bytes of a heap block, at an odd address. */
static void test_loads_touch_their_bytes_only(void **state)
{
    (void)state;
    static const uint8_t f32[] = {0x00, 0x00, 0x80, 0x3f}, f64[] = {0, 0, 0, 0, 0, 0, 0xf8, 0xbf};
    uint8_t *p = malloc(9);
    assert_non_null(p);
    memcpy(p + 1, f64, 8);
    assert_true(tern_lef64(p + 1) == -1.5);
    assert_true(tern_le64(p + 1) == 0xbff8000000000000u);
    memcpy(p + 5, f32, 4);
    assert_true(tern_lef32(p + 5) == 1.0f);
    assert_int_equal(tern_le32(p + 5), 0x3f800000);
    assert_int_equal(tern_le16(p + 7), 0x3f80);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_are_little_endian_and_in_order),
        cmocka_unit_test(test_a_failure_stays_and_says_where),
        cmocka_unit_test(test_lengths_near_the_top_do_not_wrap),
        cmocka_unit_test(test_seek_reaches_the_end_but_not_past_it),
        cmocka_unit_test(test_loads_touch_their_bytes_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
