# OpenAI's endpoints: streams, tools, formats, probabilities, and what is refused.
. tests/e2e/lib.sh
command -v python3 >/dev/null || finish
last='tern serve --help'
"$TERN" serve --help >"$out" 2>&1
grep -q -- --no-webui "$out" || finish # built without a server
last='tools/params-table --check'
tools/params-table --check >"$out" 2>"$err"
status=$?
has_status 0
last='tests/e2e/serve_openai.py'
python3 tests/e2e/serve_openai.py >"$out" 2>"$err"
status=$?
has_status 0
finish
