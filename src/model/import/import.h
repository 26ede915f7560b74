/* Folders of Hugging Face's libraries seen as the GGUF files of the same models: config.json becomes the
 * keys "<arch>.*", the tokenizer's files "tokenizer.ggml.*", tensors of safetensors files get GGUF's
 * names. What is behind (hparams, bind, tokenizer, templates, the writer of GGUF files) does not see a
 * difference. */
#ifndef TERN_MODEL_IMPORT_IMPORT_H
#define TERN_MODEL_IMPORT_IMPORT_H

#include "file/dir.h"

/* What became of one tensor of the folder; to is NULL when it was left out. */
typedef void (*tern_import_note_fn)(void *ctx, const tern_tensor *from, const char *to,
                                    const char *note);

typedef struct tern_import_opts {
    tern_dir_opts dir;        /* of GGUF files */
    tern_import_note_fn note; /* NULL: nobody asks */
    void *ctx;
} tern_import_opts;

/* Rows of q and k stand as in training, rotated in halves, where GGUF files of the architecture have
 * neighbours: a bool that only folders have. The writer of a file permutes the rows and drops it. */
#define TERN_KEY_ROPE_HALVES "tern.rope.halves"

/* Whether path is one that tern_import_open reads as a folder: a folder, or a file in one that ends in
 * .safetensors or .safetensors.index.json. */
bool tern_import_is_folder(const char *path);

/* A GGUF file or a folder. opts may be NULL. Codes: those of tern_gguf_open; TERN_E_UNSUPPORTED also for
 * a model_type, a quantisation or a tensor that has no place in the architecture. */
TERN_CHECK tern_code tern_import_open(const char *path, const tern_import_opts *opts,
                                      tern_dir **out, tern_err *err);

#endif
