/* Coding of rows for screening planes (SCREEN_ROW in kernel.h). The file that includes this names the function,
 * SCREEN_ROW_FN, may say how the signs of a vector become bits, SIGN_BITS(v), and is built for an instruction set;
 * elementwise float operations and sums in WAYS parts give the same bits with any. A row is gone over twice: for its
 * moments, from which the step follows, and for all codes of eight columns at a time, while their remainders are in
 * registers. */
#include "kernels/kernel.h"

#include <math.h>
#include <string.h>

#define WAYS 8 /* columns at once, and independent sums */
#define BLOCK                                                                                      \
    64 /* columns whose codes become bytes together: a loop that compilers make vectors of */

typedef float f32x8 __attribute__((vector_size(4 * WAYS)));
typedef int32_t i32x8 __attribute__((vector_size(4 * WAYS)));

#ifndef SIGN_BITS
#define SIGN_BITS(v) bits_of(&(v))
static inline uint8_t bits_of(const i32x8 *v)
{
    unsigned bits = 0;
    for (int j = 0; j < WAYS; j++)
        bits |= (unsigned)((*v)[j] & 1) << j;
    return (uint8_t)bits;
}
#endif

typedef struct moments {
    f32x8 row;            /* squares with the mean */
    f32x8 square, fourth; /* squares and their squares without it */
    i32x8 max;            /* the bits of the largest sizes */
} moments;

static float sum_of(const f32x8 *parts)
{
    float p[WAYS];
    memcpy(p, parts, sizeof p);
    return ((p[0] + p[1]) + (p[2] + p[3])) + ((p[4] + p[5]) + (p[6] + p[7]));
}

/* No less than the root of a sum of n squares, n / 8 additions of positive terms, of which those below the least
 * normal number may be lost. */
static float norm_of(float squares, int n)
{
    return sqrtf(squares) * (1.0f + 0x1p-10f) + sqrtf((float)n) * 0x1p-62f;
}

/* Takes the mean from the row. */
static void take_moments(float *restrict v, const float *restrict mean, int n, moments *m)
{
    memset(m, 0, sizeof *m);
    for (int i = 0; i < n; i += WAYS) {
        f32x8 x, y, square;
        memcpy(&x, v + i, sizeof x);
        memcpy(&y, mean + i, sizeof y);
        m->row += x * x;
        x -= y;
        memcpy(v + i, &x, sizeof x);
        square = x * x;
        m->square += square;
        m->fourth += square * square;
        i32x8 size = (i32x8)x & INT32_MAX, larger = size > m->max; /* as their bits are */
        m->max = (size & larger) | (m->max & ~larger);
    }
}

/* The coarse step. Of Gaussian values the error is least at 0.34 of their deviation a step, and at 0.42 once finer
 * planes have followed, which do not mend what the coarse one clipped. Both are larger where more values lie far
 * out; these figures leave the fewest rows open of SmolLM2 and of Gaussian ones (docs/HEAD.md). */
static float step_of(const moments *m, int n)
{
    float square = sum_of(&m->square) / (float)n, part[WAYS], max = 0;
    float kurtosis = sum_of(&m->fourth) / (float)n / (square * square);
    float steps = 0.36f + 0.12f * (kurtosis - 3.0f);
    steps = steps > 0.34f ? steps : 0.34f; /* NaN too: of nothing but zeros */
    float step = sqrtf(square) * (steps < 0.6f ? steps : 0.6f);
    memcpy(part, &m->max, sizeof part);
    for (int j = 0; j < WAYS; j++)
        max = part[j] > max ? part[j] : max;
    return step > max / 7.5f ? max / 7.5f : step;
}

static inline float inverse_of(float step)
{
    return step > 0.0f ? 1.0f / step : 0.0f;
}

/* Nearest code of 0..15 at *v / step + 7.5, 0 for NaN; *v becomes the remainder. */
static uint8_t code_one(float *v, float step)
{
    float t = *v * inverse_of(step) + 7.5f;
    t = t > 0.0f ? t : 0.0f;
    t = t < 15.0f ? t : 15.0f;
    int c = (int)(t + 0.5f);
    *v -= ((float)c - 7.5f) * step;
    return (uint8_t)c;
}

/* The same of eight columns. */
static inline void code_eight(f32x8 *v, float inverse, float step, i32x8 *codes)
{
    const i32x8 top = (i32x8)((f32x8){0} + 15.0f);
    f32x8 t = *v * inverse + 7.5f;
    t = (f32x8)((i32x8)t & (t > 0.0f));
    t = (f32x8)(((i32x8)t & (t < 15.0f)) | (top & ~(t < 15.0f)));
    *codes = __builtin_convertvector(t + 0.5f, i32x8);
    *v -= (__builtin_convertvector(*codes, f32x8) - 7.5f) * step;
}

/* Squares of what the planes make, and of what each leaves; half the steps of finer ones. */
typedef struct planes {
    f32x8 size, rest[1 + TERN_SCREEN_MAX_FINE], step[TERN_SCREEN_MAX_FINE];
} planes;

/* Codes of columns i..i+8 in all planes. */
static inline void code_columns(const tern_screen_row *k, int i, const i32x8 *inside, int n_fine,
                                float inverse, i32x8 *codes, planes *p)
{
    f32x8 v, coarse, left;
    i32x8 keep;
    memcpy(&v, k->v + i, sizeof v);
    memcpy(&keep, k->keep + i, sizeof keep);
    code_eight(&v, inverse, k->step, codes);
    coarse = (f32x8)((i32x8)(__builtin_convertvector(*codes, f32x8) - 7.5f) & *inside);
    p->size += coarse * coarse;
    left = (f32x8)((i32x8)v & keep);
    p->rest[0] += left * left;
    for (int f = 0; f < n_fine; f++) {
        i32x8 above = v > 0.0f;
        k->fine[f][i / WAYS] = SIGN_BITS(above);
        v -= (f32x8)((i32x8)p->step[f] | (~above & INT32_MIN)); /* step or -step */
        left = (f32x8)((i32x8)v & keep);
        p->rest[1 + f] += left * left;
    }
}

/* The row by value, for codes are written that it might be made of. */
static inline void code_row(const tern_screen_row k, int n_fine, planes *p)
{
    float inverse = inverse_of(k.step);
    i32x8 inside = (i32x8){0} - 1, codes;
    int i = 0;
    memset(p, 0, sizeof *p);
    for (int f = 0; f < n_fine; f++)
        p->step[f] += k.step / (float)(4 << f);
    for (; i + BLOCK <= k.n; i += BLOCK) {
        uint8_t *restrict to = k.codes + i;
        int32_t wide[BLOCK];
        for (int j = 0; j < BLOCK; j += WAYS) {
            code_columns(&k, i + j, &inside, n_fine, inverse, &codes, p);
            memcpy(wide + j, &codes, sizeof codes);
        }
        for (int j = 0; j < BLOCK; j++)
            to[j] = (uint8_t)wide[j];
    }
    for (; i < k.n; i += WAYS) {
        for (int j = 0; j < WAYS; j++)
            inside[j] = i + j < k.n ? -1 : 0;
        code_columns(&k, i, &inside, n_fine, inverse, &codes, p);
        for (int j = 0; j < WAYS && i + j < k.n; j++)
            k.codes[i + j] = (uint8_t)codes[j];
    }
}

/* Columns of extra have two more codes each; *size and *rest gain their squares. */
static void code_extra(const tern_screen_row *k, float *size, float *rest)
{
    for (int j = 0; j < k->n_extra; j++) {
        float left = k->v[k->extra[j]];
        uint8_t *codes = k->codes + k->n + 2 * j;
        (void)code_one(&left, k->step);
        codes[0] = code_one(&left, k->step);
        codes[1] = code_one(&left, k->step / 16.0f);
        for (int i = 0; i < 2; i++)
            *size += ((float)codes[i] - 7.5f) * ((float)codes[i] - 7.5f);
        *rest += 256.0f * (left * left);
    }
}

void SCREEN_ROW_FN(tern_screen_row *k)
{
    size_t used = ((size_t)k->n + 7) / 8;
    moments m;
    planes p;
    take_moments(k->v, k->mean, k->n, &m);
    k->norm = norm_of(sum_of(&m.row), k->n);
    k->step = step_of(&m, k->n);
    if (k->n_fine == 0) /* numbers that compilers see, for sums in registers */
        code_row(*k, 0, &p);
    else if (k->n_fine == 1)
        code_row(*k, 1, &p);
    else
        code_row(*k, 2, &p);
    float size = sum_of(&p.size), rest = 0;
    code_extra(k, &size, &rest);
    k->size = k->step * sqrtf(size) * (1.0f + 0x1p-20f);
    for (int i = 0; i <= k->n_fine; i++)
        k->radius[i] = norm_of(sum_of(&p.rest[i]) + rest, k->n);
    for (int i = 0; i < k->n_fine; i++)
        memset(k->fine[i] + used, 0, tern_n1_row_bytes(k->n) - used);
}
_Static_assert(TERN_SCREEN_MAX_FINE == 2, "numbers of planes that are written out");
