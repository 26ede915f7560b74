/* Choosing tokens: from the rows that sessions keep to ids, for all sessions of a step together. */
#include "base/clock.h"
#include "engine/engine.h"

#include <string.h>

/* Choices in a row that needed nearly the whole head, and how many do not try after them at most. */
#define MAX_UNSCREENED 32

/* Hidden row i of what kernels are to read. m->turn is held. */
static void lend_hidden(const tern_session *s, int out_row, int i)
{
    tern_exec *e = &s->m->e;
    memcpy(e->h + (size_t)i * e->x_stride, tern_session_row(s, out_row) + e->vocab_stride,
           e->x_stride * sizeof *e->h);
}

/* The same choices' rows become all their logits. m->turn is held. */
static void complete(tern_model *m, tern_choice *const *c, int n)
{
    tern_exec *e = &m->e;
    size_t row = (size_t)m->w.h.n_vocab * sizeof *e->logits;
    for (int i = 0; i < n; i++)
        lend_hidden(c[i]->s, c[i]->out_row, i);
    tern_screen_logits(e, e->h, n);
    for (int i = 0; i < n; i++) {
        memcpy(tern_session_row(c[i]->s, c[i]->out_row), e->logits + (size_t)i * e->vocab_stride,
               row);
        c[i]->s->kept[c[i]->out_row].screened = false;
    }
}

void tern_session_complete(const tern_session *s, int out_row)
{
    tern_choice c = {.s = (tern_session *)(uintptr_t)s, .out_row = out_row}, *list = &c;
    tern_turn_take(&s->m->turn);
    complete(s->m, &list, 1);
    tern_turn_give(&s->m->turn);
}

/* The screen of a kept row, whose hidden row becomes number i. */
static tern_screen screen_of(const tern_choice *c, int i)
{
    const tern_session *s = c->s;
    const tern_exec *e = &s->m->e;
    const tern_head *h = &s->m->w.screen;
    const tern_kept *k = &s->kept[c->out_row];
    const float *row = tern_session_row(s, c->out_row);
    const float *max = row + e->vocab_stride + e->x_stride;
    lend_hidden(s, c->out_row, i);
    return (tern_screen){.h = h,
                         .x = e->h + (size_t)i * e->x_stride,
                         .y = row,
                         .up = max,
                         .top = max + tern_head_n_block(h),
                         .norm = k->norm,
                         .rho = k->rho,
                         .mean = k->mean};
}

/* What was needed says whether the next choices try. Of several, time decides (model/head_cost.h). */
static void learn(tern_model *m, const tern_pick *p, bool alone)
{
    tern_exec *e = &m->e;
    if (p->done && (!alone || tern_model_screen_pays(m, &p->picked))) {
        e->n_unscreened /= 2;
        return;
    }
    e->n_unscreened = e->n_unscreened ? e->n_unscreened * 2 : 1;
    if (e->n_unscreened > MAX_UNSCREENED)
        e->n_unscreened = MAX_UNSCREENED;
    e->unscreened_left = e->n_unscreened;
}

/* Rows c[0..n), n <= max_logit_rows, are screened; those that bounds are not enough for become whole. m->turn
 * is held. */
static void choose_screened(tern_model *m, tern_choice *const *c, int n)
{
    tern_screen k[TERN_SCREEN_ROWS] = {0};
    tern_pick p[TERN_SCREEN_ROWS];
    tern_choice *left[TERN_SCREEN_ROWS];
    int n_left = 0;
    for (int i = 0; i < n; i++) {
        k[i] = screen_of(c[i], i);
        p[i] = (tern_pick){.s = c[i]->sampler, .pos = c[i]->pos};
    }
    tern_sampler_pick_screened(&m->e, k, p, n);
    for (int i = 0; i < n; i++) {
        c[i]->s->head_use =
            (tern_head_use){.screened = true, .whole = !p[i].done, .picked = p[i].picked};
        c[i]->id = p[i].id;
        learn(m, &p[i], n == 1);
        if (!p[i].done)
            left[n_left++] = c[i];
    }
    if (n_left)
        complete(m, left, n_left);
    else if (m->e.head_mapped) /* by products of the whole head, which are over for now */
        tern_dir_tensor_drop(m->dir, m->w.head.src);
    m->e.head_mapped = n_left > 0;
}

static void choose_range(void *arg, int lane, int begin, int end)
{
    tern_choice *const *list = arg;
    (void)lane;
    for (; begin < end; begin++) {
        tern_choice *c = list[begin];
        const float *logits = tern_session_row(c->s, c->out_row);
        c->id = tern_sampler_pick(c->sampler, logits, c->pos);
        if (c->probs && c->probs->final)
            tern_logprobs_of_sampler(c->probs, c->sampler, c->id);
        else if (c->probs)
            tern_logprobs_of_logits(c->probs, logits, c->s->m->w.h.n_vocab, c->id);
    }
}

/* Choose for c[0..n), n <= max_logit_rows. m->turn is held. */
static void choose(tern_model *m, tern_choice *c, int n)
{
    tern_choice *list[TERN_SCREEN_ROWS];
    tern_head_cost *cost = &m->e.head_cost;
    int n_list = 0;
    uint64_t begin = tern_clock_ns();
    for (int i = 0; i < n; i++) {
        c[i].s->head_use = (tern_head_use){0};
        if (c[i].s->kept[c[i].out_row].screened)
            list[n_list++] = &c[i];
    }
    if (n_list)
        choose_screened(m, list, n_list);
    n_list = 0;
    for (int i = 0; i < n; i++)
        if (!c[i].s->kept[c[i].out_row].screened)
            list[n_list++] = &c[i];
    if (n_list == 1)
        choose_range(list, 0, 0, 1);
    else if (n_list)
        tern_pool_for(m->pool, n_list, 1, choose_range, list);
    if (cost->n_last == n)
        tern_head_cost_add(cost, cost->last_whole, n,
                           cost->last_ns + (double)(tern_clock_ns() - begin));
    cost->n_last = 0;
}

void tern_sessions_choose(tern_choice *c, int n)
{
    if (n == 0)
        return;
    if (n == 1 &&
        !c->s->kept[c->out_row].screened) { /* all is its own: no need to wait for others */
        c->s->head_use = (tern_head_use){0};
        choose_range(&c, 0, 0, 1);
        return;
    }
    tern_model *m = c[0].s->m;
    int most = m->e.max_logit_rows;
    tern_turn_take(&m->turn);
    tern_exec_span(&m->e, TERN_SPAN_PICK);
    for (int i = 0; i < n; i += most)
        choose(m, c + i, n - i < most ? n - i : most);
    tern_exec_span(&m->e, TERN_SPAN_BETWEEN);
    tern_turn_give(&m->turn);
}
