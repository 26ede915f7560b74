# Packed weights kept between runs, and less memory: neither changes an answer.
. tests/e2e/lib.sh

run bench --synthetic tiny --synthetic-out "$tmp/m.gguf" -p 4 -n 0 -r 1 -t 1 --no-walls
has_status 0
answer="run $tmp/m.gguf -p abc -n 20 --temp 0 --ignore-eos -no-cnv -q --special"
run $answer
has_status 0
cp "$out" "$tmp/want"

same() { # options, then what standard error must have, if anything
    run $answer $1
    has_status 0
    cmp -s "$out" "$tmp/want"; ok $? "another text with $1"
    [ -z "${2-}" ] || err_has "$2"
}
packed() { find "$XDG_CACHE_HOME/tern/packed" -name '*.pack' 2>/dev/null | wc -l; }

same '--repack-cache off'
[ "$(packed)" = 0 ]; ok $? 'packed weights kept unasked'
same '--repack-cache on'
[ "$(packed)" = 1 ]; ok $? 'no packed weights kept'
run show "$tmp/m.gguf" --repack-cache on --json
json_is found packed_weights
same '--repack-cache on'
same '--repack-cache on --head always'
[ "$(packed)" = 2 ]; ok $? 'another head is not another file'
same '--low-memory'
same '--repack-cache on --low-memory --head always'
same '--repack-cache on --low-memory --head always'
[ "$(packed)" = 3 ]; ok $? 'less memory is not another file'
TERN_REPACK_CACHE=on run show "$tmp/m.gguf" --low-memory --head always --json
json_is found packed_weights

# Damage: one warning (unless quiet), and the file is made anew. One place may be between two matrices, where
# depends on what was measured to be faster.
for f in "$XDG_CACHE_HOME"/tern/packed/*.pack; do
    for at in 20000 50001 80002 110003 140004 170005; do
        printf 'xyz' | dd of="$f" bs=1 seek=$at conv=notrunc 2>/dev/null
    done
done
run run "$tmp/m.gguf" -p abc -n 20 --temp 0 --ignore-eos -no-cnv --special --repack-cache on
has_status 0
cmp -s "$out" "$tmp/want"; ok $? 'another text from damaged packed weights'
[ "$(grep -c warning "$err")" = 1 ]; ok $? 'not one warning'
err_has 'made anew'
run run "$tmp/m.gguf" -p abc -n 1 --temp 0 -no-cnv --repack-cache on
[ "$(grep -c warning "$err")" = 0 ]; ok $? 'not made anew'

# A folder that cannot be: a warning.
: >"$tmp/file"
run run "$tmp/m.gguf" -p abc -n 20 --temp 0 --ignore-eos -no-cnv --special --repack-cache on --cache-dir "$tmp/file"
has_status 0
cmp -s "$out" "$tmp/want"; ok $? 'another text without a folder'
err_has 'not kept'

run doctor --json
json_is "$XDG_CACHE_HOME/tern" packed_weights folder
json_is "$tmp/m.gguf" packed_weights files 0 model
run doctor
out_has "$XDG_CACHE_HOME/tern"
out_has "$tmp/m.gguf"
run tune --clear
has_status 0
out_has 'removed'
[ "$(packed)" = 0 ]; ok $? 'packed weights are still there'
[ ! -e "$XDG_CACHE_HOME/tern/calibration.json" ]; ok $? 'calibrations are still there'
run tune --clear --json
json_is 0 removed_bytes
fails_with 2 'repack-cache' run "$tmp/m.gguf" -p x --repack-cache maybe
finish
