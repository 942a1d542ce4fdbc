"""What runs: a program an input, which reads a value and takes its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from edgeops.errors import InputError
from edgeops.runtime.features.array import as_dtype
from edgeops.runtime.features.checks import nearest
from edgeops.runtime.features.columns import numbers, texts
from edgeops.runtime.features.form import BadValue, Placement, Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.runtime.features.columns import Column
    from edgeops.runtime.features.form import Form, Run

Array = np.ndarray[Any, Any]
Placements = tuple[Union[Placement, None], ...]


@dataclass(frozen=True)
class Steps:
    """An input that is made value by value."""

    name: str
    read: Run
    steps: tuple[Run, ...]
    form: Form

    def many(self, values: Sequence[Any]) -> tuple[Array, Placements]:
        """Return the array of several values, first axis = samples, and where pixels went."""
        made = []
        traces = [Trace() for _ in values]
        for row, (value, trace) in enumerate(zip(values, traces)):
            try:
                made.append(self._one(value, trace))
            except BadValue as bad:
                raise refused(self.name, bad, row if len(values) > 1 else None) from bad
        return stacked(self.name, made), tuple(trace.placement for trace in traces)

    def _one(self, value: Any, trace: Trace) -> Array:
        found = self.read(value, trace)
        for step in self.steps:
            found = step(found, trace)
        if isinstance(found, str):
            return np.array(found, dtype=object)
        made = found if isinstance(found, np.ndarray) else np.asarray(found)
        check_finite(made)
        return made


@dataclass(frozen=True)
class Columns:
    """An input of columns: made column by column for all rows at once."""

    name: str
    columns: tuple[Column, ...]
    dtype: np.dtype[Any]
    extra: bool
    steps: tuple[Run, ...]
    form: Form

    def many(self, values: Sequence[Any]) -> tuple[Array, Placements]:
        """Return [rows, width] for several rows, then whatever the steps of the input make."""
        try:
            rows = [self._row(value) for value in values]
        except BadValue as bad:
            raise refused(self.name, bad) from bad
        parts = []
        for column, given in zip(self.columns, zip(*rows)):
            try:
                part = _column(column, given)
            except BadValue as bad:
                raise refused(f"{self.name}.{column.name}", bad) from bad
            parts.append(part if part.ndim == 2 else part[:, None])  # noqa: PLR2004
        try:
            table = as_dtype(np.concatenate(parts, axis=1), self.dtype)
            made = [self._stepped(row) for row in table] if self.steps else table
            check_finite(made if isinstance(made, np.ndarray) else np.asarray(made))
        except BadValue as bad:
            raise refused(self.name, bad) from bad
        found = made if isinstance(made, np.ndarray) else stacked(self.name, made)
        return found, (None,) * len(values)

    def _stepped(self, row: Array) -> Array:
        trace = Trace()
        for step in self.steps:
            row = step(row, trace)
        return row

    def _row(self, value: Any) -> list[Any]:
        """Return the values of one row in the order of the columns, None where one is missing."""
        names = [column.name for column in self.columns]
        if isinstance(value, Mapping):
            unknown = [] if self.extra else [key for key in value if key not in names]
            if unknown:
                raise BadValue(
                    f"there is no column {str(unknown[0])[:60]!r}",
                    f"the columns are {', '.join(names)}"[:400],
                    nearest(str(unknown[0]), names),
                )
            return [value.get(name) for name in names]
        if isinstance(value, np.ndarray) and value.ndim == 1:
            value = value.tolist()
        if not isinstance(value, (list, tuple)) or len(value) != len(names):
            size = f" of {len(value)}" if isinstance(value, (list, tuple)) else ""
            raise BadValue(
                f"a row cannot be {type(value).__name__}{size}",
                f"a row is a mapping by column, or {len(names)} values in their order",
            )
        return list(value)


def _column(column: Column, given: Sequence[Any]) -> Array:
    found: Any = numbers(given) if column.type == "number" else texts(given)
    trace = Trace()
    for step in column.steps:
        found = step(found, trace)
    made: Array = found
    absent = np.isnan(made)
    if absent.any():
        row = int(np.flatnonzero(absent)[0])
        if column.type == "number" and not np.isnan(numbers(given)[row]):
            raise BadValue(
                f"{given[row]!r} becomes NaN",
                "a step cannot take it: log1p is of more than -1",
                "mend the value, or add clip to the column's steps",
            )
        raise BadValue(
            "a value is missing (None, NaN or no such key)",
            "no step fills it",
            "give it, or add fill to the column's steps",
        )
    return made


def check_finite(found: Array) -> None:
    """Refuse an array of floats that holds NaN or infinity."""
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        count = int(found.size - np.isfinite(found).sum())
        raise BadValue(
            f"{count} of {found.size} features are NaN or infinite",
            "the value holds NaN or infinity, or a step made it (a logarithm of 0)",
            "mend the value, or add fill, clip or an offset to the steps",
        )


def stacked(name: str, arrays: Sequence[Array]) -> Array:
    """Return arrays as one with a first axis of samples."""
    if len(arrays) == 1:
        return arrays[0][None]
    if len({array.shape for array in arrays}) > 1:
        shapes = sorted({str(list(array.shape)) for array in arrays})
        bad = BadValue(
            "the samples of one batch differ in shape",
            f"they are {', '.join(shapes)}"[:400],
            "give them one by one, or bring them to one size by a step",
        )
        raise refused(name, bad)
    return np.stack(arrays)


def refused(name: str, bad: BadValue, row: int | None = None) -> InputError:
    """Return the error of a value that cannot be made into features."""
    where = name if row is None else f"{name}[{row}]"
    return InputError(
        "feature-input",
        f"{where}: {bad.what}",
        where=where,
        why=bad.why or "the features of the bundle cannot be made of it",
        fix=bad.fix or "see docs/formats/features.md for what an input takes",
    )
