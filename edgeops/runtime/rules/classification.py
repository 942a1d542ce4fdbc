"""The step ``classification``: scores to the best classes with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.runtime.rules.arrays import applied, chosen, numbers
from edgeops.runtime.rules.document import MOST_LABELS, Reader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_TOP = 100


@dataclass(frozen=True)
class Classification:
    """Scores of one sample, ``apply`` on them, the ``top`` best of at least ``least``."""

    name: str
    model: str
    output: str
    apply: str
    top: int
    least: float
    labels: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The output that holds the scores."""
        return (self.output,)

    def run(
        self,
        outputs: Mapping[str, Any],
        labels: Sequence[str],
        meta: Mapping[str, Any],  # noqa: ARG002 - what every step takes
    ) -> list[dict[str, Any]]:
        """Return ``{index, label, score}`` by falling score, of equal ones the lower index first."""
        import numpy as np

        scores = numbers(chosen(outputs, self.output), "the output of scores")
        if scores.size == 0 or scores.size != max(scores.shape, default=1):
            message = f"scores of one sample are a list, and here is {list(scores.shape)}"
            raise ValueError(message)
        if self.apply == "softmax" and scores.size == 1:
            message = "the softmax of a single score is always 1: apply sigmoid to it"
            raise ValueError(message)
        scores = applied(self.apply, scores.reshape(-1))
        if scores.size == 1:
            # One score is that of class 1 against class 0.
            scores = np.array([1.0 - scores[0], scores[0]])
        order = np.argsort(-scores, kind="stable")[: self.top]
        names = self.labels or labels
        return [
            {"index": int(index), "label": label(names, int(index)), "score": float(scores[index])}
            for index in order
            if scores[index] >= self.least
        ]

    def example(self) -> Any:
        """Return as many classes as there may be."""
        return [{"index": 0, "label": "", "score": 0.5}] * self.top


def label(names: Sequence[str], index: int) -> str:
    """Return the name of a class, its number where it has none."""
    return names[index] if index < len(names) else str(index)


def read_labels(about: Reader) -> tuple[str, ...]:
    """Return a step's own labels, which take the place of the bundle's."""
    found = about.items("labels", MOST_LABELS)
    if not all(isinstance(each, str) for each in found):
        raise about.wrong("labels", "they are not all texts", "quote them")
    return tuple(found)


def read_classification(about: Reader, name: str, model: str) -> Classification:
    """Return the step that a document describes."""
    step = Classification(
        name=name,
        model=model,
        output=about.text("output", ""),
        apply=about.choice("apply", ("none", "softmax", "sigmoid")),
        top=about.whole("top", 1, 1, MOST_TOP),
        least=about.number("least", float("-inf"), float("-inf"), float("inf")),
        labels=read_labels(about),
    )
    about.end(("name", "kind", "model", "output", "apply", "top", "least", "labels"))
    return step
