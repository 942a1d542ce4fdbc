"""External data: weights beside the model file, by names that the model itself chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.core.files import inside
from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def tensors(proto: Any) -> Iterator[Any]:
    """Yield every TensorProto of a model: initializers and attributes, subgraphs and functions too."""
    yield from _of_graph(proto.graph)
    for function in proto.functions:
        yield from _of_nodes(function.node)


def external_files(proto: Any, model: Path) -> dict[str, Path]:
    """Return ``{location: file}`` of all external data, having read none of it.

    Raises InputError ``external-outside`` for a location that leaves the model's folder (absolute,
    ``..``, a symbolic link), ``external-missing`` and ``external-truncated``.
    """
    files: dict[str, Path] = {}
    for tensor in tensors(proto):
        if tensor.data_location != tensor.EXTERNAL:
            continue
        about = _about(tensor)
        file = _inside(model, tensor.name, about.get("location", ""))
        if not file.is_file():
            raise InputError(
                "external-missing",
                f"{model.name} keeps weights in {about['location']!r}, which is not there",
                where=str(file),
                why=f"the tensor {tensor.name!r} lies in that file",
                fix=f"copy it beside {model.name}, or export the model as one file",
            )
        offset, length = _range(model, tensor, about)
        if offset + length > file.stat().st_size:
            raise InputError(
                "external-truncated",
                f"{about['location']!r} is too short for {model.name}",
                where=str(file),
                why=f"the tensor {tensor.name!r} ends at byte {offset + length}, "
                f"the file at {file.stat().st_size}",
                fix="copy both files again from where the model was exported",
            )
        files[about["location"]] = file
    return files


def read_external(proto: Any, model: Path) -> None:
    """Read external data into the message; ``external_files`` must have approved it."""
    for tensor in tensors(proto):
        if tensor.data_location != tensor.EXTERNAL:
            continue
        about = _about(tensor)
        offset, length = _range(model, tensor, about)
        with (model.parent / about["location"]).open("rb") as file:
            file.seek(offset)
            tensor.raw_data = file.read(length)
        tensor.data_location = tensor.DEFAULT
        del tensor.external_data[:]


def _inside(model: Path, tensor: str, location: str) -> Path:
    try:
        if location:
            return inside(model.parent, location)
        why = "it names no file"
    except InputError:
        why = f"it names {location!r}; only files below the model's own folder are read, links followed"
    raise InputError(
        "external-outside",
        f"{model.name} points outside its folder for the tensor {tensor!r}",
        where=str(model),
        why=why,
        fix="do not trust this file; if it is your own, export it again with its data beside it",
    )


def _range(model: Path, tensor: Any, about: dict[str, str]) -> tuple[int, int]:
    import math

    import onnx

    try:
        offset = int(about.get("offset", "0"))
        items = math.prod(tensor.dims)
        bits = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * 8
        if "INT4" in onnx.TensorProto.DataType.Name(tensor.data_type):
            bits = 4
        wanted = (items * bits + 7) // 8
        length = int(about.get("length", str(wanted)))
        fits = offset >= 0 and length == wanted
    except (ValueError, KeyError) as error:
        raise _bad_range(model, tensor, str(error)) from error
    if not fits:
        raise _bad_range(model, tensor, f"{length} bytes from {offset}, its shape needs {wanted}")
    return offset, length


def _bad_range(model: Path, tensor: Any, why: str) -> InputError:
    return InputError(
        "external-malformed",
        f"{model.name} says wrongly where the tensor {tensor.name!r} lies",
        where=str(model),
        why=why,
        fix="export the model again",
    )


def _about(tensor: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from _of_graph(attribute.g)
            for graph in attribute.graphs:
                yield from _of_graph(graph)
