"""Steps on pixels: resize, letterbox, crop, centre_crop and layout."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeops.runtime.features import array
from edgeops.runtime.features.checks import Misfit, Option, choice, flag, number, optional, whole
from edgeops.runtime.features.form import BadValue, Form, Run, StepType, Trace
from edgeops.runtime.features.resize import resize as resized

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_SIDE = 16_384
_ORDERS = {"NHWC": (0, 1, 2), "NCHW": (2, 0, 1), "NWHC": (1, 0, 2), "NCWH": (2, 1, 0)}


def _mixable(form: Form) -> None:
    if form.dtype not in {"uint8", "float32"}:
        raise Misfit(f"put before pixels are made {form.dtype}")


def resize(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Bring the image to a size, or its shorter side to a length with the other in proportion."""
    _mixable(form)
    width, height, shortest = options["width"], options["height"], options["shortest"]
    if (width is None) != (height is None) or (shortest is None) == (width is None):
        raise Misfit("given width and height, or shortest alone")
    method, antialias = options["method"], options["antialias"]

    def run(value: Any, trace: Trace) -> Any:
        rows, columns = value.shape[:2]
        size = (width, height) if shortest is None else _proportion(columns, rows, shortest)
        _moved(trace, size, (size[0] / columns, size[1] / rows), (0.0, 0.0))
        return resized(value, size[0], size[1], method, antialias=antialias)

    return run, replace(form, shape=(height, width, form.shape[2]))


def _proportion(width: int, height: int, shortest: int) -> tuple[int, int]:
    factor = shortest / min(width, height)
    size = (_rounded(width * factor), _rounded(height * factor))
    if max(size) > _MOST_SIDE:
        raise BadValue(
            f"the image of {width} x {height} would become {size[0]} x {size[1]}",
            f"a side of more than {_MOST_SIDE} pixels is refused",
        )
    return size


def _rounded(size: float) -> int:
    return max(1, math.floor(size + 0.5))


def letterbox(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Fit the whole image into a size in proportion and fill what is left with ``pad``."""
    _mixable(form)
    width, height, pad = options["width"], options["height"], options["pad"]
    if form.dtype == "uint8" and not (0 <= pad <= 255 and pad == int(pad)):  # noqa: PLR2004
        raise Misfit("given a pad from 0 to 255 for uint8 pixels")
    method, antialias = options["method"], options["antialias"]

    def run(value: Any, trace: Trace) -> Any:
        rows, columns, channels = value.shape
        factor = min(width / columns, height / rows)
        size = min(width, _rounded(columns * factor)), min(height, _rounded(rows * factor))
        left, top = (width - size[0]) // 2, (height - size[1]) // 2
        if options["anchor"] == "top_left":
            left, top = 0, 0
        _moved(trace, (width, height), (size[0] / columns, size[1] / rows), (left, top))
        made = np.full((height, width, channels), pad, value.dtype)
        part = resized(value, size[0], size[1], method, antialias=antialias)
        made[top : top + size[1], left : left + size[0]] = part
        return made

    return run, replace(form, shape=(height, width, form.shape[2]))


def crop(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Keep a rectangle, ``x`` and ``y`` from the upper left."""
    return _crop(form, options, lambda _columns, _rows: (options["x"], options["y"]))


def centre_crop(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Keep the middle: ``x = floor((width of the image - width) / 2)``, y alike."""
    width, height = options["width"], options["height"]
    return _crop(
        form, options, lambda columns, rows: ((columns - width) // 2, (rows - height) // 2)
    )


def _crop(form: Form, options: Mapping[str, Any], corner: Any) -> tuple[Run, Form]:
    width, height = options["width"], options["height"]
    if form.shape[0] is not None and form.shape[1] is not None:
        told = _outside(corner(form.shape[1], form.shape[0]), (width, height), form.shape)
        if told:
            raise Misfit(f"within the picture: {told}")

    def run(value: Any, trace: Trace) -> Any:
        rows, columns = value.shape[:2]
        x, y = corner(columns, rows)
        told = _outside((x, y), (width, height), value.shape)
        if told:
            raise BadValue(
                "the part to keep leaves the picture",
                told,
                "send a larger picture, or resize before",
            )
        _moved(trace, (width, height), (1.0, 1.0), (-x, -y))
        return value[y : y + height, x : x + width]

    return run, replace(form, shape=(height, width, form.shape[2]))


def _outside(at: tuple[int, int], size: tuple[int, int], shape: Any) -> str:
    """Return in words that a part leaves the picture, nothing when it does not."""
    if min(at) >= 0 and at[0] + size[0] <= shape[1] and at[1] + size[1] <= shape[0]:
        return ""
    return f"{size[0]} x {size[1]} at {at[0]}, {at[1]} of {shape[1]} x {shape[0]}"


def layout(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Put the axes in the model's order; N is the axis of samples, which is added at the end."""
    order = _ORDERS[options["order"]]
    shape = tuple(form.shape[axis] for axis in order)

    def run(value: Any, trace: Trace) -> Any:
        if trace.placement is not None:
            trace.placement = replace(trace.placement, swapped=order.index(1) < order.index(0))
        return np.ascontiguousarray(value.transpose(order))

    return run, replace(form, state="array", shape=shape, channel=order.index(2))


def _moved(
    trace: Trace, size: tuple[int, int], scale: tuple[float, float], offset: tuple[float, float]
) -> None:
    if trace.placement is not None:
        trace.placement = trace.placement.moved(size, scale, offset)


_SIDE = whole(1, _MOST_SIDE)
_MIX = {
    "method": Option(choice("bilinear", "nearest"), "bilinear"),
    "antialias": Option(flag, default=True),
}
_SIZE = {"width": Option(_SIDE), "height": Option(_SIDE)}
_ANY_ORDER = {name: array.STEPS[name] for name in ("normalize", "clip", "cast", "quantize")}

STEPS = {
    "pixels": {
        "resize": StepType(
            {
                "width": Option(optional(_SIDE), None),
                "height": Option(optional(_SIDE), None),
                "shortest": Option(optional(_SIDE), None),
                **_MIX,
            },
            resize,
        ),
        "letterbox": StepType(
            {
                **_SIZE,
                "pad": Option(number(), 0.0),
                "anchor": Option(choice("centre", "top_left"), "centre"),
                **_MIX,
            },
            letterbox,
        ),
        "crop": StepType(
            {
                "x": Option(whole(0, _MOST_SIDE)),
                "y": Option(whole(0, _MOST_SIDE)),
                **_SIZE,
            },
            crop,
        ),
        "centre_crop": StepType(_SIZE, centre_crop),
        "layout": StepType({"order": Option(choice(*_ORDERS))}, layout, short="order", moves=True),
        **_ANY_ORDER,
    },
    "array": array.STEPS,
}
