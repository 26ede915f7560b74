/* A list of texts as a rule in GBNF. */
#ifndef TERN_SAMPLE_GRAMMAR_CHOICE_H
#define TERN_SAMPLE_GRAMMAR_CHOICE_H

#include "base/str.h"

/* Append the rule "root" for a JSON array of strings. Codes: TERN_E_USAGE, TERN_E_LIMIT, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_choice_write(const char *list, size_t n, tern_str *out, tern_err *err);

#endif
