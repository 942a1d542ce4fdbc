"""Join what one kernel computes at once: factors, biases and activations with what they follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.litert.ir import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.convert.litert.ir import Graph, Op

# The schema's enum ActivationFunctionType.
_ACTIVATIONS = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
_WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
_FUSING = _WEIGHTED | {"ADD", "SUB", "MUL", "DIV", "AVERAGE_POOL_2D", "MAX_POOL_2D"}
_BIAS = 2


def fuse(graph: Graph) -> None:
    """Fuse each operator into the one before it, where that computes both in one go.

    An operator that was joined is what the next one follows, so one walk takes whole chains: a
    convolution, its factors, its bias, its activation.
    """
    producers, readers = graph.producers(), graph.readers()
    outputs = {id(tensor) for tensor in graph.outputs}
    gone: set[int] = set()
    for op in graph.ops:
        source = _before(op, producers)
        if source is None or id(source) in gone:
            continue
        value = source.outputs[0]
        alone = len(readers.get(id(value), [])) == 1 and id(value) not in outputs
        plain = not source.options.get("fusedActivationFunction")
        if alone and plain and any(rule(graph, source, op) for rule in _RULES):
            source.outputs = op.outputs
            producers[id(op.outputs[0])] = source
            gone.add(id(op))
    graph.ops = [op for op in graph.ops if id(op) not in gone]


def _before(op: Op, producers: dict[int, Op]) -> Op | None:
    """Return the operator that makes the one computed input of an operator."""
    computed = [t for t in op.inputs if t is not None and not t.is_constant]
    return producers.get(id(computed[0])) if len(computed) == 1 else None


def _fuse_activation(graph: Graph, source: Op, op: Op) -> bool:  # noqa: ARG001 - as all rules
    floats = source.outputs[0].dtype == "float32"
    if op.code not in _ACTIVATIONS or source.code not in _FUSING or not floats:
        return False
    source.options["fusedActivationFunction"] = _ACTIVATIONS[op.code]
    return True


def _fuse_bias(graph: Graph, source: Op, op: Op) -> bool:  # noqa: ARG001 - as all rules
    """Add a constant that has one number for each channel to the bias."""
    constant = _per_channel(source, op) if op.code == "ADD" else None
    if constant is None:
        return False
    bias = _bias(source)
    source.inputs[_BIAS] = _made(op, "bias", bias + constant)
    return True


def _fuse_factor(graph: Graph, source: Op, op: Op) -> bool:
    """Multiply weights and bias by a constant that has one number for each channel.

    Weights that lie on the integers of a quantized model stay there.
    """
    constant = _per_channel(source, op) if op.code == "MUL" else None
    if constant is None or graph.grids.get(source.node):
        return False
    weights = source.inputs[1]
    if weights is None or not weights.is_constant:
        return False
    axis = 3 if source.code == "DEPTHWISE_CONV_2D" else 0
    shape = [1] * weights.rank
    shape[axis] = len(constant)
    source.inputs[_BIAS] = _made(op, "bias", _bias(source) * constant)
    source.inputs[1] = _made(op, "weights", weights.data * constant.reshape(shape))
    return True


def _per_channel(source: Op, op: Op) -> Any:
    """Return the constant of ``op`` as one number a channel of a layer with weights, or None."""
    import numpy as np

    out = source.outputs[0]
    channels = out.dims[-1] if out.dims else None
    constant = next((t for t in op.inputs if t is not None and t.is_constant), None)
    if source.code not in _WEIGHTED or constant is None or not isinstance(channels, int):
        return None
    if op.options.get("fusedActivationFunction") or out.dims != op.outputs[0].dims:
        return None
    bias = source.inputs[_BIAS] if len(source.inputs) > _BIAS else None
    if out.dtype != "float32" or (bias is not None and not bias.is_constant):
        return None
    size = constant.data.size
    if size != 1 and not (size == channels and constant.data.shape[-1] == channels):
        return None
    return np.broadcast_to(constant.data.reshape(-1), (channels,))


def _bias(source: Op) -> Any:
    """Return the bias of a layer; its input is there from now on."""
    import numpy as np

    source.inputs += [None] * (_BIAS + 1 - len(source.inputs))
    bias = source.inputs[_BIAS]
    channels = source.outputs[0].dims[-1]
    return np.zeros(int(channels), "float32") if bias is None else bias.data


def _made(op: Op, what: str, array: Any) -> Tensor:
    data = array.astype("float32")
    return Tensor(f"{op.outputs[0].name}/{what}", tuple(data.shape), "float32", data)


_RULES: tuple[Callable[[Graph, Op, Op], bool], ...] = (_fuse_factor, _fuse_bias, _fuse_activation)
