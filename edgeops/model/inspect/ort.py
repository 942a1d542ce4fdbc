"""What is inside a model in ORT format.

Format: ONNX Runtime's ort.fbs, file identifier ``ORTM``; field numbers are those of the schema.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError
from edgeops.model.filebytes import damaged, read_bytes
from edgeops.model.flatbuffer import DamagedError, Flatbuffer
from edgeops.model.inspect.common import document, parameters, product, tensor

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.model.flatbuffer import Table

MAGIC = b"ORTM"
WHAT = "a model in ORT format"
_TENSOR = 1  # TypeInfoValue.tensor_type
_OLDEST = 4  # onnxruntime/core/flatbuffers/ort_format_version.h: older files had other schemas
# Element types by number: those of ONNX's TensorProto.
_DTYPES_TEXT = """
unknown float32 uint8 int8 uint16 int16 int32 int64 str bool float16 float64 uint32 uint64 complex64
complex128 bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz uint4 int4
"""
_DTYPES = dict(enumerate(_DTYPES_TEXT.split()))


def inspect_ort(path: Path) -> dict[str, Any]:
    """Return what is inside; raises InputError ``model-damaged`` or ``ort-version``."""
    data = read_bytes(path)
    try:
        return _inspect(path, Flatbuffer(data).root())
    except DamagedError as error:
        raise damaged(path, WHAT, str(error)) from error


def _inspect(path: Path, root: Table) -> dict[str, Any]:
    version = root.text(0)
    if not version.isdigit() or int(version) < _OLDEST:
        raise InputError(
            "ort-version",
            f"{path.name} is in version {version or '?'} of ORT format",
            where=str(path),
            why=f"versions from {_OLDEST} on are read",
            fix="make it again from its .onnx: edgeops convert MODEL --to onnxruntime --form ort",
        )
    model = root.table(1)
    graph = model.table(7) if model else None
    if model is None or graph is None:
        raise damaged(path, WHAT, "it has no graph")
    weights: Counter[str] = Counter()
    constants = set()
    for each in graph.tables(0):
        constants.add(each.text(0))
        weights[_DTYPES.get(each.integer(3), "unknown")] += abs(product(each.integers(2, 8)))
    about = {each.text(0): _value(each) for each in graph.tables(1)}
    operators = [_operator(each) for each in graph.tables(2)]
    opsets = {each.text(0) or "ai.onnx": each.integer(1, "int64") for each in model.tables(1)}
    sides = [
        [about.get(name) or tensor(name, None, "unknown") for name in graph.texts(side)]
        for side in (5, 6)
    ]
    given = [each for each in sides[0] if each["name"] not in constants]
    result = document("ort", [path], given, sides[1], operators)
    return result | {
        "parameters": parameters(weights),
        "weights": dict(weights),
        "macs_reason": "ORT format keeps weights in the engine's own layout",
        "opset": opsets.get("ai.onnx"),
        "opsets": opsets,
        "ir_version": model.integer(0, "int64"),
        "ort_version": int(version),
        "producer": f"{model.text(2)} {model.text(3)}".strip(),
    }


def _operator(node: Table) -> str:
    domain, name = node.text(2), node.text(5)
    return f"{domain}:{name}" if domain and domain != "ai.onnx" else name


def _value(info: Table) -> dict[str, Any]:
    name, kind = info.text(0), info.table(2)
    if kind is None or kind.integer(1, "uint8") != _TENSOR:
        return tensor(name, None, "unknown")
    about = kind.table(2)
    dtype = _DTYPES.get(about.integer(0), "unknown") if about else "unknown"
    shape = about.table(1) if about else None
    if shape is None:
        return tensor(name, None, dtype)
    return tensor(name, [_size(each.table(0)) for each in shape.tables(0)], dtype)


def _size(value: Table | None) -> int | str:
    if value is None:
        return "?"
    return value.text(2) or (value.integer(1, "int64") if value.integer(0, "int8") == 1 else "?")
