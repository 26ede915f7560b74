# Completions of shells and manual pages, as the program writes them.
. tests/e2e/lib.sh
export XDG_DATA_HOME=$tmp/data
unset TERN_MODELS

# A fetched model, in the store's own words (apps/store/manifest.h).
stored=$XDG_DATA_HOME/tern/models/test--many--q8
mkdir -p "$stored"
cat >"$stored/tern-manifest.json" <<'JSON'
{"tern": 1, "name": "test/many:q8", "source": {"repo": "test/many", "select": "q8"},
 "files": [{"name": "many-q8.gguf", "size": 1, "done": true}]}
JSON

run completions
has_status 2
err_has 'bash, zsh or fish'
fails_with 2 'bash, zsh or fish' completions tcsh
for shell in bash zsh fish; do
    run completions $shell
    has_status 0
    err_empty
    cp "$out" "$tmp/tern.$shell"
    run completions $shell --json
    json_has script
done
run ls --names --known
has_status 0
out_has bitnet-2b4t
[ "$(grep -c ' ' "$out")" = 0 ]
ok $? 'names have more than a word'
run ls --names
has_status 0
out_is 'test/many:q8'
err_empty

# complete WORD...: what bash offers for the last word, one a line, sorted
cat >"$tmp/complete.bash" <<'BASH'
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
_tern
printf '%s\n' "${COMPREPLY[@]}" | sort
BASH
offers() { # expected words, words of the line
    want=$(printf '%s\n' $1 | sort)
    shift
    last="completing: $*"
    bash "$tmp/complete.bash" "$tmp/tern.bash" "$TERN" "$@" >"$out" 2>"$err"
    [ "$(cat "$out")" = "$want" ]
    ok $? "offered '$(cat "$out")', expected '$want'"
    err_empty
}
if command -v bash >/dev/null; then
    mkdir "$tmp/work"
    : >"$tmp/work/model one.gguf"
    : >"$tmp/work/other.txt"
    mkdir "$tmp/work/folder"
    file=$tmp/work
    offers 'tokenize' tok
    offers '--pin' run --pi
    offers 'auto on off' run --pin ''
    offers 'on off' run --pin o
    offers 'on off' run --pin = o
    offers 'auto off on' chat --ffn-sparse = ''
    offers '--temp --temperature' run x.gguf --te
    offers '-ctk' run -ctk
    offers '' run --temp ''
    offers '' run -p ''
    offers "$file/other.txt" run -f "$file/o"
    offers "$file/other.txt" perplexity -c 512 -f "$file/o"
    offers "$file/other.txt" run "$file/o"
    offers '' run m.gguf "$file/o"
    offers "$file/folder" chat --cache-dir "$file/"
    offers 'bash' completions b
    offers 'run rm' help r
    offers 'tq1_0 tq2_0' quantize in.gguf out.gguf tq
    offers 'tq1_0 tq2_0' convert in -o out --type tq
    offers 'falcon-e-1b falcon-e-3b' pull falcon-e
    offers '' nonsense --x
    offers 'test/many:q8' show test/
    offers 'q8' show test/many : q
    offers 'test/many:q8' rm x test/m
    bash "$tmp/complete.bash" "$tmp/tern.bash" "$TERN" run "$file/model" >"$out" 2>"$err"
    last='completing a name with a blank'
    out_is "$file/model one.gguf"
else
    echo 'skipped: no bash'
fi

# The others at least parse; fish tells what it would offer.
if command -v zsh >/dev/null; then
    last='zsh -n'
    zsh -n "$tmp/tern.zsh" >"$out" 2>"$err"
    ok $? 'not zsh'
else
    echo 'skipped: no zsh'
fi
if command -v fish >/dev/null; then
    fish_offers() { # expected first columns, line
        last="fish: $2"
        HOME=$tmp PATH=$(dirname "$TERN"):$PATH fish --no-config -c "source $tmp/tern.fish; complete -C '$2'" 2>"$err" |
            cut -f1 >"$out"
        [ "$(sort "$out" | tr '\n' ' ')" = "$1 " ]
        ok $? "offered $(tr '\n' ' ' <"$out"), expected $1"
        err_empty
    }
    fish_offers 'tokenize' 'tern tok'
    fish_offers '--pin' 'tern run --pi'
    fish_offers 'auto off on' 'tern run --pin '
    fish_offers '--cache-type-k --cache-type-v' 'tern run --cache-t'
    fish_offers 'test/many:q8' 'tern rm te'
else
    echo 'skipped: no fish'
fi

# Manual pages: one of the program, one for each command, all of them clean mdoc.
run man
has_status 0
out_has '.Dt TERN 1'
run man run
out_has '.Nm tern-run'
out_has 'TERN_TOP_K'
run man run --json
json_has page
fails_with 2 'did you mean' man rum
fails_with 1 'none' man -o "$tmp/none"
mkdir "$tmp/man"
run man -o "$tmp/man"
has_status 0
out_empty
n_verb=$("$TERN" help | grep -c '^  [a-z]')
[ "$(ls "$tmp/man" | wc -l)" = $((n_verb + 1)) ]
ok $? "pages: $(ls "$tmp/man" | wc -l), expected $((n_verb + 1))"
"$TERN" man run | cmp - "$tmp/man/tern-run.1"
ok $? 'the page differs'
if command -v mandoc >/dev/null; then
    last='mandoc -T lint'
    (cd "$tmp/man" && mandoc -T lint -W warning *.1) >"$out" 2>"$err"
    ok $? 'mandoc finds something'
else
    echo 'skipped: no mandoc'
fi
finish
