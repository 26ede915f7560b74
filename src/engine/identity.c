/* Which model a state belongs to. */
#include "base/alloc.h"
#include "base/cpu.h"
#include "base/hash.h"
#include "engine/engine.h"

#include <string.h>

/* Bytes of each tensor that are looked at, in two places: whoever changes a tensor changes most of it. */
#define SAMPLE ((size_t)4096)

/* Pages of the file do not come into this process where that can be avoided. */
static uint64_t hash_bytes(const tern_dir *d, const tern_tensor *t, size_t at, size_t n, uint64_t h)
{
    uint8_t buf[SAMPLE];
    bool read = tern_dir_tensor_read(d, t, at, buf, n);
    return tern_hash64(read ? buf : t->data + at, n, h);
}

static uint64_t hash_tensor(const tern_dir *d, const tern_tensor *t, uint64_t h)
{
    size_t n = t->bytes < SAMPLE ? t->bytes : SAMPLE;
    uint64_t v[6] = {(uint64_t)t->dtype, t->ne[0], t->ne[1], t->ne[2], t->ne[3], t->bytes};
    h = tern_hash64(t->name, strlen(t->name), h);
    h = tern_hash64(v, sizeof v, h);
    h = tern_hash64(&t->scale, sizeof t->scale, h);
    h = hash_bytes(d, t, 0, n, h);
    return hash_bytes(d, t, (t->bytes - n) / 2, n, h);
}

/* What a forward pass is made of besides tensors. */
static uint64_t hash_numbers(const tern_hparams *p, uint64_t h)
{
    const tern_rope *r = &p->rope;
    const int i[] = {p->n_layer,    p->d_model, p->d_ff,          p->n_head,
                     p->n_kv_head,  p->d_head,  p->n_vocab,       (int)p->act,
                     p->token_act8, p->window,  p->window_period, p->bidirectional,
                     r->n_rot,      r->neox,    (int)r->scaling,  r->n_ctx_orig};
    const float f[] = {p->rms_eps,   p->attn_scale, p->rope_local_base, p->embed_scale,
                       r->base,      r->factor,     r->attn_factor,     r->beta_fast,
                       r->beta_slow, r->low_freq,   r->high_freq};
    h = tern_hash64(p->arch, strlen(p->arch), h);
    h = tern_hash64(i, sizeof i, h);
    h = tern_hash64(f, sizeof f, h);
    for (int l = 0; l < p->n_layer; l++) {
        bool windowed = tern_hparams_windowed(p, l);
        h = tern_hash64(&windowed, sizeof windowed, h);
    }
    return h;
}

uint64_t tern_model_identity(const tern_model *m)
{
    uint64_t h = hash_numbers(&m->w.h, 1);
    for (size_t i = 0; i < m->dir->n_tensor; i++)
        h = hash_tensor(m->dir, &m->dir->tensors[i], h);
    return h;
}

uint64_t tern_model_run_identity(const tern_model *m)
{
    const char *version = tern_version();
    unsigned cpu = 0;
    uint64_t h = tern_hash64(version, strlen(version), tern_model_identity(m));
    if (tern_cpu_flags(&cpu, NULL) == TERN_OK) /* else no model opens */
        h = tern_hash64(&cpu, sizeof cpu, h);
    for (size_t i = 0; i < m->dir->n_map; i++) {
        uint64_t v[2] = {m->dir->maps[i].size, m->dir->maps[i].modified_ns};
        h = tern_hash64(v, sizeof v, h);
    }
    return h;
}

uint64_t tern_state_kind(const tern_kv_shape *s)
{
    const int v[] = {s->n_block, s->n_kv_head, s->d_k, s->d_v, (int)s->k, (int)s->v, TERN_PAGE_TOK};
    return tern_hash64(v, sizeof v, 0);
}
