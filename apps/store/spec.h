/* What a user writes to name a model of somewhere else, and which names may become files here. */
#ifndef STORE_SPEC_H
#define STORE_SPEC_H

#include "base/str.h"

typedef enum store_kind { STORE_HUB, STORE_URL } store_kind;

#define STORE_MAX_PATH 512
#define STORE_MAX_URL  2048

typedef struct store_spec {
    store_kind kind;
    char repo[200];              /* owner/name */
    char revision[128];          /* "main" unless another is asked for */
    char select[STORE_MAX_PATH]; /* a file, or a quantisation as in file names; "": what there is */
    char url[STORE_MAX_URL];     /* of STORE_URL */
} store_spec;

/* "hf:owner/repo[@revision][:file or quantisation]", the same without "hf:", the address of such a
 * repository or file at endpoint, another http(s) address, or a name of models.def.
 * Codes: TERN_E_USAGE. */
TERN_CHECK tern_code store_spec_parse(const char *text, const char *endpoint, store_spec *out,
                                      tern_err *err);
/* The shortest text that parses to the same. */
void store_spec_text(const store_spec *s, tern_str *out);

/* Whether a file name of a repository may be one here: relative, no "..", no control characters. */
bool store_path_ok(const char *s, size_t n);
/* s as the name of a folder: letters, digits, ".", "_" and "-", at most 200 of them. Different texts
 * have different names. */
void store_folder_name(const char *s, tern_str *out);
/* Whether the file name has this quantisation as a word: "Q4_0" is in "x-q4_0.gguf", not in
 * "x-IQ4_0.gguf" or "x-Q4_0_4.gguf". */
bool store_has_word(const char *path, const char *word);

/* ---- names of tested models ---------------------------------------------------------------- */

typedef struct store_known {
    const char *name, *spec, *licence, *about;
} store_known;

/* Row i, or NULL after the last. */
const store_known *store_known_get(size_t i);
const store_known *store_known_find(const char *name);

#endif
