#!/usr/bin/env python3
"""Makes the seeds of corpus/model: a tiny model that runs for each architecture and each format of
matrices, with vocabularies of both kinds. Other files of that folder are inputs that once failed."""
import random
import struct
from pathlib import Path

OUT = Path(__file__).parent / "corpus" / "model"
U32, I32, F32, BOOL, STR, ARR = 4, 5, 6, 7, 8, 9

# id: elements of a block, bytes of it, bytes per row, bytes per tensor
FORMATS = {
    "F32": (0, 1, 4, 0, 0), "F16": (1, 1, 2, 0, 0), "BF16": (30, 1, 2, 0, 0), "Q4_0": (2, 32, 18, 0, 0),
    "Q4_1": (3, 32, 20, 0, 0), "Q5_0": (6, 32, 22, 0, 0), "Q5_1": (7, 32, 24, 0, 0), "Q8_0": (8, 32, 34, 0, 0),
    "Q2_K": (10, 256, 84, 0, 0), "Q3_K": (11, 256, 110, 0, 0), "Q4_K": (12, 256, 144, 0, 0),
    "Q5_K": (13, 256, 176, 0, 0), "Q6_K": (14, 256, 210, 0, 0), "IQ4_NL": (20, 32, 18, 0, 0),
    "TQ1_0": (34, 256, 54, 0, 0), "TQ2_0": (35, 256, 66, 0, 0), "I2_S": (36, 128, 32, 0, 32),
    "Q1_0": (41, 128, 18, 0, 0), "Q1_0_G32": (40, 32, 6, 0, 0), "Q2_0": (42, 64, 18, 0, 0),
    "PQ2_0": (142, 128, 34, 0, 0), "PTQ1_0": (143, 128, 28, 0, 0), "IQ1_BN": (134, 64, 13, 2, 0),
    "IQ2_BN": (135, 64, 16, 4, 0),
}


def text(s):
    raw = s.encode()
    return struct.pack("<Q", len(raw)) + raw


def array(kind, form, values):
    return struct.pack("<IQ", kind, len(values)) + b"".join(struct.pack("<" + form, v) for v in values)


def texts(values):
    return struct.pack("<IQ", STR, len(values)) + b"".join(text(v) for v in values)


class Model:
    def __init__(self, arch, seed):
        self.arch, self.random = arch, random.Random(seed)
        self.keys = [("general.architecture", STR, text(arch))]
        self.tensors = []

    def key(self, name, kind, raw):
        self.keys.append((self.arch + name if name[0] == "." else name, kind, raw))

    def u32(self, name, value):
        self.key(name, U32, struct.pack("<I", value))

    def f32(self, name, value):
        self.key(name, F32, struct.pack("<f", value))

    def vector(self, name, n):
        self.tensors.append((name, (n,), 0, struct.pack("<%df" % n, *[self.random.uniform(0.5, 1.5) for _ in range(n)])))

    def matrix(self, name, rows, cols, fmt):
        """Any two or four bytes up to 0x2f are small positive floats, so blocks of them are valid."""
        kind, elems, size, head, tail = FORMATS[fmt]
        assert cols % elems == 0
        n = rows * (head + cols // elems * size) + tail
        data = bytes(self.random.getrandbits(8) & 0x2f for _ in range(n))
        self.tensors.append((name, (cols, rows), kind, data))

    def bytes(self):
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.keys))
        for name, kind, raw in self.keys:
            head += text(name) + struct.pack("<I", kind) + raw
        data = b""
        for name, shape, kind, raw in self.tensors:
            head += text(name) + struct.pack("<I%dQIQ" % len(shape), len(shape), *shape, kind, len(data))
            data += raw + bytes(-len(raw) % 32)
        return head + bytes(-len(head) % 32) + data


def spm(m):
    tokens = ["<unk>", "<s>", "</s>", "<0x41>", "<0xC3>", "\u2581", "a", "b", "ab", "\u2581a"]
    m.key("tokenizer.ggml.model", STR, text("llama"))
    m.key("tokenizer.ggml.tokens", ARR, texts(tokens))
    m.key("tokenizer.ggml.scores", ARR, array(F32, "f", [-i for i in range(len(tokens))]))
    m.key("tokenizer.ggml.token_type", ARR, array(I32, "i", [2, 3, 3, 6, 6, 1, 1, 1, 1, 1]))
    m.u32("tokenizer.ggml.bos_token_id", 1)
    m.u32("tokenizer.ggml.eos_token_id", 2)
    return len(tokens)


def bpe(m):
    tokens = ["a", "b", "\u0120", "ab", "\u0120a", "A", "\u00c3", "<|end|>"]
    m.key("tokenizer.ggml.model", STR, text("gpt2"))
    m.key("tokenizer.ggml.pre", STR, text("llama-bpe"))
    m.key("tokenizer.ggml.tokens", ARR, texts(tokens))
    m.key("tokenizer.ggml.token_type", ARR, array(I32, "i", [1] * 7 + [3]))
    m.key("tokenizer.ggml.merges", ARR, texts(["a b", "\u0120 a"]))
    m.u32("tokenizer.ggml.eos_token_id", 7)
    m.key("tokenizer.chat_template", STR, text("{% for m in messages %}{{ m['role'] + m.content | trim }}{% endfor %}"))
    return len(tokens)


def model(arch, fmt="F32", d=16, d_ff=16, heads=2, kv=1, layers=1, d_head=8, vocabulary=spm, embed="F16", extra=()):
    """Formats of wide blocks get matrices of few rows; what reads a narrow input is F16 then."""
    m = Model(arch, arch + fmt)
    elems = FORMATS[fmt][1]
    if elems > 1:
        d, d_ff, heads, d_head = max(32, elems), 4, 1, 4
    narrow = "F16" if elems > 1 else fmt
    d_q = heads * d_head
    m.u32(".block_count", layers)
    m.u32(".embedding_length", d)
    m.u32(".feed_forward_length", d_ff)
    m.u32(".attention.head_count", heads)
    m.u32(".attention.head_count_kv", kv)
    m.u32(".attention.key_length", d_head)
    m.u32(".context_length", 64)
    m.f32(".rope.freq_base", 10000)
    m.f32(".attention.layer_norm_rms_epsilon", 1e-5)
    for name, kind, raw in extra:
        m.key(name, kind, raw)
    n = vocabulary(m)
    m.matrix("token_embd.weight", n, d, embed)
    if "bitnet" not in arch:
        m.matrix("output.weight", n, d, embed)
    m.vector("output_norm.weight", d)
    for i in range(layers):
        b = "blk.%d." % i
        m.vector(b + "attn_norm.weight", d)
        if arch == "phi3":
            m.matrix(b + "attn_qkv.weight", d_q + 2 * kv * d_head, d, fmt)
        else:
            m.matrix(b + "attn_q.weight", d_q, d, fmt)
            m.matrix(b + "attn_k.weight", kv * d_head, d, fmt)
            m.matrix(b + "attn_v.weight", kv * d_head, d, fmt)
        m.matrix(b + "attn_output.weight", d, d_q, narrow)
        m.vector(b + "ffn_norm.weight", d)
        if arch != "phi3":
            m.matrix(b + "ffn_gate.weight", d_ff, d, fmt)
        m.matrix(b + "ffn_up.weight", d_ff * (2 if arch == "phi3" else 1), d, fmt)
        m.matrix(b + "ffn_down.weight", d, d_ff, narrow)
        if "bitnet" in arch:
            m.vector(b + "attn_sub_norm.weight", d_q)
            m.vector(b + "ffn_sub_norm.weight", d_ff)
        if arch == "qwen2":
            m.vector(b + "attn_q.bias", d_q)
            m.vector(b + "attn_k.bias", kv * d_head)
            m.vector(b + "attn_v.bias", kv * d_head)
        if arch in ("qwen3", "gemma3"):
            m.vector(b + "attn_q_norm.weight", d_head)
            m.vector(b + "attn_k_norm.weight", d_head)
        if arch == "gemma3":
            m.vector(b + "post_attention_norm.weight", d)
            m.vector(b + "post_ffw_norm.weight", d)
        if arch == "llama" and layers > 1:
            m.vector(b + "attn_q_norm_in.weight", d)
            m.vector(b + "ffn_up_norm_in.weight", d)
            m.vector(b + "ffn_down_norm_in.weight", d_ff)
    if arch == "llama" and layers > 1:
        m.vector("rope_freqs.weight", d_head // 2)
    if arch == "phi3":
        m.vector("rope_factors_short.weight", d_head // 2)
        m.vector("rope_factors_long.weight", d_head // 2)
    return m.bytes()


def scaling(kind):
    return [(".rope.scaling.type", STR, text(kind)), (".rope.scaling.factor", F32, struct.pack("<f", 4)),
            (".rope.scaling.original_context_length", U32, struct.pack("<I", 16))]


def seeds():
    yield "llama", model("llama", kv=2, layers=2)
    yield "llama-bpe-llama3", model("llama", vocabulary=bpe, extra=scaling("llama3"))
    yield "llama-linear", model("llama", extra=scaling("linear"))
    yield "qwen2-yarn", model("qwen2", vocabulary=bpe, extra=scaling("yarn"))
    yield "qwen3", model("qwen3", fmt="BF16")
    yield "bitnet", model("bitnet", fmt="F16", extra=[(".hidden_activation", STR, text("gelu"))])
    yield "bitnet-b1.58", model("bitnet-b1.58", fmt="I2_S")
    yield "bitnet-25", model("bitnet-25", fmt="I2_S", vocabulary=bpe)
    yield "gemma3", model("gemma3", layers=3, extra=[
        (".attention.sliding_window", U32, struct.pack("<I", 3)),
        (".attention.sliding_window_pattern", U32, struct.pack("<I", 2)),
        (".attention.causal", BOOL, b"\1"), (".pooling_type", U32, struct.pack("<I", 1))])
    yield "phi3", model("phi3", extra=scaling("longrope"))
    for fmt, (_, elems, size, _, _) in FORMATS.items():
        if elems > 1 and fmt != "I2_S":
            yield fmt.lower(), model("llama", fmt=fmt, embed=fmt)


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for name, data in seeds():
        (OUT / name).write_bytes(data)
