# POST /v1/decide of the built server.
. tests/e2e/lib.sh
last='serve_decide.py'
if ! "$TERN" serve --port 99999 2>&1 | grep -q -- --port; then
    echo 'built without a server'
    exit 77
fi
PYTHONDONTWRITEBYTECODE=1 python3 tests/e2e/serve_decide.py "$tmp" >"$out" 2>"$err"
ok $? 'decisions of the server'
finish
