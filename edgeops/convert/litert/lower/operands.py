"""What lowerings of many families share: broadcasting, dtypes that kernels lack, small constants.

The kernels' limits named here and in the lowerings were measured with ai-edge-litert 2.3.0, with
its XNNPACK delegate and without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Dims, Tensor

FLOAT = ("float32",)
NUMBERS = ("float32", "int32", "int64")
# Where else a dtype's numbers all fit, in the order of preference.
_WIDER = {
    "bool": ("int32",),
    "int8": ("int16", "int32", "int64"),
    "uint8": ("int16", "int32", "int64"),
    "int16": ("int32", "int64"),
    "uint16": ("int32", "int64"),
    "uint32": ("int64",),
    "float16": ("float32",),
}
RANK = 6  # XNNPACK fails on more axes instead of leaving the operator to LiteRT's own kernels


def broadcast(*shapes: Dims) -> Dims:
    """Return the dims of what these broadcast to, as numpy's rules say.

    An open axis beside a fixed size other than 1 is that size; two open axes that bear different
    names give a name of their own.
    """
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(dims)) + tuple(dims) for dims in shapes]
    return tuple(_together(axis) for axis in zip(*padded, strict=True))


def _together(sizes: Sequence[int | str]) -> int | str:
    others = [size for size in sizes if size != 1]
    if not others:
        return 1
    fixed = [size for size in others if isinstance(size, int)]
    if fixed:
        return fixed[0]
    names = sorted({str(size) for size in others})
    return names[0] if len(names) == 1 else "|".join(names)


def carrier(b: Builder, node: Node, dtype: str, kernels: Collection[str]) -> str:
    """Return the dtype in which kernels that know only these can do the work of ``dtype``.

    Refuses when there is none that holds all its numbers.
    """
    fitting = [other for other in (dtype, *_WIDER.get(dtype, ())) if other in kernels]
    if not fitting:
        b.refuse(
            node,
            f"LiteRT has no kernel that computes it in {dtype}",
            "export the model with float32 and int32",
            code="dtype-unsupported",
        )
    return fitting[0]


def scalar(b: Builder, value: Any, dtype: str) -> Tensor:
    """Return a constant without axes."""
    import numpy as np

    return b.const(np.array(value, dtype), "scalar")


def vector(b: Builder, values: Sequence[int], hint: str = "vector") -> Tensor:
    """Return a constant int32 vector."""
    import numpy as np

    return b.const(np.array(values, "int32").reshape(-1), hint)


def binary(
    b: Builder, code: str, x: Tensor, y: Tensor, dtype: str | None = None, **options: Any
) -> Tensor:
    """Emit an operator of two tensors that broadcast against each other."""
    return b.emit(code, [x, y], broadcast(x.dims, y.dims), dtype, **options)


def unary(b: Builder, code: str, x: Tensor, dtype: str | None = None, **options: Any) -> Tensor:
    """Emit an operator of one tensor that keeps its dims."""
    return b.emit(code, [x], x.dims, dtype, **options)


def with_number(b: Builder, code: str, x: Tensor, number: float, **options: Any) -> Tensor:
    """Emit an operator of a tensor and a constant number of the same dtype."""
    return binary(b, code, x, scalar(b, number, x.dtype), **options)


def select(b: Builder, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Emit the elementwise choice between two tensors."""
    dims = broadcast(condition.dims, x.dims, y.dims)
    return b.emit("SELECT_V2", [condition, x, y], dims, x.dtype)


def axes_last(rank: int, axis: int) -> tuple[list[int], list[int]]:
    """Return the permutation that moves an axis to the end, and the one that moves it back."""
    order = [*(other for other in range(rank) if other != axis), axis]
    return order, [order.index(place) for place in range(rank)]


def fixed(b: Builder, node: Node, size: int | str, what: str) -> int:
    """Return a size; refuses when it is open. ``what`` names the axis for people."""
    if isinstance(size, str):
        b.refuse(
            node,
            f"LiteRT needs to know {what} beforehand",
            "fix the input shapes: --input-shape NAME=1,3,224,224",
            code="dynamic-shape",
        )
    return size


def constant(b: Builder, node: Node, index: int, what: str) -> Any:
    """Return the array of an input; refuses when it is computed while the model runs."""
    array = b.value(node.inputs[index]).data
    if array is None:
        b.refuse(
            node,
            f"its {what} must be a constant",
            "fix the input shapes, so that it can be computed beforehand: --input-shape",
            code="constant-needed",
        )
    return array


def size_of(b: Builder, tensor: Tensor, axis: int, dtype: str = "int32") -> Tensor:
    """Return the size of an axis without axes of its own: computed when it is open."""
    size = tensor.dims[axis]
    if isinstance(size, int):
        return scalar(b, size, dtype)
    out_type = {"int32": 2, "int64": 4}[dtype]
    shape = b.emit("SHAPE", [tensor], (tensor.rank,), dtype, outType=out_type)
    return b.emit("GATHER", [shape, scalar(b, axis, "int32")], (), axis=0)


def filled(b: Builder, dims: Sequence[int], value: Any, dtype: str) -> Tensor:
    """Return a tensor of one value; an empty one must be computed, LiteRT has no such constants."""
    import numpy as np

    if 0 not in dims:
        return b.const(np.full(dims, value, dtype), "filled")
    return b.emit("FILL", [vector(b, dims, "dims"), scalar(b, value, dtype)], tuple(dims), dtype)
