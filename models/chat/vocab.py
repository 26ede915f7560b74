#!/usr/bin/env python3
"""A smaller vocabulary cut from the teacher's byte-level BPE.

    vocab.py TEACHER.gguf --size 12288 --out DATA/vocab.json TEXT_OR_SHARD...
    vocab.py TEACHER.gguf --like tern-chat.gguf --out DATA/vocab.json

Kept are the special tokens that a chat needs, the 256 bytes and the tokens
used most in the texts, each with the two it is merged from, and so on down to
bytes.  Merges between kept tokens keep their order.  A token is therefore
reached by the same merges as before, and only words whose token was left out
are split further.  --like takes the vocabulary of a file that export.py wrote.
"""
import argparse
import collections
import json
import os
import sys

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


class Vocabulary:
    """tokens by id, merges, ids of special tokens, and the teacher's id of each (origin)."""

    def __init__(self, tokens, merges, special, origin):
        self.tokens, self.merges, self.special, self.origin = tokens, merges, special, origin
        self.ids = {t: i for i, t in enumerate(tokens)}
        tok = Tokenizer(models.BPE(vocab=self.ids, merges=[tuple(m.split(" ", 1)) for m in merges]))
        tok.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
        tok.decoder = decoders.ByteLevel()
        tok.add_special_tokens([AddedToken(tokens[i], special=True, normalized=False) for i in special])
        self.tokenizer = tok

    @classmethod
    def of_gguf(cls, path):
        import gguf
        fields = gguf.GGUFReader(path).fields
        tokens, merges, types = (fields["tokenizer.ggml." + n].contents() for n in ("tokens", "merges", "token_type"))
        return cls(tokens, merges, [i for i, t in enumerate(types) if t == 3], list(range(len(tokens))))

    @classmethod
    def load(cls, path):
        with open(path, encoding="utf-8") as f:
            v = json.load(f)
        return cls(v["tokens"], v["merges"], v["special"], v["origin"])

    def like(self, path):
        """The part of this vocabulary that a file of export.py has."""
        from gguf_io import Reader
        keys = Reader(path).keys
        tokens, merges, types = (keys["tokenizer.ggml." + n] for n in ("tokens", "merges", "token_type"))
        return Vocabulary(tokens, merges, [i for i, t in enumerate(types) if t == 3], [self.ids[t] for t in tokens])

    def save(self, path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"tokens": self.tokens, "merges": self.merges, "special": self.special, "origin": self.origin},
                      f, ensure_ascii=False)

    def encode(self, text):
        return self.tokenizer.encode(text).ids

    def decode(self, ids):
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)


def smaller(vocab, counts, size):
    """The vocabulary of `size` tokens that keeps the most used of `counts` (per id of `vocab`)."""
    made = {}
    for m in vocab.merges:
        a, b = m.split(" ", 1)
        if a in vocab.ids and b in vocab.ids:
            made.setdefault(a + b, (a, b))
    kept = {vocab.ids[t] for t in SPECIAL}
    special = set(vocab.special)
    kept |= {i for i, t in enumerate(vocab.tokens) if len(t) == 1 and i not in special}  # bytes

    def needs(token, out):
        i = vocab.ids[token]
        if i not in kept and i not in out:
            if token not in made:
                return False
            out.add(i)
            return all(needs(part, out) for part in made[token])
        return True

    for i in np.argsort(-counts, kind="stable"):
        out = set()
        if int(i) in special or not needs(vocab.tokens[i], out):
            continue
        if len(kept) + len(out) <= size:
            kept |= out
        if len(kept) == size:
            break
    first = [vocab.ids[t] for t in SPECIAL]
    origin = first + sorted(kept - set(first))
    tokens = [vocab.tokens[i] for i in origin]
    have = set(tokens)
    merges = [m for m in vocab.merges if all(p in have for p in (*m.split(" ", 1), m.replace(" ", "", 1)))]
    return Vocabulary(tokens, merges, list(range(len(first))), origin)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("teacher")
    ap.add_argument("files", nargs="*", help="texts, and shards of generate.py in the teacher's vocabulary")
    ap.add_argument("--size", type=int, default=12288)
    ap.add_argument("--like", metavar="FILE.gguf", help="an exported file whose vocabulary to take")
    ap.add_argument("--shard-weight", type=float, default=5, help="a token of a shard counts as so many of a text")
    ap.add_argument("--prior", type=float, default=6e5,
                    help="counts added as if the n-th token of the vocabulary, which is in order of use, came 1/n often")
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    vocab = Vocabulary.of_gguf(args.teacher)
    if args.like:
        vocab.like(args.like).save(args.out)
        return
    if not args.files:
        ap.error("no texts to count tokens in")
    counts = 1 / np.arange(1, len(vocab.tokens) + 1)
    counts *= args.prior / counts.sum()
    texts = []
    for path in args.files:
        if path.endswith(".npz"):
            counts += args.shard_weight * np.bincount(np.load(path)["ids"], minlength=len(counts))
        else:
            with open(path, encoding="utf-8", errors="replace") as f:
                texts.append(f.read())
            for i, n in collections.Counter(vocab.encode(texts[-1])).items():
                counts[i] += n
    cut = smaller(vocab, counts, args.size)
    cut.save(args.out)
    print("%d tokens, %d merges; of the counted tokens %.2f %% are kept" % (
        len(cut.tokens), len(cut.merges), 100 * counts[cut.origin].sum() / counts.sum()))
    for path, text in zip([p for p in args.files if not p.endswith(".npz")], texts):
        part = text[:300000]
        print("%s: %.3f bytes per token, before %.3f" % (
            path, len(part.encode()) / len(cut.encode(part)), len(part.encode()) / len(vocab.encode(part))))


if __name__ == "__main__":
    main()
