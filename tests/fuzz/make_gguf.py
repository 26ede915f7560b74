#!/usr/bin/env python3
"""Makes the seeds of corpus/gguf: one small file for each thing that the reader decides. Other files
of that folder are inputs that once failed."""
import shutil
import struct
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE / "corpus" / "gguf"
GOLDEN = HERE.parent / "golden" / "gguf"

SIZES = {0: (1, 4), 2: (32, 18), 8: (32, 34), 12: (256, 144), 34: (256, 54), 35: (256, 66), 41: (128, 18),
         142: (128, 34), 143: (128, 28)}


def string(s):
    return struct.pack("<Q", len(s)) + s.encode()


def file(tensors=(), pairs=(), version=3, align=32):
    """tensors: name, shape, type id, bytes of data; pairs: key, type, packed value."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    for key, kind, value in pairs:
        head += string(key) + struct.pack("<I", kind) + value
    data = b""
    for name, shape, kind, n in tensors:
        head += string(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", d) for d in shape) + struct.pack("<IQ", kind, len(data))
        data += bytes(i * 37 & 255 for i in range(n)) + bytes(-n % align)
    return head + bytes(-len(head) % align) + data


def plain(name, shape, kind):
    n = 1
    for d in shape:
        n *= d
    block, size = SIZES[kind]
    return name, shape, kind, n // block * size


def seeds():
    yield "magic", b"GGUF"
    yield "empty", file()
    yield "version-2", file([plain("w", (4,), 0)], version=2)
    yield "alignment-64", file([plain("a", (5,), 0), plain("b", (2, 3), 0)],
                               [("general.alignment", 4, struct.pack("<I", 64))], align=64)
    yield "plain-types", file([plain(f"t{k}", (256, 2), k) for k in SIZES])
    yield "i2s", file([("w", (128, 4), 36, 160), plain("n", (4,), 0)])
    yield "q2-g64-tie", file([("w", (128,), 42, 36), ("x", (1280,), 42, 360)])
    yield "q2-g128-tie", file([("w", (128,), 42, 34), ("x", (1280,), 42, 340)])
    yield "q1-g32", file([("w", (256, 1, 1, 2), 40, 96)])
    yield "iq-bn", file([("a", (128, 2), 134, 56), ("b", (128, 2), 135, 72)])
    yield "mxfp4", file([("w", (256,), 39, 136)])
    yield "split-key", file([], [("split.count", 2, struct.pack("<H", 2))])
    yield "arrays", file([], [
        ("s", 9, struct.pack("<IQ", 8, 3) + string("a") + string("") + string("bc")),
        ("i", 9, struct.pack("<IQ4i", 5, 4, -1, 0, 1, 2)),
        ("f", 9, struct.pack("<IQ2d", 12, 2, 1e300, float("nan"))),
        ("b", 9, struct.pack("<IQ3B", 7, 3, 0, 1, 255)),
    ])


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for name, data in seeds():
        (OUT / name).write_bytes(data)
    for name in ("metas.gguf", "types.gguf", "split-00002-of-00003.gguf", "big-endian.gguf"):
        shutil.copyfile(GOLDEN / name, OUT / Path(name).stem)
