"""Steps: postprocessing in numpy, before any expression looks at a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from edgeops.runtime.rules.classification import read_classification
from edgeops.runtime.rules.detection import read_detection
from edgeops.runtime.rules.document import MOST_ENTRIES, Reader
from edgeops.runtime.rules.regression import read_regression

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Step(Protocol):
    """One step of a document."""

    @property
    def name(self) -> str:
        """The name that expressions and answers see."""

    @property
    def model(self) -> str:
        """The model whose outputs it looks at, "" for the target's own."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs it looks at; "" is the only one."""

    def run(
        self, outputs: Mapping[str, Any], labels: Sequence[str], meta: Mapping[str, Any]
    ) -> Any:
        """Return plain values; raises ValueError that says what of the outputs does not fit.

        ``outputs`` are one sample's, ``meta`` is what features say of how inputs were made.
        """

    def example(self) -> Any:
        """Return a value of the same types, which expressions are tried on."""


_READ: dict[str, Callable[[Reader, str, str], Step]] = {
    "classification": read_classification,
    "detection": read_detection,
    "regression": read_regression,
}


def read_steps(reader: Reader, models: Mapping[str, Any]) -> tuple[Step, ...]:
    """Return the steps of a document in their order; InputError ``rules-malformed``."""
    found: list[Step] = []
    for index, value in enumerate(reader.items("steps", MOST_ENTRIES)):
        about = Reader(value, reader.where, f"steps[{index}]")
        name = about.name("name")
        kind = about.choice("kind", ("", *_READ))
        if not kind:
            raise about.wrong("kind", "it is not there", f"use one of: {', '.join(_READ)}")
        model = about.text("model", "")
        if model and model not in models:
            raise about.wrong("model", f"models has no {model!r}", "name it under models first")
        if name in {step.name for step in found}:
            raise about.wrong("name", f"there are two steps called {name!r}")
        found.append(_READ[kind](about, name, model))
    return tuple(found)
