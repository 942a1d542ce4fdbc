"""Tell what a file is when it is no ONNX model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

LFS = b"version https://git-lfs.github.com/spec/"
ACCEPTED = "an ONNX model (.onnx)"

# (offset, bytes, what it is, how to get ONNX out of it)
_MAGIC = (
    (
        4,
        b"TFL3",
        "a TensorFlow Lite model",
        "edgeops convert takes it as it is; what needs ONNX needs its source model exported to ONNX",
    ),
    (4, b"ORTM", "a model in ORT format", "give the .onnx it was made from"),
    (0, b"\x89HDF\r\n", "a Keras HDF5 file", "export it with tf2onnx or keras.Model.export"),
    (
        0,
        b"PK\x03\x04",
        "a zip archive (PyTorch, Keras or NumPy)",
        "export with torch.onnx.export or keras.Model.export",
    ),
    (0, b"\x80\x02", "a Python pickle", "export with torch.onnx.export or skl2onnx"),
    (0, b"\x80\x03", "a Python pickle", "export with torch.onnx.export or skl2onnx"),
    (0, b"\x80\x04", "a Python pickle", "export with torch.onnx.export or skl2onnx"),
    (0, b"\x80\x05", "a Python pickle", "export with torch.onnx.export or skl2onnx"),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it with gunzip"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it with unzstd"),
    (0, b"7767517\n", "an ncnn model", "give the .onnx it was made from"),
)

# Fields of onnx.ModelProto by number (onnx.proto3), for telling a cut file from another one.
_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def refuse_other_formats(path: Path, data: bytes) -> None:
    """Raise InputError ``model-lfs-pointer`` or ``model-format`` for what is known to be no ONNX."""
    if data.startswith(LFS):
        raise InputError(
            "model-lfs-pointer",
            f"{path.name} is a git-LFS pointer, not the model itself",
            where=str(path),
            why="the repository was cloned without its large files",
            fix="git lfs pull",
        )
    for offset, magic, what, fix in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            raise InputError(
                "model-format",
                f"{path.name} is {what}; edgeops starts from {ACCEPTED}",
                where=str(path),
                why="the first bytes of the file say so, whatever its name is",
                fix=fix,
            )


def why_unparsable(path: Path, data: bytes) -> InputError:
    """Return the error for bytes that do not parse: a cut model, or no model at all."""
    if _is_cut(data):
        return InputError(
            "model-truncated",
            f"{path.name} ends too early",
            where=str(path),
            why=f"it begins as an ONNX model, but stops in the middle after {len(data)} bytes",
            fix="copy or download it again and compare sizes; or export the model again",
        )
    return InputError(
        "model-malformed",
        f"{path.name} is not an ONNX model",
        where=str(path),
        why="its bytes are no ONNX protobuf message with a graph in it",
        fix=f"give {ACCEPTED}: torch.onnx.export, tf2onnx, keras.Model.export or skl2onnx write one",
    )


def _is_cut(data: bytes) -> bool:
    """Walk the top level of a protobuf message; True when its last field runs out of bytes."""
    position, seen = 0, 0
    while position < len(data):
        tag, position = _varint(data, position)
        field, kind = tag >> 3, tag & 7
        if position > len(data):
            return seen > 0
        if field not in _FIELDS:
            return False
        if kind == _VARINT:
            _, position = _varint(data, position)
        elif kind == _BYTES:
            size, position = _varint(data, position)
            position += size
        elif kind in (_FIXED64, _FIXED32):
            position += 8 if kind == _FIXED64 else 4
        else:
            return False
        seen += 1
    return position > len(data) and seen > 0


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return a number of protobuf's base-128 encoding and where it ends; past the end when cut."""
    value = shift = 0
    while position < len(data):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, position
        shift += 7
    return value, len(data) + 1
