#!/bin/sh
# The whole recipe at its smallest: data, training with a stop and a resume, export, an answer.
#   test.sh PYTHON TEACHER.gguf TERN [FOLDER]
set -e
python=$1 teacher=$2 tern=$3 out=${4:-$(mktemp -d)}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
cat "$here"/prompts.py "$here"/../README.md >"$out"/text.txt
"$python" "$here"/vocab.py "$teacher" "$out"/text.txt --size 4096 --out "$out"/vocab.json
"$python" "$here"/generate.py "$teacher" --vocab "$out"/vocab.json --out "$out"/shards --slots 24 --tokens 4000
train() {
    "$python" "$here"/train.py --config tiny --teacher "$teacher" --vocab "$out"/vocab.json --shards "$out"/shards \
        --texts "$out"/text.txt --out "$out"/run --eval-rows 2 --no-compile "$@"
}
train --tokens 10e3
train --tokens 20e3 --resume --kept-out "$out"/shards
"$python" "$here"/export.py "$out"/run/last.pt "$out"/vocab.json "$out"/begun.gguf
"$python" "$here"/vocab.py "$teacher" --like "$out"/begun.gguf --out "$out"/again.json
cmp "$out"/vocab.json "$out"/again.json
train --tokens 3e3 --start-from "$out"/begun.gguf --out "$out"/again
# what only a GPU is meant for, once: shards without the teacher's expectations, the teacher beside
"$python" "$here"/generate.py "$teacher" --vocab "$out"/vocab.json --out "$out"/shards --seed 2 --slots 24 --tokens 1000 --ids-only
train --tokens 22e3 --resume --online
for type in iq2_bn iq1_bn; do
    "$python" "$here"/export.py "$out"/run/last.pt "$out"/vocab.json "$out"/chat.gguf --type $type --check "$out"/shards
    "$tern" show "$out"/chat.gguf # verify would find that it predicts English worse than chance, as it must yet
    "$tern" run "$out"/chat.gguf -p "Hello!" --temp 0 -n 16
done
"$python" "$here"/check_engine.py "$tern" "$out"/chat.gguf "$out"/vocab.json
echo "recipe: fine"
