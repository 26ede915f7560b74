/* Composing text, against Python's unicodedata. */
#include "support/support.h"
#include "text/normal.h"

#include <string.h>
#include <time.h>

static void composed(const char *text, size_t n, const char *want, size_t n_want)
{
    tern_str s;
    tern_err err;
    tern_str_init(&s, 1 << 24);
    assert_int_equal(tern_text_nfc(text, n, &s, &err), TERN_OK);
    if (s.len != n_want || (n_want && memcmp(tern_str_get(&s), want, n_want) != 0))
        fail_msg("'%s' becomes '%s', not '%s'", text, tern_str_get(&s), want);
    tern_str_done(&s);
}
#define BOTH(text, want) composed(text, sizeof text - 1, want, sizeof want - 1)

static void vectors(void **state)
{
    (void)state;
    BOTH("", "");
    BOTH("plain\n text", "plain\n text");
    BOTH("caf\u00e9 \u017ea", "caf\u00e9 \u017ea");
    BOTH("cafe\u0301", "caf\u00e9");
    BOTH("e\u0301e\u0301ae\u0301", "\u00e9\u00e9a\u00e9");
    BOTH("e\u0323\u0302x", "\u1ec7x");
    BOTH("e\u0302\u0323x", "\u1ec7x"); /* marks in order */
    BOTH("\u0301e", "\u0301e");
    BOTH("\u212b\u2126\u212a", "\u00c5\u03a9K");
    BOTH("\u1100\u1161\u11a8", "\uac01");
    BOTH("\u0958", "\u0915\u093c"); /* never composed */
    BOTH("\ufb01", "\ufb01");       /* not by this form */
    BOTH("\u4e2d\u6587 q\u0307\u0323 \U0001d15e",
         "\u4e2d\u6587 q\u0323\u0307 \U0001d157\U0001d165");
    BOTH("a\u0300\u0301\u0302b", "\u00e0\u0301\u0302b");
}

static void bytes_that_are_no_text(void **state)
{
    (void)state;
    BOTH("a\xFF\xCC\x81z", "a\xFF\xCC\x81z");
    BOTH("e\xCC", "e\xCC");
    BOTH("\x80\x81", "\x80\x81");
    BOTH("\xED\xA0\x80 e\u0301", "\xED\xA0\x80 \u00e9");
    BOTH("e\xFF\u0301", "e\xFF\u0301"); /* a mark does not reach across */
    BOTH("\xC3", "\xC3");
    BOTH("\xE2\x96", "\xE2\x96");
}

/* Marks in the wrong order are put right by exchanging neighbours, so many of them could take forever. */
static void many_marks(void **state)
{
    (void)state;
    static char text[1 << 20];
    tern_str s;
    tern_err err;
    for (size_t i = 0; i < sizeof text; i += 4)
        memcpy(text + i, "\u0301\u0316", 4);
    tern_str_init(&s, 1 << 24);
    clock_t t0 = clock();
    assert_int_equal(tern_text_nfc(text, sizeof text, &s, &err), TERN_OK);
    assert_int_equal(s.len, sizeof text);
    assert_true(clock() - t0 < 3 * CLOCKS_PER_SEC);
    tern_str_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(bytes_that_are_no_text),
        cmocka_unit_test(many_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
