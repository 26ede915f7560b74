/* The sampling that a model's file recommends: general.sampling.* of GGUF, where the files of a folder are
 * read to the same keys (text/hf_tokenizer.c). What is recommended in other terms than the sampler has is left out. */
#include "base/num.h"
#include "engine/engine.h"

#include <math.h>
#include <stddef.h>

typedef struct row {
    const char *key, *name; /* in the file; as tern_gen_opts calls it */
    size_t field;
    bool whole;
    double min, max;
} row;

#define FIELD(f) #f, offsetof(tern_gen_opts, f)
static const row rows[] = {
    {"general.sampling.temp", FIELD(temp), false, 0, 100},
    {"general.sampling.top_k", FIELD(top_k), true, -1, INT32_MAX},
    {"general.sampling.top_p", FIELD(top_p), false, 0, 1},
    {"general.sampling.min_p", FIELD(min_p), false, 0, 1},
    {"general.sampling.penalty_repeat", FIELD(repeat_penalty), false, 0.01, 100},
    {"general.sampling.penalty_last_n", FIELD(repeat_last_n), true, -1, 16777216},
};
#define N_ROW (sizeof rows / sizeof rows[0])

/* Whether the file has a number there that a sampler takes. */
static bool find(const tern_dir *d, const row *r, double *out)
{
    const tern_meta *v = tern_dir_meta_find(d, r->key);
    if (!v || !tern_meta_number(v, out))
        return false;
    return *out >= r->min && *out <= r->max && (!r->whole || *out == floor(*out));
}

void tern_model_gen_opts(const tern_model *m, tern_gen_opts *o)
{
    tern_gen_opts all;
    double v;
    tern_gen_opts_init(&all);
    for (const row *r = rows; r < rows + N_ROW; r++) {
        void *field = (char *)&all + r->field;
        if (!find(m->dir, r, &v))
            continue;
        if (r->whole)
            *(int32_t *)field = (int32_t)v;
        else
            *(float *)field = (float)v;
    }
    *o = all;
}

json_t *tern_model_sampling_json(const tern_model *m)
{
    json_t *o = json_object();
    double v;
    for (const row *r = rows; r < rows + N_ROW; r++)
        if (find(m->dir, r, &v))
            (void)json_object_set_new(o, r->name,
                                      r->whole ? json_integer((json_int_t)v)
                                               : json_real(tern_f32_decimal((float)v)));
    return o;
}
