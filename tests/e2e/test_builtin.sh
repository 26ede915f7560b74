# The models inside: which one answers when none is named, what they say of themselves, that they are the files of
# models/, and the memory they take.
. tests/e2e/lib.sh
unset TERN_MODEL

run show
has_status 0
out_has 'tern-chat (built in)'
out_has 'licence        Apache-2.0'
out_has 'made from      SmolLM2-135M-Instruct'
out_has 'trained with   conversations written by SmolLM2-135M-Instruct'
out_has 'sampling       temp 0.6, repeat-penalty 1.1'
run show stories
has_status 0
out_has 'tern-stories (built in)'
out_has 'licence        MIT'
out_has 'trained with   TinyStories (CDLA-Sharing-1.0)'
run show tern-stories --json
json_is MIT origin licence
run verify
has_status 0
out_has 'OK: tern-chat'

# says FILE NAME...: what the model answers by each of its names
says() {
    run run "$1" -p 'Once upon a time' -n 12 --temp 0 -q
    has_status 0
    cp "$out" "$tmp/want"
    [ -s "$out" ]; ok $? 'no answer'
    shift
    for name; do
        run run $name -p 'Once upon a time' -n 12 --temp 0 -q
        has_status 0
        cmp -s "$out" "$tmp/want"; ok $? 'the built-in model says something else than its file'
    done
}
says models/tern-chat.gguf '' chat tern-chat
says models/tern-stories.gguf stories tern-stories
TERN_MODEL=stories says models/tern-stories.gguf ''
TERN_MODEL=models/test/bitnet-tinystories-1M.gguf says models/test/bitnet-tinystories-1M.gguf ''
[ "$(wc -c <models/tern-chat.gguf)" -le 40000000 ]; ok $? 'tern-chat is larger than 40 MB'
[ "$(wc -c <models/tern-stories.gguf)" -le 4000000 ]; ok $? 'tern-stories is larger than 4 MB'

# A file of that name comes first.
(cd "$tmp" && cp "$OLDPWD/$small" stories && "$TERN" show stories) >"$out"
out_has '0.26 M'

# What TERN_MODEL names is for commands that take a model.
TERN_MODEL=$small run doctor --json
has_status 0

# Once packed, its pages of the program are not resident.
if plain; then predicts; fi
finish
