#include "base/arena.h"
#include "base/alloc.h"
#include "base/num.h"

#include <string.h>

struct tern_arena_block {
    tern_arena_block *next; /* owned */
    size_t size, used;
    char *data; /* behind this header */
};

#define BLOCK_BYTES ((size_t)64 * 1024)

void tern_arena_init(tern_arena *a, size_t max_bytes)
{
    *a = (tern_arena){.max = max_bytes};
}

static void free_chain(tern_arena_block *b)
{
    while (b) {
        tern_arena_block *next = b->next;
        tern_free(b);
        b = next;
    }
}

void tern_arena_done(tern_arena *a)
{
    free_chain(a->head);
    a->head = NULL;
    a->used = 0;
}

void tern_arena_reset(tern_arena *a)
{
    if (a->head) {
        free_chain(a->head->next);
        a->head->next = NULL;
        a->head->used = 0;
    }
    a->used = 0;
}

void *tern_arena_alloc(tern_arena *a, size_t size)
{
    size_t padded;
    if (!tern_align_size(size ? size : 1, 16, &padded) || padded > a->max ||
        a->used > a->max - padded)
        return NULL;
    if (!a->head || padded > a->head->size - a->head->used) {
        size_t body = padded > BLOCK_BYTES ? padded : BLOCK_BYTES;
        size_t total;
        if (!tern_add_size(body, 64, &total))
            return NULL;
        tern_arena_block *b = tern_alloc(total);
        if (!b)
            return NULL;
        *b = (tern_arena_block){.next = a->head, .size = body, .data = (char *)b + 64};
        a->head = b;
    }
    void *p = a->head->data + a->head->used;
    a->head->used += padded;
    a->used += padded;
    return p;
}

void *tern_arena_calloc(tern_arena *a, size_t n, size_t size)
{
    size_t bytes;
    if (!tern_mul_size(n, size, &bytes))
        return NULL;
    void *p = tern_arena_alloc(a, bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

char *tern_arena_strdup_n(tern_arena *a, const char *s, size_t n)
{
    size_t bytes;
    char *p = tern_add_size(n, 1, &bytes) ? tern_arena_alloc(a, bytes) : NULL;
    if (p) {
        memcpy(p, s, n);
        p[n] = 0;
    }
    return p;
}
