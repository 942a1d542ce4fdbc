"""The features of a bundle: raw inputs by name become what the model takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from edgeops.errors import InputError
from edgeops.runtime.features.checks import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.core.variant import TensorInfo
    from edgeops.runtime.features.form import Form, Placement
    from edgeops.runtime.features.program import Columns, Placements, Steps

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class RawInput:
    """What ``predict`` takes under a name; ``shape`` and ``dtype`` are those of an array for it.

    ``kind`` is ``image``, ``audio``, ``columns``, ``text``, ``bytes`` or ``tensor``. Names in
    ``shape`` stand for any size.
    """

    name: str
    kind: str
    shape: tuple[int | str, ...]
    dtype: str
    program: Union[Steps, Columns]  # noqa: UP007 - read by dataclass on Python 3.9 as well

    @property
    def form(self) -> Form:
        """What comes out for one sample."""
        return self.program.form

    def to_json(self) -> dict[str, Any]:
        """Return the input as JSON."""
        shape = list(self.shape)
        return {"name": self.name, "kind": self.kind, "shape": shape, "dtype": self.dtype}


@dataclass(frozen=True)
class Output:
    """A model input: the feature inputs that make it, side by side on the last axis."""

    tensor: TensorInfo
    names: tuple[str, ...]
    batch: bool


class Made(dict[str, Array]):
    """The arrays by model input, and what answers are mapped back by.

    ``meta`` holds for each image input a :class:`Placement` a sample. ``extra`` holds the arrays
    of inputs that no model input is made of: rules may read them.
    """

    meta: dict[str, tuple[Placement, ...]]
    extra: dict[str, Array]


class Features:
    """Preprocessing, the same on the workbench and on the device.

    ``inputs`` says what raw values are taken, ``outputs`` what the model is given. Calling it
    makes the features of one sample, :meth:`batch` those of several. It keeps nothing between
    calls and may be called from several threads at once.
    """

    def __init__(self, inputs: Mapping[str, RawInput | None], outputs: tuple[Output, ...]) -> None:
        self._inputs = {key: item for key, item in inputs.items() if item is not None}
        self._outputs = outputs
        self.inputs: tuple[RawInput, ...] = tuple(self._inputs.values())
        self.outputs: tuple[TensorInfo, ...] = tuple(item.tensor for item in outputs)
        self._used = {name for item in outputs for name in item.names}

    def __call__(self, inputs: Mapping[str, Any]) -> Made:
        """Return the arrays by model input for one sample; the first axis is 1.

        Raises InputError ``feature-input``, and MissingError ``pillow-missing`` for an image file
        where Pillow is not installed.
        """
        return self.batch((inputs,))

    def batch(self, samples: Sequence[Mapping[str, Any]]) -> Made:
        """Return the arrays by model input for several samples; the first axis counts them.

        Raises as a call does, and InputError ``feature-input`` where shapes differ among the
        samples, or where a model input without an axis of samples is made from more than one.
        """
        if not samples:
            raise InputError(
                "feature-input",
                "no sample was given",
                why="a batch has at least one",
                fix="give one",
            )
        for sample in samples:
            self._check_names(sample)
        parts: dict[str, Array] = {}
        placements: dict[str, Placements] = {}
        # What is not finite is refused in words; numpy need not say it as well.
        with np.errstate(all="ignore"):
            for name, item in self._inputs.items():
                values = [sample[name] for sample in samples]
                parts[name], placements[name] = item.program.many(values)
        made = Made()
        for output in self._outputs:
            made[output.tensor.name] = _output(output, parts)
        made.meta = {
            name: tuple(one for one in found if one is not None)
            for name, found in placements.items()
            if found[0] is not None
        }
        made.extra = {name: part for name, part in parts.items() if name not in self._used}
        return made

    def _check_names(self, sample: Any) -> None:
        given = set(sample) if isinstance(sample, Mapping) else None
        if given == set(self._inputs):
            return
        known = [*self._inputs]
        if given is None:
            what, fix = f"the inputs cannot be {type(sample).__name__}", "give a mapping by name"
        elif given - set(known):
            name = min(map(str, given - set(known)))
            what, fix = f"there is no input {name[:60]!r}", nearest(name, known)
        else:
            name = min(set(known) - given)
            what, fix = f"the input {name!r} was not given", f"give {name}"
        why = f"the inputs are {', '.join(f'{item.name} ({item.kind})' for item in self.inputs)}"
        raise InputError("feature-input", what, why=why[:400], fix=fix)


def _output(output: Output, parts: Mapping[str, Array]) -> Array:
    arrays = [parts[name] for name in output.names]
    if len(arrays) > 1 and len({array.shape[:-1] for array in arrays}) > 1:
        shapes = ", ".join(str(list(array.shape)) for array in arrays)
        raise InputError(
            "feature-input",
            f"the inputs of {output.tensor.name!r} do not fit each other",
            where=", ".join(output.names),
            why=f"they have the shapes {shapes}",
            fix="give values of one size",
        )
    found = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=-1)
    if output.batch:
        return found
    if len(found) > 1:
        raise InputError(
            "feature-input",
            f"{output.tensor.name!r} cannot be made for {len(found)} samples at once",
            where=", ".join(output.names),
            why="it has no axis of samples (batch: false)",
            fix="give the samples one by one",
        )
    whole: Array = found[0]
    return whole
