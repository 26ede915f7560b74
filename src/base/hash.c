#include "base/hash.h"
#include "base/alloc.h"
#include "base/num.h"
#include "base/reader.h"

#include <string.h>

#define PRIME 0x100000001b3u

static uint64_t mix(uint64_t h)
{
    /* The finaliser of splitmix64: every input bit reaches every output bit. */
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 27) * 0x94d049bb133111ebu;
    return h ^ h >> 31;
}

uint64_t tern_hash64(const void *data, size_t n, uint64_t seed)
{
    const uint8_t *p = data;
    uint64_t h = 0xcbf29ce484222325u ^ seed ^ (n * PRIME);
    for (; n >= 8; n -= 8, p += 8)
        h = mix((h ^ tern_le64(p)) * PRIME);
    for (; n; n--, p++)
        h = (h ^ *p) * PRIME;
    return mix(h);
}

/* Eight sums that do not wait for each other: what one core reads from memory at full speed. */
#define WAYS     8
#define MULTIPLE 0x9e3779b97f4a7c15u

uint64_t tern_checksum64(const void *data, size_t n)
{
    const uint8_t *p = data;
    uint64_t sum[WAYS] = {0, 1, 2, 3, 4, 5, 6, 7}, tail;
    size_t left = n;
    for (; left >= 8 * WAYS; left -= 8 * WAYS, p += 8 * WAYS)
        for (size_t i = 0; i < WAYS; i++) {
            uint64_t v = sum[i] ^ tern_le64(p + 8 * i);
            sum[i] = (v << 29 | v >> 35) * MULTIPLE;
        }
    tail = tern_hash64(p, left, n);
    for (size_t i = 0; i < WAYS; i++)
        tail = mix((tail ^ sum[i]) * PRIME);
    return tail;
}

/* Small, for vocabularies have a hundred thousand keys. */
struct tern_map_slot {
    const char *key; /* borrowed; NULL = empty */
    uint32_t len, value;
};

void tern_map_init(tern_map *m)
{
    *m = (tern_map){0};
}

void tern_map_done(tern_map *m)
{
    tern_free(m->slots);
    *m = (tern_map){0};
}

static tern_map_slot *slot_of(tern_map_slot *slots, size_t cap, const char *key, size_t n,
                              uint64_t hash)
{
    size_t i = (size_t)hash & (cap - 1);
    while (slots[i].key && (slots[i].len != n || (n && memcmp(slots[i].key, key, n) != 0)))
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

bool tern_map_reserve(tern_map *m, size_t n)
{
    size_t cap = m->cap ? m->cap : 16;
    if (n > SIZE_MAX / 64)
        return false;
    while (cap / 4 * 3 < n)
        cap *= 2;
    if (cap == m->cap)
        return true;
    tern_map_slot *slots = tern_calloc(cap, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].key) {
            const tern_map_slot *s = &m->slots[i];
            *slot_of(slots, cap, s->key, s->len, tern_hash64(s->key, s->len, 0)) = *s;
        }
    tern_free(m->slots);
    m->slots = slots;
    m->cap = cap;
    return true;
}

bool tern_map_add(tern_map *m, const char *key, size_t n, uint32_t value, uint32_t *old, bool *ok)
{
    *ok = n <= UINT32_MAX && tern_map_reserve(m, m->n + 1);
    if (!*ok)
        return false;
    uint64_t hash = tern_hash64(key, n, 0);
    tern_map_slot *s = slot_of(m->slots, m->cap, key, n, hash);
    if (s->key) {
        if (old)
            *old = s->value;
        return true;
    }
    *s = (tern_map_slot){.key = key, .len = (uint32_t)n, .value = value};
    m->n++;
    return false;
}

bool tern_map_find(const tern_map *m, const char *key, size_t n, uint32_t *value)
{
    if (!m->cap)
        return false;
    const tern_map_slot *s = slot_of(m->slots, m->cap, key, n, tern_hash64(key, n, 0));
    if (!s->key)
        return false;
    *value = s->value;
    return true;
}
