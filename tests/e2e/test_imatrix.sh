# tern imatrix, and quantize with what it writes.
. tests/e2e/lib.sh
golden=tests/golden/imatrix
tiny=tests/golden/models/llama.gguf

run imatrix $small -f tests/e2e/story.txt -c 64 -o "$tmp/a.gguf"
has_status 0
out_has '35 matrices over'
err_empty
[ "$(wc -c <"$tmp/a.gguf")" -gt 12000 ]
ok $? 'too small'
run imatrix -m $small -f tests/e2e/story.txt -c 64 --chunks 2 --format dat -o "$tmp/a.dat" --json
json_is 2 chunks
json_is 35 matrices
run imatrix $tiny -f tests/e2e/story.txt -c 64 --process-output -o "$tmp/h.gguf" --json
json_is 15 matrices

# Both formats are read, of either program; the result differs from that without.
for f in $golden/llama.gguf $golden/llama.dat; do
    run quantize $tiny "$tmp/$(basename $f).q" q4_0 --imatrix $f --json
    has_status 0
    err_empty
done
run quantize $tiny "$tmp/plain.q" q4_0 --json
size() { wc -c <"$1"; }
tail -c 20000 "$tmp/llama.gguf.q" >"$tmp/1"
tail -c 20000 "$tmp/llama.dat.q" >"$tmp/2"
tail -c 20000 "$tmp/plain.q" >"$tmp/3"
cmp -s "$tmp/1" "$tmp/2" && ! cmp -s "$tmp/1" "$tmp/3"
ok $? 'weights of the two formats'
grep -aq quantize.imatrix.entries_count "$tmp/llama.gguf.q"
ok $? 'the file does not say what it was made with'
for f in "$tmp/a.gguf" "$tmp/a.dat"; do
    run quantize $small "$tmp/small.q" q4_0 --imatrix "$f" --no-check
    has_status 0
    err_empty
done
run convert tests/golden/folders/qwen3 -o "$tmp/w.gguf" --type q4_0 --imatrix $golden/llama.gguf --no-check
[ "$status" = 2 ]
ok $? 'another model'

fails_with 2 'belongs to another model' quantize $tiny "$tmp/x.gguf" q4_0 --imatrix "$tmp/a.gguf"
fails_with 3 'not an importance matrix' quantize $tiny "$tmp/x.gguf" q4_0 --imatrix tests/e2e/story.txt
fails_with 3 'imatrix.datasets is missing' quantize $tiny "$tmp/x.gguf" q4_0 --imatrix $small
fails_with 2 'too short' imatrix $small -f tests/e2e/story.txt -c 4096 -o "$tmp/x.gguf"
fails_with 2 'needs -o' imatrix $small -f tests/e2e/story.txt
fails_with 2 'needs -f' imatrix $small -o "$tmp/x.gguf"
[ ! -e "$tmp/x.gguf" ]
ok $? 'a file is left'
finish
