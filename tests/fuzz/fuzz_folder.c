/* Any bytes as a Hugging Face folder, through its translation to the directory of a GGUF file to the first
 * tokens of a model. The bytes are records divided by 0x1E, a letter and what it stands for: 'c' config.json,
 * 'h' the head of model.safetensors, whose data are made up, 'n' the same with data that may be NaN,
 * 'p' 1_Pooling/config.json. The tokenizer is a fixed one. */
#include "base/alloc.h"
#include "fuzz/fuzz.h"
#include "fuzz/scratch.h"
#include "model/import/import.h"
#include "tern.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DATA_MAX ((size_t)96 << 10)
/* Of a refused folder: also the tokenizer, and norms that are read as F32. */
#define REFUSED_MAX  ((size_t)2 << 20)
#define REFUSED_EACH 32

static const char tokenizer[] =
    "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"c\":3},"
    "\"merges\":[\"a b\"]}}";
static const char tokenizer_config[] = "{\"bos_token\":\"c\",\"add_bos_token\":true}";

static void check_err(tern_code rc, const tern_err *err)
{
    fuzz_must(rc == err->code && rc != TERN_E_INTERNAL && err->msg[0] &&
              memchr(err->msg, 0, sizeof err->msg));
}

static void write_records(const char *p, size_t n)
{
    while (n) {
        const char *end = memchr(p, 0x1E, n);
        size_t len = end ? (size_t)(end - p) : n;
        if (len && p[0] == 'c')
            scratch_write("config.json", p + 1, len - 1);
        else if (len && (p[0] == 'h' || p[0] == 'n'))
            scratch_container("model.safetensors", p + 1, len - 1, DATA_MAX, p[0] == 'n');
        else if (len && p[0] == 'p')
            scratch_write("1_Pooling/config.json", p + 1, len - 1);
        len += end != NULL;
        p += len;
        n -= len;
    }
}

static void note(void *ctx, const tern_tensor *from, const char *to, const char *text)
{
    (void)ctx;
    fuzz_must(from->name && text && (!to || *to));
}

/* The directory alone: what became of its tensors is told. */
static bool read_dir(size_t n_given)
{
    tern_err err = {0};
    tern_dir *d = NULL;
    size_t bytes = 0;
    tern_import_opts o = {.note = note};
    tern_alloc_hook_set(fuzz_count, &bytes);
    tern_code rc = tern_import_open(scratch_folder(), &o, &d, &err);
    tern_alloc_hook_set(NULL, NULL);
    if (rc != TERN_OK) {
        check_err(rc, &err);
        fuzz_must(bytes <= REFUSED_MAX + REFUSED_EACH * (n_given + DATA_MAX));
        return false;
    }
    tern_dir_close(d);
    return true;
}

static void use(tern_model *m)
{
    tern_err err;
    tern_session *s;
    tern_session_opts so;
    tern_model_info info = {.size = sizeof info};
    int32_t ids[4];
    size_t n;
    tern_model_info_get(m, &info);
    if (tern_model_tokenize(m, "ab c", 4, TERN_TOKENIZE_ADD_SPECIAL, ids, 4, &n, &err) != TERN_OK ||
        n == 0) {
        ids[0] = 0;
        n = 1;
    }
    for (size_t i = 0; i < n; i++)
        fuzz_must(ids[i] >= 0 && ids[i] < info.n_vocab);
    tern_session_opts_init(&so);
    so.n_ctx = info.n_ctx_train < 16 ? 0 : 16;
    fuzz_must(tern_session_new(m, &so, &s, &err) == TERN_OK);
    if (n < (size_t)tern_session_n_ctx(s)) {
        fuzz_must(tern_session_eval(s, ids, n, &err) == TERN_OK);
        fuzz_must(tern_session_logits(s) != NULL);
    }
    tern_session_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tern_err err = {0};
    tern_model_opts o;
    tern_model *m;
    if (size > ((size_t)32 << 10))
        return 0;
    write_records((const char *)data, size);
    scratch_write("tokenizer.json", tokenizer, sizeof tokenizer - 1);
    scratch_write("tokenizer_config.json", tokenizer_config, sizeof tokenizer_config - 1);
    if (read_dir(size)) {
        tern_model_opts_init(&o);
        o.n_thread = 1;
        tern_code rc = tern_model_open(scratch_folder(), &o, &m, &err);
        if (rc == TERN_OK) {
            use(m);
            tern_model_close(m);
        } else {
            check_err(rc, &err);
        }
    }
    scratch_clear();
    return 0;
}
