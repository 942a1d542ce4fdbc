"""Compute a variance from differences to the mean, where a model takes it from mean squares.

``E[x^2] - E[x]^2``, as exporters from JAX and TensorFlow write normalization, cancels: engines that
sum in another order than ONNX Runtime lose most digits of it, and what divides by its root gets
another answer (up to 70 % off was seen). ``E[(x - E[x])^2]`` is the same number, without that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_SLACK = 1e-5  # how near to 1/N the factor of a mean must be, in float32


@dataclass(frozen=True)
class _Mean:
    """``tensor = reduce(source)``, scaled by ``scale`` when that is a node of its own."""

    source: str
    reduce: Any
    scale: Any | None

    def same_but_source(self, other: _Mean) -> bool:
        """Return whether the other takes the mean over the same axes in the same way."""
        if (self.scale is None) != (other.scale is None):
            return False
        if self.scale is not None and other.scale is not None:
            factors = (_other(self.scale, self.reduce), _other(other.scale, other.reduce))
            if self.scale.op_type != other.scale.op_type or factors[0] != factors[1]:
                return False
        return (
            self.reduce.op_type == other.reduce.op_type
            and list(self.reduce.input)[1:] == list(other.reduce.input)[1:]
            and list(self.reduce.attribute) == list(other.reduce.attribute)
        )


def steady_variance(model: Any) -> int:
    """Rewrite each ``E[x^2] - E[x]^2`` of the main graph in place; return how many there were.

    Only where both means are taken in the same way over axes of known size, so that the result is
    the same in exact arithmetic. Opset 13 or later is needed (axes as an input of ReduceSum).
    """
    import onnx

    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < 13:  # noqa: PLR2004 - see above
        return 0
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    shapes = {
        value.name: [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input)
    }
    count = 0
    for node in list(graph.node):
        if node.op_type != "Sub":
            continue
        means = _means(node, makers, constants)
        if means is None or not _is_mean(means[1], constants, shapes):
            continue
        _rewrite(onnx, graph, node, *means, tag=f"steady_variance_{count}")
        count += 1
    return count


def _means(
    sub: Any, makers: Mapping[str, Any], constants: Mapping[str, Any]
) -> tuple[_Mean, _Mean] | None:
    """Return the means of the squares and of the values when ``sub`` is such a variance."""
    squares = _mean(sub.input[0], makers, constants)
    root = _squared(makers.get(sub.input[1]), constants)
    if squares is None or root is None:
        return None
    values = _mean(root, makers, constants)
    of = _squared(makers.get(squares.source), constants)
    if values is None or of != values.source or not squares.same_but_source(values):
        return None
    return squares, values


def _squared(node: Any | None, constants: Mapping[str, Any]) -> str | None:
    """Return what a node squares."""
    if node is None:
        return None
    if node.op_type == "Mul" and node.input[0] == node.input[1]:
        return str(node.input[0])
    if node.op_type == "Pow" and _scalar(constants.get(node.input[1])) == 2.0:  # noqa: PLR2004 - a square
        return str(node.input[0])
    return None


def _mean(name: str, makers: Mapping[str, Any], constants: Mapping[str, Any]) -> _Mean | None:
    node = makers.get(name)
    if node is None:
        return None
    if node.op_type == "ReduceMean":
        return _Mean(node.input[0], node, None)
    if node.op_type not in ("Mul", "Div"):
        return None
    for place, other in ((0, 1), (1, 0)) if node.op_type == "Mul" else ((0, 1),):
        inner = makers.get(node.input[place])
        if inner is not None and inner.op_type == "ReduceSum" and node.input[other] in constants:
            return _Mean(inner.input[0], inner, node)
    return None


def _is_mean(mean: _Mean, constants: Mapping[str, Any], shapes: Mapping[str, Any]) -> bool:
    if mean.scale is None:
        return True
    shape, axes = shapes.get(mean.source), _axes(mean.reduce, constants)
    if shape is None or axes is None or any(not -len(shape) <= a < len(shape) for a in axes):
        return False
    sizes = [shape[axis] for axis in axes or range(len(shape))]
    factor = _scalar(constants.get(_other(mean.scale, mean.reduce)))
    if factor is None or None in sizes:
        return False
    product = (
        factor * math.prod(sizes) if mean.scale.op_type == "Mul" else math.prod(sizes) / factor
    )
    return bool(abs(product - 1.0) < _SLACK)


def _axes(reduce: Any, constants: Mapping[str, Any]) -> list[int] | None:
    from onnx import numpy_helper

    if len(reduce.input) < 2 or not reduce.input[1]:  # noqa: PLR2004 - data and axes
        return (
            []
            if not any(a.name == "noop_with_empty_axes" and a.i for a in reduce.attribute)
            else None
        )
    tensor = constants.get(reduce.input[1])
    return None if tensor is None else [int(axis) for axis in numpy_helper.to_array(tensor).ravel()]


def _other(scale: Any, reduce: Any) -> str:
    return str(scale.input[1] if scale.input[0] == reduce.output[0] else scale.input[0])


def _scalar(tensor: Any | None) -> float | None:
    from onnx import numpy_helper

    if tensor is None or math.prod(tensor.dims) != 1:
        return None
    return float(numpy_helper.to_array(tensor).ravel()[0]) or None


def _rewrite(onnx: Any, graph: Any, sub: Any, squares: _Mean, values: _Mean, *, tag: str) -> None:
    """Put ``mean((x - mean(x))^2)`` in the place of ``sub``, its nodes before it."""
    copy = onnx.NodeProto.FromString
    wide = copy(values.reduce.SerializeToString())
    wide.name, wide.output[0] = f"{tag}_reduce", f"{tag}_reduce"
    kept = [attribute for attribute in wide.attribute if attribute.name != "keepdims"]
    del wide.attribute[:]
    wide.attribute.extend([*kept, onnx.helper.make_attribute("keepdims", 1)])
    new, center = [wide], wide.output[0]
    if values.scale is not None:
        scaled = copy(values.scale.SerializeToString())
        scaled.name, scaled.output[0] = f"{tag}_mean", f"{tag}_mean"
        _reread(scaled, values.reduce.output[0], center)
        new.append(scaled)
        center = scaled.output[0]
    make = onnx.helper.make_node
    new.append(make("Sub", [values.source, center], [f"{tag}_off"], f"{tag}_off"))
    new.append(make("Mul", [f"{tag}_off"] * 2, [f"{tag}_squares"], f"{tag}_squares"))
    last = copy(squares.reduce.SerializeToString())
    last.name = f"{tag}_variance"
    last.input[0] = f"{tag}_squares"
    last.output[0] = sub.output[0]
    new.append(last)
    if squares.scale is not None:
        last.output[0] = f"{tag}_variance"
        scaled = copy(squares.scale.SerializeToString())
        scaled.name = sub.name or f"{tag}_scaled"
        _reread(scaled, squares.reduce.output[0], last.output[0])
        scaled.output[0] = sub.output[0]
        new.append(scaled)
    at = next(index for index, node in enumerate(graph.node) if node == sub)
    del graph.node[at]
    for offset, node in enumerate(new):
        graph.node.insert(at + offset, node)


def _reread(node: Any, before: str, after: str) -> None:
    for place, name in enumerate(node.input):
        if name == before:
            node.input[place] = after
