#include "text/spm.h"
#include "base/error.h"
#include "base/utf8.h"

#include <string.h>

typedef struct spm_text {
    const tern_vocab *vocab;
    const char *text;
} spm_text;

/* Higher scores first: the float's bits as a number that falls where it rises. */
static uint32_t rank_of(float score)
{
    uint32_t u;
    score += 0.0f; /* -0 and 0 are one score */
    memcpy(&u, &score, sizeof u);
    return u >> 31 ? u : ~(u | 0x80000000u);
}

static bool rule(const void *ctx, const tern_symbol *l, const tern_symbol *r, uint32_t *rank,
                 int32_t *id)
{
    const spm_text *t = ctx;
    *id = tern_vocab_plain_find(t->vocab, t->text + l->at, (size_t)l->len + r->len);
    if (*id < 0)
        return false;
    *rank = rank_of(t->vocab->score[*id]);
    return true;
}

static void escape(tern_str *s, tern_spm_opts opts, const char *text, size_t n)
{
    tern_str_clear(s);
    while (opts.squeeze && n && text[0] == ' ')
        text++, n--;
    while (opts.squeeze && n && text[n - 1] == ' ')
        n--;
    if (opts.space_prefix && n && !(opts.not_twice && text[0] == ' '))
        tern_str_put(s, TERN_SPM_SPACE, TERN_SPM_SPACE_LEN);
    for (size_t i = 0; i < n;) {
        const char *space = memchr(text + i, ' ', n - i);
        size_t end = space ? (size_t)(space - text) : n;
        tern_str_put(s, text + i, end - i);
        if (space)
            tern_str_put(s, TERN_SPM_SPACE, TERN_SPM_SPACE_LEN);
        i = end + (space != NULL);
        while (opts.squeeze && i < n && text[i] == ' ')
            i++;
    }
}

static tern_code put_bytes(const tern_vocab *v, const char *p, size_t n, tern_ids *out,
                           tern_err *err)
{
    bool all = true;
    for (size_t i = 0; i < n; i++)
        all &= v->byte_id[(uint8_t)p[i]] >= 0;
    if (!all)
        return v->unk >= 0 ? tern_ids_push(out, v->unk, err) : TERN_OK;
    for (size_t i = 0; i < n; i++)
        TERN_TRY(tern_ids_push(out, v->byte_id[(uint8_t)p[i]], err));
    return TERN_OK;
}

/* Length of the part of p[0..n) that no token crosses the end of: where tokens are words or pieces of
 * words, up to a space behind another character. Exact, and a heap for each word is much faster
 * than one for all. */
static size_t part_len(const tern_vocab *v, const char *p, size_t n)
{
    if (!v->words)
        return n;
    bool other = false;
    for (size_t i = 0; i < n;) {
        bool space = n - i >= TERN_SPM_SPACE_LEN && p[i] == TERN_SPM_SPACE[0] &&
                     memcmp(p + i, TERN_SPM_SPACE, TERN_SPM_SPACE_LEN) == 0;
        if (space && other)
            return i;
        other |= !space;
        i += space ? TERN_SPM_SPACE_LEN : 1;
    }
    return n;
}

static tern_code encode_part(const tern_vocab *v, const tern_bpe *merges, tern_merge *m,
                             const char *p, size_t n, tern_ids *out, tern_err *err)
{
    TERN_TRY(tern_merge_reset(m, n, err));
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        int got = tern_utf8_decode(p + i, n - i, &cp);
        size_t step = got ? (size_t)got : 1; /* invalid bytes are symbols of their own */
        tern_merge_push(m, i, step, tern_vocab_plain_find(v, p + i, step));
        i += step;
    }
    spm_text t = {v, p};
    TERN_TRY(merges ? tern_merge_run(m, tern_bpe_join, merges, err)
                    : tern_merge_run(m, rule, &t, err));
    for (uint32_t i = n ? 0 : TERN_SYMBOL_NONE; i != TERN_SYMBOL_NONE; i = m->sym[i].next) {
        const tern_symbol *s = &m->sym[i];
        if (s->id >= 0)
            TERN_TRY(tern_ids_push(out, s->id, err));
        else
            TERN_TRY(put_bytes(v, p + s->at, s->len, out, err));
    }
    return TERN_OK;
}

tern_code tern_spm_encode(const tern_vocab *v, tern_spm_opts opts, tern_merge *m, tern_str *escaped,
                          const char *text, size_t n, tern_ids *out, tern_err *err)
{
    escape(escaped, opts, text, n);
    if (escaped->failed)
        return tern_fail(err, TERN_E_NOMEM, "no memory to tokenise %zu bytes", n);
    const char *p = tern_str_get(escaped), *end = p + escaped->len;
    while (p < end) {
        size_t len = part_len(v, p, (size_t)(end - p));
        TERN_TRY(encode_part(v, opts.merges, m, p, len, out, err));
        p += len;
    }
    return TERN_OK;
}
