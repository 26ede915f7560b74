#!/usr/bin/env python3
"""Train tern-stories, a small BitNet b1.58 language model, on a CPU.

Quantisation-aware from the first step: every linear layer but the (tied)
embedding sees ternary weights (absmean, one scale per matrix) and int8
activations (absmax, one scale per token); gradients pass straight through
both roundings.

Each worker is one process with one thread; once a step they add up their
gradients.  That suffers far less from other load than threads that meet at
every operation.

The learning rate follows the clock, not the step count: the run ends, fully
decayed, when --minutes of training time are over, however fast the machine
is.  A gap of more than 30 s between two steps (a paused process) is not
counted, but --deadline shortens the schedule if need be.

    train.py --data DATA --out RUN --minutes 100
"""
import argparse
import glob
import math
import os
import subprocess
import sys
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F

from bits import QUANTISERS


class Config:
    vocab = 4096
    context = 512
    dim = 256
    layers = 6
    heads = 4
    kv_heads = 2
    head_dim = 64
    ffn = 1024
    eps = 1e-5
    rope_base = 10000.0

    def __init__(self, **kw):
        for key, value in kw.items():
            setattr(self, key, value)

    def dict(self):
        names = ("vocab", "context", "dim", "layers", "heads", "kv_heads", "head_dim", "ffn", "eps", "rope_base")
        return {n: getattr(self, n) for n in names}


def rms_norm(x, weight, eps):
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def quantise(x):
    """(int8 values with a straight-through gradient, multiplier) per token."""
    step = x.detach().abs().amax(-1, keepdim=True).clamp(min=1e-5) / 127
    u = x / step
    return u + (u.round().clamp(-128, 127) - u).detach(), step


def linear(q, step, t, scale):
    """Integer product in bf16 operands (both exact there), f32 result."""
    return F.linear(q.to(MATMUL), t.to(MATMUL)).float() * (step * scale)


MATMUL = torch.bfloat16
WEIGHTS = QUANTISERS["1.58"]


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
        self.attn_norm = nn.Parameter(torch.ones(c.dim))
        self.attn_sub_norm = nn.Parameter(torch.ones(q))
        self.ffn_norm = nn.Parameter(torch.ones(c.dim))
        self.ffn_sub_norm = nn.Parameter(torch.ones(c.ffn))
        for name, rows, cols in (("attn_q", q, c.dim), ("attn_k", kv, c.dim), ("attn_v", kv, c.dim),
                                 ("attn_output", c.dim, q), ("ffn_gate", c.ffn, c.dim), ("ffn_up", c.ffn, c.dim),
                                 ("ffn_down", c.dim, c.ffn)):
            setattr(self, name, nn.Parameter(torch.empty(rows, cols).normal_(std=cols ** -0.5)))

    def codes(self):
        """Quantised matrices, those with a common input joined; once per step."""
        def join(*names):
            parts = [WEIGHTS(getattr(self, n)) for n in names]
            t = torch.cat([p[0] for p in parts])
            s = torch.cat([p[1].expand(p[0].shape[0]) for p in parts])
            return t.to(MATMUL), s
        return join("attn_q", "attn_k", "attn_v"), join("attn_output"), join("ffn_gate", "ffn_up"), join("ffn_down")

    def forward(self, x, codes, cos, sin):
        c = self.c
        qkv_w, o_w, gu_w, d_w = codes
        b, n, _ = x.shape
        q, k, v = linear(*quantise(rms_norm(x, self.attn_norm, c.eps)), *qkv_w).split(
            [c.heads * c.head_dim, c.kv_heads * c.head_dim, c.kv_heads * c.head_dim], -1)
        q = rope(q.view(b, n, c.heads, c.head_dim), cos, sin)
        k = rope(k.view(b, n, c.kv_heads, c.head_dim), cos, sin)
        v = v.view(b, n, c.kv_heads, c.head_dim)
        group = c.heads // c.kv_heads
        k, v = k.repeat_interleave(group, 2), v.repeat_interleave(group, 2)
        q, k, v = (z.transpose(1, 2).to(MATMUL) for z in (q, k, v))
        score = (q @ k.transpose(2, 3)).float() * c.head_dim ** -0.5
        score = score.masked_fill(torch.arange(n)[:, None] < torch.arange(n), -torch.inf)
        a = score.softmax(-1).to(MATMUL) @ v  # for short rows faster here than the fused kernel
        a = a.transpose(1, 2).reshape(b, n, c.heads * c.head_dim)
        x = x + linear(*quantise(rms_norm(a, self.attn_sub_norm, c.eps)), *o_w)
        g, u = linear(*quantise(rms_norm(x, self.ffn_norm, c.eps)), *gu_w).chunk(2, -1)
        h = F.relu(g).square() * u
        return x + linear(*quantise(rms_norm(h, self.ffn_sub_norm, c.eps)), *d_w)


def rope(x, cos, sin):
    """NEOX pairing: (x[i], x[i + n/2]); x [batch, position, head, head_dim]."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.token_embd = nn.Parameter(torch.empty(c.vocab, c.dim).normal_(std=c.dim ** -0.5))
        self.output_norm = nn.Parameter(torch.ones(c.dim))
        self.blk = nn.ModuleList(Block(c) for _ in range(c.layers))
        angle = torch.arange(c.context)[:, None].float() * c.rope_base ** (-torch.arange(0, c.head_dim, 2) / c.head_dim)
        self.register_buffer("cos", angle.cos()[:, None], persistent=False)
        self.register_buffer("sin", angle.sin()[:, None], persistent=False)

    def hidden(self, ids):
        x = F.embedding(ids, self.token_embd)
        n = ids.shape[1]
        for block in self.blk:
            x = block(x, block.codes(), self.cos[:n], self.sin[:n])
        return rms_norm(x, self.output_norm, self.c.eps)

    def forward(self, ids):
        return F.linear(self.hidden(ids).to(MATMUL), self.token_embd.to(MATMUL)).float()


def loss_of(model, ids, targets):
    logits = model(ids)
    return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=-100)


def batch_of(rows):
    rows = torch.from_numpy(rows.astype(np.int64))
    ids = rows[:, :-1] & 0x7FFF
    nxt = rows[:, 1:]
    return ids, torch.where(nxt >= 0x8000, -100, nxt)


@torch.no_grad()
def perplexity(loss_fn, rows, batch):
    total = count = 0
    for i in range(0, len(rows) - batch + 1, batch):  # whole batches only: one compiled shape
        ids, targets = batch_of(rows[i:i + batch])
        n = int((targets >= 0).sum())
        total += float(loss_fn(ids, targets)) * n
        count += n
    return math.exp(total / count)


def heldout_rows(data, context):
    """The held-out text as one run of tokens cut into rows, <|endoftext|> (id 0) before each."""
    from tokenizers import Tokenizer
    tok = Tokenizer.from_file(os.path.join(data, "tokenizer.json"))
    with open(os.path.join(data, "heldout.txt"), encoding="utf-8") as f:
        ids = tok.encode(f.read(), add_special_tokens=False).ids
    rows = [[0x8000] + ids[i:i + context] for i in range(0, len(ids) - context + 1, context)]
    return np.array(rows, np.uint16)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--data", required=True, help="folder written by prepare.py")
    ap.add_argument("--out", required=True, help="folder for log and checkpoints")
    ap.add_argument("--minutes", type=float, default=100)
    ap.add_argument("--deadline", type=float, default=math.inf, help="Unix time to have finished at")
    ap.add_argument("--batch", type=int, default=8, help="rows per step, all workers together")
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--weight-decay", type=float, default=0.1, help="dropped in the second half, as BitNet does")
    ap.add_argument("--warmup", type=float, default=0.02, help="part of the time")
    ap.add_argument("--workers", type=int, default=2)
    ap.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
    ap.add_argument("--layers", type=int, default=Config.layers)
    ap.add_argument("--dim", type=int, default=Config.dim)
    ap.add_argument("--ffn", type=int, default=Config.ffn)
    ap.add_argument("--heads", type=int, default=Config.heads)
    ap.add_argument("--kv-heads", type=int, default=Config.kv_heads)
    ap.add_argument("--compile", action="store_true")
    ap.add_argument("--bits", default="1.58", choices=list(QUANTISERS), help="of a weight")
    ap.add_argument("--steps", type=int, default=0, help="so many steps, and the schedule by them, instead of minutes")
    ap.add_argument("--float32", action="store_true", help="f32 instead of bf16 matrix products")
    ap.add_argument("--bench", type=int, default=0, help="only time this many steps")
    ap.add_argument("--save-minutes", type=float, default=10)
    ap.add_argument("--resume", action="store_true", help="go on with OUT/last.pt where it stopped")
    ap.add_argument("--start-from", help="checkpoint whose weights begin a new run, with its own schedule")
    args = ap.parse_args()
    global MATMUL, WEIGHTS
    WEIGHTS = QUANTISERS[args.bits]
    if args.float32:
        MATMUL = torch.float32
    os.makedirs(args.out, exist_ok=True)
    meet = os.path.abspath(os.path.join(args.out, "meeting-point"))
    if "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        # keep freed memory: without this most of the time goes into page faults
        os.environ.update(MALLOC_MMAP_MAX_="0", MALLOC_TRIM_THRESHOLD_=str(10 ** 11), OMP_NUM_THREADS="1",
                          MALLOC_TOP_PAD_=str(1 << 28), GLIBC_TUNABLES="glibc.malloc.hugetlb=1")
        os.execv(sys.executable, [sys.executable] + sys.argv)
    children = []
    if args.rank == 0:
        if os.path.exists(meet):
            os.remove(meet)
        children = [subprocess.Popen([sys.executable] + sys.argv + ["--rank", str(r)]) for r in range(1, args.workers)]
    torch.set_num_threads(1)
    torch.manual_seed(1)
    dist.init_process_group("gloo", init_method="file://" + meet, rank=args.rank, world_size=args.workers)

    model = Model(Config(layers=args.layers, dim=args.dim, ffn=args.ffn, heads=args.heads, kv_heads=args.kv_heads))
    c = model.c
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and n != "token_embd"]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or n == "token_embd"]
    opt = torch.optim.AdamW([{"params": matrices, "decay": True}, {"params": others, "decay": False}],
                            lr=args.lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    params = list(model.parameters())
    sizes = [p.numel() for p in params]
    flat = torch.zeros(sum(sizes) + 3)  # gradients, loss, time spent, part done
    log = open(os.path.join(args.out, "train.log") if args.rank == 0 else os.devnull, "a")

    def say(*words):
        line = " ".join(str(w) for w in words)
        if args.rank == 0:
            print(line, flush=True)
        log.write(line + "\n")
        log.flush()

    step, spent, tokens, epoch, row = 0, 0.0, 0, 0, 0
    last = os.path.join(args.out, "last.pt")
    if args.resume:
        state = torch.load(last)
        model.load_state_dict(state["model"])
        opt.load_state_dict(state["opt"])
        step, spent, tokens, epoch, row = (state[k] for k in ("step", "spent", "tokens", "epoch", "row"))

    elif args.start_from:
        state = torch.load(args.start_from)
        model.load_state_dict(state["model"])
        opt.load_state_dict(state["opt"])
        tokens, epoch = state["tokens"], state["epoch"] + 1

    def save(path):
        if args.rank:
            return
        torch.save({"config": c.dict(), "model": model.state_dict(), "opt": opt.state_dict(), "step": step,
                    "spent": spent, "tokens": tokens, "epoch": epoch, "row": row}, path + ".part")
        os.replace(path + ".part", path)

    loss_fn = lambda ids, targets: loss_of(model, ids, targets)
    if args.compile:
        loss_fn = torch.compile(loss_fn)
    files = sorted(glob.glob(os.path.join(args.data, "epoch_*.npy")))
    rows = np.load(files[epoch % len(files)])
    dev = np.load(os.path.join(args.data, "dev.npy"))
    held = heldout_rows(args.data, c.context)[:96]
    say("parameters: %.2f M of %s bits, %.2f M other; matmul %s" % (
        sum(p.numel() for p in matrices) / 1e6, args.bits, sum(p.numel() for p in others) / 1e6, MATMUL))

    budget = args.minutes * 60
    saved = evaluated = spent
    mean = None
    speed_t, speed_n = time.time(), 0
    before = time.time()
    while True:
        if row + args.batch > len(rows):
            epoch, row = epoch + 1, 0
            rows = np.load(files[epoch % len(files)])
        share = args.batch // args.workers
        ids, targets = batch_of(rows[row + args.rank * share:row + (args.rank + 1) * share])
        row += args.batch
        loss = loss_fn(ids, targets)
        loss.backward()
        now = time.time()
        spent += min(now - before, 30.0)
        before = now
        with torch.no_grad():
            if args.steps:
                done = (step + 1) / args.steps
            else:
                done = min(1.0, spent / min(budget, spent + max(0.0, args.deadline - now) + 1e-3))
            clock = [spent, done] if args.rank == 0 else [0.0, 0.0]
            torch.cat([p.grad.view(-1) for p in params] +
                      [loss.detach()[None], torch.tensor(clock)], out=flat)
            dist.all_reduce(flat)
            spent, done = float(flat[-2]), float(flat[-1])  # one clock for all
            value = float(flat[-3]) / args.workers
            flat /= args.workers
            for p, g in zip(params, flat[:-3].split(sizes)):
                p.grad = g.view_as(p)
        warm = min(1.0, done / args.warmup) if args.warmup else 1.0
        rate = args.lr * warm * 0.5 * (1 + math.cos(math.pi * max(0.0, done - args.warmup) / (1 - args.warmup)))
        for group in opt.param_groups:
            group["lr"] = rate
            group["weight_decay"] = args.weight_decay if group["decay"] and done < 0.5 else 0.0
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        step += 1
        tokens += ids.numel() * args.workers
        speed_n += ids.numel() * args.workers
        mean = value if mean is None else 0.98 * mean + 0.02 * value
        if args.bench and step >= args.bench:
            break
        if step == 3 or step % (6 if args.bench else 50) == 0:
            say("step %d  %.1f min  epoch %d  tokens %.2f M  loss %.4f  lr %.2e  %.0f tokens/s" % (
                step, spent / 60, epoch, tokens / 1e6, mean, rate, speed_n / (now - speed_t)))
            speed_t, speed_n = now, 0
            if args.bench:
                say("  loss now %.4f" % value)
        finished = done >= 0.9999
        if not args.bench and (finished or spent - evaluated > 600 or (evaluated == 0 and spent > 60)):
            evaluated = spent
            if args.rank == 0:
                say("step %d  %.1f min  perplexity: held out (part) %.3f, dev stories %.3f" % (
                    step, spent / 60, perplexity(loss_fn, held, share), perplexity(loss_fn, dev, share)))
            save(last)
            saved = spent
        if not args.bench and spent - saved > args.save_minutes * 60:
            save(last)
            saved = spent
        if finished:
            break
    if not args.bench:
        save(os.path.join(args.out, "final.pt"))
        say("finished: %d steps, %.2f M tokens, loss %.4f" % (step, tokens / 1e6, mean))
    dist.barrier()
    for child in children:
        child.wait()


if __name__ == "__main__":
    main()
