/* The table of tokens that the readers of a Hugging Face folder fill. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "text/hf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Room for ids behind the last when nothing else says how many there are. */
#define ID_SLACK 4096

/* What converters give tokens that no merge leads to. */
#define ADDED_SCORE (-1000.0f)

static const char *const names[TERN_HF_FILE_COUNT] = {
    [TERN_HF_SENTENCEPIECE] = "tokenizer.model",     [TERN_HF_TOKENIZER] = "tokenizer.json",
    [TERN_HF_TIKTOKEN] = "original/tokenizer.model", [TERN_HF_CONFIG] = "tokenizer_config.json",
    [TERN_HF_ADDED] = "added_tokens.json",           [TERN_HF_SPECIAL] = "special_tokens_map.json",
    [TERN_HF_GENERATION] = "generation_config.json", [TERN_HF_MODEL] = "config.json",
    [TERN_HF_JINJA] = "chat_template.jinja",         [TERN_HF_TEMPLATE] = "chat_template.json",
};

const char *tern_hf_file_name(tern_hf_file file)
{
    return names[file];
}

tern_code tern_hf_fail(const tern_hf *h, tern_hf_file file, tern_code code, const char *fmt, ...)
{
    char text[176], folder[64];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return tern_fail(h->err, code, "%s/%s: %s",
                     tern_quote(folder, sizeof folder, h->folder, strlen(h->folder)), names[file],
                     text);
}

tern_code tern_hf_no_memory(const tern_hf *h)
{
    char folder[96];
    return tern_fail(h->err, TERN_E_NOMEM, "%s: no memory for its tokenizer",
                     tern_quote(folder, sizeof folder, h->folder, strlen(h->folder)));
}

void tern_hf_limit(tern_hf *h, size_t n)
{
    if (!h->n_vocab)
        h->limit = n < INT32_MAX / 2 - ID_SLACK ? 2 * n + ID_SLACK : INT32_MAX;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

bool tern_hf_id(const json_t *v, int64_t *out)
{
    double f = json_number_value(v);
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    if (!json_is_real(v) || !(f >= -1 && f <= INT32_MAX) || f != (double)(int64_t)f)
        return false;
    *out = (int64_t)f;
    return true;
}

tern_slice tern_hf_string(const json_t *v)
{
    return (tern_slice){json_string_value(v), json_string_length(v)};
}

/* ---- tokens -------------------------------------------------------------------------------- */

static tern_code reserve(tern_hf *h, size_t n)
{
    if (n <= h->cap)
        return TERN_OK;
    size_t cap = h->cap ? h->cap : 256;
    while (cap < n)
        cap *= 2;
    tern_hf_token *v = tern_realloc(h->tokens, h->cap * sizeof *v, cap * sizeof *v);
    if (!v)
        return tern_hf_no_memory(h);
    memset(v + h->cap, 0, (cap - h->cap) * sizeof *v);
    h->tokens = v;
    h->cap = cap;
    return TERN_OK;
}

static bool same(tern_slice a, const char *text, size_t n)
{
    return a.n == n && (n == 0 || memcmp(a.p, text, n) == 0);
}

static tern_code check_text(const tern_hf *h, tern_hf_file file, int64_t id, tern_slice text)
{
    if (text.n > TERN_TOKEN_BYTES_MAX)
        return tern_hf_fail(h, file, TERN_E_FORMAT,
                            "token %lld has %zu bytes, at most %d are expected", (long long)id,
                            text.n, TERN_TOKEN_BYTES_MAX);
    return TERN_OK;
}

/* Of equal spellings the lowest id counts, as in vocab.c. */
static tern_code set(tern_hf *h, size_t id, tern_hf_token t)
{
    bool ok;
    uint32_t old;
    if (tern_map_add(&h->by_text, t.text.p, t.text.n, (uint32_t)id, &old, &ok))
        ok = true;
    if (!ok)
        return tern_hf_no_memory(h);
    h->tokens[id] = t;
    if (id >= h->n)
        h->n = id + 1;
    return TERN_OK;
}

tern_code tern_hf_put(tern_hf *h, tern_hf_file file, int64_t id, tern_slice text,
                      tern_token_attr attr, float score)
{
    char shown[48];
    if (id < 0 || (uint64_t)id >= h->limit)
        return tern_hf_fail(h, file, TERN_E_FORMAT,
                            "token '%s' has id %lld, the model has %zu tokens%s",
                            tern_quote(shown, sizeof shown, text.p, text.n), (long long)id,
                            h->limit, h->n_vocab ? "" : " at most");
    TERN_TRY(check_text(h, file, id, text));
    TERN_TRY(reserve(h, (size_t)id + 1));
    if (h->tokens[id].text.p)
        return tern_hf_fail(h, file, TERN_E_FORMAT, "id %lld is given to two tokens, '%s' is one",
                            (long long)id, tern_quote(shown, sizeof shown, text.p, text.n));
    return set(h, (size_t)id, (tern_hf_token){text, score, (uint8_t)attr, 0, false});
}

static bool begins(tern_slice s, const char *with)
{
    size_t n = strlen(with);
    return s.n >= n && memcmp(s.p, with, n) == 0;
}

static bool ends(tern_slice s, const char *with)
{
    size_t n = strlen(with);
    return s.n >= n && memcmp(s.p + s.n - n, with, n) == 0;
}

/* Spelled as control tokens are, though some folders do not mark them: then text must not become one
 * by chance. The same that converters to GGUF take for special. */
static bool looks_special(tern_slice s)
{
    static const char *const whole[] = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"};
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++)
        if (same(s, whole[i], strlen(whole[i])))
            return true;
    return (begins(s, "<|") && ends(s, "|>")) ||
           (begins(s, "<\357\275\234") && ends(s, "\357\275\234>")) ||
           (begins(s, "<unused") && ends(s, ">"));
}

tern_code tern_hf_add(tern_hf *h, tern_hf_file file, int64_t id, tern_slice text, const json_t *v,
                      bool replace)
{
    bool special = json_is_true(json_object_get(v, "special"));
    unsigned strip = (json_is_true(json_object_get(v, "lstrip")) ? TERN_STRIP_LEFT : 0u) |
                     (json_is_true(json_object_get(v, "rstrip")) ? TERN_STRIP_RIGHT : 0u);
    char shown[48];
    if (id < 0 || (!h->n_vocab && (uint64_t)id >= h->limit))
        return tern_hf_fail(h, file, TERN_E_FORMAT, "token '%s' has id %lld, expected 0 to %zu",
                            tern_quote(shown, sizeof shown, text.p, text.n), (long long)id,
                            h->limit - 1);
    if ((uint64_t)id >= h->limit || text.n == 0)
        return TERN_OK;
    if (json_is_true(json_object_get(v, "single_word")))
        return tern_hf_fail(h, file, TERN_E_UNSUPPORTED, "token '%s' is one in 'single_word' only",
                            tern_quote(shown, sizeof shown, text.p, text.n));
    TERN_TRY(check_text(h, file, id, text));
    TERN_TRY(reserve(h, (size_t)id + 1));
    tern_hf_token *t = &h->tokens[id];
    h->strips |= strip != 0;
    special |= looks_special(text);
    tern_token_attr attr = special ? TERN_TOKEN_CONTROL : TERN_TOKEN_USER;
    if (t->text.p && same(t->text, text.p, text.n)) {
        bool fixed = t->attr == TERN_TOKEN_UNKNOWN || t->attr == TERN_TOKEN_BYTE;
        if (!fixed && (special || t->attr != TERN_TOKEN_CONTROL))
            t->attr = (uint8_t)attr;
        t->strip = (uint8_t)strip;
        return TERN_OK;
    }
    if (t->text.p && !replace)
        return tern_hf_fail(h, file, TERN_E_FORMAT, "id %lld is given to two tokens, '%s' is one",
                            (long long)id, tern_quote(shown, sizeof shown, text.p, text.n));
    return set(h, (size_t)id,
               (tern_hf_token){text, ADDED_SCORE, (uint8_t)attr, (uint8_t)strip, true});
}

int32_t tern_hf_find(const tern_hf *h, const char *text, size_t n)
{
    uint32_t id;
    if (!text || !tern_map_find(&h->by_text, text, n, &id))
        return -1;
    if (same(h->tokens[id].text, text, n))
        return (int32_t)id;
    for (size_t i = 0; i < h->n; i++) /* the one of this spelling was replaced */
        if (h->tokens[i].text.p && same(h->tokens[i].text, text, n))
            return (int32_t)i;
    return -1;
}
