/* JSON that lies in files beside weights. */
#ifndef TERN_FILE_JSON_FILE_H
#define TERN_FILE_JSON_FILE_H

#include "tern.h"

#include <jansson.h>

/* text[0..n); name is for messages. Keys given twice and whatever else strict JSON forbids are errors.
 * Codes: TERN_E_FORMAT, with the line, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_json_parse(const char *name, const char *text, size_t n, json_t **out,
                                     tern_err *err);
/* A whole file of at most max_bytes. Codes: also TERN_E_NOT_FOUND, TERN_E_IO, TERN_E_LIMIT. */
TERN_CHECK tern_code tern_json_file_read(const char *path, size_t max_bytes, json_t **out,
                                         tern_err *err);

/* The same of files that hold numbers greater than integers can be: all numbers become reals, which are
 * exact up to 2^53. */
TERN_CHECK tern_code tern_json_parse_reals(const char *name, const char *text, size_t n,
                                           json_t **out, tern_err *err);

#endif
