#include "model/linear.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"

#include <stdatomic.h>
#include <string.h>

/* Sums of codes and int8 inputs stay exact up to here (kernels/kernel.h). */
#define MAX_T2_COLS (1 << 18)

/* One lane's part of a repack: 16-row stripes, each unpacked to codes and interleaved. */
typedef struct repack {
    const tern_tensor *src;
    const tern_dtype_info *dt;
    uint8_t *w;
    size_t stripe_bytes, codes_stride;
    float *scale;
    int n_scale;         /* scales a row's unpack yields */
    bool per_row;        /* scale[row]; else scale[(stripe * n_scale + g) * 16 + r] */
    uint8_t *codes;      /* [n_lane][16][codes_stride] */
    float *row_scale;    /* [n_lane][n_scale] */
    _Atomic bool uneven; /* a row that does not have one scale; any lane may raise it */
} repack;

/* The row's one scale if its groups agree; groups without any nonzero weight agree with all. */
static bool row_scale_of(const repack *r, const uint8_t *codes, const float *scales, float *out)
{
    size_t cols = r->src->ne[0], group = cols / (size_t)r->n_scale;
    bool have = false;
    *out = scales[0];
    for (int g = 0; g < r->n_scale; g++) {
        const uint8_t *c = codes + (size_t)g * group;
        uint8_t odd = 0, beyond = 0; /* without branches, so that compilers vectorise it */
        for (size_t i = 0; i < group; i++) {
            odd |= c[i] ^ 1;
            beyond |= c[i] & (uint8_t)(c[i] >> 1);
        }
        if (beyond & 1)
            return false; /* code 3, +2, is no trit */
        bool zero = odd == 0;
        if (zero)
            continue;
        if (have && memcmp(&scales[g], out, sizeof *out) != 0)
            return false;
        *out = scales[g];
        have = true;
    }
    return true;
}

static void repack_lane(void *arg, int lane, int n_lane)
{
    repack *r = arg;
    int rows = (int)r->src->ne[1], cols = (int)r->src->ne[0], begin, end;
    uint8_t *codes = r->codes + (size_t)lane * 16 * r->codes_stride;
    float *scales = r->row_scale + (size_t)lane * (size_t)r->n_scale;
    tern_pool_split(rows, 16, lane, n_lane, &begin, &end);
    for (int row0 = begin; row0 < end; row0 += 16) {
        int stripe = row0 / 16;
        for (int i = 0; i < 16; i++) {
            uint8_t *c = codes + (size_t)i * r->codes_stride;
            memset(c, 1, r->codes_stride);
            memset(scales, 0, (size_t)r->n_scale * sizeof *scales);
            if (row0 + i < rows)
                r->dt->unpack_codes(r->src, (size_t)(row0 + i), c, scales);
            if (!r->per_row)
                for (int g = 0; g < r->n_scale; g++)
                    r->scale[((size_t)stripe * (size_t)r->n_scale + (size_t)g) * 16 + (size_t)i] =
                        scales[g];
            else if (!row_scale_of(r, c, scales, &r->scale[row0 + i]))
                atomic_store_explicit(&r->uneven, true,
                                      memory_order_relaxed); /* joined by the pool */
        }
        tern_t2_pack_stripe(codes, r->codes_stride, cols, r->w + (size_t)stripe * r->stripe_bytes);
    }
}

static tern_code no_memory(const tern_tensor *src, tern_err *err)
{
    return tern_fail(err, TERN_E_NOMEM,
                     "tensor '%s': out of memory for its packed copy (%zu x %zu)", src->name,
                     src->ne[1], src->ne[0]);
}

/* Ternary weights: T2R16 with a scale per row when each row has one, else T2G. */
static tern_code init_ternary(tern_linear *l, const tern_tensor *src, bool token_act8,
                              tern_pool *pool, tern_err *err)
{
    const tern_dtype_info *dt = tern_dtype_get(src->dtype);
    int group = dt->code_group > 0 ? dt->code_group : l->cols, n_lane = tern_pool_size(pool);
    size_t n_stripe = ((size_t)l->rows + 15) / 16;
    tern_code rc = TERN_OK;
    repack r = {.src = src,
                .dt = dt,
                .n_scale = l->cols / group,
                .per_row = token_act8 || dt->code_group <= 0,
                .codes_stride = tern_round_up((size_t)l->cols, 64)};
    r.stripe_bytes = tern_t2_stripe_bytes(l->cols);
    l->packed_bytes = tern_t2_bytes(l->rows, l->cols);
    r.w = tern_pages_alloc(l->packed_bytes);
    r.scale = tern_calloc(n_stripe * 16 * (size_t)r.n_scale, sizeof *r.scale);
    r.codes = tern_alloc((size_t)n_lane * 16 * r.codes_stride);
    r.row_scale = tern_calloc((size_t)n_lane * (size_t)r.n_scale, sizeof *r.row_scale);
    l->w = r.w;
    l->scale = r.scale;
    if (!r.w || !r.scale || !r.codes || !r.row_scale) {
        rc = no_memory(src, err);
    } else {
        tern_pool_run(pool, repack_lane, &r);
        if (r.uneven && dt->code_group > 0) {
            r.per_row = false; /* several scales a row: keep them all */
            tern_pool_run(pool, repack_lane, &r);
        }
    }
    tern_free(r.codes);
    tern_free(r.row_scale);
    l->op = r.per_row ? TERN_OP_MM_T2R16 : TERN_OP_MM_T2G;
    l->form = r.per_row ? TERN_FORM_A8T : TERN_FORM_A8B;
    l->group = group;
    l->w_stride = r.stripe_bytes;
    l->read_bytes = n_stripe * r.stripe_bytes +
                    (r.per_row ? n_stripe * 16 : n_stripe * 16 * (size_t)r.n_scale) * sizeof(float);
    return rc;
}

tern_code tern_linear_init(tern_linear *l, const tern_tensor *src, bool token_act8, tern_pool *pool,
                           tern_err *err)
{
    const tern_dtype_info *dt = tern_dtype_get(src->dtype);
    *l = (tern_linear){.src = src, .cols = (int)src->ne[0], .rows = (int)src->ne[1]};
    if (dt->cls == TERN_CLASS_TERNARY && src->ne[0] > MAX_T2_COLS)
        return tern_fail(err, TERN_E_UNSUPPORTED, "tensor '%s': %zu columns, at most %d", src->name,
                         src->ne[0], MAX_T2_COLS);
    if (dt->cls == TERN_CLASS_TERNARY)
        return init_ternary(l, src, token_act8, pool, err);
    l->form = dt->cls == TERN_CLASS_BLOCK ? TERN_FORM_A8B : TERN_FORM_F32;
    switch (src->dtype) {
    case TERN_DT_F32:
        l->op = TERN_OP_MM_F32;
        break;
    case TERN_DT_F16:
        l->op = TERN_OP_MM_F16;
        break;
    case TERN_DT_BF16:
        l->op = TERN_OP_MM_BF16;
        break;
    default:
        if (dt->cls != TERN_CLASS_BLOCK)
            return tern_fail(err, TERN_E_UNSUPPORTED, "tensor '%s': type %s is not a matrix format",
                             src->name, dt->name);
        l->op = TERN_OP_MM_BLOCK;
    }
    l->w = src->data;
    l->w_stride = src->bytes / src->ne[1];
    l->read_bytes = src->bytes;
    return TERN_OK;
}

void tern_linear_done(tern_linear *l)
{
    if (l->packed_bytes)
        tern_pages_free((void *)(uintptr_t)l->w, l->packed_bytes);
    tern_free(l->scale);
    *l = (tern_linear){0};
}

static tern_mm_fn kernel_of(const tern_kernels *k, tern_op op)
{
    switch (op) {
    case TERN_OP_MM_T2R16:
        return k->mm_t2r16;
    case TERN_OP_MM_T2G:
        return k->mm_t2g;
    case TERN_OP_MM_BLOCK:
        return k->mm_block;
    case TERN_OP_MM_F16:
        return k->mm_f16;
    case TERN_OP_MM_BF16:
        return k->mm_bf16;
    default:
        return k->mm_f32;
    }
}

void tern_linear_rows(const tern_linear *l, const tern_kernels *k, const tern_input *in, float *y,
                      size_t y_stride, void *scratch, int row0, int row1)
{
    const tern_mm mm = {
        .w = l->w,
        .w_stride = l->w_stride,
        .dtype = l->src->dtype,
        .rows = l->rows,
        .cols = l->cols,
        .group = l->group,
        .scale = l->scale,
        .gscale = l->scale,
        .act = l->form == TERN_FORM_A8T ? in->a8t : in->a8b,
        .x = in->x,
        .x_stride = in->x_stride,
        .n_tok = in->n_tok,
        .y = y,
        .y_stride = y_stride,
        .scratch = scratch,
    };
    if (row0 >= row1)
        return;
    kernel_of(k, l->op)(&mm, row0, row1);
    if (l->bias)
        for (int t = 0; t < in->n_tok; t++)
            k->add(y + (size_t)t * y_stride + row0, l->bias + row0, row1 - row0);
}
