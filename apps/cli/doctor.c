/* What this machine and this build can do: all that a report of a problem needs. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "cli.h"
#include "net/http.h"
#ifdef TERN_SERVER
#include "server/server.h"
#endif
#include "store/digest.h"

#include <stdlib.h>
#include <string.h>

#ifdef TERN_LIBEDIT
#define HAS_LIBEDIT 1
#else
#define HAS_LIBEDIT 0
#endif

/* ---- facts ---------------------------------------------------------------------------------- */

static tern_code system_facts(int32_t n_thread, bool measure, json_t **out, tern_err *err)
{
    char *text;
    TERN_TRY(tern_system_describe(n_thread, measure, &text, err));
    *out = json_loads(text, 0, NULL);
    tern_string_free(text);
    return *out ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory for the description");
}

/* A limit that is not there is null. */
static json_t *limit(uint64_t n)
{
    return n == TERN_NO_LIMIT ? json_null() : json_integer((json_int_t)n);
}

static void describe_builtin(const cli *c, const tern_model *m, size_t n, double open_s, json_t *o)
{
    tern_model_info info = {.size = sizeof info};
    tern_model_info_get(m, &info);
    (void)json_object_set_new(o, "builtin_model",
                              json_pack("{s:s, s:I, s:I, s:i, s:f}", "name", cli_model_label(c),
                                        "bytes", (json_int_t)n, "parameters",
                                        (json_int_t)info.n_param, "context", info.n_ctx_train,
                                        "open_s", open_s));
}

static void add_builtin(cli *c, json_t *o)
{
    const char *given = c->opt.value[OPT_MODEL].text;
    const cli_builtin *first = cli_builtin_get(0);
    tern_err why;
    tern_model *m = NULL;
    if (!first) {
        (void)json_object_set_new(o, "builtin_model", json_null());
        return;
    }
    uint64_t begin = tern_clock_ns();
    c->opt.value[OPT_MODEL].text = NULL;
    tern_code rc = cli_model_open(c, 0, &m, &why);
    if (rc != TERN_OK)
        (void)json_object_set_new(o, "builtin_model", json_pack("{s:s}", "error", why.msg));
    else
        describe_builtin(c, m, cli_builtin_bytes(first), (double)(tern_clock_ns() - begin) * 1e-9,
                         o);
    c->opt.value[OPT_MODEL].text = given;
    tern_model_close(m);
}

static void warn(json_t *list, const char *text)
{
    (void)json_array_append_new(list, json_string(text));
}

static void add_warnings(json_t *o)
{
    json_t *list = json_array(), *cpu = json_object_get(o, "cpu");
    const char *mask = getenv("TERN_CPU");
    double load = 0.0;
    if (mask && *mask)
        warn(list, "the environment variable TERN_CPU masks instructions of this CPU");
    if (json_array_size(json_object_get(cpu, "flags")) == 0)
        warn(list, "no vector instructions that tern knows: only the slow reference kernels run");
    if (getloadavg(&load, 1) == 1 &&
        load > (double)json_integer_value(json_object_get(cpu, "cpus")))
        warn(list, "other programs keep all CPUs busy: measured figures are too low");
    if (json_integer_value(json_object_get(json_object_get(o, "memory"), "available_bytes")) <
        (json_int_t)512 << 20)
        warn(list, "less than 512 MiB of memory are free");
    const json_t *builtin = json_object_get(o, "builtin_model");
    if (json_is_null(builtin))
        warn(list, "this build has no built-in model");
    else if (json_object_get(builtin, "error"))
        warn(list, "the built-in model does not open");
    (void)json_object_set_new(o, "warnings", list);
}

static double bandwidth(const json_t *o)
{
    return json_number_value(json_object_get(json_object_get(o, "memory"), "read_bytes_per_s"));
}

static double macs(const json_t *o)
{
    return json_number_value(json_object_get(json_object_get(o, "compute"), "int8_macs_per_s"));
}

/* What was kept of calibrations, by machine and model; null: nothing. */
static void add_calibrations(const cli *c, json_t *all)
{
    char *dir = cli_cache_dir(c);
    tern_str path;
    tern_str_init(&path, 1 << 12);
    tern_str_printf(&path, "%s/calibration.json", dir ? dir : "");
    json_t *kept = dir ? json_load_file(tern_str_get(&path), 0, NULL) : NULL;
    (void)json_object_set_new(all, "calibrations", json_is_object(kept) ? kept : json_null());
    if (!json_is_object(kept))
        json_decref(kept);
    tern_str_done(&path);
    tern_free(dir);
}

/* Packed weights that are kept, and where; null: no folder is known. */
static void add_packed(const cli *c, json_t *all)
{
    char *dir = cli_cache_dir(c), *text = NULL;
    json_t *files = NULL, *one;
    json_int_t bytes = 0;
    size_t i;
    if (dir && tern_cache_describe(dir, &text, NULL) == TERN_OK)
        files = json_loads(text, 0, NULL);
    json_array_foreach(files, i, one) bytes += json_integer_value(json_object_get(one, "bytes"));
    (void)json_object_set_new(
        all, "packed_weights",
        files ? json_pack("{s:s, s:I, s:o}", "folder", dir, "bytes", bytes, "files", files)
              : json_null());
    tern_string_free(text);
    tern_free(dir);
}

/* Prefixes that `tern serve` keeps, and where; null: no folder is known. */
static void add_prefixes(const cli *c, json_t *all)
{
    char *dir = cli_cache_dir(c);
    uint64_t n = 0, bytes = 0;
    if (dir)
        tern_cache_prefixes(dir, &n, &bytes);
    (void)json_object_set_new(all, "prefixes",
                              dir ? json_pack("{s:s, s:I, s:I}", "folder", dir, "files",
                                              (json_int_t)n, "bytes", (json_int_t)bytes)
                                  : json_null());
    tern_free(dir);
}

/* What `tern pull` needs, or null. */
static json_t *network(void)
{
    return net_library() ? json_sprintf("%s, %s", net_library(), store_digest_library())
                         : json_null();
}

/* What `tern serve` needs, or null. */
static json_t *server(void)
{
#ifdef TERN_SERVER
    return json_string(server_libraries());
#else
    return json_null();
#endif
}

tern_code cli_doctor_facts(cli *c, json_t **out, tern_err *err)
{
    json_t *all, *one;
    TERN_TRY(system_facts(0, true, &all, err));
    tern_code rc = system_facts(1, true, &one, err);
    if (rc != TERN_OK) {
        json_decref(all);
        return rc;
    }
    const json_t *measured = json_object_get(all, "memory");
    tern_memory now;
    tern_memory_get(&now);
    json_t *memory =
        json_pack("{s:I, s:I, s:o, s:o, s:o, s:f, s:f, s:I}", "total_bytes", (json_int_t)now.total,
                  "available_bytes", (json_int_t)now.available, "control_group_bytes",
                  limit(now.group_limit), "control_group_room_bytes", limit(now.group_room),
                  "address_space_bytes", limit(now.address_limit), "read_bytes_per_s_1_thread",
                  bandwidth(one), "read_bytes_per_s_all_threads", bandwidth(all), "threads",
                  json_integer_value(json_object_get(measured, "threads")));
    (void)json_object_set_new(all, "memory", memory);
    (void)json_object_set_new(json_object_get(all, "libraries"), "libedit",
                              json_boolean(HAS_LIBEDIT));
    (void)json_object_set_new(json_object_get(all, "libraries"), "network", network());
    (void)json_object_set_new(json_object_get(all, "libraries"), "server", server());
    (void)json_object_set_new(json_object_get(all, "compute"), "int8_macs_per_s_1_thread",
                              json_real(macs(one)));
    json_decref(one);
    add_builtin(c, all);
    add_calibrations(c, all);
    add_packed(c, all);
    add_prefixes(c, all);
    add_warnings(all);
    *out = all;
    return TERN_OK;
}

/* ---- for people ----------------------------------------------------------------------------- */

static const char *text_at(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void print_words(const char *title, const json_t *list)
{
    size_t i;
    json_t *word;
    (void)printf("%-14s ", title);
    json_array_foreach(list, i, word)(void) printf("%s%s", i ? " " : "", json_string_value(word));
    (void)puts(json_array_size(list) ? "" : "none");
}

static void print_kernels(const json_t *o)
{
    size_t i, n_usable = 0;
    json_t *kernel, *chosen = json_object_get(o, "chosen"), *name;
    const json_t *all = json_object_get(o, "kernels");
    const char *op;
    json_array_foreach(all, i, kernel) n_usable += json_is_true(json_object_get(kernel, "usable"));
    (void)printf("kernels        %zu compiled, %zu usable here; chosen:\n", json_array_size(all),
                 n_usable);
    json_object_foreach(chosen, op, name)(void) printf("  %-12s %s\n", op, json_string_value(name));
}

static void print_builtin(const json_t *b)
{
    if (json_is_null(b))
        (void)puts("built-in model none");
    else if (json_object_get(b, "error"))
        (void)printf("built-in model fails: %s\n", text_at(b, "error"));
    else
        (void)printf("built-in model %.1f M parameters, %.1f MiB, opens in %.0f ms\n",
                     json_number_value(json_object_get(b, "parameters")) * 1e-6,
                     json_number_value(json_object_get(b, "bytes")) / 1048576.0,
                     json_number_value(json_object_get(b, "open_s")) * 1e3);
}

static void print_calibrations(const json_t *kept)
{
    const char *key;
    json_t *entry;
    if (json_object_size(kept) == 0)
        (void)puts(
            "calibrations   none kept; models are calibrated when they open (tern tune keeps one)");
    json_object_foreach((json_t *)(uintptr_t)kept, key, entry)
    {
        (void)printf("\ncalibration    %s (%s)\n", text_at(entry, "name"), key);
        cli_calibration_print(entry);
    }
}

static void print_packed(const json_t *p)
{
    size_t i;
    json_t *one;
    const json_t *files = json_object_get(p, "files");
    if (json_array_size(files) == 0) {
        (void)puts("packed weights none kept (--repack-cache on keeps them)");
        return;
    }
    (void)printf("packed weights %zu, %.1f MB, in %s (tern tune --clear removes them)\n",
                 json_array_size(files), json_number_value(json_object_get(p, "bytes")) * 1e-6,
                 text_at(p, "folder"));
    json_array_foreach(files, i, one)(void)
        printf("  %8.1f MB  %s\n", json_number_value(json_object_get(one, "bytes")) * 1e-6,
               json_object_get(one, "model") ? text_at(one, "model") : text_at(one, "file"));
}

static void print_prefixes(const json_t *p)
{
    if (json_integer_value(json_object_get(p, "files")) == 0)
        (void)puts("prefixes       none kept (tern serve keeps them)");
    else
        (void)printf("prefixes       %.1f MB, in %s (tern tune --clear removes them)\n",
                     json_number_value(json_object_get(p, "bytes")) * 1e-6, text_at(p, "folder"));
}

static void print_report(const json_t *o)
{
    const json_t *cpu = json_object_get(o, "cpu"), *lib = json_object_get(o, "libraries");
    const json_t *mem = json_object_get(o, "memory"), *warnings = json_object_get(o, "warnings");
    size_t i;
    json_t *line;
    (void)printf("tern           %s, built by %s\n", text_at(o, "version"), text_at(o, "compiler"));
    (void)printf("cpu            %s, %lld usable\n", text_at(cpu, "model"),
                 (long long)json_integer_value(json_object_get(cpu, "cpus")));
    print_words("instructions", json_object_get(cpu, "flags"));
    print_words("of which used", json_object_get(cpu, "used"));
    (void)printf("memory         %.1f GiB, %.1f GiB free",
                 json_number_value(json_object_get(mem, "total_bytes")) / 1073741824.0,
                 json_number_value(json_object_get(mem, "available_bytes")) / 1073741824.0);
    if (!json_is_null(json_object_get(mem, "control_group_bytes")))
        (void)printf("; of a control group's %.1f GiB %.1f GiB",
                     json_number_value(json_object_get(mem, "control_group_bytes")) / 1073741824.0,
                     json_number_value(json_object_get(mem, "control_group_room_bytes")) /
                         1073741824.0);
    (void)putchar('\n');
    (void)printf("reading speed  %.1f GB/s with 1 thread, %.1f GB/s with %lld\n",
                 json_number_value(json_object_get(mem, "read_bytes_per_s_1_thread")) * 1e-9,
                 json_number_value(json_object_get(mem, "read_bytes_per_s_all_threads")) * 1e-9,
                 (long long)json_integer_value(json_object_get(mem, "threads")));
    const json_t *compute = json_object_get(o, "compute");
    if (macs(o) > 0)
        (void)printf("int8 peak      %.0f G multiply-adds/s with 1 thread, %.0f with %lld\n",
                     json_number_value(json_object_get(compute, "int8_macs_per_s_1_thread")) * 1e-9,
                     macs(o) * 1e-9,
                     (long long)json_integer_value(json_object_get(mem, "threads")));
    print_kernels(o);
    print_builtin(json_object_get(o, "builtin_model"));
    print_calibrations(json_object_get(o, "calibrations"));
    print_packed(json_object_get(o, "packed_weights"));
    print_prefixes(json_object_get(o, "prefixes"));
    const char *net = text_at(lib, "network");
    const char *web = text_at(lib, "server");
    (void)printf("libraries      PCRE2 %s, jansson %s, utf8proc %s, libedit %s, %s, %s\n",
                 text_at(lib, "pcre2"), text_at(lib, "jansson"), text_at(lib, "utf8proc"),
                 json_is_true(json_object_get(lib, "libedit")) ? "yes" : "no",
                 *net ? net : "no network (tern pull needs libcurl and nettle)",
                 *web ? web : "no server (tern serve needs libmicrohttpd and nettle)");
    json_array_foreach(warnings, i, line)(void) printf("warning: %s\n", json_string_value(line));
    if (json_array_size(warnings) == 0)
        (void)puts("no warnings");
}

tern_code cli_doctor(cli *c, tern_err *err)
{
    json_t *o;
    if (cli_flag(&c->opt, OPT_BUG_REPORT))
        return cli_bug_report(c, err);
    if (cli_model_asked(c))
        return tern_fail(err, TERN_E_USAGE, "doctor looks at a model only with --bug-report");
    TERN_TRY(cli_doctor_facts(c, &o, err));
    if (c->json)
        return cli_print_json(o, err);
    print_report(o);
    json_decref(o);
    return cli_flush(err);
}

tern_code cli_version(cli *c, tern_err *err)
{
    json_t *o, *kernel;
    size_t i;
    TERN_TRY(system_facts(1, false, &o, err));
    json_t *names = json_array();
    json_array_foreach(json_object_get(o, "kernels"), i,
                       kernel) if (json_is_true(json_object_get(kernel, "usable")))(void)
        json_array_append(names, json_object_get(kernel, "name"));
    json_t *v = json_pack("{s:s, s:s, s:O, s:b, s:o}", "version", tern_version(), "commit",
                          cli_commit, "compiler", json_object_get(o, "compiler"), "libedit",
                          HAS_LIBEDIT, "kernels", names);
    json_decref(o);
    if (!v)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    if (c->json)
        return cli_print_json(v, err);
    (void)printf("tern %s\ncommit: %s\ncompiler: %s\nusable kernels:", tern_version(), cli_commit,
                 text_at(v, "compiler"));
    json_array_foreach(names, i, kernel)(void) printf(" %s", json_string_value(kernel));
    (void)putchar('\n');
    json_decref(v);
    return cli_flush(err);
}
