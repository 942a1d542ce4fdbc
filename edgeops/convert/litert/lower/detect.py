"""Operators whose output has as many rows as the data decide: NonMaxSuppression, NonZero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.litert.lower import lowers

if TYPE_CHECKING:
    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Tensor

_LOWEST = -3.4028234663852886e38  # without a threshold every score counts


@lowers("NonZero")
def non_zero(b: Builder, node: Node) -> None:
    """List the indices of what is not zero, [rank, count]; WHERE gives them as [count, rank]."""
    import numpy as np

    x = b.value(node.inputs[0])
    if x.rank == 0:
        b.refuse(node, "its input has no axes", code="rank-unsupported")
    if x.dtype != "bool":
        zero = b.const(np.zeros((), x.dtype), "zero")
        x = b.emit("NOT_EQUAL", [x, zero], x.dims, "bool")
    rows = b.out_dims(node)[1]
    found = b.emit("WHERE", [x], (rows, x.rank), "int64")
    b.bind(node.outputs[0], b.transpose(found, (1, 0)))


@lowers("NonMaxSuppression")
def non_max_suppression(b: Builder, node: Node) -> None:
    """Select rows [batch, class, box] of the boxes that stay, with one LiteRT operator a class."""
    boxes, scores = b.value(node.inputs[0]), b.value(node.inputs[1])
    batches, classes, count = scores.dims
    if not isinstance(batches, int) or not isinstance(classes, int) or not isinstance(count, int):
        b.refuse(
            node,
            "the number of its boxes, classes or images is open",
            "fix the input shapes: --input-shape NAME=1,3,224,224",
            code="dynamic-shape",
        )
    limits = [
        _limit(b, node, index, default) for index, default in ((2, 0), (3, 0.0), (4, _LOWEST))
    ]
    most = min(int(limits[0]), count)
    if most <= 0:
        b.refuse(node, "it may select no box at all", "give max_output_boxes_per_class")
    if limits[1] >= 1:
        b.refuse(node, "with an IoU limit of 1 it drops nothing", "use TopK on the scores")
    if node.attr("center_point_box", 0):
        boxes = _corners(b, boxes)
    parts = []
    for batch in range(batches):
        one = _take(b, boxes, (batch, 0, 0), (1, count, 4), (count, 4))
        for kind in range(classes):
            row = _take(b, scores, (batch, kind, 0), (1, 1, count), (count,))
            parts.append(_select(b, one, row, most, limits, (batch, kind)))
    rows = b.out_dims(node)[0]
    joined = parts[0]
    if len(parts) > 1:
        joined = b.emit("CONCATENATION", parts, (rows, 3), axis=0)
    b.bind(node.outputs[0], b.cast(joined, "int64"))


def _select(
    b: Builder,
    boxes: Tensor,
    scores: Tensor,
    most: int,
    limits: list[float],
    where: tuple[int, int],
) -> Tensor:
    """Return [selected, 3] int32 rows of one image and class."""
    import numpy as np

    # ONNX drops a box that overlaps by more than the limit, LiteRT one that overlaps by as much.
    iou = np.nextafter(np.float32(limits[1]), np.float32(2))
    operands = [
        b.const(np.array(most, "int32"), "most"),
        b.const(iou, "iou"),
        b.const(np.array(limits[2], "float32"), "score"),
    ]
    chosen = b.make((most,), "int32", "chosen")
    valid = b.make((), "int32", "valid")
    b.append("NON_MAX_SUPPRESSION_V4", [boxes, scores, *operands], [chosen, valid])
    columns = [
        b.const(np.full((most, 1), where[0], "int32"), "batch"),
        b.const(np.full((most, 1), where[1], "int32"), "class"),
        b.reshape(chosen, (most, 1)),
    ]
    table = b.emit("CONCATENATION", columns, (most, 3), "int32", axis=1)
    three = b.const(np.array([3], "int32"), "three")
    size = b.emit("CONCATENATION", [b.reshape(valid, (1,)), three], (2,), "int32", axis=0)
    begin = b.const(np.zeros(2, "int32"), "begin")
    return b.emit("SLICE", [table, begin, size], (f"{valid.name}", 3))


def _corners(b: Builder, boxes: Tensor) -> Tensor:
    """Return boxes given by center and size (x, y, w, h) by their corners (y1, x1, y2, x2)."""
    import numpy as np

    half = 0.5
    matrix = np.array(
        [[0, 1, 0, 1], [1, 0, 1, 0], [0, -half, 0, half], [-half, 0, half, 0]], "float32"
    )
    inputs = [boxes, b.const(matrix.T, "corners"), b.const(np.zeros(4, "float32"), "bias")]
    return b.emit("FULLY_CONNECTED", inputs, boxes.dims, keepNumDims=True)


def _take(b: Builder, tensor: Tensor, begin: Any, size: Any, dims: tuple[int, ...]) -> Tensor:
    import numpy as np

    if tensor.dims == tuple(size):
        return b.reshape(tensor, dims)
    operands = [b.const(np.array(part, "int32"), "part") for part in (begin, size)]
    return b.reshape(b.emit("SLICE", [tensor, *operands], tuple(size)), dims)


def _limit(b: Builder, node: Node, index: int, default: float) -> float:
    """Return a threshold, which must be constant: files state sizes that follow from it."""
    if not node.has(index):
        return default
    array = b.array(node.inputs[index])
    if array is None:
        b.refuse(node, f"its input {node.inputs[index]!r} is computed", code="constant-needed")
    return float(array.reshape(-1)[0]) if array.size else default
