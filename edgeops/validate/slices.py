"""Slices: parts of the data set that figures are also given for, ``accuracy[light=night]``.

A slice is all samples that have one value of one key. Keys are not crossed with each other. What a
data set states is checked where it is read (``project.datasets``); here are the names and rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# Below this an interval is so wide that a person should be told.
SMALL = 30


def parts(slices: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of every slice, ``{"key=value": [samples] of True and False}``, in order."""
    import numpy as np

    found = {}
    for key, array in slices.items():
        texts = np.array(texts_of(array))
        for value in ordered(set(texts.tolist())):
            found[f"{key}={value}"] = texts == value
    return found


def texts_of(array: Any) -> list[str]:
    """Return the value of each sample as it stands in a name: ``night``, ``3``, ``true``."""
    if array.dtype.kind == "f":
        return [_number(float(value)) for value in array]
    if array.dtype.kind == "b":
        return [str(bool(value)).lower() for value in array]
    if array.dtype.kind == "S":
        return [value.decode() for value in array.tolist()]
    return [str(value) for value in array]


def ordered(values: set[str]) -> list[str]:
    """Return values sorted, numbers by their size."""

    def key(value: str) -> tuple[bool, float, str]:
        try:
            return (False, float(value), value)
        except ValueError:
            return (True, 0.0, value)

    return sorted(values, key=key)


def name(figure: str, part: str) -> str:
    """Return the name of a figure on a slice, ``accuracy`` and ``light=night``."""
    return f"{figure}[{part}]"


def figure_names(metric: str, slices: Mapping[str, Any], *, source: bool = True) -> tuple[str, ...]:
    """Return the names of all figures that slices add; losses only where there is a source."""
    figures = (metric, f"{metric}_drop") if source else (metric,)
    return tuple(name(figure, part) for part in parts(slices) for figure in figures)


def notes(slices: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a person should know of slices with few samples."""
    few = {part: int(rows.sum()) for part, rows in parts(slices).items() if rows.sum() < SMALL}
    if not few:
        return ()
    listed = ", ".join(f"{part} ({count})" for part, count in few.items())
    return (f"slices of fewer than {SMALL} samples say little, see their intervals: {listed}",)


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
