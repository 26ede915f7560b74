/* GET /v1/models and /v1/models/{id}. */
#include "server/openai.h"

#include <string.h>

static json_t *model_json(const serving *s, const char *name)
{
    const tern_model_info *i = &s->info;
    tern_scheduler_stats st = {.size = sizeof st};
    tern_scheduler_stats_get(s->scheduler, &st);
    double bits = i->n_param ? 8.0 * (double)i->file_bytes / (double)i->n_param : 0.0;
    return json_pack(
        "{s:s,s:s,s:I,s:s,s:{s:s,s:s,s:s*,s:i,s:i,s:i,s:I,s:I,s:f,s:i,s:b}}", "id", name, "object",
        "model", "created", (json_int_t)s->loaded_unix, "owned_by", "tern", "meta", "arch", i->arch,
        "name", i->name, "license", i->license[0] ? i->license : NULL, "n_vocab", (int)i->n_vocab,
        "n_ctx_train", (int)i->n_ctx_train, "n_ctx", (int)st.n_ctx, "n_params",
        (json_int_t)i->n_param, "size", (json_int_t)i->file_bytes, "bits_per_weight", bits,
        "n_embd", (int)i->d_model, "has_chat_template", (int)i->has_chat_template);
}

void openai_models(exchange *x)
{
    const serving *s = exchange_serving(x);
    json_t *list = json_array();
    (void)json_array_append_new(list, model_json(s, s->name));
    for (size_t i = 0; i < s->n_alias; i++)
        if (strcmp(s->aliases[i], s->name) != 0)
            (void)json_array_append_new(list, model_json(s, s->aliases[i]));
    exchange_reply_json(x, 200, json_pack("{s:s,s:o}", "object", "list", "data", list));
}

void openai_model(exchange *x)
{
    const serving *s = exchange_serving(x);
    const char *id = exchange_param(x, "id");
    if (!id || !serving_is(s, id)) {
        exchange_refuse(x, 404, "model_not_found", "model", "there is no such model; there is: %s",
                        s->name);
        return;
    }
    exchange_reply_json(x, 200, model_json(s, id));
}
