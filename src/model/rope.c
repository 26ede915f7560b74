/* Rotary position embedding, frequencies and scalings: RoPE (Su et al. 2021, arXiv 2104.09864), linear
 * interpolation (Chen et al. 2023, arXiv 2306.15595), YaRN (Peng et al. 2023, arXiv 2309.00071,
 * section 3), the wavelength-dependent rule of Llama 3.1, factors per dimension (LongRoPE, Ding et al.
 * 2024, arXiv 2402.13753). Frequencies and angles are f32, as the
 * training code has them; sine and cosine are taken in f64 and rounded once. */
#include "model/model.h"

#include <math.h>

#define PI 3.14159265358979323846

static float clampf(float x, float lo, float hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* The dimension whose wavelength makes n_rotation turns over the original context (YaRN eq. 17). */
static float yarn_dim(const tern_rope *r, float n_rotation)
{
    return (float)r->n_rot * logf((float)r->n_ctx_orig / (n_rotation * 2.0f * (float)PI)) /
           (2.0f * logf(r->base));
}

static void yarn(const tern_rope *r, float *inv_freq, float *mscale)
{
    float low = clampf(floorf(yarn_dim(r, r->beta_fast)), 0.0f, (float)(r->n_rot - 1));
    float high = clampf(ceilf(yarn_dim(r, r->beta_slow)), 0.0f, (float)(r->n_rot - 1));
    if (high - low < 1e-3f)
        high = low + 1e-3f;
    for (int i = 0; i < r->n_rot / 2; i++) {
        /* 1: as trained; 0: interpolated */
        float keep = 1.0f - clampf(((float)i - low) / (high - low), 0.0f, 1.0f);
        inv_freq[i] = inv_freq[i] / r->factor * (1.0f - keep) + inv_freq[i] * keep;
    }
    /* Attention temperature folded into cos and sin (YaRN eq. 22). */
    *mscale *= r->factor > 1.0f ? 0.1f * logf(r->factor) + 1.0f : 1.0f;
}

static void llama3(const tern_rope *r, float *inv_freq)
{
    float ctx = (float)r->n_ctx_orig;
    for (int i = 0; i < r->n_rot / 2; i++) {
        float wavelen = 2.0f * (float)PI / inv_freq[i];
        float smooth =
            clampf((ctx / wavelen - r->low_freq) / (r->high_freq - r->low_freq), 0.0f, 1.0f);
        inv_freq[i] = (1.0f - smooth) * inv_freq[i] / r->factor + smooth * inv_freq[i];
    }
}

void tern_rope_frequencies(const tern_rope *r, const float *factors, tern_rope_table *out)
{
    float *inv_freq = out->inv_freq;
    out->mscale = r->attn_factor;
    for (int i = 0; i < r->n_rot / 2; i++)
        inv_freq[i] = (float)(1.0 / pow((double)r->base, (double)(2 * i) / (double)r->n_rot));
    switch (r->scaling) {
    case TERN_ROPE_LINEAR:
        for (int i = 0; i < r->n_rot / 2; i++)
            inv_freq[i] /= r->factor;
        break;
    case TERN_ROPE_YARN:
        yarn(r, inv_freq, &out->mscale);
        break;
    case TERN_ROPE_LLAMA3:
        llama3(r, inv_freq);
        break;
    case TERN_ROPE_LONGROPE: /* all in the factors */
    case TERN_ROPE_NONE:
        break;
    }
    if (factors)
        for (int i = 0; i < r->n_rot / 2; i++)
            inv_freq[i] /= factors[i];
}

void tern_rope_row(const tern_rope_table *t, int n_rot, int pos, float *cs)
{
    for (int i = 0; i < n_rot / 2; i++) {
        float angle = (float)pos * t->inv_freq[i];
        cs[2 * i] = (float)cos((double)angle) * t->mscale;
        cs[2 * i + 1] = (float)sin((double)angle) * t->mscale;
    }
}
