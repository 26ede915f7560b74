/* What answers take over from earlier ones, and from others that run (state/recall.h). What several prompts have
 * in common at their beginnings is read once: one of them reads, the others wait for its pages. */
#include "base/alloc.h"
#include "base/error.h"
#include "engine/scheduler.h"

#include <stdio.h>
#include <string.h>

/* Seconds that what was used last may take to get to disk, when all ends. */
#define LAST_S     5.0
#define DISK_BYTES ((uint64_t)4 << 30)
#define PAGE       TERN_PAGE_TOK

static void warn(const tern_scheduler *s, const tern_err *why)
{
    char line[320];
    if (!s->o.warn)
        return;
    (void)snprintf(line, sizeof line, "prefixes are kept in memory alone: %s", why->msg);
    s->o.warn(s->o.ctx, line);
}

tern_code tern_scheduler_prefix_open(tern_scheduler *s, tern_err *err)
{
    tern_err why;
    char *folder = s->o.cache_dir ? tern_prefix_folder(s->o.cache_dir) : NULL;
    tern_shelf_opts o = {.dir = folder,
                         .max_bytes = s->o.cache_dir_bytes ? s->o.cache_dir_bytes : DISK_BYTES,
                         .key = folder ? tern_model_run_identity(s->m) : 0,
                         .kind = tern_state_kind(&s->shape),
                         .title = s->m->dir->path,
                         .warn = s->o.warn,
                         .ctx = s->o.ctx};
    if (s->o.no_prefix) {
        tern_free(folder);
        return TERN_OK;
    }
    tern_code rc = folder ? tern_folder_make(s->o.cache_dir, &why) : TERN_OK;
    if (rc != TERN_OK)
        warn(s, &why);
    bool shelf = folder && rc == TERN_OK;
    rc = tern_recall_init(&s->recall, &s->budget, shelf ? &o : NULL, &why);
    tern_free(folder);
    s->reuses = rc == TERN_OK || rc == TERN_E_IO;
    if (!s->reuses)
        return tern_fail(err, rc, "%s", why.msg);
    if (rc != TERN_OK)
        warn(s, &why);
    tern_scheduler_prefix_count(s);
    return TERN_OK;
}

void tern_scheduler_prefix_close(tern_scheduler *s)
{
    if (s->reuses)
        tern_recall_done(&s->recall, LAST_S);
    s->reuses = false;
}

void tern_scheduler_prefix_count(tern_scheduler *s)
{
    size_t kept = s->reuses ? tern_recall_kept_bytes(&s->recall) : 0;
    s->stats.kv_bytes = s->budget.used - kept - s->lent_bytes;
    s->stats.lent_bytes = s->lent_bytes;
    s->stats.prefix_bytes = kept;
    if (s->reuses && s->recall.shelf)
        s->stats.prefix_disk_bytes = tern_shelf_bytes(s->recall.shelf);
}

/* ---- one answer -------------------------------------------------------------------------------- */

/* The first ids of which the state is of use: the last one is always read, for what comes after it, and of
 * which probabilities are told, all are. */
static int usable(const tern_answer *a, const int32_t **ids)
{
    size_t n;
    *ids = tern_request_ids(a->r, &n);
    return n == 0 || a->job->o.echo_logprobs ? 0 : (int)n - 1;
}

void tern_answer_recall(tern_scheduler *s, tern_answer *a, bool has_stem)
{
    const tern_job *j = a->job;
    const int32_t *ids;
    int n = usable(a, &ids);
    size_t n_keep = j->o.n_keep < j->n_prompt ? j->o.n_keep : j->n_prompt;
    a->uses = s->reuses && !j->o.no_prefix;
    if (a->uses)
        (void)tern_recall_begin(&s->recall, &a->use, j->o.owner, ids, has_stem ? 0 : n, (int)n_keep,
                                &a->s->seq);
}

/* Whether it still reads, and may take pages over. */
static bool reads(const tern_answer *a, const int32_t **ids, int *n)
{
    if (!a || !a->uses || a->fresh || a->job->code != TERN_OK)
        return false;
    *n = usable(a, ids);
    return *n > a->n_tok;
}

void tern_scheduler_recall(tern_scheduler *s)
{
    uint64_t n_gained = 0;
    for (int32_t i = 0; i < s->o.n_slot && s->reuses; i++) {
        tern_answer *a = s->slots[i];
        const int32_t *ids;
        int n, have;
        if (!reads(a, &ids, &n))
            continue;
        have = tern_recall_follow(&s->recall, &a->use, ids, n, &a->s->seq, a->n_tok);
        if (have == a->n_tok)
            continue;
        tern_request_gained(a->r);
        n_gained += have > a->n_tok ? (uint64_t)(have - a->n_tok) : 0;
        a->n_tok = have;
    }
    if (s->reuses)
        tern_recall_collect(&s->recall);
    if (n_gained == 0)
        return;
    pthread_mutex_lock(&s->mu);
    s->stats.n_cached += n_gained;
    pthread_mutex_unlock(&s->mu);
}

void tern_answer_share(tern_scheduler *s, tern_answer *a)
{
    size_t n_left;
    (void)tern_request_ids(a->r, &n_left);
    if (!a->uses || a->shared)
        return;
    tern_recall_grow(&s->recall, &a->use, a->s->seq.ids, a->n_tok, &a->s->seq);
    a->shared = n_left == 0;
}

void tern_answer_leave(tern_scheduler *s, tern_answer *a)
{
    const tern_job *j = a->job;
    /* What a file that was cut gave is of no use to anybody. */
    bool good = j->code == TERN_OK || j->code == TERN_E_CANCELLED || j->code == TERN_E_TIMEOUT;
    if (a->uses)
        tern_session_settle(a->s);
    tern_slot_remember(s, a, good && a->uses);
    if (!a->uses)
        return;
    tern_recall_end(&s->recall, &a->use, good ? a->s->seq.ids : NULL, tern_session_n_tok(a->s),
                    &a->s->seq);
    a->uses = a->shared = false;
}

/* ---- waiting for another's pages -------------------------------------------------------------- */

/* b, which comes before a if they are equally far, will read a page that a needs next. */
static bool reads_for(const tern_answer *b, const tern_answer *a, bool before)
{
    const int32_t *a_ids, *b_ids;
    int n_a, n_b;
    if (b->job->o.owner != a->job->o.owner || !reads(a, &a_ids, &n_a) || !reads(b, &b_ids, &n_b))
        return false;
    int end = (a->n_tok / PAGE + 1) * PAGE;
    if (n_a < end || n_b < end || b->n_tok < a->n_tok || (b->n_tok == a->n_tok && !before))
        return false;
    return memcmp(a_ids, b_ids, (size_t)end * sizeof *a_ids) == 0;
}

bool tern_answer_waits(tern_answer *const *who, size_t n, size_t i)
{
    for (size_t k = 0; k < n; k++)
        if (k != i && reads_for(who[k], who[i], k < i))
            return true;
    return false;
}
