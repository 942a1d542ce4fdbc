"""Passes over padding: auto_pad written out as numbers, Pad nodes moved into what reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.model.simplify.values import integers

if TYPE_CHECKING:
    from edgeops.model.simplify.dims import Dim
    from edgeops.model.simplify.graph import Graph, Node

_POOLS = {"MaxPool", "AveragePool", "LpPool"}
_WINDOWS = {"Conv", "ConvInteger", "QLinearConv", *_POOLS}


def write_pads(graph: Graph) -> bool:
    """Replace auto_pad by explicit pads where they are known.

    SAME needs the sizes of the input, except on axes that are walked in steps of one; VALID needs
    nothing. Left alone is what ONNX Runtime and the standard see differently: SAME of ConvTranspose,
    of pools with dilations, and of windows smaller than their steps where nothing is to be added.
    """
    changed = False
    for node in graph.nodes:
        mode = node.get("auto_pad", "NOTSET") if node.op in _WINDOWS | {"ConvTranspose"} else None
        if mode in {None, "NOTSET"} or (node.op == "ConvTranspose" and mode != "VALID"):
            continue
        pads = _auto_pads(graph, node, mode)
        if pads is not None:
            node.set("auto_pad", None)
            node.set("pads", pads)
            changed = True
    return changed


def _auto_pads(graph: Graph, node: Node, mode: str) -> list[int] | None:
    kernel = kernel_of(graph, node)
    shape = graph.shape(node.inputs[0])
    if not kernel or (mode != "VALID" and (shape is None or len(shape) != len(kernel) + 2)):
        return None
    if mode == "VALID":
        return [0] * (2 * len(kernel))
    strides, dilations = (node.get(k) or [1] * len(kernel) for k in ("strides", "dilations"))
    spatial: tuple[Dim, ...] = (shape or ())[2:]
    begins, ends = [], []
    for size, width, step, spread in zip(spatial, kernel, strides, dilations, strict=True):
        reach = (width - 1) * spread + 1
        total = _total(size, step, reach)
        if total is None or (spread > 1 and node.op in _POOLS):
            return None
        small, large = total // 2, total - total // 2
        begins.append(large if mode == "SAME_LOWER" else small)
        ends.append(small if mode == "SAME_LOWER" else large)
    return begins + ends


def _total(size: Dim, step: int, reach: int) -> int | None:
    """Return how much SAME adds on an axis, or None."""
    if step == 1:
        return reach - 1
    total = (-(-size // step) - 1) * step + reach - size if isinstance(size, int) else -1
    return total if total >= 0 else None


def kernel_of(graph: Graph, node: Node) -> list[int]:
    """Return the sizes of a node's window, empty when they are not known."""
    kernel = node.get("kernel_shape")
    if kernel or node.op in _POOLS:
        return list(kernel or ())
    shape = graph.shape(node.input(3 if node.op == "QLinearConv" else 1)) or ()
    return [size for size in shape[2:] if isinstance(size, int)]


def fold_pads(graph: Graph) -> bool:
    """Move Pad nodes on spatial axes into the convolutions and pools that read them.

    Zeros go into Conv, and into AveragePool when it counts them; the lowest number into MaxPool.
    """
    changed = False
    for pad in list(graph.nodes):
        if pad.op != "Pad" or pad.get("mode", "constant") != "constant" or pad.input(3):
            continue
        pads, value = integers(graph, pad.inputs[1]), _value(graph, pad)
        out = pad.outputs[0]
        readers = [r for r in graph.readers.get(out, ()) if r.op in {"Conv", *_POOLS}]
        if pads is None or value is None or out in graph.pinned or len(pads) % 2:
            continue
        half = len(pads) // 2
        if min(pads, default=-1) < 0 or half < 3 or any(pads[:2] + pads[half : half + 2]):  # noqa: PLR2004 # batch, channel, and at least one axis
            continue
        for reader in readers:
            more = [*pads[2:half], *pads[half + 2 :]]
            if reader.inputs[0] == out and _accepts(graph, reader, more, value):
                own = reader.get("pads") or [0] * len(more)
                reader.set("auto_pad", None)
                reader.set("pads", [a + b for a, b in zip(own, more, strict=True)])
                if reader.op == "AveragePool":
                    reader.set("count_include_pad", 1)
                graph.set_input(reader, 0, pad.inputs[0])
                changed = True
    return changed


def _value(graph: Graph, pad: Node) -> float | None:
    if not pad.input(2):
        return 0.0
    array = graph.array(pad.input(2))
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None


def _accepts(graph: Graph, reader: Node, more: list[int], value: float) -> bool:
    if reader.get("auto_pad", "NOTSET") not in {"NOTSET", "VALID"}:
        return False
    own = reader.get("pads") or [0] * len(more)
    if len(own) != len(more) or (reader.op != "Conv" and reader.get("ceil_mode", 0)):
        return False
    if reader.op == "Conv":
        return value == 0
    kernel = kernel_of(graph, reader)
    fits = all(a + b < size for a, b, size in zip(own, more, kernel * 2, strict=True))
    if reader.op == "MaxPool":
        return fits and value <= _LOWEST and not any(reader.outputs[1:])
    counts = reader.get("count_include_pad", 0) == 1 or not any(own)
    return fits and reader.op == "AveragePool" and value == 0 and counts


_LOWEST = -3.4028234663852886e38  # of float32, and what it rounds to in float16
