/* GET /bench/info: what the page's bench view plots. Counters since the model was loaded, and what the machine
 * could do at most: differences of two replies over the time between are rates, and these over the
 * machine's the share of the roofline. */
#include "base/clock.h"
#include "server/http.h"

#include <string.h>

static double number_at(json_t *root, const char *group, const char *name)
{
    return json_number_value(json_object_get(json_object_get(root, group), name));
}

/* Half a second of all threads. */
static void measure(int32_t n_thread, server_machine *out)
{
    char *text = NULL;
    tern_err err;
    if (tern_system_describe(n_thread, true, &text, &err) != TERN_OK)
        return;
    json_t *root = json_loads(text, 0, NULL);
    const char *cpu = json_string_value(json_object_get(json_object_get(root, "cpu"), "model"));
    (void)snprintf(out->cpu, sizeof out->cpu, "%s", cpu ? cpu : "");
    out->cpus = (int)json_integer_value(json_object_get(json_object_get(root, "cpu"), "cpus"));
    out->read_bytes_per_s = number_at(root, "memory", "read_bytes_per_s");
    out->macs_per_s = number_at(root, "compute", "int8_macs_per_s");
    json_decref(root);
    tern_string_free(text);
}

/* Measured by the first request that finds nothing running, and by those that ask for it: beside other work
 * it would say too little, and slow that work. False: not yet. */
static bool machine_get(server *srv, const serving *s, bool idle, bool again, server_machine *out)
{
    bool mine = false;
    pthread_mutex_lock(&srv->mu);
    if (idle &&
        (srv->machine.state == MACHINE_UNKNOWN || (again && srv->machine.state == MACHINE_KNOWN))) {
        srv->machine.state = MACHINE_MEASURED_NOW;
        mine = true;
    }
    *out = srv->machine;
    pthread_mutex_unlock(&srv->mu);
    if (mine) {
        measure(s->info.n_thread, out);
        out->state = MACHINE_KNOWN;
        pthread_mutex_lock(&srv->mu);
        srv->machine = *out;
        pthread_mutex_unlock(&srv->mu);
    }
    return out->state == MACHINE_KNOWN;
}

/* Multiply-adds of one token in all matrices but the head. */
static double macs(const tern_model_info *i)
{
    double d = i->d_model, heads = (double)i->n_head + i->n_kv_head;
    return i->n_layer * (2 * d * heads * i->d_head + 3 * d * i->d_ff);
}

void server_bench_info(exchange *x)
{
    const serving *s = exchange_serving(x);
    server_machine m;
    tern_scheduler_stats st = {.size = sizeof st};
    tern_model_counters c = {.size = sizeof c};
    tern_scheduler_stats_get(s->scheduler, &st);
    bool known = machine_get(x->srv, s, st.n_running + st.n_queued == 0,
                             exchange_query(x, "measure") != NULL, &m);
    tern_scheduler_stats_get(s->scheduler, &st);
    tern_model_counters_get(s->model, &c);
    json_t *now = json_pack(
        "{s:f, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "time_s",
        (double)tern_clock_ns() * 1e-9, "n_slot", st.n_slot, "n_running", st.n_running, "n_queued",
        st.n_queued, "n_ctx", st.n_ctx, "n_prompt", (json_int_t)st.n_prompt, "n_cached",
        (json_int_t)st.n_cached, "n_generated", (json_int_t)st.n_generated, "n_pass",
        (json_int_t)c.n_step, "n_row", (json_int_t)c.n_row, "read_bytes", (json_int_t)c.read_bytes,
        "kv_bytes", (json_int_t)st.kv_bytes, "prefix_bytes", (json_int_t)st.prefix_bytes);
    json_t *model = json_pack("{s:s, s:I, s:f}", "name", s->name, "read_bytes",
                              (json_int_t)s->info.read_bytes, "n_mac", macs(&s->info));
    json_t *machine = json_null();
    if (known)
        machine = json_pack("{s:s, s:i, s:i, s:f, s:f}", "cpu", m.cpu, "cpus", m.cpus, "threads",
                            s->info.n_thread, "read_bytes_per_s", m.read_bytes_per_s,
                            "int8_macs_per_s", m.macs_per_s);
    exchange_reply_json(
        x, 200, json_pack("{s:o, s:o, s:o}", "machine", machine, "model", model, "now", now));
}
