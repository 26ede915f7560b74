#include "compress/policy.h"
#include "base/error.h"

#include <stdio.h>
#include <string.h>

void compress_opts_init(compress_opts *o)
{
    *o = (compress_opts){.type = TERN_DT_COUNT, .embed = TERN_DT_COUNT, .head = TERN_DT_COUNT};
}

/* As the field numbers them; where forks disagree, the one that gave the type its name. */
uint32_t compress_file_type(tern_dtype dt)
{
    static const struct {
        tern_dtype dt;
        uint32_t number;
    } rows[] = {
        {TERN_DT_F32, 0},     {TERN_DT_F16, 1},   {TERN_DT_Q4_0, 2},   {TERN_DT_Q4_1, 3},
        {TERN_DT_Q8_0, 7},    {TERN_DT_Q5_0, 8},  {TERN_DT_Q5_1, 9},   {TERN_DT_Q2_K, 10},
        {TERN_DT_Q3_K, 12},   {TERN_DT_Q4_K, 15}, {TERN_DT_Q5_K, 17},  {TERN_DT_Q6_K, 18},
        {TERN_DT_IQ4_NL, 25}, {TERN_DT_BF16, 32}, {TERN_DT_TQ1_0, 36}, {TERN_DT_TQ2_0, 37},
        {TERN_DT_I2_S, 40},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].dt == dt)
            return rows[i].number;
    return UINT32_MAX;
}

static bool is_written(tern_dtype dt)
{
    const tern_dtype_info *d = tern_dtype_get(dt);
    return d && d->pack && d->file_id != UINT32_MAX;
}

const char *compress_type_name(int i)
{
    for (int dt = 0; dt < TERN_DT_COUNT; dt++)
        if (is_written((tern_dtype)dt) && i-- == 0)
            return tern_dtype_get((tern_dtype)dt)->name;
    return NULL;
}

tern_code compress_type_parse(const char *name, tern_dtype *out, tern_err *err)
{
    char all[200] = "";
    const char *one;
    size_t at = 0;
    if (tern_dtype_find(name, out) && is_written(*out))
        return TERN_OK;
    for (int i = 0; (one = compress_type_name(i)) != NULL && at < sizeof all; i++)
        at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", at ? ", " : "", one);
    return tern_fail(err, TERN_E_USAGE, "type '%.40s': expected one of %s", name, all);
}

static bool fits(tern_dtype dt, const tern_tensor *t)
{
    size_t bytes;
    return tern_dtype_bytes(dt, t->ne, &bytes);
}

/* Smaller blocks for rows that the wanted ones do not divide: those of llama.cpp's quantiser, but that
 * ternary values stay exact. */
static tern_dtype narrower(tern_dtype dt)
{
    switch (dt) {
    case TERN_DT_I2_S:
    case TERN_DT_TQ1_0:
    case TERN_DT_TQ2_0:
        return TERN_DT_Q2_0; /* as exact */
    case TERN_DT_Q2_K:
    case TERN_DT_Q3_K:
        return TERN_DT_Q4_0;
    case TERN_DT_Q4_K:
        return TERN_DT_Q5_0;
    case TERN_DT_Q5_K:
        return TERN_DT_Q5_1;
    case TERN_DT_Q6_K:
        return TERN_DT_Q8_0;
    default:
        return TERN_DT_F16;
    }
}

static bool is_name(const tern_tensor *t, const char *name)
{
    return strcmp(t->name, name) == 0;
}

static bool is_ternary(tern_dtype dt)
{
    return tern_dtype_get(dt)->cls == TERN_CLASS_TERNARY;
}

/* Embedding and head: ternary types would ruin those of models that are not ternary there. */
static tern_dtype default_table(const compress_opts *o, const tern_tensor *t)
{
    if (o->keep && is_written(t->dtype))
        return t->dtype;
    if (is_ternary(o->type) && !is_ternary(t->dtype))
        return tern_dtype_get(t->dtype)->cls == TERN_CLASS_FLOAT ? TERN_DT_F16 : t->dtype;
    return o->type;
}

/* What was asked for this tensor. */
static tern_dtype wanted(const compress_opts *o, const tern_dir *in, const tern_tensor *t,
                         const char **why)
{
    for (size_t i = 0; i < o->n_override; i++)
        if (regexec(&o->overrides[i].name, t->name, 0, NULL, 0) == 0)
            return o->overrides[i].type;
    bool tied = !tern_dir_tensor_find(in, "output.weight");
    if (t->n_dim == 1) {
        *why = "a vector";
        return TERN_DT_F32;
    }
    if (is_name(t, "output.weight") || (tied && is_name(t, "token_embd.weight"))) {
        if (o->head != TERN_DT_COUNT)
            return o->head;
        *why = "the output head";
        return default_table(o, t);
    }
    if (is_name(t, "token_embd.weight")) {
        if (o->embed != TERN_DT_COUNT)
            return o->embed;
        *why = "the embedding";
        return default_table(o, t);
    }
    if (o->keep && is_written(t->dtype)) {
        *why = "as it is";
        return t->dtype;
    }
    return o->type;
}

tern_code compress_choose(const compress_opts *o, const tern_dir *in, const tern_tensor *t,
                          compress_note *note, tern_err *err)
{
    const char *why = NULL;
    tern_dtype dt =
        tern_dtype_get(t->dtype)->cls == TERN_CLASS_OTHER ? t->dtype : wanted(o, in, t, &why);
    if (dt == o->type)
        why = NULL;
    for (; !fits(dt, t) && dt != TERN_DT_F16; dt = narrower(dt))
        why = "its rows are no multiple of the block";
    *note = (compress_note){
        .name = t->name, .from = t->dtype, .to = dt, .why = why, .bytes_in = t->bytes};
    if (tern_dtype_get(dt)->file_id == UINT32_MAX || !tern_dtype_bytes(dt, t->ne, &note->bytes_out))
        return tern_fail(err, TERN_E_UNSUPPORTED,
                         "%s: tensor '%.60s': no type that a file can have", in->path, t->name);
    return TERN_OK;
}
