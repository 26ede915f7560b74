/* tokenizer.model of SentencePiece: a protobuf message of pieces, with how the model was trained and
 * how it prepares text. */
#include "base/error.h"
#include "base/reader.h"
#include "base/str.h"
#include "text/hf.h"

#include <string.h>

#define FILE_ID TERN_HF_SENTENCEPIECE

/* Numbers of the fields in sentencepiece_model.proto. */
enum { MODEL_PIECE = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
enum {
    TRAINER_TYPE = 3,
    TRAINER_SUFFIX = 24, /* treat_whitespace_as_suffix */
    TRAINER_UNK = 40,
    TRAINER_BOS = 41,
    TRAINER_EOS = 42,
    TRAINER_PAD = 43
};
enum {
    NORMALIZER_NAME = 1,
    NORMALIZER_CHARSMAP = 2,
    NORMALIZER_PREFIX = 3,  /* add_dummy_prefix */
    NORMALIZER_SQUEEZE = 4, /* remove_extra_whitespaces */
    NORMALIZER_ESCAPE = 5   /* escape_whitespaces */
};
enum { TYPE_UNIGRAM = 1, TYPE_BPE = 2, TYPE_WORD = 3, TYPE_CHAR = 4 };

/* One field of a message. */
typedef struct field {
    uint32_t number;
    bool is_bytes;
    uint64_t value; /* an integer, or the bits of a float */
    tern_slice bytes;
} field;

/* Seven bits a byte, low ones first, the top bit says that more follow: at most ten. */
static uint64_t read_varint(tern_reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = tern_read_u8(r);
        v |= (uint64_t)(b & 0x7f) << shift;
        if (r->failed || !(b & 0x80))
            return v;
    }
    r->failed = true;
    r->fail_pos = r->pos;
    return 0;
}

/* The next field of a message; false at its end or at bytes that are none (r->failed). */
static bool next_field(tern_reader *r, field *f)
{
    if (r->failed || !tern_reader_left(r))
        return false;
    size_t at = r->pos;
    uint64_t key = read_varint(r);
    *f = (field){.number = (uint32_t)(key >> 3)};
    switch (key & 7) {
    case 0:
        f->value = read_varint(r);
        break;
    case 1:
        f->value = tern_read_u64(r);
        break;
    case 2: {
        uint64_t n = read_varint(r);
        if (!r->failed && n > tern_reader_left(r))
            r->failed = true;
        f->is_bytes = true;
        f->bytes.n = r->failed ? 0 : (size_t)n;
        f->bytes.p = (const char *)tern_reader_take(r, f->bytes.n);
        break;
    }
    case 5:
        f->value = tern_read_u32(r);
        break;
    default: /* groups, which the format has given up */
        r->failed = true;
    }
    if (key >> 3 == 0 || key >> 32)
        r->failed = true;
    if (r->failed)
        r->fail_pos = at;
    return !r->failed;
}

static tern_code bad_field(const tern_hf *h, const char *where, size_t at)
{
    return tern_hf_fail(h, FILE_ID, TERN_E_FORMAT, "at %zu of %s: no field of a protobuf message",
                        at, where);
}

/* ---- pieces -------------------------------------------------------------------------------- */

static tern_code read_piece(tern_hf *h, tern_slice message, size_t index)
{
    tern_reader r;
    field f;
    tern_slice text = {"", 0};
    uint64_t type = TERN_TOKEN_NORMAL;
    uint32_t bits = 0;
    float score;
    tern_reader_init(&r, message.p, message.n);
    while (next_field(&r, &f)) {
        if (f.number == PIECE_TEXT && f.is_bytes)
            text = f.bytes;
        else if (f.number == PIECE_SCORE && !f.is_bytes)
            bits = (uint32_t)f.value;
        else if (f.number == PIECE_TYPE && !f.is_bytes)
            type = f.value;
    }
    if (r.failed)
        return bad_field(h, "a piece", r.fail_pos);
    if (type < TERN_TOKEN_NORMAL || type > TERN_TOKEN_BYTE)
        return tern_hf_fail(h, FILE_ID, TERN_E_FORMAT, "piece %zu has type %llu, expected 1 to 6",
                            index, (unsigned long long)type);
    /* GGUF took its numbers for kinds of tokens from here. */
    memcpy(&score, &bits, sizeof score);
    return tern_hf_put(h, FILE_ID, (int64_t)index, text, (tern_token_attr)type, score);
}

/* ---- how it was trained and prepares text -------------------------------------------------- */

/* A number that may be negative; anything that is no id is none. */
static int32_t id_of(uint64_t v)
{
    return v <= INT32_MAX ? (int32_t)v : -1;
}

static tern_code read_trainer(tern_hf *h, tern_slice message)
{
    static const char *const types[] = {"no type", "unigram", "BPE", "word", "char"};
    tern_reader r;
    field f;
    uint64_t type = TYPE_UNIGRAM;
    bool suffix = false;
    h->unk = 0; /* what the format's description says when nothing is said */
    h->bos = 1;
    h->eos = 2;
    tern_reader_init(&r, message.p, message.n);
    while (next_field(&r, &f)) {
        if (f.is_bytes)
            continue;
        if (f.number == TRAINER_TYPE)
            type = f.value;
        else if (f.number == TRAINER_SUFFIX)
            suffix = f.value != 0;
        else if (f.number == TRAINER_UNK)
            h->unk = id_of(f.value);
        else if (f.number == TRAINER_BOS)
            h->bos = id_of(f.value);
        else if (f.number == TRAINER_EOS)
            h->eos = id_of(f.value);
        else if (f.number == TRAINER_PAD)
            h->pad = id_of(f.value);
    }
    if (r.failed)
        return bad_field(h, "the trainer_spec", r.fail_pos);
    if (type != TYPE_BPE)
        return tern_hf_fail(h, FILE_ID, TERN_E_UNSUPPORTED,
                            "a SentencePiece model of type %s, this build knows BPE",
                            type <= TYPE_CHAR ? types[type] : types[0]);
    if (suffix)
        return tern_hf_fail(h, FILE_ID, TERN_E_UNSUPPORTED,
                            "its words end with their space (treat_whitespace_as_suffix)");
    return TERN_OK;
}

static tern_code read_normalizer(tern_hf *h, tern_slice message)
{
    tern_reader r;
    field f;
    tern_slice name = {"", 0}, map = {"", 0};
    bool escape = true;
    char shown[48];
    h->space_prefix = h->squeeze = TERN_HF_YES; /* unless it says otherwise */
    tern_reader_init(&r, message.p, message.n);
    while (next_field(&r, &f)) {
        if (f.number == NORMALIZER_NAME && f.is_bytes)
            name = f.bytes;
        else if (f.number == NORMALIZER_CHARSMAP && f.is_bytes)
            map = f.bytes;
        else if (f.number == NORMALIZER_PREFIX && !f.is_bytes)
            h->space_prefix = f.value ? TERN_HF_YES : TERN_HF_NO;
        else if (f.number == NORMALIZER_SQUEEZE && !f.is_bytes)
            h->squeeze = f.value ? TERN_HF_YES : TERN_HF_NO;
        else if (f.number == NORMALIZER_ESCAPE && !f.is_bytes)
            escape = f.value != 0;
    }
    if (r.failed)
        return bad_field(h, "the normalizer_spec", r.fail_pos);
    if (map.n || !escape)
        return tern_hf_fail(h, FILE_ID, TERN_E_UNSUPPORTED,
                            "text is prepared by '%s'%s, this build knows 'identity'",
                            tern_quote(shown, sizeof shown, name.p, name.n),
                            escape ? "" : " without escape_whitespaces");
    return TERN_OK;
}

/* ---- the file ------------------------------------------------------------------------------ */

tern_code tern_hf_spm_read(tern_hf *h)
{
    tern_slice file = h->files[FILE_ID];
    tern_reader r;
    field f;
    size_t n = 0;
    bool trainer = false, normalizer = false;
    h->kind = TERN_VOCAB_SPM;
    h->limit = h->n_vocab ? h->n_vocab : file.n; /* a piece takes bytes */
    tern_reader_init(&r, file.p, file.n);
    while (next_field(&r, &f)) {
        if (!f.is_bytes)
            continue;
        if (f.number == MODEL_PIECE) {
            TERN_TRY(read_piece(h, f.bytes, n++));
        } else if (f.number == MODEL_TRAINER) {
            TERN_TRY(read_trainer(h, f.bytes));
            trainer = true;
        } else if (f.number == MODEL_NORMALIZER) {
            TERN_TRY(read_normalizer(h, f.bytes));
            normalizer = true;
        }
    }
    if (r.failed)
        return bad_field(h, "the file", r.fail_pos);
    if (!n || !trainer || !normalizer)
        return tern_hf_fail(h, FILE_ID, TERN_E_FORMAT, "no SentencePiece model: no %s",
                            !n         ? "pieces"
                            : !trainer ? "trainer_spec"
                                       : "normalizer_spec");
    tern_hf_limit(h, n);
    return TERN_OK;
}
