/* 64-bit hashes of bytes and a map from byte strings to integers. Not for secrets. */
#ifndef TERN_BASE_HASH_H
#define TERN_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Fast and stable across machines (FNV-1a over 8-byte little-endian words with a final mix). */
uint64_t tern_hash64(const void *data, size_t n, uint64_t seed);

/* For large data, at the speed of memory: finds what damage does. Every changed word changes it; stable
 * across machines. */
uint64_t tern_checksum64(const void *data, size_t n);

/* Open addressing; keys are borrowed and must outlive the map. Grows by itself. */
typedef struct tern_map_slot tern_map_slot;
typedef struct tern_map {
    tern_map_slot *slots; /* owned; a power of two of them */
    size_t n, cap;
} tern_map;

void tern_map_init(tern_map *m);
void tern_map_done(tern_map *m);
/* Make room for n keys in all; false when memory is exhausted. */
bool tern_map_reserve(tern_map *m, size_t n);
/* Insert if new. Gives the value now stored in *old and returns true when the key was there before
 * (the value is then left alone). *ok is false only when memory is exhausted. */
bool tern_map_add(tern_map *m, const char *key, size_t n, uint32_t value, uint32_t *old, bool *ok);
bool tern_map_find(const tern_map *m, const char *key, size_t n, uint32_t *value);

#endif
