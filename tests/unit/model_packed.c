/* Packed matrices and planes come back from a file bit for bit, in every layout, copied or mapped, and
 * sections that belong to something else are refused. */
#include "base/hash.h"
#include "base/num.h"
#include "model/packed.h"
#include "model/repack.h"
#include "support/head.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COLS  512
#define ROWS  300
#define KEY   3u
#define TITLE "model"

static char dir[] = "/tmp/tern-packed-XXXXXX", path[64];
static tern_pool *pool;

static int set_up(void **state)
{
    (void)state;
    bool ok = mkdtemp(dir) && tern_pool_new(2, &pool, NULL) == TERN_OK;
    (void)snprintf(path, sizeof path, "%s/a.pack", dir);
    return ok ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    tern_pool_free(pool);
    (void)unlink(path);
    return rmdir(dir);
}

/* One matrix as a directory of one tensor. */
typedef struct one {
    tern_tensor t;
    tern_dir d;
    tern_linear l;
} one;

static void one_init(one *o, tern_dtype dt, tern_pack pack, bool token_act8, bool even)
{
    static float w[ROWS * COLS];
    uint32_t rng = 4;
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++)
            w[r * COLS + c] = (even ? 0.5f : 0.25f * (float)(1 + c / 64 % 3)) *
                              (float)((int)(test_rand(&rng) % 3) - 1);
    *o = (one){.t = {.name = "w", .dtype = dt, .n_dim = 2, .ne = {COLS, ROWS, 1, 1}}};
    assert_true(tern_dtype_bytes(dt, o->t.ne, &o->t.bytes));
    uint8_t *data = calloc(1, o->t.bytes);
    tern_dtype_get(dt)->pack(w, ROWS, COLS, NULL, data);
    o->t.data = data;
    o->d = (tern_dir){.tensors = &o->t, .n_tensor = 1};
    assert_int_equal(tern_linear_init(&o->l, &o->t, token_act8, pack, pool, NULL), TERN_OK);
}

static void one_done(one *o)
{
    tern_linear_done(&o->l);
    free((void *)(uintptr_t)o->t.data);
}

static void write_one(const one *o, const tern_head *h)
{
    static const tern_head none;
    tern_err err;
    const tern_linear *l = &o->l;
    if (tern_packed_write(path, KEY, TITLE, &o->d, &l, 1, h ? h : &none, pool, &err) != TERN_OK)
        fail_msg("%s", err.msg);
}

static void open_file(tern_packed *p, bool map)
{
    tern_err err;
    p->map = map;
    if (tern_packfile_open(path, TERN_PACKED_VERSION, KEY, &p->file, &err) != TERN_OK)
        fail_msg("%s", err.msg);
}

static void check_equal(const tern_linear *a, const tern_linear *b)
{
    assert_int_equal(a->op, b->op);
    assert_int_equal(a->form, b->form);
    assert_int_equal(a->group, b->group);
    assert_int_equal(a->grain, b->grain);
    assert_int_equal(a->w_stride, b->w_stride);
    assert_int_equal(a->packed_bytes, b->packed_bytes);
    assert_int_equal(a->n_scale, b->n_scale);
    assert_int_equal(a->read_bytes, b->read_bytes);
    assert_int_equal(a->tame, b->tame);
    assert_memory_equal(a->w, b->w, a->packed_bytes);
    assert_memory_equal(a->scale, b->scale, a->n_scale * sizeof *a->scale);
}

typedef struct kind {
    tern_dtype dt;
    tern_pack pack;
    bool token_act8, even;
    tern_op op;
    uint64_t
        checksum; /* of the packed bytes: another one means that TERN_PACKED_VERSION must rise */
} kind;

static const kind kinds[] = {
    {TERN_DT_I2_S, TERN_PACK_T2R16, true, true, TERN_OP_MM_T2R16, 0x091dcc145d52542a},
    {TERN_DT_I2_S, TERN_PACK_T3R16, true, true, TERN_OP_MM_T3R16, 0x9e2365c1a92f6772},
    {TERN_DT_I2_S, TERN_PACK_T2R1, true, true, TERN_OP_MM_T2R1, 0x58c0acc2a933c164},
    {TERN_DT_I2_S, TERN_PACK_T2C1, true, true, TERN_OP_MM_T2C1, 0xb7beb416e73f819c},
    {TERN_DT_I2_S, TERN_PACK_T3R1, true, true, TERN_OP_MM_T3R1, 0xc18d033f9041efdf},
    {TERN_DT_I2_S, TERN_PACK_T3C1, true, true, TERN_OP_MM_T3C1, 0x8fd79e96e9dde1a2},
    {TERN_DT_Q2_0, TERN_PACK_T3R16, true, true, TERN_OP_MM_T3R16, 0x9e2365c1a92f6772},
    {TERN_DT_Q2_0, TERN_PACK_T3R16, true, false, TERN_OP_MM_T2G, 0x091dcc145d52542a},
    {TERN_DT_Q2_0, TERN_PACK_T2R16, false, true, TERN_OP_MM_T2G, 0x091dcc145d52542a},
};
#define N_KIND (sizeof kinds / sizeof kinds[0])

static void test_matrices_come_back(void **state)
{
    (void)state;
    tern_err err;
    for (size_t i = 0; i < N_KIND; i++) {
        const kind *k = &kinds[i];
        one o;
        one_init(&o, k->dt, k->pack, k->token_act8, k->even);
        assert_int_equal(o.l.op, k->op);
        if (tern_checksum64(o.l.w, o.l.packed_bytes) != k->checksum)
            fail_msg("layout %zu: packed bytes have checksum 0x%016llx", i,
                     (unsigned long long)tern_checksum64(o.l.w, o.l.packed_bytes));
        write_one(&o, NULL);
        for (int map = 0; map < 2; map++) {
            tern_packed p;
            tern_linear l = {.src = &o.t, .rows = ROWS, .cols = COLS};
            open_file(&p, map);
            if (tern_packed_linear(&p, &o.d, &l, k->token_act8, pool, &err) != TERN_OK)
                fail_msg("%s", err.msg);
            assert_true(l.borrowed == (map == 1));
            check_equal(&o.l, &l);
            tern_linear_done(&l);
            tern_packfile_close(&p.file);
        }
        one_done(&o);
    }
}

/* A file of one matrix, asked for another. */
static void test_what_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const struct {
        kind of;
        size_t rows, cols;
        bool token_act8;
    } others[] = {
        {{TERN_DT_I2_S, TERN_PACK_T2R16, true, true, 0, 0}, ROWS + 16, COLS, true},
        {{TERN_DT_I2_S, TERN_PACK_T3R16, true, true, 0, 0}, ROWS, COLS + 256, true},
        {{TERN_DT_I2_S, TERN_PACK_T3R16, true, true, 0, 0}, 1, COLS, true},
        {{TERN_DT_Q2_0, TERN_PACK_T2R16, true, true, 0, 0}, ROWS, COLS, false}, /* needs T2G */
        {{TERN_DT_I2_S, TERN_PACK_T2C1, true, true, 0, 0}, ROWS + 256, COLS, true},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        tern_packed p;
        tern_err err = {0};
        one o;
        one_init(&o, others[i].of.dt, others[i].of.pack, others[i].of.token_act8, true);
        write_one(&o, NULL);
        o.t.ne[0] = others[i].cols;
        o.t.ne[1] = others[i].rows;
        tern_linear l = {.src = &o.t, .rows = (int)others[i].rows, .cols = (int)others[i].cols};
        open_file(&p, false);
        assert_int_equal(tern_packed_linear(&p, &o.d, &l, others[i].token_act8, pool, &err),
                         TERN_E_FORMAT);
        assert_non_null(strstr(err.msg, "'w'"));
        tern_linear_done(&l);
        tern_packfile_close(&p.file);
        one_done(&o);
    }
}

/* Sections written with other layouts than the table of layouts knows. */
static void test_layouts_are_checked(void **state)
{
    (void)state;
    one o;
    one_init(&o, TERN_DT_I2_S, TERN_PACK_T2R16, true, true);
    const uint32_t infos[][2] = {{6, 1}, {UINT32_MAX, 1}, {0, 0}, {0, 2}, {1, 1}, {2, 0}};
    for (size_t i = 0; i < sizeof infos / sizeof infos[0]; i++) {
        tern_packfile_part parts[] = {
            {.id = 0, .info = {infos[i][0], infos[i][1]}, .data = o.l.w, .bytes = o.l.packed_bytes},
            {.id = 1, .data = o.l.scale, .bytes = o.l.n_scale * sizeof *o.l.scale}};
        tern_packed p;
        tern_linear l = {.src = &o.t, .rows = ROWS, .cols = COLS};
        assert_int_equal(
            tern_packfile_write(path, TERN_PACKED_VERSION, KEY, TITLE, parts, 2, pool, NULL),
            TERN_OK);
        open_file(&p, false);
        assert_int_equal(tern_packed_linear(&p, &o.d, &l, true, pool, NULL), TERN_E_FORMAT);
        tern_linear_done(&l);
        tern_packfile_close(&p.file);
    }
    one_done(&o);
}

static void check_head(head_model *m, bool map)
{
    tern_packed p;
    tern_head h;
    tern_err err;
    const tern_head *want = &m->w.screen;
    const tern_linear *l = &m->w.head;
    tern_dir d = {.tensors = &m->tensor, .n_tensor = 1};
    assert_int_equal(tern_packed_write(path, KEY, TITLE, &d, &l, 1, want, pool, NULL), TERN_OK);
    open_file(&p, map);
    if (tern_packed_head(&p, NULL, l, &h, pool, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(h.n_extra, want->n_extra);
    assert_int_equal(h.n_col, want->n_col);
    assert_int_equal(h.w4_bytes, want->w4_bytes);
    assert_memory_equal(h.w4, want->w4, h.w4_bytes);
    assert_int_equal(h.n_fine, want->n_fine);
    assert_int_equal(h.w1_bytes, want->w1_bytes);
    for (int i = 0; i < h.n_fine; i++)
        assert_memory_equal(h.w1[i], want->w1[i], h.w1_bytes);
    size_t rows = tern_round_up((size_t)h.rows, 64) * sizeof(float);
    assert_memory_equal(h.scale, want->scale, rows);
    assert_memory_equal(h.size4, want->size4, rows);
    assert_memory_equal(h.radius4, want->radius4, rows);
    for (int i = 0; i < h.n_fine; i++)
        assert_memory_equal(h.radius1[i], want->radius1[i], rows);
    assert_memory_equal(h.mean, want->mean, (size_t)h.cols * sizeof(float));
    assert_memory_equal(h.extra, want->extra, (size_t)h.n_extra * sizeof(int32_t));
    assert_int_equal(tern_head_memory(&h), tern_head_memory(want));
    tern_head_done(&h);
    tern_packfile_close(&p.file);
}

static void test_heads_come_back(void **state)
{
    (void)state;
    for (int fine = 0; fine <= TERN_HEAD_FINE; fine++) {
        head_model m;
        uint32_t seed = 3;
        head_model_init(&m, TERN_DT_F32, 1000, 192, HEAD_GAUSS, 7);
        for (int i = 0; i < 8; i++)
            head_model_input(&m, i, 1, 0, &seed);
        head_model_screen(&m, 8, fine);
        assert_true(m.w.screen.n_extra > 0);
        check_head(&m, false);
        check_head(&m, true);
        /* A column that is none. */
        int32_t was = m.w.screen.extra[0];
        const int32_t wrong[] = {-1, 192, INT32_MAX};
        for (size_t i = 0; i < 3; i++) {
            tern_packed p;
            tern_head h;
            const tern_linear *l = &m.w.head;
            tern_dir d = {.tensors = &m.tensor, .n_tensor = 1};
            m.w.screen.extra[0] = wrong[i];
            assert_int_equal(
                tern_packed_write(path, KEY, TITLE, &d, &l, 1, &m.w.screen, pool, NULL), TERN_OK);
            open_file(&p, false);
            assert_int_equal(tern_packed_head(&p, NULL, l, &h, pool, NULL), TERN_E_FORMAT);
            assert_null(h.l);
            tern_packfile_close(&p.file);
        }
        m.w.screen.extra[0] = was;
        head_model_done(&m);
    }
}

/* Another checksum means that TERN_PACKED_VERSION must rise. */
static void test_planes_stay_as_they_are(void **state)
{
    (void)state;
    static uint8_t codes[16 * COLS], stripe[16 * COLS], row[COLS];
    uint32_t rng = 6;
    for (size_t i = 0; i < sizeof codes; i++)
        codes[i] = (uint8_t)(test_rand(&rng) % 16);
    tern_n4_pack_stripe(codes, COLS, COLS - 3, stripe);
    assert_int_equal(tern_n4_stripe_bytes(COLS - 3), 16 * COLS / 2);
    for (size_t i = 0; i < COLS; i++)
        codes[i] &= 1;
    tern_n1_pack_row(codes, COLS - 3, row);
    assert_int_equal(tern_n1_row_bytes(COLS - 3), COLS / 8);
    uint64_t n4 = tern_checksum64(stripe, 16 * COLS / 2), n1 = tern_checksum64(row, COLS / 8);
    if (n4 != 0x57af0a9ec9937c7f || n1 != 0x9b7b5ced599bb17c)
        fail_msg("0x%016llx, 0x%016llx", (unsigned long long)n4, (unsigned long long)n1);
}

static void test_no_planes_are_no_head(void **state)
{
    (void)state;
    one o;
    tern_packed p;
    tern_head h;
    one_init(&o, TERN_DT_I2_S, TERN_PACK_T2R16, true, true);
    write_one(&o, NULL);
    open_file(&p, false);
    assert_int_equal(tern_packed_head(&p, NULL, &o.l, &h, pool, NULL), TERN_OK);
    assert_null(h.l);
    tern_packfile_close(&p.file);
    one_done(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrices_come_back),
        cmocka_unit_test(test_what_does_not_fit_is_refused),
        cmocka_unit_test(test_layouts_are_checked),
        cmocka_unit_test(test_heads_come_back),
        cmocka_unit_test(test_no_planes_are_no_head),
        cmocka_unit_test(test_planes_stay_as_they_are),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
