/* Opening a model: map, bind, tokenizer, template, buffers, self check. */
#include "engine/engine.h"
#include "base/alloc.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/num.h"
#include "base/utf8.h"
#include "model/import/import.h"

#include <stdio.h>
#include <string.h>

/* Rows of one step. Larger batches reuse each unpacked weight tile more often but outgrow the second
 * level cache with their activations. */
#define MAX_TOK 128
/* The buffers of a row take 0.2 MB in a 2B model. */
#define LOW_MEMORY_TOK 32
/* Models that attend both ways take a whole text at once; memory that is not used is not taken. */
#define BOTH_WAYS_TOK 2048

const char *tern_version(void)
{
    return TERN_VERSION;
}

void tern_string_free(char *s)
{
    tern_free(s);
}

void tern_model_opts_init(tern_model_opts *o)
{
    *o = (tern_model_opts){.size = sizeof *o};
}

/* Fields a caller's older struct lacks keep their defaults. */
static tern_model_opts effective(const tern_model_opts *opts)
{
    tern_model_opts o;
    tern_model_opts_init(&o);
    if (opts)
        memcpy(&o, opts, opts->size < sizeof o ? opts->size : sizeof o);
    return o;
}

static tern_code parse_layout(const char *name, tern_dir_opts *out, tern_err *err)
{
    static const char *const names[] = {"x86", "arm", "rows4"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!name || strcmp(name, names[i]) == 0) {
            out->i2s_layout = (tern_i2s_layout)i;
            return TERN_OK;
        }
    return tern_fail(err, TERN_E_USAGE, "I2_S layout '%s': expected x86, arm or rows4", name);
}

/* What is no UTF-8 is no text: those who show it cannot. */
static tern_code read_text(const tern_model *m, const char *key, char **out, tern_err *err)
{
    tern_slice s = {"", 0};
    TERN_TRY(tern_dir_get_str(m->dir, key, &s, NULL, err));
    *out = tern_strdup_n(s.p, tern_utf8_valid(s.p, s.n) ? s.n : 0);
    return *out ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory");
}

static tern_code selftest(tern_model *m, const tern_model_opts *o, tern_err *err)
{
    char report[200];
    TERN_TRY(tern_exec_selftest(&m->e, report, sizeof report, &m->n_selftest_mismatch, err));
    if (m->n_selftest_mismatch == 0)
        return TERN_OK;
    if (o->strict)
        return tern_fail(err, TERN_E_SELFTEST, "%s: self check: %s", m->dir->path, report);
    if (o->warn) {
        char line[256];
        (void)snprintf(line, sizeof line, "self check: %s; using the reference instead", report);
        o->warn(o->ctx, line);
    }
    return TERN_OK;
}

/* As many lanes as cores have nowhere to go anyway, but the system may put two on one for a while.
 * Fewer are better left alone: kept in place, those of two models would share some cores while others
 * idle. */
static tern_code start_pool(tern_model *m, const tern_model_opts *o, tern_err *err)
{
    tern_topology t;
    tern_topology_get(&t);
    int n = o->n_thread > 0 ? o->n_thread : tern_topology_threads(&t);
    TERN_TRY(tern_pool_new(n, &m->pool, err));
    if (o->pin == TERN_PIN_ON || (o->pin == TERN_PIN_AUTO && n == t.n_core))
        return tern_pool_spread(m->pool, &t, err);
    return TERN_OK;
}

bool tern_model_base3(const tern_model *m, tern_listed listed, int cols)
{
    if (m->weight_bits == TERN_WEIGHT_BITS_AUTO)
        return m->low_memory || tern_tune_base3(&m->tune, listed, cols);
    return m->weight_bits == TERN_WEIGHT_BITS_1_6;
}

/* Do lists take no more memory than what reads all? Small matrices are padded more. */
static bool lists_are_small(tern_listed listed, int rows, int cols)
{
    size_t all = tern_t3_bytes(rows, cols);
    size_t some =
        listed == TERN_LISTED_ROWS ? tern_t3r1_bytes(rows, cols) : tern_t3c1_bytes(rows, cols);
    return some <= all + all / 32;
}

bool tern_model_skips(const tern_model *m, const tern_model_opts *o, tern_listed listed, int rows,
                      int cols)
{
    if (o->ffn_sparse == TERN_FFN_SPARSE_AUTO && m->low_memory)
        return lists_are_small(listed, rows, cols);
    if (o->ffn_sparse == TERN_FFN_SPARSE_AUTO)
        return tern_tune_skips(&m->tune, listed, rows, cols, tern_model_base3(m, listed, cols),
                               tern_model_base3(m, TERN_LISTED_NONE, cols));
    return o->ffn_sparse != TERN_FFN_SPARSE_OFF;
}

static bool wants_skipping(void *ctx, tern_listed listed, int rows, int cols)
{
    const tern_bind_ctx *b = ctx;
    return tern_model_skips(b->m, b->o, listed, rows, cols);
}

static bool wants_base3(void *ctx, tern_listed listed, int cols)
{
    return tern_model_base3(((const tern_bind_ctx *)ctx)->m, listed, cols);
}

static void show_progress(void *ctx, double fraction)
{
    const tern_bind_ctx *p = ctx;
    p->o->progress(p->o->ctx, fraction);
}

tern_bind_opts tern_model_bind_opts(tern_bind_ctx *ctx)
{
    return (tern_bind_opts){.skips = wants_skipping,
                            .base3 = wants_base3,
                            .progress = ctx->o->progress ? show_progress : NULL,
                            .ctx = ctx};
}

int tern_model_max_tok(const tern_model *m)
{
    if (m->w.h.bidirectional)
        return BOTH_WAYS_TOK;
    return m->low_memory ? LOW_MEMORY_TOK : MAX_TOK;
}

tern_code tern_model_needs_weights(const tern_model *m, tern_err *err)
{
    if (m->e.block)
        return TERN_OK;
    return tern_fail(err, TERN_E_USAGE, "%s: opened for its text alone", m->dir->path);
}

static tern_code read_weights(tern_model *m, const tern_model_opts *o, tern_err *err)
{
    TERN_TRY(tern_weights_read(&m->w, m->dir, tern_tokenizer_info_get(m->tok)->n_vocab, err));
    if (!o->activation)
        return TERN_OK;
    for (int i = TERN_ACT_RELU2; i <= TERN_ACT_GELU; i++)
        if (strcmp(tern_act_name((tern_act_kind)i), o->activation) == 0) {
            m->w.h.act = (tern_act_kind)i;
            return TERN_OK;
        }
    return tern_fail(err, TERN_E_USAGE, "activation '%.32s': expected relu2, silu or gelu",
                     o->activation);
}

/* Packed weights that were kept are used if they are what they should be, else made. */
static tern_code bind_weights(tern_model *m, const tern_model_opts *o, tern_err *err)
{
    tern_bind_ctx ctx = {m, o};
    tern_bind_opts bind = tern_model_bind_opts(&ctx);
    tern_err why;
    if (m->packing == TERN_PACKING_FOUND) {
        bind.packed = &m->packed;
        tern_code rc = tern_weights_bind(&m->w, &bind, m->pool, &why);
        if (rc == TERN_OK || rc == TERN_E_NOMEM)
            return rc == TERN_OK ? rc : tern_fail(err, rc, "%s", why.msg);
        tern_packing_refuse(m, o, &why);
        bind.packed = NULL;
        TERN_TRY(read_weights(m, o, err));
    }
    return tern_weights_bind(&m->w, &bind, m->pool, err);
}

bool tern_model_screens(const tern_model *m, const tern_model_opts *o)
{
    if (o->head == TERN_HEAD_FULL)
        return false;
    /* One plane alone saves little, and both could not be read from a file. */
    return !m->low_memory || m->packing != TERN_PACKING_NOT_KEPT || o->head == TERN_HEAD_ALWAYS;
}

static tern_code screen_head(tern_model *m, const tern_model_opts *o, tern_err *err)
{
    tern_err why;
    bool always = o->head == TERN_HEAD_ALWAYS;
    if (!tern_model_screens(m, o))
        return TERN_OK;
    if (m->packing == TERN_PACKING_FOUND) {
        tern_code rc =
            tern_packed_head(&m->packed, m->dir, &m->w.head, &m->w.screen, m->pool, &why);
        if (rc == TERN_OK || rc == TERN_E_NOMEM)
            return rc == TERN_OK ? rc : tern_fail(err, rc, "%s", why.msg);
        tern_packing_refuse(m, o, &why);
    }
    return tern_model_screen(m, always, err);
}

/* All that decides what will be taken for weights, before anything is. check: that it is there. */
static tern_code look(tern_model *m, const tern_model_opts *o, bool check, unsigned *cpu,
                      tern_err *err)
{
    const tern_hparams *h = &m->w.h;
    TERN_TRY(tern_cpu_flags(cpu, err));
    TERN_TRY(start_pool(m, o, err));
    TERN_TRY(read_text(m, "general.name", &m->name, err));
    TERN_TRY(read_text(m, "general.license", &m->license, err));
    TERN_TRY(tern_tokenizer_new(m->dir, o->pre_tokenizer, &m->tok, err));
    TERN_TRY(tern_chat_init(m, o->chat_template, err));
    TERN_TRY(read_weights(m, o, err));
    int d_row = (int)tern_round_up((size_t)h->d_head, 8);
    m->kv_f16 = (tern_kv_shape){.n_block = h->n_layer,
                                .n_kv_head = h->n_kv_head,
                                .d_k = d_row,
                                .d_v = d_row,
                                .small_pages = m->low_memory};
    if (o->text_only)
        return TERN_OK;
    if (check) { /* calibrating takes up to as much as the weights do */
        m->weight_bits = TERN_WEIGHT_BITS_1_6;
        TERN_TRY(tern_plan_check(m, o, false, err));
    }
    TERN_TRY(tern_calibrate(m, o, *cpu, err));
    TERN_TRY(tern_packing_find(m, o, err));
    return check ? tern_plan_check(m, o, true, err) : TERN_OK;
}

static tern_code prepare(tern_model *m, const tern_model_opts *o, tern_err *err)
{
    unsigned cpu;
    if (!tern_turn_init(&m->turn))
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    if (pthread_mutex_init(&m->trie_mu, NULL) != 0) {
        tern_turn_done(&m->turn);
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    }
    m->turn_ready = true;
    TERN_TRY(look(m, o, true, &cpu, err));
    if (o->text_only)
        return TERN_OK;
    TERN_TRY(bind_weights(m, o, err));
    int max_tok = tern_model_max_tok(m);
    TERN_TRY(tern_exec_init(&m->e, &m->w, m->pool, cpu, max_tok, err));
    /* Always from the list, or only where that is faster. */
    m->e.up_limit = o->ffn_sparse == TERN_FFN_SPARSE_ON ? 2.0f : m->tune.up_limit;
    m->e.down_limit = o->ffn_sparse == TERN_FFN_SPARSE_ON ? 2.0f : m->tune.down_limit;
    m->e.own_up_limit = o->ffn_sparse == TERN_FFN_SPARSE_ON ? 2.0f : m->tune.own_up_limit;
    m->e.own_down_limit = o->ffn_sparse == TERN_FFN_SPARSE_ON ? 2.0f : m->tune.own_down_limit;
    m->e.low_memory = m->low_memory;
    m->rows = tern_calloc((size_t)max_tok, sizeof *m->rows);
    if (!m->rows)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    TERN_TRY(selftest(m, o, err));
    TERN_TRY(screen_head(m, o, err));
    tern_packing_keep(m, o);
    if (!m->packed.map)
        tern_packfile_close(&m->packed.file);
    /* What opening alone needed goes back to the system. */
    tern_dir_drop(m->dir);
    tern_alloc_trim();
    return TERN_OK;
}

/* A model with its directory, nothing of which is prepared. */
static tern_code begin(const char *path, const void *data, size_t n_bytes, const tern_model_opts *o,
                       tern_model **out, tern_err *err)
{
    tern_dir_opts dir_opts = {.mapped = o->mapped};
    tern_code rc;
    *out = NULL;
    TERN_TRY(parse_layout(o->i2s_layout, &dir_opts, err));
    if (o->n_thread < 0)
        return tern_fail(err, TERN_E_USAGE, "thread count %d: expected 0 (all) or more",
                         o->n_thread);
    tern_model *m = tern_calloc(1, sizeof *m);
    if (!m)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    if (data)
        rc = tern_gguf_open_memory(data, n_bytes, path, &dir_opts, &m->dir, err);
    else
        rc = tern_import_open(path, &(tern_import_opts){.dir = dir_opts}, &m->dir, err);
    m->packed.file.in.fd = -1;
    m->low_memory = o->low_memory;
    if (rc != TERN_OK) {
        tern_model_close(m);
        return rc;
    }
    m->file_bytes = n_bytes;
    for (size_t i = 0; !data && i < m->dir->n_map; i++)
        m->file_bytes += m->dir->maps[i].size;
    *out = m;
    return TERN_OK;
}

static tern_code open_common(const char *path, const void *data, size_t n_bytes,
                             const tern_model_opts *opts, tern_model **out, tern_err *err)
{
    tern_model_opts o = effective(opts);
    tern_model *m;
    *out = NULL;
    TERN_TRY(begin(path, data, n_bytes, &o, &m, err));
    tern_code rc = prepare(m, &o, err);
    if (rc != TERN_OK) {
        tern_model_close(m);
        return rc;
    }
    *out = m;
    return TERN_OK;
}

tern_code tern_model_open(const char *path, const tern_model_opts *opts, tern_model **out,
                          tern_err *err)
{
    return open_common(path, NULL, 0, opts, out, err);
}

tern_code tern_model_open_memory(const void *data, size_t n_bytes, const char *name,
                                 const tern_model_opts *opts, tern_model **out, tern_err *err)
{
    return open_common(name, data ? data : "", n_bytes, opts, out, err);
}

static tern_code plan_common(const char *path, const void *data, size_t n_bytes,
                             const tern_model_opts *opts, const tern_session_opts *session,
                             int32_t n_session, tern_plan *out, tern_err *err)
{
    tern_model_opts o = effective(opts);
    tern_plan full = {0};
    tern_model *m;
    unsigned cpu;
    uint64_t before = tern_memory_resident();
    TERN_TRY(begin(path, data, n_bytes, &o, &m, err));
    tern_code rc = look(m, &o, false, &cpu, err);
    uint64_t after = tern_memory_resident();
    full.other_bytes = after > before ? after - before : 0;
    if (rc == TERN_OK)
        rc = tern_plan_make(m, &o, session, n_session, &full, err);
    tern_model_close(m);
    if (rc != TERN_OK)
        return rc;
    full.size = out->size < sizeof full ? out->size : sizeof full;
    memcpy(out, &full, full.size);
    return TERN_OK;
}

tern_code tern_model_plan(const char *path, const tern_model_opts *opts,
                          const tern_session_opts *session, int32_t n_session, tern_plan *out,
                          tern_err *err)
{
    return plan_common(path, NULL, 0, opts, session, n_session, out, err);
}

tern_code tern_model_plan_memory(const void *data, size_t n_bytes, const char *name,
                                 const tern_model_opts *opts, const tern_session_opts *session,
                                 int32_t n_session, tern_plan *out, tern_err *err)
{
    return plan_common(name, data ? data : "", n_bytes, opts, session, n_session, out, err);
}

void tern_model_close(tern_model *m)
{
    if (!m)
        return;
    if (m->turn_ready) {
        tern_turn_done(&m->turn);
        pthread_mutex_destroy(&m->trie_mu);
    }
    tern_trie_free(m->trie);
    tern_free(m->rows);
    tern_exec_done(&m->e);
    tern_weights_done(&m->w);
    tern_packfile_close(&m->packed.file);
    tern_free(m->packed_path);
    tern_template_free(m->chat);
    tern_free(m->chat_source);
    tern_tokenizer_free(m->tok);
    tern_free(m->name);
    tern_free(m->license);
    tern_pool_free(m->pool);
    tern_dir_close(m->dir);
    tern_free(m);
}

void tern_model_info_get(const tern_model *m, tern_model_info *info)
{
    const tern_hparams *h = &m->w.h;
    const tern_tokenizer_info *t = tern_tokenizer_info_get(m->tok);
    uint64_t n_param = 0;
    for (size_t i = 0; i < m->dir->n_tensor; i++)
        n_param += (uint64_t)m->dir->tensors[i].ne[0] * tern_tensor_rows(&m->dir->tensors[i]);
    tern_model_info full = {
        .arch = h->arch,
        .name = m->name,
        .n_vocab = h->n_vocab,
        .n_ctx_train = h->n_ctx_train,
        .n_layer = h->n_layer,
        .d_model = h->d_model,
        .d_ff = h->d_ff,
        .n_head = h->n_head,
        .n_kv_head = h->n_kv_head,
        .d_head = h->d_head,
        .bos = t->bos,
        .eos = t->eos,
        .add_bos = t->add_bos,
        .has_chat_template = m->chat != NULL,
        .chat_template = m->chat ? m->chat_source : NULL,
        .n_thread = tern_pool_size(m->pool),
        .n_param = n_param,
        .file_bytes = m->file_bytes,
        .packed_bytes = m->w.packed_bytes,
        .read_bytes = tern_weights_token_bytes(&m->w),
        .kv_f16_bytes = tern_kv_token_bytes(&m->kv_f16),
        .head_bytes = tern_head_memory(&m->w.screen),
        .pooling = h->pooling > 0 ? h->pooling : 0,
        .license = m->license,
    };
    full.size = info->size < sizeof full ? info->size : sizeof full;
    memcpy(info, &full, full.size);
}

/* ---- text ---------------------------------------------------------------------------------- */

tern_code tern_model_tokenize(const tern_model *m, const char *text, size_t n, unsigned flags,
                              int32_t *ids, size_t cap, size_t *n_id, tern_err *err)
{
    tern_ids all = {0};
    *n_id = 0;
    tern_code rc = tern_tokenize(m->tok, text, n, (flags & TERN_TOKENIZE_ADD_SPECIAL) != 0,
                                 (flags & TERN_TOKENIZE_PARSE_SPECIAL) != 0, &all, err);
    if (rc == TERN_OK) {
        *n_id = all.n;
        if (all.n > cap)
            rc = tern_fail(err, TERN_E_LIMIT, "%zu tokens, but room for only %zu", all.n, cap);
        else if (all.n)
            memcpy(ids, all.v, all.n * sizeof *ids);
    }
    tern_ids_done(&all);
    return rc;
}

const char *tern_model_token_bytes(const tern_model *m, int32_t id, size_t *n)
{
    tern_slice s = {"", 0};
    if (id >= 0 && id < tern_tokenizer_info_get(m->tok)->n_vocab)
        s = tern_token_bytes(m->tok, id);
    *n = s.n;
    return s.p;
}

tern_code tern_model_detokenize(const tern_model *m, const int32_t *ids, size_t n_id, bool special,
                                char **text, size_t *n_text, tern_err *err)
{
    tern_str out;
    tern_detok d;
    *text = NULL;
    tern_str_init(&out, SIZE_MAX / 4);
    tern_detok_init(&d, m->tok, special, true);
    for (size_t i = 0; i < n_id; i++) {
        if (ids[i] < 0 || ids[i] >= tern_tokenizer_info_get(m->tok)->n_vocab) {
            tern_str_done(&out);
            return tern_fail(err, TERN_E_USAGE, "token %zu is id %d, expected 0..%d", i, ids[i],
                             tern_tokenizer_info_get(m->tok)->n_vocab - 1);
        }
        tern_detok_push(&d, ids[i], &out);
    }
    tern_detok_finish(&d, &out);
    *n_text = out.len;
    *text = tern_str_take(&out);
    tern_str_done(&out);
    return *text ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory for the text");
}
