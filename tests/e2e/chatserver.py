#!/usr/bin/env python3
"""A server with OpenAI's chat for `tern bench --server`: chatserver.py FOLDER listens on a port of 127.0.0.1 and on
a unix socket FOLDER/socket, and writes the port to FOLDER/port when both are open. A prompt's tokens are
its words and 5 more; the first token takes FIRST seconds, each further one GAP. The key is "sesame". Text
comes in chunks cut at odd places, the seventh request for more than one token fails with 503, and a
connection that has not sent its head in 2 seconds is closed."""
import json
import os
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FIRST, GAP = 0.05, 0.01
folder = sys.argv[1]
lock = threading.Lock()
asked = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 2

    def address_string(self):
        return "client"

    def log_message(self, *args):
        pass

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def allowed(self):
        if self.headers.get("Authorization") == "Bearer sesame":
            return True
        self.answer(401, {"error": {"message": "no key"}})
        return False

    def do_GET(self):
        if self.allowed():
            self.answer(200, {"object": "list", "data": [{"id": "stub \"one\""}]})

    def chunk(self, data):
        for part in (data[:7], data[7:]):
            if part:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.flush()

    def event(self, value):
        self.chunk(b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n")

    def do_POST(self):
        global asked
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        assert body["model"] == "stub \"one\"", body
        prompt = len(body["messages"][0]["content"].split()) + 5
        n = body["max_tokens"]
        usage = {"prompt_tokens": prompt, "completion_tokens": n, "prompt_tokens_details": {"cached_tokens": 3}}
        if not body.get("stream"):
            self.answer(200, {"choices": [{"message": {"content": "x"}}], "usage": usage})
            return
        with lock:
            asked += n > 1
            fails = n > 1 and asked == 7
        if fails:
            self.answer(503, {"error": {"message": "full"}})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        time.sleep(FIRST)
        for i in range(n):
            self.event({"choices": [{"delta": {"content": f"word{i} "}}]})
            if i + 1 < n:
                time.sleep(GAP)
        self.event({"choices": [{"delta": {}, "finish_reason": "length"}]})
        self.event({"choices": [], "usage": usage})
        self.event(b"[DONE]")
        self.chunk(b"")
        self.wfile.write(b"0\r\n\r\n")


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class TcpServer(ThreadingHTTPServer):
    request_queue_size = 64


# The handler wants a client's address to be a pair.
class UnixHandler(Handler):
    def setup(self):
        self.client_address = ("unix", 0)
        super().setup()


tcp, unix = TcpServer(("127.0.0.1", 0), Handler), UnixServer(os.path.join(folder, "socket"), UnixHandler)
threading.Thread(target=unix.serve_forever, daemon=True).start()
with open(os.path.join(folder, "port.new"), "w") as f:
    f.write(str(tcp.server_port))
os.rename(os.path.join(folder, "port.new"), os.path.join(folder, "port"))
try:
    tcp.serve_forever()
except KeyboardInterrupt:
    pass
