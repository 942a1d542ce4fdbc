"""What convolutions and pools share: how a window moves along the spatial axes, and padding.

LiteRT pads by itself in one way only: SAME, which is ONNX's SAME_UPPER. All other padding is a PAD
before the operator, which XNNPACK merges into a convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Tensor

SAME, VALID = 0, 1  # the schema's enum Padding


@dataclass(frozen=True)
class Window:
    """A window along one axis: ``out`` places of ``kernel`` elements, ``dilation`` apart.

    ``begin`` and ``end`` are the model's own padding. ``upper`` says that they are as SAME_UPPER
    has it and follow from a size that is not known yet.
    """

    size: int | str
    out: int | str
    kernel: int
    stride: int = 1
    dilation: int = 1
    begin: int = 0
    end: int = 0
    upper: bool = False

    @property
    def extent(self) -> int:
        """The elements from the first to the last of a window."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def trailing(self) -> int:
        """The padding behind that windows reach, which rounding up may make more than ``end``."""
        if isinstance(self.size, str) or isinstance(self.out, str):
            return self.end
        return max((self.out - 1) * self.stride + self.extent - self.size - self.begin, 0)

    @property
    def is_valid(self) -> bool:
        """Whether no window reaches beyond the input."""
        return not self.upper and self.begin == 0 and self.trailing == 0

    @property
    def is_same(self) -> bool:
        """Whether SAME pads it as the model does."""
        if self.upper:
            return True
        if isinstance(self.size, str) or isinstance(self.out, str):
            return self.stride == 1 and _halves(self.extent - 1, low=False) == (
                self.begin,
                self.end,
            )
        total = max((self.out - 1) * self.stride + self.extent - self.size, 0)
        return self.out == -(-self.size // self.stride) and self.begin == total // 2


POINT = Window(1, 1, 1)  # along an axis of size 1 that was added


def windows(
    b: Builder, node: Node, sizes: Sequence[int | str], kernel: Sequence[int]
) -> list[Window]:
    """Return the window of each spatial axis; refuses paddings that follow from open sizes."""
    count = len(kernel)
    strides = node.attr("strides") or [1] * count
    dilations = node.attr("dilations") or [1] * count
    pads = node.attr("pads") or [0] * (2 * count)
    auto = node.attr("auto_pad", "NOTSET")
    if min(pads) < 0:
        b.refuse(node, "its padding is negative, it cuts", code="attribute-unsupported")
    found = []
    for axis, size in enumerate(sizes):
        extent = (kernel[axis] - 1) * dilations[axis] + 1
        begin, end = pads[axis], pads[axis + count]
        upper = False
        if auto == "VALID":
            begin = end = 0
        elif auto.startswith("SAME"):
            total = _same_total(size, strides[axis], extent)
            upper = total is None and auto == "SAME_UPPER"
            if total is None and not upper:
                b.refuse(
                    node,
                    "its padding SAME_LOWER follows from sizes that are open",
                    "fix the input shapes: --input-shape NAME=1,3,224,224",
                    code="dynamic-shape",
                )
            begin, end = _halves(total or 0, low=auto == "SAME_LOWER")
        if isinstance(size, str) and _rounds_up(node) and strides[axis] > 1:
            end += _rounding(b, node, strides[axis], extent, end)
        window = Window(size, 0, kernel[axis], strides[axis], dilations[axis], begin, end, upper)
        found.append(_with_out(b, node, window, axis))
    return found


def _with_out(b: Builder, node: Node, window: Window, axis: int) -> Window:
    from dataclasses import replace

    if isinstance(window.size, str):
        unchanged = window.begin + window.end == window.extent - 1 or window.upper
        if window.stride == 1 and unchanged:
            return replace(window, out=window.size)
        return replace(window, out=b.out_dims(node)[2 + axis])
    return replace(window, out=_places(node, window, window.size))


def _places(node: Node, window: Window, size: int) -> int:
    """Return how many windows there are (Operators.md, MaxPool: output_spatial_shape)."""
    room = size + window.begin + window.end - window.extent
    if not _rounds_up(node):
        return room // window.stride + 1
    count = -(-room // window.stride) + 1
    if (count - 1) * window.stride >= size + window.begin:
        count -= 1  # a window must not begin in the padding behind
    return count


def _rounds_up(node: Node) -> bool:
    return bool(node.attr("ceil_mode", 0)) and node.attr("auto_pad", "NOTSET") == "NOTSET"


def _rounding(b: Builder, node: Node, stride: int, extent: int, end: int) -> int:
    """Return the padding behind which makes rounding down what rounding up was."""
    if end > extent - stride:  # then the last window may begin in the padding, and is left out
        b.refuse(
            node,
            "with ceil_mode the number of its windows follows from sizes that are open",
            "fix the input shapes: --input-shape NAME=1,3,224,224",
            code="dynamic-shape",
        )
    return stride - 1


def _same_total(size: int | str, stride: int, extent: int) -> int | None:
    if isinstance(size, str):
        return extent - 1 if stride == 1 else None
    return max((-(-size // stride) - 1) * stride + extent - size, 0)


def _halves(total: int, *, low: bool) -> tuple[int, int]:
    small, large = total // 2, total - total // 2
    return (large, small) if low else (small, large)


def padded(
    b: Builder, x: Tensor, found: Sequence[Window], value: float | None = None
) -> tuple[Tensor, int]:
    """Return ``x`` (channels last), padded where LiteRT does not, and the padding to ask for.

    ``value`` fills in, zeros when it is None.
    """
    import numpy as np

    if all(window.is_valid for window in found):
        return x, VALID
    if all(window.is_same for window in found):
        return x, SAME
    return explicit(b, x, found, None if value is None else np.array(value, x.dtype)), VALID


def explicit(b: Builder, x: Tensor, found: Sequence[Window], value: Any = None) -> Tensor:
    """Return ``x`` (channels last) with its padding written out."""
    import numpy as np

    amounts = [[0, 0], *([w.begin, w.trailing] for w in found), [0, 0]]
    if not np.any(amounts):
        return x
    dims = tuple(
        size + sum(amount) if isinstance(size, int) else _grown(size, sum(amount))
        for size, amount in zip(x.dims, amounts, strict=True)
    )
    inputs = [x, b.const(np.array(amounts, "int32"), "paddings")]
    if value is None:
        return b.emit("PAD", inputs, dims)
    return b.emit("PADV2", [*inputs, b.const(value, "filler")], dims)


def _grown(name: str, amount: int) -> str:
    return f"{name}+{amount}" if amount else name


def is_static(found: Sequence[Window]) -> bool:
    """Return whether all sizes are known."""
    return all(isinstance(w.size, int) and isinstance(w.out, int) for w in found)


def channels_last(b: Builder, x: Tensor) -> Tensor:
    """Return ``x`` with its axis 1 moved to the end."""
    return b.transpose(x, (0, *range(2, x.rank), 1))


def channels_first(b: Builder, x: Tensor) -> Tensor:
    """Return ``x`` with its last axis moved to place 1."""
    return b.transpose(x, (0, x.rank - 1, *range(1, x.rank - 1)))


def insert_axis(b: Builder, x: Tensor, axis: int) -> Tensor:
    """Return ``x`` with an axis of size 1 more."""
    import numpy as np

    dims = (*x.dims[:axis], 1, *x.dims[axis:])
    if x.is_constant or sum(isinstance(size, str) for size in dims) <= 1:
        return b.reshape(x, dims)
    return b.emit("EXPAND_DIMS", [x, b.const(np.array(axis, "int32"), "axis")], dims)


def drop_axis(b: Builder, x: Tensor, axis: int) -> Tensor:
    """Return ``x`` without an axis of size 1."""
    dims = (*x.dims[:axis], *x.dims[axis + 1 :])
    if x.is_constant or sum(isinstance(size, str) for size in dims) <= 1:
        return b.reshape(x, dims)
    return b.emit("SQUEEZE", [x], dims, squeezeDims=[axis])


def split_last(b: Builder, x: Tensor, count: int) -> list[Tensor]:
    """Return ``count`` equal parts of the last axis."""
    import numpy as np

    size = int(x.dims[-1]) // count
    parts = [b.make((*x.dims[:-1], size), x.dtype, "group") for _ in range(count)]
    axis = b.const(np.array(x.rank - 1, "int32"), "axis")
    b.append("SPLIT", [axis, x], parts, numSplits=count)
    return parts
