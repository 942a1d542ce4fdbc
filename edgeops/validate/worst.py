"""The samples that a variant treats worst, so that a person can look at them.

With a source model: first those that it gets right and the variant wrong, then those where both
name different classes, then those whose answers are furthest apart. Without one: those that are
wrong by the labels, the surest first. Samples without any difference are not listed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from edgeops.core.files import canonical_json
from edgeops.errors import InputError
from edgeops.validate import sheet
from edgeops.validate.accuracy import names_classes
from edgeops.validate.scores import (
    are_scores,
    class_ids,
    class_labels,
    class_output,
    named_output,
    relative_difference,
)
from edgeops.validate.slices import texts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.contracts import Metric, Samples

COUNT = 10
FORMAT = "edgeops.worst/1"
Kind = Literal["lost", "other", "apart", "wrong"]
_SAID = {
    "lost": "right in the source, wrong here",
    "other": "another class than the source",
    "apart": "values apart from the source",
    "wrong": "wrong by its label",
}
_MANY = 6


@dataclass(frozen=True)
class Worst:
    """One sample: what is right, what the source and the device answer, and how far they are apart.

    ``margin`` is by how much the device's score for its own class is above that of the right one
    (of the source's class where that is unknown); ``difference`` the norm of the difference over
    the norm of the source's answer, None where there is no source or nothing to divide by.
    """

    index: int
    kind: Kind
    label: str
    source: str
    device: str
    margin: float | None = None
    difference: float | None = None
    slices: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the sample as JSON."""
        return asdict(self)


def worst_samples(
    source: Mapping[str, Any] | None,
    outputs: Mapping[str, Any],
    samples: Samples,
    *,
    metric: Metric | None = None,
    output: str = "",
    count: int = COUNT,
) -> tuple[Worst, ...]:
    """Return at most ``count`` samples, the worst first; equal ones by their index.

    Raises InputError ``output-unknown``.
    """
    far = None if source is None else relative_difference(source, outputs, output=output)
    found = None
    if names_classes(metric, samples.labels):
        found = _by_class(source, outputs, samples, far, output, count)
    if found is None:
        found = [] if source is None else _by_value(source, outputs, samples, far, output, count)
    return tuple(found)


def write(folder: Path, found: Sequence[Worst], samples: Samples) -> None:
    """Write ``worst.json`` and ``worst.svg``, a sheet with the inputs where these are pictures."""
    document = {
        "format": FORMAT,
        "data": {"source": samples.source, "digest": samples.digest, "samples": samples.count},
        "worst": [one.to_json() for one in found],
    }
    (folder / "worst.json").write_bytes(canonical_json(document))
    cards = [
        sheet.Card(sheet.picture(samples.arrays, one.index), (f"sample {one.index}", *_said(one)))
        for one in found
    ]
    (folder / "worst.svg").write_text(sheet.svg(cards), encoding="utf-8")


def lines(found: Sequence[Worst]) -> list[str]:
    """Return a line of text for each sample."""
    return [f"sample {one.index}: {'; '.join(_said(one))}" for one in found]


def _said(one: Worst) -> list[str]:
    parts = [_SAID[one.kind]]
    if one.label:
        parts.append(f"label {one.label}")
    parts.append(f"source {one.source} -> {one.device}" if one.source else f"answers {one.device}")
    if one.margin is not None:
        parts.append(f"by {one.margin:.3g}")
    elif one.difference is not None:
        parts.append(f"{one.difference:.3g} of its norm")
    return parts + [f"{key}={value}" for key, value in one.slices.items()]


def _by_class(
    source: Mapping[str, Any] | None,
    outputs: Mapping[str, Any],
    samples: Samples,
    far: Any,
    output: str,
    count: int,
) -> list[Worst] | None:
    """Return the samples by class, or None when there are no classes in outputs or labels."""
    import numpy as np

    try:
        own = class_output(named_output(outputs, output))[1]
        theirs = None if source is None else class_output(named_output(source, output))[1]
        ids = class_ids(own)
        before = ids if theirs is None else class_ids(theirs)
        right = None if samples.labels is None else class_labels(samples.labels, len(ids))
    except InputError:
        return None
    # As text, for one side may number what another names.
    said, stated = ids.astype(str), before.astype(str)
    truth = stated if right is None else right.astype(str)
    if theirs is None:
        kinds = np.where(said == truth, 3, 0)
        far = np.zeros(len(ids))
    else:
        lost = (said != truth) & (stated == truth) & (right is not None)
        kinds = np.where(lost, 0, np.where(said != stated, 1, np.where(far > 0, 2, 3)))
    against = before if right is None else right
    margins = _margins(own, ids, against)
    order = np.lexsort((-np.nan_to_num(far, posinf=np.inf), -np.nan_to_num(margins), kinds))
    # Where the classes are the same, only the values can be apart.
    same = np.lexsort((-far, kinds))
    order = np.r_[order[kinds[order] < 2], same[kinds[same] == 2]]  # noqa: PLR2004 - the kinds below
    names: tuple[Kind, ...] = ("wrong" if theirs is None else "lost", "other", "apart")
    return [
        Worst(
            int(row),
            names[kinds[row]],
            "" if right is None else str(right[row]),
            "" if theirs is None else _class_text(theirs, before, row),
            _class_text(own, ids, row),
            _finite(margins[row]) if kinds[row] < 2 else None,  # noqa: PLR2004 - as above
            None if theirs is None else _finite(far[row]),
            _slices(samples, int(row)),
        )
        for row in order[:count]
    ]


def _by_value(
    source: Mapping[str, Any],
    outputs: Mapping[str, Any],
    samples: Samples,
    far: Any,
    output: str,
    count: int,
) -> list[Worst]:
    import numpy as np

    order = np.argsort(-far, kind="stable")
    order = order[far[order] > 0][:count]
    before, after = named_output(source, output), named_output(outputs, output)
    found = []
    for row in order.tolist():
        texts = _value_texts(before, after, row)
        label = "" if samples.labels is None else _short(samples.labels[row])
        parts = _slices(samples, row)
        found.append(Worst(row, "apart", label, *texts, None, _finite(far[row]), parts))
    return found


def _margins(array: Any, ids: Any, against: Any) -> Any:
    """Return by how much the score of the own class is above that of another, nan without scores."""
    import numpy as np

    flat = array.reshape(len(array), -1)
    if not are_scores(array) or against.dtype.kind not in "iub":
        return np.full(len(array), np.nan)
    inside = (against >= 0) & (against < flat.shape[1]) & (ids >= 0)
    rows = np.arange(len(array))
    with np.errstate(invalid="ignore"):  # scores may be infinite
        over = flat[rows, np.maximum(ids, 0)].astype(float)
        over -= flat[rows, np.where(inside, against, 0)]
    return np.where(inside, over, np.nan)


def _class_text(array: Any, ids: Any, row: int) -> str:
    """Return a class, with its score where there are scores."""
    text = str(ids[row])
    flat = array.reshape(len(array), -1)
    if array.dtype.kind not in "fiu" or (array.dtype.kind != "f" and not are_scores(array)):
        return text
    place = int(ids[row]) if flat.shape[1] > 1 else 0
    return f"{text} ({flat[row, place]:.3g})" if place >= 0 else f"{text} (no number)"


def _value_texts(before: Mapping[str, Any], after: Mapping[str, Any], row: int) -> tuple[str, str]:
    """Return both answers: whole where they are short, else the value where they differ most."""
    import numpy as np

    name = max(before, key=lambda name: _furthest(before[name][row], after[name][row])[1])
    one, other = np.asarray(before[name][row]), np.asarray(after[name][row])
    label = f"{name} " if len(before) > 1 else ""
    if one.shape != other.shape:
        return f"{label}{list(one.shape)} values", f"{label}{list(other.shape)} values"
    if one.size <= _MANY:
        return f"{label}{_short(one)}", f"{label}{_short(other)}"
    place = _furthest(one, other)[0]
    at = f"{label}[{', '.join(map(str, np.unravel_index(place, one.shape)))}] "
    return f"{at}{_short(one.flat[place])}", f"{at}{_short(other.flat[place])}"


def _furthest(one: Any, other: Any) -> tuple[int, float]:
    """Return where two arrays differ most, and by how much; not finite counts as most."""
    import numpy as np

    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape or one.dtype.kind not in "fiub" or not one.size:
        return 0, np.inf if one.shape != other.shape else 0.0
    with np.errstate(invalid="ignore"):  # infinite values
        apart = np.abs(one.astype(float) - other.astype(float)).ravel()
    apart[np.isnan(apart) & ~np.isnan(one.astype(float)).ravel()] = np.inf
    apart = np.nan_to_num(apart, posinf=np.inf)
    place = int(apart.argmax())
    return place, float(apart[place])


def _short(value: Any) -> str:
    """Return a value, or the first of several, in few characters."""
    import numpy as np

    flat = np.ravel(value)
    if flat.dtype.kind == "O":
        return f"{len(flat)} rows"
    texts = [f"{one:.4g}" if flat.dtype.kind == "f" else str(one) for one in flat[:_MANY]]
    more = ", ..." if flat.size > _MANY else ""
    return texts[0] if flat.size == 1 else f"[{', '.join(texts)}{more}]"


def _finite(value: Any) -> float | None:
    import numpy as np

    return float(value) if np.isfinite(value) else None


def _slices(samples: Samples, row: int) -> dict[str, str]:
    return {key: texts_of(array[row : row + 1])[0] for key, array in samples.slices.items()}
