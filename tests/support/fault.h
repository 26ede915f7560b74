/* Allocation failures, each in turn. */
#ifndef TERN_TESTS_FAULT_H
#define TERN_TESTS_FAULT_H

#include "tern.h"

typedef enum test_fault_mode {
    TEST_FAULT_ONCE, /* only the Nth allocation fails */
    TEST_FAULT_FROM  /* the Nth and all after it */
} test_fault_mode;

/* One complete run: create, use, free. */
typedef tern_code (*test_fault_fn)(void *ctx, tern_err *err);

/* Runs fn with its first allocation failing, then with its second, and so on until a run in which
 * none failed; that one must succeed. A run in which one failed must give TERN_E_NOMEM and a
 * message. Leaks are left to the leak sanitizer. Returns how many allocations there are, at most
 * n_max (more is a failure: a run that never ends). Single thread. */
int test_fault_sweep(test_fault_fn fn, void *ctx, test_fault_mode mode, int n_max);

/* What fn allocates in bytes, freed or not: for limits on memory. */
size_t test_alloc_bytes(test_fault_fn fn, void *ctx, tern_code *rc, tern_err *err);

#endif
