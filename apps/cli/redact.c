#include "redact.h"
#include "base/alloc.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_DEPTH 16

extern char **environ;

bool redact_is_secret(const char *name)
{
    static const char *const words[] = {"TOKEN",      "KEY",   "SECRET", "PASS",
                                        "CREDENTIAL", "PROXY", "proxy"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strstr(name, words[i]))
            return true;
    return false;
}

bool redact_add(redact *r, const char *from, const char *to, bool whole)
{
    size_t n = from ? strlen(from) : 0;
    while (n > 1 && from[n - 1] == '/')
        n--;
    if (n < 3 || r->n == REDACT_MAX)
        return true;
    char *copy = tern_strdup_n(from, n);
    if (!copy)
        return false;
    r->rule[r->n].from = copy;
    r->rule[r->n].to = to;
    r->rule[r->n++].whole = whole;
    return true;
}

const char *redact_variable(const char *entry, char *name)
{
    const char *value = strchr(entry, '=');
    size_t n = value ? (size_t)(value - entry) : 0;
    if (n == 0 || n >= REDACT_NAME)
        return NULL;
    memcpy(name, entry, n);
    name[n] = '\0';
    return value + 1;
}

/* Keys come first: whatever else they contain, nothing of them is left. */
static bool add_secrets(redact *r)
{
    char name[REDACT_NAME];
    for (char **e = environ; e && *e; e++) {
        const char *value = redact_variable(*e, name);
        if (!value)
            continue;
        /* Short values of such variables are switches, and would be found everywhere. */
        if (redact_is_secret(name) && strlen(value) >= 8 &&
            !redact_add(r, value, "(hidden)", false))
            return false;
    }
    return true;
}

bool redact_init(redact *r)
{
    const char *home = getenv("HOME"), *user = getenv("USER"), *login = getenv("LOGNAME");
    const struct passwd *p = getpwuid(getuid());
    char host[256] = "";
    *r = (redact){.n = 0};
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    bool ok = add_secrets(r) && redact_add(r, home, "~", false) &&
              (!p || redact_add(r, p->pw_dir, "~", false)) && redact_add(r, user, "USER", true) &&
              redact_add(r, login, "USER", true) &&
              (!p || redact_add(r, p->pw_name, "USER", true)) && redact_add(r, host, "HOST", true);
    if (!ok)
        redact_done(r);
    return ok;
}

void redact_done(redact *r)
{
    for (size_t i = 0; i < r->n; i++)
        tern_free(r->rule[i].from);
    r->n = 0;
}

/* Names are folders, or stand alone: elsewhere the same letters are somebody else's word. */
static bool is_alone(const char *text, const char *at, size_t n)
{
    return (at == text || strchr("/@=:\"'(", at[-1])) &&
           (at[n] == '\0' || strchr("/@:\"'),", at[n]));
}

/* Length of what a rule takes away at `at`; its number in *rule. */
static size_t match(const redact *r, const char *text, const char *at, size_t *rule)
{
    for (size_t i = 0; i < r->n; i++) {
        size_t n = strlen(r->rule[i].from);
        if (strncmp(at, r->rule[i].from, n) != 0 || (r->rule[i].whole && !is_alone(text, at, n)))
            continue;
        *rule = i;
        return n;
    }
    return 0;
}

void redact_text(const redact *r, const char *text, tern_str *out)
{
    size_t rule, n;
    for (const char *at = text; *at;) {
        n = match(r, text, at, &rule);
        if (n > 0)
            tern_str_puts(out, r->rule[rule].to);
        else
            tern_str_putc(out, *at);
        at += n > 0 ? n : 1;
    }
}

static json_t *hidden(const redact *r, const json_t *v, int depth)
{
    json_t *out = NULL, *item;
    const char *key;
    size_t i;
    tern_str s;
    bool ok = true;
    if (depth == MAX_DEPTH)
        return json_string("...");
    if (json_is_string(v)) {
        tern_str_init(&s, 1 << 20);
        redact_text(r, json_string_value(v), &s);
        out = s.failed ? NULL : json_string(tern_str_get(&s));
        tern_str_done(&s);
    } else if (json_is_array(v)) {
        out = json_array();
        json_array_foreach(v, i, item) ok &=
            json_array_append_new(out, hidden(r, item, depth + 1)) == 0;
    } else if (json_is_object(v)) {
        out = json_object();
        json_object_foreach((json_t *)(uintptr_t)v, key, item)
        {
            tern_str_init(&s, 1 << 20);
            redact_text(r, key, &s);
            ok &= !s.failed &&
                  json_object_set_new(out, tern_str_get(&s), hidden(r, item, depth + 1)) == 0;
            tern_str_done(&s);
        }
    } else {
        return json_incref((json_t *)(uintptr_t)v);
    }
    if (ok)
        return out;
    json_decref(out);
    return NULL;
}

json_t *redact_json(const redact *r, json_t *v)
{
    json_t *out = v ? hidden(r, v, 0) : NULL;
    json_decref(v);
    return out;
}
