#include "engine/ceiling.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/memory.h"

#include <string.h>
#include <unistd.h>

/* Much larger than the last-level cache, or it would be the cache that is measured; at most a quarter
 * of the memory that is free. */
#define READ_BYTES ((size_t)512 << 20)
#define READ_MIN   ((size_t)16 << 20)
#define N_SWEEP    8

static size_t buffer_bytes(void)
{
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    const char *who;
    tern_memory m;
    tern_memory_get(&m);
    uint64_t room = tern_memory_room(&m, &who), address = tern_memory_address_room(&m);
    uint64_t free_bytes = room < address ? room : address;
    size_t n = READ_BYTES;
    while (cache > 0 && n < 4 * (size_t)cache)
        n *= 2;
    while (n > READ_MIN && n > free_bytes / 4)
        n /= 2;
    return n;
}

typedef struct sweep {
    const uint8_t *data;
    size_t bytes;
    void (*read)(const uint8_t *p, size_t n);
} sweep;

static void sweep_lane(void *arg, int lane, int n_lane)
{
    const sweep *s = arg;
    int begin, end; /* in KiB */
    tern_pool_split((int)(s->bytes >> 10), 64, lane, n_lane, &begin, &end);
    s->read(s->data + ((size_t)begin << 10), (size_t)(end - begin) << 10);
}

/* The pages are spread over the memory of the lanes that will read them. */
static void touch_lane(void *arg, int lane, int n_lane)
{
    const sweep *s = arg;
    int begin, end;
    tern_pool_split((int)(s->bytes >> 10), 64, lane, n_lane, &begin, &end);
    memset((uint8_t *)(uintptr_t)s->data + ((size_t)begin << 10), 1, (size_t)(end - begin) << 10);
}

static double seconds_of(tern_pool *pool, tern_pool_fn fn, void *arg)
{
    uint64_t begin = tern_clock_ns();
    tern_pool_run(pool, fn, arg);
    return (double)(tern_clock_ns() - begin) * 1e-9;
}

/* The fastest of several sweeps: other programs only ever take from it. */
static double read_bandwidth(tern_pool *pool, unsigned cpu, size_t bytes)
{
    size_t n;
    const tern_ceiling *all = tern_ceiling_all(&n);
    uint8_t *data = tern_pages_alloc(bytes);
    sweep s = {.data = data, .bytes = bytes};
    double best = 0.0;
    for (size_t i = 0; i < n; i++)
        if (all[i].read && (all[i].needs & ~cpu) == 0)
            s.read = all[i].read;
    if (data) {
        tern_pool_run(pool, touch_lane, &s);
        for (int i = 0; i < N_SWEEP; i++) {
            double rate = (double)bytes / seconds_of(pool, sweep_lane, &s);
            best = rate > best ? rate : best;
        }
    }
    tern_pages_free(data, bytes);
    return best;
}

typedef struct burst {
    int64_t (*macs)(int64_t n_step);
    int64_t n_step;
    int64_t done[1024]; /* per lane */
} burst;

static void burst_lane(void *arg, int lane, int n_lane)
{
    burst *b = arg;
    (void)n_lane;
    b->done[lane] = b->macs(b->n_step);
}

/* Bursts of about a millisecond: shorter than a turn of another program. */
static double mac_rate(tern_pool *pool, burst *b)
{
    double best = 0.0;
    b->n_step = 100000;
    for (int i = 0; i < 20; i++) {
        double total = 0.0, s = seconds_of(pool, burst_lane, b);
        for (int lane = 0; lane < tern_pool_size(pool); lane++)
            total += (double)b->done[lane];
        best = total / s > best ? total / s : best;
    }
    return best;
}

void tern_ceilings_measure(tern_pool *pool, unsigned cpu, tern_ceilings *out)
{
    size_t n;
    const tern_ceiling *all = tern_ceiling_all(&n);
    burst *b = tern_calloc(1, sizeof *b);
    *out = (tern_ceilings){.read_buffer = buffer_bytes()};
    out->read_bytes_per_s = read_bandwidth(pool, cpu, out->read_buffer);
    for (size_t i = 0; b && i < n; i++)
        if (all[i].macs && (all[i].needs & ~cpu) == 0) {
            b->macs = all[i].macs;
            out->macs_per_s[all[i].isa] = mac_rate(pool, b);
        }
    tern_free(b);
}
