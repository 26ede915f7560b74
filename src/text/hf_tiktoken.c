/* tiktoken files: per line a token's bytes in base 64 and its rank, which is its id. A pair of tokens
 * joins when the two together are a token, the lowest rank first: so each way to divide a token into
 * two is a merge, in the order of ranks. */
#include "base/error.h"
#include "base/num.h"
#include "base/str.h"
#include "text/hf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_BYTES_MAX 512 /* published ones have up to 128; it bounds the work per token */
#define N_LLAMA3        128000
#define N_SPECIAL       256

/* ---- lines --------------------------------------------------------------------------------- */

static int digit64(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The bytes of s, into out with room for 3/4 of it; false if it is no base 64 of any. */
static bool decode64(tern_slice s, uint8_t *out, size_t *n_out)
{
    if (s.n == 0 || s.n % 4)
        return false;
    size_t n = 0, pad = s.p[s.n - 1] == '=' ? s.p[s.n - 2] == '=' ? 2 : 1 : 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < s.n; i++) {
        int d = i < s.n - pad ? digit64(s.p[i]) : 0;
        if (d < 0)
            return false;
        bits = bits << 6 | (uint32_t)d;
        if (i % 4 == 3)
            for (unsigned k = 0; k < 3; k++)
                out[n++] = (uint8_t)(bits >> (16 - 8 * k));
    }
    *n_out = n - pad;
    return true;
}

typedef struct line {
    tern_slice token; /* in base 64 */
    uint64_t rank;
} line;

/* The line at *at of a file, which is passed; false if it is none. */
static bool next_line(tern_slice file, size_t *at, line *l)
{
    const char *p = file.p + *at, *end = memchr(p, '\n', file.n - *at);
    size_t n = end ? (size_t)(end - p) : file.n - *at;
    *at += end ? n + 1 : n;
    if (n && p[n - 1] == '\r')
        n--;
    const char *space = memchr(p, ' ', n);
    if (!space || !tern_parse_u64(space + 1, n - (size_t)(space - p) - 1, &l->rank))
        return false;
    l->token = (tern_slice){p, (size_t)(space - p)};
    return true;
}

bool tern_hf_is_tiktoken(tern_slice file)
{
    uint8_t bytes[(TOKEN_BYTES_MAX + 2) / 3 * 3 + 3];
    size_t at = 0, n;
    line l;
    return file.n && next_line(file, &at, &l) && l.token.n <= TOKEN_BYTES_MAX &&
           decode64(l.token, bytes, &n);
}

static tern_code read_line(tern_hf *h, tern_hf_file file, const line *l, size_t index)
{
    uint8_t bytes[(TOKEN_BYTES_MAX + 2) / 3 * 3 + 3];
    size_t n = 0, len = 0;
    if (l->token.n > (TOKEN_BYTES_MAX + 2) / 3 * 4 || !decode64(l->token, bytes, &n) || !n)
        return tern_hf_fail(h, file, TERN_E_FORMAT,
                            "line %zu: its token is not 1 to %d bytes in base 64", index + 1,
                            TOKEN_BYTES_MAX);
    char *text = tern_arena_alloc(&h->arena, 2 * n);
    if (!text)
        return tern_hf_no_memory(h);
    for (size_t i = 0; i < n; i++)
        len += (size_t)tern_byte_spell(bytes[i], text + len);
    return tern_hf_put(h, file, l->rank > INT32_MAX ? INT32_MAX : (int64_t)l->rank,
                       (tern_slice){text, len}, TERN_TOKEN_NORMAL, 0.0f);
}

static tern_code read_lines(tern_hf *h, tern_hf_file file)
{
    tern_slice f = h->files[file];
    size_t index = 0;
    line l;
    for (size_t at = 0; at < f.n; index++) {
        if (!next_line(f, &at, &l))
            return tern_hf_fail(h, file, TERN_E_FORMAT, "line %zu is no token and rank", index + 1);
        TERN_TRY(read_line(h, file, &l, index));
    }
    return TERN_OK;
}

/* ---- merges -------------------------------------------------------------------------------- */

typedef struct division {
    int32_t l, r;
    size_t at; /* bytes of the left one's spelling */
} division;

static int compare(const void *a, const void *b)
{
    const division *x = a, *y = b;
    if (x->l != y->l)
        return x->l < y->l ? -1 : 1;
    return (x->r > y->r) - (x->r < y->r);
}

/* The ways to divide a token into two, by rank of the parts. */
static size_t divide(const tern_hf *h, tern_slice s, division out[TOKEN_BYTES_MAX])
{
    size_t n = 0;
    for (size_t at = 1; at < s.n; at++) {
        if (((uint8_t)s.p[at] & 0xC0) == 0x80)
            continue; /* within a character of the spelling */
        int32_t l = tern_hf_find(h, s.p, at), r = l < 0 ? -1 : tern_hf_find(h, s.p + at, s.n - at);
        if (r >= 0)
            out[n++] = (division){l, r, at};
    }
    qsort(out, n, sizeof *out, compare);
    return n;
}

static tern_code put_merge(tern_hf *h, tern_slice s, size_t at, tern_slice *out)
{
    char *text = tern_arena_alloc(&h->arena, s.n + 1);
    if (!text)
        return tern_hf_no_memory(h);
    memcpy(text, s.p, at);
    text[at] = ' ';
    memcpy(text + at + 1, s.p + at, s.n - at);
    *out = (tern_slice){text, s.n + 1};
    return TERN_OK;
}

static tern_code make_merges(tern_hf *h)
{
    division d[TOKEN_BYTES_MAX];
    size_t total = 0;
    for (size_t i = 0; i < h->n; i++)
        total += h->tokens[i].text.p ? divide(h, h->tokens[i].text, d) : 0;
    h->merges = tern_arena_calloc(&h->arena, total + 1, sizeof *h->merges);
    if (!h->merges)
        return tern_hf_no_memory(h);
    for (size_t i = 0; i < h->n; i++) {
        size_t n = h->tokens[i].text.p ? divide(h, h->tokens[i].text, d) : 0;
        for (size_t k = 0; k < n; k++)
            TERN_TRY(put_merge(h, h->tokens[i].text, d[k].at, &h->merges[h->n_merge++]));
    }
    return TERN_OK;
}

/* ---- special tokens ------------------------------------------------------------------------ */

/* Llama 3's, which stand behind its ranks; most are reserved. */
static tern_code add_llama3(tern_hf *h, tern_hf_file file)
{
    static const char *const named[] = {
        "begin_of_text",   "end_of_text",   NULL, NULL,    NULL, NULL,
        "start_header_id", "end_header_id", NULL, "eot_id"};
    size_t first = h->n;
    for (size_t i = 0, reserved = 0; i < N_SPECIAL; i++) {
        char text[48];
        const char *name = i < sizeof named / sizeof named[0] ? named[i] : NULL;
        int n = name ? snprintf(text, sizeof text, "<|%s|>", name)
                     : snprintf(text, sizeof text, "<|reserved_special_token_%zu|>", reserved++);
        char *copy = tern_arena_strdup_n(&h->arena, text, (size_t)n);
        if (!copy)
            return tern_hf_no_memory(h);
        TERN_TRY(tern_hf_add(h, file, (int64_t)(first + i), (tern_slice){copy, (size_t)n}, NULL,
                             false)); /* special by its looks */
    }
    h->bos = (int32_t)first;
    h->eos = (int32_t)first + 1;
    return TERN_OK;
}

tern_code tern_hf_tiktoken_read(tern_hf *h, tern_hf_file file)
{
    tern_slice f = h->files[file];
    h->kind = TERN_VOCAB_BPE;
    h->limit = h->n_vocab ? h->n_vocab : f.n / 4 + 1; /* a line has 6 bytes */
    TERN_TRY(read_lines(h, file));
    tern_hf_limit(h, h->n);
    TERN_TRY(make_merges(h));
    bool llama3 = h->n == N_LLAMA3 || !h->files[TERN_HF_CONFIG].p;
    h->pre = llama3 ? "llama-bpe" : "a tiktoken file, which does not say";
    return llama3 && !h->files[TERN_HF_CONFIG].p ? add_llama3(h, file) : TERN_OK;
}
