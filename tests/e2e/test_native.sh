# Native routes and llama.cpp's form of completions, over HTTP.
"$TERN" serve --help >/dev/null || exit 77
exec python3 tests/e2e/serve_native.py
