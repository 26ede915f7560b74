/* The one allocation layer. Every block is 64-byte aligned (kernels rely on it), released by
 * tern_free, and carries the source line that asked for it, which debug builds and the fault tests
 * use. Sizes are checked by the caller or by tern_calloc. All return NULL when memory is exhausted
 * (or when a test makes them). Thread safe. */
#ifndef TERN_BASE_ALLOC_H
#define TERN_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TERN_STR2_(x) #x
#define TERN_STR_(x)  TERN_STR2_(x)
#define TERN_SITE     __FILE__ ":" TERN_STR_(__LINE__)

#define tern_alloc(bytes)          tern_alloc_at((bytes), TERN_SITE)
#define tern_calloc(n, size)       tern_calloc_at((n), (size), TERN_SITE)
#define tern_realloc(p, old, size) tern_realloc_at((p), (old), (size), TERN_SITE)

/* size 0 gives a valid unique block. Memory is not cleared. */
void *tern_alloc_at(size_t size, const char *site);
/* n * size bytes, cleared; NULL when the product overflows. */
void *tern_calloc_at(size_t n, size_t size, const char *site);
/* Grow or shrink a block of old bytes; on NULL the old block stays valid. */
void *tern_realloc_at(void *p, size_t old, size_t size, const char *site);
void tern_free(void *p);
/* Give the system back what the heap has free; worth it after much was freed. */
void tern_alloc_trim(void);
/* From now on the heap of each thread gives back its free end by itself: glibc keeps up to a bound there
 * that grows with what is freed, and no trim reaches it but of the first thread. For processes that
 * live long, once. */
void tern_alloc_bound_heaps(void);
char *tern_strdup_n(const char *s, size_t n); /* adds a NUL */

/* Zeroed pages from the system, asked for as huge pages where the system has them; for packed weights
 * and KV. Blocks share huge pages, none shares a small one. NULL on failure. Release with the same
 * size. */
void *tern_pages_alloc(size_t size);
void tern_pages_free(void *p, size_t size);
/* The same for buffers sized for the largest case: small pages, of which those not used take no
 * memory. */
void *tern_lazy_alloc(size_t size);
void tern_lazy_free(void *p, size_t size);

/* Tests only: called before each allocation with its site; returning true makes it fail. Set it
 * before other threads start. NULL removes it. */
typedef bool (*tern_alloc_hook)(void *ctx, const char *site, size_t size);
void tern_alloc_hook_set(tern_alloc_hook hook, void *ctx);

/* Phases that must not allocate. With assertions on, an allocation between the two by this thread
 * ends the process, naming phase, site and size; otherwise these are nothing. A callback of someone
 * else may allocate: PAUSE gives the phase, if any, for BEGIN to take up again. */
#ifdef NDEBUG
#define TERN_NO_ALLOC_BEGIN(phase) ((void)(phase))
#define TERN_NO_ALLOC_END()        ((void)0)
#define TERN_NO_ALLOC_PAUSE()      NULL
#else
void tern_no_alloc_begin(const char *phase);
void tern_no_alloc_end(void);
const char *tern_no_alloc_pause(void);
#define TERN_NO_ALLOC_BEGIN(phase) tern_no_alloc_begin(phase)
#define TERN_NO_ALLOC_END()        tern_no_alloc_end()
#define TERN_NO_ALLOC_PAUSE()      tern_no_alloc_pause()
#endif

#endif
