"""Boxes in numpy: forms of writing them, overlap, suppression, and back through a letterbox.

A box is ``x1, y1, x2, y2``; arrays are ``[n, 4]``.
"""

from __future__ import annotations

from typing import Any

CORNERS = 4
ORDERS = ("xyxy", "yxyx", "cxcywh")


def corners(boxes: Any, order: str) -> Any:
    """Return boxes as two opposite corners, whatever order they are written in.

    Nothing keeps a model from answering a negative width or height: it counts as 0, at the middle
    of the box, so that x1 is never beyond x2 for those who cut the box out of a picture.
    """
    import numpy as np

    if order == "cxcywh":
        half = boxes[:, 2:] / 2
        low, high = boxes[:, :2] - half, boxes[:, :2] + half
    else:
        found = boxes[:, [1, 0, 3, 2]] if order == "yxyx" else boxes
        low, high = found[:, :2], found[:, 2:]
    middle, crossed = (low + high) / 2, low > high
    return np.concatenate([np.where(crossed, middle, low), np.where(crossed, middle, high)], axis=1)


def overlaps(box: Any, others: Any) -> Any:
    """Return intersection over union of one box with each of others; 0 with empty ones."""
    import numpy as np

    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    inner = np.maximum(high - low, 0).prod(axis=1)
    area = np.maximum(box[2:] - box[:2], 0).prod()
    union = area + np.maximum(others[:, 2:] - others[:, :2], 0).prod(axis=1) - inner
    return np.divide(inner, union, out=np.zeros(len(others)), where=union > 0)


def suppressed(boxes: Any, scores: Any, classes: Any, *, overlap: float, most: int) -> Any:
    """Return the places of what stays, by falling score, at most ``most``.

    A box goes when one of its class with a higher score overlaps it by more than ``overlap``; of
    equal scores the earlier one stays. Give the same class to all to suppress across classes.
    """
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size and len(kept) < most:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        rivals = classes[order] == classes[best]
        near = overlaps(boxes[best], boxes[order]) > overlap
        order = order[~(rivals & near)]
    return np.array(kept, dtype=np.int64)


def priors(strides: Any, sizes: Any, width: float, height: float) -> Any:
    """Return the centres and sizes that an SSD of this kind predicts changes of, relative.

    For each stride a grid over the image, row by row, and in each cell one square for each of its
    sizes (in pixels): ``cx, cy, w, h`` in units of the image.
    """
    import numpy as np

    found = []
    for stride, here in zip(strides, sizes):
        columns, rows = int(np.ceil(width / stride)), int(np.ceil(height / stride))
        x = (np.arange(columns) + 0.5) / (width / stride)
        y = (np.arange(rows) + 0.5) / (height / stride)
        grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 1, 2)
        squares = np.array([[size / width, size / height] for size in here])
        centres = np.broadcast_to(grid, (len(grid), len(squares), 2))
        shapes = np.broadcast_to(squares, (len(grid), len(squares), 2))
        found.append(np.concatenate([centres, shapes], axis=-1).reshape(-1, CORNERS))
    return np.clip(np.concatenate(found), 0.0, 1.0)


def decoded(changes: Any, anchors: Any, variances: tuple[float, float]) -> Any:
    """Return ``cx, cy, w, h`` of what an SSD predicts relative to its priors (Liu et al., 2016)."""
    import numpy as np

    centres = changes[:, :2] * variances[0] * anchors[:, 2:] + anchors[:, :2]
    sizes = np.exp(changes[:, 2:] * variances[1]) * anchors[:, 2:]
    return np.concatenate([centres, sizes], axis=1)
