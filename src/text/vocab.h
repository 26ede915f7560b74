/* The vocabulary of a model file: every token's spelling, kind and bytes, and the ids with a
 * meaning of their own. Immutable after loading. */
#ifndef TERN_TEXT_VOCAB_H
#define TERN_TEXT_VOCAB_H

#include "text/tokenizer.h"

/* No real token comes near; it bounds the work per symbol when spellings are looked up. */
#define TERN_TOKEN_BYTES_MAX 16384

typedef enum tern_vocab_kind {
    TERN_VOCAB_BPE, /* byte-level: spellings are bytes mapped to printable characters */
    TERN_VOCAB_SPM  /* SentencePiece: U+2581 for a space, <0xHH> for a byte */
} tern_vocab_kind;

typedef struct tern_vocab {
    const char *path; /* borrowed from the directory, for messages */
    tern_vocab_kind kind;
    size_t n;
    const tern_slice *text; /* [n] borrowed from the directory: spellings */
    tern_slice *bytes;      /* [n] owned: what each token stands for in a text */
    char *pool;             /* owned: the bytes that differ from their spelling */
    uint8_t *attr;          /* [n] owned: tern_token_attr */
    bool *eog;              /* [n] owned */
    float *score;           /* [n] owned; NULL for BPE */
    size_t max_len;         /* of a spelling */
    bool words;             /* SPM: no plain token has a space behind another character */
    tern_map by_text;       /* spelling -> id; of equal spellings the lowest id */
    int32_t byte_id[256];   /* token of one byte; -1: none */
    int32_t bos, eos, eot, eom, unk, pad; /* -1: none */
} tern_vocab;

/* Codes: TERN_E_FORMAT, TERN_E_NOMEM. Also after a failure _done frees what
 * there is. */
TERN_CHECK tern_code tern_vocab_init(tern_vocab *v, tern_vocab_kind kind, const tern_dir *d,
                                     tern_err *err);
void tern_vocab_done(tern_vocab *v);

/* A token that text may be merged into: never a control, unknown, unused or byte token, so that no
 * plain text can become one. */
static inline bool tern_vocab_is_plain(const tern_vocab *v, int32_t id)
{
    return v->attr[id] == TERN_TOKEN_NORMAL || v->attr[id] == TERN_TOKEN_USER;
}
/* Id of the plain token spelled so; -1 when there is none. */
int32_t tern_vocab_plain_find(const tern_vocab *v, const char *text, size_t n);
/* Whether a token spelled so ends generation whatever else is said of it. */
bool tern_vocab_ends_turn(const char *text, size_t n);
/* The printable character that byte b is spelled as in a byte-level vocabulary: its UTF-8 is
 * written to out, its length returned (1 or 2). */
int tern_byte_spell(uint8_t b, char out[2]);

#define TERN_SPM_SPACE     "\xE2\x96\x81" /* U+2581 */
#define TERN_SPM_SPACE_LEN 3

#endif
