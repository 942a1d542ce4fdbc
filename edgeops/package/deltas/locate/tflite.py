"""Tensors in a .tflite file: buffers of the flatbuffer, or those that follow it.

Field numbers are those of schema.fbs: Model.subgraphs 2, buffers 4; SubGraph.tensors 0;
Tensor.type 1, buffer 2, name 3; Buffer.data 0, offset 1, size 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.model.flatbuffer import Flatbuffer
from edgeops.package.deltas.locate import BFLOAT16, FLOAT16, FLOAT32, INT8, INT16, INT32, Region

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeops.model.flatbuffer import Table

_KINDS = {0: FLOAT32, 1: FLOAT16, 2: INT32, 3: INT8, 4: INT32, 7: INT16, 9: INT8, 15: INT32}
_KINDS |= {16: INT16, 17: INT8, 18: BFLOAT16}


def regions(data: memoryview, _: str, __: Mapping[str, Path]) -> list[Region]:
    """Return the constant tensors; a buffer that several share is named after the first."""
    root = Flatbuffer(bytes(data)).root()
    buffers = list(root.tables(4))
    found: dict[int, Region] = {}
    for graph in root.tables(2):
        for tensor in graph.tables(0):
            index = tensor.integer(2, "uint32")
            kind = _KINDS.get(tensor.integer(1, "int8"))
            if not kind or index in found or not 0 < index < len(buffers):
                continue
            offset, length = _span(buffers[index])
            found[index] = Region(offset, length, kind, tensor.text(3))
    return list(found.values())


def _span(buffer: Table) -> tuple[int, int]:
    outside = buffer.integer(1, "uint64")
    return (outside, buffer.integer(2, "uint64")) if outside > 1 else buffer.span(0, 1)
