#include "support/bits.h"

#include <stdlib.h>
#include <string.h>

#define PRIME 0x100000001b3u

uint64_t test_fnv(uint64_t hash, const void *data, size_t n)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * PRIME;
    return hash;
}

void test_bits_init(test_bits *b, const int32_t *prompt, size_t n_prompt, int n_predict)
{
    *b = (test_bits){.prompt = prompt, .n_prompt = n_prompt};
    tern_gen_opts_init(&b->gen);
    b->gen.temp = 0.0f;
    b->gen.spec = TERN_SPEC_OFF;
    b->gen.ignore_eos = true;
    b->gen.n_predict = n_predict;
}

static size_t row_bytes(const tern_model *m)
{
    tern_model_info info = {.size = sizeof info};
    tern_model_info_get(m, &info);
    return (size_t)info.n_vocab * sizeof(float);
}

static tern_code wrong(tern_err *err, const char *what)
{
    *err = (tern_err){.code = TERN_E_INTERNAL};
    strncpy(err->msg, what, sizeof err->msg - 1);
    return err->code;
}

/* One sequence as it is generated. */
typedef struct line {
    tern_session *s;
    int n_id;
} line;

static tern_code open_lines(tern_model *m, const test_bits *b, size_t n, line *l, tern_request **r,
                            tern_err *err)
{
    tern_code rc = TERN_OK;
    for (size_t i = 0; i < n && rc == TERN_OK; i++) {
        rc = tern_session_new(m, NULL, &l[i].s, err);
        if (rc == TERN_OK)
            rc = tern_request_new(l[i].s, b[i].prompt, b[i].n_prompt, &b[i].gen, &r[i], err);
    }
    return rc;
}

static tern_code take(test_bits *b, line *l, const tern_event *ev, size_t row, tern_err *err)
{
    if (ev->id < 0 && ev->finish == TERN_FINISH_NONE) /* the prompt is being read */
        return TERN_OK;
    const float *logits = tern_session_logits(l->s);
    if (ev->id < 0 || !logits || l->n_id == TEST_BITS_TOKENS)
        return wrong(err, "an event without a token, or a token without logits");
    b->logits = test_fnv(b->logits, logits, row);
    b->ids[l->n_id++] = ev->id;
    if ((ev->finish != TERN_FINISH_NONE) != (l->n_id == b->gen.n_predict))
        return wrong(err, "an answer ended too early or too late");
    return TERN_OK;
}

static tern_code run_lines(test_bits *b, line *l, tern_request *const *r, size_t n, size_t row,
                           tern_err *err)
{
    tern_event *ev = calloc(n, sizeof *ev);
    tern_code rc = ev ? TERN_OK : wrong(err, "no memory");
    for (bool more = true; more && rc == TERN_OK;) {
        rc = tern_requests_next(r, n, ev, err);
        more = false;
        for (size_t i = 0; i < n && rc == TERN_OK; i++) {
            if (l[i].n_id < b[i].gen.n_predict)
                rc = take(&b[i], &l[i], &ev[i], row, err);
            more |= l[i].n_id < b[i].gen.n_predict;
        }
    }
    free(ev);
    return rc;
}

tern_code test_bits_generate(tern_model *m, test_bits *b, size_t n, tern_err *err)
{
    line *l = calloc(n, sizeof *l);
    tern_request **r = calloc(n, sizeof(tern_request *));
    tern_code rc = l && r ? open_lines(m, b, n, l, r, err) : wrong(err, "no memory");
    for (size_t i = 0; i < n; i++)
        b[i].logits = TEST_FNV;
    if (rc == TERN_OK)
        rc = run_lines(b, l, r, n, row_bytes(m), err);
    for (size_t i = 0; l && r && i < n; i++) {
        tern_request_free(r[i]);
        tern_session_free(l[i].s);
    }
    free(l);
    free(r);
    return rc;
}

typedef struct reading {
    size_t row_bytes;
    int first; /* row whose logits the first id was chosen from */
    uint64_t logits;
} reading;

static void read_row(void *ctx, int row, const float *logits)
{
    reading *r = ctx;
    if (row >= r->first)
        r->logits = test_fnv(r->logits, logits, r->row_bytes);
}

tern_code test_bits_read(tern_model *m, const test_bits *b, uint64_t *logits, tern_err *err)
{
    size_t n = b->n_prompt + (size_t)b->gen.n_predict - 1;
    reading r = {row_bytes(m), (int)b->n_prompt - 1, TEST_FNV};
    int32_t *ids = calloc(n, sizeof *ids);
    tern_session *s = NULL;
    tern_code rc = ids ? tern_session_new(m, NULL, &s, err) : wrong(err, "no memory");
    if (rc == TERN_OK) {
        memcpy(ids, b->prompt, b->n_prompt * sizeof *ids);
        memcpy(ids + b->n_prompt, b->ids, (n - b->n_prompt) * sizeof *ids);
        rc = tern_session_eval_all(s, ids, n, read_row, &r, err);
    }
    *logits = r.logits;
    tern_session_free(s);
    free(ids);
    return rc;
}
