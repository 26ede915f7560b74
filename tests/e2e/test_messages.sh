# Anthropic's dialect, over HTTP.
. tests/e2e/lib.sh
last='serve_messages.py'
if "$TERN" serve --api-prefix x 2>&1 | grep -q 'built without'; then
    echo 'built without a server'
    exit 77
fi
python3 tests/e2e/serve_messages.py >"$out" 2>"$err"
ok $? 'checks'
cat "$out"
finish
