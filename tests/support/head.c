#include "support/head.h"
#include "base/num.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

float head_gauss(uint32_t *seed)
{
    float s = 0;
    for (int i = 0; i < 6; i++)
        s += (float)test_rand(seed) / 32768.0f;
    return s / 3.0f - 1.0f;
}

static void fill(float *w, int rows, int cols, head_fill f, uint32_t *seed)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) {
            float *p = &w[(size_t)r * (size_t)cols + (size_t)c], common = sinf((float)c) * 0.4f;
            *p = head_gauss(seed) * 0.3f + common;
            if (f == HEAD_SPIKES && (c % 97 == 5 || r % 211 == 3))
                *p *= 1000.0f;
            if (f == HEAD_SMALL)
                *p *= 1e-6f;
            if (f == HEAD_EQUAL && r % 5)
                *p = p[-cols];
        }
}

/* A format that nothing here packs: random bytes under a sane f16 scale, which ends a Q6_K block. */
static void fill_q6_k(uint8_t *bytes, size_t n, uint32_t *seed)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)test_rand(seed);
    for (size_t i = 0; i < n; i += 210) {
        uint16_t d = tern_f32_to_f16(1e-4f * (float)(1 + test_rand(seed) % 8));
        memcpy(bytes + i + 208, &d, 2);
    }
}

static void open_model(head_model *m, int rows, int cols)
{
    unsigned cpu;
    m->w.h = (tern_hparams){.arch = "test",
                            .d_model = cols,
                            .d_ff = 64,
                            .n_head = 1,
                            .n_kv_head = 1,
                            .d_head = 8,
                            .n_vocab = rows,
                            .rms_eps = 1e-5f,
                            .rope.n_rot = 8};
    assert_int_equal(tern_pool_new(3, &m->pool, NULL), TERN_OK);
    assert_int_equal(
        tern_linear_init(&m->w.head, &m->tensor, false, TERN_PACK_T2R16, m->pool, NULL), TERN_OK);
    assert_int_equal(tern_cpu_flags(&cpu, NULL), TERN_OK);
    assert_int_equal(tern_exec_init(&m->e, &m->w, m->pool, cpu, 16, NULL), TERN_OK);
    m->x = aligned_alloc(64, 16 * m->e.x_stride * sizeof *m->x);
    m->logits = calloc((size_t)rows, sizeof *m->logits);
    m->kept_stride = (size_t)(rows + 2 * ((rows + TERN_HEAD_BLOCK - 1) / TERN_HEAD_BLOCK));
    m->kept = calloc(16 * m->kept_stride, sizeof *m->kept);
    memset(m->x, 0, 16 * m->e.x_stride * sizeof *m->x);
}

static void take_tensor(head_model *m, tern_dtype dt, int rows, int cols)
{
    *m = (head_model){.tensor = {.name = "output.weight",
                                 .dtype = dt,
                                 .n_dim = 2,
                                 .ne = {(size_t)cols, (size_t)rows, 1, 1}}};
    assert_true(tern_dtype_bytes(dt, m->tensor.ne, &m->tensor.bytes));
    m->tensor.data = m->bytes = malloc(m->tensor.bytes);
}

void head_model_init(head_model *m, tern_dtype dt, int rows, int cols, head_fill f, uint32_t seed)
{
    take_tensor(m, dt, rows, cols);
    const tern_dtype_info *info = tern_dtype_get(dt);
    if (info->pack) {
        float *w = malloc((size_t)rows * (size_t)cols * sizeof *w);
        fill(w, rows, cols, f, &seed);
        info->pack(w, (size_t)rows, (size_t)cols, NULL, m->bytes);
        free(w);
    } else {
        assert_int_equal(dt, TERN_DT_Q6_K);
        fill_q6_k(m->bytes, m->tensor.bytes, &seed);
    }
    open_model(m, rows, cols);
}

void head_model_init_f32(head_model *m, const float *values, int rows, int cols)
{
    take_tensor(m, TERN_DT_F32, rows, cols);
    memcpy(m->bytes, values, m->tensor.bytes);
    open_model(m, rows, cols);
}

void head_model_screen(head_model *m, int n_x, int n_fine)
{
    int cols = m->w.h.d_model;
    float *energy = calloc((size_t)cols, sizeof *energy);
    for (int t = 0; t < n_x; t++)
        for (int i = 0; i < cols; i++)
            energy[i] += m->x[(size_t)t * m->e.x_stride + (size_t)i] *
                         m->x[(size_t)t * m->e.x_stride + (size_t)i];
    tern_head_done(&m->w.screen);
    assert_int_equal(tern_head_init(&m->w.screen, &m->w.head, n_x ? energy : NULL, n_fine, NULL,
                                    &m->e.k, m->pool, NULL),
                     TERN_OK);
    free(energy);
}

void head_model_done(head_model *m)
{
    tern_exec_done(&m->e);
    tern_head_done(&m->w.screen);
    tern_linear_done(&m->w.head);
    tern_pool_free(m->pool);
    free(m->x);
    free(m->logits);
    free(m->kept);
    free(m->bytes);
}

void head_model_input(head_model *m, int t, int kind, int toward, uint32_t *seed)
{
    float *x = m->x + (size_t)t * m->e.x_stride;
    if (kind == 2)
        tern_dtype_get(m->tensor.dtype)->unpack_row(&m->tensor, (size_t)toward, x);
    for (int i = 0; i < m->w.h.d_model; i++) {
        x[i] = kind == 2 ? x[i] * 4 + head_gauss(seed) : head_gauss(seed) * 2;
        if (kind == 1 && i % 61 == 7)
            x[i] *= 30;
    }
}

const float *head_model_logits(head_model *m, int t)
{
    tern_screen_logits(&m->e, m->x + (size_t)t * m->e.x_stride, 1);
    memcpy(m->logits, m->e.logits, (size_t)m->w.h.n_vocab * sizeof *m->logits);
    return m->logits;
}

bool head_model_keep(head_model *m, int t0, int n, tern_screen *k)
{
    size_t rows = (size_t)m->w.h.n_vocab, n_block = (size_t)tern_head_n_block(&m->w.screen);
    if (!tern_screen_rows(&m->e, m->x + (size_t)t0 * m->e.x_stride, n, k))
        return false;
    for (int i = 0; i < n; i++) {
        float *to = m->kept + (size_t)i * m->kept_stride;
        memcpy(to, k[i].y, rows * sizeof *to);
        memcpy(to + rows, k[i].up, 2 * n_block * sizeof *to);
        k[i].y = to;
        k[i].up = to + rows;
        k[i].top = k[i].up + n_block;
    }
    return true;
}
