/* What a CPU could do at best, beside which measured speeds are shown: a plain read of memory, and
 * the int8 multiply-add of each instruction set in registers alone. No model is computed here. */
#ifndef TERN_KERNELS_CEILING_H
#define TERN_KERNELS_CEILING_H

#include "kernels/kernel.h"

typedef struct tern_ceiling {
    tern_isa isa;
    unsigned needs; /* tern_cpu_flag bits */
    /* Read p[0..n), both multiples of 256, and use every byte; NULL: none of this set. */
    void (*read)(const uint8_t *p, size_t n);
    /* n_step steps of independent multiply-adds; returns how many of them were done. NULL: none. */
    int64_t (*macs)(int64_t n_step);
} tern_ceiling;

/* In rising order of speed; the first runs anywhere and has no macs. */
const tern_ceiling *tern_ceiling_all(size_t *n);

/* The table's functions. */
void tern_ceiling_read_ref(const uint8_t *p, size_t n);
void tern_ceiling_read_avx2(const uint8_t *p, size_t n);
void tern_ceiling_read_avx512(const uint8_t *p, size_t n);
int64_t tern_ceiling_macs_avx2(int64_t n_step);
int64_t tern_ceiling_macs_avxvnni(int64_t n_step);
int64_t tern_ceiling_macs_vnni(int64_t n_step);
int64_t tern_ceiling_macs_amx(int64_t n_step);

#endif
