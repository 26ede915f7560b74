/* A growable byte string with a maximum size and a sticky failure: append freely, look once at the
 * end. data is always NUL-terminated (the NUL is not counted). */
#ifndef TERN_BASE_STR_H
#define TERN_BASE_STR_H

#include "tern.h"

typedef struct tern_str {
    char *data; /* owned; NULL until the first append */
    size_t len, cap, max;
    bool failed; /* memory or max exhausted; later appends do nothing */
} tern_str;

void tern_str_init(tern_str *s, size_t max_bytes);
void tern_str_done(tern_str *s);
void tern_str_clear(tern_str *s); /* len = 0, failed = false, memory kept */
void tern_str_put(tern_str *s, const void *bytes, size_t n);
void tern_str_puts(tern_str *s, const char *text);
void tern_str_putc(tern_str *s, char c);
void tern_str_printf(tern_str *s, const char *fmt, ...) TERN_PRINTF(2, 3);
/* "" when empty; never NULL. */
const char *tern_str_get(const tern_str *s);
/* Hand the bytes over (free with tern_free) and become empty; NULL if failed. */
char *tern_str_take(tern_str *s);

/* s[0..n) as it may be shown in a message: bytes that are not printable UTF-8 as \xNN, and what is
 * too long for buf cut in the middle ("blk.0...weight"). Returns buf, NUL-terminated; cap >= 16. */
const char *tern_quote(char *buf, size_t cap, const char *s, size_t n);

#endif
