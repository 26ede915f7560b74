#!/usr/bin/env python3
"""Convert small llama2.c style models to GGUF, exactly.

    convert_llama2c.py --tokenizer tok512.bin MODEL.bin OUT.gguf --name NAME ...

Two formats are read and told apart by their first bytes:

"v0" (llama2.c): 7 x i32, then float32 matrices -> architecture llama, F32.

"bit v1" (256-byte header, magic 0x616b3432, version 1): ternary matrices,
2-bit codes with the first weight in the top bits, 00 = 0, 01 = +1, 11 = -1,
each after its f32 scale -> architecture bitnet, I2_S.  Its layers have no
norm weights: each linear layer divides its input x by rms(x) * n, n the
input's length, and rounds it to int8 by absmax / 127.  That is BitNet with
norm weights of one, a vanishing epsilon (some inputs are so small that even
1e-12 would change the output) and the matrix scale divided by n.  Rotary pairs are
neighbours in these files and half a head apart in architecture bitnet, so
the rows of q and k are put in that order.
"""
import argparse
import struct

import numpy as np

from gguf_io import F32, I32, STR, Writer


def read_tokenizer(path):
    """[(text, score)] of a llama2.c tokenizer file."""
    with open(path, "rb") as f:
        data = f.read()
    at, out = 4, []
    while at < len(data):
        score, n = struct.unpack_from("<fi", data, at)
        out.append((data[at + 8:at + 8 + n], score))
        at += 8 + n
    return out


def add_tokenizer(w, entries):
    tokens, scores, types = [], [], []
    for i, (raw, score) in enumerate(entries):
        text = raw.decode("utf-8").replace(" ", "\u2581")
        kind = 1
        if i < 3:
            text, kind = (("<unk>", 2), ("<s>", 3), ("</s>", 3))[i]
        elif 3 <= i < 259:
            assert text == "<0x%02X>" % (i - 3), (i, text)
            kind = 6
        tokens.append(text)
        scores.append(score)
        types.append(kind)
    w.text("tokenizer.ggml.model", "llama")
    w.text("tokenizer.ggml.pre", "default")
    w.array("tokenizer.ggml.tokens", STR, tokens)
    w.array("tokenizer.ggml.scores", F32, scores)
    w.array("tokenizer.ggml.token_type", I32, types)
    w.u32("tokenizer.ggml.bos_token_id", 1)
    w.u32("tokenizer.ggml.eos_token_id", 2)
    w.u32("tokenizer.ggml.unknown_token_id", 0)
    w.flag("tokenizer.ggml.add_bos_token", True)
    w.flag("tokenizer.ggml.add_eos_token", False)
    w.flag("tokenizer.ggml.add_space_prefix", True)


def add_shape(w, arch, name, header, eps, file_type):
    dim, hidden, layers, heads, kv_heads, vocab, context = header
    w.text("general.architecture", arch)
    w.text("general.name", name)
    w.u32("general.file_type", file_type)
    w.u32("general.quantization_version", 2)
    w.text("general.license", "MIT")
    w.u32(arch + ".vocab_size", vocab)
    w.u32(arch + ".context_length", context)
    w.u32(arch + ".embedding_length", dim)
    w.u32(arch + ".block_count", layers)
    w.u32(arch + ".feed_forward_length", hidden)
    w.u32(arch + ".rope.dimension_count", dim // heads)
    w.u32(arch + ".attention.head_count", heads)
    w.u32(arch + ".attention.head_count_kv", kv_heads)
    w.f32(arch + ".attention.layer_norm_rms_epsilon", eps)
    w.f32(arch + ".rope.freq_base", 10000.0)
    if arch == "bitnet":
        w.text(arch + ".hidden_activation", "silu")


class Cursor:
    def __init__(self, data, at):
        self.data, self.at = data, at

    def floats(self, *shape):
        n = int(np.prod(shape))
        out = np.frombuffer(self.data, "<f4", n, self.at).reshape(shape)
        self.at += 4 * n
        return out

    def ternary(self, rows, cols):
        scale = self.floats(1)[0]
        raw = np.frombuffer(self.data, np.uint8, rows * cols // 4, self.at)
        self.at += rows * cols // 4
        c = np.stack([raw >> 6, raw >> 4 & 3, raw >> 2 & 3, raw & 3], 1).reshape(rows, cols)
        assert not (c == 2).any()
        return np.array([0, 1, 0, -1], np.int8)[c], scale


def to_neox(x, heads):
    """Rows of each head from (0, 1), (2, 3), ... pairs to (i, i + half) pairs."""
    n = x.shape[0] // heads
    order = np.concatenate([np.arange(0, n, 2), np.arange(1, n, 2)])
    return x.reshape(heads, n, -1)[:, order].reshape(x.shape)


def convert_v0(data, tokenizer, name):
    header = list(struct.unpack_from("<7i", data, 0))
    tied = header[5] > 0
    header[5] = abs(header[5])
    dim, hidden, layers, heads, kv_heads, vocab, context = header
    kv = dim // heads * kv_heads
    c = Cursor(data, 28)
    w = Writer()
    add_shape(w, "llama", name, header, 1e-5, 0)
    add_tokenizer(w, tokenizer)
    w.dense("token_embd.weight", c.floats(vocab, dim))
    parts = [("attn_norm", (dim,)), ("attn_q", (dim, dim)), ("attn_k", (kv, dim)), ("attn_v", (kv, dim)),
             ("attn_output", (dim, dim)), ("ffn_norm", (dim,)), ("ffn_gate", (hidden, dim)),
             ("ffn_down", (dim, hidden)), ("ffn_up", (hidden, dim))]
    for part, shape in parts:
        for layer, x in enumerate(c.floats(layers, *shape)):
            w.dense("blk.%d.%s.weight" % (layer, part), x)
    w.dense("output_norm.weight", c.floats(dim))
    c.floats(context * (dim // heads))  # rotary angles, unused
    if not tied:
        w.dense("output.weight", c.floats(vocab, dim))
    assert c.at == len(data)
    return w


def convert_bit(data, tokenizer, name):
    header = list(struct.unpack_from("<7i", data, 8))
    dim, hidden, layers, heads, kv_heads, vocab, context = header
    assert data[36] == 1, "tied output expected"
    kv = dim // heads * kv_heads
    c = Cursor(data, 256)
    w = Writer()
    add_shape(w, "bitnet", name, header, 1e-20, 40)
    add_tokenizer(w, tokenizer)
    w.dense("output_norm.weight", c.floats(dim))
    w.dense("token_embd.weight", c.floats(vocab, dim))
    for part, rows, cols in (("attn_q", dim, dim), ("attn_k", kv, dim), ("attn_v", kv, dim), ("attn_output", dim, dim),
                             ("ffn_gate", hidden, dim), ("ffn_down", dim, hidden), ("ffn_up", hidden, dim)):
        for layer in range(layers):
            codes, scale = c.ternary(rows, cols)
            if part in ("attn_q", "attn_k"):
                codes = to_neox(codes, heads if part == "attn_q" else kv_heads)
            w.ternary("blk.%d.%s.weight" % (layer, part), codes, np.float32(scale / cols))
    for layer in range(layers):
        for part, n in (("attn_norm", dim), ("attn_sub_norm", dim), ("ffn_norm", dim), ("ffn_sub_norm", hidden)):
            w.dense("blk.%d.%s.weight" % (layer, part), np.ones(n, np.float32))
    assert c.at == len(data)
    return w


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--name", required=True)
    ap.add_argument("model")
    ap.add_argument("out")
    args = ap.parse_args()
    with open(args.model, "rb") as f:
        data = f.read()
    tokenizer = read_tokenizer(args.tokenizer)
    if struct.unpack_from("<Ii", data, 0) == (0x616b3432, 1):
        convert_bit(data, tokenizer, args.name).save(args.out)
    else:
        convert_v0(data, tokenizer, args.name).save(args.out)


if __name__ == "__main__":
    main()
