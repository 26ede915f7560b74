#include "support/golden.h"
#include "support/support.h"

json_t *test_golden(const char *path)
{
    json_error_t e;
    json_t *v = json_load_file(path, JSON_ALLOW_NUL, &e);
    if (!v)
        fail_msg("%s:%d: %s", path, e.line, e.text);
    return v;
}
