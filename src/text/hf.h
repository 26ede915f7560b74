/* A tokenizer of a Hugging Face folder while it is read: what the readers of its files fill in and
 * hf_tokenizer.c writes out. For src/text/hf_*.c only. */
#ifndef TERN_TEXT_HF_H
#define TERN_TEXT_HF_H

#include "base/arena.h"
#include "text/hf_tokenizer.h"
#include "text/vocab.h"

#include <jansson.h>

typedef struct tern_hf_token {
    tern_slice text; /* borrowed from a file, its JSON or the arena; p NULL: no token has this id */
    float score;
    uint8_t attr;  /* tern_token_attr */
    uint8_t strip; /* TERN_STRIP_LEFT, TERN_STRIP_RIGHT */
    bool added;    /* to the vocabulary, which no merge knows of */
} tern_hf_token;

typedef enum tern_hf_flag { TERN_HF_UNSAID = -1, TERN_HF_NO, TERN_HF_YES } tern_hf_flag;

typedef struct tern_hf {
    const char *folder;      /* borrowed, for messages */
    const tern_slice *files; /* [TERN_HF_FILE_COUNT] borrowed */
    size_t n_vocab;          /* rows of the embedding; 0: not known */
    tern_err *err;
    tern_arena arena;                 /* texts that stand in no file */
    json_t *json[TERN_HF_FILE_COUNT]; /* owned; NULL where there is none */

    tern_hf_token *tokens; /* [cap] owned; those from n on are empty */
    size_t n, cap;
    size_t limit;     /* no token has this id or a greater one */
    tern_map by_text; /* borrows the tokens' texts; what was replaced is still in it */

    tern_vocab_kind kind;
    const char *pre;    /* borrowed or in the arena */
    tern_slice *merges; /* [n_merge] in the arena, "left right"; NULL: none are put */
    size_t n_merge;
    tern_hf_flag add_bos, add_eos, space_prefix, squeeze, ignore_merges;
    const char *metaspace;      /* static; NULL: no such key */
    bool nfc, strips;           /* some token takes white space along */
    int32_t bos, eos, unk, pad; /* as the vocabulary's own file has them; -1: none */
    int32_t first, last;        /* what a template puts before and behind a text; -1: nothing */
} tern_hf;

const char *tern_hf_file_name(tern_hf_file file);
/* The text of a failure in a file: "FOLDER/FILE: ...". */
tern_code tern_hf_fail(const tern_hf *h, tern_hf_file file, tern_code code, const char *fmt, ...)
    TERN_PRINTF(4, 5);
tern_code tern_hf_no_memory(const tern_hf *h);
/* Say how many ids a vocabulary of n tokens may reach where the embedding does not. */
void tern_hf_limit(tern_hf *h, size_t n);

/* A token of the vocabulary; one that has this id already is TERN_E_FORMAT. */
TERN_CHECK tern_code tern_hf_put(tern_hf *h, tern_hf_file file, int64_t id, tern_slice text,
                                 tern_token_attr attr, float score);
/* A token added to it, or what is said of one that is there; one without a row of the embedding is
 * left out. v: the object that describes it, NULL: nothing does. replace: it may take the place of
 * another. */
TERN_CHECK tern_code tern_hf_add(tern_hf *h, tern_hf_file file, int64_t id, tern_slice text,
                                 const json_t *v, bool replace);
/* Id of the token spelled so; -1 when there is none. */
int32_t tern_hf_find(const tern_hf *h, const char *text, size_t n);
/* An id in JSON: an integer, or a real that is one. */
bool tern_hf_id(const json_t *v, int64_t *out);
tern_slice tern_hf_string(const json_t *v);

/* The readers. Each fills tokens, kind, merges and what its file says besides. */
TERN_CHECK tern_code tern_hf_json_read(tern_hf *h);
TERN_CHECK tern_code tern_hf_spm_read(tern_hf *h);
TERN_CHECK tern_code tern_hf_tiktoken_read(tern_hf *h, tern_hf_file file);
/* Whether a file is one of tiktoken's. */
bool tern_hf_is_tiktoken(tern_slice file);

/* How tokenizer.json prepares text before tokens are looked for. */
typedef struct tern_hf_form {
    tern_str passes;  /* regular expressions and names of steps, separated by newlines */
    tern_str changes; /* steps that change text in a way that is not known, separated likewise */
    bool byte_level, nfc;
    bool to_space_mark;      /* spaces become U+2581 */
    bool prefix;             /* with one before */
    const char *metaspace;   /* as the step of this name adds it: "first", "always"; NULL: not so */
    bool cuts_at_space_mark; /* before each U+2581 */
} tern_hf_form;
/* Reads the normalizer and the pre_tokenizer. Also after a failure _done frees what there is. */
TERN_CHECK tern_code tern_hf_form_read(tern_hf *h, const json_t *tokenizer, tern_hf_form *f);
void tern_hf_form_done(tern_hf_form *f);
/* The pre-tokeniser that cuts text so; ignore_merges asks for one that implies it, and is
 * TERN_HF_UNSAID when one was found. A form that is not known gives its own text. NULL: no memory. */
const char *tern_hf_form_pre(tern_hf *h, const tern_hf_form *f);

#endif
