#!/usr/bin/env python3
"""Whether the engine reads an exported file as the recipe means it: the same tokens, and logits near the reference's.

    check_engine.py TERN MODEL.gguf DATA/vocab.json
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from reference import Reference  # noqa: E402
from vocab import Vocabulary  # noqa: E402

TEXT = ("Hello, who are you? In 1984 it's 37 degrees; we'll see...\n\n  Once upon a time, there was a naïve café-owner "
        "who said: \"Why not?\"\n\tHe smiled, and 中文 was all he knew.")


def main():
    tern, path, vocabulary = sys.argv[1:]
    vocab = Vocabulary.load(vocabulary)
    ids = vocab.encode(TEXT)
    said = json.loads(subprocess.check_output([tern, "tokenize", path, "-p", TEXT, "--json"], stderr=subprocess.DEVNULL))
    said = said.get("ids", said.get("tokens")) if isinstance(said, dict) else said
    said = [t["id"] if isinstance(t, dict) else t for t in said]
    assert said == ids, (said, ids)
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "logits.npy")
        subprocess.check_call([tern, "logits", path, "-p", TEXT, "-o", out, "-ctk", "f32", "-ctv", "f32", "-q"])
        got = np.load(out).reshape(-1, len(vocab.tokens))
    want = Reference(path).forward([ids])[0]
    d = np.abs(got - want[-len(got):])
    print("engine and reference: the same %d tokens; logits differ by %.5f in the mean, %.4f at most, of a spread of %.2f" % (
        len(ids), d.mean(), d.max(), want.std()))
    assert d.mean() < 0.05 * want.std()


if __name__ == "__main__":
    main()
