/* What the bytes of tensors are: how many zeros, what scales, and what no writer of the format writes. */
#ifndef VERIFY_TENSORS_H
#define VERIFY_TENSORS_H

#include "base/pool.h"
#include "model/import/import.h"

typedef struct verify_stats {
    uint64_t n, n_zero;
    uint64_t n_wild;     /* values or scales that are NaN or infinite */
    uint64_t n_code;     /* codes or bytes that mean nothing in the format */
    uint64_t n_two;      /* codes 3 where the format has them, but ternary weights do not */
    uint64_t n_negative; /* scales below 0 */
    bool ternary;
    double min, max; /* of what is finite: scales of a ternary format, else absolute values */
} verify_stats;

/* Read all of a tensor on the pool. Types that hold no weights have n only. False: memory is exhausted. */
bool verify_tensor(const tern_tensor *t, tern_pool *pool, verify_stats *out);

/* Bytes of the files that belong to no tensor and stand behind the first one; of a single file only. */
uint64_t verify_unused(const tern_dir *d);

#endif
