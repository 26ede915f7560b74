#!/usr/bin/env python3
"""Importance matrices of llama.cpp and what its quantiser makes of them.

    make.py LLAMA_CPP_BIN    (the folder with llama-imatrix and llama-quantize; run in the source root)

Writes beside itself, of llama.cpp 0c1e570:
  stories.gguf, stories.dat   of models/test/stories260K.gguf over tests/e2e/story.txt, chunks of 64 tokens,
                              keys and values as floats
  llama.gguf, llama.dat       the same of tests/golden/models/llama.gguf, its head included
  llama.crc                   of each type the CRC-32 of the tensors' bytes that llama-quantize --pure --imatrix
                              writes, in the order of their names
"""
import os
import subprocess
import sys
import zlib

import gguf

HERE = os.path.dirname(os.path.abspath(__file__))
TYPES = ["q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl"]


def run(*args):
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def imatrix(bin_, model, name, *more):
    for suffix in "gguf", "dat":
        out = os.path.join(HERE, name + "." + suffix)
        run(os.path.join(bin_, "llama-imatrix"), "-m", model, "-f", "tests/e2e/story.txt", "-c", "64",
            "-b", "64", "-t", "1", "-fa", "off", "-ctk", "f32", "-ctv", "f32", "--no-ppl", "-o", out,
            "--output-format", suffix, *more)


def digest(path):
    crc = 0
    for t in sorted(gguf.GGUFReader(path).tensors, key=lambda t: t.name):
        crc = zlib.crc32(t.name.encode() + t.data.tobytes(), crc)
    return f"{crc:08x}"


def main():
    bin_ = sys.argv[1]
    model = "tests/golden/models/llama.gguf"
    imatrix(bin_, "models/test/stories260K.gguf", "stories")
    imatrix(bin_, model, "llama", "--process-output")
    with open(os.path.join(HERE, "llama.crc"), "w") as f:
        for t in TYPES:
            run(os.path.join(bin_, "llama-quantize"), "--pure", "--imatrix", os.path.join(HERE, "llama.gguf"), model,
                "/tmp/out.gguf", t, "1")
            f.write(f"{t} {digest('/tmp/out.gguf')}\n")
    os.remove("/tmp/out.gguf")


main()
