/* What the GGUF reader must refuse, how it says so, and that it takes no memory for it. */
#include "file/dir.h"
#include "support/bytes.h"
#include "support/fault.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define P31 "2147483648"
#define P32 "4294967296"
#define P40 "1099511627776"
#define P62 "4611686018427387904"
#define P63 "9223372036854775808"

/* A heap copy of exactly these bytes, so that a sanitizer sees a read beyond them. */
static uint8_t *exact_copy(const void *data, size_t n)
{
    uint8_t *p = malloc(n ? n : 1);
    assert_non_null(p);
    if (n)
        memcpy(p, data, n);
    return p;
}

/* One tensor "w" of F32 {4}, and what is left of a file behind its shape. */
#define T_W    "str:w u32:1 u64:4 "
#define F32_AT "u32:0 u64:0 pad:32 zero:16"

typedef struct bad_file {
    const char *script;
    tern_code code;
    const char *says[3]; /* all in the message */
} bad_file;

static const bad_file headers[] = {
    {"", TERN_E_FORMAT, {"offset 0"}},
    {"hex:4747", TERN_E_FORMAT, {"offset 0"}},
    {"hex:50415254 u32:3 u64:0 u64:0", TERN_E_FORMAT, {"'PART'", "'GGUF'"}},
    {"hex:00ff1b5d u32:3 u64:0 u64:0", TERN_E_FORMAT, {"\\x00\\xff\\x1b]"}},
    {"hex:47475546", TERN_E_FORMAT, {"offset 4"}},
    {"gguf:0,0,0", TERN_E_FORMAT, {"version 0"}},
    {"gguf:1,0,0", TERN_E_UNSUPPORTED, {"version 1", "convert"}},
    {"gguf:4,0,0", TERN_E_UNSUPPORTED, {"version 4", "2 and 3"}},
    {"gguf:50331648,0,0", TERN_E_UNSUPPORTED, {"big-endian"}}, /* 3 in the other order */
    {"hex:47475546 u32:3 u64:0", TERN_E_FORMAT, {"offset 16"}},
    {"gguf:3,0,1", TERN_E_FORMAT, {"1 keys", "0 bytes"}},
    {"gguf:3,0,1 zero:13", TERN_E_FORMAT, {"1 keys", "13 bytes"}},
    {"gguf:3,0,2 zero:27", TERN_E_FORMAT, {"2 keys", "at most 1"}},
    {"gguf:3,0," P40 " zero:100", TERN_E_FORMAT, {P40 " keys"}},
    {"gguf:3,0,-1 zero:100", TERN_E_FORMAT, {"18446744073709551615 keys"}},
    {"gguf:3,1,0 zero:32", TERN_E_FORMAT, {"1 tensors", "at most 0"}},
    {"gguf:3,1,1 zero:46", TERN_E_FORMAT, {"1 tensors", "at most 0"}}, /* one key takes 14 */
    {"gguf:3," P40 ",0 zero:100", TERN_E_FORMAT, {P40 " tensors"}},
    {"gguf:3,-1,0 zero:100", TERN_E_FORMAT, {"18446744073709551615 tensors"}},
    {"gguf:3," P63 ",0 zero:100", TERN_E_FORMAT, {P63 " tensors"}},
};

static const bad_file keys[] = {
    {"gguf:3,0,1 u64:-1 zero:20", TERN_E_FORMAT, {"key 0", "offset 24", "18446744073709551615"}},
    {"gguf:3,0,1 u64:9 zero:8", TERN_E_FORMAT, {"key 0", "length 9"}}, /* one more than is left */
    {"gguf:3,0,1 u64:-8 zero:20", TERN_E_FORMAT, {"key 0"}},
    {"gguf:3,0,1 u64:0 u32:0 zero:8", TERN_E_FORMAT, {"key 0", "empty"}},
    {"gguf:3,0,1 u64:65536 fill:65536 u32:0 u8:1", TERN_E_FORMAT, {"key 0", "at most 65535"}},
    {"gguf:3,0,1 str:a\\x00b u32:0 u8:1", TERN_E_FORMAT, {"'a\\x00b'", "NUL"}},
    {"gguf:3,0,1 str:k u32:13 zero:9", TERN_E_FORMAT, {"key 'k'", "type is 13", "0 to 12"}},
    {"gguf:3,0,1 str:k u32:-1 zero:9", TERN_E_FORMAT, {"key 'k'", "4294967295"}},
    {"gguf:3,0,1 str:kk u32:4 zero:3", TERN_E_FORMAT, {"key 'kk'", "needs 4", "3 more"}},
    {"gguf:3,0,1 str:kk u32:10 zero:7", TERN_E_FORMAT, {"key 'kk'", "needs 8", "7 more"}},
    {"gguf:3,0,1 str:k u32:8 u64:-1 zero:9", TERN_E_FORMAT, {"key 'k'", "string value"}},
    {"gguf:3,0,1 str:k u32:8 u64:10 zero:9", TERN_E_FORMAT, {"key 'k'", "length 10"}},
    {"gguf:3,0,1 str:k u32:8 u64:1073741825 zero:9", TERN_E_FORMAT, {"at most 1073741824"}},
    {"gguf:3,0,1 str:kkkkkkk u32:9 zero:3", TERN_E_FORMAT, {"element type", "needs 4"}},
    {"gguf:3,0,1 str:k u32:9 u32:9 u64:0", TERN_E_FORMAT, {"key 'k'", "array of arrays"}},
    {"gguf:3,0,1 str:k u32:9 u32:9 u64:1 u32:0 u64:0", TERN_E_FORMAT, {"array of arrays"}},
    {"gguf:3,0,1 str:k u32:9 u32:13 u64:0", TERN_E_FORMAT, {"key 'k'", "element type is 13"}},
    {"gguf:3,0,1 str:k u32:9 u32:0 zero:7", TERN_E_FORMAT, {"key 'k'", "array length"}},
    {"gguf:3,0,1 str:k u32:9 u32:0 u64:9 zero:8", TERN_E_FORMAT, {"9 elements", "at most 8"}},
    {"gguf:3,0,1 str:k u32:9 u32:4 u64:3 zero:11", TERN_E_FORMAT, {"3 elements", "at most 2"}},
    {"gguf:3,0,1 str:k u32:9 u32:10 u64:" P63 " zero:8", TERN_E_FORMAT, {P63 " elements"}},
    {"gguf:3,0,1 str:k u32:9 u32:12 u64:-1 zero:8", TERN_E_FORMAT, {"18446744073709551615"}},
    {"gguf:3,0,1 str:k u32:9 u32:8 u64:2 zero:15", TERN_E_FORMAT, {"2 elements", "at most 1"}},
    {"gguf:3,0,1 str:k u32:9 u32:8 u64:" P40 " zero:99", TERN_E_FORMAT, {P40 " elements"}},
    {"gguf:3,0,1 str:k u32:9 u32:8 u64:2 u64:9 zero:8", TERN_E_FORMAT, {"array's string", "9"}},
    {"gguf:3,0,1 str:k u32:9 u32:8 u64:2 u64:1 zero:8", TERN_E_FORMAT, {"array's string"}},
    {"gguf:3,0,2 str:k u32:0 u8:1 str:k u32:0 u8:1", TERN_E_FORMAT, {"key 'k'", "twice"}},
    {"gguf:3,0,2 str:k u32:0 u8:1 str:k u32:8 str:other", TERN_E_FORMAT, {"'k'", "offset 38"}},
    {"gguf:3,0,1 str:\\x1b[2J\\xff u32:99 u8:0", TERN_E_FORMAT, {"'\\x1b[2J\\xff'"}},
    {"gguf:3,0,1 str:\\xc3\\xbc\\xe2\\x80\\xae u32:99 u8:0", TERN_E_FORMAT, {"\xc3\xbc\\xe2\\x80"}},
};

#define ALIGN "str:general.alignment "
static const bad_file alignments[] = {
    {"gguf:3,0,1 " ALIGN "u32:4 u32:0", TERN_E_FORMAT, {"general.alignment", "offset 53", ": 0,"}},
    {"gguf:3,0,1 " ALIGN "u32:4 u32:1", TERN_E_FORMAT, {"general.alignment", ": 1,"}},
    {"gguf:3,0,1 " ALIGN "u32:4 u32:3", TERN_E_FORMAT, {"general.alignment", "power of two"}},
    {"gguf:3,0,1 " ALIGN "u32:4 u32:24", TERN_E_FORMAT, {"general.alignment", ": 24,"}},
    {"gguf:3,0,1 " ALIGN "u32:4 u32:-1", TERN_E_FORMAT, {"general.alignment"}},
    {"gguf:3,0,1 " ALIGN "u32:10 u64:" P32, TERN_E_FORMAT, {"general.alignment", "too large"}},
    {"gguf:3,0,1 " ALIGN "u32:5 u32:-32", TERN_E_FORMAT, {"general.alignment", "negative"}},
    {"gguf:3,0,1 " ALIGN "u32:6 u32:32", TERN_E_FORMAT, {"general.alignment", "f32"}},
    {"gguf:3,0,1 " ALIGN "u32:8 str:32", TERN_E_FORMAT, {"general.alignment", "string"}},
    {"gguf:3,0,1 " ALIGN "u32:9 u32:4 u64:1 u32:32", TERN_E_FORMAT, {"alignment", "array"}},
    {"gguf:3,0,2 " ALIGN "u32:4 u32:32 " ALIGN "u32:4 u32:64", TERN_E_FORMAT, {"twice"}},
    {"gguf:3,1,1 " ALIGN "u32:4 u32:" P31 " " T_W F32_AT, TERN_E_FORMAT, {P31, "no tensor data"}},
    {"gguf:3,2,1 " ALIGN "u32:4 u32:64 " T_W "u32:0 u64:0 str:x u32:1 u64:4 u32:0 u64:32 "
     "pad:64 zero:128",
     TERN_E_FORMAT,
     {"tensor 'x'", "32", "alignment 64"}},
};

static const bad_file tensors[] = {
    {"gguf:3,1,0 u64:-1 zero:99", TERN_E_FORMAT, {"tensor 0", "name", "18446744073709551615"}},
    {"gguf:3,1,0 u64:0 " T_W F32_AT, TERN_E_FORMAT, {"tensor 0", "empty"}},
    {"gguf:3,1,0 str:w\\x00 u32:1 u64:4 " F32_AT, TERN_E_FORMAT, {"'w\\x00'", "NUL"}},
    {"gguf:3,2,0 " T_W "u32:0 u64:0 " T_W F32_AT, TERN_E_FORMAT, {"tensor 'w'", "twice"}},
    {"gguf:3,1,0 str:abcdefghijklmnopqrstuvwx zero:3",
     TERN_E_FORMAT,
     {"tensor 'abc", "number of dimensions needs 4"}},
    {"gguf:3,1,0 str:w u32:0 " F32_AT, TERN_E_FORMAT, {"tensor 'w'", "0 dimensions", "1 to 4"}},
    {"gguf:3,1,0 str:w u32:5 u64:1 u64:1 u64:1 u64:1 u64:1 " F32_AT,
     TERN_E_FORMAT,
     {"tensor 'w'", "5 dimensions"}},
    {"gguf:3,1,0 str:w u32:-1 u64:1 " F32_AT, TERN_E_FORMAT, {"4294967295 dimensions"}},
    {"gguf:3,1,0 str:w u32:1 u64:0 " F32_AT, TERN_E_FORMAT, {"tensor 'w'", "dimension 0 is 0"}},
    {"gguf:3,1,0 str:w u32:2 u64:4 u64:0 " F32_AT, TERN_E_FORMAT, {"dimension 1 is 0"}},
    {"gguf:3,1,0 str:w u32:1 u64:-4 " F32_AT, TERN_E_FORMAT, {"dimension 0", "2^63"}},
    {"gguf:3,1,0 str:w u32:2 u64:" P32 " u64:" P32 " " F32_AT,
     TERN_E_FORMAT,
     {"tensor 'w'", "dimension 1 is " P32}},
    {"gguf:3,1,0 str:w u32:3 u64:" P32 " u64:" P31 " u64:4 " F32_AT,
     TERN_E_FORMAT,
     {"dimension 1"}}, /* exactly 2^63 */
    {"gguf:3,1,0 str:w u32:4 u64:65536 u64:65536 u64:65536 u64:65536 " F32_AT,
     TERN_E_FORMAT,
     {"dimension 3"}},
    {"gguf:3,1,0 str:w u32:1 u64:" P62 " " F32_AT, TERN_E_FORMAT, {"tensor 'w'", "2^64"}},
    {"gguf:3,1,0 str:w u32:1 u64:2305843009213693952 " F32_AT,
     TERN_E_FORMAT,
     {"tensor 'w'", "needs 9223372036854775808"}}, /* 2^61 floats */
    {"gguf:3,1,0 str:w u32:1 u64:33 u32:2 u64:0 pad:32 zero:999",
     TERN_E_FORMAT,
     {"tensor 'w'", "Q4_0", "32"}},
    {"gguf:3,1,0 str:w u32:2 u64:100 u64:256 u32:12 u64:0 pad:32 zero:999",
     TERN_E_FORMAT,
     {"tensor 'w'", "Q4_K", "256"}},
    {"gguf:3,1,0 str:w u32:4 u64:4 u64:1 u64:1 u64:1 u32:0", TERN_E_FORMAT, {"type and offset"}},
    {"gguf:3,1,0 str:w u32:3 u64:4 u64:1 zero:7",
     TERN_E_FORMAT,
     {"tensor 'w'", "a dimension needs 8"}},
    {"gguf:3,1,0 " T_W "u32:0 u64:1 pad:32 zero:64", TERN_E_FORMAT, {"'w'", "alignment 32"}},
    {"gguf:3,1,0 " T_W "u32:0 u64:16 pad:32 zero:64", TERN_E_FORMAT, {"offset 16"}},
    {"gguf:3,1,0 " T_W "u32:0 u64:-32 pad:32 zero:64",
     TERN_E_FORMAT,
     {"tensor 'w'", "18446744073709551584"}},
    {"gguf:3,1,0 " T_W "u32:0 u64:64 pad:32 zero:64",
     TERN_E_FORMAT,
     {"tensor 'w'", "64 + 64", "ends at 128"}},
    {"gguf:3,1,0 " T_W "u32:0 u64:0 pad:32 zero:15",
     TERN_E_FORMAT,
     {"tensor 'w'", "15 bytes", "F32 needs 16"}},
    {"gguf:3,1,0 " T_W "u32:0 u64:32 pad:32 zero:47", TERN_E_FORMAT, {"15 bytes"}},
    {"gguf:3,1,0 " T_W "u32:0 u64:0", TERN_E_FORMAT, {"no tensor data"}},
    {"gguf:3,1,0 " T_W "u32:0 u64:0 pad:32", TERN_E_FORMAT, {"'w'", "data begins"}},
    /* 'w' would reach 16 bytes into 'x' */
    {"gguf:3,2,0 str:w u32:1 u64:12 u32:0 u64:0 str:x u32:1 u64:4 u32:0 u64:32 pad:32 zero:96",
     TERN_E_FORMAT,
     {"tensor 'w'", "32 bytes up to the next tensor", "48"}},
    {"gguf:3,1,0 " T_W "u32:999 u64:0 pad:32 zero:64",
     TERN_E_UNSUPPORTED,
     {"tensor 'w'", "type id 999"}},
    {"gguf:3,1,0 " T_W "u32:-1 u64:0 pad:32 zero:64", TERN_E_UNSUPPORTED, {"4294967295"}},
};

static const bad_file types[] = {
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:4 u64:0 pad:32 zero:999",
     TERN_E_UNSUPPORTED,
     {"tensor 'w'", "type id 4", "Q4_2"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:9 u64:0 pad:32 zero:999", TERN_E_UNSUPPORTED, {"Q8_1"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:16 u64:0 pad:32 zero:999",
     TERN_E_UNSUPPORTED,
     {"tensor 'w'", "IQ2_XXS", "use a Q4_K"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:31 u64:0 pad:32 zero:999",
     TERN_E_UNSUPPORTED,
     {"Q4_0_4_4", "convert"}},
    {"gguf:3,1,0 str:w u32:2 u64:128 u64:4 u32:36 u64:0 pad:32 zero:288",
     TERN_E_UNSUPPORTED,
     {"IQ4_NL_4_4", "retired"}}, /* 512 / 32 * 18 where I2_S has 160 */
    {"gguf:3,1,0 str:w u32:2 u64:128 u64:2 u32:36 u64:0 pad:32 zero:95",
     TERN_E_FORMAT,
     {"I2_S needs 96", "95 bytes"}},
    {"gguf:3,1,0 str:w u32:2 u64:64 u64:4 u32:36 u64:0 pad:32 zero:96",
     TERN_E_FORMAT,
     {"I2_S", "128"}},
    {"gguf:3,1,0 str:w u32:3 u64:128 u64:2 u64:2 u32:36 u64:0 pad:32 zero:160",
     TERN_E_FORMAT,
     {"I2_S", "ne2"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:37 u64:0 pad:32 zero:999", TERN_E_UNSUPPORTED, {"I8_S"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:38 u64:0 pad:32 zero:96",
     TERN_E_UNSUPPORTED,
     {"type id 38", "TL1", "I2_S"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:38 u64:0 pad:32 zero:160",
     TERN_E_UNSUPPORTED,
     {"IQ4_NL_8_8"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:39 u64:0 pad:32 zero:160", TERN_E_UNSUPPORTED, {"MXFP4"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:39 u64:0 pad:32 zero:96", TERN_E_UNSUPPORTED, {"TL2"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:40 u64:0 pad:32 zero:160", TERN_E_UNSUPPORTED, {"NVFP4"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:40 u64:0 pad:32 zero:96",
     TERN_E_UNSUPPORTED,
     {"NVFP4 needs 144", "Q1_0_G32 needs 48", "96 bytes"}},
    {"gguf:3,1,0 str:w u32:1 u64:100 u32:40 u64:0 pad:32 zero:96", TERN_E_FORMAT, {"Q1_0_G32"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:42 u64:0 pad:32 zero:128",
     TERN_E_UNSUPPORTED,
     {"type id 42", "Q2_0 needs 72", "PQ2_0 needs 68"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:42 u64:0 pad:32 zero:60", TERN_E_FORMAT, {"60 bytes"}},
    {"gguf:3,1,0 str:w u32:1 u64:1280 u32:43 u64:0 pad:32 zero:384",
     TERN_E_UNSUPPORTED,
     {"type id 43", "PQ2_0 needs 340"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:133 u64:0 pad:32 zero:999", TERN_E_UNSUPPORTED, {"Q6_0"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:134 u64:0 pad:32 zero:96",
     TERN_E_UNSUPPORTED,
     {"IQ1_BN needs 54"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:142 u64:0 pad:32 zero:64",
     TERN_E_FORMAT,
     {"PQ2_0 needs 68"}},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:143 u64:0 pad:32 zero:96",
     TERN_E_UNSUPPORTED,
     {"PTQ1_0 needs 56"}},
    {"gguf:3,1,0 str:w u32:2 u64:64 u64:4 u32:335 u64:0 pad:32 zero:96",
     TERN_E_UNSUPPORTED,
     {"IQ2_BN_R4", "I2_S"}},
};

typedef struct open_ctx {
    const uint8_t *data;
    size_t n;
} open_ctx;

static tern_code open_and_close(void *ctx, tern_err *err)
{
    const open_ctx *c = ctx;
    tern_dir *d;
    tern_code rc = tern_gguf_open_memory(c->data, c->n, "case.gguf", NULL, &d, err);
    if (rc == TERN_OK)
        tern_dir_close(d);
    return rc;
}

static void check_refused(const bad_file *rows, size_t n_row)
{
    for (size_t i = 0; i < n_row; i++) {
        const bad_file *row = &rows[i];
        tern_str s;
        tern_err err;
        tern_code rc;
        tern_str_init(&s, 1 << 20);
        test_bytes(&s, row->script);
        uint8_t *data = exact_copy(tern_str_get(&s), s.len);
        memset(&err, 0, sizeof err);
        size_t bytes = test_alloc_bytes(open_and_close, &(open_ctx){data, s.len}, &rc, &err);
        if (rc != row->code || err.code != row->code)
            fail_msg("%s\ngives code %d: %s", row->script, (int)rc, err.msg);
        if (strncmp(err.msg, "case.gguf: ", 11) != 0 || strlen(err.msg) > 220)
            fail_msg("%s\nsays: %s", row->script, err.msg);
        for (size_t k = 0; k < 3 && row->says[k]; k++)
            if (!strstr(err.msg, row->says[k]))
                fail_msg("%s\nsays: %s\nbut not: %s", row->script, err.msg, row->says[k]);
        if (bytes > (1 << 17) + 16 * s.len) /* the arena's first block and little more */
            fail_msg("%s\ntook %zu bytes of memory for %zu of file", row->script, bytes, s.len);
        free(data);
        tern_str_done(&s);
    }
}

#define REFUSED(rows)                                                                              \
    static void test_refuses_##rows(void **state)                                                  \
    {                                                                                              \
        (void)state;                                                                               \
        check_refused(rows, sizeof rows / sizeof rows[0]);                                         \
    }
REFUSED(headers)
REFUSED(keys)
REFUSED(alignments)
REFUSED(tensors)
REFUSED(types)

static void test_long_names_are_cut(void **state)
{
    (void)state;
    char script[600], name[300];
    tern_str s;
    tern_err err;
    memset(name, 'a', 250);
    (void)snprintf(name + 250, 20, ".weight");
    (void)snprintf(script, sizeof script,
                   "gguf:3,1,0 str:%s u32:1 u64:4 u32:77 u64:0 pad:32 zero:9", name);
    tern_str_init(&s, 4096);
    test_bytes(&s, script);
    tern_dir *d;
    assert_int_equal(tern_gguf_open_memory(s.data, s.len, name, NULL, &d, &err),
                     TERN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "aaa.weight: tensor 'aaa"));
    assert_non_null(strstr(err.msg, "aaa.weight' at offset 24: type id 77"));
    assert_non_null(strstr(err.msg, "aaa...aaa"));
    tern_str_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refuses_headers),    cmocka_unit_test(test_refuses_keys),
        cmocka_unit_test(test_refuses_alignments), cmocka_unit_test(test_refuses_tensors),
        cmocka_unit_test(test_refuses_types),      cmocka_unit_test(test_long_names_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
