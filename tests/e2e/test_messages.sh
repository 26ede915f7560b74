# Anthropic's dialect, over HTTP.
"$TERN" serve --help >/dev/null || exit 77
exec python3 tests/e2e/serve_messages.py
