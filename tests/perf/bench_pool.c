/* What a parallel region costs: empty, beside other programs or not, with lanes awake and asleep.
 *   bench_pool [THREADS] */
#include "base/clock.h"
#include "base/cpu.h"
#include "base/num.h"
#include "base/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N 20000

static uint64_t took[N];

static void nothing(void *arg, int lane, int n_lane)
{
    (void)arg, (void)lane, (void)n_lane;
}

static void nothing_range(void *arg, int lane, int begin, int end)
{
    (void)arg, (void)lane, (void)begin, (void)end;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, int n)
{
    uint64_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += took[i];
    qsort(took, (size_t)n, sizeof took[0], compare);
    printf("%-34s %9.0f %9.0f %9.0f %9.0f\n", what, (double)took[n / 2], (double)sum / n,
           (double)took[n - n / 100 - 1], (double)took[n - 1]);
}

static void sleep_us(long us)
{
    struct timespec t = {.tv_nsec = us * 1000};
    (void)nanosleep(&t, NULL);
}

int main(int argc, char **argv)
{
    uint64_t n_thread = (uint64_t)tern_cpu_count();
    tern_pool *p;
    if (argc > 1 && (!tern_parse_u64(argv[1], strlen(argv[1]), &n_thread) || n_thread > 1024))
        return 2;
    if (tern_pool_new((int)n_thread, &p, NULL) != TERN_OK)
        return 1;
    printf("%d threads, ns per region:           median      mean       99%%       max\n",
           (int)n_thread);
    for (int kind = 0; kind < 2; kind++) {
        for (int i = 0; i < N; i++) {
            uint64_t begin = tern_clock_ns();
            if (kind == 0)
                tern_pool_run(p, nothing, NULL);
            else
                tern_pool_for(p, 4096, 16, nothing_range, NULL);
            took[i] = tern_clock_ns() - begin;
        }
        report(kind == 0 ? "empty run" : "empty for, 128 parts", N);
    }
    for (int i = 0; i < 500; i++) {
        sleep_us(500);
        uint64_t begin = tern_clock_ns();
        tern_pool_run(p, nothing, NULL);
        took[i] = tern_clock_ns() - begin;
    }
    report("empty run, lanes asleep", 500);
    tern_pool_free(p);
    return 0;
}
