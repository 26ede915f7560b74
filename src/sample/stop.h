/* Stop strings across token borders: text that could still become a stop string is held back. */
#ifndef TERN_SAMPLE_STOP_H
#define TERN_SAMPLE_STOP_H

#include "base/str.h"

typedef struct tern_stop tern_stop;

/* Copies the n strings (each 1..256 bytes, at most 16; else TERN_E_USAGE). */
TERN_CHECK tern_code tern_stop_new(const char *const *strings, size_t n, tern_stop **out,
                                   tern_err *err);
void tern_stop_free(tern_stop *s);
void tern_stop_reset(tern_stop *s);
/* Feed generated text; append to out what can no longer be part of a stop string. Returns the index
 * of the stop string that was completed (the earliest-ending, then the longest), or -1. After a hit
 * nothing more comes out. */
int tern_stop_feed(tern_stop *s, const char *text, size_t n, tern_str *out);
/* The end of generation: release what is held back. */
void tern_stop_finish(tern_stop *s, tern_str *out);

#endif
