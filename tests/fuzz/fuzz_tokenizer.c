/* Any bytes as a GGUF file with a vocabulary: make the tokenizer, then use all it offers. */
#include "base/alloc.h"
#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

static const char text[] =
    "Hello, world 12345  \n\n don't ab abc<s>\xE2\x96\x81 \xC3\xA9\xFF\x80 </s>";

static void check_id(const tern_tokenizer *t, int32_t id)
{
    tern_slice s = tern_token_text(t, id), b = tern_token_bytes(t, id);
    int32_t found = tern_token_find(t, s.p, s.n);
    tern_token_attr a = tern_token_attr_get(t, id);
    if (b.n > s.n || (s.n && (found < 0 || found > id)) || a < TERN_TOKEN_NORMAL ||
        a > TERN_TOKEN_BYTE)
        abort();
    (void)tern_token_is_eog(t, id);
}

static void check_text(const tern_tokenizer *t, const char *p, size_t n, bool special)
{
    tern_err err;
    tern_ids ids = {0};
    tern_detok d;
    tern_str out;
    tern_str_init(&out, (size_t)1 << 24);
    if (tern_tokenize(t, p, n, special, special, &ids, &err) != TERN_OK)
        abort();
    tern_detok_init(&d, t, special, true);
    for (size_t i = 0; i < ids.n; i++) {
        if (ids.v[i] < 0 || ids.v[i] >= tern_tokenizer_info_get(t)->n_vocab)
            abort();
        tern_token_attr a = tern_token_attr_get(t, ids.v[i]);
        /* Plain text becomes no control token; the unknown token may stand for what has none. */
        if (!special && a == TERN_TOKEN_CONTROL && ids.v[i] != tern_tokenizer_info_get(t)->unk)
            abort();
        tern_detok_push(&d, ids.v[i], &out);
    }
    tern_detok_finish(&d, &out);
    if (!out.failed && !tern_utf8_valid(tern_str_get(&out), out.len))
        abort();
    tern_str_done(&out);
    tern_ids_done(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tern_err err = {0};
    tern_dir *d;
    tern_tokenizer *t;
    if (tern_gguf_open_memory(data, size, "fuzz.gguf", NULL, &d, &err) != TERN_OK)
        return 0;
    if (tern_tokenizer_new(d, NULL, &t, &err) != TERN_OK) {
        if (err.msg[0] == 0 || memchr(err.msg, 0, sizeof err.msg) == NULL)
            abort();
        tern_dir_close(d);
        return 0;
    }
    for (int32_t id = 0; id < tern_tokenizer_info_get(t)->n_vocab; id++)
        check_id(t, id);
    check_text(t, text, sizeof text - 1, false);
    check_text(t, text, sizeof text - 1, true);
    /* The file's own bytes contain its tokens' spellings. */
    check_text(t, (const char *)data, size < 4096 ? size : 4096, true);
    tern_tokenizer_free(t);
    tern_dir_close(d);
    return 0;
}
