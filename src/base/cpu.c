#include "base/cpu.h"
#include "base/error.h"
#include "base/topology.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Registers the system saves on a context switch (XCR0): 2 SSE, 4 AVX, 0xe0 AVX-512, 0x60000 AMX. */
static uint64_t xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

/* Linux lets a process use matrix tiles, 8 KiB a thread, once it has asked: feature 18 of XCR0. */
static bool ask_for_tiles(void)
{
#if defined(__linux__)
    enum { request = 0x1023 }; /* ARCH_REQ_XCOMP_PERM */
    return syscall(SYS_arch_prctl, request, 18UL) == 0;
#else
    return false;
#endif
}

unsigned tern_cpu_detect(void)
{
    unsigned a, b, c, d, flags = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return 0;
    bool f16c = c & bit_F16C;
    uint64_t saved = xcr0();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 0;
    unsigned b7 = b, c7 = c, d7 = d;
    unsigned a71 = 0;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d))
        a71 = a;
    if ((saved & 0x6) == 0x6 && (b7 & bit_AVX2) && f16c) {
        flags |= TERN_CPU_AVX2;
        if (a71 & (1u << 4))
            flags |= TERN_CPU_AVX_VNNI;
    }
    const unsigned f512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if ((flags & TERN_CPU_AVX2) && (saved & 0xe6) == 0xe6 && (b7 & f512) == f512) {
        flags |= TERN_CPU_AVX512;
        if (c7 & (1u << 11))
            flags |= TERN_CPU_AVX512_VNNI;
        if (c7 & (1u << 1))
            flags |= TERN_CPU_AVX512_VBMI;
    }
    if ((flags & TERN_CPU_AVX512_VNNI) && (saved & 0x60000) == 0x60000 && (d7 & (1u << 25)) &&
        (d7 & (1u << 24)) && ask_for_tiles())
        flags |= TERN_CPU_AMX_INT8;
    return flags;
}

void tern_cpu_model(char *buf, size_t cap)
{
    unsigned r[12] = {0}, top = (unsigned)__get_cpuid_max(0x80000000u, NULL);
    if (top < 0x80000004u) {
        (void)snprintf(buf, cap, "unknown");
        return;
    }
    for (unsigned i = 0; i < 3; i++)
        (void)__get_cpuid(0x80000002u + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2], &r[4 * i + 3]);
    (void)snprintf(buf, cap, "%.48s", (const char *)r);
}
#else
unsigned tern_cpu_detect(void)
{
    return 0;
}

void tern_cpu_model(char *buf, size_t cap)
{
    (void)snprintf(buf, cap, "unknown");
}
#endif

/* Flag, its name, and the flags that are useless without it. */
static const struct {
    unsigned bit;
    const char *name;
    unsigned dependents;
} names[] = {
    {TERN_CPU_AVX2, "avx2",
     TERN_CPU_AVX_VNNI | TERN_CPU_AVX512 | TERN_CPU_AVX512_VNNI | TERN_CPU_AVX512_VBMI |
         TERN_CPU_AMX_INT8},
    {TERN_CPU_AVX_VNNI, "avx_vnni", 0},
    {TERN_CPU_AVX512, "avx512", TERN_CPU_AVX512_VNNI | TERN_CPU_AVX512_VBMI | TERN_CPU_AMX_INT8},
    {TERN_CPU_AVX512_VNNI, "avx512_vnni", TERN_CPU_AMX_INT8},
    {TERN_CPU_AVX512_VNNI, "vnni", TERN_CPU_AMX_INT8},
    {TERN_CPU_AVX512_VBMI, "avx512_vbmi", 0},
    {TERN_CPU_AMX_INT8, "amx_int8", 0},
    {TERN_CPU_NEON, "neon", TERN_CPU_DOTPROD | TERN_CPU_I8MM},
    {TERN_CPU_DOTPROD, "dotprod", TERN_CPU_I8MM},
    {TERN_CPU_I8MM, "i8mm", 0},
};
#define N_NAME (sizeof names / sizeof names[0])

const char *tern_cpu_flag_name(unsigned bit)
{
    for (size_t i = 0; i < N_NAME; i++)
        if (names[i].bit == bit)
            return names[i].name;
    return NULL;
}

static bool word_is(const char *w, size_t n, const char *name)
{
    return strlen(name) == n && memcmp(w, name, n) == 0;
}

tern_code tern_cpu_mask(unsigned flags, const char *mask, unsigned *out, tern_err *err)
{
    unsigned keep = 0, drop = 0;
    bool only = false;
    for (const char *w = mask; *w;) {
        const char *end = strchr(w, ',');
        size_t n = end ? (size_t)(end - w) : strlen(w), i;
        bool minus = n && w[0] == '-';
        if (!minus && word_is(w, n, "none")) {
            only = true;
        } else {
            for (i = 0; i < N_NAME && !word_is(w + minus, n - minus, names[i].name); i++)
                continue;
            if (i == N_NAME)
                return tern_fail(err, TERN_E_USAGE,
                                 "TERN_CPU: unknown flag '%.*s' (try -avx512, avx2, none)",
                                 (int)(n < 32 ? n : 32), w);
            if (minus)
                drop |= names[i].bit | names[i].dependents;
            else
                only = true, keep |= names[i].bit;
        }
        w += n + (end != NULL);
    }
    *out = (only ? flags & keep : flags) & ~drop;
    return TERN_OK;
}

static struct {
    pthread_once_t once;
    unsigned flags;
    tern_code code;
    tern_err err;
} cached = {.once = PTHREAD_ONCE_INIT};

static void detect_once(void)
{
    const char *mask = getenv("TERN_CPU");
    cached.code = tern_cpu_mask(tern_cpu_detect(), mask ? mask : "", &cached.flags, &cached.err);
}

tern_code tern_cpu_flags(unsigned *out, tern_err *err)
{
    (void)pthread_once(&cached.once, detect_once);
    *out = cached.flags;
    if (cached.code != TERN_OK && err)
        *err = cached.err;
    return cached.code;
}

int tern_cpu_count(void)
{
    tern_topology t;
    tern_topology_get(&t);
    return tern_topology_threads(&t);
}
