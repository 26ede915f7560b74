#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>

uint8_t *test_read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    (void)fseek(f, 0, SEEK_END);
    long size = ftell(f);
    (void)fseek(f, 0, SEEK_SET);
    uint8_t *p = malloc((size_t)size + 1);
    if (p && fread(p, 1, (size_t)size, f) != (size_t)size) {
        free(p);
        p = NULL;
    }
    (void)fclose(f);
    if (p) {
        p[size] = 0;
        *n = (size_t)size;
    }
    return p;
}

uint32_t test_rand(uint32_t *state)
{
    *state = (uint32_t)((1103515245ull * *state + 12345) & 0x7fffffff);
    return *state >> 16;
}

uint32_t test_crc32(const void *data, size_t n)
{
    const uint8_t *p = data;
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ (0xedb88320u & (0u - (c & 1)));
    }
    return ~c;
}
