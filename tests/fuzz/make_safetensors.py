#!/usr/bin/env python3
"""Make the seeds of the target safetensors. Needs nothing but Python. Inputs that once failed stand beside
them under other names."""
import json
import struct
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus" / "safetensors"
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def head(tensors, **more):
    """name -> (type, shape), one behind the other."""
    out, at = dict(more), 0
    for name, (kind, shape) in tensors.items():
        n = SIZES[kind]
        for d in shape:
            n *= d
        out[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + n]}
        at += n
    return json.dumps(out, separators=(",", ":")), at


def seed(name, body):
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / name).write_bytes(body)


def file(name, text, n_data, n_head=None, pad=0):
    body = text.encode() + b" " * pad
    seed(name, b"f" + struct.pack("<Q", len(body) if n_head is None else n_head) + body + bytes(range(256)) * (n_data // 256) +
         bytes(range(n_data % 256)))


def index(name, weights, *heads):
    seed(name, b"i" + b"\x1e".join([json.dumps(weights, separators=(",", ":")).encode()] + [h.encode() for h in heads]))


text, n = head({"w": ("U8", [2, 8]), "w_scale": ("BF16", [1])}, __metadata__={"format": "pt"})
file("packed", text, n, pad=3)
text, n = head({k: (k, [3]) for k in SIZES} | {"scalar": ("F32", [])})
file("types", text, n)
text, n = head({"a": ("F16", [1, 2, 3, 4]), "b": ("F32", [5])})
file("shapes", text, n)
file("empty", "{}", 0)
file("long-head", "{}", 0, n_head=1 << 40)
index("two", {"metadata": {"total_size": 24}, "weight_map": {"a": "a.safetensors", "b": "b.safetensors", "c": "a.safetensors"}},
      head({"a": ("F32", [4]), "c": ("U8", [2, 2])})[0], head({"b": ("BF16", [2])})[0])
index("twice", {"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}, head({"a": ("I8", [1])})[0],
      head({"a": ("I8", [1]), "b": ("I8", [1])})[0])
index("outside", {"weight_map": {"a": "../a.safetensors"}}, head({"a": ("I8", [1])})[0])
index("itself", {"weight_map": {"a": "index.json"}})
