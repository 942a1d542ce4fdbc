"""What a data set says of its samples beside the model's inputs: labels of any number, and slices.

``labels:rows``  how many rows of ``labels`` belong to each sample, in order, where their number
                 differs (the boxes in an image); without it the first axis of ``labels`` counts
                 samples like any other.
``slice:<key>``  one value a sample: figures are given for each value too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edgeops.core.gates import REVISION
from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LABELS = "labels"
ROWS = "labels:rows"
SLICE = "slice:"
MOST_VALUES = 100
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
# What stands in `accuracy[light=night]` and in a shell, a YAML key or a table without trouble.
_VALUE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff\[\]=,\"']{1,64}")
# Above this, double precision does not tell whole numbers apart.
_MOST_WHOLE = 2.0**53
_SHOWN = 5


def is_text(name: str) -> bool:
    """Return whether a column of that name may hold text."""
    return name == LABELS or name.startswith(SLICE)


def labels_of(arrays: Mapping[str, Any], where: str) -> Any:
    """Return the labels, ``[samples, ...]`` or an array of one array a sample; None without any.

    Raises InputError ``labels-rows``.
    """
    import numpy as np

    if ROWS not in arrays:
        return arrays.get(LABELS)
    rows, labels = arrays[ROWS], arrays.get(LABELS, np.zeros(()))
    why = ""
    if labels.ndim == 0:
        why = "there are no rows in labels"
    elif rows.ndim != 1 or rows.dtype.kind not in "iu" or (rows < 0).any():
        why = f"{ROWS} is {rows.dtype}{list(rows.shape)}: it counts rows, one number a sample"
    elif int(rows.sum()) != len(labels):
        why = f"{ROWS} adds up to {int(rows.sum())}, and labels has {len(labels)} rows"
    if why:
        raise InputError(
            "labels-rows",
            "the rows of labels cannot be told to samples",
            where=where,
            why=why,
            fix="save labels with the rows of all samples one after the other, and labels:rows "
            "with the number of rows of each",
        )
    found = np.empty(len(rows), dtype=object)
    for index, part in enumerate(np.split(labels, np.cumsum(rows)[:-1]) if len(rows) else []):
        found[index] = part
    return found


def slices_of(arrays: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the slices by key; InputError ``slice-key``, ``slice-shape``, ``slice-value``, ``slice-many``."""
    named = {name: array for name, array in arrays.items() if name.startswith(SLICE)}
    return {name[len(SLICE) :]: _checked(name, array, where) for name, array in named.items()}


def flattened(batches: Sequence[Any]) -> dict[str, Any]:
    """Return ``labels`` and, where samples have different numbers of rows, ``labels:rows``.

    Each of ``batches`` is an array ``[samples, ...]`` or a list of one array a sample.
    """
    import numpy as np

    plain = [getattr(batch, "dtype", np.dtype(object)).kind != "O" for batch in batches]
    if all(plain) and len({batch.shape[1:] for batch in batches}) == 1:
        return {LABELS: np.concatenate(list(batches))}
    parts = [np.asarray(row) for batch in batches for row in batch]
    if len({part.shape for part in parts}) == 1:
        return {LABELS: np.stack(parts)}
    filled = [part for part in parts if len(part)]
    return {LABELS: np.concatenate(filled), ROWS: np.array([len(part) for part in parts])}


def _checked(name: str, array: Any, where: str) -> Any:
    import numpy as np

    key = name[len(SLICE) :]
    if not _KEY.fullmatch(key) or key == REVISION:
        raise InputError(
            "slice-key",
            f"{name!r} is no name for a slice",
            where=where,
            why="metric[rev=...] is against a git revision"
            if key == REVISION
            else "a figure is called metric[key=value] by it, in gates and reports",
            fix="call the array slice:KEY, KEY of letters, digits, _ . and -, a letter first, "
            f"and not {REVISION}",
        )
    if array.ndim != 1 or array.dtype.kind not in "iubfUS":
        raise InputError(
            "slice-shape",
            f"{name!r} does not say one value a sample",
            where=where,
            why=f"it is {array.dtype}{list(array.shape)}",
            fix="save one text, whole number or truth value a sample",
        )
    values = np.unique(array)
    if len(values) > MOST_VALUES:
        raise InputError(
            "slice-many",
            f"{name!r} has {len(values)} different values",
            where=where,
            why=f"each is a part of its own with figures of its own; at most {MOST_VALUES} are read",
            fix="group the values (hours into day and night), or leave the array out",
        )
    bad = [value for value in values.tolist() if not _fits(value)]
    if bad:
        raise InputError(
            "slice-value",
            f"{name!r} has values that no figure can be called by",
            where=where,
            why=", ".join(repr(value) for value in bad[:_SHOWN]),
            fix="use whole numbers or text of 1 to 64 characters without []=,\"' and line ends",
        )
    return array


def _fits(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer() and abs(value) < _MOST_WHOLE
    if isinstance(value, bytes):
        return value.isascii() and _fits(value.decode())
    return bool(_VALUE.fullmatch(str(value))) and str(value) == str(value).strip()
