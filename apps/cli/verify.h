/* `tern verify`: what it finds, and the parts that find it. */
#ifndef CLI_VERIFY_H
#define CLI_VERIFY_H

#include "cli.h"

typedef enum verify_level { VERIFY_NOTE, VERIFY_SUSPICIOUS, VERIFY_DAMAGED } verify_level;

#define VERIFY_MAX 64

typedef struct verify_finding {
    verify_level level;
    char text[240];
} verify_finding;

typedef struct verify {
    cli *c;
    verify_finding v[VERIFY_MAX];
    size_t n, n_more; /* those there is no room for */
    verify_level worst;
    const verify_finding *why;  /* the first of the worst; NULL: none is worse than a note */
    bool i2_s;                  /* there are tensors of this type, whose order no file tells */
    json_t *tensors, *readings; /* owned; what was measured */
    json_t *against;            /* owned; NULL: nothing was compared */
} verify;

void verify_say(verify *k, verify_level level, const char *fmt, ...) TERN_PRINTF(3, 4);

/* The model under other settings than the options', quietly; layout and activation may be NULL: as they
 * are. Codes: as of tern_model_open. */
TERN_CHECK tern_code verify_open(verify *k, const char *layout, const char *activation,
                                 tern_model **out, tern_err *err);

/* verify_text.c: run a plain English text through the model under every reading the file leaves open
 * (element orders of I2_S, activations of the BitNet family), and say when another one is better. */
TERN_CHECK tern_code verify_readings(verify *k, tern_err *err);
/* The logits of that text, as a file; compared with such a file. */
TERN_CHECK tern_code verify_record(verify *k, const char *path, tern_err *err);
TERN_CHECK tern_code verify_against(verify *k, const char *path, double tolerance, tern_err *err);

#endif
