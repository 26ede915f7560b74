#include "base/error.h"
#include "base/os/outfile.h"
#include "chat.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FILE ((size_t)64 << 20)

static tern_code no_memory(tern_err *err)
{
    return tern_fail(err, TERN_E_NOMEM, "out of memory for the conversation");
}

static const char *role_at(const transcript *t, size_t i)
{
    const char *s = json_string_value(json_object_get(json_array_get(t->messages, i), "role"));
    return s ? s : "";
}

tern_code transcript_init(transcript *t, const char *system, tern_err *err)
{
    t->messages = json_array();
    if (!t->messages)
        return no_memory(err);
    return system && *system ? transcript_set_system(t, system, err) : TERN_OK;
}

void transcript_done(transcript *t)
{
    json_decref(t->messages);
    t->messages = NULL;
}

static json_t *message(const char *role, const char *text, size_t n)
{
    return json_pack("{s:s, s:s%}", "role", role, "content", text, n);
}

tern_code transcript_add(transcript *t, const char *role, const char *text, size_t n, tern_err *err)
{
    TERN_TRY(cli_check_utf8("the message", text, n, err));
    return json_array_append_new(t->messages, message(role, text, n)) == 0 ? TERN_OK
                                                                           : no_memory(err);
}

tern_code transcript_set_system(transcript *t, const char *text, tern_err *err)
{
    TERN_TRY(cli_check_utf8("the system message", text, strlen(text), err));
    if (strcmp(role_at(t, 0), "system") == 0)
        (void)json_array_remove(t->messages, 0);
    if (*text == '\0')
        return TERN_OK;
    return json_array_insert_new(t->messages, 0, message("system", text, strlen(text))) == 0
               ? TERN_OK
               : no_memory(err);
}

size_t transcript_count(const transcript *t)
{
    return json_array_size(t->messages);
}

static void cut(transcript *t, size_t n)
{
    while (transcript_count(t) > n)
        (void)json_array_remove(t->messages, transcript_count(t) - 1);
}

void transcript_clear(transcript *t)
{
    cut(t, strcmp(role_at(t, 0), "system") == 0 ? 1 : 0);
}

/* One past the last user message; 0: there is none. */
static size_t after_last_user(const transcript *t)
{
    size_t n = transcript_count(t);
    while (n > 0 && strcmp(role_at(t, n - 1), "user") != 0)
        n--;
    return n;
}

bool transcript_undo(transcript *t)
{
    size_t n = after_last_user(t);
    if (n > 0)
        cut(t, n - 1);
    return n > 0;
}

bool transcript_reopen(transcript *t)
{
    size_t n = after_last_user(t);
    if (n > 0)
        cut(t, n);
    return n > 0;
}

/* ---- files --------------------------------------------------------------------------------- */

tern_code transcript_save(const transcript *t, const char *model, const char *path, tern_err *err)
{
    tern_outfile o;
    json_t *root = json_pack("{s:i, s:s, s:O}", "tern_conversation", 1, "model", model, "messages",
                             t->messages);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    if (!text)
        return no_memory(err);
    tern_code rc = tern_outfile_open(&o, path, TERN_OUTFILE_PRIVATE, err);
    if (rc == TERN_OK) {
        (void)fputs(text, o.f);
        (void)fputc('\n', o.f);
        rc = tern_outfile_commit(&o, err);
    }
    free(text);
    return rc;
}

static tern_code check_messages(const char *path, const json_t *list, tern_err *err)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    size_t i;
    json_t *m;
    if (!json_is_array(list))
        return tern_fail(err, TERN_E_FORMAT, "%s: no \"messages\" array", path);
    json_array_foreach(list, i, m)
    {
        const char *role = json_string_value(json_object_get(m, "role"));
        bool known = false;
        for (size_t r = 0; role && r < sizeof roles / sizeof roles[0]; r++)
            known |= strcmp(role, roles[r]) == 0;
        if (!known)
            return tern_fail(err, TERN_E_FORMAT,
                             "%s: messages[%zu].role: expected system, user or assistant", path, i);
        if (!json_is_string(json_object_get(m, "content")))
            return tern_fail(err, TERN_E_FORMAT, "%s: messages[%zu].content: expected a string",
                             path, i);
    }
    return TERN_OK;
}

tern_code transcript_load(transcript *t, const char *path, tern_err *err)
{
    json_error_t e;
    json_t *root = NULL;
    tern_str text;
    tern_str_init(&text, MAX_FILE);
    tern_code rc = cli_read_file(path, &text, err);
    if (rc == TERN_OK) {
        root = json_loadb(tern_str_get(&text), text.len, JSON_REJECT_DUPLICATES, &e);
        if (!root)
            rc = tern_fail(err, TERN_E_FORMAT, "%s: line %d, column %d: %.100s", path, e.line,
                           e.column, e.text);
    }
    if (rc == TERN_OK) {
        json_t *list = json_is_array(root) ? root : json_object_get(root, "messages");
        rc = check_messages(path, list, err);
        if (rc == TERN_OK) {
            json_incref(list);
            json_decref(t->messages);
            t->messages = list;
        }
    }
    json_decref(root);
    tern_str_done(&text);
    return rc;
}
