# tern plan: sizes before opening against what is then taken; models that do not fit.
. tests/e2e/lib.sh

run plan
has_status 0
out_has 'packed ternary weights'
out_has 'tok/s'
out_has 'it fits'
run plan --json --no-walls -c 100 -np 3
has_status 0
json_is 100 context
json_is 3 conversations
json_is q8_0 cache_k
json_is yes fits
run plan $small --json --no-walls -ctk f16
json_is f16 cache_k
json_is f16 cache_v
run plan tests/golden/folders/bitnet-packed --json --no-walls
has_status 0
json_has as_asked packed_bytes

# Far too much, and what would do.
run plan -c 16777216 -np 4096 --no-walls
has_status 4
out_has 'it does not fit; would fit with: -c'
err_has 'needs'
err_lines 1
run plan -c 16777216 -np 4096 --no-walls --json
has_status 4
json_is no fits
json_has would_fit_with
fails_with 3 'No such file' plan "$tmp/none.gguf"
fails_with 2 'from 1 to 4096' plan -np 0

if plain; then
    predicts
    predicts --low-memory
    predicts models/test/bitnet-tinystories-3M.gguf
    run bench --synthetic tiny -p 8 -n 1 -r 1 --synthetic-out "$tmp/tiny.gguf" --no-walls -q
    predicts "$tmp/tiny.gguf"
    predicts $small --low-memory

    # With little address space it says so, whatever the limit is, or works.
    refused=0
    for kib in 40000 60000 80000 100000 400000; do
        last="with ulimit -v $kib"
        (ulimit -v $kib && exec "$TERN" run -p Once -n 2 -q) >"$out" 2>"$err"
        status=$?
        grep -q 'needs .* MB of address space' "$err" && refused=$((refused + 1))
        [ $status = 0 ] || [ $status = 4 ] || [ $status = 127 ]
        ok $? "status $status"
        [ $status != 4 ] || err_lines 1
    done
    has_status 0
    [ $refused -gt 0 ]
    ok $? 'no limit was refused by the plan'
fi
finish
