/* Anthropic's Messages: its requests in the form that generate.h takes, and its replies from events. */
#ifndef SERVER_ANTHROPIC_H
#define SERVER_ANTHROPIC_H

#include "server/generate.h"

/* A request in the form of generate.h. */
typedef struct messages_request {
    json_t *messages, *tools, *vars; /* owned; tools may be NULL */
    generate_tools tool_use;
    const char *tool_name; /* borrowed from the body */
    bool one_call;
    bool continue_last;   /* the last message is the beginning of the answer */
    bool omit_thinking;   /* thinking blocks have no text */
    const json_t *schema; /* borrowed: what the answer must be; NULL: anything */
} messages_request;

/* Codes: TERN_E_USAGE, TERN_E_UNSUPPORTED (images and other blocks that are no text, tools that run on
 * servers), TERN_E_NOMEM. r needs messages_done after a failure, too. */
TERN_CHECK tern_code messages_read(const params *p, messages_request *r, fault *f);
void messages_done(messages_request *r);
/* What generate_start and generate_count take of it. */
void messages_ask(const messages_request *m, generate_request *g);

#endif
