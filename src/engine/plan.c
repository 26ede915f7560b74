/* What a model will take, before it is taken: the sizes come from the functions that allocate. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/num.h"
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

/* Rows of a step that opening itself runs: the text behind the screened head. */
#define OPEN_ROWS 32

/* Address space besides the bytes themselves: pages come in chunks that begin at a multiple of their size
 * (base/alloc.c), and so do heaps of threads. */
#define ADDRESS_SLACK ((uint64_t)64 << 20)

/* Chosen formats of what a user may leave open. */
static tern_cache_type resolved(const tern_model *m, tern_cache_type t)
{
    if (t != TERN_CACHE_AUTO)
        return t;
    return tern_kv_auto(m->w.h.d_head) == TERN_KV_I8 ? TERN_CACHE_Q8 : TERN_CACHE_F16;
}

/* Sums of matrices: those packed, those that stay in the file's map. */
static tern_code add_matrices(const tern_weights *w, tern_plan *p, tern_err *err)
{
    size_t n = tern_weights_matrices(w, NULL);
    const tern_linear **all = tern_calloc(n, sizeof *all);
    if (!all)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    (void)tern_weights_matrices(w, all);
    for (size_t i = 0; i < n; i++) {
        const tern_linear *l = all[i];
        if (!l->src)
            continue;
        if (l->packed_bytes)
            p->packed_bytes += l->packed_bytes + l->n_scale * sizeof(float);
        else if (l != &w->head)
            p->mapped_bytes += l->read_bytes;
        if (l == &w->head)
            continue;
        p->n_mac += (uint64_t)l->rows * (uint64_t)l->cols;
        if (l->form == TERN_FORM_F32)
            p->n_float_mac += (uint64_t)l->rows * (uint64_t)l->cols;
    }
    tern_free(all);
    return TERN_OK;
}

/* Planes that replace the head, or the head where it is mapped; with little memory its rows are copied
 * from the file as they are read. */
static void add_head(const tern_model *m, const tern_model_opts *o, tern_weights *w, tern_plan *p)
{
    bool always = o->head == TERN_HEAD_ALWAYS;
    if (tern_model_screens(m, o) && tern_head_pays(&w->head, always)) {
        bool fine = !m->low_memory || m->packing != TERN_PACKING_NOT_KEPT;
        tern_head_plan(&w->screen, &w->head, !m->low_memory, fine ? TERN_HEAD_FINE : 0);
        p->head_bytes = tern_head_memory(&w->screen);
    } else if (w->head.packed_bytes == 0 && !m->low_memory) {
        p->mapped_bytes += w->head.read_bytes;
    }
    p->read_bytes = tern_weights_token_bytes(w);
}

static tern_code add_sessions(const tern_model *m, const tern_weights *w,
                              const tern_session_opts *o, int32_t n_session, tern_plan *p,
                              tern_err *err)
{
    const tern_hparams *h = &m->w.h;
    tern_kv_shape shape;
    size_t kv, kept, all_kept;
    TERN_TRY(tern_cache_shape(m, o->cache_k, o->cache_v, &shape, err));
    p->n_ctx = o->n_ctx ? o->n_ctx : h->n_ctx_train;
    p->n_session = n_session;
    p->cache_k = resolved(m, o->cache_k);
    p->cache_v = resolved(m, o->cache_v);
    p->kv_token_bytes = tern_kv_token_bytes(&shape);
    kept = tern_kept_stride(tern_round_up((size_t)h->n_vocab, 64),
                            tern_round_up((size_t)h->d_model, 64), &w->screen);
    if (!tern_mul_size(tern_seq_bytes(&shape, p->n_ctx), (size_t)n_session, &kv) ||
        !tern_mul_size(kept * sizeof(float) * TERN_MAX_OUT, (size_t)n_session, &all_kept))
        kv = all_kept = SIZE_MAX / 4;
    p->kv_bytes = kv;
    p->session_bytes = all_kept;
    return TERN_OK;
}

/* Whatever is mapped from a file of packed weights need not be there at once either. */
static void move_mapped(const tern_model *m, tern_plan *p)
{
    if (m->packing != TERN_PACKING_FOUND || !m->packed.map)
        return;
    p->mapped_bytes += p->packed_bytes + p->head_bytes;
    p->packed_bytes = p->head_bytes = 0;
}

tern_code tern_plan_make(const tern_model *m, const tern_model_opts *o,
                         const tern_session_opts *session, int32_t n_session, tern_plan *out,
                         tern_err *err)
{
    tern_session_opts s;
    tern_weights w;
    tern_bind_ctx ctx = {m, o};
    const tern_bind_opts bind = tern_model_bind_opts(&ctx);
    tern_plan *p = out;
    tern_session_opts_init(&s);
    if (session)
        memcpy(&s, session, session->size < sizeof s ? session->size : sizeof s);
    if (s.n_ctx < 0 || n_session < 1)
        return tern_fail(err, TERN_E_USAGE, "plan: context %d or %d sessions out of range", s.n_ctx,
                         n_session);
    TERN_TRY(tern_weights_plan(&m->w, &bind, &w, err));
    tern_code rc = add_matrices(&w, p, err);
    if (rc == TERN_OK) {
        add_head(m, o, &w, p);
        move_mapped(m, p);
        rc = add_sessions(m, &w, &s, n_session, p, err);
    }
    if (rc == TERN_OK) {
        int most = tern_model_max_tok(m);
        p->file_bytes = m->file_bytes;
        p->n_thread = tern_pool_size(m->pool);
        p->step_bytes = tern_exec_bytes(&w, m->pool, p->n_ctx < most ? p->n_ctx : most);
        p->other_bytes += w.vector_bytes;
        p->needed_bytes = p->packed_bytes + p->head_bytes + p->step_bytes + p->kv_bytes +
                          p->session_bytes + p->other_bytes;
        p->total_bytes = p->needed_bytes + p->mapped_bytes;
        p->address_bytes =
            p->needed_bytes + tern_exec_bytes(&w, m->pool, most) - p->step_bytes + ADDRESS_SLACK;
    }
    w.screen = (tern_head){0}; /* sizes only: there is nothing to release */
    tern_weights_done(&w);
    return rc;
}

/* ---- before opening ------------------------------------------------------------------------ */

/* What cannot be put off: packed weights and the buffers that opening itself uses. What is mapped is not
 * in it, nor are keys and values, which are taken as a conversation grows. */
static tern_code needed_to_open(const tern_model *m, const tern_model_opts *o, tern_plan *p,
                                tern_err *err)
{
    const tern_session_opts least = {.size = sizeof least, .n_ctx = OPEN_ROWS};
    *p = (tern_plan){0};
    return tern_plan_make(m, o, &least, 1, p, err);
}

static double mb(uint64_t bytes)
{
    return (double)bytes * 1e-6;
}

/* What would help, for the end of a message. */
static void advise(const tern_model *m, const tern_model_opts *o, uint64_t room, char *buf,
                   size_t cap)
{
    tern_model less = *m;
    tern_model_opts less_o = *o;
    tern_plan p;
    less.low_memory = less_o.low_memory = true;
    if (!m->low_memory && needed_to_open(&less, &less_o, &p, NULL) == TERN_OK &&
        p.needed_bytes <= room)
        (void)snprintf(buf, cap, "with --low-memory it needs %.0f MB", mb(p.needed_bytes));
    else
        (void)snprintf(buf, cap, "free some, or take a smaller model");
}

tern_code tern_plan_check(const tern_model *m, const tern_model_opts *o, bool warn, tern_err *err)
{
    tern_memory now;
    tern_plan p;
    const char *who;
    char advice[80];
    if (o->any_memory || (!warn && o->repack_cache && o->low_memory)) /* these may be mapped */
        return TERN_OK;
    TERN_TRY(needed_to_open(m, o, &p, err));
    tern_memory_get(&now);
    uint64_t room = tern_memory_room(&now, &who), address = tern_memory_address_room(&now);
    if (p.needed_bytes > room) {
        advise(m, o, room, advice, sizeof advice);
        return tern_fail(err, TERN_E_NOMEM,
                         "%s: needs %.0f MB of memory, but %.0f MB of %s are free; %s (tern "
                         "plan)",
                         m->dir->path, mb(p.needed_bytes), mb(room), who, advice);
    }
    if (p.address_bytes > address) {
        uint64_t more = p.address_bytes - p.needed_bytes;
        advise(m, o, address > more ? address - more : 0, advice, sizeof advice);
        return tern_fail(err, TERN_E_NOMEM,
                         "%s: needs %.0f MB of address space, but the limit (ulimit -v) leaves "
                         "%.0f MB; %s (tern plan)",
                         m->dir->path, mb(p.address_bytes), mb(address), advice);
    }
    if (warn && p.total_bytes > room && o->warn) {
        char line[256];
        (void)snprintf(line, sizeof line,
                       "%.0f MB of weights stay in the file and %.0f MB of memory are left for "
                       "them: tokens will wait for the disk",
                       mb(p.mapped_bytes), mb(room - p.needed_bytes));
        o->warn(o->ctx, line);
    }
    return TERN_OK;
}
