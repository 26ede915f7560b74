/* Which of a repository's files make a model. */
#ifndef STORE_CHOOSE_H
#define STORE_CHOOSE_H

#include "manifest.h"

/* Of all files in m keep those that m->spec.select asks for, in order of their names: the GGUF file
 * (all shards of a split one), or without GGUF files what a safetensors folder needs. When there is
 * no single answer, choices lists what could be meant, a line each. Codes: TERN_E_USAGE. */
TERN_CHECK tern_code store_choose(store_manifest *m, tern_str *choices, tern_err *err);

/* Length of the name up to "-00001-of-00003.gguf" with the two numbers; 0: not a shard. */
size_t store_shard(const char *name, unsigned *i, unsigned *n);

#endif
