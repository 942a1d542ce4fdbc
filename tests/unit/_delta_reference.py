"""A second reader of deltas, written from docs/formats/delta.md alone: slow, and without numpy."""

from __future__ import annotations

import struct
import zlib

WIDTHS = {1: 8, 2: 16, 3: 32, 4: 16, 5: 16, 6: 32}
EXPONENTS = {4: (10, 5), 5: (7, 8), 6: (23, 8)}


class Parts:
    def __init__(self, data, old):
        self.data, self.old, self.at = data, old, 0

    def take(self, size):
        self.at += size
        return self.data[self.at - size : self.at]

    def byte(self):
        return self.take(1)[0]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def stream(self, size):
        if not size:
            return b""
        codec = self.byte()
        if codec == 0:
            return self.take(size)
        known = {}
        if codec == 2:
            offset = self.varint()
            known["zdict"] = self.old[offset : offset + 32768]
        return zlib.decompressobj(-15, **known).decompress(self.take(self.varint()))


def read(delta, old):
    """Return the new file that a delta of the method ``tensor`` makes of the old one."""
    assert delta[:10] == b"edgeopsD\1\0"
    parts, new = Parts(delta[96:], old), b""
    while operation := parts.byte():
        if operation == 1:
            offset = parts.varint()
            new += old[offset : offset + parts.varint()]
        elif operation == 2:
            new += parts.stream(parts.varint())
        else:
            assert operation == 3
            new += block(parts, old)
    assert parts.at == len(parts.data)
    return new


def block(parts, old):
    kind, offset, count, flags = parts.byte(), parts.varint(), parts.varint(), parts.byte()
    bits = WIDTHS[kind]
    letter = f"<{count}{ {8: 'B', 16: 'H', 32: 'I'}[bits] }"
    numbers = list(struct.unpack_from(letter, old, offset))
    chosen = list(range(count))
    if flags & 1:
        mask = parts.stream((count + 7) // 8)
        chosen = [i for i in chosen if mask[i // 8] >> i % 8 & 1]
    if flags & 2:
        rows = [(parts.byte(), parts.byte()) for _ in range(parts.varint())]
        low, wide = EXPONENTS[kind]
        exponent = {i: numbers[i] >> low & ((1 << wide) - 1) for i in chosen}
        chosen.sort(key=exponent.__getitem__)
        shifts = [[r for e, r in rows if e <= exponent[i]][-1] for i in chosen]
    else:
        shifts = [parts.byte()] * len(chosen)
    for i, difference in zip(chosen, differences(parts, bits, flags, shifts), strict=True):
        moved = order(numbers[i], bits, kind) + difference
        numbers[i] = unorder(moved % (1 << bits), bits, kind)
    return struct.pack(letter, *numbers)


def differences(parts, bits, flags, shifts):
    width, count = 2 << (flags >> 2), len(shifts)
    packed = parts.stream((count * width + 7) // 8)
    codes = [packed[i * width // 8] >> i * width % 8 & ((1 << width) - 1) for i in range(count)]
    escape = (1 << width) - 1
    exact = parts.stream(codes.count(escape) * bits // 8)
    values = [c // 2 if c % 2 == 0 else -(c + 1) // 2 for c in codes]
    values = [v << r for v, r in zip(values, shifts, strict=True)]
    for plane in range(bits // 8 - 1):
        has = [i for i, r in enumerate(shifts) if r >= 8 * (plane + 1)]
        for i, byte in zip(has, parts.stream(len(has)), strict=True):
            values[i] += byte << 8 * plane
    has = [i for i, r in enumerate(shifts) if r % 8]
    halves = parts.stream((len(has) + 1) // 2)
    for place, i in enumerate(has):
        values[i] += (halves[place // 2] >> 4 * (place % 2) & 15) << (shifts[i] - 4)
    size = bits // 8
    for place, i in enumerate(i for i, c in enumerate(codes) if c == escape):
        values[i] = int.from_bytes(exact[size * place :][:size], "little")
    return values


def order(value, bits, kind):
    if kind < 4:
        return value
    return value ^ ((1 << bits) - 1) if value >> (bits - 1) else value | 1 << (bits - 1)


def unorder(value, bits, kind):
    if kind < 4:
        return value
    return value ^ 1 << (bits - 1) if value >> (bits - 1) else value ^ ((1 << bits) - 1)
