/* The calibration of a model on this machine (model/tune.h), kept in a folder of the user's: one small
 * JSON file for all models, which may be lost or wrong at any time. */
#include "base/cpu.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/os/outfile.h"
#include "engine/engine.h"

#include <string.h>

#define FILE_NAME "calibration.json"
/* Models whose calibration is kept; the file starts anew when it has more. */
#define MAX_KEPT 256

/* Machine, threads and shape: whatever changes the timings. */
static tern_code make_key(const tern_model *m, unsigned cpu, int n_stream, tern_str *out,
                          tern_err *err)
{
    char model[64];
    uint64_t h = 0;
    for (size_t i = 0; i < m->dir->n_tensor; i++) {
        const tern_tensor *t = &m->dir->tensors[i];
        h = tern_hash64(t->ne, sizeof t->ne, h);
        h = tern_hash64(&t->dtype, sizeof t->dtype, h);
    }
    tern_cpu_model(model, sizeof model);
    tern_str_printf(out, "%s; flags %x; %d threads; %d streams; tern %s; model %016llx", model, cpu,
                    tern_pool_size(m->pool), n_stream, tern_version(), (unsigned long long)h);
    return out->failed ? tern_fail(err, TERN_E_NOMEM, "out of memory") : TERN_OK;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static const char *const listed_names[] = {
    [TERN_LISTED_NONE] = "none", [TERN_LISTED_ROWS] = "rows", [TERN_LISTED_COLS] = "columns"};

static json_t *to_json(const tern_tune *t)
{
    json_t *shapes = json_array();
    for (int i = 0; i < t->n_shape; i++) {
        const tern_tune_shape *shape = &t->shape[i];
        json_t *o =
            json_pack("{s:i, s:s, s:f, s:f}", "cols", shape->cols, "listed",
                      listed_names[shape->listed], "bits_2", shape->t2, "bits_1_6", shape->t3);
        if (t->n_stream > 1) {
            (void)json_object_set_new(o, "together_2", json_real(shape->together_2));
            (void)json_object_set_new(o, "together_1_6", json_real(shape->together_3));
        }
        (void)json_array_append_new(shapes, o);
    }
    return json_pack("{s:o, s:i, s:f, s:f, s:f, s:f}", "shapes", shapes, "n_stream", t->n_stream,
                     "up_limit", (double)t->up_limit, "down_limit", (double)t->down_limit,
                     "own_up_limit", (double)t->own_up_limit, "own_down_limit",
                     (double)t->own_down_limit);
}

static bool share_of(const json_t *o, const char *key, float *out)
{
    double v = json_number_value(json_object_get(o, key));
    *out = (float)v;
    return v > 0.0 && v <= 1.0;
}

/* False: not what to_json writes. */
static bool from_json(const json_t *o, tern_tune *t)
{
    const json_t *shapes = json_object_get(o, "shapes"), *s;
    size_t i;
    *t = (tern_tune){.n_stream = (int)json_integer_value(json_object_get(o, "n_stream"))};
    if (json_array_size(shapes) > TERN_TUNE_SHAPES || !share_of(o, "up_limit", &t->up_limit) ||
        !share_of(o, "down_limit", &t->down_limit) ||
        !share_of(o, "own_up_limit", &t->own_up_limit) ||
        !share_of(o, "own_down_limit", &t->own_down_limit))
        return false;
    json_array_foreach(shapes, i, s)
    {
        json_int_t cols = json_integer_value(json_object_get(s, "cols"));
        const char *listed = json_string_value(json_object_get(s, "listed"));
        tern_tune_shape *to = &t->shape[t->n_shape++];
        while (to->listed <= TERN_LISTED_COLS &&
               (!listed || strcmp(listed, listed_names[to->listed]) != 0))
            to->listed++;
        if (to->listed > TERN_LISTED_COLS)
            return false;
        to->t2 = json_number_value(json_object_get(s, "bits_2"));
        to->t3 = json_number_value(json_object_get(s, "bits_1_6"));
        to->together_2 = json_number_value(json_object_get(s, "together_2"));
        to->together_3 = json_number_value(json_object_get(s, "together_1_6"));
        if (cols < 1 || cols > INT32_MAX || !(to->t2 > 0.0) || !(to->t3 > 0.0))
            return false;
        to->cols = (int)cols;
    }
    return t->n_shape > 0 && t->n_stream > 0;
}

json_t *tern_calibration_json(const tern_model *m)
{
    json_t *o = m->tune_origin ? to_json(&m->tune) : NULL;
    if (o)
        (void)json_object_set_new(o, "origin", json_string(m->tune_origin));
    return o ? o : json_null();
}

/* ---- the file ------------------------------------------------------------------------------ */

static json_t *load(const char *path)
{
    json_t *root = json_load_file(path, 0, NULL);
    if (!json_is_object(root) || json_object_size(root) > MAX_KEPT) {
        json_decref(root);
        root = json_object();
    }
    return root;
}

static tern_code save(const char *path, const json_t *root, tern_err *err)
{
    tern_outfile o;
    TERN_TRY(tern_outfile_open(&o, path, TERN_OUTFILE_PASSING, err));
    (void)json_dumpf(root, o.f, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    (void)fputc('\n', o.f);
    return tern_outfile_commit(&o, err);
}

/* A calibration that cannot be kept is made again next time, which is all there is to it. */
static void keep(const tern_model *m, const tern_model_opts *o, const char *path, json_t *root,
                 const char *key)
{
    tern_err err;
    char line[300];
    json_t *entry = to_json(&m->tune);
    (void)json_object_set_new(entry, "name", tern_json_text(m->name, strlen(m->name)));
    if (json_object_set_new(root, key, entry) == 0 && save(path, root, &err) != TERN_OK &&
        o->warn && o->calibrate) {
        (void)snprintf(line, sizeof line, "calibration not kept: %s", err.msg);
        o->warn(o->ctx, line);
    }
}

tern_code tern_calibrate(tern_model *m, const tern_model_opts *o, unsigned cpu, tern_err *err)
{
    tern_str path, key;
    tern_code rc;
    int n_stream = o->n_stream > 1 ? o->n_stream : 1;
    m->weight_bits = o->weight_bits;
    m->tune = TERN_TUNE_NONE;
    if (!tern_weights_ternary(&m->w))
        return TERN_OK;
    tern_str_init(&path, 1 << 12);
    tern_str_init(&key, 1 << 12);
    json_t *root = NULL;
    TERN_TRY_GOTO(make_key(m, cpu, n_stream, &key, err));
    if (o->cache_dir) {
        tern_str_printf(&path, "%s/" FILE_NAME, o->cache_dir);
        root = path.failed ? NULL : load(tern_str_get(&path));
    }
    if (root && !o->calibrate && from_json(json_object_get(root, tern_str_get(&key)), &m->tune)) {
        m->tune_origin = "cache";
    } else {
        TERN_TRY_GOTO(tern_tune_measure(&m->w.h, m->pool, cpu, n_stream, &m->tune, err));
        m->tune_origin = "measured";
        if (root)
            keep(m, o, tern_str_get(&path), root, tern_str_get(&key));
    }
fail:
    json_decref(root);
    tern_str_done(&path);
    tern_str_done(&key);
    return rc;
}

static void clear_file(void *ctx, const tern_folder_file *f)
{
    /* With what an interrupted writer left behind it. */
    if (strncmp(f->name, FILE_NAME, strlen(FILE_NAME)) == 0)
        tern_clearing_remove(ctx, f);
}

void tern_calibrations_clear(const char *cache_dir, tern_clearing *c)
{
    tern_folder_each(cache_dir, clear_file, c);
}
