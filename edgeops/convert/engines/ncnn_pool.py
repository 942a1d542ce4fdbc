"""Pooling whose windows do not cover all sides alike, in forms that pnnx takes.

pnnx and ncnn know pads that are the same on both sides, and round sizes up in their own way. With
known sizes the same is a Pad before it, and for means a factor after it: how many of a window's
values count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_LEAST = -3.4028234663852886e38  # the smallest float32: what padding counts as in a maximum


@dataclass(frozen=True)
class _Axis:
    """One axis of a pooling: sizes before and after, window, step, pads; ``more`` by rounding up."""

    size: int
    kernel: int
    stride: int
    begin: int
    end: int
    out: int

    @property
    def more(self) -> int:
        reach = (self.out - 1) * self.stride + self.kernel
        return max(0, reach - self.size - self.begin - self.end)

    def counted(self, *, pads: bool) -> list[int]:
        """Return how many values each window counts."""
        low, high = (0, self.begin + self.size + self.end) if pads else (self.begin, 0)
        high = high or self.begin + self.size
        starts = [index * self.stride for index in range(self.out)]
        return [max(0, min(at + self.kernel, high) - max(at, low)) for at in starts]


def pool(
    node: Any, shape: Sequence[int] | None, add: Callable[[str, Any], str]
) -> list[Any] | None:
    """Return nodes that do what an uneven pooling does, None for one that may stay as it is.

    ``shape`` is that of its input, ``add`` makes a constant and returns its name.
    """
    from onnx import helper

    stated = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    axes = _axes(stated, shape)
    if axes is None or not _is_uneven(axes, stated):
        return None
    if node.op_type == "MaxPool":
        return _largest(node, axes, add)
    return _average(node, axes, stated, add)


def _is_uneven(axes: Sequence[_Axis], stated: dict[str, Any]) -> bool:
    return bool(stated.get("ceil_mode", 0)) or any(axis.begin != axis.end for axis in axes)


def _axes(stated: dict[str, Any], shape: Sequence[int] | None) -> list[_Axis] | None:
    kernel = stated["kernel_shape"]
    rank = len(kernel)
    plain = stated.get("auto_pad", b"NOTSET") == b"NOTSET"
    if shape is None or not plain or any(size != 1 for size in stated.get("dilations", ())):
        return None
    strides = stated.get("strides") or [1] * rank
    pads = stated.get("pads") or [0] * (2 * rank)
    axes = []
    for index, size in enumerate(shape[2:]):
        begin, end = pads[index], pads[index + rank]
        steps = (size + begin + end - kernel[index]) / strides[index]
        out = (math.ceil(steps) if stated.get("ceil_mode", 0) else math.floor(steps)) + 1
        if stated.get("ceil_mode", 0) and (out - 1) * strides[index] >= size + begin:
            out -= 1  # a window may not begin in the padding at the end
        axes.append(_Axis(size, kernel[index], strides[index], begin, end, out))
    return axes


def _padded(node: Any, axes: Sequence[_Axis], value: float, add: Callable[[str, Any], str]) -> Any:
    """Return the Pad that makes an uneven pooling an even one."""
    import numpy as np
    from onnx import helper

    made = node.output[0]
    pads = [0, 0, *(axis.begin for axis in axes), 0, 0, *(axis.end + axis.more for axis in axes)]
    inputs = [
        node.input[0],
        add(f"{made}/pads", np.asarray(pads, np.int64)),
        add(f"{made}/fill", np.asarray(value, np.float32)),
    ]
    return helper.make_node("Pad", inputs, [f"{made}/padded"], mode="constant")


def _plain(node: Any, axes: Sequence[_Axis], made: str) -> Any:
    """Return the pooling of what ``_padded`` makes."""
    from onnx import helper

    sizes = [axis.kernel for axis in axes]
    steps = [axis.stride for axis in axes]
    given = [f"{node.output[0]}/padded"]
    return helper.make_node(node.op_type, given, [made], kernel_shape=sizes, strides=steps)


def _largest(node: Any, axes: Sequence[_Axis], add: Callable[[str, Any], str]) -> list[Any]:
    if not any(axis.begin or axis.end or axis.more for axis in axes):
        return [_renamed(node, _plain(node, axes, node.output[0]))]
    return [_padded(node, axes, _LEAST, add), _plain(node, axes, node.output[0])]


def _renamed(node: Any, made: Any) -> Any:
    made.input[0] = node.input[0]
    made.name = node.name
    return made


def _average(
    node: Any, axes: Sequence[_Axis], stated: dict[str, Any], add: Callable[[str, Any], str]
) -> list[Any]:
    import numpy as np
    from onnx import helper

    made = node.output[0]
    include = bool(stated.get("count_include_pad", 0))
    counts = np.ones((), np.float32)
    for axis in axes:
        counts = np.multiply.outer(counts, np.asarray(axis.counted(pads=include), np.float32))
    factor = np.float32(math.prod(axis.kernel for axis in axes)) / np.maximum(counts, 1)
    even = bool((factor == 1).all())
    nodes = [_padded(node, axes, 0.0, add), _plain(node, axes, made if even else f"{made}/mean")]
    if not even:
        scale = add(f"{made}/factor", factor[np.newaxis, np.newaxis].astype(np.float32))
        nodes.append(helper.make_node("Mul", [f"{made}/mean", scale], [made], name=node.name))
    return nodes
