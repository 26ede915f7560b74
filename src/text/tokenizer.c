/* Text to ids: special tokens are cut out, what is left goes to the vocabulary's own algorithm. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "base/utf8.h"
#include "text/bpe.h"
#include "text/normal.h"
#include "text/pretok.h"
#include "text/special.h"
#include "text/spm.h"

#include <string.h>

/* With SentencePiece's three bytes for a space positions still fit 32 bits. */
#define TEXT_BYTES_MAX ((size_t)1 << 28)

struct tern_tokenizer {
    tern_tokenizer_info info;
    tern_vocab vocab;
    tern_special_set user, all; /* by whether control tokens are parsed */
    tern_pretok *pretok;        /* owned; NULL for SentencePiece */
    tern_bpe bpe;
    tern_spm_opts spm;
    uint8_t *strip;       /* [n_vocab] owned; NULL: no token takes white space along */
    bool nfc;             /* text is composed first */
    bool prefix_at_start; /* the added space stands before the whole text only */
};

/* What one call needs. */
typedef struct scratch {
    tern_merge merge;
    tern_pieces pieces;
    tern_str escaped, composed;
    const char *mark; /* borrowed; see tern_tokenize_marked; NULL: none */
} scratch;

/* ---- creation ---------------------------------------------------------------------------- */

static bool slice_is(tern_slice s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

/* The pre-tokeniser's name: the caller's, else the file's, else what such files were made with. */
static tern_code pre_name(const tern_dir *d, const char *pre_override, tern_slice *out,
                          tern_err *err)
{
    bool found;
    if (pre_override) {
        *out = (tern_slice){pre_override, strlen(pre_override)};
        return TERN_OK;
    }
    TERN_TRY(tern_dir_get_str(d, "tokenizer.ggml.pre", out, &found, err));
    if (found && out->n)
        return TERN_OK;
    /* The converters of the bitnet families write none and mean Llama 3's. */
    tern_slice arch = {"", 0};
    TERN_TRY(tern_dir_get_str(d, "general.architecture", &arch, NULL, err));
    bool bitnet = arch.n >= 6 && memcmp(arch.p, "bitnet", 6) == 0;
    *out = bitnet ? (tern_slice){"llama-bpe", 9} : (tern_slice){"default", 7};
    return TERN_OK;
}

static tern_code bpe_init(tern_tokenizer *t, const tern_dir *d, const char *pre_override,
                          tern_err *err)
{
    tern_slice pre;
    bool ignore_merges;
    char name[112];
    TERN_TRY(pre_name(d, pre_override, &pre, err));
    tern_code rc = tern_pretok_new(pre.p, pre.n, &t->pretok, err);
    if (rc == TERN_E_UNSUPPORTED)
        return tern_fail(err, rc,
                         "%s: pre-tokeniser '%s' is not known; choose one with --pre, for example "
                         "--pre llama-bpe",
                         d->path, tern_quote(name, sizeof name, pre.p, pre.n));
    TERN_TRY(rc);
    t->info.model = "gpt2";
    t->info.pre = tern_pretok_name_get(t->pretok);
    t->info.add_bos = tern_pretok_adds_bos(t->pretok);
    ignore_merges = tern_pretok_ignores_merges(t->pretok);
    TERN_TRY(tern_dir_get_bool(d, "tokenizer.ggml.ignore_merges", &ignore_merges, NULL, err));
    return tern_bpe_init(&t->bpe, &t->vocab, d, ignore_merges, err);
}

static tern_code spm_init(tern_tokenizer *t, const tern_dir *d, tern_err *err)
{
    bool by_merges = false;
    t->info.model = "llama";
    t->info.pre = "";
    t->info.add_bos = true;
    t->spm.space_prefix = true;
    TERN_TRY(
        tern_dir_get_bool(d, "tokenizer.ggml.add_space_prefix", &t->spm.space_prefix, NULL, err));
    TERN_TRY(tern_dir_get_bool(d, "tokenizer.ggml.remove_extra_whitespaces", &t->spm.squeeze, NULL,
                               err));
    tern_slice metaspace;
    TERN_TRY(tern_dir_get_str(d, "tokenizer.ggml.metaspace", &metaspace, &t->spm.not_twice, err));
    t->prefix_at_start = t->spm.not_twice && slice_is(metaspace, "first");
    /* Merges alone mean nothing: files have them beside the scores that they were made from. */
    TERN_TRY(tern_dir_get_bool(d, "tokenizer.ggml.join_by_merges", &by_merges, NULL, err));
    if (!by_merges)
        return TERN_OK;
    t->spm.merges = &t->bpe;
    return tern_bpe_init(&t->bpe, &t->vocab, d, false, err);
}

/* What white space tokens take along, where the file says so. */
static tern_code read_strip(tern_tokenizer *t, const tern_dir *d, tern_err *err)
{
    static const char key[] = "tokenizer.ggml.token_strip";
    const tern_meta *m = tern_dir_meta_find(d, key);
    if (!m)
        return TERN_OK;
    if (m->type != TERN_META_ARRAY || m->elem != TERN_META_U8 || m->n_elem != t->vocab.n)
        return tern_fail(err, TERN_E_FORMAT, "%s: %s at %zu is not an array of %zu bytes", d->path,
                         key, m->offset, t->vocab.n);
    t->strip = tern_alloc(m->n_elem);
    if (!t->strip)
        return tern_fail(err, TERN_E_NOMEM, "%s: no memory for the tokenizer", d->path);
    memcpy(t->strip, m->elems, m->n_elem);
    return TERN_OK;
}

static void fill_info(tern_tokenizer *t)
{
    const tern_vocab *v = &t->vocab;
    tern_tokenizer_info *i = &t->info;
    i->n_vocab = (int)v->n;
    i->bos = v->bos;
    i->eos = v->eos;
    i->eot = v->eot;
    i->unk = v->unk;
    i->pad = v->pad;
    i->add_bos = i->add_bos && v->bos >= 0;
    i->add_eos = i->add_eos && v->eos >= 0;
}

tern_code tern_tokenizer_new(const tern_dir *d, const char *pre_override, tern_tokenizer **out,
                             tern_err *err)
{
    tern_slice model;
    char name[64];
    bool found;
    TERN_TRY(tern_dir_get_str(d, "tokenizer.ggml.model", &model, &found, err));
    if (!found)
        return tern_fail(err, TERN_E_FORMAT,
                         "%s: no tokenizer.ggml.model: the file has no vocabulary", d->path);
    bool bpe = slice_is(model, "gpt2");
    if (!bpe && !slice_is(model, "llama"))
        return tern_fail(err, TERN_E_UNSUPPORTED,
                         "%s: tokenizer.ggml.model is '%s', this build knows 'gpt2' and 'llama'",
                         d->path, tern_quote(name, sizeof name, model.p, model.n));
    tern_code rc = TERN_OK;
    tern_tokenizer *t = tern_calloc(1, sizeof *t);
    if (!t)
        return tern_fail(err, TERN_E_NOMEM, "%s: no memory for the tokenizer", d->path);
    TERN_TRY_GOTO(tern_vocab_init(&t->vocab, bpe ? TERN_VOCAB_BPE : TERN_VOCAB_SPM, d, err));
    TERN_TRY_GOTO(bpe ? bpe_init(t, d, pre_override, err) : spm_init(t, d, err));
    TERN_TRY_GOTO(tern_dir_get_bool(d, "tokenizer.ggml.normalizer.nfc", &t->nfc, NULL, err));
    TERN_TRY_GOTO(read_strip(t, d, err));
    TERN_TRY_GOTO(tern_special_init(&t->user, &t->vocab, false, err));
    TERN_TRY_GOTO(tern_special_init(&t->all, &t->vocab, true, err));
    TERN_TRY_GOTO(
        tern_dir_get_bool(d, "tokenizer.ggml.add_bos_token", &t->info.add_bos, NULL, err));
    TERN_TRY_GOTO(
        tern_dir_get_bool(d, "tokenizer.ggml.add_eos_token", &t->info.add_eos, NULL, err));
    fill_info(t);
    *out = t;
    return TERN_OK;
fail:
    tern_tokenizer_free(t);
    return rc;
}

void tern_tokenizer_free(tern_tokenizer *t)
{
    if (!t)
        return;
    tern_bpe_done(&t->bpe);
    tern_pretok_free(t->pretok);
    tern_special_done(&t->user);
    tern_special_done(&t->all);
    tern_vocab_done(&t->vocab);
    tern_free(t->strip);
    tern_free(t);
}

/* ---- look-ups ---------------------------------------------------------------------------- */

static bool is_id(const tern_tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->vocab.n;
}

const tern_tokenizer_info *tern_tokenizer_info_get(const tern_tokenizer *t)
{
    return &t->info;
}

tern_token_attr tern_token_attr_get(const tern_tokenizer *t, int32_t id)
{
    return is_id(t, id) ? (tern_token_attr)t->vocab.attr[id] : TERN_TOKEN_UNUSED;
}

bool tern_token_is_eog(const tern_tokenizer *t, int32_t id)
{
    return is_id(t, id) && t->vocab.eog[id];
}

tern_slice tern_token_text(const tern_tokenizer *t, int32_t id)
{
    return is_id(t, id) ? t->vocab.text[id] : (tern_slice){"", 0};
}

tern_slice tern_token_bytes(const tern_tokenizer *t, int32_t id)
{
    return is_id(t, id) ? t->vocab.bytes[id] : (tern_slice){"", 0};
}

int32_t tern_token_find(const tern_tokenizer *t, const char *text, size_t n)
{
    uint32_t id;
    return tern_map_find(&t->vocab.by_text, text, n, &id) ? (int32_t)id : -1;
}

bool tern_tokenizer_pads(const tern_tokenizer *t)
{
    return t->spm.space_prefix;
}

/* ---- tokenising -------------------------------------------------------------------------- */

/* Length of the valid UTF-8 that text begins with. */
static size_t valid_run(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint32_t cp;
        int len = (uint8_t)text[i] < 0x80 ? 1 : tern_utf8_decode(text + i, n - i, &cp);
        if (!len)
            break;
        i += (size_t)len;
    }
    return i;
}

/* Text without special tokens, byte-level: words of valid runs, and each invalid byte by itself. */
static tern_code encode_words(const tern_tokenizer *t, scratch *s, const char *text, size_t n,
                              tern_ids *out, tern_err *err)
{
    for (size_t i = 0; i < n;) {
        size_t run = valid_run(text + i, n - i), begin = 0;
        if (!run) {
            TERN_TRY(tern_bpe_encode(&t->bpe, &s->merge, text + i, 1, out, err));
            i++;
            continue;
        }
        TERN_TRY(tern_pretok_split(t->pretok, text + i, run, &s->pieces, err));
        for (size_t k = 0; k < s->pieces.n; k++) {
            size_t end = s->pieces.end[k];
            TERN_TRY(tern_bpe_encode(&t->bpe, &s->merge, text + i + begin, end - begin, out, err));
            begin = end;
        }
        i += run;
    }
    return TERN_OK;
}

/* Text without special tokens. */
static tern_code encode_plain(const tern_tokenizer *t, scratch *s, const char *text, size_t n,
                              bool at_start, tern_ids *out, tern_err *err)
{
    if (t->nfc) {
        tern_str_clear(&s->composed);
        TERN_TRY(tern_text_nfc(text, n, &s->composed, err));
        text = tern_str_get(&s->composed);
        n = s->composed.len;
    }
    if (t->pretok)
        return encode_words(t, s, text, n, out, err);
    tern_spm_opts opts = t->spm;
    opts.space_prefix &= at_start || !t->prefix_at_start;
    return tern_spm_encode(&t->vocab, opts, &s->merge, &s->escaped, text, n, out, err);
}

/* Whether a character is white space, as Unicode has it. */
static bool is_space(uint32_t cp)
{
    return (cp >= 9 && cp <= 13) || cp == ' ' || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F ||
           cp == 0x205F || cp == 0x3000;
}

/* Length of text[0..n) without the white space at its end. */
static size_t without_tail(const char *text, size_t n)
{
    for (;;) {
        uint32_t cp;
        size_t at = n;
        while (at > 0 && n - at < 4 && ((uint8_t)text[at - 1] & 0xC0) == 0x80)
            at--;
        at -= at > 0;
        if (n == 0 || tern_utf8_decode(text + at, n - at, &cp) != (int)(n - at) || !is_space(cp))
            return n;
        n = at;
    }
}

/* Length of the white space that text[0..n) begins with. */
static size_t space_len(const char *text, size_t n)
{
    size_t i = 0;
    for (;;) {
        uint32_t cp;
        int len = tern_utf8_decode(text + i, n - i, &cp);
        if (!len || !is_space(cp))
            return i;
        i += (size_t)len;
    }
}

static tern_code encode_between(const tern_tokenizer *t, scratch *s, const char *text, size_t n,
                                bool at_start, tern_ids *out, tern_err *err);

static tern_code encode(const tern_tokenizer *t, scratch *s, const char *text, size_t n,
                        bool add_special, const tern_special_set *set, bool at_start, tern_ids *out,
                        tern_err *err)
{
    bool add_bos = add_special && t->info.add_bos;
    for (size_t i = 0;;) {
        size_t at = n - i, len = 0;
        int32_t id = tern_special_find(set, text + i, n - i, &at, &len);
        if (add_bos && !(at == 0 && id == t->info.bos))
            TERN_TRY(tern_ids_push(out, t->info.bos, err));
        add_bos = false;
        /* What stands before the special token stands at the start or behind another one. */
        unsigned strip = t->strip && id >= 0 ? t->strip[id] : 0;
        size_t plain = strip & TERN_STRIP_LEFT ? without_tail(text + i, at) : at;
        TERN_TRY(encode_between(t, s, text + i, plain, at_start && i == 0, out, err));
        if (id < 0)
            break;
        TERN_TRY(tern_ids_push(out, id, err));
        i += at + len;
        i += strip & TERN_STRIP_RIGHT ? space_len(text + i, n - i) : 0;
    }
    if (add_special && t->info.add_eos)
        TERN_TRY(tern_ids_push(out, t->info.eos, err));
    return TERN_OK;
}

/* What stands between special tokens. Without its marks it may spell some again: those that users define
 * are meant, control tokens are not. */
static tern_code encode_between(const tern_tokenizer *t, scratch *s, const char *text, size_t n,
                                bool at_start, tern_ids *out, tern_err *err)
{
    const char *mark = s->mark, *end = text + n, *found;
    tern_str plain;
    if (!mark || !memmem(text, n, mark, strlen(mark)))
        return encode_plain(t, s, text, n, at_start, out, err);
    tern_str_init(&plain, TEXT_BYTES_MAX);
    while ((found = memmem(text, (size_t)(end - text), mark, strlen(mark))) != NULL) {
        tern_str_put(&plain, text, (size_t)(found - text));
        text = found + strlen(mark);
    }
    tern_str_put(&plain, text, (size_t)(end - text));
    s->mark = NULL;
    tern_code rc = plain.failed ? tern_fail(err, TERN_E_NOMEM, "out of memory for a text")
                                : encode(t, s, tern_str_get(&plain), plain.len, false, &t->user,
                                         at_start, out, err);
    s->mark = mark;
    tern_str_done(&plain);
    return rc;
}

static tern_code tokenize(const tern_tokenizer *t, const char *text, size_t n, bool add_special,
                          bool parse_special, const char *mark, tern_ids *out, tern_err *err)
{
    if (n > TEXT_BYTES_MAX)
        return tern_fail(err, TERN_E_LIMIT,
                         "a text of %zu bytes: at most %zu are tokenised at once", n,
                         TEXT_BYTES_MAX);
    scratch s = {.mark = mark};
    size_t before = out->n;
    tern_merge_init(&s.merge);
    tern_pieces_init(&s.pieces);
    tern_str_init(&s.escaped, 4 * TEXT_BYTES_MAX);
    tern_str_init(&s.composed, 2 * TEXT_BYTES_MAX);
    tern_code rc =
        encode(t, &s, text, n, add_special, parse_special ? &t->all : &t->user, true, out, err);
    tern_merge_done(&s.merge);
    tern_pieces_done(&s.pieces);
    tern_str_done(&s.escaped);
    tern_str_done(&s.composed);
    if (rc != TERN_OK)
        out->n = before;
    return rc;
}

tern_code tern_tokenize(const tern_tokenizer *t, const char *text, size_t n, bool add_special,
                        bool parse_special, tern_ids *out, tern_err *err)
{
    return tokenize(t, text, n, add_special, parse_special, NULL, out, err);
}

tern_code tern_tokenize_marked(const tern_tokenizer *t, const char *text, size_t n,
                               const char *mark, tern_ids *out, tern_err *err)
{
    return tokenize(t, text, n, true, true, mark, out, err);
}

int32_t tern_token_spelled(const tern_tokenizer *t, const char *text, size_t n, size_t *at,
                           size_t *len)
{
    for (size_t i = 0;;) {
        int32_t id = tern_special_find(&t->all, text + i, n - i, at, len);
        if (id < 0)
            return -1;
        *at += i;
        if (tern_token_attr_get(t, id) != TERN_TOKEN_USER)
            return id;
        i = *at + 1;
    }
}
