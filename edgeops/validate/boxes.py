"""Boxes in outputs and labels: the forms that are taken, and what is refused of them.

A box is two opposite corners, ``x1 y1 x2 y2`` (or ``y1 x1 y2 x2``), in whatever unit, with
``x1 <= x2`` and ``y1 <= y2``; outputs and labels keep the same convention. Both come padded,
``[samples, most, columns]``, or ragged, an array of objects with one ``[number, columns]`` a
sample; ``[samples, columns]`` is one box a sample.

Outputs, final detections (after suppression of overlapping ones):

1. the only output with 4 columns (of several the one with ``box`` in its name) holds corners; of
   the outputs with one number a box, the only floating one (of several the one named after
   ``score``, ``conf`` or ``prob``) holds scores, and the one named after ``class``, ``label`` or
   ``categor`` (or the only integer one) classes;
2. without any of 4 columns, the only output with 5 or 6: corners, score, and class where there are
   several.

A row whose score is not above 0, or whose class is negative, is padding.

Labels have 5 columns, corners and class, or 4 where classes do not matter. A row whose class is
negative is padding; with 4 columns, a row of -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError
from edgeops.validate.scores import MOST_WHOLE, checked_labels

if TYPE_CHECKING:
    from collections.abc import Mapping

_CORNERS = 4
# Columns of an output that holds whole detections.
_WHOLE = (5, 6)
# Axes of a padded array: samples, number, columns.
_PADDED = 3
_BOX_NAMES = ("box",)
_SCORE_NAMES = ("score", "conf", "prob")
_CLASS_NAMES = ("class", "label", "categor")


@dataclass(frozen=True)
class Boxes:
    """Boxes of all samples in a row: ``corners [n, 4]``; sample, class and score ``[n]`` each.

    ``classed`` says whether classes were given; else all are 0. ``finite`` is False, and there are
    no boxes, where a number that counts is none.
    """

    sample: Any
    corners: Any
    classes: Any
    scores: Any
    samples: int
    classed: bool
    finite: bool = True


def detections(outputs: Mapping[str, Any]) -> Boxes:
    """Return what a model detected; InputError ``output-no-detections``."""
    import numpy as np

    table, sample = _found(outputs)
    corners, score = table[:, :_CORNERS], table[:, _CORNERS]
    classed = table.shape[1] > _CORNERS + 1
    classes = table[:, _CORNERS + 1] if classed else np.zeros(len(table))
    real = ~((score <= 0) | (classes < 0))
    finite = bool(np.isfinite(table[real]).all())
    if not finite:
        real = np.zeros(len(table), bool)
    corners, score, classes = corners[real], score[real], classes[real]
    _check(corners, classes, outputs)
    samples = len(next(iter(outputs.values())))
    return Boxes(sample[real], corners, classes.astype(np.int64), score, samples, classed, finite)


def _check(corners: Any, classes: Any, outputs: Mapping[str, Any]) -> None:
    import numpy as np

    inverted = ((corners[:, 2:] - corners[:, :2]) < 0).any(axis=1)
    if inverted.sum() * 2 > len(corners):
        raise _no_detections(
            outputs,
            f"{inverted.sum()} of {len(corners)} boxes have their second corner before the first",
            "let the model answer corners (x1, y1, x2, y2), not a centre or a corner with sizes",
        )
    if not ((classes == np.floor(classes)) & (classes < MOST_WHOLE)).all():
        raise _no_detections(
            outputs,
            "what stands for classes is no whole number",
            "answer [samples, most, 6]: x1, y1, x2, y2, score, class",
        )


def objects(labels: Any, samples: int) -> Boxes:
    """Return what is labelled; InputError ``labels-missing``, ``labels-misfit``."""
    import numpy as np

    flat = _flat(checked_labels(labels, samples), single=True)
    if flat is None or flat[0].shape[1] not in {_CORNERS, _CORNERS + 1}:
        labels = np.asarray(labels)
        raise _misfit(f"they are {labels.dtype}{list(labels.shape)}")
    table, sample = flat
    classed = table.shape[1] > _CORNERS
    padding = table[:, _CORNERS] < 0 if classed else (table == -1).all(axis=1)
    table, sample = table[~padding], sample[~padding]
    corners = table[:, :_CORNERS]
    classes = table[:, _CORNERS] if classed else np.zeros(len(table))
    bad = ~np.isfinite(table).all(axis=1)
    if bad.any():
        raise _misfit(f"a box of sample {sample[bad][0]} holds what is no number")
    bad = ((corners[:, 2:] - corners[:, :2]) < 0).any(axis=1)
    if bad.any():
        raise _misfit(
            f"a box of sample {sample[bad][0]} has its second corner before the first: "
            f"{corners[bad][0].tolist()}"
        )
    bad = (classes != np.floor(classes)) | (classes >= MOST_WHOLE)
    if bad.any():
        raise _misfit(f"a class of sample {sample[bad][0]} is {classes[bad][0]}, no whole number")
    ones = np.ones(len(table))
    return Boxes(sample, corners, classes.astype(np.int64), ones, samples, classed)


def _found(outputs: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return detections ``[n, 5 or 6]`` and the sample of each."""
    for single in (False, True):
        tables = {name: _flat(array, single=single) for name, array in outputs.items()}
        widths = {name: flat[0].shape[1] for name, flat in tables.items() if flat}
        corners = [name for name, width in widths.items() if width == _CORNERS]
        whole = [name for name, width in widths.items() if width in _WHOLE]
        if not corners and len(whole) == 1:
            flat = tables[whole[0]]
            if flat:
                return flat
        if corners:
            box = _one(corners, _BOX_NAMES, outputs, "corners (4 columns)")
            flat = tables[box]
            if flat:
                return _joined(outputs, box, *flat), flat[1]
    raise _unclear(outputs, "detections")


def _joined(outputs: Mapping[str, Any], box: str, corners: Any, sample: Any) -> Any:
    """Return detections ``[n, 5 or 6]``, put together from separate outputs."""
    import numpy as np

    each = {
        name: _numbers(array, sample, ragged=outputs[box].dtype.kind == "O")
        for name, array in outputs.items()
        if name != box
    }
    each = {name: values for name, values in each.items() if values is not None}
    floating = [name for name in each if _kind(outputs[name]) == "f"]
    scores = [n for n in floating if not _is_named(n, _CLASS_NAMES) or _is_named(n, _SCORE_NAMES)]
    score = _one(scores, _SCORE_NAMES, outputs, "scores (one number a box)")
    rest = [name for name in each if name != score]
    classes = [n for n in rest if _is_named(n, _CLASS_NAMES)]
    classes = classes or [n for n in rest if _kind(outputs[n]) in "iu"]
    columns = [corners, each[score][:, None]]
    if classes:
        columns.append(each[_one(classes, _CLASS_NAMES, outputs, "classes")][:, None])
    return np.concatenate(columns, axis=1)


def _flat(array: Any, *, single: bool) -> tuple[Any, Any] | None:
    """Return rows ``[n, columns]`` and the sample of each, or None when it is no table of numbers.

    ``single`` takes ``[samples, columns]`` as one row a sample.
    """
    import numpy as np

    samples = len(array)
    if array.dtype.kind == "O":
        parts = [np.asarray(part) for part in array]
        # A model with a batch axis of one keeps it in what it answers for each sample.
        parts = [part[0] if part.ndim == _PADDED and len(part) == 1 else part for part in parts]
        kinds = {part.dtype.kind for part in parts}
        if {part.ndim for part in parts} != {2} or not kinds <= set("fiu"):
            return None
        # A sample without any may come as [0, 0].
        widths = {part.shape[1] for part in parts if len(part)}
        if len(widths) > 1:
            return None
        width = widths.pop() if widths else max(part.shape[1] for part in parts)
        rows = [part.reshape(-1, width) for part in parts]
        sample = np.repeat(np.arange(samples), [len(part) for part in rows])
        return np.concatenate(rows).astype(float), sample
    if array.dtype.kind not in "fiu":
        return None
    if array.ndim == _PADDED + 1 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and single:  # noqa: PLR2004 - samples and columns
        array = array[:, None]
    if array.ndim != _PADDED or not array.shape[2]:
        return None
    table = array.reshape(-1, array.shape[2]).astype(float)
    return table, np.repeat(np.arange(samples), array.shape[1])


def _numbers(array: Any, sample: Any, *, ragged: bool) -> Any:
    """Return one number a box, ``[n]``, or None when the array does not hold as many."""
    import numpy as np

    if _kind(array) not in "fiu" or ragged != (array.dtype.kind == "O"):
        return None
    if not ragged:
        return array.reshape(-1).astype(float) if array.size == len(sample) else None
    counts = np.bincount(sample, minlength=len(array))
    if [np.size(part) for part in array] != counts.tolist():
        return None
    return np.concatenate([np.ravel(part) for part in array]).astype(float)


def _kind(array: Any) -> str:
    import numpy as np

    if array.dtype.kind != "O":
        return str(array.dtype.kind)
    kinds = {np.asarray(part).dtype.kind for part in array}
    return str(kinds.pop()) if len(kinds) == 1 else "O"


def _one(found: list[str], names: tuple[str, ...], outputs: Mapping[str, Any], wanted: str) -> str:
    if len(found) > 1:
        found = [name for name in found if _is_named(name, names)]
    if len(found) == 1:
        return found[0]
    raise _unclear(outputs, wanted)


def _unclear(outputs: Mapping[str, Any], wanted: str) -> InputError:
    return _no_detections(
        outputs,
        f"it is not clear which output holds {wanted}",
        "answer final detections: one output [samples, most, 6] of x1, y1, x2, y2, score, class, "
        "or outputs called boxes, scores and classes",
    )


def _is_named(name: str, parts: tuple[str, ...]) -> bool:
    return any(part in name.lower() for part in parts)


def _no_detections(outputs: Mapping[str, Any], why: str, fix: str) -> InputError:
    shapes = ", ".join(
        f"{name} {array.dtype}[{', '.join(map(str, array.shape))}]"
        for name, array in outputs.items()
    )
    return InputError(
        "output-no-detections",
        "the outputs hold no detections that can be compared with boxes",
        why=f"{why}; the outputs are {shapes}",
        fix=f"{fix}; or bring a metric of your own: `metric: module:function`",
    )


def _misfit(why: str) -> InputError:
    return InputError(
        "labels-misfit",
        "the labels are no boxes",
        where="labels",
        why=why,
        fix="save labels [samples, most, 5] of x1, y1, x2, y2, class, filled up with -1, or the "
        "rows of all samples one after the other and their numbers as `labels:rows`",
    )
