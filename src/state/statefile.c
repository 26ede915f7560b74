#include "state/statefile.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/reader.h"
#include "base/str.h"

#include <string.h>

#define AT_KIND  0
#define AT_OWNER 8
#define AT_N0    16
#define AT_N1    20
#define HEAD     24

/* Fewer tokens than any index here could be too small for. */
#define MAX_TOK (1 << 28)

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

static tern_code no_memory(const char *path, tern_err *err)
{
    return tern_fail(err, TERN_E_NOMEM, "%s: out of memory", path);
}

static tern_code bad(const tern_statefile *f, const char *what, tern_err *err)
{
    char shown[160];
    return tern_fail(err, TERN_E_FORMAT, "%s: %s",
                     tern_quote(shown, sizeof shown, f->p.path, strlen(f->p.path)), what);
}

static int n_piece(const tern_states *ops, int n0, int n1)
{
    return (n1 - n0) / ops->grain + ((n1 - n0) % ops->grain != 0);
}

/* End of the piece of [.., n1) that begins at n. */
static int piece_end(const tern_states *ops, int n, int n1)
{
    return n1 - n < ops->grain ? n1 : n + ops->grain;
}

/* ---- writing ------------------------------------------------------------------------------- */

static uint8_t *make_head(const tern_statefile_id *id, const int32_t *ids, int n0, int n1)
{
    uint8_t *head = tern_alloc(HEAD + (size_t)n1 * sizeof *ids);
    if (!head)
        return NULL;
    put64(head + AT_KIND, id->kind);
    put64(head + AT_OWNER, id->owner);
    put32(head + AT_N0, (uint32_t)n0);
    put32(head + AT_N1, (uint32_t)n1);
    for (int i = 0; i < n1; i++)
        put32(head + HEAD + 4 * (size_t)i, (uint32_t)ids[i]);
    return head;
}

/* The bytes of one piece: where they lie, or in memory of their own, which *own then is. */
static bool make_part(const tern_states *ops, const void *state, int n0, int n1,
                      tern_packfile_part *part, uint8_t **own)
{
    part->bytes = ops->save_bytes(state, n0, n1);
    part->data = ops->view ? ops->view(state, n0, n1) : NULL;
    if (part->data)
        return true;
    part->data = *own = tern_alloc(part->bytes);
    if (!*own)
        return false;
    ops->save(state, n0, n1, *own);
    return true;
}

tern_code tern_statefile_write(const char *path, const tern_statefile_id *id, const char *title,
                               const tern_states *ops, const void *state, const int32_t *ids,
                               int n0, int n1, tern_pool *pool, tern_err *err)
{
    size_t n_part = 1 + (size_t)n_piece(ops, n0, n1);
    uint8_t *head = make_head(id, ids, n0, n1);
    uint8_t **own = tern_calloc(n_part, sizeof *own);
    tern_packfile_part *parts = tern_calloc(n_part, sizeof *parts);
    bool ok = head && own && parts;
    if (ok)
        parts[0] =
            (tern_packfile_part){.id = 1, .data = head, .bytes = HEAD + (size_t)n1 * sizeof *ids};
    for (size_t i = 1; ok && i < n_part; i++) {
        int at = n0 + (int)(i - 1) * ops->grain;
        parts[i].id = (uint32_t)i + 1;
        ok = make_part(ops, state, at, piece_end(ops, at, n1), &parts[i], &own[i]);
    }
    tern_code rc = ok ? tern_packfile_write(path, TERN_STATEFILE_VERSION, id->key, title, parts,
                                            n_part, pool, err)
                      : no_memory(path, err);
    for (size_t i = 0; own && i < n_part; i++)
        tern_free(own[i]);
    tern_free(own);
    tern_free(parts);
    tern_free(head);
    return rc;
}

uint64_t tern_statefile_bytes(const tern_states *ops, const void *state, int n0, int n1)
{
    uint64_t bytes = HEAD + 4 * (uint64_t)n1;
    for (int at = n0; at < n1; at = piece_end(ops, at, n1))
        bytes += ops->save_bytes(state, at, piece_end(ops, at, n1));
    return tern_packfile_bytes(1 + (size_t)n_piece(ops, n0, n1), bytes);
}

/* ---- reading ------------------------------------------------------------------------------- */

/* head [s->bytes], read and checked. */
static tern_code read_head(tern_statefile *f, const tern_statefile_id *id, const uint8_t *head,
                           const tern_packfile_section *s, tern_err *err)
{
    if (tern_le64(head + AT_KIND) != id->kind)
        return bad(f, "of another kind of state (the type of the cache, -ctk and -ctv)", err);
    if (tern_le64(head + AT_OWNER) != id->owner)
        return bad(f, "of another owner", err);
    uint32_t n0 = tern_le32(head + AT_N0), n1 = tern_le32(head + AT_N1);
    if (n1 == 0 || n1 > MAX_TOK || n0 >= n1 || s->bytes != HEAD + 4 * (uint64_t)n1)
        return bad(f, "its number of tokens is wrong", err);
    f->n0 = (int)n0;
    f->n1 = (int)n1;
    f->ids = tern_alloc(n1 * sizeof *f->ids);
    if (!f->ids)
        return no_memory(f->p.path, err);
    for (uint32_t i = 0; i < n1; i++)
        f->ids[i] = (int32_t)tern_le32(head + HEAD + 4 * (size_t)i);
    return TERN_OK;
}

tern_code tern_statefile_open(const char *path, const tern_statefile_id *id, tern_pool *pool,
                              tern_statefile *out, tern_err *err)
{
    *out = (tern_statefile){.p.in.fd = -1};
    TERN_TRY(tern_packfile_open(path, TERN_STATEFILE_VERSION, id->key, &out->p, err));
    const tern_packfile_section *s = tern_packfile_find(&out->p, 1);
    tern_code rc = s && s->bytes >= HEAD && s->bytes <= HEAD + 4 * (uint64_t)MAX_TOK
                       ? TERN_OK
                       : bad(out, "without its tokens", err);
    uint8_t *head = rc == TERN_OK ? tern_alloc((size_t)s->bytes) : NULL;
    if (rc == TERN_OK)
        rc = head ? tern_packfile_read(&out->p, s, head, pool, err) : no_memory(path, err);
    if (rc == TERN_OK)
        rc = read_head(out, id, head, s, err);
    tern_free(head);
    if (rc != TERN_OK)
        tern_statefile_close(out);
    return rc;
}

static tern_code load_piece(const tern_statefile *f, const tern_states *ops, void *state, int n0,
                            int n1, const tern_packfile_section *s, tern_pool *pool, tern_err *err)
{
    size_t bytes = (size_t)s->bytes;
    if (bytes != ops->save_bytes(state, n0, n1))
        return bad(f, "a part of the state has the wrong size", err);
    uint8_t *buf = tern_alloc(bytes);
    if (!buf)
        return no_memory(f->p.path, err);
    tern_code rc = tern_packfile_read(&f->p, s, buf, pool, err);
    if (rc == TERN_OK && !ops->load(state, n0, f->ids + n0, n1 - n0, buf, bytes))
        rc = tern_fail(err, TERN_E_NOMEM, "%s: no room for %d tokens", f->p.path, f->n1);
    tern_free(buf);
    return rc;
}

tern_code tern_statefile_load(const tern_statefile *f, const tern_states *ops, void *state,
                              tern_pool *pool, tern_err *err)
{
    if (f->n0 % ops->grain != 0 || f->p.n_section != 1 + (size_t)n_piece(ops, f->n0, f->n1))
        return bad(f, "its parts are not those of its tokens", err);
    for (int at = f->n0, i = 1; at < f->n1; at = piece_end(ops, at, f->n1), i++) {
        const tern_packfile_section *s = &f->p.sections[i];
        if (s->id != (uint32_t)i + 1)
            return bad(f, "its parts are not those of its tokens", err);
        TERN_TRY(load_piece(f, ops, state, at, piece_end(ops, at, f->n1), s, pool, err));
    }
    return TERN_OK;
}

void tern_statefile_close(tern_statefile *f)
{
    tern_packfile_close(&f->p);
    tern_free(f->ids);
    *f = (tern_statefile){.p.in.fd = -1};
}
