# tern serve: keys, sockets, systemd, signals, logs, sandbox.
. tests/e2e/lib.sh
last='tern serve'
if "$TERN" serve --api-prefix x 2>&1 | grep -q 'built without'; then
    echo 'built without a server'
    exit 77
fi
PYTHONDONTWRITEBYTECODE=1 python3 tests/e2e/serve_ops.py "$@" >"$out" 2>"$err"
ok $? "$(cat "$out")"
finish
