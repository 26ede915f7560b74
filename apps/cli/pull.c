/* `tern pull`: fetch a model into the store. Its path goes to standard output. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "cli.h"
#include "store/download.h"
#include "store/fetch.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The speed shown is that of about so long. */
#define WINDOW_S 5.0

typedef struct meter {
    cli *c;
    uint64_t last_ns, last_done;
    double speed; /* bytes per second */
} meter;

static bool is_cancelled(void *ctx)
{
    (void)ctx;
    return cli_interrupt_pending();
}

static void note(void *ctx, const char *line)
{
    meter *m = ctx;
    cli_warn(m->c, "%s", line);
}

static void measure(meter *m, uint64_t done)
{
    uint64_t now = tern_clock_ns();
    double s = (double)(now - m->last_ns) * 1e-9;
    if (m->last_ns == 0 || done < m->last_done) {
        m->last_ns = now;
        m->last_done = done;
    } else if (s >= 0.2) {
        double current = (double)(done - m->last_done) / s;
        double weight = s < WINDOW_S ? s / WINDOW_S : 1.0;
        m->speed = m->speed > 0 ? m->speed + weight * (current - m->speed) : current;
        m->last_ns = now;
        m->last_done = done;
    }
}

static void put_left(const meter *m, uint64_t missing, char *buf, size_t cap)
{
    double s = m->speed > 0 ? (double)missing / m->speed : 0;
    if (s >= 1e6 || m->speed <= 0)
        buf[0] = '\0';
    else if (s >= 3600)
        (void)snprintf(buf, cap, ", %ld h %02ld min left", (long)s / 3600, (long)s % 3600 / 60);
    else if (s >= 60)
        (void)snprintf(buf, cap, ", %ld min %02ld s left", (long)s / 60, (long)s % 60);
    else
        (void)snprintf(buf, cap, ", %.0f s left", s);
}

static void show(void *ctx, const store_progress *p)
{
    meter *m = ctx;
    char done[32], total[32], speed[32], left[64], line[200];
    measure(m, p->done);
    store_size_text(done, sizeof done, p->done);
    store_size_text(total, sizeof total, p->total);
    store_size_text(speed, sizeof speed, (uint64_t)m->speed);
    put_left(m, p->total - p->done, left, sizeof left);
    (void)snprintf(line, sizeof line, "%s of %s, %s/s%s", done, total, speed, left);
    cli_progress(m->c, "pulling", (double)p->done, (double)p->total, line);
}

static json_t *result(const store_pull *p, const char *path)
{
    json_t *o = store_manifest_json(&p->entry.m);
    if (!o)
        return NULL;
    (void)json_object_del(o, "tern");
    (void)json_object_set_new(o, "path", json_string(path));
    (void)json_object_set_new(o, "bytes",
                              json_integer((json_int_t)store_manifest_bytes(&p->entry.m)));
    (void)json_object_set_new(o, "fetched_bytes", json_integer((json_int_t)p->n_net));
    (void)json_object_set_new(o, "up_to_date", json_boolean(p->up_to_date));
    return o;
}

static tern_code report(cli *c, const store *s, const store_pull *p, double seconds, tern_err *err)
{
    tern_str path;
    char line[200], size[32], speed[32];
    const store_manifest *m = &p->entry.m;
    tern_code rc = TERN_OK;
    tern_str_init(&path, 1 << 13);
    store_entry_path(s, &p->entry, &path);
    store_size_text(size, sizeof size, store_manifest_bytes(m));
    store_size_text(speed, sizeof speed, (uint64_t)((double)p->n_net / seconds));
    if (p->up_to_date)
        (void)snprintf(line, sizeof line, "%.80s is here, %s", m->name, size);
    else
        (void)snprintf(line, sizeof line, "%.80s is here: %s in %.1f s, %s/s", m->name, size,
                       seconds, speed);
    if (!c->quiet)
        cli_dim(c, line);
    if (c->json)
        rc = cli_print_json(result(p, tern_str_get(&path)), err);
    else
        (void)puts(tern_str_get(&path));
    tern_str_done(&path);
    return rc == TERN_OK ? cli_flush(err) : rc;
}

/* Also as the other programs of the hub's users have it. */
static bool is_offline(const cli *c)
{
    const char *hub = getenv("HF_HUB_OFFLINE");
    if (cli_flag(&c->opt, OPT_OFFLINE))
        return true;
    return hub && (strcmp(hub, "1") == 0 || strcasecmp(hub, "true") == 0 ||
                   strcasecmp(hub, "yes") == 0 || strcasecmp(hub, "on") == 0);
}

tern_code cli_pull(cli *c, tern_err *err)
{
    store s;
    meter m = {.c = c};
    if (c->opt.words.n != 1)
        return tern_fail(err, TERN_E_USAGE,
                         "pull needs one SPEC, as hf:owner/repo (tern help pull)");
    TERN_TRY(cli_store_open(c, &s, err));
    cli_interrupt_init();
    store_pull p = {.store = &s,
                    .spec = c->opt.words.item[0],
                    .sha256 = cli_text(&c->opt, OPT_SHA256),
                    .offline = is_offline(c),
                    .n_parallel = (int)cli_int(&c->opt, OPT_PARALLEL),
                    .n_retry = (int)cli_int(&c->opt, OPT_RETRIES),
                    .cancelled = is_cancelled,
                    .progress = show,
                    .note = note,
                    .ctx = &m};
    uint64_t begin = tern_clock_ns();
    /* A server that hangs up is an error to report, not the end. */
    (void)signal(SIGPIPE, SIG_IGN);
    tern_code rc = store_pull_run(&p, err);
    (void)signal(SIGPIPE, SIG_DFL);
    cli_progress_end(c);
    if (rc == TERN_OK)
        rc = report(c, &s, &p, (double)(tern_clock_ns() - begin) * 1e-9, err);
    else if (rc == TERN_E_CANCELLED && !c->quiet)
        cli_dim(c, "interrupted; the same command goes on from here");
    else if (p.choices.len && !c->json && !c->quiet)
        (void)fputs(tern_str_get(&p.choices), stderr);
    store_pull_done(&p);
    store_close(&s);
    return rc;
}
