/* What the server says of itself. */
#include "base/clock.h"
#include "server/http.h"

void server_health(exchange *x)
{
    server *srv = x->srv;
    exchange_reply_json(x, 200,
                        json_pack("{s:s, s:s, s:s, s:I}", "status", "ok", "version", tern_version(),
                                  "sandbox", srv->sandbox, "uptime_s",
                                  (json_int_t)((tern_clock_ns() - srv->start_ns) / 1000000000u)));
}

void server_ready(exchange *x)
{
    server *srv = x->srv;
    const char *why = NULL;
    loaded *l = loaded_ref(srv);
    if (atomic_load(&srv->draining))
        why = "draining";
    else if (!l)
        why = "loading";
    else if (atomic_load(&srv->pressure))
        why = "memory pressure";
    if (why)
        exchange_refuse(x, 503, "not_ready", NULL, "not ready: %s", why);
    else
        exchange_reply_json(x, 200, json_pack("{s:s, s:s}", "status", "ready", "model", l->s.name));
    if (l)
        loaded_unref(l);
}
