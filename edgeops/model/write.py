"""Write an ONNX model tensor by tensor, so that it is never in memory a second time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.model.load import copy_fields

if TYPE_CHECKING:
    from pathlib import Path

# Fields of onnx.proto3 with their wire type, "length-delimited".
_GRAPH = 7 << 3 | 2
_INITIALIZER = 5 << 3 | 2


def save_onnx(model: Any, path: Path) -> None:
    """Write an ``onnx.ModelProto`` as ``onnx.save_model`` does, weights after everything else.

    Protobuf lets fields stand in any order; every reader takes the file.
    """
    import onnx

    light, graph = onnx.ModelProto(), onnx.GraphProto()
    copy_fields(model, light, leave="graph")
    copy_fields(model.graph, graph, leave="initializer")
    head = graph.SerializeToString(deterministic=True)
    tensors = model.graph.initializer
    size = len(head) + sum(_entry(tensor.ByteSize()) for tensor in tensors)
    with path.open("wb") as file:
        file.write(light.SerializeToString(deterministic=True))
        file.write(bytes((_GRAPH,)) + _varint(size))
        file.write(head)
        for tensor in tensors:
            data = tensor.SerializeToString(deterministic=True)
            file.write(bytes((_INITIALIZER,)) + _varint(len(data)))
            file.write(data)


def _entry(size: int) -> int:
    """Return the bytes of one field of a given size, its tag and length included."""
    return 1 + len(_varint(size)) + size


def _varint(value: int) -> bytes:
    """Return a number in protobuf's base-128 encoding."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
