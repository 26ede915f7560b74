/* The loop of panel.h with matrix tiles: 16 column quads of a panel are a tile as they lie, 16 rows of
 * 64 bytes, and so are 64 activations of 16 tokens. The file that includes this defines the operations
 * on tiles 0..7, whose numbers must be constants:
 *   TILE_CONFIG(c)          take the shapes in *c, all tiles zero
 *   TILE_ZERO(n)  TILE_LOAD(n, p, stride)  TILE_STORE(n, p, stride)
 *   TILE_DOT(c, a, b)       c += signed a times unsigned b
 *   TILE_RELEASE()
 * Where no such machine is at hand tests run the loop on tiles in plain C. */
#include "kernels/x86/panel.h"
#include "kernels/x86/tile_config.h"

#include <string.h>

/* Sums in tiles 0, 1 (the first 16 tokens with two panels) and 2, 3 (the next 16), activations in 4 and
 * 5, panels in 6 and 7. Tiles without tokens have no shape and are not used. */
static void shape(int n_tok, tile_config *c)
{
    memset(c, 0, sizeof *c);
    c->palette = 1;
    for (int i = 0; i < 8; i++) {
        int half = i < 4 ? i / 2 : i - 4, rest = n_tok - 16 * half;
        c->rows[i] = (uint8_t)(i >= 6 || rest >= 16 ? 16 : rest > 0 ? rest : 0);
        c->row_bytes[i] = c->rows[i] ? 64 : 0;
    }
}

/* Up to 32 tokens from tok on, all panels; `two` halves of them. */
static inline void tile_tokens(const tern_panels *p, int tok, bool two)
{
    const size_t far = 16 * p->q_stride, acc_far = 16 * p->acc_stride,
                 acc_bytes = 4 * p->acc_stride;
    for (int i = 0; i < p->n_panel; i += 2) {
        bool pair = i + 1 < p->n_panel;
        const uint8_t *w = p->w + (size_t)i * p->w_stride;
        const int8_t *q = p->q + (size_t)tok * p->q_stride;
        int32_t *acc = p->acc + (size_t)tok * p->acc_stride + 16 * i;
        TILE_ZERO(0);
        TILE_ZERO(1);
        if (two) {
            TILE_ZERO(2);
            TILE_ZERO(3);
        }
        if (p->add) {
            TILE_LOAD(0, acc, acc_bytes);
            if (pair)
                TILE_LOAD(1, acc + 16, acc_bytes);
            if (two)
                TILE_LOAD(2, acc + acc_far, acc_bytes);
            if (two && pair)
                TILE_LOAD(3, acc + acc_far + 16, acc_bytes);
        }
        for (int e = 0; e < p->n_quad; e += 16, w += 1024, q += 64) {
            TILE_LOAD(6, w, 64);
            TILE_LOAD(4, q, p->q_stride);
            TILE_DOT(0, 4, 6);
            if (pair) {
                TILE_LOAD(7, w + p->w_stride, 64);
                TILE_DOT(1, 4, 7);
            }
            if (two) {
                TILE_LOAD(5, q + far, p->q_stride);
                TILE_DOT(2, 5, 6);
            }
            if (two && pair)
                TILE_DOT(3, 5, 7);
        }
        TILE_STORE(0, acc, acc_bytes);
        if (pair)
            TILE_STORE(1, acc + 16, acc_bytes);
        if (two)
            TILE_STORE(2, acc + acc_far, acc_bytes);
        if (two && pair)
            TILE_STORE(3, acc + acc_far + 16, acc_bytes);
    }
}

static inline void panel_tiles(const tern_panels *p)
{
    tile_config c;
    int whole = p->n_tok / 32 * 32, rest = p->n_tok - whole;
    if (whole > 0) {
        shape(32, &c);
        TILE_CONFIG(&c);
        for (int t = 0; t < whole; t += 32)
            tile_tokens(p, t, true);
    }
    if (rest > 0) {
        shape(rest, &c);
        TILE_CONFIG(&c);
        tile_tokens(p, whole, rest > 16);
    }
    TILE_RELEASE();
}
