#!/usr/bin/env python3
"""Bytes and values of the block formats as the gguf package makes them: one <format>.bin each.

    pip install gguf==0.19.0 && python3 make.py

File: u32 n_cols, u32 n_rows, u32 has_source, u32 n_bytes; f32 source[rows][cols] when has_source; the
format's bytes; f32 values[rows][cols], what the bytes mean. With a source the bytes are the package's
quantisation of it, which it states to equal the reference C quantiser.
"""

import struct
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES

COLS = 256
HERE = Path(__file__).parent
rng = np.random.default_rng(20260101)


def source(ternary):
    """Rows of ordinary weights, then of what breaks quantisers."""
    rows = [
        rng.standard_normal(COLS),
        rng.standard_normal(COLS) * 0.02 + 0.3,
        np.zeros(COLS),
        rng.standard_normal(COLS) * 3e-7,  # scales are f16 subnormals, or 0 while codes are not
        rng.standard_normal(COLS) * 2e4,  # scales near the top of f16
        rng.integers(-8, 8, COLS) / 2,  # ties
        np.where(np.arange(COLS) % 32 == 31, -5.0, 0.0),  # one value a block
        np.abs(rng.standard_normal(COLS)),
    ]
    if ternary:
        rows[5] = rng.integers(-1, 2, COLS) * 0.7
        rows[7] = rng.integers(-2, 3, COLS) * 0.5  # half of the scale: away from zero
    return np.stack(rows).astype(np.float32)


def specials():
    """All magnitudes, ties of rounding, infinities and the quiet NaN."""
    x = rng.integers(0, 2**32, (6, COLS), dtype=np.uint64).astype(np.uint32)
    x[1] = (x[1] & 0x8FFFFFFF) | 0x30000000  # f16 subnormals and normals
    x[2] = (x[1] & 0xFFFFE000) | 0x1000  # half way between two f16
    x[3] = (x[3] & 0xFFFF0000) | 0x8000  # half way between two bf16
    x[4] = (x[4] & 0x807FFFFF) | 0x47000000  # about the largest f16
    x[5, :8] = [0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 1, 0x7F7FFFFF, 0x477FF000]
    nan = (x & 0x7FFFFFFF) > 0x7F800000
    return np.where(nan, np.uint32(0x7FC00000), x).view(np.float32)


def random_blocks(t, scale_at):
    """Random bytes with f16 scales of every size, signed, subnormal and zero."""
    n_elem, n_byte = GGML_QUANT_SIZES[t]
    rows = 4
    blocks = rng.integers(0, 256, (rows * COLS // n_elem, n_byte), dtype=np.uint8)
    for at in scale_at:
        d = rng.standard_normal(len(blocks)) * 10.0 ** rng.integers(-7, 3, len(blocks))
        d[0], d[-1] = 0.0, -2.0**-24
        blocks[:, at : at + 2] = d.astype("<f2").view(np.uint8).reshape(-1, 2)
    return blocks.reshape(rows, -1)


def write(t, x, packed):
    values = quants.dequantize(packed, t).astype("<f4")
    raw = packed.tobytes()
    head = struct.pack("<4I", values.shape[1], values.shape[0], x is not None, len(raw))
    body = b"" if x is None else x.astype("<f4").tobytes()
    (HERE / f"{t.name}.bin").write_bytes(head + body + raw + values.tobytes())


np.seterr(over="ignore", invalid="ignore")
for t in (T.F16, T.BF16):
    x = specials()
    write(t, x, quants.quantize(x, t))
for t in (T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.TQ1_0, T.TQ2_0):
    x = source(t in (T.TQ1_0, T.TQ2_0))
    write(t, x, quants.quantize(x, t))
for t, scale_at in ((T.Q2_K, (80, 82)), (T.Q3_K, (108,)), (T.Q4_K, (0, 2)), (T.Q5_K, (0, 2)),
                    (T.Q6_K, (208,)), (T.IQ4_NL, (0,))):
    write(t, None, random_blocks(t, scale_at))
