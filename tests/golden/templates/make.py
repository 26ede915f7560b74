#!/usr/bin/env python3
"""Render every template with Jinja2, set up as transformers' _compile_jinja_template does, and write
what it gives: expected/<template>.json for models/*.jinja x conversations.json, and snippets.json for
snippets.txt. Needs Jinja2 >= 3.1.6 (made with Python 3.11). Run it here; the files it writes are
compared by tests/unit/text_template.c."""
import datetime
import glob
import json
import os
import re

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = 1767616496  # 2026-01-05 12:34:56 UTC, a Monday
FULL = 1000       # longer renderings are kept as length, hash and both ends

ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_run"), [], [], body).set_lineno(line)

    def _run(self, caller):
        return caller()


class Dict:
    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)


class Namespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        attrs = dict(*args, **kwargs)
        for name in attrs:
            Namespace._check(name)
        jinja2.utils.Namespace.__init__(self, attrs)

    def __setitem__(self, name, value):
        Namespace._check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def _check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError("underscore")


class Raised(jinja2.exceptions.TemplateError):
    pass


def environment():
    def raise_exception(message):
        raise Raised(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    def strftime_now(format):
        return datetime.datetime.utcfromtimestamp(NOW).strftime(format)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    env.globals["dict"] = Dict()
    env.globals["namespace"] = Namespace
    return env


ENV = environment()


def render(source, variables):
    """A string, {"raise": message} or {"fail": what Python said}."""
    try:
        return ENV.from_string(source).render(**variables)
    except Raised as e:
        return {"raise": str(e.message)}
    except jinja2.exceptions.TemplateSyntaxError as e:
        return {"syntax": e.message}
    except Exception as e:
        return {"fail": "%s: %s" % (type(e).__name__, str(e)[:60])}


def fnv(data):
    h = 0xcbf29ce484222325
    for b in data:
        h = (h ^ b) * 0x100000001b3 & 0xffffffffffffffff
    return "%016x" % h


def compact(r):
    if not isinstance(r, str) or len(r) <= FULL:
        return r
    data = r.encode()
    return {"bytes": len(data), "fnv": fnv(data), "head": r[:60], "tail": r[-60:]}


def write(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=0, separators=(",", ":"))
        f.write("\n")


def templates():
    with open("conversations.json", encoding="utf-8") as f:
        conversations = json.load(f)
    tokens = conversations.pop("tokens")
    os.makedirs("expected", exist_ok=True)
    for old in glob.glob("expected/*.json"):
        os.remove(old)
    for path in sorted(glob.glob("models/*.jinja")):
        name = os.path.basename(path)[:-6]
        with open(path, encoding="utf-8", newline="") as f:
            source = f.read()
        out, failed = {}, 0
        for c, variables in conversations.items():
            bos, eos = tokens.get(name, tokens["default"])
            r = render(source, {"bos_token": bos, "eos_token": eos, **variables})
            failed += isinstance(r, dict)
            out[c] = compact(r)
        write("expected/%s.json" % name, out)
        print("%-24s %3d ok %3d errors" % (name, len(out) - failed, failed))


def snippets():
    """snippets.txt: the variables, then one a line (\\n, \\r, \\t and \\\\ are escapes); '#' comments; a
    line starting '!' must be refused when it is compiled, whatever Jinja2 says."""
    with open("snippets.txt", encoding="utf-8") as f:
        lines = [l.rstrip("\n") for l in f]
    variables = json.loads(lines[0])
    out = {"vars": variables, "now": NOW, "cases": []}
    for line in lines[1:]:
        if not line or line.startswith("#"):
            continue
        refuse = line.startswith("!")
        source = re.sub(r"\\([nrt\\])", lambda m: ESCAPES[m[1]], line[refuse:])
        r = {"refuse": True} if refuse else render(source, variables)
        out["cases"].append([source, r])
    write("snippets.json", out)
    kinds = [list(r)[0] if isinstance(r, dict) else "text" for _, r in out["cases"]]
    print({k: kinds.count(k) for k in kinds})


os.chdir(os.path.dirname(os.path.abspath(__file__)))
templates()
snippets()
