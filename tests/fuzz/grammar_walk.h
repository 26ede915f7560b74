/* What targets that compile grammars do with them. */
#ifndef TERN_TESTS_GRAMMAR_WALK_H
#define TERN_TESTS_GRAMMAR_WALK_H

#include "base/str.h"
#include "fuzz/fuzz.h"
#include "sample/grammar/gbnf.h"
#include "sample/grammar/lazy.h"

#include <string.h>

/* Go through a machine of the network as the bytes say: wherever one is something goes on or it may end, what
 * must come does, and a copy of the state is the state. */
static inline void fuzz_walk(const tern_net *net, const uint8_t *data, size_t size)
{
    tern_lazy z, y;
    tern_err err;
    if (tern_lazy_init(&z, net, &err) != TERN_OK) {
        fuzz_must(err.code == TERN_E_LIMIT);
        return;
    }
    if (tern_lazy_init(&y, net, &err) != TERN_OK)
        abort();
    uint32_t s = z.start;
    y.work = z.work = 400000;
    for (size_t i = 0; i < 64 && s != TERN_LAZY_DEAD; i++) {
        uint32_t choice[256], n = 0;
        int only = tern_lazy_only(&z, s);
        for (int c = 0; c < net->n_class && z.rc == TERN_OK; c++) {
            uint32_t to = tern_lazy_next(&z, s, net->class_byte[c]);
            if (to != TERN_LAZY_DEAD)
                choice[n++] = to;
        }
        if (z.rc != TERN_OK || z.n_frame > 1000)
            break;
        fuzz_must(n > 0 || z.state[s].may_end);
        fuzz_must(only < 0 || (n == 1 && tern_lazy_next(&z, s, (uint8_t)only) == choice[0]));
        uint32_t copy = tern_lazy_copy(&y, &z, s);
        fuzz_must(y.rc != TERN_OK || (y.state[copy].n_place == z.state[s].n_place &&
                                      y.state[copy].may_end == z.state[s].may_end));
        if (n == 0)
            break;
        s = choice[(size ? data[i % size] : 0) % n];
    }
    tern_lazy_done(&z);
    tern_lazy_done(&y);
}

/* The same of text that one of ours wrote: its notation must be right. */
static inline void fuzz_written(const tern_str *rules, const uint8_t *data, size_t size)
{
    tern_net net;
    tern_err err;
    if (tern_gbnf_compile(tern_str_get(rules), rules->len, &net, &err) != TERN_OK) {
        fuzz_must(!strstr(err.msg, "expected") && !strstr(err.msg, "defined"));
        return;
    }
    fuzz_walk(&net, data, size);
    tern_net_done(&net);
}

#endif
