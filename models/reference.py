#!/usr/bin/env python3
"""A plain numpy reference for the small models of this folder.

Reads a GGUF file (architectures bitnet, bitnet-b1.58 and llama) and computes
with exact W1.58A8 arithmetic: activations are rounded to int8 with one scale
per token, products with ternary matrices are whole numbers, everything else
is float32.

    reference.py MODEL.gguf --ids 0,17,4 --count 32
    reference.py MODEL.gguf --prompt "Once upon a time" --temperature 0.8
    reference.py MODEL.gguf --chat "Tell me a story about a dog."
    reference.py MODEL.gguf --perplexity TEXT --context 512

Text (other than --ids) needs a byte-level BPE vocabulary of the kind llama-bpe.
"""
import argparse
import math

import numpy as np

from gguf_io import Reader

WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def rms_norm(x, weight, eps):
    return x * (1 / np.sqrt(np.mean(x * x, -1, keepdims=True, dtype=np.float64) + eps)).astype(x.dtype) * weight


class Reference:
    def __init__(self, path, dtype=np.float32):
        r = Reader(path)
        self.dtype = dtype
        k = self.keys = r.keys
        a = self.arch = k["general.architecture"]
        get = lambda name, default=None: k.get(a + "." + name, default)
        self.layers, self.dim = get("block_count"), get("embedding_length")
        self.heads = get("attention.head_count")
        self.kv_heads = get("attention.head_count_kv", self.heads)
        self.head_dim = get("attention.key_length", self.dim // self.heads)
        self.eps = np.float64(np.float32(get("attention.layer_norm_rms_epsilon")))
        self.context = get("context_length")
        self.activation = get("hidden_activation", "silu")
        self.neox = a != "llama"
        base = get("rope.freq_base", 10000.0)
        self.freq = float(base) ** (-np.arange(0, self.head_dim, 2) / self.head_dim)
        self.t = {n: r.tensor(n) for n in r.infos}
        for name, value in self.t.items():
            if isinstance(value, tuple):  # whole numbers below 2^24 are exact in float32
                self.t[name] = (value[0].astype(dtype), np.asarray(value[1], dtype))
            else:
                self.t[name] = value.astype(dtype)

    # -------------------------------------------------------- pieces

    def linear(self, x, *names):
        """y = W x for each named matrix; ternary ones share one int8 vector."""
        out = []
        if isinstance(self.t[names[0]], tuple):
            m = np.maximum(np.abs(x).max(-1, keepdims=True), self.dtype(1e-5))
            s = self.dtype(127) / m
            q = np.clip(np.rint(x * s), -128, 127)
            for n in names:
                codes, scale = self.t[n]
                out.append((q @ codes.T) / s * scale)
        else:
            out = [x @ self.t[n].T for n in names]
        return out if len(out) > 1 else out[0]

    def rope(self, x, first):
        """x [batch, positions, heads, head_dim]"""
        angle = (first + np.arange(x.shape[1]))[:, None] * self.freq
        cos, sin = (f(angle).astype(self.dtype)[None, :, None] for f in (np.cos, np.sin))
        y = np.empty_like(x)
        half = self.head_dim // 2
        a, b = (np.s_[..., :half], np.s_[..., half:]) if self.neox else (np.s_[..., ::2], np.s_[..., 1::2])
        y[a] = x[a] * cos - x[b] * sin
        y[b] = x[a] * sin + x[b] * cos
        return y

    # --------------------------------------------------------- model

    def start(self):
        return [None] * self.layers

    def forward(self, ids, cache=None):
        """Logits [batch, n, vocab] of ids [batch, n]; `cache` (from start()) holds what came before."""
        ids = np.atleast_2d(np.asarray(ids))
        batch, n = ids.shape
        first = 0 if cache is None or cache[0] is None else cache[0][0].shape[1]
        norm = lambda x, name: rms_norm(x, self.t[name], self.eps) if name in self.t else x
        x = self.t["token_embd.weight"][ids]
        for layer in range(self.layers):
            p = "blk.%d." % layer
            h = norm(x, p + "attn_norm.weight")
            q, k, v = self.linear(h, p + "attn_q.weight", p + "attn_k.weight", p + "attn_v.weight")
            q = self.rope(q.reshape(batch, n, self.heads, self.head_dim), first)
            k = self.rope(k.reshape(batch, n, self.kv_heads, self.head_dim), first)
            v = v.reshape(batch, n, self.kv_heads, self.head_dim)
            if cache is not None:
                if first:
                    k, v = (np.concatenate([old, new], 1) for old, new in zip(cache[layer], (k, v)))
                cache[layer] = (k, v)
            group = self.heads // self.kv_heads
            kk, vv = (np.repeat(z, group, 2).transpose(0, 2, 1, 3) for z in (k, v))
            score = q.transpose(0, 2, 1, 3) @ kk.transpose(0, 1, 3, 2) / self.dtype(math.sqrt(self.head_dim))
            score[..., np.arange(first + n) > first + np.arange(n)[:, None]] = -np.inf
            score = np.exp(score - score.max(-1, keepdims=True))
            score /= score.sum(-1, keepdims=True)
            a = (score @ vv).transpose(0, 2, 1, 3).reshape(batch, n, -1)
            x = x + self.linear(norm(a, p + "attn_sub_norm.weight"), p + "attn_output.weight")
            g, u = self.linear(norm(x, p + "ffn_norm.weight"), p + "ffn_gate.weight", p + "ffn_up.weight")
            if self.activation == "relu2":
                h = np.square(np.maximum(g, 0)) * u
            else:
                h = g / (1 + np.exp(-g)) * u
            x = x + self.linear(norm(h, p + "ffn_sub_norm.weight"), p + "ffn_down.weight")
        x = norm(x, "output_norm.weight")
        return x @ self.t.get("output.weight", self.t["token_embd.weight"]).T

    def greedy(self, prompt, count, stop=()):
        """(ids, for each the distance between the best and the second logit)"""
        cache, out, margins = self.start(), [], []
        logits = self.forward(prompt, cache)[0, -1]
        while True:
            second, best = np.sort(logits)[-2:]
            margins.append(float(best - second))
            out.append(int(logits.argmax()))
            if len(out) >= count or out[-1] in stop:
                return out, margins
            logits = self.forward([out[-1]], cache)[0, -1]

    def sample(self, prompt, count, temperature, top_p, rng, stop=()):
        cache, out = self.start(), []
        logits = self.forward(prompt, cache)[0, -1]
        while True:
            p = np.exp((logits - logits.max()).astype(np.float64) / temperature)
            order = np.argsort(-p)
            p = p[order] / p.sum()
            keep = min(len(p), int(np.searchsorted(np.cumsum(p), top_p)) + 1)
            out.append(int(order[rng.choice(keep, p=p[:keep] / p[:keep].sum())]))
            if len(out) >= count or out[-1] in stop:
                return out
            logits = self.forward([out[-1]], cache)[0, -1]

    def text(self, ids):
        """Decode ids with the vocabulary in the file; control tokens print nothing."""
        tokens, types = self.keys["tokenizer.ggml.tokens"], self.keys["tokenizer.ggml.token_type"]
        raw = b""
        if self.keys["tokenizer.ggml.model"] == "gpt2":
            plain = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
            back = {chr(b): b for b in plain}
            back.update({chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in set(plain))})
            for t in ids:
                if types[t] != 3:
                    raw += bytes(back[c] for c in tokens[t])
        else:
            for t in ids:
                if types[t] == 6:
                    raw += bytes([int(tokens[t][3:5], 16)])
                elif types[t] != 3:
                    raw += tokens[t].replace("\u2581", " ").encode()
            raw = raw[1:] if raw[:1] == b" " else raw
        return raw.decode("utf-8", "replace")


class Vocabulary:
    """Encoder of a byte-level BPE vocabulary of the kind llama-bpe."""

    def __init__(self, keys):
        import regex
        self.regex, self.words = regex, regex.compile(WORDS)
        self.ids = {t: i for i, t in enumerate(keys["tokenizer.ggml.tokens"])}
        self.types = keys["tokenizer.ggml.token_type"]
        self.special = [t for t, i in self.ids.items() if self.types[i] == 3]
        self.rank = {tuple(m.split(" ", 1)): i for i, m in enumerate(keys["tokenizer.ggml.merges"])}
        plain = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
        self.byte = {b: chr(b) for b in plain}
        self.byte.update({b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in set(plain))})

    def word(self, text):
        parts = [self.byte[b] for b in text.encode("utf-8")]
        if "".join(parts) in self.ids:
            return [self.ids["".join(parts)]]
        while True:
            best = min(((self.rank[p], i) for i, p in enumerate(zip(parts, parts[1:])) if p in self.rank), default=None)
            if best is None:
                return [self.ids[p] for p in parts]
            i = best[1]
            parts[i:i + 2] = [parts[i] + parts[i + 1]]

    def encode(self, text, parse_special=False):
        out = []
        split = "(%s)" % "|".join(map(self.regex.escape, self.special))
        for piece in self.regex.split(split, text) if parse_special else [text]:
            if parse_special and piece in self.special:
                out.append(self.ids[piece])
            else:
                out += [t for m in self.words.finditer(piece) for t in self.word(m.group())]
        return out


def perplexity(model, ids, context, bos, batch=8):
    """Mean loss of `ids` cut into runs of context - 1, each after BOS; every token of the text counts once."""
    total = count = 0
    runs = [ids[i:i + context - 1] for i in range(0, len(ids), context - 1)]
    full, rest = [r for r in runs if len(r) == context - 1], [r for r in runs if len(r) < context - 1]
    for group in [full[i:i + batch] for i in range(0, len(full), batch)] + [[r] for r in rest]:
        rows = np.array([[bos] + list(r) for r in group])
        logits = model.forward(rows[:, :-1]).astype(np.float64)
        top = logits.max(-1, keepdims=True)
        logp = logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))
        total -= np.take_along_axis(logp, rows[:, 1:, None], -1).sum()
        count += rows.shape[0] * (rows.shape[1] - 1)
    return total, count


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("model")
    ap.add_argument("--ids")
    ap.add_argument("--prompt")
    ap.add_argument("--chat", action="append", help="user message; several are asked one after the other")
    ap.add_argument("--count", type=int, default=32)
    ap.add_argument("--temperature", type=float, default=0)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--perplexity", help="text file; every token counts, each run of context - 1 tokens after BOS")
    ap.add_argument("--context", type=int, default=512)
    args = ap.parse_args()
    model = Reference(args.model)
    keys = model.keys
    bos = keys["tokenizer.ggml.bos_token_id"]
    stop = {keys["tokenizer.ggml.eos_token_id"], keys.get("tokenizer.ggml.eot_token_id")}
    rng = np.random.default_rng(args.seed)

    def run(ids):
        if args.temperature:
            return model.sample(ids, args.count, args.temperature, 1.0, rng, stop)
        return model.greedy(ids, args.count, stop)[0]

    if args.perplexity:
        with open(args.perplexity, encoding="utf-8", errors="replace", newline="") as f:
            text = f.read()
        total, count = perplexity(model, Vocabulary(keys).encode(text), args.context, bos)
        size, words = len(text.encode()), len(text.split())
        print("%d tokens, %d bytes, %d words: loss %.5f, perplexity %.4f per token, %.3f per word, %.4f bits per byte" % (
            count, size, words, total / count, math.exp(total / count), math.exp(total / words), total / size / math.log(2)))
    elif args.chat:
        vocab, ids = Vocabulary(keys), [bos]
        for message in args.chat:
            ids += vocab.encode("<|user|>\n" + message + "<|end|>\n<|assistant|>\n", True)
            out = run(ids)
            print("> %s\n\n%s\n" % (message, model.text(out)))
            ids += [t for t in out if t not in stop] + vocab.encode("<|end|>\n", True)
    else:
        ids = [int(i) for i in args.ids.split(",")] if args.ids else [bos]
        if args.prompt:
            ids += Vocabulary(keys).encode(args.prompt)
        out = run(ids)
        print(",".join(map(str, out)))
        print(model.text(ids + out))


if __name__ == "__main__":
    main()
