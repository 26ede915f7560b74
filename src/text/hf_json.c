/* tokenizer.json: byte-level BPE as it stands, and BPE over characters with U+2581 for a space as
 * SentencePiece's, whose merges become scores of tokens. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/utf8.h"
#include "text/hf.h"

#include <string.h>

#define FILE_ID TERN_HF_TOKENIZER

/* ---- what kind it is ----------------------------------------------------------------------- */

/* Some files do not say the type of their model. */
static const char *model_type(const json_t *model)
{
    const char *type = json_string_value(json_object_get(model, "type"));
    if (type)
        return type;
    if (json_object_get(model, "merges"))
        return "BPE";
    return json_is_array(json_object_get(model, "vocab")) ? "Unigram" : "WordPiece";
}

static tern_code check_model(const tern_hf *h, const json_t *model)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    char shown[48];
    if (!json_is_object(model))
        return tern_hf_fail(h, FILE_ID, TERN_E_FORMAT, "no object 'model'");
    const char *type = model_type(model);
    if (strcmp(type, "BPE") != 0)
        return tern_hf_fail(h, FILE_ID, TERN_E_UNSUPPORTED,
                            "its model is of type '%s', this build knows 'BPE'",
                            tern_quote(shown, sizeof shown, type, strlen(type)));
    for (size_t i = 0; i < 2; i++)
        if (json_string_length(json_object_get(model, affixes[i])))
            return tern_hf_fail(h, FILE_ID, TERN_E_UNSUPPORTED, "its model has a %s", affixes[i]);
    if (!json_is_object(json_object_get(model, "vocab")))
        return tern_hf_fail(h, FILE_ID, TERN_E_FORMAT, "no object 'model.vocab'");
    if (!json_is_array(json_object_get(model, "merges")))
        return tern_hf_fail(h, FILE_ID, TERN_E_FORMAT, "no list 'model.merges'");
    return TERN_OK;
}

static tern_code unknown_change(const tern_hf *h, const char *changes)
{
    char shown[96];
    return tern_hf_fail(h, FILE_ID, TERN_E_UNSUPPORTED,
                        "text is prepared by '%s', which this build does not know",
                        tern_quote(shown, sizeof shown, changes, strlen(changes)));
}

static tern_code set_kind(tern_hf *h, const json_t *model, const tern_hf_form *f)
{
    h->nfc = f->nfc;
    h->ignore_merges =
        json_is_true(json_object_get(model, "ignore_merges")) ? TERN_HF_YES : TERN_HF_NO;
    if (f->changes.len)
        return unknown_change(h, tern_str_get(&f->changes));
    if (f->byte_level) {
        if (f->to_space_mark || f->prefix)
            return unknown_change(h, "ByteLevel with " TERN_SPM_SPACE);
        h->kind = TERN_VOCAB_BPE;
        h->pre = tern_hf_form_pre(h, f);
        return h->pre ? TERN_OK : tern_hf_no_memory(h);
    }
    if (!f->to_space_mark)
        return unknown_change(h, "neither ByteLevel nor " TERN_SPM_SPACE " for a space");
    if (f->passes.len)
        return unknown_change(h, tern_str_get(&f->passes));
    if (h->ignore_merges == TERN_HF_YES)
        return unknown_change(h, "ignore_merges with " TERN_SPM_SPACE " for a space");
    h->ignore_merges = TERN_HF_UNSAID;
    h->kind = TERN_VOCAB_SPM;
    h->space_prefix = f->prefix ? TERN_HF_YES : TERN_HF_NO;
    h->metaspace = f->metaspace;
    return TERN_OK;
}

/* ---- tokens -------------------------------------------------------------------------------- */

static tern_code read_vocab(tern_hf *h, const json_t *model)
{
    bool bytes = h->kind == TERN_VOCAB_SPM && json_is_true(json_object_get(model, "byte_fallback"));
    const char *text;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)json_object_get(model, "vocab"), text, v)
    {
        int64_t id;
        char shown[48];
        tern_slice s = {text, strlen(text)};
        if (!json_is_integer(v) || !tern_hf_id(v, &id))
            return tern_hf_fail(h, FILE_ID, TERN_E_FORMAT, "the id of token '%s' is no integer",
                                tern_quote(shown, sizeof shown, s.p, s.n));
        bool byte = bytes && s.n == 6 && memcmp(text, "<0x", 3) == 0 && text[5] == '>';
        TERN_TRY(tern_hf_put(h, FILE_ID, id, s, byte ? TERN_TOKEN_BYTE : TERN_TOKEN_NORMAL, 0.0f));
    }
    return TERN_OK;
}

static tern_code read_added(tern_hf *h, const json_t *list)
{
    if (!list || json_is_null(list))
        return TERN_OK;
    if (!json_is_array(list))
        return tern_hf_fail(h, FILE_ID, TERN_E_FORMAT, "'added_tokens' is no list");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        tern_slice s = tern_hf_string(json_object_get(v, "content"));
        int64_t id;
        if (!s.p || !tern_hf_id(json_object_get(v, "id"), &id))
            return tern_hf_fail(h, FILE_ID, TERN_E_FORMAT,
                                "added token %zu has no 'content' or no 'id'", i);
        TERN_TRY(tern_hf_add(h, FILE_ID, id, s, v, false));
    }
    return TERN_OK;
}

/* ---- merges -------------------------------------------------------------------------------- */

/* The two sides of a merge, "left right" or ["left", "right"]. */
static bool sides(const json_t *v, tern_slice *l, tern_slice *r)
{
    if (json_is_array(v)) {
        *l = tern_hf_string(json_array_get(v, 0));
        *r = tern_hf_string(json_array_get(v, 1));
        if (json_array_size(v) != 2 || !l->p || !r->p)
            return false;
    } else {
        tern_slice s = tern_hf_string(v);
        const char *space = s.n > 2 ? memchr(s.p + 1, ' ', s.n - 1) : NULL;
        if (!space)
            return false;
        *l = (tern_slice){s.p, (size_t)(space - s.p)};
        *r = (tern_slice){space + 1, s.n - l->n - 1};
    }
    return l->n && r->n && !memchr(l->p + 1, ' ', l->n - 1) && !memchr(r->p, ' ', r->n);
}

static tern_code bad_merge(const tern_hf *h, size_t i, const char *what)
{
    return tern_hf_fail(h, FILE_ID, TERN_E_FORMAT, "merge %zu is not %s", i, what);
}

/* All of them as "left right". */
static tern_code read_merges(tern_hf *h, const json_t *list)
{
    size_t n = json_array_size(list);
    tern_slice *v = tern_arena_calloc(&h->arena, n + 1, sizeof *v), l, r;
    if (!v)
        return tern_hf_no_memory(h);
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(list, i);
        if (!sides(m, &l, &r))
            return bad_merge(h, i, "two texts without spaces");
        v[i] = tern_hf_string(m);
        if (v[i].p)
            continue;
        char *text = tern_arena_alloc(&h->arena, l.n + r.n + 1);
        if (!text)
            return tern_hf_no_memory(h);
        memcpy(text, l.p, l.n);
        text[l.n] = ' ';
        memcpy(text + l.n + 1, r.p, r.n);
        v[i] = (tern_slice){text, l.n + r.n + 1};
    }
    h->merges = v;
    h->n_merge = n;
    return TERN_OK;
}

/* What a score can say of the merges that give one token. */
typedef struct made {
    uint32_t first, last; /* of them in the list */
    uint32_t n;
} made;

static bool is_plain(const tern_hf_token *t)
{
    return !t->added && (t->attr == TERN_TOKEN_NORMAL || t->attr == TERN_TOKEN_USER);
}

/* In how many ways two tokens make this one. */
static size_t count_splits(const tern_hf *h, tern_slice s)
{
    size_t n = 0, at = 0;
    uint32_t cp;
    while (at < s.n) {
        int len = tern_utf8_decode(s.p + at, s.n - at, &cp);
        at += len ? (size_t)len : 1;
        if (at >= s.n)
            break;
        int32_t l = tern_hf_find(h, s.p, at);
        int32_t r = l < 0 ? -1 : tern_hf_find(h, s.p + at, s.n - at);
        n += r >= 0 && is_plain(&h->tokens[l]) && is_plain(&h->tokens[r]);
    }
    return n;
}

/* Whether joining by the scores of tokens does what the merges do: all pairs that make a token are
 * merges, and those that make the same one follow each other. Added tokens are cut out of a text before
 * anything is joined. */
static bool scores_suffice(const tern_hf *h, const made *m)
{
    for (size_t i = 0; i < h->n; i++) {
        const tern_hf_token *t = &h->tokens[i];
        if (!t->text.p || t->attr != TERN_TOKEN_NORMAL)
            continue;
        size_t n = m[i].n ? m[i].last - m[i].first + 1 : 0;
        if (n != m[i].n || n != count_splits(h, t->text))
            return false;
    }
    return true;
}

/* Scores: minus the place of a token's first merge. *exact: they do what the merges do. */
static tern_code score_merges(tern_hf *h, const json_t *list, made *m, char *whole, bool *exact)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        tern_slice l, r;
        if (!sides(json_array_get(list, i), &l, &r))
            return bad_merge(h, i, "two texts without spaces");
        if (l.n + r.n > TERN_TOKEN_BYTES_MAX)
            return bad_merge(h, i, "of two tokens that make a third");
        memcpy(whole, l.p, l.n);
        memcpy(whole + l.n, r.p, r.n);
        int32_t id = tern_hf_find(h, whole, l.n + r.n);
        if (id < 0 || tern_hf_find(h, l.p, l.n) < 0 || tern_hf_find(h, r.p, r.n) < 0)
            return bad_merge(h, i, "of two tokens that make a third");
        if (!m[id].n++) {
            m[id].first = (uint32_t)i;
            h->tokens[id].score = 0.0f - (float)i;
        }
        m[id].last = (uint32_t)i;
    }
    *exact = json_array_size(list) < (1u << 24) && scores_suffice(h, m);
    return TERN_OK;
}

static tern_code read_scores(tern_hf *h, const json_t *list)
{
    bool exact = false;
    made *m = tern_calloc(h->n + 1, sizeof *m);
    char *whole = tern_alloc(TERN_TOKEN_BYTES_MAX);
    tern_code rc = m && whole ? score_merges(h, list, m, whole, &exact) : tern_hf_no_memory(h);
    tern_free(m);
    tern_free(whole);
    TERN_TRY(rc);
    return exact ? TERN_OK : read_merges(h, list);
}

/* Where text is cut before each U+2581 no token may have one further on, or joining would differ. */
static tern_code check_cuts(const tern_hf *h)
{
    for (size_t i = 0; i < h->n; i++) {
        const tern_hf_token *t = &h->tokens[i];
        if (t->text.n > TERN_SPM_SPACE_LEN && t->attr == TERN_TOKEN_NORMAL &&
            memmem(t->text.p + 1, t->text.n - 1, TERN_SPM_SPACE, TERN_SPM_SPACE_LEN))
            return unknown_change(h, "Metaspace with split, and tokens of several words");
    }
    return TERN_OK;
}

/* ---- BOS and EOS --------------------------------------------------------------------------- */

/* The id of an entry {"SpecialToken": {"id": "<s>"}} of a template; -1 for one of text. */
static int32_t special_of(const tern_hf *h, const json_t *entry, const json_t *specials)
{
    const json_t *v = json_object_get(entry, "SpecialToken");
    tern_slice name = tern_hf_string(json_object_get(v, "id"));
    int64_t id;
    if (!name.p)
        return -1;
    const json_t *ids = json_object_get(json_object_get(specials, name.p), "ids");
    if (json_array_size(ids) == 1 && tern_hf_id(json_array_get(ids, 0), &id) && id >= 0 &&
        (uint64_t)id < h->n && h->tokens[id].text.p)
        return (int32_t)id;
    return tern_hf_find(h, name.p, name.n);
}

/* What stands before and behind a text; keys have room for one token each. */
static tern_code read_template(tern_hf *h, const json_t *step)
{
    const json_t *list = json_object_get(step, "single");
    const json_t *specials = json_object_get(step, "special_tokens");
    size_t n = json_array_size(list), text = 0;
    while (text < n && !json_object_get(json_array_get(list, text), "Sequence"))
        text++;
    if (!json_is_array(list) || text == n)
        return tern_hf_fail(h, FILE_ID, TERN_E_FORMAT, "a TemplateProcessing without a text");
    if (text > 1 || n - text > 2)
        return tern_hf_fail(h, FILE_ID, TERN_E_UNSUPPORTED,
                            "the template puts %zu tokens before and %zu behind a text, "
                            "at most one is supported",
                            text, n - text - 1);
    int32_t first = text ? special_of(h, json_array_get(list, 0), specials) : -1;
    int32_t last = n - text > 1 ? special_of(h, json_array_get(list, n - 1), specials) : -1;
    if ((text && first < 0) || (n - text > 1 && last < 0))
        return tern_hf_fail(h, FILE_ID, TERN_E_FORMAT, "the template names no token");
    h->add_bos = text ? TERN_HF_YES : TERN_HF_NO;
    h->add_eos = n - text > 1 ? TERN_HF_YES : TERN_HF_NO;
    h->first = first;
    h->last = last;
    return TERN_OK;
}

static tern_code read_post(tern_hf *h, const json_t *post)
{
    const json_t *list = json_object_get(post, "processors");
    size_t n = json_is_array(list) ? json_array_size(list) : 1;
    char shown[48];
    for (size_t i = 0; i < n; i++) {
        const json_t *step = json_is_array(list) ? json_array_get(list, i) : post;
        const char *type = json_string_value(json_object_get(step, "type"));
        if (type && strcmp(type, "TemplateProcessing") == 0)
            TERN_TRY(read_template(h, step));
        else if (type && strcmp(type, "ByteLevel") != 0)
            return tern_hf_fail(h, FILE_ID, TERN_E_UNSUPPORTED,
                                "its post_processor is a '%s', this build knows "
                                "TemplateProcessing and ByteLevel",
                                tern_quote(shown, sizeof shown, type, strlen(type)));
    }
    return TERN_OK;
}

/* ---- the file ------------------------------------------------------------------------------ */

static tern_code read_model(tern_hf *h, const json_t *root, const tern_hf_form *f)
{
    const json_t *model = json_object_get(root, "model"), *added;
    const json_t *merges = json_object_get(model, "merges");
    TERN_TRY(set_kind(h, model, f));
    size_t n = json_object_size(json_object_get(model, "vocab"));
    added = json_object_get(root, "added_tokens");
    tern_hf_limit(h, n + json_array_size(added));
    if (!tern_map_reserve(&h->by_text, n))
        return tern_hf_no_memory(h);
    TERN_TRY(read_vocab(h, model));
    TERN_TRY(read_added(h, added));
    tern_slice unk = tern_hf_string(json_object_get(model, "unk_token"));
    h->unk = tern_hf_find(h, unk.p, unk.n);
    if (h->kind == TERN_VOCAB_BPE)
        return read_merges(h, merges);
    if (h->unk >= 0)
        h->tokens[h->unk].attr = TERN_TOKEN_UNKNOWN;
    if (f->cuts_at_space_mark)
        TERN_TRY(check_cuts(h));
    return read_scores(h, merges);
}

tern_code tern_hf_json_read(tern_hf *h)
{
    const json_t *root = h->json[FILE_ID];
    tern_hf_form f;
    if (!json_is_object(root))
        return tern_hf_fail(h, FILE_ID, TERN_E_FORMAT, "no JSON object");
    TERN_TRY(check_model(h, json_object_get(root, "model")));
    tern_code rc = tern_hf_form_read(h, root, &f);
    if (rc == TERN_OK)
        rc = read_model(h, root, &f);
    if (rc == TERN_OK)
        rc = read_post(h, json_object_get(root, "post_processor"));
    tern_hf_form_done(&f);
    return rc;
}
