# Calibration and zeros: tern tune, tern stats, and that neither changes an answer.
. tests/e2e/lib.sh

run tune
has_status 0
out_has '| 256 |'
out_has '| 1024 |'
out_has 'matrices by layout:'
[ -s "$XDG_CACHE_HOME/tern/calibration.json" ]; ok $? "no calibration was kept"
run tune --json --cache-dir "$tmp/other"
has_status 0
json_is 256 shapes 0 cols
json_is "$tmp/other" kept_in
run tune -np 4
has_status 0
out_has '| 1024 | columns | 4 |'
run tune -np 4 --json
json_is 4 n_stream
json_has shapes 3 together_1_6
run doctor --json
has_status 0
json_has calibrations
run doctor
out_has 'calibration    tern-stories'
run tune "$small"
has_status 0
out_has 'nothing to choose'
fails_with 3 'No such file' tune "$tmp/nothing.gguf"

echo 'Once upon a time there was a cat. The cat sat on the mat and saw a dog.' >"$tmp/text"
run stats -f "$tmp/text" --csv "$tmp/z.csv" --svg "$tmp/z.svg"
has_status 0
out_has '| layer |'
out_has '| all |'
[ "$(wc -l <"$tmp/z.csv")" = 7 ]; ok $? "the CSV does not have 7 lines"
head -1 "$tmp/z.csv" | grep -q '^layer,gate_zero_share,'; ok $? "the CSV has another head"
grep -q '</svg>' "$tmp/z.svg"; ok $? "the SVG is not whole"
run stats -f "$tmp/text" --json
has_status 0
json_has layers 5 input_zero_share
fails_with 2 'stats needs -f FILE' stats
: >"$tmp/empty"
run stats "$small" -f "$tmp/text"
has_status 0
out_has 'no squared ReLU'

prompt='Once upon a time'
run run -p "$prompt" -n 40 --temp 0 -no-cnv -q --ffn-sparse off --weight-bits 2
has_status 0
cp "$out" "$tmp/want"
for options in '--ffn-sparse on --weight-bits 2' '--ffn-sparse on --weight-bits 1.6' '-t 2' '--ffn-sparse auto'; do
    run run -p "$prompt" -n 40 --temp 0 -no-cnv -q $options
    has_status 0
    cmp -s "$out" "$tmp/want"; ok $? "another text with $options"
done
fails_with 2 'weight-bits' run -p x --weight-bits 3
finish
