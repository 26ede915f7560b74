#include "state/shelf.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/os/folder.h"
#include "base/os/outfile.h"
#include "base/str.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SUFFIX   ".kv"
#define MAX_FILE ((size_t)1 << 16)
#define N_PLACE  ((size_t)1 << 15) /* a power of two */
#define MAX_WAIT 32                /* texts that wait to be written */
/* Temporary files older than this belong to no writer that still runs. */
#define STALE_S 3600
/* How old the time of a file in use may be, and how long a folder is left alone that refused a file. */
#define TOUCH_NS ((uint64_t)600 * 1000000000u)
#define PAUSE_NS ((uint64_t)60 * 1000000000u)

/* One file. */
typedef struct entry entry;
struct entry {
    entry *next;          /* of a place */
    entry *newer, *older; /* of the list by use */
    uint64_t key, hash, bytes;
    uint64_t touched_ns; /* by our clock */
    uint32_t n_tok;
    bool busy; /* of the text that is being written: it stays */
};

/* A text to be written, or only marked as used. */
typedef struct task task;
struct task {
    task *next;
    uint64_t owner;
    void *state; /* the owner's thread frees it; NULL: nothing to write */
    int n;
    int32_t ids[];
};

struct tern_shelf {
    tern_shelf_opts o;
    char *dir, *title; /* owned */
    tern_pool *pool;   /* owned; of the owner's thread */
    tern_pool *wpool;  /* owned; of the writer */
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t wake;    /* for the writer: there is something to do */
    pthread_cond_t changed; /* for the owner: a task is over */
    bool mu_ready, wake_ready, changed_ready;
    /* Guarded by mu. */
    entry *places[N_PLACE];
    entry *newest, *oldest;
    size_t n_file;
    uint64_t bytes;
    task *first, *last, *done, *now; /* now: being written */
    int n_wait;
    bool quits, drops; /* drops: what is being written ends with its file */
    uint64_t pause_until_ns;
    bool warned_bad, warned_write;
};

static void warn(tern_shelf *s, bool *warned, const char *what, const tern_err *why)
{
    char line[400];
    pthread_mutex_lock(&s->mu);
    bool before = *warned;
    *warned = true;
    pthread_mutex_unlock(&s->mu);
    if (before || !s->o.warn)
        return;
    (void)snprintf(line, sizeof line, "%s: %s", what, why->msg);
    s->o.warn(s->o.ctx, line);
}

/* ---- names --------------------------------------------------------------------------------- */

static bool hex(const char *p, int n, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < n; i++) {
        char c = p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        *out = *out << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

#define NAME_LEN (16 + 1 + 16 + 1 + 8 + sizeof SUFFIX - 1)

static bool parse_name(const char *name, uint64_t *key, uint64_t *hash, uint64_t *n_tok)
{
    return strlen(name) == NAME_LEN && hex(name, 16, key) && name[16] == '-' &&
           hex(name + 17, 16, hash) && name[33] == '-' && hex(name + 34, 8, n_tok) &&
           strcmp(name + 42, SUFFIX) == 0;
}

bool tern_shelf_is_name(const char *name)
{
    uint64_t a, b, c;
    char own[NAME_LEN + 1];
    if (strlen(name) > NAME_LEN && tern_outfile_is_temp(name)) {
        memcpy(own, name, NAME_LEN);
        own[NAME_LEN] = '\0';
        return parse_name(own, &a, &b, &c);
    }
    return parse_name(name, &a, &b, &c);
}

/* Free with tern_free; NULL: no memory. */
static char *path_of(const tern_shelf *s, uint64_t key, uint64_t hash, uint32_t n_tok)
{
    tern_str p;
    tern_str_init(&p, 1 << 14);
    tern_str_printf(&p, "%s/%016llx-%016llx-%08x" SUFFIX, s->dir, (unsigned long long)key,
                    (unsigned long long)hash, n_tok);
    return tern_str_take(&p);
}

/* ---- what is there: mu is held ------------------------------------------------------------------ */

static entry **place_of(tern_shelf *s, uint64_t hash)
{
    return &s->places[hash & (N_PLACE - 1)];
}

static entry *find(tern_shelf *s, uint64_t key, uint64_t hash)
{
    entry *e = *place_of(s, hash);
    while (e && (e->hash != hash || e->key != key))
        e = e->next;
    return e;
}

static void list_remove(tern_shelf *s, entry *e)
{
    *(e->newer ? &e->newer->older : &s->newest) = e->older;
    *(e->older ? &e->older->newer : &s->oldest) = e->newer;
}

static void list_add(tern_shelf *s, entry *e)
{
    e->newer = NULL;
    e->older = s->newest;
    *(e->older ? &e->older->newer : &s->oldest) = e;
    s->newest = e;
}

static void forget(tern_shelf *s, entry *e)
{
    entry **at = place_of(s, e->hash);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    list_remove(s, e);
    s->bytes -= e->bytes;
    s->n_file--;
    tern_free(e);
}

static void add(tern_shelf *s, const entry *like)
{
    entry *e = find(s, like->key, like->hash);
    if (e)
        forget(s, e);
    e = tern_alloc(sizeof *e);
    if (!e) /* it is there all the same, and found by the next program */
        return;
    *e = *like;
    e->next = *place_of(s, e->hash);
    *place_of(s, e->hash) = e;
    list_add(s, e);
    s->bytes += e->bytes;
    s->n_file++;
}

/* ---- texts --------------------------------------------------------------------------------- */

static uint64_t hash_of(const tern_shelf *s, uint64_t owner)
{
    uint64_t h[3] = {s->o.key, s->o.kind, owner};
    return tern_hash64(h, sizeof h, TERN_STATEFILE_VERSION);
}

static uint64_t hash_on(uint64_t h, const int32_t *ids, int n)
{
    return tern_hash64(ids, (size_t)n * sizeof *ids, h);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ids are hashed in place");

/* Where a text's files are: one behind the other, each with the hash of all tokens to its end. */
typedef struct piece {
    uint64_t before, hash;
    int n0, n1;
} piece;

static void first_piece(const tern_shelf *s, uint64_t owner, piece *p)
{
    *p = (piece){.hash = hash_of(s, owner)};
}

/* The next one, of a whole grain or up to n. */
static bool next_piece(const tern_shelf *s, const int32_t *ids, int n, piece *p)
{
    if (p->n1 == n)
        return false;
    p->before = p->hash;
    p->n0 = p->n1;
    p->n1 = n - p->n0 < s->o.ops->grain ? n : p->n0 + s->o.ops->grain;
    p->hash = hash_on(p->before, ids + p->n0, p->n1 - p->n0);
    return true;
}

static void skip_to(const tern_shelf *s, uint64_t owner, const int32_t *ids, int n0, piece *p)
{
    first_piece(s, owner, p);
    while (p->n1 < n0 && next_piece(s, ids, n0, p))
        ;
}

/* The next one that is there, of at most n tokens: a whole grain, or else the longest that ends inside. */
static bool next_there(tern_shelf *s, const int32_t *ids, int n, piece *p)
{
    piece q = *p;
    if (!next_piece(s, ids, n, &q) || p->n1 % s->o.ops->grain != 0)
        return false;
    pthread_mutex_lock(&s->mu);
    bool there = s->n_file > 0 && find(s, s->o.key, q.hash) != NULL;
    for (int n1 = q.n1 - 1; s->n_file > 0 && !there && n1 > q.n0; n1--) {
        q.n1 = n1;
        q.hash = hash_on(q.before, ids + q.n0, n1 - q.n0);
        there = find(s, s->o.key, q.hash) != NULL;
    }
    pthread_mutex_unlock(&s->mu);
    if (there)
        *p = q;
    return there;
}

/* ---- reading ------------------------------------------------------------------------------- */

int tern_shelf_find(tern_shelf *s, uint64_t owner, const int32_t *ids, int n0, int n)
{
    piece p;
    skip_to(s, owner, ids, n0, &p);
    while (next_there(s, ids, n, &p))
        ;
    return p.n1;
}

static tern_code read_piece(tern_shelf *s, const char *path, uint64_t owner, const int32_t *ids,
                            const piece *p, void *state, tern_err *err)
{
    tern_statefile f;
    const tern_statefile_id id = {s->o.key, s->o.kind, owner};
    TERN_TRY(tern_statefile_open(path, &id, s->pool, &f, err));
    tern_code rc;
    if (f.n0 != p->n0 || f.n1 != p->n1 || memcmp(f.ids, ids, (size_t)f.n1 * sizeof *ids) != 0)
        rc = tern_fail(err, TERN_E_FORMAT, "%s: of another text", path);
    else
        rc = tern_statefile_load(&f, s->o.ops, state, s->pool, err);
    tern_statefile_close(&f);
    return rc;
}

/* The file is not what it should be: it is as good as none. */
static void drop_file(tern_shelf *s, const piece *p, const char *path, const tern_err *why)
{
    if (why->code == TERN_E_NOMEM)
        return;
    pthread_mutex_lock(&s->mu);
    entry *e = find(s, s->o.key, p->hash);
    if (e)
        forget(s, e);
    pthread_mutex_unlock(&s->mu);
    if (why->code == TERN_E_FORMAT)
        (void)tern_folder_remove(path);
    if (why->code != TERN_E_NOT_FOUND)
        warn(s, &s->warned_bad, "saved prefix not used, but made anew", why);
}

int tern_shelf_load(tern_shelf *s, uint64_t owner, const int32_t *ids, int n0, int n, int most,
                    void *state)
{
    piece p;
    int have = n0;
    skip_to(s, owner, ids, n0, &p);
    for (int i = 0; i < most && next_there(s, ids, n, &p); i++) {
        tern_err err;
        char *path = path_of(s, s->o.key, p.hash, (uint32_t)p.n1);
        if (!path)
            break;
        tern_code rc = read_piece(s, path, owner, ids, &p, state, &err);
        if (rc != TERN_OK)
            drop_file(s, &p, path, &err);
        tern_free(path);
        if (rc != TERN_OK)
            break;
        have = p.n1;
    }
    return have;
}

/* ---- writing: the writer's thread --------------------------------------------------------------- */

/* Remove files until one of so many bytes has room; false: it never has. mu is held, but not over the
 * removals. */
static bool make_room(tern_shelf *s, uint64_t bytes)
{
    while (s->bytes > s->o.max_bytes || bytes > s->o.max_bytes - s->bytes ||
           s->n_file >= MAX_FILE) {
        entry *e = s->oldest;
        if (!e || e->busy)
            return false;
        char *path = path_of(s, e->key, e->hash, e->n_tok);
        forget(s, e);
        pthread_mutex_unlock(&s->mu);
        if (path)
            (void)tern_folder_remove(path);
        tern_free(path);
        pthread_mutex_lock(&s->mu);
    }
    return true;
}

/* One file that is not there yet. False: no more of this text. */
static bool write_piece(tern_shelf *s, const task *t, const piece *p)
{
    tern_err err;
    const tern_statefile_id id = {s->o.key, s->o.kind, t->owner};
    entry e = {.key = s->o.key,
               .hash = p->hash,
               .n_tok = (uint32_t)p->n1,
               .busy = true,
               .bytes = tern_statefile_bytes(s->o.ops, t->state, p->n0, p->n1)};
    pthread_mutex_lock(&s->mu);
    bool ok = !s->drops && tern_clock_ns() >= s->pause_until_ns && make_room(s, e.bytes);
    pthread_mutex_unlock(&s->mu);
    char *path = ok ? path_of(s, e.key, e.hash, e.n_tok) : NULL;
    if (!path)
        return false;
    tern_code rc = tern_statefile_write(path, &id, s->title, s->o.ops, t->state, t->ids, p->n0,
                                        p->n1, s->wpool, &err);
    tern_free(path);
    pthread_mutex_lock(&s->mu);
    if (rc == TERN_OK)
        add(s, &e);
    else
        s->pause_until_ns = tern_clock_ns() + PAUSE_NS;
    pthread_mutex_unlock(&s->mu);
    if (rc != TERN_OK)
        warn(s, &s->warned_write, "prefix not saved", &err);
    return rc == TERN_OK;
}

/* Mark the text's files as used, from the last to the first, which then is the newest. busy: as the field
 * is to be. touch: also on disk, unless that was done a while ago. */
static void mark(tern_shelf *s, const piece *list, int n, bool busy, bool touch)
{
    for (int i = n - 1; i >= 0; i--) {
        const piece *p = &list[i];
        uint64_t now = tern_clock_ns();
        pthread_mutex_lock(&s->mu);
        entry *e = find(s, s->o.key, p->hash);
        bool old = e && touch && (e->touched_ns == 0 || now - e->touched_ns > TOUCH_NS);
        if (e) {
            list_remove(s, e);
            list_add(s, e);
            e->busy = busy;
            e->touched_ns = old ? now : e->touched_ns;
        }
        pthread_mutex_unlock(&s->mu);
        char *path = old ? path_of(s, s->o.key, p->hash, (uint32_t)p->n1) : NULL;
        if (path)
            tern_folder_touch(path);
        tern_free(path);
    }
}

static bool is_there(tern_shelf *s, const piece *p)
{
    pthread_mutex_lock(&s->mu);
    bool there = find(s, s->o.key, p->hash) != NULL;
    pthread_mutex_unlock(&s->mu);
    return there;
}

static void do_task(tern_shelf *s, const task *t)
{
    int n = 0, cap = t->n / s->o.ops->grain + 1;
    piece p, *list = tern_calloc((size_t)cap, sizeof *list);
    if (!list)
        return;
    for (first_piece(s, t->owner, &p); next_piece(s, t->ids, t->n, &p);)
        list[n++] = p;
    mark(s, list, n, true, false);
    for (int i = 0; t->state && i < n; i++)
        if (!is_there(s, &list[i]) && !write_piece(s, t, &list[i]))
            break;
    mark(s, list, n, false, true);
    tern_free(list);
}

static void *run(void *arg)
{
    tern_shelf *s = arg;
    pthread_mutex_lock(&s->mu);
    for (;;) {
        while (!s->first && !s->quits)
            pthread_cond_wait(&s->wake, &s->mu);
        if (!s->first)
            break;
        task *t = s->now = s->first;
        s->first = t->next;
        s->last = s->first ? s->last : NULL;
        pthread_mutex_unlock(&s->mu);
        do_task(s, t);
        pthread_mutex_lock(&s->mu);
        s->now = NULL;
        s->n_wait--;
        t->next = s->done;
        s->done = t;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->mu);
    return NULL;
}

/* ---- the owner's side --------------------------------------------------------------------------- */

static void free_tasks(tern_shelf *s, task *t)
{
    for (task *next; t; t = next) {
        next = t->next;
        if (t->state)
            s->o.ops->free(t->state);
        tern_free(t);
    }
}

void tern_shelf_keep(tern_shelf *s, uint64_t owner, const int32_t *ids, int n, void *state)
{
    size_t bytes = (size_t)n * sizeof *ids;
    tern_shelf_collect(s);
    task *t = n > 0 ? tern_alloc(sizeof *t + bytes) : NULL;
    if (!t) {
        if (state)
            s->o.ops->free(state);
        return;
    }
    *t = (task){.owner = owner, .n = n, .state = state};
    memcpy(t->ids, ids, bytes);
    pthread_mutex_lock(&s->mu);
    bool room = s->n_wait < MAX_WAIT && !s->quits;
    if (room) {
        *(s->last ? &s->last->next : &s->first) = t;
        s->last = t;
        s->n_wait++;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->mu);
    if (!room)
        free_tasks(s, t);
}

void tern_shelf_collect(tern_shelf *s)
{
    pthread_mutex_lock(&s->mu);
    task *t = s->done;
    s->done = NULL;
    pthread_mutex_unlock(&s->mu);
    free_tasks(s, t);
}

/* Those that are not begun. mu is held. */
static void drop_waiting(tern_shelf *s)
{
    if (s->last) {
        s->last->next = s->done;
        s->done = s->first;
    }
    s->n_wait = s->now != NULL;
    s->first = s->last = NULL;
}

void tern_shelf_give_up(tern_shelf *s)
{
    pthread_mutex_lock(&s->mu);
    drop_waiting(s);
    s->drops = true;
    while (s->now)
        pthread_cond_wait(&s->changed, &s->mu);
    s->drops = false;
    pthread_mutex_unlock(&s->mu);
    tern_shelf_collect(s);
}

/* The file of all tokens up to where the piece ends, if there is one. */
static void remove_piece(tern_shelf *s, const piece *p)
{
    pthread_mutex_lock(&s->mu);
    entry *e = find(s, s->o.key, p->hash);
    if (e)
        forget(s, e);
    pthread_mutex_unlock(&s->mu);
    char *path = e ? path_of(s, s->o.key, p->hash, (uint32_t)p->n1) : NULL;
    if (path)
        (void)tern_folder_remove(path);
    tern_free(path);
}

void tern_shelf_forget(tern_shelf *s, uint64_t owner, const int32_t *ids, int n0, int n)
{
    piece p;
    tern_shelf_give_up(s); /* nobody adds files now */
    skip_to(s, owner, ids, n0 / s->o.ops->grain * s->o.ops->grain, &p);
    while (next_piece(s, ids, n, &p))
        for (piece q = p; q.n1 > q.n0 && q.n1 > n0; q.n1--) {
            q.hash = hash_on(q.before, ids + q.n0, q.n1 - q.n0);
            remove_piece(s, &q);
        }
}

void tern_shelf_flush(tern_shelf *s, double wait_s)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t wait_ns = wait_s > 0 ? (uint64_t)((wait_s < 1e6 ? wait_s : 1e6) * 1e9) : 0;
    uint64_t ns = (uint64_t)until.tv_nsec + wait_ns;
    until.tv_sec += (time_t)(ns / 1000000000u);
    until.tv_nsec = (long)(ns % 1000000000u);
    int rc = 0;
    pthread_mutex_lock(&s->mu);
    while (s->n_wait > 0 && rc == 0)
        rc = pthread_cond_timedwait(&s->changed, &s->mu, &until);
    pthread_mutex_unlock(&s->mu);
    tern_shelf_collect(s);
}

uint64_t tern_shelf_bytes(tern_shelf *s)
{
    pthread_mutex_lock(&s->mu);
    uint64_t n = s->bytes;
    pthread_mutex_unlock(&s->mu);
    return n;
}

/* ---- opening and closing ------------------------------------------------------------------------- */

/* What was in the folder when it was opened. */
typedef struct listing {
    struct listed {
        entry e;
        uint64_t modified_ns;
    } * v; /* owned */
    size_t n, cap;
} listing;

static void list_file(void *ctx, const tern_folder_file *f)
{
    listing *l = ctx;
    entry e = {.bytes = f->bytes};
    uint64_t n_tok;
    if (!parse_name(f->name, &e.key, &e.hash, &n_tok)) {
        if (tern_shelf_is_name(f->name) && f->age_s > STALE_S)
            (void)tern_folder_remove(f->path);
        return;
    }
    e.n_tok = (uint32_t)n_tok;
    if (l->n == l->cap) {
        size_t more = l->cap ? 2 * l->cap : 256;
        void *p = tern_realloc(l->v, l->cap * sizeof *l->v, more * sizeof *l->v);
        if (!p)
            return;
        l->v = p;
        l->cap = more;
    }
    l->v[l->n++] = (struct listed){e, f->modified_ns};
}

/* Oldest first; of equally old ones the later part of a text. */
static int by_age(const void *pa, const void *pb)
{
    const struct listed *a = pa, *b = pb;
    if (a->modified_ns != b->modified_ns)
        return a->modified_ns < b->modified_ns ? -1 : 1;
    return (a->e.n_tok < b->e.n_tok) - (a->e.n_tok > b->e.n_tok);
}

static void read_folder(tern_shelf *s)
{
    listing l = {0};
    tern_folder_each(s->dir, list_file, &l);
    if (l.n)
        qsort(l.v, l.n, sizeof *l.v, by_age);
    for (size_t i = 0; i < l.n; i++)
        add(s, &l.v[i].e);
    tern_free(l.v);
}

static void free_shelf(tern_shelf *s)
{
    while (s->newest)
        forget(s, s->newest);
    tern_pool_free(s->pool);
    tern_pool_free(s->wpool);
    if (s->changed_ready)
        (void)pthread_cond_destroy(&s->changed);
    if (s->wake_ready)
        (void)pthread_cond_destroy(&s->wake);
    if (s->mu_ready)
        (void)pthread_mutex_destroy(&s->mu);
    tern_free(s->dir);
    tern_free(s->title);
    tern_free(s);
}

static bool init_locks(tern_shelf *s)
{
    pthread_condattr_t a;
    s->mu_ready = pthread_mutex_init(&s->mu, NULL) == 0;
    s->wake_ready = pthread_cond_init(&s->wake, NULL) == 0;
    if (pthread_condattr_init(&a) == 0) {
        s->changed_ready = pthread_condattr_setclock(&a, CLOCK_MONOTONIC) == 0 &&
                           pthread_cond_init(&s->changed, &a) == 0;
        (void)pthread_condattr_destroy(&a);
    }
    return s->mu_ready && s->wake_ready && s->changed_ready;
}

tern_code tern_shelf_open(const tern_shelf_opts *o, tern_shelf **out, tern_err *err)
{
    *out = NULL;
    TERN_TRY(tern_folder_make(o->dir, err));
    tern_shelf *s = tern_calloc(1, sizeof *s);
    if (!s)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for saved prefixes");
    s->o = *o;
    s->dir = tern_strdup_n(o->dir, strlen(o->dir));
    s->title = tern_strdup_n(o->title, strlen(o->title));
    tern_code rc = s->dir && s->title && init_locks(s)
                       ? TERN_OK
                       : tern_fail(err, TERN_E_NOMEM, "out of memory for saved prefixes");
    if (rc == TERN_OK)
        rc = tern_pool_new(1, &s->pool, err);
    if (rc == TERN_OK)
        rc = tern_pool_new(1, &s->wpool, err);
    if (rc == TERN_OK)
        read_folder(s);
    if (rc == TERN_OK && pthread_create(&s->thread, NULL, run, s) != 0)
        rc = tern_fail(err, TERN_E_NOMEM, "cannot start a thread for saved prefixes");
    if (rc != TERN_OK) {
        free_shelf(s);
        return rc;
    }
    *out = s;
    return TERN_OK;
}

void tern_shelf_close(tern_shelf *s, double wait_s)
{
    if (!s)
        return;
    tern_shelf_flush(s, wait_s);
    pthread_mutex_lock(&s->mu);
    drop_waiting(s);
    s->quits = s->drops = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mu);
    (void)pthread_join(s->thread, NULL);
    tern_shelf_collect(s);
    free_shelf(s);
}
