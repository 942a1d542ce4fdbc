"""Surgery on an ONNX graph that calibration and quantization share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.model.graph import reads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Names of helper tensors start with this, which no exporter writes.
PREFIX = "edgeops:"
_QUANTIZED = frozenset(
    {
        "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv",
        "QLinearMatMul", "ConvInteger", "MatMulInteger", "MatMulNBits", "DynamicQuantizeMatMul",
    }
)  # fmt: skip


def prepare(model: Any) -> Any:
    """Return a copy of an onnx.ModelProto that is ready to be calibrated and quantized.

    Constants are folded and linear chains fused by ONNX Runtime's hardware-independent passes,
    every node has a name of its own and every tensor a type. Biases of Gemm become vectors, for
    ONNX Runtime's quantizer cannot adjust others (onnxruntime issue 24815).
    """
    import onnx
    from onnx import shape_inference

    named = onnx.ModelProto()
    named.CopyFrom(model)
    name_nodes(named)
    fused = _fused(named)
    name_nodes(fused)
    _flatten_biases(fused)
    _drop_unused_domains(fused)
    inferred = shape_inference.infer_shapes(fused, data_prop=True)
    return onnx.ModelProto.FromString(inferred.SerializeToString(deterministic=True))


def name_nodes(model: Any) -> None:
    """Give every node of the main graph without a name, or with a taken one, its own."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
        while node.name in taken:
            node.name += "_"
        taken.add(node.name)


def is_quantized(model: Any) -> list[str]:
    """Return the names of nodes that only a quantized model has."""
    return [n.name or n.op_type for n in model.graph.node if n.op_type in _QUANTIZED]


def initializers(model: Any) -> dict[str, Any]:
    """Return the main graph's constant tensors by name."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def activations(model: Any, operators: Iterable[str]) -> list[str]:
    """Return the float32 tensors that nodes of the given types read or write, in graph order.

    Constants are left out, for their range is known.
    """
    import onnx

    wanted = set(operators)
    constant = set(initializers(model))
    types = {
        info.name: info.type.tensor_type.elem_type
        for info in (*model.graph.value_info, *model.graph.output, *model.graph.input)
    }
    found: dict[str, None] = {}
    for node in model.graph.node:
        if node.op_type not in wanted:
            continue
        for name in (*node.input, *node.output):
            if name not in constant and types.get(name) == onnx.TensorProto.FLOAT:
                found[name] = None
    return list(found)


def with_statistics(model: Any, tensors: Sequence[str]) -> Any:
    """Return a model whose outputs are least, greatest, sum and size of each tensor, in order.

    Reducing inside the graph keeps what leaves it to a few bytes a tensor.
    """
    import onnx
    from onnx import TensorProto, helper

    nodes, outputs = [], []
    for tensor in tensors:
        for operator, kind in (
            ("ReduceMin", TensorProto.FLOAT),
            ("ReduceMax", TensorProto.FLOAT),
            ("ReduceSum", TensorProto.FLOAT),
            ("Size", TensorProto.INT64),
        ):
            name = f"{PREFIX}{operator}:{tensor}"
            node = helper.make_node(operator, [tensor], [name])
            if operator != "Size":
                node.attribute.append(helper.make_attribute("keepdims", 0))
            nodes.append(node)
            outputs.append(helper.make_tensor_value_info(name, kind, []))
    result: onnx.ModelProto = part(model, tensors)
    result.graph.node.extend(nodes)
    del result.graph.output[:]
    result.graph.output.extend(outputs)
    return result


def with_thinned(model: Any, strides: Mapping[str, int]) -> Any:
    """Return a model whose outputs are each tensor flattened, every ``stride``-th value, in order.

    Thinning inside the graph lets ONNX Runtime free the whole tensor at once.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    result = part(model, list(strides))
    constants: dict[str, Any] = {
        f"{PREFIX}flat": np.array([-1]),
        f"{PREFIX}start": np.array([0]),
        f"{PREFIX}end": np.array([np.iinfo(np.int64).max]),
        f"{PREFIX}axis": np.array([0]),
    }
    del result.graph.output[:]
    for tensor, stride in strides.items():
        flat, name = f"{PREFIX}flat:{tensor}", f"{PREFIX}thin:{tensor}"
        step = f"{PREFIX}step{stride}"
        constants[step] = np.array([stride])
        result.graph.node.extend(
            [
                helper.make_node("Reshape", [tensor, f"{PREFIX}flat"], [flat]),
                helper.make_node(
                    "Slice",
                    [flat, f"{PREFIX}start", f"{PREFIX}end", f"{PREFIX}axis", step],
                    [name],
                ),
            ]
        )
        result.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]))
    result.graph.initializer.extend(
        numpy_helper.from_array(array.astype(np.int64), name) for name, array in constants.items()
    )
    return result


def part(model: Any, tensors: Iterable[str]) -> Any:
    """Return a copy of the model with only the nodes that ``tensors`` depend on."""
    import onnx

    producer = {name: node for node in model.graph.node for name in node.output if name}
    needed: set[str] = set()
    waiting = list(tensors)
    kept: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        node = producer.get(name)
        if node is not None and node.name not in kept:
            kept.add(node.name)
            waiting.extend(reads(node))
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(node for node in model.graph.node if node.name in kept)
    del result.graph.initializer[:]
    result.graph.initializer.extend(t for t in model.graph.initializer if t.name in needed)
    return result


def _fused(model: Any) -> Any:
    """Return the model after ONNX Runtime's basic (hardware-independent) optimisations."""
    import tempfile
    from pathlib import Path

    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="edgeops-quantize-") as folder:
        path = Path(folder) / "fused.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return onnx.load(path)


def _flatten_biases(model: Any) -> None:
    """Turn Gemm's constant biases of shape [1, N] into [N], which mean the same."""
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in reads(node):
            readers.setdefault(name, []).append(node)
    outputs = {output.name for output in model.graph.output}
    for tensor in model.graph.initializer:
        nodes = readers.get(tensor.name, [])
        alone = all(n.op_type == "Gemm" and list(n.input[2:3]) == [tensor.name] for n in nodes)
        row = len(tensor.dims) == 2 and tensor.dims[0] == 1  # noqa: PLR2004 - a matrix of one row
        if nodes and alone and row and tensor.name not in outputs:
            size = tensor.dims[1]
            del tensor.dims[:]
            tensor.dims.append(size)


def _drop_unused_domains(model: Any) -> None:
    """Remove the operator sets that ONNX Runtime names in every file it writes and nobody uses."""
    used = {"" if node.domain == "ai.onnx" else node.domain for node in model.graph.node}
    kept = [o for o in model.opset_import if not o.domain or o.domain in used or model.functions]
    del model.opset_import[:]
    model.opset_import.extend(kept)
