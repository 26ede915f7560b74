# tern convert and quantize: folders to files, types, explanations, refusals, what is left after failures.
. tests/e2e/lib.sh
folders=tests/golden/folders

# A folder runs as it is, and so does what it is converted to, with the same tokens.
for name in bitnet-packed bitnet-masters llama-packed llama3-shards qwen2 qwen3 gemma3 gemma3-period qwen3-norms \
    mistral phi3; do
    run convert $folders/$name -o "$tmp/$name.gguf" --json
    has_status 0
    awk -v a="$("$E2E_JSON" check same_top <"$out")" -v b="$("$E2E_JSON" check tokens <"$out")" \
        'BEGIN { exit !(b > 20 && a >= b - 1) }'
    ok $? 'other likeliest tokens than the source'
    for m in $folders/$name "$tmp/$name.gguf"; do
        run run "$m" -no-cnv -p 'Once upon a time' -n 12 --temp 0 --ignore-eos
        has_status 0
        cp "$out" "$tmp/text.$(basename "$m")"
    done
    cmp -s "$tmp/text.$name" "$tmp/text.$name.gguf"
    ok $? "$name: another text than the source"
done
run show "$tmp/bitnet-packed.gguf" --json
json_is bitnet-b1.58 architecture

# Types: by option, for the embedding, by name.
run convert $folders/llama3-shards -o "$tmp/a.gguf" --type q8_0 --embed-type f16 \
    --tensor-type 'ffn_(up|gate)=bf16' --explain
has_status 0
out_has '| model.layers.0.mlp.up_proj.weight | blk.0.ffn_up.weight | BF16 | BF16 |'
out_has '| model.layers.0.mlp.down_proj.weight | blk.0.ffn_down.weight | BF16 | Q8_0 |'
out_has '| model.embed_tokens.weight | token_embd.weight | BF16 |'
out_has 'mean KL divergence'
run quantize $small "$tmp/b.gguf" q4_0 --no-check --json
has_status 0
json_has tensor_bytes
[ "$(wc -c <"$tmp/b.gguf")" -lt "$(wc -c <$small)" ]
ok $? 'not smaller'

# Rows of 64 are too short for blocks of 256: the types that llama.cpp's quantiser falls back to (docs/FORMATS.md).
for pair in q2_k:Q4_0 q3_k:Q4_0 q4_k:Q5_0 q5_k:Q5_1 q6_k:Q8_0; do
    run quantize $small "$tmp/f.gguf" ${pair%:*} --no-check --explain
    has_status 0
    out_has "| blk.0.attn_q.weight | blk.0.attn_q.weight | F32 | ${pair#*:} | its rows are no multiple of the block |"
done

# Ternary types lose nothing or say so.
run quantize "$tmp/bitnet-packed.gguf" "$tmp/c.gguf" q2_0
has_status 0
out_has 'largest difference 0 of'
fails_with 3 'is not ternary' convert $folders/qwen3 -o "$tmp/d.gguf" --type q2_0
[ ! -e "$tmp/d.gguf" ]
ok $? 'a refused file is there'
run convert $folders/qwen3 -o "$tmp/d.gguf" --type q2_0 --force --no-check
has_status 0

fails_with 2 'needs a folder or file' convert $folders/qwen3
fails_with 2 'needs IN, OUT and TYPE' quantize $small
fails_with 2 "type 'q9'" quantize $small "$tmp/e.gguf" q9
fails_with 2 'REGEX=TYPE' quantize $small "$tmp/e.gguf" q8_0 --tensor-type x
fails_with 2 'no regular expression' quantize $small "$tmp/e.gguf" q8_0 --tensor-type '(=f16'
mkdir "$tmp/empty"
run convert "$tmp/empty" -o "$tmp/e.gguf"
[ "$status" != 0 ] && grep -qF config.json "$err"
ok $? 'an empty folder'
# Nothing half written is left, under any name.
[ "$(ls "$tmp" | grep -c '^[de]\.gguf')" = 1 ]
ok $? 'files are left'

# Killed at any moment the target is absent or whole.
for i in 1 2 3 4 5 6 7 8 9 10; do
    rm -f "$tmp/k.gguf"
    "$TERN" convert $folders/qwen3 -o "$tmp/k.gguf" --no-check >/dev/null 2>&1 &
    pid=$!
    sleep "0.00$i"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    if [ -e "$tmp/k.gguf" ]; then
        "$TERN" run "$tmp/k.gguf" -no-cnv -p a -n 1 --temp 0 >/dev/null 2>&1
        ok $? 'a killed conversion left a file that does not open'
    fi
done
finish
