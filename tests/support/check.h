/* What the kernel checks share: guarded buffers, fills, shapes, and the options that replay one
 * failure:  test_check_x --only NAME --rows R --cols C --toks T --fill F */
#ifndef TERN_TESTS_CHECK_H
#define TERN_TESTS_CHECK_H

#include <stdbool.h>

#include "kernels/kernel.h"
#include "support/support.h"

/* ---- buffers ------------------------------------------------------------------------------ */

/* n bytes whose end is as near to an unreadable page as align (a power of two up to 4096) allows; an
 * unreadable page stands before them too. All other bytes between the two pages are canaries. */
typedef struct check_buf {
    void *p;
    size_t n;
    uint8_t *map; /* owned, the whole mapping */
    size_t map_bytes;
} check_buf;

/* Ends the program when there is no memory. The contents are canaries as well. */
check_buf check_buf_new(size_t n, size_t align);
void check_buf_free(check_buf *b);
/* No byte around p[0..n) was changed. */
bool check_buf_intact(const check_buf *b);
/* Fill p[0..n) with canaries again. */
void check_buf_reset(check_buf *b);

/* ---- fills -------------------------------------------------------------------------------- */

typedef enum check_fill {
    CHECK_RANDOM,
    CHECK_MINUS, /* all -1 */
    CHECK_ZERO,
    CHECK_PLUS, /* all +1 */
    CHECK_MAX,  /* alternating extremes */
    CHECK_LAST, /* one non-zero value, the last of each row of n */
    CHECK_FILL_COUNT
} check_fill;

const char *check_fill_name(check_fill f);
/* Codes 0..2 (random: 0..3 when four). */
void check_fill_codes(uint8_t *p, size_t n, check_fill f, bool four, uint32_t *seed);
/* -128..127; max: 127 and -128 in turn. */
void check_fill_i8(int8_t *p, size_t n, check_fill f, uint32_t *seed);
/* Finite. Random mixes magnitudes from subnormal to 2^50, two thirds of them around 1; max: 2^50 and
 * -2^50 in turn, so that products of two still sum to finite values. */
void check_fill_f32(float *p, size_t n, check_fill f, uint32_t *seed);
/* Around 1, of either sign; for scales. */
float check_scale(uint32_t *seed);

/* ---- runs --------------------------------------------------------------------------------- */

/* Dimensions that do not apply to an op are 0. */
typedef struct check_case {
    int rows, cols, toks;
    check_fill fill;
} check_case;

/* First thing in main: reads the options; ends the program on a wrong one. */
void check_args(int argc, char **argv);
/* Is this case (and kernel, unless NULL) among those asked for? */
bool check_wanted(const char *kernel, const check_case *c);
/* The next table row of op after prev (NULL: the first) that this machine can run and the options
 * ask for; references are left out. */
const tern_kernel *check_next(tern_op op, const tern_kernel *prev);
/* The reference of op. */
const tern_kernel *check_ref(tern_op op);
/* Count the case as passed, or print the line that replays it. Returns ok. */
bool check_report(bool ok, const tern_kernel *k, const check_case *c, const char *what);
/* Bit for bit; says where the first difference is. */
bool check_same(const void *got, const void *want, size_t n, size_t elem, const tern_kernel *k,
                const check_case *c);
/* Fails the current cmocka test when a case failed since the last call, or when none ran although
 * no option asked for less. */
void check_done(void);

#endif
