/* The two parts of sampling from the teacher that a CPU does slowly through
 * tensor operations: attention of one new token per sequence over a cache, and
 * the largest logits of each row.  Built by teacher.py; numbers are bfloat16
 * where they are uint16_t. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { DIM = 64, GROUP = 3, LONGEST = 4096 }; /* the shapes of SmolLM2-135M */

static inline float wide(uint16_t x)
{
    uint32_t u = (uint32_t)x << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static inline uint16_t narrow(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

/* q [n][kv][group][DIM], rotated; k, v [n][kv][DIM], rotated, are put into the
 * caches [n][kv][room][DIM] at place at[n] first; out [n][kv][group][DIM]. */
void attend(long n, long kv, long room, const int64_t *at, const uint16_t *q, const uint16_t *k,
            const uint16_t *v, uint16_t *k_cache, uint16_t *v_cache, uint16_t *out)
{
    const int group = GROUP;
#pragma omp parallel for schedule(dynamic, 8)
    for (long i = 0; i < n * kv; i++) {
        long last = at[i / kv];
        uint16_t *kc = k_cache + i * room * DIM, *vc = v_cache + i * room * DIM;
        memcpy(kc + last * DIM, k + i * DIM, DIM * 2);
        memcpy(vc + last * DIM, v + i * DIM, DIM * 2);
        float query[GROUP][DIM], score[GROUP][LONGEST], y[GROUP][DIM] = {{0}};
        for (long g = 0; g < group; g++)
            for (int d = 0; d < DIM; d++)
                query[g][d] = wide(q[(i * group + g) * DIM + d]) * 0.125f;
        for (long t = 0; t <= last; t++) {
            float row[DIM];
            for (int d = 0; d < DIM; d++)
                row[d] = wide(kc[t * DIM + d]);
            for (long g = 0; g < group; g++) {
                float s = 0;
                for (int d = 0; d < DIM; d++)
                    s += query[g][d] * row[d];
                score[g][t] = s;
            }
        }
        for (long g = 0; g < group; g++) {
            float top = -INFINITY, sum = 0;
            for (long t = 0; t <= last; t++)
                top = score[g][t] > top ? score[g][t] : top;
            for (long t = 0; t <= last; t++)
                sum += score[g][t] = expf(score[g][t] - top);
            for (long t = 0; t <= last; t++)
                score[g][t] /= sum;
        }
        for (long t = 0; t <= last; t++) {
            float row[DIM];
            for (int d = 0; d < DIM; d++)
                row[d] = wide(vc[t * DIM + d]);
            for (long g = 0; g < group; g++)
                for (int d = 0; d < DIM; d++)
                    y[g][d] += score[g][t] * row[d];
        }
        for (long g = 0; g < group; g++)
            for (int d = 0; d < DIM; d++)
                out[(i * group + g) * DIM + d] = narrow(y[g][d]);
    }
}

/* The `most` largest of each row of x [n][cols], falling: values and their columns; and ln of the sum of exp. */
void largest(long n, long cols, long most, const float *x, float *value, int32_t *column, float *log_sum)
{
#pragma omp parallel for schedule(static)
    for (long i = 0; i < n; i++) {
        const float *row = x + i * cols;
        float *v = value + i * most, sum = 0;
        int32_t *c = column + i * most;
        for (long j = 0; j < most; j++)
            v[j] = -INFINITY, c[j] = 0;
        for (long j = 0; j < cols; j++) {
            if (row[j] <= v[most - 1])
                continue;
            long p = most - 1;
            for (; p > 0 && v[p - 1] < row[j]; p--)
                v[p] = v[p - 1], c[p] = c[p - 1];
            v[p] = row[j], c[p] = (int32_t)j;
        }
        for (long j = 0; j < cols; j++)
            sum += expf(row[j] - v[0]);
        log_sum[i] = v[0] + logf(sum);
    }
}
