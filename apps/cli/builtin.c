/* The table of built-in models; the build writes builtin.def and a builtin_N.S for each. */
#include "builtin.h"

#include <string.h>
#include <unistd.h>

#define BUILTIN(i, file)                                                                           \
    extern const unsigned char tern_builtin_##i##_begin[], tern_builtin_##i##_end[];
#include "builtin.def"
#undef BUILTIN

#define PREFIX "tern-"

size_t cli_builtin_bytes(const cli_builtin *b)
{
    return (size_t)(b->end - b->data);
}

const cli_builtin *cli_builtin_get(size_t i)
{
    static const cli_builtin all[] = {
#define BUILTIN(i, file)                                                                           \
    {file, file " (built in)", tern_builtin_##i##_begin, tern_builtin_##i##_end},
#include "builtin.def"
#undef BUILTIN
        {NULL, NULL, NULL, NULL},
    };
    return i < sizeof all / sizeof all[0] - 1 ? &all[i] : NULL;
}

const cli_builtin *cli_builtin_find(const char *name)
{
    const cli_builtin *b;
    if (access(name, F_OK) == 0)
        return NULL;
    for (size_t i = 0; (b = cli_builtin_get(i)) != NULL; i++)
        if (strcmp(name, b->name) == 0 || (strncmp(b->name, PREFIX, strlen(PREFIX)) == 0 &&
                                           strcmp(name, b->name + strlen(PREFIX)) == 0))
            return b;
    return NULL;
}
