/* What a type id means by the space its tensor has; the common cases are in file_gguf and
 * file_refuse. */
#include "file/typeid.h"
#include "support/support.h"

#include <string.h>

typedef struct row {
    uint32_t id;
    size_t ne[4], span, alignment;
    tern_typeid_verdict verdict;
    tern_dtype dtype; /* SURE, TIE */
    const char *says; /* otherwise */
} row;

static const row rows[] = {
    {0, {4, 1, 1, 1}, 16, 32, TERN_TYPEID_SURE, TERN_DT_F32, NULL},
    {0, {4, 1, 1, 1}, 4096, 32, TERN_TYPEID_SURE, TERN_DT_F32, NULL},
    {0, {4, 1, 1, 1}, 15, 32, TERN_TYPEID_NO_FIT, 0, "F32 needs 16"},
    {35, {256, 2, 1, 1}, 132, 32, TERN_TYPEID_SURE, TERN_DT_TQ2_0, NULL},
    {35, {128, 2, 1, 1}, 132, 32, TERN_TYPEID_BAD_SHAPE, 0, "256"},
    /* 36 and 12 bytes both pad to 64: the likelier one, which is not read, stands. */
    {40, {64, 1, 1, 1}, 64, 64, TERN_TYPEID_UNREAD, 0, "NVFP4"},
    {40, {64, 1, 1, 1}, 12, 64, TERN_TYPEID_SURE, TERN_DT_Q1_0_G32, NULL},
    {42, {128, 1, 1, 1}, 64, 32, TERN_TYPEID_TIE, TERN_DT_Q2_0, NULL},
    {42, {128, 1, 1, 1}, 36, 32, TERN_TYPEID_SURE, TERN_DT_Q2_0, NULL},
    {42, {128, 1, 1, 1}, 34, 32, TERN_TYPEID_SURE, TERN_DT_PQ2_0, NULL},
    {42, {64, 1, 1, 1}, 64, 32, TERN_TYPEID_NO_FIT, 0, "Q2_0 needs 18"}, /* 18 pads to 32 */
    {39, {256, 1, 1, 1}, 136, 32, TERN_TYPEID_UNREAD, 0, "MXFP4"},
    {39, {256, 1, 1, 1}, 137, 32, TERN_TYPEID_UNREAD, 0, "TL2"},
    {39, {40, 1, 1, 1}, 17, 32, TERN_TYPEID_UNREAD, 0, "TL2"}, /* 40 are no blocks of 32 */
    {1000, {1, 1, 1, 1}, 64, 32, TERN_TYPEID_UNKNOWN, 0, "no known format"},
    {UINT32_MAX, {64, 1, 1, 1}, 64, 32, TERN_TYPEID_UNKNOWN, 0, "no known format"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const row *r = &rows[i];
        tern_typeid t;
        tern_typeid_query q = {
            .id = r->id, .ne = r->ne, .span = r->span, .alignment = r->alignment};
        tern_typeid_resolve(&q, &t);
        if (t.verdict != r->verdict || (r->says && !strstr(t.text, r->says)) ||
            (!r->says && t.dtype != r->dtype))
            fail_msg("row %zu: verdict %d, dtype %d, '%s'", i, (int)t.verdict, (int)t.dtype,
                     t.text);
        size_t bytes = 0;
        if (!r->says) {
            assert_true(tern_typeid_fits(&q, r->dtype, &bytes) == (r->span != 4096));
            assert_int_equal(bytes, t.bytes);
        }
        assert_false(tern_typeid_fits(&q, TERN_DT_F64, &bytes));
    }
}

/* Every id that this engine writes is read back as the same format. */
static void test_written_ids(void **state)
{
    (void)state;
    for (int dt = 0; dt < TERN_DT_COUNT; dt++) {
        const tern_dtype_info *info = tern_dtype_get((tern_dtype)dt);
        size_t ne[4] = {1280, 4, 1, 1}, bytes;
        tern_typeid t;
        if (info->file_id == UINT32_MAX)
            continue;
        assert_true(tern_dtype_bytes((tern_dtype)dt, ne, &bytes));
        tern_typeid_resolve(
            &(tern_typeid_query){.id = info->file_id, .ne = ne, .span = bytes, .alignment = 32},
            &t);
        assert_int_equal(t.verdict, TERN_TYPEID_SURE);
        assert_int_equal(t.dtype, dt);
        assert_int_equal(t.bytes, bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_written_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
