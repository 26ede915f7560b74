/* Texts for strangers: no folders of the user, no names, no keys. */
#ifndef CLI_REDACT_H
#define CLI_REDACT_H

#include "base/str.h"

#include <jansson.h>

#define REDACT_MAX  24
#define REDACT_NAME 64

/* What is replaced by what. Fixed when made: the environment is read once. */
typedef struct redact {
    struct {
        char *from; /* owned */
        const char *to;
        bool whole; /* only as a part of a path or address, or alone */
    } rule[REDACT_MAX];
    size_t n;
} redact;

/* Home folders, user and host name, and the values of variables that hold keys. False: memory is
 * exhausted. */
bool redact_init(redact *r);
void redact_done(redact *r);
/* One more text to hide, unless it is shorter than three bytes; false: memory is exhausted. */
bool redact_add(redact *r, const char *from, const char *to, bool whole);
void redact_text(const redact *r, const char *text, tern_str *out);
/* A new value with all its strings and names hidden; NULL when memory is exhausted. Releases v. */
json_t *redact_json(const redact *r, json_t *v);
/* The value of an entry of the environment, its name to name[REDACT_NAME]; NULL: none of this length. */
const char *redact_variable(const char *entry, char *name);
/* Does a variable of this name hold a key, which is never shown? */
bool redact_is_secret(const char *name);

#endif
