/* What the normalizer and the pre_tokenizer of a tokenizer.json do to text, in a form that can be
 * compared: files say the same in several ways. */
#include "base/error.h"
#include "text/hf.h"
#include "text/pretok.h"

#include <string.h>

#define DEPTH_MAX  8 /* of steps within steps; real files have two */
#define STEP_MAX   64
#define FORM_BYTES 65536
#define PASS_MAX   6
#define BYTE_LEVEL                                                                                 \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

typedef struct form_row {
    const char *plain, *whole;
    const char *pass[PASS_MAX + 1]; /* NULL behind the last */
} form_row;

static const form_row rows[] = {
#define FORM(plain, whole, ...) {plain, whole, {__VA_ARGS__, NULL}},
#include "text/hf_form.def"
};
#define N_ROW (sizeof rows / sizeof rows[0])

static const struct {
    const char *name, *pass;
} named[] = {
#define STEP(name, pass) {name, pass},
#include "text/hf_form.def"
};
#define N_STEP (sizeof named / sizeof named[0])

void tern_hf_form_done(tern_hf_form *f)
{
    tern_str_done(&f->passes);
    tern_str_done(&f->changes);
}

static const char *text_of(const json_t *step, const char *key)
{
    const char *s = json_string_value(json_object_get(step, key));
    return s ? s : "";
}

static bool flag_of(const json_t *step, const char *key, bool absent)
{
    const json_t *v = json_object_get(step, key);
    return json_is_boolean(v) ? json_is_true(v) : absent;
}

static void put_step(tern_str *out, const char *text)
{
    if (out->len)
        tern_str_putc(out, '\n');
    for (; *text; text++)
        if (*text == '\r' || *text == '\n')
            tern_str_puts(out, *text == '\r' ? "\\r" : "\\n");
        else
            tern_str_putc(out, *text);
}

/* A step that is not known, by its type and what says most about it. */
static void put_unknown(tern_str *out, const json_t *step)
{
    char name[96];
    const char *type = text_of(step, "type"), *more = text_of(step, "behavior");
    size_t n = 0, n_type = strlen(type), n_more = strlen(more);
    n_type = n_type > 40 ? 40 : n_type;
    n_more = n_more > 40 ? 40 : n_more;
    memcpy(name, n_type ? type : "?", n = n_type ? n_type : 1);
    if (n_more) {
        name[n++] = '(';
        memcpy(name + n, more, n_more);
        n += n_more;
        name[n++] = ')';
    }
    name[n] = 0;
    put_step(out, name);
}

/* Visit a step, or those of a sequence of them, which stand under `list`. */
typedef void (*step_fn)(const json_t *step, tern_hf_form *f);
static tern_code visit(tern_hf *h, const json_t *step, const char *list, step_fn fn,
                       tern_hf_form *f, int depth)
{
    if (!step || json_is_null(step))
        return TERN_OK;
    if (!json_is_object(step) || depth == DEPTH_MAX)
        return tern_hf_fail(h, TERN_HF_TOKENIZER, TERN_E_FORMAT,
                            "a step of what happens to text is no object, or %d deep", depth);
    if (strcmp(text_of(step, "type"), "Sequence") != 0) {
        fn(step, f);
        return TERN_OK;
    }
    const json_t *steps = json_object_get(step, list);
    if (!json_is_array(steps) || json_array_size(steps) > STEP_MAX)
        return tern_hf_fail(h, TERN_HF_TOKENIZER, TERN_E_FORMAT,
                            "a Sequence has no list '%s' of up to %d steps", list, STEP_MAX);
    for (size_t i = 0; i < json_array_size(steps); i++)
        TERN_TRY(visit(h, json_array_get(steps, i), list, fn, f, depth + 1));
    return TERN_OK;
}

/* ---- the normalizer ------------------------------------------------------------------------ */

static void normalizer_step(const json_t *step, tern_hf_form *f)
{
    const char *type = text_of(step, "type");
    const char *pattern = text_of(json_object_get(step, "pattern"), "String");
    if (strcmp(type, "NFC") == 0)
        f->nfc = true;
    else if (strcmp(type, "Replace") == 0 && strcmp(pattern, " ") == 0 &&
             strcmp(text_of(step, "content"), TERN_SPM_SPACE) == 0)
        f->to_space_mark = true;
    else if (strcmp(type, "Prepend") == 0 && strcmp(text_of(step, "prepend"), TERN_SPM_SPACE) == 0)
        f->prefix = true;
    else
        put_unknown(&f->changes, step);
}

/* ---- the pre_tokenizer --------------------------------------------------------------------- */

/* Matches are words and so is what lies between: said directly, or by removing what is no match, which
 * is the same for the expressions that match everything, as all in the table do. */
static void split_step(const json_t *step, tern_hf_form *f)
{
    const json_t *pattern = json_object_get(step, "pattern");
    const char *behavior = text_of(step, "behavior"), *regex = text_of(pattern, "Regex");
    bool invert = flag_of(step, "invert", false);
    if (*regex && strcmp(behavior, invert ? "Removed" : "Isolated") == 0)
        put_step(&f->passes, regex);
    else if (strcmp(text_of(pattern, "String"), " ") != 0 || !f->to_space_mark)
        put_unknown(&f->passes, step);
    /* else no space is left to split at */
}

static void byte_level_step(const json_t *step, tern_hf_form *f)
{
    f->byte_level = true;
    if (flag_of(step, "add_prefix_space", true))
        put_step(&f->changes, "ByteLevel with add_prefix_space");
    if (flag_of(step, "use_regex", true))
        put_step(&f->passes, BYTE_LEVEL);
}

static void metaspace_step(const json_t *step, tern_hf_form *f)
{
    const char *scheme = text_of(step, "prepend_scheme");
    if (!*scheme) /* as files said it before there were schemes */
        scheme = flag_of(step, "add_prefix_space", true) ? "always" : "never";
    bool first = strcmp(scheme, "first") == 0;
    if (strcmp(text_of(step, "replacement"), TERN_SPM_SPACE) != 0) {
        put_unknown(&f->changes, step);
        return;
    }
    f->to_space_mark = true;
    f->cuts_at_space_mark |= flag_of(step, "split", true);
    if (first || strcmp(scheme, "always") == 0) {
        f->prefix = true;
        f->metaspace = first ? "first" : "always";
    }
}

/* Behind ByteLevel other digits than ASCII's are spelled by their bytes. (So are bytes by digits, as ½,
 * but no vocabulary made with such a step has tokens that join those to others.) */
static void digits_step(const json_t *step, tern_hf_form *f)
{
    bool each = flag_of(step, "individual_digits", false);
    const char *digit = f->byte_level ? "[0-9]" : "\\p{N}";
    const char *digits = f->byte_level ? "[0-9]+" : "\\p{N}+";
    put_step(&f->passes, each ? digit : digits);
}

static void pre_step(const json_t *step, tern_hf_form *f)
{
    const char *type = text_of(step, "type");
    if (strcmp(type, "Split") == 0)
        split_step(step, f);
    else if (strcmp(type, "Digits") == 0)
        digits_step(step, f);
    else if (strcmp(type, "ByteLevel") == 0)
        byte_level_step(step, f);
    else if (strcmp(type, "Metaspace") == 0)
        metaspace_step(step, f);
    else
        put_unknown(&f->passes, step);
}

tern_code tern_hf_form_read(tern_hf *h, const json_t *tokenizer, tern_hf_form *f)
{
    *f = (tern_hf_form){0};
    tern_str_init(&f->passes, FORM_BYTES);
    tern_str_init(&f->changes, FORM_BYTES);
    TERN_TRY(
        visit(h, json_object_get(tokenizer, "normalizer"), "normalizers", normalizer_step, f, 0));
    TERN_TRY(
        visit(h, json_object_get(tokenizer, "pre_tokenizer"), "pretokenizers", pre_step, f, 0));
    if (!f->passes.failed && !f->changes.failed)
        return TERN_OK;
    return f->passes.len > FORM_BYTES / 2 || f->changes.len > FORM_BYTES / 2
               ? tern_hf_fail(h, TERN_HF_TOKENIZER, TERN_E_LIMIT,
                              "more than %d bytes of expressions that cut text", FORM_BYTES)
               : tern_hf_no_memory(h);
}

/* ---- the table ----------------------------------------------------------------------------- */

static bool matches(const form_row *row, const char *passes)
{
    for (size_t i = 0; row->pass[i]; i++) {
        size_t n = strlen(row->pass[i]);
        if (strncmp(passes, row->pass[i], n) != 0)
            return false;
        passes += n;
        if (row->pass[i + 1] && *passes++ != '\n')
            return false;
    }
    return !*passes;
}

/* A form of steps that have names by themselves, as pretok.c reads them; NULL: it has another, or more
 * than can be. */
static char *list_steps(tern_hf *h, const char *passes)
{
    char text[96] = "steps:";
    size_t n = strlen(text), head = n, count = 0;
    for (; *passes; count++) {
        size_t len = strcspn(passes, "\n"), i = 0;
        while (i < N_STEP &&
               (strlen(named[i].pass) != len || memcmp(named[i].pass, passes, len) != 0))
            i++;
        size_t n_name = i < N_STEP ? strlen(named[i].name) : 0;
        if (!n_name || count == PASS_MAX || n + n_name + 2 > sizeof text)
            return NULL;
        if (n > head)
            text[n++] = '+';
        memcpy(text + n, named[i].name, n_name);
        n += n_name;
        passes += len + (passes[len] == '\n');
    }
    return n > head ? tern_arena_strdup_n(&h->arena, text, n) : NULL;
}

const char *tern_hf_form_pre(tern_hf *h, const tern_hf_form *f)
{
    const char *passes = tern_str_get(&f->passes);
    for (size_t i = 0; i < N_ROW; i++) {
        if (!matches(&rows[i], passes))
            continue;
        bool whole = h->ignore_merges == TERN_HF_YES && *rows[i].whole;
        const char *pre = whole ? rows[i].whole : rows[i].plain;
        /* Where both are one name it implies the flag, else it does not. */
        bool implied = whole || strcmp(rows[i].plain, rows[i].whole) == 0;
        if (implied == (h->ignore_merges == TERN_HF_YES))
            h->ignore_merges = TERN_HF_UNSAID;
        return pre;
    }
    if (!*passes)
        passes = "no pre_tokenizer";
    char *listed = list_steps(h, passes);
    if (listed) {
        if (h->ignore_merges == TERN_HF_NO)
            h->ignore_merges = TERN_HF_UNSAID;
        return listed;
    }
    size_t n = strlen(passes);
    char *name = tern_arena_strdup_n(&h->arena, passes, n);
    for (char *p = name; p && *p; p++)
        if (*p == '\n')
            *p = ' ';
    return name;
}
