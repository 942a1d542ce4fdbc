"""Arrays as text in JSON, to the last bit.

Each is kept in the narrowest type that holds every value exactly (bits for right and wrong),
little-endian, base64.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from edgeops.validate.slices import ordered, texts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_INTEGERS = ("u1", "i1", "u2", "i2", "u4", "i4", "i8")
_FLOATS = ("f4", "f8")


def encode(array: Any) -> dict[str, Any]:
    """Return an array of numbers as JSON; it comes back with the same values and dtype."""
    import numpy as np

    shape, dtype = list(array.shape), array.dtype.str.lstrip("|=<>")
    if ((array == 0) | (array == 1)).all():
        return {
            "dtype": dtype,
            "shape": shape,
            "as": "bits",
            "data": _text(np.packbits(array != 0)),
        }
    finite = np.isfinite(array).all()
    for kind in (*(_INTEGERS if finite else ()), *_FLOATS):
        with np.errstate(over="ignore", invalid="ignore"):
            narrow = array.astype(f"<{kind}")
            same = np.array_equal(narrow.astype(array.dtype), array, equal_nan=not finite)
        if same:
            return {"dtype": dtype, "shape": shape, "as": kind, "data": _text(narrow)}
    message = f"{array.dtype} cannot be kept"
    raise TypeError(message)


def decode(value: Mapping[str, Any]) -> Any:
    """Return the array; raises ValueError, KeyError or TypeError for what is none."""
    import numpy as np

    raw = base64.b64decode(value["data"], validate=True)
    shape = [int(size) for size in value["shape"]]
    count = int(np.prod(shape, dtype=object)) if shape else 1
    if min(shape, default=0) < 0 or value["dtype"] not in {"b1", *_INTEGERS, "u8", *_FLOATS}:
        message = f"{value['dtype']}{shape} is no array"
        raise ValueError(message)
    if value["as"] == "bits":
        if count > 8 * len(raw):
            message = f"{len(raw)} bytes hold no {count} bits"
            raise ValueError(message)
        flat = np.unpackbits(np.frombuffer(raw, np.uint8), count=count)
    elif value["as"] in {*_INTEGERS, *_FLOATS}:
        flat = np.frombuffer(raw, f"<{value['as']}")
    else:
        message = f"{value['as']!r} is no way to keep numbers"
        raise ValueError(message)
    return flat.reshape(shape).astype(value["dtype"])


def size(value: Mapping[str, Any]) -> int:
    """Return how many bytes an encoded array takes."""
    return len(value["data"])


def encode_slices(slices: Mapping[str, Any]) -> dict[str, Any]:
    """Return slices as JSON: the values of each key, and which of them each sample has."""
    import numpy as np

    found = {}
    for key, array in slices.items():
        texts = texts_of(array)
        values = ordered(set(texts))
        place = {value: index for index, value in enumerate(values)}
        found[key] = {
            "values": values,
            "index": encode(np.array([place[text] for text in texts], np.int64)),
        }
    return found


def decode_slices(value: Mapping[str, Any], samples: int) -> dict[str, Any]:
    """Return slices; raises ValueError, KeyError, TypeError or IndexError for what is none."""
    import numpy as np

    found = {}
    for key, one in value.items():
        index = decode(one["index"])
        if index.shape != (samples,) or index.min() < 0:
            message = f"the slice {key} has not one value a sample"
            raise ValueError(message)
        found[key] = np.array([str(text) for text in one["values"]])[index]
    return found


def _text(array: Any) -> str:
    return base64.b64encode(array.tobytes()).decode()


# What decoding, and using what was decoded, raises for values that were not written here.
MISFITS = (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    binascii.Error,
)
