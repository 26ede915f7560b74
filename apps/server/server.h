/* The server: everything `tern serve` does once its options are read. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "server/exchange.h"
#include "server/sandbox.h"

typedef struct server_limits {
#define LIMIT(name, preset, min, max, what) uint64_t name;
#include "server/limits.def"
} server_limits;

void server_limits_init(server_limits *l);
/* "name=N". Codes: TERN_E_USAGE. */
TERN_CHECK tern_code server_limits_set(server_limits *l, const char *text, tern_err *err);

typedef enum server_sandbox { SANDBOX_AUTO, SANDBOX_OFF, SANDBOX_REQUIRE } server_sandbox;

typedef struct server_opts {
    const char
        *host; /* an address, or the path of a unix socket: it has a slash or ends in .sock */
    const char *unix_path; /* the same said plainly; NULL */
    int port;              /* 0: any */
    int n_worker;          /* threads that parse and prepare */
    double drain_s;
    const char *api_prefix; /* "" or "/x" */
    const char *const *origins;
    size_t n_origin;
    const char *const *hosts; /* n_host further names that Host may have */
    size_t n_host;
    const char *key_file; /* NULL: none */
    const char *const *keys;
    size_t n_key;
    bool log_json, log_off, log_prompts;
    int metrics, slots; /* 0: not there; -1: if only this machine can ask */
    bool no_webui;
    bool metrics_llamacpp; /* under their names too */
    server_sandbox sandbox;
    const char *root; /* of the machine whose memory and energy are looked at; "", but in tests */
    const sandbox_path *paths; /* what it leaves open; n_path */
    size_t n_path;
    server_limits limits;
    tern_scheduler_opts scheduler;
    const char *name; /* the model's */
    const char *const *aliases;
    size_t n_alias;
    const char *path;     /* of the model; "" of the built-in one */
    const char *slot_dir; /* --slot-save-path; NULL */
    bool any_model;
    tern_spec_mode spec;
    int32_t spec_max;
    const json_t *calibrations; /* an object, borrowed; NULL */
    /* Opens the model, also again on SIGHUP. */
    tern_code (*open)(void *ctx, tern_model **out, tern_err *err);
    void (*warn)(void *ctx, const char *line); /* any thread */
    /* Once connections are accepted, with the address to show; NULL. */
    void (*listening)(void *ctx, const char *url);
    /* The same when requests are answered; what the sandbox reached. */
    void (*ready)(void *ctx, double load_s, const char *sandbox);
    void *ctx;
} server_opts;

void server_opts_init(server_opts *o);
/* Until SIGTERM or SIGINT has drained it. Codes: TERN_E_USAGE (options that do not go together, a public
 * address without keys), TERN_E_IO (the address is taken), TERN_E_DENIED (--sandbox=require), and those
 * of open. */
TERN_CHECK tern_code server_run(const server_opts *o, tern_err *err);

/* Versions of the libraries, for `tern doctor`. */
const char *server_libraries(void);

#endif
