#include "support/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CANARY 0xc5

static void die(const char *why, const char *what)
{
    fprintf(stderr, "%s: %s\n", why, what);
    exit(2);
}

/* ---- buffers ------------------------------------------------------------------------------ */

check_buf check_buf_new(size_t n, size_t align)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t used = (n + align - 1) / align * align;
    size_t inner = (used + page) / page * page; /* at least one canary in front of p */
    check_buf b = {.n = n, .map_bytes = inner + 2 * page};
    b.map = mmap(NULL, b.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b.map == MAP_FAILED || mprotect(b.map, page, PROT_NONE) ||
        mprotect(b.map + page + inner, page, PROT_NONE))
        die("no memory", "check_buf_new");
    b.p = b.map + page + inner - used;
    memset(b.map + page, CANARY, inner);
    return b;
}

void check_buf_free(check_buf *b)
{
    if (b->map)
        (void)munmap(b->map, b->map_bytes);
    *b = (check_buf){0};
}

bool check_buf_intact(const check_buf *b)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const uint8_t *begin = b->p, *end = begin + b->n;
    for (const uint8_t *p = b->map + page; p < b->map + b->map_bytes - page; p++)
        if ((p < begin || p >= end) && *p != CANARY)
            return false;
    return true;
}

void check_buf_reset(check_buf *b)
{
    memset(b->p, CANARY, b->n);
}

/* ---- fills -------------------------------------------------------------------------------- */

static const char *const fill_names[] = {"random", "minus", "zero", "plus", "max", "last"};
_Static_assert(sizeof fill_names / sizeof fill_names[0] == CHECK_FILL_COUNT, "a name per fill");

const char *check_fill_name(check_fill f)
{
    return fill_names[f];
}

void check_fill_codes(uint8_t *p, size_t n, check_fill f, bool four, uint32_t *seed)
{
    for (size_t i = 0; i < n; i++)
        switch (f) {
        case CHECK_RANDOM:
            p[i] = (uint8_t)(test_rand(seed) % (four ? 4 : 3));
            break;
        case CHECK_MAX:
            p[i] = i & 1 ? 0 : 2;
            break;
        case CHECK_LAST:
            p[i] = i + 1 == n ? 2 : 1;
            break;
        default:
            p[i] = (uint8_t)(f - CHECK_MINUS);
        }
}

void check_fill_i8(int8_t *p, size_t n, check_fill f, uint32_t *seed)
{
    for (size_t i = 0; i < n; i++)
        switch (f) {
        case CHECK_RANDOM:
            p[i] = (int8_t)((int)(test_rand(seed) & 255) - 128);
            break;
        case CHECK_MAX:
            p[i] = i & 1 ? -128 : 127;
            break;
        case CHECK_LAST:
            p[i] = i + 1 == n ? -128 : 0;
            break;
        default:
            p[i] = (int8_t)((int)f - CHECK_ZERO);
        }
}

static float random_f32(uint32_t *seed)
{
    float v = (float)test_rand(seed) / 16384.0f - 1.0f;
    switch (test_rand(seed) % 9) {
    case 0: /* anything up to 2^50 */
        return ldexpf(v, (int)(test_rand(seed) % 91) - 40);
    case 1: /* subnormal */
        return ldexpf(v, -126 - (int)(test_rand(seed) % 20));
    case 2: /* half way between integers, where rounding decides */
        return (float)(int)(v * 16) + 0.5f;
    default:
        return v;
    }
}

void check_fill_f32(float *p, size_t n, check_fill f, uint32_t *seed)
{
    for (size_t i = 0; i < n; i++)
        switch (f) {
        case CHECK_RANDOM:
            p[i] = random_f32(seed);
            break;
        case CHECK_MAX:
            p[i] = i & 1 ? -0x1p50f : 0x1p50f;
            break;
        case CHECK_LAST:
            p[i] = i + 1 == n ? 1.5f : 0.0f;
            break;
        default:
            p[i] = (float)((int)f - CHECK_ZERO);
        }
}

float check_scale(uint32_t *seed)
{
    float v = 0.25f + (float)test_rand(seed) / 32768.0f;
    return test_rand(seed) & 1 ? v : -v;
}

/* ---- runs --------------------------------------------------------------------------------- */

static struct {
    const char *program;
    const char *only;
    int rows, cols, toks; /* -1: any */
    int fill;
    bool narrowed;
    int n_run, n_failed;
} run = {.program = "check", .rows = -1, .cols = -1, .toks = -1, .fill = -1};

static int number(const char *s)
{
    int v = 0;
    if (!*s || strlen(s) > 8)
        die("not a number", s);
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            die("not a number", s);
        v = v * 10 + (*s - '0');
    }
    return v;
}

static int fill_of(const char *s)
{
    for (int f = 0; f < CHECK_FILL_COUNT; f++)
        if (strcmp(s, fill_names[f]) == 0)
            return f;
    die("unknown fill", s);
    return 0;
}

void check_args(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    run.program = slash ? slash + 1 : argv[0];
    for (int i = 1; i < argc; i += 2) {
        const char *v = i + 1 < argc ? argv[i + 1] : NULL;
        if (!v)
            die("option without a value", argv[i]);
        else if (strcmp(argv[i], "--only") == 0)
            run.only = v;
        else if (strcmp(argv[i], "--rows") == 0)
            run.rows = number(v);
        else if (strcmp(argv[i], "--cols") == 0)
            run.cols = number(v);
        else if (strcmp(argv[i], "--toks") == 0)
            run.toks = number(v);
        else if (strcmp(argv[i], "--fill") == 0)
            run.fill = fill_of(v);
        else
            die("unknown option (--only --rows --cols --toks --fill)", argv[i]);
        run.narrowed = true;
    }
}

bool check_wanted(const char *kernel, const check_case *c)
{
    return (!kernel || !run.only || strcmp(kernel, run.only) == 0) &&
           (run.rows < 0 || c->rows == run.rows) && (run.cols < 0 || c->cols == run.cols) &&
           (run.toks < 0 || c->toks == run.toks) && (run.fill < 0 || (int)c->fill == run.fill);
}

const tern_kernel *check_next(tern_op op, const tern_kernel *prev)
{
    size_t n;
    const tern_kernel *all = tern_kernel_all(&n);
    for (const tern_kernel *k = prev ? prev + 1 : all; k < all + n; k++)
        if (k->op == op && k->isa != TERN_ISA_REF && !(k->needs & ~tern_cpu_detect()) &&
            (!run.only || strcmp(k->name, run.only) == 0))
            return k;
    return NULL;
}

const tern_kernel *check_ref(tern_op op)
{
    size_t n;
    const tern_kernel *all = tern_kernel_all(&n);
    for (const tern_kernel *k = all; k < all + n; k++)
        if (k->op == op && k->isa == TERN_ISA_REF)
            return k;
    die("no reference of", tern_op_name(op));
    return NULL;
}

bool check_report(bool ok, const tern_kernel *k, const check_case *c, const char *what)
{
    run.n_run++;
    if (ok)
        return true;
    if (run.n_failed++ < 10)
        fprintf(stderr, "%s\n  replay: %s --only %s --rows %d --cols %d --toks %d --fill %s\n",
                what, run.program, k->name, c->rows, c->cols, c->toks, check_fill_name(c->fill));
    return false;
}

bool check_same(const void *got, const void *want, size_t n, size_t elem, const tern_kernel *k,
                const check_case *c)
{
    const uint8_t *g = got, *w = want;
    if (memcmp(g, w, n * elem) == 0)
        return check_report(true, k, c, "");
    char what[128], hex[2][17] = {"", ""};
    size_t i = 0;
    while (memcmp(g + i * elem, w + i * elem, elem) == 0)
        i++;
    for (size_t j = 0; j < elem && j < 8; j++) { /* most significant byte first */
        (void)snprintf(hex[0] + 2 * j, 3, "%02x", g[(i + 1) * elem - 1 - j]);
        (void)snprintf(hex[1] + 2 * j, 3, "%02x", w[(i + 1) * elem - 1 - j]);
    }
    (void)snprintf(what, sizeof what, "%s: element %zu of %zu is %s, not %s", k->name, i, n, hex[0],
                   hex[1]);
    return check_report(false, k, c, what);
}

void check_done(void)
{
    int n_run = run.n_run, n_failed = run.n_failed;
    run.n_run = run.n_failed = 0;
    if (n_failed)
        fail_msg("%d of %d cases failed", n_failed, n_run);
    if (!n_run && !run.narrowed)
        fail_msg("no case ran");
}
