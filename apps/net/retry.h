/* Trying again: which answers are worth it, and how long to wait before. */
#ifndef NET_RETRY_H
#define NET_RETRY_H

#include "http.h"

/* 408, 429 and 5xx but 501 and 505. */
bool net_status_transient(int status);
/* Before attempt 1, 2, ... after the first: half a second doubled each time, up to 30 s, with up to a
 * quarter more at random; what the server asked for when that is longer. */
uint32_t net_backoff_ms(int attempt, uint32_t retry_after_s);
/* The longest Retry-After that is waited for. */
#define NET_MAX_WAIT_S 120

/* Perform a request up to 1 + n_retry times; the body, if out is not NULL, is collected there (r's
 * callbacks and context are then ours). The answer to look at is *t, also for a status that is an
 * error. Codes: as of net_perform; TERN_E_NETWORK. */
TERN_CHECK tern_code net_perform_again(net_client *c, const net_request *r, int n_retry,
                                       tern_str *out, net_transfer **t, tern_err *err);

#endif
