"""Damaged copies of GGUF files: damage.py IN OUT ACTION [TENSOR [VALUE]]. Python's own library only.

  byte T V   the first byte of tensor T becomes V          scale T V  the f32 behind T's I2_S codes
  f32 T V    the first f32 of T                            zero T     all bytes of T
  arm, rows4 every I2_S tensor in that order               act WORD   the key of the activation
  cut N      the first N bytes
"""
import struct
import sys

NUMBER = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}
I2_S = 36


class File:
    def __init__(self, data):
        self.b, self.at, self.keys, self.tensors = data, 8, {}, {}
        n_tensor, n_key = self.take("<Q"), self.take("<Q")
        for _ in range(n_key):
            name = self.string()
            kind = self.take("<I")
            begin = self.at
            value = self.value(kind)
            self.keys[name] = (begin, value)
        infos = []
        for _ in range(n_tensor):
            name = self.string()
            ne = [self.take("<Q") for _ in range(self.take("<I"))]
            infos.append((name, ne, self.take("<I"), self.take("<Q")))
        self.align, self.end = self.keys.get("general.alignment", (0, 32))[1], self.at
        self.base = base = (self.at + self.align - 1) // self.align * self.align
        for name, ne, kind, offset in infos:
            self.tensors[name] = (ne, kind, base + offset)

    def take(self, form):
        v = struct.unpack_from(form, self.b, self.at)[0]
        self.at += struct.calcsize(form)
        return v

    def string(self):
        n = self.take("<Q")
        self.at += n
        return bytes(self.b[self.at - n : self.at]).decode(errors="replace")

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            kind, n = self.take("<I"), self.take("<Q")
            return [self.value(kind) for _ in range(n)]
        return self.take(NUMBER[kind])


def codes_of(q, rows, cols):
    out = []
    for i in range(0, rows * cols // 4, 32):
        for shift in (6, 4, 2, 0):
            out += [q[i + p] >> shift & 3 for p in range(32)]
    return out


def reorder(q, rows, cols, order):
    codes, out = codes_of(q, rows, cols), bytearray(rows * cols // 4)
    for r in range(rows):
        for c in range(cols):
            v = codes[r * cols + c]
            if order == "arm":
                e = r * cols + c
                out[e // 64 * 16 + e % 16] |= v << 6 - 2 * (e % 64 // 16)
            else:
                out[r // 4 * cols + c] |= v << 6 - 2 * (r % 4)
    return out


def main(source, target, action, *more):
    data = bytearray(open(source, "rb").read())
    f = File(data)
    if action in ("arm", "rows4"):
        for ne, kind, at in f.tensors.values():
            if kind == I2_S:
                n = ne[0] * ne[1] // 4
                data[at : at + n] = reorder(data[at : at + n], ne[1], ne[0], action)
    elif action == "cut":
        del data[int(more[0]) :]
    elif action == "act":
        begin, old = next(v for k, v in f.keys.items() if k.endswith(".hidden_activation"))
        data[begin : begin + 8 + len(old)] = struct.pack("<Q", len(more[0])) + more[0].encode()
        f.end += len(more[0]) - len(old)
        pad = -f.end % f.align
        data[f.end : f.base + len(more[0]) - len(old)] = bytes(pad)
    else:
        ne, kind, at = f.tensors[more[0]]
        if action == "byte":
            data[at] = int(more[1])
        elif action == "zero":
            n = ne[0] * (ne[1] if len(ne) > 1 else 1) * 4
            data[at : at + n] = bytes(n)
        else:
            at += ne[0] * ne[1] // 4 if action == "scale" else 0
            data[at : at + 4] = struct.pack("<f", float(more[1]))
    open(target, "wb").write(data)


main(*sys.argv[1:])
