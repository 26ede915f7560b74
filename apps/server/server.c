/* The server's life: from the socket over the model to the last reply. */
#include "server/server.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/num.h"
#include "server/decider.h"
#include "server/generate.h"
#include "server/http.h"
#include "server/pressure.h"
#include "server/sandbox.h"

#include <errno.h>
#include <poll.h>
#ifdef TERN_SECCOMP
#include <seccomp.h>
#endif
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

/* ---- options -------------------------------------------------------------------------------- */

void server_limits_init(server_limits *l)
{
    *l = (server_limits){
#define LIMIT(name, preset, min, max, what) .name = preset,
#include "server/limits.def"
    };
}

tern_code server_limits_set(server_limits *l, const char *text, tern_err *err)
{
    const struct {
        const char *name;
        uint64_t min, max, *value;
    } rows[] = {
#define LIMIT(name, preset, min, max, what) {#name, min, max, &l->name},
#include "server/limits.def"
    };
    size_t n = strcspn(text, "=");
    uint64_t v;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strlen(rows[i].name) != n || memcmp(rows[i].name, text, n) != 0)
            continue;
        if (text[n] == '\0' || !tern_parse_u64(text + n + 1, strlen(text + n + 1), &v) ||
            v < rows[i].min || v > rows[i].max)
            return tern_fail(err, TERN_E_USAGE,
                             "--limit %s: expected a whole number from %llu to %llu", rows[i].name,
                             (unsigned long long)rows[i].min, (unsigned long long)rows[i].max);
        *rows[i].value = v;
        return TERN_OK;
    }
    char shown[48];
    return tern_fail(err, TERN_E_USAGE, "--limit '%s': no such limit (docs/SERVING.md lists them)",
                     tern_quote(shown, sizeof shown, text, n));
}

void server_opts_init(server_opts *o)
{
    tern_gen_opts gen;
    tern_gen_opts_init(&gen);
    *o = (server_opts){.host = "127.0.0.1",
                       .port = 8376,
                       .n_worker = 2,
                       .drain_s = 30.0,
                       .api_prefix = "",
                       .name = "tern",
                       .path = "",
                       .root = "",
                       .metrics = -1,
                       .slots = -1};
    o->spec = gen.spec;
    o->spec_max = gen.spec_max;
    server_limits_init(&o->limits);
    tern_scheduler_opts_init(&o->scheduler);
}

const char *server_libraries(void)
{
    static const char *text;
    static char buf[64];
    if (!text) {
#ifdef TERN_SECCOMP
        const struct scmp_version *v = seccomp_version();
        (void)snprintf(buf, sizeof buf, "libmicrohttpd %s, libseccomp %u.%u.%u", MHD_get_version(),
                       v->major, v->minor, v->micro);
#else
        (void)snprintf(buf, sizeof buf, "libmicrohttpd %s, no libseccomp", MHD_get_version());
#endif
        text = buf;
    }
    return text;
}

/* ---- the model ------------------------------------------------------------------------------ */

loaded *loaded_ref(server *srv)
{
    pthread_mutex_lock(&srv->mu);
    loaded *l = srv->now;
    if (l)
        (void)atomic_fetch_add(&l->refs, 1);
    pthread_mutex_unlock(&srv->mu);
    return l;
}

static void wake_main(server *srv)
{
    uint64_t one = 1;
    (void)!write(srv->wake_main, &one, sizeof one);
}

/* The main thread frees it: the last reference may be the scheduler's own thread's. */
void loaded_unref(loaded *l)
{
    server *srv = l->srv;
    if (atomic_fetch_sub(&l->refs, 1) != 1)
        return;
    pthread_mutex_lock(&srv->mu);
    l->next = srv->dying;
    srv->dying = l;
    pthread_mutex_unlock(&srv->mu);
    wake_main(srv);
}

static void loaded_free(loaded *l)
{
    decider_free(l->s.decider);
    generate_words_free(l->s.words);
    tern_scheduler_free(l->s.scheduler);
    tern_model_close(l->s.model);
    tern_free(l);
}

static void free_dying(server *srv)
{
    pthread_mutex_lock(&srv->mu);
    loaded *l = srv->dying;
    srv->dying = NULL;
    pthread_mutex_unlock(&srv->mu);
    while (l) {
        loaded *next = l->next;
        loaded_free(l);
        l = next;
    }
}

static tern_code load(server *srv, loaded **out, tern_err *err)
{
    const server_opts *o = srv->o;
    tern_scheduler_opts so = o->scheduler;
    uint64_t begin = tern_clock_ns();
    loaded *l = tern_calloc(1, sizeof *l);
    if (!l)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    l->srv = srv;
    so.joules = srv->meter.e ? meter_joules : NULL;
    so.joules_ctx = &srv->meter;
    atomic_init(&l->refs, 1);
    l->s.info.size = sizeof l->s.info;
    tern_code rc = o->open(o->ctx, &l->s.model, err);
    if (rc == TERN_OK)
        rc = tern_scheduler_new(l->s.model, &so, &l->s.scheduler, err);
    if (rc == TERN_OK)
        rc = generate_words_new(l->s.model, &l->s.words, err);
    if (rc == TERN_OK)
        rc = decider_new(l->s.model, l->s.scheduler, &o->scheduler, &l->s.decider, err);
    if (rc != TERN_OK) {
        loaded_free(l);
        return rc;
    }
    tern_model_info_get(l->s.model, &l->s.info);
    tern_model_gen_opts(l->s.model, &l->s.gen);
    l->s.name = o->name;
    l->s.aliases = o->aliases;
    l->s.n_alias = o->n_alias;
    l->s.path = o->path;
    l->s.slot_dir = o->slot_dir;
    l->s.any_model = o->any_model;
    l->s.spec = o->spec;
    l->s.spec_max = o->spec_max;
    l->s.calibrations = o->calibrations;
    l->s.loaded_unix = (int64_t)time(NULL);
    l->s.load_s = (double)(tern_clock_ns() - begin) * 1e-9;
    *out = l;
    return TERN_OK;
}

/* Put l in the place of what is served now, which ends when its requests have. */
static void serve_now(server *srv, loaded *l)
{
    pthread_mutex_lock(&srv->mu);
    loaded *old = srv->now;
    srv->now = l;
    pthread_mutex_unlock(&srv->mu);
    if (old)
        loaded_unref(old);
}

/* ---- keys ----------------------------------------------------------------------------------- */

#define MAX_KEY_FILE ((size_t)1 << 22)

static tern_code read_keys(server *srv, tern_err *err)
{
    const server_opts *o = srv->o;
    tern_str text;
    tern_code rc = TERN_OK;
    key_table *t, *old = srv->keys;
    tern_str_init(&text, MAX_KEY_FILE);
    if (o->key_file) {
        char part[4096];
        size_t n;
        FILE *f = fopen(o->key_file, "re");
        if (!f) {
            tern_str_done(&text);
            return tern_fail(err, errno == ENOENT ? TERN_E_NOT_FOUND : TERN_E_IO, "%s: %s",
                             o->key_file, strerror(errno));
        }
        while ((n = fread(part, 1, sizeof part, f)) > 0)
            tern_str_put(&text, part, n);
        if (ferror(f) || text.failed)
            rc = tern_fail(err, TERN_E_IO, "%s: cannot be read, or is larger than %zu bytes",
                           o->key_file, MAX_KEY_FILE);
        (void)fclose(f);
        explicit_bzero(part, sizeof part);
    }
    if (rc == TERN_OK)
        rc = keys_parse(o->key_file ? o->key_file : "", tern_str_get(&text), text.len, o->keys,
                        o->n_key, old, &t, err);
    if (text.data)
        explicit_bzero(text.data, text.len);
    tern_str_done(&text);
    if (rc == TERN_OK && o->key_file && keys_count(t) == 0) {
        keys_unref(t);
        rc = tern_fail(err, TERN_E_USAGE, "%s: holds no key", o->key_file);
    }
    if (rc != TERN_OK)
        return rc;
    pthread_mutex_lock(&srv->mu);
    srv->keys = t;
    pthread_mutex_unlock(&srv->mu);
    keys_unref(old);
    return TERN_OK;
}

/* ---- signals -------------------------------------------------------------------------------- */

static void reload(server *srv)
{
    tern_err err;
    loaded *l = NULL;
    char line[400];
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    (void)snprintf(line, sizeof line, "RELOADING=1\nMONOTONIC_USEC=%lld",
                   (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    listen_notify(line);
    tern_code rc = read_keys(srv, &err);
    if (rc == TERN_OK)
        rc = load(srv, &l, &err);
    if (rc == TERN_OK) {
        serve_now(srv, l);
        (void)atomic_fetch_add(&srv->n_reload, 1);
        (void)snprintf(line, sizeof line, "reloaded in %.2f s", l->s.load_s);
        log_line(srv, "info", line);
    } else {
        (void)atomic_fetch_add(&srv->n_reload_failed, 1);
        (void)snprintf(line, sizeof line, "not reloaded, all stays as it was: %s", err.msg);
        log_line(srv, "error", line);
    }
    listen_notify("READY=1");
}

/* Give up what memory can do without; once a second. */
static void look_at_memory(server *srv, pressure *level)
{
    pressure was = *level;
    *level = pressure_now(srv->o->root, was);
    atomic_store(&srv->pressure, *level == PRESSURE_REFUSE);
    if (*level > was)
        log_line(srv, "warning",
                 *level == PRESSURE_REFUSE ? "memory is short: new requests are refused"
                                           : "memory is short: prefixes are dropped");
    else if (*level == PRESSURE_NONE && was != PRESSURE_NONE)
        log_line(srv, "info", "there is memory again");
    loaded *l = *level != PRESSURE_NONE ? loaded_ref(srv) : NULL;
    if (l) {
        tern_scheduler_trim(l->s.scheduler);
        loaded_unref(l);
        tern_alloc_trim();
    }
}

typedef struct quiet_time {
    uint64_t n_worked, n_given_back; /* requests until the last look, until memory was given back */
} quiet_time;

/* When a second has passed without a request to the model, what the ones before it have freed goes back
 * to the system: allocators keep it, and a server may have nothing to do for hours. Once a second. */
static void give_memory_back(server *srv, quiet_time *q)
{
    uint64_t n = atomic_load(&srv->n_worked);
    if (n == q->n_worked && n != q->n_given_back && atomic_load(&srv->n_exchange) == 0) {
        tern_alloc_trim();
        q->n_given_back = n;
    }
    q->n_worked = n;
}

#define MEMORY_MS 1000

/* Signals, what is to be freed, memory, until it is time to stop. */
static void wait_for_end(server *srv, int signals)
{
    pressure level = PRESSURE_NONE;
    quiet_time quiet = {0};
    uint64_t looked = 0;
    for (;;) {
        if (tern_clock_ns() - looked >= MEMORY_MS * UINT64_C(1000000)) {
            looked = tern_clock_ns();
            look_at_memory(srv, &level);
            give_memory_back(srv, &quiet);
            (void)meter_joules(&srv->meter); /* before a counter begins anew */
        }
        struct pollfd p[2] = {{signals, POLLIN, 0}, {srv->wake_main, POLLIN, 0}};
        if (poll(p, 2, MEMORY_MS) <= 0)
            continue;
        struct signalfd_siginfo s;
        uint64_t n;
        if (p[1].revents && read(srv->wake_main, &n, sizeof n) > 0)
            free_dying(srv);
        if (!p[0].revents || read(signals, &s, sizeof s) != (ssize_t)sizeof s)
            continue;
        if (s.ssi_signo != SIGHUP)
            return;
        reload(srv);
    }
}

/* A second signal ends at once. */
static void end_on_signals(const sigset_t *set)
{
    struct sigaction a = {.sa_handler = SIG_DFL};
    (void)sigaction(SIGTERM, &a, NULL);
    (void)sigaction(SIGINT, &a, NULL);
    (void)pthread_sigmask(SIG_UNBLOCK, set, NULL);
}

#define FLUSH_S 2.0 /* for clients to take the end of their replies */

static void wait_for_exchanges(server *srv, double wait_s)
{
    uint64_t end = tern_clock_ns() + (uint64_t)(wait_s * 1e9);
    while (atomic_load(&srv->n_exchange) > 0 && tern_clock_ns() < end) {
        struct timespec t = {.tv_nsec = 5000000};
        (void)nanosleep(&t, NULL);
    }
}

static void drain(server *srv)
{
    uint64_t begin = tern_clock_ns();
    listen_notify("STOPPING=1");
    atomic_store(&srv->draining, true);
    http_quiesce(srv);
    loaded *l = loaded_ref(srv);
    if (l) {
        tern_scheduler_drain(l->s.scheduler, srv->o->drain_s);
        loaded_unref(l);
    }
    double left = srv->o->drain_s - (double)(tern_clock_ns() - begin) * 1e-9;
    wait_for_exchanges(srv, left > FLUSH_S ? left : FLUSH_S);
    watch_cut_all(srv);
    wait_for_exchanges(srv, FLUSH_S);
}

/* ---- running -------------------------------------------------------------------------------- */

/* As far as can be had: files now, system calls later. */
static tern_code close_files(server *srv, int *abi, tern_err *err)
{
    const server_opts *o = srv->o;
    const char *notify = getenv("NOTIFY_SOCKET");
    *abi = 0;
    if (o->sandbox == SANDBOX_OFF)
        return TERN_OK;
    TERN_TRY(sandbox_files(o->paths, o->n_path, notify && *notify == '@', abi, err));
    if (*abi == 0 && o->sandbox == SANDBOX_REQUIRE)
        return tern_fail(err, TERN_E_DENIED, "--sandbox=require: this kernel has no Landlock");
    return TERN_OK;
}

static tern_code close_calls(server *srv, int abi, tern_err *err)
{
    char *text = srv->sandbox_text;
    size_t cap = sizeof srv->sandbox_text;
    bool done = false;
    if (srv->o->sandbox != SANDBOX_OFF)
        TERN_TRY(sandbox_calls(&done, err));
    if (!done && srv->o->sandbox == SANDBOX_REQUIRE)
        return tern_fail(err, TERN_E_DENIED,
                         "--sandbox=require: this kernel or this build has no seccomp");
    if (srv->o->sandbox == SANDBOX_OFF)
        (void)snprintf(text, cap, "off");
    else if (abi > 0)
        (void)snprintf(text, cap, "Landlock %d%s", abi, done ? ", seccomp" : "");
    else
        (void)snprintf(text, cap, done ? "seccomp" : "none");
    atomic_store(&srv->sandbox, text);
    return TERN_OK;
}

static tern_code start(server *srv, const listening *at, tern_err *err)
{
    int abi;
    TERN_TRY(close_files(srv, &abi, err));
    const server_opts *o = srv->o;
    loaded *l;
    TERN_TRY(watch_start(srv, err));
    TERN_TRY(workers_start(srv, err));
    TERN_TRY(http_start(srv, at->fd, err));
    if (o->listening)
        o->listening(o->ctx, at->url);
    TERN_TRY(load(srv, &l, err));
    tern_code rc = close_calls(srv, abi, err);
    if (rc != TERN_OK) {
        loaded_free(l);
        return rc;
    }
    serve_now(srv, l);
    listen_notify("READY=1");
    if (o->ready)
        o->ready(o->ctx, l->s.load_s, srv->sandbox_text);
    return TERN_OK;
}

static void more_files(uint64_t n_connection)
{
    struct rlimit r;
    rlim_t want = (rlim_t)n_connection + 256;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < want) {
        r.rlim_cur = r.rlim_max == RLIM_INFINITY || want < r.rlim_max ? want : r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
}

static void server_init(server *srv, const server_opts *o)
{
    *srv = (server){.o = o,
                    .limits = o->limits,
                    .sandbox = "off",
                    .watch_epoll = -1,
                    .watch_wake = -1,
                    .wake_main = -1};
    (void)pthread_mutex_init(&srv->mu, NULL);
    (void)pthread_mutex_init(&srv->wire_mu, NULL);
    (void)pthread_cond_init(&srv->queued, NULL);
    atomic_init(&srv->sandbox, "starting");
    metrics_init(&srv->metrics);
    meter_open(&srv->meter, o->root);
    srv->start_ns = tern_clock_ns();
    srv->start_unix = (int64_t)time(NULL);
}

static void server_done(server *srv)
{
    http_quiesce(srv);
    watch_cut_all(srv);
    workers_stop(srv);
    wait_for_exchanges(srv, FLUSH_S);
    http_stop(srv);
    watch_stop(srv);
    if (srv->now)
        loaded_unref(srv->now);
    free_dying(srv);
    keys_unref(srv->keys);
    if (srv->wake_main >= 0)
        (void)close(srv->wake_main);
    meter_close(&srv->meter);
    metrics_done(&srv->metrics);
    (void)pthread_cond_destroy(&srv->queued);
    (void)pthread_mutex_destroy(&srv->wire_mu);
    (void)pthread_mutex_destroy(&srv->mu);
}

static tern_code check_options(const server *srv, const listening *at, tern_err *err)
{
    if (!at->loopback && keys_count(srv->keys) == 0)
        return tern_fail(err, TERN_E_USAGE,
                         "%s can be reached from other machines: keys are required there, see "
                         "--api-key-file",
                         at->url);
    return TERN_OK;
}

tern_code server_run(const server_opts *o, tern_err *err)
{
    server srv;
    listening at = {.fd = -1};
    sigset_t set;
    tern_code rc;
    if (o->root[0])
        tern_memory_root_set(o->root);
    tern_alloc_bound_heaps();
    server_init(&srv, o);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL); /* threads inherit it */
    int signals = signalfd(-1, &set, SFD_CLOEXEC);
    srv.wake_main = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    more_files(o->limits.connections);
    if (signals < 0 || srv.wake_main < 0)
        rc = tern_fail(err, TERN_E_IO, "cannot wait for signals: %s", strerror(errno));
    else
        rc = read_keys(&srv, err);
    if (rc == TERN_OK)
        rc = listen_open(o, &at, err);
    srv.local = at.loopback;
    srv.loopback = at.loopback && !at.unix_socket;
    srv.port = at.port;
    if (rc == TERN_OK)
        rc = check_options(&srv, &at, err);
    if (rc == TERN_OK)
        rc = start(&srv, &at, err);
    if (rc == TERN_OK) {
        wait_for_end(&srv, signals);
        end_on_signals(&set);
        drain(&srv);
    }
    server_done(&srv);
    listen_close(&at);
    if (signals >= 0)
        (void)close(signals);
    return rc;
}
