#include "npy.h"

#include <stdint.h>
#include <string.h>

/* The header's length, counted with the ten bytes before it, is a multiple of 64. */
#define ALIGN  64
#define PREFIX 10

void cli_npy_header(FILE *f, const size_t *dims, size_t n_dim)
{
    char text[2 * ALIGN];
    size_t cap = sizeof text - PREFIX, n;
    n = (size_t)snprintf(text, cap, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (size_t i = 0; i < n_dim; i++)
        n += (size_t)snprintf(text + n, cap - n,
                              n_dim == 1 ? "%zu,"
                              : i        ? ", %zu"
                                         : "%zu",
                              dims[i]);
    n += (size_t)snprintf(text + n, cap - n, "), }");
    size_t total = (PREFIX + n + 1 + ALIGN - 1) / ALIGN * ALIGN;
    memset(text + n, ' ', total - PREFIX - n);
    n = total - PREFIX;
    text[n - 1] = '\n';
    const uint8_t prefix[PREFIX] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)(n & 255), (uint8_t)(n >> 8)};
    (void)fwrite(prefix, 1, sizeof prefix, f);
    (void)fwrite(text, 1, n, f);
}

void cli_npy_values(FILE *f, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        const uint8_t bytes[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16),
                                  (uint8_t)(bits >> 24)};
        (void)fwrite(bytes, 1, sizeof bytes, f);
    }
}
