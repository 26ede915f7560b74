#!/usr/bin/env python3
"""Measure tern-chat beside its teacher, and write the tables of models/README.md.

    evaluate.py --tern build/tern --model tern-chat.gguf --teacher TEACHER.gguf --texts FOLDER --sets FOLDER

FOLDER of texts has tinystories_v1_valid_head.txt and wiki.test.raw, that of
question sets hellaswag_val_every8th.txt and arc_easy.jsonl.  The teacher is
also made ternary without training (tern ternarize), which is where the
student's training began to pay.  Everything is measured by the program
itself; only its numbers are put into tables here.  --quick takes little of
everything.
"""
import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile

import known
from known import FIXED

TAUGHT = (known.facts, known.places, known.opposites, known.meanings, known.jobs, known.sums, known.kinds)
TEXTS = (("stories", "tinystories_v1_valid_head.txt"), ("encyclopedia", "wiki.test.raw"))
REVIEWS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reviews.jsonl")
SETS = (("HellaSwag", "hellaswag", "hellaswag_val_every8th.txt"), ("ARC-easy", "arc", "arc_easy.jsonl"))


class Tern:
    def __init__(self, program):
        self.program = program

    def text(self, *args):
        return subprocess.run([self.program, *map(str, args)], check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL).stdout.decode("utf-8", "replace")

    def json(self, *args):
        return json.loads(self.text(*args, "--json"))


def head_of(path, size, folder):
    """The first `size` bytes of a text, up to the last end of a line."""
    with open(path, "rb") as f:
        data = f.read(size)
    data = data[:data.rfind(b"\n") + 1]
    out = os.path.join(folder, os.path.basename(path))
    with open(out, "wb") as f:
        f.write(data)
    return out, len(data)


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def percent(x):
    return "%.1f %%" % (100 * x)


def quality(tern, models, args, folder):
    size, limit = (4000, 10) if args.quick else (args.bytes, args.limit)
    texts = [(name, *head_of(os.path.join(args.texts, f), size, folder)) for name, f in TEXTS]
    rows = []
    for label, path in models:
        row = [label, "%.1f MB" % (os.path.getsize(path) / 1e6)]
        for _, text, n in texts:
            r = tern.json("perplexity", path, "-f", text, "-c", 512, "--stride", 256)
            bits = r["nats_per_token"] * r["scored_tokens"] / n / math.log(2)
            row.append("%.3f (%.1f)" % (bits, r["perplexity"]))
        for _, task, f in SETS:
            r = tern.json("eval", task, path, "-f", os.path.join(args.sets, f), "--limit", limit)
            main = r["figures"][r["main"]]
            row.append("%s (%.1f to %.1f)" % (percent(main["value"]), 100 * main["low"], 100 * main["high"]))
        rows.append(row)
        print("measured " + label, file=sys.stderr)
    print("Bits per byte of the first %d kB of a text and, in brackets, perplexity per token (which depends on the "
          "vocabulary); part of the first %d questions answered, with the 95 %% interval.\n" % (size // 1000, limit))
    table(["model", "file"] + [t[0] for t in texts] + [s[0] for s in SETS], rows)
    return texts[0][1]


def decisions(tern, models):
    rows = []
    for label, path in models:
        r = tern.json("decide", path, "--labels", "positive,negative", "-i", "Is this review positive or negative?", "--evaluate",
                      REVIEWS)["figures"]
        right, loss = r["accuracy"], r["log_loss"]["value"]
        rows.append([label, "%s (%.0f to %.0f)" % (percent(right["value"]), *(100 * x for x in right["interval"])), "%.2f" % loss])
    print("`tern decide`, labels positive and negative, of the reviews in `chat/reviews.jsonl`, which were written for this and are in no "
          "training text:\n")
    table(["model", "right", "log loss"], rows)


def taught(tern, models, each):
    """Questions that the student was taught, in the words it was taught: what of it stayed."""
    rng = random.Random(9)
    asked = [(kind.__name__, [kind(rng) for _ in range(each)]) for kind in TAUGHT]
    rows = []
    for label, path in models:
        right = lambda q, a: tern.text("run", path, "-p", q, "--temp", 0, "-n", 60, "-q").strip() == a
        rows.append([label] + ["%d" % sum(right(q, a) for q, a in questions) for _, questions in asked])
    print("Of %d questions each that `known.py` teaches, answered word for word (greedy):\n" % each)
    table(["model"] + [name for name, _ in asked], rows)


def sparsity(tern, model, text, quick):
    show = tern.json("show", model)["weights"]
    stats = tern.json("stats", model, "-f", text, "--chunks", 2 if quick else 8)
    speeds, read = {}, {}
    for mode in ("off", "on"):
        for r in tern.json("bench", model, "-p", 128, "-n", 64, "--ffn-sparse", mode, "--spec", "off", "--no-walls"):
            speeds[mode, r["test"]] = "%.0f" % r["median_tok_s"]
            if r["test"] == "generate":
                read[mode] = "%.1f" % (r["bytes_per_token"] / 1e6)
    tests = sorted({t for _, t in speeds})
    rows = [["ternary weights", "%.2f M of %.2f M" % (show["ternary_parameters"] / 1e6, show["parameters"] / 1e6)],
            ["zero among them", percent(show["zero_share_of_ternary"])],
            ["zeros of the gate (squared ReLU)", percent(stats["gate_zero_share"])],
            ["zeros before the down projection", percent(stats["input_zero_share"])],
            ["of a feed-forward's weights read with exact skipping", percent(stats["read_bytes"] / stats["dense_bytes"])]]
    rows += [["MB read per generated token, skipping off and on", "%s and %s" % (read["off"], read["on"])]]
    rows += [["tokens/s, %s, skipping off and on" % t, "%s and %s" % (speeds["off", t], speeds["on", t])] for t in tests]
    table(["", ""], rows)


def answers(tern, model, tokens):
    print("Answers to %d fixed prompts, greedy, all of them and unedited:\n" % len(FIXED))
    for prompt in FIXED:
        out = tern.text("run", model, "-p", prompt, "--temp", 0, "-n", tokens, "-q").strip()
        print("* **%s** %s" % (prompt, " / ".join(line for line in out.split("\n") if line.strip())))
    print()


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--tern", required=True)
    ap.add_argument("--model", required=True)
    ap.add_argument("--teacher", required=True)
    ap.add_argument("--texts", required=True)
    ap.add_argument("--sets", required=True)
    ap.add_argument("--bytes", type=int, default=100000)
    ap.add_argument("--limit", type=int, default=400)
    ap.add_argument("--tokens", type=int, default=80)
    ap.add_argument("--quick", action="store_true")
    args = ap.parse_args()
    tern = Tern(args.tern)
    with tempfile.TemporaryDirectory() as folder:
        untrained = os.path.join(folder, "untrained.gguf")
        tern.text("ternarize", args.teacher, untrained, "--method", "absmean")
        models = [("tern-chat", args.model), ("teacher, SmolLM2-135M-Instruct", args.teacher),
                  ("teacher made ternary without training", untrained)]
        text = quality(tern, models, args, folder)
        decisions(tern, models)
        taught(tern, models[:1], 2 if args.quick else 40)
        sparsity(tern, args.model, text, args.quick)
    answers(tern, args.model, args.tokens)


if __name__ == "__main__":
    main()
