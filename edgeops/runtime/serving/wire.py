"""Requests and answers as bytes: between a server and its children, and in recorded requests.

A frame is two little-endian 32-bit numbers, the sizes of a head and a body; the head, a JSON object;
the body, the bytes of arrays and texts one after another. ``head["values"]`` says by name what each
value is, in the order of the body:

* ``{"a": [dtype, shape]}`` an array, its elements in C order
* ``{"b": n}`` n bytes
* ``{"t": shape, "j": texts}`` an array of texts, which takes no bytes of the body
* ``{"j": value}`` any other JSON value, likewise

There are no pickles: a child that went mad can answer nonsense, and nothing worse.
"""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZES = struct.Struct("<II")
_KINDS = "biufc"
_MOST_AXES = 32


def encode(head: Mapping[str, Any], values: Mapping[str, Any]) -> list[Any]:
    """Return the pieces of a frame, to be written one after another without joining them.

    Raises ValueError, TypeError, RecursionError or struct.error for values that no frame has.
    """
    body: list[Any] = []
    specs = {str(name): _put(value, body) for name, value in values.items()}
    text = json.dumps({**head, "values": specs}, default=plain).encode()
    size = sum(len(piece) for piece in body)
    return [SIZES.pack(len(text), size) + text, *body]


def decode(text: bytes, body: memoryview) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return head and values; arrays are views of ``body``.

    Raises ValueError, TypeError, KeyError or RecursionError for what is no frame.
    """
    head = json.loads(text)
    values, place = {}, 0
    for name, spec in head.pop("values").items():
        values[name], place = _get(spec, body, place)
    if place != len(body):
        raise ValueError("the body is longer than its values")
    return head, values


def _put(value: Any, body: list[Any]) -> dict[str, Any]:
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "OUS":
            return {"t": list(value.shape), "j": [str(each) for each in value.flat]}
        if value.dtype.kind not in _KINDS:
            raise ValueError(f"an array of {value.dtype}, which is neither numbers nor texts")
        array = np.ascontiguousarray(value)
        if array.size:
            body.append(array.data.cast("B"))
        return {"a": [array.dtype.str, list(value.shape)]}
    if isinstance(value, (bytes, bytearray, memoryview)):
        body.append(bytes(value))
        return {"b": len(value)}
    return {"j": value}


def _get(spec: Mapping[str, Any], body: memoryview, place: int) -> tuple[Any, int]:
    if "a" in spec:
        name, shape = spec["a"]
        dtype = np.dtype(name)
        size = _elements(shape) * dtype.itemsize
        if dtype.kind not in _KINDS or place + size > len(body):
            raise ValueError("an array that is not there")
        array = np.frombuffer(body[place : place + size], dtype)
        return array.reshape(shape), place + size
    if "b" in spec:
        size = int(spec["b"])
        if size < 0 or place + size > len(body):
            raise ValueError("bytes that are not there")
        return bytes(body[place : place + size]), place + size
    if "t" in spec:
        found = np.empty(_elements(spec["t"]), dtype=object)
        if len(found) != len(spec["j"]):
            raise ValueError("more or fewer texts than its shape has")
        found[:] = [str(each) for each in spec["j"]]
        return found.reshape(spec["t"]), place
    return spec["j"], place


def _elements(shape: Any) -> int:
    if len(shape) > _MOST_AXES or any(type(size) is not int or size < 0 for size in shape):
        raise ValueError("a shape that no array has")
    return math.prod(shape)


def plain(value: Any) -> Any:
    """Return what JSON has for a value of numpy inside an answer of rules."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    return str(value)
