"""A server under test and clients as unlike each other as clients are, with nothing but the standard library."""
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time

TERN = os.environ["TERN"]
POST = "/v1/completions"
# Machines that build pages of other projects at the same time are slow; what is checked for speed says so itself.
PATIENCE = 60


class Server:
    """`tern serve` on a port of its own, with its log."""

    def __init__(self, *args, env=None, wait=True, pass_fds=(), preexec=None, unix=None):
        self.lines = []
        self.url = self.port = None
        self.unix = unix
        place = ["--unix", unix] if unix else ["--port", "0"]
        if pass_fds:
            place = []
        self.p = subprocess.Popen([TERN, "serve", *place, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  env=dict(os.environ, **(env or {})), pass_fds=pass_fds, preexec_fn=preexec)
        self.told = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if wait:
            self.expect(r"^tern: serving ")
            where = re.search(r"listening at (\S+)", "\n".join(self.lines)).group(1)
            self.url = where
            if not where.startswith("unix:"):
                self.port = int(where.rsplit(":", 1)[1])

    def _read(self):
        for line in self.p.stderr:
            with self.told:
                self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self.told.notify_all()
        with self.told:
            self.lines.append(None)
            self.told.notify_all()

    def expect(self, pattern, seconds=PATIENCE, begin=0):
        """Wait for a line of the log; its match."""
        end = time.monotonic() + seconds
        at = begin
        with self.told:
            while True:
                while at < len(self.lines):
                    if self.lines[at] is None:
                        raise AssertionError(f"the server ended before {pattern!r}: {self.log()}")
                    m = re.search(pattern, self.lines[at])
                    if m:
                        return m
                    at += 1
                if not self.told.wait(max(0, end - time.monotonic())):
                    raise AssertionError(f"no {pattern!r} in the log: {self.log()}")

    def log(self):
        return "\n".join(x for x in self.lines if x is not None)

    def connect(self, timeout=PATIENCE, rcvbuf=None):
        if self.unix:
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(timeout)
            s.connect(self.unix)
            return s
        s = socket.socket()
        if rcvbuf:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        s.settimeout(timeout)
        s.connect(("127.0.0.1", self.port))
        return s

    def ask(self, method, path, body=None, headers=None, timeout=PATIENCE):
        """One request: status, headers, body."""
        c = http.client.HTTPConnection("127.0.0.1", self.port or 1, timeout=timeout)
        if self.unix:
            c.sock = self.connect(timeout)
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        c.request(method, path, body, headers)
        r = c.getresponse()
        data = r.read()
        c.close()
        return r.status, r.headers, data

    def raw(self, data, timeout=10, pieces=None, shut=False):
        """What comes back for these bytes until the end of the connection, and whether it ended."""
        s = self.connect(timeout)
        try:
            for part in pieces or [data]:
                s.sendall(part)
            if shut:
                s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        got, ended = b"", False
        try:
            while True:
                part = s.recv(65536)
                if not part:
                    ended = True
                    break
                got += part
        except socket.timeout:
            pass
        except OSError:
            ended = True
        s.close()
        return got, ended

    def rss(self):
        with open(f"/proc/{self.p.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) * 1024

    def stop(self, sig=signal.SIGTERM, seconds=PATIENCE):
        self.p.send_signal(sig)
        return self.end(seconds)

    def end(self, seconds=PATIENCE):
        try:
            rc = self.p.wait(seconds)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
            raise AssertionError(f"the server does not end: {self.log()}")
        self.reader.join(5)
        return rc

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGTERM)
            self.p.send_signal(signal.SIGCONT)
            try:
                self.p.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
        self.reader.join(5)
        if kind:
            print(self.log()[-3000:], file=sys.stderr)
        elif self.p.returncode not in (0, None) and not getattr(self, "may_fail", False):
            raise AssertionError(f"exit status {self.p.returncode}: {self.log()[-3000:]}")


n_checks = n_failed = 0


def check(ok, what):
    global n_checks, n_failed
    n_checks += 1
    if not ok:
        n_failed += 1
        frame = sys._getframe(1)
        print(f"FAILED: line {frame.f_lineno}: {what}")


def status_of(got):
    m = re.match(rb"HTTP/1\.1 (\d{3})", got)
    return int(m.group(1)) if m else 0


def error_of(data):
    """The code of an OpenAI error body; None: it is none."""
    try:
        e = json.loads(data)["error"]
        return e["code"] if set(e) == {"message", "type", "param", "code"} else None
    except (ValueError, KeyError, TypeError):
        return None


def wait_until(what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.01)
    return False


def run_all(tests):
    only = sys.argv[1:]
    for test in tests:
        if only and test.__name__ not in only:
            continue
        begin = time.monotonic()
        failed = n_failed
        try:
            test()
        except Exception as e:  # a broken test is a failed one; the others still tell something
            import traceback
            traceback.print_exc()
            check(False, f"{test.__name__}: {e}")
        print(f"{test.__name__}: {'ok' if n_failed == failed else 'FAILED'} ({time.monotonic() - begin:.2f} s)")
    print(f"{n_checks} checks, {n_failed} failed")
    sys.exit(n_failed != 0)
