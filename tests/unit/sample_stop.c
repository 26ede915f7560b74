#include "sample/stop.h"
#include "support/support.h"

#include <string.h>

/* Feed text in pieces of n bytes; gives what came out and the index of the hit. */
static int run(const char *const *stops, size_t n_stop, const char *text, size_t n, char *out)
{
    tern_stop *s;
    tern_str shown;
    int hit = -1;
    assert_int_equal(tern_stop_new(stops, n_stop, &s, NULL), TERN_OK);
    tern_str_init(&shown, 1 << 16);
    for (size_t at = 0, len = strlen(text); at < len && hit < 0; at += n)
        hit = tern_stop_feed(s, text + at, len - at < n ? len - at : n, &shown);
    tern_stop_finish(s, &shown);
    memcpy(out, tern_str_get(&shown), shown.len + 1);
    tern_str_done(&shown);
    tern_stop_free(s);
    return hit;
}

static void test_stops_are_found_however_the_text_is_cut(void **state)
{
    (void)state;
    static const char *const stops[] = {"\n\nUser:", "</s>", "aab"};
    static const struct {
        const char *text, *shown;
        int hit;
    } cases[] = {
        {"hello world", "hello world", -1},
        {"one\n\nUser: two", "one", 0},
        {"one\n\n\nUser: two", "one\n", 0}, /* the begun match starts over inside itself */
        {"aaaaab!", "aaa", 2},
        {"x</s", "x</s", -1}, /* held back, then released at the end */
        {"</s>", "", 1},
        {"", "", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t n = 1; n <= 12; n++) {
            char out[256];
            assert_int_equal(run(stops, 3, cases[i].text, n, out), cases[i].hit);
            assert_string_equal(out, cases[i].shown);
        }
}

static void test_the_longest_of_those_that_end_first_wins(void **state)
{
    (void)state;
    static const char *const stops[] = {"b", "ab", "abc"};
    char out[256];
    assert_int_equal(run(stops, 3, "xabc", 4, out), 1);
    assert_string_equal(out, "x");
}

static void test_text_is_shown_as_soon_as_it_cannot_be_a_stop(void **state)
{
    (void)state;
    static const char *const stops[] = {"STOP"};
    tern_stop *s;
    tern_str out;
    assert_int_equal(tern_stop_new(stops, 1, &s, NULL), TERN_OK);
    tern_str_init(&out, 100);
    assert_int_equal(tern_stop_feed(s, "abST", 4, &out), -1);
    assert_string_equal(tern_str_get(&out), "ab");
    assert_int_equal(tern_stop_feed(s, "AR", 2, &out), -1);
    assert_string_equal(tern_str_get(&out), "abSTAR");
    tern_str_done(&out);
    tern_stop_free(s);
}

static void test_bad_stops_are_refused(void **state)
{
    (void)state;
    tern_stop *s;
    tern_err err;
    char longer[258];
    memset(longer, 'x', 257);
    longer[257] = 0;
    const char *const empty[] = {""}, *const big[] = {longer};
    const char *many[17];
    for (int i = 0; i < 17; i++)
        many[i] = "x";
    assert_int_equal(tern_stop_new(empty, 1, &s, &err), TERN_E_USAGE);
    assert_int_equal(tern_stop_new(big, 1, &s, &err), TERN_E_USAGE);
    assert_int_equal(tern_stop_new(many, 17, &s, &err), TERN_E_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stops_are_found_however_the_text_is_cut),
        cmocka_unit_test(test_the_longest_of_those_that_end_first_wins),
        cmocka_unit_test(test_text_is_shown_as_soon_as_it_cannot_be_a_stop),
        cmocka_unit_test(test_bad_stops_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
