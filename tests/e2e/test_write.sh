# What is written appears whole or not at all: killed at each of its steps, on a full disk, to where nothing
# can be written, to standard output, over its own source.
. tests/e2e/lib.sh
export ASAN_OPTIONS=detect_leaks=0 # the leak sanitizer cannot run under ptrace
folder=tests/golden/folders/llama3-shards
to=$tmp/to
mkdir "$to"

left() { ls -A "$to" | grep -vx 'k.gguf' | wc -l; } # files but the target

# kill_each WAS STEP ARG...: run tern, killed at each STEPth change of a file, until it ends. The target
# $to/k.gguf is absent, or as it was (WAS), or has the bytes of $tmp/whole; nothing gathers.
kill_each() {
    was=$1 step=$2
    shift 2
    n=1
    status=0
    while [ "$status" = 0 ] && [ $n -lt 400 ]; do
        n=$((n + step))
        rm -f "$to/k.gguf"
        [ "$was" = absent ] || cp "$was" "$to/k.gguf"
        last="tern $* killed at change $n"
        "$E2E_KILLAT" $n "$TERN" "$@" >"$out" 2>"$err"
        status=$?
        if [ -e "$to/k.gguf" ]; then
            cmp -s "$to/k.gguf" "$tmp/whole" || { [ "$was" != absent ] && cmp -s "$to/k.gguf" "$was"; }
            ok $? 'half a file'
        else
            [ "$was" = absent ]
            ok $? 'the file that was there is gone'
        fi
        [ "$(left)" -le 1 ]
        ok $? "leftovers gather: $(ls -A "$to")"
    done
    ok "$([ "$status" = 1 ]; echo $?)" "ended with $status after $n"
    [ $n -gt 5 ]
    ok $? "only $n changes"
    cmp -s "$to/k.gguf" "$tmp/whole"
    ok $? 'the last one is not whole'
    [ "$(left)" = 0 ]
    ok $? "left: $(ls -A "$to")"
}

if "$E2E_KILLAT" 1 "$TERN" version >/dev/null 2>&1 || [ $? = 1 ]; then
    run convert $folder -o "$tmp/whole" --no-check
    kill_each absent 1 convert $folder -o "$to/k.gguf" --no-check
    run quantize $small "$tmp/whole" q4_0 --no-check
    cp $small "$tmp/before"
    kill_each "$tmp/before" 4 quantize $small "$to/k.gguf" q4_0 --no-check
fi

# Killed from outside, at any moment; the next one to that name clears up.
run quantize $small "$tmp/whole" q8_0 --no-check
for ms in 002 005 008 011 014 018 025; do
    rm -f "$to/k.gguf"
    last="tern quantize, killed after 0.$ms s"
    timeout -s KILL 0.$ms "$TERN" quantize $small "$to/k.gguf" q8_0 --no-check >"$out" 2>"$err"
    [ ! -e "$to/k.gguf" ] || cmp -s "$to/k.gguf" "$tmp/whole"
    ok $? 'half a file'
done
touch "$to/k.gguf.tern-abcdef" "$to/k.gguf.tern-abc" "$to/k.gguf.backup" "$to/other.tern-abcdef"
run quantize $small "$to/k.gguf" q8_0 --no-check
has_status 0
[ "$(ls "$to" | tr '\n' ' ')" = 'k.gguf k.gguf.backup k.gguf.tern-abc other.tern-abcdef ' ]
ok $? "swept: $(ls "$to" | tr '\n' ' ')"
rm -f "$to"/*

# Two that write the same file at once do not take each other's for left over.
for i in 1 2 3 4; do
    "$TERN" quantize $small "$to/k.gguf" q8_0 --no-check >"$tmp/one" 2>&1 &
    pids="${pids-} $!"
done
last='four at once'
for pid in $pids; do
    wait "$pid"
    ok $? "failed: $(cat "$tmp/one")"
done
cmp -s "$to/k.gguf" "$tmp/whole" && [ "$(left)" = 0 ]
ok $? "the file, or what is left: $(ls -A "$to")"

# Disks that are full: known before anything is written where the system can tell.
last='tern quantize with a limit on files'
(ulimit -f 100; exec "$TERN" quantize $small "$to/l.gguf" f16 --no-check) >"$out" 2>"$err"
status=$?
has_status 1
err_has 'cannot write'
err_has 'File too large'
err_lines 1
[ ! -e "$to/l.gguf" ] && [ "$(left)" = 0 ]
ok $? 'half a file'
fails_with 1 'No space left on device' quantize $small /dev/full f16 --no-check
if unshare -rm true 2>/dev/null && unshare -rm mount -t tmpfs -o size=256k none "$tmp/to" 2>/dev/null; then
    last='tern convert to a full disk'
    unshare -rm sh -c 'mount -t tmpfs -o size=256k none "$1/to" && "$TERN" quantize "$2" "$1/to/l.gguf" f16 --no-check
        status=$?; ls -A "$1/to"; exit $status' sh "$tmp" $small >"$out" 2>"$err"
    status=$?
    has_status 1
    err_has 'l.gguf: cannot write'
    err_has 'No space left on device'
    err_lines 1
    out_empty
fi

# Places that cannot be written, and sources that would be lost.
fails_with 1 'No such file or directory' convert $folder -o "$tmp/nosuch/x.gguf" --no-check
fails_with 1 'Not a directory' convert $folder -o "$tmp/whole/x.gguf" --no-check
fails_with 1 'directory' convert $folder -o "$to" --no-check
mkdir "$tmp/locked" && chmod 500 "$tmp/locked"
if [ ! -w "$tmp/locked" ]; then
    fails_with 1 'Permission denied' convert $folder -o "$tmp/locked/x.gguf" --no-check
fi
cp $small "$tmp/same.gguf"
ln -s same.gguf "$tmp/link.gguf"
ln "$tmp/same.gguf" "$tmp/hard.gguf"
for target in same link hard; do
    fails_with 2 'write to another file' quantize "$tmp/same.gguf" "$tmp/$target.gguf" q8_0
done
cmp -s $small "$tmp/same.gguf"
ok $? 'the source changed'
cp -r $folder "$tmp/folder"
fails_with 2 'write to another file' convert "$tmp/folder" -o "$tmp/folder/model-00002-of-00003.safetensors"
cmp -s $folder/model-00002-of-00003.safetensors "$tmp/folder/model-00002-of-00003.safetensors"
ok $? 'a file of the source changed'

# Standard output takes the model and nothing else; it cannot be read again.
fails_with 2 'standard output cannot be read again' convert $folder -o -
fails_with 2 'cannot be read again' convert $folder -o /dev/null
run convert $folder -o - --no-check --json
has_status 2
err_has 'no --json'
run convert $folder -o "$tmp/whole" --no-check
run convert $folder -o - --no-check --explain
has_status 0
cmp -s "$out" "$tmp/whole"
ok $? 'other bytes than in a file'
err_has '| blk.0.ffn_up.weight |'
run convert $folder -o - --no-check -q
err_empty
run convert $folder -o /dev/null --no-check
has_status 0
last='tern convert to a pipe that closes'
{ "$TERN" convert $folder -o - --no-check 2>"$err"; echo $? >"$tmp/status"; } | head -c 10 >"$out"
status=$(cat "$tmp/status")
has_status 141
[ "$(head -c 4 "$out")" = GGUF ]
ok $? 'no model came'
finish
