"""Join what one kernel computes at once: a bias and an activation with what comes before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.convert.litert.ir import Tensor

if TYPE_CHECKING:
    from edgeops.convert.litert.ir import Graph, Op

# The schema's enum ActivationFunctionType.
_ACTIVATIONS = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
_WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
_FUSING = _WEIGHTED | {"ADD", "SUB", "MUL", "DIV", "AVERAGE_POOL_2D", "MAX_POOL_2D"}
_BIAS = 2


def fuse(graph: Graph) -> None:
    """Fuse biases, then activations, into the operators before them."""
    _each(graph, _fuse_bias)
    _each(graph, _fuse_activation)


def _each(graph: Graph, rule: object) -> None:
    producers, readers = graph.producers(), graph.readers()
    outputs = {id(tensor) for tensor in graph.outputs}
    gone: set[int] = set()
    for op in graph.ops:
        source = _before(op, producers)
        if source is None or id(source) in gone:
            continue
        value = source.outputs[0]
        alone = len(readers.get(id(value), [])) == 1 and id(value) not in outputs
        if alone and not source.options.get("fusedActivationFunction") and rule(source, op):  # type: ignore[operator] # one of the two functions below
            source.outputs = op.outputs
            producers[id(op.outputs[0])] = source
            gone.add(id(op))
    graph.ops = [op for op in graph.ops if id(op) not in gone]


def _before(op: Op, producers: dict[int, Op]) -> Op | None:
    """Return the operator that makes the one computed input of an operator."""
    computed = [t for t in op.inputs if t is not None and not t.is_constant]
    return producers.get(id(computed[0])) if len(computed) == 1 else None


def _fuse_activation(source: Op, op: Op) -> bool:
    floats = source.outputs[0].dtype == "float32"
    if op.code not in _ACTIVATIONS or source.code not in _FUSING or not floats:
        return False
    source.options["fusedActivationFunction"] = _ACTIVATIONS[op.code]
    return True


def _fuse_bias(source: Op, op: Op) -> bool:
    """Add a constant that has one number for each channel to the bias."""
    import numpy as np

    if (
        op.code != "ADD"
        or source.code not in _WEIGHTED
        or op.options.get("fusedActivationFunction")
    ):
        return False
    constant = next((t for t in op.inputs if t is not None and t.is_constant), None)
    out = source.outputs[0]
    if constant is None or out.dims != op.outputs[0].dims or out.dtype != "float32":
        return False
    channels = out.dims[-1]
    per_channel = constant.data.size in (1, channels) and (
        constant.data.size == 1 or constant.data.shape[-1] == channels
    )
    bias = source.inputs[_BIAS] if len(source.inputs) > _BIAS else None
    if (
        not per_channel
        or not isinstance(channels, int)
        or (bias is not None and not bias.is_constant)
    ):
        return False
    base = np.zeros(channels, "float32") if bias is None else bias.data
    added = base + np.broadcast_to(constant.data.reshape(-1), (channels,))
    joined = Tensor(f"{constant.name}/bias", (channels,), "float32", added.astype("float32"))
    source.inputs = [*source.inputs[:_BIAS], joined]
    return True
