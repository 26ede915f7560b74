/* Reads standard input as exactly one JSON value and prints what stands at a path:
 * json [KEY|INDEX]... Strings are printed bare, other values as JSON. Fails when the input is no JSON
 * or the path leads nowhere. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    json_error_t e;
    json_t *root = json_loadf(stdin, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &e), *at = root;
    if (!root) {
        fprintf(stderr, "json: line %d: %s\n", e.line, e.text);
        return 1;
    }
    for (int i = 1; at && i < argc; i++)
        at = json_is_array(at) ? json_array_get(at, (size_t)strtoul(argv[i], NULL, 10))
                               : json_object_get(at, argv[i]);
    if (!at) {
        fprintf(stderr, "json: nothing at %s\n", argc > 1 ? argv[argc - 1] : "the root");
        return 1;
    }
    if (json_is_string(at))
        fwrite(json_string_value(at), 1, json_string_length(at), stdout);
    else
        json_dumpf(at, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
    putchar('\n');
    json_decref(root);
    return 0;
}
