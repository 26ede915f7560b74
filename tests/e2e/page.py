"""The page inside the program, over HTTP: headers, tags, encodings, keys, --no-webui. What it does in a browser is
tested in web/test."""
import base64
import gzip
import hashlib
import json
import re

from serve import Server, check, run_all

PATHS = ["/", "/bench"]


def committed(name):
    with open("web/dist/" + name, "rb") as f:
        return f.read()


def page():
    with Server() as s:
        html = committed("index.html")
        for path in PATHS:
            status, h, body = s.ask("GET", path)
            check(status == 200 and body == html, f"{path} is the page")
            check(h["Content-Type"] == "text/html; charset=utf-8", "its type")
            check("Content-Encoding" not in h and h["Vary"] == "Accept-Encoding", "nothing is compressed unasked")
            for name, value in [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"),
                                ("X-Frame-Options", "DENY"), ("Cache-Control", "no-cache")]:
                check(h[name] == value, name)
            packed, g, body = s.ask("GET", path, headers={"Accept-Encoding": "gzip"})
            check(packed == 200 and g["Content-Encoding"] == "gzip" and len(body) < len(html) / 2, "compressed")
            check(gzip.decompress(body) == html, "the same page")
            check(g["ETag"] != h["ETag"], "a tag for each form")
            for headers, tag in [({}, h["ETag"]), ({"Accept-Encoding": "gzip"}, g["ETag"])]:
                status, x, body = s.ask("GET", path, headers={**headers, "If-None-Match": tag})
                check(status == 304 and body == b"" and x["ETag"] == tag, "304 for its tag")
            check(s.ask("GET", path, headers={"If-None-Match": g["ETag"]})[0] == 200, "not for the other's")
            status, x, body = s.ask("HEAD", path)
            check(status == 200 and body == b"" and x["Content-Length"] == str(len(html)), "HEAD")
        policy = dict(x.split(" ", 1) for x in h["Content-Security-Policy"].split("; "))
        for tag, directive in [("script", "script-src"), ("style", "style-src")]:
            text = re.findall(rf"<{tag}>(.*?)</{tag}>", html.decode(), re.S)
            check(len(text) == 1, f"one {tag}")
            digest = base64.b64encode(hashlib.sha256(text[0].encode()).digest()).decode()
            check(policy[directive] == f"'sha256-{digest}'", f"the policy names the {tag} and no other")
        check(policy["default-src"] == "'none'" and policy["connect-src"] == "'self'", "nothing from elsewhere")
        check(policy["frame-ancestors"] == "'none'" and policy["require-trusted-types-for"] == "'script'", "frames, types")
        check(not re.search(rb"\son[a-z]+=\"|(src|href)=\"(?!data:)", html.split(b"<script>")[0]), "nothing is loaded")
        status, h, body = s.ask("GET", "/licenses.txt")
        check(status == 200 and body == committed("LICENSES.txt"), "licences")


def bench_info():
    with Server() as s:
        a = json.loads(s.ask("GET", "/bench/info")[2])
        b = json.loads(s.ask("GET", "/bench/info")[2])
        check(a["machine"]["read_bytes_per_s"] > 1e8 and a["machine"]["int8_macs_per_s"] > 1e8, "the machine is measured")
        check(a["machine"] == b["machine"], "once")
        c = json.loads(s.ask("GET", "/bench/info?measure=1")[2])
        check(c["machine"] != a["machine"] and c["machine"]["read_bytes_per_s"] > 1e8, "and when asked to")
        # 6 layers of (2 * (4 + 2) * 64 * 256 + 3 * 256 * 1024), as models/README.md has its shape
        check(a["model"]["n_mac"] == 5898240, "multiply-adds of a token")
        check(b["now"]["time_s"] > a["now"]["time_s"] and b["now"]["n_running"] == 0, "now")


def keys():
    with Server("--api-key", "sesame-sesame") as s:
        for path in PATHS + ["/licenses.txt"]:
            check(s.ask("GET", path)[0] == 200, f"{path} needs no key")
        check(s.ask("GET", "/bench/info")[0] == 401, "what the server does needs one")


def switched_off():
    with Server("--no-webui") as s:
        for path in PATHS + ["/licenses.txt", "/bench/info"]:
            check(s.ask("GET", path)[0] == 404, f"{path} is not there")
        check(s.ask("GET", "/health")[0] == 200, "the rest is")


def below_a_prefix():
    with Server("--api-prefix", "/llm") as s:
        check(s.ask("GET", "/llm/")[0] == 200 and s.ask("GET", "/llm/bench")[0] == 200, "below the prefix")
        check(s.ask("GET", "/bench")[0] == 404, "only there")


run_all([page, bench_info, keys, switched_off, below_a_prefix])
