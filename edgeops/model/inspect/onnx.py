"""What is inside an ONNX file."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from edgeops.model.external import tensors
from edgeops.model.load import load_model
from edgeops.model.macs import macs, parameters

if TYPE_CHECKING:
    from pathlib import Path

_QUANTIZED = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}


def inspect_onnx(path: Path) -> dict[str, Any]:
    """Return what is inside an ONNX file, checked as for converting it."""
    model = load_model(path)
    proto = model.proto
    count, reason = macs(proto)
    opsets = {opset.domain or "ai.onnx": opset.version for opset in proto.opset_import}
    operators = Counter(_operator(node) for node in proto.graph.node)
    return {
        "format": "onnx",
        "digest": model.digest,
        "bytes": path.stat().st_size,
        "inputs": [tensor.to_json() for tensor in model.inputs],
        "outputs": [tensor.to_json() for tensor in model.outputs],
        "ops": dict(operators),
        "parameters": parameters(proto),
        "weights": _weights(proto),
        "macs": count,
        "macs_reason": reason,
        "opset": opsets.get("ai.onnx"),
        "opsets": opsets,
        "ir_version": proto.ir_version,
        "producer": f"{proto.producer_name} {proto.producer_version}".strip(),
        "quantized": {name: operators[name] for name in sorted(_QUANTIZED & set(operators))}
        or None,
    }


def _operator(node: Any) -> str:
    plain = node.domain in ("", "ai.onnx")
    return str(node.op_type) if plain else f"{node.domain}:{node.op_type}"


def _weights(proto: Any) -> dict[str, int]:
    import math

    import onnx

    counts: Counter[str] = Counter()
    for tensor in tensors(proto):
        name = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
        counts["float32" if name == "float" else name] += math.prod(tensor.dims)
    return dict(counts)
