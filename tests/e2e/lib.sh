# Checks for the end-to-end tests. Each test is a shell script run in the source root with
#   TERN          the program under test
#   E2E_JSON      tests/e2e/json.c, E2E_EXPECT tests/e2e/expect.c
# Every check prints what it found when it fails; the script ends with `finish`.
set -u
unset TERN_THREADS NO_COLOR CLICOLOR_FORCE
# The small built-in model, where none is named: the first one is test_builtin.sh's.
export LC_ALL=C.UTF-8 TERN_THREADS=1 TERN_MODEL=stories
# libedit forgets to free the names of added functions; only sanitizer builds read this.
export LSAN_OPTIONS=suppressions=$PWD/tests/e2e/leaks.txt:print_suppressions=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export XDG_CACHE_HOME=$tmp/cache
out=$tmp/out err=$tmp/err
n_checks=0 n_failed=0

small=models/test/stories260K.gguf
expected=tests/golden/tinystories/expected.json

# run ARG...: run tern, keeping $out, $err and $status. Standard input is the caller's.
run() {
    last="tern $*"
    "$TERN" "$@" >"$out" 2>"$err"
    status=$?
}

failed() { # what
    n_failed=$((n_failed + 1))
    echo "FAILED: $last: $1"
    echo "  stdout: $(head -c 600 "$out")"
    echo "  stderr: $(tail -c 1500 "$err")"
}

ok() { # status of a test command, what
    n_checks=$((n_checks + 1))
    [ "$1" = 0 ] || failed "$2"
}

has_status() { [ "$status" = "$1" ]; ok $? "exit status $status, expected $1"; }
out_is() { [ "$(cat "$out")" = "$1" ]; ok $? "standard output is not '$1'"; }
out_has() { grep -qF -- "$1" "$out"; ok $? "standard output lacks '$1'"; }
err_has() { grep -qF -- "$1" "$err"; ok $? "standard error lacks '$1'"; }
out_empty() { [ ! -s "$out" ]; ok $? "standard output is not empty"; }
err_empty() { [ ! -s "$err" ]; ok $? "standard error is not empty"; }
err_lines() { [ "$(wc -l <"$err")" = "$1" ]; ok $? "standard error has not $1 lines"; }
# json_is VALUE PATH...: the value in the JSON on standard output
json_is() {
    want=$1
    shift
    got=$("$E2E_JSON" "$@" <"$out" 2>&1) && [ "$got" = "$want" ]
    ok $? "JSON at '$*' is '$got', expected '$want'"
}
json_has() { "$E2E_JSON" "$@" <"$out" >/dev/null 2>&1; ok $? "JSON lacks '$*'"; }
# golden FILE INDEX KEY: an expected value, as text
golden() { "$E2E_JSON" "$1" "$2" "$3" <"$expected"; }

# fails_with STATUS TEXT ARG...: tern ARG... says one line with TEXT on standard error, nothing on
# standard output, and the same again as JSON.
fails_with() {
    want_status=$1 want_text=$2
    shift 2
    run "$@" </dev/null
    has_status "$want_status"
    err_has "tern: "
    err_has "$want_text"
    err_lines 1
    out_empty
    run "$@" --json </dev/null
    has_status "$want_status"
    err_has "$want_text"
    json_has error code
    json_has error message
}

# dialogue ARG...: tern on a terminal, the script for tests/e2e/expect.c on standard input
dialogue() {
    last="tern $* (on a terminal)"
    HOME=$tmp XDG_STATE_HOME=$tmp/state TERM=xterm "$E2E_EXPECT" "$TERN" "$@" >"$out" 2>"$err"
    ok $? "dialogue"
}

plain() { ! grep -q '__[at]san_init' "$TERN"; } # sanitizers have memory of their own

# The most that was resident is within a fifth and 4 MB of the plan.
predicts() { # ARG...
    run plan "$@" -c 400 --no-walls --json
    want=$("$E2E_JSON" as_asked total_bytes <"$out")
    run bench "$@" -p 300 -n 90 -r 1 -t 1 --no-walls -q
    got=$(sed -n 's/.*peak memory \([0-9]*\) MB.*/\1/p' "$out")
    ok $((got * 1000000 > want / 5 * 6 + 4000000 || got * 1000000 < want / 5 * 4 - 4000000)) \
        "planned $want bytes, peak $got MB"
}

finish() {
    echo "$n_checks checks, $n_failed failed"
    [ "$n_failed" = 0 ]
    exit
}
