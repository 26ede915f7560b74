#!/usr/bin/env python3
"""Makes the .gguf files of this folder with the `gguf` package, and what that package's own reader
says they hold as .txt. Needs: pip install gguf numpy. Run in this folder."""
import struct
import zlib
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGUFEndian, GGUFReader, GGUFValueType as V, GGUFWriter

HERE = Path(__file__).parent
rng = np.random.default_rng(1)


def floats(*shape):
    return rng.integers(-127, 128, shape).astype(np.float32) / 64


def raw(qtype, rows, cols):
    block, size = gguf.GGML_QUANT_SIZES[qtype]
    return rng.integers(0, 256, (rows, cols // block * size), dtype=np.uint8)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def make_metas(path):
    w = GGUFWriter(path, "test")
    w.add_custom_alignment(64)
    w.add_uint8("n.u8", 255)
    w.add_int8("n.i8", -128)
    w.add_uint16("n.u16", 65535)
    w.add_int16("n.i16", -32768)
    w.add_uint32("n.u32", 4294967295)
    w.add_int32("n.i32", -2147483648)
    w.add_uint64("n.u64", 18446744073709551615)
    w.add_int64("n.i64", -9223372036854775808)
    w.add_float32("n.f32", 1e-5)
    w.add_float64("n.f64", -1e300)
    w.add_bool("b.true", True)
    w.add_bool("b.false", False)
    w.add_string("s.short", "-")
    w.add_string("s.utf8", "Grüße, 世界 🙂\n\ttab")
    w.add_key_value("a.u8", [0, 1, 255], V.ARRAY, V.UINT8)
    w.add_key_value("a.i16", [-1, 2, -32768], V.ARRAY, V.INT16)
    w.add_key_value("a.i32", list(range(-3, 4)), V.ARRAY, V.INT32)
    w.add_key_value("a.u64", [2**64 - 1, 7], V.ARRAY, V.UINT64)
    w.add_key_value("a.i64", [-(2**63), 2**53 + 1], V.ARRAY, V.INT64)
    w.add_key_value("a.f32", [0.1, -0.0, 3e38], V.ARRAY, V.FLOAT32)
    w.add_key_value("a.f64", [0.1, -1e-300], V.ARRAY, V.FLOAT64)
    w.add_key_value("a.bool", [True, False, True], V.ARRAY, V.BOOL)
    w.add_key_value("a.str", ["a", "", "bc", "Ġthe", "ü"], V.ARRAY, V.STRING)
    w.add_tensor("one", floats(5))
    w.add_tensor("two", floats(3, 2))
    finish(w)


def make_types(path):
    w = GGUFWriter(path, "test")
    for q in (T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.TQ1_0, T.TQ2_0):
        cols = max(gguf.GGML_QUANT_SIZES[q][0], 8)
        w.add_tensor(f"t.{q.name}", gguf.quants.quantize(floats(2, cols), q), raw_dtype=q)
    for q in (T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K, T.IQ4_NL, T.Q1_0):
        w.add_tensor(f"t.{q.name}", raw(q, 1, 256), raw_dtype=q)
    for d in (np.int8, np.int16, np.int32, np.int64, np.float64):
        w.add_tensor(f"t.{np.dtype(d).name}", np.arange(3, dtype=d))
    w.add_tensor("t.4d", floats(2, 3, 1, 5))
    finish(w)


def make_split(path):
    w = GGUFWriter(path, "test", split_max_tensors=2)
    for i in range(5):
        w.add_tensor(f"blk.{i}.weight", floats(2, 4) + i)
    w.add_string("general.name", "split")
    finish(w)


def make_written(path):
    """What tests/unit/file_gguf_write.c writes too, byte for byte."""
    w = GGUFWriter(path, "llama")
    w.add_uint32("llama.block_count", 4000000000)
    w.add_float32("llama.epsilon", 1e-5)
    w.add_bool("llama.causal", True)
    w.add_key_value("tokenizer.ggml.tokens", ["a", "", "ä b"], V.ARRAY, V.STRING)
    w.add_key_value("tokenizer.ggml.token_type", [1, -2, 3], V.ARRAY, V.INT32)
    w.add_tensor("vector", np.array([1.5, -2, 0.25], np.float32))
    fill = ((7 * np.arange(102) + 1) % 256).astype(np.uint8)
    w.add_tensor("matrix", fill[:20].view(np.float16).reshape(2, 5))
    w.add_tensor("blocks", fill.reshape(3, 34), raw_dtype=T.Q8_0)
    finish(w)


def make_big_endian(path):
    w = GGUFWriter(path, "test", endianess=GGUFEndian.BIG)
    w.add_tensor("t", floats(4))
    finish(w)


def number(kind, value):
    if kind == V.FLOAT32:
        return struct.pack(">f", value).hex()
    if kind == V.FLOAT64:
        return struct.pack(">d", value).hex()
    if kind == V.STRING:
        return f"{zlib.crc32(value.encode()):08x}"
    return str(int(value))


def describe(paths, out):
    lines = []
    for i, path in enumerate(paths):
        reader = GGUFReader(path)
        for key, field in reader.fields.items() if i == 0 else ():
            if key.startswith("GGUF."):
                continue
            kinds, value = field.types, field.contents()
            if kinds[0] == V.ARRAY:
                text = " ".join(number(kinds[-1], v) for v in value)
                lines.append(f"{key} {int(V.ARRAY)} {int(kinds[-1])} {len(value)} {text}")
            else:
                lines.append(f"{key} {int(kinds[0])} {number(kinds[0], value)}")
        for t in reader.tensors:
            ne = " ".join(str(int(n)) for n in t.shape)
            crc = zlib.crc32(t.data.tobytes())
            lines.append(f"{t.name} {t.tensor_type.name} [{ne}] {t.data_offset} {t.n_bytes} {crc:08x}")
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make_metas(HERE / "metas.gguf")
    make_types(HERE / "types.gguf")
    make_split(HERE / "split.gguf")
    make_big_endian(HERE / "big-endian.gguf")
    make_written(HERE / "written.gguf")
    describe([HERE / "metas.gguf"], HERE / "metas.txt")
    describe([HERE / "types.gguf"], HERE / "types.txt")
    describe(sorted(HERE.glob("split-*.gguf")), HERE / "split.txt")
