# bench/peers/run.py: engines in turns, on programs that only say they are fast.
. tests/e2e/lib.sh
command -v python3 >/dev/null || finish
last='bench/peers/run.py'

# peer NAME PROMPT GENERATE: a llama-bench of that speed, which prints a line before its JSON
peer() {
    cat >"$tmp/$1" <<EOF
#!/bin/sh
echo "$1 \$*" >>$tmp/calls
echo "warning: not a real program"
cat <<JSON
[{"n_prompt": 8, "n_gen": 0, "avg_ts": $2, "build_commit": "abc123", "build_number": 7},
 {"n_prompt": 0, "n_gen": 4, "avg_ts": $3, "build_commit": "abc123", "build_number": 7}]
JSON
EOF
    chmod +x "$tmp/$1"
}
peer fast 1e9 1e9
peer slow 2.0 1.0
cat >"$tmp/config.json" <<EOF
{"engines": [
 {"name": "ours", "kind": "tern", "program": "$TERN", "model": "$small"},
 {"name": "fast one", "kind": "llama-bench", "program": "$tmp/fast", "model": "$small", "version": "v1"},
 {"name": "slow one", "kind": "llama-bench", "program": "$tmp/slow", "model": "$small", "args": ["-x", "1"]}
]}
EOF
compare() {
    python3 bench/peers/run.py "$@" --prompt 8 --gen 4 --threads 1 --max-other 100 --no-bandwidth >"$out" 2>"$err"
    status=$?
}
compare "$tmp/config.json" --rounds 2 --out "$tmp/all.json"
has_status 0
out_has '| fast one | v1 | 1000000000.0 (1000000000.0..1000000000.0) |'
out_has '| slow one | abc123 (build 7) | 2.0 (2.0..2.0) | 1.0 (1.0..1.0) |'
out_has '| ours is so many times as fast as | prompt 8 | generate 4 |'
out_has '| fast one | 0.00 | 0.00 |'
[ "$(cut -d' ' -f1 "$tmp/calls" | tr '\n' ' ')" = 'fast slow fast slow ' ]
ok $? 'not in turns'
grep -qF -- "slow -m $small -t 1 -r 1 -o json -x 1 -p 8 -n 4" "$tmp/calls"
ok $? 'arguments of a peer'
[ "$("$E2E_JSON" rows 11 engine <"$tmp/all.json")" = 'slow one' ]
ok $? 'samples in the file'
compare --tern "$TERN,$small" --peer "p,$tmp/slow,$small" --rounds 1 --wrap env
has_status 0
out_has '| tern | 0.1.0'
compare "$tmp/config.json" --only nothing
has_status 2
err_has 'no engines'
compare --peer "p,$tmp/none,$small"
has_status 2
err_has 'does not exist'
printf '#!/bin/sh\nexit 3\n' >"$tmp/slow"
compare "$tmp/config.json" --only slow
has_status 1
err_has 'exit 3'
finish
