/* Which files of a folder say what: the vocabulary comes from one, ids with a meaning, templates and
 * what stands around a text from others, and all becomes metadata. */
#include "text/hf_tokenizer.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/os/map.h"
#include "base/str.h"
#include "file/dir_make.h"
#include "file/json_file.h"
#include "text/hf.h"

#include <stdio.h>
#include <string.h>

#define TOKENIZER_BYTES_MAX ((size_t)512 << 20)
#define OTHER_BYTES_MAX     ((size_t)16 << 20)
#define TEMPLATE_BYTES_MAX  ((size_t)1 << 20)
#define TEMPLATES_MAX       32
#define ARENA_MAX           ((size_t)2 << 30)
#define KEYS_BYTES          ((size_t)1 << 20) /* of all keys but the long lists */
#define PAD_SCORE           (-10000.0f)       /* no sum of others is so low */
#define KEY                 "tokenizer.ggml."

/* ---- reading ------------------------------------------------------------------------------- */

static tern_code parse(tern_hf *h, tern_hf_file file)
{
    tern_slice s = h->files[file];
    size_t max = file == TERN_HF_TOKENIZER ? TOKENIZER_BYTES_MAX : OTHER_BYTES_MAX;
    char name[96], folder[48];
    if (!s.p)
        return TERN_OK;
    if (s.n > max)
        return tern_hf_fail(h, file, TERN_E_LIMIT, "%zu bytes, at most %zu are read", s.n, max);
    (void)snprintf(name, sizeof name, "%s/%s",
                   tern_quote(folder, sizeof folder, h->folder, strlen(h->folder)),
                   tern_hf_file_name(file));
    /* Only tokenizer.json has no numbers of the kind 1000000000000000019884624838656. */
    return file == TERN_HF_TOKENIZER
               ? tern_json_parse(name, s.p, s.n, &h->json[file], h->err)
               : tern_json_parse_reals(name, s.p, s.n, &h->json[file], h->err);
}

static tern_code parse_small(tern_hf *h)
{
    static const tern_hf_file files[] = {TERN_HF_CONFIG,     TERN_HF_ADDED, TERN_HF_SPECIAL,
                                         TERN_HF_GENERATION, TERN_HF_MODEL, TERN_HF_TEMPLATE};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        TERN_TRY(parse(h, files[i]));
    return TERN_OK;
}

/* added_tokens.json: {"text": id}. */
static tern_code read_added(tern_hf *h)
{
    const char *text;
    json_t *v;
    json_object_foreach(h->json[TERN_HF_ADDED], text, v)
    {
        int64_t id;
        if (!tern_hf_id(v, &id))
            return tern_hf_fail(h, TERN_HF_ADDED, TERN_E_FORMAT, "a token without an id");
        TERN_TRY(tern_hf_add(h, TERN_HF_ADDED, id, (tern_slice){text, strlen(text)}, NULL, true));
    }
    return TERN_OK;
}

/* added_tokens_decoder of tokenizer_config.json: {"id": {"content": "text", "special": true}}. Beside a
 * tokenizer.json, which says the same, it only completes. */
static tern_code read_decoder(tern_hf *h, bool completes)
{
    const char *key;
    json_t *v;
    json_object_foreach(json_object_get(h->json[TERN_HF_CONFIG], "added_tokens_decoder"), key, v)
    {
        uint64_t id;
        tern_slice s = tern_hf_string(json_object_get(v, "content"));
        if (!tern_parse_u64(key, strlen(key), &id) || id > INT32_MAX || !s.p)
            return tern_hf_fail(h, TERN_HF_CONFIG, TERN_E_FORMAT,
                                "added_tokens_decoder has a token without id or 'content'");
        if (completes && id < h->n && h->tokens[id].text.p)
            continue;
        TERN_TRY(tern_hf_add(h, TERN_HF_CONFIG, (int64_t)id, s, v, !completes));
    }
    return TERN_OK;
}

/* As converters choose: SentencePiece's file before tokenizer.json, which was made from it; that
 * before tiktoken's, which lacks the special tokens. */
static tern_code read_vocabulary(tern_hf *h)
{
    tern_slice model = h->files[TERN_HF_SENTENCEPIECE];
    bool tiktoken = model.p && tern_hf_is_tiktoken(model);
    char folder[96];
    if (model.p && !tiktoken) {
        TERN_TRY(tern_hf_spm_read(h));
    } else if (h->files[TERN_HF_TOKENIZER].p) {
        TERN_TRY(parse(h, TERN_HF_TOKENIZER));
        TERN_TRY(tern_hf_json_read(h));
        return read_decoder(h, true);
    } else if (tiktoken || h->files[TERN_HF_TIKTOKEN].p) {
        TERN_TRY(tern_hf_tiktoken_read(h, tiktoken ? TERN_HF_SENTENCEPIECE : TERN_HF_TIKTOKEN));
    } else {
        return tern_fail(h->err, TERN_E_NOT_FOUND,
                         "%s: no tokenizer: no tokenizer.json, tokenizer.model or "
                         "original/tokenizer.model",
                         tern_quote(folder, sizeof folder, h->folder, strlen(h->folder)));
    }
    TERN_TRY(read_added(h));
    return read_decoder(h, false);
}

/* ---- ids with a meaning -------------------------------------------------------------------- */

/* The token that a key names, as text or as an object with it; -1: none. */
static int32_t named(const tern_hf *h, const char *key)
{
    static const tern_hf_file files[] = {TERN_HF_CONFIG, TERN_HF_SPECIAL};
    for (size_t i = 0; i < 2; i++) {
        const json_t *v = json_object_get(h->json[files[i]], key);
        tern_slice s = tern_hf_string(json_is_object(v) ? json_object_get(v, "content") : v);
        int32_t id = tern_hf_find(h, s.p, s.n);
        if (id >= 0)
            return id;
    }
    return -1;
}

/* The same as an id, or the first of several, in the files about the model; -1: none. */
static int32_t numbered(const tern_hf *h, const char *key)
{
    const json_t *model = h->json[TERN_HF_MODEL];
    const json_t *const from[] = {h->json[TERN_HF_GENERATION], model,
                                  json_object_get(model, "text_config")};
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
        int64_t id;
        const json_t *v = json_object_get(from[i], key);
        if (json_is_array(v))
            v = json_array_get(v, 0);
        if (tern_hf_id(v, &id) && id >= 0 && (uint64_t)id < h->n && h->tokens[id].text.p)
            return (int32_t)id;
    }
    return -1;
}

static int32_t first_of(int32_t a, int32_t b, int32_t c)
{
    return a >= 0 ? a : b >= 0 ? b : c;
}

/* What else ends generation, beyond what is known by its text. */
typedef struct ends {
    int32_t eos, eot, eom;
} ends;

static void end_add(const tern_hf *h, ends *e, int32_t id)
{
    if (id < 0 || id == e->eos || id == e->eot || id == e->eom)
        return;
    tern_slice s = h->tokens[id].text;
    if (tern_vocab_ends_turn(s.p, s.n))
        return;
    if (e->eot < 0)
        e->eot = id;
    else if (e->eom < 0)
        e->eom = id;
}

static ends find_ends(const tern_hf *h)
{
    int32_t eos = first_of(named(h, "eos_token"), h->eos, numbered(h, "eos_token_id"));
    ends e = {h->last >= 0 ? h->last : eos, -1, -1};
    const json_t *list = json_object_get(h->json[TERN_HF_GENERATION], "eos_token_id");
    end_add(h, &e, eos);
    for (size_t i = 0; i < json_array_size(list); i++) {
        int64_t id;
        if (tern_hf_id(json_array_get(list, i), &id) && id >= 0 && (uint64_t)id < h->n &&
            h->tokens[id].text.p)
            end_add(h, &e, (int32_t)id);
    }
    if (!json_is_array(list))
        end_add(h, &e, numbered(h, "eos_token_id"));
    return e;
}

/* "llama" vocabularies have ids for these when no key says otherwise, so it must. */
static tern_code put_id(const tern_hf *h, tern_dir *d, const char *key, int32_t id, bool must)
{
    if (id < 0 && !must)
        return TERN_OK;
    return tern_dir_put_u32(d, key, id < 0 ? UINT32_MAX : (uint32_t)id, h->err);
}

static tern_code put_ids(const tern_hf *h, tern_dir *d)
{
    bool spm = h->kind == TERN_VOCAB_SPM;
    int32_t bos = first_of(named(h, "bos_token"), h->bos, numbered(h, "bos_token_id"));
    ends e = find_ends(h);
    TERN_TRY(put_id(h, d, KEY "bos_token_id", h->first >= 0 ? h->first : bos, spm));
    TERN_TRY(put_id(h, d, KEY "eos_token_id", e.eos, spm));
    TERN_TRY(put_id(h, d, KEY "eot_token_id", e.eot, false));
    TERN_TRY(put_id(h, d, KEY "eom_token_id", e.eom, false));
    TERN_TRY(
        put_id(h, d, KEY "unknown_token_id", first_of(named(h, "unk_token"), h->unk, -1), spm));
    return put_id(h, d, KEY "padding_token_id",
                  first_of(named(h, "pad_token"), h->pad, numbered(h, "pad_token_id")), false);
}

/* ---- flags --------------------------------------------------------------------------------- */

static void read_flag(const tern_hf *h, const char *key, tern_hf_flag *flag)
{
    const json_t *v = json_object_get(h->json[TERN_HF_CONFIG], key);
    if (json_is_boolean(v))
        *flag = json_is_true(v) ? TERN_HF_YES : TERN_HF_NO;
}

static tern_code put_flag(const tern_hf *h, tern_dir *d, const char *key, tern_hf_flag flag)
{
    return flag == TERN_HF_UNSAID ? TERN_OK
                                  : tern_dir_put_bool(d, key, flag == TERN_HF_YES, h->err);
}

static tern_code put_flags(tern_hf *h, tern_dir *d)
{
    tern_slice class = tern_hf_string(json_object_get(h->json[TERN_HF_CONFIG], "tokenizer_class"));
    bool spm = h->kind == TERN_VOCAB_SPM;
    /* A class of its own puts BOS before a text although tokenizer.json does not say so; the
     * general one does not. */
    if (spm && h->json[TERN_HF_TOKENIZER] && h->add_bos == TERN_HF_UNSAID && class.p &&
        strcmp(class.p, "PreTrainedTokenizerFast") == 0)
        h->add_bos = TERN_HF_NO;
    read_flag(h, "add_bos_token", &h->add_bos);
    read_flag(h, "add_eos_token", &h->add_eos);
    if (spm && !h->json[TERN_HF_TOKENIZER])
        read_flag(h, "add_prefix_space", &h->space_prefix);
    TERN_TRY(put_flag(h, d, KEY "add_bos_token", h->add_bos));
    TERN_TRY(put_flag(h, d, KEY "add_eos_token", h->add_eos));
    TERN_TRY(put_flag(h, d, KEY "add_space_prefix", h->space_prefix));
    TERN_TRY(put_flag(h, d, KEY "remove_extra_whitespaces", h->squeeze));
    TERN_TRY(put_flag(h, d, KEY "ignore_merges", h->ignore_merges));
    if (h->metaspace)
        TERN_TRY(tern_dir_put_str(d, KEY "metaspace", h->metaspace, strlen(h->metaspace), h->err));
    return put_flag(h, d, KEY "normalizer.nfc", h->nfc ? TERN_HF_YES : TERN_HF_UNSAID);
}

/* ---- sampling ------------------------------------------------------------------------------ */

/* What the model's makers recommend, where they mean it: generation_config.json may ask for the likeliest token and
 * list numbers nevertheless. */
static tern_code put_sampling(const tern_hf *h, tern_dir *d)
{
    static const struct {
        const char *from, *to;
    } names[] = {{"temperature", "general.sampling.temp"},
                 {"top_k", "general.sampling.top_k"},
                 {"top_p", "general.sampling.top_p"},
                 {"min_p", "general.sampling.min_p"},
                 {"repetition_penalty", "general.sampling.penalty_repeat"}};
    const json_t *o = h->json[TERN_HF_GENERATION];
    if (json_is_false(json_object_get(o, "do_sample")))
        return TERN_OK;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *v = json_object_get(o, names[i].from);
        double x = json_number_value(v);
        if (json_is_integer(v) && x >= 0 && x <= INT32_MAX)
            TERN_TRY(tern_dir_put_u32(d, names[i].to, (uint32_t)x, h->err));
        else if (json_is_real(v) && x >= 0 && x <= 1e6)
            TERN_TRY(tern_dir_put_f32(d, names[i].to, (float)x, h->err));
    }
    return TERN_OK;
}

/* ---- chat templates ------------------------------------------------------------------------ */

static tern_code put_template(const tern_hf *h, tern_dir *d, tern_hf_file file, const char *key,
                              tern_slice s)
{
    if (s.n > TEMPLATE_BYTES_MAX)
        return tern_hf_fail(h, file, TERN_E_LIMIT,
                            "a chat template of %zu bytes, at most %zu are read", s.n,
                            TEMPLATE_BYTES_MAX);
    return tern_dir_put_str(d, key, s.p, s.n, h->err);
}

static bool is_name(tern_slice s)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    return s.n > 0 && s.n <= 64 && strspn(s.p, letters) == s.n;
}

/* [{"name": "default", "template": "..."}, ...]: those of other names beside the default one. */
static tern_code put_templates(const tern_hf *h, tern_dir *d, tern_hf_file file, const json_t *list)
{
    tern_slice others[TEMPLATES_MAX];
    size_t n = 0;
    if (json_array_size(list) > TEMPLATES_MAX)
        return tern_hf_fail(h, file, TERN_E_LIMIT, "%zu chat templates, at most %d are read",
                            json_array_size(list), TEMPLATES_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        char key[96];
        const json_t *v = json_array_get(list, i);
        tern_slice name = tern_hf_string(json_object_get(v, "name"));
        tern_slice text = tern_hf_string(json_object_get(v, "template"));
        if (!name.p || !text.p || !is_name(name))
            return tern_hf_fail(h, file, TERN_E_FORMAT,
                                "chat template %zu has no plain 'name' or no 'template'", i);
        bool main = strcmp(name.p, "default") == 0;
        (void)snprintf(key, sizeof key, "tokenizer.chat_template%s%s", main ? "" : ".",
                       main ? "" : name.p);
        TERN_TRY(put_template(h, d, file, key, text));
        if (!main)
            others[n++] = name;
    }
    return n ? tern_dir_put_strs(d, "tokenizer.chat_templates", others, n, h->err) : TERN_OK;
}

static tern_code put_chat(const tern_hf *h, tern_dir *d)
{
    static const tern_hf_file files[] = {TERN_HF_CONFIG, TERN_HF_TEMPLATE};
    if (h->files[TERN_HF_JINJA].n)
        return put_template(h, d, TERN_HF_JINJA, "tokenizer.chat_template",
                            h->files[TERN_HF_JINJA]);
    for (size_t i = 0; i < 2; i++) {
        const json_t *v = json_object_get(h->json[files[i]], "chat_template");
        if (json_is_string(v))
            return put_template(h, d, files[i], "tokenizer.chat_template", tern_hf_string(v));
        if (json_is_array(v))
            return put_templates(h, d, files[i], v);
    }
    return TERN_OK;
}

/* ---- the vocabulary ------------------------------------------------------------------------ */

/* Ids without a token, named as converters do. */
static tern_code fill_up(tern_hf *h, tern_slice *out, size_t id)
{
    char text[32];
    int n = snprintf(text, sizeof text, "[PAD%zu]", id);
    *out = (tern_slice){tern_arena_strdup_n(&h->arena, text, (size_t)n), (size_t)n};
    return out->p ? TERN_OK : tern_hf_no_memory(h);
}

/* Tokens that stand in a text as they are spelled have spaces. */
static tern_code unescape(tern_hf *h, tern_slice *s)
{
    if (!memmem(s->p, s->n, TERN_SPM_SPACE, TERN_SPM_SPACE_LEN))
        return TERN_OK;
    char *copy = tern_arena_alloc(&h->arena, s->n);
    size_t n = 0;
    if (!copy)
        return tern_hf_no_memory(h);
    for (size_t i = 0; i < s->n;) {
        bool space = s->n - i >= TERN_SPM_SPACE_LEN &&
                     memcmp(s->p + i, TERN_SPM_SPACE, TERN_SPM_SPACE_LEN) == 0;
        copy[n++] = space ? ' ' : s->p[i];
        i += space ? TERN_SPM_SPACE_LEN : 1;
    }
    *s = (tern_slice){copy, n};
    return TERN_OK;
}

typedef struct columns {
    tern_slice *text;
    float *score;
    int32_t *type;
    uint8_t *strip;
} columns;

static tern_code fill_columns(tern_hf *h, const columns *c, size_t n)
{
    bool spaces = h->kind == TERN_VOCAB_SPM && !h->merges;
    for (size_t i = 0; i < n; i++) {
        const tern_hf_token *t = i < h->n && h->tokens[i].text.p ? &h->tokens[i] : NULL;
        c->score[i] = t ? t->score : PAD_SCORE;
        c->type[i] = t ? t->attr : TERN_TOKEN_UNUSED;
        c->strip[i] = t ? t->strip : 0;
        if (t)
            c->text[i] = t->text;
        else
            TERN_TRY(fill_up(h, &c->text[i], i));
        if (t && spaces && t->attr == TERN_TOKEN_USER)
            TERN_TRY(unescape(h, &c->text[i]));
    }
    return TERN_OK;
}

/* Room for the lists in the directory. */
static bool make_room(const tern_hf *h, tern_dir *d, const tern_slice *text, size_t n)
{
    size_t total = KEYS_BYTES + h->files[TERN_HF_CONFIG].n + h->files[TERN_HF_JINJA].n +
                   h->files[TERN_HF_TEMPLATE].n;
    bool ok = tern_add_size(total, (n + h->n_merge) * 32, &total);
    for (size_t i = 0; i < n && ok; i++)
        ok = tern_add_size(total, text[i].n, &total);
    for (size_t i = 0; i < h->n_merge && ok; i++)
        ok = tern_add_size(total, h->merges[i].n, &total);
    return ok && tern_add_size(d->arena.max, total, &d->arena.max);
}

static tern_code put_columns(tern_hf *h, tern_dir *d, const columns *c, size_t n)
{
    bool spm = h->kind == TERN_VOCAB_SPM;
    const char *model = spm ? "llama" : "gpt2", *pre = spm ? "default" : h->pre;
    TERN_TRY(fill_columns(h, c, n));
    if (!make_room(h, d, c->text, n))
        return tern_hf_no_memory(h);
    TERN_TRY(tern_dir_put_str(d, KEY "model", model, strlen(model), h->err));
    TERN_TRY(tern_dir_put_str(d, KEY "pre", pre, strlen(pre), h->err));
    TERN_TRY(tern_dir_put_strs(d, KEY "tokens", c->text, n, h->err));
    if (spm)
        TERN_TRY(tern_dir_put_numbers(d, KEY "scores", TERN_META_F32, c->score, n, h->err));
    TERN_TRY(tern_dir_put_numbers(d, KEY "token_type", TERN_META_I32, c->type, n, h->err));
    if (h->strips)
        TERN_TRY(tern_dir_put_numbers(d, KEY "token_strip", TERN_META_U8, c->strip, n, h->err));
    if (h->merges && spm)
        TERN_TRY(tern_dir_put_bool(d, KEY "join_by_merges", true, h->err));
    return h->merges ? tern_dir_put_strs(d, KEY "merges", h->merges, h->n_merge, h->err) : TERN_OK;
}

static tern_code put_vocabulary(tern_hf *h, tern_dir *d)
{
    size_t n = h->n_vocab > h->n ? h->n_vocab : h->n;
    char folder[96];
    if (h->n == 0 || n > INT32_MAX)
        return tern_fail(h->err, TERN_E_FORMAT, "%s: a vocabulary of %zu tokens",
                         tern_quote(folder, sizeof folder, h->folder, strlen(h->folder)), n);
    columns c = {.text = tern_calloc(n, sizeof *c.text),
                 .score = tern_calloc(n, sizeof *c.score),
                 .type = tern_calloc(n, sizeof *c.type),
                 .strip = tern_calloc(n, sizeof *c.strip)};
    bool all = c.text && c.score && c.type && c.strip;
    tern_code rc = all ? put_columns(h, d, &c, n) : tern_hf_no_memory(h);
    tern_free(c.strip);
    tern_free(c.text);
    tern_free(c.score);
    tern_free(c.type);
    return rc;
}

/* ---- a folder ------------------------------------------------------------------------------ */

static tern_code read_all(tern_hf *h, tern_dir *d)
{
    TERN_TRY(parse_small(h));
    TERN_TRY(read_vocabulary(h));
    TERN_TRY(put_vocabulary(h, d));
    TERN_TRY(put_ids(h, d));
    TERN_TRY(put_flags(h, d));
    TERN_TRY(put_sampling(h, d));
    return put_chat(h, d);
}

tern_code tern_hf_tokenizer_read_files(tern_dir *d, const char *folder,
                                       const tern_slice files[TERN_HF_FILE_COUNT], size_t n_vocab,
                                       tern_err *err)
{
    tern_hf h = {.folder = folder,
                 .files = files,
                 .n_vocab = n_vocab,
                 .limit = n_vocab,
                 .err = err,
                 .add_bos = TERN_HF_UNSAID,
                 .add_eos = TERN_HF_UNSAID,
                 .space_prefix = TERN_HF_UNSAID,
                 .squeeze = TERN_HF_UNSAID,
                 .ignore_merges = TERN_HF_UNSAID,
                 .bos = -1,
                 .eos = -1,
                 .unk = -1,
                 .pad = -1,
                 .first = -1,
                 .last = -1};
    tern_arena_init(&h.arena, ARENA_MAX);
    tern_map_init(&h.by_text);
    tern_code rc = read_all(&h, d);
    for (size_t i = 0; i < TERN_HF_FILE_COUNT; i++)
        json_decref(h.json[i]);
    tern_map_done(&h.by_text);
    tern_free(h.tokens);
    tern_arena_done(&h.arena);
    return rc;
}

static tern_code map_file(const char *folder, tern_hf_file file, tern_map_file *map,
                          tern_slice *out, tern_err *err)
{
    tern_str path;
    tern_err e;
    tern_str_init(&path, 1 << 16);
    tern_str_puts(&path, folder);
    tern_str_putc(&path, '/');
    tern_str_puts(&path, tern_hf_file_name(file));
    tern_code rc = path.failed ? tern_fail(err, TERN_E_NOMEM, "no memory for a path")
                               : tern_map_open(tern_str_get(&path), map, &e);
    if (rc == TERN_OK)
        *out = (tern_slice){map->data ? (const char *)map->data : "", map->size};
    else if (rc == TERN_E_NOT_FOUND)
        rc = TERN_OK;
    else if (!path.failed)
        (void)tern_fail(err, rc, "%s", e.msg);
    tern_str_done(&path);
    return rc;
}

tern_code tern_hf_tokenizer_read(tern_dir *d, const char *folder, size_t n_vocab, tern_err *err)
{
    tern_map_file maps[TERN_HF_FILE_COUNT] = {0};
    tern_slice files[TERN_HF_FILE_COUNT] = {0};
    tern_code rc = TERN_OK;
    for (size_t i = 0; i < TERN_HF_FILE_COUNT; i++)
        TERN_TRY_GOTO(map_file(folder, (tern_hf_file)i, &maps[i], &files[i], err));
    rc = tern_hf_tokenizer_read_files(d, folder, files, n_vocab, err);
fail:
    for (size_t i = 0; i < TERN_HF_FILE_COUNT; i++)
        tern_map_close(&maps[i]);
    return rc;
}
