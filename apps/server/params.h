/* The fields of request bodies: one table says for each its type, its bounds, its default and which
 * endpoints know it, and one function reads a body by it. A value out of bounds or of a wrong type is refused
 * by name; nothing is clamped. null counts as absent. What the table does not know is ignored and told. */
#ifndef SERVER_PARAMS_H
#define SERVER_PARAMS_H

#include "base/str.h"

#include <jansson.h>

/* Which bodies have a field; bits. */
typedef enum param_endpoint {
    PARAM_CHAT = 1,         /* /v1/chat/completions */
    PARAM_COMPLETION = 2,   /* /v1/completions */
    PARAM_RESPONSE = 4,     /* /v1/responses */
    PARAM_EMBEDDING = 8,    /* /v1/embeddings */
    PARAM_MESSAGES = 16,    /* Anthropic: /v1/messages */
    PARAM_OLLAMA_CHAT = 32, /* /api/chat */
    PARAM_OLLAMA_GENERATE = 64,
    PARAM_OLLAMA_EMBED = 128,
    PARAM_TOKENIZE = 256,
    PARAM_DECIDE = 512, /* /v1/decide */
    PARAM_LLAMA = 1024, /* /completion, as llama.cpp has it */
    PARAM_DETOKENIZE = 2048,
    PARAM_TEMPLATE = 4096, /* /apply-template */
    PARAM_SLOTS = 8192,    /* POST /slots/{id} */
    PARAM_OLLAMA_SHOW = 16384,
    PARAM_OLLAMA_EMBEDDINGS = 32768 /* /api/embeddings, the older one of two */
} param_endpoint;

/* What is wrong with a request, or with serving it. */
typedef struct fault {
    tern_err err;
    char param[96]; /* the field at fault: "messages[2].content"; "" when there is none */
    const char *
        code; /* OpenAI's code where it is not the error's own, "model_not_found"; static, or NULL */
    int status; /* of HTTP where it is not the error's own; else 0 */
} fault;

/* Fill f and return code. param may be NULL. Messages tell what is expected, never what came. */
tern_code fault_set(fault *f, tern_code code, const char *param, const char *fmt, ...)
    TERN_PRINTF(4, 5);
/* Name the field at fault: what f->err says is written already. Returns its code. */
tern_code fault_param(fault *f, const char *fmt, ...) TERN_PRINTF(2, 3);

/* Values of a body. Strings and JSON are borrowed from it. Fields that a body's endpoint does not know have
 * the defaults of the table as well. */
typedef struct params {
    /* sampling; see tern_gen_opts */
    double temperature, top_p, min_p, typical_p, repeat_penalty, frequency_penalty,
        presence_penalty;
    int64_t top_k, repeat_last_n;
    int64_t seed;
    bool has_seed; /* false: chosen anew for each request */
    bool ignore_eos;
    const json_t
        *logit_bias;    /* {"id": bias} or [[id, bias]], checked but for the vocabulary's size */
    const json_t *stop; /* a string or a list of at most 16 with at most 256 bytes each */
    int64_t max_tokens; /* -1: to the end of the context */
    int64_t n, best_of;
    bool logprobs;
    int64_t top_logprobs;
    int64_t
        logprobs_k; /* the same of completions: so many of the likeliest; -1: no probabilities */
    bool logprobs_final; /* of what the sampler chose from */
    bool echo;
    const char *suffix;

    /* the reply */
    const char *model; /* NULL: the one that is served */
    bool stream, include_usage, timings, progress;
    double ping_interval; /* seconds */
    const char *encoding_format;
    int64_t dimensions;

    /* constraints */
    const char *grammar, *regex;
    const json_t *json_schema, *choice, *response_format, *text;

    /* the conversation; what these hold is for the endpoint to read */
    const json_t *messages, *system, *prompt, *input;
    const char *instructions, *prompt_text;
    const json_t *tools, *tool_choice, *functions, *function_call;
    bool parallel_tool_calls, continue_last;
    const json_t *template_vars, *reasoning, *modalities;
    const char *reasoning_effort, *reasoning_format;
    const json_t *thinking, *output_config, *container, *mcp_servers; /* messages */
    const json_t *think, *format, *context, *images;                  /* Ollama */
    const char *template_text, *show_name;
    bool raw, truncate;

    /* texts and tokens */
    const char *content;
    const json_t *tokens;
    bool add_special, parse_special, with_pieces, show_special;
    bool add_generation_prompt, return_tokens;
    const json_t *response_fields;
    const char *filename;

    /* samplers that are not there: nothing but 0 may be asked of them */
    int64_t zero;
    double zero_number;

    /* the cache */
    bool cache_prompt;
    int64_t id_slot;
    double timeout; /* seconds; 0: none */
} params;

/* Read an object. start: sampling where it says nothing; NULL: as the table has it. unknown, which may be NULL: names
 * of what the table does not know are appended, with commas between; names that are no plain words are left
 * out. Codes: TERN_E_USAGE. */
TERN_CHECK tern_code params_read(const json_t *body, param_endpoint endpoint,
                                 const tern_gen_opts *start, params *p, tern_str *unknown,
                                 fault *f);
/* The same for defaults alone. */
void params_init(params *p, param_endpoint endpoint);
/* Sampling as a model's file recommends it, in place of the table's. */
void params_recommend(params *p, const tern_gen_opts *g);

/* One row of the table, for docs and tests. */
typedef enum param_type {
    PARAM_BOOL,
    PARAM_INT,
    PARAM_NUMBER,
    PARAM_STRING,
    PARAM_WORD, /* one of a few strings */
    PARAM_OBJECT,
    PARAM_ARRAY,
    PARAM_VALUE,   /* several types: the endpoint looks */
    PARAM_STOPS,   /* a string or a list of strings */
    PARAM_BIAS,    /* logit_bias */
    PARAM_IGNORED, /* any value; does nothing */
    PARAM_REFUSED
} param_type;

typedef struct param_row {
    unsigned endpoints;
    const char *name; /* "a.b" is b within the object a */
    param_type type;
    size_t field;        /* offset in params; PARAM_NO_FIELD: none */
    int64_t min, max;    /* of integers; of strings most bytes */
    double low, high;    /* of numbers */
    double start;        /* the default of a number or bool */
    const char *initial; /* the default, as it would be written; NULL: absent */
    const char *words;   /* of PARAM_WORD: "one|of|these" */
    const char *about;
} param_row;
#define PARAM_NO_FIELD SIZE_MAX

const param_row *params_rows(size_t *n);

#endif
