/* The parts of `tern chat`: the loop, the slash commands, the transcript, the typed lines. */
#ifndef CLI_CHAT_H
#define CLI_CHAT_H

#include "cli.h"

/* ---- transcript.c: the messages ------------------------------------------------------------- */

/* A JSON array of {"role", "content"}; a system message, if any, stands first. */
typedef struct transcript {
    json_t *messages; /* owned */
} transcript;

TERN_CHECK tern_code transcript_init(transcript *t, const char *system, tern_err *err);
void transcript_done(transcript *t);
TERN_CHECK tern_code transcript_add(transcript *t, const char *role, const char *text, size_t n,
                                    tern_err *err);
/* Replace the system message; "" removes it. */
TERN_CHECK tern_code transcript_set_system(transcript *t, const char *text, tern_err *err);
/* Forget all but the system message. */
void transcript_clear(transcript *t);
/* Remove the last user message and what follows it; false when there is none. */
bool transcript_undo(transcript *t);
/* Remove what follows the last user message; false when there is none. */
bool transcript_reopen(transcript *t);
size_t transcript_count(const transcript *t);
/* A JSON object with "messages"; written whole or not at all, readable by the owner alone. */
TERN_CHECK tern_code transcript_save(const transcript *t, const char *model, const char *path,
                                     tern_err *err);
/* That, or a plain array of messages. On failure t is unchanged. */
TERN_CHECK tern_code transcript_load(transcript *t, const char *path, tern_err *err);

/* ---- lines.c: typed lines ------------------------------------------------------------------- */

typedef struct lines lines;

typedef enum line_result { LINE_TEXT, LINE_END, LINE_INTERRUPT } line_result;

/* Line editing where the build and the terminal have it. history NULL: keep none. */
TERN_CHECK tern_code lines_new(const cli *c, char *history, lines **out, tern_err *err);
void lines_free(lines *l);
/* The next line without its newline. prompt is shown on the terminal. */
TERN_CHECK tern_code lines_read(lines *l, const char *prompt, tern_str *out, line_result *result,
                                tern_err *err);
/* Remember what was entered. */
void lines_remember(lines *l, const char *text);
/* The i-th slash command's name, for completion and help; NULL past the last. */
const char *chat_command_name(size_t i);

/* ---- chat.c and commands.c ------------------------------------------------------------------ */

typedef struct chat {
    cli *c;
    tern_model *m;   /* owned by cli_chat */
    tern_session *s; /* owned by cli_chat */
    transcript t;
    uint64_t n_answer;      /* so far; varies the seed */
    size_t total_generated; /* of all answers */
    double total_s;
    cli_answer last;
    bool leave;
} chat;

/* Answer the conversation as it stands, streaming, and add the answer to it. */
TERN_CHECK tern_code chat_answer(chat *h, tern_err *err);
/* Ask with a user message; when that fails it is taken back. */
TERN_CHECK tern_code chat_ask(chat *h, const char *text, size_t n, tern_err *err);
/* A line that begins with '/'. Its failures are for the user to read; the chat goes on. */
TERN_CHECK tern_code chat_command(chat *h, const char *line, tern_err *err);

#endif
