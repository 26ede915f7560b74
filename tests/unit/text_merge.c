/* Merging with a heap against the plainest loop that does the same; special tokens against a scan
 * with every token at every place. */
#include "support/support.h"
#include "support/vocab.h"
#include "text/merge.h"
#include "text/special.h"

#include <string.h>

/* ---- merging ----------------------------------------------------------------------------- */

#define N_ID 24

/* table[l][r]: rank and id of the whole; rank 0: none. */
typedef struct table {
    uint32_t rank[N_ID][N_ID];
    int32_t id[N_ID][N_ID];
} table;

static bool rule(const void *ctx, const tern_symbol *l, const tern_symbol *r, uint32_t *rank,
                 int32_t *id)
{
    const table *t = ctx;
    if (l->id < 0 || r->id < 0 || !t->rank[l->id][r->id])
        return false;
    *rank = t->rank[l->id][r->id];
    *id = t->id[l->id][r->id];
    return true;
}

static size_t merge_plainly(const table *t, int32_t *ids, size_t n)
{
    for (;;) {
        size_t best = n;
        uint32_t rank = UINT32_MAX;
        for (size_t i = 0; i + 1 < n; i++) {
            uint32_t r = ids[i] < 0 || ids[i + 1] < 0 ? 0 : t->rank[ids[i]][ids[i + 1]];
            if (r && r < rank) {
                rank = r;
                best = i;
            }
        }
        if (best == n)
            return n;
        ids[best] = t->id[ids[best]][ids[best + 1]];
        memmove(&ids[best + 1], &ids[best + 2], (n - best - 2) * sizeof *ids);
        n--;
    }
}

static void test_merging_random_words(void **state)
{
    (void)state;
    static table t;
    uint32_t seed = 1;
    tern_merge m;
    tern_err err;
    tern_merge_init(&m);
    for (int round = 0; round < 3000; round++) {
        memset(&t, 0, sizeof t);
        /* Few ranks, so that many are equal; results may have any rank, better or worse ones. */
        for (int i = 0; i < 60; i++) {
            uint32_t l = test_rand(&seed) % N_ID, r = test_rand(&seed) % N_ID;
            t.rank[l][r] = 1 + test_rand(&seed) % 12;
            t.id[l][r] = (int32_t)(test_rand(&seed) % N_ID);
        }
        int32_t ids[64];
        size_t n = test_rand(&seed) % 64, at = 0;
        assert_int_equal(tern_merge_reset(&m, n, &err), TERN_OK);
        for (size_t i = 0; i < n; i++) {
            size_t len = 1 + test_rand(&seed) % 4;
            ids[i] = (int32_t)(test_rand(&seed) % 8) - (test_rand(&seed) % 16 == 0 ? 8 : 0);
            tern_merge_push(&m, at, len, ids[i]);
            at += len;
        }
        assert_int_equal(tern_merge_run(&m, rule, &t, &err), TERN_OK);
        size_t n_want = merge_plainly(&t, ids, n), k = 0, end = 0;
        for (uint32_t i = n ? 0 : TERN_SYMBOL_NONE; i != TERN_SYMBOL_NONE; i = m.sym[i].next, k++) {
            assert_true(k < n_want);
            assert_int_equal(m.sym[i].id, ids[k]);
            assert_int_equal(m.sym[i].at, end);
            end += m.sym[i].len;
        }
        assert_int_equal(k, n_want);
        assert_int_equal(end, at);
    }
    tern_merge_done(&m);
}

/* ---- special tokens ---------------------------------------------------------------------- */

static int32_t find_plainly(const tern_tokenizer *t, bool controls, const char *text, size_t n,
                            size_t *at, size_t *len)
{
    for (*at = 0; *at < n; ++*at) {
        int32_t best = -1;
        *len = 0;
        for (int32_t id = 0; id < tern_tokenizer_info_get(t)->n_vocab; id++) {
            tern_token_attr a = tern_token_attr_get(t, id);
            tern_slice s = tern_token_text(t, id);
            if (tern_token_find(t, s.p, s.n) != id)
                continue; /* of equal spellings the lowest id is the one in use */
            if ((a == TERN_TOKEN_USER || (controls && a == TERN_TOKEN_CONTROL)) && s.n > *len &&
                s.n <= n - *at && memcmp(s.p, text + *at, s.n) == 0) {
                best = id;
                *len = s.n;
            }
        }
        if (best >= 0)
            return best;
    }
    return -1;
}

static void test_finding_special_tokens(void **state)
{
    (void)state;
    uint32_t seed = 5;
    for (int round = 0; round < 200; round++) {
        char tokens[1024], types[256], text[200];
        size_t n_tokens = 0, n_types = 0;
        for (int i = 0; i < 40; i++) { /* the first three are single letters, as merges need */
            size_t len = i < 3 ? 1 : 1 + test_rand(&seed) % 6;
            for (size_t k = 0; k < len; k++)
                tokens[n_tokens++] = (char)('a' + (i < 3 ? (uint32_t)i : test_rand(&seed) % 3));
            tokens[n_tokens++] = ' ';
            types[n_types++] = i < 3 ? '1' : "134"[test_rand(&seed) % 3];
            types[n_types++] = ' ';
        }
        tokens[n_tokens] = types[n_types] = 0;
        const test_vocab v = {
            .model = "gpt2", .pre = "gpt-2", .tokens = tokens, .types = types, .merges = ""};
        test_tokenizer tt;
        tern_err err;
        assert_int_equal(test_tokenizer_make(&tt, &v, NULL, &err), TERN_OK);
        tern_vocab vocab;
        tern_special_set set;
        bool controls = round & 1;
        assert_int_equal(tern_vocab_init(&vocab, TERN_VOCAB_BPE, tt.dir, &err), TERN_OK);
        assert_int_equal(tern_special_init(&set, &vocab, controls, &err), TERN_OK);
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (char)('a' + test_rand(&seed) % 3);
        for (size_t from = 0; from < sizeof text; from++) {
            size_t at, len, want_at, want_len, n = sizeof text - from;
            int32_t want = find_plainly(tt.t, controls, text + from, n, &want_at, &want_len);
            int32_t got = tern_special_find(&set, text + from, n, &at, &len);
            assert_int_equal(got >= 0, want >= 0);
            if (want < 0)
                continue;
            assert_int_equal(got, want);
            assert_int_equal(at, want_at);
            assert_int_equal(len, want_len);
        }
        tern_special_done(&set);
        tern_vocab_done(&vocab);
        test_tokenizer_done(&tt);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merging_random_words),
        cmocka_unit_test(test_finding_special_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
