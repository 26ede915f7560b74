/* Any bytes as a grammar in GBNF: compile it and walk through it. */
#include "fuzz/grammar_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tern_net net;
    tern_err err;
    if (tern_gbnf_compile((const char *)data, size, &net, &err) != TERN_OK) {
        fuzz_must(err.code != TERN_E_INTERNAL && err.msg[0] && !net.first && !net.edge);
        return 0;
    }
    fuzz_walk(&net, data, size);
    tern_net_done(&net);
    return 0;
}
