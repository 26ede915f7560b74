/* Any bytes as what the server reads of requests besides what endpoints do: paths with queries, Host, key files,
 * JSON bodies, limits. The first byte chooses. */
#include "fuzz/fuzz.h"
#include "server/check.h"

#include <string.h>

static void any_uri(const char *s, size_t n)
{
    uri u;
    tern_err err;
    if (uri_parse(s, n, &u, &err) != TERN_OK) {
        fuzz_must(err.code == TERN_E_USAGE && err.msg[0] && !u.text);
        return;
    }
    fuzz_must(u.path[0] == '/' && u.n_query <= URI_MAX_QUERY);
    for (size_t i = 0; i < u.n_query; i++)
        fuzz_must(uri_query(&u, u.name[i]) != NULL);
    char allow[64];
    uri_params p = {.n = 0};
    const route *r = route_find("GET", u.path, &p, allow, sizeof allow);
    fuzz_must(strlen(allow) < sizeof allow - 1);
    for (size_t i = 0; r && i < p.n; i++)
        fuzz_must(p.value[i][0] && !strchr(p.value[i], '\1'));
    uri_params_done(&p);
    uri_done(&u);
}

static void any_keys(const char *s, size_t n)
{
    key_table *t, *again;
    tern_err err;
    if (keys_parse("file", s, n, NULL, 0, NULL, &t, &err) != TERN_OK) {
        fuzz_must(!t && err.code != TERN_E_INTERNAL && strncmp(err.msg, "file", 4) == 0);
        return;
    }
    key_ref k;
    size_t len = strcspn(s, " \t\r\n");
    if (len >= 8 && s[0] != '#' && keys_find(t, s, len, 0, &k)) {
        unsigned retry;
        const char *which;
        if (key_begin(&k, 1, &retry, &which))
            key_end(&k, 2, n);
        fuzz_must(key_owner(&k) != 0 && key_name(&k)[0]);
        key_unref(&k);
    }
    fuzz_must(keys_parse("file", s, n, NULL, 0, t, &again, &err) == TERN_OK);
    fuzz_must(keys_count(again) == keys_count(t));
    keys_unref(again);
    keys_unref(t);
}

static void any_json(const char *s, size_t n)
{
    json_t *v;
    tern_err err;
    tern_code rc = exchange_parse_json(s, n, 64, &v, &err);
    fuzz_must((rc == TERN_OK) == (v != NULL) && (rc == TERN_OK || rc == TERN_E_USAGE));
    fuzz_must(!v || json_is_object(v));
    json_decref(v);
}

static void any_host(const char *s)
{
    static const char *const more[] = {"tern.example"};
    if (check_host_name(s, more, 1))
        fuzz_must(strspn(s, "0123456789.:[]LOCALHOSTlocalhostTERNEXMPternexmp") == strlen(s));
    server_limits l;
    tern_err err;
    server_limits_init(&l);
    (void)!server_limits_set(&l, s, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t n = size - 1;
    char *s = malloc(n + 1); /* of exactly this size: reading past it shows */
    if (!s)
        return 0;
    memcpy(s, data + 1, n);
    s[n] = '\0';
    switch (data[0] % 4) {
    case 0:
        any_uri(s, n);
        break;
    case 1:
        any_keys(s, n);
        break;
    case 2:
        any_json(s, n);
        break;
    default:
        any_host(s);
        break;
    }
    free(s);
    return 0;
}
