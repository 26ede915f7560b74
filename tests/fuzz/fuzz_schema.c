/* Any bytes as a JSON schema: write its rules, compile them, walk through them. */
#include "fuzz/grammar_walk.h"
#include "sample/grammar/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tern_str rules;
    tern_err err;
    tern_str_init(&rules, TERN_GRAMMAR_TEXT);
    if (tern_schema_write((const char *)data, size, "root", &rules, &err) == TERN_OK)
        fuzz_written(&rules, data, size);
    else
        fuzz_must(err.code != TERN_E_INTERNAL && err.msg[0]);
    tern_str_done(&rules);
    return 0;
}
