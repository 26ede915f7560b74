/* Grammars in llama.cpp's notation: which texts they accept, and what is refused how. */
#include "sample/grammar/gbnf.h"
#include "sample/grammar/lazy.h"
#include "support/grammar.h"
#include "support/support.h"

#include <stdio.h>
#include <string.h>

static tern_net compile(const char *text)
{
    tern_net net;
    tern_err err = {0};
    if (tern_gbnf_compile(text, strlen(text), &net, &err) != TERN_OK)
        fail_msg("%s\n%s", err.msg, text);
    return net;
}

typedef struct row {
    const char *text;
    int verdict;
} row;

static void check_rows(const char *grammar, const row *rows)
{
    tern_net net = compile(grammar);
    for (const row *r = rows; r->text; r++)
        if (test_verdict(&net, r->text, strlen(r->text)) != r->verdict)
            fail_msg("'%s': %d, expected %d, under\n%s", r->text,
                     test_verdict(&net, r->text, strlen(r->text)), r->verdict, grammar);
    tern_net_done(&net);
}

#define ROWS(...) ((const row[]){__VA_ARGS__, {NULL, 0}})

static void literals_and_classes(void **state)
{
    (void)state;
    check_rows("root ::= \"a\\n\\x42\\u00e9\\U0001F600\\\"\"",
               ROWS({"", 0}, {"a", 0}, {"a\nBé😀\"", 1}, {"a\nBé😀\"x", -1}, {"b", -1}));
    check_rows("root ::= [a-cx\\]\\-] [^a-z\\n]",
               ROWS({"bA", 1}, {"xé", 1}, {"]-", 1}, {"--", 1}, {"da", -1}, {"bb", -1}, {"c\n", -1},
                    {"a\xc3", 0}));
    check_rows("root ::= [é-ü] . [一-龥]",
               ROWS({"é\n一", 1}, {"ü😀龥", 1}, {"ý", -1}, {"éa龦", -1}, {"é\xff", -1},
                    {"é\xed\xa0", -1}, {"é\xf4\x90", -1}, {"é\xe0\x80", -1}));
    check_rows("root ::= [a-] [-a] [^]", ROWS({"--x", 1}, {"aab", 1}, {"a-\xf4\x8f\xbf\xbf", 1}));
}

static void repetitions(void **state)
{
    (void)state;
    check_rows("root ::= \"ab\"* \"c\"+ \"d\"?",
               ROWS({"c", 1}, {"ababccd", 1}, {"abac", -1}, {"", 0}, {"cdd", -1}));
    check_rows(
        "root ::= [0-9]{2} \"-\" (\"x\" | \"yy\"){1,3} \"-\" \"z\"{2,} \"-\" \"w\"{,2} \"-\" "
        "\"v\"{0}",
        ROWS({"12-x-zz--", 1}, {"1-", -1}, {"123", -1}, {"12-xyyx-zzzzz-ww-", 1}, {"12-xxxx", -1},
             {"12-x-z-", -1}, {"12-x-zz-www", -1}, {"12-x-zz--v", -1}));
    check_rows("root ::= (\"a\"*)* \"b\" ((\"\" | \"c\")+){2} \"d\"{0,0}",
               ROWS({"b", 1}, {"aaab", 1}, {"bccc", 1}, {"ba", -1}, {"bd", -1}));
    check_rows("root ::= (\"ab\" \"cd\"){3,5}?",
               ROWS({"", 1}, {"abcdabcd", 0}, {"abcdabcdabcd", 1}, {"abcdabcdabcdabcdabcdab", -1}));
}

static void calculations(void **state)
{
    (void)state;
    check_rows("# sums\nroot ::= sum # the whole\nsum  ::= product ((\"+\" | \"-\") product)*\n\n"
               "product ::=\n  factor (\"*\" factor)*\nfactor::=number | \"(\" sum \")\"\n"
               "number ::= [1-9] [0-9]* |\n   \"0\"\n",
               ROWS({"0", 1}, {"1+2*(3-4)", 1}, {"((((7))))", 1}, {"((7)", 0}, {"01", -1},
                    {")", -1}, {"1+", 0}, {"1+*", -1}));
}

static void lists_and_moves(void **state)
{
    (void)state;
    check_rows("root ::= (\"- \" [^\\n]+ \"\\n\"){2,}",
               ROWS({"- a\n", 0}, {"- a\n- b c\n", 1}, {"- a\n- b", 0}, {"- \n", -1}));
    check_rows("root ::= turn{1,2}\nturn ::= [1-9] \". \" move \" \" move \"\\n\"\n"
               "move ::= (pawn | piece | castle) [+#]?\n"
               "pawn ::= ([a-h] \"x\")? [a-h] [1-8] (\"=\" [NBRQ])?\n"
               "piece ::= [NBRQK] [a-h]? [1-8]? \"x\"? [a-h] [1-8]\ncastle ::= \"O-O\" \"-O\"?\n",
               ROWS({"1. e4 e5\n", 1}, {"1. e4 e5\n2. Nf3 Nc6\n", 1}, {"1. O-O exd8=Q#\n", 1},
                    {"1. e9", -1}, {"1. Nbd7 O-O-O+\n", 1}, {"1. e4 e5\n2. Nf3 Nc6\n3", -1}));
}

static void nested_calls(void **state)
{
    char deep[5001];
    (void)state;
    tern_net net = compile("root ::= \"[\" (root (\",\" root)*)? \"]\"");
    memset(deep, '[', 800);
    memset(deep + 800, ']', 800);
    assert_int_equal(test_verdict(&net, deep, 1600), 1);
    memset(deep, '[', 5000);
    assert_int_equal(test_verdict(&net, deep, 5000), -1); /* deeper than stacks are */
    tern_net_done(&net);
    net = compile("root ::= \"a\" root | \"b\""); /* a call at the end needs no stack */
    memset(deep, 'a', 5000);
    deep[4999] = 'b';
    assert_int_equal(test_verdict(&net, deep, 5000), 1);
    tern_net_done(&net);
}

static void check_refused(const char *text, tern_code code, const char *says)
{
    tern_net net;
    tern_err err = {0};
    tern_code rc = tern_gbnf_compile(text, strlen(text), &net, &err);
    test_refusal(text, rc, &err, code, says);
}

static void refusals(void **state)
{
    (void)state;
    check_refused("", TERN_E_USAGE, "no rule 'root'");
    check_refused("a ::= \"x\"", TERN_E_USAGE, "no rule 'root'");
    check_refused("root ::= a", TERN_E_USAGE, "rule 'a' is not defined");
    check_refused("root ::= \"a\"\nroot ::= \"b\"", TERN_E_USAGE,
                  "line 2: rule 'root' is defined twice");
    check_refused("root ::= \"a", TERN_E_USAGE, "line 1: expected '\"'");
    check_refused("root ::= [a", TERN_E_USAGE, "expected ']'");
    check_refused("root ::= [z-a]", TERN_E_USAGE, "from U+7A down to U+61");
    check_refused("root ::= (\"a\"", TERN_E_USAGE, "expected ')'");
    check_refused("root ::= \"a\")", TERN_E_USAGE, "expected the end of the rule, found ')'");
    check_refused("root ::= * \"a\"", TERN_E_USAGE, "expected the end of the rule, found '*");
    check_refused("root \"a\"", TERN_E_USAGE, "expected '::='");
    check_refused("\n\nroot ::= \"\\q\"", TERN_E_USAGE, "line 3: expected one of n r t");
    check_refused("root ::= \"\\uD800\"", TERN_E_USAGE, "U+D800 is no character");
    check_refused("root ::= \"\xff\"", TERN_E_USAGE, "not UTF-8");
    check_refused("root ::= \"a\"{3,2}", TERN_E_USAGE, "most is less than least");
    check_refused("root ::= \"a\"{10001}", TERN_E_LIMIT, "more than 10000 repetitions");
    check_refused("root ::= \"a\"{99999999999}", TERN_E_LIMIT, "more than 10000 repetitions");
    check_refused("root ::= <think>", TERN_E_UNSUPPORTED, "tokens");
    check_refused("root ::= []", TERN_E_USAGE, "no text satisfies");
    check_refused("root ::= \"a\" root", TERN_E_USAGE, "no text satisfies");
    check_refused("root ::= root \"a\" | \"b\"", TERN_E_USAGE, "'root' calls itself");
    check_refused("root ::= a\na ::= \"\"? b\nb ::= (a \"x\")* \"y\"", TERN_E_USAGE,
                  "left recursion");
    check_refused("root ::= (((\"a\"{10000}){10000}){10000}){10000} [^a]{10000} [^a]{10000} "
                  "[^a]{10000} [^a]{10000} [^a]{10000} [^a]{10000} [^a]{10000} [^a]{10000} "
                  "[^a]{10000} [^a]{10000} [^a]{10000} [^a]{10000} [^a]{10000} [^a]{10000} "
                  "[^a]{10000} [^a]{10000} [^a]{10000} [^a]{10000} [^a]{10000}",
                  TERN_E_LIMIT, "too large");
}

static void limits(void **state)
{
    static char text[200000];
    size_t n = 0;
    (void)state;
    for (int depth = 64; depth <= 65; depth++) {
        n = (size_t)snprintf(text, sizeof text, "root ::= ");
        for (int i = 0; i < depth; i++)
            text[n++] = '(';
        n += (size_t)snprintf(text + n, sizeof text - n, "\"x\"");
        for (int i = 0; i < depth; i++)
            text[n++] = ')';
        text[n] = '\0';
        if (depth == 64)
            check_rows(text, ROWS({"x", 1}));
        else
            check_refused(text, TERN_E_LIMIT, "64 brackets");
    }
    for (int n_rule = 4096; n_rule <= 4097; n_rule++) {
        n = (size_t)snprintf(text, sizeof text, "root ::= \"x\"\n");
        for (int i = 1; i < n_rule; i++)
            n += (size_t)snprintf(text + n, sizeof text - n, "r%d ::= \"y\"\n", i);
        if (n_rule == 4096)
            check_rows(text, ROWS({"x", 1}));
        else
            check_refused(text, TERN_E_LIMIT, "more than 4096 rules");
    }
}

/* Ways to read a text that double with each byte, and a set of places that is too large. */
static void ambiguity(void **state)
{
    tern_lazy z;
    tern_err err = {0};
    (void)state;
    tern_net net =
        compile("root ::= a root \"x\" | b root \"y\" | \"z\"\na ::= \"q\"\nb ::= \"q\"");
    assert_int_equal(tern_lazy_init(&z, &net, NULL), TERN_OK);
    uint32_t s = z.start;
    for (int i = 0; i < 100 && s != TERN_LAZY_DEAD; i++)
        s = tern_lazy_next(&z, s, 'q');
    assert_int_equal(s, TERN_LAZY_DEAD);
    assert_int_equal(z.rc, TERN_E_LIMIT);
    assert_int_equal(tern_lazy_why(&z, &err), TERN_E_LIMIT);
    assert_non_null(strstr(err.msg, "too ambiguous"));
    tern_lazy_done(&z);
    tern_net_done(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_and_classes),
        cmocka_unit_test(repetitions),
        cmocka_unit_test(calculations),
        cmocka_unit_test(lists_and_moves),
        cmocka_unit_test(nested_calls),
        cmocka_unit_test(refusals),
        cmocka_unit_test(limits),
        cmocka_unit_test(ambiguity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
