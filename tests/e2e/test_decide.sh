# tern decide from outside; numbers are checked against transformers and SciPy in tests/unit/decide_cases.c.
. tests/e2e/lib.sh
model=tests/golden/folders/qwen2
chatml="{% for m in messages %}<|2|>{{ m['role'] }}
{{ m['content'] }}<|3|>
{% endfor %}{% if add_generation_prompt %}<|2|>assistant
{% endif %}"
is_near() { # VALUE PATH...
    want=$1
    shift
    got=$("$E2E_JSON" "$@" <"$out")
    awk -v a="$got" -v b="$want" 'BEGIN { d = a - b; exit !(d < 1e-3 && d > -1e-3) }'
    ok $? "'$*' is $got, expected $want"
}

# One text. The expected numbers are of cases.json.
run decide $model -c 400 -ctk f32 -ctv f32 -no-cnv --labels 'yes,no' -p 'Is it wet?' --json --log-probs
has_status 0
err_empty
json_is 0 results 0 index
json_has results 0 log_probs yes
got=$("$E2E_JSON" results 0 answer <"$out")
run decide $model -c 400 -ctk f32 -ctv f32 -no-cnv --labels 'yes,no' -p 'Is it wet?' -q
has_status 0
[ "$(cut -f 1 "$out")" = "$got" ]
ok $? 'the plain answer is another'

# Many: text lines and JSON lines mean the same, results stand in order, and prompts that begin alike are read once.
printf 'wet\nsand\n\ndry as a bone\n' >"$tmp/lines"
printf '{"input": "wet", "id": 7}\n{"text": "sand"}\n{"query": "dry as a bone"}\n' >"$tmp/items"
for file in lines items; do
    run decide $model -c 400 --chat-template "$chatml" --yes-no -i 'Is it a liquid?' -f "$tmp/$file" --jsonl -q
    has_status 0
    sed 's/,"id":7//' "$out" >"$tmp/$file.out"
done
[ "$(wc -l <"$tmp/lines.out")" = 3 ]
ok $? 'not a line for each text'
cmp -s "$tmp/lines.out" "$tmp/items.out"
ok $? 'lines and items differ'
run decide $model -c 400 --chat-template "$chatml" --yes-no -i 'Is it a liquid?' -f "$tmp/items" --json -q
json_is 7 results 0 id
cached=$("$E2E_JSON" usage cached_tokens <"$out")
[ "$cached" -gt 60 ]
ok $? "$cached tokens were cached"

# A task file means what options mean.
printf '{"kind": "score", "range": [1, 5], "instruction": "How wet is it?", "chat": true}' >"$tmp/task"
run decide $model -c 400 --chat-template "$chatml" --task "$tmp/task" -f "$tmp/lines" --jsonl -q
has_status 0
cp "$out" "$tmp/by_file"
run decide $model -c 400 --chat-template "$chatml" --score 1..5 -i 'How wet is it?' -f "$tmp/lines" --jsonl -q
cmp -s "$out" "$tmp/by_file"
ok $? 'task file and options differ'
head -n 1 "$out" >"$tmp/first" && cp "$tmp/first" "$out"
json_has expected
json_has probabilities 5

# Withheld answers, and status 7 where they are not wanted.
run decide $model -no-cnv --labels 'yes,no' -p 'Is it wet?' --min-p 1 --json -q
has_status 0
json_is null results 0 answer
run decide $model -no-cnv --labels 'yes,no' -p 'Is it wet?' --min-p 1 --demand -q
has_status 7
[ "$(cut -f 1 "$out")" = null ]
ok $? 'the answer is not withheld'
err_has '1 of 1 answers are less likely than 1'
run decide $model -no-cnv --labels 'yes,no' -p 'Is it wet?' --min-p 0.5 --demand -q
has_status 0

# A fit makes the log loss of what it has seen smaller; figures before and after stand in its file.
for i in 1 2 3 4 5 6 7 8; do
    printf '{"input": "rain %d", "label": "wet"}\n{"input": "dust %d", "label": "dry"}\n{"input": "sea %d", "label": "wet"}\n' $i $i $i
done >"$tmp/gold"
labels='-no-cnv --labels wet,dry'
run decide $model $labels --evaluate "$tmp/gold" --json -q
has_status 0
json_is 24 items
before=$("$E2E_JSON" figures log_loss value <"$out")
run decide $model $labels --fit "$tmp/gold" -o "$tmp/cal" -q
has_status 0
out_has '| before | '
out_has 'temperature '
run decide $model $labels --evaluate "$tmp/gold" --calibration "$tmp/cal" --json -q
after=$("$E2E_JSON" figures log_loss value <"$out")
awk -v a="$before" -v b="$after" 'BEGIN { exit !(b < a) }'
ok $? "log loss is $after, was $before"
cp "$tmp/cal" "$out"
json_is 24 before items
json_is 24 after items
run decide $model $labels --fit "$tmp/gold" -o "$tmp/again" -q
cmp -s "$tmp/cal" "$tmp/again"
ok $? 'another fit of the same examples'

# Fields: always of the schema, the listed ones the likeliest.
printf '{"type":"object","properties":{"wet":{"type":"boolean"},"hue":{"enum":["red","redder",3]},"days":{"type":"array","items":{"type":"boolean"},"minItems":2,"maxItems":2}},"required":["wet","hue","days"],"additionalProperties":false}' >"$tmp/schema"
run decide $model -c 600 -no-cnv --extract "$tmp/schema" -i 'Say' -f "$tmp/lines" --json -q
has_status 0
for i in 0 1 2; do
    got=$("$E2E_JSON" results $i answer wet <"$out")
    [ "$got" = true ] || [ "$got" = false ]
    ok $? "a boolean is $got"
    awk -v a="$("$E2E_JSON" results $i fields /wet p <"$out")" -v b="$("$E2E_JSON" results $i fields /wet probabilities $got <"$out")" \
        'BEGIN { exit !(a == b && a >= 0.5) }'
    ok $? 'the value is not the likeliest one'
    json_has results $i fields /hue probabilities 3
    json_has results $i fields /days/1 probabilities true
done
run decide $model -c 600 -no-cnv --extract "$tmp/schema" -p 'sand' --min-p 1 --demand -q
has_status 7
[ "$(cut -f 1 "$out")" = null ]
ok $? 'the answer is not withheld'
fails_with 2 'no calibration' decide $model -no-cnv --extract "$tmp/schema" --evaluate "$tmp/gold"

# Labels of the items: choices of a published set by their numbers.
head -n 12 tests/golden/eval/other/arc.jsonl >"$tmp/arc"
run decide $model -c 400 -no-cnv --evaluate "$tmp/arc" --normalize bytes --json -q
has_status 0
json_is 12 items
run decide $model -c 400 -no-cnv -f "$tmp/arc" --calibrate contextual --jsonl -q
has_status 0
printf '{"input": "x", "labels": ["a", "a"], "label": 0}\n{"input": "x", "labels": ["a", "b"], "label": 1}\n' >"$tmp/twins"
run decide $model -no-cnv --evaluate "$tmp/twins" --json
json_is 1 items
err_has '1 items have the same label twice'

fails_with 2 'no labels' decide $model -no-cnv -p x
fails_with 2 'exclude each other' decide $model --labels a,b --yes-no -p x
fails_with 2 "expected a range, as 1..5" decide $model --score 1-5 -p x
fails_with 2 'have one name' decide $model --labels a,a -p x
fails_with 2 'need each other' decide $model --labels a,b --fit "$tmp/gold"
fails_with 2 'expected "label"' decide $model --labels a,b --evaluate "$tmp/gold"
printf '{"input": "x", "label": "b"}\n' >"$tmp/one"
fails_with 2 'too few' decide $model -no-cnv --labels a,b --fit "$tmp/one" -o "$tmp/x"
[ ! -e "$tmp/x" ]
ok $? 'a calibration of nothing was written'
fails_with 2 'made for 2 labels, there are 3' decide $model -no-cnv --labels wet,dry,moist --calibration "$tmp/cal" -p x
fails_with 2 'made with normalize sum' decide $model $labels --normalize tokens --calibration "$tmp/cal" -p x
fails_with 3 'no calibration' decide $model $labels --calibration "$tmp/task" -p x
fails_with 2 'batch needs several' decide $model $labels --calibrate batch -p x
fails_with 1 'item 1: a prompt' decide $model -c 8 $labels -p 'a long text'
printf "x\n{\n" >"$tmp/bad"
fails_with 3 'line 2: not a JSON object' decide $model $labels -f "$tmp/bad"
finish
