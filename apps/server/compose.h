/* What the model gets: from a request's messages, tools and format to ids and a grammar. */
#ifndef SERVER_COMPOSE_H
#define SERVER_COMPOSE_H

#include "server/words.h"

/* ---- compose.c: ids -------------------------------------------------------------------------- */

typedef struct composed {
    int32_t *ids; /* owned; tern_ids_free */
    size_t n;
    size_t n_keep; /* of them begin other conversations too: tools and system messages */
    bool thinking; /* the prompt has begun the reasoning */
} composed;

/* A conversation's ids. Codes: TERN_E_USAGE, TERN_E_UNSUPPORTED (no template), TERN_E_LIMIT, TERN_E_NOMEM. */
TERN_CHECK tern_code compose_messages(const generate_words *w, const generate_request *r,
                                      composed *out, fault *f);
/* The same as text, which begins the answer if begins; release it with tern_string_free. */
TERN_CHECK tern_code compose_text(const generate_words *w, const generate_request *r, bool begins,
                                  char **text, size_t *n, fault *f);
/* A prompt's ids. name: of the field, with which faults are named. */
TERN_CHECK tern_code compose_prompt(const generate_words *w, const generate_prompt *p,
                                    const char *name, composed *out, fault *f);
void composed_done(composed *c);
/* Append the ids of a text; control: with control tokens recognised. Codes: TERN_E_NOMEM, TERN_E_LIMIT. */
TERN_CHECK tern_code composed_append(const generate_words *w, const char *text, bool control,
                                     composed *c, tern_err *err);

/* Whether the tools of a request come into play. */
static inline bool compose_has_tools(const generate_request *r)
{
    return r->messages && r->tool_use != GENERATE_TOOLS_NONE && json_array_size(r->tools) > 0;
}
/* Names, schemas and tool_use are in order. */
TERN_CHECK tern_code compose_check_tools(const generate_request *r, fault *f);

/* ---- compose_grammar.c: what the answer may be ------------------------------------------------ */

typedef struct grammar_cache grammar_cache;
typedef struct grammar_entry grammar_entry;

TERN_CHECK tern_code grammar_cache_new(const tern_model *m, grammar_cache **out, tern_err *err);
void grammar_cache_free(grammar_cache *c); /* all leases are over */
void grammar_lease_end(grammar_cache *c, grammar_entry *e);

typedef struct constraint {
    tern_grammar *grammar; /* NULL: anything; valid until lease ends */
    grammar_entry *lease;
    const char *trigger; /* static or of the words; NULL: from the first token on */
    bool calls;          /* the answer may have calls, */
    bool only_calls;     /* or has nothing else */
    bool prefilled;      /* the frame's trigger stands in the prompt already */
} constraint;

/* thinking: see composed. */
TERN_CHECK tern_code compose_constraint(const generate_words *w, grammar_cache *cache,
                                        const generate_request *r, bool thinking, constraint *out,
                                        fault *f);

#endif
