"""What a .tflite file holds, read without any engine, and which of them no CPU engine can run.

Format: TensorFlow Lite's schema.fbs, version 3, file identifier ``TFL3``. Field numbers are those
of the schema, in its order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeops.errors import RefusedError
from edgeops.model.filebytes import damaged, read_bytes
from edgeops.model.flatbuffer import DamagedError, Flatbuffer
from edgeops.model.tflite_names import CUSTOM, KNOWN_CUSTOM, dtype_name, operator_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from edgeops.model.flatbuffer import Table

MAGIC = b"TFL3"
WHAT = "a TensorFlow Lite model"
_KINDS = {
    "ethos-u": "an Arm Ethos-U model",
    "edge-tpu": "a Coral Edge TPU model",
    "npu": "a LiteRT model compiled for an NPU",
    "micro": "a TensorFlow Lite Micro model",
    "flex": "a TensorFlow Lite model with TensorFlow (Flex) operators",
    "custom": "a TensorFlow Lite model with custom operators",
}


@dataclass(frozen=True)
class TfliteTensor:
    """A tensor; -1 in ``shape`` is an open axis, ``constant`` says that its bytes are in the file.

    ``scales`` is the number of quantization scales: 0 for none, 1 per tensor, more per channel.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    constant: bool
    scales: int


@dataclass(frozen=True)
class TfliteOperator:
    """An operator: a built-in one's name, or the code of a custom one; tensors by index."""

    name: str
    custom: bool
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class TfliteSubgraph:
    """A graph; the first of a file is the main one. Inputs and outputs are tensors by index."""

    name: str
    tensors: tuple[TfliteTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[TfliteOperator, ...]


@dataclass(frozen=True)
class TfliteSignature:
    """A named way to call a subgraph: tensors by the names that callers use."""

    key: str
    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True)
class TfliteModel:
    """A .tflite file. ``kind`` is "" for one that any CPU engine may try, else what it is.

    Kinds: ``ethos-u``, ``edge-tpu``, ``npu``, ``micro``, ``flex``, ``custom``.
    """

    version: int
    description: str
    subgraphs: tuple[TfliteSubgraph, ...]
    signatures: tuple[TfliteSignature, ...] = ()
    metadata: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def custom_operators(self) -> tuple[str, ...]:
        """The codes of custom operators, each once, sorted."""
        found = {o.name for graph in self.subgraphs for o in graph.operators if o.custom}
        return tuple(sorted(found))

    @property
    def kind(self) -> str:
        """What the file is when it needs more than an engine's own operators, "" when it does not."""
        names = self.custom_operators
        strange = [name for name in names if name not in KNOWN_CUSTOM]
        for kind, code in (
            ("ethos-u", "ethos-u"),
            ("edge-tpu", "edgetpu-custom-op"),
            ("npu", "DISPATCH_OP"),
        ):
            if code in names:
                return kind
        if "COMPRESSION_METADATA" in self.metadata or any(n.startswith("Signal") for n in names):
            return "micro"
        if any(name.startswith("Flex") for name in names):
            return "flex"
        return "custom" if strange else ""

    @property
    def min_runtime(self) -> str:
        """The oldest runtime that the file says it needs, such as ``2.3.0``; "" when it does not."""
        raw = self.metadata.get("min_runtime_version", b"")
        text = raw.split(b"\0")[0].decode("ascii", errors="replace")
        return text if text.replace(".", "").isalnum() else ""


def read_tflite(path: Path) -> TfliteModel:
    """Read a .tflite file.

    Raises InputError ``model-damaged`` when it is cut off or contradicts itself, and what
    ``read_bytes`` raises of a file that cannot be read.
    """
    return parse_tflite(read_bytes(path), path)


def parse_tflite(data: bytes, path: Path) -> TfliteModel:
    """Return the model in the bytes of a .tflite file; raises InputError ``model-damaged``."""
    if data[4:8] != MAGIC:
        raise damaged(path, WHAT, f"its identifier is {data[4:8]!r}, not {MAGIC!r}")
    try:
        return _model(Flatbuffer(data).root())
    except DamagedError as error:
        raise damaged(path, WHAT, str(error)) from error


def refuse_unusable(model: TfliteModel, path: Path) -> None:
    """Raise RefusedError for a model that no CPU engine can run, naming what it is.

    Codes: ``tflite-ethos-u``, ``tflite-compiled``, ``tflite-micro``, ``tflite-flex``,
    ``tflite-custom``.
    """
    kind = model.kind
    if not kind:
        return
    names = ", ".join(name for name in model.custom_operators if name not in KNOWN_CUSTOM)
    what = f"{path.name} is {_KINDS[kind]}"
    where = f"{path}: {names}" if names else str(path)
    if kind == "ethos-u":
        raise RefusedError(
            "tflite-ethos-u",
            what,
            where=where,
            why="Vela has replaced its operators by commands for that NPU; nothing else runs them",
            fix="give the .tflite that Vela compiled",
        )
    if kind in ("edge-tpu", "npu"):
        raise RefusedError(
            "tflite-compiled",
            what,
            where=where,
            why="a compiler has replaced its operators by a program for that accelerator",
            fix="give the .tflite that was compiled",
        )
    if kind == "micro":
        raise RefusedError(
            "tflite-micro",
            what,
            where=where,
            why="its signal operators or compressed weights exist only in TensorFlow Lite Micro",
            fix="give the model without its signal operators and with plain weights",
        )
    if kind == "flex":
        raise RefusedError(
            "tflite-flex",
            what,
            where=where,
            why="Flex operators need all of TensorFlow on the device",
            fix="convert it again with target_spec.supported_ops = [TFLITE_BUILTINS] only",
        )
    raise RefusedError(
        "tflite-custom",
        what,
        where=where,
        why="the engine has no code for them: they come from somebody's own library",
        fix="export the model with standard operators, or cut it off before them",
    )


def _model(root: Table) -> TfliteModel:
    codes = [_code(table) for table in root.tables(1)]
    buffers = [_has_bytes(table) for table in root.tables(4)]
    graphs = tuple(_subgraph(table, codes, buffers) for table in root.tables(2))
    if not graphs:
        message = "it has no graph"
        raise DamagedError(message)
    signatures = tuple(_signature(table, graphs) for table in root.tables(7))
    return TfliteModel(
        root.integer(0, "uint32"), root.text(3), graphs, signatures, _metadata(root, len(buffers))
    )


def _code(table: Table) -> tuple[str, bool, int]:
    # Old files have only the first, one-byte field; newer ones put 127 there when it is too small.
    number = max(table.integer(0, "int8"), table.integer(3))
    custom = number == CUSTOM
    name = table.text(1) if custom else operator_name(number)
    return name or "(nameless)", custom, table.integer(2, default=1)


def _has_bytes(table: Table) -> bool:
    # Files over 2 GB keep weights behind the flatbuffer: an offset above 1 says where.
    return table.span(0, 1)[1] > 0 or table.integer(1, "uint64") > 1


def _subgraph(
    table: Table, codes: list[tuple[str, bool, int]], buffers: list[bool]
) -> TfliteSubgraph:
    tensors = tuple(_tensor(each, buffers) for each in table.tables(0))
    inputs, outputs = table.integers(1), table.integers(2)
    operators = tuple(_operator(each, codes) for each in table.tables(3))
    _check("an input or output", (*inputs, *outputs), len(tensors))
    for operator in operators:
        # -1 is an optional input that is not given.
        given = (index for index in operator.inputs if index != -1)
        _check(f"{operator.name} a tensor", (*given, *operator.outputs), len(tensors))
    return TfliteSubgraph(table.text(4), tensors, inputs, outputs, operators)


def _tensor(table: Table, buffers: list[bool]) -> TfliteTensor:
    buffer = table.integer(2, "uint32")
    _check("a tensor a buffer", (buffer,), max(len(buffers), 1))
    quantization = table.table(4)
    shape = table.integers(7) or table.integers(0)
    return TfliteTensor(
        table.text(3),
        shape,
        dtype_name(table.integer(1, "int8")),
        bool(buffers) and buffers[buffer],
        quantization.span(2, 4)[1] if quantization else 0,
    )


def _operator(table: Table, codes: list[tuple[str, bool, int]]) -> TfliteOperator:
    index = table.integer(0, "uint32")
    _check("an operator a code", (index,), len(codes))
    name, custom, version = codes[index]
    return TfliteOperator(name, custom, version, table.integers(1), table.integers(2))


def _signature(table: Table, graphs: tuple[TfliteSubgraph, ...]) -> TfliteSignature:
    index = table.integer(4, "uint32")
    _check("a signature a graph", (index,), len(graphs))
    sides = [
        {each.text(0): each.integer(1, "uint32") for each in table.tables(side)} for side in (0, 1)
    ]
    _check(
        "a signature a tensor", [*sides[0].values(), *sides[1].values()], len(graphs[index].tensors)
    )
    return TfliteSignature(table.text(2), index, sides[0], sides[1])


def _metadata(root: Table, buffers: int) -> dict[str, bytes]:
    wanted = {table.text(0): table.integer(1, "uint32") for table in root.tables(6)}
    _check("metadata a buffer", wanted.values(), buffers)
    positions = {index: name for name, index in wanted.items()}
    found = {}
    for index, table in enumerate(root.tables(4)):
        if index in positions:
            found[positions[index]] = table.content(0)
    return found


def _check(what: str, indexes: Iterable[int], count: int) -> None:
    for index in indexes:
        if not 0 <= index < count:
            message = f"{what} numbered {index}, of {count}"
            raise DamagedError(message)
