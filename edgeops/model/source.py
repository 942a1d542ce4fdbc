"""What kind of file a model is, and what it takes and gives, for all kinds that edgeops converts.

``onnx``    a protobuf; ``load_model`` reads it.
``tflite``  a flatbuffer; inputs and outputs are the main graph's, by the names of its tensors.
``pt2``     a ``torch.export`` program: a zip archive, see docs.pytorch.org, "PT2 Archive Spec".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.core.variant import TensorInfo

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edgeops.model.tflite import TfliteModel

ONNX, TFLITE, PT2 = "onnx", "tflite", "pt2"
_TFLITE = b"TFL3"
_ZIP = b"PK\x03\x04"
_SYMBOL = re.compile(r"Symbol\('(\w+)'.*\)")
_PROGRAM = "a torch.export program"
_MOST_JSON = 512 * 1024**2

# torch._export.serde.schema.ScalarType to numpy's names.
_TORCH_DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
}


@dataclass(frozen=True)
class Source:
    """A model file before anything is done with it.

    ``precision`` is what it computes in: ``fp32``, ``fp16``, or ``int8`` when it is quantized.
    ``proto`` is the ``onnx.ModelProto`` of ONNX, None of other kinds.
    """

    kind: str
    path: Path
    digest: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    precision: str = "fp32"
    proto: Any = None


def kind_of(path: Path) -> str:
    """Return ``tflite`` or ``pt2`` by the first bytes of a file, ``onnx`` for everything else.

    What is no model, or cannot be read, is left for ``open_source`` to name.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        return ONNX
    if head[4:8] == _TFLITE:
        return TFLITE
    return PT2 if head.startswith(_ZIP) and _is_program(path) else ONNX


def open_source(path: Path) -> Source:
    """Read a model of any kind that edgeops converts.

    Raises InputError for a file that is broken or something else, as ``load_model`` and
    ``read_tflite`` do, and RefusedError for a .tflite that no CPU engine runs, as
    ``refuse_unusable`` does.
    """
    kind = kind_of(path)
    if kind == TFLITE:
        return _tflite(path)
    if kind == PT2:
        return _program(path)
    from edgeops.model.load import load_model

    loaded = load_model(path)
    return Source(
        ONNX,
        path,
        loaded.digest,
        loaded.inputs,
        loaded.outputs,
        onnx_precision(loaded.proto),
        loaded.proto,
    )


def onnx_precision(proto: Any) -> str:
    """Return what an ``onnx.ModelProto`` computes in, by its operators and weights."""
    import onnx

    quantized = {"QuantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"}
    for node in proto.graph.node:
        if node.op_type in quantized or node.op_type.startswith("QLinear"):
            return "int8"
    half = onnx.TensorProto.FLOAT16
    if any(tensor.data_type == half for tensor in proto.graph.initializer):
        return "fp16"
    return "fp16" if any(_casts_to_half(node, half) for node in proto.graph.node) else "fp32"


def _casts_to_half(node: Any, half: int) -> bool:
    return node.op_type == "Cast" and any(a.name == "to" and a.i == half for a in node.attribute)


def _tflite(path: Path) -> Source:
    from edgeops.core.digest import digest, sha256_bytes
    from edgeops.model.filebytes import read_bytes
    from edgeops.model.tflite import parse_tflite, refuse_unusable

    data = read_bytes(path)
    model = parse_tflite(data, path)
    refuse_unusable(model, path)
    main = model.subgraphs[0]
    inputs, outputs = _named(model, main.inputs), _named(model, main.outputs)
    return Source(
        TFLITE, path, digest(sha256_bytes(data)), inputs, outputs, _tflite_precision(model)
    )


def _named(model: TfliteModel, indexes: tuple[int, ...]) -> tuple[TensorInfo, ...]:
    tensors = [model.subgraphs[0].tensors[index] for index in indexes]
    return tuple(
        TensorInfo(
            tensor.name,
            tuple("?" if size < 0 else size for size in tensor.shape),
            tensor.dtype,
        )
        for tensor in tensors
    )


def _tflite_precision(model: TfliteModel) -> str:
    """Return int8 when anything is computed in integers, fp16 when weights are halves.

    A layer with integer weights and float inputs is computed in integers too: its kernel quantizes
    the inputs each time ("hybrid").
    """
    for graph in model.subgraphs:
        for operator in graph.operators:
            if operator.name in ("DEQUANTIZE", "GATHER", "EMBEDDING_LOOKUP"):
                continue  # these only read the integers
            read = [graph.tensors[index] for index in operator.inputs if index >= 0]
            if any(t.scales and t.dtype in ("int8", "uint8", "int16", "int4") for t in read):
                return "int8"
    kinds = {t.dtype for graph in model.subgraphs for t in graph.tensors if t.constant}
    return "fp16" if "float16" in kinds else "fp32"


def _is_program(path: Path) -> bool:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            return bool(_program_files(archive))
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _program_files(archive: zipfile.ZipFile) -> list[str]:
    """Return the files of an archive that describe programs."""
    names = archive.namelist()
    formats = [name for name in names if name.rpartition("/")[2] == "archive_format"]
    if not formats:
        return [name for name in names if name == "serialized_exported_program.json"]
    root = formats[0].removesuffix("archive_format")
    return [n for n in names if n.startswith(f"{root}models/") and n.endswith(".json")]


def _program(path: Path) -> Source:
    import zipfile

    from edgeops.core.digest import digest, sha256_file
    from edgeops.model.filebytes import LIMIT, damaged

    try:
        with zipfile.ZipFile(path) as archive:
            named = archive.getinfo(_program_files(archive)[0])
            if named.file_size > min(_MOST_JSON, LIMIT):
                raise damaged(path, _PROGRAM, f"its graph has {named.file_size} bytes")
            document = json.loads(archive.read(named))
        module = document["graph_module"]
        specs, values = module["signature"], module["graph"]["tensor_values"]
        inputs = tuple(_values(specs["input_specs"], "user_input", values))
        outputs = tuple(_values(specs["output_specs"], "user_output", values))
    except (
        *(zipfile.BadZipFile, OSError, ValueError, RecursionError),
        *(KeyError, IndexError, TypeError, AttributeError, NotImplementedError),
    ) as error:
        raise damaged(path, _PROGRAM, f"{type(error).__name__}: {error}") from error
    half = any(tensor.dtype == "float16" for tensor in inputs)
    return Source(PT2, path, digest(sha256_file(path)), inputs, outputs, "fp16" if half else "fp32")


def _values(
    specs: list[Mapping[str, Any]], kind: str, values: Mapping[str, Any]
) -> Iterator[TensorInfo]:
    for spec in specs:
        argument = spec.get(kind, {}).get("arg", {}).get("as_tensor")
        if argument is None:
            continue
        about = values[argument["name"]]
        sizes = tuple(
            size["as_int"] if "as_int" in size else _axis(str(size["as_expr"]["expr_str"]))
            for size in about["sizes"]
        )
        yield TensorInfo(argument["name"], sizes, _TORCH_DTYPES.get(about["dtype"], "unknown"))


def _axis(expression: str) -> str:
    """Return the name of an open axis; torch writes ``Symbol('s77', positive=True, ...)``."""
    found = _SYMBOL.fullmatch(expression)
    return found[1] if found else expression
