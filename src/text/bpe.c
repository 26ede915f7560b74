#include "text/bpe.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/str.h"

#include <string.h>

struct tern_bpe_rule {
    uint64_t pair; /* left id, right id */
    uint32_t rank; /* index in the file's list */
    int32_t id;    /* of the whole; -1 marks an empty slot */
};

static size_t slot_of(const tern_bpe *b, uint64_t pair)
{
    /* Fibonacci hashing: the product's high bits depend on all bits of both ids. */
    size_t i = (size_t)(pair * 0x9E3779B97F4A7C15u >> 20) & (b->cap - 1);
    while (b->rules[i].id >= 0 && b->rules[i].pair != pair)
        i = (i + 1) & (b->cap - 1);
    return i;
}

bool tern_bpe_join(const void *bpe, const tern_symbol *l, const tern_symbol *r, uint32_t *rank,
                   int32_t *id)
{
    const tern_bpe *b = bpe;
    /* A symbol that is no token has id -1, which is in no pair. */
    const tern_bpe_rule *p =
        &b->rules[slot_of(b, (uint64_t)(uint32_t)l->id << 32 | (uint32_t)r->id)];
    if (p->id < 0)
        return false;
    *rank = p->rank;
    *id = p->id;
    return true;
}

static tern_code table_alloc(tern_bpe *b, size_t n_rule, tern_err *err)
{
    b->cap = 16;
    while (b->cap / 4 * 3 < n_rule)
        b->cap *= 2;
    size_t bytes;
    if (!tern_mul_size(b->cap, sizeof *b->rules, &bytes) || !(b->rules = tern_alloc(bytes)))
        return tern_fail(err, TERN_E_NOMEM, "%s: no memory for %zu merges", b->vocab->path, n_rule);
    for (size_t i = 0; i < b->cap; i++)
        b->rules[i].id = -1;
    return TERN_OK;
}

/* The tokens of "left right", divided at the first space after the first byte, and of the two
 * together; false if one does not exist. whole holds max_len bytes. */
static bool rule_parse(const tern_vocab *v, tern_slice s, char *whole, uint32_t *l, uint32_t *r,
                       uint32_t *w)
{
    const char *space = s.n > 2 ? memchr(s.p + 1, ' ', s.n - 1) : NULL;
    if (!space || s.n - 1 > v->max_len)
        return false;
    size_t n_left = (size_t)(space - s.p), n_right = s.n - n_left - 1;
    memcpy(whole, s.p, n_left);
    memcpy(whole + n_left, space + 1, n_right);
    return tern_map_find(&v->by_text, s.p, n_left, l) &&
           tern_map_find(&v->by_text, space + 1, n_right, r) &&
           tern_map_find(&v->by_text, whole, n_left + n_right, w);
}

static tern_code rule_add(tern_bpe *b, tern_slice s, size_t index, char *whole, tern_err *err)
{
    const tern_vocab *v = b->vocab;
    uint32_t l, r, w;
    char name[96];
    if (!rule_parse(v, s, whole, &l, &r, &w))
        return tern_fail(err, TERN_E_FORMAT,
                         "%s: merge %zu, '%s', is not of two tokens that make a third", v->path,
                         index, tern_quote(name, sizeof name, s.p, s.n));
    /* Plain text must never become a control token, so no rule may lead to one. */
    if (!tern_vocab_is_plain(v, (int32_t)w))
        return TERN_OK;
    tern_bpe_rule *p = &b->rules[slot_of(b, (uint64_t)l << 32 | r)];
    if (p->id < 0) /* of equal merges the first has the better rank */
        *p = (tern_bpe_rule){(uint64_t)l << 32 | r, (uint32_t)index, (int32_t)w};
    return TERN_OK;
}

tern_code tern_bpe_init(tern_bpe *b, const tern_vocab *v, const tern_dir *d, bool ignore_merges,
                        tern_err *err)
{
    static const char key[] = "tokenizer.ggml.merges";
    *b = (tern_bpe){.vocab = v, .ignore_merges = ignore_merges};
    const tern_meta *m = tern_dir_meta_find(d, key);
    if (!m)
        return tern_fail(err, TERN_E_FORMAT, "%s: no %s, which a 'gpt2' tokenizer needs", v->path,
                         key);
    if (m->type != TERN_META_ARRAY || m->elem != TERN_META_STRING || m->n_elem > INT32_MAX)
        return tern_fail(err, TERN_E_FORMAT, "%s: %s at %zu is not an array of strings", v->path,
                         key, m->offset);
    tern_code rc = TERN_OK;
    char *whole = tern_alloc(v->max_len + 1);
    if (!whole)
        return tern_fail(err, TERN_E_NOMEM, "%s: no memory for merges", v->path);
    TERN_TRY_GOTO(table_alloc(b, m->n_elem, err));
    for (size_t i = 0; i < m->n_elem; i++)
        TERN_TRY_GOTO(rule_add(b, m->strings[i], i, whole, err));
fail:
    tern_free(whole);
    return rc;
}

void tern_bpe_done(tern_bpe *b)
{
    tern_free(b->rules);
    *b = (tern_bpe){0};
}

/* The token spelled as the whole word; -1 if there is none. */
static int32_t word_find(const tern_bpe *b, const char *word, size_t n)
{
    char spelled[TERN_TOKEN_BYTES_MAX + 2];
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        len += (size_t)tern_byte_spell((uint8_t)word[i], spelled + len);
        if (len > b->vocab->max_len)
            return -1;
    }
    return tern_vocab_plain_find(b->vocab, spelled, len);
}

tern_code tern_bpe_encode(const tern_bpe *b, tern_merge *m, const char *word, size_t n,
                          tern_ids *out, tern_err *err)
{
    const tern_vocab *v = b->vocab;
    int32_t whole = b->ignore_merges ? word_find(b, word, n) : -1;
    if (whole >= 0)
        return tern_ids_push(out, whole, err);
    TERN_TRY(tern_merge_reset(m, n, err));
    for (size_t i = 0; i < n; i++)
        tern_merge_push(m, i, 1, v->byte_id[(uint8_t)word[i]]);
    TERN_TRY(tern_merge_run(m, tern_bpe_join, b, err));
    for (uint32_t i = n ? 0 : TERN_SYMBOL_NONE; i != TERN_SYMBOL_NONE; i = m->sym[i].next) {
        int32_t id = m->sym[i].id >= 0 ? m->sym[i].id : v->unk;
        if (id >= 0)
            TERN_TRY(tern_ids_push(out, id, err));
    }
    return TERN_OK;
}
