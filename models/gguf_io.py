"""A small GGUF v3 writer and reader, enough for the models built here.

Written apart from the engine's own code, so that each can check the other.
Ternary matrices are I2_S: four 2-bit codes (0, 1, 2 = -1, 0, +1) a byte, in
blocks of 128 values with the first quarter in the top bits, then one f32
multiplier and 28 zero bytes; or, where rows are no multiple of 128, IQ2_BN and
IQ1_BN with one multiplier for each row and blocks of 64 values.
"""
import struct

import numpy as np

U32, I32, F32, BOOL, STR, ARR = 4, 5, 6, 7, 8, 9
TYPE_F32, TYPE_F16, TYPE_Q4_0, TYPE_Q8_0, TYPE_I2_S, TYPE_IQ1_BN, TYPE_IQ2_BN = 0, 1, 2, 8, 36, 134, 135
ALIGN = 32
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


# ------------------------------------------------------------------ I2_S

def pack_i2s(codes, scale):
    """int8 matrix of -1, 0, +1 (columns a multiple of 128) and its multiplier to bytes."""
    assert codes.shape[1] % 128 == 0 and np.isin(codes, (-1, 0, 1)).all()
    c = (codes.astype(np.int8) + 1).astype(np.uint8).reshape(-1, 4, 32)
    packed = c[:, 0] << 6 | c[:, 1] << 4 | c[:, 2] << 2 | c[:, 3]
    return packed.tobytes() + struct.pack("<f", scale) + bytes(28)


def unpack_i2s(data, rows, cols):
    """(int8 codes -1, 0, +1, float32 multiplier)"""
    packed = np.frombuffer(data, np.uint8, rows * cols // 4).reshape(-1, 32)
    c = np.stack([packed >> 6, packed >> 4 & 3, packed >> 2 & 3, packed & 3], 1)
    assert c.max() <= 2, "code 3 in an I2_S tensor"
    scale = np.frombuffer(data, "<f4", 1, rows * cols // 4)[0]
    return c.reshape(rows, cols).astype(np.int8) - 1, scale


# --------------------------------------------- rows with a multiplier each

def pack_iq2_bn(codes, scales):
    """Row: f32, then 16 bytes for each 64 codes; byte j holds codes j, 16 + j, 32 + j, 48 + j from the low bits up."""
    c = (codes + 1).astype(np.uint8).reshape(len(codes), -1, 4, 16)
    packed = (c[:, :, 0] | c[:, :, 1] << 2 | c[:, :, 2] << 4 | c[:, :, 3] << 6).reshape(len(codes), -1)
    return np.concatenate([scales.astype("<f4").view(np.uint8).reshape(len(codes), 4), packed], 1).tobytes()


def unpack_iq2_bn(data, rows, cols):
    raw = np.frombuffer(data, np.uint8, rows * (4 + cols // 4)).reshape(rows, -1)
    b = raw[:, 4:].reshape(rows, -1, 16)
    c = np.stack([b & 3, b >> 2 & 3, b >> 4 & 3, b >> 6], 2)
    assert c.max() <= 2, "code 3 in an IQ2_BN tensor"
    return c.reshape(rows, cols).astype(np.int8) - 1, raw[:, :4].copy().view("<f4")[:, 0]


def pack_iq1_bn(codes, scales):
    """Row: f16, then 13 bytes for each 64 codes: four groups of 16, five base-3 digits a byte, the lowest first;
    the last code of each group is a digit of the thirteenth byte."""
    c = (codes + 1).astype(np.int64).reshape(len(codes), -1, 4, 16)
    most = c[..., :15].reshape(*c.shape[:3], 3, 5) @ 3 ** np.arange(5)
    last = c[..., 15] @ 3 ** np.arange(4)
    value = np.concatenate([most.reshape(*c.shape[:2], 12), last[..., None]], -1)
    packed = (-(-256 * value // 243)).astype(np.uint8).reshape(len(codes), -1)
    return np.concatenate([scales.astype("<f2").view(np.uint8).reshape(len(codes), 2), packed], 1).tobytes()


def unpack_iq1_bn(data, rows, cols):
    raw = np.frombuffer(data, np.uint8, rows * (2 + cols // 64 * 13)).reshape(rows, -1)
    b = raw[:, 2:].reshape(rows, -1, 13, 1).astype(np.int64)
    digit = 3 * (b * np.array([81, 27, 9, 3, 1]) % 256) >> 8
    c = np.concatenate([digit[:, :, :12].reshape(rows, -1, 4, 15), digit[:, :, 12, :4, None]], -1)
    return c.reshape(rows, cols).astype(np.int8) - 1, raw[:, :2].copy().view("<f2")[:, 0].astype(np.float32)


def pack_q4_0(x):
    """Blocks of 32 as f16 d and 16 bytes, d * (code - 8); codes i and 16 + i share a byte, the first low."""
    b = x.astype(np.float32).reshape(-1, 32)
    peak = np.take_along_axis(b, np.abs(b).argmax(1)[:, None], 1)
    d = (peak / np.float32(-8)).astype("<f2")
    scale = d.astype(np.float32)
    q = np.clip(np.floor(b / np.where(scale == 0, 1, scale) + np.float32(8.5)), 0, 15).astype(np.uint8)
    return np.concatenate([d.view(np.uint8), q[:, :16] | q[:, 16:] << 4], 1).tobytes()


def pack_q8_0(x):
    b = x.astype(np.float32).reshape(-1, 32)
    d = np.abs(b).max(1, keepdims=True) / np.float32(127)
    inv = np.where(d > 0, 1 / np.where(d > 0, d, 1), 0).astype(np.float32)
    q = b * inv
    q = (np.sign(q) * np.floor(np.abs(q) + 0.5)).astype(np.int8)
    return b"".join(s.tobytes() + r.tobytes() for s, r in zip(d[:, 0].astype("<f2"), q))


# ---------------------------------------------------------------- writer

def _string(text):
    raw = text.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _value(kind, value):
    if kind == STR:
        return _string(value)
    if kind == ARR:
        sub, items = value
        return struct.pack("<IQ", sub, len(items)) + b"".join(_value(sub, v) for v in items)
    return struct.pack(SCALARS[kind], value)


class Writer:
    def __init__(self):
        self.pairs, self.tensors = [], []

    def key(self, name, kind, value):
        self.pairs.append(_string(name) + struct.pack("<I", kind) + _value(kind, value))

    def u32(self, name, value):
        self.key(name, U32, int(value))

    def f32(self, name, value):
        self.key(name, F32, float(value))

    def text(self, name, value):
        self.key(name, STR, value)

    def flag(self, name, value):
        self.key(name, BOOL, bool(value))

    def array(self, name, kind, values):
        self.key(name, ARR, (kind, list(values)))

    def shape(self, architecture, c, activation):
        """The architecture and the sizes of a transformer whose training configuration is c."""
        self.text("general.architecture", architecture)
        for name, value in (("vocab_size", c.vocab), ("context_length", c.context), ("embedding_length", c.dim),
                            ("block_count", c.layers), ("feed_forward_length", c.ffn), ("rope.dimension_count", c.head_dim),
                            ("attention.head_count", c.heads), ("attention.head_count_kv", c.kv_heads),
                            ("attention.key_length", c.head_dim), ("attention.value_length", c.head_dim)):
            self.u32(architecture + "." + name, value)
        self.f32(architecture + ".rope.freq_base", c.rope_base)
        self.f32(architecture + ".attention.layer_norm_rms_epsilon", c.eps)
        self.text(architecture + ".hidden_activation", activation)

    def raw(self, name, shape, kind, data):
        """shape in the order of numpy: [rows, columns]"""
        self.tensors.append((name, tuple(reversed(shape)), kind, data))

    def dense(self, name, x, kind=TYPE_F32):
        x = np.ascontiguousarray(x)
        if kind == TYPE_F32:
            data = x.astype("<f4").tobytes()
        elif kind == TYPE_F16:
            data = x.astype("<f2").tobytes()
        elif kind == TYPE_Q4_0:
            data = pack_q4_0(x)
        else:
            data = pack_q8_0(x)
        self.raw(name, x.shape, kind, data)

    def ternary(self, name, codes, scale, kind=TYPE_I2_S):
        """scale: one number, or with IQ1_BN and IQ2_BN one per row"""
        pack = {TYPE_I2_S: pack_i2s, TYPE_IQ1_BN: pack_iq1_bn, TYPE_IQ2_BN: pack_iq2_bn}[kind]
        self.raw(name, codes.shape, kind, pack(codes, scale))

    def save(self, path):
        infos, offset = b"", 0
        for name, ne, kind, data in self.tensors:
            infos += _string(name) + struct.pack("<I%dQIQ" % len(ne), len(ne), *ne, kind, offset)
            offset += -(-len(data) // ALIGN) * ALIGN
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.pairs)) + b"".join(self.pairs) + infos
        with open(path, "wb") as f:
            f.write(head + bytes(-len(head) % ALIGN))
            for _, _, _, data in self.tensors:
                f.write(data + bytes(-len(data) % ALIGN))


# ---------------------------------------------------------------- reader

class Reader:
    """.keys: name -> value;  .tensor(name) -> float32 array or (codes, scale or scales of the rows)"""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        self.at = 0
        assert self._take(4) == b"GGUF" and self._read("<I") == 3
        n_tensors, n_keys = self._read("<Q"), self._read("<Q")
        self.keys, self.infos = {}, {}
        for _ in range(n_keys):
            name = self._text()
            self.keys[name] = self._item(self._read("<I"))
        for _ in range(n_tensors):
            name = self._text()
            ne = [self._read("<Q") for _ in range(self._read("<I"))]
            self.infos[name] = (ne, self._read("<I"), self._read("<Q"))
        align = self.keys.get("general.alignment", ALIGN)
        self.base = -(-self.at // align) * align

    def _take(self, n):
        self.at += n
        return self.data[self.at - n:self.at]

    def _read(self, form):
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _text(self):
        return self._take(self._read("<Q")).decode("utf-8")

    def _item(self, kind):
        if kind == STR:
            return self._text()
        if kind == ARR:
            sub, n = self._read("<I"), self._read("<Q")
            return [self._item(sub) for _ in range(n)]
        return self._read(SCALARS[kind])

    def tensor(self, name):
        ne, kind, offset = self.infos[name]
        shape, n = tuple(reversed(ne)), int(np.prod(ne))
        data = memoryview(self.data)[self.base + offset:]
        if kind == TYPE_F32:
            return np.frombuffer(data, "<f4", n).reshape(shape)
        if kind == TYPE_F16:
            return np.frombuffer(data, "<f2", n).reshape(shape).astype(np.float32)
        if kind == TYPE_Q8_0:
            blocks = np.frombuffer(data, np.dtype([("d", "<f2"), ("q", "i1", 32)]), n // 32)
            return (blocks["d"].astype(np.float32)[:, None] * blocks["q"]).reshape(shape)
        if kind == TYPE_Q4_0:
            b = np.frombuffer(data, np.dtype([("d", "<f2"), ("q", "u1", 16)]), n // 32)
            q = np.concatenate([b["q"] & 15, b["q"] >> 4], 1).astype(np.float32) - 8
            return (b["d"].astype(np.float32)[:, None] * q).reshape(shape)
        if kind == TYPE_I2_S:
            return unpack_i2s(data, *shape)
        if kind == TYPE_IQ1_BN:
            return unpack_iq1_bn(data, *shape)
        if kind == TYPE_IQ2_BN:
            return unpack_iq2_bn(data, *shape)
        raise ValueError("tensor type %d of %s" % (kind, name))
