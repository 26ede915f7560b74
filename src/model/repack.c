#include "model/repack.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

static const tern_op ops[] = {
    [TERN_PACK_T2R16] = TERN_OP_MM_T2R16, [TERN_PACK_T3R16] = TERN_OP_MM_T3R16,
    [TERN_PACK_T2R1] = TERN_OP_MM_T2R1,   [TERN_PACK_T2C1] = TERN_OP_MM_T2C1,
    [TERN_PACK_T3R1] = TERN_OP_MM_T3R1,   [TERN_PACK_T3C1] = TERN_OP_MM_T3C1};

/* One lane's part: units of rows, each unpacked to codes and packed. */
typedef struct repack {
    const tern_tensor *src;
    const tern_dtype_info *dt;
    const tern_layout *to;
    int grain; /* rows between which lanes are split */
    uint8_t *w;
    size_t w_stride, codes_stride;
    float *scale;
    int n_scale;         /* scales a row's unpack yields */
    bool needs_even;     /* uneven rows will make another layout of it */
    bool per_row;        /* scale[row]; else scale[(stripe * n_scale + g) * 16 + r] */
    uint8_t *codes;      /* [n_lane][unit][codes_stride] */
    float *row_scale;    /* [n_lane][n_scale] */
    _Atomic bool uneven; /* a row that does not have one scale; any lane may raise it */
} repack;

/* The row's one scale if its groups agree; groups without any nonzero weight agree with all. */
static bool row_scale_of(const repack *r, const uint8_t *codes, const float *scales, float *out)
{
    size_t cols = r->src->ne[0], group = cols / (size_t)r->n_scale;
    bool have = false;
    *out = scales[0];
    if (r->dt->code_group < 0)
        return true; /* one for the tensor, and no code 3 */
    for (int g = 0; g < r->n_scale; g++) {
        const uint8_t *c = codes + (size_t)g * group;
        uint8_t least = 1, most = 1;
        for (size_t i = 0; i < group; i++) {
            least = c[i] < least ? c[i] : least;
            most = c[i] > most ? c[i] : most;
        }
        if (most > 2)
            return false; /* code 3, +2, is no trit */
        bool zero = least == most;
        if (zero)
            continue;
        if (have && memcmp(&scales[g], out, sizeof *out) != 0)
            return false;
        *out = scales[g];
        have = true;
    }
    return true;
}

/* Codes of a unit's rows and their scales; false when a row does not have one scale. */
static bool unpack_unit(repack *r, int row0, int n_row, uint8_t *codes, float *scales)
{
    bool even = true;
    for (int i = 0; i < r->to->unit; i++) {
        uint8_t *c = codes + (size_t)i * r->codes_stride;
        int row = row0 + i;
        memset(scales, 0, (size_t)r->n_scale * sizeof *scales);
        if (i < n_row)
            r->dt->unpack_codes(r->src, (size_t)row, c, scales);
        size_t n = i < n_row ? r->src->ne[0] : 0;
        memset(c + n, 1, r->codes_stride - n);
        if (!r->per_row)
            for (int g = 0; g < r->n_scale; g++)
                r->scale[((size_t)(row / 16) * (size_t)r->n_scale + (size_t)g) * 16 +
                         (size_t)(row % 16)] = scales[g];
        else if (i < n_row && !row_scale_of(r, c, scales, &r->scale[row]))
            even = false;
    }
    return even;
}

static void repack_lane(void *arg, int lane, int n_lane)
{
    repack *r = arg;
    int rows = (int)r->src->ne[1], cols = (int)r->src->ne[0], unit = r->to->unit, begin, end;
    uint8_t *codes = r->codes + (size_t)lane * (size_t)unit * r->codes_stride;
    float *scales = r->row_scale + (size_t)lane * (size_t)r->n_scale;
    tern_pool_split(rows, r->grain, lane, n_lane, &begin, &end);
    for (int row0 = begin; row0 < end; row0 += unit) {
        int n_row = rows - row0 < unit ? rows - row0 : unit;
        if (!unpack_unit(r, row0, n_row, codes, scales)) {
            atomic_store_explicit(&r->uneven, true, memory_order_relaxed); /* joined by the pool */
            if (r->needs_even)
                return;
        }
        r->to->pack(codes, r->codes_stride, n_row, cols,
                    r->w + (size_t)(row0 / unit) * r->w_stride);
    }
}

static tern_pack fitting(const tern_linear *l, tern_pack pack, bool per_row)
{
    if (l->cols > tern_layout_of(ops[pack])->max_cols || !per_row)
        return TERN_PACK_T2R16; /* which takes whatever a T2G does */
    return pack;
}

/* Everything about l that follows from its shape, layout and kind of scales. */
static void describe(tern_linear *l, tern_pack pack, bool per_row)
{
    const tern_layout *to = tern_layout_of(ops[pack]);
    int code_group = tern_dtype_get(l->src->dtype)->code_group;
    l->pack = pack;
    l->op = per_row ? to->op : TERN_OP_MM_T2G;
    l->form = per_row ? TERN_FORM_A8T : TERN_FORM_A8B;
    l->group = code_group > 0 ? code_group : l->cols;
    l->grain = to->grain;
    l->w_stride = to->unit_bytes(l->cols);
    l->packed_bytes = to->bytes(l->rows, l->cols);
    l->n_scale = tern_round_up((size_t)l->rows, (size_t)(to->unit < 16 ? 16 : to->unit)) *
                 (size_t)(per_row ? 1 : l->cols / l->group);
    l->read_bytes = l->packed_bytes - 64 +
                    tern_round_up((size_t)l->rows, 16) * sizeof(float) *
                        (size_t)(per_row ? 1 : l->cols / l->group);
}

static tern_code allocate(repack *r, tern_linear *l, int n_lane, tern_err *err)
{
    describe(l, l->pack, r->per_row);
    r->grain = r->to->unit < 16 ? 16 : r->to->unit;
    r->w_stride = l->w_stride;
    l->w = r->w = tern_pages_alloc(l->packed_bytes);
    l->scale = r->scale = tern_calloc(l->n_scale, sizeof(float));
    r->codes = tern_alloc((size_t)n_lane * (size_t)r->to->unit * r->codes_stride);
    r->row_scale = tern_calloc((size_t)n_lane * (size_t)r->n_scale, sizeof *r->row_scale);
    if (!r->w || !r->scale || !r->codes || !r->row_scale)
        return tern_fail(err, TERN_E_NOMEM,
                         "tensor '%s': out of memory for its packed copy (%zu x %zu)", l->src->name,
                         l->src->ne[1], l->src->ne[0]);
    return TERN_OK;
}

static void release_scratch(repack *r)
{
    tern_free(r->codes);
    tern_free(r->row_scale);
    r->codes = NULL;
    r->row_scale = NULL;
}

/* Products of scales like these and sums of int8 stay finite. */
static bool all_tame(const float *scale, int n)
{
    for (int i = 0; i < n; i++)
        if (!(fabsf(scale[i]) <= 1e10f))
            return false;
    return true;
}

/* Pack src once; r->uneven tells whether it came out whole. */
static tern_code pack_as(repack *r, tern_linear *l, tern_pack pack, tern_pool *pool, tern_err *err)
{
    l->pack = fitting(l, pack, r->per_row);
    r->to = tern_layout_of(ops[l->pack]);
    r->uneven = false;
    TERN_TRY(allocate(r, l, tern_pool_size(pool), err));
    tern_pool_run(pool, repack_lane, r);
    return TERN_OK;
}

tern_code tern_repack(tern_linear *l, tern_pack pack, bool token_act8, tern_pool *pool,
                      tern_err *err)
{
    const tern_dtype_info *dt = tern_dtype_get(l->src->dtype);
    int group = dt->code_group > 0 ? dt->code_group : l->cols;
    repack r = {.src = l->src,
                .dt = dt,
                .n_scale = l->cols / group,
                .per_row = token_act8 || dt->code_group <= 0,
                .codes_stride = tern_round_up((size_t)l->cols, 64)};
    /* Several scales a row must all be kept, and no base-3 digit is a code 3. */
    r.needs_even = r.per_row && (dt->code_group > 0 || tern_layout_of(ops[pack])->base3);
    tern_code rc = pack_as(&r, l, pack, pool, err);
    if (rc == TERN_OK && r.uneven && r.needs_even) {
        release_scratch(&r);
        tern_linear_done_weights(l);
        r.needs_even = false;
        r.per_row = dt->code_group <= 0;
        rc = pack_as(&r, l, TERN_PACK_T2R16, pool, err);
    }
    release_scratch(&r);
    if (rc != TERN_OK)
        return rc;
    tern_repack_finish(l);
    return TERN_OK;
}

void tern_repack_plan(tern_linear *l, tern_pack pack, bool token_act8)
{
    bool per_row = token_act8 || tern_dtype_get(l->src->dtype)->code_group <= 0;
    describe(l, fitting(l, pack, per_row), per_row);
}

bool tern_repack_describe(tern_linear *l, tern_pack pack, bool per_row, bool token_act8)
{
    const tern_dtype_info *dt = tern_dtype_get(l->src->dtype);
    if ((unsigned)pack >= sizeof ops / sizeof ops[0] ||
        l->cols > tern_layout_of(ops[pack])->max_cols || dt->cls != TERN_CLASS_TERNARY)
        return false;
    if (!per_row && (pack != TERN_PACK_T2R16 || dt->code_group <= 0))
        return false; /* one scale a row is all there is */
    if (per_row && !token_act8 && dt->code_group > 0)
        return false;
    describe(l, pack, per_row);
    return true;
}

void tern_repack_finish(tern_linear *l)
{
    l->tame = l->op != TERN_OP_MM_T2G && all_tame(l->scale, l->rows);
}
