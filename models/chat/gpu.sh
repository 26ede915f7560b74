#!/bin/sh
# The `gpu` configuration on a machine that is lent for half an hour, in calls of less than ten minutes, each of
# which may bring at most 64 MiB along and take 64 MiB away.  The teacher (98 MB as Q4_1) comes in two parts.
#   gpu.sh part FILE                   keep a part of the teacher (calls 1 and 2)
#   gpu.sh generate VOCAB MINUTES      conversations, sampled there (call 2)
#   gpu.sh train VOCAB MINUTES         train, or go on (calls 3 and 4); the export comes back in $OUT
#   gpu.sh fetch N                     the N-th four pieces of the checkpoint come back (last calls)
# On the machine that asks, before: split -b 50M TEACHER.gguf teacher.
# After: pieces.py join FOLDER RUN/last.pt, and train.py --resume.
set -e
here=$(cd "$(dirname "$0")" && pwd)
keep=${KEEP:-/root/tern-chat}
mkdir -p "$keep"
python="env PYTHONUNBUFFERED=1 PYTHONPATH=$keep/site python3"
case $1 in
part)
    cp "$2" "$keep"/
    ;;
generate)
    cat "$keep"/teacher.a? >"$keep"/teacher.gguf
    $python "$here"/generate.py "$keep"/teacher.gguf --vocab "$2" --out "$keep"/shards --seed 1 --slots 4096 \
        --tokens 1e9 --minutes "$3" --ids-only
    ;;
train)
    resume=
    if [ -e "$keep"/run/last.pt ]; then resume=--resume; fi
    $python "$here"/train.py --config gpu --teacher "$keep"/teacher.gguf --vocab "$2" --shards "$keep"/shards --online \
        --out "$keep"/run --minutes "$3" --save-minutes 3 $resume
    $python "$here"/export.py "$keep"/run/last.pt "$2" "$keep"/tern-chat.gguf --type iq1_bn
    split -b 15M "$keep"/tern-chat.gguf "$OUT"/tern-chat.gguf.
    cp "$keep"/run/log.csv "$OUT"/
    ;;
fetch)
    if [ ! -d "$keep"/pieces ]; then $python "$here"/pieces.py split "$keep"/run/last.pt "$keep"/pieces; fi
    for i in 0 1 2 3; do
        file=$(printf '%s/pieces/piece_%02d' "$keep" $((4 * $2 + i)))
        if [ -e "$file" ]; then cp "$file" "$OUT"/; fi
    done
    ;;
*)
    sed -n '2,9s/^# //p' "$0"
    exit 2
    ;;
esac
