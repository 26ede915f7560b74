#include "decode/autoregressive.h"

tern_code tern_eval(tern_exec *e, tern_row *rows, tern_feed *f, tern_cost *cost, tern_err *err)
{
    f->next = NULL;
    while (!tern_feed_over(f))
        tern_pass(e, rows, f, cost);
    if (f->rc != TERN_OK && err)
        *err = f->err;
    return f->rc;
}
