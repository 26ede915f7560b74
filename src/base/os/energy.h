/* The energy counters of the machine: powercap (RAPL of Intel and AMD), else the kernel's "power" PMU.
 * Nothing is estimated here. Owner: the caller of tern_energy_open. One thread. */
#ifndef TERN_BASE_OS_ENERGY_H
#define TERN_BASE_OS_ENERGY_H

#include "tern.h"

#define TERN_ENERGY_MAX_DOMAIN 64

typedef struct tern_energy tern_energy;

/* root: "" for this machine, or a folder that stands for its root in tests. Counters that exist and
 * can be read but do not move while the CPU works are refused: some virtual machines have such.
 * burn(ctx) makes it work meanwhile; NULL: 20 ms of arithmetic. TERN_E_UNSUPPORTED when there is
 * nothing to read; the message says why for each source and what would help. TERN_E_NOMEM. */
TERN_CHECK tern_code tern_energy_open(const char *root, void (*burn)(void *ctx), void *ctx,
                                      tern_energy **out, tern_err *err);
void tern_energy_close(tern_energy *e);
/* "powercap" or "perf". */
const char *tern_energy_source(const tern_energy *e);
/* What stands above this source in trust and why it was not taken; "" when it is the first. */
const char *tern_energy_note(const tern_energy *e);

/* Take a sample. Counters wrap (the shortest after half an hour at 100 W), so at least one a minute.
 * TERN_E_IO. */
TERN_CHECK tern_code tern_energy_sample(tern_energy *e, tern_err *err);
/* Joules from tern_energy_open to the last sample: all packages, and their DRAM where it is counted
 * apart. */
double tern_energy_joules(const tern_energy *e);

typedef struct tern_energy_domain {
    char name[32]; /* "package-0", "dram", "core", "psys" */
    bool in_total; /* core and uncore are parts of a package, psys is the whole platform */
    double joules; /* as above */
} tern_energy_domain;

/* Number i of them; NULL behind the last. */
const tern_energy_domain *tern_energy_domain_get(const tern_energy *e, size_t i);

#endif
