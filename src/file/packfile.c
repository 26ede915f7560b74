#include "file/packfile.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/num.h"
#include "base/os/outfile.h"
#include "base/reader.h"
#include "base/str.h"

#include <string.h>

static const char magic[8] = "ternpack";

/* The header, in order: magic, version u32, number of sections u32, key u64, bytes of the file u64,
 * checksum u64, title. The checksum is of all that and the table, itself as 0. */
#define AT_VERSION  8
#define AT_COUNT    12
#define AT_KEY      16
#define AT_SIZE     24
#define AT_CHECKSUM 32
#define AT_TITLE    40
#define HEADER      (AT_TITLE + TERN_PACKFILE_TITLE)
#define ENTRY       40 /* id, info, offset, bytes, checksum */
#define MAX_SECTION ((size_t)1 << 20)
#define READABLE    64 /* behind each section */

/* Sections are checked in pieces that stay in a core's cache between reading and checking. */
#define PIECE ((size_t)256 << 10)

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static void put64(uint8_t *p, uint64_t v)
{
    put32(p, (uint32_t)v);
    put32(p + 4, (uint32_t)(v >> 32));
}

/* ---- checksums ----------------------------------------------------------------------------- */

typedef struct piece_task {
    const tern_packfile *p; /* NULL: data is in memory already */
    uint64_t offset;
    uint8_t *to;
    const uint8_t *data; /* when p is NULL */
    uint8_t *work;       /* [n_lane][PIECE], when read to nowhere */
    size_t bytes;
    uint64_t *sums; /* [pieces] */
    _Atomic bool failed;
} piece_task;

static void piece_range(void *arg, int lane, int begin, int end)
{
    piece_task *t = arg;
    for (int i = begin; i < end; i++) {
        size_t at = (size_t)i * PIECE, n = t->bytes - at < PIECE ? t->bytes - at : PIECE;
        uint8_t *to = t->work ? t->work + (size_t)lane * PIECE : t->p ? t->to + at : NULL;
        t->sums[i] = 0;
        if (t->p && !tern_infile_read(&t->p->in, t->offset + at, to, n))
            t->failed = true;
        else
            t->sums[i] = tern_checksum64(t->p ? to : t->data + at, n);
    }
}

/* The checksum of a section: of the checksums of its pieces. False: memory is exhausted. */
static bool checksum_of(piece_task *t, tern_pool *pool, uint64_t *out)
{
    size_t n = (t->bytes + PIECE - 1) / PIECE;
    t->sums = n > INT32_MAX ? NULL : tern_calloc(n ? n : 1, sizeof *t->sums);
    if (!t->sums)
        return false;
    tern_pool_for(pool, (int)n, 1, piece_range, t);
    *out = tern_hash64(t->sums, n * sizeof *t->sums, t->bytes);
    tern_free(t->sums);
    return true;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "checksums of pieces are hashed in place");

/* ---- opening ------------------------------------------------------------------------------- */

static tern_code bad(const tern_packfile *p, const char *what, tern_err *err)
{
    char shown[160];
    return tern_fail(err, TERN_E_FORMAT, "%s: %s",
                     tern_quote(shown, sizeof shown, p->path, strlen(p->path)), what);
}

static tern_code no_memory(const tern_packfile *p, tern_err *err)
{
    return tern_fail(err, TERN_E_NOMEM, "%s: out of memory", p->path ? p->path : "packed weights");
}

static tern_code read_entry(tern_packfile *p, size_t i, const uint8_t *e, uint64_t begin,
                            tern_err *err)
{
    tern_packfile_section *s = &p->sections[i];
    *s = (tern_packfile_section){.id = tern_le32(e),
                                 .offset = tern_le64(e + 16),
                                 .bytes = tern_le64(e + 24),
                                 .checksum = tern_le64(e + 32)};
    for (size_t j = 0; j < TERN_PACKFILE_INFO; j++)
        s->info[j] = tern_le32(e + 4 + 4 * j);
    if (i > 0 && s->id <= s[-1].id)
        return bad(p, "its sections are out of order", err);
    if (s->offset % TERN_PACKFILE_ALIGN || s->offset < begin || s->offset > p->in.size ||
        s->bytes > p->in.size - s->offset || p->in.size - s->offset - s->bytes < READABLE)
        return bad(p, "a section lies outside the file", err);
    return TERN_OK;
}

/* head [HEADER], which is changed. */
static tern_code read_header(tern_packfile *p, uint8_t *head, uint32_t version, tern_err *err)
{
    uint64_t sum;
    if (memcmp(head, magic, sizeof magic) != 0)
        return bad(p, "not a file that tern keeps", err);
    if (tern_le32(head + AT_VERSION) != version)
        return bad(p, "written by another version", err);
    size_t n = tern_le32(head + AT_COUNT), table = n * ENTRY;
    if (tern_le64(head + AT_SIZE) != p->in.size)
        return bad(p, "cut short", err);
    if (n > MAX_SECTION || table > p->in.size - HEADER)
        return bad(p, "too many sections", err);
    uint8_t *all = tern_alloc(HEADER + table);
    p->sections = tern_calloc(n ? n : 1, sizeof *p->sections);
    tern_code rc = all && p->sections ? TERN_OK : no_memory(p, err);
    if (rc == TERN_OK) {
        sum = tern_le64(head + AT_CHECKSUM);
        put64(head + AT_CHECKSUM, 0);
        memcpy(all, head, HEADER);
        if (!tern_infile_read(&p->in, HEADER, all + HEADER, table) ||
            tern_checksum64(all, HEADER + table) != sum)
            rc = bad(p, "its table is damaged", err);
    }
    for (; rc == TERN_OK && p->n_section < n; p->n_section++)
        rc = read_entry(p, p->n_section, all + HEADER + p->n_section * ENTRY, HEADER + table, err);
    tern_free(all);
    return rc;
}

tern_code tern_packfile_peek(const char *path, uint32_t version, tern_packfile *out, tern_err *err)
{
    uint8_t head[HEADER];
    *out = (tern_packfile){.in.fd = -1, .path = tern_strdup_n(path, strlen(path))};
    tern_code rc = out->path ? tern_infile_open(path, &out->in, err) : no_memory(out, err);
    if (rc == TERN_OK &&
        (out->in.size < sizeof head || !tern_infile_read(&out->in, 0, head, sizeof head)))
        rc = bad(out, "cut short", err);
    if (rc == TERN_OK) {
        out->key = tern_le64(head + AT_KEY);
        memcpy(out->title, head + AT_TITLE, TERN_PACKFILE_TITLE - 1);
        rc = read_header(out, head, version, err);
    }
    if (rc != TERN_OK)
        tern_packfile_close(out);
    return rc;
}

tern_code tern_packfile_open(const char *path, uint32_t version, uint64_t key, tern_packfile *out,
                             tern_err *err)
{
    TERN_TRY(tern_packfile_peek(path, version, out, err));
    if (out->key == key)
        return TERN_OK;
    tern_code rc = bad(out, "of another model", err);
    tern_packfile_close(out);
    return rc;
}

void tern_packfile_close(tern_packfile *p)
{
    tern_infile_unmap(p->map, (size_t)p->in.size);
    tern_infile_close(&p->in);
    tern_free(p->sections);
    tern_free(p->path);
    *p = (tern_packfile){.in.fd = -1};
}

const tern_packfile_section *tern_packfile_find(const tern_packfile *p, uint32_t id)
{
    size_t lo = 0, hi = p->n_section;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->sections[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < p->n_section && p->sections[lo].id == id ? &p->sections[lo] : NULL;
}

/* ---- sections ------------------------------------------------------------------------------ */

static tern_code check(const tern_packfile *p, const tern_packfile_section *s, piece_task *t,
                       tern_pool *pool, tern_err *err)
{
    uint64_t sum;
    if (!checksum_of(t, pool, &sum))
        return no_memory(p, err);
    return t->failed || sum != s->checksum ? bad(p, "its bytes are damaged", err) : TERN_OK;
}

tern_code tern_packfile_read(const tern_packfile *p, const tern_packfile_section *s, void *to,
                             tern_pool *pool, tern_err *err)
{
    piece_task t = {.p = p, .offset = s->offset, .to = to, .bytes = (size_t)s->bytes};
    return check(p, s, &t, pool, err);
}

tern_code tern_packfile_map(tern_packfile *p, const tern_packfile_section *s, bool touch,
                            const uint8_t **data, tern_pool *pool, tern_err *err)
{
    if (!p->map)
        p->map = tern_infile_map(&p->in, 0, (size_t)p->in.size);
    if (!p->map)
        return tern_fail(err, TERN_E_IO, "%s: cannot be mapped", p->path);
    piece_task t = {.data = p->map + s->offset, .bytes = (size_t)s->bytes};
    *data = t.data;
    if (touch)
        return check(p, s, &t, pool, err);
    t.p = p;
    t.offset = s->offset;
    t.work = tern_alloc((size_t)tern_pool_size(pool) * PIECE);
    tern_code rc = t.work ? check(p, s, &t, pool, err) : no_memory(p, err);
    tern_free(t.work);
    return rc;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* Header and table; offsets and checksums of all parts, which lie one behind the other. Returns bytes
 * of the whole file. */
static size_t make_head(uint8_t *head, const tern_packfile_part *parts, const uint64_t *sums,
                        size_t n_part)
{
    size_t at = HEADER + n_part * ENTRY;
    for (size_t i = 0; i < n_part; i++) {
        uint8_t *e = head + HEADER + i * ENTRY;
        at = tern_round_up(at, TERN_PACKFILE_ALIGN);
        put32(e, parts[i].id);
        for (size_t j = 0; j < TERN_PACKFILE_INFO; j++)
            put32(e + 4 + 4 * j, parts[i].info[j]);
        put64(e + 16, at);
        put64(e + 24, parts[i].bytes);
        put64(e + 32, sums[i]);
        at += parts[i].bytes + READABLE;
    }
    return at;
}

static void write_zeros(FILE *f, size_t n)
{
    static const uint8_t zeros[TERN_PACKFILE_ALIGN];
    for (; n > 0; n -= n < sizeof zeros ? n : sizeof zeros)
        (void)fwrite(zeros, 1, n < sizeof zeros ? n : sizeof zeros, f);
}

/* Errors stay with the stream until it is committed. */
static void write_parts(FILE *f, const tern_packfile_part *parts, size_t n_part, size_t at)
{
    for (size_t i = 0; i < n_part && !ferror(f); i++) {
        write_zeros(f, tern_round_up(at, TERN_PACKFILE_ALIGN) - at);
        (void)fwrite(parts[i].data, 1, parts[i].bytes, f);
        write_zeros(f, READABLE);
        at = tern_round_up(at, TERN_PACKFILE_ALIGN) + parts[i].bytes + READABLE;
    }
}

static bool sum_parts(const tern_packfile_part *parts, size_t n_part, tern_pool *pool,
                      uint64_t *sums)
{
    for (size_t i = 0; i < n_part; i++) {
        piece_task t = {.data = parts[i].data, .bytes = parts[i].bytes};
        if (!checksum_of(&t, pool, &sums[i]))
            return false;
    }
    return true;
}

tern_code tern_packfile_write(const char *path, uint32_t version, uint64_t key, const char *title,
                              const tern_packfile_part *parts, size_t n_part, tern_pool *pool,
                              tern_err *err)
{
    size_t n_head = HEADER + n_part * ENTRY, n_title = strlen(title);
    tern_outfile o;
    uint8_t *head = tern_calloc(n_head, 1);
    uint64_t *sums = tern_calloc(n_part ? n_part : 1, sizeof *sums);
    tern_code rc = TERN_OK;
    if (!head || !sums || !sum_parts(parts, n_part, pool, sums))
        rc = tern_fail(err, TERN_E_NOMEM, "%s: out of memory", path);
    if (rc == TERN_OK) {
        memcpy(head, magic, sizeof magic);
        put32(head + AT_VERSION, version);
        put32(head + AT_COUNT, (uint32_t)n_part);
        put64(head + AT_KEY, key);
        memcpy(head + AT_TITLE, title,
               n_title < TERN_PACKFILE_TITLE ? n_title : TERN_PACKFILE_TITLE - 1);
        size_t all = make_head(head, parts, sums, n_part);
        put64(head + AT_SIZE, all);
        put64(head + AT_CHECKSUM, tern_checksum64(head, n_head));
        rc = tern_outfile_open(&o, path, TERN_OUTFILE_PRIVATE, err);
        if (rc == TERN_OK)
            rc = tern_outfile_reserve(&o, all, err);
    }
    if (rc == TERN_OK) {
        (void)fwrite(head, 1, n_head, o.f);
        write_parts(o.f, parts, n_part, n_head);
        rc = tern_outfile_commit(&o, err);
    }
    tern_free(head);
    tern_free(sums);
    return rc;
}

uint64_t tern_packfile_bytes(size_t n_part, uint64_t bytes)
{
    return HEADER + bytes + n_part * (uint64_t)(ENTRY + READABLE + TERN_PACKFILE_ALIGN - 1);
}
