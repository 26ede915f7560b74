#!/usr/bin/env python3
"""A checkpoint in small pieces, to carry it where only small files pass, and back.

    pieces.py split RUN/last.pt FOLDER     FOLDER/piece_00, piece_01, ... of at most 15 MiB
    pieces.py join FOLDER RUN/last.pt      a checkpoint to resume from

Master weights of matrices become int8 with a multiplier for each row, which
moves hardly any of them across the border between two ternary codes;
vectors stay float32.  The optimiser's state is left out: it is found again
within some hundred steps.
"""
import argparse
import glob
import io
import os

import torch

PIECE = 15 << 20


def split(checkpoint, folder):
    state = torch.load(checkpoint, map_location="cpu")
    small = {}
    for name, w in state["model"].items():
        if w.ndim == 2:
            scale = w.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
            small[name] = ((w / scale).round().to(torch.int8), scale)
        else:
            small[name] = w
    out = io.BytesIO()
    torch.save({**{k: state[k] for k in ("config", "step", "tokens", "epoch", "at")}, "model": small}, out)
    data = out.getvalue()
    os.makedirs(folder, exist_ok=True)
    for i in range(0, len(data), PIECE):
        with open(os.path.join(folder, "piece_%02d" % (i // PIECE)), "wb") as f:
            f.write(data[i:i + PIECE])


def join(folder, checkpoint):
    data = b"".join(open(p, "rb").read() for p in sorted(glob.glob(os.path.join(folder, "piece_*"))))
    state = torch.load(io.BytesIO(data))
    state["model"] = {n: w[0].float() * w[1] if isinstance(w, tuple) else w for n, w in state["model"].items()}
    os.makedirs(os.path.dirname(os.path.abspath(checkpoint)), exist_ok=True)
    torch.save(state, checkpoint)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("what", choices=("split", "join"))
    ap.add_argument("source")
    ap.add_argument("target")
    args = ap.parse_args()
    (split if args.what == "split" else join)(args.source, args.target)


if __name__ == "__main__":
    main()
