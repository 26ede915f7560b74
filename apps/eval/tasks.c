/* The table of tasks, and how their items become text. */
#include "base/utf8.h"
#include "eval/task.h"

#include <string.h>

static const eval_task tasks[] = {
    {.name = "hellaswag",
     .also = "",
     .title = "HellaSwag: how a scene goes on",
     .metric = {{"acc", EVAL_SHARE}, {"acc_norm", EVAL_SHARE}},
     .main_metric = 1,
     .max_shots = 32},
    {.name = "winogrande",
     .also = "",
     .title = "WinoGrande: whom a sentence means",
     .metric = {{"acc", EVAL_SHARE}},
     .max_shots = 32},
    {.name = "arc",
     .also = "arc_easy,arc_challenge",
     .title = "ARC: science questions",
     .metric = {{"acc", EVAL_SHARE}, {"acc_norm", EVAL_SHARE}},
     .main_metric = 1,
     .max_shots = 32},
    {.name = "piqa",
     .also = "",
     .title = "PIQA: how things are done",
     .metric = {{"acc", EVAL_SHARE}, {"acc_norm", EVAL_SHARE}},
     .main_metric = 1,
     .max_shots = 32},
    {.name = "boolq",
     .also = "",
     .title = "BoolQ: yes or no about a passage",
     .metric = {{"acc", EVAL_SHARE}},
     .max_shots = 32},
    {.name = "lambada",
     .also = "lambada_openai",
     .title = "LAMBADA: the last word of a passage",
     .kind = EVAL_WORD,
     .metric = {{"acc", EVAL_SHARE}, {"perplexity", EVAL_PERPLEXITY}},
     .max_shots = 32},
    {.name = "truthfulqa",
     .also = "truthfulqa_mc",
     .title = "TruthfulQA: common misbeliefs",
     .metric = {{"mc1", EVAL_SHARE}, {"mc2", EVAL_AVERAGE}},
     .main_metric = 1},
    {.name = "gsm8k",
     .also = "",
     .title = "GSM8K: problems in words with a number for an answer",
     .kind = EVAL_GENERATE,
     .metric = {{"strict_match", EVAL_SHARE}, {"flexible_extract", EVAL_SHARE}},
     .shots = 5,
     .max_shots = 32,
     .stop = {"Question:", "</s>", "<|im_end|>"},
     .n_predict = 256},
};
#define N_TASK (sizeof tasks / sizeof tasks[0])

static bool is_one_of(const char *names, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = names; n > 0 && *at;) {
        size_t len = strcspn(at, ",");
        if (len == n && memcmp(at, name, n) == 0)
            return true;
        at += len + (at[len] == ',');
    }
    return false;
}

const eval_task *eval_task_get(size_t i)
{
    return i < N_TASK ? &tasks[i] : NULL;
}

const eval_task *eval_task_find(const char *name)
{
    for (size_t i = 0; i < N_TASK; i++)
        if (strcmp(tasks[i].name, name) == 0 || is_one_of(tasks[i].also, name))
            return &tasks[i];
    return NULL;
}

void eval_put_example(const eval_set *set, const eval_item *item, tern_str *out)
{
    if (set->task->kind == EVAL_GENERATE) {
        tern_str_printf(out, "%s %s\n\n", item->context, item->answer);
        return;
    }
    const eval_choice *c = &item->choice[item->gold];
    tern_str_puts(out, c->context ? c->context : item->context);
    /* The harness's target of LAMBADA has a blank of its own, and the separator is another one. */
    tern_str_puts(out, set->task->kind == EVAL_WORD ? "  " : " ");
    tern_str_printf(out, "%s\n\n", c->text);
}

/* What Python's str.isspace says. */
static bool is_blank(uint32_t cp)
{
    return (cp >= 0x09 && cp <= 0x0D) || (cp >= 0x1C && cp <= 0x20) || cp == 0x85 || cp == 0xA0 ||
           cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 ||
           cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

size_t eval_blank_tail(const char *text, size_t n)
{
    size_t end = n;
    while (end > 0) {
        size_t begin = end - 1;
        uint32_t cp;
        while (begin > 0 && end - begin < 4 && ((unsigned char)text[begin] & 0xC0) == 0x80)
            begin--;
        int len = tern_utf8_decode(text + begin, end - begin, &cp);
        if (len == 0 || (size_t)len != end - begin || !is_blank(cp))
            break;
        end = begin;
    }
    return n - end;
}
