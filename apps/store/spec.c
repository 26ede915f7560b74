#include "spec.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MAX_FOLDER 200
#define MAX_DEPTH  8

static bool alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* ---- names --------------------------------------------------------------------------------- */

static bool component_ok(const char *s, size_t n)
{
    return n > 0 && n <= 255 && !(n == 1 && s[0] == '.') && !(n == 2 && s[0] == '.' && s[1] == '.');
}

bool store_path_ok(const char *s, size_t n)
{
    int depth = 0;
    uint32_t cp;
    if (n == 0 || n >= STORE_MAX_PATH)
        return false;
    for (size_t i = 0; i < n;) {
        int len = tern_utf8_decode(s + i, n - i, &cp);
        if (len == 0 || cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == '\\' || cp == 0x2028 ||
            (cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069))
            return false;
        i += (size_t)len;
    }
    for (size_t i = 0; i <= n;) {
        const char *slash = memchr(s + i, '/', n - i);
        size_t len = slash ? (size_t)(slash - (s + i)) : n - i;
        if (!component_ok(s + i, len) || ++depth > MAX_DEPTH)
            return false;
        i += len + 1;
    }
    return true;
}

void store_folder_name(const char *s, tern_str *out)
{
    size_t n = strlen(s), kept = n < MAX_FOLDER - 20 ? n : MAX_FOLDER - 20;
    bool same = kept == n && n > 0 && s[0] != '.';
    for (size_t i = 0; i < kept; i++) {
        bool ok = alnum(s[i]) || s[i] == '_' || s[i] == '-' || (s[i] == '.' && i > 0);
        tern_str_putc(out, ok ? s[i] : '_');
        same = same && ok;
    }
    if (!same)
        tern_str_printf(out, "-%016llx", (unsigned long long)tern_hash64(s, n, 0));
}

bool store_has_word(const char *path, const char *word)
{
    size_t n = strlen(word), len = strlen(path);
    for (size_t i = 0; n > 0 && n <= len && i <= len - n; i++) {
        if (strncasecmp(path + i, word, n) != 0 || (i > 0 && alnum(path[i - 1])))
            continue;
        if (!alnum(path[i + n]) && path[i + n] != '_')
            return true;
    }
    return false;
}

static const store_known known[] = {
#define KNOWN(name, spec, licence, about) {name, spec, licence, about},
#include "models.def"
};

const store_known *store_known_get(size_t i)
{
    return i < sizeof known / sizeof known[0] ? &known[i] : NULL;
}

const store_known *store_known_find(const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcasecmp(known[i].name, name) == 0)
            return &known[i];
    return NULL;
}

/* ---- parsing ------------------------------------------------------------------------------- */

static bool repo_part_ok(const char *s, size_t n)
{
    if (n == 0 || n > 96 || s[0] == '.' || s[0] == '-')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!alnum(s[i]) && s[i] != '.' && s[i] != '_' && s[i] != '-')
            return false;
    return true;
}

static bool revision_ok(const char *s, size_t n)
{
    if (!store_path_ok(s, n) || n >= sizeof((store_spec *)0)->revision)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!alnum(s[i]) && !strchr("._/-+", s[i]))
            return false;
    return true;
}

static void copy(char *to, const char *s, size_t n)
{
    memcpy(to, s, n);
    to[n] = '\0';
}

/* owner/name at s, ended by one of ends; *n its length. */
static bool read_repo(store_spec *o, const char *s, const char *ends, size_t *n)
{
    size_t owner = strcspn(s, "/");
    if (s[owner] != '/' || !repo_part_ok(s, owner))
        return false;
    size_t name = strcspn(s + owner + 1, ends);
    *n = owner + 1 + name;
    if (!repo_part_ok(s + owner + 1, name) || *n >= sizeof o->repo)
        return false;
    copy(o->repo, s, *n);
    return true;
}

/* "owner/repo[@revision][:select]" */
static bool parse_hub(const char *s, store_spec *o)
{
    size_t n;
    o->kind = STORE_HUB;
    copy(o->revision, "main", 4);
    if (!read_repo(o, s, "@:", &n))
        return false;
    s += n;
    if (*s == '@') {
        n = strcspn(++s, ":");
        if (!revision_ok(s, n))
            return false;
        copy(o->revision, s, n);
        s += n;
    }
    if (*s == ':') {
        n = strlen(++s);
        if (!store_path_ok(s, n))
            return false;
        copy(o->select, s, n);
        s += n;
    }
    return *s == '\0';
}

/* "owner/repo[/(resolve|blob|tree)/revision[/file]]", which is what a browser shows. */
static bool parse_page(const char *s, store_spec *o)
{
    static const char *const verbs[] = {"resolve/", "blob/", "tree/"};
    char path[STORE_MAX_URL];
    size_t n = strcspn(s, "?#");
    if (n >= sizeof path)
        return false;
    copy(path, s, n);
    while (n > 0 && path[n - 1] == '/')
        path[--n] = '\0';
    o->kind = STORE_HUB;
    copy(o->revision, "main", 4);
    if (strchr(path, '%') || !read_repo(o, path, "/", &n))
        return false;
    const char *at = path + n;
    if (*at == '\0') /* a file of that name is no repository */
        return n < 5 || strcasecmp(at - 5, ".gguf") != 0;
    at++;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        size_t len = strlen(verbs[i]);
        if (strncmp(at, verbs[i], len) != 0)
            continue;
        at += len;
        n = strcspn(at, "/");
        if (!revision_ok(at, n))
            return false;
        copy(o->revision, at, n);
        at += n + (at[n] == '/');
        n = strlen(at);
        if (n > 0 && (i == 2 || !store_path_ok(at, n)))
            return false;
        copy(o->select, at, n);
        return true;
    }
    return false;
}

static bool is_url(const char *s)
{
    return strncasecmp(s, "http://", 7) == 0 || strncasecmp(s, "https://", 8) == 0;
}

static bool parse_url(const char *s, store_spec *o)
{
    size_t n = strlen(s), host = strcspn(strchr(s, ':') + 3, "/?#");
    if (n >= sizeof o->url || host == 0 || memchr(strchr(s, ':') + 3, '@', host))
        return false;
    for (size_t i = 0; i < n; i++)
        if (s[i] < 0x21 || s[i] > 0x7e)
            return false;
    o->kind = STORE_URL;
    copy(o->url, s, n);
    return true;
}

tern_code store_spec_parse(const char *text, const char *endpoint, store_spec *out, tern_err *err)
{
    char shown[120];
    const store_known *k = store_known_find(text);
    size_t n = strlen(endpoint);
    *out = (store_spec){.kind = STORE_HUB};
    if (k && parse_hub(k->spec, out))
        return TERN_OK;
    if (is_url(text)) {
        if (n > 0 && strncasecmp(text, endpoint, n) == 0 && text[n] == '/' &&
            parse_page(text + n + 1, out))
            return TERN_OK;
        *out = (store_spec){.kind = STORE_URL};
        if (parse_url(text, out))
            return TERN_OK;
        return tern_fail(err, TERN_E_USAGE,
                         "'%s': not an address: no spaces, no user or password, at most %d letters",
                         tern_quote(shown, sizeof shown, text, strlen(text)), STORE_MAX_URL - 1);
    }
    if (parse_hub(strncmp(text, "hf:", 3) == 0 ? text + 3 : text, out))
        return TERN_OK;
    return tern_fail(err, TERN_E_USAGE,
                     "'%s': expected hf:owner/repo[@revision][:file or quantisation], an address, "
                     "or a name that 'tern ls --known' lists",
                     tern_quote(shown, sizeof shown, text, strlen(text)));
}

void store_spec_text(const store_spec *s, tern_str *out)
{
    if (s->kind == STORE_URL) {
        tern_str_puts(out, s->url);
        return;
    }
    tern_str_puts(out, s->repo);
    if (strcmp(s->revision, "main") != 0)
        tern_str_printf(out, "@%s", s->revision);
    if (s->select[0])
        tern_str_printf(out, ":%s", s->select);
}
