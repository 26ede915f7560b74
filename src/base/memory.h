/* How much memory this process can still take: of the machine, of its control groups, of its own limit. */
#ifndef TERN_BASE_MEMORY_H
#define TERN_BASE_MEMORY_H

#include "tern.h"

#define TERN_NO_LIMIT UINT64_MAX

/* Bytes; a limit that is not there is TERN_NO_LIMIT. */
typedef struct tern_memory {
    uint64_t total;     /* of the machine; 0: it does not say */
    uint64_t available; /* what programs could get without swapping (MemAvailable) */
    uint64_t swap_free;
    uint64_t group_limit; /* of the control group that has the least room */
    uint64_t group_room;  /* what is left in it, page cache that it could give up included */
    uint64_t address_limit, address_used; /* address space (RLIMIT_AS): maps count whole */
} tern_memory;

/* From the files under root: "" in life, a made-up tree in tests. The limit of address space is this
 * process's own in either case. */
void tern_memory_read(const char *root, tern_memory *out);
/* Of this process. Tests may put a made-up tree in the system's place, NULL to take it away again; before
 * other threads start. */
void tern_memory_get(tern_memory *out);
void tern_memory_root_set(const char *root);

/* What bounds how much more can be resident; *who: "memory" or "the control group", for messages. */
uint64_t tern_memory_room(const tern_memory *m, const char **who);
/* How much more can be mapped; TERN_NO_LIMIT: anything. */
uint64_t tern_memory_address_room(const tern_memory *m);
/* What this process has resident; 0: the system does not say. */
uint64_t tern_memory_resident(void);
/* The most this process has had resident so far; 0: the system does not say. */
uint64_t tern_memory_peak(void);

#endif
