"""Constant folding: what does not depend on the inputs is computed once, by ONNX Runtime."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgeops.model.simplify.dims import elements
from edgeops.model.simplify.values import known

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgeops.model.simplify.graph import Graph, Node

# Results differ from run to run, carry quantization that engines want to see, or loop.
_NEVER = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
    "Dropout",
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "Loop",
    "Scan",
    "If",
    "Optional",
    "SequenceEmpty",
}
_INTEGERS = {2, 3, 4, 5, 6, 7, 12, 13}
_BIGGEST = 64 << 20  # bytes of a result on the way
_GROWTH = 0.2  # constants may grow by this share of what the model had
_SLACK = 4096


def fold_values(graph: Graph) -> bool:
    """Turn small tensors whose numbers were found by following shapes into constants."""
    import numpy as np
    from onnx import helper

    changed = False
    for name in list(graph.values):
        maker = graph.makers.get(name)
        value = known(graph, name)
        if maker is None or value is None or name in graph.outputs or len(maker.outputs) > 1:
            continue
        dtype = graph.dtype(name)
        if not dtype or not all(isinstance(item, int) for item in value.items):
            continue
        array = np.array(value.items, np.int64).reshape((-1,) if value.rank else ())
        typed = array.astype(helper.tensor_dtype_to_np_dtype(dtype))
        if (typed.astype(np.int64) != array).any():
            continue
        graph.remove(maker)
        graph.set_constant(name, typed)
        changed = True
    return changed


def fold_constants(graph: Graph, most: int) -> int | None:
    """Compute nodes that only constants go into; return how many bytes constants grew by.

    Results are taken from the cheapest on while the constants grow by at most ``most`` bytes; None
    when there was nothing to compute.
    """
    candidates = _candidates(graph)
    frontier = [node for node in candidates if _feeds_others(graph, node, candidates)]
    costs = sorted(((_gain(graph, node, candidates), at) for at, node in enumerate(frontier)))
    taken, grown = [], 0
    for cost, at in costs:
        if grown + cost > most:
            break
        grown += cost
        taken.append(frontier[at])
    if not taken:
        return None
    results = _run(graph, _cone(graph, taken), taken)
    for node in taken:
        if all(name in results for name in node.outputs if name):
            graph.remove(node)
            for name in filter(None, node.outputs):
                graph.set_constant(name, results[name])
    return grown if results else None


def allowance(graph: Graph) -> int:
    """Return by how many bytes folding may let the constants of a model grow."""
    return int(sum(map(_bytes, graph.tensors.values())) * _GROWTH) + _SLACK


def _bytes(tensor: Any) -> int:
    from onnx import helper

    count: int = math.prod(tensor.dims)
    try:
        return count * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, TypeError, ValueError):
        return count


def _candidates(graph: Graph) -> dict[Node, int]:
    """Return the nodes that can be computed, each with the bytes of what it makes."""
    found: dict[Node, int] = {}
    made: set[str] = set()
    for node in graph.nodes:
        if not node.inputs or node.op in _NEVER or "::" in node.op or node.captured:
            continue
        if not all(not name or name in graph.tensors or name in made for name in node.inputs):
            continue
        size = _made_bytes(graph, node)
        if size is not None and size <= _BIGGEST and not _divides_integers(graph, node):
            found[node] = size
            made.update(filter(None, node.outputs))
    return found


def _divides_integers(graph: Graph, node: Node) -> bool:
    """Return whether computing the node could stop the process: integers divided by zero."""
    if node.op not in {"Div", "Mod"} or graph.dtype(node.inputs[0]) not in _INTEGERS:
        return False
    divisors = graph.array(node.inputs[1])
    return divisors is None or not divisors.all()


def _made_bytes(graph: Graph, node: Node) -> int | None:
    from onnx import helper

    total = 0
    for name in filter(None, node.outputs):
        count, dtype = elements(graph.shape(name)), graph.dtypes.get(name, 0)
        if count is None or not dtype or dtype == 8:  # noqa: PLR2004 # TensorProto.STRING
            return None
        total += count * int(helper.tensor_dtype_to_np_dtype(dtype).itemsize)
    return total


def _feeds_others(graph: Graph, node: Node, candidates: dict[Node, int]) -> bool:
    if any(name in graph.outputs for name in node.outputs):
        return False  # an output needs a node that makes it
    readers = [reader for name in node.outputs for reader in graph.readers.get(name, ())]
    return any(
        reader not in candidates or any(name in graph.outputs for name in reader.outputs)
        for reader in readers
    )


def _gain(graph: Graph, node: Node, candidates: dict[Node, int]) -> int:
    """Return the bytes that a result adds, less those of constants that nobody else needs."""
    freed = 0
    for inner in _cone(graph, [node]):
        for name in inner.inputs:
            tensor = graph.tensors.get(name)
            if tensor is not None and all(r in candidates for r in graph.readers[name]):
                freed += _bytes(tensor)
    return candidates[node] - freed


def _cone(graph: Graph, ends: Iterable[Node]) -> list[Node]:
    """Return the nodes that the results hang on, makers first."""
    seen: dict[Node, None] = {}
    waiting = list(ends)
    while waiting:
        node = waiting.pop()
        seen.pop(node, None)
        seen[node] = None
        waiting += [graph.makers[name] for name in node.inputs if name in graph.makers]
    return list(reversed(seen))


def _run(graph: Graph, nodes: list[Node], taken: list[Node]) -> dict[str, Any]:
    """Run nodes as a model of their own; nodes one by one where the whole is refused."""
    wanted = [name for node in taken for name in node.outputs if name]
    results = _session(graph, nodes, wanted)
    if results is not None:
        return results
    alone: dict[str, Any] = {}
    if len(taken) > 1:
        for node in taken:
            alone |= _run(graph, _cone(graph, [node]), [node])
    return alone


def _session(graph: Graph, nodes: list[Node], wanted: list[str]) -> dict[str, Any] | None:
    import onnx
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    model = onnx.ModelProto()
    model.ir_version = max(8, graph.model.ir_version)
    model.opset_import.extend(o for o in graph.model.opset_import if o.domain in {"", "ai.onnx"})
    model.graph.name = "constants"
    model.graph.node.extend(node.to_proto() for node in nodes)
    for name in dict.fromkeys(name for node in nodes for name in node.inputs):
        if name in graph.tensors:
            copy = model.graph.initializer.add()
            copy.CopyFrom(graph.tensors[name])
            copy.name = name
    for name in wanted:
        value = onnx.helper.make_tensor_value_info(name, graph.dtypes[name], None)
        model.graph.output.append(value)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        arrays = session.run(wanted, {})
    except (
        errors.Fail,
        errors.InvalidArgument,
        errors.InvalidGraph,
        errors.NotImplemented,
        errors.RuntimeException,
        errors.InvalidProtobuf,
        errors.EPFail,
        ValueError,
        RuntimeError,
    ):
        return None
    return dict(zip(wanted, arrays, strict=True))
