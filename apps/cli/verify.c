/* `tern verify`: is a model file whole, and is it read as it was meant? First its structure and the bytes
 * of every tensor, then a text through the model (verify_text.c). */
#include "verify.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/topology.h"
#include "verify/tensors.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

static const char *const level_names[] = {"note", "suspicious", "damaged"};

void verify_say(verify *k, verify_level level, const char *fmt, ...)
{
    va_list ap;
    if (k->n == VERIFY_MAX) {
        k->n_more++;
        k->worst = level > k->worst ? level : k->worst;
        return;
    }
    verify_finding *f = &k->v[k->n++];
    f->level = level;
    va_start(ap, fmt);
    (void)vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
    if (level > k->worst) {
        k->worst = level;
        k->why = f;
    }
}

tern_code verify_open(verify *k, const char *layout, const char *activation, tern_model **out,
                      tern_err *err)
{
    cli *c = k->c;
    cli_value *v = c->opt.value;
    const cli_value was_layout = v[OPT_I2S_LAYOUT], was_act = v[OPT_ACTIVATION],
                    was_head = v[OPT_HEAD], was_strict = v[OPT_STRICT];
    bool quiet = c->quiet;
    if (layout)
        v[OPT_I2S_LAYOUT].text = layout;
    if (activation) {
        v[OPT_ACTIVATION].text = activation;
        v[OPT_ACTIVATION].num = 1; /* not auto */
    }
    v[OPT_HEAD].num = (double)TERN_HEAD_FULL;
    v[OPT_STRICT].num = 1; /* a kernel that fails its check is a finding */
    c->quiet = true;
    tern_code rc = cli_model_open(c, (int32_t)cli_int(&c->opt, OPT_THREADS), out, err);
    c->quiet = quiet;
    v[OPT_I2S_LAYOUT] = was_layout;
    v[OPT_ACTIVATION] = was_act;
    v[OPT_HEAD] = was_head;
    v[OPT_STRICT] = was_strict;
    return rc;
}

/* ---- tensors --------------------------------------------------------------------------------- */

/* What is wrong with one tensor. */
static void judge(verify *k, const tern_tensor *t, const verify_stats *s)
{
    const char *type = tern_dtype_get(t->dtype)->name;
    double zero = s->n ? (double)s->n_zero / (double)s->n : 0;
    unsigned long long n_wild = s->n_wild, n_code = s->n_code, n_two = s->n_two;
    if (s->n_wild)
        verify_say(k, VERIFY_DAMAGED, "tensor '%.80s' at offset %zu: %llu %s are NaN or infinite",
                   t->name, t->offset, n_wild, s->ternary ? "scales" : "values");
    if (s->n_code)
        verify_say(k, VERIFY_DAMAGED,
                   "tensor '%.80s' at offset %zu: %llu codes that %s does not have", t->name,
                   t->offset, n_code, type);
    if (s->n_two)
        verify_say(k, VERIFY_NOTE, "tensor '%.80s': %llu codes beyond -1, 0 and +1", t->name,
                   n_two);
    if (s->ternary && s->n_negative)
        verify_say(k, VERIFY_SUSPICIOUS, "tensor '%.80s': %llu scales below 0", t->name,
                   (unsigned long long)s->n_negative);
    if (s->ternary && s->min == 0 && s->max == 0 && s->n_zero < s->n && s->n_wild == 0)
        verify_say(k, VERIFY_SUSPICIOUS, "tensor '%.80s': all scales are 0, its codes are not",
                   t->name);
    if (s->n >= 64 && zero > 0.995 && s->n_wild == 0)
        verify_say(k, VERIFY_SUSPICIOUS, "tensor '%.80s': %.1f %% of it is zero", t->name,
                   100 * zero);
    if (s->max > 1e6)
        verify_say(k, VERIFY_SUSPICIOUS, "tensor '%.80s': %s up to %.3g", t->name,
                   s->ternary ? "scales" : "values", s->max);
}

static void note(verify *k, const tern_tensor *t, const verify_stats *s)
{
    (void)json_array_append_new(
        k->tensors,
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:s, s:f, s:f, s:I, s:I}", "name", t->name,
                  "type", tern_dtype_get(t->dtype)->name, "elements", (json_int_t)s->n, "bytes",
                  (json_int_t)t->bytes, "offset", (json_int_t)t->offset, "zero_share",
                  s->n ? (double)s->n_zero / (double)s->n : 0.0, "range_of",
                  s->ternary ? "scales" : "magnitudes", "min", s->min, "max", s->max, "not_finite",
                  (json_int_t)s->n_wild, "invalid_codes", (json_int_t)s->n_code));
    if (k->c->verbose)
        (void)fprintf(stderr, "%-40s %-11s %6.2f %% zero, %s %.6g to %.6g\n", t->name,
                      tern_dtype_get(t->dtype)->name,
                      s->n ? 100.0 * (double)s->n_zero / (double)s->n : 0.0,
                      s->ternary ? "scales" : "magnitudes", s->min, s->max);
}

static tern_code look(verify *k, const tern_dir *d, tern_err *err)
{
    tern_pool *pool;
    tern_topology top;
    int64_t n_thread = cli_int(&k->c->opt, OPT_THREADS);
    tern_topology_get(&top);
    TERN_TRY(tern_pool_new(n_thread > 0 ? (int)n_thread : tern_topology_threads(&top), &pool, err));
    tern_code rc = TERN_OK;
    for (size_t i = 0; rc == TERN_OK && i < d->n_tensor; i++) {
        verify_stats s;
        const tern_tensor *t = &d->tensors[i];
        cli_progress(k->c, "looking at tensors", (double)i, (double)d->n_tensor, t->name);
        if (cli_interrupt_pending())
            rc = tern_fail(err, TERN_E_CANCELLED, "interrupted");
        else if (!verify_tensor(t, pool, &s))
            rc = tern_fail(err, TERN_E_NOMEM, "out of memory for rows of tensor '%.80s'", t->name);
        if (rc != TERN_OK)
            break;
        judge(k, t, &s);
        note(k, t, &s);
        tern_dir_tensor_drop(d, t);
    }
    cli_progress_end(k->c);
    tern_pool_free(pool);
    uint64_t unused = verify_unused(d);
    if (unused > 4096 * (uint64_t)d->n_tensor)
        verify_say(k, VERIFY_NOTE, "%.1f MB behind the header belong to no tensor",
                   (double)unused * 1e-6);
    return rc;
}

static bool has_i2_s(const tern_dir *d)
{
    for (size_t i = 0; i < d->n_tensor; i++)
        if (d->tensors[i].dtype >= TERN_DT_I2_S && d->tensors[i].dtype <= TERN_DT_I2_S_ROWS4)
            return true;
    return false;
}

static tern_code open_dir(verify *k, tern_dir **out, tern_err *err)
{
    const char *path = cli_text(&k->c->opt, OPT_MODEL);
    const cli_builtin *inside = cli_model_builtin(k->c);
    const tern_import_opts o = {
        .dir = {.i2s_layout = (tern_i2s_layout)k->c->opt.value[OPT_I2S_LAYOUT].num,
                .mapped = inside != NULL}};
    tern_str file;
    *out = NULL;
    if (inside)
        return tern_gguf_open_memory(inside->data, cli_builtin_bytes(inside), inside->label, &o.dir,
                                     out, err);
    if (!path)
        return tern_fail(err, TERN_E_USAGE,
                         "no model: name a GGUF file (this build has none inside)");
    tern_str_init(&file, 1 << 14);
    tern_code rc = cli_model_path(k->c, path, &file, NULL, err);
    if (rc == TERN_OK)
        rc = tern_import_open(tern_str_get(&file), &o, out, err);
    tern_str_done(&file);
    return rc;
}

/* ---- the verb -------------------------------------------------------------------------------- */

/* What a file says wrongly is a finding; that it cannot be read at all, or memory, is not. */
static tern_code as_finding(verify *k, tern_code rc, const tern_err *why, verify_level level,
                            tern_err *err)
{
    if (rc == TERN_OK)
        return rc;
    if (rc != TERN_E_FORMAT && rc != TERN_E_UNSUPPORTED && rc != TERN_E_SELFTEST)
        return tern_fail(err, rc, "%s", why->msg);
    verify_say(k, rc == TERN_E_FORMAT ? VERIFY_DAMAGED : level, "%.200s", why->msg);
    return TERN_OK;
}

static tern_code examine(verify *k, tern_err *err)
{
    const cli_options *o = &k->c->opt;
    tern_dir *d;
    tern_err why = {.msg = ""};
    tern_code rc = open_dir(k, &d, &why);
    if (rc != TERN_OK)
        return as_finding(k, rc, &why, VERIFY_DAMAGED, err);
    k->i2_s = has_i2_s(d);
    rc = look(k, d, err);
    tern_dir_close(d);
    if (rc != TERN_OK)
        return rc;
    if (!cli_flag(o, OPT_NO_PROBE)) {
        rc = verify_readings(k, &why);
        TERN_TRY(as_finding(k, rc, &why, VERIFY_SUSPICIOUS, err));
    }
    if (cli_text(o, OPT_AGAINST))
        TERN_TRY(verify_against(k, cli_text(o, OPT_AGAINST), cli_real(o, OPT_TOLERANCE), err));
    if (cli_text(o, OPT_RECORD) && k->worst < VERIFY_DAMAGED)
        TERN_TRY(verify_record(k, cli_text(o, OPT_RECORD), err));
    return TERN_OK;
}

static const char *verdict(const verify *k)
{
    static const char *const names[] = {"OK", "SUSPICIOUS", "DAMAGED"};
    return names[k->worst];
}

static tern_code print_json(verify *k, tern_err *err)
{
    json_t *list = json_array();
    for (size_t i = 0; i < k->n; i++)
        (void)json_array_append_new(
            list,
            json_pack("{s:s, s:s}", "level", level_names[k->v[i].level], "text", k->v[i].text));
    k->c->answered = true;
    return cli_print_json(json_pack("{s:s, s:s, s:o, s:I, s:O, s:O, s:O?}", "model",
                                    cli_model_label(k->c), "verdict", verdict(k), "findings", list,
                                    "more_findings", (json_int_t)k->n_more, "tensors", k->tensors,
                                    "readings", k->readings, "against", k->against),
                          err);
}

static void print_text(const verify *k)
{
    size_t i;
    json_t *r;
    for (i = 0; i < k->n; i++)
        (void)printf("%s: %s\n", level_names[k->v[i].level], k->v[i].text);
    if (k->n_more)
        (void)printf("and %zu more\n", k->n_more);
    json_array_foreach(k->readings, i, r)
    {
        const char *layout = json_string_value(json_object_get(r, "i2s_layout"));
        (void)printf("read %s%s%swith %s: ", layout ? "as I2_S " : "", layout ? layout : "",
                     layout ? ", " : "", json_string_value(json_object_get(r, "activation")));
        if (json_is_real(json_object_get(r, "nats")))
            (void)printf("plain English at %.3f nats a token\n",
                         json_real_value(json_object_get(r, "nats")));
        else
            (void)puts("no finite logits");
    }
    if (k->against)
        (void)printf("against %s: %lld of %lld tokens with the same bits, %lld with the same first "
                     "choice\n",
                     json_string_value(json_object_get(k->against, "record")),
                     (long long)json_integer_value(json_object_get(k->against, "same_bits")),
                     (long long)json_integer_value(json_object_get(k->against, "tokens")),
                     (long long)json_integer_value(json_object_get(k->against, "same_first")));
    (void)printf("%s: %s, %zu tensors\n", verdict(k), cli_model_label(k->c),
                 json_array_size(k->tensors));
}

tern_code cli_verify(cli *c, tern_err *err)
{
    verify *k = tern_calloc(1, sizeof *k);
    if (!k)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    k->c = c;
    k->tensors = json_array();
    k->readings = json_array();
    cli_interrupt_init();
    tern_code rc = examine(k, err);
    cli_progress_end(c);
    if (rc == TERN_OK && c->json) {
        rc = print_json(k, err);
    } else if (rc == TERN_OK) {
        print_text(k);
        rc = cli_flush(err);
    }
    if (rc == TERN_OK && k->worst > VERIFY_NOTE)
        rc = tern_fail(err, k->worst == VERIFY_DAMAGED ? TERN_E_FORMAT : TERN_E_THRESHOLD,
                       "%.60s: %s: %.160s", cli_model_label(c), verdict(k),
                       k->why ? k->why->text : "");
    json_decref(k->tensors);
    json_decref(k->readings);
    json_decref(k->against);
    tern_free(k);
    return rc;
}
