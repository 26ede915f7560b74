/* `tern ls` and `tern rm`: what the store holds. */
#include "base/error.h"
#include "cli.h"
#include "store/fetch.h"
#include "store/hub.h"
#include "store/store.h"

#include <string.h>
#include <unistd.h>

static int share(const store_manifest *m)
{
    uint64_t total = store_manifest_bytes(m), missing = store_manifest_missing(m);
    return total ? (int)(100.0 * (double)(total - missing) / (double)total) : 0;
}

static void put_source(const store_manifest *m, tern_str *out)
{
    store_spec spec = m->spec;
    if (spec.kind == STORE_HUB)
        tern_str_puts(out, "hf:");
    store_spec_text(&spec, out);
}

/* ---- names of tested models ---------------------------------------------------------------- */

static tern_code list_known(const cli *c, tern_err *err)
{
    const store_known *k;
    json_t *list = json_array();
    for (size_t i = 0; (k = store_known_get(i)) != NULL; i++) {
        if (c->json)
            (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "name", k->name,
                                                        "source", k->spec, "licence", k->licence,
                                                        "about", k->about));
        else if (cli_flag(&c->opt, OPT_NAMES))
            (void)puts(k->name);
        else
            (void)printf("%-19s %-60s %-18s hf:%s\n", k->name, k->about, k->licence, k->spec);
    }
    if (c->json)
        return cli_print_json(list, err);
    json_decref(list);
    return cli_flush(err);
}

/* ---- the store ----------------------------------------------------------------------------- */

static json_t *entry_json(const store *s, const store_entry *e)
{
    tern_str path, source;
    tern_str_init(&path, 1 << 13);
    tern_str_init(&source, 1 << 13);
    store_entry_path(s, e, &path);
    put_source(&e->m, &source);
    json_t *o = json_pack(
        "{s:s, s:I, s:s, s:s, s:s?, s:s?, s:s?, s:s, s:b}", "name", e->m.name, "size",
        (json_int_t)store_manifest_bytes(&e->m), "type", store_manifest_type(&e->m), "source",
        tern_str_get(&source), "commit", e->m.commit[0] ? e->m.commit : NULL, "licence",
        e->m.licence[0] ? e->m.licence : NULL, "date", e->m.pulled[0] ? e->m.pulled : NULL, "path",
        tern_str_get(&path), "complete", !e->partial);
    if (o && e->partial)
        (void)json_object_set_new(o, "percent", json_integer(share(&e->m)));
    tern_str_done(&path);
    tern_str_done(&source);
    return o;
}

static void print_entry(const store_entry *e, int width)
{
    char size[32], state[32];
    tern_str source;
    tern_str_init(&source, 1 << 13);
    put_source(&e->m, &source);
    store_size_text(size, sizeof size, store_manifest_bytes(&e->m));
    (void)snprintf(state, sizeof state, "%d %% here", share(&e->m));
    (void)printf("%-*s  %9s  %-11s  %-10.10s  %s\n", width, e->m.name, size,
                 store_manifest_type(&e->m), e->partial ? state : e->m.pulled,
                 tern_str_get(&source));
    tern_str_done(&source);
}

/* Of those that can be used. */
static void print_names(const store_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (!l->v[i].partial)
            (void)puts(l->v[i].m.name);
}

static void print_list(const store_list *l)
{
    int width = 4;
    for (size_t i = 0; i < l->n; i++)
        if ((int)strlen(l->v[i].m.name) > width)
            width = (int)strlen(l->v[i].m.name);
    if (l->n > 0)
        (void)printf("%-*s  %9s  %-11s  %-10s  %s\n", width, "NAME", "SIZE", "TYPE", "DATE",
                     "SOURCE");
    for (size_t i = 0; i < l->n; i++)
        print_entry(&l->v[i], width);
}

tern_code cli_ls(cli *c, tern_err *err)
{
    store s;
    store_list l;
    if (cli_flag(&c->opt, OPT_KNOWN))
        return list_known(c, err);
    TERN_TRY(cli_store_open(c, &s, err));
    tern_code rc = store_list_read(&s, &l, err);
    if (rc == TERN_OK && c->json) {
        json_t *list = json_array();
        for (size_t i = 0; i < l.n; i++)
            (void)json_array_append_new(list, entry_json(&s, &l.v[i]));
        rc = cli_print_json(list, err);
    } else if (rc == TERN_OK && cli_flag(&c->opt, OPT_NAMES)) {
        print_names(&l);
    } else if (rc == TERN_OK) {
        print_list(&l);
        if (l.n == 0 && !c->quiet)
            cli_dim(c, "no models here; 'tern ls --known' lists some that 'tern pull' can fetch");
    }
    if (rc == TERN_OK && l.n_bad)
        cli_warn(c, "%zu folders in %s have a record that cannot be read", l.n_bad, s.root);
    if (rc == TERN_OK)
        store_list_done(&l);
    store_close(&s);
    return rc == TERN_OK ? cli_flush(err) : rc;
}

/* ---- removing ------------------------------------------------------------------------------ */

static tern_code find_any(const store_list *l, const char *text, const store_entry **out,
                          tern_err *err)
{
    char endpoint[300];
    tern_err ignored;
    store_hub_endpoint(endpoint, sizeof endpoint);
    tern_code rc = store_find(l, text, endpoint, false, out, err);
    if (rc == TERN_E_NOT_FOUND && store_find(l, text, endpoint, true, out, &ignored) == TERN_OK)
        rc = TERN_OK;
    return rc;
}

static tern_code ask(const store_entry *e, bool *yes, tern_err *err)
{
    char size[32], line[16];
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return tern_fail(err, TERN_E_USAGE, "rm asks on a terminal; elsewhere it needs --yes");
    (void)fprintf(stderr, "remove %s, %s? [y/N] ", e->m.name,
                  store_size_text(size, sizeof size, store_manifest_bytes(&e->m)));
    *yes = fgets(line, sizeof line, stdin) && (line[0] == 'y' || line[0] == 'Y');
    return TERN_OK;
}

static tern_code remove_one(cli *c, const store *s, const store_list *l, const char *text,
                            json_t *removed, tern_err *err)
{
    const store_entry *e;
    bool yes = cli_flag(&c->opt, OPT_YES);
    char line[160], size[32];
    TERN_TRY(find_any(l, text, &e, err));
    if (!yes)
        TERN_TRY(ask(e, &yes, err));
    if (!yes)
        return TERN_OK;
    TERN_TRY(store_remove(s, e->folder, err));
    (void)json_array_append_new(removed, json_string(e->m.name));
    (void)snprintf(line, sizeof line, "removed %.100s, %s", e->m.name,
                   store_size_text(size, sizeof size, store_manifest_bytes(&e->m)));
    if (!c->quiet)
        cli_dim(c, line);
    return TERN_OK;
}

tern_code cli_rm(cli *c, tern_err *err)
{
    store s;
    store_list l = {.v = NULL};
    if (c->opt.words.n == 0)
        return tern_fail(err, TERN_E_USAGE, "rm needs the name of a model (tern ls)");
    TERN_TRY(cli_store_open(c, &s, err));
    json_t *removed = json_array();
    const store_entry *e;
    tern_code rc = store_list_read(&s, &l, err);
    /* All names are looked at before anything goes. */
    for (size_t i = 0; rc == TERN_OK && i < c->opt.words.n; i++)
        rc = find_any(&l, c->opt.words.item[i], &e, err);
    for (size_t i = 0; rc == TERN_OK && i < c->opt.words.n; i++)
        rc = remove_one(c, &s, &l, c->opt.words.item[i], removed, err);
    if (rc == TERN_OK && c->json)
        rc = cli_print_json(json_pack("{s:O}", "removed", removed), err);
    json_decref(removed);
    store_list_done(&l);
    store_close(&s);
    return rc;
}
