# Help, version, show, doctor, the option table, and models that cannot be opened.
. tests/e2e/lib.sh

run --help
has_status 0
out_has 'tokenize'
run
has_status 2
out_empty
for verb in chat run embed show tokenize logits perplexity bench doctor version help; do
    run $verb --help
    has_status 0
    out_has 'usage: tern'
    run help $verb
    has_status 0
    out_has '--json'
done
run help --json
json_is chat 0 name
json_is TERN_MODEL 0 options 0 env
# Every default of the table is one that its own parser takes.
for verb in chat run embed show tokenize logits perplexity bench; do
    run $verb nonexistent.gguf </dev/null
    grep -q 'expected' "$err"
    [ $? = 1 ]
    ok $? 'a default is refused'
done

run --version
has_status 0
out_has "tern 0"
out_has 'mm_t2r16_ref'
run version --json
json_has version
json_has kernels 0
TERN_CPU=none run version --json
has_status 0
! grep -q avx "$out"
ok $? 'kernels in spite of TERN_CPU=none'
TERN_CPU=nonsense run version
has_status 2
err_lines 1

run show $small
has_status 0
out_has 'llama'
out_has '0.26 M'
run show $small --json
json_is llama architecture
json_is 512 shape vocabulary
run show $small --chat-template 'x{{ messages }}'
has_status 2
fails_with 3 'no chat template' show $small --template
run show models/test/bitnet-tinystories-1M.gguf --json
json_is bitnet architecture

TERN_THREADS= run doctor --json
has_status 0
json_has cpu flags
json_has memory read_bytes_per_s_1_thread
json_has compute int8_macs_per_s_1_thread
json_has warnings
run doctor
out_has 'libedit'

# Wrong usage: one line, with what was meant.
fails_with 2 'did you mean tokenize' tokenise
fails_with 2 'did you mean --temp?' run --tmep 1
fails_with 2 'did you mean -no-cnv' run -no-cn
fails_with 2 'unknown option' run --qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq
run run -n
has_status 2
err_has 'needs N'
fails_with 2 'from 0 to 1' run --top-p 1.5 -p x
fails_with 2 'whole number' run -n 1.5 -p x
fails_with 2 'q8_0|f16' run -ctk q4_0 -p x
fails_with 2 'needs -p' run $small 'Once upon'
fails_with 2 'unexpected' version x
TERN_TOP_K=many fails_with 2 'TERN_TOP_K' run $small -p x
TERN_TOP_K=many run tokenize $small -p x
has_status 0

# Models that are none.
fails_with 3 'No such file' run "$tmp/none.gguf" -p x
fails_with 3 'a folder without config.json' run models -p x
fails_with 3 'GGUF' run LICENSE -p x
head -c 300000 $small >"$tmp/cut.gguf"
fails_with 3 'cut.gguf' show "$tmp/cut.gguf"
: >"$tmp/empty.gguf"
fails_with 3 'empty.gguf' show "$tmp/empty.gguf"
fails_with 3 nonsense show tests/golden/models/llama.gguf --pre nonsense
finish
