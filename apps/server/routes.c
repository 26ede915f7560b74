/* The table of routes. */
#include "server/http.h"

#include <stdio.h>
#include <string.h>

const route routes[] = {
#define ROUTE(method, path, dialect, flags, handler, summary, request, reply)                      \
    {#method, path, DIALECT_##dialect, flags, handler, summary, request, reply},
#include "server/routes.def"
};
const size_t n_route = sizeof routes / sizeof routes[0];

static void allow_add(char *allow, size_t cap, const char *method)
{
    size_t n = strlen(allow);
    (void)snprintf(allow + n, cap - n, "%s%s", n ? ", " : "", method);
}

const route *route_find(const char *method, const char *path, uri_params *params, char *allow,
                        size_t cap)
{
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    allow[0] = '\0';
    for (size_t i = 0; i < n_route; i++) {
        if (!uri_match(routes[i].path, path, NULL))
            continue;
        if (strcmp(routes[i].method, method) == 0) {
            params->n = 0;
            return uri_match(routes[i].path, path, params) ? &routes[i] : NULL;
        }
        allow_add(allow, cap, routes[i].method);
        if (strcmp(routes[i].method, "GET") == 0)
            allow_add(allow, cap, "HEAD");
    }
    if (allow[0])
        allow_add(allow, cap, "OPTIONS");
    return NULL;
}
