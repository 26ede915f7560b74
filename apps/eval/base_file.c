/* The file that keeps a base's predictions. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/num.h"
#include "eval/divergence.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

static const char magic[8] = {'_', 'l', 'o', 'g', 'i', 't', 's', '_'};
static const char sum_magic[8] = {'t', 'e', 'r', 'n', 's', 'u', 'm', '1'};

/* Probabilities below e^-16 of the likeliest are kept as that. */
#define RANGE 16.0f
#define STEPS 65535.0f

/* ---- rows ---------------------------------------------------------------------------------- */

/* Two floats, then a number for each token of an even vocabulary. */
size_t eval_base_row_size(int32_t n_vocab)
{
    return 4 + 2 * (((size_t)n_vocab + 1) / 2);
}

static uint16_t step_of(float x)
{
    if (!(x > 0))
        return 0;
    return x >= STEPS ? UINT16_MAX : (uint16_t)lrintf(x);
}

void eval_base_pack(const float *logits, int32_t n_vocab, uint16_t *row)
{
    float max = logits[0], min = logits[0], head[2];
    double sum = 0.0;
    for (int32_t i = 1; i < n_vocab; i++) {
        max = logits[i] > max ? logits[i] : max;
        min = logits[i] < min ? logits[i] : min;
    }
    min = min > max - RANGE ? min : max - RANGE;
    for (int32_t i = 0; i < n_vocab; i++)
        sum += (double)expf(logits[i] - max);
    head[0] = (max - min) / STEPS;
    head[1] = min - max - (float)log(sum);
    memcpy(row, head, sizeof head);
    float by = head[0] > 0 ? 1.0f / head[0] : 0.0f;
    for (int32_t i = 0; i < n_vocab; i++)
        row[4 + i] = step_of(by * (logits[i] - min));
    if (n_vocab % 2)
        row[4 + n_vocab] = 0;
}

void eval_base_unpack(const uint16_t *row, int32_t n_vocab, float *log_prob)
{
    float head[2];
    memcpy(head, row, sizeof head);
    for (int32_t i = 0; i < n_vocab; i++)
        log_prob[i] = head[0] * (float)row[4 + i] + head[1];
}

/* ---- writing ------------------------------------------------------------------------------- */

/* Bytes of all parts but the sum; false when they are too many. */
static bool sizes(const eval_base_head *h, size_t *n_token, size_t *n_byte)
{
    size_t row = eval_base_row_size(h->n_vocab) * sizeof(uint16_t), rows, bytes;
    return tern_mul_size((size_t)h->n_chunk, (size_t)h->n_ctx, n_token) &&
           tern_mul_size((size_t)h->n_chunk, eval_base_rows(h), &rows) &&
           tern_mul_size(rows, row, &rows) && tern_mul_size(*n_token, sizeof(int32_t), &bytes) &&
           tern_add_size(rows, bytes, &bytes) &&
           tern_add_size(bytes, sizeof magic + sizeof *h, n_byte);
}

static void put(eval_base_writer *w, const void *data, size_t n)
{
    w->sum = tern_hash64(data, n, w->sum);
    (void)fwrite(data, 1, n, w->out.f); /* commit looks at the stream's state */
}

tern_code eval_base_create(eval_base_writer *w, const char *path, const eval_base_head *h,
                           const int32_t *tokens, tern_err *err)
{
    size_t n_token = 0, n_byte = 0;
    *w = (eval_base_writer){.h = *h};
    if (!sizes(h, &n_token, &n_byte))
        return tern_fail(err, TERN_E_LIMIT, "%s: too many chunks", path);
    w->row = tern_calloc(eval_base_row_size(h->n_vocab), sizeof *w->row);
    if (!w->row)
        return tern_fail(err, TERN_E_NOMEM, "%s: out of memory", path);
    tern_code rc = tern_outfile_open(&w->out, path, 0, err);
    if (rc == TERN_OK) {
        rc = tern_outfile_reserve(&w->out, n_byte + 16, err);
        if (rc != TERN_OK)
            tern_outfile_abort(&w->out);
    }
    if (rc != TERN_OK) {
        tern_free(w->row);
        w->row = NULL;
        return rc;
    }
    put(w, magic, sizeof magic);
    put(w, h, sizeof *h);
    put(w, tokens, n_token * sizeof *tokens);
    return TERN_OK;
}

void eval_base_write(eval_base_writer *w, const float *logits)
{
    eval_base_pack(logits, w->h.n_vocab, w->row);
    put(w, w->row, eval_base_row_size(w->h.n_vocab) * sizeof *w->row);
}

tern_code eval_base_commit(eval_base_writer *w, tern_err *err)
{
    (void)fwrite(sum_magic, 1, sizeof sum_magic, w->out.f);
    (void)fwrite(&w->sum, 1, sizeof w->sum, w->out.f);
    tern_free(w->row);
    w->row = NULL;
    return tern_outfile_commit(&w->out, err);
}

void eval_base_abort(eval_base_writer *w)
{
    if (w->row)
        tern_outfile_abort(&w->out);
    tern_free(w->row);
    w->row = NULL;
}

/* ---- reading ------------------------------------------------------------------------------- */

static tern_code get(eval_base_reader *r, void *data, size_t n, const char *what, tern_err *err)
{
    if (fread(data, 1, n, r->f) != n)
        return ferror(r->f)
                   ? tern_fail(err, TERN_E_IO, "%s: %s", r->path, strerror(errno))
                   : tern_fail(err, TERN_E_FORMAT, "%s: the file ends in its %s", r->path, what);
    r->sum = tern_hash64(data, n, r->sum);
    return TERN_OK;
}

/* The head says how long the file is, so nothing is allocated that it cannot fill. */
static tern_code check_size(eval_base_reader *r, size_t *n_token, tern_err *err)
{
    const eval_base_head *h = &r->h;
    struct stat st;
    size_t n_byte = 0;
    if (h->n_ctx < 4 || h->n_ctx > 1 << 24 || h->n_vocab < 1 || h->n_vocab > 1 << 24 ||
        h->n_chunk < 1 || !sizes(h, n_token, &n_byte))
        return tern_fail(err, TERN_E_FORMAT,
                         "%s: %d chunks of %d tokens of a vocabulary of %d: out of range", r->path,
                         h->n_chunk, h->n_ctx, h->n_vocab);
    if (fstat(fileno(r->f), &st) != 0)
        return tern_fail(err, TERN_E_IO, "%s: %s", r->path, strerror(errno));
    r->has_sum = (uint64_t)st.st_size == (uint64_t)n_byte + 16;
    if (!r->has_sum && (uint64_t)st.st_size != n_byte)
        return tern_fail(err, TERN_E_FORMAT, "%s: %lld bytes, but %zu follow from its head",
                         r->path, (long long)st.st_size, n_byte);
    return TERN_OK;
}

static tern_code read_head(eval_base_reader *r, tern_err *err)
{
    char word[8];
    size_t n_token = 0;
    TERN_TRY(get(r, word, sizeof word, "head", err));
    if (memcmp(word, magic, sizeof magic) != 0)
        return tern_fail(err, TERN_E_FORMAT,
                         "%s: no predictions: it does not begin with '_logits_'", r->path);
    TERN_TRY(get(r, &r->h, sizeof r->h, "head", err));
    TERN_TRY(check_size(r, &n_token, err));
    r->tokens = tern_calloc(n_token, sizeof *r->tokens);
    r->row = tern_calloc(eval_base_row_size(r->h.n_vocab), sizeof *r->row);
    if (!r->tokens || !r->row)
        return tern_fail(err, TERN_E_NOMEM, "%s: out of memory for %zu tokens", r->path, n_token);
    TERN_TRY(get(r, r->tokens, n_token * sizeof *r->tokens, "tokens", err));
    for (size_t i = 0; i < n_token; i++)
        if (r->tokens[i] < 0 || r->tokens[i] >= r->h.n_vocab)
            return tern_fail(err, TERN_E_FORMAT, "%s: token %zu is id %d, expected 0..%d", r->path,
                             i, r->tokens[i], r->h.n_vocab - 1);
    return TERN_OK;
}

tern_code eval_base_open(eval_base_reader *r, const char *path, tern_err *err)
{
    *r = (eval_base_reader){.path = tern_strdup_n(path, strlen(path)), .err = err};
    if (!r->path)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    r->f = fopen(path, "rbe");
    tern_code rc = r->f ? read_head(r, err)
                        : tern_fail(err, errno == ENOENT ? TERN_E_NOT_FOUND : TERN_E_IO, "%s: %s",
                                    path, strerror(errno));
    if (rc != TERN_OK)
        eval_base_close(r);
    return rc;
}

bool eval_base_read(eval_base_reader *r, float *log_prob)
{
    size_t n = eval_base_row_size(r->h.n_vocab) * sizeof *r->row;
    if (r->rc == TERN_OK)
        r->rc = get(r, r->row, n, "rows", r->err);
    if (r->rc == TERN_OK)
        eval_base_unpack(r->row, r->h.n_vocab, log_prob);
    return r->rc == TERN_OK;
}

tern_code eval_base_check(eval_base_reader *r, tern_err *err)
{
    char word[8];
    uint64_t sum = r->sum, kept;
    if (r->rc != TERN_OK || !r->has_sum)
        return r->rc;
    TERN_TRY(get(r, word, sizeof word, "checksum", err));
    TERN_TRY(get(r, &kept, sizeof kept, "checksum", err));
    if (memcmp(word, sum_magic, sizeof word) != 0 || kept != sum)
        return tern_fail(err, TERN_E_FORMAT, "%s: its checksum is wrong: the file is damaged",
                         r->path);
    return TERN_OK;
}

void eval_base_close(eval_base_reader *r)
{
    if (r->f)
        (void)fclose(r->f);
    tern_free(r->path);
    tern_free(r->tokens);
    tern_free(r->row);
    *r = (eval_base_reader){0};
}
