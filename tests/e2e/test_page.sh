# The page inside the program: what it comes with, and where it is not.
. tests/e2e/lib.sh
command -v python3 >/dev/null || finish
last='tests/e2e/page.py'
"$TERN" serve --help >"$out" 2>&1
grep -q -- --no-webui "$out" || finish # built without a server
python3 tests/e2e/page.py >"$out" 2>"$err"
status=$?
has_status 0
finish
