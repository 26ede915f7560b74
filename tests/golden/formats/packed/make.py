#!/usr/bin/env python3
"""Bytes that llama.cpp's quantiser makes of awkward rows, with and without an importance matrix.

    pip install gguf==0.19.0 && python3 make.py PATH/OF/llama-quantize

Made with llama.cpp 0c1e57098 (ggml 0.25.3) on x86-64. Its quantisers are in a library that is built for
the oldest CPU of the architecture, so no multiplication and addition of theirs is rounded as one. Built
with that (-mfma; 64-bit Arm always) it writes other bytes in all formats but Q8_0, TQ1_0, TQ2_0 and, without
importance, Q4_0 Q4_1 Q5_0 Q5_1.

source.bin: u32 n_tensor, and for each u32 cols, u32 rows, f32 importance[cols], f32 values[rows][cols].
<format>.bin: for each tensor whose cols fit the format's block: its bytes without importance, then with
it, unless the format ignores it.
"""

import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGUFReader, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES

HERE = Path(__file__).parent
rng = np.random.default_rng(20260102)
# Format, the quantiser's name for it, whether importance counts.
FORMATS = [
    (T.Q4_0, "Q4_0", True),
    (T.Q4_1, "Q4_1", True),
    (T.Q5_0, "Q5_0", True),
    (T.Q5_1, "Q5_1", True),
    (T.Q8_0, "Q8_0", False),
    (T.Q2_K, "Q2_K", True),
    (T.Q3_K, "Q3_K_S", True),
    (T.Q4_K, "Q4_K_S", True),
    (T.Q5_K, "Q5_K_S", True),
    (T.Q6_K, "Q6_K", True),
    (T.IQ4_NL, "IQ4_NL", True),
    (T.TQ1_0, "TQ1_0", False),
    (T.TQ2_0, "TQ2_0", False),
]


def awkward(n):
    """One row of each kind of weights that quantisers stumble over."""
    normal = rng.standard_normal
    at = np.arange(n)
    rows = [
        np.zeros(n),
        -np.zeros(n),
        np.where(at == 77, -3.0, 0.0),  # one outlier among zeros
        np.where(at == 200, 40.0, normal(n) * 0.01),  # and among weights
        np.full(n, 0.7),
        np.full(n, -0.7),
        normal(n) * 1e-41,  # subnormal: inverses of scales overflow
        normal(n) * 1e-30,
        normal(n) * 1e-15 * np.where(at // 32 % 2, 1.0, 1e-3),  # about the smallest scale there is
        normal(n) * 5e-15,  # scales of Q6_K are below it, weights are not
        normal(n) * 3e-7,  # scales are f16 subnormals
        np.clip(normal(n) * 2e4, -6e4, 6e4),
        np.ldexp(normal(n), -20 * (at // 32)),  # each group by far smaller than the one before
        -np.abs(normal(n)),
        np.abs(normal(n)),
        rng.uniform(-1, 1, n),
        rng.uniform(2, 3, n),
        rng.uniform(-3, -2, n),
        rng.integers(-8, 9, n) / 4,  # ties
        rng.integers(-1, 2, n) * 0.3,
        np.where(rng.integers(0, 2, n), 0.5, 0.0),
        np.where(rng.integers(0, 40, n), 0.0, normal(n)),  # groups of zeros
        np.tan(normal(n)),
        normal(n) * np.repeat(normal(n // 16), 16),
    ]
    return rows


def tensors():
    """(values, importance) each."""
    n = 256
    # From 110 on rows for which the last candidate of Q4_K, of Q5_K or the last pass of Q3_K is the best.
    seeds = [0, 1, 110, 509, 416]
    ordinary = [np.random.default_rng(seed).standard_normal(n) * 0.02 for seed in seeds]
    yield np.stack(awkward(n) + ordinary), rng.uniform(0, 2, n)
    # Several blocks a row; importance over many magnitudes, and none at all for a third.
    n = 768
    yield rng.standard_normal((2, n)) * [[1.0], [0.01]], np.exp(4 * rng.standard_normal(n))
    zeros = np.where(rng.integers(0, 3, n), rng.uniform(0, 1, n), 0.0)
    zeros[256:512] = 0.0
    yield rng.standard_normal((2, n)) * 0.1, zeros
    # Blocks of 32 whose number is no multiple of four.
    n = 160
    yield np.stack([rng.standard_normal(n), rng.uniform(-1, 0, n)]), rng.standard_normal(n) ** 2


def name(i):
    return f"blk.{i}.ffn_up.weight"


def write_model(path, sources):
    w = GGUFWriter(path, "llama")
    w.add_block_count(len(sources))
    w.add_context_length(16)
    w.add_embedding_length(256)
    w.add_feed_forward_length(256)
    w.add_head_count(2)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_file_type(0)
    for i, (x, _) in enumerate(sources):
        w.add_tensor(name(i), x)
    finish(w)


def write_importance(path, sources):
    w = GGUFWriter(path, "imatrix")
    w.add_type("imatrix")
    w.add_array("imatrix.datasets", ["none"])
    w.add_uint32("imatrix.chunk_count", 1)
    w.add_uint32("imatrix.chunk_size", 1)
    for i, (_, importance) in enumerate(sources):
        w.add_tensor(f"{name(i)}.in_sum2", importance.reshape(1, -1))
        w.add_tensor(f"{name(i)}.counts", np.ones((1, 1), np.float32))
    finish(w)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def packed(quantiser, folder, kind, fmt, n, importance):
    """The bytes of each tensor that fits; the quantiser gives the others another type."""
    out = folder / "out.gguf"
    options = ["--imatrix", folder / "importance.gguf"] if importance else []
    subprocess.run([quantiser, *options, "--pure", folder / "in.gguf", out, kind, "1"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = {t.name: t for t in GGUFReader(out).tensors}
    return [found[name(i)].data.tobytes() for i in range(n) if found[name(i)].tensor_type == fmt]


def main():
    quantiser = sys.argv[1]
    sources = [(x.astype(np.float32), w.astype(np.float32)) for x, w in tensors()]
    blob = struct.pack("<I", len(sources))
    for x, w in sources:
        blob += struct.pack("<2I", x.shape[1], x.shape[0]) + w.tobytes() + x.tobytes()
    (HERE / "source.bin").write_bytes(blob)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_model(folder / "in.gguf", sources)
        write_importance(folder / "importance.gguf", sources)
        for fmt, kind, counts in FORMATS:
            args = quantiser, folder, kind, fmt, len(sources)
            plain, weighted = packed(*args, False), packed(*args, True)
            fit = sum(x.shape[1] % GGML_QUANT_SIZES[fmt][0] == 0 for x, _ in sources)
            assert len(plain) == fit and len(weighted) == fit, fmt
            assert counts != (plain == weighted), fmt
            parts = [p + q if counts else p for p, q in zip(plain, weighted)]
            (HERE / f"{fmt.name}.bin").write_bytes(b"".join(parts))


np.seterr(all="ignore")
main()
