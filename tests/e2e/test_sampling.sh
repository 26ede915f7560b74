# The sampling that a model's file recommends: what nobody asks for otherwise.
. tests/e2e/lib.sh
m=$tmp/m
cp -r tests/golden/folders/llama3-shards "$m"
told() { "$TERN" run "$@" -no-cnv -p abc -n 24 -s 5 --ignore-eos -q 2>"$err" || echo failed; }

recommend() { echo "$1" >"$m/generation_config.json"; }
plain=$(told "$m") greedy=$(told "$m" --temp 0)
[ "$plain" != "$greedy" ]; ok $? 'the samplers cannot be told apart'
[ ${#plain} -ge 24 ] && [ ${#greedy} -ge 24 ]; ok $? 'no answers'
run show "$m"
has_status 0
! grep -q '^sampling' "$out"; ok $? 'sampling out of nowhere'
run show "$m" --json
json_is '{}' sampling

recommend '{"temperature": 0.6, "top_k": 1, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1}'
[ "$(told "$m")" = "$greedy" ]; ok $? 'not what is recommended'
[ "$(told "$m" --top-k 40 --top-p 0.95 --min-p 0.05 --temp 0.8)" = "$plain" ]; ok $? 'what is asked for does not come first'
run show "$m"
out_has 'sampling       temp 0.6, top-k 1, top-p 0.9, min-p 0.1, repeat-penalty 1, as the file recommends'

# It goes with the model.
run convert "$m" -o "$tmp/x.gguf" -q
has_status 0
run show "$tmp/x.gguf" --json
out_has '"temp": 0.6'
json_is 1 sampling top_k
[ "$(told "$tmp/x.gguf")" = "$greedy" ]; ok $? 'the file does not say what its folder did'

# No sampler takes these, or nobody means them.
recommend '{"temperature": -1, "top_k": 1.5, "top_p": 3, "min_p": "a", "repetition_penalty": 0}'
[ "$(told "$m")" = "$plain" ]; ok $? 'values that no sampler takes'
recommend '{"do_sample": false, "temperature": 0.6, "top_k": 1}'
[ "$(told "$m")" = "$plain" ]; ok $? 'sampling that is not to be done'

command -v python3 >/dev/null || finish
recommend '{"temperature": 0.6, "top_k": 1}'
FOLDER=$m python3 tests/e2e/serve_sampling.py >"$out" 2>"$err"
ok $? 'the server'
finish
