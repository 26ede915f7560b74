# tern embed: vectors of transformers, in every output format, and texts that cannot have one.
. tests/e2e/lib.sh
golden=tests/golden/models
f32='-ctk f32 -ctv f32'

# Bounds as of the logits of these models (tests/unit/model_golden.c).
printf 'one\ntwo three\nTern flies.\nx\n' >"$tmp/lines"
for model in qwen3-both-ways:48:0.000244140625 qwen3-norm-in:128:0.03125 gemma3-norm-in:128:0.03125; do
    name=${model%%:*} rest=${model#*:}
    d=${rest%:*} bound=${rest#*:}
    run embed $golden/$name.gguf -f "$tmp/lines" --npy "$tmp/$name.npy" $f32
    has_status 0
    out_empty
    err_empty
    "$E2E_CHECK_NPY" "$tmp/$name.npy" "4, $d" $golden/$name.lines 0 $bound >>"$err" 2>&1
    ok $? "vectors of $name"
done

# The same through pipes, with other line ends, and without the last one.
printf 'one\r\ntwo three\r\nTern flies.\r\nx' | "$TERN" embed $golden/qwen3-both-ways.gguf - --npy - $f32 >"$tmp/pipe.npy"
cmp -s "$tmp/pipe.npy" "$tmp/qwen3-both-ways.npy"
ok $? 'another file through a pipe'
run embed $golden/qwen3-both-ways.gguf -f "$tmp/lines" $f32
has_status 0
[ "$(wc -l <"$out")" = 4 ]
ok $? 'not a line per text'
[ "$(head -n 1 "$out" | wc -w)" = 48 ]
ok $? 'not 48 numbers'
third=$(sed -n 3p "$out" | cut -d ' ' -f 7)
run embed $golden/qwen3-both-ways.gguf -f "$tmp/lines" --json $f32
json_is last pooling
json_is true normalized
json_is 48 dimensions
json_is 2 data 2 index
json_is 11 data 2 tokens
awk -v a="$third" -v b="$("$E2E_JSON" data 2 embedding 6 <"$out")" 'BEGIN { exit !(a == b) }'
ok $? "JSON has another number than '$third'"
run embed $golden/qwen3-both-ways.gguf -f "$tmp/lines" --npy "$tmp/x.npy" --json
json_is '[4,48]' shape

# One text, prefixes, poolings, plain vectors.
run embed $golden/qwen3-norm-in.gguf -p 'two three' $f32
cp "$out" "$tmp/whole"
run embed $golden/qwen3-norm-in.gguf -p 'three' --prefix 'two ' $f32
cmp -s "$out" "$tmp/whole"
ok $? 'a prefix is not put before the text'
run embed $golden/qwen3-norm-in.gguf -p 'two
three' $f32
[ "$(wc -l <"$out")" = 1 ]
ok $? 'lines of -p are texts'
run embed $golden/qwen3-norm-in.gguf -p 'two three' --pooling last $f32
! cmp -s "$out" "$tmp/whole"
ok $? 'pooling changes nothing'
run embed $golden/qwen3-norm-in.gguf -p 'two three' --normalize $f32
cmp -s "$out" "$tmp/whole"
ok $? '--normalize is not the default'
run embed $golden/qwen3-norm-in.gguf -p 'two three' --no-normalize $f32
awk '{ for (i = 1; i <= NF; i++) s += $i * $i; exit !(s > 2) }' "$out"
ok $? '--no-normalize normalises'
run embed $small -p 'Once upon'
has_status 0
err_has 'names no pooling'
run embed $small -p 'Once upon' --pooling mean
err_empty
run embed $small -p 'Once upon' --json --pooling cls
json_is 3 tokens

fails_with 1 'text 1 is too long: 5 tokens, the context holds 4' embed $small -c 4 -p 'Once upon a time' --pooling mean
fails_with 2 'text 2 has no tokens' embed $golden/qwen3-norm-in.gguf -f tests/e2e/story.txt
printf '' >"$tmp/none"
fails_with 2 'no texts' embed $golden/qwen3-norm-in.gguf -f "$tmp/none"
fails_with 2 'exclude' embed $small -p x --normalize --no-normalize
fails_with 1 'cannot write' embed $golden/qwen3-norm-in.gguf -p x --npy "$tmp/none/y.npy"
fails_with 2 "'max'" embed $small -p x --pooling max
printf '%2100s' x >"$tmp/long"
fails_with 1 'at most 2048 where attention goes both ways' embed $golden/qwen3-both-ways.gguf -c 2200 -f "$tmp/long"
[ -z "$(find "$tmp" -name 'y.npy*')" ]
ok $? 'a file was left behind'
run embed $small -p x --npy - --json
has_status 2
finish
