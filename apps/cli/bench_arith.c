/* The "energy" that the report of BitNet b1.58 2B4T (arXiv 2504.12285) gives: a count of the arithmetic
 * of a pass over 512 tokens times picojoules per operation in a 7 nm process. It leaves out memory,
 * the output head, control and idle power, and no machine was measured. Published figures come out
 * to their last digit. */
#include "base/error.h"
#include "bench.h"

#define N_TOK    512.0
#define FP16_MUL 0.34e-12 /* joules */
#define FP16_ADD 0.16e-12
#define INT8_ADD 0.007e-12

typedef struct shape {
    const char *name;
    int n_layer, d_model, d_ff, d_q, d_kv;
    bool ternary;
    double published; /* joules in the report; 0: none */
} shape;

static const shape published[] = {
    {"LLaMA-3.2-1B", 16, 2048, 8192, 2048, 512, false, 0.258},
    {"Gemma-3-1B", 26, 1152, 6912, 1024, 256, false, 0.186},
    {"Qwen2.5-1.5B", 28, 1536, 8960, 1536, 256, false, 0.347},
    {"SmolLM2-1.7B", 24, 2048, 8192, 2048, 2048, false, 0.425},
    {"MiniCPM-2B", 40, 2304, 5760, 2304, 2304, false, 0.649},
    {"BitNet b1.58 2B4T", 30, 2560, 6912, 2560, 640, true, 0.028},
};

typedef struct counts {
    double linear, attention; /* multiply-adds per token */
    double joules;
} counts;

/* Attention over the whole square, not the causal half, in 16 bits whatever the weights are. */
static counts count(const shape *s)
{
    double d = s->d_model;
    counts c = {.linear = s->n_layer * (2 * d * s->d_q + 2 * d * s->d_kv + 3 * d * s->d_ff),
                .attention = 2.0 * s->n_layer * s->d_q * N_TOK};
    double each = s->ternary ? INT8_ADD : FP16_MUL + FP16_ADD;
    c.joules = N_TOK * (c.linear * each + c.attention * (FP16_MUL + FP16_ADD));
    return c;
}

static void add_row(json_t *list, const shape *s)
{
    counts c = count(s);
    json_t *o = json_pack("{s:s, s:b, s:f, s:f, s:f}", "model", s->name, "ternary", s->ternary,
                          "linear_macs_per_token", c.linear, "attention_macs_per_token",
                          c.attention, "arithmetic_joules", c.joules);
    if (o && s->published > 0.0)
        (void)json_object_set_new(o, "published_joules", json_real(s->published));
    (void)json_array_append_new(list, o);
}

static void print_row(const json_t *o)
{
    const json_t *said = json_object_get(o, "published_joules");
    char text[24] = "";
    if (said)
        (void)snprintf(text, sizeof text, "%.3f", json_real_value(said));
    (void)printf("| %s | %.4f | %.2f | %.4f | %s |\n",
                 json_string_value(json_object_get(o, "model")),
                 json_number_value(json_object_get(o, "linear_macs_per_token")) * 1e-9,
                 json_number_value(json_object_get(o, "attention_macs_per_token")) * 1e-6,
                 json_number_value(json_object_get(o, "arithmetic_joules")), text);
}

static tern_code add_model(cli *c, json_t *list, tern_err *err)
{
    tern_model *m;
    tern_model_info i = {.size = sizeof i};
    TERN_TRY(cli_model_open(c, 1, &m, err));
    tern_model_info_get(m, &i);
    shape s = {cli_model_label(c),     i.n_layer, i.d_model, i.d_ff, i.n_head * i.d_head,
               i.n_kv_head * i.d_head, true,      0.0};
    add_row(list, &s);
    tern_model_close(m);
    return TERN_OK;
}

#define NOTE                                                                                       \
    "arithmetic only, not a measurement: operations of a pass over 512 tokens times pJ each "      \
    "(FP16 multiply 0.34, FP16 add 0.16, INT8 add 0.007)"

tern_code bench_arith(cli *c, tern_err *err)
{
    size_t i;
    json_t *list = json_array(), *row;
    for (i = 0; i < sizeof published / sizeof published[0]; i++)
        add_row(list, &published[i]);
    if (cli_model_asked(c)) {
        tern_code rc = add_model(c, list, err);
        if (rc != TERN_OK) {
            json_decref(list);
            return rc;
        }
    }
    if (c->json)
        return cli_print_json(json_pack("{s:s, s:o}", "note", NOTE, "models", list), err);
    (void)printf("%s\n\n| model | linear G MAC/token | attention M MAC/token | J per 512 tokens | "
                 "published |\n|---|---:|---:|---:|---:|\n",
                 NOTE);
    json_array_foreach(list, i, row) print_row(row);
    json_decref(list);
    return cli_flush(err);
}
