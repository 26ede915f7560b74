/* Deciding how the output head is screened: a short text goes through the model, and what reaches the
 * head says which of its columns matter most, and whether one plane is enough. */
#include "base/alloc.h"
#include "base/error.h"
#include "engine/engine.h"

#include <string.h>

/* Prose, talk, figures, code and another language, so that few kinds of text come unexpected. */
static const char sample_text[] =
    "The river ran slowly past the old mill, where Anna had once learned to swim. \"Come back "
    "before "
    "dark,\" her father said, and she promised that she would. In 1923 the town built a second "
    "bridge; "
    "it cost $4.5 million.\n"
    "User: What is the capital of France?\nAssistant: The capital of France is Paris.\n"
    "double sum(const double *x, int n) { double s = 0; for (int i = 0; i < n; i++) s += x[i]; }\n"
    "Es war einmal ein K\xc3\xb6nig, der hatte drei S\xc3\xb6hne. If x^2 = 16, then x = 4 or x = "
    "-4.";

/* Rows that are looked at: enough to find the large columns, few enough not to slow the opening. */
#define MAX_SAMPLE 96
/* Of these so many choose a token. */
#define N_TRIAL 8
/* Pages of rows that were read exactly leave the process when there are about so many bytes of them;
 * the system brings 64 KiB with each. */
#define TOUCHED_BYTES ((size_t)48 << 20)
#define TOUCH_BYTES   ((size_t)64 << 10)

typedef struct sample {
    const tern_exec *e;
    float *rows;   /* owned; [MAX_SAMPLE][x_stride] */
    float *energy; /* owned; [d_model] */
    int n;
} sample;

static void keep_hidden(void *ctx, int row, const tern_output *out)
{
    sample *s = ctx;
    float *to = s->rows + (size_t)s->n++ * s->e->x_stride;
    (void)row;
    memcpy(to, out->hidden, s->e->x_stride * sizeof *to);
    for (int i = 0; i < s->e->w->h.d_model; i++)
        s->energy[i] += to[i] * to[i];
}

/* Hidden rows of the text's tokens. A model that fails here fails for nobody: there is no sample. */
static tern_code take_sample(tern_model *m, sample *s, tern_err *err)
{
    tern_ids ids = {0};
    tern_seq seq = {0};
    tern_code rc =
        tern_tokenize(m->tok, sample_text, sizeof sample_text - 1, true, false, &ids, err);
    int n = ids.n < MAX_SAMPLE ? (int)ids.n : MAX_SAMPLE;
    if (n > m->w.h.n_ctx_train)
        n = m->w.h.n_ctx_train;
    if (rc != TERN_OK || n == 0) {
        tern_ids_done(&ids);
        return rc;
    }
    rc = tern_seq_init(&seq, &m->kv_f16, n, err);
    if (rc == TERN_OK)
        rc = tern_seq_reserve(&seq, n, err);
    if (rc == TERN_OK) {
        for (int i = 0; i < n; i++)
            m->rows[i] =
                (tern_row){.seq = &seq, .id = ids.v[i], .pos = i, .wants = TERN_WANT_HIDDEN};
        tern_forward(&m->e, m->rows, n, keep_hidden, s);
    }
    tern_seq_done(&seq);
    tern_ids_done(&ids);
    return rc;
}

/* Rows that a choice of the default sampler needs after the first plane, on average; the whole head counts as itself. */
static tern_code trial(tern_model *m, const sample *s, size_t *n_row, tern_err *err)
{
    const tern_exec *e = &m->e;
    tern_sample_params params;
    tern_sampler *sampler;
    size_t n_block = (size_t)tern_head_n_block(&m->w.screen);
    float *kept = tern_calloc(e->vocab_stride + 2 * n_block, sizeof *kept);
    tern_code rc = kept ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory");
    tern_sample_params_init(&params);
    *n_row = 0;
    if (rc == TERN_OK)
        rc = tern_sampler_new(&params, m->w.h.n_vocab, &sampler, err);
    for (int i = 0; rc == TERN_OK && i < N_TRIAL; i++) {
        tern_screen c;
        tern_picked picked = {0};
        int32_t id;
        memcpy(m->e.h, s->rows + (size_t)(s->n - 1 - i * (s->n - 1) / N_TRIAL) * e->x_stride,
               e->x_stride * sizeof *kept);
        bool done = tern_screen_rows(&m->e, e->h, 1, &c);
        if (done) {
            memcpy(kept, c.y, (size_t)m->w.h.n_vocab * sizeof *kept);
            memcpy(kept + e->vocab_stride, c.up, 2 * n_block * sizeof *kept);
            c.y = kept;
            c.up = kept + e->vocab_stride;
            c.top = c.up + n_block;
            done = tern_sampler_pick_screened(sampler, &m->e, &c, (uint64_t)i, &id, &picked);
        }
        *n_row += done ? (size_t)picked.n_refined : (size_t)m->w.h.n_vocab;
    }
    *n_row /= N_TRIAL;
    if (rc == TERN_OK)
        tern_sampler_free(sampler);
    tern_free(kept);
    return rc;
}

tern_code tern_model_screen(tern_model *m, bool any_size, tern_err *err)
{
    tern_weights *w = &m->w;
    sample s = {.e = &m->e};
    size_t n_row = 0;
    if (!tern_head_pays(&w->head, any_size))
        return TERN_OK;
    s.rows = tern_calloc(MAX_SAMPLE * m->e.x_stride, sizeof *s.rows);
    s.energy = tern_calloc((size_t)w->h.d_model, sizeof *s.energy);
    tern_code rc = s.rows && s.energy
                       ? take_sample(m, &s, err)
                       : tern_fail(err, TERN_E_NOMEM, "%s: out of memory", m->dir->path);
    if (rc == TERN_OK)
        rc =
            tern_head_init(&w->screen, &w->head, s.n ? s.energy : NULL, true, m->dir, m->pool, err);
    if (rc == TERN_OK && w->screen.l && s.n > N_TRIAL)
        rc = trial(m, &s, &n_row, err);
    /* The second plane takes half as much memory as the first, and gives way where it saves little. */
    if (rc == TERN_OK && w->screen.l && s.n > N_TRIAL &&
        n_row * w->head.w_stride < w->screen.w4_bytes / 16)
        tern_head_keep_one(&w->screen);
    tern_free(s.rows);
    tern_free(s.energy);
    m->e.n_step = m->e.n_row = m->e.read_bytes = 0; /* nobody asked for these */
    m->e.n_unscreened = m->e.unscreened_left = 0;
    if (w->screen.l)
        tern_dir_tensor_drop(m->dir, w->head.src);
    return rc;
}

void tern_model_touched(tern_model *m, int n_row)
{
    m->head_touched += (size_t)n_row;
    if (m->w.screen.l && m->head_touched > TOUCHED_BYTES / TOUCH_BYTES) {
        tern_dir_tensor_drop(m->dir, m->w.head.src);
        m->head_touched = 0;
    }
}
