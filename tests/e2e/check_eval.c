/* Compare what `tern eval --items` wrote with the harness's results:
 *   check_eval RESULTS.json TASK BOUND <ITEMS.jsonl
 * Every log-likelihood within BOUND of the harness's for each token sum, every score equal. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(size_t i, const char *what)
{
    (void)fprintf(stderr, "item %zu: %s\n", i, what);
    return 1;
}

static double at(const json_t *list, size_t i)
{
    return json_number_value(json_array_get(list, i));
}

int main(int argc, char **argv)
{
    static const char *const scores[] = {"acc", "acc_norm"};
    json_error_t why;
    double bound = argc == 4 ? strtod(argv[3], NULL) : 0, largest = 0;
    json_t *all = argc == 4 ? json_load_file(argv[1], 0, &why) : NULL;
    json_t *items = json_object_get(json_object_get(all, argc == 4 ? argv[2] : ""), "items");
    size_t i = 0;
    json_t *got;
    if (!json_is_array(items))
        return fail(0, "usage: check_eval RESULTS.json TASK BOUND <ITEMS.jsonl");
    for (; (got = json_loadf(stdin, JSON_DISABLE_EOF_CHECK, &why)) != NULL; i++) {
        const json_t *want = json_array_get(items, i);
        const json_t *w = json_object_get(want, "log_probs"),
                     *g = json_object_get(got, "log_probs");
        if (!want || json_array_size(w) != json_array_size(g))
            return fail(i, "another number of choices");
        for (size_t k = 0; k < json_array_size(w); k++)
            largest = fmax(largest, fabs(at(w, k) - at(g, k)));
        if (largest > bound)
            return fail(i, "another log-likelihood");
        for (size_t k = 0; k < 2; k++) {
            const json_t *x = json_object_get(want, scores[k]),
                         *y = json_object_get(got, scores[k]);
            if (x && y && json_number_value(x) != json_number_value(y))
                return fail(i, scores[k]);
        }
        json_decref(got);
    }
    if (i != json_array_size(items))
        return fail(i, "items are missing");
    (void)fprintf(stderr, "%zu items, largest difference %.2g\n", i, largest);
    json_decref(all);
    return 0;
}
