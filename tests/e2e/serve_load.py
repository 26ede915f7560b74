"""Many clients of `tern serve` at a time: those that vanish, that take nothing, that are too many; reloads and the end
while they work. TERN_TEST_LONG=1: hundreds of them."""
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serve import POST, TERN, Server, check, error_of, run_all, wait_until  # noqa: E402

LONG = os.environ.get("TERN_TEST_LONG") == "1"
MODEL = "models/test/stories260K.gguf"
with open(TERN, "rb") as program:
    PLAIN = re.search(rb"__[at]san_init", program.read()) is None  # sanitizers have memory of their own


def job(tokens=400, **more):
    return dict({"model": "x", "prompt": "Once upon a time", "max_tokens": tokens, "temperature": 0, "ignore_eos": True}, **more)


def send(s, body, rcvbuf=None, path=POST, key=None):
    """A request on a connection of its own, whose reply is not read."""
    c = s.connect(rcvbuf=rcvbuf)
    data = json.dumps(body).encode()
    auth = f"Authorization: Bearer {key}\r\n" if key else ""
    c.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{auth}"
              f"Connection: close\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
    return c


def gauge(s, name):
    m = re.search(rb"^%s (\S+)$" % name.encode(), s.ask("GET", "/metrics")[2], re.M)
    return float(m.group(1))


def busy(s):
    return [x for x in json.loads(s.ask("GET", "/slots")[2]) if x["is_processing"]]


def texts(reply):
    """The text of a stream's events, and whether it came to its end."""
    events = [x[6:] for x in reply.decode().split("\r\n\r\n", 1)[-1].split("\n") if x.startswith("data: ")]
    return events


def vanish():
    """A client that goes away frees its place at once: queued, in prefill, in decode. Others see nothing of it."""
    with Server(MODEL, "-np", "2", "--any-model") as s:
        status, _, alone = s.ask("POST", POST, job(200, seed=7, temperature=1))
        check(status == 200, f"{status} {alone}")
        alone = json.loads(alone)["choices"][0]["text"]
        times, last = {}, []

        def neighbour():
            last.append(json.loads(s.ask("POST", POST, job(200, seed=7, temperature=1))[2])["choices"][0]["text"])

        rounds = 1000 if LONG else 12
        for i in range(rounds):
            kind = ("decode", "prefill", "queued")[i % 3]
            t = threading.Thread(target=neighbour)
            t.start()
            if kind == "queued":
                a, b = send(s, job(480)), send(s, job(480))
                wait_until(lambda: gauge(s, "tern_requests_running") >= 2)
                c = send(s, job(480, stream=True))
                wait_until(lambda: gauge(s, "tern_requests_queued") >= 1)
                before = gauge(s, "tern_requests_queued")
                c.close()
                begin = time.monotonic()
                wait_until(lambda: gauge(s, "tern_requests_queued") < before)
                a.close()
                b.close()
            else:
                before = gauge(s, "tern_cancelled_total")
                prompt = "Once upon a time there was a dog. " * (13 if kind == "prefill" else 1)
                c = send(s, job(480 if kind == "decode" else 100, prompt=prompt, stream=True))
                if kind == "decode":
                    c.recv(1000)
                else:
                    time.sleep(0.002)
                c.close()
                begin = time.monotonic()
                wait_until(lambda: gauge(s, "tern_cancelled_total") > before or gauge(s, "tern_requests_running") <= 1)
            times.setdefault(kind, []).append(time.monotonic() - begin)
            t.join()
            check(wait_until(lambda: not busy(s)), f"round {i}: slots stay busy: {busy(s)}")
        check(all(x == alone for x in last) and len(last) == rounds, "a neighbour's text changed")
        rows = [int(x) for x in re.findall(rb'^tern_batch_rows_bucket\{le="[0-9+Inf]+"\} (\d+)$', s.ask("GET", "/metrics")[2], re.M)]
        check(len(rows) == 9 and rows == sorted(rows) and rows[0] < rows[2], f"rows of passes: {rows}")
        check(rows[-1] == gauge(s, "tern_batch_rows_count") == gauge(s, "tern_passes_total"), f"rows of passes: {rows}")
        check(gauge(s, "tern_batch_rows_sum") == gauge(s, "tern_batch_rows_total"), "sum of rows")
        for kind, t in times.items():
            t.sort()
            print(f"vanish: {kind}: median {1000 * t[len(t) // 2]:.1f} ms, longest {1000 * t[-1]:.1f} ms")
            # The bound is for a machine that has a core to spare; a test machine may not.
            check(t[len(t) // 2] <= 0.25, f"{kind}: {t}")
        s.expect(r" 499 ")


def full():
    """Ten times what fits: the rest is told at once to come again, and what was admitted finishes."""
    with Server(MODEL, "-np", "2", "--queue", "2", "--any-model") as s:
        results, times = [], []

        def one():
            begin = time.monotonic()
            status, headers, body = s.ask("POST", POST, job(480))
            results.append((status, headers["Retry-After"], body))
            if status != 200:
                times.append(time.monotonic() - begin)

        threads = [threading.Thread(target=one) for _ in range(40)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        ok = [json.loads(b) for st, _, b in results if st == 200]
        refused = [(st, after, b) for st, after, b in results if st != 200]
        check(len(ok) >= 4 and len(ok) + len(refused) == 40, f"{len(ok)} {len(refused)}")
        check(all(x["usage"]["completion_tokens"] == 480 for x in ok), "an admitted one did not finish")
        check(all(st == 503 and int(after) >= 1 and error_of(b) for st, after, b in refused), f"{refused[:2]}")
        times.sort()
        if times:
            print(f"full: {len(refused)} refused, median {1000 * times[len(times) // 2]:.1f} ms")
    with open_keys("parallel-key-1 parallel=1\nrate-key-00001 rpm=2\n") as path:
        with Server(MODEL, "--any-model", "--api-key-file", path) as s:
            auth = {"Authorization": "Bearer rate-key-00001"}
            got = [s.ask("POST", POST, job(1), auth) for _ in range(3)]
            check([x[0] for x in got] == [200, 200, 429], f"{[x[0] for x in got]}")
            check(int(got[2][1]["Retry-After"]) >= 1 and error_of(got[2][2]) == "rate_limit_exceeded", f"{got[2]}")
            check(json.loads(got[2][2])["error"]["type"] == "rate_limit_error", f"{got[2]}")
            check(s.ask("GET", "/ready", headers=auth)[0] == 200, "looking is limited too")
            check(b"tern_rate_limited_total 1\n" in s.ask("GET", "/metrics", headers=auth)[2], "metrics")
            check(s.ask("POST", POST, job(1), {"x-api-key": "parallel-key-1"})[0] == 200, "another key")


class open_keys:
    def __init__(self, text):
        self.path = f"/tmp/tern-keys-{os.getpid()}"
        with open(self.path, "w") as f:
            f.write(text)

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        os.unlink(self.path)


def stall():
    """A reader that takes nothing is held, then cut; one that pauses gets all."""
    with Server(MODEL, "-np", "2", "--any-model", "--timeout", "2", "--log-format", "json") as s:
        big = job(480, stream=True, logprobs=5, n=8)
        status, _, whole = s.ask("POST", POST, big)
        check(status == 200 and len(whole) > 1000000, f"{len(whole)} bytes")
        slow = send(s, big, rcvbuf=4096)
        held = wait_until(lambda: any(x.get("is_held") for x in busy(s)), 20)
        check(held, "a stalled reader's job is not held")
        got = 0
        try:  # takes something now and then, so it is not cut, and in the end it gets everything
            while True:
                part = slow.recv(65536)
                if not part:
                    break
                got += len(part)
                if got % 5 == 0:
                    time.sleep(0.02)
        except socket.timeout:
            pass
        check(got >= len(whole), f"a slow reader got {got} of {len(whole)}")
        stalled = send(s, big, rcvbuf=4096)
        begin = time.monotonic()
        s.expect(r'"status":499', 60)
        took = time.monotonic() - begin
        check(1.5 <= took <= 20, f"cut after {took:.1f} s")
        check(wait_until(lambda: not busy(s)), "its slots stay busy")
        stalled.close()
        check(s.ask("POST", POST, job(5))[0] == 200, "nobody is served")


def stalled():
    """Many readers that take nothing, where few slots are: each is held and then cut, and meanwhile others are served."""
    n, n_slot, stall_s = (200, 8, 8) if LONG else (16, 2, 3)
    big = {"prompt": "Once upon a time", "n_predict": 4096, "temperature": 0, "ignore_eos": True, "stream": True, "n_probs": 20}
    keys = {"crowd": "crowd-key-00001", "normal": "normal-key-0001"}
    with open_keys("".join(f"{key} name={name}\n" for name, key in keys.items())) as path:
        with Server(MODEL, "-np", str(n_slot), "-c", "4608", "--queue", str(n), "--any-model", "--api-key-file", path,
                    "--limit", f"stall_s={stall_s}") as s:
            auth = {"Authorization": "Bearer " + keys["normal"]}

            def gauge(name):
                return float(re.search(rb"^%s (\S+)$" % name.encode(), s.ask("GET", "/metrics", headers=auth)[2], re.M).group(1))

            def answer(key):
                """Seconds to the first token, and the text."""
                begin = time.monotonic()
                c = send(s, job(40, stream=True), key=keys[key])
                got, first = b"", None
                while True:
                    part = c.recv(65536)
                    if not part:
                        break
                    got += part
                    if first is None and b"data: " in got:
                        first = time.monotonic() - begin
                c.close()
                return first, "".join(json.loads(e)["choices"][0]["text"] for e in texts(got) if e != "[DONE]")

            want = answer("normal")[1]
            before = s.rss()
            stop, times, bad = threading.Event(), [], []

            def normal():
                while not stop.is_set():
                    first, text = answer("normal")
                    times.append(first)
                    if text != want:
                        bad.append(text)
                    time.sleep(0.02)

            begin = time.monotonic()
            readers = [send(s, big, rcvbuf=4096, path="/completion", key=keys["crowd"]) for _ in range(n)]
            thread = threading.Thread(target=normal)
            thread.start()
            most, all_had_slots = 0, None

            def cut():
                nonlocal most, all_had_slots
                time.sleep(0.1)
                most = max(most, s.rss() - before)
                if all_had_slots is None and gauge("tern_requests_queued") == 0:
                    all_had_slots = time.monotonic() - begin
                    first, text = answer("crowd")
                    check(text == want, f"{text!r}")
                    print(f"stalled: all had a slot after {all_had_slots:.1f} s, another one of theirs its first token {1000 * first:.1f} ms later")
                return sum(" 499 " in x for x in s.lines if x)

            check(wait_until(lambda: cut() == n, 300), f"{cut()} of {n} were cut")
            took = time.monotonic() - begin
            stop.set()
            thread.join()
            seconds = [float(re.search(r" 499 ([0-9.]+)s", x).group(1)) for x in s.lines if x and " 499 " in x]
            check(min(seconds) >= stall_s, f"cut after {min(seconds)} s")
            check(all_had_slots and took <= all_had_slots + stall_s + 15, f"the last one after {took:.1f} s, slots for all after {all_had_slots}")
            check(not bad and times, f"{len(bad)} of {len(times)}: {bad[:1]}")
            if PLAIN:
                check(most <= n * (1 << 20) + (16 << 20), f"{most / n:.0f} bytes each")
            times.sort()
            print(f"stalled: {n} readers, {n_slot} slots: cut after {min(seconds):.1f} to {max(seconds):.1f} s, {took:.1f} s in all; "
                  f"{len(times)} others had their first token after {1000 * times[len(times) // 2]:.1f} ms, {1000 * times[-1]:.0f} ms at most; "
                  f"{most / n / 1024:.0f} KiB each")
            check(wait_until(lambda: gauge("tern_requests_running") == 0), "slots stay busy")
            for c in readers:
                c.close()


def rest():
    """A server with nothing to do but to say that it is well gives back what the replies before took."""
    with Server(MODEL, "--any-model") as s:
        def ask(n, tokens):
            for _ in range(n):
                status, _, _ = s.ask("POST", POST, job(tokens, logprobs=5, n=2))
                check(status == 200, status)

        def fallen():
            check(s.ask("GET", "/health")[0] == 200, "not well")
            return s.rss() - before < max(5 << 20, most / 3)

        ask(1, 4)
        time.sleep(2.5)
        before = s.rss()
        threads = [threading.Thread(target=ask, args=(3, 400)) for _ in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        most = s.rss() - before
        low = wait_until(fallen)
        print(f"rest: {most / 1e6:.1f} MB more after the replies, then {(s.rss() - before) / 1e6:.1f}")
        check(low or not PLAIN, "memory stays")


def idle():
    """Connections that nobody uses take little memory, and answer as before when they are used again."""
    n = 1000
    with Server(MODEL, "--any-model", "--limit", "connections=2000", "--limit", "header_s=60") as s:
        def take(c, n=1):
            """Whether n good answers came."""
            got = b""
            while got.count(b'"status"') < n:
                part = c.recv(65536)
                if not part:
                    return False
                got += part
            return got.count(b"HTTP/1.1 200 ") == n

        def ask(c):
            c.sendall(small)
            return take(c)

        small = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        first = [s.connect() for _ in range(100)]
        for c in first:
            ask(c)
        before = s.rss()
        conns = [s.connect() for _ in range(n)]
        ask(first[0])
        never = (s.rss() - before) / n
        check(all([ask(c) for c in conns]), "no answer")
        once = (s.rss() - before) / n
        # in pieces, so that there is a part of a head in the memory of many while others come and go
        large = small[:-2] + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 1500) for i in range(8)) + b"\r\n"
        for cut in (7, 5000, len(large) - 3):
            for i in range(0, n, 100):
                part = conns[i:i + 100]
                for c in part:
                    c.sendall(large[:cut])
                check(all([ask(c) for c in first]), "no answer beside heads in pieces")
                for c in part:
                    c.sendall(large[cut:])
                check(all([take(c) for c in part]), f"bad answers to heads in pieces of {cut}")
        for c in conns:
            c.sendall(2 * small)  # the second is there when the first ends
        check(all([take(c, 2) for c in conns]), "bad answers to two requests at once")
        for c in first[:50]:  # some end: those that wait longest are among them
            c.sendall(small.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            c.close()
        check(all([ask(c) for c in conns]), "no answer")
        large = (s.rss() - before) / n
        print(f"idle: a connection takes {never:.0f} bytes before its first request, {once:.0f} after one, {large:.0f} after some")
        if PLAIN:
            check(max(never, once, large) <= 16384, f"{never}, {once}, {large} bytes")
        for c in first + conns:
            c.close()


def reload():
    """SIGHUP while clients work: no request is lost, and no stream is cut."""
    n_reload = 100 if LONG else 4
    with Server(MODEL, "-np", "4", "--any-model") as s:
        stop = threading.Event()
        bad, done = [], [0] * 4
        want = json.loads(s.ask("POST", POST, job(60))[2])["choices"][0]["text"]

        def client(i):
            while not stop.is_set():
                try:
                    if i % 2:
                        status, _, body = s.ask("POST", POST, job(60))
                        text = json.loads(body)["choices"][0]["text"] if status == 200 else None
                    else:
                        status, _, body = s.ask("POST", POST, job(60, stream=True))
                        events = texts(body)
                        text = "".join(json.loads(e)["choices"][0]["text"] for e in events[:-1]
                                       if json.loads(e).get("choices"))
                        text = text if events[-1] == "[DONE]" else None
                    if status != 200 or text != want:
                        bad.append((status, body[-300:]))
                    done[i] += 1
                except OSError as e:
                    bad.append(e)

        threads = [threading.Thread(target=client, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        for _ in range(n_reload):
            at = len(s.lines)
            before = sum(done)
            s.p.send_signal(signal.SIGHUP)
            s.expect("info: reloaded", begin=at)
            wait_until(lambda: sum(done) > before + 2 or bad)
        stop.set()
        for t in threads:
            t.join()
        check(not bad and min(done) > 0, f"{len(bad)} lost of {sum(done)}: {bad[:2]}")
        print(f"reload: {n_reload} reloads, {sum(done)} requests")
        check(b"tern_reloads_total %d\n" % n_reload in s.ask("GET", "/metrics")[2], "metrics")


def drain():
    """SIGTERM while a stream runs: it finishes, or it ends with an error; the exit status is 0."""
    for i in range(200 if LONG else 4):
        late = i % 2
        with Server(MODEL, "-np", "1", "--any-model", "--drain", "0.05" if late else "30") as s:
            clients = [send(s, job(480, stream=True, n=4 if late else 1)), send(s, job(480 if late else 10))]
            first = clients[0].recv(2000)
            time.sleep(random.random() * 0.01)
            s.p.send_signal(signal.SIGTERM)
            replies = []
            for c in clients:
                got = first if c is clients[0] else b""
                while True:
                    try:
                        part = c.recv(65536)
                    except OSError:
                        break
                    if not part:
                        break
                    got += part
                replies.append(got)
            check(s.end() == 0, f"exit status {s.p.returncode}")
            events = texts(replies[0])
            if late:
                check(b"0\r\n\r\n" in replies[0][-7:], f"a stream was cut: {replies[0][-200:]}")
                check(b'"error"' in replies[0] or events[-1] == "[DONE]", f"no error event: {replies[0][-300:]}")
                check(re.match(rb"HTTP/1.1 (503|200) ", replies[1]), f"late: {replies[1][:300]}")
            else:
                check(b"data: [DONE]" in replies[0], f"a stream did not finish: {replies[0][-300:]}")
                check(replies[1].startswith(b"HTTP/1.1 200 ") or replies[1].startswith(b"HTTP/1.1 503 "), f"{replies[1][:200]}")


# Holds connections in a process of its own, so that what it costs is not what the server costs: idle ones have asked
# once, slow ones send a byte of a header a second.
HOLDER = r"""
import os, select, socket, sys, time
os.nice(5)
port, n_idle, n_slow = map(int, sys.argv[1:])
def connect():
    c = socket.socket()
    c.connect(("127.0.0.1", port))
    return c
idle, slow = [connect() for _ in range(n_idle)], [connect() for _ in range(n_slow)]
for c in idle:
    c.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    c.recv(4096)
for c in slow:
    c.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
print("ready", flush=True)
begin, n = time.monotonic(), 0
while not select.select([0], [], [], 0 if n_slow else 1)[0]:
    if n_slow:
        slow[n % n_slow].sendall(b"x")
        n += 1
        time.sleep(max(0, begin + n / n_slow - time.monotonic()))
"""


def crowd():
    """500 slow senders are cut; normal clients see little of them and of 1,000 idle connections."""
    if not LONG:
        return
    kinds = {"alone": (0, 0), "1,000 idle": (1000, 0), "1,000 idle and 500 slow": (1000, 500)}
    got = {kind: [] for kind in kinds}
    many = ("-np", "4", "--any-model", "--limit", "connections=2000")
    with Server(MODEL, *many, "--limit", "header_s=600", "--limit", "idle_s=600") as s:
        def first_token():
            begin = time.monotonic()
            c = send(s, job(20, stream=True))
            data = b""
            while b"data: " not in data:
                data += c.recv(4096)
            took = time.monotonic() - begin
            c.close()
            return took

        for _ in range(7):  # in turns, as a machine is not equally fast all the time
            for kind, n in kinds.items():
                holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(s.port), *map(str, n)],
                                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                check(holder.stdout.readline() == b"ready\n", "no crowd")
                got[kind].append(sorted(first_token() for _ in range(200)))
                holder.stdin.close()
                holder.stdout.close()
                check(holder.wait(60) == 0, "the crowd was cut")
    middle = {kind: statistics.median(x[100] for x in v) for kind, v in got.items()}
    for kind, v in got.items():
        p99 = [x[197] for x in v]
        ratio = statistics.median(x / y[197] for x, y in zip(p99, got["alone"]))
        print(f"crowd: first token, {kind}: median {1000 * middle[kind]:.2f} ms, p99 {1000 * statistics.median(p99):.2f} ms, "
              f"{ratio:.2f} times that alone")
        # The promise is a tenth of p99, of a machine that has nothing else to do. A test machine has.
        check(middle[kind] <= 1.5 * middle["alone"] + 0.002, f"{kind}: {middle}")
    with Server(MODEL, *many, "--limit", "header_s=5") as s:
        slow = [s.connect() for _ in range(500)]
        begin = time.monotonic()
        alive = set(range(500))
        while alive and time.monotonic() - begin < 60:
            for i in list(alive):
                try:
                    slow[i].sendall(b"X")
                    slow[i].setblocking(False)
                    if slow[i].recv(100) == b"":
                        alive.discard(i)
                except BlockingIOError:
                    pass
                except OSError:
                    alive.discard(i)
            time.sleep(0.5)
        took = time.monotonic() - begin
        print(f"crowd: slow senders were cut after {took:.1f} s")
        check(not alive and took <= 5 + 15, f"{len(alive)} slow senders live after {took:.0f} s")


def brisk():
    """Connections that come and go as fast as they can all have their answer."""
    with Server(MODEL, "-np", "4", "--any-model") as s:
        short = []

        def client():
            for _ in range(1250 if LONG else 200):
                c = send(s, job(2, stream=True))
                reply = b""
                while True:
                    part = c.recv(65536)
                    if not part:
                        break
                    reply += part
                c.close()
                if b"[DONE]" not in reply:
                    short.append(reply)

        threads = [threading.Thread(target=client) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        check(not short, f"{len(short)} connections were closed early, the first after {short[:1]}")


run_all([vanish, full, stall, stalled, idle, rest, reload, drain, brisk, crowd])
