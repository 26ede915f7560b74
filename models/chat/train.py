#!/usr/bin/env python3
"""Distil the ternary student.

    train.py --config cpu --teacher TEACHER.gguf --vocab DATA/vocab.json --shards SHARDS \
             --texts FILE... --out RUN [--tokens 20e6] [--resume]

The schedule follows tokens: full precision for a while (the layers that were
left out are missed less and less), then the mix of full precision and ternary
weights and int8 inputs rises to all ternary, then ternary to the end.  The
learning rate falls linearly in two stages; weight decay is on in the first
only.  --resume goes on with RUN/last.pt, with a longer --tokens if wanted (the
learning rate is then again what that schedule says).  --start-from begins with
an exported file in place of the teacher's layers, ternary from the first token.

On a CPU each worker is one process with one thread; gradients are added up
once a step.  On a GPU there is one process.

The loss of a predicted token is cross-entropy, plus the divergence from what
the teacher expected there: from the shards (its 16 likeliest tokens; all
others count as one) or, with --online, from the teacher run beside.
"""
import argparse
import csv
import math
import os
import subprocess
import sys
import time

import numpy as np
import torch

from model import Config, Model, from_file, from_teacher
from optim import Optimiser
from rows import Mixture
from teacher import Teacher, read_gguf
from vocab import Vocabulary
from workers import Workers, apart

# length of a row of tokens, rows a step and rows at a time, learning rate, tokens of the schedule, parts of it at full precision
# and until all is ternary, part of plain texts among the tokens
CONFIGS = {
    "cpu": dict(layers=8, length=256, batch=24, micro=4, lr=2e-3, tokens=10e6, full=0.06, mixed=0.2, text_part=0.25),
    "gpu": dict(layers=30, length=512, batch=256, micro=32, lr=1e-3, tokens=300e6, full=0.01, mixed=0.1, text_part=0.15,
                embedding="q4_0"),
    "tiny": dict(layers=2, length=256, batch=2, micro=1, lr=2e-3, tokens=40e3, full=0.2, mixed=0.5, text_part=0.3),
}


def losses(logits, row, online=None):
    """(weighted sums of cross-entropy and divergence, their weights) of a batch of packed rows."""
    ids, cross, teach = row["ids"][:, 1:], row["cross"][:, 1:], row["teach"][:, 1:]
    logq = logits.log_softmax(-1)
    ce = -logq.gather(2, ids[..., None])[..., 0]
    if online is not None:
        p = online.float().softmax(-1)
        kl = (p * (p.clamp(min=1e-20).log() - logq)).sum(-1)
        teach = cross
    else:
        logp = row["logp"][:, :-1].float()
        p = logp.exp()
        q_top = logq.gather(2, row["top"][:, :-1])
        p_rest = (1 - p.sum(-1)).clamp(min=1e-4)
        q_rest = (1 - q_top.exp().sum(-1)).clamp(min=1e-4)
        kl = (p * (logp - q_top)).sum(-1) + p_rest * (p_rest.log() - q_rest.log())
    return (ce * cross).sum(), (kl * teach).sum(), cross.sum(), teach.sum()


def to_batch(rows, part, device):
    kinds = {"ids": torch.long, "document": torch.int32, "cross": torch.float32, "teach": torch.float32,
             "top": torch.long, "logp": torch.float16}
    signed = lambda x: x.astype(np.int32) if x.dtype == np.uint16 else x
    return {name: torch.from_numpy(signed(x[part])).to(device=device, dtype=kinds[name]) for name, x in rows.items()}


def schedule(done, args):
    """(mix, learning rate, weight decay) when `done` of the tokens are seen"""
    mix = 1.0 if done >= args.mixed else max(0.0, (done - args.full) / (args.mixed - args.full))
    warm = min(1.0, done / 0.01)
    if done < args.stage:
        return mix, args.lr * warm * (1 - 0.5 * done / args.stage), args.weight_decay
    return mix, args.lr * 0.4 * max(0.0, (1 - done) / (1 - args.stage)), 0.0


def build(args, config, vocab, sample, device):
    keys, tensors = read_gguf(args.teacher)
    c = Config(vocab=len(vocab.tokens), layers=args.layers, activation=args.activation, sub_norms=not args.plain,
               row_scales=not args.matrix_scales, embedding=config.get("embedding", "q8_0"))
    model = Model(c)
    if args.start_from:
        from_file(model, args.start_from)
        return model.to(device)
    from_teacher(model, tensors, vocab.origin, keys["llama.block_count"], sample["ids"][:, :-1], sample["document"][:, :-1])
    return model.to(device)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--config", choices=sorted(CONFIGS), default="cpu")
    ap.add_argument("--teacher", required=True)
    ap.add_argument("--vocab", required=True)
    ap.add_argument("--shards", required=True)
    ap.add_argument("--kept-out", metavar="SHARDS", help="conversations to measure by, when they are not to be a part of SHARDS")
    ap.add_argument("--texts", nargs="*", default=[])
    ap.add_argument("--out", required=True)
    ap.add_argument("--layers", type=int)
    ap.add_argument("--length", type=int, help="tokens a row")
    ap.add_argument("--batch", type=int, help="rows a step, all workers together")
    ap.add_argument("--micro", type=int, help="rows a worker takes at a time")
    ap.add_argument("--lr", type=float)
    ap.add_argument("--tokens", type=float, help="of the schedule")
    ap.add_argument("--full", type=float, help="part of the tokens at full precision")
    ap.add_argument("--mixed", type=float, help="part of the tokens after which all is ternary")
    ap.add_argument("--text-part", type=float)
    ap.add_argument("--known", type=float, default=0.25, help="conversations of known.py to one of the teacher's")
    ap.add_argument("--stage", type=float, default=0.5, help="where the second stage begins")
    ap.add_argument("--weight-decay", type=float, default=0.1)
    ap.add_argument("--optimiser", choices=("adamw", "muon"), default="muon")
    ap.add_argument("--activation", choices=("relu2", "silu"), default="relu2")
    ap.add_argument("--plain", action="store_true", help="no sub-norms")
    ap.add_argument("--matrix-scales", action="store_true", help="one multiplier per matrix, not per row")
    ap.add_argument("--kl", type=float, default=1.0, help="weight of the divergence")
    ap.add_argument("--online", action="store_true", help="run the teacher beside, for all tokens")
    ap.add_argument("--workers", type=int, default=2)
    ap.add_argument("--minutes", type=float, default=1e9, help="save and stop after so much time (CPU: processor time)")
    ap.add_argument("--save-minutes", type=float, default=4)
    ap.add_argument("--eval-rows", type=int, default=24)
    ap.add_argument("--no-compile", action="store_true")
    ap.add_argument("--resume", action="store_true")
    ap.add_argument("--start-from", metavar="FILE.gguf", help="begin with what export.py wrote")
    ap.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
    args = ap.parse_args()
    config = CONFIGS[args.config]
    for name, value in config.items():
        if getattr(args, name, 0) is None:
            setattr(args, name, value)
    if args.start_from:
        args.full = args.mixed = 0.0
    device = "cuda" if torch.cuda.is_available() else "cpu"
    workers = 1 if device == "cuda" else args.workers
    os.makedirs(args.out, exist_ok=True)
    meet = os.path.abspath(os.path.join(args.out, "meeting-point"))
    if "MALLOC_TRIM_THRESHOLD_" not in os.environ:  # keep freed memory
        os.environ.update(MALLOC_MMAP_MAX_="0", MALLOC_TRIM_THRESHOLD_=str(10 ** 11), OMP_NUM_THREADS="1",
                          MALLOC_TOP_PAD_=str(1 << 28), GLIBC_TUNABLES="glibc.malloc.hugetlb=1")
        os.execv(sys.executable, [sys.executable] + sys.argv)
    children = []
    if args.rank == 0 and workers > 1:
        if os.path.exists(meet):
            os.remove(meet)
        children = [subprocess.Popen([sys.executable] + sys.argv + ["--rank", str(r)]) for r in range(1, workers)]
    torch.set_num_threads(1)
    torch.manual_seed(1)
    together = Workers(workers, args.rank, meet)

    def say(text):
        if args.rank == 0:
            print(text, flush=True)

    vocab = Vocabulary.load(args.vocab)
    mixture = Mixture(vocab, args.shards, args.texts, args.length, args.text_part, args.known, args.kept_out)
    say("%.3f M tokens of conversations, %.3f M of texts, of which %.1f %% an epoch" % (
        mixture.chat_tokens / 1e6, mixture.text_tokens / 1e6, 100 * mixture.share))
    dev = {kind: mixture.dev(kind, args.eval_rows) for kind in ("chat", "text")}
    last = os.path.join(args.out, "last.pt")
    step = tokens = epoch = at = 0
    rows = mixture.epoch(epoch)
    if args.resume:
        state = torch.load(last, map_location=device)
        model = Model(Config(**state["config"])).to(device)
        model.load_state_dict(state["model"])
    else:
        model = build(args, config, vocab, to_batch(rows, slice(0, 4), "cpu"), device)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and n != "token_embd"]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or n == "token_embd"]
    say("%.2f M weights to be ternary, %.2f M others" % (
        sum(p.numel() for p in matrices) / 1e6, sum(p.numel() for p in others) / 1e6))
    params = list(model.parameters())
    together.share(params, matrices if args.optimiser == "muon" else [])
    optimiser = Optimiser(matrices, others, args.optimiser, fused=True)
    if args.resume:
        if "optimiser" in state:
            optimiser.load_state_dict(state["optimiser"])
        step, tokens, epoch, at = (state[k] for k in ("step", "tokens", "epoch", "at"))
        del state
        rows = mixture.epoch(epoch)
    together.share_states(optimiser.parts)
    online = Teacher(args.teacher, vocab.origin, device) if args.online else None

    loss_of = losses
    if not args.no_compile:  # one block's graph serves all blocks
        for block in model.blk:
            block.compile()
        loss_of = torch.compile(losses)

    def run(row, mix, expected):
        return loss_of(model(row["ids"][:, :-1], row["document"][:, :-1], mix), row, expected)

    def expectations(row):
        if online is None:
            return None
        document, n = row["document"][:, :-1], row["ids"].shape[1] - 1
        place = torch.arange(n, device=device)
        return online.rows(row["ids"][:, :-1], (document[:, :, None] == document[:, None]) & (place[:, None] >= place))

    def evaluate(kind, mix):  # with gradients, unused: without them all would be compiled once more
        sums = np.zeros(4)
        rows = dev[kind]
        for i in range(0, len(rows["ids"]) - args.micro + 1, args.micro):  # whole batches: one compiled shape
            sums += [float(x.detach()) for x in run(to_batch(rows, slice(i, i + args.micro), device), mix, None)]
        return math.exp(sums[0] / max(1, sums[2])), sums[1] / max(1, sums[3])

    def save():
        if args.rank == 0:
            torch.save({"config": model.c.dict(), "model": apart(model.state_dict()),
                        "optimiser": apart(optimiser.state_dict()), "step": step, "tokens": tokens, "epoch": epoch,
                        "at": at}, last + ".part")
            os.replace(last + ".part", last)

    clock = time.time if device == "cuda" else time.process_time
    log = open(os.path.join(args.out, "log.csv" if args.rank == 0 else "log-%d.csv" % args.rank), "a", newline="")
    table = csv.writer(log)
    if log.tell() == 0:
        table.writerow("step tokens mix lr cross divergence chat_ppl chat_kl text_ppl seconds wall".split())
    mean = np.zeros(2)
    began, evaluated = clock(), 0.0
    share = args.batch // workers
    while tokens < args.tokens:
        if at + args.batch > len(rows["ids"]):
            epoch, at = epoch + 1, 0
            rows = mixture.epoch(epoch)
        mix, lr, decay = schedule(tokens / args.tokens, args)
        mix_now = torch.tensor(mix, device=device)
        first, sums = at + args.rank * share, torch.zeros(4, device=device)
        together.begin()
        norm = args.batch * args.length * 0.5  # about the sum of weights of a batch; a constant, so that workers agree
        for i in range(first, first + share, args.micro):
            row = to_batch(rows, slice(i, i + args.micro), device)
            parts = run(row, mix_now, expectations(row))
            ((parts[0] + args.kl * parts[1]) / norm).backward()
            sums += torch.stack([x.detach() for x in parts])
        at += args.batch
        with torch.no_grad():
            spent = torch.tensor([(clock() - began) / workers], device=device)
            numbers = together.gather(torch.cat([sums, spent]), 1.0).tolist()
        spent = numbers[4]
        optimiser.step(lr, decay)
        together.stepped()
        step += 1
        tokens += args.batch * args.length
        now = np.array([numbers[0] / max(1, numbers[2]), numbers[1] / max(1, numbers[3])])
        mean = now if step == 1 or not mean.any() else 0.95 * mean + 0.05 * now
        finished = tokens >= args.tokens or spent > args.minutes * 60
        checked = ["", "", ""]
        if finished or spent - evaluated > args.save_minutes * 60:
            evaluated = spent
            (chat, kl), (text, _) = evaluate("chat", mix_now), evaluate("text", mix_now)
            checked = ["%.4f" % chat, "%.4f" % kl, "%.4f" % text]
            save()
        if step % 10 == 0 or checked[0]:
            line = [step, tokens, "%.3f" % mix, "%.2e" % lr, "%.4f" % mean[0], "%.4f" % mean[1], *checked,
                    "%.0f" % spent, "%.0f" % time.time()]
            if args.rank == 0:
                table.writerow(line)
                log.flush()
            say("step %s  tokens %.3f M  mix %s  lr %s  cross %s  divergence %s  chat ppl %s kl %s  text ppl %s  %s s" % (
                line[0], tokens / 1e6, *line[2:10]))
        if finished:
            break
    say("stopped: %d steps, %.2f M tokens, %.0f s" % (step, tokens / 1e6, spent))
    together.end()
    for child in children:
        child.wait()


if __name__ == "__main__":
    main()
