/* What a grammar's automaton makes of texts. */
#ifndef TERN_TESTS_GRAMMAR_H
#define TERN_TESTS_GRAMMAR_H

#include "sample/grammar/net.h"

/* 1: accepted; 0: it may become so; -1: never. */
int test_verdict(const tern_net *net, const char *text, size_t n);
/* Fails the test unless a refusal has this code and its message these words. */
void test_refusal(const char *what, tern_code rc, const tern_err *err, tern_code code,
                  const char *says);

#endif
