# Folders that are not whole, or of a kind that cannot be run: one line that says what is wrong, and where.
. tests/e2e/lib.sh
m=$tmp/m

# broken STATUS TEXT: the folder $m is refused so, by whoever reads it
broken() {
    fails_with "$1" "$2" run "$m" -no-cnv -p a -n 1
    run convert "$m" -o "$tmp/x.gguf"
    has_status "$1"
    err_has "$2"
    [ ! -e "$tmp/x.gguf" ]
    ok $? 'something was written'
}
fresh() { rm -rf "$m"; cp -r "tests/golden/folders/$1" "$m"; }
config() { sed -i "$1" "$m/config.json"; } # a sed command

# Files that are missing or cut.
fresh llama3-shards
rm "$m"/model-00002*
broken 3 'm/model-00002-of-00003.safetensors: cannot open: No such file'
for size in 0 4; do
    fresh llama3-shards
    truncate -s $size "$m"/model-00002*
    broken 3 "m/model-00002-of-00003.safetensors: $size bytes, too few for the head"
done
fresh llama3-shards
truncate -s 100 "$m"/model-00002*
broken 3 'm/model-00002-of-00003.safetensors: 100 bytes, too few for the head'
fresh llama3-shards
truncate -s 1000 "$m"/model-00002*
broken 3 "m/model-00002-of-00003.safetensors: tensor 'model.layers.0.mlp.down_proj.weight': data [0, 12288), the file has 272 bytes of it; is it whole?"
fresh llama3-shards
printf x >>"$m/model-00003-of-00003.safetensors"
broken 3 'm/model-00003-of-00003.safetensors: 1 bytes behind the last tensor'
fresh llama3-shards
cp "$m/model-00001-of-00003.safetensors" "$m/model-00002-of-00003.safetensors"
broken 3 'is there twice'
fresh llama3-shards
echo '{"weight_map": {' >"$m/model.safetensors.index.json"
broken 3 'm/model.safetensors.index.json: not JSON at line'
fresh llama3-shards
rm "$m"/*.safetensors*
broken 3 'a folder without model.safetensors and model.safetensors.index.json'
touch "$m/pytorch_model.bin"
broken 3 "PyTorch's .bin files are not read"
rm "$m/config.json"
broken 3 'a folder without config.json'

# Tokenizers.
fresh qwen2
rm "$m/tokenizer.json"
broken 3 'm: no tokenizer: no tokenizer.json, tokenizer.model or original/tokenizer.model'
: >"$m/tokenizer.json"
broken 3 'm/tokenizer.json: not JSON at line 1'

# Configurations.
for key in hidden_size intermediate_size num_attention_heads num_hidden_layers vocab_size; do
    fresh qwen2
    config "/\"$key\"/d"
    broken 3 "m/config.json: '$key' is missing"
done
fresh qwen2
config 's/"model_type": "qwen2"/"model_type": "mamba2"/'
broken 3 "model_type 'mamba2' is not supported; this version reads: bitnet, llama, mistral, qwen2, qwen3, gemma3"
fresh bitnet-packed
config 's/"quant_method": "bitnet"/"quant_method": "awq"/'
broken 3 "quant_method 'awq' is not supported"
fresh qwen2
config 's/"intermediate_size": 96/"intermediate_size": 100/'
broken 3 "tensor 'blk.0.ffn_gate.weight'"
fresh qwen3
config 's/"num_hidden_layers": 2/"num_hidden_layers": 3/; /"layer_types"/,/\]/d'
broken 3 "tensor 'blk.2.attn_norm.weight' is missing"
finish
