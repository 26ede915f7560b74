#include "manifest.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/os/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define VERSION 1

void store_manifest_init(store_manifest *m)
{
    *m = (store_manifest){.spec = {.kind = STORE_HUB}};
}

void store_manifest_done(store_manifest *m)
{
    for (size_t i = 0; i < m->n_file; i++)
        tern_free(m->files[i].name);
    tern_free(m->files);
    tern_free(m->name);
    store_manifest_init(m);
}

tern_code store_manifest_set_name(store_manifest *m, const char *name, tern_err *err)
{
    char *copy = tern_strdup_n(name, strlen(name));
    if (!copy)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    tern_free(m->name);
    m->name = copy;
    return TERN_OK;
}

store_file *store_manifest_find(const store_manifest *m, const char *name)
{
    for (size_t i = 0; i < m->n_file; i++)
        if (strcmp(m->files[i].name, name) == 0)
            return &m->files[i];
    return NULL;
}

/* Names that differ in case only would be one file on some systems; here they are two. */
tern_code store_manifest_add(store_manifest *m, const char *name, size_t n, store_file **out,
                             tern_err *err)
{
    char shown[100];
    if (!store_path_ok(name, n) || memchr(name, '\0', n))
        return tern_fail(err, TERN_E_FORMAT, "'%s' cannot be the name of a model's file",
                         tern_quote(shown, sizeof shown, name, n));
    if (m->n_file == STORE_MAX_FILES)
        return tern_fail(err, TERN_E_LIMIT, "more than %d files", STORE_MAX_FILES);
    if (m->n_file == m->cap_file) {
        size_t cap = m->cap_file ? 2 * m->cap_file : 16; /* at most 2 * STORE_MAX_FILES */
        store_file *more = tern_realloc(m->files, m->cap_file * sizeof *more, cap * sizeof *more);
        if (!more)
            return tern_fail(err, TERN_E_NOMEM, "out of memory");
        m->files = more;
        m->cap_file = cap;
    }
    char *copy = tern_strdup_n(name, n);
    if (!copy)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    if (store_manifest_find(m, copy)) {
        tern_free(copy);
        return tern_fail(err, TERN_E_FORMAT, "file '%s' is listed twice",
                         tern_quote(shown, sizeof shown, name, n));
    }
    *out = &m->files[m->n_file++];
    **out = (store_file){.name = copy};
    return TERN_OK;
}

uint64_t store_manifest_bytes(const store_manifest *m)
{
    uint64_t total = 0;
    for (size_t i = 0; i < m->n_file; i++)
        if (__builtin_add_overflow(total, m->files[i].size, &total))
            return UINT64_MAX;
    return total;
}

uint64_t store_manifest_missing(const store_manifest *m)
{
    uint64_t total = 0;
    for (size_t i = 0; i < m->n_file; i++) {
        const store_file *f = &m->files[i];
        uint64_t have = f->done ? f->size : store_spans_bytes(&f->have);
        if (__builtin_add_overflow(total, f->size > have ? f->size - have : 0, &total))
            return UINT64_MAX;
    }
    return total;
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && strcasecmp(s + n - m, tail) == 0;
}

const char *store_manifest_type(const store_manifest *m)
{
    for (size_t i = 0; i < m->n_file; i++)
        if (ends_with(m->files[i].name, ".safetensors"))
            return "safetensors";
    return "gguf";
}

/* ---- reading ------------------------------------------------------------------------------- */

/* A text of at most cap - 1 printable bytes; absent is "". */
static bool get_text(const json_t *o, const char *key, char *buf, size_t cap)
{
    const json_t *v = json_object_get(o, key);
    size_t n = json_string_length(v);
    buf[0] = '\0';
    if (!v)
        return true;
    if (!json_is_string(v) || n >= cap)
        return false;
    const char *s = json_string_value(v);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            return false;
    memcpy(buf, s, n + 1);
    return true;
}

static bool get_hex(const json_t *o, const char *key, char *buf, size_t n_hex)
{
    if (!get_text(o, key, buf, n_hex + 1))
        return false;
    return buf[0] == '\0' || strspn(buf, "0123456789abcdef") == n_hex;
}

static bool get_spans(const json_t *list, uint64_t size, store_spans *out)
{
    size_t i;
    json_t *pair;
    if (list && !json_is_array(list))
        return false;
    if (json_array_size(list) > STORE_MAX_SPANS)
        return false;
    json_array_foreach(list, i, pair)
    {
        json_int_t a = json_integer_value(json_array_get(pair, 0));
        json_int_t b = json_integer_value(json_array_get(pair, 1));
        if (json_array_size(pair) != 2 || a < 0 || b <= a || (uint64_t)b > size ||
            !store_spans_add(out, (uint64_t)a, (uint64_t)b))
            return false;
    }
    return true;
}

static tern_code read_file(const json_t *o, const char *where, store_manifest *m, tern_err *err)
{
    const json_t *name = json_object_get(o, "name"), *size = json_object_get(o, "size");
    store_file *f;
    char shown[80];
    if (!json_is_string(name))
        return tern_fail(err, TERN_E_FORMAT, "%s: a file has no name", where);
    TERN_TRY(store_manifest_add(m, json_string_value(name), json_string_length(name), &f, err));
    f->sized = json_is_integer(size) && json_integer_value(size) >= 0;
    f->size = f->sized ? (uint64_t)json_integer_value(size) : 0;
    f->done = json_is_true(json_object_get(o, "done"));
    if ((size && !f->sized) || (f->done && !f->sized) ||
        !get_hex(o, "sha256", f->sha256, STORE_SHA256_HEX) ||
        !get_hex(o, "git", f->git, STORE_SHA1_HEX) ||
        !get_text(o, "etag", f->etag, sizeof f->etag) ||
        !get_spans(json_object_get(o, "have"), f->size, &f->have))
        return tern_fail(err, TERN_E_FORMAT, "%s: file '%s': size, hash or ranges make no sense",
                         where, tern_quote(shown, sizeof shown, f->name, strlen(f->name)));
    return TERN_OK;
}

/* False: it makes no sense, or *nomem. */
static bool read_source(const json_t *o, store_manifest *m, bool *nomem)
{
    char text[STORE_MAX_URL], rev[sizeof m->spec.revision], select[STORE_MAX_PATH];
    tern_err ignored;
    if (json_object_get(o, "url"))
        return get_text(o, "url", text, sizeof text) &&
               store_spec_parse(text, "", &m->spec, &ignored) == TERN_OK &&
               m->spec.kind == STORE_URL;
    tern_str s;
    tern_str_init(&s, 1 << 12);
    bool ok = get_text(o, "hub", m->hub, sizeof m->hub) &&
              get_text(o, "repo", text, sizeof m->spec.repo) &&
              get_text(o, "revision", rev, sizeof rev) &&
              get_text(o, "select", select, sizeof select) &&
              get_text(o, "commit", m->commit, sizeof m->commit);
    if (ok) {
        tern_str_printf(&s, "hf:%s%s%s%s%s", text, rev[0] ? "@" : "", rev, select[0] ? ":" : "",
                        select);
        *nomem = s.failed;
        ok = !s.failed && store_spec_parse(tern_str_get(&s), "", &m->spec, &ignored) == TERN_OK &&
             m->spec.kind == STORE_HUB;
    }
    tern_str_done(&s);
    return ok;
}

static tern_code read_manifest(const json_t *o, const char *where, store_manifest *m, tern_err *err)
{
    size_t i;
    json_t *file;
    char name[STORE_MAX_PATH + 400];
    const json_t *files = json_object_get(o, "files");
    bool nomem = false, from;
    if (json_integer_value(json_object_get(o, "tern")) != VERSION)
        return tern_fail(err, TERN_E_FORMAT, "%s: not a record of a model (version %d)", where,
                         VERSION);
    from = read_source(json_object_get(o, "source"), m, &nomem);
    if (nomem)
        return tern_fail(err, TERN_E_NOMEM, "%s: out of memory", where);
    if (!from || !get_text(o, "name", name, sizeof name) || !name[0] ||
        !get_text(o, "licence", m->licence, sizeof m->licence) ||
        !get_text(o, "pulled", m->pulled, sizeof m->pulled) || !json_is_array(files) ||
        json_array_size(files) == 0)
        return tern_fail(err, TERN_E_FORMAT, "%s: name, source or files make no sense", where);
    TERN_TRY(store_manifest_set_name(m, name, err));
    json_array_foreach(files, i, file) TERN_TRY(read_file(file, where, m, err));
    return TERN_OK;
}

tern_code store_manifest_parse(const char *text, size_t n, const char *where, store_manifest *out,
                               tern_err *err)
{
    json_error_t why;
    store_manifest_init(out);
    if (n > STORE_MAX_JSON)
        return tern_fail(err, TERN_E_FORMAT, "%s: larger than %zu bytes", where, STORE_MAX_JSON);
    json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
    if (!o)
        return tern_fail(err, TERN_E_FORMAT, "%s: not JSON at byte %d", where, why.position);
    tern_code rc = read_manifest(o, where, out, err);
    json_decref(o);
    if (rc != TERN_OK)
        store_manifest_done(out);
    return rc;
}

/* ---- writing ------------------------------------------------------------------------------- */

static void set_text(json_t *o, const char *key, const char *text)
{
    if (text && *text)
        (void)json_object_set_new(o, key, json_string(text));
}

static json_t *spans_json(const store_spans *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n; i++)
        (void)json_array_append_new(
            list, json_pack("[I, I]", (json_int_t)s->v[i].begin, (json_int_t)s->v[i].end));
    return list;
}

static json_t *file_json(const store_file *f)
{
    json_t *o = json_pack("{s:s}", "name", f->name);
    if (f->sized)
        (void)json_object_set_new(o, "size", json_integer((json_int_t)f->size));
    set_text(o, "sha256", f->sha256);
    set_text(o, "git", f->git);
    set_text(o, "etag", f->etag);
    if (f->done)
        (void)json_object_set_new(o, "done", json_true());
    else if (f->have.n)
        (void)json_object_set_new(o, "have", spans_json(&f->have));
    return o;
}

json_t *store_manifest_json(const store_manifest *m)
{
    json_t *source = json_object(), *files = json_array();
    if (m->spec.kind == STORE_URL) {
        set_text(source, "url", m->spec.url);
    } else {
        set_text(source, "hub", m->hub);
        set_text(source, "repo", m->spec.repo);
        set_text(source, "revision", m->spec.revision);
        set_text(source, "select", m->spec.select);
        set_text(source, "commit", m->commit);
    }
    for (size_t i = 0; i < m->n_file; i++)
        (void)json_array_append_new(files, file_json(&m->files[i]));
    json_t *o = json_pack("{s:i, s:s, s:s, s:o}", "tern", VERSION, "name", m->name ? m->name : "",
                          "type", store_manifest_type(m), "source", source);
    set_text(o, "licence", m->licence);
    set_text(o, "pulled", m->pulled);
    (void)json_object_set_new(o, "files", files);
    return o;
}

static tern_code read_whole(int fd, const char *path, tern_str *out, tern_err *err)
{
    char buf[1 << 14];
    for (;;) {
        ssize_t n = read(fd, buf, sizeof buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tern_fail(err, TERN_E_IO, "%s: %s", path, strerror(errno));
        if (n == 0)
            return TERN_OK;
        tern_str_put(out, buf, (size_t)n);
        if (out->failed && out->len + (size_t)n > out->max)
            return tern_fail(err, TERN_E_FORMAT, "%s: larger than %zu bytes", path, out->max);
        if (out->failed)
            return tern_fail(err, TERN_E_NOMEM, "%s: out of memory", path);
    }
}

tern_code store_manifest_load(const char *path, store_manifest *out, tern_err *err)
{
    tern_str text;
    store_manifest_init(out);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return tern_fail(err, errno == ENOENT || errno == ENOTDIR ? TERN_E_NOT_FOUND : TERN_E_IO,
                         "%s: %s", path, strerror(errno));
    tern_str_init(&text, STORE_MAX_JSON);
    tern_code rc = read_whole(fd, path, &text, err);
    (void)close(fd);
    if (rc == TERN_OK)
        rc = store_manifest_parse(tern_str_get(&text), text.len, path, out, err);
    tern_str_done(&text);
    return rc;
}

tern_code store_manifest_save(const store_manifest *m, const char *path, unsigned flags,
                              tern_err *err)
{
    tern_outfile f;
    json_t *o = store_manifest_json(m);
    if (!o)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    tern_code rc = tern_outfile_open(&f, path, flags, err);
    if (rc == TERN_OK) {
        (void)json_dumpf(o, f.f, JSON_INDENT(1));
        (void)fputc('\n', f.f);
        rc = tern_outfile_commit(&f, err);
    }
    json_decref(o);
    return rc;
}
