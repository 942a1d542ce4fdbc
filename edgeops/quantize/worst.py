"""Find the nodes that lose most when quantized, each judged for itself.

The quantized graph is laid beside the float one in a single model, and every node of it is fed
with the float graph's values, quantized: so a node answers for its own loss (inputs, weights,
output) and not for what came before it. Only two sums a node leave the graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.quantize import graph
from edgeops.quantize.calibrate import session_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_COPY = f"{graph.PREFIX}q:"
_SUFFIX = "_QuantizeLinear_Input"


@dataclass(frozen=True)
class Loss:
    """What quantizing one node costs: signal to quantization noise of its output, in decibels."""

    node: str
    operator: str
    sqnr_db: float


def rank(
    model: Any, quantized: Any, changed: Sequence[str], feeds: Iterable[Mapping[str, Any]]
) -> list[Loss]:
    """Return the quantized nodes with their losses, worst first.

    ``model`` is the float onnx.ModelProto, ``quantized`` the QDQ one made of it, ``changed`` the
    names of its quantized nodes, ``feeds`` some calls of the model.
    """
    joined, measured = _side_by_side(model, quantized, set(changed))
    # Fusing would merge the pairs of quantize and dequantize that are to be measured.
    session = session_of(joined, optimize=False)
    noise = [0.0] * len(measured)
    signal = [0.0] * len(measured)
    for feed in feeds:
        values = list(session.run(feed).values())
        for index in range(len(measured)):
            noise[index] += float(values[2 * index])
            signal[index] += float(values[2 * index + 1])
    losses = [
        Loss(name, operator, _decibels(signal[i], noise[i]))
        for i, (name, operator) in enumerate(measured)
    ]
    return sorted(losses, key=lambda loss: (loss.sqnr_db, loss.node))


def _decibels(signal: float, noise: float) -> float:
    if math.isnan(noise) or math.isnan(signal):
        return -math.inf
    if noise <= 0.0:
        return math.inf
    return 10.0 * math.log10(max(signal, 1e-30) / noise)


def _side_by_side(
    model: Any, quantized: Any, changed: set[str]
) -> tuple[Any, list[tuple[str, str]]]:
    """Return both graphs in one with the sums as outputs, and which node each pair is of."""
    import onnx
    from onnx import TensorProto, helper

    joined = onnx.ModelProto()
    joined.CopyFrom(model)
    made = {name for node in model.graph.node for name in node.output if name}
    floats = made | {info.name for info in model.graph.input}
    floats -= {tensor.name for tensor in model.graph.initializer}
    _copy(joined, quantized, floats)
    producers = {name: node for node in model.graph.node for name in node.output}
    outputs, measured = [], []
    pairs = _pairs(quantized, floats)
    for tensor, node in _answers(quantized, made, changed, producers):
        error = _requantized(joined, pairs, tensor)
        noise, signal = f"{graph.PREFIX}noise:{tensor}", f"{graph.PREFIX}signal:{tensor}"
        joined.graph.node.extend(
            [
                helper.make_node("Sub", [error, tensor], [f"{graph.PREFIX}diff:{tensor}"]),
                helper.make_node(
                    "ReduceSumSquare", [f"{graph.PREFIX}diff:{tensor}"], [noise], keepdims=0
                ),
                helper.make_node("ReduceSumSquare", [tensor], [signal], keepdims=0),
            ]
        )
        outputs += [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in (noise, signal)
        ]
        measured.append((node.name, node.op_type))
    del joined.graph.output[:]
    joined.graph.output.extend(outputs)
    return joined, measured


def _copy(joined: Any, quantized: Any, floats: set[str]) -> None:
    """Add the quantized graph's nodes and constants under other names, fed from the float graph."""
    import onnx

    domains = {opset.domain for opset in joined.opset_import}
    joined.opset_import.extend(o for o in quantized.opset_import if o.domain not in domains)
    pairs = _pairs(quantized, floats)
    fed = {dq: tensor for tensor, (_, dq) in pairs.items()}
    for tensor in quantized.graph.initializer:
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        copy.name = _COPY + tensor.name
        joined.graph.initializer.append(copy)
    constants = {tensor.name for tensor in quantized.graph.initializer}
    for node in quantized.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = _COPY + node.name
        source = _plain(node.input[0], floats) if node.op_type == "QuantizeLinear" else None
        for index, name in enumerate(node.input):
            if not name:
                continue
            if source is not None and index == 0:
                copy.input[0] = source
            elif name in constants or name in fed or name not in floats:
                copy.input[index] = _COPY + name
        for index, name in enumerate(node.output):
            copy.output[index] = _COPY + name if name else ""
        joined.graph.node.append(copy)


def _pairs(quantized: Any, floats: set[str]) -> dict[str, tuple[Any, str]]:
    """Return for each quantized float tensor its QuantizeLinear node and what dequantizes it."""
    dequantized = {
        node.input[0]: node.output[0]
        for node in quantized.graph.node
        if node.op_type == "DequantizeLinear"
    }
    found = {}
    for node in quantized.graph.node:
        if node.op_type != "QuantizeLinear" or node.output[0] not in dequantized:
            continue
        tensor = _plain(node.input[0], floats)
        if tensor is not None:
            found[tensor] = (node, dequantized[node.output[0]])
    return found


def _plain(name: str, floats: set[str]) -> str | None:
    """Return the float graph's name of a tensor that is quantized, None when it has none."""
    if name in floats:
        return name
    shorter = name.removesuffix(_SUFFIX)
    return shorter if shorter in floats else None


def _answers(
    quantized: Any, made: set[str], changed: set[str], producers: Mapping[str, Any]
) -> list[tuple[str, Any]]:
    """Return the float tensors that quantized nodes answer, with the node that makes each.

    A Relu that was merged into the node before it leaves its output's name there: the loss then
    goes by the name of the node that does the work.
    """
    found = []
    for node in quantized.graph.node:
        if node.name not in changed:
            continue
        for name in node.output:
            tensor = _plain(name, made)
            if tensor is not None and tensor in producers:
                found.append((tensor, node))
    return found


def _requantized(joined: Any, pairs: Mapping[str, tuple[Any, str]], tensor: str) -> str:
    """Return the name of a copy's answer after its own quantization, adding that when it has one."""
    from onnx import helper

    if tensor not in pairs:
        return _COPY + tensor
    node, _ = pairs[tensor]
    constants = [_COPY + name for name in node.input[1:]]
    quantized, back = f"{graph.PREFIX}e:{tensor}", f"{graph.PREFIX}d:{tensor}"
    joined.graph.node.extend(
        [
            helper.make_node("QuantizeLinear", [_COPY + node.input[0], *constants], [quantized]),
            helper.make_node("DequantizeLinear", [quantized, *constants], [back]),
        ]
    )
    return back
