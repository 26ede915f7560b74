/* Chat templates: the subset of Jinja2 that model files use, compiled once, rendered with limits
 * (fuel, depth, output and memory bounds) so that no template can hang or crash the program. */
#ifndef TERN_TEXT_TEMPLATE_H
#define TERN_TEXT_TEMPLATE_H

#include "base/str.h"

#include <jansson.h>

typedef struct tern_template tern_template;

typedef struct tern_template_limits {
    uint64_t fuel;       /* evaluation steps, default 1 M */
    size_t output_bytes; /* default 16 MiB */
    size_t arena_bytes;  /* default 32 MiB */
    int depth;           /* of recursion, default 100 */
} tern_template_limits;

/* Compile src[0..n). Constructs outside the subset fail here: TERN_E_UNSUPPORTED with line and
 * construct; syntax errors are TERN_E_FORMAT. */
TERN_CHECK tern_code tern_template_compile(const char *src, size_t n, tern_template **out,
                                           tern_err *err);
void tern_template_free(tern_template *t);

/* Render with the object vars as global names (messages, add_generation_prompt, bos_token, ...),
 * appending to out. now: seconds since the epoch (UTC) that strftime_now prints. limits may be
 * NULL. Codes: TERN_E_USAGE (raise_exception: the template's own message), TERN_E_FORMAT (an
 * operation the values do not allow), TERN_E_LIMIT, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_template_render(const tern_template *t, const json_t *vars, int64_t now,
                                          const tern_template_limits *limits, tern_str *out,
                                          tern_err *err);

#endif
