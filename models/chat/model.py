"""The student: a BitNet b1.58 transformer made from layers of the teacher.

Linear layers see weights between full precision (mix 0) and ternary (mix 1)
and inputs between full precision and int8, gradients pass straight through.
At mix 1 the products are the engine's: whole numbers times two multipliers.
"""
import os
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from teacher import rope_tables, rotate

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

MATMUL = torch.bfloat16
JOINED = (("attn_q", "attn_k", "attn_v"), ("attn_output",), ("ffn_gate", "ffn_up"), ("ffn_down",))


class Config:
    vocab = 12288
    context = 512
    dim = 576
    layers = 8
    heads = 9
    kv_heads = 3
    head_dim = 64
    ffn = 1536
    eps = 1e-5
    rope_base = 100000.0
    activation = "relu2"    # or silu
    sub_norms = True        # with them and relu2 the model is a bitnet-b1.58, without either a llama
    row_scales = True       # one multiplier per row of a matrix, else one per matrix
    embedding = "q8_0"      # type in the file: q8_0 or q4_0

    def __init__(self, **kw):
        for key, value in kw.items():
            assert hasattr(Config, key), key
            setattr(self, key, value)

    def dict(self):
        return {n: getattr(self, n) for n in vars(Config) if not n.startswith("_") and not callable(getattr(Config, n))}


def rms_norm(x, weight, eps):
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def ternary_scale(w, row_scales):
    size = w.detach().abs()
    return (size.mean(1) if row_scales else size.mean().expand(w.shape[0])).clamp(min=1e-5)


def ternary(w, row_scales, mix=1.0):
    """(codes, multiplier of each row) of a master matrix"""
    scale = ternary_scale(w, row_scales)
    u = w / scale[:, None]
    return u + mix * (u.round().clamp(-1, 1) - u).detach(), scale


def quantise(x, mix):
    """(int8 values, multiplier) per token"""
    step = x.detach().abs().amax(-1, keepdim=True).clamp(min=1e-5) / 127
    u = x / step
    return u + mix * (u.round().clamp(-128, 127) - u).detach(), step


def linear(q, step, codes, scale):
    return F.linear(q.to(MATMUL), codes).float() * (step * scale)


def quantised_embedding(w, kind, mix):
    """The embedding as the file will hold it: blocks of 32 with one float16 multiplier."""
    if kind == "q8_0":  # too fine to matter in training
        return w
    b = w.detach().view(-1, 32)
    peak = b.gather(1, b.abs().argmax(1, keepdim=True))
    d = (peak / -8).half().float()
    q = (b / torch.where(d == 0, 1.0, d) + 8.5).floor().clamp(0, 15) - 8
    return w + mix * ((q * d).view_as(w) - w).detach()


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
        self.attn_norm = nn.Parameter(torch.ones(c.dim))
        self.ffn_norm = nn.Parameter(torch.ones(c.dim))
        if c.sub_norms:
            self.attn_sub_norm = nn.Parameter(torch.ones(q))
            self.ffn_sub_norm = nn.Parameter(torch.ones(c.ffn))
        for name, rows, cols in (("attn_q", q, c.dim), ("attn_k", kv, c.dim), ("attn_v", kv, c.dim),
                                 ("attn_output", c.dim, q), ("ffn_gate", c.ffn, c.dim), ("ffn_up", c.ffn, c.dim),
                                 ("ffn_down", c.dim, c.ffn)):
            setattr(self, name, nn.Parameter(torch.empty(rows, cols).normal_(std=0.5 * cols ** -0.5)))

    def matrices(self, mix):
        out = []
        for names in JOINED:
            parts = [ternary(getattr(self, n), self.c.row_scales, mix) for n in names]
            out.append((torch.cat([p[0] for p in parts]).to(MATMUL), torch.cat([p[1] for p in parts])))
        return out

    def forward(self, x, cos, sin, hidden, mix, sizes=None):
        """hidden [batch, 1, n, n]: places not seen; sizes gets the root mean squares before o and down."""
        c = self.c
        qkv_w, o_w, gu_w, d_w = self.matrices(mix)
        b, n, _ = x.shape
        q, k, v = linear(*quantise(rms_norm(x, self.attn_norm, c.eps), mix), *qkv_w).split(
            [c.heads * c.head_dim, c.kv_heads * c.head_dim, c.kv_heads * c.head_dim], -1)
        q = rotate(q.view(b, n, c.heads, c.head_dim), cos, sin)
        k = rotate(k.view(b, n, c.kv_heads, c.head_dim), cos, sin)
        v = v.view(b, n, c.kv_heads, c.head_dim)
        group = c.heads // c.kv_heads
        k, v = k.repeat_interleave(group, 2), v.repeat_interleave(group, 2)
        q, k, v = (z.transpose(1, 2).to(MATMUL) for z in (q, k, v))
        if x.is_cuda:
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=~hidden)
        else:  # for short rows faster on a CPU than the fused kernel
            score = (q @ k.transpose(2, 3)).float() * c.head_dim ** -0.5
            a = score.masked_fill(hidden, -torch.inf).softmax(-1).to(MATMUL) @ v
        a = a.transpose(1, 2).reshape(b, n, c.heads * c.head_dim).float()
        if sizes is not None:
            sizes.append(a.square().mean(-1).sqrt())
        if c.sub_norms:
            a = rms_norm(a, self.attn_sub_norm, c.eps)
        x = x + linear(*quantise(a, mix), *o_w)
        g, u = linear(*quantise(rms_norm(x, self.ffn_norm, c.eps), mix), *gu_w).chunk(2, -1)
        h = (F.relu(g).square() if c.activation == "relu2" else F.silu(g)) * u
        if sizes is not None:
            sizes.append(h.square().mean(-1).sqrt())
        if c.sub_norms:
            h = rms_norm(h, self.ffn_sub_norm, c.eps)
        return x + linear(*quantise(h, mix), *d_w)


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.token_embd = nn.Parameter(torch.empty(c.vocab, c.dim).normal_(std=0.1))
        self.output_norm = nn.Parameter(torch.ones(c.dim))
        self.blk = nn.ModuleList(Block(c) for _ in range(c.layers))
        cos, sin = rope_tables(c.context, c.head_dim, c.rope_base)
        self.register_buffer("cos", cos[:, None], persistent=False)
        self.register_buffer("sin", sin[:, None], persistent=False)

    def forward(self, ids, document, mix, sizes=None):
        """Logits [batch, n, vocab]; a token sees those before it of its document."""
        n = ids.shape[1]
        embedding = quantised_embedding(self.token_embd, self.c.embedding, mix)
        x = F.embedding(ids, embedding)
        place = torch.arange(n, device=ids.device)
        hidden = ((document[:, :, None] != document[:, None]) | (place[:, None] < place))[:, None]
        for block in self.blk:
            x = block(x, self.cos[:n], self.sin[:n], hidden, mix, sizes)
        x = rms_norm(x, self.output_norm, self.c.eps)
        return F.linear(x.to(MATMUL), embedding.to(MATMUL)).float()


def picked_layers(of, count):
    """`count` layers of `of`, evenly, the first and the last among them."""
    return [round(i * (of - 1) / (count - 1)) for i in range(count)] if count > 1 else [0]


@torch.no_grad()
def from_teacher(model, tensors, origin, layers_of, ids, document):
    """Start from the teacher: its embedding rows `origin`, and layers picked evenly.  The sub-norms get
    weights that give their outputs the usual size, on some rows of text, of what the teacher has there."""
    c = model.c
    model.token_embd.copy_(tensors["token_embd.weight"][torch.as_tensor(origin)])
    model.output_norm.copy_(tensors["output_norm.weight"])
    for block, layer in zip(model.blk, picked_layers(layers_of, c.layers)):
        for name, p in block.named_parameters():
            if not name.endswith("sub_norm"):
                p.copy_(tensors["blk.%d.%s.weight" % (layer, name)])
    if c.sub_norms:
        activation, sizes = c.activation, []
        c.sub_norms, c.activation = False, "silu"
        model(ids, document, 0.0, sizes)
        c.sub_norms, c.activation = True, activation
        for i, block in enumerate(model.blk):
            block.attn_sub_norm.fill_(float(sizes[2 * i].mean()))
            block.ffn_sub_norm.fill_(float(sizes[2 * i + 1].median()))


@torch.no_grad()
def from_file(model, path, seed=1):
    """Start from a file of export.py.  Its ternary weights keep their codes and multipliers; the masters they were
    rounded from are not in it, so new ones are drawn, about as those of a trained matrix lie but none close to where
    it would round to another code."""
    from gguf_io import Reader
    r, draw = Reader(path), torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if name + ".weight" not in r.infos:
            raise SystemExit("%s: no %s in it; it was exported with other options" % (path, name))
        t = r.tensor(name + ".weight")
        codes, scale = (torch.from_numpy(np.array(x, np.float32)) for x in (t if isinstance(t, tuple) else (t, 1)))
        if codes.shape != p.shape:
            raise SystemExit("%s: %s is %s, not %s" % (path, name, tuple(codes.shape), tuple(p.shape)))
        if isinstance(t, tuple):
            some = codes.abs().mean(1, keepdim=True).clamp(min=0.1)
            rest = ((1 - 0.15 * (1 - some)) / some - 0.7).clamp(min=0)  # so that sizes are 1 in the mean
            size = 0.7 - rest * torch.rand(p.shape, generator=draw).clamp(min=1e-4).log()
            w = torch.where(codes == 0, 0.6 * torch.rand(p.shape, generator=draw) - 0.3, codes * size)
            codes = w * (scale.reshape(-1, 1) / w.abs().mean(1, keepdim=True).clamp(min=1e-6))
        p.copy_(codes)
