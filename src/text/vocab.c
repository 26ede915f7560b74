#include "text/vocab.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/utf8.h"

#include <math.h>
#include <string.h>

/* Spellings that end a turn whatever the file says of them: the first that exists is the end-of-turn
 * token when the file names none. Files exist where they are marked as ordinary tokens, or where no
 * key names them: generation would never stop there. */
static const char *const turn_ends[] = {
    "<|eot_id|>",      "<|im_end|>",
    "<|end|>",         "<end_of_turn>",
    "<EOT>",           "<|endoftext|>",
    "<|end_of_text|>", "<\357\275\234end\342\226\201of\342\226\201sentence\357\275\234>",
};
#define N_TURN_END (sizeof turn_ends / sizeof turn_ends[0])

/* ---- byte-level spelling ---------------------------------------------------------------- */

static bool is_printable(uint32_t b)
{
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
}

/* Printable bytes of Latin-1 are spelled as themselves, the other 68 in order from U+0100 on. */
static uint32_t byte_to_cp(uint8_t b)
{
    if (is_printable(b))
        return b;
    if (b <= 0x20)
        return 0x100u + b;
    if (b <= 0xA0)
        return 0x100u + 0x21 + (b - 0x7Fu);
    return 0x100u + 0x21 + 0x22; /* 0xAD */
}

/* The inverse; -1 for a character that spells no byte. */
static int cp_to_byte(uint32_t cp)
{
    if (cp < 0x100)
        return is_printable(cp) ? (int)cp : -1;
    cp -= 0x100;
    if (cp <= 0x20)
        return (int)cp;
    if (cp < 0x21 + 0x22)
        return (int)(cp - 0x21 + 0x7F);
    return cp == 0x21 + 0x22 ? 0xAD : -1;
}

int tern_byte_spell(uint8_t b, char out[2])
{
    char u[4];
    int n = tern_utf8_encode(byte_to_cp(b), u);
    memcpy(out, u, (size_t)n);
    return n;
}

/* Decode a spelling to bytes; false when a character spells no byte. */
static bool unspell(tern_slice s, char *out, size_t *n_out)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        int len = tern_utf8_decode(s.p + i, s.n - i, &cp);
        int b = len ? cp_to_byte(cp) : -1;
        if (b < 0)
            return false;
        out[n++] = (char)b;
        i += (size_t)len;
    }
    *n_out = n;
    return true;
}

/* U+2581 becomes a space. */
static size_t unescape_spaces(tern_slice s, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n;) {
        if (s.n - i >= TERN_SPM_SPACE_LEN &&
            memcmp(s.p + i, TERN_SPM_SPACE, TERN_SPM_SPACE_LEN) == 0) {
            out[n++] = ' ';
            i += TERN_SPM_SPACE_LEN;
        } else {
            out[n++] = s.p[i++];
        }
    }
    return n;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of "<0xHH>"; -1 if it is not spelled so. */
static int byte_of(tern_slice s)
{
    if (s.n != 6 || memcmp(s.p, "<0x", 3) != 0 || s.p[5] != '>')
        return -1;
    int hi = hex_digit(s.p[3]), lo = hex_digit(s.p[4]);
    return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}

/* ---- arrays of the file ----------------------------------------------------------------- */

static bool is_integer(tern_meta_type t)
{
    return t == TERN_META_U8 || t == TERN_META_I8 || t == TERN_META_U16 || t == TERN_META_I16 ||
           t == TERN_META_U32 || t == TERN_META_I32 || t == TERN_META_U64 || t == TERN_META_I64;
}

/* An array of one number per token, or NULL in *out when the key is absent. */
static tern_code numbers_find(const tern_vocab *v, const tern_dir *d, const char *key, bool floats,
                              const tern_meta **out, tern_err *err)
{
    const tern_meta *m = tern_dir_meta_find(d, key);
    *out = m;
    if (!m)
        return TERN_OK;
    if (m->type != TERN_META_ARRAY ||
        !(is_integer(m->elem) ||
          (floats && (m->elem == TERN_META_F32 || m->elem == TERN_META_F64))))
        return tern_fail(err, TERN_E_FORMAT, "%s: %s at %zu is not an array of %s", v->path, key,
                         m->offset, floats ? "numbers" : "integers");
    if (m->n_elem != v->n)
        return tern_fail(err, TERN_E_FORMAT, "%s: %s at %zu has %zu elements for %zu tokens",
                         v->path, key, m->offset, m->n_elem, v->n);
    return TERN_OK;
}

static tern_code read_texts(tern_vocab *v, const tern_dir *d, tern_err *err)
{
    static const char key[] = "tokenizer.ggml.tokens";
    const tern_meta *m = tern_dir_meta_find(d, key);
    if (!m)
        return tern_fail(err, TERN_E_FORMAT, "%s: no %s: the file has no vocabulary", v->path, key);
    if (m->type != TERN_META_ARRAY || m->elem != TERN_META_STRING)
        return tern_fail(err, TERN_E_FORMAT, "%s: %s at %zu is not an array of strings", v->path,
                         key, m->offset);
    if (m->n_elem < 1 || m->n_elem > INT32_MAX)
        return tern_fail(err, TERN_E_FORMAT, "%s: %s at %zu has %zu elements, expected 1 to 2^31-1",
                         v->path, key, m->offset, m->n_elem);
    v->n = m->n_elem;
    v->text = m->strings;
    for (size_t i = 0; i < v->n; i++) {
        size_t len = v->text[i].n;
        if (len > TERN_TOKEN_BYTES_MAX)
            return tern_fail(err, TERN_E_FORMAT, "%s: token %zu has %zu bytes, at most %d expected",
                             v->path, i, len, TERN_TOKEN_BYTES_MAX);
        v->max_len = len > v->max_len ? len : v->max_len;
    }
    return TERN_OK;
}

static tern_code read_attrs(tern_vocab *v, const tern_dir *d, tern_err *err)
{
    static const char key[] = "tokenizer.ggml.token_type";
    const tern_meta *m;
    TERN_TRY(numbers_find(v, d, key, false, &m, err));
    v->attr = tern_calloc(v->n, sizeof *v->attr);
    if (!v->attr)
        return tern_fail(err, TERN_E_NOMEM, "%s: no memory for %zu tokens", v->path, v->n);
    for (size_t i = 0; i < v->n; i++) {
        int64_t a = m ? tern_meta_elem_i64(m, i) : TERN_TOKEN_NORMAL;
        if (a < 0 || a > TERN_TOKEN_BYTE)
            return tern_fail(err, TERN_E_FORMAT,
                             "%s: token %zu has type %" PRId64 ", expected 1 to 6", v->path, i, a);
        if (a == 0) /* undefined, as some converters leave it */
            a = TERN_TOKEN_NORMAL;
        if (!m && v->kind == TERN_VOCAB_SPM && byte_of(v->text[i]) >= 0)
            a = TERN_TOKEN_BYTE;
        v->attr[i] = (uint8_t)a;
    }
    return TERN_OK;
}

static tern_code read_scores(tern_vocab *v, const tern_dir *d, tern_err *err)
{
    static const char key[] = "tokenizer.ggml.scores";
    const tern_meta *m;
    TERN_TRY(numbers_find(v, d, key, true, &m, err));
    if (v->kind != TERN_VOCAB_SPM)
        return TERN_OK;
    if (!m)
        return tern_fail(err, TERN_E_FORMAT, "%s: no %s, which a 'llama' tokenizer needs", v->path,
                         key);
    v->score = tern_calloc(v->n, sizeof *v->score);
    if (!v->score)
        return tern_fail(err, TERN_E_NOMEM, "%s: no memory for %zu tokens", v->path, v->n);
    for (size_t i = 0; i < v->n; i++) {
        double s = tern_meta_elem_f64(m, i);
        if (isnan(s))
            return tern_fail(err, TERN_E_FORMAT, "%s: the score of token %zu is not a number",
                             v->path, i);
        v->score[i] = (float)s;
    }
    return TERN_OK;
}

/* ---- ids with a meaning ------------------------------------------------------------------ */

/* Absent or -1 (also as its 32 unsigned bits): def. An id outside the vocabulary is an error when
 * generation depends on it, and none otherwise: files with a padding id past the end are common. */
static tern_code read_id(const tern_vocab *v, const tern_dir *d, const char *key, bool strict,
                         int32_t def, int32_t *out, tern_err *err)
{
    *out = def >= 0 && (size_t)def < v->n ? def : -1;
    const tern_meta *m = tern_dir_meta_find(d, key);
    if (!m)
        return TERN_OK;
    if (!is_integer(m->type))
        return tern_fail(err, TERN_E_FORMAT, "%s: %s at %zu is not an integer", v->path, key,
                         m->offset);
    bool is_signed = m->type == TERN_META_I8 || m->type == TERN_META_I16 ||
                     m->type == TERN_META_I32 || m->type == TERN_META_I64;
    uint64_t id = is_signed ? (uint64_t)m->v.i : m->v.u;
    if (id == UINT64_MAX || id == UINT32_MAX)
        *out = -1;
    else if (id < v->n)
        *out = (int32_t)id;
    else if (!strict)
        *out = -1;
    else
        return tern_fail(err, TERN_E_FORMAT, "%s: %s at %zu is %" PRIu64 ", outside the %zu tokens",
                         v->path, key, m->offset, id, v->n);
    return TERN_OK;
}

static tern_code read_ids(tern_vocab *v, const tern_dir *d, tern_err *err)
{
    bool spm = v->kind == TERN_VOCAB_SPM;
    const struct {
        const char *key;
        bool strict;
        int32_t def;
        int32_t *out;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", true, spm ? 1 : -1, &v->bos},
        {"tokenizer.ggml.eos_token_id", true, spm ? 2 : -1, &v->eos},
        {"tokenizer.ggml.eot_token_id", true, -1, &v->eot},
        {"tokenizer.ggml.eom_token_id", true, -1, &v->eom},
        {"tokenizer.ggml.unknown_token_id", false, spm ? 0 : -1, &v->unk},
        {"tokenizer.ggml.padding_token_id", false, -1, &v->pad},
    };
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        TERN_TRY(read_id(v, d, ids[i].key, ids[i].strict, ids[i].def, ids[i].out, err));
    return TERN_OK;
}

static int32_t text_find(const tern_vocab *v, const char *text)
{
    uint32_t id;
    return tern_map_find(&v->by_text, text, strlen(text), &id) ? (int32_t)id : -1;
}

bool tern_vocab_ends_turn(const char *text, size_t n)
{
    for (size_t i = 0; i < N_TURN_END; i++)
        if (strlen(turn_ends[i]) == n && memcmp(turn_ends[i], text, n) == 0)
            return true;
    return false;
}

/* Find the tokens that end generation, and make sure that plain text cannot become one of them. */
static void find_ends(tern_vocab *v)
{
    for (size_t i = 0; i < N_TURN_END; i++) {
        int32_t id = text_find(v, turn_ends[i]);
        if (id < 0)
            continue;
        v->attr[id] = TERN_TOKEN_CONTROL;
        v->eog[id] = true;
        if (v->eot < 0)
            v->eot = id;
    }
    int32_t eom = text_find(v, "<|eom_id|>");
    if (eom >= 0)
        v->attr[eom] = TERN_TOKEN_CONTROL;
    if (v->eom < 0)
        v->eom = eom;
    const int32_t named[] = {v->eos, v->eot, v->eom};
    for (size_t i = 0; i < 3; i++)
        if (named[i] >= 0)
            v->eog[named[i]] = true;
}

/* ---- derived tables ---------------------------------------------------------------------- */

static tern_code index_texts(tern_vocab *v, tern_err *err)
{
    if (!tern_map_reserve(&v->by_text, v->n))
        return tern_fail(err, TERN_E_NOMEM, "%s: no memory for %zu tokens", v->path, v->n);
    for (size_t i = 0; i < v->n; i++) {
        bool ok; /* there is room */
        /* Empty spellings are padding: no text can mean them. Of equal spellings the first counts,
         * since what converters append to fill a vocabulary up must not hide a trained token. */
        if (v->text[i].n)
            (void)tern_map_add(&v->by_text, v->text[i].p, v->text[i].n, (uint32_t)i, NULL, &ok);
    }
    return TERN_OK;
}

/* What token i stands for, into out (at least as long as its spelling) where it differs. */
static tern_code bytes_make(tern_vocab *v, size_t i, char *out, size_t *used, tern_err *err)
{
    tern_slice s = v->text[i];
    size_t n = 0;
    *used = 0;
    v->bytes[i] = s;
    if (v->attr[i] == TERN_TOKEN_BYTE) {
        int b = byte_of(s);
        if (b < 0)
            return tern_fail(err, TERN_E_FORMAT, "%s: byte token %zu is not spelled <0xHH>",
                             v->path, i);
        out[n++] = (char)b;
    } else if (v->kind == TERN_VOCAB_SPM) {
        if (v->attr[i] != TERN_TOKEN_NORMAL && v->attr[i] != TERN_TOKEN_USER)
            return TERN_OK;
        n = unescape_spaces(s, out);
    } else if (v->attr[i] != TERN_TOKEN_NORMAL || !unspell(s, out, &n)) {
        return TERN_OK; /* added tokens are spelled as they are */
    }
    if (n == s.n && (!n || memcmp(out, s.p, n) == 0))
        return TERN_OK;
    v->bytes[i] = (tern_slice){out, n};
    *used = n;
    return TERN_OK;
}

static tern_code make_bytes(tern_vocab *v, tern_err *err)
{
    size_t total = 1;
    for (size_t i = 0; i < v->n; i++)
        if (!tern_add_size(total, v->text[i].n, &total))
            return tern_fail(err, TERN_E_NOMEM, "%s: the vocabulary does not fit memory", v->path);
    v->bytes = tern_calloc(v->n, sizeof *v->bytes);
    v->pool = tern_alloc(total);
    if (!v->bytes || !v->pool)
        return tern_fail(err, TERN_E_NOMEM, "%s: no memory for %zu tokens", v->path, v->n);
    char *out = v->pool;
    for (size_t i = 0; i < v->n; i++) {
        size_t used;
        TERN_TRY(bytes_make(v, i, out, &used, err));
        out += used;
    }
    return TERN_OK;
}

static void find_byte_tokens(tern_vocab *v)
{
    for (size_t b = 0; b < 256; b++) {
        char s[2];
        int n = tern_byte_spell((uint8_t)b, s);
        int32_t id = v->kind == TERN_VOCAB_BPE ? tern_vocab_plain_find(v, s, (size_t)n) : -1;
        /* A user-defined token spelled like the byte stands for the character, not for the byte. */
        v->byte_id[b] = id >= 0 && v->bytes[id].n == 1 && (uint8_t)v->bytes[id].p[0] == b ? id : -1;
    }
    for (size_t i = 0; i < v->n; i++) {
        if (v->attr[i] != TERN_TOKEN_BYTE)
            continue;
        int32_t *slot = &v->byte_id[(uint8_t)v->bytes[i].p[0]];
        if (*slot < 0)
            *slot = (int32_t)i;
    }
}

int32_t tern_vocab_plain_find(const tern_vocab *v, const char *text, size_t n)
{
    uint32_t id;
    if (n > v->max_len || !tern_map_find(&v->by_text, text, n, &id))
        return -1;
    return tern_vocab_is_plain(v, (int32_t)id) ? (int32_t)id : -1;
}

static bool has_inner_space(tern_slice s)
{
    bool other = false;
    for (size_t i = 0; i < s.n;) {
        bool space = s.n - i >= TERN_SPM_SPACE_LEN &&
                     memcmp(s.p + i, TERN_SPM_SPACE, TERN_SPM_SPACE_LEN) == 0;
        if (space && other)
            return true;
        other |= !space;
        i += space ? TERN_SPM_SPACE_LEN : 1;
    }
    return false;
}

static bool are_words(const tern_vocab *v)
{
    for (size_t i = 0; i < v->n; i++)
        if (tern_vocab_is_plain(v, (int32_t)i) && has_inner_space(v->text[i]))
            return false;
    return true;
}

tern_code tern_vocab_init(tern_vocab *v, tern_vocab_kind kind, const tern_dir *d, tern_err *err)
{
    *v = (tern_vocab){.path = d->path, .kind = kind};
    tern_map_init(&v->by_text);
    TERN_TRY(read_texts(v, d, err));
    TERN_TRY(read_attrs(v, d, err));
    TERN_TRY(read_scores(v, d, err));
    TERN_TRY(read_ids(v, d, err));
    TERN_TRY(index_texts(v, err));
    v->eog = tern_calloc(v->n, sizeof *v->eog);
    if (!v->eog)
        return tern_fail(err, TERN_E_NOMEM, "%s: no memory for %zu tokens", v->path, v->n);
    find_ends(v);
    TERN_TRY(make_bytes(v, err));
    find_byte_tokens(v);
    v->words = v->kind == TERN_VOCAB_SPM && are_words(v);
    return TERN_OK;
}

void tern_vocab_done(tern_vocab *v)
{
    tern_map_done(&v->by_text);
    tern_free(v->bytes);
    tern_free(v->pool);
    tern_free(v->attr);
    tern_free(v->eog);
    tern_free(v->score);
    *v = (tern_vocab){0};
}
