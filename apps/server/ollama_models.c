/* GET /api/tags, /api/ps, /api/version, POST /api/show: the one model in Ollama's words. */
#include "base/error.h"
#include "server/ollama.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Clients look at the version to know what they may ask for: that of the interface these files follow. */
#define INTERFACE_VERSION "0.12.0"

json_t *ollama_name_json(const serving *s)
{
    return json_sprintf("%s%s", s->name, strchr(s->name, ':') ? "" : ":latest");
}

const char *ollama_time(char *buf, int64_t unix_s)
{
    struct timespec now = {.tv_sec = (time_t)unix_s};
    struct tm t;
    if (unix_s < 0)
        (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &t);
    size_t n = strftime(buf, 24, "%Y-%m-%dT%H:%M:%S", &t);
    (void)snprintf(buf + n, 40 - n, ".%09ldZ", now.tv_nsec);
    return buf;
}

/* "7.0M", "2.4B" */
static json_t *count_json(uint64_t n)
{
    return n >= 1000000000u ? json_sprintf("%.1fB", (double)n * 1e-9)
                            : json_sprintf("%.1fM", (double)n * 1e-6);
}

static json_t *details_json(const serving *s)
{
    const tern_model_info *i = &s->info;
    double bits = i->n_param ? (double)i->file_bytes * 8.0 / (double)i->n_param : 0.0;
    return json_pack("{s:s,s:s,s:s,s:[s],s:o,s:o}", "parent_model", "", "format", "gguf", "family",
                     i->arch, "families", i->arch, "parameter_size", count_json(i->n_param),
                     "quantization_level", json_sprintf("%.2f bits", bits));
}

static json_t *model_json(const serving *s, uint64_t bytes)
{
    return json_pack("{s:o,s:o,s:I,s:s,s:o}", "name", ollama_name_json(s), "model",
                     ollama_name_json(s), "size", (json_int_t)bytes, "digest",
                     generate_fingerprint(s->words), "details", details_json(s));
}

/* Releases the model. */
static void reply_list(exchange *x, json_t *model)
{
    exchange_reply_json(x, 200, json_pack("{s:[o]}", "models", model));
}

void server_ollama_tags(exchange *x)
{
    char when[40];
    const serving *s = exchange_serving(x);
    json_t *m = model_json(s, s->info.file_bytes);
    (void)json_object_set_new(m, "modified_at", json_string(ollama_time(when, s->loaded_unix)));
    reply_list(x, m);
}

/* It stays: as far as Ollama's clients can tell, for a hundred years. */
#define LONG_S ((int64_t)100 * 365 * 86400)

void server_ollama_ps(exchange *x)
{
    char when[40];
    const serving *s = exchange_serving(x);
    tern_scheduler_stats st = {.size = sizeof st};
    tern_scheduler_stats_get(s->scheduler, &st);
    json_t *m = model_json(s, s->info.file_bytes + s->info.packed_bytes);
    (void)json_object_set_new(m, "expires_at",
                              json_string(ollama_time(when, s->loaded_unix + LONG_S)));
    (void)json_object_set_new(m, "size_vram", json_integer(0));
    (void)json_object_set_new(m, "context_length", json_integer(st.n_ctx));
    reply_list(x, m);
}

void server_ollama_version(exchange *x)
{
    exchange_reply_json(
        x, 200, json_pack("{s:s,s:s}", "version", INTERFACE_VERSION, "tern", tern_version()));
}

/* ---- one model ------------------------------------------------------------------------------- */

/* Fields of the file's metadata, named after its architecture. */
static json_t *info_json(const serving *s)
{
    const tern_model_info *i = &s->info;
    const struct {
        const char *name;
        int32_t value;
    } own[] = {
        {"context_length", i->n_ctx_train},  {"embedding_length", i->d_model},
        {"block_count", i->n_layer},         {"feed_forward_length", i->d_ff},
        {"attention.head_count", i->n_head}, {"attention.head_count_kv", i->n_kv_head},
        {"attention.key_length", i->d_head}, {"vocab_size", i->n_vocab},
    };
    json_t *o = json_pack("{s:s,s:s,s:I}", "general.architecture", i->arch, "general.basename",
                          i->name, "general.parameter_count", (json_int_t)i->n_param);
    for (size_t k = 0; k < sizeof own / sizeof own[0]; k++) {
        char name[128];
        (void)snprintf(name, sizeof name, "%s.%s", i->arch, own[k].name);
        (void)json_object_set_new(o, name, json_integer(own[k].value));
    }
    return o;
}

/* Tools work with every model that writes text: a grammar makes their calls. */
static json_t *capabilities_json(const serving *s)
{
    json_t *list = s->info.has_chat_template
                       ? json_pack("[s,s,s]", "completion", "tools", "embedding")
                       : json_pack("[s,s]", "completion", "embedding");
    if (generate_can_think(s->words))
        (void)json_array_append_new(list, json_string("thinking"));
    return list;
}

void server_ollama_show(exchange *x)
{
    json_t *body;
    params p;
    char when[40];
    const serving *s = exchange_serving(x);
    if (!generate_read(x, PARAM_OLLAMA_SHOW, &body, &p))
        return;
    const char *template = s->info.chat_template ? s->info.chat_template : "";
    exchange_reply_json(x, 200,
                        json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:s}", "modelfile", "",
                                  "parameters", "", "license", s->info.license, "template",
                                  template, "details", details_json(s), "model_info", info_json(s),
                                  "capabilities", capabilities_json(s), "modified_at",
                                  ollama_time(when, s->loaded_unix)));
    json_decref(body);
}

/* Fetching, making and removing models. */
void server_ollama_models(exchange *x)
{
    exchange_refuse(x, 501, "unsupported", NULL,
                    "models are not managed over HTTP: see tern pull, tern convert and tern serve");
}
