#include "base/alloc.h"
#include "base/num.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

void *tern_pages_alloc(size_t size)
{
    if (refused("pages", size))
        return NULL;
    void *p =
        mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
#ifdef MADV_HUGEPAGE
    (void)madvise(p, size, MADV_HUGEPAGE); /* a hint: small pages work as well */
#endif
    return p;
}

void tern_pages_free(void *p, size_t size)
{
    if (p)
        (void)munmap(p, size ? size : 1);
}
