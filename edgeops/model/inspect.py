"""What is inside a file: an ONNX or ORT model, a variant's folder, a bundle."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import digest, sha256_file
from edgeops.core.variant import FILE, read_variant
from edgeops.model.load import load_model
from edgeops.model.macs import macs, parameters

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_ORT_MAGIC = b"ORTM"
BUNDLE = ".edgeops"


def inspect_file(path: Path, inspect_bundle: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Return what is inside ``path``; bundles go to ``inspect_bundle``.

    Raises what reading the file raises: InputError for a broken one, TrustError for a variant or
    bundle whose files are not those it describes.
    """
    if path.suffix == BUNDLE:
        return inspect_bundle(path)
    if path.is_dir() or path.name == FILE:
        return inspect_variant(path if path.is_dir() else path.parent)
    if path.is_file() and _starts(path, 4, _ORT_MAGIC):
        return inspect_ort(path)
    return inspect_onnx(path)


def inspect_onnx(path: Path) -> dict[str, Any]:
    """Return what is inside an ONNX file, checked as for converting it."""
    model = load_model(path)
    proto = model.proto
    count, reason = macs(proto)
    opsets = {opset.domain or "ai.onnx": opset.version for opset in proto.opset_import}
    return {
        "format": "onnx",
        "digest": model.digest,
        "bytes": path.stat().st_size,
        "inputs": [tensor.to_json() for tensor in model.inputs],
        "outputs": [tensor.to_json() for tensor in model.outputs],
        "ops": dict(Counter(_operator(node) for node in proto.graph.node)),
        "parameters": parameters(proto),
        "macs": count,
        "macs_reason": reason,
        "opset": opsets.get("ai.onnx"),
        "opsets": opsets,
        "ir_version": proto.ir_version,
        "producer": f"{proto.producer_name} {proto.producer_version}".strip(),
    }


def inspect_ort(path: Path) -> dict[str, Any]:
    """Return what is inside a model in ORT format, as ONNX Runtime opens it."""
    from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession

    session = OnnxRuntimeSession(path)
    ops, reason = _ort_operators(path)
    unknown = "ORT format keeps weights and shapes in the engine's own form"
    return {
        "format": "ort",
        "digest": digest(sha256_file(path)),
        "bytes": path.stat().st_size,
        "inputs": [tensor.to_json() for tensor in session.inputs],
        "outputs": [tensor.to_json() for tensor in session.outputs],
        "ops": ops,
        "ops_reason": reason,
        "parameters": None,
        "parameters_reason": unknown,
        "macs": None,
        "macs_reason": unknown,
        "opset": None,
    }


def inspect_variant(folder: Path) -> dict[str, Any]:
    """Return what a variant says of itself and what its model file holds; digests are checked."""
    variant = read_variant(folder)
    file = folder / variant.model_file
    inner: dict[str, Any] = {"ops": {}, "parameters": None, "macs": None, "opset": None}
    if file.suffix in (".onnx", ".ort"):
        inner = inspect_file(file, lambda _: {})
    parity = variant.parity
    return {
        **inner,
        "format": "variant",
        "digest": variant.digest,
        "bytes": variant.bytes,
        "inputs": [tensor.to_json() for tensor in variant.inputs],
        "outputs": [tensor.to_json() for tensor in variant.outputs],
        "engine": f"{variant.engine} {variant.engine_version}",
        "precision": variant.precision,
        "source": variant.source,
        "files": [{"path": entry.path, "bytes": entry.bytes} for entry in variant.files],
        "parity": None
        if parity is None
        else {"samples": parity.samples, "max_abs": parity.max_abs, "cosine": parity.cosine},
        "quantization": dict(variant.quantization) if variant.quantization else None,
    }


def _operator(node: Any) -> str:
    plain = node.domain in ("", "ai.onnx")
    return str(node.op_type) if plain else f"{node.domain}:{node.op_type}"


def _starts(path: Path, offset: int, magic: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(len(magic)) == magic


def _ort_operators(path: Path) -> tuple[dict[str, int], str]:
    """Count operators through the schema that onnxruntime ships for its own tools."""
    try:
        import onnxruntime.tools.ort_format_model  # noqa: F401 - puts the schema on the path
        from ort_flatbuffers_py.fbs.InferenceSession import (  # type: ignore[import-not-found]
            InferenceSession,
        )
    except ImportError as error:
        return {}, f"the schema of ORT format is not there ({error})"
    graph = InferenceSession.GetRootAs(path.read_bytes(), 0).Model().Graph()
    names: list[str] = []
    for index in range(graph.NodesLength()):
        node = graph.Nodes(index)
        domain, operator = node.Domain().decode(), node.OpType().decode()
        names.append(f"{domain}:{operator}" if domain else operator)
    return dict(Counter(names)), ""
