#include "support/bytes.h"
#include "base/num.h"
#include "support/support.h"

#include <string.h>

static uint64_t number(const char *s, size_t n)
{
    uint64_t u;
    bool neg = n && s[0] == '-';
    if (!tern_parse_u64(s + neg, n - neg, &u))
        fail_msg("no number: %.*s", (int)n, s);
    return neg ? 0 - u : u;
}

static void put_le(tern_str *out, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        tern_str_putc(out, (char)(v >> 8 * i & 255));
}

static unsigned hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *p = memchr(digits, c, 16);
    if (!p)
        fail_msg("no hex digit: %c", c);
    return (unsigned)(p - digits);
}

static char hex_byte(const char *s)
{
    return (char)(hex_digit(s[0]) << 4 | hex_digit(s[1]));
}

static void put_string(tern_str *out, const char *s, size_t n)
{
    char text[512];
    size_t len = 0;
    for (size_t i = 0; i < n && len < sizeof text; i++) {
        bool escaped = n - i >= 4 && s[i] == '\\' && s[i + 1] == 'x';
        text[len++] = escaped ? hex_byte(s + i + 2) : s[i];
        i += escaped ? 3 : 0;
    }
    put_le(out, len, 8);
    tern_str_put(out, text, len);
}

static void put_header(tern_str *out, const char *s, size_t n)
{
    uint64_t v[3] = {0};
    for (size_t i = 0, k = 0; k < 3; k++) {
        const char *comma = memchr(s + i, ',', n - i);
        size_t end = comma ? (size_t)(comma - s) : n;
        v[k] = number(s + i, end - i);
        i = end + 1 > n ? n : end + 1;
    }
    tern_str_put(out, "GGUF", 4);
    put_le(out, v[0], 4);
    put_le(out, v[1], 8);
    put_le(out, v[2], 8);
}

static void put_word(tern_str *out, const char *word, size_t n)
{
    static const char *const widths[] = {"u8", "u16", "u32", "u64"};
    const char *colon = memchr(word, ':', n);
    if (!colon)
        fail_msg("no such word: %.*s", (int)n, word);
    size_t k = (size_t)(colon - word), n_arg = n - k - 1;
    const char *arg = colon + 1;
    for (size_t i = 0; i < 4; i++)
        if (k == strlen(widths[i]) && memcmp(word, widths[i], k) == 0) {
            put_le(out, number(arg, n_arg), (size_t)1 << i);
            return;
        }
    if (k == 3 && memcmp(word, "str", 3) == 0) {
        put_string(out, arg, n_arg);
    } else if (k == 3 && memcmp(word, "hex", 3) == 0) {
        for (size_t i = 0; i + 1 < n_arg; i += 2)
            tern_str_putc(out, hex_byte(arg + i));
    } else if (k == 4 && memcmp(word, "gguf", 4) == 0) {
        put_header(out, arg, n_arg);
    } else if (k == 4 && (memcmp(word, "zero", 4) == 0 || memcmp(word, "fill", 4) == 0)) {
        for (uint64_t i = 0, count = number(arg, n_arg); i < count; i++)
            tern_str_putc(out, word[0] == 'z' ? 0 : (char)(i % 255 + 1));
    } else if (k == 3 && memcmp(word, "pad", 3) == 0) {
        while (out->len % number(arg, n_arg) != 0)
            tern_str_putc(out, 0);
    } else {
        fail_msg("no such word: %.*s", (int)n, word);
    }
}

void test_bytes(tern_str *out, const char *script)
{
    while (*script) {
        size_t n = strcspn(script, " ");
        if (n)
            put_word(out, script, n);
        script += n + (script[n] == ' ');
    }
    assert_false(out->failed);
}
