/* Chat templates: the subset of Jinja2 that model files use, compiled once, rendered with limits
 * (fuel, depth, output and memory bounds) so that no template can hang or crash the program.
 *
 * The meaning is that of Python's immutable sandbox as chat models are trained with: trim_blocks,
 * lstrip_blocks, break and continue, a tojson that escapes nothing, raise_exception, strftime_now
 * and {% generation %}. A template sees its variables and these functions, nothing else.
 * Differences: integers have 64 bits; include, import, extends, block, autoescape and recursive
 * loops are refused.
 * Threads: a compiled template is immutable and may be rendered by several at once. */
#ifndef TERN_TEXT_TEMPLATE_H
#define TERN_TEXT_TEMPLATE_H

#include "base/str.h"

#include <jansson.h>

typedef struct tern_template tern_template;

typedef struct tern_template_limits {
    uint64_t fuel;       /* evaluation steps; 256 bytes of text handled are one more */
    size_t output_bytes; /* the output, and every string on its way into one */
    size_t arena_bytes;  /* all values of a render together */
    int depth;           /* macro calls within each other; expressions nest ten times as deep */
} tern_template_limits;

/* 1 M steps, 16 MiB, 32 MiB, 100. */
#define TERN_TEMPLATE_LIMITS                                                                       \
    {                                                                                              \
        .fuel = 1000000, .output_bytes = (size_t)16 << 20, .arena_bytes = (size_t)32 << 20,        \
        .depth = 100                                                                               \
    }

/* Compile src[0..n). Constructs outside the subset fail here: TERN_E_UNSUPPORTED with line and
 * construct; syntax errors are TERN_E_FORMAT; nesting deeper than 100 is TERN_E_LIMIT. */
TERN_CHECK tern_code tern_template_compile(const char *src, size_t n, tern_template **out,
                                           tern_err *err);
void tern_template_free(tern_template *t);

/* Render with the object vars (NULL: none) as global names (messages, add_generation_prompt,
 * bos_token, ...), appending to out, which is unchanged on failure. now: seconds since the epoch
 * that strftime_now prints as UTC. limits may be NULL. Codes: TERN_E_USAGE (raise_exception: the
 * template's own message), TERN_E_FORMAT (an operation the values do not allow), TERN_E_UNSUPPORTED
 * (a rarity that only the values reveal), TERN_E_LIMIT, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_template_render(const tern_template *t, const json_t *vars, int64_t now,
                                          const tern_template_limits *limits, tern_str *out,
                                          tern_err *err);

#endif
