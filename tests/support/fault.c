#include "support/fault.h"
#include "base/alloc.h"
#include "support/support.h"

#include <string.h>

typedef struct fault_plan {
    test_fault_mode mode;
    int at;   /* this allocation fails, counted from 1; 0: none */
    int seen; /* so far */
    size_t bytes;
    const char *site; /* of the first that failed */
} fault_plan;

static bool on_alloc(void *ctx, const char *site, size_t size)
{
    fault_plan *p = ctx;
    p->seen++;
    p->bytes += size;
    if (p->at == 0 || p->seen < p->at || (p->mode == TEST_FAULT_ONCE && p->seen > p->at))
        return false;
    if (!p->site)
        p->site = site;
    return true;
}

int test_fault_sweep(test_fault_fn fn, void *ctx, test_fault_mode mode, int n_max)
{
    for (int n = 1; n <= n_max; n++) {
        fault_plan plan = {.mode = mode, .at = n};
        tern_err err;
        memset(&err, 0, sizeof err);
        tern_alloc_hook_set(on_alloc, &plan);
        tern_code rc = fn(ctx, &err);
        tern_alloc_hook_set(NULL, NULL);
        if (!plan.site) {
            if (rc != TERN_OK)
                fail_msg("no allocation failed, yet: %s", err.msg);
            return n - 1;
        }
        if (rc != TERN_E_NOMEM || err.code != TERN_E_NOMEM || !err.msg[0])
            fail_msg("allocation %d (%s) failed: code %d, message '%s'", n, plan.site, (int)rc,
                     err.msg);
    }
    fail_msg("more than %d allocations", n_max);
    return 0;
}

size_t test_alloc_bytes(test_fault_fn fn, void *ctx, tern_code *rc, tern_err *err)
{
    fault_plan plan = {0};
    tern_alloc_hook_set(on_alloc, &plan);
    *rc = fn(ctx, err);
    tern_alloc_hook_set(NULL, NULL);
    return plan.bytes;
}
