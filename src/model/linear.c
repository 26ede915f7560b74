#include "model/linear.h"
#include "base/alloc.h"
#include "base/error.h"
#include "model/repack.h"

/* pool NULL: sizes only. */
static tern_code init(tern_linear *l, const tern_tensor *src, bool token_act8, tern_pack pack,
                      tern_pool *pool, tern_err *err)
{
    const tern_dtype_info *dt = tern_dtype_get(src->dtype);
    *l = (tern_linear){.src = src, .cols = (int)src->ne[0], .rows = (int)src->ne[1], .grain = 16};
    if (dt->cls == TERN_CLASS_TERNARY && src->ne[0] > TERN_MAX_T2_COLS)
        return tern_fail(err, TERN_E_UNSUPPORTED, "tensor '%s': %zu columns, at most %d", src->name,
                         src->ne[0], TERN_MAX_T2_COLS);
    if (dt->cls == TERN_CLASS_TERNARY && pool)
        return tern_repack(l, pack, token_act8, pool, err);
    if (dt->cls == TERN_CLASS_TERNARY) {
        tern_repack_plan(l, pack, token_act8);
        return TERN_OK;
    }
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

tern_code tern_linear_init(tern_linear *l, const tern_tensor *src, bool token_act8, tern_pack pack,
                           tern_pool *pool, tern_err *err)
{
    return init(l, src, token_act8, pack, pool, err);
}

tern_code tern_linear_plan(tern_linear *l, const tern_tensor *src, bool token_act8, tern_pack pack,
                           tern_err *err)
{
    return init(l, src, token_act8, pack, NULL, err);
}

void tern_linear_done_weights(tern_linear *l)
{
    if (l->packed_bytes && !l->borrowed)
        tern_pages_free((void *)(uintptr_t)l->w, l->packed_bytes);
    tern_free(l->scale);
    l->w = NULL;
    l->scale = NULL;
    l->packed_bytes = 0;
    l->borrowed = false;
}

void tern_linear_done(tern_linear *l)
{
    tern_linear_done_weights(l);
    *l = (tern_linear){0};
}

tern_listed tern_linear_listed(const tern_linear *l)
{
    const tern_layout *layout = tern_layout_of(l->op);
    return layout ? layout->listed : TERN_LISTED_NONE;
}

size_t tern_linear_row_bytes(const tern_linear *l)
{
    return tern_linear_listed(l) == TERN_LISTED_ROWS ? l->w_stride : 0;
}

size_t tern_linear_col_bytes(const tern_linear *l)
{
    return l->op == TERN_OP_MM_T2C1   ? tern_t2c1_col_bytes(l->rows)
           : l->op == TERN_OP_MM_T3C1 ? tern_t3c1_col_bytes(l->rows)
                                      : 0;
}

tern_mm_fn tern_linear_fn(const tern_linear *l, const tern_kernels *k)
{
    switch (l->op) {
    case TERN_OP_MM_T2R16:
        return k->mm_t2r16;
    case TERN_OP_MM_T2G:
        return k->mm_t2g;
    case TERN_OP_MM_T3R16:
        return k->mm_t3r16;
    case TERN_OP_MM_T2R1:
        return k->mm_t2r1;
    case TERN_OP_MM_T2C1:
        return k->mm_t2c1;
    case TERN_OP_MM_T3R1:
        return k->mm_t3r1;
    case TERN_OP_MM_T3C1:
        return k->mm_t3c1;
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

tern_mm tern_linear_mm(const tern_linear *l, const tern_input *in, float *y, size_t y_stride,
                       void *scratch)
{
    return (tern_mm){
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
}

void tern_linear_rows(const tern_linear *l, const tern_kernels *k, const tern_input *in, float *y,
                      size_t y_stride, void *scratch, int row0, int row1)
{
    const tern_mm mm = tern_linear_mm(l, in, y, y_stride, scratch);
    if (row0 >= row1)
        return;
    tern_linear_fn(l, k)(&mm, row0, row1);
    if (l->bias)
        for (int t = 0; t < in->n_tok; t++)
            k->add(y + (size_t)t * y_stride + row0, l->bias + row0, row1 - row0);
}
