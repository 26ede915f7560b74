/* What OpenAI's endpoints share: their words for tools, formats and usage. */
#ifndef SERVER_OPENAI_H
#define SERVER_OPENAI_H

#include "server/generate.h"

/* prefix and 24 random letters and digits. */
#define OPENAI_ID 48
void openai_id(char id[OPENAI_ID], const char *prefix);

/* response_format, grammar, json_schema, regex and choice into r; at most one of them. format: what names a
 * schema's place, {"type", "json_schema": {...}} or of responses {"type", "schema"}; may be NULL. */
TERN_CHECK tern_code openai_format(const params *p, const json_t *format, const char *format_name,
                                   generate_request *r, fault *f);
/* tool_choice into r; flat: a tool is named {"type","name"}, not {"type","function":{"name"}}. */
TERN_CHECK tern_code openai_tool_choice(const json_t *choice, bool flat, generate_request *r,
                                        fault *f);
/* Variables of the template: chat_template_kwargs and the effort. A new reference; NULL: no memory. */
json_t *openai_vars(const params *p, const char *effort);

/* "prompt_tokens", "completion_tokens" and so on. The same. */
json_t *openai_usage(const generate_usage *u);
/* "stop", "length", "tool_calls". */
const char *openai_finish(generate_finish f);
/* Text that may be anything as JSON. */
json_t *openai_text(const char *text, size_t n);

#endif
