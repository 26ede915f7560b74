/* What a model's steps did, for those who measure. */
#include "base/error.h"
#include "engine/engine.h"

#include <string.h>

void tern_model_counters_get(tern_model *m, tern_model_counters *c)
{
    tern_turn_take(&m->turn);
    tern_model_counters full = {
        .n_step = m->e.n_step, .n_row = m->e.n_row, .read_bytes = m->e.read_bytes};
    tern_turn_give(&m->turn);
    full.size = c->size < sizeof full ? c->size : sizeof full;
    memcpy(c, &full, full.size);
}

void tern_model_profile_start(tern_model *m)
{
    tern_turn_take(&m->turn);
    m->e.spans =
        (tern_spans){.on = true, .since_ns = tern_clock_ns(), .since_bytes = m->e.read_bytes};
    tern_turn_give(&m->turn);
}

void tern_model_profile_stop(tern_model *m)
{
    tern_turn_take(&m->turn);
    tern_exec_span(&m->e, TERN_SPAN_BETWEEN);
    m->e.spans.on = false;
    tern_turn_give(&m->turn);
}

size_t tern_model_profile_get(tern_model *m, tern_profile_part *parts, size_t cap)
{
#define SPAN(id, name) name,
    static const char *const names[] = {TERN_SPANS(SPAN)};
#undef SPAN
    tern_turn_take(&m->turn);
    const tern_spans s = m->e.spans;
    tern_turn_give(&m->turn);
    for (size_t i = 0; i < TERN_N_SPAN && i < cap; i++)
        parts[i] = (tern_profile_part){names[i], (double)s.ns[i] * 1e-9, s.bytes[i]};
    return TERN_N_SPAN;
}

void tern_model_count_zeros(tern_model *m, bool on)
{
    tern_turn_take(&m->turn);
    m->e.count_zeros = on;
    if (on && m->e.count)
        memset(m->e.count, 0, (size_t)m->w.h.n_layer * sizeof *m->e.count);
    tern_turn_give(&m->turn);
}

void tern_model_watch(tern_model *m, tern_watch_fn fn, void *ctx)
{
    tern_turn_take(&m->turn);
    m->e.watch = fn;
    m->e.watch_ctx = ctx;
    tern_turn_give(&m->turn);
}

tern_code tern_model_ffn_stats_get(tern_model *m, int32_t layer, tern_ffn_stats *s, tern_err *err)
{
    TERN_TRY(tern_model_needs_weights(m, err));
    if (layer < 0 || layer >= m->w.h.n_layer)
        return tern_fail(err, TERN_E_USAGE, "layer %d, expected 0..%d", layer, m->w.h.n_layer - 1);
    const tern_dense *f = &m->w.blocks[layer].f.dense;
    tern_turn_take(&m->turn);
    const tern_ffn_count c = m->e.count[layer];
    tern_turn_give(&m->turn);
    tern_ffn_stats full = {
        .d_ff = m->w.h.d_ff,
        .n_row = c.n_row,
        .gate_zero = c.gate_zero,
        .input_zero = c.input_zero,
        .gate_bytes = f->gate.read_bytes,
        .up_bytes = f->up.read_bytes,
        .down_bytes = f->down.read_bytes,
        .up_row_bytes = tern_linear_row_bytes(&f->up),
        .down_col_bytes = tern_linear_col_bytes(&f->down),
    };
    full.size = s->size < sizeof full ? s->size : sizeof full;
    memcpy(s, &full, full.size);
    return TERN_OK;
}
