/* Any bytes as a saved state: as a whole file, or, behind right checksums, as its parts. It is refused, or it
 * becomes a sequence that can be read and written again. First byte 0: the rest is the file. Else it is the
 * number of parts, each with its length as u16, and all their bytes follow. */
#include "base/alloc.h"
#include "base/reader.h"
#include "fuzz/fuzz.h"
#include "fuzz/scratch.h"
#include "state/seq.h"
#include "state/statefile.h"

#include <string.h>

#define N_CTX    300
#define MAX_PART 8

static const tern_kv_shape shape = {
    .n_block = 1, .n_kv_head = 1, .d_k = 8, .d_v = 8, .k = TERN_KV_F16, .v = TERN_KV_I8};
/* As tests/fuzz/make_state.py writes them. */
static const tern_statefile_id id = {.key = 0x1111, .kind = 0x2222, .owner = 0x3333};
static tern_pool *pool;

static void check(const tern_statefile *f, const tern_states *ops, tern_seq *s)
{
    tern_err err;
    fuzz_must(s->n_tok == f->n1 && f->n0 == 0 && s->n_tok <= N_CTX);
    fuzz_must(memcmp(s->ids, f->ids, (size_t)f->n1 * sizeof *f->ids) == 0);
    size_t n = tern_seq_raw_bytes(&shape, 0, s->n_tok);
    uint8_t *a = tern_alloc(n), *b = tern_alloc(n);
    fuzz_must(a && b);
    tern_seq_raw_get(s, 0, s->n_tok, a);
    /* Written and read again it is the same. */
    const char *path = scratch_path("again");
    tern_statefile g;
    tern_seq t;
    fuzz_must(tern_statefile_write(path, &id, "", ops, s, s->ids, 0, s->n_tok, pool, &err) ==
              TERN_OK);
    fuzz_must(tern_statefile_open(path, &id, pool, &g, &err) == TERN_OK);
    fuzz_must(tern_seq_init(&t, &shape, N_CTX, &err) == TERN_OK);
    fuzz_must(tern_statefile_load(&g, ops, &t, pool, &err) == TERN_OK);
    tern_seq_raw_get(&t, 0, t.n_tok, b);
    fuzz_must(t.n_tok == s->n_tok && memcmp(a, b, n) == 0);
    tern_statefile_close(&g);
    tern_seq_done(&t);
    tern_free(a);
    tern_free(b);
}

static void load(const char *path)
{
    const tern_states ops = tern_seq_states(NULL);
    tern_statefile f;
    tern_seq s;
    tern_err err = {0};
    if (tern_statefile_open(path, &id, pool, &f, &err) != TERN_OK) {
        fuzz_must(err.code != TERN_OK && err.msg[0] && f.ids == NULL);
        return;
    }
    fuzz_must(f.n0 >= 0 && f.n0 < f.n1);
    fuzz_must(tern_seq_init(&s, &shape, N_CTX, &err) == TERN_OK);
    if (f.n0 == 0 && tern_statefile_load(&f, &ops, &s, pool, &err) == TERN_OK)
        check(&f, &ops, &s);
    tern_statefile_close(&f);
    tern_seq_done(&s);
}

/* Parts as the input has them, in a file whose checksums are right. */
static void write_parts(const char *path, tern_reader *r, int n_part)
{
    tern_packfile_part parts[MAX_PART] = {0};
    for (int i = 0; i < n_part; i++) {
        parts[i].id = (uint32_t)i + 1;
        parts[i].bytes = tern_read_u16(r);
    }
    for (int i = 0; i < n_part; i++) {
        size_t left = tern_reader_left(r);
        parts[i].bytes = parts[i].bytes < left ? parts[i].bytes : left;
        parts[i].data = tern_reader_take(r, parts[i].bytes);
        if (!parts[i].data)
            parts[i] = (tern_packfile_part){.id = parts[i].id, .data = ""};
    }
    fuzz_must(tern_packfile_write(path, TERN_STATEFILE_VERSION, id.key, "", parts, (size_t)n_part,
                                  pool, NULL) == TERN_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tern_reader r;
    if (!pool)
        fuzz_must(tern_pool_new(1, &pool, NULL) == TERN_OK);
    if (size == 0 || size > 1 << 17)
        return 0;
    scratch_write("again", data, 0);
    if (data[0] == 0) {
        scratch_write("state", data + 1, size - 1);
    } else {
        scratch_write("state", data, 0);
        tern_reader_init(&r, data + 1, size - 1);
        write_parts(scratch_path("state"), &r, 1 + data[0] % MAX_PART);
    }
    load(scratch_path("state"));
    scratch_clear();
    return 0;
}
