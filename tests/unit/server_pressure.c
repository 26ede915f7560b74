/* What is given up when memory is short, and when it comes back. */
#include "server/pressure.h"
#include "support/support.h"

#define MIB ((uint64_t)1 << 20)

static pressure at(uint64_t total_mib, uint64_t free_mib, double stalled, pressure before)
{
    tern_memory m = {.total = total_mib * MIB,
                     .available = free_mib * MIB,
                     .group_limit = TERN_NO_LIMIT,
                     .group_room = TERN_NO_LIMIT,
                     .address_limit = TERN_NO_LIMIT};
    return pressure_of(&m, stalled, before);
}

static void test_levels(void **state)
{
    (void)state;
    /* Of 8000 MiB the mark is a twentieth, 400. */
    assert_int_equal(at(8000, 4000, 0, PRESSURE_NONE), PRESSURE_NONE);
    assert_int_equal(at(8000, 401, 0, PRESSURE_NONE), PRESSURE_NONE);
    assert_int_equal(at(8000, 399, 0, PRESSURE_NONE), PRESSURE_SHRINK);
    assert_int_equal(at(8000, 199, 0, PRESSURE_NONE), PRESSURE_REFUSE);
    assert_int_equal(at(8000, 199, 0, PRESSURE_SHRINK), PRESSURE_REFUSE);
    /* It takes clearly more to go back. */
    assert_int_equal(at(8000, 500, 0, PRESSURE_REFUSE), PRESSURE_REFUSE);
    assert_int_equal(at(8000, 500, 0, PRESSURE_SHRINK), PRESSURE_SHRINK);
    assert_int_equal(at(8000, 601, 0, PRESSURE_REFUSE), PRESSURE_NONE);
    /* Programs that wait for memory all the time matter where there is little. */
    assert_int_equal(at(8000, 700, 60, PRESSURE_NONE), PRESSURE_REFUSE);
    assert_int_equal(at(8000, 4000, 60, PRESSURE_NONE), PRESSURE_NONE);
    /* Small and large machines: 64 MiB to 1 GiB. */
    assert_int_equal(at(256, 65, 0, PRESSURE_NONE), PRESSURE_NONE);
    assert_int_equal(at(256, 63, 0, PRESSURE_NONE), PRESSURE_SHRINK);
    assert_int_equal(at(256, 31, 0, PRESSURE_NONE), PRESSURE_REFUSE);
    assert_int_equal(at(512 * 1024, 1100, 0, PRESSURE_NONE), PRESSURE_NONE);
    assert_int_equal(at(512 * 1024, 1000, 0, PRESSURE_NONE), PRESSURE_SHRINK);
}

static void test_group(void **state)
{
    (void)state;
    tern_memory m = {.total = 64000 * MIB,
                     .available = 50000 * MIB,
                     .group_limit = 2000 * MIB,
                     .group_room = 90 * MIB,
                     .address_limit = TERN_NO_LIMIT};
    assert_int_equal(pressure_of(&m, 0, PRESSURE_NONE), PRESSURE_SHRINK);
    m.group_room = 40 * MIB;
    assert_int_equal(pressure_of(&m, 0, PRESSURE_NONE), PRESSURE_REFUSE);
    tern_memory silent = {.group_limit = TERN_NO_LIMIT, .group_room = TERN_NO_LIMIT};
    assert_int_equal(pressure_of(&silent, 99, PRESSURE_NONE), PRESSURE_NONE);
}

static void test_line(void **state)
{
    (void)state;
    assert_float_equal(pressure_stalled("some avg10=12.34 avg60=1.00 avg300=0.00 total=9"), 12.34,
                       1e-9);
    assert_float_equal(pressure_stalled("full avg10=12.34 avg60=1.00"), 0, 0);
    assert_float_equal(pressure_stalled("some avg10=x avg60=1.00"), 0, 0);
    assert_float_equal(pressure_stalled(""), 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_group),
        cmocka_unit_test(test_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
