/* Binary files written as text, so that a table of malformed files can be read. */
#ifndef TERN_TESTS_BYTES_H
#define TERN_TESTS_BYTES_H

#include "base/str.h"

/* Append what the words of script (separated by spaces) stand for:
 *   u8:N u16:N u32:N u64:N   little-endian numbers; a leading '-' wraps
 *   str:TEXT                 u64 length, then the text up to the next space; \xNN is one byte
 *   hex:BYTES                bytes as hex digits
 *   zero:N  fill:N           N bytes 0; N bytes 1 to 255 in turn
 *   pad:N                    zeros up to a multiple of N
 *   gguf:V,T,K               a GGUF header: version, tensors, key/value pairs
 * Fails the test at a word it does not know. */
void test_bytes(tern_str *out, const char *script);

#endif
