/* Compares a .npy file with raw little-endian float32 values of other software:
 * check_npy FILE.npy SHAPE RAW OFFSET BOUND
 * SHAPE as it stands in the header ("64, 264"); values from float OFFSET of RAW on; the largest
 * difference is at most BOUND times the largest value. The header is read by the format's own
 * description (magic, version 1.0, length, a dictionary ending in a newline at a multiple of 64). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float *read_file(const char *path, size_t *n_bytes)
{
    FILE *f = fopen(path, "rb");
    float *data = malloc((size_t)16 << 20);
    *n_bytes = f && data ? fread(data, 1, (size_t)16 << 20, f) : 0;
    if (f)
        fclose(f);
    return data;
}

static int fail(const char *what)
{
    fprintf(stderr, "check_npy: %s\n", what);
    return 1;
}

int main(int argc, char **argv)
{
    char want[128];
    size_t n, n_raw;
    if (argc != 6)
        return fail("usage");
    float *file = read_file(argv[1], &n), *raw = read_file(argv[3], &n_raw);
    const unsigned char *b = (const unsigned char *)file;
    if (!file || !raw || n < 10 || memcmp(b, "\x93NUMPY\x01\x00", 8) != 0)
        return fail("not a version 1.0 file");
    size_t head = 10 + (size_t)b[8] + 256 * (size_t)b[9];
    if (head % 64 != 0 || head > n || b[head - 1] != '\n')
        return fail("the header is not padded to 64 bytes with a newline at its end");
    snprintf(want, sizeof want, "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }",
             argv[2]);
    if (head < 10 + strlen(want) || memcmp(b + 10, want, strlen(want)) != 0) {
        fprintf(stderr, "check_npy: header '%.*s'\n", (int)(head - 11), (const char *)b + 10);
        return 1;
    }
    const float *x = file + head / 4, *y = raw + strtoul(argv[4], NULL, 10);
    size_t n_value = (n - head) / 4, offset = (size_t)(y - raw);
    double worst = 0.0, largest = 0.0;
    if (n_value == 0 || (n_value + offset) * 4 > n_raw)
        return fail("the values are too few or too many");
    for (size_t i = 0; i < n_value; i++) {
        double d = fabs((double)x[i] - (double)y[i]);
        worst = !(d <= worst) ? d : worst; /* a NaN stays */
        largest = fmax(largest, fabs((double)y[i]));
    }
    printf("%zu values, worst difference %g of %g\n", n_value, worst, largest);
    free(file);
    free(raw);
    return worst <= strtod(argv[5], NULL) * largest ? 0 : fail("the difference is too large");
}
