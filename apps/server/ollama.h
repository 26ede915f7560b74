/* Ollama's interface: what its files share. */
#ifndef SERVER_OLLAMA_H
#define SERVER_OLLAMA_H

#include "server/generate.h"

/* The name with a tag, as all models have there: "name:latest" if it has none. NULL: no memory. */
json_t *ollama_name_json(const serving *s);
/* A time as in "2026-11-21T15:04:05.123456789Z"; buf has 40 bytes. unix_s < 0: now. */
const char *ollama_time(char *buf, int64_t unix_s);

#endif
