/* From what any dialect asks of the model to the events its reply is made of.
 *
 * An endpoint reads its body into params, says what the prompt is, which tools there are and what the
 * answer may be, and calls generate_start on its worker thread: messages become ids, tools and formats a
 * grammar, and a job per prompt goes to the scheduler. From there on events come. A reply that streams writes
 * each one out; a whole one gathers them (generate_gather) and replies at the end. Both see the same
 * events.
 *
 * Threads: events of one generation come one after another: from the scheduler's thread, which must not wait,
 * and the last one, GENERATE_END, from a thread that may take its time. The first one may come before
 * generate_start returns. They stop for a client that is gone (GENERATE_END with TERN_E_CANCELLED then), and
 * wait for one that is behind, without the endpoint's doing. A stream begins (exchange_stream_begin) with the
 * first event, not before, so that what fails until then has its status. */
#ifndef SERVER_GENERATE_H
#define SERVER_GENERATE_H

#include "exchange.h"
#include "params.h"

/* ---- what is known about a model's words -------------------------------------------------- */

/* How a model's template writes reasoning and calls of tools, found by rendering it with a probe; also its
 * fingerprint. One per served model, immutable; the model outlives it. */
typedef struct generate_words generate_words;

TERN_CHECK tern_code generate_words_new(const tern_model *m, generate_words **out, tern_err *err);
void generate_words_free(generate_words *w);
/* "fp_" and 12 hex digits: of the model and this program. Same fingerprint, seed and request: same text. */
const char *generate_fingerprint(const generate_words *w);
/* Whether its template has a place for reasoning. */
bool generate_can_think(const generate_words *w);

/* ---- what is asked --------------------------------------------------------------------------- */

typedef enum generate_tools {
    GENERATE_TOOLS_AUTO,     /* the model may answer or call */
    GENERATE_TOOLS_NONE,     /* it may not call, and is not told of the tools */
    GENERATE_TOOLS_REQUIRED, /* it must call some tool */
    GENERATE_TOOLS_NAMED     /* it must call this one */
} generate_tools;

typedef enum generate_format {
    GENERATE_ANYTHING,
    GENERATE_JSON_OBJECT, /* any JSON object */
    GENERATE_JSON_SCHEMA, /* format_json */
    GENERATE_GBNF,        /* format_text */
    GENERATE_REGEX,       /* format_text */
    GENERATE_CHOICE       /* format_json: a list of strings */
} generate_format;

/* One prompt that is no conversation. */
typedef struct generate_prompt {
    const char *
        text; /* NULL: ids. Control tokens spelled in it are meant: it is the client's own template */
    size_t n_text;
    const json_t *ids; /* a list of integers, checked against the vocabulary */
} generate_prompt;

typedef struct generate_event generate_event;

/* All borrowed until generate_start returns, but x, of which it takes a reference. */
typedef struct generate_request {
    exchange *x;
    const params *p;

    /* A conversation in the form of OpenAI's chat: a list of {"role", "content", "tool_calls",
     * "tool_call_id", "name", "reasoning_content"}; content is a string, null or a list of {"type":"text",
     * "text"}. Dialects bring theirs into this form; generate_start checks it and names what is wrong
     * with it "<messages_name>[i]...". The last one of an assistant is continued if continue_last. */
    const json_t *messages;
    const char *messages_name; /* "messages" if NULL */
    bool continue_last;
    /* A list of {"type":"function","function":{"name","description","parameters","strict"}} or NULL. */
    const json_t *tools;
    const char *tools_name; /* "tools" if NULL */
    generate_tools tool_use;
    const char *tool_name; /* of GENERATE_TOOLS_NAMED */
    bool one_call;         /* at most one call in an answer */
    const json_t *vars;    /* further variables of the template: an object or NULL */
    bool keep_reasoning;   /* reasoning stays within the text, marks and all */

    /* Or prompts (messages NULL): n_prompt of them with p->n answers each. */
    const generate_prompt *prompts;
    size_t n_prompt;
    const char *prompt_name; /* "prompt" if NULL */

    generate_format format;
    const char *format_text;
    const json_t *format_json;
    const char *format_name; /* the field to name when it is refused: "response_format" */

    bool logprobs; /* events have tokens */
    int32_t n_top; /* with so many of the likeliest, 0..TERN_MAX_TOP */
    bool
        echo; /* with logprobs the tokens of the prompt come first: GENERATE_TEXT, from_prompt, no text */
    bool progress;    /* more GENERATE_PROMPT events */
    int32_t n_answer; /* answers to each prompt; 0: p->n */

    void (*on_event)(void *ctx, const generate_event *ev);
    void *ctx;
} generate_request;

/* ---- what comes ------------------------------------------------------------------------------ */

typedef struct generate_token {
    int32_t id;
    float logprob;    /* NAN: none, of a prompt's first token */
    const char *text; /* its own bytes, perhaps not whole UTF-8 */
    size_t n_text;
    const tern_logprob *top; /* their texts: tern_model_token_bytes */
    size_t n_top;
} generate_token;

typedef enum generate_finish {
    GENERATE_STOP,   /* the model ended its turn, or a stop string came */
    GENERATE_LENGTH, /* max_tokens or the context is used up */
    GENERATE_CALLS   /* it called tools */
} generate_finish;

typedef struct generate_usage {
    size_t n_prompt, n_cached;
    size_t n_generated;
    size_t n_reasoning;          /* of n_generated */
    double prompt_s, generate_s; /* wall time; of several answers the longest */
    size_t n_drafted, n_accepted;
    double joules; /* once it is over; 0 or NAN: nothing was measured */
} generate_usage;

typedef enum generate_event_kind {
    GENERATE_PROMPT, /* n_done of n_prompt tokens of the prompt are read; the first one has n_cached */
    GENERATE_TEXT,      /* text, whole UTF-8, of the answer; with logprobs also without text */
    GENERATE_REASONING, /* the same, of what the model thinks before */
    GENERATE_CALL,      /* a call begins: call, name, id */
    GENERATE_ARGUMENTS, /* text is the next part of that call's arguments, which are JSON */
    GENERATE_ANSWER,    /* one answer is over: finish, stop, usage */
    GENERATE_PING,      /* nothing came for p->ping_interval: keep the connection */
    GENERATE_END /* all are: usage; or fault says why not. Always the last event, exactly once */
} generate_event_kind;

struct generate_event {
    generate_event_kind kind;
    int32_t answer; /* prompt's number * answers per prompt + number of its answer */
    const char *text;
    size_t n_text;
    bool from_prompt; /* echoed */
    int32_t call;     /* 0.. within the answer */
    const char *name, *id;
    const generate_token *tokens; /* that led to this event, in order: each token is told once */
    size_t n_token;
    size_t n_done, n_prompt, n_cached;
    generate_finish finish;
    int32_t stop; /* the stop string that came; -1: none */
    const generate_usage
        *usage;         /* of the answer so far; at its end of all of it; at END of all answers */
    const fault *fault; /* NULL: all is well */
};

/* Start. On failure no event comes, and the endpoint replies (fault_reply). On success the exchange is
 * answered from the events. Codes: TERN_E_USAGE, TERN_E_LIMIT (context_length_exceeded, with the two numbers),
 * TERN_E_UNSUPPORTED, TERN_E_BUSY, TERN_E_NOMEM. */
TERN_CHECK tern_code generate_start(const generate_request *r, fault *f);

/* How many tokens the prompt of a conversation has, without answering it: count_tokens and the like. ids, if
 * not NULL, are tern_free'd by the caller. */
TERN_CHECK tern_code generate_count(const generate_request *r, int32_t **ids, size_t *n, fault *f);

/* The prompt of a conversation as text; begins: with the beginning of the answer. Release it with
 * tern_string_free. */
TERN_CHECK tern_code generate_text(const generate_request *r, bool begins, char **text, size_t *n,
                                   fault *f);

/* ---- whole replies --------------------------------------------------------------------------- */

typedef struct generate_call {
    char *name, *id; /* owned */
    tern_str arguments;
} generate_call;

typedef struct generate_answer {
    tern_str text, reasoning;
    generate_call *calls; /* owned */
    size_t n_call, cap_call;
    json_t *tokens; /* with logprobs: what generate_token_json makes of each, in order; else NULL */
    generate_finish finish;
    int32_t stop;
    generate_usage usage;
} generate_answer;

/* Answers as far as they have come. */
typedef struct generate_gather {
    generate_answer *v; /* owned */
    size_t n;
    const tern_model *m;
    bool no_tokens; /* leave answers' tokens out: a stream has told of them */
    bool failed;    /* memory is exhausted */
} generate_gather;

TERN_CHECK tern_code generate_gather_init(generate_gather *g, const tern_model *m, size_t n_answer,
                                          tern_err *err);
void generate_gather_done(generate_gather *g);
/* Every event may be given; those it has no place for are left out. */
void generate_gather_add(generate_gather *g, const generate_event *ev);

/* ---- shared by dialects ---------------------------------------------------------------------- */

/* prefix (at most 15 letters) and n random letters and digits. */
#define GENERATE_ID         40
#define GENERATE_ID_LETTERS 24 /* that nobody guesses */
void generate_id(char id[GENERATE_ID], const char *prefix, size_t n);

/* {"token", "logprob", "bytes", "top_logprobs": [{"token", "logprob", "bytes"}]}. A new reference; NULL: no
 * memory. */
json_t *generate_token_json(const tern_model *m, const generate_token *t);
/* {"cache_n","prompt_n","prompt_ms","prompt_per_second","predicted_n","predicted_ms",...}. The same. */
json_t *generate_timings_json(const generate_usage *u);
/* The body as an object with its params read, unknown fields told in the header "Tern-Ignored" and logged
 * once per name, the model's name checked (404 lists what there is). False: it has been answered. The caller
 * releases *body after it is done with *p. */
bool generate_read(exchange *x, param_endpoint endpoint, json_t **body, params *p);
/* Reply with a fault in the route's dialect. */
void fault_reply(exchange *x, const fault *f);
/* The same as the body of an error event inside a stream. A new reference; NULL: no memory. */
json_t *fault_json(const exchange *x, const fault *f);
/* Write one server-sent event: "event: name" if name is not NULL, "data: " and the value, which is released.
 * False: the client is gone or memory is. */
bool exchange_event(exchange *x, const char *name, json_t *value);

#endif
