#!/usr/bin/env python3
"""What bits are worth: the story model at 1, 1.58, 2, 3, 4, 8 and 16 bits a weight, trained alike.

ParetoQ's question (Liu et al. 2025) in small: same data, same order, same steps, same schedule, inputs of 8 bits
everywhere; only models/stories/bits.py differs.  Each run is `train.py --bits B --steps N`; one that has ended
is not repeated, so the sweep goes on where it was stopped.

    sweep.py --data DATA --out RUNS --steps 600     # DATA as models/stories/prepare.py writes it
"""
import argparse
import csv
import math
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
STORIES = os.path.join(HERE, "..", "..", "stories")
BITS = ("1", "1.58", "2", "3", "4", "8", "16")
ENTROPY = {"1.58": math.log2(3)}  # what a ternary weight takes where five share a byte, nearly


def run(args, bits):
    out = os.path.join(args.out, bits)
    if not os.path.exists(os.path.join(out, "final.pt")):
        resume = ["--resume"] if os.path.exists(os.path.join(out, "last.pt")) else []
        subprocess.run([sys.executable, os.path.join(STORIES, "train.py"), "--data", args.data, "--out", out, "--bits",
                        bits, "--steps", str(args.steps), "--lr", str(args.lr), "--compile", *resume], check=True)
    with open(os.path.join(out, "train.log"), encoding="utf-8") as f:
        log = f.read()
    held, dev = re.findall(r"held out \(part\) ([\d.]+), dev stories ([\d.]+)", log)[-1]
    steps, tokens, loss = re.findall(r"finished: (\d+) steps, ([\d.]+) M tokens, loss ([\d.]+)", log)[-1]
    n, other = re.findall(r"parameters: ([\d.]+) M of \S+ bits, ([\d.]+) M other", log)[-1]
    size = float(n) * ENTROPY.get(bits, float(bits)) / 8 + float(other) * 2
    return {"bits": bits, "steps": steps, "tokens_M": tokens, "train_loss": loss,
            "heldout_loss": "%.4f" % math.log(float(held)), "stories_loss": "%.4f" % math.log(float(dev)),
            "MB": "%.2f" % size}


# ---------------------------------------------------------------- picture

WIDTH, HEIGHT, PAD = 380, 260, 48


def panel(x0, rows, key, label):
    """One plot: loss over log2 of a column."""
    xs = [math.log2(float(ENTROPY.get(r[key], r[key]))) for r in rows]
    ys = [float(r["heldout_loss"]) for r in rows]
    lo, hi = min(ys), max(ys)
    room = (hi - lo) * 0.12 or 0.01
    lo, hi = lo - room, hi + room
    left, right, top, bottom = x0 + PAD, x0 + WIDTH - 24, 24, HEIGHT - PAD

    def at(x, y):
        return (left + (x - min(xs)) / (max(xs) - min(xs)) * (right - left),
                bottom - (y - lo) / (hi - lo) * (bottom - top))
    points = [at(x, y) for x, y in zip(xs, ys)]
    out = ['<path d="M%.1f %.1fV%.1fH%.1f" class="axis"/>' % (left, top, bottom, right)]
    for i in range(5):
        y = lo + (hi - lo) * i / 4
        out.append('<text x="%.1f" y="%.1f" class="end">%.2f</text>' % (left - 6, at(xs[0], y)[1] + 4, y))
    out.append('<path d="M%s" class="line"/>' % "L".join("%.1f %.1f" % p for p in points))
    told = -math.inf
    for r, (x, y) in zip(rows, points):
        out.append('<circle cx="%.1f" cy="%.1f" r="3"/>' % (x, y))
        if x - told > 26:  # no room for every number
            told = x
            out.append('<text x="%.1f" y="%.1f" class="mid">%s</text>' % (x, bottom + 16, r[key]))
        if key != "bits":
            out.append('<text x="%.1f" y="%.1f" class="mid">%s</text>' % (x, y - 8, r["bits"]))
    out.append('<text x="%.1f" y="%.1f" class="mid">%s</text>' % ((left + right) / 2, HEIGHT - 10, label))
    return out


def picture(rows):
    body = panel(0, rows, "bits", "bits a weight") + panel(WIDTH, rows, "MB", "MB, embedding (F16) included")
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img">'
            '<title>Held-out loss in nats a token by bits and by bytes</title>'
            '<style>text{font:11px sans-serif;fill:#444}.mid{text-anchor:middle}.end{text-anchor:end}'
            '.axis{fill:none;stroke:#888}.line{fill:none;stroke:#2563eb;stroke-width:2}circle{fill:#2563eb}</style>\n'
            '<rect width="100%%" height="100%%" fill="#fff"/>\n%s\n</svg>\n' % (2 * WIDTH, HEIGHT, "\n".join(body)))


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--data", required=True, help="folder written by models/stories/prepare.py")
    ap.add_argument("--out", required=True, help="folder of the runs")
    ap.add_argument("--steps", type=int, default=600)
    ap.add_argument("--lr", type=float, default=2.5e-3)
    args = ap.parse_args()
    rows = [run(args, b) for b in BITS]
    with open(os.path.join(HERE, "sweep.csv"), "w", newline="", encoding="utf-8") as f:
        w = csv.DictWriter(f, list(rows[0]), lineterminator="\n")
        w.writeheader()
        w.writerows(rows)
    with open(os.path.join(HERE, "sweep.svg"), "w", encoding="utf-8") as f:
        f.write(picture(rows))
    print("| " + " | ".join(rows[0]) + " |\n|" + "---:|" * len(rows[0]))
    for r in rows:
        print("| " + " | ".join(r.values()) + " |")


if __name__ == "__main__":
    main()
