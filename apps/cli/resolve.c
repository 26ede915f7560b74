/* Names of models, as paths. */
#include "base/alloc.h"
#include "base/error.h"
#include "cli.h"
#include "store/hub.h"
#include "store/store.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

tern_code cli_store_open(const cli *c, store *out, tern_err *err)
{
    return store_open(out, cli_text(&c->opt, OPT_MODELS), err);
}

/* Written as a path, so that a mistake in it is no model of somebody's. */
static bool is_path(const char *s)
{
    size_t n = strlen(s);
    if (s[0] == '/' || s[0] == '.' || s[0] == '~')
        return true;
    return n > 5 && strcmp(s + n - 5, ".gguf") == 0 && !strchr(s, ':');
}

static tern_code not_here(const store_list *l, const char *text, const char *endpoint,
                          tern_err *err)
{
    const store_entry *e;
    tern_err ignored;
    store_spec spec;
    char shown[80];
    tern_quote(shown, sizeof shown, text, strlen(text));
    if (store_find(l, text, endpoint, true, &e, &ignored) == TERN_OK)
        return tern_fail(err, TERN_E_NOT_FOUND, "%s is only partly here; go on with: tern pull %s",
                         shown, shown);
    if (store_spec_parse(text, endpoint, &spec, &ignored) == TERN_OK)
        return tern_fail(err, TERN_E_NOT_FOUND,
                         "%s: No such file, and no model of that name is here; fetch it with: "
                         "tern pull %s",
                         shown, shown);
    return tern_fail(err, TERN_E_NOT_FOUND,
                     "%s: No such file, and no model of that name is here (tern ls)", shown);
}

tern_code cli_model_path(const cli *c, const char *text, tern_str *path, store_entry *entry,
                         tern_err *err)
{
    struct stat st;
    store s;
    store_list list;
    const store_entry *e;
    char endpoint[300];
    if (stat(text, &st) == 0 || errno != ENOENT || is_path(text)) {
        tern_str_puts(path, text);
        return path->failed ? tern_fail(err, TERN_E_NOMEM, "out of memory") : TERN_OK;
    }
    store_hub_endpoint(endpoint, sizeof endpoint);
    TERN_TRY(cli_store_open(c, &s, err));
    tern_code rc = store_list_read(&s, &list, err);
    if (rc == TERN_OK) {
        rc = store_find(&list, text, endpoint, false, &e, err);
        if (rc == TERN_E_NOT_FOUND)
            rc = not_here(&list, text, endpoint, err);
        if (rc == TERN_OK)
            store_entry_path(&s, e, path);
        if (rc == TERN_OK && entry) { /* handed over: the list forgets it */
            *entry = *e;
            list.v[e - list.v] = (store_entry){.folder = NULL};
        }
        store_list_done(&list);
    }
    store_close(&s);
    return rc == TERN_OK && path->failed ? tern_fail(err, TERN_E_NOMEM, "out of memory") : rc;
}
