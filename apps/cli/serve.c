/* A server for models: `tern serve`. */
#include "base/alloc.h"
#include "base/error.h"
#include "cli.h"
#include "decide.h"

#ifdef TERN_SERVER

#include "server/server.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static tern_code open_model(void *ctx, tern_model **out, tern_err *err)
{
    cli *c = ctx;
    return cli_model_open(c, (int32_t)cli_int(&c->opt, OPT_THREADS), out, err);
}

static void warn(void *ctx, const char *line)
{
    cli_warn(ctx, "%s", line);
}

static void listening(void *ctx, const char *url)
{
    cli *c = ctx;
    if (!c->quiet)
        (void)fprintf(stderr, "tern: listening at %s\n", url);
}

static void ready(void *ctx, double load_s, const char *sandbox)
{
    cli *c = ctx;
    if (!c->quiet)
        (void)fprintf(stderr, "tern: serving %s, loaded in %.2f s; sandbox: %s\n",
                      cli_model_label(c), load_s, sandbox);
}

static void read_network(cli *c, server_opts *o)
{
    const cli_options *opt = &c->opt;
    o->host = cli_text(opt, OPT_HOST);
    o->unix_path = cli_text(opt, OPT_UNIX);
    o->port = (int)cli_int(opt, OPT_PORT);
    o->n_worker = (int)cli_int(opt, OPT_THREADS_HTTP);
    o->drain_s = cli_real(opt, OPT_DRAIN);
    o->api_prefix = cli_text(opt, OPT_API_PREFIX) ? cli_text(opt, OPT_API_PREFIX) : "";
    o->origins = opt->origins.item;
    o->n_origin = opt->origins.n;
    o->hosts = opt->hosts.item;
    o->n_host = opt->hosts.n;
    o->key_file = cli_text(opt, OPT_API_KEY_FILE);
    o->keys = opt->keys.item;
    o->n_key = opt->keys.n;
}

static void read_view(cli *c, server_opts *o)
{
    const cli_options *opt = &c->opt;
    o->log_json = opt->value[OPT_LOG_FORMAT].num != 0;
    o->log_off = c->quiet;
    o->log_prompts = cli_flag(opt, OPT_LOG_PROMPTS);
    o->metrics = cli_given(opt, OPT_METRICS) ? cli_flag(opt, OPT_METRICS) : -1;
    o->slots = cli_given(opt, OPT_SLOTS) ? cli_flag(opt, OPT_SLOTS) : -1;
    o->no_webui = cli_flag(opt, OPT_NO_WEBUI);
    o->metrics_llamacpp = opt->value[OPT_METRICS_COMPAT].num != 0;
    o->sandbox = (server_sandbox)opt->value[OPT_SANDBOX].num;
}

static void read_scheduler(cli *c, server_opts *o)
{
    const cli_options *opt = &c->opt;
    tern_scheduler_opts *s = &o->scheduler;
    s->n_slot = (int32_t)cli_int(opt, OPT_SLOTS_N);
    s->n_queue = (int32_t)cli_int(opt, OPT_QUEUE);
    s->n_ctx = (int32_t)cli_int(opt, OPT_CTX);
    s->cache_k = (tern_cache_type)opt->value[OPT_CACHE_K].num;
    s->cache_v = (tern_cache_type)opt->value[OPT_CACHE_V].num;
    s->mem_bytes = (uint64_t)cli_int(opt, OPT_MEM) << 20;
    s->warn = warn;
    s->ctx = c;
}

/* What clients call the model (the first --alias, else its file's name), and how it answers. */
static void read_serving(cli *c, server_opts *o)
{
    const cli_options *opt = &c->opt;
    const cli_builtin *inside = cli_model_builtin(c);
    o->name = opt->aliases.n > 0 ? opt->aliases.item[0]
              : inside           ? inside->name
                                 : cli_model_label(c);
    o->aliases = opt->aliases.item;
    o->n_alias = opt->aliases.n;
    o->any_model = cli_flag(opt, OPT_ANY_MODEL);
    o->spec = (tern_spec_mode)cli_int(opt, OPT_SPEC); /* the choices stand in this order */
    o->spec_max = (int32_t)cli_int(opt, OPT_SPEC_MAX);
    o->slot_dir = cli_text(opt, OPT_SLOT_SAVE_PATH);
}

static tern_code read_limits(cli *c, server_opts *o, tern_err *err)
{
    const cli_options *opt = &c->opt;
    o->limits.body_s = o->limits.stall_s = (uint64_t)cli_int(opt, OPT_TIMEOUT);
    for (size_t i = 0; i < opt->limits.n; i++)
        TERN_TRY(server_limits_set(&o->limits, opt->limits.item[i], err));
    if (*o->api_prefix &&
        (*o->api_prefix != '/' || o->api_prefix[strlen(o->api_prefix) - 1] == '/'))
        return tern_fail(err, TERN_E_USAGE, "--api-prefix: begins with a slash, ends without one");
    return TERN_OK;
}

/* "NAME=FILE" of --decide-calibration, read now: later the sandbox knows no such files. A new object. */
static tern_code read_calibrations(const cli *c, json_t **out, tern_err *err)
{
    const cli_list *l = &c->opt.calibrations;
    json_t *all = json_object();
    tern_code rc = all ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory");
    for (size_t i = 0; rc == TERN_OK && i < l->n; i++) {
        const char *equal = strchr(l->item[i], '=');
        json_t *v = NULL;
        if (!equal || equal == l->item[i])
            rc = tern_fail(err, TERN_E_USAGE, "--decide-calibration: expected NAME=CAL.json");
        else
            rc = decide_read_json(equal + 1, &v, err);
        if (rc == TERN_OK &&
            json_object_setn_new(all, l->item[i], (size_t)(equal - l->item[i]), v) != 0)
            rc = tern_fail(err, TERN_E_USAGE, "--decide-calibration: the name is no UTF-8 text");
    }
    *out = all;
    return rc;
}

/* The sandbox opens it as it is now. */
static tern_code check_slot_dir(const char *dir, tern_err *err)
{
    struct stat st;
    if (dir && (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)))
        return tern_fail(err, TERN_E_USAGE, "--slot-save-path: %s is no folder", dir);
    return TERN_OK;
}

tern_code cli_serve(cli *c, tern_err *err)
{
    server_opts o;
    json_t *calibrations = NULL;
    tern_str path;
    tern_code rc;
    server_opts_init(&o);
    tern_str_init(&path, 1 << 14);
    read_network(c, &o);
    read_view(c, &o);
    read_scheduler(c, &o);
    read_serving(c, &o);
    o.open = open_model;
    o.warn = warn;
    o.listening = listening;
    o.ready = ready;
    o.ctx = c;
    if (c->opt.value[OPT_API_KEY].source == CLI_ARG)
        cli_warn(c, "keys on the command line show in the list of processes; see --api-key-file");
    rc = read_limits(c, &o, err);
    if (rc == TERN_OK)
        rc = check_slot_dir(o.slot_dir, err);
    if (rc == TERN_OK)
        rc = read_calibrations(c, &calibrations, err);
    o.calibrations = calibrations;
    if (rc == TERN_OK && cli_text(&c->opt, OPT_MODEL) && !cli_model_builtin(c))
        rc = cli_model_path(c, cli_text(&c->opt, OPT_MODEL), &path, NULL, err);
    o.path = tern_str_get(&path);
    char *cache = cli_cache_dir(c);
    const char *root = getenv("TERN_TEST_ROOT"); /* tests make up a machine there */
    o.root = root ? root : "";
    const sandbox_path paths[] = {
        {root, false, false},      {o.path, false, true},
        {o.key_file, false, true}, {cli_text(&c->opt, OPT_TEMPLATE_FILE), false, false},
        {cache, true, false},      {o.slot_dir, true, false},
    };
    o.paths = paths;
    o.n_path = sizeof paths / sizeof paths[0];
    o.scheduler.cache_dir_bytes = (uint64_t)cli_int(&c->opt, OPT_CACHE_DISK) << 20;
    o.scheduler.no_prefix = c->opt.value[OPT_PREFIX_CACHE].num >= 2.0;
    o.scheduler.cache_dir = c->opt.value[OPT_PREFIX_CACHE].num < 1.0 ? cache : NULL;
    if (rc == TERN_OK && o.path[0]) /* what a name stands for is settled */
        c->opt.value[OPT_MODEL].text = o.path;
    if (rc == TERN_OK)
        rc = server_run(&o, err);
    json_decref(calibrations);
    tern_free(cache);
    tern_str_done(&path);
    return rc;
}

#else

tern_code cli_serve(cli *c, tern_err *err)
{
    (void)c;
    return tern_fail(err, TERN_E_UNSUPPORTED,
                     "this tern was built without libmicrohttpd: no server");
}

#endif
