#!/usr/bin/env python3
"""Seeds of fuzz_state: a whole file, and parts of one. Written from the description of the format
(src/file/packfile.h, src/state/statefile.h), so that it also checks our own writer."""
import pathlib
import struct

MASK = (1 << 64) - 1
PRIME = 0x100000001B3
KEY, KIND, OWNER, VERSION = 0x1111, 0x2222, 0x3333, 0x53540001
PAGE = 64 * 8 * 2 + 64 * 4 + 64 * 16  # K f16 of 8, V int8 of 8 padded to 16 with scales


def mix(h):
    h = ((h ^ h >> 30) * 0xBF58476D1CE4E5B9) & MASK
    h = ((h ^ h >> 27) * 0x94D049BB133111EB) & MASK
    return h ^ h >> 31


def hash64(data, seed):
    h = 0xCBF29CE484222325 ^ seed ^ ((len(data) * PRIME) & MASK)
    whole = len(data) // 8 * 8
    for i in range(0, whole, 8):
        h = mix(((h ^ struct.unpack_from("<Q", data, i)[0]) * PRIME) & MASK)
    for b in data[whole:]:
        h = ((h ^ b) * PRIME) & MASK
    return mix(h)


def checksum64(data):
    sums = list(range(8))
    whole = len(data) // 64 * 64
    for i in range(0, whole, 64):
        for j, v in enumerate(struct.unpack_from("<8Q", data, i)):
            v ^= sums[j]
            sums[j] = ((v << 29 | v >> 35) & MASK) * 0x9E3779B97F4A7C15 & MASK
    tail = hash64(data[whole:], len(data))
    for s in sums:
        tail = mix(((tail ^ s) * PRIME) & MASK)
    return tail


def section_sum(data):
    pieces = [data[i:i + (256 << 10)] for i in range(0, len(data), 256 << 10)]
    return hash64(b"".join(struct.pack("<Q", checksum64(p)) for p in pieces), len(data))


def container(parts):
    at = 1064 + 40 * len(parts)
    table, body = b"", b""
    begin = at
    for i, p in enumerate(parts):
        pad = -at % 4096
        at += pad
        table += struct.pack("<IIIIQQQ", i + 1, 0, 0, 0, at, len(p), section_sum(p))
        body += bytes(pad) + p + bytes(64)
        at += len(p) + 64
    assert begin + len(body) == at
    head = bytearray(b"ternpack" + struct.pack("<IIQQQ", VERSION, len(parts), KEY, at, 0) + bytes(1024))
    head[32:40] = struct.pack("<Q", checksum64(bytes(head) + table))
    return bytes(head) + table + body


def tokens(n0, ids):
    return struct.pack("<QQII", KIND, OWNER, n0, len(ids)) + struct.pack(f"<{len(ids)}i", *ids)


def rows(n):
    return bytes((i * 7 + 1) % 61 for i in range(n))


folder = pathlib.Path(__file__).parent / "corpus/state"
folder.mkdir(parents=True, exist_ok=True)


def write(name, data):
    (folder / name).write_bytes(data)


def parts(*p):
    return bytes([len(p) - 1 or 8]) + b"".join(struct.pack("<H", len(x)) for x in p) + b"".join(p)


write("file", b"\0" + container([tokens(0, [3, 1, 4, 1, 5]), rows(PAGE)]))
write("parts", parts(tokens(0, [3, 1, 4, 1, 5]), rows(PAGE)))
write("two-pages", parts(tokens(0, range(70)), rows(PAGE), rows(PAGE)))
write("later-part", parts(tokens(64, range(70)), rows(PAGE)))
write("no-state", parts(tokens(0, [1, 2])))
write("too-many-tokens", parts(struct.pack("<QQII", KIND, OWNER, 0, 0xFFFFFFFF)))
write("short-page", parts(tokens(0, [1]), rows(PAGE - 1)))
write("other-kind", parts(struct.pack("<QQIIi", KIND + 1, OWNER, 0, 1, 1), rows(PAGE)))
