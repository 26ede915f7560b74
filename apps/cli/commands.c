/* The slash commands of `tern chat`. What they print goes to standard error: standard output is for
 * answers. */
#include "base/error.h"
#include "chat.h"

#include <string.h>

typedef struct command {
    const char *name, *arguments, *help;
    tern_code (*run)(chat *h, const char *arguments, tern_err *err);
} command;

static void say(const char *text)
{
    (void)fputs(text, stderr);
    (void)fputc('\n', stderr);
}

static tern_code set(chat *h, const char *a, tern_err *err)
{
    char name[40];
    size_t n = strcspn(a, " \t=");
    const char *value = a + n + strspn(a + n, " \t=");
    if (*a == '\0') {
        tern_str s;
        tern_str_init(&s, 1 << 16);
        cli_options_list(&h->c->opt, &s);
        (void)fputs(tern_str_get(&s), stderr);
        tern_str_done(&s);
        return TERN_OK;
    }
    if (n >= sizeof name || *value == '\0')
        return tern_fail(err, TERN_E_USAGE, "/set NAME VALUE, as in /set temp 0.5");
    memcpy(name, a, n);
    name[n] = '\0';
    return cli_options_set(&h->c->opt, name, value, err);
}

static tern_code show(chat *h, const char *a, tern_err *err)
{
    size_t i;
    json_t *m;
    (void)a;
    json_array_foreach(h->t.messages, i, m)(void)
        fprintf(stderr, "%s: %s\n", json_string_value(json_object_get(m, "role")),
                json_string_value(json_object_get(m, "content")));
    if (i == 0)
        say("nothing was said yet");
    return set(h, "", err);
}

static tern_code set_system(chat *h, const char *a, tern_err *err)
{
    TERN_TRY(transcript_set_system(&h->t, a, err));
    say(*a ? "system message set" : "system message removed");
    return TERN_OK;
}

static tern_code clear(chat *h, const char *a, tern_err *err)
{
    (void)a;
    (void)err;
    transcript_clear(&h->t);
    tern_session_rewind(h->s, 0);
    say("a new conversation");
    return TERN_OK;
}

static tern_code regenerate(chat *h, const char *a, tern_err *err)
{
    (void)a;
    if (!transcript_reopen(&h->t))
        return tern_fail(err, TERN_E_USAGE, "/regen: there is no question yet");
    return chat_answer(h, err);
}

static tern_code undo(chat *h, const char *a, tern_err *err)
{
    (void)a;
    if (!transcript_undo(&h->t))
        return tern_fail(err, TERN_E_USAGE, "/undo: there is nothing to take back");
    say("the last question and its answer are gone");
    return TERN_OK;
}

static tern_code need(const char *a, const char *usage, tern_err *err)
{
    return *a ? TERN_OK : tern_fail(err, TERN_E_USAGE, "%s", usage);
}

static tern_code read_text(chat *h, const char *a, tern_err *err)
{
    tern_str text;
    TERN_TRY(need(a, "/read FILE", err));
    tern_str_init(&text, CLI_MAX_INPUT);
    tern_code rc = cli_read_file(a, &text, err);
    if (rc == TERN_OK)
        rc = cli_check_utf8(a, tern_str_get(&text), text.len, err);
    if (rc == TERN_OK && text.len == 0)
        rc = tern_fail(err, TERN_E_USAGE, "%s: empty", a);
    if (rc == TERN_OK)
        rc = chat_ask(h, tern_str_get(&text), text.len, err);
    tern_str_done(&text);
    return rc;
}

static tern_code save(chat *h, const char *a, tern_err *err)
{
    TERN_TRY(need(a, "/save FILE", err));
    TERN_TRY(transcript_save(&h->t, cli_model_label(h->c), a, err));
    (void)fprintf(stderr, "%zu messages written to %s\n", transcript_count(&h->t), a);
    return TERN_OK;
}

static tern_code load(chat *h, const char *a, tern_err *err)
{
    TERN_TRY(need(a, "/load FILE", err));
    TERN_TRY(transcript_load(&h->t, a, err));
    (void)fprintf(stderr, "%zu messages read from %s\n", transcript_count(&h->t), a);
    return TERN_OK;
}

static tern_code stats(chat *h, const char *a, tern_err *err)
{
    tern_model_info info = {.size = sizeof info};
    (void)a;
    (void)err;
    tern_model_info_get(h->m, &info);
    (void)fprintf(stderr, "%s: %s, %.1f M parameters, %d threads\n", cli_model_label(h->c),
                  info.arch, (double)info.n_param * 1e-6, info.n_thread);
    (void)fprintf(stderr, "%llu answers, %zu tokens in %.1f s\n", (unsigned long long)h->n_answer,
                  h->total_generated, h->total_s);
    if (h->n_answer)
        cli_answer_print_stats(h->c, h->s, &h->last);
    return TERN_OK;
}

static tern_code tokens(chat *h, const char *a, tern_err *err)
{
    tern_ids ids = {0};
    tern_code rc = TERN_OK;
    (void)a;
    if (transcript_count(&h->t))
        rc = cli_chat_ids(h->m, h->t.messages, &ids, err);
    if (rc == TERN_OK)
        (void)fprintf(stderr, "%zu messages, %zu tokens of %d in the context\n",
                      transcript_count(&h->t), ids.n, tern_session_n_ctx(h->s));
    tern_ids_done(&ids);
    return rc;
}

static tern_code leave(chat *h, const char *a, tern_err *err)
{
    (void)a;
    (void)err;
    h->leave = true;
    return TERN_OK;
}

static tern_code help(chat *h, const char *a, tern_err *err);

static const command commands[] = {
    {"/help", "", "this list", help},
    {"/set", "[NAME VALUE]", "change a generation setting: temp, top_k, n, seed, ...", set},
    {"/show", "", "the conversation and the settings", show},
    {"/system", "[TEXT]", "set or remove the system message", set_system},
    {"/clear", "", "begin a new conversation", clear},
    {"/regen", "", "answer the last question again", regenerate},
    {"/undo", "", "take back the last question and its answer", undo},
    {"/read", "FILE", "send a file as the question", read_text},
    {"/save", "FILE", "write the conversation as JSON", save},
    {"/load", "FILE", "read a conversation", load},
    {"/stats", "", "speed and size", stats},
    {"/tokens", "", "how full the context is", tokens},
    {"/quit", "", "leave (also /bye, /exit, Ctrl-D)", leave},
    {"/bye", "", NULL, leave},
    {"/exit", "", NULL, leave},
};
#define N_COMMAND (sizeof commands / sizeof commands[0])

const char *chat_command_name(size_t i)
{
    return i < N_COMMAND ? commands[i].name : NULL;
}

static tern_code help(chat *h, const char *a, tern_err *err)
{
    (void)h;
    (void)a;
    (void)err;
    for (size_t i = 0; i < N_COMMAND; i++)
        if (commands[i].help)
            (void)fprintf(stderr, "  %-8s %-14s %s\n", commands[i].name, commands[i].arguments,
                          commands[i].help);
    say("  \"\"\"      begins and ends a text of several lines; so does a \\ at a line's end\n"
        "  Ctrl-C   stops an answer; at the prompt, twice, it leaves");
    return TERN_OK;
}

tern_code chat_command(chat *h, const char *line, tern_err *err)
{
    size_t n = strcspn(line, " \t");
    const char *arguments = line + n + strspn(line + n, " \t");
    if (n == 2 && line[1] == '?')
        return help(h, arguments, err);
    for (size_t i = 0; i < N_COMMAND; i++)
        if (strlen(commands[i].name) == n && memcmp(commands[i].name, line, n) == 0)
            return commands[i].run(h, arguments, err);
    return tern_fail(err, TERN_E_USAGE, "unknown command %.*s; /help lists them",
                     (int)(n < 40 ? n : 40), line);
}
