/* Any bytes as a regular expression, plain and within JSON strings. */
#include "fuzz/grammar_walk.h"
#include "sample/grammar/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int json = 0; json < 2; json++) {
        tern_regex_opts o = {.json = json, .around = json ? "[a-z]*" : NULL};
        tern_str rules;
        tern_err err;
        tern_str_init(&rules, TERN_GRAMMAR_TEXT);
        tern_str_puts(&rules, "root ::= ");
        if (tern_regex_to_gbnf((const char *)data, size, &o, &rules, &err) == TERN_OK)
            fuzz_written(&rules, data, size);
        else
            fuzz_must(err.code != TERN_E_INTERNAL && err.msg[0]);
        tern_str_done(&rules);
    }
    return 0;
}
