"""The step ``detection``: what a detector answers to boxes with labels and scores.

Two forms: ``ssd``, an output of boxes ``[n, 4]`` beside one of scores ``[n, classes]``; ``yolo``,
one output ``[n, 4 + 1 + classes]`` of ``cx, cy, w, h``, how sure it is of an object, and classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.runtime.rules import boxes as geometry
from edgeops.runtime.rules.arrays import applied, chosen, numbers
from edgeops.runtime.rules.classification import label, read_labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.runtime.rules.document import Reader

MOST_DETECTIONS = 300
_CANDIDATES = 5_000
_MOST_SIZE = 65_536
_PAIR = 2
_MATRIX = 2


@dataclass(frozen=True)
class Priors:
    """Where an SSD's boxes are told from: strides, sizes of each in pixels, and variances."""

    strides: tuple[float, ...]
    sizes: tuple[tuple[float, ...], ...]
    variances: tuple[float, float]


@dataclass(frozen=True)
class Detection:
    """How boxes are decoded, chosen and brought back to the original image."""

    name: str
    model: str
    form: str
    boxes: str
    scores: str
    order: str
    units: str
    size: tuple[float, float] | None
    priors: Priors | None
    background: int
    objectness: bool
    columns: bool
    apply: str
    least: float
    overlap: float
    most: int
    by_class: bool
    image: str
    labels: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that hold boxes and scores."""
        return (self.boxes, self.scores) if self.form == "ssd" else (self.boxes,)

    def run(
        self, outputs: Mapping[str, Any], labels: Sequence[str], meta: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Return ``{index, label, score, box}`` by falling score; ``box`` is x1, y1, x2, y2.

        In pixels of the original image where features say how the input was made of it, else in
        pixels of the model's input where its size is known, else relative to it.
        """
        import numpy as np

        found, scores = self._read(outputs)
        classes = scores.argmax(axis=1)
        best = scores[np.arange(len(scores)), classes]
        # The best of what reaches the threshold, so that suppression ends soon on bad input.
        able = np.flatnonzero(best >= self.least)
        able = able[np.argsort(-best[able], kind="stable")][:_CANDIDATES]
        found, best, classes = self._corners(found, able), best[able], classes[able]
        groups = classes if self.by_class else np.zeros(len(classes), int)
        if not np.isfinite(found).all() or not np.isfinite(best).all():
            message = "boxes or scores come out as no finite numbers"
            raise ValueError(message)
        kept = geometry.suppressed(found, best, groups, overlap=self.overlap, most=self.most)
        corners = self._returned(found[kept], meta)
        names = self.labels or labels
        return [
            {"index": int(index), "label": label(names, int(index)), "score": float(score)}
            | {"box": box.tolist()}
            for index, score, box in zip(classes[kept], best[kept], corners)
        ]

    def example(self) -> Any:
        """Return as many boxes as there may be."""
        one = {"index": 0, "label": "", "score": 0.5, "box": [0.0, 0.0, 1.0, 1.0]}
        return [one] * self.most

    def _read(self, outputs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return boxes as the model writes them, and scores ``[n, classes]`` without background."""
        import numpy as np

        table = _matrix(chosen(outputs, self.boxes), "boxes", columns=self.columns)
        if self.form == "ssd":
            scores = _matrix(chosen(outputs, self.scores), "scores", columns=self.columns)
            scores = applied(self.apply, scores)
        else:
            # The activation is of each number by itself: softmax is not offered here.
            scores = applied(self.apply, table[:, geometry.CORNERS :])
            table = table[:, : geometry.CORNERS]
            if self.objectness:
                sure, scores = scores[:, :1], scores[:, 1:]
                scores = sure * scores if scores.shape[1] else sure
        if 0 <= self.background < scores.shape[1]:
            scores = np.delete(scores, self.background, axis=1)
        if table.shape[1] != geometry.CORNERS or len(table) != len(scores) or not scores.shape[1]:
            message = f"{list(table.shape)} boxes and {list(scores.shape)} scores do not fit"
            raise ValueError(message)
        return table, scores

    def _corners(self, table: Any, able: Any) -> Any:
        """Return the corners of some boxes in pixels of the model's input, or relative."""
        import numpy as np

        order = self.order
        if self.priors is not None and self.size is not None:
            anchors = geometry.priors(self.priors.strides, self.priors.sizes, *self.size)
            if len(anchors) != len(table):
                message = f"there are {len(table)} boxes, and {len(anchors)} priors"
                raise ValueError(message)
            found = geometry.decoded(table[able], anchors[able], self.priors.variances)
            order = "cxcywh"
        else:
            found = table[able]
        found = geometry.corners(found, order)
        if self.units == "relative" and self.size is not None:
            found = found * np.array([*self.size, *self.size])
        return found

    def _returned(self, boxes: Any, meta: Mapping[str, Any]) -> Any:
        """Return boxes in pixels of the original image, where it is known how it was placed."""
        if self.image and self.image not in meta:
            message = f"features say of no image {self.image!r} how it was placed"
            raise ValueError(message)
        names = [self.image] if self.image else list(meta)
        known = [meta[name] for name in names if meta[name] is not None]
        if len(known) > 1:
            message = f"features placed several images ({', '.join(names)}): say which by image"
            raise ValueError(message)
        if not known:
            return boxes
        fractions = self.units == "relative" and self.size is None
        return known[0].to_source(boxes, fractions=fractions, clip=True)


def _matrix(array: Any, what: str, *, columns: bool) -> Any:
    """Return ``[n, values]``, from ``[values, n]`` when columns are boxes; one box may be a row."""
    values = numbers(array, f"the output of {what}")
    if values.ndim == 1:
        values = values[None]
    if values.ndim != _MATRIX:
        message = f"the output of {what} is {list(values.shape)}, not [n, values] of one sample"
        raise ValueError(message)
    return values.T if columns else values


def read_detection(about: Reader, name: str, model: str) -> Detection:
    """Return the step that a document describes."""
    form = about.choice("form", ("", "ssd", "yolo"))
    if not form:
        raise about.wrong("form", "it is not there", "use ssd or yolo")
    ssd = form == "ssd"
    size = _size(about)
    step = Detection(
        name=name,
        model=model,
        form=form,
        boxes=about.text("boxes") if ssd else about.text("output", ""),
        scores=about.text("scores") if ssd else "",
        order=about.choice("order", geometry.ORDERS if ssd else ("cxcywh", "xyxy", "yxyx")),
        units=about.choice("units", ("relative", "pixels") if ssd else ("pixels", "relative")),
        size=size,
        priors=_priors(about, size) if ssd else None,
        background=about.whole("background", -1, -1, 100_000) if ssd else -1,
        objectness=about.flag("objectness", default=True) if not ssd else False,
        columns=about.flag("columns", default=False),
        apply=about.choice("apply", ("none", "sigmoid", "softmax") if ssd else ("none", "sigmoid")),
        least=about.number("least", 0.5, 0.0, float("inf")),
        overlap=about.number("overlap", 0.45, 0.0, 1.0),
        most=about.whole("most", 100, 1, MOST_DETECTIONS),
        by_class=about.flag("by_class", default=True),
        image=about.text("image", ""),
        labels=read_labels(about),
    )
    own = ("boxes", "scores", "priors", "background") if ssd else ("output", "objectness")
    shared = ("order", "units", "size", "columns", "apply", "least", "overlap", "most")
    about.end(("name", "kind", "model", "form", *own, *shared, "by_class", "image", "labels"))
    return step


def _size(about: Reader) -> tuple[float, float] | None:
    """Return width and height of the model's input."""
    found = about.items("size", _PAIR)
    if not found:
        return None
    if not _all_numbers(found, 1, _MOST_SIZE) or len(found) != _PAIR:
        raise about.wrong("size", "it is not width and height in pixels", "size: [320, 240]")
    return float(found[0]), float(found[1])


def _priors(about: Reader, size: tuple[float, float] | None) -> Priors | None:
    if not about.has("priors"):
        return None
    if size is None:
        raise about.wrong("priors", "they need the size of the model's input", "add size: [W, H]")
    inner = type(about)(about.take("priors"), about.where, f"{about.path}.priors")
    strides = inner.items("strides", 16)
    sizes = inner.items("sizes", 16)
    variances = inner.items("variances", _PAIR) or [0.1, 0.2]
    inner.end(("strides", "sizes", "variances"))
    lists = all(isinstance(each, list) and 0 < len(each) <= 16 for each in sizes)  # noqa: PLR2004
    if not lists or len(strides) != len(sizes) or not strides:
        raise inner.wrong("sizes", "there is one list of sizes for each stride")
    values = [*strides, *(value for each in sizes for value in each)]
    if not _all_numbers(values, 1, _MOST_SIZE) or not _all_numbers(variances, 0, 100):
        raise inner.wrong("", "strides, sizes and variances are numbers of at least 1 pixel")
    if len(variances) != _PAIR:
        raise inner.wrong("variances", "there are two: of centres and of sizes")
    pair = float(variances[0]), float(variances[1])
    return Priors(tuple(map(float, strides)), tuple(tuple(map(float, s)) for s in sizes), pair)


def _all_numbers(values: list[Any], low: float, high: float) -> bool:
    return all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
        for value in values
    )
