/* A plain text through a model: which of the readings that a file leaves open is the right one, and the
 * logits by which a model is known again. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/os/outfile.h"
#include "common/text_ids.h"
#include "verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What models of every size and age have read much of. */
static const char plain_text[] =
    "Once upon a time there was a little girl named Lily. She lived in a small house with her mom "
    "and "
    "dad. One day Lily went to the park to play with her friends. The sun was warm and the birds "
    "were "
    "singing. She saw a big red ball under a tree. \"Can I play with the ball?\" she asked. Her "
    "friend "
    "smiled and said, \"Yes, we can play together.\" They ran and jumped and laughed all day. When "
    "it "
    "was time to go home, Lily was very happy. She told her mom about her new friend, and they had "
    "dinner and went to bed.";

#define MAX_TOK 128
/* The first tokens are anybody's guess. */
#define FIRST 8
/* So much better a token, in nats, is no accident of the text: a wrong activation costs 1.8 (perplexity
 * 99.8 instead of 17.1), a wrong order more. */
#define MUCH  0.4
#define N_TOP 5

typedef struct pass {
    const int32_t *ids;
    int32_t n_vocab;
    double sum; /* of -log p */
    int n;
    bool wild;    /* a logit that is NaN or infinite */
    json_t *rows; /* NULL: not wanted */
} pass;

/* The largest logits with their ids, and a hash of all of them. */
static json_t *row_json(const float *logits, int32_t n_vocab)
{
    int32_t top[N_TOP];
    int n = 0;
    char hash[20];
    for (int32_t i = 0; i < n_vocab; i++) {
        int at = n;
        while (at > 0 && logits[i] > logits[top[at - 1]])
            at--;
        if (at == N_TOP)
            continue;
        n += n < N_TOP;
        memmove(top + at + 1, top + at, (size_t)(n - 1 - at) * sizeof *top);
        top[at] = i;
    }
    (void)snprintf(hash, sizeof hash, "%016llx",
                   (unsigned long long)tern_hash64(logits, (size_t)n_vocab * sizeof *logits, 0));
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        (void)json_array_append_new(list, json_pack("[i, f]", top[i], (double)logits[top[i]]));
    return json_pack("{s:s, s:o}", "hash", hash, "top", list);
}

static void take_row(void *ctx, int row, const float *logits)
{
    pass *p = ctx;
    for (int32_t i = 0; i < p->n_vocab; i++)
        p->wild |= !isfinite(logits[i]);
    if (p->rows)
        (void)json_array_append_new(p->rows, p->wild ? json_null() : row_json(logits, p->n_vocab));
    else if (row >= FIRST && !p->wild) {
        p->sum += cli_surprise(logits, p->n_vocab, p->ids[row + 1]);
        p->n++;
    }
}

static tern_code run(tern_model *m, const int32_t *ids, size_t n, pass *p, tern_err *err)
{
    tern_session_opts o;
    tern_session *s;
    tern_model_info info = {.size = sizeof info};
    tern_model_info_get(m, &info);
    tern_session_opts_init(&o);
    o.n_ctx = MAX_TOK;
    o.cache_k = o.cache_v = TERN_CACHE_F32;
    p->ids = ids;
    p->n_vocab = info.n_vocab;
    TERN_TRY(tern_session_new(m, &o, &s, err));
    tern_code rc = tern_session_eval_all(s, ids, n, take_row, p, err);
    tern_session_free(s);
    return rc;
}

static tern_code text_ids(const tern_model *m, tern_ids *ids, tern_err *err)
{
    tern_model_info info = {.size = sizeof info};
    tern_model_info_get(m, &info);
    TERN_TRY(
        text_ids_add(ids, m, plain_text, sizeof plain_text - 1, TERN_TOKENIZE_ADD_SPECIAL, err));
    size_t most =
        info.n_ctx_train > 0 && info.n_ctx_train < MAX_TOK ? (size_t)info.n_ctx_train : MAX_TOK;
    ids->n = ids->n < most ? ids->n : most;
    if (ids->n < 2)
        return tern_fail(err, TERN_E_UNSUPPORTED, "the vocabulary has no tokens for plain text");
    return TERN_OK;
}

/* ---- readings -------------------------------------------------------------------------------- */

typedef struct reading {
    const char *layout, *activation; /* NULL: as the file and the options say */
    double nats;                     /* of a token; NaN: it could not be run */
    bool wild, vectors; /* logits that are not finite; a model of vectors, not of next tokens */
} reading;

/* Nats of a token under one reading; what it is by itself in *arch and *act. */
static tern_code read_as(verify *k, reading *r, char *arch, char *act, size_t cap, double *chance,
                         tern_err *err)
{
    tern_model *m;
    tern_model_info info = {.size = sizeof info};
    tern_ids ids = {0};
    pass p = {0};
    char *text = NULL;
    r->nats = (double)NAN;
    if (cli_interrupt_pending())
        return tern_fail(err, TERN_E_CANCELLED, "interrupted");
    TERN_TRY(verify_open(k, r->layout, r->activation, &m, err));
    tern_model_info_get(m, &info);
    tern_code rc = text_ids(m, &ids, err);
    if (rc == TERN_OK)
        rc = run(m, ids.v, ids.n - 1, &p, err);
    if (rc == TERN_OK && arch)
        rc = tern_model_describe(m, &text, err);
    if (rc == TERN_OK && arch) {
        json_t *o = json_loads(text, 0, NULL);
        const char *a =
            json_string_value(json_object_get(json_object_get(o, "shape"), "activation"));
        (void)snprintf(arch, cap, "%s", info.arch);
        (void)snprintf(act, cap, "%s", a ? a : "");
        json_decref(o);
    }
    tern_string_free(text);
    tern_ids_done(&ids);
    tern_model_close(m);
    *chance = log((double)info.n_vocab);
    r->wild = p.wild;
    r->vectors = info.pooling > 0;
    if (p.n > 0 && !p.wild)
        r->nats = p.sum / p.n;
    return rc;
}

static void note_reading(verify *k, const reading *r, const char *act)
{
    json_t *nats = isfinite(r->nats) ? json_real(r->nats) : json_null();
    const char *layout = k->i2_s ? cli_text(&k->c->opt, OPT_I2S_LAYOUT) : NULL;
    (void)json_array_append_new(
        k->readings, json_pack("{s:s?, s:s, s:o}", "i2s_layout", r->layout ? r->layout : layout,
                               "activation", r->activation ? r->activation : act, "nats", nats));
}

/* Try one more; it becomes the best if it is. A reading that the model cannot have is none. */
static tern_code try_one(verify *k, reading r, const char *act, reading *best, tern_err *err)
{
    double chance;
    tern_code rc = read_as(k, &r, NULL, NULL, 0, &chance, err);
    if (rc == TERN_E_NOMEM || rc == TERN_E_CANCELLED)
        return rc;
    if (rc != TERN_OK)
        return TERN_OK;
    note_reading(k, &r, act);
    if (!(r.nats >= best->nats))
        *best = isfinite(r.nats) ? r : *best;
    return TERN_OK;
}

static void judge(verify *k, const reading *first, const reading *best, double chance)
{
    char how[80] = "";
    if (first->wild)
        verify_say(k, VERIFY_DAMAGED, "logits of a plain text are not finite");
    if (best->layout)
        (void)snprintf(how, sizeof how, "--i2s-layout %s", best->layout);
    if (best->activation)
        (void)snprintf(how + strlen(how), sizeof how - strlen(how), "%s--activation %s",
                       how[0] ? " " : "", best->activation);
    /* The better reading must know some English itself, or two kinds of noise are compared. */
    if (how[0] && best->nats < chance - 1 && !(first->nats <= best->nats + MUCH))
        verify_say(k, VERIFY_SUSPICIOUS,
                   "with %s it predicts plain English at %.2f nats a token, as it is read at %.2f",
                   how, best->nats, first->nats);
    else if (first->vectors)
        verify_say(k, VERIFY_NOTE, "it makes vectors of texts, and need not predict any");
    else if (first->nats > chance + 1)
        verify_say(k, VERIFY_SUSPICIOUS,
                   "it predicts plain English worse than chance: %.2f nats a token, %.2f by chance",
                   first->nats, chance);
    else if (first->nats > chance - 1)
        verify_say(k, VERIFY_NOTE,
                   "it knows no English (%.2f nats a token, %.2f by chance), so "
                   "orders and activations cannot be told apart",
                   first->nats, chance);
}

tern_code verify_readings(verify *k, tern_err *err)
{
    static const char *const layouts[] = {"x86", "arm", "rows4"};
    static const char *const acts[] = {"relu2", "silu"};
    const char *layout = cli_text(&k->c->opt, OPT_I2S_LAYOUT);
    char arch[32] = "", act[32] = "";
    double chance = 0;
    reading first = {0};
    cli_progress(k->c, "reading a text", 0, 5, "");
    TERN_TRY(read_as(k, &first, arch, act, sizeof arch, &chance, err));
    note_reading(k, &first, act);
    reading best = first;
    if (!isfinite(best.nats))
        best.nats = HUGE_VAL;
    for (size_t i = 0; k->i2_s && i < 3; i++) {
        cli_progress(k->c, "reading a text", (double)i + 1, 5, "");
        if (strcmp(layouts[i], layout) != 0)
            TERN_TRY(try_one(k, (reading){.layout = layouts[i]}, act, &best, err));
    }
    /* Activations under the order that turned out best. */
    const char *order = best.layout;
    for (size_t i = 0; strncmp(arch, "bitnet", 6) == 0 && i < 2; i++) {
        cli_progress(k->c, "reading a text", (double)i + 3, 5, "");
        if (strcmp(acts[i], act) != 0)
            TERN_TRY(
                try_one(k, (reading){.layout = order, .activation = acts[i]}, act, &best, err));
    }
    cli_progress_end(k->c);
    judge(k, &first, &best, chance);
    return TERN_OK;
}

/* ---- records --------------------------------------------------------------------------------- */

#define RECORD_VERSION 1

static tern_code rows_of(verify *k, const tern_ids *given, tern_ids *ids, json_t **rows,
                         tern_err *err)
{
    tern_model *m;
    pass p = {.rows = json_array()};
    tern_model_info info = {.size = sizeof info};
    TERN_TRY(verify_open(k, NULL, NULL, &m, err));
    tern_model_info_get(m, &info);
    tern_code rc = TERN_OK;
    for (size_t i = 0; given && rc == TERN_OK && i < given->n; i++) {
        if (given->v[i] >= info.n_vocab)
            rc = tern_fail(err, TERN_E_FORMAT, "the record has token %d, the model %d of them",
                           given->v[i], info.n_vocab);
        else
            rc = tern_ids_push(ids, given->v[i], err);
    }
    if (!given)
        rc = text_ids(m, ids, err);
    if (rc == TERN_OK)
        rc = run(m, ids->v, ids->n, &p, err);
    tern_model_close(m);
    if (rc == TERN_OK && json_array_size(p.rows) != ids->n)
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory for the logits");
    if (rc == TERN_OK)
        *rows = p.rows;
    else
        json_decref(p.rows);
    return rc;
}

tern_code verify_record(verify *k, const char *path, tern_err *err)
{
    tern_ids ids = {0};
    json_t *rows = NULL, *list = json_array();
    tern_outfile o;
    tern_code rc = rows_of(k, NULL, &ids, &rows, err);
    for (size_t i = 0; rc == TERN_OK && i < ids.n; i++)
        (void)json_array_append_new(list, json_integer(ids.v[i]));
    tern_ids_done(&ids);
    json_t *record = rc == TERN_OK
                         ? json_pack("{s:i, s:s, s:O, s:O}", "tern_record", RECORD_VERSION, "model",
                                     cli_model_label(k->c), "ids", list, "rows", rows)
                         : NULL;
    char *text = record ? json_dumps(record, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    if (rc == TERN_OK && !text)
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory for the record");
    if (rc == TERN_OK)
        rc = tern_outfile_open(&o, path, 0, err);
    if (rc == TERN_OK) {
        (void)fprintf(o.f, "%s\n", text);
        rc = tern_outfile_commit(&o, err);
    }
    free(text);
    json_decref(record);
    json_decref(rows);
    json_decref(list);
    return rc;
}

/* What two rows have in common. */
typedef struct comparison {
    size_t n, n_same, n_top; /* rows; same bits; same first id */
    double worst;            /* difference of a logit that both name */
} comparison;

static void compare_row(comparison *k, const json_t *a, const json_t *b)
{
    const json_t *top = json_object_get(a, "top"), *other = json_object_get(b, "top");
    const char *ha = json_string_value(json_object_get(a, "hash"));
    const char *hb = json_string_value(json_object_get(b, "hash"));
    size_t i, j;
    json_t *x, *y;
    bool met = false;
    k->n++;
    k->n_same += ha && hb && strcmp(ha, hb) == 0;
    k->n_top += json_array_size(top) > 0 && json_array_size(other) > 0 &&
                json_integer_value(json_array_get(json_array_get(top, 0), 0)) ==
                    json_integer_value(json_array_get(json_array_get(other, 0), 0));
    json_array_foreach(top, i, x) json_array_foreach(other, j, y)
    {
        if (json_integer_value(json_array_get(x, 0)) != json_integer_value(json_array_get(y, 0)))
            continue;
        double d =
            fabs(json_number_value(json_array_get(x, 1)) - json_number_value(json_array_get(y, 1)));
        k->worst = d > k->worst ? d : k->worst;
        met = true;
    }
    if (!met)
        k->worst = HUGE_VAL;
}

static tern_code read_record(const char *path, json_t **out, tern_ids *ids, tern_err *err)
{
    tern_str text;
    size_t i;
    json_t *id;
    tern_str_init(&text, 1 << 24);
    tern_code rc = cli_read_file(path, &text, err);
    json_t *o = rc == TERN_OK ? json_loadb(tern_str_get(&text), text.len, 0, NULL) : NULL;
    tern_str_done(&text);
    if (rc != TERN_OK)
        return rc;
    const json_t *list = json_object_get(o, "ids");
    size_t n = json_array_size(list);
    bool ok = json_integer_value(json_object_get(o, "tern_record")) == RECORD_VERSION && n > 0 &&
              n <= MAX_TOK && json_array_size(json_object_get(o, "rows")) == n;
    json_array_foreach(list, i, id)
    {
        json_int_t v = json_integer_value(id);
        ok &= json_is_integer(id) && v >= 0 && v <= INT32_MAX;
        if (ok && rc == TERN_OK)
            rc = tern_ids_push(ids, (int32_t)v, err);
    }
    if (rc == TERN_OK && !ok)
        rc = tern_fail(err, TERN_E_FORMAT, "%s: not a record of tern verify --record", path);
    if (rc == TERN_OK)
        *out = o;
    else
        json_decref(o);
    return rc;
}

tern_code verify_against(verify *k, const char *path, double tolerance, tern_err *err)
{
    tern_ids wanted = {0}, ids = {0};
    json_t *record = NULL, *rows = NULL;
    comparison c = {0};
    tern_code rc = read_record(path, &record, &wanted, err);
    if (rc == TERN_OK)
        rc = rows_of(k, &wanted, &ids, &rows, err);
    for (size_t i = 0; rc == TERN_OK && i < json_array_size(rows); i++)
        compare_row(&c, json_array_get(rows, i),
                    json_array_get(json_object_get(record, "rows"), i));
    if (rc == TERN_OK) {
        k->against =
            json_pack("{s:s, s:I, s:I, s:I, s:o}", "record", path, "tokens", (json_int_t)c.n,
                      "same_bits", (json_int_t)c.n_same, "same_first", (json_int_t)c.n_top,
                      "worst_difference", isfinite(c.worst) ? json_real(c.worst) : json_null());
        if (c.n_same < c.n && isinf(c.worst))
            verify_say(k, VERIFY_SUSPICIOUS,
                       "logits differ from %.80s beyond comparison, the first choice at %zu of %zu "
                       "tokens: damaged, or another model",
                       path, c.n - c.n_top, c.n);
        else if (c.n_same < c.n && !(c.worst <= tolerance))
            verify_say(k, VERIFY_SUSPICIOUS,
                       "logits differ from %.80s by up to %.3g (allowed %.3g), the first choice at "
                       "%zu of %zu tokens",
                       path, c.worst, tolerance, c.n - c.n_top, c.n);
    }
    json_decref(record);
    json_decref(rows);
    tern_ids_done(&wanted);
    tern_ids_done(&ids);
    return rc;
}
