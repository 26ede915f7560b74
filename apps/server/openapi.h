/* The server's interface as one OpenAPI document, made from routes.def, params.def and schemas.def. */
#ifndef SERVER_OPENAPI_H
#define SERVER_OPENAPI_H

#include "tern.h"

#include <jansson.h>

/* A new reference; NULL: no memory. */
json_t *openapi_document(void);
/* Whether a request or reply schema of that name is defined. */
bool openapi_has_schema(const char *name);

#endif
