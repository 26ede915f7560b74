/* Filling tern_err: once, where the fact is known. Everything above only passes the code on. */
#ifndef TERN_BASE_ERROR_H
#define TERN_BASE_ERROR_H

#include "tern.h"

#include <inttypes.h>

/* Write code and message (cut at the buffer's end) and return code. err may be NULL. */
tern_code tern_fail(tern_err *err, tern_code code, const char *fmt, ...) TERN_PRINTF(3, 4);

/* Leave the function with the callee's code; its message is written already. */
#define TERN_TRY(call)                                                                             \
    do {                                                                                           \
        tern_code tern_try_code_ = (call);                                                         \
        if (tern_try_code_ != TERN_OK)                                                             \
            return tern_try_code_;                                                                 \
    } while (0)

/* The same with one cleanup label: sets rc (a local tern_code) and goes to fail. */
#define TERN_TRY_GOTO(call)                                                                        \
    do {                                                                                           \
        rc = (call);                                                                               \
        if (rc != TERN_OK)                                                                         \
            goto fail;                                                                             \
    } while (0)

#endif
