/* Bump allocation with one lifetime: everything goes at once. Blocks are chained, so pointers stay
 * valid until reset. Threads: one at a time. */
#ifndef TERN_BASE_ARENA_H
#define TERN_BASE_ARENA_H

#include <stddef.h>

typedef struct tern_arena_block tern_arena_block;

typedef struct tern_arena {
    tern_arena_block *head; /* owned; newest first */
    size_t used;            /* bytes handed out since reset */
    size_t max;             /* refuse to grow past this */
} tern_arena;

void tern_arena_init(tern_arena *a, size_t max_bytes);
void tern_arena_done(tern_arena *a);
/* Forget all blocks but the newest, which is kept for reuse. */
void tern_arena_reset(tern_arena *a);
/* 16-byte aligned, not cleared; NULL when max or memory is exhausted. */
void *tern_arena_alloc(tern_arena *a, size_t size);
/* n * size bytes, cleared. */
void *tern_arena_calloc(tern_arena *a, size_t n, size_t size);
char *tern_arena_strdup_n(tern_arena *a, const char *s, size_t n);

#endif
