"""Mean average precision of detections, as COCO defines it (Lin et al., 2014; pycocotools).

Per class, detections of all samples in the order of their scores; each takes, in its sample, the
still free labelled box of its class with the highest overlap, if intersection over union reaches
the threshold. Average precision is the mean of 101 precisions, at recall 0, 0.01, ..., 1, each the
best at that recall or above. The figure is the mean over classes that have labelled boxes and over
thresholds. At most 100 detections a sample and class count, the best ones.

COCO's rule and not PASCAL VOC's (11 points, or the area under the curve, at 0.5 alone), because it
is what detectors are published with today; ``map50`` is its figure at the threshold 0.5. Two
differences: boxes that COCO marks as crowds are unknown here, and detections of equal score count
together, so that the figure does not depend on the order of samples.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError
from edgeops.validate.boxes import Boxes, detections, objects
from edgeops.validate.matching import matches

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_DETECTIONS = 100
_RECALLS = 101
# Cells of running sums held at once.
_MOST_CELLS = 4_000_000


class Map:
    """Mean average precision over overlaps of 0.5, 0.55, ..., 0.95: COCO's main figure."""

    name = "map"
    api = 1
    rule = 1
    higher_is_better = True
    needs = "boxes"
    _most = 0.95

    def score(self, outputs: Mapping[str, Any], labels: Any) -> float:
        """Return the figure, in [0, 1]; nan when a detection is not finite."""
        import numpy as np

        essence = self.essence(outputs, labels)
        return float(self.weigh(essence, np.ones((1, len(labels)), np.int64))[0])

    def essence(self, outputs: Mapping[str, Any], labels: Any) -> dict[str, Any]:
        """Return what was detected, by class and falling score, and how much there is to detect.

        ``objects [samples, classes]`` counts labelled boxes; of every detection ``sample``,
        ``class_`` (its place in ``objects``), ``tie`` (equal for equal scores of a class) and
        ``hits``, one bit a threshold; ``finite [1]``. Raises InputError ``output-no-detections``,
        ``labels-missing``, ``labels-misfit``, or ``metric-undefined`` where nothing is labelled.
        """
        import numpy as np

        samples = len(next(iter(outputs.values())))
        wanted = objects(labels, samples)
        found = detections(outputs)
        classes, known = _classes(found, wanted)
        counts = np.zeros((samples, len(classes)), np.int64)
        place = np.searchsorted(classes, wanted.classes)
        np.add.at(counts, (wanted.sample, place), 1)
        order = _ranked(found, known)
        corners, sample = found.corners[order], found.sample[order]
        class_ = np.searchsorted(classes, known[order])
        score = found.scores[order]
        new = np.r_[True, (score[1:] != score[:-1]) | (class_[1:] != class_[:-1])][: len(order)]
        hits = matches(
            (sample * len(classes) + class_, corners),
            (wanted.sample * len(classes) + place, wanted.corners),
            np.linspace(0.5, self._most, round((self._most - 0.5) / 0.05) + 1),
        )
        return {
            "objects": counts,
            "sample": sample,
            "class_": class_,
            "tie": np.cumsum(new) - 1,
            "hits": hits,
            "finite": np.array([found.finite]),
        }

    def select(self, essence: Mapping[str, Any], rows: Any) -> dict[str, Any]:
        """Return the essence of some samples; the classes stay those of all."""
        import numpy as np

        kept = rows[essence["sample"]]
        place = np.cumsum(rows) - 1
        each = {name: essence[name][kept] for name in ("class_", "tie", "hits")}
        sample = place[essence["sample"][kept]]
        return {**essence, **each, "objects": essence["objects"][rows], "sample": sample}

    def weigh(self, essence: Mapping[str, Any], weights: Any) -> Any:
        """Return the figure of each row of ``weights``, ``[rounds, samples] -> [rounds]``."""
        import numpy as np

        if not essence["finite"].all():
            return np.full(len(weights), np.nan)
        step = max(1, _MOST_CELLS // max(len(essence["sample"]), 1))
        parts = [
            self._weighed(essence, weights[start : start + step])
            for start in range(0, len(weights), step)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _weighed(self, essence: Mapping[str, Any], weights: Any) -> Any:
        import numpy as np

        # In double precision, for whole numbers have no quick matrix product.
        there = (weights.astype(float) @ essence["objects"]).astype(np.int64)
        total = np.zeros(len(weights))
        edges = np.searchsorted(essence["class_"], np.arange(there.shape[1] + 1))
        thresholds = round((self._most - 0.5) / 0.05) + 1
        for class_, (start, end) in enumerate(itertools.pairwise(edges)):
            rows = slice(start, end)
            each = weights[:, essence["sample"][rows]]
            ties, hits = essence["tie"][rows], essence["hits"][rows]
            every = each.cumsum(axis=1)
            for bit in range(thresholds):
                hit = np.flatnonzero(hits >> bit & 1)
                total += _average(every, each[:, hit], (ties, hit), there[:, class_])
        seen = (there > 0).sum(axis=1) * thresholds
        return np.divide(total, seen, out=np.full(len(total), np.nan), where=seen > 0)


class Map50(Map):
    """Mean average precision at an overlap of 0.5."""

    name = "map50"
    _most = 0.5


def _classes(found: Boxes, wanted: Boxes) -> tuple[Any, Any]:
    """Return the classes that are labelled, and the class of each detection, -1 for all others."""
    import numpy as np

    classes = np.unique(wanted.classes)
    if not classes.size:
        raise InputError(
            "metric-undefined",
            "average precision needs labelled boxes, and there is none",
            where="labels",
            why=f"{wanted.samples} samples are labelled with nothing but padding",
            fix="use evaluation data with boxes to detect",
        )
    if classes.size > 1 and not found.classed:
        raise InputError(
            "labels-misfit",
            "the labels tell classes apart and the outputs do not",
            where="labels",
            why=f"labelled are {classes.size} classes, each box of the outputs has a score alone",
            fix="let the model answer a class for each box, or save labels of 4 columns, which "
            "asks for boxes alone",
        )
    if not (wanted.classed and found.classed):
        return classes, np.full(len(found.sample), classes[0])
    return classes, np.where(np.isin(found.classes, classes), found.classes, -1)


def _ranked(found: Boxes, known: Any) -> Any:
    """Return the detections that count: by class, then falling score, the best 100 a sample."""
    import numpy as np

    order = np.lexsort((-found.scores, known, found.sample))
    key = np.stack([found.sample[order], known[order]])
    new = np.r_[True, (key[:, 1:] != key[:, :-1]).any(axis=0)][: len(order)]
    first = np.flatnonzero(new)
    rank = np.arange(len(order)) - np.repeat(first, np.diff(np.r_[first, len(order)]))
    order = np.sort(order[(rank < _MOST_DETECTIONS) & (known[order] >= 0)])
    return order[np.lexsort((-found.scores[order], known[order]))]


def _average(every: Any, hits: Any, ties: tuple[Any, Any], there: Any) -> Any:
    """Return the average precision of one class at one threshold, ``[rounds]``; 0 without labels.

    ``every [rounds, detections]`` are running sums of weights, ``hits [rounds, hits]`` the weights
    of the detections at ``ties[1]`` that found something; ``ties[0]`` groups equal scores.
    """
    import numpy as np

    groups, where = ties
    if not len(where):
        return np.zeros(len(every))
    # Only where something is found does recall rise, so only there can precision be the best.
    last = np.searchsorted(groups, groups[where], side="right") - 1
    first = np.flatnonzero(np.r_[True, last[1:] != last[:-1]])
    right = np.add.reduceat(hits, first, axis=1).cumsum(axis=1)
    total = every[:, last[first]]
    precision = np.divide(right, total, out=np.zeros(right.shape), where=total > 0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    need = _needed(there)
    # One search for all rows: each row is lifted above the one before.
    lift = (np.arange(len(right)) * (int(right.max()) + int(need.max()) + 2))[:, None]
    at = np.searchsorted(
        (right + lift).ravel(), (np.minimum(need, right[:, -1:] + 1) + lift).ravel()
    )
    at = at.reshape(need.shape) - np.arange(len(right))[:, None] * right.shape[1]
    reached = need <= right[:, -1:]
    picked = np.take_along_axis(best, np.minimum(at, right.shape[1] - 1), axis=1)
    means = np.where(reached, picked, 0).mean(axis=1)
    return np.where(there > 0, means, 0)


def _needed(there: Any) -> Any:
    """Return how many must be found for each of the 101 recalls, ``[rounds, 101]``; at least 1.

    The smallest whole number whose share of what is there is not below the recall, both in double
    precision as pycocotools compares them.
    """
    import numpy as np

    recalls = np.linspace(0, 1, _RECALLS)
    count = np.maximum(there, 1)[:, None]
    need = np.floor(recalls * count).astype(np.int64)
    need = np.maximum(need - 1, 0)
    for _ in range(2):
        need += need / count < recalls
    return np.maximum(need, 1)
