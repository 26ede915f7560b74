"""What the server answers to requests of every shape: routes, framing, limits, Host, Origin, slow clients."""
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serve import POST, Server, check, error_of, run_all, status_of, wait_until  # noqa: E402

HOST = b"Host: localhost\r\n"


def routes():
    with Server() as s:
        status, headers, body = s.ask("GET", "/health")
        check(status == 200 and json.loads(body)["status"] == "ok", f"health: {status} {body}")
        check(headers["X-Request-Id"].startswith("req_"), "no request id")
        check(headers["Cache-Control"] == "no-store", "may be cached")
        first = headers["X-Request-Id"]
        status, headers, body = s.ask("GET", "/ready", headers={"X-Request-Id": "mine"})
        check(status == 200 and json.loads(body) == {"status": "ready", "model": "tern-stories"}, f"ready: {body}")
        check(headers["X-Request-Id"] not in (first, "mine"), "a request id is not ours")
        status, headers, body = s.ask("HEAD", "/health")
        check(status == 200 and body == b"" and int(headers["Content-Length"]) > 10, "HEAD")
        status, headers, body = s.ask("DELETE", "/health")
        check(status == 405 and headers["Allow"] == "GET, HEAD, OPTIONS", f"405: {headers['Allow']}")
        check(error_of(body) == "method_not_allowed", f"405: {body}")
        status, headers, body = s.ask("OPTIONS", "/health")
        check(status == 204 and headers["Allow"] == "GET, HEAD, OPTIONS", "OPTIONS")
        for path in ("/nothing", "/health/", "/healt", "/healthy", "/v1/../health", "//health", "/%2Fhealth"):
            status, _, body = s.ask("GET", path)
            check(status == 404 and error_of(body) == "route_not_found", f"{path}: {status} {body}")
        check(s.ask("GET", "/he%61lth?x=1&y")[0] == 200, "an encoded path with a query")
        for path in ("/he%6", "/%zz", "/a%00b", "/%ff", "/health?" + "&".join(f"a{i}=1" for i in range(33)), "/health?%q"):
            status, _, body = s.ask("GET", path)
            check(status == 400 and error_of(body) == "bad_request", f"{path}: {status} {body}")
        status, _, body = s.ask("POST", POST, "x=1", {"Content-Type": "application/x-www-form-urlencoded"})
        check(status == 415, f"a form: {status} {body}")
        status, _, body = s.ask("POST", POST, "{}")
        check(status == 415, f"no content type: {status} {body}")
        status, _, body = s.ask("GET", "/metrics")
        check(b'tern_requests_total{route="/health",method="GET",status="200"} ' in body, f"metrics: {body[:500]}")
        check(b"tern_request_seconds_bucket{le=" in body and b"tern_build_info{" in body, "metrics")
        check(b"llamacpp:" not in body, "names of others without asking")
        status, _, body = s.ask("GET", "/props")
        check(json.loads(body)["limits"]["body_bytes"] == 16777216, f"props: {body}")
        status, _, body = s.ask("GET", "/slots")
        check(len(json.loads(body)) == 8 and not json.loads(body)[0]["is_processing"], f"slots: {body}")
    # A connection serves many requests, and one behind another.
    with Server("--api-prefix", "/tern", "--metrics-compat", "llamacpp", "-np", "3", "-a", "one", "--alias", "two") as s:
        one = b"GET /tern/health HTTP/1.1\r\n" + HOST + b"\r\n"
        got, _ = s.raw(one + one + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        check(got.count(b"HTTP/1.1 200 ") == 3, f"keep-alive: {got}")
        check(s.ask("GET", "/health")[0] == 404, "without the prefix")
        check(json.loads(s.ask("GET", "/tern/ready")[2])["model"] == "one", "an alias")
        check(len(json.loads(s.ask("GET", "/tern/slots")[2])) == 3, "slots")
        check(b"llamacpp:n_decode_total" in s.ask("GET", "/tern/metrics")[2], "llamacpp: names")
    with Server("--metrics=0", "--slots=0", "-q", wait=False) as s:
        time.sleep(0.3)
        check(s.log() == "", f"-q: {s.log()}")
    with Server("--metrics=0", "--slots=0") as s:
        check(s.ask("GET", "/metrics")[0] == 404 and s.ask("GET", "/slots")[0] == 404, "what is switched off is there")


def framing():
    """Requests that a proxy and a server may read differently: refused and closed, or plainly safe."""
    post = b"POST " + POST.encode() + b" HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    inner = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"
    refused = {
        "both lengths": post + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
        "two lengths": post + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        "the same length twice": post + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        "negative length": post + b"Content-Length: -1\r\n\r\n",
        "length with a sign": post + b"Content-Length: +2\r\n\r\n{}",
        "hexadecimal length": post + b"Content-Length: 0x2\r\n\r\n{}",
        "huge length": post + b"Content-Length: 99999999999999999999999\r\n\r\n",
        "length list": post + b"Content-Length: 2, 2\r\n\r\n{}",
        "unknown coding": post + b"Transfer-Encoding: gzip\r\n\r\n",
        "coding list": post + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "coding twice": post + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "negative chunk": post + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
        "huge chunk": post + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx",
        "chunk size that is none": post + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "chunk without its end": post + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n",
        "two Hosts": b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        "no Host": b"GET /health HTTP/1.1\r\n\r\n",
        "no path": b"GET health HTTP/1.1\r\n" + HOST + b"\r\n",
    }
    with Server() as s:
        for what, data in refused.items():
            got, ended = s.raw(data)
            # libmicrohttpd 0.9.75 writes the head of its own refusals twice, the second as if it were the body.
            check(status_of(got) in (400, 413, 0) and b" 200 OK" not in got and ended and
                  (got.count(b"HTTP/1.1 ") <= 1 or b"Connection: close" in got), f"{what}: {got[:300]} ended={ended}")
        # Whatever the library makes of these, no second request comes out of them, and nothing hangs.
        bare = {
            "bare CR": b"GET /health HTTP/1.1\r\nHost: localhost\rX: y\r\n\r\n",
            "NUL in a header": b"GET /health HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
            "NUL in the path": b"GET /hea\0lth HTTP/1.1\r\n" + HOST + b"\r\n",
            "folded header": b"GET /health HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
            "colon after a blank": b"GET /health HTTP/1.1\r\n" + HOST + b"Content-Length : 5\r\n\r\n",
            "no colon": b"GET /health HTTP/1.1\r\n" + HOST + b"nonsense\r\n\r\n",
            "HTTP/9.9": b"GET /health HTTP/9.9\r\n" + HOST + b"\r\n",
            "HTTP/0.9": b"GET /health\r\n\r\n",
            "nothing but blanks": b" \r\n \r\n\r\n",
            "binary": bytes(range(256)) * 4,
            "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
            "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        }
        for what, data in bare.items():
            got, ended = s.raw(data, timeout=0.5, shut=True)
            check(got.count(b"HTTP/1.") <= 1, f"{what}: {got[:300]}")
        check(s.ask("GET", "/health")[0] == 200, "the server is gone")
        # A request may come in any pieces.
        whole = b"GET /health HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
        for i in range(1, len(whole)):
            got, _ = s.raw(None, pieces=[whole[:i], whole[i:]])
            check(status_of(got) == 200, f"split at {i}: {got}")
        body = post + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n"
        want = {status_of(s.raw(body)[0])}
        for i in range(len(post), len(body)):
            want.add(status_of(s.raw(None, pieces=[body[:i], body[i:]])[0]))
        check(want == {400} or want == {404}, f"chunks split: {want}")


def full_house():
    """Who has nothing to ask makes room: clients need not wait for the others' deadlines."""
    for asks_before in (True, False):
        with Server("--limit", "connections=20", "--limit", "idle_s=60", "--limit", "header_s=60") as s:
            crowd = [s.connect() for _ in range(20)]
            for c in crowd[:18] if asks_before else ():
                c.sendall(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
                check(b" 200 " in c.recv(4096), "one of the crowd")
            time.sleep(1.2)
            begin = time.monotonic()
            for _ in range(8):
                check(s.ask("GET", "/health")[0] == 200, "a client beside a full house")
            took = time.monotonic() - begin
            check(took < 20, f"8 clients waited {took:.1f} s, asks before: {asks_before}")
            for c in crowd:
                c.close()


def limits():
    post = (b"POST " + POST.encode() + b" HTTP/1.1\r\n" + HOST +
            b"Connection: close\r\nContent-Type: application/json\r\n")
    with Server("--limit", "body_bytes=20000", "--limit", "json_depth=8", "--limit", "connections=40") as s:
        got, _ = s.raw(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n")
        check(status_of(got) == 414, f"long line: {got[:200]}")
        many = b"".join(b"X-%d: y\r\n" % i for i in range(120))
        got, _ = s.raw(b"GET /health HTTP/1.1\r\n" + HOST + many + b"\r\n")
        check(status_of(got) == 431, f"many headers: {got[:200]}")
        got, _ = s.raw(b"GET /health HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 17000 + b"\r\n\r\n")
        check(status_of(got) == 431, f"large header: {got[:200]}")
        got, ended = s.raw(b"GET /health HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: %s\r\n" % (i, b"z" * 50) for i in range(3000)))
        check(status_of(got) in (0, 400, 413, 431) and ended, f"endless headers: {got[:200]}")
        for n in (20001, 60000):
            got, _ = s.raw(post + b"Content-Length: %d\r\n\r\n" % n + b" " * n)
            check(status_of(got) == 413, f"a body of {n}: {got[:200]}")
        got, ended = s.raw(post + b"Content-Length: 100000000000\r\n\r\n" + b" " * 5000)
        check(status_of(got) == 413 and ended, f"a body announced too large: {got[:200]}")
        got, _ = s.raw(post + b"Content-Length: 30000\r\nExpect: 100-continue\r\n\r\n")
        check(status_of(got) == 413 and b"100 Continue" not in got, f"Expect: {got[:200]}")
        got, _ = s.raw(post + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b" " * 4096 + b"\r\n" +
                       b"4000\r\n" + b" " * 16384 + b"\r\n0\r\n\r\n")
        check(status_of(got) == 413, f"chunks too many: {got[:200]}")
        got, ended = s.raw(post + b"Transfer-Encoding: chunked\r\n\r\n" + (b"4000\r\n" + b" " * 16384 + b"\r\n") * 100)
        check(status_of(got) in (0, 413) and ended, f"endless chunks: {got[:200]}")
        # Connections beyond the limit wait, and the others live.
        idle = [s.connect() for _ in range(39)]
        time.sleep(0.2)
        check(s.ask("GET", "/health")[0] == 200, "39 idle connections")
        more = [s.connect() for _ in range(20)]
        for c in idle + more:
            c.close()
        check(wait_until(lambda: b"tern_connections 1\n" in s.ask("GET", "/metrics")[2]), "connections stay")
    with Server("--limit", "bodies_bytes=30000") as s:
        slow = s.connect()
        slow.sendall(post + b"Content-Length: 25000\r\n\r\n" + b" " * 24000)
        time.sleep(0.3)
        got, _ = s.raw(post + b"Content-Length: 10000\r\n\r\n" + b" " * 10000)
        check(status_of(got) == 503 and b"Retry-After: " in got, f"all bodies: {got[:200]}")
        slow.close()
        check(wait_until(lambda: status_of(s.raw(post + b"Content-Length: 10000\r\n\r\n" +
                                                 b" " * 10000)[0]) == 400), "bodies stay counted")


def bodies():
    """At least two thousand bodies that are no requests: only 4xx, and never what they hold in the answer."""
    canary = "Zq7canaryQ9"
    bad = ["", " ", "{", "}", "[]", "null", "1", '"x"', "{}{}", '{"a":1,"a":2}', "{" * 50, '{"a":' * 70 + "1" + "}" * 70,
           "[" * 1000, '{"a":1e999}', '{"a":"\ud800"}', '{"a":"\\ud800"}', "{'a':1}", '{"a":NaN}', '{"a":01}', "\ufeff{}",
           '{"%s"' % canary, '{"a":%s}' % canary, '{"a":"%s}' % canary, '{"%s":1,"%s":2}' % (canary, canary)]
    valid = '{"prompt":"%s","max_tokens":1,"stream":false}' % canary
    with Server() as s:
        if s.ask("POST", POST, {})[0] == 404:
            return
        c = socket.create_connection(("127.0.0.1", s.port))
        f = c.makefile("rb")
        seen = {}

        def post(body):
            nonlocal c, f
            c.sendall(b"POST " + POST.encode() + b" HTTP/1.1\r\n" + HOST +
                      b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            line = f.readline()
            size, close = 0, False
            while True:
                h = f.readline().lower()
                if h in (b"\r\n", b""):
                    break
                if h.startswith(b"content-length:"):
                    size = int(h.split(b":")[1])
                close = close or h.startswith(b"connection: close")
            reply = f.read(size)
            if close:
                c.close()
                c = socket.create_connection(("127.0.0.1", s.port))
                f = c.makefile("rb")
            status = int(line.split()[1])
            seen[status] = seen.get(status, 0) + 1
            return status, reply

        bodies = [b.encode("utf-8", "surrogatepass") for b in bad]
        bodies += [valid[:i].encode() for i in range(1, len(valid) - 1)]
        for i in range(1950):  # one byte that does not belong there
            at, byte = i % len(valid), 1 + (i * 7) % 31
            byte = 1 if byte in b"\t\n\r" else byte  # these may stand between words
            bodies.append(valid[:at].encode() + bytes([byte]) + valid[at:].encode())
        for body in bodies:
            status, reply = post(body)
            check(400 <= status < 500, f"{body[:80]}: {status}")
            check(canary.encode() not in reply, f"repeats what was sent: {reply}")
        check(sum(seen.values()) >= 2000, f"{seen}")
        check(s.p.poll() is None, "the server ended")
        c.close()


def names():
    """Host on loopback, Origin, CORS."""
    with Server("--allow-host", "tern.example") as s:
        for host in ("localhost", f"127.0.0.1:{s.port}", "[::1]", "[::1]:80", "LOCALHOST:1", "tern.example:8376", "127.1.2.3"):
            check(s.ask("GET", "/health", headers={"Host": host})[0] == 200, f"Host {host}")
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost:x", "", "evil@localhost",
                     "tern.example.evil"):
            status, _, body = s.ask("GET", "/health", headers={"Host": host})
            check(status == 403 and error_of(body) == "host_not_allowed", f"Host {host!r}: {status}")
        at = f"127.0.0.1:{s.port}"
        status, headers, _ = s.ask("GET", "/health", headers={"Origin": f"http://{at}"})
        check(status == 200 and "Access-Control-Allow-Origin" not in headers, "our own page")
        for origin in ("https://evil.example", "null", "file://", f"http://{at}.evil.example", "http://localhost:1"):
            status, headers, body = s.ask("GET", "/health", headers={"Origin": origin})
            check(status == 403 and error_of(body) == "origin_not_allowed", f"Origin {origin}: {status}")
            check("Access-Control-Allow-Origin" not in headers, f"Origin {origin}")
        status, headers, _ = s.ask("OPTIONS", POST, headers={"Origin": "https://evil.example",
                                                            "Access-Control-Request-Method": "POST"})
        check(status == 403 and "Access-Control-Allow-Methods" not in headers, "a preflight")
    with Server("--cors-origin", "https://a.example", "--cors-origin", "http://b.example:3000", "--api-key", "secret-key-1") as s:
        for origin in ("https://a.example", "http://b.example:3000"):
            status, headers, _ = s.ask("OPTIONS", "/ready", headers={
                "Origin": origin, "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "authorization, content-type"})
            check(status == 204 and headers["Access-Control-Allow-Origin"] == origin, f"preflight of {origin}: {status}")
            check("GET" in headers["Access-Control-Allow-Methods"] and
                  "authorization" in headers["Access-Control-Allow-Headers"] and headers["Vary"] == "Origin", f"{headers}")
            check("Access-Control-Allow-Credentials" not in headers, "credentials")
            status, headers, _ = s.ask("GET", "/ready", headers={"Origin": origin})
            check(status == 401 and headers["Access-Control-Allow-Origin"] == origin, "an error cannot be read")
        check(s.ask("GET", "/health", headers={"Origin": "https://c.example"})[0] == 403, "another origin")
    with Server("--cors-origin", "*") as s:
        status, headers, _ = s.ask("GET", "/health", headers={"Origin": "https://any.example"})
        check(status == 200 and headers["Access-Control-Allow-Origin"] == "*", "*")


def slow():
    """Slow senders are cut when their time is over, and not before."""
    with Server("--limit", "header_s=1", "--timeout", "1", "--limit", "idle_s=2") as s:
        begin = time.monotonic()
        silent, dripping, body, idle, kept = (s.connect() for _ in range(5))
        dripping.sendall(b"GET /health HTTP/1.1\r\n")
        body.sendall(b"POST " + POST.encode() + b" HTTP/1.1\r\n" + HOST +
                     b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n")
        kept.sendall(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
        check(kept.recv(4096).startswith(b"HTTP/1.1 200"), "health")
        end = {}
        while len(end) < 4 and time.monotonic() - begin < 30:
            time.sleep(0.1)
            for name, c in (("silent", silent), ("dripping", dripping), ("body", body), ("kept", kept)):
                if name in end:
                    continue
                try:
                    if name in ("dripping", "body"):
                        c.sendall(b"X" if name == "body" else b"X: y\r\n")
                    c.setblocking(False)
                    if c.recv(4096) == b"":
                        end[name] = time.monotonic() - begin
                    c.setblocking(True)
                except BlockingIOError:
                    c.setblocking(True)
                except OSError:
                    end[name] = time.monotonic() - begin
        for name, least in (("silent", 0.9), ("dripping", 0.9), ("body", 0.9), ("kept", 1.9)):
            check(least <= end.get(name, 99) <= 15, f"{name}: cut after {end.get(name)} s")
        idle.close()
        s.expect(r" 499 ")
        check(s.ask("GET", "/health")[0] == 200, "the server is gone")


run_all([routes, framing, limits, full_house, bodies, names, slow])
