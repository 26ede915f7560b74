/* What a fuzz target defines. It must accept any bytes, keep no state between inputs and return 0;
 * a finding is a crash, a sanitizer report, a leak or an input that takes too long. */
#ifndef TERN_TESTS_FUZZ_H
#define TERN_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
