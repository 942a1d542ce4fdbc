"""Whether answers are sane: names, shapes, dtypes, finite, near a baseline. Pure, numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeops.runtime.serving.breaker import NOT_FINITE, WRONG_SHAPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeops.core.variant import TensorInfo


class Checks:
    """What each answer of a model must be; made once, for it is asked at every request.

    ``tensors`` are the outputs that the model declares; empty where rules make the answer, which
    then is looked at for what is not finite alone.
    """

    def __init__(self, tensors: Sequence[TensorInfo], *, finite: bool = True) -> None:
        self._wanted = [(each, _dtype(each), _sizes(each)) for each in tensors]
        self._finite = finite

    def problem(self, outputs: Any) -> tuple[str, str] | None:
        """Return (kind of fault, why) of an answer, None when it is sane."""
        if not isinstance(outputs, dict):
            return WRONG_SHAPE, f"the answer is a {type(outputs).__name__}"
        for tensor, dtype, sizes in self._wanted:
            why = _misfit(outputs.get(tensor.name), tensor, dtype, sizes)
            if why:
                return WRONG_SHAPE, f"{tensor.name!r} {why}"
        if self._finite:
            for name, value in outputs.items():
                if not is_finite(value):
                    return NOT_FINITE, f"{name!r} has values that are not finite"
        return None


def _dtype(tensor: TensorInfo) -> Any:
    try:
        return None if tensor.dtype == "str" else np.dtype(tensor.dtype)
    except TypeError:
        return tensor.dtype  # of an engine's own; no array has it


def _sizes(tensor: TensorInfo) -> tuple[tuple[int, int], ...] | None:
    """Return (axis, size) of the fixed axes, None where the shape may be any."""
    if tensor.shape == ("...",):
        return None
    return tuple((axis, size) for axis, size in enumerate(tensor.shape) if isinstance(size, int))


def _misfit(
    array: Any, tensor: TensorInfo, dtype: Any, sizes: tuple[tuple[int, int], ...] | None
) -> str:
    found = getattr(array, "dtype", None)
    if found is None:
        return "is missing" if array is None else f"is a {type(array).__name__}, no array"
    if found != dtype if dtype is not None else found.kind not in "OUS":
        return f"is {found}, not {tensor.dtype}"
    if sizes is None:
        return ""
    shape = array.shape
    if len(shape) != len(tensor.shape) or any(shape[axis] != size for axis, size in sizes):
        return f"has the shape {list(shape)}, not {list(tensor.shape)}"
    return ""


def is_finite(value: Any) -> bool:
    """Return whether a value holds neither NaN nor infinity, all the way down."""
    dtype = getattr(value, "dtype", None)
    if dtype is not None:
        return dtype.kind not in "fc" or bool(np.isfinite(value).all())
    if isinstance(value, float):
        return value - value == 0
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(is_finite, value))
    return True


def left_tolerance(
    expected: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], tolerance: float
) -> Iterator[str]:
    """Yield what of a baseline's outputs was not answered, as docs/formats/baseline.md says.

    ``expected`` are arrays by output, first axis = the rows; ``rows`` the answers, one a row.
    """
    for name, arrays in expected.items():
        scale = max((_largest(each) for each in arrays), default=0.0)
        for row, (want, answer) in enumerate(zip(arrays, rows)):
            why = _differs(np.asarray(want), answer.get(name), tolerance * scale)
            if why:
                yield f"{name!r} of sample {row} {why}"
                break


def _largest(array: Any) -> float:
    array = np.asarray(array)
    if array.dtype.kind not in "fc":
        return 0.0
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def _differs(want: Any, found: Any, allowed: float) -> str:
    if found is None:
        return "is gone"
    found = np.asarray(found)
    if found.shape != want.shape and found.shape == (1, *want.shape):
        found = found[0]
    if found.shape != want.shape:
        return f"has the shape {list(found.shape)}, not {list(want.shape)}"
    if want.dtype.kind not in "fc":
        same = (
            np.array_equal(want.astype(str), found.astype(str))
            if want.dtype.kind in "OUS"
            else (np.array_equal(want, found))
        )
        return "" if same else "differs"
    with np.errstate(all="ignore"):
        far = np.abs(found.astype(np.float64) - want.astype(np.float64))
    same = (found == want) | (np.isnan(found) & np.isnan(want))
    worst = float(np.where(same, 0.0, np.nan_to_num(far, nan=np.inf)).max(initial=0.0))
    return "" if worst <= allowed else f"differs by {worst:.4g}, allowed is {allowed:.4g}"
