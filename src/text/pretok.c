#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pretok.h"
#include "base/alloc.h"
#include "base/error.h"

#include <pcre2.h>
#include <string.h>

#define PASS_MAX 6
enum { IGNORE_MERGES = 1, ADD_BOS = 2 };

/* One match may look at each byte left a few times, never more: the patterns backtrack over one run
 * at most. The floor is the library's own default. */
#define MATCH_STEPS_MIN      10000000u
#define MATCH_STEPS_PER_BYTE 16u
#define HEAP_KIB_MAX         65536u

typedef struct pretok_family {
    const char *pass[PASS_MAX]; /* NULL behind the last */
} pretok_family;

#define FAMILY(id, ...) static const pretok_family family_##id = {{__VA_ARGS__}};
#include "text/pretok.def"

typedef struct pretok_row {
    const char *name;
    const pretok_family *family;
    unsigned flags;
} pretok_row;

static const pretok_row rows[] = {
#define PRETOK(name, id, flags) {name, &family_##id, flags},
#include "text/pretok.def"
};
#define N_ROW (sizeof rows / sizeof rows[0])

#define STEPS "steps:"
static const struct {
    const char *name, *pass;
} named[] = {
#define STEP(name, pass) {name, pass},
#include "text/pretok.def"
};
#define N_STEP (sizeof named / sizeof named[0])

struct tern_pretok {
    const pretok_row *row; /* of the table, or own */
    pretok_row own;
    pretok_family own_family;
    char own_name[96];
    pcre2_general_context *memory; /* owned */
    bool starved;                  /* an allocation failed; looked at while compiling only */
    pcre2_code *pass[PASS_MAX];    /* owned */
};

static void *memory_take(PCRE2_SIZE n, void *ctx)
{
    tern_pretok *p = ctx;
    void *block = tern_alloc(n);
    if (!block) /* also from threads that match */
        __atomic_store_n(&p->starved, true, __ATOMIC_RELAXED);
    return block;
}

static void memory_give(void *p, void *ctx)
{
    (void)ctx;
    tern_free(p);
}

/* ---- compiling --------------------------------------------------------------------------- */

static tern_code pass_compile(tern_pretok *p, size_t i, tern_err *err)
{
    int code;
    PCRE2_SIZE at;
    const char *pattern = p->row->family->pass[i];
    /* Without memory this is NULL, the default; then p is starved. */
    pcre2_compile_context *c = pcre2_compile_context_create(p->memory);
    p->pass[i] = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                               PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &code, &at, c);
    pcre2_compile_context_free(c);
    if (!p->pass[i])
        return tern_fail(err, code == PCRE2_ERROR_HEAP_FAILED ? TERN_E_NOMEM : TERN_E_INTERNAL,
                         "pre-tokeniser '%s': pass %zu does not compile: PCRE2 error %d at %zu",
                         p->row->name, i, code, at);
    /* Where the system forbids code made at run time the interpreter does the same, slower; the
     * library calls that a lack of memory, too. */
    (void)pcre2_jit_compile(p->pass[i], PCRE2_JIT_COMPLETE);
    if (__atomic_load_n(&p->starved, __ATOMIC_RELAXED))
        return tern_fail(err, TERN_E_NOMEM, "no memory for pre-tokeniser '%s'", p->row->name);
    return TERN_OK;
}

static bool is_text(const char *text, const char *p, size_t n)
{
    return strlen(text) == n && memcmp(text, p, n) == 0;
}

/* The passes that name[0..n) lists, "digit+words"; false if it lists anything else. */
static bool steps_read(const char *name, size_t n, pretok_family *out)
{
    *out = (pretok_family){0};
    for (size_t k = 0; k < PASS_MAX; k++) {
        const char *plus = memchr(name, '+', n);
        size_t len = plus ? (size_t)(plus - name) : n, i = 0;
        while (i < N_STEP && !is_text(named[i].name, name, len))
            i++;
        if (i == N_STEP)
            return false;
        out->pass[k] = named[i].pass;
        if (!plus)
            return true;
        name += len + 1;
        n -= len + 1;
    }
    return false;
}

/* The row of a name: of the table, or of the steps it lists, which *p holds then. NULL: none. */
static const pretok_row *row_of(const char *name, size_t n, tern_pretok *p)
{
    const size_t head = sizeof STEPS - 1;
    for (size_t i = 0; i < N_ROW; i++)
        if (is_text(rows[i].name, name, n))
            return &rows[i];
    if (n <= head || n >= sizeof p->own_name || memcmp(name, STEPS, head) != 0 ||
        !steps_read(name + head, n - head, &p->own_family))
        return NULL;
    memcpy(p->own_name, name, n); /* zeroed behind */
    p->own = (pretok_row){.name = p->own_name, .family = &p->own_family};
    return &p->own;
}

tern_code tern_pretok_new(const char *name, size_t n, tern_pretok **out, tern_err *err)
{
    tern_code rc = TERN_OK;
    tern_pretok *p = tern_calloc(1, sizeof *p);
    if (!p)
        return tern_fail(err, TERN_E_NOMEM, "no memory for a pre-tokeniser");
    p->row = row_of(name, n, p);
    if (!p->row) {
        rc = TERN_E_UNSUPPORTED;
        goto fail;
    }
    p->memory = pcre2_general_context_create(memory_take, memory_give, p);
    if (!p->memory) {
        rc = tern_fail(err, TERN_E_NOMEM, "no memory for pre-tokeniser '%s'", p->row->name);
        goto fail;
    }
    for (size_t i = 0; i < PASS_MAX && p->row->family->pass[i]; i++)
        TERN_TRY_GOTO(pass_compile(p, i, err));
    *out = p;
    return TERN_OK;
fail:
    tern_pretok_free(p);
    return rc;
}

void tern_pretok_free(tern_pretok *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < PASS_MAX; i++)
        pcre2_code_free(p->pass[i]);
    pcre2_general_context_free(p->memory);
    tern_free(p);
}

const char *tern_pretok_name_get(const tern_pretok *p)
{
    return p->row->name;
}

bool tern_pretok_ignores_merges(const tern_pretok *p)
{
    return p->row->flags & IGNORE_MERGES;
}

bool tern_pretok_adds_bos(const tern_pretok *p)
{
    return p->row->flags & ADD_BOS;
}

const char *tern_pretok_name_at(size_t i)
{
    return i < N_ROW ? rows[i].name : NULL;
}

/* ---- cutting ----------------------------------------------------------------------------- */

void tern_pieces_init(tern_pieces *p)
{
    *p = (tern_pieces){0};
}

void tern_pieces_done(tern_pieces *p)
{
    tern_free(p->end);
    tern_free(p->spare);
    pcre2_match_data_free(p->match);
    pcre2_match_context_free(p->limit);
    *p = (tern_pieces){0};
}

static tern_code no_memory(size_t n, tern_err *err)
{
    return tern_fail(err, TERN_E_NOMEM, "no memory to cut %zu bytes of text into words", n);
}

static bool piece_push(tern_pieces *p, size_t end)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 256;
        uint32_t *v = tern_realloc(p->end, p->cap * sizeof *v, cap * sizeof *v);
        if (!v)
            return false;
        p->end = v;
        p->cap = cap;
    }
    p->end[p->n++] = (uint32_t)end;
    return true;
}

static tern_code match_fail(const tern_pretok *p, int rc, size_t n, tern_err *err)
{
    switch (rc) {
    case PCRE2_ERROR_NOMEMORY:
        return no_memory(n, err);
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_HEAPLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
    case PCRE2_ERROR_JIT_STACKLIMIT:
        return tern_fail(err, TERN_E_LIMIT,
                         "pre-tokeniser '%s': cutting %zu bytes of text takes too much work",
                         p->row->name, n);
    default:
        return tern_fail(err, TERN_E_INTERNAL, "pre-tokeniser '%s': PCRE2 error %d", p->row->name,
                         rc);
    }
}

/* Cut text[begin..end): matches and what lies between them. */
static tern_code piece_split(const tern_pretok *p, const pcre2_code *pass, const char *text,
                             size_t begin, size_t end, tern_pieces *out, tern_err *err)
{
    /* The piece is a subject of its own: what looks ahead must see its end. */
    PCRE2_SPTR subject = (PCRE2_SPTR)text + begin;
    size_t n = end - begin, at = 0;
    while (at < n) {
        int rc = pcre2_match(pass, subject, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, out->match,
                             out->limit);
        if (rc == PCRE2_ERROR_NOMATCH)
            break;
        if (rc < 0)
            return match_fail(p, rc, n, err);
        const PCRE2_SIZE *m = pcre2_get_ovector_pointer(out->match);
        if ((m[0] > at && !piece_push(out, begin + m[0])) || !piece_push(out, begin + m[1]))
            return no_memory(n, err);
        at = m[1];
    }
    if (at < n && !piece_push(out, end))
        return no_memory(n, err);
    return TERN_OK;
}

static void pieces_swap(tern_pieces *p)
{
    uint32_t *v = p->end;
    size_t cap = p->cap;
    p->end = p->spare;
    p->cap = p->cap_spare;
    p->spare = v;
    p->cap_spare = cap;
}

static tern_code pieces_prepare(const tern_pretok *p, size_t n, tern_pieces *out, tern_err *err)
{
    if (!out->match)
        out->match = pcre2_match_data_create(1, p->memory);
    if (!out->limit)
        out->limit = pcre2_match_context_create(p->memory);
    out->n = 0;
    if (!out->match || !out->limit || !piece_push(out, n))
        return no_memory(n, err);
    uint32_t steps = (uint32_t)n < UINT32_MAX / MATCH_STEPS_PER_BYTE
                         ? (uint32_t)n * MATCH_STEPS_PER_BYTE
                         : UINT32_MAX;
    pcre2_set_match_limit(out->limit, steps < MATCH_STEPS_MIN ? MATCH_STEPS_MIN : steps);
    pcre2_set_heap_limit(out->limit, HEAP_KIB_MAX);
    return TERN_OK;
}

tern_code tern_pretok_split(const tern_pretok *p, const char *text, size_t n, tern_pieces *out,
                            tern_err *err)
{
    TERN_TRY(pieces_prepare(p, n, out, err));
    for (size_t k = 0; k < PASS_MAX && p->pass[k]; k++) {
        pieces_swap(out);
        size_t n_before = out->n, begin = 0;
        out->n = 0;
        for (size_t i = 0; i < n_before; i++) {
            TERN_TRY(piece_split(p, p->pass[k], text, begin, out->spare[i], out, err));
            begin = out->spare[i];
        }
    }
    return TERN_OK;
}
