/* How a model writes what is not plain text: reasoning, and calls of tools.
 *
 * Every family has its own way to write a call, but nearly all of them write the tool's name, then its
 * arguments as JSON, with fixed text around. So the fixed texts are learned from the model's own template: it
 * is rendered with calls of a made-up tool, and what stands around name and arguments is the frame. A
 * template that writes no such calls gets a frame of our own, with instructions in the system message. */
#ifndef SERVER_WORDS_H
#define SERVER_WORDS_H

#include "server/generate.h"

#include <pthread.h>

/* head open NAME mid ARGUMENTS close (sep open NAME mid ARGUMENTS close)* tail. The byte FRAME_ID stands for
 * an id of the call. */
typedef struct tool_frame {
    char *head, *open, *mid, *close, *sep, *tail; /* owned */
    char *trigger; /* owned; what head and open begin with, enough to know a call by */
    bool single;   /* an answer has one call at most */
} tool_frame;
#define FRAME_ID '\1'

#define WORDS_MAX_SEEN 64

struct generate_words {
    const tern_model *m; /* borrowed */
    char fingerprint[16];
    bool has_template;
    tool_frame frame;
    bool native;         /* the template writes calls in this frame, and lists the tools */
    bool text_arguments; /* it wants arguments as text that is JSON, not as values */
    bool knows_tool_role, knows_system_role;
    bool ids;                      /* the frame has ids */
    const char *think, *think_end; /* static: marks of reasoning */
    bool show_control;    /* some of these words are control tokens, which do not show otherwise */
    bool trigger_control; /* the frame's trigger is */
    pthread_mutex_t seen_mu;
    char seen[WORDS_MAX_SEEN]
             [68]; /* guarded by seen_mu: fields that were ignored, and told of in the log */
    size_t n_seen;
    struct grammar_cache *grammars; /* owned; compose.h */
    struct keeper *keeper;          /* owned; generation.h: what looks after generations */
};

/* Learn frame, marks and what else there is from the template; words->m is set. */
TERN_CHECK tern_code words_learn(generate_words *w, tern_err *err);
void words_forget(generate_words *w);

/* Whether text becomes control tokens, at least in part. */
TERN_CHECK tern_code words_has_control(const tern_model *m, const char *text, bool *out,
                                       tern_err *err);

#endif
