/* `tern tune`: measure anew which weight layouts are fastest here for a model, and keep the answer,
 * which every later start takes. */
#include "base/alloc.h"
#include "base/error.h"
#include "cli.h"

#include <string.h>

static double real_at(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static void print_row(const json_t *shape, long long n_stream, double t2, double t3)
{
    const char *listed = json_string_value(json_object_get(shape, "listed"));
    (void)printf("| %lld | %s | %lld | %.2f | %.2f | %.2f times as long |\n",
                 (long long)json_integer_value(json_object_get(shape, "cols")),
                 listed && strcmp(listed, "none") != 0 ? listed : "", n_stream, t2 * 1e3, t3 * 1e3,
                 t2 > 0 ? t3 / t2 : 0.0);
}

void cli_calibration_print(const json_t *o)
{
    size_t i;
    json_t *s;
    long long n_stream = (long long)json_integer_value(json_object_get(o, "n_stream"));
    (void)puts("| columns | skipping | streams | 2 bits, ps per weight | 1.6 bits, ps per weight | "
               "1.6 bits take |\n"
               "|---:|---|---:|---:|---:|---:|");
    json_array_foreach(json_object_get(o, "shapes"), i, s)
    {
        print_row(s, 1, real_at(s, "bits_2"), real_at(s, "bits_1_6"));
        if (n_stream > 1)
            print_row(s, n_stream, real_at(s, "together_2"), real_at(s, "together_1_6"));
    }
    if (real_at(o, "up_limit") < 1 || real_at(o, "down_limit") < 1)
        (void)printf("\nwhere lists are kept, zeros are skipped while less than %.0f %% of up's "
                     "rows, %.0f %% of down's columns count, in batches %.0f and %.0f %%\n",
                     100 * real_at(o, "up_limit"), 100 * real_at(o, "down_limit"),
                     100 * real_at(o, "own_up_limit"), 100 * real_at(o, "own_down_limit"));
}

static void print_layouts(const json_t *layouts)
{
    const char *op, *between = "\nmatrices by layout: ";
    json_t *n;
    json_object_foreach((json_t *)(uintptr_t)layouts, op, n)
    {
        (void)printf("%s%lld %s", between, (long long)json_integer_value(n),
                     strncmp(op, "mm_", 3) == 0 ? op + 3 : op);
        between = ", ";
    }
    (void)putchar('\n');
}

static tern_code clear(cli *c, tern_err *err)
{
    uint64_t n_bytes = 0;
    char *dir = cli_cache_dir(c);
    tern_code rc = dir ? tern_cache_clear(dir, &n_bytes, err) : TERN_OK;
    if (rc == TERN_OK && c->json)
        rc = cli_print_json(
            json_pack("{s:s?, s:I}", "folder", dir, "removed_bytes", (json_int_t)n_bytes), err);
    else if (rc == TERN_OK)
        (void)printf("removed %.1f MB of calibrations, packed weights and prefixes from %s\n",
                     (double)n_bytes * 1e-6, dir ? dir : "no folder: none is known");
    tern_free(dir);
    return rc == TERN_OK ? cli_flush(err) : rc;
}

tern_code cli_tune(cli *c, tern_err *err)
{
    if (cli_flag(&c->opt, OPT_TUNE_CLEAR))
        return clear(c, err);
    tern_model *m = NULL;
    char *text = NULL, *dir = cli_cache_dir(c);
    json_t *o = NULL;
    tern_code rc;
    c->calibrate = true;
    TERN_TRY_GOTO(cli_model_open(c, (int32_t)cli_int(&c->opt, OPT_THREADS), &m, err));
    TERN_TRY_GOTO(tern_model_describe(m, &text, err));
    o = json_loads(text, 0, NULL);
    if (!o) {
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory for the description");
        goto fail;
    }
    json_t *calibration = json_object_get(o, "calibration");
    if (c->json) {
        (void)json_object_set_new(calibration, "kept_in", dir ? json_string(dir) : json_null());
        (void)json_object_set(calibration, "layouts", json_object_get(o, "layouts"));
        rc = cli_print_json(json_incref(calibration), err);
        goto fail;
    }
    if (json_is_null(calibration)) {
        (void)printf("%s has no ternary matrices: there is nothing to choose\n",
                     cli_model_label(c));
    } else {
        (void)printf("%s, kept in %s\n\n", cli_model_label(c),
                     dir ? dir : "no folder: none is known");
        cli_calibration_print(calibration);
        print_layouts(json_object_get(o, "layouts"));
    }
    rc = cli_flush(err);
fail:
    json_decref(o);
    tern_string_free(text);
    tern_free(dir);
    tern_model_close(m);
    return rc;
}
