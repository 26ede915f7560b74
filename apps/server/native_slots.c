/* POST /slots/{id}?action=save|restore|erase: what a slot remembers of this key's last request there, in a file.
 * With keys a file's name begins with the key's digest: nobody reaches another's files. */
#include "base/clock.h"
#include "base/error.h"
#include "base/num.h"
#include "server/generate.h"

#include <string.h>
#include <sys/stat.h>

/* One request. */
typedef struct action {
    exchange *x;
    const serving *s;
    int32_t slot;
    const char *name; /* as the request has it */
    tern_str path;
    size_t n_tok;
    uint64_t begin_ns;
    tern_err err;
} action;

static const char name_bytes[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

static bool is_plain(const char *name)
{
    return *name && *name != '.' && strspn(name, name_bytes) == strlen(name);
}

static bool read_name(action *a, const params *p)
{
    uint64_t owner = exchange_owner(a->x);
    if (!p->filename || !is_plain(p->filename)) {
        exchange_refuse(a->x, 400, "invalid_value", "filename",
                        "filename: expected letters, digits, dots, _ and -, and no dot first");
        return false;
    }
    a->name = p->filename;
    tern_str_printf(&a->path, "%s/", a->s->slot_dir);
    if (owner)
        tern_str_printf(&a->path, "%016llx-", (unsigned long long)owner);
    tern_str_puts(&a->path, p->filename);
    if (a->path.failed)
        exchange_refuse(a->x, 503, "no_memory", NULL, "out of memory");
    return !a->path.failed;
}

/* What is wrong with the file, without where it is: that is the server's affair. NULL: it is not the file. */
static const char *file_error(const tern_err *err)
{
    bool of_file = err->code == TERN_E_IO || err->code == TERN_E_FORMAT ||
                   err->code == TERN_E_LIMIT ||
                   (err->code == TERN_E_NOT_FOUND && strncmp(err->msg, "slot ", 5) != 0);
    const char *why = err->msg;
    for (const char *at; of_file && (at = strstr(why, ": ")) != NULL;)
        why = at + 2;
    return of_file ? why : NULL;
}

static void fail(action *a)
{
    const char *why = file_error(&a->err);
    tern_err shown = a->err;
    if (why)
        (void)tern_fail(&shown, a->err.code, "the file: %s", why);
    else if (a->err.code == TERN_E_NOMEM)
        (void)tern_fail(&shown, a->err.code, "not enough memory is left for it: try again later");
    exchange_fail(a->x, &shown, why ? "filename" : NULL);
}

static double ms_since(const action *a)
{
    return (double)(tern_clock_ns() - a->begin_ns) * 1e-6;
}

static void reply_file(action *a, const char *n_tok, const char *n_bytes, const char *ms)
{
    struct stat st;
    json_int_t bytes = stat(tern_str_get(&a->path), &st) == 0 ? (json_int_t)st.st_size : 0;
    exchange_reply_json(a->x, 200,
                        json_pack("{s:i, s:s, s:I, s:I, s:{s:f}}", "id_slot", a->slot, "filename",
                                  a->name, n_tok, (json_int_t)a->n_tok, n_bytes, bytes, "timings",
                                  ms, ms_since(a)));
}

static void save(action *a)
{
    if (tern_scheduler_slot_save(a->s->scheduler, a->slot, exchange_owner(a->x),
                                 tern_str_get(&a->path), &a->n_tok, &a->err) != TERN_OK)
        fail(a);
    else
        reply_file(a, "n_saved", "n_written", "save_ms");
}

static void restore(action *a)
{
    if (tern_scheduler_slot_restore(a->s->scheduler, a->slot, exchange_owner(a->x),
                                    tern_str_get(&a->path), &a->n_tok, &a->err) != TERN_OK)
        fail(a);
    else
        reply_file(a, "n_restored", "n_read", "restore_ms");
}

static void with_file(action *a, void (*act)(action *a))
{
    json_t *body;
    params p;
    if (!generate_read(a->x, PARAM_SLOTS, &body, &p))
        return;
    if (read_name(a, &p))
        act(a);
    json_decref(body);
}

static void erase(action *a)
{
    if (tern_scheduler_slot_erase(a->s->scheduler, a->slot, exchange_owner(a->x), &a->n_tok,
                                  &a->err) != TERN_OK)
        fail(a);
    else
        exchange_reply_json(
            a->x, 200,
            json_pack("{s:i, s:I}", "id_slot", a->slot, "n_erased", (json_int_t)a->n_tok));
}

void server_slot_action(exchange *x)
{
    action a = {.x = x, .s = exchange_serving(x), .begin_ns = tern_clock_ns()};
    const char *id = exchange_param(x, "id"), *what = exchange_query(x, "action");
    tern_scheduler_stats st = {.size = sizeof st};
    uint64_t slot;
    tern_scheduler_stats_get(a.s->scheduler, &st);
    if (!a.s->slot_dir) {
        exchange_refuse(x, 501, "not_supported", NULL,
                        "slots are not saved here: start the server with --slot-save-path");
        return;
    }
    if (!tern_parse_u64(id, strlen(id), &slot) || slot >= (uint64_t)st.n_slot) {
        exchange_refuse(x, 400, "invalid_value", "id", "id: expected a slot from 0 to %d",
                        st.n_slot - 1);
        return;
    }
    a.slot = (int32_t)slot;
    tern_str_init(&a.path, 1 << 14);
    if (what && strcmp(what, "save") == 0)
        with_file(&a, save);
    else if (what && strcmp(what, "restore") == 0)
        with_file(&a, restore);
    else if (what && strcmp(what, "erase") == 0)
        erase(&a);
    else
        exchange_refuse(x, 400, "invalid_value", "action",
                        "action: expected save, restore or erase");
    tern_str_done(&a.path);
}
