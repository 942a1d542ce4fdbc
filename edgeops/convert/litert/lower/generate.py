"""Operators that make tensors of shapes and numbers instead of values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.operands import (
    NUMBERS,
    carrier,
    constant,
    fixed,
    scalar,
    select,
    vector,
    with_number,
)
from edgeops.convert.litert.lower.shape import opened

if TYPE_CHECKING:
    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Tensor

_HOT = ("float32", "int8", "uint8", "int32", "int64", "bool")


@lowers("Constant")
def constant_(b: Builder, node: Node) -> None:
    """Give what stands in the model."""
    import numpy as np

    from edgeops.convert.litert.write import DTYPES

    value = node.attr("value")
    if value is None:
        name, value = next(iter(node.attributes.items()), ("", None))
        dtype = {"value_float": "float32", "value_floats": "float32"}.get(name, "int64")
        if name not in {"value_float", "value_floats", "value_int", "value_ints"}:
            b.refuse(node, "it is no tensor of numbers", code="dtype-unsupported")
        value = np.array(value, dtype)
    if value.dtype.name not in DTYPES:
        b.refuse(node, f"LiteRT has no {value.dtype.name}", code="dtype-unsupported")
    b.bind(node.outputs[0], b.const(value, node.outputs[0]))


@lowers("Shape")
def shape(b: Builder, node: Node) -> None:
    """Give sizes: those of a fixed shape are known."""
    import numpy as np

    x = b.value(node.inputs[0])
    start, end, _ = slice(node.attr("start", 0), node.attr("end")).indices(x.rank)
    end = max(start, end)
    dims = x.dims[start:end]
    if all(isinstance(size, int) for size in dims):
        b.bind(node.outputs[0], b.const(np.array(dims, "int64"), "sizes"))
        return
    out = b.emit("SHAPE", [x], (x.rank,), "int64", outType=4)
    if len(dims) < x.rank:
        operands = [out, vector(b, [start], "begin"), vector(b, [len(dims)], "size")]
        out = b.emit("SLICE", operands, (len(dims),))
    b.bind(node.outputs[0], out)


@lowers("Size")
def size(b: Builder, node: Node) -> None:
    """Count the elements."""
    import numpy as np

    x = b.value(node.inputs[0])
    if x.is_static:
        b.bind(node.outputs[0], b.const(np.array(math.prod(x.shape), "int64"), "size"))
        return
    sizes = b.emit("SHAPE", [x], (x.rank,), "int64", outType=4)
    b.bind(node.outputs[0], b.emit("REDUCE_PROD", [sizes, vector(b, [0])], (), keepDims=False))


@lowers("ConstantOfShape")
def constant_of_shape(b: Builder, node: Node) -> None:
    """Fill a shape with one number."""
    import numpy as np

    value = node.attr("value")
    value = np.zeros(1, "float32") if value is None else value
    sizes = b.value(node.inputs[0])
    if sizes.data is not None:
        dims: Any = tuple(sizes.data.tolist())
        sizes = b.const(sizes.data.astype("int32"), "dims")
    else:
        count = fixed(b, node, sizes.dims[0], "how many axes it makes")
        dims, sizes = opened(b, node, count), b.cast(sizes, "int32")
    number = b.const(value.reshape(()), "value")
    b.bind(node.outputs[0], b.emit("FILL", [sizes, number], dims, number.dtype))


@lowers("Range")
def range_(b: Builder, node: Node) -> None:
    """Count from a start to a limit, as numbers that the model computes."""
    values = [b.value(name) for name in node.inputs]
    dtype = carrier(b, node, values[0].dtype, NUMBERS)
    if values[0].dtype == "float16":
        b.refuse(node, "float16 counts in other steps than float32", code="dtype-unsupported")
    operands = [b.reshape(b.cast(value, dtype), ()) for value in values]
    out = b.emit("RANGE", operands, opened(b, node, 1))
    b.bind(node.outputs[0], b.cast(out, values[0].dtype))


@lowers("EyeLike")
def eye_like(b: Builder, node: Node) -> None:
    """Make ones on a diagonal."""
    import numpy as np
    import onnx

    from edgeops.convert.litert.write import DTYPES

    x = b.value(node.inputs[0])
    rows, columns = (fixed(b, node, size, "the shape of its input") for size in x.dims)
    dtype = x.dtype
    if node.attr("dtype"):
        dtype = onnx.helper.tensor_dtype_to_np_dtype(node.attr("dtype")).name
    if dtype not in DTYPES:
        b.refuse(node, f"LiteRT has no {dtype}", code="dtype-unsupported")
    ones = np.eye(rows, columns, node.attr("k", 0), dtype=dtype)
    b.bind(node.outputs[0], b.const(ones, "eye"))


@lowers("OneHot")
def one_hot(b: Builder, node: Node) -> None:
    """Make an axis that is on at one place; places outside of it leave it off."""
    indices, values = b.value(node.inputs[0]), b.value(node.inputs[2])
    depth = int(constant(b, node, 1, "depth").reshape(-1)[0])
    dtype = carrier(b, node, values.dtype, _HOT)
    wide = carrier(b, node, indices.dtype, ("float32", "float64", "int32", "int64"))
    places = b.cast(indices, wide if wide.startswith("int") else "int32")
    negative = with_number(b, "LESS", places, 0, dtype="bool")
    places = select(b, negative, with_number(b, "ADD", places, depth), places)
    off, on = (_one(b, b.cast(values, dtype), place) for place in (0, 1))
    axis = node.attr("axis", -1)
    axis = axis + indices.rank + 1 if axis < 0 else axis
    dims = (*indices.dims[:axis], depth, *indices.dims[axis:])
    operands = [places, scalar(b, depth, "int32"), on, off]
    last = -1 if axis == indices.rank else axis
    out = b.emit("ONE_HOT", operands, dims, dtype, axis=last)
    b.bind(node.outputs[0], b.cast(out, values.dtype))


def _one(b: Builder, values: Tensor, place: int) -> Tensor:
    if values.data is not None:
        return b.const(values.data[place], "value")
    return b.emit("GATHER", [values, scalar(b, place, "int32")], (), axis=0)


@lowers("Trilu")
def trilu(b: Builder, node: Node) -> None:
    """Keep what is above or below a diagonal of the last two axes."""
    import numpy as np

    x = b.value(node.inputs[0])
    rows, columns = (fixed(b, node, size, "the last two sizes") for size in x.dims[-2:])
    first = int(constant(b, node, 1, "k").reshape(-1)[0]) if node.has(1) else 0
    if node.attr("upper", 1):
        kept = np.triu(np.ones((rows, columns), "bool"), first)
    else:
        kept = np.tril(np.ones((rows, columns), "bool"), first)
    b.bind(node.outputs[0], select(b, b.const(kept, "kept"), x, scalar(b, 0, x.dtype)))
