#include "server/split.h"

#include <string.h>

#define MAX_HELD ((size_t)64 << 10)
#define MAX_NAME 256

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* ---- what goes out ------------------------------------------------------------------------------ */

static void flush(splitter *s)
{
    s->failed |= s->run.failed;
    if (s->run.len)
        s->emit(s->ctx, s->run_kind, s->run.data, s->run.len);
    tern_str_clear(&s->run);
}

static void put(splitter *s, generate_event_kind kind, const char *text, size_t n)
{
    if (s->run_kind != kind)
        flush(s);
    s->run_kind = kind;
    tern_str_put(&s->run, text, n);
}

static generate_event_kind plain_kind(const splitter *s)
{
    return s->state == SPLIT_THINK ? GENERATE_REASONING : GENERATE_TEXT;
}

/* Text that is no mark. */
static void put_plain(splitter *s, const char *text, size_t n)
{
    while (s->blank && n && is_blank(*text)) {
        text++;
        n--;
    }
    if (n) {
        s->blank = false;
        put(s, plain_kind(s), text, n);
    }
}

/* ---- fixed texts --------------------------------------------------------------------------------- */

static void skip_blank(split_fixed *f)
{
    for (;;) {
        while (is_blank(f->first[f->at]))
            f->at++;
        if (f->first[f->at] || !f->second)
            return;
        *f = (split_fixed){.first = f->second};
    }
}

/* Both texts but for their first skip bytes. */
static void fixed_begin(split_fixed *f, const char *first, const char *second, size_t skip)
{
    size_t n = strlen(first);
    *f = (split_fixed){.first = first, .second = second, .at = skip};
    if (skip >= n && second)
        *f = (split_fixed){.first = second, .at = skip - n};
    if (f->at > strlen(f->first))
        f->at = strlen(f->first);
    skip_blank(f);
}

static bool fixed_over(const split_fixed *f)
{
    return !f->first[f->at];
}

/* False: c is not what should come. */
static bool fixed_step(split_fixed *f, char c)
{
    if (is_blank(c))
        return true;
    if (f->first[f->at] == FRAME_ID) {
        f->id = true;
        f->at++;
    }
    if (f->id && f->first[f->at] != c)
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '_' || c == '-';
    f->id = false;
    if (f->first[f->at] != c)
        return false;
    f->at++;
    skip_blank(f);
    return true;
}

/* ---- calls --------------------------------------------------------------------------------------- */

static void open_call(splitter *s, size_t skip)
{
    s->state = SPLIT_OPEN;
    fixed_begin(&s->fixed, s->w->frame.head, s->w->frame.open, skip);
    if (fixed_over(&s->fixed))
        s->state = SPLIT_NAME;
}

/* What looked like a call is none: it is text. */
static void no_call(splitter *s)
{
    s->state = SPLIT_TEXT;
    s->blank = false;
    put(s, GENERATE_TEXT, tern_str_get(&s->held), s->held.len);
    tern_str_clear(&s->held);
}

static void step_name(splitter *s, char c)
{
    bool letter = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '_' || c == '-' || c == '.';
    if (letter && s->name.len < MAX_NAME) {
        tern_str_putc(&s->name, c);
        return;
    }
    if (is_blank(c) && s->name.len == 0)
        return;
    fixed_begin(&s->fixed, s->w->frame.mid, NULL, 0);
    if (s->name.len == 0 || !fixed_step(&s->fixed, c)) {
        no_call(s);
        return;
    }
    s->state = SPLIT_MID;
}

static void begin_arguments(splitter *s)
{
    flush(s);
    s->emit(s->ctx, GENERATE_CALL, tern_str_get(&s->name), s->name.len);
    tern_str_clear(&s->name);
    tern_str_clear(&s->held);
    s->n_call++;
    s->state = SPLIT_ARGUMENTS;
    s->depth = 0;
    s->in_string = s->escaped = false;
}

static void step_arguments(splitter *s, char c)
{
    if (s->depth == 0 && is_blank(c))
        return;
    put(s, GENERATE_ARGUMENTS, &c, 1);
    if (s->in_string) {
        if (s->escaped)
            s->escaped = false;
        else if (c == '\\')
            s->escaped = true;
        else if (c == '"')
            s->in_string = false;
        return;
    }
    s->in_string = c == '"';
    s->depth += c == '{' || c == '[';
    s->depth -= c == '}' || c == ']';
    if (s->depth <= 0 && !s->in_string) {
        s->state = SPLIT_CLOSE;
        fixed_begin(&s->fixed, s->w->frame.close, NULL, 0);
    }
}

/* Behind one call: another one, or what ends them all. */
static void begin_between(splitter *s)
{
    s->state = SPLIT_BETWEEN;
    fixed_begin(&s->fixed, s->w->frame.sep, s->w->frame.open, 0);
    fixed_begin(&s->other, s->w->frame.tail, NULL, 0);
    s->fixed_alive = !s->w->frame.single;
    s->other_alive = !fixed_over(&s->other);
}

static void step_between(splitter *s, char c)
{
    if (is_blank(c))
        return;
    s->fixed_alive = s->fixed_alive && fixed_step(&s->fixed, c);
    s->other_alive = s->other_alive && fixed_step(&s->other, c);
    if (s->fixed_alive && fixed_over(&s->fixed)) {
        s->state = SPLIT_NAME;
    } else if (s->other_alive && fixed_over(&s->other)) {
        s->state = SPLIT_TEXT;
        s->blank = true;
    } else if (!s->fixed_alive && !s->other_alive) {
        s->state = SPLIT_TEXT;
        s->blank = false;
        put(s, GENERATE_TEXT, &c, 1);
    }
}

static void step_call(splitter *s, char c)
{
    if (s->state == SPLIT_OPEN || s->state == SPLIT_NAME || s->state == SPLIT_MID)
        tern_str_putc(&s->held, c);
    switch (s->state) {
    case SPLIT_OPEN:
        if (!fixed_step(&s->fixed, c))
            no_call(s);
        else if (fixed_over(&s->fixed))
            s->state = SPLIT_NAME;
        break;
    case SPLIT_NAME:
        step_name(s, c);
        break;
    case SPLIT_MID:
        if (!fixed_step(&s->fixed, c))
            no_call(s);
        break;
    case SPLIT_ARGUMENTS:
        step_arguments(s, c);
        break;
    case SPLIT_CLOSE:
        if (!fixed_step(&s->fixed, c))
            begin_between(s);
        break;
    default:
        step_between(s, c);
        break;
    }
    if (s->state == SPLIT_MID && fixed_over(&s->fixed))
        begin_arguments(s);
    if (s->state == SPLIT_CLOSE && fixed_over(&s->fixed))
        begin_between(s);
}

/* ---- marks --------------------------------------------------------------------------------------- */

static bool begins(const char *mark, const tern_str *held)
{
    return strncmp(mark, tern_str_get(held), held->len) == 0;
}

/* Whether held is this mark (1), the beginning of it (0), or neither (-1). */
static int compare(const char *mark, bool on, const tern_str *held)
{
    if (!on || !begins(mark, held))
        return -1;
    return strlen(mark) == held->len;
}

static void found_mark(splitter *s, split_state next)
{
    flush(s);
    tern_str_clear(&s->held);
    s->state = next;
    s->blank = true;
}

/* What is held back as far as it is no mark; true: go on waiting. */
static bool look_for_marks(splitter *s)
{
    int think = compare(s->w->think, s->marks && s->state == SPLIT_START, &s->held);
    int end = compare(s->w->think_end, s->state == SPLIT_THINK, &s->held);
    int call = compare(s->w->frame.trigger, s->calls, &s->held);
    if (think == 1)
        found_mark(s, SPLIT_THINK);
    else if (end == 1)
        found_mark(s, SPLIT_TEXT);
    else if (call == 1)
        open_call(s, s->held.len);
    return think >= 0 || end >= 0 || call >= 0;
}

static void drop_first(tern_str *held)
{
    memmove(held->data, held->data + 1, held->len--);
}

static void step_plain(splitter *s, char c)
{
    tern_str_putc(&s->held, c);
    while (s->held.len && !s->held.failed && !look_for_marks(s)) {
        char first = s->held.data[0];
        if (s->state == SPLIT_START && !is_blank(first))
            s->state = SPLIT_TEXT;
        put_plain(s, &first, 1);
        drop_first(&s->held);
    }
}

/* ---- the whole ------------------------------------------------------------------------------------ */

void split_init(splitter *s, const generate_words *w, bool marks, bool thinking, bool calls,
                bool only_calls)
{
    *s = (splitter){.w = w, .marks = marks, .calls = calls, .run_kind = GENERATE_TEXT};
    tern_str_init(&s->held, MAX_HELD);
    tern_str_init(&s->run, (size_t)16 << 20);
    tern_str_init(&s->name, MAX_NAME + 1);
    s->state = !marks ? SPLIT_TEXT : thinking ? SPLIT_THINK : SPLIT_START;
    s->blank = marks && thinking;
    if (only_calls && !(marks && thinking))
        open_call(s, 0);
}

void split_done(splitter *s)
{
    tern_str_done(&s->held);
    tern_str_done(&s->run);
    tern_str_done(&s->name);
}

void split_feed(splitter *s, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s->state <= SPLIT_TEXT)
            step_plain(s, text[i]);
        else
            step_call(s, text[i]);
    }
    flush(s);
    s->failed |= s->held.failed || s->name.failed;
}

void split_end(splitter *s)
{
    if (s->state <= SPLIT_TEXT) {
        put_plain(s, tern_str_get(&s->held), s->held.len);
        tern_str_clear(&s->held);
    } else if (s->held.len) {
        no_call(s);
    }
    flush(s);
}
