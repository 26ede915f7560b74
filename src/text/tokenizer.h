/* Text to token ids and back, as the model file's vocabulary defines it. Immutable after creation,
 * shared by threads. */
#ifndef TERN_TEXT_TOKENIZER_H
#define TERN_TEXT_TOKENIZER_H

#include "base/ids.h"
#include "base/str.h"
#include "file/dir.h"

typedef struct tern_tokenizer tern_tokenizer;

typedef enum tern_token_attr { /* the numbers are GGUF's tokenizer.ggml.token_type */
                               TERN_TOKEN_NORMAL = 1,
                               TERN_TOKEN_UNKNOWN,
                               TERN_TOKEN_CONTROL,
                               TERN_TOKEN_USER,
                               TERN_TOKEN_UNUSED,
                               TERN_TOKEN_BYTE
} tern_token_attr;

/* Bits of what a token that is cut out of a text takes along: white space before it and behind it. */
enum { TERN_STRIP_LEFT = 1, TERN_STRIP_RIGHT = 2 };

typedef struct tern_tokenizer_info {
    const char *model; /* "gpt2", "llama" */
    const char *pre;   /* resolved pre-tokeniser: "llama-bpe"; "" for SentencePiece */
    int n_vocab;
    int32_t bos, eos, eot, unk, pad; /* -1: none */
    bool add_bos, add_eos;
} tern_tokenizer_info;

/* pre_override names a pre-tokeniser for files without or with a wrong tokenizer.ggml.pre; NULL:
 * the file's. The directory must outlive the tokenizer. Codes: TERN_E_FORMAT, TERN_E_UNSUPPORTED
 * (unknown model or pre-tokeniser: the message names the option), TERN_E_NOMEM. */
TERN_CHECK tern_code tern_tokenizer_new(const tern_dir *d, const char *pre_override,
                                        tern_tokenizer **out, tern_err *err);
void tern_tokenizer_free(tern_tokenizer *t);
const tern_tokenizer_info *tern_tokenizer_info_get(const tern_tokenizer *t);

/* Append the ids of text[0..n). add_special: BOS/EOS as the vocabulary asks (BOS not twice when the
 * text already begins with it as a parsed special). parse_special: control tokens written in the
 * text become their ids; else they are plain text. Invalid UTF-8 is tokenised byte by byte, never
 * refused. Codes: TERN_E_NOMEM, TERN_E_LIMIT. */
TERN_CHECK tern_code tern_tokenize(const tern_tokenizer *t, const char *text, size_t n,
                                   bool add_special, bool parse_special, tern_ids *out,
                                   tern_err *err);

/* With BOS/EOS and with control tokens recognised, but not where a mark, a text of its own, stands within
 * their spelling: there is plain text, and marks are taken out. */
TERN_CHECK tern_code tern_tokenize_marked(const tern_tokenizer *t, const char *text, size_t n,
                                          const char *mark, tern_ids *out, tern_err *err);
/* The first control (or unknown) token that a text spells: its id, its place in *at and *len; -1: none. */
int32_t tern_token_spelled(const tern_tokenizer *t, const char *text, size_t n, size_t *at,
                           size_t *len);

tern_token_attr tern_token_attr_get(const tern_tokenizer *t, int32_t id);
/* True when generation ends at this id: eos, eot, eom and control tokens known to end a turn. */
bool tern_token_is_eog(const tern_tokenizer *t, int32_t id);
/* The vocabulary's own spelling ("Ġthe", "<|eot_id|>"). */
tern_slice tern_token_text(const tern_tokenizer *t, int32_t id);
/* The bytes it stands for in a text (" the"), whole or not as UTF-8; a control token's spelling. */
tern_slice tern_token_bytes(const tern_tokenizer *t, int32_t id);
/* Id of a token spelled exactly so; -1 when there is none. */
int32_t tern_token_find(const tern_tokenizer *t, const char *text, size_t n);
/* Whether a text is tokenised with a space before it that is not in the text. */
bool tern_tokenizer_pads(const tern_tokenizer *t);

/* Ids to text, one at a time: always valid UTF-8, sequences come out when they are complete and
 * invalid ones as U+FFFD (tern_token_bytes has the bytes). special: control tokens print their text
 * instead of nothing. */
typedef struct tern_detok {
    const tern_tokenizer *tok; /* borrowed */
    bool special, started;
    char pending[4]; /* the beginning of a UTF-8 sequence */
    size_t n_pending;
} tern_detok;
/* at_start: the next id opens the text, so SentencePiece's artificial first space is dropped. */
void tern_detok_init(tern_detok *d, const tern_tokenizer *t, bool special, bool at_start);

/* Append to out what id completes. */
void tern_detok_push(tern_detok *d, int32_t id, tern_str *out);
/* At the end: what is pending, which nothing will complete now, as U+FFFD. */
void tern_detok_finish(tern_detok *d, tern_str *out);

#endif
