/* What the parts of import share: config.c reads config.json into keys, names.c translates tensors,
 * import.c opens a folder and strings them together. */
#ifndef TERN_MODEL_IMPORT_FOLDER_H
#define TERN_MODEL_IMPORT_FOLDER_H

#include "file/dir_make.h"
#include "model/import/import.h"

#include <jansson.h>

typedef enum tern_folder_quant {
    TERN_FOLDER_PLAIN,
    TERN_FOLDER_INVERSE,   /* BitLinear, weight_scale = 1 / mean magnitude */
    TERN_FOLDER_MULTIPLIER /* AutoBitLinear, weight_scale = mean magnitude */
} tern_folder_quant;

/* What a configuration leaves out that says only where it differs from its class. */
typedef struct tern_family_defaults {
    int n_head, n_kv_head, d_head, n_ctx, n_vocab;
    int window, period; /* every period'th layer sees everything; 0: all have the window */
    int scalar;         /* scores are divided by its root */
    double base;        /* of the rotation */
} tern_family_defaults;

/* A family of folders: model_type or class names in config.json to a GGUF architecture. */
typedef struct tern_family {
    const char *model_type, *class_name; /* NULL: any */
    const char *arch;
    bool halves;    /* GGUF files of arch have permuted q and k */
    bool plus_one;  /* norms are stored less 1 */
    bool masters;   /* linear weights are ternarised in training, whatever config.json says */
    bool post_norm; /* post_attention_layernorm stands behind attention, not before the ffn */
    const tern_family_defaults *defaults; /* NULL: configurations say everything */
} tern_family;

typedef struct tern_folder {
    const char *path; /* as it was named */
    tern_dir *out;    /* what is made */
    json_t *config;   /* owned */
    json_t *text;     /* borrowed from config: the part about the language model */
    const tern_family *family;
    tern_folder_quant quant;
    json_t *dense; /* borrowed: modules_to_not_convert; NULL: none */
    bool tied;
    int n_layer;
    int n_rot; /* rotated dimensions of a head */
    const tern_import_opts *opts;
    tern_err *err;
} tern_folder;

/* Read config.json (and what lies beside it) into f and put the keys into f->out. */
TERN_CHECK tern_code tern_folder_config(tern_folder *f);
/* Put the tensors of raw, under their new names, into f->out; raw's maps stay its own. */
TERN_CHECK tern_code tern_folder_tensors(tern_folder *f, const tern_dir *raw);

#endif
