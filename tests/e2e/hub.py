#!/usr/bin/env python3
"""A model hub for tests: the API and the file addresses that `tern pull` speaks, and whatever can go
wrong with them. hub.py FOLDER SOURCE_ROOT: listens on two ports of 127.0.0.1, the hub and its store
of large files, writes them to FOLDER/ports and every request to FOLDER/log, one JSON line each."""
import hashlib
import json
import os
import random
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

folder, root = sys.argv[1:3]
MB = 1 << 20
TOKEN = "hf_secretsecretsecret"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def gguf(n, seed):
    return b"GGUF" + random.Random(seed).randbytes(n - 4)


def real(name):
    with open(os.path.join(root, name), "rb") as f:
        return f.read()


story = real("models/test/stories260K.gguf")
card = b"# A model\n"
safetensors = (8).to_bytes(8, "little") + b"{}      " + random.Random(9).randbytes(2 * MB)
model_folder = {
    "README.md": card, "LICENSE": b"MIT\n", "config.json": b'{"model_type": "llama"}\n',
    "tokenizer.json": b"{}\n", "tokenizer_config.json": b"{}\n", "chat_template.jinja": b"x\n",
    "model-00001-of-00002.safetensors": safetensors, "model-00002-of-00002.safetensors": safetensors[:MB],
    "model.safetensors.index.json": b"{}\n", "pytorch_model.bin": b"pickle", "consolidated.safetensors": b"x",
    "onnx/model.json": b"{}", "1_Pooling/config.json": b"{}\n", ".gitattributes": b"x\n",
}

packed = "tests/golden/folders/bitnet-packed"

# Repositories: files by name. What is special about one stands in `special`.
repos = {
    "test/story": {"README.md": card, "stories260K.gguf": story},
    "test/single": {"README.md": card, "single.gguf": gguf(5 * MB + 123, 1)},
    "test/many": {"m-Q4_K_M.gguf": gguf(5000, 2), "m-IQ4_NL.gguf": gguf(6000, 3),
                  "ggml-model-i2_s.gguf": gguf(7000, 4), "mmproj-f16.gguf": gguf(100, 5)},
    "test/split": {"Q8_0/s-Q8_0-0000%d-of-00003.gguf" % i: gguf(9000 + i, i) for i in (1, 2, 3)},
    "test/hole": {"s-0000%d-of-00003.gguf" % i: gguf(9000 + i, i) for i in (1, 3)},
    "test/folder": model_folder,
    "test/packed": {name: real(os.path.join(packed, name)) for name in os.listdir(os.path.join(root, packed))},
    "test/empty": {"README.md": card, "weights.bin": b"x"},
    "test/update": {"u.gguf": gguf(3 * MB, 6)},
    "test/bare": {"b.gguf": gguf(2 * MB, 7)},
    "test/notgguf": {"n.gguf": b"HTML" * 1000},
    "test/slow": {"slow.gguf": gguf(2 * MB, 8)},
    "test/kill": {"kill.gguf": gguf(3 * MB + 77, 10), "README.md": card},
    "test/huge": {"h.gguf": b"GGUF"},
}
for name in ("gated", "private", "norange", "cut", "wrong", "flaky", "down", "busy", "expired", "stall"):
    repos["test/" + name] = {name + ".gguf": gguf(2 * MB + 5, name)}
evil = ["../../evil.gguf", "/tmp/evil.gguf", "a/../../evil.gguf", "a\u0001b.gguf", "a\\b.gguf"]
for i, name in enumerate(evil):
    repos["test/evil%d" % i] = {"ok.gguf": gguf(100, 11), name: gguf(100, 12)}

lock = threading.Lock()
counts = {}
sending = 0  # bodies on their way; those that stall are not counted
log = open(os.path.join(folder, "log"), "a", buffering=1)


def first(key, n=1):
    """Whether this is one of the first n times."""
    with lock:
        counts[key] = counts.get(key, 0) + 1
        return counts[key] <= n


def large(name):
    return name.endswith((".gguf", ".safetensors", ".bin"))


def sibling(repo, name, data):
    s = {"rfilename": name}
    if repo == "test/bare":
        return s
    s.update(size=len(data), blobId=hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())
    if large(name):
        sha = hashlib.sha256(b"x" if repo == "test/wrong" else data).hexdigest()
        s["lfs"] = {"sha256": sha, "size": len(data), "pointerSize": 130}
    return s


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20

    def log_message(self, *args):
        pass

    def note(self, status, sent):
        log.write(json.dumps({"port": self.server.kind, "method": self.command, "path": self.path, "status": status,
                              "range": self.headers.get("Range"), "sent": sent,
                              "auth": self.headers.get("Authorization")}) + "\n")

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.note(status, len(body))

    def forget(self):
        """Empty the log and the memory, once those who were killed have been noticed and noted."""
        for _ in range(200):
            with lock:
                if sending == 0:
                    break
            time.sleep(0.01)
        with lock:
            counts.clear()
        log.truncate(0)
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    # ---- the hub ----

    def hub(self, path, query):
        parts = path.strip("/").split("/")
        if parts[:1] == ["reset"]:
            return self.forget()
        if parts[:1] == ["new"]:  # a later commit of test/update
            repos["test/update"]["u.gguf"] = gguf(3 * MB, 60)
            repos["plain"]["p.gguf"] = gguf(2 * MB, 61)
            return self.answer(404)
        if parts[:2] == ["api", "models"] and len(parts) == 6 and parts[4] == "revision":
            return self.api("/".join(parts[2:4]), unquote(parts[5]))
        if len(parts) >= 5 and parts[2] == "resolve":
            return self.resolve("/".join(parts[:2]), unquote(parts[3]), unquote("/".join(parts[4:])))
        if parts[0] == "plain":
            return self.plain(parts[1])
        self.answer(404, b"no such page")

    def denied(self, repo):
        if repo == "test/gated":
            return 403
        if repo == "test/private" and self.headers.get("Authorization") != "Bearer " + TOKEN:
            return 401
        return 404 if repo not in repos else 0

    def api(self, repo, revision):
        status = self.denied(repo)
        if status:
            return self.answer(status, b'{"error": "no"}')
        if revision not in ("main", COMMIT, "refs/pr/1"):
            return self.answer(404, b'{"error": "Invalid rev id"}')
        if repo == "test/huge":
            return self.answer(200, b"[" * (6 * MB))
        if repo == "test/flaky" and first("api " + repo, 1):
            return self.answer(500, b"later")
        if repo == "test/busy" and first("api " + repo, 1):
            return self.answer(429, b"slowly", [("Retry-After", "1")])
        files = [sibling(repo, n, d) for n, d in repos[repo].items()]
        if repo == "test/down":
            files[0]["lfs"]["size"] = files[0]["size"] = 10**15
        commit = COMMIT if revision != "refs/pr/1" else COMMIT[::-1]
        if repo == "test/update":
            commit = hashlib.sha1(repos[repo]["u.gguf"]).hexdigest()
        body = {"id": repo, "sha": commit, "siblings": files, "tags": ["gguf", "license:mit"]}
        if repo == "test/folder":
            body["cardData"] = {"license": "apache-2.0"}
        self.answer(200, json.dumps(body).encode())

    def resolve(self, repo, revision, name):
        status = self.denied(repo) or (404 if name not in repos[repo] else 0)
        if status:
            return self.answer(status, b"no")
        data = repos[repo][name]
        headers = [("X-Repo-Commit", COMMIT)]
        if not large(name):
            headers.append(("ETag", '"%s"' % hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()))
            return self.body(repo, data, headers)
        if repo == "test/flaky" and first("file " + repo, 1):
            return self.answer(503, b"later")
        headers += [("X-Linked-Etag", '"%s"' % hashlib.sha256(data).hexdigest()), ("X-Linked-Size", str(len(data))),
                    ("Location", "http://127.0.0.1:%d/%s/%s?signature=sig" % (ports["store"], repo, name))]
        self.answer(302, b"", headers)

    def plain(self, name):
        if name == "page.gguf":
            return self.answer(200, b"<html>", [("Content-Type", "text/html; charset=utf-8")])
        if name == "loop.gguf":
            return self.answer(302, b"", [("Location", "/plain/loop.gguf")])
        if name == "away.gguf":
            return self.answer(302, b"", [("Location", "http://127.0.0.1:%d/plain/p.gguf" % ports["store"])])
        if name not in repos["plain"]:
            return self.answer(404, b"no")
        data = repos["plain"][name]
        self.body("plain", data, [("ETag", '"%s"' % hashlib.md5(data).hexdigest())])

    # ---- large files ----

    def store(self, path, query):
        parts = unquote(path).strip("/").split("/")
        repo, name = ("plain", parts[1]) if parts[0] == "plain" else ("/".join(parts[:2]), "/".join(parts[2:]))
        if name not in repos.get(repo, {}):
            return self.answer(404, b"no")
        if repo == "test/expired" and not first("expired", 1) and first("expired again", 1):
            return self.answer(403, b"expired")
        self.body(repo, repos[repo][name], [("ETag", '"x"')])

    def body(self, repo, data, headers):
        begin, end, status = 0, len(data), 200
        want = self.headers.get("Range")
        if want and repo != "test/norange":
            a, b = want.split("=")[1].split("-")
            begin, end, status = int(a), min(int(b) + 1, len(data)), 206
            if begin >= len(data):
                return self.answer(416, b"", [("Content-Range", "bytes */%d" % len(data))])
            headers = headers + [("Content-Range", "bytes %d-%d/%d" % (begin, end - 1, len(data)))]
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        sent = 0
        self.moving(repo, 1)
        try:
            if self.command != "HEAD":
                if repo == "test/cut" and first("cut", 3):
                    end = begin + (end - begin) // 2
                    self.close_connection = True
                # A small buffer, so that what was sent is nearly what was received.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
                step, pause = {"test/slow": (16384, 0.02), "test/kill": (65536, 0.02),
                               "test/stall": (1 << 16, 30)}.get(repo, (1 << 20, 0))
                while begin + sent < end:
                    n = min(step, end - begin - sent)
                    self.wfile.write(data[begin + sent : begin + sent + n])
                    sent += n
                    time.sleep(pause)
        except OSError:
            self.close_connection = True
        self.note(status, sent)
        self.moving(repo, -1)

    def moving(self, repo, change):
        global sending
        with lock:
            sending += change if repo != "test/stall" else 0

    def serve(self):
        u = urlsplit(self.path)
        getattr(self, self.server.kind)(u.path, u.query)

    do_GET = do_HEAD = serve


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients are killed all the time here


repos["plain"] = {"p.gguf": gguf(2 * MB + 9, 13), "none.gguf": b"", "text.gguf": b"hello\n" * 9}
ports = {}
servers = []
for kind in ("hub", "store"):
    s = Server(("127.0.0.1", 0), Handler)
    s.kind = kind
    ports[kind] = s.server_address[1]
    servers.append(s)
    threading.Thread(target=s.serve_forever, daemon=True).start()
with open(os.path.join(folder, "ports.new"), "w") as f:
    f.write("%d %d\n" % (ports["hub"], ports["store"]))
with open(os.path.join(folder, "sums"), "w") as f:
    for repo, files in repos.items():
        for name, data in files.items():
            if name and "/" not in name[:1] and len(name) < 100:
                f.write("%s %s %s\n" % (hashlib.sha256(data).hexdigest(), repo, name))
os.rename(os.path.join(folder, "ports.new"), os.path.join(folder, "ports"))
parent = os.getppid()
while os.getppid() == parent:  # ends with the test
    time.sleep(0.2)
