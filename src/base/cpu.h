/* What this CPU and this system can run, as flags the kernel table asks for. A flag is set only when
 * the CPU has the instructions and the system saves their registers. */
#ifndef TERN_BASE_CPU_H
#define TERN_BASE_CPU_H

#include "tern.h"

typedef enum tern_cpu_flag {
    TERN_CPU_AVX2 = 1 << 0,        /* AVX2 with F16C */
    TERN_CPU_AVX_VNNI = 1 << 1,    /* 256-bit vpdpbusd, VEX form */
    TERN_CPU_AVX512 = 1 << 2,      /* F, BW, DQ, VL */
    TERN_CPU_AVX512_VNNI = 1 << 3, /* 512-bit vpdpbusd */
    TERN_CPU_AVX512_VBMI = 1 << 4,
    TERN_CPU_AMX_INT8 = 1 << 5,
    TERN_CPU_NEON = 1 << 6,
    TERN_CPU_DOTPROD = 1 << 7,
    TERN_CPU_I8MM = 1 << 8,
} tern_cpu_flag;

/* The machine's own flags. */
unsigned tern_cpu_detect(void);
/* Apply a mask such as "-avx512,-vnni" (drop), "avx2" (keep only what is listed) or "none".
 * Dropping avx512 drops what builds on it; a word that names no flag is TERN_E_USAGE. */
TERN_CHECK tern_code tern_cpu_mask(unsigned flags, const char *mask, unsigned *out, tern_err *err);
/* Detected flags with the environment's TERN_CPU mask applied; computed once per process. On a bad
 * mask: no flags but the error. */
TERN_CHECK tern_code tern_cpu_flags(unsigned *out, tern_err *err);
/* Name of one flag ("avx512_vnni"); NULL when bit is none. */
const char *tern_cpu_flag_name(unsigned bit);
/* "AMD EPYC ..." from the CPU itself; "unknown" elsewhere. */
void tern_cpu_model(char *buf, size_t cap);
/* Threads worth starting: physical cores this process may use, at most what its control group
 * grants (base/topology.h); at least 1. */
int tern_cpu_count(void);

#endif
