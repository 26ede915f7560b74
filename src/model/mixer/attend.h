/* Softmax attention of a step's query rows over the pages of their sequences. */
#ifndef TERN_MODEL_ATTEND_H
#define TERN_MODEL_ATTEND_H

#include "model/exec.h"

/* What a row sees is cut into at most this many parts, whose sums are added up in order. */
#define TERN_ATTEND_PARTS 16
/* Of steps of up to this many rows the parts may lie with different lanes. */
#define TERN_ATTEND_SPLIT_ROWS 8

/* e->att[row] = attention of e->q[row] over the state of block slot, for all rows; K and V of the rows
 * themselves are stored. window: most positions a row sees, itself included; 0: all. */
void tern_attend(tern_exec *e, int slot, int window, const tern_row *rows, int n_row);

/* Private bytes one lane needs (in its scratch). */
size_t tern_attend_scratch_bytes(const tern_hparams *h);
/* Floats of e->parts: sums of parts that wait for each other. */
size_t tern_attend_part_floats(const tern_hparams *h, int max_tok);

#endif
