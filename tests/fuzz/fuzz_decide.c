/* Any bytes as a request for decisions, or as a calibration: what is read of it stays within its limits. */
#include "decide/decide.h"
#include "fuzz/fuzz.h"

#include <math.h>

static void read_items(const decide_task *t, const json_t *list)
{
    tern_err err;
    const json_t *v;
    size_t i;
    json_array_foreach(list, i, v)
    {
        decide_item item;
        if (decide_item_read(&item, t, v, i % 2, "item", &err) != TERN_OK)
            continue;
        const decide_labels *l = decide_labels_of(t, &item);
        fuzz_must(item.input && l->n <= DECIDE_MAX_LABEL);
        fuzz_must(item.gold < l->n || item.gold == SIZE_MAX);
        decide_item_done(&item);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const extra[] = {"inputs", "temperature", "bias", "format", "version", NULL};
    tern_err err = {0};
    decide_task t;
    decide_map m;
    json_t *o = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    if (!o)
        return 0;
    if (decide_task_read(&t, o, size % 2, extra, &err) == TERN_OK) {
        fuzz_must(t.labels.n <= DECIDE_MAX_LABEL && t.min_p >= 0 && t.min_p <= 1);
        for (size_t i = 0; i < t.labels.n; i++)
            fuzz_must(t.labels.v[i].name && t.labels.v[i].n_text >= 1 &&
                      t.labels.v[i].n_text <= DECIDE_MAX_TEXT && isfinite(t.labels.v[i].value));
        read_items(&t, json_object_get(o, "inputs"));
        if (decide_map_read(&t, o, "map", &m, &err) == TERN_OK) {
            fuzz_must(m.temperature > 0 && (m.n == 0 || m.n == t.labels.n));
            decide_map_done(&m);
        }
        decide_task_done(&t);
    } else
        fuzz_must(err.code == TERN_E_USAGE || err.code == TERN_E_NOMEM);
    json_decref(o);
    return 0;
}
