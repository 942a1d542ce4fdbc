"""What goes from step to step: the form that is known beforehand, and what a value leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.runtime.features.checks import Option

MOST_ELEMENTS = 1 << 27


class BadValue(Exception):
    """A value that cannot be made into features; what, why and fix are for people."""

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.fix = what, why, fix


@dataclass(frozen=True)
class Form:
    """What is known of a value before there is one.

    ``state`` says which steps may follow. ``shape`` is that of one sample, None where a size
    depends on the value. ``channel`` is the axis that per-channel figures belong to. ``rate`` is in
    Hz and ``fft`` in samples, 0 where there is none.
    """

    state: str
    shape: tuple[int | None, ...]
    dtype: str
    channel: int = -1
    rate: int = 0
    fft: int = 0


@dataclass(frozen=True)
class Placement:
    """Where the pixels of an image went: ``model x = source x * scale_x + offset_x``, y alike.

    ``width`` and ``height`` are the source's after its orientation was applied, ``out_width`` and
    ``out_height`` the model's, all in pixels. ``swapped`` says that the layout gives the model
    width before height.
    """

    width: int
    height: int
    out_width: int
    out_height: int
    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0
    swapped: bool = False

    def to_source(
        self, points: Any, *, fractions: bool = False, clip: bool = False
    ) -> np.ndarray[Any, Any]:
        """Return x, y, x, y, ... on the last axis as pixels of the source, float64.

        ``fractions`` tells that the model gives them as shares of its width and height. ``clip``
        keeps them within the source.
        """
        found = np.array(points, np.float64)
        x, y = found[..., 0::2].copy(), found[..., 1::2].copy()
        if self.swapped:
            x, y = y, x
        if fractions:
            x, y = x * self.out_width, y * self.out_height
        found[..., 0::2] = (x - self.offset_x) / self.scale_x
        found[..., 1::2] = (y - self.offset_y) / self.scale_y
        if clip:
            found[..., 0::2] = np.clip(found[..., 0::2], 0, self.width)
            found[..., 1::2] = np.clip(found[..., 1::2], 0, self.height)
        return found

    def moved(
        self, size: tuple[int, int], scale: tuple[float, float], offset: tuple[float, float]
    ) -> Placement:
        """Return the placement after x became ``x * scale + offset`` in an image of ``size``."""
        return replace(
            self,
            out_width=size[0],
            out_height=size[1],
            scale_x=self.scale_x * scale[0],
            scale_y=self.scale_y * scale[1],
            offset_x=self.offset_x * scale[0] + offset[0],
            offset_y=self.offset_y * scale[1] + offset[1],
        )


@dataclass
class Trace:
    """What a value leaves behind on its way: where its pixels went."""

    placement: Placement | None = None


Run = Callable[[Any, Trace], Any]


@dataclass(frozen=True)
class StepType:
    """A kind of step: its options, and what makes it for a form.

    ``make`` returns what runs and the form that comes out; it raises Misfit where the step does
    not fit. ``short`` is the option that a lone value stands for: ``{layout: NCHW}``. ``alone``
    says that each element is changed by itself, ``moves`` that elements are moved and not changed.
    """

    options: Mapping[str, Option]
    make: Callable[[Form, Mapping[str, Any]], tuple[Run, Form]]
    short: str = ""
    alone: bool = False
    moves: bool = False


@dataclass(frozen=True)
class Kind:
    """A kind of input: its own options, what reads a value, and the steps of each state.

    ``start`` gives the reader of values and the form that it makes, ``raw`` the shape and dtype of
    an array for it. ``open_states`` are those that no
    model can take, with what is missing.
    """

    options: Mapping[str, Option]
    start: Callable[[Mapping[str, Any]], tuple[Run, Form]]
    steps: Mapping[str, Mapping[str, StepType]]
    raw: Callable[[Mapping[str, Any]], tuple[tuple[int | str, ...], str]]
    open_states: Mapping[str, str] = field(default_factory=dict)


def elements(shape: tuple[int | None, ...]) -> int:
    """Return how many elements a shape has, unknown sizes counted as 1."""
    count = 1
    for size in shape:
        count *= 1 if size is None else size
    return count
