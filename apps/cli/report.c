/* `tern doctor --bug-report`: everything that a report of a problem needs, and nothing that is private. */
#include "base/error.h"
#include "base/memory.h"
#include "base/topology.h"
#include "cli.h"
#include "redact.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

extern char **environ;

/* ---- facts --------------------------------------------------------------------------------- */

static void set(json_t *o, const char *key, json_t *value)
{
    (void)json_object_set_new(o, key, value);
}

/* PRETTY_NAME="..." of the system. */
static void distribution(char *buf, size_t cap)
{
    static const char key[] = "PRETTY_NAME=";
    char line[256];
    FILE *f = fopen("/etc/os-release", "re");
    buf[0] = '\0';
    for (int i = 0; f && i < 64 && fgets(line, sizeof line, f); i++) {
        if (strncmp(line, key, sizeof key - 1) != 0)
            continue;
        const char *s = line + sizeof key - 1;
        s += *s == '"';
        (void)snprintf(buf, cap, "%.*s", (int)strcspn(s, "\"\n"), s);
    }
    if (f)
        (void)fclose(f);
}

static json_t *system_of(void)
{
    struct utsname u;
    char libc[64] = "", name[128];
    if (uname(&u) != 0)
        memset(&u, 0, sizeof u);
#ifdef _CS_GNU_LIBC_VERSION
    (void)confstr(_CS_GNU_LIBC_VERSION, libc, sizeof libc);
#endif
    distribution(name, sizeof name);
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "kernel", u.sysname, "release", u.release,
                     "machine", u.machine, "distribution", name, "libc",
                     libc[0] ? libc : "unknown");
}

/* Of rows of tables the names alone. */
static json_t *names_of(const json_t *list, const char *only_if)
{
    size_t i;
    json_t *row, *names = json_array();
    json_array_foreach(list, i, row)
    {
        if (!only_if || json_is_true(json_object_get(row, only_if)))
            (void)json_array_append(names, json_object_get(row, "name"));
    }
    return names;
}

static void shorten_kernels(json_t *o)
{
    const json_t *all = json_object_get(o, "kernels");
    json_t *k = json_object();
    set(k, "compiled", names_of(all, NULL));
    set(k, "usable", names_of(all, "usable"));
    (void)json_object_set(k, "chosen", json_object_get(o, "chosen"));
    set(o, "kernels", k);
    (void)json_object_del(o, "chosen");
}

static void add_cores(json_t *o)
{
    tern_topology t;
    json_t *cpu = json_object_get(o, "cpu");
    tern_topology_get(&t);
    set(cpu, "cores", json_integer(t.n_core));
    set(cpu, "control_group_cpus", t.quota ? json_integer(t.quota) : json_null());
    set(cpu, "threads_by_default", json_integer(tern_topology_threads(&t)));
}

/* A user's own words are his. */
static bool is_text(const char *name)
{
    static const char *const names[] = {"TERN_PROMPT", "TERN_SYSTEM_PROMPT", "TERN_STOP",
                                        "TERN_PREFIX", "TERN_IDS",           "TERN_DETOKENIZE"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool is_ours(const char *name)
{
    static const char *const begins[] = {"TERN_", "HF_", "OMP_", "XDG_", "MALLOC_", "GLIBC_"};
    static const char *const names[] = {"LANG",        "LC_ALL",     "TERM",        "NO_COLOR",
                                        "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy",
                                        "ALL_PROXY",   "NO_PROXY"};
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++)
        if (strncmp(name, begins[i], strlen(begins[i])) == 0)
            return true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static json_t *environment(void)
{
    json_t *o = json_object();
    char name[REDACT_NAME];
    for (char **e = environ; e && *e; e++) {
        const char *value = redact_variable(*e, name);
        if (!value || !is_ours(name))
            continue;
        bool hide = redact_is_secret(name) || is_text(name) || strchr(value, '@');
        json_t *text = hide ? NULL : json_string(value);
        set(o, name, text ? text : json_string(value[0] ? "set" : "empty"));
    }
    return o;
}

/* ---- the model ----------------------------------------------------------------------------- */

/* Opened as it would be, but so that a kernel that fails its check is an error. */
static json_t *checked_model(cli *c)
{
    tern_model *m;
    tern_err why;
    char *text = NULL;
    json_t *o = NULL;
    double strict = c->opt.value[OPT_STRICT].num;
    c->opt.value[OPT_STRICT].num = 1;
    tern_code rc = cli_model_open(c, (int32_t)cli_int(&c->opt, OPT_THREADS), &m, &why);
    c->opt.value[OPT_STRICT].num = strict;
    if (rc == TERN_OK)
        rc = tern_model_describe(m, &text, &why);
    if (rc == TERN_OK)
        o = json_loads(text, 0, NULL);
    tern_string_free(text);
    tern_model_close(m);
    if (rc == TERN_OK && o) { /* a template is long, and its place says what it is */
        (void)json_object_del(json_object_get(o, "chat_template"), "source");
        (void)json_object_del(o, "kernels"); /* those of the machine */
        set(o, "self_check", json_string("passed"));
        set(o, "file", json_string(cli_model_label(c)));
        return o;
    }
    return json_pack("{s:s, s:s, s:s}", "file", cli_model_label(c), "error",
                     rc == TERN_OK ? "out of memory" : why.msg, "self_check",
                     rc == TERN_E_SELFTEST ? "failed" : "not reached");
}

static void add_models(cli *c, json_t *o)
{
    const char *given = c->opt.value[OPT_MODEL].text;
    if (given)
        set(o, "model", checked_model(c));
    c->opt.value[OPT_MODEL].text = NULL;
    set(o, "builtin_model", cli_builtin_get(0) ? checked_model(c) : json_null());
    c->opt.value[OPT_MODEL].text = given;
}

/* The folder of the model, wherever it is. */
static bool hide_folder(const cli *c, redact *r)
{
    const char *path = cli_text(&c->opt, OPT_MODEL);
    const char *slash = path ? strrchr(path, '/') : NULL;
    char folder[1024];
    if (!slash || slash == path || (size_t)(slash - path) >= sizeof folder)
        return true;
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    return redact_add(r, folder, "FOLDER", false);
}

/* ---- print --------------------------------------------------------------------------------- */

#define MAX_DEPTH 8

static bool is_flat(const json_t *v)
{
    return !json_is_object(v) && !json_is_array(v);
}

static void print_value(const json_t *v, int depth);

static void print_flat(const json_t *v)
{
    if (json_is_string(v))
        (void)fputs(json_string_value(v), stdout);
    else if (json_is_integer(v))
        (void)printf("%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        (void)printf("%.6g", json_real_value(v));
    else
        (void)fputs(json_is_true(v) ? "yes" : json_is_false(v) ? "no" : "none", stdout);
}

static void print_list(const json_t *list, int depth)
{
    size_t i;
    json_t *item;
    bool flat = true;
    json_array_foreach(list, i, item) flat &= is_flat(item);
    for (i = 0; flat && i < json_array_size(list); i++) {
        (void)putchar(' ');
        print_flat(json_array_get(list, i));
    }
    (void)puts(json_array_size(list) ? "" : " none");
    for (i = 0; !flat && i < json_array_size(list); i++) {
        (void)printf("%*s-", 2 * depth, "");
        print_value(json_array_get(list, i), depth + 1);
    }
}

/* What stands behind "name:" or "-", with the line's end. */
static void print_value(const json_t *v, int depth)
{
    const char *key;
    json_t *item;
    if (depth > MAX_DEPTH) {
        (void)puts(" ...");
    } else if (json_is_object(v)) {
        (void)puts("");
        json_object_foreach((json_t *)(uintptr_t)v, key, item)
        {
            (void)printf("%*s%s:", 2 * depth, "", key);
            print_value(item, depth + 1);
        }
    } else if (json_is_array(v)) {
        print_list(v, depth);
    } else {
        (void)putchar(' ');
        print_flat(v);
        (void)putchar('\n');
    }
}

tern_code cli_bug_report(cli *c, tern_err *err)
{
    json_t *o;
    redact r;
    if (!redact_init(&r))
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    tern_code rc = hide_folder(c, &r) ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory");
    if (rc == TERN_OK)
        rc = cli_doctor_facts(c, &o, err);
    if (rc == TERN_OK) {
        (void)json_object_del(o, "calibrations"); /* these two name all the user's models */
        (void)json_object_del(o, "packed_weights");
        set(o, "commit", json_string(cli_commit));
        set(o, "system", system_of());
        set(o, "environment", environment());
        add_cores(o);
        shorten_kernels(o);
        add_models(c, o);
        o = redact_json(&r, o);
        if (!o)
            rc = tern_fail(err, TERN_E_NOMEM, "out of memory");
    }
    redact_done(&r);
    if (rc != TERN_OK || c->json)
        return rc == TERN_OK ? cli_print_json(o, err) : rc;
    (void)fputs("tern bug report:", stdout);
    print_value(o, 1);
    json_decref(o);
    return cli_flush(err);
}
