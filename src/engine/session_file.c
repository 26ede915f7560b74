/* A session's tokens and state in a file of the user's (state/statefile.h). */
#include "base/error.h"
#include "base/str.h"
#include "engine/engine.h"
#include "state/statefile.h"

#include <string.h>

static tern_statefile_id id_of(const tern_session *s)
{
    return (tern_statefile_id){tern_model_identity(s->m), tern_state_kind(&s->seq.shape), 0};
}

tern_code tern_session_save(const tern_session *s, const char *path, tern_err *err)
{
    const tern_statefile_id id = id_of(s);
    const tern_states ops = tern_seq_states(NULL);
    int n = tern_session_n_tok(s);
    tern_pool *pool;
    if (n == 0)
        return tern_fail(err, TERN_E_USAGE, "%s: the session has no tokens to save", path);
    TERN_TRY(tern_pool_new(1, &pool, err)); /* others may be using the model's */
    tern_code rc = tern_statefile_write(path, &id, s->m->dir->path, &ops, &s->seq, s->seq.ids, 0, n,
                                        pool, err);
    tern_pool_free(pool);
    return rc;
}

tern_code tern_session_file_check(const tern_model *m, int n_ctx, const tern_statefile *f,
                                  const char *path, tern_err *err)
{
    char shown[128];
    (void)tern_quote(shown, sizeof shown, path, strlen(path));
    if (f->n0 != 0)
        return tern_fail(err, TERN_E_FORMAT, "%s: the state of a later part of a text", shown);
    if (f->n1 > n_ctx)
        return tern_fail(err, TERN_E_LIMIT, "%s: %d tokens, the context holds %d (raise -c)", shown,
                         f->n1, n_ctx);
    for (int i = 0; i < f->n1; i++)
        if (f->ids[i] < 0 || f->ids[i] >= m->w.h.n_vocab)
            return tern_fail(err, TERN_E_FORMAT, "%s: token %d is id %d, expected 0..%d", shown, i,
                             f->ids[i], m->w.h.n_vocab - 1);
    return TERN_OK;
}

static tern_code load(tern_session *s, const tern_statefile *f, tern_pool *pool, tern_err *err)
{
    const tern_states ops = tern_seq_states(s->seq.budget);
    tern_seq seq;
    TERN_TRY(tern_seq_init_within(&seq, &s->seq.shape, s->seq.n_ctx, s->seq.budget, err));
    tern_code rc = tern_statefile_load(f, &ops, &seq, pool, err);
    if (rc == TERN_OK) {
        tern_session_rewind(s, 0);
        tern_seq_done(&s->seq);
        s->seq = seq;
    } else {
        tern_seq_done(&seq);
    }
    return rc;
}

tern_code tern_session_load(tern_session *s, const char *path, tern_err *err)
{
    const tern_statefile_id id = id_of(s);
    tern_statefile f;
    tern_pool *pool;
    TERN_TRY(tern_pool_new(1, &pool, err));
    tern_code rc = tern_statefile_open(path, &id, pool, &f, err);
    if (rc == TERN_OK) {
        rc = tern_session_file_check(s->m, s->seq.n_ctx, &f, path, err);
        if (rc == TERN_OK)
            rc = load(s, &f, pool, err);
        tern_statefile_close(&f);
    }
    tern_pool_free(pool);
    return rc;
}
