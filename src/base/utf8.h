/* UTF-8, strictly as RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF. */
#ifndef TERN_BASE_UTF8_H
#define TERN_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length 1..4 of the valid sequence at s[0..n) with its code point, or 0 if s is invalid or cut. */
int tern_utf8_decode(const char *s, size_t n, uint32_t *cp);
/* Bytes written to out, 1..4; 0 for a surrogate or a value past U+10FFFF. */
int tern_utf8_encode(uint32_t cp, char out[4]);
bool tern_utf8_valid(const char *s, size_t n);
/* How many trailing bytes of s are the beginning of a sequence that more bytes could complete
 * (0..3): a streamed text must hold these back. */
size_t tern_utf8_partial_tail(const char *s, size_t n);

#endif
