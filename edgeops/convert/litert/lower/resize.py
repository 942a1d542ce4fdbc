"""Resize: by LiteRT's own kernels where they pick the same places, else by what the places are.

What an axis becomes does not depend on the others, nor on the values. So ONNX Runtime is asked, one
axis at a time, where each place comes from; that is compared with what LiteRT's kernels compute
(tflite/kernels/internal/reference/resize_*.h), and is the index or the matrix otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.operands import FLOAT, axes_last, carrier, size_of, vector
from edgeops.convert.litert.lower.shape import opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Dims, Tensor

_PICKED = ("float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool")
_KERNELS = {"nearest": ("float32", "int8", "uint8", "int16"), "linear": FLOAT}
_FLAGS = ((False, False), (False, True), (True, False))  # align corners, half pixel centers
_LARGE = 1 << 24  # elements of a matrix
_PROBE = 64  # an axis of open size is looked at as if it had this one
_IMAGE = 4


@dataclass(frozen=True)
class Axis:
    """An axis that changes: its size, what it becomes, and the factor when that was asked for."""

    axis: int
    size: int | str
    out: int | str
    scale: float | None

    @property
    def is_open(self) -> bool:
        """Whether a size is not known."""
        return isinstance(self.size, str) or isinstance(self.out, str)


@lowers("Resize")
def resize(b: Builder, node: Node) -> None:
    """Enlarge or shrink axes by taking the nearest value, or between neighbours."""
    x = b.value(node.inputs[0])
    mode = node.attr("mode", "nearest")
    _refuse_modes(b, node)
    axes = _axes(b, node, x)
    dims = tuple(
        next((one.out for one in axes if one.axis == axis), size)
        for axis, size in enumerate(x.dims)
    )
    changed = [one for one in axes if one.out != one.size or one.scale not in {None, 1.0}]
    if not changed:
        b.bind(node.outputs[0], x)
        return
    flags = _native(node, x, changed) if mode in _KERNELS else None
    if flags is not None and x.dtype in {*_KERNELS[mode], "float16"}:
        out = _kernel(b, node, x, changed, dims, flags)
    elif any(one.is_open for one in changed):
        b.refuse(
            node,
            "LiteRT needs to know the sizes beforehand for this way to resize",
            "fix the input shapes: --input-shape NAME=1,3,224,224",
            code="dynamic-shape",
        )
    elif mode == "nearest":
        out = _gathered(b, node, x, changed)
    else:
        out = _multiplied(b, node, x, changed)
    b.bind(node.outputs[0], b.cast(out, x.dtype))


@lowers("Upsample")
def upsample(b: Builder, node: Node) -> None:
    """Enlarge as opsets before 10 have it: Resize from the corner, downwards."""
    ways = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    scales = node.inputs[1] if node.has(1) else ""
    resize(
        b,
        replace(
            node,
            op="Resize",
            inputs=(node.inputs[0], "", scales),
            attributes={**ways, **node.attributes},
        ),
    )


def _refuse_modes(b: Builder, node: Node) -> None:
    if node.attr("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        b.refuse(
            node,
            "LiteRT does not resize a region of interest",
            "crop with Slice before",
            code="attribute-unsupported",
        )
    if node.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        b.refuse(
            node,
            "it chooses its own sizes to keep the aspect ratio",
            "export it with the sizes it makes, and keep_aspect_ratio_policy=stretch",
            code="attribute-unsupported",
        )


def _axes(b: Builder, node: Node, x: Tensor) -> list[Axis]:
    """Return the axes a node names, with the sizes that they get."""
    named = [axis % x.rank for axis in node.attr("axes") or range(x.rank)]
    inferred = opened(b, node, x.rank)
    scales = b.value(node.inputs[2]).data if node.has(2) else node.attr("scales")
    if scales is not None and len(scales):
        found = []
        for axis, factor in zip(named, scales, strict=True):
            scale, size = float(factor), x.dims[axis]
            grown = int(size * scale) if isinstance(size, int) else inferred[axis]
            found.append(Axis(axis, size, size if scale == 1.0 else grown, scale))
        return found
    sizes = b.value(node.inputs[3]) if node.has(3) else None
    if sizes is None:
        b.refuse(node, "its scales must be a constant", code="constant-needed")
    if sizes.data is not None:
        return [
            Axis(axis, x.dims[axis], int(size), None)
            for axis, size in zip(named, sizes.data, strict=True)
        ]
    return [Axis(axis, x.dims[axis], inferred[axis], None) for axis in named]


def _native(node: Node, x: Tensor, changed: Sequence[Axis]) -> tuple[bool, bool] | None:
    """Return the flags with which LiteRT's kernel picks the same places, None when none do."""
    import numpy as np

    places = {one.axis for one in changed}
    images = x.rank == _IMAGE and (places <= {2, 3} or places <= {1, 2})
    if not images or node.attr("antialias", 0):
        return None
    simulated = {"nearest": _nearest, "linear": _between}[node.attr("mode", "nearest")]
    fitting = list(_FLAGS)
    for one in changed:
        size, out, scale = _looked_at(one)
        if size is None or out is None:
            return None
        wanted = _probed(node, np.arange(size).reshape(-1, 1), out, scale)[:, 0]
        near = size * 2e-6
        fitting = [
            flags
            for flags in fitting
            if np.allclose(simulated(size, out, *flags), wanted, rtol=0, atol=near)
        ]
    return fitting[0] if fitting else None


def _looked_at(one: Axis) -> tuple[int | None, int | None, float | None]:
    """Return sizes that show what happens to an axis; None for an open one of unknown kind."""
    if isinstance(one.size, int) and isinstance(one.out, int):
        return one.size, one.out, one.scale
    if one.scale is None:
        return _PROBE, _PROBE * 2, None
    if one.scale.is_integer():
        return _PROBE, int(_PROBE * one.scale), one.scale
    return None, None, None


def _nearest(size: int, out: int, align: bool, half: bool) -> Any:
    import numpy as np

    scale = np.float32(size) / np.float32(out)
    if align and out > 1:
        scale = np.float32(size - 1) / np.float32(out - 1)
    at = (np.arange(out, dtype="float32") + np.float32(0.5 if half else 0)) * scale
    at = np.floor(at + np.float32(0.5)) if align else np.floor(at)
    return at.clip(0, size - 1)


def _between(size: int, out: int, align: bool, half: bool) -> Any:
    import numpy as np

    scale = np.float32(size) / np.float32(out)
    if align and out > 1:
        scale = np.float32(size - 1) / np.float32(out - 1)
    shift = np.float32(0.5 if half else 0)
    at = (np.arange(out, dtype="float32") + shift) * scale - shift
    return at.clip(0, size - 1)


def _probed(node: Node, rows: Any, out: int, scale: float | None) -> Any:
    """Return what ONNX Runtime makes of the first axis of ``rows``, [size, columns], as float32."""
    import numpy as np
    import onnx
    import onnxruntime

    kept = {"axes", "scales", "extrapolation_value", "keep_aspect_ratio_policy"}
    ways = {name: value for name, value in node.attributes.items() if name not in kept}
    sizes = onnx.numpy_helper.from_array(np.array([1, 1, out, rows.shape[1]], "int64"), "sizes")
    scales = onnx.numpy_helper.from_array(np.array([1, 1, scale or 1, 1], "float32"), "scales")
    inputs = ["x", "", "scales"] if scale is not None else ["x", "", "", "sizes"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Resize", inputs, ["y"], **ways)],
        "axis",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 1, *rows.shape))],
        [onnx.helper.make_empty_tensor_value_info("y")],
        [scales if scale is not None else sizes],
    )
    opset = 18 if node.attr("antialias", 0) else 17
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    model.ir_version = 8
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": rows.astype("float32")[None, None]})[0][0, 0]


def _kernel(
    b: Builder,
    node: Node,
    x: Tensor,
    changed: Sequence[Axis],
    dims: Dims,
    flags: tuple[bool, bool],
) -> Tensor:
    """Emit LiteRT's own resize between the layouts that it needs."""
    value = b.cast(x, "float32") if x.dtype == "float16" else x
    channels_last = {one.axis for one in changed} <= {1, 2}
    order, back = ((0, 1, 2, 3),) * 2 if channels_last else ((0, 2, 3, 1), (0, 3, 1, 2))
    moved = b.transpose(value, order)
    places = order[1:3]
    if any(isinstance(dims[axis], str) for axis in places):
        parts = [_running_size(b, node, x, changed, axis, dims[axis]) for axis in places]
        sizes = b.emit("CONCATENATION", parts, (2,), "int32", axis=0)
    else:
        sizes = vector(b, [int(dims[axis]) for axis in places], "sizes")
    codes = {"nearest": "RESIZE_NEAREST_NEIGHBOR", "linear": "RESIZE_BILINEAR"}
    out = b.emit(
        codes[node.attr("mode", "nearest")],
        [moved, sizes],
        tuple(dims[axis] for axis in order),
        alignCorners=flags[0],
        halfPixelCenters=flags[1],
    )
    return b.transpose(out, back)


def _running_size(
    b: Builder, node: Node, x: Tensor, changed: Sequence[Axis], axis: int, size: int | str
) -> Tensor:
    """Return what an axis becomes as int32 [1], computed when the model runs."""
    one = next((one for one in changed if one.axis == axis), None)
    if isinstance(size, int):
        return vector(b, [size], "size")
    if one is not None and one.scale is None:
        named = [place % x.rank for place in node.attr("axes") or range(x.rank)]
        sizes = b.cast(b.value(node.inputs[3]), "int32")
        return b.emit("GATHER", [sizes, vector(b, [named.index(axis)], "axis")], (1,), axis=0)
    own = b.reshape(size_of(b, x, axis), (1,))
    if one is None:
        return own
    return b.emit("MUL", [own, vector(b, [int(one.scale or 1)], "factor")], (1,))


def _gathered(b: Builder, node: Node, x: Tensor, changed: Sequence[Axis]) -> Tensor:
    """Pick the places of each axis in turn."""
    import numpy as np

    out = b.cast(x, carrier(b, node, x.dtype, _PICKED))
    for one in changed:
        size, count, scale = _looked_at(one)
        assert size is not None and count is not None  # noqa: S101, PT018 - open ones were refused
        places = _probed(node, np.arange(size).reshape(-1, 1), count, scale)[:, 0]
        indices = vector(b, places.round().astype("int32").tolist(), "places")
        dims = tuple(count if axis == one.axis else old for axis, old in enumerate(out.dims))
        out = b.emit("GATHER", [out, indices], dims, axis=one.axis)
    return out


def _multiplied(b: Builder, node: Node, x: Tensor, changed: Sequence[Axis]) -> Tensor:
    """Multiply each axis in turn with the matrix of its weights."""
    import numpy as np

    if x.dtype not in {"float32", "float16"}:
        b.refuse(node, f"it blends values of {x.dtype}", code="dtype-unsupported")
    out = b.cast(x, "float32")
    for one in changed:
        size, count, scale = _looked_at(one)
        assert size is not None and count is not None  # noqa: S101, PT018 - open ones were refused
        if size * max(size, count) > _LARGE:
            b.refuse(node, f"LiteRT has no kernel for it, and {count} x {size} weights are many")
        weights = b.const(_probed(node, np.eye(size), count, scale), "weights")
        order, back = axes_last(x.rank, one.axis)
        moved = b.transpose(out, order)
        dims = (*moved.dims[:-1], count)
        blended = b.emit("FULLY_CONNECTED", [moved, weights, None], dims, keepNumDims=True)
        out = b.transpose(blended, back)
    return out
