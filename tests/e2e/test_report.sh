# tern doctor --bug-report: it says all that is needed and nothing that is private.
. tests/e2e/lib.sh

home=$tmp/houses/alicia
mkdir -p "$home/cache" "$tmp/hidden-place"
cp $small "$home/model.gguf"
cp $small "$tmp/hidden-place/model.gguf"
head -c 300000 $small >"$tmp/hidden-place/cut.gguf"
export HOME=$home USER=alicia LOGNAME=alicia HF_TOKEN=hf_0123456789abcdef
export HTTPS_PROXY=http://bob:pw12345678@proxy.invalid TERN_API_KEY=sk-abcdefghij
export TERN_SYSTEM_PROMPT='my private words' TERN_TOP_K=7 TERN_CACHE_DIR=$home/cache
export XDG_DATA_HOME=$home/data

keeps_quiet() {
    for word in alicia hf_01234567 0123456789abcdef pw12345678 bob sk-abcdefghij 'private words' \
        hidden-place; do
        grep -qF -- "$word" "$out" "$err"
        [ $? = 1 ]
        ok $? "it tells '$word'"
    done
}

run doctor --bug-report "$home/model.gguf" --json
has_status 0
keeps_quiet
json_has version
json_has commit
json_has compiler
json_has system libc
json_has system release
json_has cpu flags
json_has cpu cores
json_has kernels usable 0
json_has memory total_bytes
json_has memory control_group_bytes
json_is set environment HF_TOKEN
json_is set environment HTTPS_PROXY
json_is set environment TERN_API_KEY
json_is set environment TERN_SYSTEM_PROMPT
json_is 7 environment TERN_TOP_K
json_is '~/cache' environment TERN_CACHE_DIR
json_is llama model architecture
json_is passed model self_check
json_is passed builtin_model self_check
json_is model.gguf model file

# A model that does not open is what a report is for.
run doctor --bug-report "$tmp/hidden-place/cut.gguf"
has_status 0
keeps_quiet
out_has 'cut.gguf'
out_has 'error: FOLDER/cut.gguf'
out_has 'self_check: not reached'
fails_with 2 'only with --bug-report' doctor "$home/model.gguf"
finish
