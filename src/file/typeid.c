#include "file/typeid.h"
#include "base/error.h"
#include "base/num.h"

#include <stdio.h>

/* A layout that an id may stand for. Ids that mean one thing everywhere need no row: dtype.def knows
 * them. Rows of one id stand together, the likeliest first. */
typedef enum layout_match {
    MATCH_SPAN, /* the span must be its size, padded or not */
    MATCH_ROOM  /* the fallback of its id: enough that it fits */
} layout_match;

typedef struct layout {
    uint32_t id;
    const char *name;
    int dtype; /* tern_dtype, or UNREAD */
    layout_match match;
    int blk_elems, blk_bytes; /* of an UNREAD layout, to recognise it */
    const char *advice;       /* UNREAD */
} layout;

#define UNREAD (-1)
#define N_MAX  4 /* layouts of one id at most */

#define REQUANT "is not supported; use a Q4_K, Q6_K or ternary file of this model"
#define RETIRED "is retired; convert the model again"
#define RUNTIME "exists only at run time; convert the model again"
#define USE_I2S "stores no tile sizes; use the I2_S or TQ2_0 file of this model"

/* clang-format off */
static const layout layouts[] = {
    {  4, "Q4_2",       UNREAD,             MATCH_ROOM,   0,   0, RETIRED},
    {  5, "Q4_3",       UNREAD,             MATCH_ROOM,   0,   0, RETIRED},
    {  9, "Q8_1",       UNREAD,             MATCH_ROOM,   0,   0, RUNTIME},
    { 15, "Q8_K",       UNREAD,             MATCH_ROOM,   0,   0, RUNTIME},
    { 16, "IQ2_XXS",    UNREAD,             MATCH_ROOM,   0,   0, REQUANT},
    { 17, "IQ2_XS",     UNREAD,             MATCH_ROOM,   0,   0, REQUANT},
    { 18, "IQ3_XXS",    UNREAD,             MATCH_ROOM,   0,   0, REQUANT},
    { 19, "IQ1_S",      UNREAD,             MATCH_ROOM,   0,   0, REQUANT},
    { 21, "IQ3_S",      UNREAD,             MATCH_ROOM,   0,   0, REQUANT},
    { 22, "IQ2_S",      UNREAD,             MATCH_ROOM,   0,   0, REQUANT},
    { 23, "IQ4_XS",     UNREAD,             MATCH_ROOM,   0,   0, REQUANT},
    { 29, "IQ1_M",      UNREAD,             MATCH_ROOM,   0,   0, REQUANT},
    { 31, "Q4_0_4_4",   UNREAD,             MATCH_ROOM,   0,   0, RETIRED},
    { 32, "Q4_0_4_8",   UNREAD,             MATCH_ROOM,   0,   0, RETIRED},
    { 33, "Q4_0_8_8",   UNREAD,             MATCH_ROOM,   0,   0, RETIRED},
    { 36, "I2_S",       TERN_DT_I2_S,       MATCH_ROOM,   0,   0, NULL},
    { 36, "IQ4_NL_4_4", UNREAD,             MATCH_SPAN,  32,  18, RETIRED},
    { 37, "I8_S",       UNREAD,             MATCH_ROOM,   0,   0, RUNTIME},
    { 38, "TL1",        UNREAD,             MATCH_ROOM,   0,   0, USE_I2S},
    { 38, "IQ4_NL_8_8", UNREAD,             MATCH_SPAN,  32,  18, RETIRED},
    { 39, "TL2",        UNREAD,             MATCH_ROOM,   0,   0, USE_I2S},
    { 39, "MXFP4",      UNREAD,             MATCH_SPAN,  32,  17, REQUANT},
    { 40, "NVFP4",      UNREAD,             MATCH_SPAN,  64,  36, REQUANT},
    { 40, "Q1_0_G32",   TERN_DT_Q1_0_G32,   MATCH_SPAN,   0,   0, NULL},
    { 42, "Q2_0",       TERN_DT_Q2_0,       MATCH_SPAN,   0,   0, NULL},
    { 42, "PQ2_0",      TERN_DT_PQ2_0,      MATCH_SPAN,   0,   0, NULL},
    { 43, "PQ2_0",      TERN_DT_PQ2_0,      MATCH_SPAN,   0,   0, NULL},
    {133, "Q6_0",       UNREAD,             MATCH_ROOM,   0,   0, REQUANT},
    {134, "IQ1_BN",     TERN_DT_IQ1_BN,     MATCH_SPAN,   0,   0, NULL},
    {135, "IQ2_BN",     TERN_DT_IQ2_BN,     MATCH_SPAN,   0,   0, NULL},
    {142, "PQ2_0",      TERN_DT_PQ2_0,      MATCH_SPAN,   0,   0, NULL},
    {143, "PTQ1_0",     TERN_DT_PTQ1_0,     MATCH_SPAN,   0,   0, NULL},
    {335, "IQ2_BN_R4",  UNREAD,             MATCH_ROOM,   0,   0, "is repacked for one engine; use the IQ2_BN or I2_S file"},
};
/* clang-format on */

/* The layouts of an id; 0 for an unknown one. */
static int layouts_of(uint32_t id, layout found[N_MAX])
{
    int n = 0;
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
        if (layouts[i].id == id && n < N_MAX)
            found[n++] = layouts[i];
    for (int dt = 0; n == 0 && dt < TERN_DT_COUNT && id != UINT32_MAX; dt++) {
        const tern_dtype_info *info = tern_dtype_get((tern_dtype)dt);
        if (info->file_id == id) {
            found[0] = (layout){.id = id, .name = info->name, .dtype = dt, .match = MATCH_ROOM};
            return 1;
        }
    }
    return n;
}

/* Bytes of this shape in this layout; false when the shape does not suit it. */
static bool layout_bytes(const layout *l, const size_t ne[4], size_t *bytes)
{
    if (l->dtype != UNREAD)
        return tern_dtype_bytes((tern_dtype)l->dtype, ne, bytes);
    size_t n = 1;
    if (l->blk_elems == 0 || ne[0] % (size_t)l->blk_elems != 0)
        return false;
    for (int i = 0; i < 4; i++)
        if (!tern_mul_size(n, ne[i], &n))
            return false;
    return tern_mul_size(n / (size_t)l->blk_elems, (size_t)l->blk_bytes, bytes);
}

static bool span_is(const tern_typeid_query *q, size_t bytes)
{
    size_t padded;
    return q->span == bytes || (tern_align_size(bytes, q->alignment, &padded) && q->span == padded);
}

static void choose_i2s_layout(const tern_typeid_query *q, layout *l)
{
    if (l->dtype != TERN_DT_I2_S)
        return;
    if (q->i2s_layout == TERN_I2S_ARM)
        l->dtype = TERN_DT_I2_S_ARM;
    else if (q->i2s_layout == TERN_I2S_ROWS4)
        l->dtype = TERN_DT_I2_S_ROWS4;
}

static void describe_shape(const layout *l, tern_typeid *out)
{
    const tern_dtype_info *info = tern_dtype_get((tern_dtype)l->dtype);
    out->verdict = TERN_TYPEID_BAD_SHAPE;
    (void)snprintf(out->text, sizeof out->text,
                   "%s needs ne0 %% %d = 0, rows %% %d = 0, bytes < 2^64%s", info->name,
                   info->blk_elems, info->blk_rows,
                   info->unit == TERN_UNIT_TENSOR ? ", ne2 = ne3 = 1" : "");
}

/* Nothing matched, and so the id has a layout that can be read: those that cannot match anything. */
static void describe_misfit(const tern_typeid_query *q, const layout *found, int n,
                            tern_typeid *out)
{
    const layout *readable = NULL;
    size_t len = 0, bytes;
    bool suits = false;
    out->verdict = TERN_TYPEID_NO_FIT;
    out->need_min = SIZE_MAX;
    for (int i = 0; i < n; i++) {
        if (found[i].dtype != UNREAD && !readable)
            readable = &found[i];
        if (!layout_bytes(&found[i], q->ne, &bytes))
            continue;
        suits |= found[i].dtype != UNREAD;
        out->need_min = bytes < out->need_min ? bytes : out->need_min;
        int w = snprintf(out->text + len, sizeof out->text - len, "%s%s needs %zu", len ? ", " : "",
                         found[i].name, bytes);
        if (w > 0 && (size_t)w < sizeof out->text - len)
            len += (size_t)w;
    }
    if (!suits && readable)
        describe_shape(readable, out);
}

static void accept(const layout *l, size_t bytes, tern_typeid *out)
{
    if (l->dtype == UNREAD) {
        out->verdict = TERN_TYPEID_UNREAD;
        (void)snprintf(out->text, sizeof out->text, "%s %s", l->name, l->advice);
        return;
    }
    out->verdict = TERN_TYPEID_SURE;
    out->dtype = (tern_dtype)l->dtype;
    out->bytes = bytes;
}

void tern_typeid_resolve(const tern_typeid_query *q, tern_typeid *out)
{
    layout found[N_MAX];
    int n = layouts_of(q->id, found), n_match = 0;
    size_t bytes;
    *out = (tern_typeid){.verdict = TERN_TYPEID_UNKNOWN};
    if (n == 0) {
        (void)snprintf(out->text, sizeof out->text, "no known format; use a supported file");
        return;
    }
    for (int i = 0; i < n; i++) {
        choose_i2s_layout(q, &found[i]);
        if (layout_bytes(&found[i], q->ne, &bytes) && span_is(q, bytes) && n_match++ == 0)
            accept(&found[i], bytes, out);
    }
    if (n_match > 1 && out->verdict == TERN_TYPEID_SURE)
        out->verdict = TERN_TYPEID_TIE;
    for (int i = 0; i < n && n_match == 0; i++) {
        const layout *l = &found[i];
        bool fits = l->dtype == UNREAD || (layout_bytes(l, q->ne, &bytes) && bytes <= q->span);
        if (l->match == MATCH_ROOM && fits) {
            accept(l, l->dtype == UNREAD ? 0 : bytes, out);
            n_match++;
        }
    }
    if (n_match == 0)
        describe_misfit(q, found, n, out);
}

bool tern_typeid_fits(const tern_typeid_query *q, tern_dtype dt, size_t *bytes)
{
    layout found[N_MAX];
    int n = layouts_of(q->id, found);
    for (int i = 0; i < n; i++)
        if (found[i].dtype == (int)dt)
            return layout_bytes(&found[i], q->ne, bytes) && span_is(q, *bytes);
    return false;
}
