/* Models whose bytes are part of the program (the build's option `builtin`): mapped with it, never copied. */
#ifndef CLI_BUILTIN_H
#define CLI_BUILTIN_H

#include <stddef.h>

typedef struct cli_builtin {
    const char *name;                /* its file's, without .gguf: "tern-stories" */
    const char *label;               /* "tern-stories (built in)" */
    const unsigned char *data, *end; /* a GGUF file */
} cli_builtin;

size_t cli_builtin_bytes(const cli_builtin *b);

/* Number i of them; NULL: there are not so many. Number 0 is meant where no model is named. */
const cli_builtin *cli_builtin_get(size_t i);
/* The one of that name, "tern-" before it or not ("stories"); a file of that name comes first, and then, as for
 * any other name, it is NULL. */
const cli_builtin *cli_builtin_find(const char *name);

#endif
