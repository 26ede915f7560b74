/* Any bytes as the files of a Hugging Face folder: read them, make the tokenizer, use it. The bytes
 * are records divided by 0x1E; a record's first byte is the file, 'a' for the first, the rest its
 * contents. The first byte of all says how many rows the embedding has: '0' that it is not known. */
#include "file/dir_make.h"
#include "fuzz/fuzz.h"
#include "text/hf_tokenizer.h"
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

static const char text[] = "Hello, world 12  ab abc<s>\xE2\x96\x81 e\xCC\x81 \xFF\x80 </s>";

static void read_records(const char *p, size_t n, tern_slice files[TERN_HF_FILE_COUNT])
{
    while (n) {
        const char *end = memchr(p, 0x1E, n);
        size_t len = end ? (size_t)(end - p) : n;
        if (len && p[0] >= 'a' && p[0] < 'a' + TERN_HF_FILE_COUNT)
            files[p[0] - 'a'] = (tern_slice){p + 1, len - 1};
        len += end != NULL;
        p += len;
        n -= len;
    }
}

static void use(const tern_tokenizer *t)
{
    tern_err err;
    tern_ids ids = {0};
    if (tern_tokenize(t, text, sizeof text - 1, true, true, &ids, &err) != TERN_OK)
        abort();
    for (size_t i = 0; i < ids.n; i++)
        if (ids.v[i] < 0 || ids.v[i] >= tern_tokenizer_info_get(t)->n_vocab)
            abort();
    tern_ids_done(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tern_err err = {0};
    tern_slice files[TERN_HF_FILE_COUNT] = {0};
    tern_dir *d;
    tern_tokenizer *t;
    if (!size || tern_dir_new("fuzz", 1 << 12, &d, &err) != TERN_OK)
        return 0;
    size_t n_vocab = data[0] > '0' ? data[0] : 0;
    read_records((const char *)data + 1, size - 1, files);
    tern_code rc = tern_hf_tokenizer_read_files(d, "fuzz", files, n_vocab, &err);
    if (rc == TERN_OK) {
        const tern_meta *m = tern_dir_meta_find(d, "tokenizer.ggml.tokens");
        if (!m || (n_vocab && m->n_elem != n_vocab))
            abort();
        rc = tern_tokenizer_new(d, NULL, &t, &err);
        if (rc == TERN_OK) {
            use(t);
            tern_tokenizer_free(t);
        }
    }
    if (rc != TERN_OK && (err.msg[0] == 0 || memchr(err.msg, 0, sizeof err.msg) == NULL))
        abort();
    tern_dir_close(d);
    return 0;
}
