# tern run --prompt-cache: the prompt's state in a file, the same text with it and without.
. tests/e2e/lib.sh

text='Once upon a time there was a little dog who lived in a big house by the sea. One day he'
cache=$tmp/prompt.kv
ask() { p=$1; shift; run run $small -p "$p" -n 24 --temp 0 --json "$@"; }
ask "$text"
n=$("$E2E_JSON" prompt_tokens <"$out")
first=$("$E2E_JSON" text <"$out")

ask "$text" --prompt-cache "$cache"
json_is "$first" text
json_is 0 cached_tokens
[ "$(stat -c %a "$cache")" = 600 ]
ok $? 'others may read the file'
before=$(cksum <"$cache")
ask "$text" --prompt-cache "$cache"
json_is "$first" text
json_is $((n - 1)) cached_tokens
[ "$before" = "$(cksum <"$cache")" ]
ok $? 'the file was written although it had all'

# A longer prompt takes what it can use, and the file has it all afterwards.
ask "$text found a red ball"
longer=$("$E2E_JSON" text <"$out")
ask "$text found a red ball" --prompt-cache "$cache"
json_is "$longer" text
[ "$("$E2E_JSON" cached_tokens <"$out")" -ge $((n - 2)) ]
ok $? 'little of the prompt was cached'
ask "$text found a red ball" --prompt-cache "$cache"
json_is "$longer" text

# A file that is of no use is replaced.
for arg in '-ctk q8_0' '-ctk f16 -ctv f32'; do
    ask "$text" --prompt-cache "$cache" $arg
    json_is 0 cached_tokens
    err_has 'the prompt is read anew'
done
head -c 5000 "$cache" >"$tmp/cut" && mv "$tmp/cut" "$cache"
ask "$text" --prompt-cache "$cache"
json_is "$first" text
json_is 0 cached_tokens
err_has 'the prompt is read anew'
ask "$text" --prompt-cache "$cache"
json_is $((n - 1)) cached_tokens
err_empty
ask "$text" --prompt-cache "$tmp/no/such/folder"
has_status 1
err_has no/such/folder

finish
