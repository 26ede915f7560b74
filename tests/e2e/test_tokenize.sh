# tern tokenize: ids of other software, pieces, and back.
. tests/e2e/lib.sh

for i in 0 1 2 3 4 5 6 7; do
    prompt=$(golden stories260K.gguf $i prompt)
    run tokenize $small -p "$prompt"
    has_status 0
    out_is "$(golden stories260K.gguf $i prompt_ids | tr -d '[]' | tr ',' ' ')"
    printf '%s' "$prompt" >"$tmp/text"
    run tokenize $small -f "$tmp/text" --json
    json_is "$(golden stories260K.gguf $i prompt_ids)" ids
done
printf 'Once upon' | "$TERN" tokenize $small - >"$out" 2>"$err"
out_is '1 403 407'
run tokenize $small -p 'Once upon' --no-special
out_is '403 407'
run tokenize $small -p '<s>'
out_is 1
run tokenize $small -p '<s>' --no-parse-special --no-special
[ "$(wc -w <"$out")" -gt 1 ]
ok $? 'a control token was recognised'
run tokenize $small -p 'Once upon' --pieces
has_status 0
[ "$(wc -l <"$out")" = 3 ]
ok $? 'not a line per token'
out_has '   407  upon'
run tokenize $small -p 'Once upon' --json
json_is 3 n
json_is ' upon' pieces 2

run tokenize $small --detokenize '1 403 407'
has_status 0
out_is 'Once upon'
run tokenize $small --detokenize 403,407,2 --special --json
json_is 'Once upon</s>' text
fails_with 2 '0 to 511' tokenize $small --detokenize 512
fails_with 2 "'x'" tokenize $small --detokenize 1,x
fails_with 2 'list is empty' tokenize $small --detokenize ,
printf 'ab\377' >"$tmp/bad"
run tokenize $small -f "$tmp/bad"
has_status 0
err_has 'UTF-8'
finish
