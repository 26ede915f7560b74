/* `tern show`: the library's description of a model, for people. */
#include "base/error.h"
#include "cli.h"

#include <string.h>

static const char *text_at(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static long long int_at(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

static double real_at(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static double mib(const json_t *o, const char *key)
{
    return (double)int_at(o, key) / 1048576.0;
}

static void print_weights(const json_t *w)
{
    size_t i;
    json_t *t;
    (void)printf("parameters     %.2f M, %.1f%% of them ternary\n",
                 (double)int_at(w, "parameters") * 1e-6, 100 * real_at(w, "ternary_share"));
    (void)printf("bits/weight    %.3f", real_at(w, "bits_per_weight"));
    if (int_at(w, "ternary_parameters"))
        (void)printf(", %.3f of the ternary ones; %.1f%% of those are zero",
                     real_at(w, "bits_per_ternary_weight"),
                     100 * real_at(w, "zero_share_of_ternary"));
    (void)printf("\ntensors       ");
    json_array_foreach(json_object_get(w, "types"), i, t)(void)
        printf("%s %lld %s", i ? "," : "", int_at(t, "tensors"), text_at(t, "type"));
    (void)printf("%s\n", json_is_true(json_object_get(w, "head_tied"))
                             ? "; the output head is the embedding"
                             : "");
}

static void print_tokenizer(const json_t *t)
{
    const char *pre = text_at(t, "pre");
    (void)printf("tokenizer      %s%s%s, %lld tokens, BOS %lld%s, EOS %lld", text_at(t, "model"),
                 *pre ? " / " : "", pre, int_at(t, "tokens"), int_at(t, "bos"),
                 json_is_true(json_object_get(t, "add_bos")) ? " (added)" : "", int_at(t, "eos"));
    if (int_at(t, "eot") >= 0)
        (void)printf(", EOT %lld", int_at(t, "eot"));
    (void)putchar('\n');
}

/* What tells this attention from the usual one. */
static void print_attention(const json_t *a)
{
    if (json_is_false(json_object_get(a, "causal")))
        (void)printf("               tokens see those behind them too: for embeddings\n");
    if (int_at(a, "window") == 0)
        return;
    (void)printf("               a window of %lld in %lld layers", int_at(a, "window"),
                 int_at(a, "windowed_layers"));
    if (json_object_get(a, "rope_base"))
        (void)printf(", where the rotation's base is %g", real_at(a, "rope_base"));
    (void)putchar('\n');
}

/* "LABEL  a, b": nothing where there is no name. */
static void print_list(const char *label, const json_t *names)
{
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name)(void)
        printf("%s%s", i ? ", " : label, json_string_value(name));
    if (json_array_size(names) > 0)
        (void)putchar('\n');
}

/* What the file says of itself. */
static void print_said(const json_t *o)
{
    if (*text_at(o, "licence"))
        (void)printf("licence        %s\n", text_at(o, "licence"));
    print_list("made from      ", json_object_get(o, "base_models"));
    print_list("trained with   ", json_object_get(o, "datasets"));
}

/* What the file recommends, by the names of options. */
static void print_sampling(const json_t *o)
{
    const char *name;
    json_t *v;
    int i = 0;
    json_object_foreach((json_t *)(uintptr_t)o, name, v)
    {
        (void)printf("%s", i++ ? ", " : "sampling       ");
        for (const char *p = name; *p; p++)
            (void)putchar(*p == '_' ? '-' : *p);
        (void)printf(" %.6g", json_number_value(v));
    }
    if (i)
        (void)printf(", as the file recommends\n");
}

static void print_summary(const cli *c, const json_t *o)
{
    const json_t *s = json_object_get(o, "shape"), *b = json_object_get(o, "bytes");
    const json_t *rope = json_object_get(o, "rope"), *chat = json_object_get(o, "chat_template");
    const char *op;
    json_t *kernel;
    (void)printf("file           %s, %.2f MiB\n", cli_model_label(c), mib(b, "file"));
    if (*text_at(o, "name"))
        (void)printf("name           %s\n", text_at(o, "name"));
    print_said(json_object_get(o, "origin"));
    (void)printf("architecture   %s, activation %s, norm epsilon %g\n", text_at(o, "architecture"),
                 text_at(s, "activation"), real_at(s, "rms_eps"));
    (void)printf("shape          %lld layers, width %lld, feed-forward %lld\n", int_at(s, "layers"),
                 int_at(s, "d_model"), int_at(s, "d_ff"));
    (void)printf("attention      %lld heads of %lld, %lld for keys and values; context %lld\n",
                 int_at(s, "heads"), int_at(s, "d_head"), int_at(s, "kv_heads"),
                 int_at(s, "context"));
    print_attention(json_object_get(o, "attention"));
    (void)printf("rotation       base %g, %lld dimensions, scaling %s\n", real_at(rope, "base"),
                 int_at(rope, "dimensions"), text_at(rope, "scaling"));
    print_weights(json_object_get(o, "weights"));
    print_tokenizer(json_object_get(o, "tokenizer"));
    (void)printf("chat template  %s%s\n", json_is_null(chat) ? "none" : text_at(chat, "origin"),
                 json_is_null(chat) ? "" : " (tern show --template prints it)");
    print_sampling(json_object_get(o, "sampling"));
    (void)printf("memory         %.2f MiB repacked weights, %.1f KiB per token of context\n",
                 mib(b, "packed"), (double)int_at(b, "kv_per_token") / 1024.0);
    (void)printf("read per token %.2f MiB\n", mib(b, "read_per_token"));
    (void)printf("kernels       ");
    int i = 0;
    json_object_foreach(json_object_get(o, "kernels"), op, kernel)(void)
        printf("%s %s", i++ ? "," : "", json_string_value(kernel));
    (void)putchar('\n');
}

static tern_code print_template(const json_t *o, tern_err *err)
{
    const json_t *source = json_object_get(json_object_get(o, "chat_template"), "source");
    if (!source)
        return tern_fail(err, TERN_E_UNSUPPORTED, "the model has no chat template");
    (void)puts(json_string_value(source));
    return TERN_OK;
}

/* Where a model of the store comes from. */
static void print_origin(const store_manifest *m)
{
    tern_str source;
    tern_str_init(&source, 1 << 13);
    store_spec_text(&m->spec, &source);
    (void)printf("source         %s%s%s%s\n", m->spec.kind == STORE_HUB ? "hf:" : "",
                 tern_str_get(&source), m->commit[0] ? ", commit " : "", m->commit);
    tern_str_done(&source);
    if (m->licence[0])
        (void)printf("licence        %s\n", m->licence);
    if (m->pulled[0])
        (void)printf("fetched        %s\n", m->pulled);
}

/* The same in the description, as "store". */
static tern_code print_json(json_t *o, const store_entry *e, tern_err *err)
{
    json_t *origin = e->folder ? store_manifest_json(&e->m) : NULL;
    if (origin) {
        (void)json_object_del(origin, "tern");
        (void)json_object_set_new(o, "store", origin);
    }
    return cli_print_json(json_incref(o), err);
}

tern_code cli_show(cli *c, tern_err *err)
{
    tern_model *m;
    char *text = NULL;
    store_entry entry = {.folder = NULL};
    tern_str path;
    TERN_TRY(cli_model_open(c, (int32_t)cli_int(&c->opt, OPT_THREADS), &m, err));
    tern_code rc = tern_model_describe(m, &text, err);
    tern_str_init(&path, 1 << 14);
    if (rc == TERN_OK && cli_text(&c->opt, OPT_MODEL) && !cli_model_builtin(c))
        rc = cli_model_path(c, cli_text(&c->opt, OPT_MODEL), &path, &entry, err);
    json_t *o = rc == TERN_OK ? json_loads(text, 0, NULL) : NULL;
    if (rc == TERN_OK && !o)
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory for the description");
    else if (rc == TERN_OK && cli_flag(&c->opt, OPT_SHOW_TEMPLATE))
        rc = print_template(o, err);
    else if (rc == TERN_OK && c->json)
        rc = print_json(o, &entry, err);
    else if (rc == TERN_OK)
        print_summary(c, o);
    if (rc == TERN_OK && entry.folder && !c->json && !cli_flag(&c->opt, OPT_SHOW_TEMPLATE))
        print_origin(&entry.m);
    store_entry_done(&entry);
    tern_str_done(&path);
    json_decref(o);
    tern_string_free(text);
    tern_model_close(m);
    return rc == TERN_OK ? cli_flush(err) : rc;
}
