# tern verify: whole files, and such as damage.py makes of them.
. tests/e2e/lib.sh

command -v python3 >/dev/null || {
    echo 'skipped: no python3'
    finish
}
stories=models/tern-stories.gguf
tiny=models/test/bitnet-tinystories-1M.gguf
damage() { python3 tests/e2e/damage.py "$1" "$tmp/bad.gguf" "$2" ${3+"$3"} ${4+"$4"}; }
# finds STATUS VERDICT TEXT ARG...: of the damaged file
finds() {
    want_status=$1 want_verdict=$2 want_text=$3
    shift 3
    run verify "$tmp/bad.gguf" "$@"
    has_status "$want_status"
    out_has "$want_verdict: bad.gguf"
    out_has "$want_text"
    if [ "$want_status" = 0 ]; then err_empty; else err_has "$want_verdict"; err_lines 1; fi
}

# Whole ones.
run verify
has_status 0
out_has 'OK: tern-stories'
err_empty
run verify $tiny --json
has_status 0
json_is OK verdict
json_is I2_S tensors 2 type
json_has tensors 0 zero_share
json_has readings 3 nats
for model in $small tests/golden/models/gemma3.gguf tests/golden/models/qwen2-yarn.gguf \
    tests/golden/models/bitnet-25-tq2.gguf tests/golden/folders/bitnet-packed \
    tests/golden/folders/bitnet-masters; do
    run verify "$model"
    has_status 0
    out_has 'OK: '
done

# Read otherwise than it was meant.
run verify $tiny --i2s-layout arm
has_status 7
out_has 'with --i2s-layout x86 it predicts'
for order in arm rows4; do
    damage $tiny $order
    finds 7 SUSPICIOUS "with --i2s-layout $order it predicts"
    run verify "$tmp/bad.gguf" --i2s-layout $order
    has_status 0
done
damage $tiny act relu2
finds 7 SUSPICIOUS 'with --activation silu it predicts'
run verify "$tmp/bad.gguf" --activation silu
has_status 0
run verify $stories --activation silu
has_status 7
out_has 'with --activation relu2 it predicts'
run run $stories --activation silu -p Once -n 3
has_status 0

# Bytes that no writer writes.
t=blk.3.ffn_up.weight
damage $tiny byte $t 192
finds 3 DAMAGED "'$t'" --no-probe
out_has '1 codes that I2_S does not have'
damage $tiny scale $t nan
finds 3 DAMAGED '1 scales are NaN or infinite' --no-probe
damage $tiny f32 output_norm.weight nan
finds 3 DAMAGED 'logits of a plain text are not finite'
damage $tiny scale $t -0.5
finds 7 SUSPICIOUS '1 scales below 0' --no-probe
damage $tiny scale $t 0
finds 7 SUSPICIOUS 'all scales are 0' --no-probe
damage $tiny scale $t 1e9
finds 7 SUSPICIOUS 'scales up to 1e+09' --no-probe
damage $tiny f32 blk.3.attn_norm.weight inf
finds 3 DAMAGED "'blk.3.attn_norm.weight'" --no-probe
damage $tiny zero blk.3.attn_norm.weight
finds 7 SUSPICIOUS '100.0 % of it is zero' --no-probe
damage $tiny cut 500000
finds 3 DAMAGED 'bad.gguf'
run verify "$tmp/bad.gguf" --json
has_status 3
json_is DAMAGED verdict
json_is damaged findings 0 level

# A byte of five trits is one of 243: 255 = ceil(242 * 256 / 243), and 254 stands for nothing.
run quantize $stories "$tmp/tq1.gguf" tq1_0 --no-check -q
has_status 0
run verify "$tmp/tq1.gguf"
has_status 0
python3 - "$tmp" <<'PY'
import sys
valid = {-(-256 * v // 243) for v in range(243)}
open(sys.argv[1] + "/byte", "w").write(str(max(set(range(256)) - valid)))
PY
damage "$tmp/tq1.gguf" byte $t "$(cat "$tmp/byte")"
finds 3 DAMAGED '1 codes that TQ1_0 does not have' --no-probe

# Logits kept, and the same model, another type and a damaged one against them.
run verify $tiny --no-probe --record "$tmp/record.json"
has_status 0
run verify $tiny --no-probe --against "$tmp/record.json" --json
has_status 0
json_is 128 against tokens
json_is 128 against same_bits
TERN_CPU=none run verify $tiny -t 2 --low-memory --no-probe --against "$tmp/record.json" --json
has_status 0
json_is 128 against same_bits
run verify $small --no-probe --against "$tmp/record.json"
has_status 7
out_has 'logits differ from'
damage $tiny arm
finds 7 SUSPICIOUS 'logits differ from' --no-probe --against "$tmp/record.json"
run verify $tiny --activation gelu --no-probe --against "$tmp/record.json" --tolerance 1000
has_status 0
echo '{}' >"$tmp/none.json"
run verify $tiny --no-probe --against "$tmp/none.json"
has_status 3
err_has 'not a record'
fails_with 3 'No such file' verify "$tmp/none.gguf"
finish
