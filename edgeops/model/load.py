"""Load an ONNX model as untrusted input: look first, parse second, read other files last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import digest, sha256_bytes, sha256_file, tree_digest
from edgeops.core.files import meant
from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError
from edgeops.model.external import external_files, read_external
from edgeops.model.formats import refuse_other_formats, why_unparsable
from edgeops.model.weights import refuse_broken_weights

if TYPE_CHECKING:
    from pathlib import Path

# A protobuf message cannot be larger, and no edge device wants more.
LIMIT = 2 * 1024**3
_LARGE = 1 << 16  # bytes of a tensor that are worth the trouble of not copying it


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory, its external data read in.

    ``digest`` is the sha256 of the file; with external data that of all its files together, as
    ``core.digest.tree_digest`` makes it. ``inputs`` are what a caller must give: initializers that
    old files list among their inputs are left out.
    """

    proto: Any
    path: Path
    digest: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


def load_model(path: Path, *, limit: int = LIMIT) -> LoadedModel:
    """Load and check an ONNX file; ``limit`` bounds its bytes, external data included.

    Never unpickles. External data is read only from files below the model's own folder, and only
    after all their names were checked. Raises InputError, one code a cause: see explain/model.toml.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # ships no types

    data = _read(path, limit)
    refuse_other_formats(path, data)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise why_unparsable(path, data) from error
    if not proto.HasField("graph") or not proto.graph.node:
        raise why_unparsable(path, data)
    _refuse_future(path, proto)
    files = external_files(proto, path)
    total = len(data) + sum(file.stat().st_size for file in files.values())
    if total > limit:
        raise _too_large(path, total, limit)
    named = digest(sha256_bytes(data))
    del data  # as large as the model again
    if files:
        named = tree_digest(
            {path.name: named.partition(":")[2]}
            | {name: sha256_file(file) for name, file in files.items()}
        )
        read_external(proto, path)
    _check(path, proto)
    refuse_broken_weights(path, proto)
    return LoadedModel(proto, path, named, graph_inputs(proto), graph_outputs(proto))


def graph_inputs(proto: Any) -> tuple[TensorInfo, ...]:
    """Return what a caller of the model must give, in order."""
    given = {tensor.name for tensor in proto.graph.initializer}
    given |= {tensor.values.name for tensor in proto.graph.sparse_initializer}
    return tuple(_tensor(value) for value in proto.graph.input if value.name not in given)


def graph_outputs(proto: Any) -> tuple[TensorInfo, ...]:
    """Return what the model answers, in order."""
    return tuple(_tensor(value) for value in proto.graph.output)


def _tensor(value: Any) -> TensorInfo:
    import onnx

    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return TensorInfo(value.name, (), (kind or "unknown").removesuffix("_type"))
    tensor = value.type.tensor_type
    if tensor.elem_type == onnx.TensorProto.STRING:
        dtype = "str"
    elif tensor.elem_type == onnx.TensorProto.UNDEFINED:
        dtype = "unknown"
    else:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    if not tensor.HasField("shape"):
        return TensorInfo(value.name, ("...",), dtype)
    sizes = (
        dim.dim_value if dim.dim_value > 0 else dim.dim_param or "?" for dim in tensor.shape.dim
    )
    return TensorInfo(value.name, tuple(sizes), dtype)


def _read(path: Path, limit: int) -> bytes:
    if not path.exists():
        raise InputError(
            "model-missing",
            f"there is no model {path.name}",
            where=str(path),
            why="no such file",
            fix=meant(path, "check the path, or make it first: edgeops run makes what stages make"),
        )
    if not path.is_file():
        raise InputError(
            "model-not-a-file",
            f"{path.name} is not a file",
            where=str(path),
            why="it is a folder" if path.is_dir() else "it is a device, a pipe or a socket",
            fix="name the .onnx file itself",
        )
    size = path.stat().st_size
    if size > limit:
        raise _too_large(path, size, limit)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            "model-unreadable",
            f"{path.name} cannot be read",
            where=str(path),
            why=error.strerror or str(error),
            fix="make the file readable for the user that runs edgeops",
        ) from error
    if not data:
        raise InputError(
            "model-empty",
            f"{path.name} is empty",
            where=str(path),
            why="the file has 0 bytes: whatever wrote it stopped before it began",
            fix="export the model again, or fetch it again with: dvc pull",
        )
    return data


def copy_fields(source: Any, target: Any, *, leave: str) -> None:
    """Copy all fields of a protobuf message but one."""
    for field, value in source.ListFields():
        if field.name == leave:
            continue
        if hasattr(value, "MergeFrom") and not hasattr(value, "CopyFrom"):
            getattr(target, field.name).extend(value)  # repeated
        elif hasattr(value, "CopyFrom"):
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)


def _too_large(path: Path, size: int, limit: int) -> InputError:
    return InputError(
        "model-too-large",
        f"{path.name} is too large: {size} bytes with its external data",
        where=str(path),
        why=f"edgeops reads models of up to {limit} bytes",
        fix="make the model smaller: fewer parameters, float16 weights, or split it",
    )


def _refuse_future(path: Path, proto: Any) -> None:
    import onnx

    if proto.ir_version > onnx.IR_VERSION:
        raise InputError(
            "model-ir-future",
            f"{path.name} is written in ONNX format version {proto.ir_version}",
            where=str(path),
            why=f"the installed onnx {onnx.__version__} reads up to IR version {onnx.IR_VERSION}",
            fix="pip install -U onnx onnxruntime, or export the model for an older ONNX",
        )
    newest = {"": onnx.defs.onnx_opset_version(), "ai.onnx.ml": onnx.defs.onnx_ml_opset_version()}
    for opset in proto.opset_import:
        domain = "" if opset.domain == "ai.onnx" else opset.domain
        if opset.version > newest.get(domain, opset.version):
            shown = domain or "ai.onnx"
            raise InputError(
                "model-opset-future",
                f"{path.name} needs opset {opset.version} of {shown}",
                where=str(path),
                why=f"the installed onnx {onnx.__version__} knows {shown} up to {newest[domain]}",
                fix="pip install -U onnx onnxruntime, or export with opset_version=17",
            )


def _check(path: Path, proto: Any) -> None:
    """Check the model as ONNX's checker does, without the copies it makes of all weights at once.

    Large tensors are checked one by one; the graph around them sees them as inputs.
    """
    import onnx

    large = [t for t in proto.graph.initializer if len(t.raw_data) > _LARGE]
    light = proto
    if large:
        light = onnx.ModelProto()
        copy_fields(proto, light, leave="graph")
        copy_fields(proto.graph, light.graph, leave="initializer")
        names = {tensor.name for tensor in large}
        light.graph.initializer.extend(t for t in proto.graph.initializer if t.name not in names)
        names -= {value.name for value in proto.graph.input}
        light.graph.input.extend(
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            for tensor in large
            if tensor.name in names
        )
    try:
        for tensor in large:
            onnx.checker.check_tensor(tensor)
        onnx.checker.check_model(light)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        raise InputError(
            "model-invalid",
            f"{path.name} is not a valid ONNX graph",
            where=str(path),
            why=" ".join(lines[:2]) or type(error).__name__,
            fix="export the model again; onnx.checker.check_model shows the same message",
        ) from error
