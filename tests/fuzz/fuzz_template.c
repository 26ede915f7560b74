/* Any bytes as a chat template: compile it, render it over one conversation with small limits. */
#include "base/alloc.h"
#include "fuzz/fuzz.h"
#include "text/template.h"

#include <stdlib.h>
#include <string.h>

static const char conversation[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\" Be brief. \"},"
    "{\"role\":\"user\",\"content\":\"H\u00e9llo <b> \\ud83d\\udc4d\\n'\\\"\"},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"abcdefghi\",\"type\":"
    "\"function\",\"function\":{\"name\":\"f\",\"arguments\":{\"x\":[1,2.5,null,true,{\"y\":-3}]}}}"
    "]},"
    "{\"role\":\"tool\",\"content\":[{\"type\":\"text\",\"text\":\"42\"}]}],"
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}],"
    "\"add_generation_prompt\":true,\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"x\":3,"
    "\"s\":\"Hello World\",\"l\":[3,1,2],\"d\":{\"b\":1,\"a\":[2,\"z\"]},\"f\":2.5}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const tern_template_limits limits = {
        .fuel = 20000, .output_bytes = 1 << 18, .arena_bytes = 1 << 21, .depth = 50};
    static json_t *vars;
    tern_template *t;
    tern_err err;
    if (!vars)
        vars = json_loads(conversation, 0, NULL);
    if (!vars)
        abort();
    if (tern_template_compile((const char *)data, size, &t, &err) != TERN_OK) {
        if (t || err.code == TERN_OK || err.code == TERN_E_INTERNAL || !err.msg[0])
            abort();
        return 0;
    }
    tern_str out, again;
    tern_str_init(&out, 1 << 20);
    tern_str_init(&again, 1 << 20);
    tern_code rc = tern_template_render(t, vars, 1767616496, &limits, &out, &err);
    if (rc == TERN_E_INTERNAL || (rc != TERN_OK && (out.len || err.code != rc)))
        abort();
    /* a template keeps nothing from one render to the next */
    if (tern_template_render(t, vars, 1767616496, &limits, &again, &err) != rc ||
        out.len != again.len || (out.len && memcmp(out.data, again.data, out.len) != 0))
        abort();
    tern_str_done(&out);
    tern_str_done(&again);
    tern_template_free(t);
    return 0;
}
