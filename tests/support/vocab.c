#include "support/vocab.h"
#include "base/alloc.h"
#include "base/num.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_le(tern_str *out, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        tern_str_putc(out, (char)(v >> 8 * i & 255));
}

static void put_text(tern_str *out, const char *s, size_t n)
{
    put_le(out, n, 8);
    tern_str_put(out, s, n);
}

static unsigned hex_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
}

/* The next word of *list with escapes resolved, into buf, which holds the list; false at the end. */
static bool next_word(const char **list, char *buf, size_t *n)
{
    const char *p = *list;
    while (*p == ' ')
        p++;
    *n = 0;
    if (!*p)
        return false;
    while (*p && *p != ' ') {
        if (p[0] == '\\' && p[1] == 'x') {
            buf[(*n)++] = (char)(hex_digit(p[2]) << 4 | hex_digit(p[3]));
            p += 4;
        } else {
            buf[(*n)++] = *p++;
        }
    }
    *list = p;
    if (*n == 2 && memcmp(buf, "[]", 2) == 0)
        *n = 0;
    return true;
}

static size_t count(const char *list)
{
    char *buf = malloc(strlen(list) + 1);
    size_t n, k = 0;
    assert_non_null(buf);
    while (next_word(&list, buf, &n))
        k++;
    free(buf);
    return k;
}

static void put_key(tern_str *out, const char *name, uint32_t type)
{
    char key[128];
    int n = snprintf(key, sizeof key, "tokenizer.ggml.%s", name);
    put_text(out, key, (size_t)n);
    put_le(out, type, 4);
}

static void put_array(tern_str *out, const char *name, uint32_t elem, size_t n)
{
    put_key(out, name, TERN_META_ARRAY);
    put_le(out, elem, 4);
    put_le(out, n, 8);
}

static int64_t integer(const char *s, size_t n)
{
    int64_t v;
    if (!tern_parse_i64(s, n, &v))
        fail_msg("no number: %.*s", (int)n, s);
    return v;
}

static void put_strings(tern_str *out, const char *list, bool plus_is_space)
{
    char *buf = malloc(strlen(list) + 1);
    size_t n;
    assert_non_null(buf);
    while (next_word(&list, buf, &n)) {
        char *plus = plus_is_space && n > 1 ? memchr(buf + 1, '+', n - 1) : NULL;
        if (plus)
            *plus = ' ';
        put_text(out, buf, n);
    }
    free(buf);
}

static void put_tokens(tern_str *out, const test_vocab *v)
{
    put_array(out, "tokens", TERN_META_STRING, count(v->tokens) + (v->all_bytes ? 256 : 0));
    unsigned high = 0x100; /* bytes that are not printable are spelled from here on */
    for (unsigned b = 0; v->all_bytes && b < 256; b++) {
        bool same = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD);
        unsigned cp = same ? b : high++;
        char u[2] = {(char)(cp < 0x80 ? cp : 0xC0 | cp >> 6), (char)(0x80 | (cp & 63))};
        put_text(out, u, cp < 0x80 ? 1 : 2);
    }
    put_strings(out, v->tokens, false);
}

static void put_numbers(tern_str *out, const test_vocab *v, const char *name, const char *list,
                        bool floats)
{
    char *buf = malloc(strlen(list) + 1);
    size_t n, n_byte = v->all_bytes ? 256 : 0;
    assert_non_null(buf);
    put_array(out, name, floats ? TERN_META_F32 : TERN_META_I32, count(list) + n_byte);
    for (size_t i = 0; i < n_byte; i++)
        put_le(out, floats ? 0 : 1, 4);
    while (next_word(&list, buf, &n)) {
        float f = 0;
        uint32_t u;
        if (n == 3 && memcmp(buf, "nan", 3) == 0)
            u = 0x7fc00000;
        else if (floats)
            f = (float)integer(buf, n), memcpy(&u, &f, 4);
        else
            u = (uint32_t)integer(buf, n);
        put_le(out, u, 4);
    }
    free(buf);
}

/* name=u32:7, name=i32:-1, name=u64:..., name=true, name=false, name=text */
static void put_pair(tern_str *out, char *word, size_t n)
{
    char *eq = memchr(word, '=', n);
    if (!eq)
        fail_msg("no key: %.*s", (int)n, word);
    *eq++ = 0;
    size_t len = n - (size_t)(eq - word);
    bool yes = len == 4 && memcmp(eq, "true", 4) == 0, no = len == 5 && memcmp(eq, "false", 5) == 0;
    if (yes || no) {
        put_key(out, word, TERN_META_BOOL);
        put_le(out, yes, 1);
    } else if (len > 4 && eq[3] == ':') {
        uint64_t u = 0;
        if (eq[0] == 'i')
            u = (uint64_t)integer(eq + 4, len - 4);
        else if (!tern_parse_u64(eq + 4, len - 4, &u))
            fail_msg("no number: %s", eq);
        bool wide = eq[1] == '6';
        put_key(out, word,
                eq[0] == 'i' ? (wide ? TERN_META_I64 : TERN_META_I32)
                             : (wide ? TERN_META_U64 : TERN_META_U32));
        put_le(out, u, wide ? 8 : 4);
    } else {
        put_key(out, word, TERN_META_STRING);
        put_text(out, eq, len);
    }
}

void test_vocab_file(tern_str *out, const test_vocab *v)
{
    const char *keys = v->keys ? v->keys : "";
    char buf[1024];
    size_t n, n_key = count(keys) + !!v->model + !!v->pre + !!v->arch + !!v->tokens + !!v->types +
                      !!v->scores + !!v->merges;
    tern_str_put(out, "GGUF", 4);
    put_le(out, 3, 4);
    put_le(out, 0, 8);
    put_le(out, n_key, 8);
    if (v->arch) {
        put_text(out, "general.architecture", 20);
        put_le(out, TERN_META_STRING, 4);
        put_text(out, v->arch, strlen(v->arch));
    }
    if (v->model) {
        put_key(out, "model", TERN_META_STRING);
        put_text(out, v->model, strlen(v->model));
    }
    if (v->pre) {
        put_key(out, "pre", TERN_META_STRING);
        put_text(out, v->pre, strlen(v->pre));
    }
    if (v->tokens)
        put_tokens(out, v);
    if (v->types)
        put_numbers(out, v, "token_type", v->types, false);
    if (v->scores)
        put_numbers(out, v, "scores", v->scores, true);
    if (v->merges) {
        put_array(out, "merges", TERN_META_STRING, count(v->merges));
        put_strings(out, v->merges, true);
    }
    while (next_word(&keys, buf, &n)) {
        buf[n] = 0;
        put_pair(out, buf, n);
    }
}

tern_code test_tokenizer_make(test_tokenizer *tt, const test_vocab *v, const char *pre_override,
                              tern_err *err)
{
    *tt = (test_tokenizer){0};
    tern_str_init(&tt->file, (size_t)64 << 20);
    test_vocab_file(&tt->file, v);
    tern_code rc =
        tern_gguf_open_memory(tt->file.data, tt->file.len, "test.gguf", NULL, &tt->dir, err);
    if (rc == TERN_OK)
        rc = tern_tokenizer_new(tt->dir, pre_override, &tt->t, err);
    if (rc != TERN_OK)
        test_tokenizer_done(tt);
    return rc;
}

void test_tokenizer_open(test_tokenizer *tt, const char *path, const char *pre_override)
{
    tern_err err;
    *tt = (test_tokenizer){0};
    tern_str_init(&tt->file, 1);
    if (tern_gguf_open(path, NULL, &tt->dir, &err) != TERN_OK ||
        tern_tokenizer_new(tt->dir, pre_override, &tt->t, &err) != TERN_OK)
        fail_msg("%s", err.msg);
}

void test_tokenizer_done(test_tokenizer *tt)
{
    tern_tokenizer_free(tt->t);
    if (tt->dir)
        tern_dir_close(tt->dir);
    tern_str_done(&tt->file);
    tt->t = NULL;
    tt->dir = NULL;
}

void test_ids(const tern_tokenizer *t, const char *text, size_t n, bool add_special,
              bool parse_special, const char *want)
{
    tern_err err;
    tern_ids ids = {0};
    tern_str got;
    if (tern_tokenize(t, text, n, add_special, parse_special, &ids, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    tern_str_init(&got, (size_t)1 << 24);
    for (size_t i = 0; i < ids.n; i++)
        tern_str_printf(&got, i ? " %d" : "%d", (int)ids.v[i]);
    if (strcmp(tern_str_get(&got), want) != 0)
        fail_msg("'%.*s'\n  gives %s\n  not   %s", (int)n, text, tern_str_get(&got), want);
    tern_str_done(&got);
    tern_ids_done(&ids);
}
