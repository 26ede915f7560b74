/* Grammars in llama.cpp's notation, docs/GRAMMAR.md, to a network. */
#ifndef TERN_SAMPLE_GRAMMAR_GBNF_H
#define TERN_SAMPLE_GRAMMAR_GBNF_H

#include "sample/grammar/net.h"

/* Rule "root" is the answer. Codes: TERN_E_USAGE (names the line), TERN_E_UNSUPPORTED, TERN_E_LIMIT,
 * TERN_E_NOMEM. */
TERN_CHECK tern_code tern_gbnf_compile(const char *text, size_t n, tern_net *out, tern_err *err);

#endif
