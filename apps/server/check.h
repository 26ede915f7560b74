/* What is looked at when a request's headers are there, before a byte of its body is taken. */
#ifndef SERVER_CHECK_H
#define SERVER_CHECK_H

#include "server/http.h"

/* Fills route, key and serving, or what is wrong (refused_*). */
void check_request(exchange *x);
/* Whether Host names this machine, or one of more; a port may follow. */
bool check_host_name(const char *host, const char *const *more, size_t n_more);

#endif
