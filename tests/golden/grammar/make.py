#!/usr/bin/env python3
"""Fixtures of tests/unit/sample_schema.c, sample_regex.c and sample_mask.c: verdicts of other software.

    make.py          needs the packages jsonschema and llguidance

schemas.json  schemas with texts that they must allow ("yes": valid for jsonschema, and written as
              docs/GRAMMAR.md says) and must not ("no": jsonschema or a parser of JSON refuses them)
regexes.json  patterns with texts, by Python's re.fullmatch
masks.json    a vocabulary of bytes and pieces, grammars, and which tokens may follow which, by llguidance
"""
import json
import random
import re
import sys
from pathlib import Path

import jsonschema
import llguidance

HERE = Path(__file__).parent
rng = random.Random(7)

# ---- schemas --------------------------------------------------------------------------------------

PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
          "required": ["name", "age"], "additionalProperties": False}
TREE = {"$defs": {"node": {"type": "object", "properties": {
    "v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
    "required": ["v"], "additionalProperties": False}}, "$ref": "#/$defs/node"}
OPTIONAL = {"type": "object", "properties": {k: {"type": "integer"} for k in "abcd"}, "additionalProperties": False}
SCHEMAS = [
    PERSON, TREE, OPTIONAL,
    {"type": "string"}, {"type": "string", "minLength": 2, "maxLength": 4}, {"type": "string", "maxLength": 0},
    {"type": "boolean"}, {"type": "null"}, {"type": "number"}, {"type": "integer"}, {"type": ["string", "null"]},
    {"type": ["integer", "boolean"]}, {"enum": ["a", "b\n\"", 1, 2.5, None, True, [1, {"x": 0}]]}, {"const": "only"},
    {"const": {"a": [1, 2], "b": "ü"}}, {"type": "string", "enum": ["x", 1, "y"]},
    {"type": "integer", "minimum": 0, "maximum": 130}, {"type": "integer", "minimum": -17, "maximum": 5},
    {"type": "integer", "exclusiveMinimum": 99, "exclusiveMaximum": 1001}, {"type": "integer", "maximum": -12},
    {"type": "integer", "minimum": 4096}, {"type": "integer", "minimum": 1.5, "maximum": 3.5},
    {"type": "number", "minimum": 0}, {"type": "number", "minimum": 0, "maximum": 1},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 2}, {"type": "number", "minimum": -3, "maximum": -1},
    {"type": "number", "exclusiveMaximum": 10}, {"type": "number", "exclusiveMinimum": -1, "maximum": 12},
    {"type": "array", "items": {"type": "integer"}}, {"type": "array", "items": {"type": "boolean"}, "minItems": 2},
    {"type": "array", "items": {"type": "null"}, "maxItems": 2},
    {"type": "array", "items": {"enum": [1, 2]}, "minItems": 1, "maxItems": 3}, {"type": "array"},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
    {"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "boolean"}, "maxItems": 3},
    {"type": "object"}, {"type": "object", "additionalProperties": {"type": "integer"}},
    {"type": "object", "properties": {"a": {"type": "integer"}, "ab": {"type": "integer"}}, "required": ["a"],
     "additionalProperties": {"type": "boolean"}},
    {"type": "object", "properties": {"a": {}, "é": {"type": "null"}}, "additionalProperties": True},
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}, "c": {"type": "integer"}},
     "required": ["b"], "additionalProperties": False},
    {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]},
    {"oneOf": [{"type": "string", "maxLength": 1}, PERSON]},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
               {"properties": {"b": {"type": "boolean"}}, "required": ["b"]}]},
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
     "additionalProperties": False, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
    {"allOf": [{"type": "integer", "minimum": 3}, {"type": "number", "maximum": 12}]},
    {"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"type": "string", "enum": ["p", "q"]}}},
    {"type": "object", "properties": {"p": {"$ref": "#/$defs/P", "description": "a point"}},
     "required": ["p"], "$defs": {"P": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}}},
    {"type": "string", "pattern": "^[a-z]{2}[0-9]+$"}, {"type": "string", "pattern": "ab|c$"},
    {"type": "string", "pattern": "^\"\\\\[^x]*$"}, {"type": "string", "format": "date"},
    {"type": "string", "format": "uuid"}, {"type": "string", "format": "ipv4"}, {"type": "string", "format": "email"},
    {"properties": {"x": {"type": "integer"}}, "required": ["x"]},
    {"type": "object", "properties": {"q\"\\": {"type": "integer"}}, "required": ["q\"\\"], "additionalProperties": False},
]
WORDS = ["", "a", "b", "ab", "x", "é", "only", "a b", "quote \" and \\", "😀", "line\nbreak", "12", "aa1", "zz42", "abc",
         "cab", "c", "\"\\y", "2024-02-28", "2023-13-01", "2024-02-30", "1999-12-31", "192.168.0.1", "256.1.1.1",
         "me@example.org", "12345678-1234-1234-1234-123456789abc", "12345678-1234-1234-1234-123456789ab", "p", "q", "y"]
NUMBERS = [0, 1, -1, 2, 3, 4, 5, 6, -3, -12, -13, -11, -17, -18, 7, 9, 10, 11, 12, 13, 99, 100, 130, 131, 1000, 1001, 4095, 4096,
           4097, 10000, 123456789, -123456, 0.5, -0.5, 1.5, 2.5, -1.5, -2.75, 9.999, 10.5, 0.001, 1.25, 11.5, 12.5, -3.5]


def value(depth):
    kind = rng.randrange(8 if depth else 5)
    if kind == 0:
        return rng.choice(WORDS)
    if kind < 3:
        return rng.choice(NUMBERS)
    if kind < 5:
        return rng.choice([True, False, None])
    if kind == 5:
        return [value(depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(["a", "b", "c", "d", "ab", "é", "name", "age", "v", "kids", "x", "p", "q\"\\"]): value(depth - 1)
            for _ in range(rng.randrange(4))}


def resolve(root, s):
    ref = s.get("$ref") if isinstance(s, dict) else None
    if not ref:
        return s
    for step in ref[2:].split("/"):
        root = root[step.replace("~1", "/").replace("~0", "~")]
    return root


def instance(root, s, depth=4):
    """Something near what s allows."""
    s = resolve(root, s)
    if rng.random() < 0.06 or not isinstance(s, dict) or not s:
        return value(2)
    if "enum" in s:
        return rng.choice(s["enum"])
    if "const" in s:
        return s["const"]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in s:
            if key == "allOf" or "properties" in s:
                merged = {**s, "properties": {k: v for x in [s, *s[key]] for k, v in x.get("properties", {}).items()}}
                merged["required"] = [k for x in s[key] for k in x.get("required", [])][:2]
                for x in s[key]:
                    merged |= {k: v for k, v in x.items() if k in ("type", "minimum", "maximum")}
                del merged[key]
                return instance(root, merged, depth)
            return instance(root, rng.choice(s[key]), depth)
    t = s.get("type", "object" if "properties" in s else None)
    if isinstance(t, list):
        t = rng.choice(t)
    if t == "object":
        out = {}
        for k, v in s.get("properties", {}).items():
            if k in s.get("required", []) and rng.random() < 0.95 or rng.random() < 0.5:
                out[k] = instance(root, v, depth - 1)
        if rng.random() < 0.3 and s.get("additionalProperties", "properties" not in s) is not False:
            extra = s.get("additionalProperties")
            out[rng.choice(["z", "abc", "aa", ""])] = instance(root, extra if isinstance(extra, dict) else {}, depth - 1)
        return out
    if t == "array":
        n = rng.randrange(4 if depth > 0 else 1)
        first = s.get("prefixItems", [])
        return [instance(root, first[i] if i < len(first) else s.get("items") or {}, depth - 1)
                for i in range(max(n, len(first) if rng.random() < 0.8 else 0))]
    if t == "string":
        return rng.choice(WORDS)
    if t in ("number", "integer"):
        return rng.choice(NUMBERS)
    if t == "boolean":
        return rng.choice([True, False])
    return None


def closed(root, s, v):
    """What docs/GRAMMAR.md adds to a schema: no names beside "properties" unless they are asked for, each in order,
    whole tuples."""
    s = resolve(root, s)
    if not isinstance(s, dict):
        return True
    if "type" not in s and "properties" in s and not isinstance(v, dict) and "allOf" not in s:
        return False  # "properties" alone means an object
    parts = [s] + [resolve(root, x) for key in ("allOf",) for x in s.get(key, [])]
    if isinstance(v, dict):
        props = {k: x for p in parts for k, x in p.get("properties", {}).items()}
        asked = [k for p in parts for k in p.get("required", [])]
        extra = s.get("additionalProperties")
        order = [k for k in props if k in v]
        if list(v)[:len(order)] != order:
            return False
        for k in list(v)[len(order):]:
            if (props or asked) and not extra:
                return False
        return all(closed(root, props.get(k, {}), x) for k, x in v.items())
    if isinstance(v, list):
        first = s.get("prefixItems", [])
        if len(v) < min(len(first), s.get("maxItems", len(first))):
            return False
        return all(closed(root, first[i] if i < len(first) else s.get("items", {}), x) for i, x in enumerate(v))
    return True


def any_closed(root, s, v):
    s = resolve(root, s)
    for key in ("anyOf", "oneOf"):
        if isinstance(s, dict) and key in s and "properties" not in s:
            return any(closed(root, x, v) and jsonschema.Draft202012Validator(x).is_valid(v) for x in s[key])
    return closed(root, s, v)


def make_schemas():
    rows = []
    for s in SCHEMAS:
        check = jsonschema.Draft202012Validator(s, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
        yes, no = set(), set()
        for _ in range(4000):
            v = instance(s, s)
            listed = "enum" in s or "const" in s  # these are written as they are
            text = json.dumps(v, ensure_ascii=False, separators=(",", ":") if listed else rng.choice([(",", ":"), (", ", ": ")]))
            if len(text) > 200:
                continue
            # whole floats as jsonschema sees them are integers; 1.0 is not how they are written here
            if not check.is_valid(v):
                no.add(text)
            elif any_closed(s, s, v) and "\\u" not in text:
                yes.add(text)
        for text in list(yes)[:8]:
            no |= {text + "x", text + " ", " " + text, text[:-1] + "\n", text.replace(":", " :") if ":" in text else text + ","}
        no = {t for t in no if t not in yes and t}
        rows.append({"schema": s, "yes": rng.sample(sorted(yes), min(12, len(yes))),
                     "no": rng.sample(sorted(no), min(16, len(no)))})
    lines = ",\n".join(json.dumps(r, ensure_ascii=False) for r in rows)
    (HERE / "schemas.json").write_text("[\n" + lines + "\n]\n")
    print(len(rows), "schemas", sum(len(r["yes"]) for r in rows), "yes", sum(len(r["no"]) for r in rows), "no")


# ---- patterns -------------------------------------------------------------------------------------

REGEXES = ["abc", "a|b|", "[a-c]+x?", "(ab|cd){2,3}", r"\d{4}-\d{2}", r"\w+\s\w+", r"[^\d\s]+", "a.c", "(a*)*b", "(?:x(?:y|z))*",
           r"\x41B\n", "[]a-]+", "[^]a]+", "é+[à-ü]?", "(?P<n>a)+?b*?", r"a{2}|a{4,}", r"\.\*\[\]", "x{1}y{0}z", "^ab$",
           r"[\w.]+@[\w]+\.(com|org)", r"\S\W\D", "[+-]?(0|[1-9][0-9]*)(\\.[0-9]+)?", "(a|ab)(c|bcd)(d*)", "[😀-😂]{1,2}", "a{3"]


def make_regexes():
    rows = []
    letters = "abcdxyzé10ABC -.@_\n[]*{,3😀😁à"
    for pattern in REGEXES:
        texts = {"", "abc", "ab", "2024-05", "a b", "aaaa", "a\nc", "axc", "me@x.com", "12.5", "-0", "01", "abcd", "a{3", "a{,2}"}
        for _ in range(3000):
            texts.add("".join(rng.choice(letters) for _ in range(rng.randrange(1, 7))))
        yes = sorted(t for t in texts if re.fullmatch(pattern, t, re.ASCII))
        no = sorted(t for t in texts if not re.fullmatch(pattern, t, re.ASCII))
        rows.append({"pattern": pattern, "yes": rng.sample(yes, min(8, len(yes))), "no": rng.sample(no, 10)})
    (HERE / "regexes.json").write_text("[\n" + ",\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n]\n")
    print(len(rows), "patterns", sum(len(r["yes"]) for r in rows), "yes")


# ---- masks ----------------------------------------------------------------------------------------

PIECES = ["ab", "abc", " a", "the", "ing", "12", "123", "2024", "é", "Ã", "à", "😀", "\":", "\": ", "\",", ", \"", "{\"", "}", "[[", "]]", "],", "((",
          "))", "+1", "(1", "-->", "<a", "true", "false", "null", "\n\n", "  ", "xyz", "yz", "foo", "bar", "foobar", "oba", "arfoo"]
RAW = [b"\xc3", b"\xa9x", b"\xf0\x9f", b"\x98\x80", b"\xf0\x9f\x98", b"\xe4\xb8", b"\x80\"", b"a\xc3"]


class Tokens:
    def __init__(self):
        self.tokens = [bytes([i]) for i in range(256)] + [p.encode() for p in PIECES] + RAW + [b"<|end|>"]
        self.eos_token_id = len(self.tokens) - 1
        self.bos_token_id = None
        self.special_token_ids = [self.eos_token_id]

    def __call__(self, text):
        return list(text.encode() if isinstance(text, str) else text)


# The same twice: for us, for llguidance.
GRAMMARS = [("regex", p, None) for p in
            ["(foo|bar)+", "[a-z ]{3,12}", "[0-9]{1,4}(-[0-9][0-9])?", "[^\"]*\"", "(é|à|😀|[一-龥])+", "a.{2}b?", "(ab|abc|yz)*x",
             "(true|false|null)(, (true|false|null))*", "\\[+\\]+", "[+-]?[0-9]+(\\.[0-9]+)?"]]
GRAMMARS += [
    ("gbnf", 'root ::= "[" (root ("," root)*)? "]"', 'start: "[" (start ("," start)*)? "]"'),
    ("gbnf", 'root ::= sum\nsum ::= atom ([+-] atom)*\natom ::= [0-9]+ | "(" sum ")"',
     'start: sum\nsum: atom (/[+-]/ atom)*\natom: /[0-9]+/ | "(" sum ")"'),
    ("gbnf", 'root ::= "<" name ">" (root | [^<>])* "</" name ">"\nname ::= "a" | "foo" | "bar"',
     'start: "<" name ">" (start | /[^<>]/)* "</" name ">"\nname: "a" | "foo" | "bar"'),
    ("gbnf", 'root ::= "x" [a-z]{0,2} "=" ([0-9]{1,3} | "(" root ")") ("," root)?',
     'start: /x[a-z]{0,2}=/ (/[0-9]{1,3}/ | "(" start ")") ("," start)?'),
]


def make_masks():
    words = Tokens()
    tok = llguidance.LLTokenizer(llguidance.TokenizerWrapper(words))
    n = len(words.tokens)
    rows, n_mask = [], 0
    for kind, text, lark in GRAMMARS:
        walks = []
        grammar = llguidance.LLMatcher.grammar_from_regex(text) if kind == "regex" else llguidance.LLMatcher.grammar_from_lark(lark)
        for _ in range(8):
            m = llguidance.LLMatcher(tok, grammar)
            assert not m.get_error(), m.get_error()
            ids, masks = [], []
            while len(ids) < 14:
                bits = m.compute_logit_bias()
                allowed = [i for i in range(n) if bits[i]]
                assert allowed, (text, ids)
                masks.append(sum(1 << i for i in allowed).to_bytes((n + 7) // 8, "little").hex())
                long = [i for i in allowed if len(words.tokens[i]) > 1]
                id = rng.choice(long) if long and rng.random() < 0.6 else rng.choice(allowed)
                if id == words.eos_token_id:
                    break
                ids.append(id)
                assert m.consume_token(id), (text, ids)
            n_mask += len(masks)
            walks.append({"ids": ids[:len(masks)], "masks": masks})
        rows.append({"kind": kind, "text": text, "walks": walks})
    # llguidance never lets a token of several bytes begin within a character: sample_mask.c looks at these itself
    skip = [i for i, t in enumerate(words.tokens) if len(t) > 1 and 0x80 <= t[0] < 0xc0]
    out = {"skip": skip, "tokens": [t.hex() for t in words.tokens], "end": words.eos_token_id, "grammars": rows}
    (HERE / "masks.json").write_text(json.dumps(out, ensure_ascii=False, indent=0) + "\n")
    print(len(rows), "grammars", n_mask, "masks of", n, "tokens")


if __name__ == "__main__":
    make_schemas()
    make_regexes()
    make_masks()
    sys.exit(0)
