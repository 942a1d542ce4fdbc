"""Columns of a table: each is filled, scaled and coded by itself, then they stand side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeops.runtime.features.checks import (
    Misfit,
    Option,
    either,
    flag,
    listed,
    number,
    optional,
    text,
    whole,
)
from edgeops.runtime.features.form import BadValue, Form, Run, StepType, Trace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FNV_START = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3
_MASK = (1 << 64) - 1
_MOST_TEXT = 1 << 16
_MOST_BUCKETS = 1 << 31
_MOST_WIDTH = 1 << 16
_MOST_WHOLE = 1 << 53


@dataclass(frozen=True)
class Column:
    """A column: its name, whether it holds numbers or text, and its steps."""

    name: str
    type: str
    steps: tuple[Run, ...]
    form: Form


def fnv1a(data: bytes) -> int:
    """Return the 64 bit FNV-1a hash."""
    found = _FNV_START
    for byte in data:
        found = ((found ^ byte) * _FNV_PRIME) & _MASK
    return found


def start(kind: str) -> Form:
    """Return the form of a column before its steps; a value a row."""
    return Form("numbers" if kind == "number" else "texts", (), "float64")


def numbers(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Return a column of numbers as float64, NaN where a value is missing."""
    found = np.empty(len(values), np.float64)
    for row, value in enumerate(values):
        if value is None:
            found[row] = math.nan
        elif isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
            found[row] = _float(value)
        else:
            raise BadValue(
                f"{_short(value)} is no number",
                "the column holds numbers; nothing is made of text silently",
                "give a number, or None where it is missing",
            )
    return found


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def texts(values: Sequence[Any]) -> list[str | None]:
    """Return a column of text, None where a value is missing."""
    found: list[str | None] = []
    for value in values:
        if value is None or (isinstance(value, (float, np.floating)) and math.isnan(value)):
            found.append(None)
        elif isinstance(value, str) and len(value) <= _MOST_TEXT:
            found.append(str(value))
        else:
            raise BadValue(
                f"{_short(value)} is no text of at most {_MOST_TEXT} characters",
                "the column holds text; nothing is made of numbers silently",
                "give str(value), or None where it is missing",
            )
    return found


def _short(value: Any) -> str:
    if isinstance(value, (str, bytes, int, float, bool)):
        if isinstance(value, int) and abs(value) > _MASK:
            return "a very large number"
        return repr(value[:40] if isinstance(value, (str, bytes)) else value)
    return type(value).__name__


def _fill(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    value = options["value"]
    if form.state == "texts":
        if not isinstance(value, str):
            raise Misfit("given text: the column holds text")
        return lambda column, _trace: [value if one is None else one for one in column], form
    if isinstance(value, str):
        raise Misfit("given a number: the column holds numbers")
    return lambda column, _trace: np.where(np.isnan(column), value, column), form


def _clip(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    least, most = options["least"], options["most"]
    low = -math.inf if least is None else least
    high = math.inf if most is None else most
    if low > high:
        raise Misfit("given a least that is not above most")
    return lambda column, _trace: np.minimum(np.maximum(column, low), high), form


def _standard(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    mean, std = options["mean"], options["std"]
    return lambda column, _trace: (column - mean) / std, form


def _minmax(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    least, span = options["least"], options["most"] - options["least"]
    if not span > 0 or math.isinf(span):
        raise Misfit("given a most above least")
    return lambda column, _trace: (column - least) / span, form


def _log1p(form: Form, _options: Mapping[str, Any]) -> tuple[Run, Form]:
    return lambda column, _trace: np.log1p(column), form


def _bucketize(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    edges = np.asarray(options["edges"], np.float64)
    if not (np.diff(edges) > 0).all():
        raise Misfit("given edges that rise")

    def run(column: Any, _trace: Trace) -> Any:
        _known(column)
        return np.searchsorted(edges, column, side="right").astype(np.float64)

    return run, replace(form, state="codes", channel=len(edges) + 1)


def _hash(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    buckets = options["buckets"]

    def run(column: Any, _trace: Trace) -> Any:
        _known(column)
        codes = [fnv1a(one.encode("utf-8", "surrogatepass")) % buckets for one in column]
        return np.asarray(codes, np.float64)

    return run, replace(form, state="codes", channel=buckets)


def _lower(form: Form, _options: Mapping[str, Any]) -> tuple[Run, Form]:
    return lambda column, _trace: [one and one.lower() for one in column], form


def _strip(form: Form, _options: Mapping[str, Any]) -> tuple[Run, Form]:
    return lambda column, _trace: [one and one.strip() for one in column], form


def _lookup(options: Mapping[str, Any], form: Form) -> tuple[dict[Any, int], int | None]:
    """Return the code of each value, and the code of one that is not listed (None: refused)."""
    values = options["values"]
    if any(isinstance(value, str) != (form.state == "texts") for value in values):
        raise Misfit("given values of the column's type")
    if len(set(values)) != len(values):
        raise Misfit("given each value once")
    return {value: code for code, value in enumerate(values)}, None


def _index(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    table, _ = _lookup(options, form)
    other = options["unknown"]

    def run(column: Any, _trace: Trace) -> Any:
        _known(column)
        return np.asarray([_code(table, one, other) for one in column], np.float64)

    return run, replace(form, state="codes", channel=max(len(table), (other or 0) + 1))


def _code(table: Mapping[Any, int], value: Any, other: int | None) -> int:
    code = table.get(value, other)
    if code is None:
        raise BadValue(
            f"{_short(value)} is not among the values of the column",
            "what is not listed is refused unless the document says what it becomes",
        )
    return code


def _one_hot(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    other = options["other"]
    if form.state == "codes":
        if options["values"] is not None:
            raise Misfit("without values after bucketize, hash or index: codes count from 0")
        depth = form.channel
        if depth > _MOST_WIDTH:
            raise Misfit(f"of at most {_MOST_WIDTH} codes, not {depth}")
        return lambda column, _trace: _spread(column.astype(np.intp), depth), replace(
            form, state="many", shape=(depth,)
        )
    if options["values"] is None:
        raise Misfit("given values")
    table, _ = _lookup(options, form)
    depth = len(table) + other

    def run(column: Any, _trace: Trace) -> Any:
        if not (other or options["ignore"]):
            _known(column)
        unknown = len(table) if other or options["ignore"] else None
        codes = np.asarray([_code(table, one, unknown) for one in column], np.intp)
        return _spread(codes, depth)

    return run, replace(form, state="many", shape=(depth,))


def _spread(codes: np.ndarray[Any, Any], depth: int) -> np.ndarray[Any, Any]:
    """Return a row of 0 with a 1 at each code; a code outside of it leaves all at 0."""
    made = np.zeros((len(codes), depth), np.float64)
    rows = np.flatnonzero(codes < depth)
    made[rows, codes[rows]] = 1.0
    return made


def _known(column: Any) -> None:
    """Refuse a column in which a value is missing that no step has filled."""
    missing = (
        np.isnan(column).any()
        if isinstance(column, np.ndarray)
        else any(one is None for one in column)
    )
    if missing:
        raise BadValue(
            "a value is missing (None, NaN or no such key)",
            "no step fills it",
            "give it, or add fill to the column's steps",
        )


_BOUNDS = {"least": Option(optional(number()), None), "most": Option(optional(number()), None)}
_VALUES = listed(either(text, number()))
_FILL = StepType({"value": Option(either(number(), text))}, _fill, short="value")
_ONE_HOT = StepType(
    {
        "values": Option(optional(_VALUES), None),
        "other": Option(flag, default=False),
        "ignore": Option(flag, default=False),
    },
    _one_hot,
    short="values",
)
_INDEX = StepType(
    {"values": Option(_VALUES), "unknown": Option(optional(whole(0, _MOST_WIDTH)), None)},
    _index,
    short="values",
)

STEPS = {
    "numbers": {
        "fill": _FILL,
        "clip": StepType(_BOUNDS, _clip),
        "standard": StepType(
            {"mean": Option(number()), "std": Option(number(above=0.0))}, _standard
        ),
        "minmax": StepType({"least": Option(number()), "most": Option(number())}, _minmax),
        "log1p": StepType({}, _log1p),
        "bucketize": StepType({"edges": Option(listed(number()))}, _bucketize, short="edges"),
        "one_hot": _ONE_HOT,
        "index": _INDEX,
    },
    "texts": {
        "fill": _FILL,
        "lower": StepType({}, _lower),
        "strip": StepType({}, _strip),
        "hash": StepType({"buckets": Option(whole(1, _MOST_BUCKETS))}, _hash, short="buckets"),
        "one_hot": _ONE_HOT,
        "index": _INDEX,
    },
    "codes": {"one_hot": _ONE_HOT},
    "many": {},
}
