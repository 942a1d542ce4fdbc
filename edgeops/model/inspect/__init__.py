"""What is inside a file: a model of any format, a variant's folder, a bundle.

The first bytes say what a file is, its name only where a format has no mark of its own (MNN) or is
text (ncnn, OpenVINO). Nothing here needs an engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.core.variant import FILE, read_variant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
    return inspect_model(path)


def inspect_model(path: Path) -> dict[str, Any]:
    """Return what is inside a model file, whatever its format."""
    head = _head(path)
    if head[4:8] == b"TFL3":
        from edgeops.model.inspect.tflite import inspect_tflite

        return inspect_tflite(path)
    if head[4:8] == b"ORTM":
        from edgeops.model.inspect.ort import inspect_ort

        return inspect_ort(path)
    from edgeops.model.inspect.ncnn import MAGIC, inspect_ncnn, refuse_binary

    refuse_binary(path, head)
    if head.startswith(MAGIC):
        return inspect_ncnn(path)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<?xml", b"<net")):
        from edgeops.model.inspect.openvino import inspect_openvino

        return inspect_openvino(path)
    if path.suffix == ".mnn" and path.is_file():
        from edgeops.model.inspect.mnn import inspect_mnn

        return inspect_mnn(path)
    from edgeops.model.inspect.onnx import inspect_onnx

    return inspect_onnx(path)


def inspect_variant(folder: Path) -> dict[str, Any]:
    """Return what a variant says of itself and what its model file holds; digests are checked."""
    variant = read_variant(folder)
    inner = inspect_model(folder / variant.model_file)
    parity = variant.parity
    return {
        **inner,
        "format": "variant",
        "model_format": inner["format"],
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


def _head(path: Path) -> bytes:
    """Return the first bytes; none where the file cannot be read, which its reader then says."""
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError:
        return b""
