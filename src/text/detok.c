#include "base/utf8.h"
#include "text/vocab.h"

#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

void tern_detok_init(tern_detok *d, const tern_tokenizer *t, bool special, bool at_start)
{
    *d = (tern_detok){.tok = t, .special = special, .started = !at_start};
}

/* Put bytes out as far as they are whole sequences; what no byte can complete becomes U+FFFD, one
 * for each longest beginning of a sequence, as decoders of UTF-8 do. */
static void put(tern_detok *d, tern_slice s, tern_str *out)
{
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        d->pending[d->n_pending++] = s.p[i++];
        if (tern_utf8_decode(d->pending, d->n_pending, &cp)) {
            tern_str_put(out, d->pending, d->n_pending);
            d->n_pending = 0;
        } else if (tern_utf8_partial_tail(d->pending, d->n_pending) != d->n_pending) {
            tern_str_put(out, REPLACEMENT, sizeof REPLACEMENT - 1);
            if (d->n_pending > 1)
                i--; /* this byte broke the sequence and may begin the next */
            d->n_pending = 0;
        }
    }
}

void tern_detok_push(tern_detok *d, int32_t id, tern_str *out)
{
    tern_token_attr a = tern_token_attr_get(d->tok, id);
    bool plain = a == TERN_TOKEN_NORMAL || a == TERN_TOKEN_USER || a == TERN_TOKEN_BYTE;
    if (!plain && !d->special)
        return;
    tern_slice s = tern_token_bytes(d->tok, id);
    if (plain && !d->started) {
        if (a == TERN_TOKEN_NORMAL && s.n && s.p[0] == ' ' && tern_tokenizer_pads(d->tok)) {
            s.p++;
            s.n--;
        }
        d->started = true;
    }
    put(d, s, out);
}

void tern_detok_finish(tern_detok *d, tern_str *out)
{
    if (d->n_pending)
        tern_str_put(out, REPLACEMENT, sizeof REPLACEMENT - 1);
    d->n_pending = 0;
}
