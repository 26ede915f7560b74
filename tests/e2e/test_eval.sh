# tern eval against lm-evaluation-harness (tests/golden/eval), and perplexity against its two references.
. tests/e2e/lib.sh
golden=tests/golden/eval
f32='-ctk f32 -ctv f32'
is_near() { # VALUE RELATIVE PATH...
    want=$1 bound=$2
    shift 2
    got=$("$E2E_JSON" "$@" <"$out")
    awk -v a="$got" -v b="$want" -v e="$bound" 'BEGIN { d = a / b - 1; exit !(d < e && d > -e) }'
    ok $? "'$*' is $got, expected $want"
}

# Log-likelihoods of the harness with transformers in float32, on the same folder; every answer the same.
model=tests/golden/folders/qwen2
for task in arc hellaswag winogrande piqa boolq lambada; do
    run eval $task $model -c 400 $f32 -f $golden/rows/$task.jsonl --items "$tmp/items" -q
    has_status 0
    err_empty
    "$E2E_CHECK_EVAL" $golden/results.json $task 0.0002 <"$tmp/items" >>"$err" 2>&1
    ok $? "items of $task"
    cp "$out" "$tmp/$task"
done
# The same questions as collections and llama.cpp have them.
for file in arc.jsonl hellaswag.txt winogrande.jsonl piqa.jsonl boolq.jsonl lambada.jsonl; do
    run eval ${file%.*} $model -c 400 $f32 -f $golden/other/$file -q
    sed 's/other/rows/; s/hellaswag.txt/hellaswag.jsonl/' "$out" | cmp -s - "$tmp/${file%.*}"
    ok $? "another table from $file"
done

# Figures of the harness: acc 0.25, acc_norm 0.21, standard error sqrt(p (1 - p) / 99).
run eval arc $model -c 400 $f32 -f $golden/rows/arc.jsonl --json
has_status 0
json_is 100 items
json_is 0.25 figures acc value
is_near 0.21 1e-8 figures acc_norm value
is_near 0.043519414 1e-8 figures acc standard_error
json_is wilson figures acc interval
json_is acc_norm main
json_is true passed
json_is false interrupted
run eval arc_easy $model -c 400 $f32 -f $golden/rows/arc.jsonl --limit 7 --json
json_is 7 items
run eval truthfulqa $model -c 400 $f32 -f $golden/rows/truthfulqa.jsonl --json
got=$("$E2E_JSON" figures mc2 value <"$out")
awk -v a="$got" -v b=0.13484 'BEGIN { exit !(a > b - 1e-4 && a < b + 1e-4) }'
ok $? "mc2 is $got" # mean of the harness's 0.808906 and five below 0.0001
run eval truthfulqa $model -c 400 $f32 -f $golden/other/truthfulqa.csv --json
json_is "$got" figures mc2 value
err_has 'lost their beginnings'

# Examples: of the same file, which are then not asked, or of another.
run eval piqa $model -c 400 $f32 -f $golden/rows/piqa.jsonl --shots 2 --json
has_status 0
json_is 6 items
json_is 2 shots
err_has '2 examples from the beginning'
run eval piqa $model -c 400 $f32 -f $golden/rows/piqa.jsonl --shots 2 --shots-file $golden/other/piqa.jsonl --json -q
json_is 8 items
err_empty

# What a model writes.
run eval gsm8k $small -f $golden/rows/gsm8k.jsonl --shots 1 --json --items "$tmp/items" -q
has_status 0
json_is 5 items
json_is 1 shots
json_is strict_match main
[ "$(wc -l <"$tmp/items")" = 5 ]
ok $? 'not a line for each question'
run eval gsm8k $small -f $golden/rows/gsm8k.jsonl --shots 1 --items "$tmp/one" -np 1 -q
cmp -s "$tmp/items" "$tmp/one"
ok $? 'answers differ with how many are written together'

# Thresholds: one JSON value all the same.
run eval arc $model -c 400 $f32 -f $golden/rows/arc.jsonl --min 0.2
has_status 0
run eval arc $model -c 400 $f32 -f $golden/rows/arc.jsonl --min 0.22 --json
has_status 7
json_is false passed
err_has 'acc_norm of arc is 0.2100, below 0.22'

# Ctrl-C: what is done is told.
"$TERN" eval lambada models/test/bitnet-tinystories-3M.gguf -f $golden/rows/lambada.jsonl --json --limit 1 >/dev/null 2>&1
ok $? 'lambada'
yes "$(cat $golden/rows/arc.jsonl)" | head -n 40000 >"$tmp/long"
"$TERN" eval arc $model -f "$tmp/long" --json >"$out" 2>"$err" &
pid=$!
for i in $(seq 200); do # until it tells of progress: then it listens
    grep -q '^arc: ' "$err" && break
    sleep 0.1
done
kill -INT $pid
wait $pid
status=$?
last='tern eval (interrupted)'
has_status 130
json_is true interrupted

fails_with 2 'which task? expected hellaswag, winogrande' eval
fails_with 2 "no task 'mmlu'" eval mmlu
fails_with 2 'needs -f FILE' eval arc $model
fails_with 3 'none.jsonl' eval arc $model -f "$tmp/none.jsonl"
printf '{"query": "x", "choices": ["a", "b"], "gold": 0}\n{"query": "x", "choices": ["a", "b"]}\n' >"$tmp/bad"
fails_with 3 "bad: line 2: key 'gold'" eval arc $model -f "$tmp/bad"
fails_with 2 'examples of their own' eval truthfulqa $model -f $golden/other/truthfulqa.csv --shots 1
fails_with 2 'too few for 8 examples' eval piqa $model -f $golden/rows/piqa.jsonl --shots 8
fails_with 2 'too small for answers' eval gsm8k $model -c 200 -f $golden/rows/gsm8k.jsonl --shots 0
fails_with 1 'the context holds 8' eval arc $model -c 8 -f $golden/rows/arc.jsonl

# Perplexity in windows that overlap: transformers in float32 with each token scored once, as log-likelihoods
# summed in double precision.
for case in 128:40:338.79674:12.77479 100:99:382.42160:13.53742 64:1:358.58318:13.19554; do
    IFS=: read -r c stride ppl error <<EOF
$case
EOF
    run perplexity $model -f tests/e2e/story.txt -c $c --stride $stride $f32
    has_status 0
    awk -v p=$ppl -v e=$error '{ exit !($1 > p * 0.99999 && $1 < p * 1.00001 && $3 > e * 0.9999 && $3 < e * 1.0001) }' "$out"
    ok $? "windows of $c, stride $stride"
done
run perplexity $model -f tests/e2e/story.txt -c 128 --stride 40 --json
json_is 664 scored_tokens
json_is 15 windows
fails_with 2 'less than the context' perplexity $model -f tests/e2e/story.txt -c 64 --stride 64
fails_with 2 'no place beside' perplexity $model -f tests/e2e/story.txt -c 64 --stride 32 --save-logits "$tmp/x"

# Divergence of Q4_0 weights, as floats so that both compute the same. llama-perplexity (llama.cpp 0c1e570) with
# -c 64 -b 64: KLD 0.104752 +- 0.010439, median 0.073241, 99 % 0.596669, maximum 0.631831, PPL ratio 1.107181,
# delta p -3.422 %, RMS 11.078 %, same top 81.452 %.
"$TERN" quantize $small "$tmp/q4.gguf" q4_0 --no-check -q && "$TERN" quantize "$tmp/q4.gguf" "$tmp/q.gguf" f32 --no-check -q
ok $? 'quantize'
run perplexity $small -f tests/e2e/story.txt -c 64 -ctk f16 -ctv f16 --save-logits "$tmp/base"
has_status 0
run perplexity "$tmp/q.gguf" --kl "$tmp/base" -ctk f16 -ctv f16 --json
has_status 0
is_near 0.104752 0.002 base kl mean
is_near 0.010439 0.002 base kl standard_error
is_near 0.073241 0.002 base kl median
is_near 0.596669 0.002 base kl p99
is_near 0.631831 0.002 base kl max
is_near 1.107181 0.001 base perplexity_ratio
is_near 4.237338 0.001 base base_perplexity
is_near -0.03422 0.002 base probability_difference mean
is_near 0.11078 0.002 base probability_difference rms
is_near 0.814516129 1e-8 base same_top share
run perplexity $small --kl "$tmp/base" -ctk f16 -ctv f16
out_has '| same likeliest token | 100.000 %'
# llama.cpp's file, and a damaged one.
run perplexity $small --kl $golden/base.logits -ctk f16 -ctv f16 --json
json_is 30 scored_tokens
is_near 1 0.01 base perplexity_ratio
head -c 60000 "$tmp/base" >"$tmp/cut"
fails_with 3 'follow from its head' perplexity $small --kl "$tmp/cut"
printf '\377' | dd of="$tmp/base" bs=1 seek=70000 conv=notrunc 2>/dev/null
fails_with 3 'checksum is wrong' perplexity $small --kl "$tmp/base"
fails_with 2 'another vocabulary' perplexity $model --kl $golden/base.logits
fails_with 2 'excludes -f' perplexity $small -f tests/e2e/story.txt --kl $golden/base.logits
finish
