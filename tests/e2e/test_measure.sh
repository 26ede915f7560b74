# tern logits and perplexity.
. tests/e2e/lib.sh
f16='-ctk f16 -ctv f16' # as the references

# Logits against those of transformers; the bound is that of an f16 cache (tests/unit/model_golden.c).
model=tests/golden/models/llama
ids=$(od -An -td4 -w4 $model.ids | tr -s ' \n' ',')
run logits $model.gguf --ids "$ids" --all -o "$tmp/all.npy" $f16
has_status 0
out_empty
"$E2E_CHECK_NPY" "$tmp/all.npy" '64, 264' $model.logits 0 0.00390625 >>"$err" 2>&1
ok $? 'logits of all tokens'
run logits $model.gguf --ids "$ids" -o "$tmp/last.npy" --json $f16
json_is '[264]' shape
"$E2E_CHECK_NPY" "$tmp/last.npy" '264,' $model.logits $((63 * 264)) 0.00390625 >>"$err" 2>&1
ok $? 'logits of the last token'
"$TERN" logits $model.gguf --ids "$ids" -o - $f16 >"$tmp/pipe.npy"
cmp -s "$tmp/pipe.npy" "$tmp/last.npy"
ok $? 'another file through a pipe'
run logits $small -p Once -o "$tmp/x.npy" --json
json_is '[1,403]' ids
[ "$(stat -c %a "$tmp/x.npy")" = "$(printf %o $((0666 & ~$(umask))))" ]
ok $? 'file mode'
fails_with 2 '0 to 511' logits $small --ids 1,512 -o "$tmp/y.npy"
fails_with 2 'needs -o' logits $small --ids 1
fails_with 2 'exclude' logits $small --ids 1 -p x -o "$tmp/y.npy"
fails_with 1 'cannot write' logits $small --ids 1 -o "$tmp/none/y.npy"
fails_with 1 'cannot write' logits $small --ids 1 -o "$tmp"
fails_with 1 'too long' logits $small -c 2 --ids 1,2,3 -o "$tmp/y.npy"
[ -z "$(find "$tmp" -name 'y.npy*')" ]
ok $? 'a file was left behind'

# llama-perplexity (llama.cpp 0c1e570) with -c 64 says 4.2373 +/- 0.76783; both keep f16 rows.
run perplexity $small -f tests/e2e/story.txt -c 64 $f16
has_status 0
err_empty
awk '{ exit !($1 > 4.2373 * 0.999 && $1 < 4.2373 * 1.001 && $3 > 0.767 && $3 < 0.769) }' "$out"
ok $? 'perplexity'
run perplexity $small -f tests/e2e/story.txt -c 64 --chunks 1 --json $f16
awk -v x="$("$E2E_JSON" perplexity <"$out")" 'BEGIN { exit !(x > 6.2501 * 0.999 && x < 6.2501 * 1.001) }'
ok $? 'perplexity of the first chunk'
json_is 1 chunks
json_is 31 scored_tokens
fails_with 2 'too short' perplexity $small -f tests/e2e/story.txt
fails_with 2 'from 8' perplexity $small -f tests/e2e/story.txt -c 7
fails_with 2 'needs -f' perplexity $small
fails_with 3 'none.txt' perplexity $small -f "$tmp/none.txt"
finish
