/* What counts as right, and what follows from many items. */
#include "base/alloc.h"
#include "base/error.h"
#include "eval/task.h"

#include <math.h>
#include <string.h>

/* ---- choices ------------------------------------------------------------------------------- */

static size_t count_characters(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

/* The first of the greatest among the choices of the first list; normed: per character. */
static size_t likeliest(const eval_item *item, const eval_result *r, bool normed)
{
    size_t best = 0;
    double most = -HUGE_VAL;
    for (size_t i = 0; i < item->n_choice; i++) {
        double x = r->log_prob[i];
        if (!(item->choice[i].lists & 1))
            continue;
        if (normed)
            x /= (double)count_characters(item->choice[i].text);
        if (x > most) {
            most = x;
            best = i;
        }
    }
    return best;
}

/* Probability of the right answers among those of the second list. */
static double right_mass(const eval_item *item, const eval_result *r)
{
    double most = -HUGE_VAL, right = 0.0, all = 0.0;
    for (size_t i = 0; i < item->n_choice; i++)
        if (item->choice[i].lists & 2)
            most = fmax(most, r->log_prob[i]);
    for (size_t i = 0; i < item->n_choice; i++)
        if (item->choice[i].lists & 2) {
            double p = exp(r->log_prob[i] - most);
            all += p;
            right += item->choice[i].right ? p : 0.0;
        }
    return right / all;
}

void eval_judge(const eval_task *task, const eval_item *item, eval_result *r)
{
    if (task->kind == EVAL_WORD) {
        r->value[0] = r->greedy[0] ? 1.0 : 0.0;
        r->value[1] = r->log_prob[0];
        return;
    }
    r->choice = likeliest(item, r, false);
    r->choice_norm = likeliest(item, r, true);
    r->value[0] = r->choice == item->gold ? 1.0 : 0.0;
    if (task->metric[1].mean == EVAL_AVERAGE)
        r->value[1] = right_mass(item, r);
    else
        r->value[1] = r->choice_norm == item->gold ? 1.0 : 0.0;
}

/* ---- answers ------------------------------------------------------------------------------- */

#define NONE "[invalid]"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Of characters like 1,234.5 at s. */
static size_t run_of(const char *s, const char *others)
{
    size_t n = 0;
    while (s[n] && (is_digit(s[n]) || strchr(others, s[n])))
        n++;
    return n;
}

/* As "#### (\-?[0-9\.\,]+)" finds it. */
void eval_extract_strict(const char *text, tern_str *out)
{
    for (const char *at = text; (at = strstr(at, "#### ")) != NULL; at++) {
        const char *number = at + 5;
        size_t sign = number[0] == '-', n = run_of(number + sign, ".,");
        if (n > 0) {
            tern_str_put(out, number, sign + n);
            return;
        }
    }
    tern_str_puts(out, NONE);
}

/* Length of "(-?[$0-9.,]{2,})|(-?[0-9]+)" at s. */
static size_t match_number(const char *s)
{
    size_t sign = s[0] == '-', n = run_of(s + sign, "$.,");
    if (n >= 2)
        return sign + n;
    n = run_of(s + sign, "");
    return n > 0 ? sign + n : 0;
}

void eval_extract_flexible(const char *text, tern_str *out)
{
    const char *last = NULL;
    size_t n_last = 0;
    while (*text) {
        size_t n = match_number(text);
        if (n > 0) {
            last = text;
            n_last = n;
        }
        text += n > 0 ? n : 1;
    }
    if (last)
        tern_str_put(out, last, n_last);
    else
        tern_str_puts(out, NONE);
}

void eval_plain_answer(const char *text, tern_str *out)
{
    size_t begin = out->len;
    for (const char *at = text; (at = strstr(at, "#### ")) != NULL; at += 5)
        text = at + 5;
    for (; *text; text++)
        if (*text != ',' && *text != '$')
            tern_str_putc(out, *text >= 'A' && *text <= 'Z' ? (char)(*text - 'A' + 'a') : *text);
    if (!out->failed && out->len > begin && out->data[out->len - 1] == '.')
        out->data[--out->len] = '\0';
}

tern_code eval_judge_text(const eval_item *item, eval_result *r, tern_err *err)
{
    tern_str want, found, got;
    tern_str_init(&want, SIZE_MAX / 2);
    tern_str_init(&found, SIZE_MAX / 2);
    tern_str_init(&got, SIZE_MAX / 2);
    eval_plain_answer(item->answer, &want);
    for (int i = 0; i < 2; i++) {
        tern_str_clear(&found);
        tern_str_clear(&got);
        (i == 0 ? eval_extract_strict : eval_extract_flexible)(r->text, &found);
        eval_plain_answer(tern_str_get(&found), &got);
        r->value[i] = strcmp(tern_str_get(&got), tern_str_get(&want)) == 0 ? 1.0 : 0.0;
    }
    bool failed = want.failed || found.failed || got.failed;
    tern_str_done(&want);
    tern_str_done(&found);
    tern_str_done(&got);
    return failed ? tern_fail(err, TERN_E_NOMEM, "out of memory for an answer") : TERN_OK;
}

/* ---- figures ------------------------------------------------------------------------------- */

/* 97.5 % of a normal distribution lies below. */
#define Z 1.959963984540054

/* Wilson 1927: the shares p for which the one seen is within Z of its own standard errors. */
static void wilson(eval_figure *f)
{
    double n = (double)f->n, p = f->value, z2 = Z * Z;
    double middle = (p + z2 / (2 * n)) / (1 + z2 / n);
    double half = Z / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n));
    f->low = fmax(0.0, middle - half);
    f->high = fmin(1.0, middle + half);
}

eval_figure eval_sum_up(const eval_task *task, int metric, const eval_result *r, size_t n)
{
    eval_figure f = {0};
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < n; i++)
        if (r[i].done) {
            f.n++;
            sum += r[i].value[metric];
        }
    if (f.n == 0)
        return f;
    f.value = sum / (double)f.n;
    for (size_t i = 0; i < n; i++)
        if (r[i].done)
            squares += (r[i].value[metric] - f.value) * (r[i].value[metric] - f.value);
    if (f.n > 1)
        f.std_error = sqrt(squares / (double)(f.n - 1) / (double)f.n);
    f.low = f.value - Z * f.std_error;
    f.high = f.value + Z * f.std_error;
    if (task->metric[metric].mean == EVAL_SHARE)
        wilson(&f);
    if (task->metric[metric].mean == EVAL_PERPLEXITY) {
        double low = exp(-f.high);
        f.high = exp(-f.low);
        f.low = low;
        f.value = exp(-f.value);
        f.std_error *= f.value; /* carried through exp */
    }
    return f;
}
