/* Any bytes as a model: open it, and if it opens do with it what one does with models. A refused one
 * may not have taken more than 1 MiB and 16 times its size. The mutator knows where a GGUF file keeps
 * its numbers. */
#include "base/alloc.h"
#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "tern.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MAX     ((size_t)64 << 10) /* keeps one input below a second */
#define REFUSED_MAX  ((size_t)1 << 20)
#define REFUSED_EACH 16

static void check_err(tern_code rc, const tern_err *err)
{
    fuzz_must(rc == err->code && err->msg[0] && memchr(err->msg, 0, sizeof err->msg));
}

/* ---- what one does with a model ------------------------------------------------------------- */

static size_t prompt_of(const tern_model *m, int n_vocab, int32_t ids[8])
{
    static const char text[] = "a b\xc3\xa4\xff<|end|>";
    tern_err err;
    size_t n;
    tern_code rc = tern_model_tokenize(m, text, sizeof text - 1,
                                       TERN_TOKENIZE_ADD_SPECIAL | TERN_TOKENIZE_PARSE_SPECIAL, ids,
                                       8, &n, &err);
    if (rc != TERN_OK)
        check_err(rc, &err);
    if (rc != TERN_OK || n == 0) {
        ids[0] = 0;
        n = 1;
    }
    for (size_t i = 0; i < n; i++)
        fuzz_must(ids[i] >= 0 && ids[i] < n_vocab);
    return n < 3 ? n : 3;
}

static void generate(tern_session *s, const int32_t *ids, size_t n, bool greedy, int n_vocab)
{
    tern_err err;
    tern_request *r;
    tern_event ev = {0};
    tern_gen_opts o;
    tern_gen_opts_init(&o);
    o.n_predict = 2;
    o.temp = greedy ? 0.0f : 1.0f;
    o.typical_p = 0.9f;
    o.repeat_penalty = 1.1f;
    o.ignore_eos = !greedy;
    o.show_special = true;
    fuzz_must(tern_request_new(s, ids, n, &o, &r, &err) == TERN_OK);
    while (ev.finish == TERN_FINISH_NONE) {
        tern_code rc = tern_request_next(r, &ev, &err);
        if (rc == TERN_E_UNSUPPORTED) { /* attention goes both ways: nothing follows a text */
            check_err(rc, &err);
            break;
        }
        fuzz_must(rc == TERN_OK);
        fuzz_must(ev.id >= 0 && ev.id < n_vocab && tern_utf8_valid(ev.text, ev.n_text));
    }
    tern_request_free(r);
}

static void use_text(const tern_model *m, const int32_t *ids, size_t n)
{
    tern_err err;
    char *text;
    size_t n_text;
    fuzz_must(tern_model_detokenize(m, ids, n, true, &text, &n_text, &err) == TERN_OK);
    fuzz_must(tern_utf8_valid(text, n_text));
    tern_string_free(text);
    fuzz_must(tern_model_describe(m, &text, &err) == TERN_OK);
    tern_string_free(text);
    tern_code rc = tern_model_chat_prompt(m, "[{\"role\":\"user\",\"content\":\" a \"}]", NULL,
                                          true, &text, &n_text, &err);
    if (rc == TERN_OK)
        fuzz_must(tern_utf8_valid(text, n_text));
    else
        check_err(rc, &err);
    tern_string_free(text);
}

static void use(tern_model *m, size_t seed)
{
    tern_err err;
    tern_session *s;
    int32_t ids[8];
    tern_session_opts so;
    tern_model_info info = {.size = sizeof info};
    tern_model_info_get(m, &info);
    size_t n = prompt_of(m, info.n_vocab, ids);
    use_text(m, ids, n);
    tern_session_opts_init(&so);
    so.n_ctx = info.n_ctx_train < 32 ? 0 : 32;
    so.cache_k = (tern_cache_type)(seed % 3);
    so.cache_v = (tern_cache_type)(seed / 3 % 3);
    fuzz_must(tern_session_new(m, &so, &s, &err) == TERN_OK);
    if (n < (size_t)tern_session_n_ctx(s)) {
        fuzz_must(tern_session_eval(s, ids, n, &err) == TERN_OK);
        fuzz_must(tern_session_logits(s) != NULL);
        generate(s, ids, n, true, info.n_vocab);
        generate(s, ids, n, false, info.n_vocab);
    }
    tern_session_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const layouts[] = {"x86", "arm", "rows4"};
    tern_err err = {0};
    tern_model *m;
    tern_model_opts o;
    size_t bytes = 0;
    if (size > FILE_MAX)
        return 0;
    tern_model_opts_init(&o);
    o.n_thread = 1;
    o.i2s_layout = layouts[size % 3];
    tern_alloc_hook_set(fuzz_count, &bytes);
    tern_code rc = tern_model_open_memory(data, size, "fuzz.gguf", &o, &m, &err);
    tern_alloc_hook_set(NULL, NULL);
    if (rc != TERN_OK) {
        check_err(rc, &err);
        fuzz_must(rc != TERN_E_INTERNAL && bytes <= REFUSED_MAX + REFUSED_EACH * size);
        return 0;
    }
    use(m, size);
    tern_model_close(m);
    return 0;
}

/* ---- mutations ------------------------------------------------------------------------------ */

/* Where a number stands in the file. */
typedef struct spot {
    size_t at, width;
} spot;

typedef struct walk {
    const uint8_t *data;
    size_t size, at, n;
    spot spots[1024];
    bool failed;
} walk;

static uint64_t take(walk *w, size_t width)
{
    uint64_t v = 0;
    if (w->failed || width > w->size - w->at) {
        w->failed = true;
        return 0;
    }
    if (w->n < sizeof w->spots / sizeof w->spots[0])
        w->spots[w->n++] = (spot){w->at, width};
    memcpy(&v, w->data + w->at, width);
    w->at += width;
    return v;
}

static void skip(walk *w, uint64_t n)
{
    w->failed |= n > w->size - w->at;
    if (!w->failed)
        w->at += (size_t)n;
}

static void walk_value(walk *w, uint64_t type)
{
    static const uint8_t widths[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type == 8) {
        skip(w, take(w, 8));
    } else if (type == 9) {
        uint64_t elem = take(w, 4), n = take(w, 8);
        for (uint64_t i = 0; i < n && elem != 9 && !w->failed; i++)
            walk_value(w, elem);
    } else if (type < sizeof widths) {
        (void)take(w, widths[type]);
    } else {
        w->failed = true;
    }
}

static void walk_file(walk *w)
{
    skip(w, 8);
    uint64_t n_tensor = take(w, 8), n_key = take(w, 8);
    for (uint64_t i = 0; i < n_key && !w->failed; i++) {
        skip(w, take(w, 8));
        walk_value(w, take(w, 4));
    }
    for (uint64_t i = 0; i < n_tensor && !w->failed; i++) {
        skip(w, take(w, 8));
        uint64_t n_dim = take(w, 4);
        for (uint64_t d = 0; d < n_dim && d < 5; d++)
            (void)take(w, 8);
        (void)take(w, 4);
        (void)take(w, 8);
    }
}

/* Floats and numbers that are the edge of something. */
static uint64_t interesting(uint32_t r, uint64_t old)
{
    static const uint64_t values[] = {
        0,          1,          2,          3,           8,          16,
        31,         64,         255,        256,         4096,       65536,
        0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, INT64_MAX,  UINT64_MAX,
        0x7fc00000, 0x7f800000, 0xff800000, 0x7f7fffff,  0x3f800000, 0x00000001,
    };
    switch (r % 4) {
    case 0:
        return old + 1;
    case 1:
        return old - 1;
    case 2:
        return r % 8 < 4 ? old * 2 : old / 2;
    default:
        return values[r / 4 % (sizeof values / sizeof values[0])];
    }
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* Three in four change one number of the header, half of the others four bytes of weights. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static walk w;
    uint32_t r = seed * 2654435761u;
    w = (walk){.data = data, .size = size};
    if (size > 24 && r >> 30 != 3)
        walk_file(&w);
    if (w.n) {
        spot s = w.spots[(r & 0xffff) % w.n];
        uint64_t v = 0;
        memcpy(&v, data + s.at, s.width);
        v = interesting(r >> 16, v);
        memcpy(data + s.at, &v, s.width);
        return size;
    }
    if (size > 64 && r >> 29 & 1) {
        uint32_t v = (uint32_t)interesting(r | 3, 0);
        memcpy(data + size - 4 - r % (size / 2), &v, 4);
        return size;
    }
    return LLVMFuzzerMutate ? LLVMFuzzerMutate(data, size, max_size) : size;
}
