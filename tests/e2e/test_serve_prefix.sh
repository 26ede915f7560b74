# tern serve: a system prompt is read once, also when the server is killed in between.
. tests/e2e/lib.sh

if "$TERN" serve --port 0 --api-prefix x 2>&1 </dev/null | grep -q libmicrohttpd; then
    echo 'skipped: built without a server'
    exit 77
fi

start() {
    : >"$tmp/log"
    "$TERN" serve --port 0 -c 1024 "$@" >"$tmp/log" 2>&1 &
    pid=$!
    n=0
    while ! grep -q 'loaded in' "$tmp/log" && [ $n -lt 600 ]; do
        sleep 0.1
        n=$((n + 1))
    done
    url=$(grep -o 'http://127[^ ]*' "$tmp/log" | head -1)
}
# ask QUESTION: how many tokens were cached, and the answer
ask() {
    python3 - "$url" "$1" <<'PY'
import json, sys, urllib.request
body = {"messages": [{"role": "system", "content": "You are a careful helper who writes short sentences. " * 12},
                     {"role": "user", "content": sys.argv[2]}], "max_tokens": 12, "temperature": 0, "seed": 1}
r = urllib.request.Request(sys.argv[1].rstrip("/") + "/v1/chat/completions", json.dumps(body).encode(),
                           {"Content-Type": "application/json"})
d = json.load(urllib.request.urlopen(r, timeout=60))
print(d["usage"]["prompt_tokens_details"]["cached_tokens"], json.dumps(d["choices"][0]["message"]["content"]))
PY
}
cached() { echo "${1%% *}"; }

last='tern serve'
start
first=$(ask 'Tell me about a dog.')
[ "$(cached "$first")" = 0 ]
ok $? "at first: $first"
second=$(ask 'Tell me about a dog.')
[ "$(cached "$second")" -gt 150 ]
ok $? "the second time: $second"
[ "${first#* }" = "${second#* }" ]
ok $? "another answer: $first, $second"
n=0 # the files are written behind the answer's back
while [ -z "$(ls "$XDG_CACHE_HOME/tern/prefix" 2>/dev/null | grep 'kv$')" ] && [ $n -lt 100 ]; do
    sleep 0.1
    n=$((n + 1))
done
sleep 0.5
kill -9 $pid
wait $pid 2>/dev/null

start
third=$(ask 'Tell me about a cat.')
[ "$(cached "$third")" -gt 100 ]
ok $? "after a kill: $third"
kill $pid
wait $pid
ok $? 'the server did not end well'

start --prefix-cache off
third=$(ask 'Tell me about a dog.')
[ "$(cached "$third")" = 0 ] && [ "${first#* }" = "${third#* }" ]
ok $? "without: $third"
kill $pid
wait $pid
finish
