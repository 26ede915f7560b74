/* From a task and an input to token ids: the prompt, and behind it every text that may be the answer.
 *
 * An answer's ids are those that the prompt's text with the answer's text has, so that answers are cut
 * as the model has seen them cut. Where a token grows over the border ("Answer: " and "yes") the prompt's
 * last tokens differ; all answers are then scored from the first place where one of them does, and stay
 * comparable. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "common/text_ids.h"
#include "decide/decide.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TEXT ((size_t)64 << 20)

/* ---- ids ----------------------------------------------------------------------------------- */

static size_t common(const tern_ids *a, const tern_ids *b)
{
    size_t n = 0, most = a->n < b->n ? a->n : b->n;
    while (n < most && a->v[n] == b->v[n])
        n++;
    return n;
}

/* ---- the prompt's text --------------------------------------------------------------------- */

static const char *shown_text(const decide_label *l)
{
    return l->text[0];
}

static void put_list(const decide_task *t, const decide_labels *l, tern_str *s)
{
    bool described = false;
    if (t->kind == DECIDE_YES_NO) {
        tern_str_puts(s, "Answer yes or no.");
        return;
    }
    if (t->kind == DECIDE_SCORE) {
        tern_str_printf(s, "Answer with a number from %s to %s.", l->v[0].name,
                        l->v[l->n - 1].name);
        return;
    }
    for (size_t i = 0; i < l->n; i++)
        described |= l->v[i].description != NULL;
    tern_str_puts(s, described ? "Answer with one of these:" : "Answer with one of: ");
    for (size_t i = 0; i < l->n; i++) {
        tern_str_puts(s, described ? "\n- " : i ? ", " : "");
        tern_str_puts(s, shown_text(&l->v[i]));
        if (l->v[i].description)
            tern_str_printf(s, ": %s", l->v[i].description);
    }
    tern_str_puts(s, described ? "" : ".");
}

static void put_json(const json_t *v, tern_str *s)
{
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    if (text)
        tern_str_puts(s, text);
    else
        s->failed = true;
    free(text);
}

/* What stands before the first input. Labels that an item brings stand behind it instead, so that inputs
 * still begin alike. */
static void put_head(const decide_task *t, tern_str *s)
{
    if (t->instruction && *t->instruction)
        tern_str_printf(s, "%s\n\n", t->instruction);
    if (t->list && t->kind == DECIDE_EXTRACT) {
        tern_str_puts(s, "Answer with a JSON object of this schema: ");
        put_json(t->schema, s);
    } else if (t->list && t->labels.n)
        put_list(t, &t->labels, s);
    else
        return;
    tern_str_puts(s, "\n\n");
}

static void put_input(const decide_task *t, const decide_labels *l, const char *input, tern_str *s)
{
    tern_str_puts(s, input);
    if (t->list && t->kind == DECIDE_CHOICE && t->labels.n == 0 && l && l->n) {
        tern_str_puts(s, "\n\n");
        put_list(t, l, s);
    }
}

/* An example's answer as it stands in the prompt. */
static void put_answer(const decide_task *t, const json_t *e, tern_str *s)
{
    const json_t *label = json_object_get(e, "label");
    if (t->labels.n)
        tern_str_puts(s, shown_text(&t->labels.v[decide_label_find(&t->labels, label, false)]));
    else if (json_is_string(label))
        tern_str_puts(s, json_string_value(label));
    else
        put_json(label, s);
}

/* ---- raw ----------------------------------------------------------------------------------- */

static const char *cue_of(const decide_task *t)
{
    return t->cue ? t->cue : "\nAnswer:";
}

static void put_asked(const decide_task *t, const decide_labels *l, const char *input, tern_str *s)
{
    put_input(t, l, input, s);
    if (*cue_of(t) == '\n')
        while (!s->failed && s->len > 0 && s->data[s->len - 1] == '\n')
            s->data[--s->len] = '\0';
    tern_str_puts(s, cue_of(t));
}

static tern_code raw_text(const decide_task *t, const decide_labels *l, const char *input,
                          tern_str *s, tern_err *err)
{
    if (t->system && *t->system)
        tern_str_printf(s, "%s\n\n", t->system);
    put_head(t, s);
    for (size_t i = 0; i < json_array_size(t->examples); i++) {
        const json_t *e = json_array_get(t->examples, i);
        put_asked(t, NULL, json_string_value(json_object_get(e, "input")), s);
        tern_str_putc(s, ' ');
        put_answer(t, e, s);
        tern_str_puts(s, "\n\n");
    }
    put_asked(t, l, input, s);
    return s->failed ? tern_fail(err, TERN_E_NOMEM, "out of memory for the prompt") : TERN_OK;
}

/* ---- conversations ------------------------------------------------------------------------- */

static bool push(json_t *messages, const char *role, const char *content)
{
    return json_array_append_new(messages,
                                 json_pack("{s:s, s:s}", "role", role, "content", content)) == 0;
}

static bool push_examples(const decide_task *t, json_t *messages, tern_str *s)
{
    bool ok = true;
    for (size_t i = 0; ok && i < json_array_size(t->examples); i++) {
        const json_t *e = json_array_get(t->examples, i);
        put_input(t, NULL, json_string_value(json_object_get(e, "input")), s);
        ok = !s->failed && push(messages, "user", tern_str_get(s));
        tern_str_clear(s);
        put_answer(t, e, s);
        ok = ok && !s->failed && push(messages, "assistant", tern_str_get(s));
        tern_str_clear(s);
    }
    return ok;
}

static tern_code chat_prompt(const decide_host *h, const decide_task *t, const decide_labels *l,
                             const char *input, tern_ids *out, tern_err *err)
{
    tern_str s;
    json_t *messages = json_array();
    tern_str_init(&s, MAX_TEXT);
    bool ok = messages && (!t->system || !*t->system || push(messages, "system", t->system));
    put_head(t, &s);
    ok = ok && push_examples(t, messages, &s);
    put_input(t, l, input, &s);
    if (t->cue)
        tern_str_puts(&s, t->cue);
    ok = ok && !s.failed && push(messages, "user", tern_str_get(&s));
    char *json = ok ? json_dumps(messages, 0) : NULL;
    int32_t *ids = NULL;
    size_t n;
    tern_code rc = json ? tern_model_chat_tokenize(h->m, json, NULL, true, &ids, &n, err)
                        : tern_fail(err, TERN_E_NOMEM, "out of memory for the prompt");
    if (rc == TERN_OK)
        rc = tern_ids_put(out, ids, n, err);
    tern_ids_free(ids);
    free(json);
    tern_str_done(&s);
    json_decref(messages);
    return rc;
}

tern_code decide_prompt(const decide_host *h, const decide_task *t, const decide_labels *l,
                        const char *input, tern_ids *out, tern_err *err)
{
    tern_str s;
    if (t->chat)
        return chat_prompt(h, t, l, input, out, err);
    tern_str_init(&s, MAX_TEXT);
    tern_code rc = raw_text(t, l, input, &s, err);
    if (rc == TERN_OK)
        rc = text_ids_add(out, h->m, tern_str_get(&s), s.len, TERN_TOKENIZE_ADD_SPECIAL, err);
    tern_str_done(&s);
    return rc;
}

tern_code decide_prefix(const decide_host *h, const decide_task *t, tern_ids *out, tern_err *err)
{
    tern_ids a = {0}, b = {0};
    tern_code rc;
    TERN_TRY_GOTO(decide_prompt(h, t, NULL, "A", &a, err));
    TERN_TRY_GOTO(decide_prompt(h, t, NULL, "0 x", &b, err));
    rc = tern_ids_put(out, a.v, common(&a, &b), err);
fail:
    tern_ids_done(&a);
    tern_ids_done(&b);
    return rc;
}

/* ---- answers ------------------------------------------------------------------------------- */

/* A control token shows on demand only. */
static tern_code is_control(const tern_model *m, int32_t id, bool *out, tern_err *err)
{
    char *hidden = NULL, *whole = NULL;
    size_t n_hidden, n_whole = 0;
    tern_code rc = tern_model_detokenize(m, &id, 1, false, &hidden, &n_hidden, err);
    if (rc == TERN_OK && n_hidden == 0)
        rc = tern_model_detokenize(m, &id, 1, true, &whole, &n_whole, err);
    *out = rc == TERN_OK && n_hidden == 0 && n_whole > 0;
    tern_string_free(hidden);
    tern_string_free(whole);
    return rc;
}

/* How far back a conversation's prompt is looked at for its last control token. */
#define MAX_OPENING 64

/* The plain text behind a conversation's last control token ("assistant\n"), which answers continue, and the
 * number of ids before it. Where those ids do not come back from that text it is empty. */
static tern_code find_opening(const decide_host *h, const tern_ids *prompt, size_t *n_before,
                              char **text, size_t *n_text, tern_err *err)
{
    size_t at = prompt->n;
    bool control = false;
    tern_ids again = {0};
    *text = NULL;
    *n_text = 0;
    while (at > 0 && prompt->n - at < MAX_OPENING && !control) {
        TERN_TRY(is_control(h->m, prompt->v[at - 1], &control, err));
        at -= !control;
    }
    *n_before = prompt->n;
    if (!control || at == prompt->n)
        return TERN_OK;
    TERN_TRY(tern_model_detokenize(h->m, prompt->v + at, prompt->n - at, false, text, n_text, err));
    tern_code rc = text_ids_add(&again, h->m, *text, *n_text, 0, err);
    bool same = again.n == prompt->n - at &&
                memcmp(again.v, prompt->v + at, again.n * sizeof *again.v) == 0;
    if (rc == TERN_OK && same)
        *n_before = at;
    else
        *n_text = 0;
    tern_ids_done(&again);
    return rc;
}

#define STAND_IN "7Qz"

/* What the template writes behind an assistant's message, up to its first control token. */
static tern_code end_of_turn(const decide_host *h, tern_ids *out, tern_err *err)
{
    tern_model_info info = {.size = sizeof info};
    tern_err ignored;
    char *text = NULL;
    size_t n = 0;
    tern_model_info_get(h->m, &info);
    const char *at = NULL,
               *talk = "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
                       "\"" STAND_IN "\"}]";
    if (tern_model_chat_prompt(h->m, talk, NULL, false, &text, &n, &ignored) == TERN_OK)
        at = strstr(text, STAND_IN);
    tern_code rc = TERN_OK;
    size_t before = out->n, keep = before;
    if (at) {
        at += strlen(STAND_IN);
        rc = text_ids_add(out, h->m, at, n - (size_t)(at - text), TERN_TOKENIZE_PARSE_SPECIAL, err);
    }
    for (size_t i = before; rc == TERN_OK && i < out->n && keep == before; i++) {
        bool control;
        rc = is_control(h->m, out->v[i], &control, err);
        if (control)
            keep = i + 1;
    }
    out->n = keep;
    if (rc == TERN_OK && keep == before && info.eos >= 0)
        rc = tern_ids_put(out, &info.eos, 1, err);
    tern_string_free(text);
    return rc;
}

static tern_code end_ids(const decide_host *h, const decide_task *t, tern_ids *out, tern_err *err)
{
    if (t->end == DECIDE_END_TEXT)
        return text_ids_add(out, h->m, t->end_text, strlen(t->end_text),
                            TERN_TOKENIZE_PARSE_SPECIAL, err);
    return t->end == DECIDE_END_AUTO && t->chat ? end_of_turn(h, out, err) : TERN_OK;
}

/* What answers are appended to. */
typedef struct opening {
    const tern_ids *before; /* ids that stay, the first n_before of them */
    size_t n_before;
    const char *text; /* tokenised together with an answer */
    size_t n_text;
    unsigned flags;
    const char *gap;
    tern_ids end;
} opening;

static tern_code add_answer(const decide_host *h, const opening *o, const char *text, tern_ids *out,
                            tern_err *err)
{
    tern_str s;
    tern_str_init(&s, MAX_TEXT);
    tern_str_put(&s, o->text, o->n_text);
    tern_str_puts(&s, o->gap);
    tern_str_puts(&s, text);
    tern_code rc = s.failed ? tern_fail(err, TERN_E_NOMEM, "out of memory for an answer") : TERN_OK;
    if (rc == TERN_OK)
        rc = tern_ids_put(out, o->before->v, o->n_before, err);
    if (rc == TERN_OK)
        rc = text_ids_add(out, h->m, tern_str_get(&s), s.len, o->flags, err);
    if (rc == TERN_OK)
        rc = tern_ids_put(out, o->end.v, o->end.n, err);
    tern_str_done(&s);
    return rc;
}

/* Answers are scored from the first place where one of them leaves the prompt. */
static tern_code find_given(decide_asked *a, tern_err *err)
{
    a->n_given = a->prompt.n;
    for (size_t i = 0; i < a->n_text; i++) {
        size_t n = common(&a->prompt, &a->text[i]);
        n = n < a->text[i].n ? n : a->text[i].n - 1;
        a->n_given = n < a->n_given ? n : a->n_given;
    }
    if (a->n_given == 0)
        return tern_fail(err, TERN_E_USAGE,
                         "the prompt has no token before the answer: give an instruction or a cue");
    return TERN_OK;
}

/* By their tokens behind what all share, beginnings before what goes on from them. */
static int compare_texts(const void *pa, const void *pb, void *ctx)
{
    const decide_asked *a = ctx;
    const tern_ids *x = &a->text[*(const size_t *)pa], *y = &a->text[*(const size_t *)pb];
    size_t most = x->n < y->n ? x->n : y->n;
    for (size_t i = a->n_given; i < most; i++)
        if (x->v[i] != y->v[i])
            return x->v[i] < y->v[i] ? -1 : 1;
    return (x->n > y->n) - (x->n < y->n);
}

static bool begins_with(const decide_asked *a, size_t longer, size_t shorter)
{
    const tern_ids *x = &a->text[longer], *y = &a->text[shorter];
    return y->n <= x->n &&
           memcmp(x->v + a->n_given, y->v + a->n_given, (y->n - a->n_given) * sizeof *y->v) == 0;
}

/* In sorted order what a text begins with is the text before it, or one of its parents. */
static tern_code find_parents(decide_asked *a, tern_err *err)
{
    size_t *order = tern_calloc(a->n_text, sizeof *order);
    a->parent = tern_calloc(a->n_text, sizeof *a->parent);
    if (!order || !a->parent) {
        tern_free(order);
        return tern_fail(err, TERN_E_NOMEM, "out of memory for %zu answers", a->n_text);
    }
    tern_code rc = TERN_OK;
    for (size_t i = 0; i < a->n_text; i++)
        order[i] = i;
    qsort_r(order, a->n_text, sizeof *order, compare_texts, a);
    for (size_t i = 0; rc == TERN_OK && i < a->n_text; i++) {
        size_t p = i > 0 ? order[i - 1] : SIZE_MAX;
        if (i > 0 && compare_texts(&order[i - 1], &order[i], a) == 0)
            rc = tern_fail(err, TERN_E_USAGE,
                           "two answers are the same tokens: their texts %zu and %zu",
                           order[i - 1] + 1, order[i] + 1);
        while (p != SIZE_MAX && !begins_with(a, order[i], p))
            p = a->parent[p];
        a->parent[order[i]] = p;
    }
    tern_free(order);
    return rc;
}

static tern_code add_answers(const decide_host *h, const decide_labels *l, const opening *o,
                             decide_asked *a, tern_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += l->v[i].n_text;
    if (n > DECIDE_MAX_ALL)
        return tern_fail(err, TERN_E_LIMIT, "labels with %zu texts in all, at most %d", n,
                         DECIDE_MAX_ALL);
    a->text = tern_calloc(n, sizeof *a->text);
    if (!a->text)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for %zu answers", n);
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < l->v[i].n_text; k++)
            TERN_TRY(add_answer(h, o, l->v[i].text[k], &a->text[a->n_text++], err));
    TERN_TRY(find_given(a, err));
    return find_parents(a, err);
}

/* What answers continue: the prompt's ids, and as text what stands behind its last control token and what
 * of the answer is there already, with which the ids of a->prompt then end. */
static tern_code open_answer(const decide_host *h, const decide_task *t, const decide_labels *l,
                             const char *input, const char *said, decide_asked *a, opening *o,
                             tern_ids *before, tern_str *text, tern_err *err)
{
    char *tail = NULL;
    size_t n_tail = 0;
    tern_code rc = TERN_OK;
    if (t->chat) {
        TERN_TRY(chat_prompt(h, t, l, input, before, err));
        rc = find_opening(h, before, &o->n_before, &tail, &n_tail, err);
        tern_str_put(text, tail, n_tail);
        tern_string_free(tail);
        if (rc != TERN_OK)
            return rc;
    } else {
        TERN_TRY(raw_text(t, l, input, text, err));
        o->flags = TERN_TOKENIZE_ADD_SPECIAL;
    }
    if (said) {
        tern_str_puts(text, o->gap);
        tern_str_puts(text, said);
        o->gap = "";
    }
    if (text->failed)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the prompt");
    o->before = before;
    o->text = tern_str_get(text);
    o->n_text = text->len;
    rc = tern_ids_put(&a->prompt, before->v, o->n_before, err);
    return rc != TERN_OK ? rc : text_ids_add(&a->prompt, h->m, o->text, o->n_text, o->flags, err);
}

static tern_code check_room(const decide_host *h, const decide_asked *a, tern_err *err)
{
    if (a->prompt.n > h->n_ctx)
        return tern_fail(err, TERN_E_LIMIT, "a prompt of %zu tokens, the context holds %zu",
                         a->prompt.n, h->n_ctx);
    for (size_t i = 0; i < a->n_text; i++)
        if (a->text[i].n > h->n_ctx + 1)
            return tern_fail(err, TERN_E_LIMIT,
                             "a prompt with answer of %zu tokens, the context holds %zu",
                             a->text[i].n - 1, h->n_ctx);
    return TERN_OK;
}

tern_code decide_ask(const decide_host *h, const decide_task *t, const decide_labels *l,
                     const char *input, const char *said, decide_asked *out, tern_err *err)
{
    opening o = {.gap = t->chat ? "" : " "};
    tern_ids before = {0};
    tern_str text;
    tern_code rc;
    *out = (decide_asked){0};
    tern_str_init(&text, MAX_TEXT);
    if (!said) /* what continues an answer ends with what continues it in turn */
        TERN_TRY_GOTO(end_ids(h, t, &o.end, err));
    TERN_TRY_GOTO(open_answer(h, t, l, input, said, out, &o, &before, &text, err));
    TERN_TRY_GOTO(add_answers(h, l, &o, out, err));
    rc = check_room(h, out, err);
fail:
    tern_ids_done(&o.end);
    tern_ids_done(&before);
    tern_str_done(&text);
    if (rc != TERN_OK)
        decide_asked_done(out);
    return rc;
}

void decide_asked_done(decide_asked *a)
{
    for (size_t i = 0; i < a->n_text; i++)
        tern_ids_done(&a->text[i]);
    tern_free(a->text);
    tern_free(a->parent);
    tern_ids_done(&a->prompt);
    *a = (decide_asked){0};
}
