"""Bodies of ``predict``: JSON, .npy, .npz or the bytes of an image or recording; and of answers.

Nothing here trusts a size that is stated: an array has the bytes that its shape needs, archives are
stored, never compressed, and pickles are never read.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import re
import zipfile
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeops.errors import InputError
from edgeops.runtime.serving.http import JSON, Reply, malformed
from edgeops.runtime.serving.wire import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.runtime.serving.local import Input
    from edgeops.runtime.serving.serving import Answer

NPY, NPZ = "application/x-npy", "application/x-npz"
_BYTES = ("image/", "audio/", "application/octet-stream")
_MOST_MEMBERS = 256
_NPY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '([<|][biufc][0-9]{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \(([0-9, ]*)\), \} *\n",
    re.DOTALL,
)


def inputs_of(kind: str, data: bytes, tensors: Sequence[Input], name: str | None) -> dict[str, Any]:
    """Return the inputs that a body holds; ``name`` says of which input a single value is.

    Raises InputError ``serve-media`` or ``serve-malformed``.
    """
    kind = kind.partition(";")[0].strip().lower() or JSON
    try:
        if kind == JSON:
            return _from_json(data)
        if kind == NPZ:
            return _from_npz(data)
        if kind == NPY:
            return {_single(tensors, name): _array(data)}
    except InputError:
        raise
    except Exception as error:  # numpy and zipfile raise of many kinds
        raise malformed(f"its body is no {kind}: {type(error).__name__}: {error}") from error
    if kind.startswith(_BYTES):
        return {_single(tensors, name): data}
    if kind == "text/plain":
        return {_single(tensors, name): data.decode("utf-8", "replace")}
    raise InputError(
        "serve-media",
        f"bodies of the kind {kind[:60]!r} are not taken",
        where="Content-Type",
        why=f"taken are {JSON}, {NPY}, {NPZ}, text/plain and {', '.join(_BYTES)}",
        fix=f"say which the body is: curl --header 'Content-Type: {JSON}'",
    )


def reply_of(answer: Answer, accept: str) -> Reply:
    """Return the answer as JSON, or as the arrays that the header ``Accept`` asks for."""
    named = (("X-Edgeops-Digest", answer.digest or ""), ("X-Edgeops-Version", answer.version or ""))
    if NPZ in accept or NPY in accept:
        arrays = {
            key: _npy_able(value)
            for key, value in answer.outputs.items()
            if isinstance(value, np.ndarray)
        }
        if NPZ in accept:
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                for key, array in arrays.items():
                    archive.writestr(f"{key}.npy", _npy(array))
            return Reply(200, NPZ, buffer.getvalue(), named)
        if len(arrays) == 1:
            return Reply(200, NPY, _npy(next(iter(arrays.values()))), named)
    encoded = "base64" in accept
    outputs = {
        name: _packed(value) if encoded and isinstance(value, np.ndarray) else value
        for name, value in answer.outputs.items()
    }
    document = {"outputs": outputs, "version": answer.version, "digest": answer.digest}
    try:
        text = json.dumps(document, default=plain, allow_nan=False)
    except ValueError:
        text = json.dumps(_without_nan(document), default=plain, allow_nan=False)
    return Reply(200, JSON, text.encode() + b"\n", named)


def _from_json(data: bytes) -> dict[str, Any]:
    document = json.loads(data)
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), dict):
        raise TypeError('it is no object {"inputs": {...}}')
    return {name: _value(value) for name, value in document["inputs"].items()}


def _value(value: Any) -> Any:
    """Return an input of a JSON body: bytes and arrays come as base64, all else as it is."""
    if not isinstance(value, dict) or "base64" not in value:
        return value
    try:
        data = base64.b64decode(value["base64"], validate=True)
    except binascii.Error as error:
        raise ValueError(f"base64: {error}") from error
    if "dtype" not in value:
        return data
    dtype, shape = np.dtype(str(value["dtype"])), value["shape"]
    if dtype.kind not in "biufc" or any(type(size) is not int or size < 0 for size in shape):
        raise ValueError("dtype or shape of no array of numbers")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes are no {dtype}{shape}")
    return np.frombuffer(data, dtype.newbyteorder("<")).reshape(shape)


def _from_npz(data: bytes) -> dict[str, Any]:
    found = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        stored = all(info.compress_type == zipfile.ZIP_STORED for info in infos)
        if not stored or len(infos) > _MOST_MEMBERS:
            raise ValueError("it is compressed, or has too many members")
        if sum(info.file_size for info in infos) > len(data):  # members may overlap
            raise ValueError("its members are more than it has")
        for info in infos:
            name = info.filename.removesuffix(".npy")
            found[name] = _array(archive.read(info))
    return found


def _array(data: bytes) -> Any:
    shape, fortran, dtype, place = _header(data)
    rest = memoryview(data)[place:]
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(rest):
        raise ValueError("its data is not what its header says")
    array = np.frombuffer(rest, dtype)
    return array.reshape(shape, order="F" if fortran else "C")


def _header(data: bytes) -> tuple[tuple[int, ...], bool, Any, int]:
    """Return shape, whether the order is Fortran's, dtype, and where the data begins."""
    plain_one = _NPY_HEADER.match(data, 0, 256)
    if plain_one is not None and plain_one.end() == 10 + int.from_bytes(plain_one[1], "little"):
        # As numpy itself writes it; numpy's reader parses it as Python, which takes longer than
        # small models do.
        shape = tuple(int(size) for size in plain_one[4].split(b",") if size.strip())
        dtype = np.dtype(plain_one[2].decode())
        return shape, plain_one[3] == b"True", dtype, plain_one.end()
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    return (*read(file), file.tell())


@lru_cache(maxsize=256)
def _npy_head(dtype: str, shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    about = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, about)
    return buffer.getvalue()


def _npy(array: Any) -> bytes:
    data: bytes = array.tobytes()
    return _npy_head(array.dtype.str, array.shape) + data


def _single(tensors: Sequence[Input], name: str | None) -> str:
    if name is not None:
        return name
    if len(tensors) == 1:
        return tensors[0].name
    known = ", ".join(each.name for each in tensors)
    raise malformed(f"it holds one value and does not say of which input: ?input= one of {known}")


def _npy_able(array: Any) -> Any:
    return array.astype(str) if array.dtype.kind == "O" else array


def _packed(array: Any) -> Any:
    if array.dtype.kind not in "biufc":
        return array
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    text = base64.b64encode(little.tobytes()).decode()
    return {"base64": text, "dtype": array.dtype.name, "shape": list(array.shape)}


def _without_nan(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value
