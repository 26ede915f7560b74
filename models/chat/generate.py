#!/usr/bin/env python3
"""Let the teacher write conversations, and keep what it expected at every token.

Many conversations are sampled side by side; when one ends its place is taken
by the next.  Half the first messages are from prompts.py, half are the
teacher's own (it goes on after the mark of a user's turn).  Each shard
SHARDS/chat_SEED_NNNN.npz holds, one entry per token of the conversations in it:

    ids    the token (uint16; of the teacher's vocabulary, or the kept one)
    role   0 format, 1 user, 2 assistant (the end mark of an answer is its last token)
    first  1 where a conversation begins (the system message is left out)
    top    the teacher's MOST likeliest tokens to follow, falling
    logp   ln of their probabilities (float16)

    generate.py TEACHER.gguf --out SHARDS --seed 1 --tokens 1000000 [--vocab DATA/vocab.json]

Run one process per core, each with its own seed.
"""
import argparse
import glob
import os
import random
import sys
import time

import numpy as np
import torch

from prompts import request
from vocab import Vocabulary

MOST = 16     # teacher's tokens kept at each place
CHOICE = 24   # tokens sampling chooses from
FORMAT, USER, ASSISTANT = 0, 1, 2
SYSTEMS = [
    (2, "You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    (4, "You are a helpful assistant. You answer briefly, in one or two short sentences."),
    (5, "You are a friendly assistant. You answer in plain words and a few short sentences."),
]
LIMIT = {USER: 64, ASSISTANT: 150}      # longest turns written here
HEAT = {USER: (1.0, 0.95), ASSISTANT: (0.7, 0.9)}  # temperature, top-p
UNWANTED = ("SmolLM", "Smol", "Hugging", "Hugg")


class Conversation:
    """Turns to come: (tokens given, role of what is then sampled up to the end mark)."""

    def __init__(self, rng, vocab, own):
        start, end = "<|im_start|>", "<|im_end|>"
        ask = lambda text: vocab.encode(start + "user\n") + [(t, USER) for t in vocab.encode(text)] + vocab.encode(end + "\n")
        answer = vocab.encode(start + "assistant\n")
        gap = vocab.encode("\n")
        if own:
            self.turns = [(vocab.encode(start + "user\n"), USER), (gap + answer, ASSISTANT)]
            if rng.random() < 0.2:
                self.turns += [(gap + vocab.encode(start + "user\n"), USER), (gap + answer, ASSISTANT)]
        else:
            first, follow = request(rng)
            self.turns = [(ask(first) + answer, ASSISTANT)] + [(gap + ask(f) + answer, ASSISTANT) for f in follow]
        self.turns.reverse()
        self.ids, self.roles, self.top, self.logp = [], [], [], []

    def next_turn(self):
        given, self.writes = self.turns.pop()
        self.given = [t if isinstance(t, tuple) else (t, FORMAT) for t in given]
        self.given.reverse()
        self.written = 0


def repetitive(ids):
    """Whether some four tokens come again and again."""
    grams = [tuple(ids[i:i + 4]) for i in range(len(ids) - 3)]
    return len(grams) > 24 and len(set(grams)) < 0.7 * len(grams)


class Shards:
    def __init__(self, folder, seed, expected):
        self.folder, self.seed, self.expected = folder, seed, expected
        os.makedirs(folder, exist_ok=True)
        self.number = len(glob.glob(os.path.join(folder, "chat_%d_*.npz" % seed)))
        self.kept = []

    def add(self, c):
        self.kept.append(c)
        if sum(len(c.ids) for c in self.kept) > 25000:
            self.write()

    def write(self):
        if not self.kept:
            return
        n = [len(c.ids) for c in self.kept]
        first = np.zeros(sum(n), np.uint8)
        first[np.cumsum([0] + n[:-1])] = 1
        join = lambda name, kind: np.concatenate([np.asarray(getattr(c, name), kind) for c in self.kept])
        path = os.path.join(self.folder, "chat_%d_%04d.npz" % (self.seed, self.number))
        expected = {"top": join("top", np.uint16), "logp": join("logp", np.float16)} if self.expected else {}
        np.savez(path + ".part.npz", ids=join("ids", np.uint16), role=join("roles", np.uint8), first=first, **expected)
        os.replace(path + ".part.npz", path)
        self.number += 1
        self.kept = []


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("teacher")
    ap.add_argument("--out", required=True)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--tokens", type=float, default=1e6, help="to keep")
    ap.add_argument("--vocab", help="vocab.json of vocab.py; default: the teacher's whole vocabulary")
    ap.add_argument("--slots", type=int, default=192, help="conversations side by side")
    ap.add_argument("--own", type=float, default=0.2, help="part of the first messages that the teacher writes itself")
    ap.add_argument("--minutes", type=float, default=1e9, help="of processor time (GPU: of time), then stop")
    ap.add_argument("--ids-only", action="store_true", help="leave out top and logp, for train.py --online")
    ap.add_argument("--show", type=int, default=0, help="print so many conversations")
    args = ap.parse_args()
    from teacher import Cache, Teacher
    if "MALLOC_TRIM_THRESHOLD_" not in os.environ:  # keep freed memory
        os.environ.update(MALLOC_MMAP_MAX_="0", MALLOC_TRIM_THRESHOLD_=str(10 ** 11), MALLOC_TOP_PAD_=str(1 << 28),
                          GLIBC_TUNABLES="glibc.malloc.hugetlb=1", OMP_NUM_THREADS="1")
        os.execv(sys.executable, [sys.executable] + sys.argv)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    shards = Shards(args.out, args.seed, not args.ids_only)
    rng = random.Random("%d %d" % (args.seed, shards.number))  # another start goes on with other conversations
    vocab = Vocabulary.load(args.vocab) if args.vocab else Vocabulary.of_gguf(args.teacher)
    teacher = Teacher(args.teacher, vocab.origin if args.vocab else None, device)
    end, unwanted = vocab.ids["<|im_end|>"], UNWANTED
    forbidden = torch.tensor([i for i in vocab.special if i != end], device=device)
    room = 512
    cache = Cache(teacher, args.slots, room)
    systems = []
    for weight, text in SYSTEMS:
        ids = vocab.encode("<|im_start|>system\n" + text + "<|im_end|>\n")
        systems.append((weight, len(ids), cache.prefix(ids)))
    slots, at, ids = [None] * args.slots, torch.zeros(args.slots, dtype=torch.long), torch.zeros(args.slots, dtype=torch.long)
    heat, keep_p = torch.ones(args.slots), torch.ones(args.slots)
    random_numbers = torch.Generator().manual_seed(rng.getrandbits(40))
    kept = seen = done = dropped = shown = 0
    clock = time.time if device == "cuda" else time.process_time
    began = said = clock()

    def place(i, token, role):
        """Token to be read next by slot i."""
        c = slots[i]
        c.ids.append(token)
        c.roles.append(role)
        ids[i] = token

    def begin(i):
        _, n, prefix = rng.choices(systems, [w for w, _, _ in systems])[0]
        cache.begin(i, prefix)
        c = slots[i] = Conversation(rng, vocab, rng.random() < args.own)
        c.next_turn()
        heat[i], keep_p[i] = HEAT[c.writes]
        at[i] = n
        place(i, *c.given.pop())

    for i in range(args.slots):
        begin(i)
    while kept < args.tokens and clock() - began < args.minutes * 60:
        logits = cache.step(ids.to(device), at.to(device)).float()
        logits[:, forbidden] = -1e4
        value, column, log_sum = (z.cpu() for z in cache.largest(logits, CHOICE))
        logp = value - log_sum[:, None]
        p = (value / heat[:, None]).softmax(-1)
        p = p * (p.cumsum(-1) - p < keep_p[:, None])
        drawn = column.gather(1, torch.multinomial(p, 1, generator=random_numbers))[:, 0].tolist()
        top, logp = column[:, :MOST].numpy().astype(np.uint16), logp[:, :MOST].numpy().astype(np.float16)
        at += 1
        seen += args.slots
        places = at.tolist()
        for i, c in enumerate(slots):
            c.top.append(top[i])
            c.logp.append(logp[i])
            if c.given:
                place(i, *c.given.pop())
                continue
            finished = False
            if c.ids[-1] == end and c.written:  # the end mark was read: next turn
                if c.turns:
                    c.next_turn()
                    heat[i], keep_p[i] = HEAT[c.writes]
                    place(i, *c.given.pop())
                    continue
                finished = good = True
            elif c.written >= LIMIT[c.writes] or places[i] >= room - 1:
                finished, good = True, c.writes == ASSISTANT  # a cut answer still shows how answers go
            else:
                place(i, drawn[i], c.writes)
                c.written += 1
            if finished:
                done += 1
                text = vocab.decode(c.ids)
                if good and not repetitive(c.ids) and not any(u in text for u in unwanted):
                    kept += len(c.ids)
                    shards.add(c)
                    if shown < args.show:
                        shown += 1
                        print(text + "\n" + "-" * 60, flush=True)
                else:
                    dropped += 1
                begin(i)
        if clock() - said > 30:
            said = clock()
            print("%d conversations, %d dropped; %.3f M tokens kept, %.0f tokens/s kept, %.0f/s sampled" % (
                done, dropped, kept / 1e6, kept / (said - began), seen / (said - began)), flush=True)
    shards.write()
    print("finished: %.3f M tokens" % (kept / 1e6))


if __name__ == "__main__":
    main()
