/* What a fuzz target defines. It must accept any bytes, keep no state between inputs and return 0;
 * a finding is a crash, a sanitizer report, a leak or an input that takes too long. */
#ifndef TERN_TESTS_FUZZ_H
#define TERN_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An allocator's observer that adds sizes up in *(size_t *)ctx and refuses nothing. */
static inline bool fuzz_count(void *ctx, const char *site, size_t size)
{
    (void)site;
    *(size_t *)ctx += size;
    return false;
}

static inline void fuzz_must(bool ok)
{
    if (!ok)
        abort();
}

#endif
