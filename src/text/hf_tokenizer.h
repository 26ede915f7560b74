/* Tokenizers of Hugging Face folders, translated to the metadata that a GGUF file of the same model
 * has (tokenizer.ggml.*, tokenizer.chat_template), so that tokenizer.c reads both alike.
 *
 * Where a folder says more than those keys can, keys of our own stand beside them, which other
 * software ignores:
 *   tokenizer.ggml.normalizer.nfc         bool: text is composed (Unicode NFC) first
 *   tokenizer.ggml.ignore_merges          bool: where it is not what tokenizer.ggml.pre implies
 *   tokenizer.ggml.metaspace              "first", "always": the added space does not stand before a
 *                                         space; first: only before the whole text, not behind special
 *                                         tokens
 *   tokenizer.ggml.token_strip            u8[]: what white space a token cut out of a text takes along,
 *                                         1 that before it, 2 that behind it
 *   tokenizer.ggml.join_by_merges         bool: "llama" by its merges, where scores of tokens cannot
 *                                         say what they do */
#ifndef TERN_TEXT_HF_TOKENIZER_H
#define TERN_TEXT_HF_TOKENIZER_H

#include "file/dir.h"

/* The files that count. */
typedef enum tern_hf_file {
    TERN_HF_SENTENCEPIECE, /* tokenizer.model: SentencePiece's, or a tiktoken file */
    TERN_HF_TOKENIZER,     /* tokenizer.json */
    TERN_HF_TIKTOKEN,      /* original/tokenizer.model */
    TERN_HF_CONFIG,        /* tokenizer_config.json */
    TERN_HF_ADDED,         /* added_tokens.json */
    TERN_HF_SPECIAL,       /* special_tokens_map.json */
    TERN_HF_GENERATION,    /* generation_config.json */
    TERN_HF_MODEL,         /* config.json */
    TERN_HF_JINJA,         /* chat_template.jinja */
    TERN_HF_TEMPLATE,      /* chat_template.json */
    TERN_HF_FILE_COUNT
} tern_hf_file;

/* Put the tokenizer of a folder into d. n_vocab: rows of the embedding, 0 if not known; shorter
 * vocabularies are filled up with unused tokens. What cuts text into words is recognised by its form, as
 * that of a family or of steps with names ("steps:digit+words"); one that is not known becomes the
 * value of tokenizer.ggml.pre, which tern_tokenizer_new then names unless told another. Codes: TERN_E_NOT_FOUND (no tokenizer), TERN_E_IO, TERN_E_FORMAT,
 * TERN_E_UNSUPPORTED, TERN_E_LIMIT, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_hf_tokenizer_read(tern_dir *d, const char *folder, size_t n_vocab,
                                            tern_err *err);
/* The same from memory; p NULL: there is no such file. folder is for messages. */
TERN_CHECK tern_code tern_hf_tokenizer_read_files(tern_dir *d, const char *folder,
                                                  const tern_slice files[TERN_HF_FILE_COUNT],
                                                  size_t n_vocab, tern_err *err);

#endif
