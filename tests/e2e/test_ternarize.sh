# tern ternarize: each method gives a file that runs, says what became of what, and refuses what cannot be.
. tests/e2e/lib.sh
dense=tests/golden/models/qwen3.gguf

# 12 matrices have rows of 64 or 128; the two of 96 columns fit no ternary type.
for method in absmean absmax optimal; do
    run ternarize $dense "$tmp/$method.gguf" --method $method --json
    has_status 0
    err_empty
    json_is 12 ternary matrices
    json_has check mean_kl
    cp "$out" "$tmp/$method.json"
    run show "$tmp/$method.gguf" --json
    has_status 0
done
mse() { "$E2E_JSON" ternary mse <"$tmp/$1.json"; }
awk -v o="$(mse optimal)" -v m="$(mse absmean)" -v x="$(mse absmax)" 'BEGIN { exit !(o > 0 && o < m && m < x) }'
ok $? 'optimal is not the best, or absmax not the worst'
run ternarize $dense "$tmp/gptq.gguf" -f tests/e2e/story.txt -c 64 --chunks 2 --explain
has_status 0
err_empty
out_has '| blk.1.attn_q.weight | blk.1.attn_q.weight | F16 | Q2_0 | mse '
out_has '| blk.0.ffn_down.weight | blk.0.ffn_down.weight | F16 | F16 | its rows are no multiple of the block |'
out_has '| token_embd.weight | token_embd.weight | F32 | F16 | the embedding |'
out_has '12 matrices made ternary'
run run "$tmp/gptq.gguf" -no-cnv -p 'Once upon a time' -n 4 --temp 0 --ignore-eos
has_status 0
# Ternary now: it can be written as another ternary type, and there is nothing left to do.
run quantize "$tmp/gptq.gguf" "$tmp/again.gguf" q2_0 --no-check
has_status 0
run ternarize "$tmp/gptq.gguf" "$tmp/again.gguf" --method absmax --no-check --json
json_is 0 ternary matrices

# Groups, and weights of an importance matrix.
run ternarize $dense "$tmp/g.gguf" --method absmean --type q2_0 --group 128 --no-check --explain
out_has 'a scale per 128'
out_has 'a scale per 64'
run ternarize $dense "$tmp/g.gguf" --method optimal --type q2_0 --group row --no-check --explain
out_has 'a scale per 128'
run ternarize $dense "$tmp/g.gguf" --method optimal --type i2_s --no-check --explain
out_has 'a scale per the matrix'
run ternarize $dense "$tmp/g.gguf" -f tests/e2e/story.txt -c 64 --chunks 1 --group tensor --no-check --explain
out_has 'a scale per the matrix'
run imatrix $dense -f tests/e2e/story.txt -c 64 --chunks 2 -o "$tmp/im.gguf"
run ternarize $dense "$tmp/w.gguf" --method optimal --imatrix "$tmp/im.gguf" --json
has_status 0
"$E2E_JSON" ternary mse <"$out" | awk -v o="$(mse optimal)" '{ exit !($1 > o) }'
ok $? 'weighing changed nothing'
# A folder; and a model with norms of their own before its matrices, which was ternary before it was
# written as floats: each method finds its trits again.
run ternarize tests/golden/folders/llama3-shards "$tmp/n.gguf" -f tests/e2e/story.txt -c 32 --chunks 2 --json
has_status 0
[ "$("$E2E_JSON" ternary matrices <"$out")" -gt 0 ]
ok $? 'nothing was made ternary'
run quantize tests/golden/models/qwen3-norm-in.gguf "$tmp/floats.gguf" f32 --no-check
for method in absmax optimal gptq; do
    run ternarize "$tmp/floats.gguf" "$tmp/n.gguf" --method $method --type q2_0 -f tests/e2e/story.txt -c 32 \
        --chunks 2 --json
    has_status 0
    "$E2E_JSON" ternary relative_mse <"$out" | awk '{ exit !($1 < 1e-6) }'
    ok $? "$method: other values"
done

fails_with 2 'needs IN and OUT' ternarize $dense
fails_with 2 'needs a text' ternarize $dense "$tmp/x.gguf"
fails_with 2 'is not ternary' ternarize $dense "$tmp/x.gguf" --method absmax --type q4_0
fails_with 2 'is not ternary' ternarize $dense "$tmp/x.gguf" --method absmax --type q1_0
fails_with 2 'a scale for each 256' ternarize $dense "$tmp/x.gguf" --method absmax --group 64
fails_with 2 'one scale for the whole' ternarize $dense "$tmp/x.gguf" --method absmax --type i2_s --group row
fails_with 2 'expected a number' ternarize $dense "$tmp/x.gguf" --method absmax --group some
fails_with 2 'optimal only' ternarize $dense "$tmp/x.gguf" --method absmax --imatrix "$tmp/im.gguf"
fails_with 2 'too short' ternarize $dense "$tmp/x.gguf" -f tests/e2e/story.txt -c 4096
[ ! -e "$tmp/x.gguf" ]
ok $? 'a refused file is there'
finish
