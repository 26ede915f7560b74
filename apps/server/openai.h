/* What OpenAI's endpoints share: their words for tools, formats and usage. */
#ifndef SERVER_OPENAI_H
#define SERVER_OPENAI_H

#include "server/generate.h"

/* ---- a reply of chat or completions ---------------------------------------------------------- */

typedef struct openai_reply {
    exchange *x; /* the generation's reference keeps it */
    const serving *s;
    json_t *body; /* owned; p borrows from it */
    params p;
    char id[GENERATE_ID];
    int64_t created;
    const char *chunk; /* static; the object that streamed events are */
    bool began;
    generate_gather all; /* of a whole reply */
} openai_reply;

/* n zeroed bytes of which the first are a reply, with the body read; NULL: it has been answered. */
void *openai_reply_new(exchange *x, size_t n, param_endpoint endpoint, const char *id_prefix);
/* With the n bytes. */
void openai_reply_free(openai_reply *r);
/* "id", "object" and so on, which every reply and every chunk begin with. A new reference; NULL: no memory. */
json_t *openai_head(const openai_reply *r, const char *object);
void openai_stream_begin(openai_reply *r, const char *chunk);
/* One event of the stream. choices and progress are released; usage of the last one, timings and progress may
 * be NULL. */
void openai_send(openai_reply *r, json_t *choices, const generate_usage *usage,
                 const generate_usage *timings, json_t *progress);
/* After GENERATE_END, whether it began or not. */
void openai_stream_end(openai_reply *r, const generate_event *end);

/* ---- words of requests ----------------------------------------------------------------------- */

/* response_format, grammar, json_schema, regex and choice into r; at most one of them. format: what names a
 * schema's place, {"type", "json_schema": {...}} or of responses {"type", "schema"}; may be NULL. */
TERN_CHECK tern_code openai_format(const params *p, const json_t *format, const char *format_name,
                                   generate_request *r, fault *f);
/* tool_choice into r; flat: a tool is named {"type","name"}, not {"type","function":{"name"}}. */
TERN_CHECK tern_code openai_tool_choice(const json_t *choice, bool flat, generate_request *r,
                                        fault *f);
/* Variables of the template: chat_template_kwargs and the effort. A new reference; NULL: no memory. */
json_t *openai_vars(const params *p, const char *effort);

/* ---- words of replies ------------------------------------------------------------------------ */

/* "prompt_tokens", "completion_tokens" and so on. The same. */
json_t *openai_usage(const generate_usage *u);
/* "stop", "length", "tool_calls". */
const char *openai_finish(generate_finish f);
/* Text that may be anything as JSON. */
json_t *openai_text(const char *text, size_t n);

#endif
