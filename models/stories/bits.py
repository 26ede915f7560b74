"""Weights of 1 to 16 bits for training: codes on a uniform grid times one scale per matrix.

Each function takes a master matrix and gives (codes with a straight-through gradient, scale).  Steps are
those that lose least of a normal distribution of the matrix's own spread (J. Max, "Quantizing for minimum
distortion", 1960, table II), but for one bit and ternary, which take the mean magnitude as BitNet does
(Wang et al. 2023; Ma et al. 2024).  At 1, 2, 3 and 4 bits levels lie between the integers, so that none is
wasted on one side; ParetoQ (Liu et al. 2025, section 3) found that to matter at 2 bits and below, but learns
its steps.
"""
import torch

STEP = {2: 0.9957, 3: 0.5860, 4: 0.3352}  # of a standard deviation


def _through(u, codes):
    """codes, whose gradient is that of u."""
    return u + (codes - u).detach()


def one(w):
    scale = w.detach().abs().mean().clamp(min=1e-5)
    u = w / scale
    return _through(u, torch.where(u >= 0, 1.0, -1.0)), scale


def ternary(w):
    scale = w.detach().abs().mean().clamp(min=1e-5)
    u = w / scale
    return _through(u, u.round().clamp(-1, 1)), scale


def between(w, bits):
    """2 ** bits levels: -0.5, 0.5, 1.5, ..."""
    scale = (w.detach().std() * STEP[bits]).clamp(min=1e-5)
    u = w / scale
    top = 2 ** (bits - 1) - 0.5
    return _through(u, (u.floor() + 0.5).clamp(-top, top)), scale


def eight(w):
    scale = (w.detach().abs().max() / 127).clamp(min=1e-8)
    u = w / scale
    return _through(u, u.round()), scale


def sixteen(w):
    """bfloat16, which is what the product's operands are rounded to in any case."""
    return w, torch.ones((), dtype=w.dtype)


QUANTISERS = {
    "1": one,
    "1.58": ternary,
    "2": lambda w: between(w, 2),
    "3": lambda w: between(w, 3),
    "4": lambda w: between(w, 4),
    "8": eight,
    "16": sixteen,
}
