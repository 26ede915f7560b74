/* What the server shows of itself: /metrics in the text format of Prometheus, /props and /slots. */
#include "base/memory.h"
#include "server/http.h"
#include "server/params.h"

#define MAX_TEXT ((size_t)4 << 20)

/* ---- metrics -------------------------------------------------------------------------------- */

typedef struct page {
    tern_str text;
    const metrics *m; /* a copy: nothing is held while the text is made */
    tern_scheduler_stats st;
    bool has_model;
    tern_model_info info;
    double load_s;
} page;

static void head(page *p, const char *name, const char *kind, const char *help)
{
    tern_str_printf(&p->text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static void number(page *p, const char *name, const char *kind, const char *help, double v)
{
    head(p, name, kind, help);
    tern_str_printf(&p->text, "%s %.17g\n", name, v);
}

static void count(page *p, const char *name, const char *help, uint64_t v)
{
    head(p, name, "counter", help);
    tern_str_printf(&p->text, "%s %llu\n", name, (unsigned long long)v);
}

static void histogram_text(page *p, const char *name, const char *help, const histogram *h,
                           const double *bounds)
{
    uint64_t n = 0;
    head(p, name, "histogram", help);
    for (size_t i = 0; i < HISTOGRAM_MAX && bounds[i] > 0; i++) {
        n += h->count[i];
        tern_str_printf(&p->text, "%s_bucket{le=\"%g\"} %llu\n", name, bounds[i],
                        (unsigned long long)n);
    }
    n += h->count[HISTOGRAM_MAX];
    tern_str_printf(&p->text, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.17g\n%s_count %llu\n", name,
                    (unsigned long long)n, name, h->sum, name, (unsigned long long)n);
}

/* Rows of passes, which the scheduler counts by powers of two. */
static void rows_text(page *p)
{
    const tern_scheduler_stats *st = &p->st;
    unsigned long long n = 0;
    head(p, "tern_batch_rows", "histogram", "Tokens of a pass.");
    for (size_t i = 0; i + 1 < TERN_ROW_BUCKETS; i++) {
        n += st->n_pass_of[i];
        tern_str_printf(&p->text, "tern_batch_rows_bucket{le=\"%u\"} %llu\n", 1u << i, n);
    }
    n += st->n_pass_of[TERN_ROW_BUCKETS - 1];
    tern_str_printf(&p->text,
                    "tern_batch_rows_bucket{le=\"+Inf\"} %llu\ntern_batch_rows_sum %llu\n"
                    "tern_batch_rows_count %llu\n",
                    n, (unsigned long long)st->n_row, n);
}

static void requests_text(page *p)
{
    head(p, "tern_requests_total", "counter", "Requests that ended, by route and status.");
    for (size_t r = 0; r <= METRIC_ROUTES; r++)
        for (size_t s = 0; s < METRIC_STATUSES; s++) {
            unsigned long long n = p->m->requests[r][s];
            const char *path = r < n_route ? routes[r].path : "other";
            if (n == 0)
                continue;
            tern_str_printf(&p->text, "tern_requests_total{route=\"%s\",method=\"%s\",status=\"",
                            path, r < n_route ? routes[r].method : "other");
            if (s == 0)
                tern_str_puts(&p->text, "other");
            else
                tern_str_printf(&p->text, "%d", metrics_statuses[s]);
            tern_str_printf(&p->text, "\"} %llu\n", n);
        }
}

static void scheduler_text(page *p)
{
    const tern_scheduler_stats *st = &p->st;
    number(p, "tern_requests_running", "gauge", "Requests that are generated.", st->n_running);
    number(p, "tern_requests_queued", "gauge", "Requests that wait for a slot.", st->n_queued);
    number(p, "tern_kv_bytes", "gauge", "Keys and values of requests.", (double)st->kv_bytes);
    number(p, "tern_kv_cells_used_ratio", "gauge", "The same as a part of the limit.",
           st->mem_bytes ? (double)st->kv_bytes / (double)st->mem_bytes : 0.0);
    number(p, "tern_prefix_cache_bytes", "gauge", "Keys and values kept of prompts.",
           (double)st->prefix_bytes);
    number(p, "tern_decide_cache_bytes", "gauge", "Keys and values kept of decisions' prompts.",
           (double)st->lent_bytes);
    number(p, "tern_prefix_cache_disk_bytes", "gauge", "The same on disk.",
           (double)st->prefix_disk_bytes);
    count(p, "tern_passes_total", "Passes through the model since it was loaded.", st->n_pass);
    count(p, "tern_batch_rows_total", "Tokens in them.", st->n_row);
    rows_text(p);
    count(p, "tern_spec_drafted_total", "Tokens guessed ahead.", st->n_drafted);
    count(p, "tern_spec_accepted_total", "Of which came true.", st->n_accepted);
    count(p, "tern_preempted_total", "Requests put back for a lack of memory.", st->n_preempted);
    number(p, "tern_model_load_seconds", "gauge", "What opening the model took.", p->load_s);
    number(p, "tern_model_bytes", "gauge", "Its file.", (double)p->info.file_bytes);
}

/* Nothing at all where nothing is measured. */
static void energy_text(page *p, server *srv)
{
    tern_energy_domain d;
    (void)meter_joules(&srv->meter);
    for (size_t i = 0; meter_domain(&srv->meter, i, &d); i++) {
        if (i == 0)
            head(p, "tern_energy_joules_total", "counter", "Energy of the whole machine, by part.");
        if (d.name[0])
            tern_str_printf(&p->text, "tern_energy_joules_total{domain=\"%s\"} %.17g\n", d.name,
                            d.joules);
    }
}

static void own_text(page *p, server *srv)
{
    const metrics *m = p->m;
    count(p, "tern_prompt_tokens_total", "Tokens of prompts.", m->prompt);
    count(p, "tern_prompt_tokens_cached_total", "Of which were cached.", m->cached);
    count(p, "tern_prefix_cache_hits_total", "Requests part of whose prompt was cached.", m->hits);
    count(p, "tern_generated_tokens_total", "Tokens generated.", m->generated);
    histogram_text(p, "tern_time_to_first_token_seconds",
                   "From a request's begin to its first token.", &m->first_token, metrics_long);
    histogram_text(p, "tern_inter_token_seconds", "Between tokens of one request.",
                   &m->between_tokens, metrics_short);
    histogram_text(p, "tern_request_seconds", "Whole requests, of all routes.", &m->request,
                   metrics_long);
    count(p, "tern_cancelled_total", "Requests whose clients vanished or were cut.", m->cancelled);
    count(p, "tern_grammar_rejects_total", "Requests whose grammar or schema was refused.",
          m->rejected);
    count(p, "tern_rate_limited_total", "Requests beyond a key's limits.", m->limited);
    count(p, "tern_shed_total", "Requests refused for a lack of memory.", m->shed);
    number(p, "tern_connections", "gauge", "Open connections.", atomic_load(&srv->n_wire));
    number(p, "tern_memory_resident_bytes", "gauge", "Memory of this process.",
           (double)tern_memory_resident());
    count(p, "tern_reloads_total", "Reloads on SIGHUP.", atomic_load(&srv->n_reload));
    count(p, "tern_reloads_failed_total", "Those that left all as it was.",
          atomic_load(&srv->n_reload_failed));
    energy_text(p, srv);
    head(p, "tern_build_info", "gauge", "What runs.");
    tern_str_printf(&p->text, "tern_build_info{version=\"%s\"} 1\n", tern_version());
}

/* Names of llama.cpp's server, for dashboards that know them. */
static void llamacpp_text(page *p)
{
    const metrics *m = p->m;
    const tern_scheduler_stats *st = &p->st;
    double prompt_s = m->first_token.sum, predict_s = m->between_tokens.sum;
    count(p, "llamacpp:prompt_tokens_total", "Tokens of prompts.", m->prompt);
    number(p, "llamacpp:prompt_seconds_total", "counter", "Time until first tokens.", prompt_s);
    count(p, "llamacpp:tokens_predicted_total", "Tokens generated.", m->generated);
    number(p, "llamacpp:tokens_predicted_seconds_total", "counter", "Time between tokens.",
           predict_s);
    number(p, "llamacpp:prompt_tokens_seconds", "gauge", "Mean speed of prompts.",
           prompt_s > 0 ? (double)m->prompt / prompt_s : 0.0);
    number(p, "llamacpp:predicted_tokens_seconds", "gauge", "Mean speed of generation.",
           predict_s > 0 ? (double)m->generated / predict_s : 0.0);
    number(p, "llamacpp:requests_processing", "gauge", "Requests that are generated.",
           st->n_running);
    number(p, "llamacpp:requests_deferred", "gauge", "Requests that wait.", st->n_queued);
    count(p, "llamacpp:n_decode_total", "Passes through the model.", st->n_pass);
    number(p, "llamacpp:n_busy_slots_per_decode", "gauge", "Tokens in a pass, on average.",
           st->n_pass ? (double)st->n_row / (double)st->n_pass : 0.0);
}

static void page_init(page *p, server *srv, metrics *copy)
{
    loaded *l = loaded_ref(srv);
    *p = (page){.m = copy, .st = {.size = sizeof p->st}};
    tern_str_init(&p->text, MAX_TEXT);
    pthread_mutex_lock(&srv->metrics.mu);
    *copy = srv->metrics;
    pthread_mutex_unlock(&srv->metrics.mu);
    if (!l)
        return;
    tern_scheduler_stats_get(l->s.scheduler, &p->st);
    p->info = l->s.info;
    p->load_s = l->s.load_s;
    p->has_model = true;
    loaded_unref(l);
}

void server_metrics(exchange *x)
{
    server *srv = x->srv;
    metrics copy;
    page p;
    page_init(&p, srv, &copy);
    requests_text(&p);
    own_text(&p, srv);
    if (p.has_model)
        scheduler_text(&p);
    if (srv->o->metrics_llamacpp)
        llamacpp_text(&p);
    if (p.text.failed)
        exchange_refuse(x, 503, "no_memory", NULL, "out of memory for the metrics");
    else
        exchange_reply(x, 200, "text/plain; version=0.0.4; charset=utf-8", tern_str_get(&p.text),
                       p.text.len);
    tern_str_done(&p.text);
}

/* ---- properties ----------------------------------------------------------------------------- */

static json_t *limits_json(const server_limits *l)
{
    json_t *o = json_object();
#define LIMIT(name, preset, min, max, what)                                                        \
    (void)json_object_set_new(o, #name, json_integer((json_int_t)l->name));
#include "server/limits.def"
    return o;
}

/* What a chat that asks for nothing gets. */
static json_t *defaults_json(const serving *s, int32_t n_ctx)
{
    params p;
    params_init(&p, PARAM_CHAT);
    params_recommend(&p, &s->gen);
    return json_pack("{s:i, s:{s:f, s:I, s:f, s:f, s:f, s:f, s:I, s:f, s:f, s:I}}", "n_ctx", n_ctx,
                     "params", "temperature", p.temperature, "top_k", (json_int_t)p.top_k, "top_p",
                     p.top_p, "min_p", p.min_p, "typical_p", p.typical_p, "repeat_penalty",
                     p.repeat_penalty, "repeat_last_n", (json_int_t)p.repeat_last_n,
                     "frequency_penalty", p.frequency_penalty, "presence_penalty",
                     p.presence_penalty, "max_tokens", (json_int_t)p.max_tokens);
}

void server_props(exchange *x)
{
    const serving *s = exchange_serving(x);
    server *srv = x->srv;
    tern_scheduler_stats st = {.size = sizeof st};
    tern_scheduler_stats_get(s->scheduler, &st);
    exchange_reply_json(x, 200,
                        json_pack("{s:s, s:s, s:i, s:o, s:i, s:i, s:s, s:b, s:I, s:o}",
                                  "build_info", tern_version(), "model_alias", s->name,
                                  "total_slots", st.n_slot, "default_generation_settings",
                                  defaults_json(s, st.n_ctx), "n_ctx", st.n_ctx, "n_ctx_train",
                                  s->info.n_ctx_train, "architecture", s->info.arch,
                                  "has_chat_template", (int)s->info.has_chat_template, "loaded",
                                  (json_int_t)s->loaded_unix, "limits", limits_json(&srv->limits)));
}

/* ---- slots ---------------------------------------------------------------------------------- */

#define MAX_SLOTS 256

/* What a slot does is for those to see whose request it is. */
static json_t *slot_json(const tern_slot *slot, int id, int32_t n_ctx, uint64_t owner)
{
    json_t *o =
        json_pack("{s:i, s:b, s:i}", "id", id, "is_processing", (int)slot->busy, "n_ctx", n_ctx);
    if (o && slot->job > 0 && slot->owner == owner)
        (void)json_object_update_new(
            o, json_pack("{s:I, s:b, s:I, s:I, s:I, s:I, s:i}", "id_task", (json_int_t)slot->job,
                         "is_held", (int)slot->held, "n_prompt", (json_int_t)slot->n_prompt,
                         "n_cached", (json_int_t)slot->n_cached, "n_read", (json_int_t)slot->n_read,
                         "n_decoded", (json_int_t)slot->n_generated, "n_predict", slot->n_predict));
    return o;
}

void server_slots(exchange *x)
{
    const serving *s = exchange_serving(x);
    tern_scheduler_stats st = {.size = sizeof st};
    tern_slot slots[MAX_SLOTS];
    tern_scheduler_stats_get(s->scheduler, &st);
    size_t n = tern_scheduler_slots_get(s->scheduler, slots, MAX_SLOTS);
    json_t *list = json_array();
    for (size_t i = 0; i < n && i < MAX_SLOTS; i++)
        (void)json_array_append_new(list,
                                    slot_json(&slots[i], (int)i, st.n_ctx, exchange_owner(x)));
    exchange_reply_json(x, 200, list);
}
