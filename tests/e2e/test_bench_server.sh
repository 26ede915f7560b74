# tern bench --server against a server whose times are known (chatserver.py).
. tests/e2e/lib.sh
unset TERN_API_KEY
python3 tests/e2e/chatserver.py "$tmp" 2>"$tmp/server.err" &
server_pid=$!
trap 'kill $server_pid 2>/dev/null; rm -rf "$tmp"' EXIT
for i in $(seq 200); do
    [ -s "$tmp/port" ] && break
    sleep 0.05
done
url=http://127.0.0.1:$(cat "$tmp/port")
printf '# keys\nsesame name=bench\n' >"$tmp/key"
key="--api-key-file $tmp/key"
between() { # LOW HIGH PATH...
    low=$1 high=$2
    shift 2
    got=$("$E2E_JSON" "$@" <"$out")
    awk -v a="$got" -v b="$low" -v c="$high" 'BEGIN { exit !(a >= b && a <= c) }'
    ok $? "'$*' is $got, expected $low to $high"
}

# A first token after 50 ms, then one each 10 ms; upper bounds are loose, for busy machines.
run bench --server $url $key --concurrency 1,3 --requests 3 -p 40 -n 6 --json
has_status 0
json_is '"stub \"one\""' model
json_is 3 steps 0 requests
json_is 0 steps 0 errors
json_is 9 steps 1 requests
json_is 1 steps 1 errors
err_has '1 of 9 requests failed, the first with status 503'
between 40 40 steps 0 prompt_tokens
between 3 3 steps 0 cached_tokens
between 6 6 steps 0 answer_tokens
json_is 3 steps 0 first_token_s samples
json_is 15 steps 0 inter_token_s samples
between 0.05 1.5 steps 0 first_token_s p50
between 0.009 0.5 steps 0 inter_token_s p50
between 0.1 3 steps 0 request_s p99
between 5 100 steps 0 tokens_per_second_client
between 5 60 steps 0 tokens_per_second

# The same over a unix socket, as a table; the key from the environment.
TERN_API_KEY=sesame run bench --server unix:"$tmp/socket" --concurrency 2 --requests 1 -p 20 -n 2
has_status 0
out_has '| clients | requests | errors | first token ms p50 |'
out_has '| 2 | 2 | 0 |'

# Short requests beside a long prompt, and ordinary clients beside bad ones: 3 idle, 2 slow, 2 stalled.
run bench --server $url/v1/ $key --concurrency 2 --requests 3 -p 20 -n 2 --short-during-prefill 500 \
    --idle 3 --slow 2 --stalled 2 --json
has_status 0
json_is 500 short_during_prefill tokens
json_is 3 short_during_prefill busy requests
between 0.05 20 short_during_prefill p95_ratio
json_is 6 hostile before requests
json_is 6 hostile during requests
json_is 3 hostile connections idle asked
json_is 2 hostile connections slow asked
json_is 2 hostile connections stalled asked
json_has hostile first_token_p99_ratio

fails_with 5 '/v1/models: the server says 401' bench --server $url
fails_with 5 'no answer from the server' bench --server http://127.0.0.1:1 $key
fails_with 2 'expected http://HOST:PORT' bench --server localhost:80
fails_with 3 'without encryption' bench --server https://localhost
fails_with 2 'no address' bench --server http://:80
fails_with 2 '--concurrency' bench --server $url $key --concurrency 0
fails_with 2 'at least 1' bench --server $url $key -n 0
finish
