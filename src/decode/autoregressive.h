/* The plain loop: one sequence's ids in chunks through the model, in order. */
#ifndef TERN_DECODE_AUTOREGRESSIVE_H
#define TERN_DECODE_AUTOREGRESSIVE_H

#include "decode/schedule.h"

/* Append the ids of a feed that was begun to its sequence. rows is scratch of e->max_tok rows. On
 * failure the sequence is what it was. Codes: TERN_E_NOMEM, TERN_E_CANCELLED. */
TERN_CHECK tern_code tern_eval(tern_exec *e, tern_row *rows, tern_feed *f, tern_cost *cost,
                               tern_err *err);

#endif
