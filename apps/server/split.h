/* An answer's text, piece by piece, into what it means: reasoning, text, calls of tools with their names and
 * arguments. Marks are found across pieces: what could still become one is held back, and no more. */
#ifndef SERVER_SPLIT_H
#define SERVER_SPLIT_H

#include "server/words.h"

typedef enum split_state {
    SPLIT_START, /* white space, perhaps before reasoning */
    SPLIT_THINK,
    SPLIT_TEXT,
    SPLIT_OPEN, /* the fixed text before a call's name, */
    SPLIT_NAME,
    SPLIT_MID, /* between name and arguments, */
    SPLIT_ARGUMENTS,
    SPLIT_CLOSE, /* and behind them */
    SPLIT_BETWEEN
} split_state;

/* A fixed text being read; white space counts for nothing in it. */
typedef struct split_fixed {
    const char *first, *second; /* borrowed; one behind the other */
    size_t at;
    bool id; /* within an id of any letters */
} split_fixed;

typedef struct splitter {
    const generate_words *w; /* borrowed */
    bool marks;              /* reasoning is told apart */
    bool calls;              /* calls may come */
    void (*emit)(void *ctx, generate_event_kind kind, const char *text, size_t n);
    void *ctx;

    split_state state;
    bool blank;    /* white space at the beginning of what comes is left out */
    tern_str held; /* what may become a mark, or a call */
    tern_str run;  /* to be emitted as run_kind */
    generate_event_kind run_kind;
    tern_str name;
    split_fixed fixed, other;
    bool other_alive, fixed_alive;
    int depth; /* of the arguments */
    bool in_string, escaped;
    size_t n_call;
    bool failed; /* memory is exhausted */
} splitter;

/* emit gets GENERATE_TEXT, GENERATE_REASONING, GENERATE_CALL (text is the name) and GENERATE_ARGUMENTS.
 * thinking: the prompt has begun the reasoning. only_calls: the answer is calls and nothing else. */
void split_init(splitter *s, const generate_words *w, bool marks, bool thinking, bool calls,
                bool only_calls);
void split_done(splitter *s);
void split_feed(splitter *s, const char *text, size_t n);
/* Nothing more comes: what is held back is text after all. */
void split_end(splitter *s);

#endif
