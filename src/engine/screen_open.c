/* Deciding how the output head is screened: a short text goes through the model, and what reaches the
 * head says which of its columns matter most, and whether one plane is enough. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "engine/engine.h"

#include <math.h>
#include <string.h>

/* Prose, talk, figures, code and another language, so that few kinds of text come unexpected. */
static const char sample_text[] = "User: In 1923 Anna's bridge cost $4.5 million.\nfor (i = 0; i < "
                                  "n; i++)\nEs war einmal ein K\xc3\xb6nig.";

/* Rows that are looked at, in one pass: enough to find the large columns, few enough not to slow the opening. */
#define MAX_SAMPLE 32
/* Of these so many choose a token. */
#define N_TRIAL 8
/* How often something is timed, and how much of the head. */
#define N_TIME     3
#define PART_BYTES ((size_t)4 << 20)
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
    int most = m->e.max_tok < MAX_SAMPLE ? m->e.max_tok : MAX_SAMPLE;
    int n = ids.n < (size_t)most ? (int)ids.n : most;
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
        tern_seq_commit(&seq, ids.v, n);
    }
    tern_seq_done(&seq);
    tern_ids_done(&ids);
    return rc;
}

/* Rows that choose tokens, screened together. */
typedef struct trial {
    float *rows; /* owned; [n][x_stride] */
    tern_screen screens[N_TRIAL];
    int n;
    bool screened;
} trial;

static tern_code screen_trial(tern_model *m, const sample *s, trial *t, tern_err *err)
{
    size_t stride = m->e.x_stride;
    t->n = N_TRIAL < m->e.max_logit_rows ? N_TRIAL : m->e.max_logit_rows;
    t->rows = tern_calloc((size_t)t->n * stride, sizeof *t->rows);
    if (!t->rows)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    for (int i = 0; i < t->n; i++)
        memcpy(t->rows + (size_t)i * stride,
               s->rows + (size_t)(s->n - 1 - i * (s->n - 1) / t->n) * stride,
               stride * sizeof *t->rows);
    t->screened = tern_screen_rows(&m->e, t->rows, t->n, t->screens);
    return TERN_OK;
}

/* What choices of one sampler need, on average. */
static tern_code try_sampler(tern_model *m, const trial *t, const tern_sample_params *params,
                             tern_picked *mean, tern_err *err)
{
    tern_sampler *sampler;
    TERN_TRY(tern_sampler_new(params, m->w.h.n_vocab, &sampler, err));
    for (int i = 0; i < t->n; i++) {
        tern_pick p = {.s = sampler, .pos = (uint64_t)i};
        if (t->screened)
            tern_sampler_pick_screened(&m->e, &t->screens[i], &p, 1);
        mean->n_exact += p.done ? p.picked.n_exact : m->w.h.n_vocab;
        for (int j = 0; j < TERN_HEAD_FINE; j++)
            mean->n_fine[j] += p.done ? p.picked.n_fine[j] : m->w.h.n_vocab;
    }
    mean->n_exact /= t->n;
    for (int j = 0; j < TERN_HEAD_FINE; j++)
        mean->n_fine[j] /= t->n;
    tern_sampler_free(sampler);
    return TERN_OK;
}

/* What the whole head takes for several rows, from a part of it that stays in caches and from the rate at
 * which the coarse plane was read. */
static void estimate_whole(tern_model *m, const sample *s)
{
    tern_exec *e = &m->e;
    const tern_linear *l = &m->w.head;
    const tern_head *h = &m->w.screen;
    tern_linear part = *l;
    int rows = (int)(PART_BYTES / l->w_stride) / 16 * 16;
    double read_ns = HUGE_VAL;
    part.rows = rows < l->rows ? rows : l->rows;
    part.read_bytes = (size_t)part.rows * l->w_stride;
    if (part.rows == 0)
        return;
    for (int i = 0; i < N_TIME; i++) {
        tern_screen c;
        uint64_t begin = tern_clock_ns();
        if (!tern_screen_rows(e, s->rows, 1, &c))
            return;
        read_ns = fmin(read_ns, (double)(tern_clock_ns() - begin));
    }
    read_ns *= (double)l->read_bytes / (double)h->w4_bytes;
    for (int k = 1; k < TERN_HEAD_COSTS && 1 << k <= s->n && 1 << k <= e->max_logit_rows; k++) {
        double ns = HUGE_VAL;
        tern_input in;
        tern_prepare p = {.x = s->rows,
                          .x_stride = e->x_stride,
                          .cols = l->cols,
                          .n_tok = 1 << k,
                          .forms = l->form};
        tern_exec_prepare(e, &p, &in);
        tern_product job = {&part, &in, e->logits, e->vocab_stride};
        for (int i = 0; i < N_TIME; i++) {
            uint64_t begin = tern_clock_ns();
            tern_exec_run(e, TERN_SPAN_HEAD, &job, 1, NULL);
            ns = fmin(ns, (double)(tern_clock_ns() - begin));
        }
        e->head_cost.estimate_ns[k] = fmax(read_ns, ns * l->rows / part.rows);
    }
}

bool tern_model_screen_pays(const tern_model *m, const tern_picked *need)
{
    const tern_linear *l = &m->w.head;
    const tern_head *h = &m->w.screen;
    return h->w4_bytes + tern_picked_fine_bytes(need, h) + 2 * (size_t)need->n_exact * l->w_stride <
           l->read_bytes / 5 * 4;
}

/* Choices of the default and of the greedy sampler say whether screening pays for either, and which of the
 * finer planes are worth their memory, each a quarter of the coarse one's: without a plane the rows that it is
 * read for would be read of the head. */
static tern_code judge(tern_model *m, const sample *s, bool any_size, tern_err *err)
{
    tern_head *h = &m->w.screen;
    tern_sample_params params;
    tern_picked usual = {0}, greedy = {0};
    trial t = {0};
    tern_sample_params_init(&params);
    tern_code rc = screen_trial(m, s, &t, err);
    if (rc == TERN_OK)
        rc = try_sampler(m, &t, &params, &usual, err);
    params.temp = 0;
    if (rc == TERN_OK)
        rc = try_sampler(m, &t, &params, &greedy, err);
    tern_free(t.rows);
    if (rc != TERN_OK)
        return rc;
    if (!any_size && !tern_model_screen_pays(m, &usual) && !tern_model_screen_pays(m, &greedy))
        tern_head_done(h);
    while (h->l && h->n_fine > 0 &&
           (size_t)usual.n_fine[h->n_fine - 1] * m->w.head.w_stride < h->w4_bytes / 32)
        tern_head_keep(h, h->n_fine - 1);
    if (h->l && !any_size)
        estimate_whole(m, s);
    return TERN_OK;
}

tern_code tern_model_screen(tern_model *m, bool any_size, tern_err *err)
{
    tern_weights *w = &m->w;
    sample s = {.e = &m->e};
    if (!tern_head_pays(&w->head, any_size))
        return TERN_OK;
    s.rows = tern_calloc(MAX_SAMPLE * m->e.x_stride, sizeof *s.rows);
    s.energy = tern_calloc((size_t)w->h.d_model, sizeof *s.energy);
    tern_code rc = s.rows && s.energy
                       ? take_sample(m, &s, err)
                       : tern_fail(err, TERN_E_NOMEM, "%s: out of memory", m->dir->path);
    /* Finer planes and columns stored again save time with memory; from a packed file those planes are
     * read as needed. */
    bool fine = !m->low_memory || m->packing == TERN_PACKING_MADE;
    if (rc == TERN_OK)
        rc = tern_head_init(&w->screen, &w->head, s.n && !m->low_memory ? s.energy : NULL,
                            fine ? TERN_HEAD_FINE : 0, m->dir, &m->e.k, m->pool, err);
    if (rc == TERN_OK && w->screen.l && s.n > N_TRIAL)
        rc = judge(m, &s, any_size, err);
    tern_free(s.rows);
    tern_free(s.energy);
    m->e.n_step = m->e.n_row = m->e.read_bytes = 0; /* nobody asked for these */
    m->e.n_unscreened = m->e.unscreened_left = 0;
    if (w->screen.l)
        tern_dir_tensor_drop(m->dir, w->head.src);
    return rc;
}
