/* How the weights are drawn.
 *
 * All matrices: independent trits, 42 % zeros as in BitNet-b1.58-2B-4T, scaled so that outputs have
 * the magnitudes named below. In units where an embedding row has RMS 1:
 *
 * Embedding row of token i   e_i = M + A c_k(i) + B n_i,  M^2 + A^2 + B^2 = 1, c and n standard normal
 *   M  a constant. It survives in the residual stream x, so the normed input of every gate has the
 *      known mean mu = M / rms(x), and gate rows whose trits have mean t give outputs of mean t mu
 *      sqrt(d / variance) in standard deviations: t sets the share of zeros after squared ReLU.
 *   c  shared by a cluster of 64 tokens. The output norm has random signs g, and odd clusters have
 *      c_k = g c_(k-1): the logits of one cluster's partner stand above all others when its token
 *      comes in, and which of the 64 is best depends on the rest of x. The head (tied, or equal) thus
 *      has one peak of some candidates, as trained heads have, and text does not repeat one token.
 *
 * Each of the 2 L blocks' halves adds an output of power D^2 to x. They are uncorrelated, so x has
 * power 1 + 2 L D^2 in the end, and keeps the share RHO of the token's embedding. */
#include "bench/synthetic.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/num.h"
#include "base/str.h"
#include "file/gguf_write.h"
#include "tensor/half.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>

#define P_ZERO      0.42
#define CLUSTER     64
#define RHO         0.6
#define MEAN_POWER  0.5  /* M^2 */
#define CENTRE_MAX  0.37 /* A^2 */
#define CENTRE_SD   5.0  /* of the partner cluster's logits above the others */
#define NORM_SPREAD 0.1  /* of norm weights around 1 */
#define N_NORMAL    4096
#define OVERHEAD    ((uint64_t)256 << 20) /* program, vocabulary, buffers, a short context */
#define TMPFS_MAGIC 0x01021994
#define Q6_K_BYTES  210
#define I2_S_TAIL   32
#define CHUNK       ((size_t)1 << 20)

/* ---- shapes -------------------------------------------------------------------------------- */

static const bench_shape shapes[] = {
#define SHAPE(...) {__VA_ARGS__},
#include "bench/shapes.def"
#undef SHAPE
};
#define N_SHAPE (sizeof shapes / sizeof shapes[0])

tern_code bench_shape_find(const char *name, const bench_shape **out, tern_err *err)
{
    char list[160] = "";
    size_t n = 0;
    for (size_t i = 0; i < N_SHAPE; i++) {
        if (strcmp(shapes[i].name, name) == 0) {
            *out = &shapes[i];
            return TERN_OK;
        }
        n += (size_t)snprintf(list + n, sizeof list - n, " %s", shapes[i].name);
    }
    return tern_fail(err, TERN_E_USAGE, "no shape '%.32s': there are%s", name, list);
}

/* I2_S wants rows of whole blocks of 128 weights. */
static tern_dtype matrix_type(const bench_shape *s)
{
    return s->d_model % 128 == 0 && s->d_ff % 128 == 0 ? TERN_DT_I2_S : TERN_DT_IQ2_BN;
}

/* ---- random numbers ------------------------------------------------------------------------ */

typedef struct maker {
    const bench_synthetic *s;
    tern_gguf_writer *w;
    tern_err *err;
    double centre_power, noise_power, update; /* A^2, B^2, D */
    float normal[N_NORMAL];                   /* quantiles of the standard normal distribution */
    uint8_t *signs;                           /* owned; [d_model] of the output norm: 1 negative */
    uint8_t *chunk;                           /* owned; CHUNK bytes */
    double done, total;                       /* bytes, for progress */
} maker;

/* xorshift64* (Vigna 2016) seeded from a tensor's name, so that each is the same whatever came
 * before it. */
static uint64_t seed_of(const char *name, uint64_t salt)
{
    uint64_t h = tern_hash64(name, strlen(name), salt);
    return h ? h : 1;
}

static inline uint64_t next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1du;
}

/* Where the standard normal distribution reaches p. */
static double quantile(double p)
{
    double lo = -9.0, hi = 9.0;
    for (int i = 0; i < 60; i++) {
        double mid = 0.5 * (lo + hi);
        if (0.5 * erfc(-mid / sqrt(2.0)) < p)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

static inline float normal(const maker *m, uint64_t *state)
{
    return m->normal[next(state) >> 52];
}

static void init(maker *m)
{
    const bench_shape *h = m->s->shape;
    double root = sqrt((double)h->d_model), mean = 0.0;
    for (int i = 0; i < N_NORMAL; i++)
        m->normal[i] = (float)quantile((i + 0.5) / N_NORMAL);
    /* A logit of the partner cluster has mean RHO A^2 d, others the standard deviation
     * sqrt((1 - M^2) d), x being scaled to RMS 1: solve for CENTRE_SD of them. */
    mean = CENTRE_SD * sqrt(1.0 - MEAN_POWER) / (RHO * root);
    m->centre_power = mean < CENTRE_MAX ? mean : CENTRE_MAX;
    m->noise_power = 1.0 - MEAN_POWER - m->centre_power;
    m->update = sqrt((1.0 / (RHO * RHO) - 1.0) / (2.0 * h->n_layer));
    uint64_t state = seed_of("signs", 0);
    for (int i = 0; i < h->d_model; i++)
        m->signs[i] = (uint8_t)(next(&state) >> 63);
}

static tern_code put(maker *m, const void *bytes, size_t n)
{
    TERN_TRY(tern_gguf_writer_data(m->w, bytes, n, m->err));
    m->done += (double)n;
    if (m->s->progress && !m->s->progress(m->s->ctx, m->done / m->total))
        return tern_fail(m->err, TERN_E_CANCELLED, "cancelled");
    return TERN_OK;
}

/* ---- ternary matrices ---------------------------------------------------------------------- */

/* byte[r], r uniform: four codes, each with the chances p of 0, 1, 2. */
typedef struct byte_table {
    uint8_t byte[65536];
} byte_table;

static void make_table(const double p[3], byte_table *t)
{
    double sum = 0.0;
    size_t at = 0;
    for (unsigned i = 0; i < 81; i++) {
        unsigned c[4] = {i % 3, i / 3 % 3, i / 9 % 3, i / 27};
        sum += p[c[0]] * p[c[1]] * p[c[2]] * p[c[3]];
        size_t end = i == 80 ? 65536 : (size_t)(sum * 65536.0 + 0.5);
        for (; at < end && at < 65536; at++)
            t->byte[at] = (uint8_t)(c[0] | c[1] << 2 | c[2] << 4 | c[3] << 6);
    }
}

static void fill_codes(const byte_table *t, uint64_t *state, uint8_t *p, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        uint64_t r = next(state);
        p[i] = t->byte[r & 0xffff];
        p[i + 1] = t->byte[r >> 16 & 0xffff];
        p[i + 2] = t->byte[r >> 32 & 0xffff];
        p[i + 3] = t->byte[r >> 48];
    }
    for (; i < n; i++)
        p[i] = t->byte[next(state) >> 48];
}

/* Trits of mean tilt and magnitude scale. */
static tern_code write_matrix(maker *m, const char *name, size_t rows, size_t cols, double tilt,
                              double scale)
{
    const double p[3] = {0.5 * (1.0 - P_ZERO - tilt), P_ZERO, 0.5 * (1.0 - P_ZERO + tilt)};
    bool by_row = matrix_type(m->s->shape) == TERN_DT_IQ2_BN;
    uint32_t bits = tern_f32_bits((float)scale);
    const uint8_t head[I2_S_TAIL] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16),
                                     (uint8_t)(bits >> 24)};
    size_t run = by_row ? cols / 4 : rows * (cols / 4); /* bytes between two scales */
    uint64_t state = seed_of(name, 0);
    byte_table *t = tern_alloc(sizeof *t);
    tern_code rc = TERN_OK;
    if (!t)
        return tern_fail(m->err, TERN_E_NOMEM, "out of memory");
    make_table(p, t);
    for (size_t i = 0; rc == TERN_OK && i < (by_row ? rows : 1); i++) {
        if (by_row)
            rc = put(m, head, sizeof bits);
        for (size_t at = 0, n; rc == TERN_OK && at < run; at += n) {
            n = run - at < CHUNK ? run - at : CHUNK;
            fill_codes(t, &state, m->chunk, n);
            rc = put(m, m->chunk, n);
        }
    }
    if (rc == TERN_OK && !by_row)
        rc = put(m, head, I2_S_TAIL);
    tern_free(t);
    return rc;
}

/* Outputs of RMS 1 for inputs of RMS 1. */
static double unit_scale(int cols)
{
    return 1.0 / sqrt(cols * (1.0 - P_ZERO));
}

/* The mean of the gate's trits that makes this share of its outputs zero or less. With z the share's
 * quantile, t must solve  -t mu sqrt(d) = z sqrt(1 - P_ZERO - t^2). */
static double gate_tilt(const maker *m, int layer)
{
    const bench_shape *h = m->s->shape;
    double share = m->s->zeros;
    double power = 1.0 + (2.0 * layer + 1.0) * m->update * m->update;
    double mu = sqrt(MEAN_POWER / power);
    double z = share <= 0.0 ? -5.5 : quantile(share); /* -5.5: one in 50 million */
    double r = z / (mu * sqrt((double)h->d_model));
    double t = -r * sqrt((1.0 - P_ZERO) / (1.0 + r * r)), most = 1.0 - P_ZERO;
    return fmin(fmax(t, -most), most);
}

/* ---- norms and the embedding --------------------------------------------------------------- */

static tern_code write_norm(maker *m, const char *name, size_t n, bool signs)
{
    uint64_t state = seed_of(name, 0);
    float *v = (float *)(void *)m->chunk;
    if (n > CHUNK / sizeof *v)
        return tern_fail(m->err, TERN_E_LIMIT, "tensor '%s' is too long", name);
    for (size_t i = 0; i < n; i++) {
        v[i] = 1.0f + (float)NORM_SPREAD * normal(m, &state);
        if (signs && m->signs[i])
            v[i] = -v[i];
    }
    return put(m, v, n * sizeof *v); /* little-endian hosts only, as the whole program */
}

static void cluster_centre(const maker *m, size_t k, float *c)
{
    uint64_t state = seed_of("centre", k / 2 + 1);
    int d = m->s->shape->d_model;
    float scale = (float)sqrt(m->centre_power);
    for (int i = 0; i < d; i++) {
        float x = scale * normal(m, &state);
        c[i] = (float)sqrt(MEAN_POWER) + (k % 2 && m->signs[i] ? -x : x);
    }
}

/* One block of 256 values as Q6_K with the same scale for all: 32 steps reach 4.5 RMS. */
static void put_q6_k(const float *x, uint8_t *b)
{
    const float step = 4.5f / 32.0f;
    uint16_t d = tern_f32_half(step / 64.0f);
    memset(b, 0, Q6_K_BYTES);
    for (unsigned e = 0; e < 256; e++) {
        unsigned h = e / 128, n = e % 128 / 32, l = e % 32;
        int q = (int)lrintf(x[e] / step);
        unsigned u = (unsigned)((q < -32 ? -32 : q > 31 ? 31 : q) + 32);
        uint8_t *low = b + 64 * h + 32 * (n & 1) + l, *high = b + 128 + 32 * h + l;
        *low = (uint8_t)(*low | (u & 15) << (n >= 2 ? 4 : 0));
        *high = (uint8_t)(*high | u >> 4 << 2 * n);
    }
    memset(b + 192, 64, 16);
    b[208] = (uint8_t)d;
    b[209] = (uint8_t)(d >> 8);
}

static size_t pack_row(const float *x, size_t n, bool q6_k, uint8_t *dst)
{
    if (q6_k) {
        for (size_t i = 0; i < n; i += 256)
            put_q6_k(x + i, dst + i / 256 * Q6_K_BYTES);
        return n / 256 * Q6_K_BYTES;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t v = tern_f32_half(x[i]);
        dst[2 * i] = (uint8_t)v;
        dst[2 * i + 1] = (uint8_t)(v >> 8);
    }
    return 2 * n;
}

static tern_code write_embedding(maker *m, bool q6_k)
{
    size_t d = (size_t)m->s->shape->d_model, n_vocab = (size_t)m->s->shape->n_vocab;
    float *centre = tern_calloc(2 * d, sizeof *centre);
    float *x = centre + d, noise = (float)sqrt(m->noise_power);
    uint64_t state = seed_of("embedding", 0);
    tern_code rc = TERN_OK;
    if (!centre)
        return tern_fail(m->err, TERN_E_NOMEM, "out of memory");
    for (size_t row = 0; rc == TERN_OK && row < n_vocab; row++) {
        if (row % CLUSTER == 0)
            cluster_centre(m, row / CLUSTER, centre);
        for (size_t i = 0; i < d; i++)
            x[i] = centre[i] + noise * normal(m, &state);
        rc = put(m, m->chunk, pack_row(x, d, q6_k, m->chunk));
    }
    tern_free(centre);
    return rc;
}

/* ---- the file ------------------------------------------------------------------------------ */

typedef enum kind { EMBEDDING, OUTPUT, OUTPUT_NORM, NORM, MATRIX } kind;

/* One tensor: every pass over the file (declaring, writing) sees them in the same order. */
typedef struct part {
    kind what;
    char name[48];
    size_t rows, cols; /* of a norm: cols alone */
    double tilt, scale;
} part;

typedef tern_code (*part_fn)(maker *m, const part *p);

static tern_code each_matrix(maker *m, part_fn fn, int layer, const char *name, int rows, int cols,
                             double tilt, double magnitude)
{
    part p = {.what = MATRIX,
              .rows = (size_t)rows,
              .cols = (size_t)cols,
              .tilt = tilt,
              .scale = magnitude * unit_scale(cols)};
    (void)snprintf(p.name, sizeof p.name, "blk.%d.%s.weight", layer, name);
    return fn(m, &p);
}

static tern_code each_norm(maker *m, part_fn fn, int layer, const char *name, int n)
{
    part p = {.what = NORM, .cols = (size_t)n};
    (void)snprintf(p.name, sizeof p.name, "blk.%d.%s.weight", layer, name);
    return fn(m, &p);
}

static tern_code each_of_layer(maker *m, part_fn fn, int i)
{
    const bench_shape *h = m->s->shape;
    int d = h->d_model, q = h->n_head * h->d_head, kv = h->n_kv_head * h->d_head;
    bool sub = strncmp(h->arch, "bitnet", 6) == 0;
    /* silu(g) u of standard normal g and u has RMS 0.6, which no norm evens out there. */
    double down = m->update / (sub ? 1.0 : 0.6), tilt = h->relu2 ? gate_tilt(m, i) : 0.0;
    TERN_TRY(each_norm(m, fn, i, "attn_norm", d));
    TERN_TRY(each_matrix(m, fn, i, "attn_q", q, d, 0.0, 1.4)); /* attention that prefers some */
    TERN_TRY(each_matrix(m, fn, i, "attn_k", kv, d, 0.0, 1.0));
    TERN_TRY(each_matrix(m, fn, i, "attn_v", kv, d, 0.0, 1.0));
    if (sub)
        TERN_TRY(each_norm(m, fn, i, "attn_sub_norm", q));
    TERN_TRY(each_matrix(m, fn, i, "attn_output", d, q, 0.0, m->update));
    TERN_TRY(each_norm(m, fn, i, "ffn_norm", d));
    TERN_TRY(each_matrix(m, fn, i, "ffn_gate", h->d_ff, d, tilt, 1.0));
    TERN_TRY(each_matrix(m, fn, i, "ffn_up", h->d_ff, d, 0.0, 1.0));
    if (sub)
        TERN_TRY(each_norm(m, fn, i, "ffn_sub_norm", h->d_ff));
    return each_matrix(m, fn, i, "ffn_down", d, h->d_ff, 0.0, down);
}

static tern_code each_part(maker *m, part_fn fn)
{
    const bench_shape *h = m->s->shape;
    size_t d = (size_t)h->d_model, n_vocab = (size_t)h->n_vocab;
    const part embedding = {EMBEDDING, "token_embd.weight", n_vocab, d, 0.0, 0.0};
    const part norm = {OUTPUT_NORM, "output_norm.weight", 0, d, 0.0, 0.0};
    const part output = {OUTPUT, "output.weight", n_vocab, d, 0.0, 0.0};
    TERN_TRY(fn(m, &embedding));
    TERN_TRY(fn(m, &norm));
    if (!h->tied)
        TERN_TRY(fn(m, &output));
    for (int i = 0; i < h->n_layer; i++)
        TERN_TRY(each_of_layer(m, fn, i));
    return TERN_OK;
}

static tern_dtype part_type(const maker *m, const part *p)
{
    bool is_head = p->what == OUTPUT || (p->what == EMBEDDING && m->s->shape->tied);
    if (p->what == MATRIX)
        return matrix_type(m->s->shape);
    if (p->what == EMBEDDING || p->what == OUTPUT)
        return is_head && m->s->head_q6_k ? TERN_DT_Q6_K : TERN_DT_F16;
    return TERN_DT_F32;
}

static tern_code declare(maker *m, const part *p)
{
    const size_t ne[2] = {p->cols, p->rows};
    tern_gguf_tensor(m->w, p->name, part_type(m, p), p->rows ? 2 : 1, ne);
    return TERN_OK;
}

static tern_code write_part(maker *m, const part *p)
{
    switch (p->what) {
    case EMBEDDING:
    case OUTPUT:
        return write_embedding(m, part_type(m, p) == TERN_DT_Q6_K);
    case MATRIX:
        return write_matrix(m, p->name, p->rows, p->cols, p->tilt, p->scale);
    case NORM:
    case OUTPUT_NORM:
        break;
    }
    return write_norm(m, p->name, p->cols, p->what == OUTPUT_NORM);
}

/* A byte as the letter that byte-level vocabularies write for it (GPT-2's table), in UTF-8. */
static size_t byte_letter(unsigned byte, char *out)
{
    unsigned shifted = 0, cp = byte;
    for (unsigned b = 0; b <= byte; b++) {
        bool plain = (b >= 33 && b <= 126) || (b >= 161 && b != 173);
        if (!plain && b == byte)
            cp = 256 + shifted;
        shifted += !plain;
    }
    if (cp < 128) {
        out[0] = (char)cp;
        return 1;
    }
    out[0] = (char)(0xC0 | cp >> 6);
    out[1] = (char)(0x80 | (cp & 63));
    return 2;
}

/* All bytes, then words of four letters with a blank before them; the last two are control tokens. */
static tern_code declare_vocabulary(maker *m)
{
    enum { CAP = 8 };
    size_t n = (size_t)m->s->shape->n_vocab;
    uint32_t bos = n > 128001 ? 128000 : (uint32_t)n - 2;
    tern_slice *tokens = tern_calloc(n, sizeof *tokens);
    char *text = tern_calloc(n, CAP);
    int32_t *types = tern_calloc(n, sizeof *types);
    tern_code rc = TERN_OK;
    if (!tokens || !text || !types) {
        rc = tern_fail(m->err, TERN_E_NOMEM, "out of memory for the vocabulary");
        goto fail;
    }
    for (size_t i = 0; i < n; i++) {
        char *t = text + i * CAP;
        size_t len = i < 256 ? byte_letter((unsigned)i, t) : 6;
        if (i >= 256) {
            size_t word = i - 256;
            t[0] = (char)0xC4; /* the blank's letter */
            t[1] = (char)0xA0;
            for (int j = 5; j >= 2; j--, word /= 26)
                t[j] = (char)('a' + word % 26);
        }
        tokens[i] = (tern_slice){t, len};
        types[i] = 1;
    }
    tokens[bos] = (tern_slice){"<|begin_of_text|>", 17};
    tokens[bos + 1] = (tern_slice){"<|end_of_text|>", 15};
    types[bos] = types[bos + 1] = 3;
    tern_gguf_key_str(m->w, "tokenizer.ggml.model", "gpt2");
    tern_gguf_key_str(m->w, "tokenizer.ggml.pre", "llama-bpe");
    tern_gguf_key_bool(m->w, "tokenizer.ggml.add_bos_token", true);
    tern_gguf_key_strs(m->w, "tokenizer.ggml.tokens", tokens, n);
    tern_gguf_key_strs(m->w, "tokenizer.ggml.merges", NULL, 0);
    tern_gguf_key_numbers(m->w, "tokenizer.ggml.token_type", TERN_META_I32, types, n);
    tern_gguf_key_u32(m->w, "tokenizer.ggml.bos_token_id", bos);
    tern_gguf_key_u32(m->w, "tokenizer.ggml.eos_token_id", bos + 1);
fail:
    tern_free(tokens);
    tern_free(text);
    tern_free(types);
    return rc;
}

static void key_u32(maker *m, const char *suffix, int v)
{
    char key[80];
    (void)snprintf(key, sizeof key, "%s.%s", m->s->shape->arch, suffix);
    tern_gguf_key_u32(m->w, key, (uint32_t)v);
}

static void key_f32(maker *m, const char *suffix, float v)
{
    char key[80];
    (void)snprintf(key, sizeof key, "%s.%s", m->s->shape->arch, suffix);
    tern_gguf_key_f32(m->w, key, v);
}

static void declare_keys(maker *m)
{
    const bench_shape *h = m->s->shape;
    char name[64], key[80];
    (void)snprintf(name, sizeof name, "SYNTHETIC %s", h->name);
    tern_gguf_key_str(m->w, "general.architecture", h->arch);
    tern_gguf_key_str(m->w, "general.name", name);
    key_u32(m, "vocab_size", h->n_vocab);
    key_u32(m, "context_length", h->n_ctx);
    key_u32(m, "embedding_length", h->d_model);
    key_u32(m, "block_count", h->n_layer);
    key_u32(m, "feed_forward_length", h->d_ff);
    key_u32(m, "rope.dimension_count", h->d_head);
    key_u32(m, "attention.head_count", h->n_head);
    key_u32(m, "attention.head_count_kv", h->n_kv_head);
    key_u32(m, "attention.key_length", h->d_head);
    key_u32(m, "attention.value_length", h->d_head);
    key_f32(m, "attention.layer_norm_rms_epsilon", h->rms_eps);
    key_f32(m, "rope.freq_base", h->rope_base);
    (void)snprintf(key, sizeof key, "%s.hidden_activation", h->arch);
    tern_gguf_key_str(m->w, key, h->relu2 ? "relu2" : "silu");
    tern_gguf_key_u32(m->w, "general.file_type", 40); /* mostly I2_S */
    tern_gguf_key_u32(m->w, "general.quantization_version", 2);
}

static void maker_done(maker *m)
{
    tern_gguf_writer_free(m->w);
    tern_free(m->signs);
    tern_free(m->chunk);
}

static tern_code maker_init(maker *m, const bench_synthetic *s, tern_err *err)
{
    *m = (maker){.s = s, .err = err};
    TERN_TRY(tern_gguf_writer_new(&m->w, err));
    m->signs = tern_calloc((size_t)s->shape->d_model, 1);
    m->chunk = tern_alloc(CHUNK);
    if (!m->signs || !m->chunk)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    init(m);
    declare_keys(m);
    TERN_TRY(declare_vocabulary(m));
    TERN_TRY(each_part(m, declare));
    m->total = (double)tern_gguf_writer_bytes(m->w);
    return TERN_OK;
}

/* ---- what it takes ------------------------------------------------------------------------- */

tern_code bench_synthetic_need(const bench_synthetic *s, bench_need *out, tern_err *err)
{
    const bench_shape *h = s->shape;
    maker m;
    tern_code rc = maker_init(&m, s, err);
    uint64_t file = rc == TERN_OK ? tern_gguf_writer_bytes(m.w) : 0;
    /* Of an embedding that is no head only the rows of the prompt are read. */
    uint64_t unread = h->tied ? 0 : 2 * (uint64_t)h->d_model * (uint64_t)h->n_vocab;
    maker_done(&m);
    *out = (bench_need){file, file - unread + OVERHEAD};
    return rc;
}

/* "MemAvailable:   123 kB" of /proc/meminfo in bytes; 0: unknown. */
static uint64_t memory_available(void)
{
    char line[128];
    uint64_t kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f)) {
        size_t at = strspn(line, "MemAvailable: \t"), n = strspn(line + at, "0123456789");
        if (strncmp(line, "MemAvailable:", 13) == 0 && tern_parse_u64(line + at, n, &kib))
            break;
    }
    if (f)
        (void)fclose(f);
    return kib * 1024;
}

tern_code bench_synthetic_check(const bench_synthetic *s, const char *path, tern_err *err)
{
    bench_need need;
    struct statfs fs;
    const char *slash = strrchr(path, '/');
    char *folder = slash ? tern_strdup_n(path, (size_t)(slash - path) + 1) : tern_strdup_n(".", 1);
    if (!folder)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    int got = statfs(folder, &fs), why = errno;
    tern_free(folder);
    if (got != 0)
        return tern_fail(err, TERN_E_IO, "%s: cannot write: %s", path, strerror(why));
    TERN_TRY(bench_synthetic_need(s, &need, err));
    uint64_t disk = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize, memory = memory_available();
    if (fs.f_type == TMPFS_MAGIC)
        need.memory_bytes += need.file_bytes;
    if (memory && memory < need.memory_bytes)
        return tern_fail(err, TERN_E_LIMIT,
                         "synthetic model %s needs %.1f GB of memory, %.1f GB are available",
                         s->shape->name, (double)need.memory_bytes * 1e-9, (double)memory * 1e-9);
    if (disk < need.file_bytes)
        return tern_fail(err, TERN_E_LIMIT,
                         "synthetic model %s needs %.1f GB at %s, %.1f GB are free (see TMPDIR)",
                         s->shape->name, (double)need.file_bytes * 1e-9, path, (double)disk * 1e-9);
    return TERN_OK;
}

tern_code bench_synthetic_write(const bench_synthetic *s, const char *path, bool passing,
                                tern_err *err)
{
    maker m;
    tern_code rc;
    TERN_TRY_GOTO(maker_init(&m, s, err));
    TERN_TRY_GOTO(tern_gguf_writer_begin(m.w, path, passing ? TERN_OUTFILE_PASSING : 0, err));
    TERN_TRY_GOTO(each_part(&m, write_part));
    TERN_TRY_GOTO(tern_gguf_writer_end(m.w, err));
fail:
    maker_done(&m);
    return rc;
}
