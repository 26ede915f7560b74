# tern pull, ls, rm and names of models, against a hub of our own (hub.py) and all that can go wrong.
. tests/e2e/lib.sh

for v in http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy NO_PROXY no_proxy HF_TOKEN HF_HOME \
    HF_HUB_OFFLINE TERN_OFFLINE TERN_PARALLEL TERN_RETRIES SSL_CERT_FILE CURL_CA_BUNDLE; do
    unset $v
done
export HOME=$tmp/home XDG_DATA_HOME=$tmp/data HF_ENDPOINT=http://127.0.0.1:1
models=$tmp/data/tern/models
mkdir -p "$HOME"

run version
if ! "$TERN" doctor --json 2>/dev/null | grep -q '"network": "'; then
    fails_with 5 'without network' pull hf:test/story
    run ls
    has_status 0
    finish
fi

python3 tests/e2e/hub.py "$tmp" . 2>"$tmp/hub.err" &
hub_pid=$!
trap 'kill $hub_pid 2>/dev/null; rm -rf "$tmp"' EXIT
for i in $(seq 100); do
    [ -s "$tmp/ports" ] && break
    sleep 0.05
done
read -r hub_port store_port <"$tmp/ports"
export HF_ENDPOINT=http://127.0.0.1:$hub_port
plain=$HF_ENDPOINT/plain

# tell WORD: `reset` empties the log and the memory of the server, `new` gives it a later commit.
tell() {
    "$TERN" pull -q "$HF_ENDPOINT/$1" --retries 0 2>/dev/null
}
# sent PATTERN: bytes of bodies that the server sent for requests whose log line has PATTERN
sent() {
    sleep 0.03
    grep -F -- "$1" "$tmp/log" | sed 's/.*"sent": \([0-9]*\).*/\1/' | awk '{n += $1} END {print n + 0}'
}
asked() { sleep 0.03; grep -cF -- "$1" "$tmp/log"; } # requests with PATTERN in their log line
log_has() { sleep 0.03; grep -qF -- "$1" "$tmp/log"; ok $? "the server saw no $1"; }
log_lacks() { sleep 0.03; ! grep -qF -- "$1" "$tmp/log"; ok $? "the server saw $1"; }
# good REPO FILE PATH: the file is there with the bytes the server has
good() {
    want=$(awk -v r="$1" -v f="$2" '$2 == r && $3 == f {print $1}' "$tmp/sums")
    [ -n "$want" ] && [ "$(sha256sum <"$3" 2>/dev/null)" = "$want  -" ]
    ok $? "$3 is not $2 of $1"
}
refuses() { # STATUS TEXT ARG...: as fails_with, without asking for JSON too
    want_status=$1 want_text=$2
    shift 2
    run "$@" </dev/null
    has_status "$want_status"
    err_has "$want_text"
    out_empty
}
nothing() { # FOLDER: neither the model nor a part of it
    [ -z "$(ls -d "$models/$1"* "$models/.partial/$1"* 2>/dev/null)" ]
    ok $? "something of $1 is left"
}
f_single=$models/test--single--single/single.gguf

# One file, in parts, over a redirect to another port; once more is no work.
run pull hf:test/single
has_status 0
out_is "$f_single"
good test/single single.gguf "$f_single"
[ "$(asked '"port": "store"')" -ge 3 ]; ok $? 'not in parallel ranges'
[ "$(sent '"port": "store"')" = 5243003 ]; ok $? 'bytes came twice'
[ "$(asked '"port": "hub"')" = 2 ]; ok $? 'each range asked the hub'
tell reset
run pull test/single --json
has_status 0
json_is true up_to_date
json_is 0 fetched_bytes
json_is mit licence
[ "$(sent store)" = 0 ]; ok $? 'fetched again'
run pull -q test/single --parallel 1
out_is "$f_single"
err_empty

# By quantisation, by file, split files, folders, revisions, the hub's own addresses.
fails_with 2 'test/many has 3 GGUF files' pull hf:test/many -q
run pull hf:test/many
err_has 'test/many:m-Q4_K_M.gguf'
run pull hf:test/many:i2_S
out_is "$models/test--many--ggml-model-i2_s/ggml-model-i2_s.gguf"
run pull hf:test/many@main:m-IQ4_NL.gguf
good test/many m-IQ4_NL.gguf "$models/test--many--m-IQ4_NL/m-IQ4_NL.gguf"
refuses 2 "no GGUF file 'Q4_K'" pull hf:test/many:Q4_K -q
refuses 2 'not a GGUF file' pull hf:test/single:README.md -q
refuses 2 'neither a GGUF' pull hf:test/empty
refuses 3 '2 of its 3 parts' pull hf:test/hole
run pull hf:test/split:q8_0
out_is "$models/test--split--s-Q8_0/Q8_0/s-Q8_0-00001-of-00003.gguf"
for i in 1 2 3; do
    good test/split "Q8_0/s-Q8_0-0000$i-of-00003.gguf" "$models/test--split--s-Q8_0/Q8_0/s-Q8_0-0000$i-of-00003.gguf"
done
run pull test/folder --json
has_status 0
json_is safetensors type
json_is apache-2.0 licence
json_is "$models/test--folder" path
good test/folder model-00001-of-00002.safetensors "$models/test--folder/model-00001-of-00002.safetensors"
good test/folder 1_Pooling/config.json "$models/test--folder/1_Pooling/config.json"
[ ! -e "$models/test--folder/pytorch_model.bin" ] && [ ! -e "$models/test--folder/onnx" ] &&
    [ ! -e "$models/test--folder/consolidated.safetensors" ]
ok $? 'more than the model needs'
run pull hf:test/single@refs/pr/1 --json
has_status 0
json_is refs/pr/1 source revision
refuses 5 'no such repository or revision' pull hf:test/single@nosuch
run pull "$HF_ENDPOINT/test/many/blob/main/m-Q4_K_M.gguf"
out_is "$models/test--many--m-Q4_K_M/m-Q4_K_M.gguf"
run pull hf:test/bare
good test/bare b.gguf "$models/test--bare--b/b.gguf"

# The store: ls, show, names, rm.
run pull test/story
run run test/story -p 'Once upon a time' -n 3 -no-cnv --temp 0 -q
has_status 0
cp "$out" "$tmp/want"
run run "$small" -p 'Once upon a time' -n 3 -no-cnv --temp 0 -q
cmp -s "$out" "$tmp/want"; ok $? 'the model of the store says something else'
run show test/story
out_has 'source         hf:test/story, commit 01234567'
run show hf:test/story --json
json_is mit store licence
json_is llama architecture
run pull test/packed
out_is "$models/test--packed"
run run test/packed -p 'Once upon a time' -n 3 -no-cnv --temp 0 -q
has_status 0
run convert test/packed -o "$tmp/packed.gguf" --json
has_status 0
json_is "$models/test--packed" source
refuses 3 'tern pull no/such' convert no/such -o "$tmp/no.gguf"
run ls
has_status 0
out_has 'hf:test/many:i2_S'
run ls --json
json_is test/bare 0 name
json_is true 0 complete
run ls --known
out_has 'microsoft/bitnet-b1.58-2B-4T-gguf'
refuses 3 'tern pull bitnet-2b4t' run bitnet-2b4t -p x
refuses 3 'tern pull a/b' show a/b
refuses 3 'No such file' show ./bitnet-2b4t
refuses 2 'may be' show hf:test/many
refuses 2 'needs --yes' rm test/bare
fails_with 3 'not in the store' rm test/bare nosuch -y
[ -e "$models/test--bare--b" ]; ok $? 'rm removed the first of two'
run rm test/bare hf:test/many:m-IQ4_NL.gguf --yes --json
json_is test/bare removed 0
nothing test--bare
nothing test--many--m-IQ4
dialogue rm test/single <<'X'
wait [y/N]
send n\n
end 0
X
[ -e "$f_single" ]; ok $? 'rm in spite of no'

# Offline.
tell reset
run pull --offline test/single
out_is "$f_single"
TERN_OFFLINE=1 refuses 3 'forbids' pull bitnet-2b4t
HF_HUB_OFFLINE=1 refuses 3 'forbids' pull test/bare
HF_ENDPOINT=http://127.0.0.1:1 refuses 5 '127.0.0.1' pull test/bare --retries 0
log_lacks '"port"'

# Tokens: sent to the hub alone, shown to nobody.
refuses 5 'set HF_TOKEN' pull test/private
HF_TOKEN=hf_wrongwrong refuses 5 'does not take this token' pull test/private
grep -q wrongwrong "$out" "$err"; [ $? = 1 ]; ok $? 'the token is shown'
tell reset
HF_TOKEN=hf_secretsecretsecret run pull test/private -v
has_status 0
good test/private private.gguf "$models/test--private--private/private.gguf"
log_has '"port": "hub", "method": "GET", "path": "/test/private/resolve'
grep '"port": "store"' "$tmp/log" | grep -q secret; [ $? = 1 ]; ok $? 'the token went to another port'
grep -rq secretsecret "$out" "$err" "$models"; [ $? = 1 ]; ok $? 'the token is shown'
run rm -y test/private
mkdir -p "$HOME/hf"
echo hf_secretsecretsecret >"$HOME/hf/token"
HF_HOME=$HOME/hf run pull test/private
has_status 0
refuses 5 'access refused (403)' pull test/gated
refuses 5 'no such repository' pull nosuch/model
tell reset
HF_TOKEN=hf_secretsecretsecret run pull "$plain/away.gguf"
has_status 0
log_has '"path": "/plain/away.gguf", "status": 302, "range": "bytes=0-8388607", "sent": 0, "auth": "Bearer'
grep '"port": "store"' "$tmp/log" | grep -q secret; [ $? = 1 ]; ok $? 'the token followed a redirect'

# A proxy: the hub plays it.
http_proxy=$HF_ENDPOINT HF_ENDPOINT=http://hub.invalid run pull test/nosuch
err_has '(404)'
log_has '"path": "http://hub.invalid/api/models/test/nosuch/revision/main?blobs=true"'
tell reset

# Servers that have bad days.
run pull test/norange
has_status 0
good test/norange norange.gguf "$models/test--norange--norange/norange.gguf"
for repo in flaky busy cut expired; do
    run pull test/$repo
    has_status 0
    good test/$repo $repo.gguf "$models/test--$repo--$repo/$repo.gguf"
done
tell reset
run pull test/busy --retries 0
has_status 5
err_has 'too many requests (429)'
fails_with 3 'was removed' pull test/wrong
nothing test--wrong
refuses 3 'not a GGUF file' pull test/notgguf
nothing test--notgguf
refuses 1 '1000000000000000 bytes are needed' pull test/down
nothing test--down
refuses 5 'more than' pull test/huge --retries 0
for i in 0 1 2 3 4; do
    run pull test/evil$i:ok.gguf --retries 0
    has_status 3
    err_has "cannot be the name of a model's file"
done
[ -z "$(find "$tmp" -name 'evil*' -o -path /tmp/evil.gguf)" ] && [ ! -e /tmp/evil.gguf ]
ok $? 'a file outside the store'
for spec in hf:../b hf:a/b:../x https://u:p@h/x.gguf ''; do
    run pull "$spec"
    has_status 2
done

# Addresses.
run pull "$plain/p.gguf" --json
has_status 0
json_is p name
json_is false up_to_date
run pull "$plain/p.gguf" --json
json_is true up_to_date
sum=$(awk '$2 == "plain" && $3 == "p.gguf" {print $1}' "$tmp/sums")
run show p
has_status 3 # it is a GGUF file of nothing
refuses 3 'web page' pull "$plain/page.gguf"
refuses 3 'not a GGUF' pull "$plain/none.gguf"
refuses 3 'not a GGUF' pull "$plain/text.gguf"
refuses 5 'status 404' pull "$plain/nosuch.gguf"
refuses 5 '302' pull "$plain/loop.gguf"
refuses 3 'SHA-256' pull "$plain/p.gguf?other" --sha256 "$(echo "$sum" | tr '0-9' '1-90')"
run pull "$plain/p.gguf?other" --sha256 "$sum"
has_status 0

# A later commit replaces the model; so does a changed address.
run pull test/update --json
old=$("$E2E_JSON" files 0 sha256 <"$out")
tell new
run pull test/update --json
json_is false up_to_date
[ "$("$E2E_JSON" files 0 sha256 <"$out")" != "$old" ]; ok $? 'the old model'
[ "$(sha256sum <"$models/test--update--u/u.gguf")" = "$("$E2E_JSON" files 0 sha256 <"$out")  -" ]
ok $? 'the new manifest, the old file'
run pull "$plain/p.gguf" --json
json_is false up_to_date

# Killed while it is fetched, and resumed: nothing that was there comes again.
tell reset
timeout -s KILL 1.2 "$TERN" pull test/slow --parallel 2 >/dev/null 2>&1
run ls --json
state=$models/.partial/test--slow--slow.json
[ ! -e "$models/test--slow--slow" ] && [ -s "$state" ]; ok $? 'no part of it is there'
refuses 3 'partly here' run test/slow -p x
had=$(tr -d ' \n' <"$state" | sed 's/.*"have":\[\[//; s/\]\].*//; s/\],\[/\n/g' | awk -F, '{n += $2 - $1} END {print n + 0}')
[ "$had" -gt 300000 ]; ok $? "only $had bytes were kept"
tell reset
run pull test/slow --json
has_status 0
good test/slow slow.gguf "$models/test--slow--slow/slow.gguf"
json_is $((2097152 - had)) fetched_bytes
[ "$(sent '"port": "store"')" = $((2097152 - had)) ]; ok $? 'what was there came again'
[ -z "$(ls -A "$models/.partial")" ]; ok $? 'something is left in .partial'

# Interrupted: the same, with a word.
last='tern pull test/stall, interrupted'
timeout --preserve-status -k 1 -s INT 0.4 "$TERN" pull test/stall >"$out" 2>"$err"
status=$?
has_status 130
err_has 'goes on from here'
run rm test/stall -y
nothing test--stall

# A full disk, as near as a shell can make one.
last='tern pull test/single@refs/pr/1 on a full disk'
run rm test/single@refs/pr/1 -y
(trap '' XFSZ; ulimit -f 2000; exec "$TERN" pull test/single@refs/pr/1) >"$out" 2>"$err"
status=$?
has_status 1
err_has 'no room: 5243003 more bytes are needed'
nothing test--single_

# Two at once.
run rm test/slow -y
"$TERN" pull test/slow >"$tmp/one" 2>&1 &
one=$!
sleep 0.2
run pull test/slow
has_status 0
wait $one; ok $? 'the first of two failed'
good test/slow slow.gguf "$models/test--slow--slow/slow.gguf"
[ "$(asked slow.gguf)" -lt 16 ]; ok $? 'both fetched'

# Killed at 20 moments: the model is there whole or not at all, and the next attempt ends it.
f_kill=$models/test--kill--kill/kill.gguf
for s in $(awk 'BEGIN {srand(5); for (i = 0; i < 20; i++) printf "%.3f ", 0.02 + 0.45 * rand()}'); do
    timeout -s KILL $s "$TERN" pull test/kill >/dev/null 2>&1
    last="tern pull test/kill, killed after $s s"
    if [ -e "$models/test--kill--kill" ]; then
        good test/kill kill.gguf "$f_kill"
        "$TERN" show test/kill >/dev/null 2>"$err"
        rm -rf "$models/test--kill--kill"
    else
        ok 0
    fi
done
run pull test/kill
has_status 0
good test/kill kill.gguf "$f_kill"
[ -z "$(ls -A "$models/.partial")" ]; ok $? 'something is left in .partial'

# A store that somebody spoilt.
echo '{"tern": 1, "name": "x", "files": [{"name": "../../x"}]}' >"$models/test--kill--kill/tern-manifest.json"
run ls
has_status 0
err_has '1 folders'
: >"$models/.partial/test--single--single.json"
run pull test/kill
has_status 0
good test/kill kill.gguf "$f_kill"
grep -q Traceback "$tmp/hub.err"; [ $? = 1 ]; ok $? "the server failed: $(tail -3 "$tmp/hub.err")"
finish
