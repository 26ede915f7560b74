#include "support/grammar.h"
#include "sample/grammar/lazy.h"
#include "support/support.h"

#include <string.h>

int test_verdict(const tern_net *net, const char *text, size_t n)
{
    tern_lazy z;
    assert_int_equal(tern_lazy_init(&z, net, NULL), TERN_OK);
    uint32_t s = z.start;
    for (size_t i = 0; i < n && s != TERN_LAZY_DEAD; i++)
        s = tern_lazy_next(&z, s, (uint8_t)text[i]);
    int v = s == TERN_LAZY_DEAD ? -1 : z.state[s].may_end;
    assert_int_equal(z.rc, TERN_OK);
    tern_lazy_done(&z);
    return v;
}

void test_refusal(const char *what, tern_code rc, const tern_err *err, tern_code code,
                  const char *says)
{
    if (rc != code || !strstr(err->msg, says))
        fail_msg("%s: %d '%s', expected %d '%s'", what, (int)rc, err->msg, (int)code, says);
}
