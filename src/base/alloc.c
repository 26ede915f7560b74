#include "base/alloc.h"
#include "base/num.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALIGN 64

static tern_alloc_hook hook_fn;
static void *hook_ctx;

void tern_alloc_hook_set(tern_alloc_hook hook, void *ctx)
{
    hook_ctx = ctx;
    hook_fn = hook;
}

#ifndef NDEBUG
static _Thread_local const char *no_alloc_phase;

void tern_no_alloc_begin(const char *phase)
{
    no_alloc_phase = phase;
}

void tern_no_alloc_end(void)
{
    no_alloc_phase = NULL;
}

const char *tern_no_alloc_pause(void)
{
    const char *phase = no_alloc_phase;
    no_alloc_phase = NULL;
    return phase;
}
#endif

static bool refused(const char *site, size_t size)
{
#ifndef NDEBUG
    if (no_alloc_phase) {
        fprintf(stderr, "allocation of %zu bytes at %s inside '%s'\n", size, site, no_alloc_phase);
        abort();
    }
#endif
    return hook_fn && hook_fn(hook_ctx, site, size);
}

void *tern_alloc_at(size_t size, const char *site)
{
    size_t padded;
    void *p;
    if (refused(site, size) || !tern_align_size(size ? size : 1, ALIGN, &padded) ||
        padded > PTRDIFF_MAX)
        return NULL;
    return posix_memalign(&p, ALIGN, padded) ? NULL : p;
}

void *tern_calloc_at(size_t n, size_t size, const char *site)
{
    size_t bytes;
    if (!tern_mul_size(n, size, &bytes))
        return NULL;
    void *p = tern_alloc_at(bytes, site);
    if (p)
        memset(p, 0, bytes);
    return p;
}

void *tern_realloc_at(void *p, size_t old, size_t size, const char *site)
{
    void *q = tern_alloc_at(size, site);
    if (q && p) {
        memcpy(q, p, old < size ? old : size);
        tern_free(p);
    }
    return q;
}

void tern_free(void *p)
{
    free(p);
}

void tern_alloc_trim(void)
{
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

void tern_alloc_bound_heaps(void)
{
#ifdef __GLIBC__
    /* Any of the two stops glibc from raising both. */
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 10);
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

char *tern_strdup_n(const char *s, size_t n)
{
    size_t bytes;
    char *p = tern_add_size(n, 1, &bytes) ? tern_alloc(bytes) : NULL;
    if (p) {
        memcpy(p, s, n);
        p[n] = 0;
    }
    return p;
}

/* ---- pages --------------------------------------------------------------------------------- */

/* Matrices of a model are smaller than a huge page or no multiple of it, so a mapping for each would
 * leave half of the weights in small pages. They are laid one behind the other in chunks instead. A
 * chunk begins at a multiple of its size, with its head; what is freed goes back to the system at
 * once, its addresses when the whole chunk is free, so blocks are always fresh and zero. Like the heap
 * under tern_alloc, this serves the whole process. */
#define CHUNK     ((size_t)32 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

typedef struct chunk {
    size_t used; /* bytes given out, head included; guarded by chunks_mu */
    int n_live;  /* blocks not freed; guarded by chunks_mu */
} chunk;

static pthread_mutex_t chunks_mu = PTHREAD_MUTEX_INITIALIZER;
static chunk *open_chunk; /* takes the next block; NULL: none; guarded by chunks_mu */

/* Zeroed pages that begin at a multiple of align, a power of two. */
static void *map_aligned(size_t size, size_t align)
{
    size_t all;
    if (!tern_add_size(size, align, &all))
        return NULL;
    uint8_t *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t skip = (size_t)(-(uintptr_t)p & (align - 1));
    if (skip)
        (void)munmap(p, skip);
    (void)munmap(p + skip + size, align - skip);
#ifdef MADV_HUGEPAGE
    (void)madvise(p + skip, size, MADV_HUGEPAGE); /* a hint: small pages work as well */
#endif
    return p + skip;
}

static size_t small_page(void)
{
    long n = sysconf(_SC_PAGESIZE);
    return n > 0 ? (size_t)n : 4096;
}

static void *chunk_alloc(size_t bytes)
{
    chunk *c = open_chunk;
    if (!c || CHUNK - c->used < bytes) {
        chunk *fresh = map_aligned(CHUNK, CHUNK);
        if (!fresh)
            return NULL;
        *fresh = (chunk){.used = small_page()};
        c = open_chunk = fresh;
    }
    c->n_live++;
    c->used += bytes;
    return (uint8_t *)c + c->used - bytes;
}

void *tern_pages_alloc(size_t size)
{
    size_t bytes;
    if (refused("pages", size) || !tern_align_size(size ? size : 1, small_page(), &bytes))
        return NULL;
    if (bytes > CHUNK / 2)
        return map_aligned(bytes, HUGE_PAGE);
    (void)pthread_mutex_lock(&chunks_mu);
    void *p = chunk_alloc(bytes);
    (void)pthread_mutex_unlock(&chunks_mu);
    return p;
}

void tern_pages_free(void *p, size_t size)
{
    if (!p)
        return;
    size_t bytes = tern_round_up(size ? size : 1, small_page());
    if (bytes > CHUNK / 2) {
        (void)munmap(p, bytes);
        return;
    }
    chunk *c = (chunk *)((uint8_t *)p - ((uintptr_t)p & (CHUNK - 1)));
    (void)pthread_mutex_lock(&chunks_mu);
    bool empty = --c->n_live == 0;
    if (empty && c == open_chunk)
        open_chunk = NULL;
    (void)pthread_mutex_unlock(&chunks_mu);
    if (empty)
        (void)munmap(c, CHUNK);
    else
        (void)madvise(p, bytes, MADV_DONTNEED);
}

void *tern_lazy_alloc(size_t size)
{
    if (refused("lazy", size))
        return NULL;
    void *p =
        mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
#ifdef MADV_NOHUGEPAGE
    (void)madvise(p, size, MADV_NOHUGEPAGE);
#endif
    return p;
}

void tern_lazy_free(void *p, size_t size)
{
    if (p)
        (void)munmap(p, size ? size : 1);
}
