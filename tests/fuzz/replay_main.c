/* Feeds a corpus folder to one fuzz target, then mutations of its files: the same ones each time, so
 * that a failure comes back. replay CORPUS_FOLDER CRASH_FOLDER [N_MUTATION] */
#include "base/hash.h"
#include "base/num.h"
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define N_MUTATION 4000 /* over all files */
#define GROW_MAX   64
#define INPUT_MS   2000 /* CPU time one input may take, also under sanitizers */
#define TOTAL_MS   6000 /* then no further mutations */
#define FILE_BYTES ((size_t)1 << 20)

typedef struct input {
    uint8_t
        *data; /* exactly n bytes on the heap, so that a sanitizer sees the first byte too far */
    size_t n;
    const char *name;
    unsigned mutation; /* 0: the file itself */
} input;

static input current;
static char crash_path[512];
static uint64_t rng;

/* ---- a crash leaves its input behind ---------------------------------------------------- */

/* Runs inside a signal handler, so only system calls. */
static void save_current(void)
{
    static const char text[] = "replay: the input that failed is saved as ";
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, current.data, current.n) != (ssize_t)current.n)
        return;
    (void)close(fd);
    if (write(2, text, sizeof text - 1) > 0 && write(2, crash_path, strlen(crash_path)) > 0)
        (void)!write(2, "\n", 1);
}

static void on_signal(int sig)
{
    (void)signal(sig, SIG_DFL);
    save_current();
    (void)raise(sig);
}

/* Present in sanitizer builds only. */
void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));

/* Read by the undefined behaviour sanitizer: a report is a failure, and leaves its input. */
__attribute__((visibility("default"))) const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return "halt_on_error=1:abort_on_error=1:print_stacktrace=1";
}

static void watch(void)
{
    static const int sigs[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(save_current);
    for (size_t i = __sanitizer_set_death_callback ? 4 : 0; i < sizeof sigs / sizeof sigs[0]; i++)
        (void)signal(sigs[i], on_signal);
}

static long cpu_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void run_current(void)
{
    long t0 = cpu_ms();
    (void)LLVMFuzzerTestOneInput(current.data, current.n);
    if (cpu_ms() - t0 > INPUT_MS) {
        (void)fprintf(stderr, "replay: %s, mutation %u: took more than %d ms\n", current.name,
                      current.mutation, INPUT_MS);
        abort();
    }
}

/* ---- mutations -------------------------------------------------------------------------- */

static uint64_t next_random(void)
{
    rng += 0x9e3779b97f4a7c15u;
    return tern_hash64(&rng, sizeof rng, 0);
}

static size_t below(size_t n)
{
    return n ? (size_t)(next_random() % n) : 0;
}

static void overwrite(uint8_t *p, size_t n)
{
    static const uint64_t values[] = {0,          1,
                                      2,          0x7f,
                                      0x80,       0xff,
                                      0x7fff,     0xffff,
                                      0x7fffffff, 0x80000000,
                                      0xffffffff, 0x100000000,
                                      INT64_MAX,  (uint64_t)INT64_MAX + 1,
                                      UINT64_MAX, UINT64_MAX - 7};
    size_t width = (size_t)1 << below(4);
    uint64_t v = values[below(sizeof values / sizeof values[0])] + below(3) - 1;
    if (n >= width)
        memcpy(p + below(n - width + 1), &v, width);
}

/* One change to p[0..n) with room for GROW_MAX bytes more; gives the new size. */
static size_t mutate(uint8_t *p, size_t n)
{
    size_t at = below(n), len = 1 + below(GROW_MAX / 4);
    switch (n ? below(8) : 5) {
    case 0:
        return at; /* cut */
    case 1:
        p[at] ^= (uint8_t)(1u << below(8));
        return n;
    case 2:
        p[at] = (uint8_t)next_random();
        return n;
    case 3: /* a gap closed */
        len = len > n - at ? n - at : len;
        memmove(p + at, p + at + len, n - at - len);
        return n - len;
    case 4: /* a piece given twice */
        len = len > n - at ? n - at : len;
        memmove(p + at + len, p + at, n - at);
        return n + len;
    case 5:
        memmove(p + at + 1, p + at, n - at);
        p[at] = (uint8_t)next_random();
        return n + 1;
    default:
        overwrite(p, n);
        return n;
    }
}

static void run_mutation(const input *file, unsigned mutation)
{
    static uint8_t buf[FILE_BYTES + 4 * GROW_MAX];
    size_t n = file->n, n_change = 1 + below(4);
    memcpy(buf, file->data, n);
    for (size_t i = 0; i < n_change; i++)
        n = mutate(buf, n);
    current = (input){.data = malloc(n ? n : 1), .n = n, .name = file->name, .mutation = mutation};
    if (!current.data)
        abort();
    memcpy(current.data, buf, n);
    run_current();
    free(current.data);
}

/* ---- the corpus ------------------------------------------------------------------------- */

static int visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static void load(const char *folder, const char *name, input *in)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    uint8_t *big = malloc(FILE_BYTES);
    in->n = f && big ? fread(big, 1, FILE_BYTES, f) : 0;
    in->data = malloc(in->n ? in->n : 1);
    in->name = name;
    if (!f || !in->data) {
        (void)fprintf(stderr, "replay: cannot read %s\n", path);
        exit(1);
    }
    memcpy(in->data, big, in->n);
    free(big);
    (void)fclose(f);
}

int main(int argc, char **argv)
{
    struct dirent **names;
    uint64_t n_mutation = N_MUTATION;
    if (argc < 3 || (argc > 3 && !tern_parse_u64(argv[3], strlen(argv[3]), &n_mutation)))
        return 2;
    int n_file = scandir(argv[1], &names, visible, alphasort);
    if (n_file <= 0) {
        (void)fprintf(stderr, "replay: no inputs in %s\n", argv[1]);
        return 1;
    }
    const char *target = strrchr(argv[1], '/');
    (void)snprintf(crash_path, sizeof crash_path, "%s/crash-%s", argv[2],
                   target ? target + 1 : argv[1]);
    watch();
    input *files = calloc((size_t)n_file, sizeof *files);
    if (!files)
        return 1;
    for (int i = 0; i < n_file; i++) {
        load(argv[1], names[i]->d_name, &files[i]);
        current = files[i];
        run_current();
    }
    long t0 = cpu_ms();
    unsigned m = 0;
    while (m < n_mutation && cpu_ms() - t0 < TOTAL_MS) {
        m++;
        run_mutation(&files[m % (unsigned)n_file], m);
    }
    (void)printf("%d files, %u mutations\n", n_file, m);
    for (int i = 0; i < n_file; i++) {
        free(files[i].data);
        free(names[i]);
    }
    free(files);
    free(names);
    return 0;
}
