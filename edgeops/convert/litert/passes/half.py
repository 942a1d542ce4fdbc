"""Keep large constants in half precision: a file of half the size that computes in floats.

LiteRT's own form of a float16 model: each constant stands behind a DEQUANTIZE, which XNNPACK folds
when the file is loaded and other kernels run once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.convert.litert.ir import Op, Tensor

if TYPE_CHECKING:
    from edgeops.convert.litert.ir import Graph

_LEAST = 64  # elements; smaller ones save less than their operator costs


def to_half(graph: Graph) -> None:
    """Rewrite ``graph`` in place; constants that float16 cannot hold stay as they are."""
    made: dict[int, Tensor] = {}
    unpacked: list[Op] = []
    for op in graph.ops:
        for index, tensor in enumerate(op.inputs):
            if tensor is None or not _fits(tensor):
                continue
            if id(tensor) not in made:
                half = Tensor(
                    f"{tensor.name}/half", tensor.dims, "float16", tensor.data.astype("float16")
                )
                made[id(tensor)] = Tensor(f"{tensor.name}/float", tensor.dims, "float32")
                unpacked.append(Op("DEQUANTIZE", [half], [made[id(tensor)]], {}, op.node))
            op.inputs[index] = made[id(tensor)]
    graph.ops = [*unpacked, *graph.ops]


def _fits(tensor: Tensor) -> bool:
    import numpy as np

    if not tensor.is_constant or tensor.dtype != "float32" or tensor.data.size < _LEAST:
        return False
    return bool(np.abs(tensor.data).max() <= np.finfo("float16").max)
