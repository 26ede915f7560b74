#include "retry.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"

bool net_status_transient(int status)
{
    return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

uint32_t net_backoff_ms(int attempt, uint32_t retry_after_s)
{
    uint64_t now = tern_clock_ns();
    uint32_t ms = 500u << (attempt < 1 ? 0 : attempt > 7 ? 6 : attempt - 1);
    if (ms > 30000)
        ms = 30000;
    ms += (uint32_t)(tern_hash64(&now, sizeof now, 0) % (ms / 4));
    if (retry_after_s > NET_MAX_WAIT_S)
        retry_after_s = NET_MAX_WAIT_S;
    return retry_after_s * 1000 > ms ? retry_after_s * 1000 : ms;
}

static tern_code collect(void *ctx, const void *data, size_t n, tern_err *err)
{
    tern_str *out = ctx;
    tern_str_put(out, data, n);
    return out->failed ? tern_fail(err, TERN_E_NETWORK, "the answer is too long") : TERN_OK;
}

static tern_code rest(net_client *c, uint32_t ms, tern_err *err)
{
    net_transfer *none;
    uint64_t end = tern_clock_ns() + (uint64_t)ms * 1000000;
    while (tern_clock_ns() < end)
        TERN_TRY(net_wait(c, (int)((end - tern_clock_ns()) / 1000000 + 1), &none, err));
    return TERN_OK;
}

tern_code net_perform_again(net_client *c, const net_request *r, int n_retry, tern_str *out,
                            net_transfer **t, tern_err *err)
{
    net_request q = *r;
    if (out) {
        q.on_body = collect;
        q.ctx = out;
    }
    for (int attempt = 1;; attempt++) {
        if (out)
            tern_str_clear(out);
        tern_code rc = net_perform(c, &q, t, err);
        if (!*t || rc == TERN_E_CANCELLED || attempt > n_retry)
            return rc;
        const net_response *a = net_transfer_response(*t);
        if (rc == TERN_OK ? !net_status_transient(a->status) : !a->transient)
            return rc;
        uint32_t wait_ms = net_backoff_ms(attempt, rc == TERN_OK ? a->retry_after_s : 0);
        net_transfer_free(*t);
        *t = NULL;
        TERN_TRY(rest(c, wait_ms, err));
    }
}
