/* Regular expressions, the subset of docs/GRAMMAR.md, as the right side of a rule in GBNF. */
#ifndef TERN_SAMPLE_GRAMMAR_REGEX_H
#define TERN_SAMPLE_GRAMMAR_REGEX_H

#include "base/str.h"

typedef struct tern_regex_opts {
    /* What is matched stands in a JSON string: characters that cannot stand there are escaped. */
    bool json;
    /* An alternative without ^ or $ may have anything there, as this says in GBNF; NULL: it is as if they
     * were written. */
    const char *around;
} tern_regex_opts;

/* Append to out. Codes: TERN_E_USAGE, TERN_E_UNSUPPORTED (names the construct), TERN_E_LIMIT, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_regex_to_gbnf(const char *pattern, size_t n, const tern_regex_opts *o,
                                        tern_str *out, tern_err *err);

/* s[0..n) as a literal in GBNF, with its quotes; UTF-8. */
void tern_gbnf_put_text(tern_str *out, const char *s, size_t n);

#endif
