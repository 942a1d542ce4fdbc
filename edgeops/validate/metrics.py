"""The metrics that come with edgeops, and how a name becomes one.

scikit-learn's implementation is used where it has the metric, except where plain numpy gives the
same number to the last bit without its 1.7 s of import (accuracy, top k; tests hold them against
scikit-learn). Regression is in ``metrics_values``, detection in ``detection``, sound in ``audio``.

A metric that is a function of means over samples also has ``terms`` and ``combine``, which make its
bootstrap a single matrix product: ``score == combine(terms.mean(axis=0))``. One that follows from
weights of the samples has ``essence`` and ``weigh`` (see ``bootstrap``). ``rule`` counts the
versions of what is computed: evidence names it, and is not judged again by another.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any, cast

from edgeops.core.registry import get
from edgeops.errors import InputError, StageFailed
from edgeops.validate import scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgeops.core.contracts import Metric

# Of the span of the scores: 8 bits cannot hold probabilities whose sum is exactly 1.
_SAME_SUM = 0.01
# Above this, the terms of F1 (three columns a class) take more room than resampling takes time.
_MOST_CLASSES = 64


class Accuracy:
    """The share of samples whose class is right (scikit-learn's ``accuracy_score``)."""

    name = "accuracy"
    api = 1
    rule = 1
    higher_is_better = True
    needs = "classes"

    def score(self, outputs: Mapping[str, Any], labels: Any) -> float:
        """Return the share, in [0, 1]."""
        return float(self.terms(outputs, labels).mean())

    def terms(self, outputs: Mapping[str, Any], labels: Any) -> Any:
        """Return ``[samples, 1]``: 1 where the class is right."""
        ids, right = _classes(outputs, labels)
        return (ids == right).astype(float)[:, None]

    def combine(self, means: Any) -> Any:
        """Return the share from the means of the terms, ``[..., 1] -> [...]``."""
        return means[..., 0]


class TopK:
    """The share of samples whose class is among the ``k`` highest scores (``top1`` ... ``top10``).

    Ties count against the model only when ``k`` scores are strictly higher.
    """

    api = 1
    rule = 1
    higher_is_better = True
    needs = "classes"

    def __init__(self, k: int) -> None:
        self.name = f"top{k}"
        self._k = k

    def score(self, outputs: Mapping[str, Any], labels: Any) -> float:
        """Return the share, in [0, 1]."""
        return float(self.terms(outputs, labels).mean())

    def terms(self, outputs: Mapping[str, Any], labels: Any) -> Any:
        """Return ``[samples, 1]``: 1 where the class is among the first ``k``."""
        import numpy as np

        name, array = scores.class_output(outputs)
        _, right = _classes({name: array}, labels)
        if array.ndim != 2 or not scores.are_scores(array):  # noqa: PLR2004 - samples and classes
            raise InputError(
                "output-no-classes",
                f"{self.name} needs scores of classes, and {name} has none",
                why=f"it is {array.dtype}[{', '.join(map(str, array.shape))}]",
                fix="use the metric accuracy, or name an output with scores in `output`",
            )
        inside = (right >= 0) & (right < array.shape[1])
        own = array[np.arange(len(array)), np.where(inside, right, 0)]
        higher = (array > own[:, None]).sum(axis=1)
        good = inside & (higher < self._k) & np.isfinite(array).all(axis=1)
        return good.astype(float)[:, None]

    def combine(self, means: Any) -> Any:
        """Return the share from the means of the terms, ``[..., 1] -> [...]``."""
        return means[..., 0]


# One plugin each, so that they are listed and chosen by name as all others.
top1, top2, top3, top4, top5 = (TopK(k) for k in range(1, 6))
top6, top7, top8, top9, top10 = (TopK(k) for k in range(6, 11))


class F1:
    """Macro F1 over the classes seen in labels or answers (scikit-learn's ``f1_score``)."""

    name = "f1"
    api = 1
    rule = 1
    higher_is_better = True
    needs = "classes"

    def score(self, outputs: Mapping[str, Any], labels: Any) -> float:
        """Return macro F1, in [0, 1]; a class without any sample or answer counts as 0."""
        from sklearn.metrics import f1_score

        ids, right = _classes(outputs, labels)
        return float(f1_score(right, ids, average="macro", zero_division=0.0))

    def terms(self, outputs: Mapping[str, Any], labels: Any) -> Any:
        """Return ``[samples, 3 * classes]``: true positives, false positives, false negatives.

        None when there are too many classes for that.
        """
        import numpy as np

        ids, right = _classes(outputs, labels)
        seen = np.union1d(ids, right)
        if len(seen) > _MOST_CLASSES:
            return None
        answered, true = ids[:, None] == seen, right[:, None] == seen
        parts = (answered & true, answered & ~true, ~answered & true)
        return np.concatenate(parts, axis=1).astype(float)

    def combine(self, means: Any) -> Any:
        """Return macro F1 from the means of the terms, ``[..., 3 * classes] -> [...]``.

        F1 of a class is 2 TP / (2 TP + FP + FN); classes that a resample has none of are left out,
        as scikit-learn leaves out what it does not see.
        """
        import numpy as np

        right, wrong, missed = np.split(means, 3, axis=-1)
        below = 2 * right + wrong + missed
        seen = below > 0
        each = np.divide(2 * right, below, out=np.zeros_like(below), where=seen)
        return each.sum(axis=-1) / np.maximum(seen.sum(axis=-1), 1)


class Auc:
    """Area under the ROC curve, one against the rest, macro (scikit-learn's ``roc_auc_score``)."""

    name = "auc"
    api = 1
    rule = 1
    higher_is_better = True
    needs = "classes"

    def score(self, outputs: Mapping[str, Any], labels: Any) -> float:
        """Return the area, in [0, 1]; nan when scores are not finite.

        The mean of each class's area against the rest: unlike scikit-learn's own multi-class form
        this does not need scores that sum to 1, and is equal to it where they do. Of two classes
        the second against the first, by the difference of their scores. Raises
        InputError ``metric-undefined`` when only one class is labelled.
        """
        import numpy as np
        from sklearn.metrics import roc_auc_score

        pairs = self._pairs(outputs, labels)
        if not all(np.isfinite(score).all() for score, _ in pairs):
            return float("nan")
        return float(np.mean([roc_auc_score(right, score) for score, right in pairs]))

    def essence(self, outputs: Mapping[str, Any], labels: Any) -> dict[str, Any]:
        """Return ``ranks`` and ``right``, ``[samples, classes]``, and whether scores are ``finite``.

        The area follows from the order of the scores alone.
        """
        import numpy as np

        pairs = self._pairs(outputs, labels)
        ranks = [np.unique(score, return_inverse=True)[1] for score, _ in pairs]
        return {
            "ranks": np.stack(ranks, axis=1),
            "right": np.stack([right for _, right in pairs], axis=1),
            "finite": np.array([np.isfinite(score).all() for score, _ in pairs]),
        }

    def select(self, essence: Mapping[str, Any], rows: Any) -> dict[str, Any]:
        """Return the essence of some samples; the classes stay those of all."""
        ranks, right = essence["ranks"][rows], essence["right"][rows]
        return {"ranks": ranks, "right": right, "finite": essence["finite"]}

    def weigh(self, essence: Mapping[str, Any], weights: Any) -> Any:
        """Return the area under each row of ``weights``, ``[rounds, samples] -> [rounds]``.

        A class that a row gives no weight is left out of its mean; nan without any.
        """
        import numpy as np

        columns = zip(essence["ranks"].T, essence["right"].T, strict=True)
        areas = np.stack([_area(ranks, right, weights) for ranks, right in columns])
        seen = np.isfinite(areas)
        each = np.where(seen, areas, 0).sum(axis=0)
        count = seen.sum(axis=0)
        mean = np.divide(each, count, out=np.full(len(weights), np.nan), where=count > 0)
        return mean if essence["finite"].all() else np.full(len(weights), np.nan)

    def _pairs(self, outputs: Mapping[str, Any], labels: Any) -> list[tuple[Any, Any]]:
        """Return score and truth, ``[samples]`` each, of every class against the rest."""
        import numpy as np

        name, array = scores.class_output(outputs)
        right = scores.class_labels(labels, len(array))
        flat = array.reshape(len(array), -1)
        seen = np.unique(right)
        scored = flat.size > 0 and (array.dtype.kind == "f" or scores.are_scores(array))
        if scored and right.dtype.kind in "iub" and len(seen) > 1:
            if flat.shape[1] <= 2:  # noqa: PLR2004 - two classes: one against the other is enough
                return [(_second(flat), right == seen[-1])]
            inside = seen[(seen >= 0) & (seen < flat.shape[1])]
            if inside.size:
                return [(flat[:, one], right == one) for one in inside]
        raise InputError(
            "metric-undefined",
            "the area under the curve needs scores and labels of at least two classes",
            why=f"{name} is {array.dtype}, the labels have {len(seen)} class(es)",
            fix="use another metric, or evaluation data with samples of several classes",
        )


class OwnMetric:
    """A metric that the project brings: ``function(outputs, labels) -> float``.

    ``function.higher_is_better = False`` on the function says that less is better.
    """

    api = 1
    needs = "any"

    def __init__(self, name: str, spec: str, function: Callable[..., float]) -> None:
        self.name = name
        self.higher_is_better = bool(getattr(function, "higher_is_better", True))
        self._spec = spec
        self._function = function

    def score(self, outputs: Mapping[str, Any], labels: Any) -> float:
        """Return what the function returns; StageFailed ``metric-failed`` when it raises."""
        try:
            return float(self._function(dict(outputs), labels))
        except Exception as error:
            raise StageFailed(
                "metric-failed",
                f"the metric {self._spec} failed",
                where=self._spec,
                why=f"{type(error).__name__}: {error}",
                fix="mend the function: it is called with {output name: array} and labels",
            ) from error


def _second(flat: Any) -> Any:
    """Return the score of the second of two classes, ``[samples, 1 or 2] -> [samples]``.

    Two scores that always come to the same sum (probabilities) say the same, so the second is
    taken as it is; of others (logits) their difference, on which the probability depends.
    """
    import numpy as np

    if flat.shape[1] == 1 or not np.isfinite(flat).all():
        return flat[:, -1]
    real = flat.astype(float)
    same = np.ptp(real.sum(axis=1)) <= _SAME_SUM * np.ptp(real)
    return flat[:, 1] if same else real[:, 1] - real[:, 0]


def _area(ranks: Any, right: Any, weights: Any) -> Any:
    """Return the weighted area under the ROC curve, nan where a side has no weight.

    It is the chance that a sample of the class ranks above one of the rest, ties half (Mann and
    Whitney): what lies below each of the class, less what of that is of the class itself.
    """
    import numpy as np

    order = np.argsort(ranks, kind="stable")
    ordered = ranks[order]
    start = np.searchsorted(ordered, ranks[right], side="left")
    end = np.searchsorted(ordered, ranks[right], side="right")
    below = np.zeros((len(weights), len(order) + 1), np.int64)
    np.cumsum(weights[:, order], axis=1, out=below[:, 1:])
    good = weights[:, right].astype(float)
    class_ = good.sum(axis=1)
    rest = below[:, -1] - class_
    won = (good * (below[:, start] + below[:, end])).sum(axis=1) / 2 - class_**2 / 2
    total = class_ * rest
    return np.divide(won, total, out=np.full(len(won), np.nan), where=total > 0)


def _classes(outputs: Mapping[str, Any], labels: Any) -> tuple[Any, Any]:
    _, array = scores.class_output(outputs)
    ids = scores.class_ids(array)
    right = scores.class_labels(labels, len(ids))
    scores.same_kind(ids, right)
    return ids, right


def figure_name(spec: str) -> str:
    """Return the name under which a metric's figure appears: that of the function, if it is one."""
    return spec.rpartition(":")[2]


def resolve(name: str, root: Path) -> Metric:
    """Return a registered metric, or the project's own one named ``module:function``.

    The module is looked for in ``root`` first. Raises MissingError ``plugin-unknown`` or
    ``plugin-broken``, InputError ``metric-broken``.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon:
        return cast("Metric", get("metrics", name))
    try:
        function = getattr(_module(module_name, root), attribute)
    except Exception as error:
        raise InputError(
            "metric-broken",
            f"the metric {name!r} cannot be loaded",
            where=name,
            why=f"{type(error).__name__}: {error}",
            fix=f"write a function {attribute or 'score'}(outputs, labels) in {module_name}.py",
        ) from error
    return OwnMetric(figure_name(name), name, function)


def _module(name: str, root: Path) -> Any:
    """Return a module of the project's folder, or an installed one."""
    path = root.joinpath(*name.split(".")).with_suffix(".py")
    if not path.is_file():
        return importlib.import_module(name)
    # Under a name of its own: a project's `metrics.py` must not shadow anybody's module.
    spec = importlib.util.spec_from_file_location(
        f"_edgeops_project_{name.replace('.', '_')}", path
    )
    if spec is None or spec.loader is None:
        message = f"{path} is no Python module"
        raise ImportError(message)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(root))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(root))
    return module
