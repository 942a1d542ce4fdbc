"""Steps on arrays of numbers, whatever made them: normalize, clip, log, cast, quantize, reshape."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeops.runtime.features.checks import (
    Misfit,
    Option,
    choice,
    either,
    listed,
    number,
    optional,
    whole,
)
from edgeops.runtime.features.form import (
    MOST_ELEMENTS,
    BadValue,
    Form,
    Run,
    StepType,
    Trace,
    elements,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

DTYPES = ("float32", "float16", "float64", "int8", "uint8", "int16", "int32", "int64", "bool")
_FLOATS = ("float16", "float32", "float64")
_MOST_SIZE = 1 << 24
_FIGURES = either(number(), listed(number()))
_BASES = {"e": 1.0, "2": math.log(2.0), "10": math.log(10.0), "db": math.log(10.0) / 10.0}


def normalize(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """``(x * scale - mean) / std`` in float32, per channel where mean or std is a list."""
    mean, std = (_figures(form, options[key], key) for key in ("mean", "std"))
    scale = np.float32(options["scale"])
    if not np.all(std) or not np.isfinite(scale):
        raise Misfit("given a std other than 0 and a scale that fits into float32")
    if mean.size > 1 and std.size > 1 and mean.size != std.size:
        raise Misfit("given as many figures for mean as for std")

    size = max(mean.size, std.size)

    def run(value: Any, _trace: Trace) -> Any:
        if size > 1 and value.shape[form.channel] != size:
            raise BadValue(
                f"there are {value.shape[form.channel]} channels", f"{size} are to be normalized"
            )
        found = value.astype(np.float32)
        if scale != 1:
            found *= scale
        for figures, change in ((mean, np.subtract), (std, np.divide)):
            rows, spread = _side_by_side(found, figures)
            change(rows, spread, out=rows)
        return found

    return run, replace(form, dtype="float32")


def _side_by_side(found: Any, figures: Any) -> tuple[Any, Any]:
    """Return the array and figures of its last axis so that numpy works on long rows, not on 3."""
    last = figures.size > 1 and figures.size == figures.shape[-1]
    if not last or found.ndim < 3 or not found.flags.c_contiguous:  # noqa: PLR2004
        return found, figures
    width = found.shape[-2]
    return found.reshape(-1, width * figures.size), np.tile(figures.ravel(), width)


def _figures(form: Form, value: Any, key: str) -> np.ndarray[Any, Any]:
    """Return a number, or one a channel shaped to be spread over the array."""
    found = np.asarray(value, np.float32)
    if not np.isfinite(found).all():
        raise Misfit(f"given {key} that fits into float32")
    if not found.ndim:
        return found
    if not form.shape:
        raise Misfit(f"given one number for {key}: there are no channels")
    size = form.shape[form.channel]
    if size is not None and size != found.size:
        raise Misfit(f"given one number a channel for {key}: {size}, not {found.size}")
    around = [1] * len(form.shape)
    around[form.channel] = -1
    return found.reshape(around)


def standardize(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """``(x - mean(x)) / sqrt(var(x) + epsilon)`` over the whole sample, or along one axis."""
    axis = options["axis"]
    if axis is not None and not -len(form.shape) <= axis < len(form.shape):
        raise Misfit(f"given an axis of the {len(form.shape)}")
    epsilon = options["epsilon"]

    def run(value: Any, _trace: Trace) -> Any:
        if not value.size:
            raise BadValue("there is nothing to standardize", "the array is empty")
        found = value.astype(np.float64)
        found -= found.mean(axis=axis, keepdims=True)
        found /= np.sqrt((found * found).mean(axis=axis, keepdims=True) + epsilon)
        return found.astype(np.float32)

    return run, replace(form, dtype="float32")


def clip(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Bring what is below ``least`` or above ``most`` to it."""
    least, most = options["least"], options["most"]
    if least is not None and most is not None and least > most:
        raise Misfit("given a least that is not above most")
    dtype = np.dtype(form.dtype)
    if dtype.kind not in "fiu":
        raise Misfit(f"put before arrays of {dtype}: these have no order")
    low, high = _bounds(dtype)
    least = low if least is None else min(max(least, low), high)
    most = high if most is None else min(max(most, low), high)
    ends = (dtype.type(math.ceil(least)), dtype.type(math.floor(most)))
    if dtype.kind == "f":
        ends = (dtype.type(least), dtype.type(most))
    return lambda value, _trace: np.minimum(np.maximum(value, ends[0]), ends[1]), form


def _bounds(dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def log(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """``log(max(x, floor) + offset)`` to a base; ``db`` is 10 log10."""
    floor, offset, per = options["floor"], options["offset"], 1.0 / _BASES[options["base"]]

    def run(value: Any, _trace: Trace) -> Any:
        found = np.maximum(value, floor) if floor is not None else value
        return (np.log(found.astype(np.float64) + offset) * per).astype(np.float32)

    return run, replace(form, dtype="float32")


def fill(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Put a number where there is NaN."""
    value = np.float32(options["value"])
    if form.dtype not in _FLOATS:
        raise Misfit(f"put where there can be NaN, not in {form.dtype}")
    return lambda array, _trace: np.where(np.isnan(array), value.astype(array.dtype), array), form


def cast(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Change the dtype; floats to integers by rounding half to even and clipping, never wrapping."""
    dtype = np.dtype(options["dtype"])
    return lambda value, _trace: as_dtype(value, dtype), replace(form, dtype=str(dtype))


def as_dtype(value: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return an array in a dtype; what is outside of an integer's range becomes its end."""
    if dtype.kind == "b" and value.dtype.kind == "f" and np.isnan(value).any():
        raise BadValue("there is NaN where true or false is made", "NaN is neither")
    if dtype.kind not in "iu" or np.can_cast(value.dtype, dtype, "safe"):
        return value.astype(dtype, copy=False)
    if value.dtype.kind == "f":
        value = np.rint(value.astype(np.float64))
        if np.isnan(value).any():
            raise BadValue("there is NaN where whole numbers are made", "NaN is no number")
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    found = value.astype(dtype)
    found[value <= least] = least
    found[value >= most] = most
    return found


def quantize(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """``clip(round(x / scale) + zero_point)`` with float32 division, rounding half to even."""
    dtype = np.dtype(options["dtype"])
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    if not least <= options["zero_point"] <= most:
        raise Misfit(f"given a zero_point from {least} to {most}")
    scale, zero = np.float32(options["scale"]), np.float32(options["zero_point"])
    if not scale > 0 or not np.isfinite(scale):
        raise Misfit("given a scale that is a positive float32")

    def run(value: Any, _trace: Trace) -> Any:
        found = np.rint(value.astype(np.float32) / scale) + zero
        if np.isnan(found).any():
            raise BadValue("there is NaN where whole numbers are made", "NaN is no number")
        return np.clip(found, least, most).astype(dtype)

    return run, replace(form, dtype=str(dtype))


def reshape(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Give one sample another shape; one size may be -1."""
    wanted = options["shape"]
    if wanted.count(-1) > 1:
        raise Misfit("given a shape with at most one -1")
    known = all(size is not None for size in form.shape)
    left = math.prod(size for size in wanted if size != -1)
    if known:
        count = elements(form.shape)
        if (count != left) if -1 not in wanted else (not left or count % left):
            raise Misfit(f"given a shape of the {count} elements of {list(form.shape)}")
    whole_shape = tuple(
        (elements(form.shape) // left if known else None) if size == -1 else size for size in wanted
    )

    def run(value: Any, _trace: Trace) -> Any:
        try:
            return value.reshape(wanted)
        except ValueError:
            raise BadValue(
                f"{value.size} elements cannot take the shape {list(wanted)}",
                "the value has another size than the document counts on",
            ) from None

    return run, replace(form, state="array", shape=whole_shape, channel=-1)


def transpose(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Change the order of the axes of one sample."""
    order = options["axes"]
    if sorted(order) != list(range(len(form.shape))):
        raise Misfit(f"given each axis from 0 to {len(form.shape) - 1} once")
    shape = tuple(form.shape[axis] for axis in order)
    return lambda value, _trace: value.transpose(order), replace(
        form, state="array", shape=shape, channel=-1
    )


def stack(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Put ``count`` rows that follow each other side by side, every ``step`` rows."""
    count, step = options["count"], options["step"]
    if len(form.shape) != 2:  # noqa: PLR2004
        raise Misfit(f"given an array of two axes, not {len(form.shape)}")
    rows, width = form.shape
    if rows is not None and rows < count:
        raise Misfit(f"given at least {count} rows, not {rows}")

    def run(value: Any, _trace: Trace) -> Any:
        if len(value) < count:
            raise BadValue(f"there are only {len(value)} rows", f"{count} are put side by side")
        first = range(0, len(value) - count + 1, step)
        if len(first) * count * value.shape[1] > MOST_ELEMENTS:
            raise BadValue("the rows would become too many", f"{MOST_ELEMENTS} elements at most")
        index = np.asarray(first)[:, None] + np.arange(count)
        return value[index].reshape(len(first), -1)

    shape = (
        None if rows is None else 1 + (rows - count) // step,
        None if width is None else width * count,
    )
    return run, replace(form, state="array", shape=shape, channel=-1)


STEPS: dict[str, StepType] = {
    "normalize": StepType(
        {
            "mean": Option(_FIGURES, 0.0),
            "std": Option(_FIGURES, 1.0),
            "scale": Option(number(), 1.0),
        },
        normalize,
        alone=True,
    ),
    "standardize": StepType(
        {
            "axis": Option(optional(whole(-8, 7)), None),
            "epsilon": Option(number(least=0.0), 1e-12),
        },
        standardize,
    ),
    "clip": StepType(
        {"least": Option(optional(number()), None), "most": Option(optional(number()), None)},
        clip,
        alone=True,
    ),
    "log": StepType(
        {
            "offset": Option(number(least=0.0), 0.0),
            "floor": Option(optional(number(least=0.0)), None),
            "base": Option(choice(*_BASES), "e"),
        },
        log,
    ),
    "fill": StepType({"value": Option(number())}, fill, short="value"),
    "cast": StepType({"dtype": Option(choice(*DTYPES))}, cast, short="dtype", alone=True),
    "quantize": StepType(
        {
            "scale": Option(number(above=0.0)),
            "zero_point": Option(whole(-(1 << 15), 1 << 15), 0),
            "dtype": Option(choice("int8", "uint8", "int16"), "int8"),
        },
        quantize,
        alone=True,
    ),
    "reshape": StepType(
        {"shape": Option(listed(either(whole(1, _MOST_SIZE), whole(-1, -1)), most=8))},
        reshape,
        short="shape",
    ),
    "stack": StepType(
        {"count": Option(whole(1, 1 << 12)), "step": Option(whole(1, 1 << 12), 1)}, stack
    ),
    "transpose": StepType({"axes": Option(listed(whole(0, 7), most=8))}, transpose, short="axes"),
}
