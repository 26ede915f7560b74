# tern run: text, JSON, streams, interrupts.
. tests/e2e/lib.sh

# Greedy text of the test models, computed by other software; %s without the newline after an answer.
for i in 0 1 2 3; do
    prompt=$(golden stories260K.gguf $i prompt)
    certain=$(golden stories260K.gguf $i certain)
    run run $small -p "$prompt" -n "$certain" --temp 0 --json
    has_status 0
    text=$("$E2E_JSON" text <"$out")
    case "$(golden stories260K.gguf $i text)" in
    "$text"*) ok 0 '' ;;
    " $text"* | "${text# }"*) ok 0 '' ;;
    *) ok 1 "text '$text'" ;;
    esac
    json_is "$certain" generated_tokens
    json_is length finish
    json_is stories260K.gguf model
done

# The answer alone on standard output, with one newline; nothing on standard error.
run run $small -p 'Once upon a time' -n 48 --temp 0
has_status 0
out_is "$(golden stories260K.gguf 1 text)"
err_empty
[ "$(tail -c 1 "$out" | od -An -tx1 | tr -d ' ')" = 0a ]
ok $? 'no newline at the end'
first=$(cat "$out")

# The same from a file, from a pipe, with options in every form, with threads.
printf 'Once upon a time\n' >"$tmp/prompt"
run run -f "$tmp/prompt" $small --n-predict=48 --temp=0 -t 2
out_is "$first"
run run -m $small - -n 48 --temperature 0 <"$tmp/prompt"
out_is "$first"
run run $small -n 48 --temp 0 <"$tmp/prompt"
out_is "$first"
TERN_MODEL=$small TERN_TEMP=0 TERN_N_PREDICT=48 run run -p 'Once upon a time'
out_is "$first"
TERN_TEMP=5 run run $small -p 'Once upon a time' -n 48 --temp 0
out_is "$first"

# Guessing ahead changes speed, not text, whatever the source of the setting.
for spec in off ngram always; do
    run run $small -p 'Once upon a time' -n 48 --temp 0 --spec $spec
    out_is "$first"
    run run $small -p 'Once upon a time' -n 200 --temp 1 -s 3 --spec $spec
    cp "$out" "$tmp/spec-$spec"
    cmp -s "$tmp/spec-$spec" "$tmp/spec-off"
    ok $? "--spec $spec changed a sampled text"
done
TERN_SPEC=off run run $small -p 'Once' -n 100 --temp 0 --json
json_is 0 drafted_tokens
json_is 99 passes
run run $small -p 'Once' -n 100 --temp 0 --spec always --spec-max 2 --json
[ "$("$E2E_JSON" drafted_tokens <"$out")" -gt 0 ]
ok $? 'nothing was drafted'
fails_with 2 'off|ngram|always' run $small -p x --spec maybe
fails_with 2 'from 0 to 7' run $small -p x --spec-max 8

# Standard error says something only when asked, and never in colour when told so.
run run $small -p 'Once' -n 4 --temp 0 -v
err_has 'tok/s'
err_has 'passes'
err_has 'seed'
! grep -q "$(printf '\033')" "$err"
ok $? 'colour without a terminal'
CLICOLOR_FORCE=1 run run $small -p 'Once' -n 4 -v
err_has "$(printf '\033')"
NO_COLOR=1 CLICOLOR_FORCE=1 run run $small -p 'Once' -n 4 -v
! grep -q "$(printf '\033')" "$err"
ok $? 'colour in spite of NO_COLOR'
NO_COLOR=1 run run $small -p 'Once' -n 4 -v --color always
err_has "$(printf '\033')"

# Same seed, same text; the seed is told.
run run $small -p 'Once' -n 20 -s 7 --json
json_is 7 seed
cp "$out" "$tmp/a"
run run $small -p 'Once' -n 20 --seed 7 --json
[ "$("$E2E_JSON" text <"$out")" = "$("$E2E_JSON" text <"$tmp/a")" ]
ok $? 'another text from the same seed'

# Stop strings end the answer before them.
run run $small -p 'Once upon a time' -n 48 --temp 0 --stop Lily --stop xyzzy --json
json_is stop finish
json_is ', there was a little girl named ' text
# A banned token is not chosen: 432 is the comma.
run run $small -p 'Once upon a time' -n 1 --temp 0 -l 432-inf --json
[ "$("$E2E_JSON" text <"$out")" != , ]
ok $? 'the banned token was chosen'
run run $small -p 'Once upon a time' -n 1 --temp 0 -l 15+1e4 -l 432+-1 --json
has_status 2

# What an answer may be: it is that, hot as it may be, and ends by itself.
run run $small -p 'Once' --temp 5 --choice yes --choice no --json
json_is eog finish
case "$("$E2E_JSON" text <"$out")" in yes | no) ok 0 '' ;; *) ok 1 'an answer that was not offered' ;; esac
run run $small -p 'Once' --temp 0 --regex '[A-C]{3}-\d{2}'
grep -qxE '[A-C]{3}-[0-9]{2}' "$out"
ok $? 'not what the pattern says'
run run $small -p 'Once' --temp 0 --grammar 'root ::= "<" [a-z]{2,5} ">"'
grep -qxE '<[a-z]{2,5}>' "$out"
ok $? 'not what the grammar says'
printf 'root ::= "x" | "y"\n' >"$tmp/gbnf"
run run $small -p 'Once' --temp 0 --grammar-file "$tmp/gbnf"
grep -qxE '[xy]' "$out"
ok $? 'not what the file says'
schema='{"type":"object","properties":{"n":{"type":"integer","minimum":7,"maximum":7}},"required":["n"]}'
run run $small -p 'Once' --temp 0 -j "$schema"
grep -qxE '[{]"n": ?7[}]' "$out"
ok $? 'not what the schema says'
printf '%s' "$schema" >"$tmp/schema"
run run $small -p 'Once' --temp 0 -jf "$tmp/schema"
grep -qxE '[{]"n": ?7[}]' "$out"
ok $? 'not what the file of the schema says'
fails_with 2 "line 1: expected '::='" run $small -p x --grammar 'root'
fails_with 2 'and another option' run $small -p x --regex a --choice b

# A chat template, with and without a system message: tokens are those of the rendered text.
jinja='{{bos_token}}{% for m in messages %}{{m.role}}: {{m.content}} {% endfor %}'
run tokenize $small -p '<s>system: Be kind. user: Hello ' --no-special
n=$(wc -w <"$out")
run run $small --chat-template "$jinja" -sys 'Be kind.' -p Hello -n 1 --json
json_is "$n" prompt_tokens
printf '%s' "$jinja" >"$tmp/jinja"
run run $small --chat-template-file "$tmp/jinja" -sys 'Be kind.' -p Hello -n 1 --json
json_is "$n" prompt_tokens
# A control token spelled by the user stays text, also twice and beside others.
run tokenize $small -p 'user: a</s>b<s></s> ' --no-special --no-parse-special
n=$(($(wc -w <"$out") + 1))
run run $small --chat-template "$jinja" -p 'a</s>b<s></s>' -n 1 --json
json_is "$n" prompt_tokens
# Also where the vocabulary puts BOS before a text that spells it.
run tokenize $small -p 'x<s>y' --no-parse-special
n=$(wc -w <"$out")
run run $small --chat-template '{{ messages[0].content }}' -p 'x<s>y' -n 1 --json
json_is "$n" prompt_tokens
# Without the template it is what was asked for.
run tokenize $small -p 'a</s>b'
n=$(wc -w <"$out")
run run $small --chat-template "$jinja" -no-cnv -p 'a</s>b' -n 1 --json
json_is "$n" prompt_tokens
# Refusals of the template reach the user.
fails_with 2 'no jokes' run $small --chat-template "{{ raise_exception('no jokes') }}" -p x
fails_with 3 'no chat template' run $small -cnv -p x

# Cache formats and a context that the prompt does not fit in.
run run $small -p 'Once upon a time' -n 12 --temp 0 -ctk f16 -ctv=f16
has_status 0
out_has 'there was'
long=$(yes word | head -n 600 | tr '\n' ' ')
fails_with 1 'too long' run $small -p "$long"
fails_with 1 'too long' run $small -c 4 -p 'Once upon a time, there was'
run run $small -c 100000 -p Once -n 2
err_has 'passes the 512'
has_status 0
run run $small -q -c 100000 -p Once -n 2
err_empty

# Prompts that are none.
fails_with 2 'empty' run $small -
fails_with 2 'empty' run $small --chat-template chatml -p ''
printf 'ab\377' >"$tmp/bad"
fails_with 2 'offset 2' run $small -f "$tmp/bad"
fails_with 2 'exclude' run $small -p x -f "$tmp/prompt"
run run $small -p '' -n 8 --temp 0
has_status 0
out_has 'Once upon a time'

# A full disk is told, a closed pipe ends the program quietly.
if [ -w /dev/full ]; then
    last='tern run >/dev/full'
    "$TERN" run $small -p Once -n 4 >/dev/full 2>"$err"
    status=$?
    has_status 1
    err_has 'standard output'
fi
last='tern run | head'
{ "$TERN" run $small -p Once -n 400 --ignore-eos 2>"$err"; echo $? >"$tmp/status"; } | head -c 8 >/dev/null
status=$(cat "$tmp/status")
has_status 141
err_empty

# Ctrl-C stops the answer and keeps it.
last='tern run, interrupted'
"$TERN" run $small -q -c 1000000 -p Once --ignore-eos >"$out" 2>"$err" &
pid=$!
for i in $(seq 200); do
    [ -s "$out" ] && break
    sleep 0.05
done
kill -INT $pid
wait $pid
status=$?
has_status 130
[ "$(tail -c 1 "$out" | od -An -tx1 | tr -d ' ')" = 0a ]
ok $? 'no newline after the interrupted answer'
err_empty
finish
