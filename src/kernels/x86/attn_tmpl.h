/* Attention of one query head over a tile of positions, on the lanes of one instruction set; see
 * ref/attn_ref.c. Included once per cache format: KV names it (f32 or f16, as in vf_load_<KV>), KV_ELEM is
 * its element. d_head is a multiple of 8, so the last vector may be a half one. */
#define KV_FN(name) LANES_JOIN(name, KV)

/* n_pos (1 or 4) products at once: four independent sums hide the latency of the additions. */
LANES_INLINE void KV_FN(dots_)(const KV_ELEM *k, size_t stride, const float *q, int d_head,
                               vf acc[4], const int n_pos)
{
    LANES_UNROLL
    for (int i = 0; i < n_pos; i++)
        acc[i] = vf_zero();
    int d = 0;
    for (; d + 16 <= d_head; d += 16) {
        vf qv = vf_load(q + d);
        LANES_UNROLL
        for (int i = 0; i < n_pos; i++)
            acc[i] = vf_add(acc[i], vf_mul(qv, KV_FN(vf_load_)(k + (size_t)i * stride + d)));
    }
    if (d < d_head) {
        vf qv = vf_load_n(q + d, 8);
        LANES_UNROLL
        for (int i = 0; i < n_pos; i++)
            acc[i] = vf_add(acc[i], vf_mul(qv, KV_FN(vf_load_n_)(k + (size_t)i * stride + d, 8)));
    }
}

void LANES_FN(KV_FN(qk_))(const tern_attn_tile *t, const float *q, float scale, float *score)
{
    const KV_ELEM *k = t->kv;
    vf a[4];
    int j = 0;
    for (; j + 4 <= t->n_pos; j += 4) {
        KV_FN(dots_)(k + (size_t)j * t->stride, t->stride, q, t->d_head, a, 4);
        __m128 s = vf_fold_4(a[0], a[1], a[2], a[3]);
        _mm_storeu_ps(score + j, _mm_mul_ps(s, _mm_set1_ps(scale)));
    }
    for (; j < t->n_pos; j++) {
        KV_FN(dots_)(k + (size_t)j * t->stride, t->stride, q, t->d_head, a, 1);
        score[j] = vf_fold(a[0]) * scale;
    }
}

/* n_vec vectors of the output, the last with `last` elements (16 or 8), kept in registers over all
 * positions. */
LANES_INLINE void KV_FN(span_)(const tern_attn_tile *t, int d, const float *p, float *acc,
                               const int n_vec, const int last)
{
    const KV_ELEM *v = (const KV_ELEM *)t->kv + d;
    vf a[LANES_AV_VECTORS];
    LANES_UNROLL
    for (int i = 0; i < n_vec; i++)
        a[i] = vf_load_n(acc + d + 16 * i, i + 1 < n_vec ? 16 : last);
    for (int j = 0; j < t->n_pos; j++, v += t->stride) {
        LANES_UNROLL
        for (int i = 0; i < n_vec; i++) {
            vf x = i + 1 < n_vec || last == 16 ? KV_FN(vf_load_)(v + 16 * i)
                                               : KV_FN(vf_load_n_)(v + 16 * i, 8);
            a[i] = vf_add(a[i], vf_mul(vf_set1(p[j]), x));
        }
    }
    LANES_UNROLL
    for (int i = 0; i < n_vec; i++)
        vf_store_n(acc + d + 16 * i, a[i], i + 1 < n_vec ? 16 : last);
}

void LANES_FN(KV_FN(av_))(const tern_attn_tile *t, const float *p, float *acc)
{
    const int wide = 16 * LANES_AV_VECTORS;
    int d = 0, n = t->d_head;
    for (; d + wide <= n; d += wide)
        KV_FN(span_)(t, d, p, acc, LANES_AV_VECTORS, 16);
    for (; d + 32 <= n; d += 32)
        KV_FN(span_)(t, d, p, acc, 2, 16);
    if (n - d == 24)
        KV_FN(span_)(t, d, p, acc, 2, 8);
    else if (n - d == 16)
        KV_FN(span_)(t, d, p, acc, 1, 16);
    else if (n - d == 8)
        KV_FN(span_)(t, d, p, acc, 1, 8);
}

#undef KV_FN
#undef KV
#undef KV_ELEM
