#include "choose.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && strcasecmp(s + n - m, tail) == 0;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- GGUF files ---------------------------------------------------------------------------- */

size_t store_shard(const char *name, unsigned *i, unsigned *n)
{
    static const char form[] = "-00000-of-00000.gguf";
    uint64_t a, b;
    size_t len = strlen(name), form_len = sizeof form - 1;
    if (len <= form_len)
        return 0;
    const char *s = name + len - form_len;
    if (s[0] != '-' || strncmp(s + 6, "-of-", 4) != 0 || strcasecmp(s + 15, ".gguf") != 0 ||
        !tern_parse_u64(s + 1, 5, &a) || !tern_parse_u64(s + 10, 5, &b) || a < 1 || b < a)
        return 0;
    *i = (unsigned)a;
    *n = (unsigned)b;
    return len - form_len;
}

/* A GGUF file that is no model of its own. */
static bool is_companion(const char *name)
{
    const char *b = base_of(name);
    return strncasecmp(b, "mmproj", 6) == 0 || store_has_word(b, "imatrix");
}

/* Whether a is a shard of the same file as b, or b itself. */
static bool same_set(const char *a, const char *b)
{
    unsigned i = 0, n = 0, j = 0, k = 0;
    size_t la = store_shard(a, &i, &n), lb = store_shard(b, &j, &k);
    if (la == 0 || lb == 0)
        return strcmp(a, b) == 0;
    return la == lb && n == k && memcmp(a, b, la) == 0;
}

/* Whether this file stands for its set: a whole one, or the first of the shards that are listed. */
static bool leads(const store_manifest *m, size_t f)
{
    for (size_t i = 0; i < f; i++)
        if (same_set(m->files[i].name, m->files[f].name))
            return false;
    return true;
}

static bool is_candidate(const store_manifest *m, size_t f, const char *select)
{
    const char *name = m->files[f].name;
    if (!ends_with(name, ".gguf"))
        return false;
    return *select ? store_has_word(name, select) : !is_companion(name);
}

static tern_code check_shards(const store_manifest *m, const char *name, tern_err *err)
{
    unsigned i, n, j, k, found = 0;
    char shown[100];
    if (store_shard(name, &i, &n) == 0)
        return TERN_OK;
    for (size_t f = 0; f < m->n_file; f++)
        if (same_set(m->files[f].name, name) && store_shard(m->files[f].name, &j, &k))
            found++;
    if (found == n)
        return TERN_OK;
    return tern_fail(err, TERN_E_FORMAT, "%s: %u of its %u parts are there",
                     tern_quote(shown, sizeof shown, name, strlen(name)), found, n);
}

/* ---- folders ------------------------------------------------------------------------------- */

/* Weights named as transformers names them; others (adapters, a second copy in another layout) are
 * left out when such are there. */
static bool is_usual_weights(const char *name)
{
    static const char form[] = "-00000-of-00000.safetensors";
    if (strcmp(name, "model.safetensors") == 0)
        return true;
    return strncmp(name, "model-", 6) == 0 && strlen(name) == 5 + sizeof form - 1;
}

static bool belongs(const char *name, bool usual)
{
    static const char *const tails[] = {".json", ".jinja", ".model", ".tiktoken"};
    static const char *const names[] = {"merges.txt",  "vocab.txt",  "LICENSE",
                                        "LICENSE.txt", "LICENSE.md", "1_Pooling/config.json"};
    if (strcmp(name, STORE_MANIFEST) == 0)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    if (strchr(name, '/') || name[0] == '.')
        return false;
    if (ends_with(name, ".safetensors"))
        return !usual || is_usual_weights(name);
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++)
        if (ends_with(name, tails[i]))
            return true;
    return false;
}

static tern_code choose_folder(store_manifest *m, bool *keep, tern_err *err)
{
    bool usual = false, weights = false;
    for (size_t i = 0; i < m->n_file; i++)
        usual = usual || is_usual_weights(m->files[i].name);
    for (size_t i = 0; i < m->n_file; i++) {
        keep[i] = belongs(m->files[i].name, usual);
        weights = weights || (keep[i] && ends_with(m->files[i].name, ".safetensors"));
    }
    if (weights && store_manifest_find(m, "config.json"))
        return TERN_OK;
    return tern_fail(err, TERN_E_USAGE,
                     "%s has neither a GGUF file nor a config.json with safetensors", m->spec.repo);
}

/* ---- all together -------------------------------------------------------------------------- */

static void drop_others(store_manifest *m, const bool *keep)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_file; i++) {
        if (keep[i])
            m->files[n++] = m->files[i];
        else
            tern_free(m->files[i].name);
    }
    m->n_file = n;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const store_file *)a)->name, ((const store_file *)b)->name);
}

static tern_code ambiguous(const store_manifest *m, size_t n, tern_str *choices, tern_err *err)
{
    const char *select = m->spec.select, *all = "";
    if (n == 0) { /* nothing fits: show all */
        for (size_t i = 0; i < m->n_file; i++)
            if (is_candidate(m, i, "") && leads(m, i) && ++n)
                tern_str_printf(choices, "%s:%s\n", m->spec.repo, m->files[i].name);
        return tern_fail(err, TERN_E_USAGE, "%s has no GGUF file '%s' (%zu others)", m->spec.repo,
                         select, n);
    }
    for (size_t i = 0; i < m->n_file; i++)
        if (is_candidate(m, i, select) && leads(m, i)) {
            tern_str_printf(choices, "%s:%s\n", m->spec.repo, m->files[i].name);
            if (!*all)
                all = m->files[i].name;
        }
    return tern_fail(err, TERN_E_USAGE, "%s has %zu GGUF files%s%s; name one, as hf:%s:%s",
                     m->spec.repo, n, *select ? " for " : "", select, m->spec.repo, all);
}

static tern_code choose(store_manifest *m, bool *keep, tern_str *choices, tern_err *err)
{
    const char *select = m->spec.select, *chosen = NULL;
    size_t n = 0;
    const store_file *exact = *select ? store_manifest_find(m, select) : NULL;
    if (exact && !ends_with(exact->name, ".gguf"))
        return tern_fail(err, TERN_E_USAGE,
                         "%s is not a GGUF file; pull hf:%s for the whole folder", select,
                         m->spec.repo);
    if (exact) {
        chosen = exact->name;
        n = 1;
    }
    for (size_t i = 0; i < m->n_file && !exact; i++)
        if (is_candidate(m, i, select) && leads(m, i)) {
            chosen = m->files[i].name;
            n++;
        }
    if (n == 0 && !*select)
        return choose_folder(m, keep, err);
    if (n != 1)
        return ambiguous(m, n, choices, err);
    TERN_TRY(check_shards(m, chosen, err));
    for (size_t i = 0; i < m->n_file; i++)
        keep[i] = same_set(m->files[i].name, chosen);
    return TERN_OK;
}

tern_code store_choose(store_manifest *m, tern_str *choices, tern_err *err)
{
    if (m->n_file == 0)
        return tern_fail(err, TERN_E_USAGE, "%s is empty", m->spec.repo);
    bool *keep = tern_calloc(m->n_file, sizeof *keep);
    if (!keep)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    tern_code rc = choose(m, keep, choices, err);
    if (rc == TERN_OK) {
        drop_others(m, keep);
        qsort(m->files, m->n_file, sizeof m->files[0], by_name);
    }
    tern_free(keep);
    return rc;
}
