"""Transposed convolutions.

LiteRT computes the whole of it, or that without SAME's padding; what ONNX's padding leaves out
otherwise is cut off behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.convert.litert.lower import lowers
from edgeops.convert.litert.lower.convolution import (
    bias_of,
    image,
    joined,
    kernel_sizes,
    split_first,
)
from edgeops.convert.litert.lower.operands import FLOAT, carrier, vector
from edgeops.convert.litert.lower.windows import (
    SAME,
    VALID,
    Window,
    channels_first,
    channels_last,
    drop_axis,
    explicit,
    insert_axis,
    split_last,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Tensor

_VOLUME = 3
_FEW_GROUPS = 4  # up to so many are computed one by one


@dataclass(frozen=True)
class _Reach:
    """One axis: ``size`` elements spread ``stride`` apart; ``begin`` and ``end`` are cut off.

    ``added`` elements follow that no input reaches.
    """

    size: int | str
    out: int | str
    kernel: int
    stride: int = 1
    dilation: int = 1
    begin: int = 0
    end: int = 0
    added: int = 0

    @property
    def extent(self) -> int:
        """The elements from the first to the last of the kernel."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def offset(self) -> int:
        """What the whole has more than ``size * stride`` elements."""
        return self.extent - self.stride + max(self.added - self.end, 0)

    @property
    def cut(self) -> int:
        """What is cut off behind the whole."""
        return max(self.end - self.added, 0)

    @property
    def is_same(self) -> bool:
        """Whether SAME leaves out what the model does."""
        if isinstance(self.size, str) or isinstance(self.out, str):
            return False
        total = max((self.size - 1) * self.stride + self.extent - self.out, 0)
        return self.size == -(-self.out // self.stride) and self.begin == total // 2


_POINT = _Reach(1, 1, 1)


@lowers("ConvTranspose")
def conv_transpose(b: Builder, node: Node) -> None:
    """Transposed convolution along one, two or three axes."""
    given = b.value(node.inputs[0])
    dtype = carrier(b, node, given.dtype, FLOAT)
    x, weights = b.cast(given, dtype), b.cast(b.value(node.inputs[1]), dtype)
    kernel = kernel_sizes(b, node, weights)
    group = node.attr("group", 1)
    bias = bias_of(b, node, int(weights.dims[1]) * group)
    reaches = _reaches(b, node, x.dims[2:], kernel)
    x = channels_last(b, x)
    if len(kernel) == 1:
        x, weights = insert_axis(b, x, 1), insert_axis(b, weights, 2)
        reaches = [_POINT, *reaches]
    if any(reach.dilation > 1 for reach in reaches) and not weights.is_constant:
        b.refuse(node, "its dilated weights are computed", code="constant-needed")
    if _can_spread(reaches, weights, group):
        y = _spread(b, x, weights, bias, reaches, group)
    else:
        y = _grouped(b, x, _dilated(b, weights, reaches), bias, reaches, group)
    if len(kernel) == 1:
        y = drop_axis(b, y, 1)
    b.bind(node.outputs[0], b.cast(channels_first(b, y), given.dtype))


def _reaches(
    b: Builder, node: Node, sizes: Sequence[int | str], kernel: Sequence[int]
) -> list[_Reach]:
    """Return each axis's reach (Operators.md, ConvTranspose: how pads follow from the rest)."""
    count = len(kernel)
    strides = node.attr("strides") or [1] * count
    dilations = node.attr("dilations") or [1] * count
    pads = node.attr("pads") or [0] * (2 * count)
    added = list(node.attr("output_padding") or [0] * count)
    wanted = node.attr("output_shape")
    auto = node.attr("auto_pad", "NOTSET")
    if min(pads) < 0:
        b.refuse(node, "its padding is negative", code="attribute-unsupported")
    found = []
    for axis, size in enumerate(sizes):
        extent = (kernel[axis] - 1) * dilations[axis] + 1
        begin, end = pads[axis], pads[axis + count]
        if wanted or auto.startswith("SAME"):
            if wanted and isinstance(size, str):
                b.refuse(
                    node,
                    "its padding follows from output_shape and from sizes that are open",
                    "fix the input shapes: --input-shape NAME=1,3,224,224",
                    code="dynamic-shape",
                )
            spread = int(size) * strides[axis] - wanted[axis] if wanted else 0
            total = spread + extent - strides[axis] + added[axis]
            if wanted and total < 0:
                added[axis] -= total  # asked for more than the inputs reach
            total = max(total, 0)
            begin, end = total // 2, total - total // 2
            if auto != "SAME_UPPER":
                begin, end = end, begin
        elif auto == "VALID":
            begin = end = 0
        whole = extent - strides[axis] + added[axis] - begin - end
        out: int | str = b.out_dims(node)[2 + axis]
        if isinstance(size, int):
            out = size * strides[axis] + whole
        elif strides[axis] == 1 and whole == 0:
            out = size
        reach = _Reach(
            size, out, kernel[axis], strides[axis], dilations[axis], begin, end, added[axis]
        )
        found.append(reach)
    return found


def _grouped(
    b: Builder,
    x: Tensor,
    weights: Tensor,
    bias: Tensor,
    reaches: Sequence[_Reach],
    group: int,
) -> Tensor:
    if group == 1:
        return _whole(b, x, weights, bias, reaches)
    sources = split_last(b, x, group)
    kernels, biases = split_first(b, weights, group), split_first(b, bias, group)
    return joined(
        b,
        [_whole(b, *part, reaches) for part in zip(sources, kernels, biases, strict=True)],
    )


def _whole(
    b: Builder, x: Tensor, weights: Tensor, bias: Tensor, reaches: Sequence[_Reach]
) -> Tensor:
    """Emit the operator for ``x`` (channels last) and weights [in, out, spatial...]."""
    channels = int(weights.dims[1])
    same = all(reach.is_same for reach in reaches)
    dims: list[int | str] = [x.dims[0]]
    for reach in reaches:
        if same:
            dims.append(reach.out)
        elif isinstance(reach.size, int):
            dims.append(reach.size * reach.stride + reach.offset)
        else:
            dims.append(f"{reach.out}+" if reach.begin or reach.cut else reach.out)
    dims.append(channels)
    options: dict[str, Any] = {"padding": SAME if same else VALID}
    for letter, reach in zip("DHW"[-len(reaches) :], reaches, strict=True):
        options[f"stride{letter}"] = reach.stride
    if len(reaches) == _VOLUME:
        code, order = "CONV_3D_TRANSPOSE", [2, 3, 4, 1, 0]
        options |= {f"dilation{letter}Factor": 1 for letter in "DHW"}
    else:
        code, order = "TRANSPOSE_CONV", [1, 2, 3, 0]
    shape = _shape(b, x, reaches, dims)
    y = b.emit(code, [shape, b.transpose(weights, order), x, bias], tuple(dims), x.dtype, **options)
    return y if same else _cut(b, y, reaches)


def _shape(b: Builder, x: Tensor, reaches: Sequence[_Reach], dims: Sequence[int | str]) -> Tensor:
    """Return the shape to compute: a constant, or from that of ``x`` when the model runs."""
    fixed = [size if isinstance(size, int) else None for size in dims]
    known = [size for size in fixed if size is not None]
    if len(known) == len(fixed):
        return vector(b, known, "shape")
    strides = [1, *(reach.stride for reach in reaches), 0]
    offsets = [0, *(reach.offset for reach in reaches), 0]
    factors = [s if size is None else 0 for s, size in zip(strides, fixed, strict=True)]
    terms = [o if size is None else size for o, size in zip(offsets, fixed, strict=True)]
    shape = b.emit("SHAPE", [x], (x.rank,), "int32", outType=2)
    scaled = b.emit("MUL", [shape, vector(b, factors, "strides")], shape.dims)
    return b.emit("ADD", [scaled, vector(b, terms, "offsets")], shape.dims)


def _cut(b: Builder, y: Tensor, reaches: Sequence[_Reach]) -> Tensor:
    """Return ``y`` without the elements that the padding leaves out."""
    if not any(reach.begin or reach.cut for reach in reaches):
        return y
    begins = [0, *(reach.begin for reach in reaches), 0]
    ends = [0, *(-reach.cut for reach in reaches), 0]
    mask = sum(1 << axis for axis, end in enumerate(ends) if end == 0)
    dims = (y.dims[0], *(reach.out for reach in reaches), y.dims[-1])
    return b.emit(
        "STRIDED_SLICE",
        [y, vector(b, begins, "begin"), vector(b, ends, "end"), vector(b, [1] * y.rank, "strides")],
        dims,
        endMask=mask,
    )


def _dilated(b: Builder, weights: Tensor, reaches: Sequence[_Reach]) -> Tensor:
    """Return the weights with zeros between them, which is what dilation means."""
    import numpy as np

    if all(reach.dilation == 1 for reach in reaches):
        return weights
    full = np.zeros((*weights.data.shape[:2], *(reach.extent for reach in reaches)), "float32")
    full[(slice(None), slice(None), *(slice(None, None, r.dilation) for r in reaches))] = (
        weights.data
    )
    return b.const(full, weights.name)


def _can_spread(reaches: Sequence[_Reach], weights: Tensor, group: int) -> bool:
    """Return whether many groups are better computed as a grouped convolution."""
    return (
        group > _FEW_GROUPS
        and weights.is_constant
        and len(reaches) < _VOLUME
        and all(isinstance(r.size, int) and r.begin < r.extent for r in reaches)
    )


def _spread(
    b: Builder,
    x: Tensor,
    weights: Tensor,
    bias: Tensor,
    reaches: Sequence[_Reach],
    group: int,
) -> Tensor:
    """Return the convolution of ``x``, zeros between its elements, with the weights mirrored."""
    high, wide = reaches
    batch, channels = x.dims[0], int(x.dims[-1])
    rows, columns = int(high.size), int(wide.size)
    if wide.stride > 1:
        x = _with_zeros(b, x, (batch, rows * columns, 1, channels), wide.stride)
    if high.stride > 1:
        x = _with_zeros(b, x, (batch, rows, 1, columns * wide.stride * channels), high.stride)
    x = b.reshape(x, (batch, rows * high.stride, columns * wide.stride, channels))
    inner, outer = weights.data.shape[0] // group, weights.data.shape[1]
    parts = weights.data.reshape(group, inner, outer, high.kernel, wide.kernel)
    mirrored = parts.swapaxes(1, 2)[..., ::-1, ::-1]
    kernel = b.const(mirrored.reshape(group * outer, inner, high.kernel, wide.kernel), weights.name)
    found = [
        Window(
            int(reach.size) * reach.stride,
            reach.out,
            reach.kernel,
            1,
            reach.dilation,
            reach.extent - 1 - reach.begin,
        )
        for reach in reaches
    ]
    return image(b, explicit(b, x, found), kernel, bias, found, VALID, group)


def _with_zeros(b: Builder, x: Tensor, dims: tuple[int | str, ...], stride: int) -> Tensor:
    """Return ``x`` as ``dims`` whose third axis, of size 1, is filled up to ``stride``."""
    import numpy as np

    amounts = b.const(np.array([[0, 0], [0, 0], [0, stride - 1], [0, 0]], "int32"), "paddings")
    flat = b.reshape(x, dims)
    return b.emit("PAD", [flat, amounts], (*dims[:2], stride, dims[3]))
