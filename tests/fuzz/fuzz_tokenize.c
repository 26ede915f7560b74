/* Any bytes as text for fixed vocabularies. The first byte chooses the vocabulary and the flags. */
#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define GOLDEN "tests/golden/tokenizers/"

static const struct {
    const char *path, *pre;
    bool exact; /* its tokens' bytes are the text again */
} vocabs[] = {
    {GOLDEN "llama-bpe.gguf", NULL, true},         {GOLDEN "deepseek-v3.gguf", NULL, true},
    {GOLDEN "gpt-2.gguf", "deepseek-llm", true},   {GOLDEN "gpt-2.gguf", "gpt-4o", true},
    {GOLDEN "gpt-2.gguf", "qwen35", true},         {GOLDEN "gpt-2.gguf", "default", true},
    {GOLDEN "gpt-2.gguf", "deepseek-coder", true}, {GOLDEN "qwen2.gguf", NULL, true},
    {GOLDEN "falcon.gguf", NULL, false},           {GOLDEN "tok512.gguf", NULL, false},
};
#define N_VOCAB (sizeof vocabs / sizeof vocabs[0])

static const tern_tokenizer *tokenizer(size_t i)
{
    static tern_tokenizer *made[N_VOCAB];
    static tern_dir *dirs[N_VOCAB]; /* they outlive the tokenizers */
    tern_err err;
    if (!made[i] && (tern_gguf_open(vocabs[i].path, NULL, &dirs[i], &err) != TERN_OK ||
                     tern_tokenizer_new(dirs[i], vocabs[i].pre, &made[i], &err) != TERN_OK))
        abort();
    return made[i];
}

static void check_bytes(const tern_tokenizer *t, const tern_ids *ids, const char *text, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < ids->n; i++) {
        tern_slice b = tern_token_bytes(t, ids->v[i]);
        if (b.n > n - at || memcmp(b.p, text + at, b.n) != 0)
            abort();
        at += b.n;
    }
    if (at != n)
        abort();
}

static void check_shown(const tern_tokenizer *t, const tern_ids *ids, bool special)
{
    tern_detok d;
    tern_str out;
    tern_str_init(&out, (size_t)1 << 24);
    tern_detok_init(&d, t, special, true);
    for (size_t i = 0; i < ids->n; i++) {
        tern_detok_push(&d, ids->v[i], &out);
        if (!tern_utf8_valid(tern_str_get(&out), out.len))
            abort();
        tern_str_clear(&out);
    }
    tern_detok_finish(&d, &out);
    tern_str_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    size_t pick = data[0] % N_VOCAB;
    bool add = data[0] & 64, parse = data[0] & 128;
    const tern_tokenizer *t = tokenizer(pick);
    const char *text = (const char *)data + 1;
    tern_err err;
    tern_ids ids = {0};
    if (tern_tokenize(t, text, size - 1, add, parse, &ids, &err) != TERN_OK)
        abort();
    for (size_t i = 0; i < ids.n; i++) {
        if (ids.v[i] < 0 || ids.v[i] >= tern_tokenizer_info_get(t)->n_vocab)
            abort();
        if (!add && !parse && tern_token_attr_get(t, ids.v[i]) == TERN_TOKEN_CONTROL)
            abort();
    }
    if (vocabs[pick].exact && !add)
        check_bytes(t, &ids, text, size - 1);
    check_shown(t, &ids, parse);
    tern_ids_done(&ids);
    return 0;
}
