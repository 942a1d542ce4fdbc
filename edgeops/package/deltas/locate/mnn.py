"""Weights in a .mnn file: vectors of the flatbuffer.

Field numbers are those of MNN.fbs and CaffeOp.fbs: Net.oplists 3; Op.main_type 1, main 2, name 3;
Blob.dataType 2, then a vector per type; Convolution2D.weight 1, bias 2, quanParameter 3,
symmetricQuan 4; IDSTQuan.buffer 0, alpha 1, type 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.model.flatbuffer import Flatbuffer
from edgeops.package.deltas.locate import FLOAT16, FLOAT32, INT8, INT32, Region

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edgeops.model.flatbuffer import Table

_BLOB, _CONVOLUTION, _DENSE, _CONVOLUTION_3D = 7, 9, 20, 80
# Members of the union OpParameter that hold float32: their fields.
_FLOATS = {_CONVOLUTION: (1, 2), _CONVOLUTION_3D: (1, 2), _DENSE: (3, 4), 32: (1,), 58: (1, 2)}
_FLOATS |= {5: (1, 2, 3, 4), 88: (2, 3)}
_BLOB_FIELDS = {3: (1, INT8), 4: (1, INT8), 5: (4, INT32), 7: (4, FLOAT32)}
_HALF = 3


def regions(data: memoryview, _: str, __: Mapping[str, Path]) -> list[Region]:
    """Return the weights of all operators, named after them and the field."""
    root = Flatbuffer(bytes(data)).root()
    found = []
    for place, op in enumerate(root.tables(3)):
        about = op.table(2)
        if about is not None:
            name = op.text(3) or str(place)
            for offset, length, kind, part in _of(op.integer(1, "uint8"), about):
                found.append(Region(offset, length, kind, f"{name}/{part}"))
    return found


def _of(kind: int, about: Table) -> Iterator[tuple[int, int, int, str]]:
    for field in _FLOATS.get(kind, ()):
        start, count = about.span(field, 4)
        yield start, 4 * count, FLOAT32, str(field)
    if kind == _BLOB:
        for field, (size, number) in _BLOB_FIELDS.items():
            start, count = about.span(field, size)
            yield start, size * count, number, str(field)
    if kind == _CONVOLUTION:
        yield from _quantized(about)


def _quantized(about: Table) -> Iterator[tuple[int, int, int, str]]:
    packed, symmetric = about.table(3), about.table(4)
    if packed:
        start, count = packed.span(0, 1)
        yield start, count, FLOAT16 if packed.integer(2) == _HALF and not count % 2 else INT8, "q"
        start, count = packed.span(1, 4)
        yield start, 4 * count, FLOAT32, "alpha"
    if symmetric:
        start, count = symmetric.span(0, 1)
        yield start, count, INT8, "s"
        for field, kind in ((1, INT32), (2, FLOAT32)):
            start, count = symmetric.span(field, 4)
            yield start, 4 * count, kind, f"s{field}"
