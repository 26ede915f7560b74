/* Numbers between bounds, digit by digit. */
#include "sample/grammar/schema.h"

#include "base/error.h"
#include "sample/grammar/net.h"

#include <math.h>
#include <string.h>

/* Bounds below 10^18; what has none upwards ends at 16 digits, or with as many as the other bound has. */
#define MOST   1e18
#define USUAL  9999999999999999
#define DIGITS 20

/* Bounds of magnitudes: lo <= n, or < if strict, and so on. */
typedef struct range {
    int64_t lo, hi;
    bool lo_strict, hi_strict;
} range;

/* ---- whole numbers --------------------------------------------------------------------------- */

static void put_any(tern_str *out, size_t n)
{
    if (n)
        tern_str_printf(out, " [0-9]{%zu}", n);
}

static void put_digit(tern_str *out, char lo, char hi)
{
    if (lo == hi)
        tern_str_printf(out, "\"%c\"", lo);
    else
        tern_str_printf(out, "[%c-%c]", lo, hi);
}

/* n digits that are at least (least) or at most s. */
static void put_half(tern_str *out, const char *s, size_t n, bool least)
{
    if (n == 0)
        return;
    char end = least ? '9' : '0';
    tern_str_puts(out, " (");
    put_digit(out, *s, *s);
    put_half(out, s + 1, n - 1, least);
    if (*s != end) {
        tern_str_puts(out, " | ");
        put_digit(out, least ? (char)(*s + 1) : '0', least ? '9' : (char)(*s - 1));
        put_any(out, n - 1);
    }
    tern_str_putc(out, ')');
}

/* n digits from a to b. */
static void put_between(tern_str *out, const char *a, const char *b, size_t n)
{
    size_t same = 0;
    while (same < n && a[same] == b[same])
        same++;
    if (same)
        tern_str_printf(out, "\"%.*s\" ", (int)same, a);
    a += same;
    b += same;
    n -= same;
    if (n == 0)
        return;
    tern_str_putc(out, '(');
    put_digit(out, *a, *a);
    put_half(out, a + 1, n - 1, true);
    if (*b - *a > 1) {
        tern_str_puts(out, " | ");
        put_digit(out, (char)(*a + 1), (char)(*b - 1));
        put_any(out, n - 1);
    }
    tern_str_puts(out, " | ");
    put_digit(out, *b, *b);
    put_half(out, b + 1, n - 1, false);
    tern_str_putc(out, ')');
}

/* Numbers from lo >= 0 to hi, in brackets. False: there are none, and nothing is written. */
static bool put_range(tern_str *out, int64_t lo, int64_t hi)
{
    int64_t end = 9;
    bool any = false;
    for (size_t n = 1; lo <= hi; n++, end = end * 10 + 9) {
        if (lo > end)
            continue;
        char a[DIGITS + 1], b[DIGITS + 1];
        int64_t last = hi < end ? hi : end;
        (void)snprintf(a, sizeof a, "%lld", (long long)lo);
        (void)snprintf(b, sizeof b, "%lld", (long long)last);
        tern_str_puts(out, any ? " | " : "(");
        put_between(out, a, b, n);
        any = true;
        lo = last + 1;
    }
    if (any)
        tern_str_putc(out, ')');
    return any;
}

/* ---- bounds ---------------------------------------------------------------------------------- */

/* Where digits end that have no bound. */
static int64_t usual_end(int64_t lo)
{
    int64_t end = USUAL;
    while (end < lo)
        end = end * 10 + 9;
    return end;
}

static tern_code read_bound(tern_schema *c, json_t *s, const char *key, bool whole, bool up,
                            bool *found, int64_t *out)
{
    json_t *v = json_object_get(s, key);
    *found = false;
    if (!v || json_is_boolean(v)) /* of older drafts: looked at beside the other one */
        return TERN_OK;
    if (!json_is_number(v))
        return tern_schema_fail(c, TERN_E_USAGE, "'%s': expected a number", key);
    double d = json_number_value(v), near = up ? floor(d) : ceil(d);
    if (up ? d >= MOST : d <= -MOST)
        return TERN_OK; /* as good as none */
    if (fabs(d) >= MOST)
        return tern_schema_fail(c, TERN_E_LIMIT, "'%s': beyond 18 digits", key);
    if (near != d && !whole)
        return tern_schema_fail(
            c, TERN_E_UNSUPPORTED,
            "keyword '%s' with a fraction is not supported for numbers that are not whole", key);
    *found = true;
    *out = json_is_integer(v) ? json_integer_value(v) : (int64_t)near;
    return TERN_OK;
}

/* Both ways to write one bound; the stricter one counts. *found false: there is none. */
static tern_code read_side(tern_schema *c, json_t *s, bool whole, bool up, bool *found,
                           int64_t *bound, bool *strict)
{
    const char *plain = up ? "maximum" : "minimum",
               *key = up ? "exclusiveMaximum" : "exclusiveMinimum";
    json_t *v = json_object_get(s, key);
    int64_t a = 0, b = 0;
    bool has_a, has_b;
    TERN_TRY(read_bound(c, s, plain, whole, up, &has_a, &a));
    TERN_TRY(read_bound(c, s, key, whole, up, &has_b, &b));
    double exact = json_number_value(v);
    *found = has_a || has_b;
    *bound = has_a ? a : b;
    *strict = has_a && json_is_true(v);
    if (has_b && (!has_a || (up ? b <= a : b >= a))) {
        *bound = b;
        /* rounded inwards, it is not reached anyway */
        *strict = !json_is_real(v) || exact == (double)b;
    }
    return TERN_OK;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void separate(tern_str *out, size_t begin)
{
    if (out->len > begin)
        tern_str_puts(out, " | ");
}

/* Numbers with a fraction, 0 <= lo <= hi, as alternatives behind what stands in out from begin. */
static void put_fractions(tern_str *out, size_t begin, const char *sign, const range *r)
{
    tern_str s;
    tern_str_init(&s, 1 << 16);
    if (put_range(&s, r->lo + r->lo_strict, r->hi - 1)) {
        separate(out, begin);
        tern_str_printf(out, "%s%s (\".\" [0-9]{1,16})?", sign, tern_str_get(&s));
    }
    if (r->lo_strict && r->lo < r->hi) {
        separate(out, begin);
        tern_str_printf(out, "%s\"%lld.\" \"0\"{0,15} [1-9] [0-9]{0,15}", sign, (long long)r->lo);
    }
    if (!r->hi_strict && (r->lo < r->hi || (r->lo == r->hi && !r->lo_strict))) {
        separate(out, begin);
        tern_str_printf(out, "%s\"%lld\" \".0\"?", sign, (long long)r->hi);
    }
    out->failed |= s.failed;
    tern_str_done(&s);
}

static void put_whole(tern_str *out, size_t begin, const char *sign, const range *r)
{
    tern_str s;
    tern_str_init(&s, 1 << 16);
    if (put_range(&s, r->lo + r->lo_strict, r->hi - r->hi_strict)) {
        separate(out, begin);
        tern_str_printf(out, "%s%s", sign, tern_str_get(&s));
    }
    out->failed |= s.failed;
    tern_str_done(&s);
}

tern_code tern_schema_put_number(tern_schema *c, json_t *s, bool whole, tern_str *out)
{
    bool has_lo, has_hi, lo_strict = false, hi_strict = false;
    int64_t lo = 0, hi = 0;
    tern_str body;
    TERN_TRY(read_side(c, s, whole, false, &has_lo, &lo, &lo_strict));
    TERN_TRY(read_side(c, s, whole, true, &has_hi, &hi, &hi_strict));
    if (!has_lo && !has_hi) {
        tern_schema_put_shared(c, whole ? TERN_SCHEMA_INTEGER : TERN_SCHEMA_NUMBER, out);
        return TERN_OK;
    }
    if (!has_lo)
        lo = hi < 0 ? -usual_end(-hi) : -USUAL;
    if (!has_hi)
        hi = lo > 0 ? usual_end(lo) : USUAL;
    tern_str_init(&body, 1 << 18);
    void (*put)(tern_str *, size_t, const char *, const range *) =
        whole ? put_whole : put_fractions;
    if (hi >= 0) {
        range r = {lo > 0 ? lo : 0, hi, lo_strict && lo >= 0, hi_strict};
        put(&body, 0, "", &r);
    }
    if (lo < 0) { /* magnitudes; there is no whole number -0 */
        range r = {hi < 0 ? -hi : whole, -lo, hi < 0 ? hi_strict : !whole && hi == 0 && hi_strict,
                   lo_strict};
        put(&body, 0, "\"-\" ", &r);
    }
    if (body.len || body.failed)
        return tern_schema_put_rule(c, &body, out);
    tern_str_done(&body);
    return tern_schema_fail(c, TERN_E_USAGE, "no number lies between its bounds");
}
