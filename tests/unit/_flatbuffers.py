"""Small flatbuffers for tests: tables as ``{field number: value}``, in the order of the schema."""

from __future__ import annotations

from dataclasses import dataclass

import flatbuffers

_KINDS = {
    "int8": "Int8",
    "uint8": "Uint8",
    "int32": "Int32",
    "uint32": "Uint32",
    "int64": "Int64",
    "float32": "Float32",
}


@dataclass(frozen=True)
class Num:
    """A number of a type, as a field of a table."""

    kind: str
    value: float


@dataclass(frozen=True)
class Nums:
    """A vector of numbers of a type."""

    kind: str
    values: tuple


def pack(root: dict, identifier: bytes | None = None) -> bytes:
    """Return the file whose root table is ``root``.

    Fields are Num, Nums, str, bytes, dict (a table) or a list of dicts or strings.
    """
    builder = flatbuffers.Builder(256)
    builder.Finish(_offset(builder, root), file_identifier=identifier)
    return bytes(builder.Output())


def _offset(builder, value):
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, bytes):
        return builder.CreateByteVector(value)
    if isinstance(value, Nums):
        width = {"8": 1, "2": 4, "4": 8}[value.kind[-1]]
        builder.StartVector(width, len(value.values), width)
        for each in reversed(value.values):
            getattr(builder, f"Prepend{_KINDS[value.kind]}")(each)
        return builder.EndVector()
    if isinstance(value, list):
        offsets = [_offset(builder, each) for each in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()
    return _table(builder, value)


def _table(builder, fields):
    made = {
        number: value if isinstance(value, Num) else _offset(builder, value)
        for number, value in fields.items()
    }
    builder.StartObject(max(fields, default=0) + 1)
    for number, value in made.items():
        if isinstance(value, Num):
            getattr(builder, f"Prepend{_KINDS[value.kind]}")(value.value)
        else:
            builder.PrependUOffsetTRelative(value)
        builder.Slot(number)
    return builder.EndObject()
