#!/usr/bin/env python3
"""GPTQ to three levels in float64, written down from the paper (arXiv 2210.17323, section 3, algorithm 1 without
its blocks), for tests/unit/compress_gptq.c.

Writes problem.bin beside itself, little-endian: u32 number of problems; of each
  u32 n, rows, n_x, group, half (0 or 1), tensor (0: scales per group, 1: one that is given)
  f32 scale (given), loss
  f32 x[n_x][n], w[rows][n], q[rows][n]
A problem is only taken where no decision is so close that float32 might decide otherwise.
"""
import os
import struct

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
DAMP = 0.01


def scale_of(w, h, half):
    """Of least weighted squared error, by trying every number of nonzero weights."""
    order = np.argsort(-np.abs(w), kind="stable")
    a, h = np.abs(w)[order], h[order]
    sums, weights = np.cumsum(h * a), np.cumsum(h)
    gains = sums**2 / weights
    best = int(np.argmax(gains))
    close = np.sort(gains)[-2] if len(gains) > 1 else 0.0
    s = sums[best] / weights[best]
    return (float(np.float16(s)) if half else s), gains[best] - close > 1e-4 * gains[best]


def gptq(x, w, group, half, given):
    n = w.shape[1]
    hess = x.T @ x
    hess += DAMP * np.mean(np.diag(hess)) * np.eye(n)
    u = np.linalg.cholesky(np.linalg.inv(hess)).T  # upper: inv(H) = U^T U
    w, q = w.copy(), np.zeros_like(w)
    loss, clear = 0.0, True
    for r in range(w.shape[0]):
        s = given
        for j in range(n):
            if not given and j % group == 0:
                end = min(j + group, n)
                s, ok = scale_of(w[r, j:end], 1.0 / np.diag(u)[j:end] ** 2, half)
                clear &= ok
            clear &= abs(abs(w[r, j]) / s - 0.5) > 2e-5
            q[r, j] = s * np.sign(w[r, j]) if abs(w[r, j]) > 0.5 * s else 0.0
            e = (w[r, j] - q[r, j]) / u[j, j]
            w[r, j:] -= e * u[j, j:]
            loss += e * e
    return q, loss, clear


def problem(seed, n, rows, n_x, group, half, tensor):
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((n, n)) * (0.3 / np.sqrt(n)) + np.diag(rng.uniform(0.2, 1.5, n))
    x = (rng.standard_normal((n_x, n)) @ mix).astype(np.float32)
    x[:, 5] = 0.0
    w = (rng.standard_normal((rows, n)) * 0.05).astype(np.float32)
    given = float(np.float32(1.5 * np.mean(np.abs(w)))) if tensor else 0.0
    q, loss, clear = gptq(x.astype(np.float64), w.astype(np.float64), group, half, given)
    if not clear:
        return None
    return (struct.pack("<6I2f", n, rows, n_x, group, half, tensor, given, loss) + x.tobytes() + w.tobytes()
            + q.astype(np.float32).tobytes())


def main():
    out = []
    for n, rows, n_x, group, half, tensor in [(64, 3, 70, 64, 1, 0), (192, 2, 60, 64, 1, 0), (192, 2, 40, 128, 1, 0),
                                              (192, 2, 40, 192, 0, 0), (128, 3, 40, 128, 0, 1)]:
        found = (problem(seed, n, rows, n_x, group, half, tensor) for seed in range(1000))
        out.append(next(p for p in found if p))
    with open(os.path.join(HERE, "problem.bin"), "wb") as f:
        f.write(struct.pack("<I", len(out)) + b"".join(out))


main()
