"""What is inside a .tflite file."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from edgeops.model.filebytes import damaged
from edgeops.model.flatbuffer import DamagedError
from edgeops.model.inspect.common import document, one_sample, parameters, product, tensor
from edgeops.model.tflite import WHAT, TfliteModel, TfliteSubgraph, TfliteTensor, read_tflite

if TYPE_CHECKING:
    from pathlib import Path

_KINDS = {
    "ethos-u": "compiled for an Arm Ethos-U: no CPU engine runs it",
    "edge-tpu": "compiled for a Coral Edge TPU: no CPU engine runs it",
    "npu": "compiled for an NPU: no CPU engine runs it",
    "micro": "for TensorFlow Lite Micro only: LiteRT does not load it",
    "flex": "needs TensorFlow's own operators (Flex): LiteRT alone does not load it",
    "custom": "needs custom operators: LiteRT alone does not load it",
}
# Operator -> where its weight stands among the inputs, and which of its axes make one output.
_OTHERS = {
    *("LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM"),
    *("UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN", "WHILE", "IF", "CALL"),
    *("CONV_3D", "CONV_3D_TRANSPOSE", "STABLEHLO_CONVOLUTION", "STABLEHLO_DOT_GENERAL"),
}


def inspect_tflite(path: Path) -> dict[str, Any]:
    """Return what is inside; operators and macs are those of all its graphs.

    Raises InputError ``model-damaged``.
    """
    model = read_tflite(path)
    try:
        return _describe(path, model)
    except DamagedError as error:
        raise damaged(path, WHAT, str(error)) from error


def _describe(path: Path, model: TfliteModel) -> dict[str, Any]:
    main = model.subgraphs[0]
    operators = [op.name for graph in model.subgraphs for op in graph.operators]
    weights = _weights(model)
    macs, reason = _macs(model)
    result = document(
        "tflite",
        [path],
        [_tensor(main.tensors[index]) for index in main.inputs],
        [_tensor(main.tensors[index]) for index in main.outputs],
        operators,
    )
    return result | {
        "parameters": parameters(weights),
        "weights": weights,
        "macs": macs,
        "macs_reason": reason,
        "description": model.description,
        "min_runtime": model.min_runtime or None,
        "subgraphs": len(model.subgraphs),
        "signatures": _signatures(model),
        "quantized": _quantized(model),
        "custom_operators": list(model.custom_operators),
        "kind": model.kind or None,
        "notes": [_KINDS[model.kind]] if model.kind else [],
    }


def _tensor(found: TfliteTensor) -> dict[str, Any]:
    return tensor(found.name, found.shape, found.dtype)


def _weights(model: TfliteModel) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for graph in model.subgraphs:
        for found in graph.tensors:
            if found.constant:
                counts[found.dtype] += abs(product(found.shape))
    return dict(counts)


def _signatures(model: TfliteModel) -> list[dict[str, Any]]:
    return [
        {"key": one.key, "inputs": list(one.inputs), "outputs": list(one.outputs)}
        for one in model.signatures
    ]


def _quantized(model: TfliteModel) -> dict[str, Any] | None:
    """Return how many tensors have scales, by element type; None for a model without any."""
    found = [t for graph in model.subgraphs for t in graph.tensors if t.scales]
    if not found:
        return None
    kinds = Counter(t.dtype for t in found)
    return {
        **{f"{dtype}_tensors": count for dtype, count in kinds.items()},
        "per_channel": any(t.scales > 1 for t in found),
    }


def _macs(model: TfliteModel) -> tuple[int | None, str]:
    total = 0
    left_out = {op.name for graph in model.subgraphs for op in graph.operators} & _OTHERS
    if left_out:
        return None, f"no formula for {', '.join(sorted(left_out))}"
    if model.custom_operators:
        return None, f"nobody knows what {model.custom_operators[0]} computes"
    for graph in model.subgraphs:
        for operator in graph.operators:
            count = _of_operator(graph, operator.name, operator.inputs, operator.outputs)
            if count is None:
                return None, f"a shape of {operator.name} is open"
            total += count
    return total, ""


def _of_operator(
    graph: TfliteSubgraph, name: str, inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> int | None:
    """Return the multiply-accumulates of an operator, None when a shape that counts is open."""
    if name not in _FORMULAS:
        return 0
    needed = [*inputs[:3], outputs[0]] if outputs else []
    shapes = [one_sample(graph.tensors[index].shape) if index >= 0 else () for index in needed]
    if None in shapes or len(shapes) < 3:  # noqa: PLR2004 - two inputs and an output
        return None
    return _FORMULAS[name](shapes)


def _conv(shapes: list[Any]) -> int:
    # Weight [out, height, width, in of a group]: each output needs the last three.
    return product(shapes[-1]) * product(shapes[1][1:])


def _depthwise(shapes: list[Any]) -> int:
    # Weight [1, height, width, out].
    return product(shapes[-1]) * product(shapes[1][1:3])


def _dense(shapes: list[Any]) -> int:
    return product(shapes[-1]) * (shapes[1][-1] if shapes[1] else 1)


def _matmul(shapes: list[Any]) -> int:
    return product(shapes[-1]) * (shapes[0][-1] if shapes[0] else 1)


def _transpose_conv(shapes: list[Any]) -> int:
    # Inputs: output shape, weight [out, height, width, in], what is convolved.
    return product(shapes[2]) * product(shapes[1][:3])


_FORMULAS = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "BATCH_MATMUL": _matmul,
    "TRANSPOSE_CONV": _transpose_conv,
}
