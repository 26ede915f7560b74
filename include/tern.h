/* tern: a CPU-first engine for 1-bit and ternary language models.
 *
 * The only public header. Three handles: a model (immutable once open, shared by threads), a session
 * (one sequence of tokens and all state that depends on them) and a request (one answer being
 * generated in a session). Strings are UTF-8. Ids are token ids of the model's vocabulary.
 * Nothing here prints, exits or aborts; every failure is a code plus one line of text. */
#ifndef TERN_H
#define TERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define TERN_API
#else
#define TERN_API __attribute__((visibility("default")))
#endif
#if defined(__GNUC__)
#define TERN_CHECK       __attribute__((warn_unused_result))
#define TERN_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define TERN_CHECK
#define TERN_PRINTF(f, a)
#endif

/* ---- errors ------------------------------------------------------------------------------ */

/* Codes are for programs and are only appended; tern_code_info maps each to a name, an HTTP status,
 * an OpenAI error type and a process exit status. */
typedef enum tern_code {
    TERN_OK = 0,
    TERN_E_USAGE,       /* the caller asked for something that makes no sense */
    TERN_E_NOT_FOUND,   /* a model file does not exist */
    TERN_E_IO,          /* the system refused to read or write */
    TERN_E_FORMAT,      /* a file contradicts itself or its format */
    TERN_E_UNSUPPORTED, /* a valid file that needs something this build lacks */
    TERN_E_NOMEM,       /* memory is exhausted or would be */
    TERN_E_LIMIT,       /* the context or another limit is full */
    TERN_E_CANCELLED,   /* the caller cancelled */
    TERN_E_SELFTEST,    /* a kernel disagrees with the reference */
    TERN_E_NETWORK,     /* network or remote backend */
    TERN_E_DENIED,      /* policy, budget or privacy */
    TERN_E_THRESHOLD,   /* a result is below a demanded threshold */
    TERN_E_TIMEOUT,     /* a time limit passed */
    TERN_E_INTERNAL,    /* a mistake of ours */
    TERN_CODE_COUNT
} tern_code;

/* The code is for programs, the message for people: what, where, what to do. Pass NULL to ignore. */
typedef struct tern_err {
    tern_code code;
    char msg[256];
} tern_err;

typedef struct tern_code_info {
    const char *name;        /* "format" */
    const char *openai_type; /* "invalid_request_error" */
    int http_status;
    int exit_status;
} tern_code_info;

/* Static storage; an unknown code maps to TERN_E_INTERNAL's row. */
TERN_API const tern_code_info *tern_code_info_get(tern_code code);

#ifdef __cplusplus
}
#endif
#endif
