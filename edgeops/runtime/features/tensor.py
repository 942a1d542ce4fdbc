"""Tensors: arrays that are features already; shape and dtype are checked, steps may follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeops.runtime.features import array
from edgeops.runtime.features.checks import Option, choice, either, listed, whole
from edgeops.runtime.features.form import BadValue, Form, Kind, Run, Trace

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_SIZE = 1 << 24


def start(options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Return what checks a tensor, and its form; -1 in the shape stands for any size."""
    dtype = np.dtype(options["dtype"])
    wanted = tuple(None if size == -1 else size for size in options["shape"])
    shown = ["any" if size is None else size for size in wanted]

    def run(value: Any, _trace: Trace) -> Any:
        found = as_array(value, dtype)
        fits = found.ndim == len(wanted) and all(
            size is None or size == given for size, given in zip(wanted, found.shape)
        )
        if not fits:
            raise BadValue(
                f"the tensor has the shape {list(found.shape)}",
                f"it must be {shown}, one sample without the axis of samples",
            )
        return found

    return run, Form("array", wanted, str(dtype))


def as_array(value: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return a value as an array of ``dtype`` where nothing can be lost by that."""
    try:
        found = np.asarray(value)
        plain = not hasattr(value, "dtype")
        if np.can_cast(found.dtype, dtype, "safe"):
            return found.astype(dtype, copy=False)
        if plain and found.dtype.kind in "biuf" and np.can_cast(found.dtype, dtype, "same_kind"):
            return _plain(found, dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadValue("the value is no array", str(error)[:200]) from error
    raise BadValue(
        f"the tensor is {found.dtype}, not {dtype}",
        "a cast that could lose something is never made silently",
        f"give array.astype({str(dtype)!r})",
    )


def _plain(found: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return plain numbers, which have no dtype of their own, in one that they fit into."""
    if dtype.kind in "iu" and found.size:
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        if found.min() < least or found.max() > most:
            raise BadValue(f"a number does not fit into {dtype}", f"it holds {least} to {most}")
    return found.astype(dtype)


KIND = Kind(
    options={
        "shape": Option(listed(either(whole(1, _MOST_SIZE), whole(-1, -1)), least=0, most=8)),
        "dtype": Option(choice(*array.DTYPES), "float32"),
    },
    start=start,
    steps={"array": array.STEPS},
    raw=lambda options: (
        tuple("any" if size == -1 else size for size in options["shape"]),
        options["dtype"],
    ),
)
