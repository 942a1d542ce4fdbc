"""Tensors in an ONNX file, by walking the protobuf's wire format; and those in external data.

Field numbers are those of onnx.proto: ModelProto.graph 7; GraphProto.node 1, initializer 5;
NodeProto.output 2, attribute 5; AttributeProto.t 5, g 6, tensors 10, graphs 11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.package.deltas.locate import BFLOAT16, FLOAT16, FLOAT32, INT8, INT16, INT32, Region

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# TensorProto.DataType -> kind; 64-bit numbers are pairs of 32-bit ones, packed ones are bytes.
_KINDS = {1: FLOAT32, 2: INT8, 3: INT8, 4: INT16, 5: INT16, 6: INT32, 7: INT32, 9: INT8}
_KINDS |= {10: FLOAT16, 12: INT32, 13: INT32, 16: BFLOAT16, 17: INT8, 18: INT8, 21: INT8, 22: INT8}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_GRAPH, _NODE, _INITIALIZER = 7, 1, 5
_OUTPUT, _ATTRIBUTE = 2, 5
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS = 5, 6, 10, 11
_DATA_TYPE, _FLOAT_DATA, _NAME, _RAW, _EXTERNAL = 2, 4, 8, 9, 13
_MOST_DEPTH = 32

if TYPE_CHECKING:
    Span = tuple[int, int]


def regions(data: memoryview, _: str, __: Mapping[str, Path]) -> list[Region]:
    """Return the tensors of a model whose bytes are in the file itself."""
    return [
        Region(start, stop - start, _kind(tensor), name)
        for name, tensor in _tensors(data)
        for start, stop in [_content(tensor)]
        if stop > start and _kind(tensor)
    ]


def external_regions(_: memoryview, name: str, beside: Mapping[str, Path]) -> list[Region]:
    """Return the tensors that models beside keep in the file ``name``."""
    found = []
    for other in (path for each, path in sorted(beside.items()) if each.endswith(".onnx")):
        data = memoryview(other.read_bytes())
        for label, tensor in _tensors(data):
            about = dict(_entry(data, span) for span in tensor.get(_EXTERNAL, []))
            if about.get("location") == name and _kind(tensor):
                offset, length = int(about.get("offset", 0)), int(about.get("length", 0))
                found.append(Region(offset, length, _kind(tensor), label))
    return found


def _tensors(data: memoryview) -> Iterator[tuple[str, dict[int, list[Span]]]]:
    model = _fields(data, (0, len(data)))
    for graph in model.get(_GRAPH, []):
        yield from _of_graph(data, graph, 0)


def _of_graph(
    data: memoryview, span: Span, depth: int
) -> Iterator[tuple[str, dict[int, list[Span]]]]:
    if depth > _MOST_DEPTH:
        message = "its graphs are nested too deeply"
        raise ValueError(message)
    graph = _fields(data, span)
    for tensor in graph.get(_INITIALIZER, []):
        fields = _fields(data, tensor)
        yield _text(data, fields.get(_NAME)), fields
    for node in graph.get(_NODE, []):
        fields = _fields(data, node)
        name = _text(data, fields.get(_OUTPUT))
        for attribute in (_fields(data, each) for each in fields.get(_ATTRIBUTE, [])):
            for tensor in (*attribute.get(_TENSOR, []), *attribute.get(_TENSORS, [])):
                yield name, _fields(data, tensor)
            for inner in (*attribute.get(_SUBGRAPH, []), *attribute.get(_SUBGRAPHS, [])):
                yield from _of_graph(data, inner, depth + 1)


def _kind(tensor: dict[int, list[Span]]) -> int:
    # A number is kept as (value, value): it has no bytes of its own.
    return _KINDS.get(tensor.get(_DATA_TYPE, [(0, 0)])[0][0], 0)


def _content(tensor: dict[int, list[Span]]) -> Span:
    for field in (_RAW, _FLOAT_DATA):
        if len(tensor.get(field, [])) == 1:
            return tensor[field][0]
    return 0, 0


def _entry(data: memoryview, span: Span) -> tuple[str, str]:
    fields = _fields(data, span)
    return _text(data, fields.get(1)), _text(data, fields.get(2))


def _text(data: memoryview, spans: list[Span] | None) -> str:
    start, stop = (spans or [(0, 0)])[0]
    return bytes(data[start:stop]).decode(errors="replace")


def _fields(data: memoryview, span: Span) -> dict[int, list[Span]]:
    """Return where the fields of a message lie; of a number the value, twice."""
    position, end = span
    found: dict[int, list[Span]] = {}
    while position < end:
        tag, position = _varint(data, position)
        wire = tag & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            found.setdefault(tag >> 3, []).append((value, value))
            continue
        if wire not in (_FIXED64, _BYTES, _FIXED32):
            message = f"wire type {wire}"
            raise ValueError(message)
        length = {_FIXED64: 8, _FIXED32: 4}.get(wire, 0)
        if wire == _BYTES:
            length, position = _varint(data, position)
        if position + length > end:
            message = "a field leads beyond its message"
            raise ValueError(message)
        found.setdefault(tag >> 3, []).append((position, position + length))
        position += length
    return found


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, position
        if shift > 63:  # noqa: PLR2004 - no number is longer than 64 bits
            message = "a number is too long"
            raise ValueError(message)
