"""SmolLM2-135M-Instruct, read from GGUF: whole rows at once, or one token of many sequences.

On a CPU attention over the cache and the choice of the largest logits are in
decode.c, compiled on first use; elsewhere PyTorch does both.
"""
import ctypes
import os
import subprocess
import tempfile

import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))


def read_gguf(path):
    """(metadata, tensors in float32) of a GGUF file; rows of q and k as in the original checkpoint."""
    import gguf
    reader = gguf.GGUFReader(path)
    keys = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    arch = keys["general.architecture"]
    tensors = {}
    for t in reader.tensors:
        x = gguf.dequantize(t.data, t.tensor_type).reshape(tuple(int(n) for n in reversed(t.shape)))
        for name, heads in ((".attn_q.", "head_count"), (".attn_k.", "head_count_kv")):
            if arch == "llama" and name in t.name:  # rotary pairs: neighbours in the file, half a head apart here
                n = keys[arch + ".attention." + heads]
                x = x.reshape(n, x.shape[0] // n // 2, 2, x.shape[1]).transpose(0, 2, 1, 3).reshape(x.shape)
        tensors[t.name] = torch.from_numpy(np.array(x, np.float32))
    return keys, tensors


def rope_tables(length, dim, base, device="cpu"):
    angle = torch.arange(length, device=device)[:, None].float() * base ** (
        -torch.arange(0, dim, 2, device=device).float() / dim)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    """Pairs half a head apart; cos and sin fit x but for its last dimension, which is twice as long."""
    a, b = x.float().chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1).to(x.dtype)


class Decoder:
    """decode.c as functions of tensors."""

    def __init__(self):
        library = os.path.join(tempfile.mkdtemp(prefix="tern-chat-"), "decode.so")
        subprocess.check_call(["cc", "-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC",
                               os.path.join(HERE, "decode.c"), "-o", library, "-lm"])
        self.library = ctypes.CDLL(library)

    def call(self, name, *args):
        getattr(self.library, name)(*(ctypes.c_void_p(a.data_ptr()) if torch.is_tensor(a) else ctypes.c_long(a)
                                      for a in args))

    def attend(self, q, k, v, k_cache, v_cache, at):
        out = torch.empty_like(q)
        n, kv, room, _ = k_cache.shape
        self.call("attend", n, kv, room, at, q.contiguous(), k.contiguous(), v.contiguous(),
                  k_cache, v_cache, out)
        return out

    def largest(self, x, most):
        n, cols = x.shape
        value, column = torch.empty(n, most), torch.empty(n, most, dtype=torch.int32)
        log_sum = torch.empty(n)
        self.call("largest", n, cols, most, x, value, column, log_sum)
        return value, column.long(), log_sum


class Teacher:
    def __init__(self, path, kept=None, device="cpu", dtype=torch.bfloat16):
        """kept: ids of the vocabulary to keep, in the order of their new ids; default all."""
        self.keys, t = read_gguf(path)
        get = lambda name: self.keys["llama." + name]
        self.layers, self.dim, self.heads = get("block_count"), get("embedding_length"), get("attention.head_count")
        self.kv_heads, self.eps = get("attention.head_count_kv"), get("attention.layer_norm_rms_epsilon")
        self.head_dim, self.base = self.dim // self.heads, get("rope.freq_base")
        self.device, self.dtype = device, dtype
        if kept is not None:
            t["token_embd.weight"] = t["token_embd.weight"][torch.as_tensor(kept)]
        t = {n: x.to(device, dtype) for n, x in t.items()}
        self.embedding, self.output_norm = t["token_embd.weight"], t["output_norm.weight"]
        self.blocks = []
        for i in range(self.layers):
            g = lambda n: t["blk.%d.%s.weight" % (i, n)]
            self.blocks.append((g("attn_norm"), torch.cat([g("attn_q"), g("attn_k"), g("attn_v")]), g("attn_output"),
                                g("ffn_norm"), torch.cat([g("ffn_gate"), g("ffn_up")]), g("ffn_down")))
        self.decoder = Decoder() if device == "cpu" else None

    def norm(self, x, weight):
        return F.rms_norm(x, (self.dim,), weight, self.eps)

    def run(self, ids, cos, sin, attention):
        """Logits of ids [batch, n]; attention(layer, q, k, v) of [batch, n, heads, head_dim] each."""
        b, n = ids.shape
        q_rows, kv_rows = self.heads * self.head_dim, self.kv_heads * self.head_dim
        x = F.embedding(ids, self.embedding)
        for i, (attn_norm, qkv, o, ffn_norm, gate_up, down) in enumerate(self.blocks):
            q, k, v = F.linear(self.norm(x, attn_norm), qkv).split([q_rows, kv_rows, kv_rows], -1)
            q = rotate(q.reshape(b, n, self.heads, self.head_dim), cos, sin)
            k = rotate(k.reshape(b, n, self.kv_heads, self.head_dim), cos, sin)
            a = attention(i, q, k, v.reshape(b, n, self.kv_heads, self.head_dim))
            x = x + F.linear(a.reshape(b, n, q_rows), o)
            g, u = F.linear(self.norm(x, ffn_norm), gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(g) * u, down)
        return F.linear(self.norm(x, self.output_norm), self.embedding)

    @torch.no_grad()
    def rows(self, ids, mask=None, keep=None):
        """Logits of whole rows; mask [batch, n, n] says who sees whom (default: causal); keep gets k and v of each layer."""
        cos, sin = (z[:, None] for z in rope_tables(ids.shape[1], self.head_dim, self.base, self.device))

        def attention(layer, q, k, v):
            if keep is not None:
                keep.append((k, v))
            q, k, v = (z.transpose(1, 2) for z in (q, k, v))
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask[:, None],
                                               is_causal=mask is None, enable_gqa=True)
            return a.transpose(1, 2)
        return self.run(ids, cos, sin, attention)


class Cache:
    """Keys and values of `n` sequences of up to `room` tokens, and one step of all of them."""

    def __init__(self, teacher, n, room):
        self.t, self.room = teacher, room
        shape = (teacher.layers, n, teacher.kv_heads, room, teacher.head_dim)
        self.k = torch.zeros(shape, dtype=teacher.dtype, device=teacher.device)
        self.v = torch.zeros(shape, dtype=teacher.dtype, device=teacher.device)
        self.cos, self.sin = rope_tables(room, teacher.head_dim, teacher.base, teacher.device)
        self.places = torch.arange(room, device=teacher.device)

    def prefix(self, ids):
        """What begin() copies: keys and values of some first tokens."""
        kept = []
        self.t.rows(torch.tensor([ids], device=self.t.device), keep=kept)
        return tuple(torch.stack([pair[j][0].transpose(0, 1) for pair in kept]) for j in (0, 1))

    def begin(self, slot, prefix):
        n = prefix[0].shape[2]
        self.k[:, slot, :, :n], self.v[:, slot, :, :n] = prefix

    @torch.no_grad()
    def step(self, ids, at):
        """Logits after token ids[i] at place at[i] of sequence i."""
        t = self.t

        def attention(layer, q, k, v):
            q, k, v = q[:, 0], k[:, 0], v[:, 0]
            if t.decoder and t.dtype == torch.bfloat16:
                return t.decoder.attend(q, k, v, self.k[layer], self.v[layer], at)
            where = at[:, None, None, None].expand(-1, t.kv_heads, 1, t.head_dim)
            self.k[layer].scatter_(2, where, k[:, :, None])
            self.v[layer].scatter_(2, where, v[:, :, None])
            seen = self.places[None] <= at[:, None]
            group = q.view(len(q), t.kv_heads, -1, t.head_dim)  # query heads of one key head as if they were positions
            return F.scaled_dot_product_attention(group, self.k[layer], self.v[layer], attn_mask=seen[:, None, None])
        cos, sin = (z[at][:, None, None] for z in (self.cos, self.sin))
        return t.run(ids[:, None], cos, sin, attention)[:, 0]

    def largest(self, logits, most):
        """(values, columns, logsumexp) of the largest logits of each row"""
        logits = logits.float()
        if self.t.decoder:
            return self.t.decoder.largest(logits, most)
        return *logits.topk(most), logits.logsumexp(-1)
