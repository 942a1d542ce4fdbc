"""The step ``regression``: the values of an output, scaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.runtime.rules.arrays import chosen, numbers
from edgeops.runtime.rules.expressions import MOST_VALUES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.runtime.rules.document import Reader

_MOST = 1e12


@dataclass(frozen=True)
class Regression:
    """``value * scale + offset`` of each value of an output."""

    name: str
    model: str
    output: str
    scale: float
    offset: float

    @property
    def outputs(self) -> tuple[str, ...]:
        """The output that holds the values."""
        return (self.output,)

    def run(
        self,
        outputs: Mapping[str, Any],
        labels: Sequence[str],  # noqa: ARG002 - what every step takes
        meta: Mapping[str, Any],  # noqa: ARG002
    ) -> list[float]:
        """Return the values of one sample in a row."""
        values = numbers(chosen(outputs, self.output), "the output").reshape(-1)
        if values.size > MOST_VALUES:
            message = f"the output has {values.size} values, and the step takes {MOST_VALUES}"
            raise ValueError(message)
        scaled = numbers(values * self.scale + self.offset, "what the step makes of the output")
        found: list[float] = scaled.tolist()
        return found

    def example(self) -> Any:
        """Return as many values as there may be."""
        return [0.5] * MOST_VALUES


def read_regression(about: Reader, name: str, model: str) -> Regression:
    """Return the step that a document describes."""
    step = Regression(
        name=name,
        model=model,
        output=about.text("output", ""),
        scale=about.number("scale", 1.0, -_MOST, _MOST),
        offset=about.number("offset", 0.0, -_MOST, _MOST),
    )
    about.end(("name", "kind", "model", "output", "scale", "offset"))
    return step
