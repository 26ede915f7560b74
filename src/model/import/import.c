/* Opening a folder: its weights, its configuration, its tokenizer. */
#include "model/import/import.h"
#include "base/error.h"
#include "base/str.h"
#include "file/safetensors.h"
#include "model/import/folder.h"
#include "text/hf_tokenizer.h"

#include <string.h>
#include <sys/stat.h>

/* Keys and tensor names of a model; vocabularies are the most of it. */
#define KEYS_MAX ((size_t)1 << 30)

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && strcmp(s + n - m, tail) == 0;
}

static bool is_weights(const char *path)
{
    return ends_with(path, ".safetensors") || ends_with(path, ".safetensors.index.json");
}

bool tern_import_is_folder(const char *path)
{
    struct stat st;
    return (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) || is_weights(path);
}

/* ---- where things lie ---------------------------------------------------------------------- */

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* What may be there instead of safetensors. */
static const char *instead(const char *folder)
{
    static const char *const names[] = {"pytorch_model.bin", "pytorch_model.bin.index.json"};
    tern_str file;
    bool found = false;
    tern_str_init(&file, 1 << 16);
    for (size_t i = 0; i < 2 && !found; i++) {
        tern_str_clear(&file);
        tern_str_printf(&file, "%s/%s", folder, names[i]);
        found = !file.failed && is_file(tern_str_get(&file));
    }
    tern_str_done(&file);
    return found ? "; PyTorch's .bin files are not read, look for a revision with safetensors" : "";
}

/* The folder's weights: in one file, in several with an index, or the file that was named. */
static tern_code read_weights(const char *path, const char *folder, tern_dir *raw, tern_err *err)
{
    static const char *const names[] = {"model.safetensors.index.json", "model.safetensors"};
    tern_str file;
    char shown[96];
    tern_code rc;
    tern_str_init(&file, 1 << 16);
    if (is_weights(path))
        tern_str_puts(&file, path);
    for (size_t i = 0; i < 2 && (file.len == 0 || !is_file(tern_str_get(&file))); i++) {
        if (is_weights(path))
            break;
        tern_str_clear(&file);
        tern_str_printf(&file, "%s/%s", folder, names[i]);
    }
    if (file.failed)
        rc = tern_fail(err, TERN_E_NOMEM, "no memory for a path");
    else if (!is_file(tern_str_get(&file)))
        rc = tern_fail(err, TERN_E_NOT_FOUND,
                       "%s: a folder without model.safetensors and model.safetensors.index.json%s",
                       tern_quote(shown, sizeof shown, folder, strlen(folder)), instead(folder));
    else if (ends_with(tern_str_get(&file), ".json"))
        rc = tern_safetensors_read_index(raw, tern_str_get(&file), err);
    else
        rc = tern_safetensors_read(raw, tern_str_get(&file), err);
    tern_str_done(&file);
    return rc;
}

/* The folder of path: itself, or where the named file lies. */
static void folder_of(const char *path, tern_str *out)
{
    const char *slash = strrchr(path, '/');
    if (!is_weights(path))
        tern_str_puts(out, path);
    else if (slash)
        tern_str_put(out, path, slash == path ? 1 : (size_t)(slash - path));
    else
        tern_str_puts(out, ".");
}

/* ---- opening ------------------------------------------------------------------------------- */

static size_t embedding_rows(const tern_dir *d)
{
    const tern_tensor *t = tern_dir_tensor_find(d, "token_embd.weight");
    return t ? t->ne[1] : 0;
}

/* The maps move to the directory that views point into from now on. */
static void move_maps(tern_dir *from, tern_dir *to)
{
    to->maps = from->maps;
    to->n_map = from->n_map;
    from->maps = NULL;
    from->n_map = 0;
}

static tern_code open_folder(const char *path, const char *folder, const tern_import_opts *opts,
                             tern_dir **out, tern_err *err)
{
    tern_dir *raw = NULL;
    tern_folder f = {.path = folder, .opts = opts, .err = err};
    tern_code rc;
    TERN_TRY_GOTO(tern_dir_new(path, KEYS_MAX, &f.out, err));
    TERN_TRY_GOTO(tern_dir_new(path, KEYS_MAX, &raw, err));
    TERN_TRY_GOTO(tern_folder_config(&f));
    TERN_TRY_GOTO(read_weights(path, folder, raw, err));
    TERN_TRY_GOTO(tern_folder_tensors(&f, raw));
    move_maps(raw, f.out);
    TERN_TRY_GOTO(tern_hf_tokenizer_read(f.out, folder, embedding_rows(f.out), err));
    *out = f.out;
    f.out = NULL;
fail:
    json_decref(f.config);
    tern_dir_close(raw);
    tern_dir_close(f.out);
    return rc;
}

tern_code tern_import_open(const char *path, const tern_import_opts *opts, tern_dir **out,
                           tern_err *err)
{
    tern_str folder;
    if (!tern_import_is_folder(path))
        return tern_gguf_open(path, opts ? &opts->dir : NULL, out, err);
    tern_str_init(&folder, 1 << 16);
    folder_of(path, &folder);
    tern_code rc = folder.failed ? tern_fail(err, TERN_E_NOMEM, "no memory for a path")
                                 : open_folder(path, tern_str_get(&folder), opts, out, err);
    tern_str_done(&folder);
    return rc;
}
