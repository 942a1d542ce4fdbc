"""Which output of a model a metric looks at, and what it says of each sample.

The rule, in this order; the first that leaves exactly one output wins:

1. the output that the ``output`` option names (the caller hands over only that one);
2. the only output;
3. class metrics: the only floating output of shape ``[samples, classes]`` with at least two
   classes, else, among those, the only one whose name says what it is (``prob``, ``score``,
   ``softmax``, ``logit``);
   regression: the only floating output with as many values a sample as the labels have;
4. class metrics: the only integer or text output with one value a sample, taken as class ids.

A floating output with one value a sample is a two-class score: class 1 above 0.5 when all values
lie in [0, 1] (a probability), else above 0 (a logit). Integers of 8 and 16 bits with several values
a sample are the scores of a quantized model: their order is that of the numbers they stand for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TELLING_NAMES = ("prob", "score", "softmax", "logit")
_TEXT_KINDS = "OSU"
_ID_KINDS = "iub" + _TEXT_KINDS
# Numbers compared at once, in double precision.
_MOST_CELLS = 4_000_000
# Above this, double precision does not tell whole numbers apart.
MOST_WHOLE = 2.0**53


def class_output(outputs: Mapping[str, Any]) -> tuple[str, Any]:
    """Return name and array of the output that holds scores or class ids.

    Arrays are ``[samples, ...]``. Raises InputError ``output-unclear``.
    """
    if len(outputs) == 1:
        return next(iter(outputs.items()))
    scores = {
        name: array
        for name, array in outputs.items()
        if array.ndim == 2 and are_scores(array)  # noqa: PLR2004 - samples and classes
    }
    telling = {
        name: array
        for name, array in scores.items()
        if any(part in name.lower() for part in TELLING_NAMES)
    }
    ids = {
        name: array
        for name, array in outputs.items()
        if array.dtype.kind in _ID_KINDS and array.size == len(array)
    }
    return _only([scores, telling, ids if not scores else {}], outputs, "scores or class ids")


def regression_output(outputs: Mapping[str, Any], labels: Any) -> tuple[str, Any]:
    """Return name and array of the output that predicts ``labels``; InputError ``output-unclear``."""
    if len(outputs) == 1:
        return next(iter(outputs.items()))
    values = labels.size // max(len(labels) if labels.ndim else 1, 1)
    fitting = {
        name: array
        for name, array in outputs.items()
        if array.dtype.kind == "f" and array.size // max(len(array), 1) == values
    }
    exact = {name: array for name, array in fitting.items() if array.shape == labels.shape}
    return _only([fitting, exact], outputs, f"predictions of {values} values a sample")


def _only(
    choices: Sequence[Mapping[str, Any]], outputs: Mapping[str, Any], wanted: str
) -> tuple[str, Any]:
    for choice in choices:
        if len(choice) == 1:
            return next(iter(choice.items()))
    listed = ", ".join(
        f"{name} {array.dtype}[{', '.join(map(str, array.shape))}]"
        for name, array in outputs.items()
    )
    raise InputError(
        "output-unclear",
        f"it is not clear which output of the model holds the {wanted}",
        why=f"the model answers {listed}",
        fix="name it: `output: NAME` under the stage validate, or --output NAME",
    )


def named_output(outputs: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return only the output called ``name``, or all when it is empty; InputError ``output-unknown``."""
    if not name:
        return dict(outputs)
    if name not in outputs:
        raise InputError(
            "output-unknown",
            f"the model has no output called {name!r}",
            why=f"its outputs are {', '.join(outputs)}",
            fix="name one of these in `output`",
        )
    return {name: outputs[name]}


def are_scores(array: Any) -> bool:
    """Return whether an output ``[samples, ...]`` holds scores of two classes or more, by its dtype."""
    several = array.ndim > 1 and array.size // max(len(array), 1) >= 2  # noqa: PLR2004 - one against another
    quantized = array.dtype.kind in "iu" and array.dtype.itemsize <= 2  # noqa: PLR2004 - 8 or 16 bits
    return bool(several and (array.dtype.kind == "f" or quantized))


def class_ids(array: Any) -> Any:
    """Return the class of each sample, ``[samples]``; -1 where a score is not finite.

    ``array`` is ``[samples, classes]`` scores, one score a sample, or one class id a sample.
    Raises InputError ``output-no-classes`` for any other shape.
    """
    import numpy as np

    flat = array.reshape(len(array), -1)
    ragged = array.dtype.kind == "O" and array.size > 0 and not isinstance(array.flat[0], str)
    if array.dtype.kind in _ID_KINDS and flat.shape[1] == 1 and not ragged:
        ids = flat[:, 0]
        if ids.dtype.kind in _TEXT_KINDS:
            return ids.astype(str)
        return ids.astype(np.int64) if ids.dtype.kind == "b" else ids
    if (
        not (array.dtype.kind == "f" or are_scores(array))
        or not flat.shape[1]
        or max(array.shape[1:], default=1) != flat.shape[1]
    ):
        raise InputError(
            "output-no-classes",
            "the output holds neither scores of classes nor class ids",
            why=f"it is {array.dtype}[{', '.join(map(str, array.shape))}]",
            fix="name another output in `output`, or use a metric of your own: `metric: module:function`",
        )
    if array.dtype.kind != "f":
        return flat.argmax(axis=1)
    finite = np.isfinite(flat).all(axis=1)
    if flat.shape[1] == 1:
        ids = (flat[:, 0] > threshold(flat[:, 0])).astype(np.int64)
    else:
        ids = np.nan_to_num(flat, nan=-np.inf).argmax(axis=1)
    return np.where(finite, ids, -1)


def threshold(values: Any) -> float:
    """Return where a two-class score changes sides: 0.5 for probabilities, 0 for logits."""
    import numpy as np

    finite = values[np.isfinite(values)]
    return 0.5 if finite.size == 0 or (finite.min() >= 0 and finite.max() <= 1) else 0.0


def relative_difference(
    before: Mapping[str, Any], after: Mapping[str, Any], *, output: str = ""
) -> Any:
    """Return how far ``after`` is from ``before`` in each sample, ``[samples]``, 0 where equal.

    The norm of the difference over the norm of ``before``, the worst output's; infinite where the
    shape or a text differs, or only ``after`` is not finite. Raises InputError ``output-unknown``.
    """
    import numpy as np

    before, after = named_output(before, output), named_output(after, output)
    worst = np.zeros(len(next(iter(before.values()))))
    for name, array in before.items():
        other = after[name]
        alike = array.shape == other.shape and "O" not in array.dtype.kind + other.dtype.kind
        step = max(1, _MOST_CELLS // max(array[:1].size, 1)) if alike else 1
        for start in range(0, len(worst), step):
            rows = slice(start, start + step)
            found = _difference(array[rows], other[rows])
            worst[rows] = np.maximum(worst[rows], found)
    return worst


def _difference(one: Any, other: Any) -> Any:
    """Return the relative difference of each row; of ragged arrays there is one row."""
    import numpy as np

    if "O" in one.dtype.kind + other.dtype.kind:
        one, other = (np.asarray(array[0])[None] for array in (one, other))
    if one.shape != other.shape:
        return np.full(len(one), np.inf)
    one, other = one.reshape(len(one), -1), other.reshape(len(other), -1)
    if one.dtype.kind not in "fiub" or other.dtype.kind not in "fiub":
        same = (one.astype(str) == other.astype(str)).all(axis=1)
        return np.where(same, 0, np.inf)
    one, other = one.astype(float), other.astype(float)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite ends as infinite
        apart = np.sqrt(np.where(same, 0, (one - other) ** 2).sum(axis=1))
        norm = np.sqrt((np.where(np.isfinite(one), one, 0) ** 2).sum(axis=1))
    apart = np.where(np.isfinite(apart), apart, np.inf)
    far = np.divide(apart, norm, out=np.full(len(one), np.inf), where=norm > 0)
    return np.where(apart == 0, 0, far)


def class_labels(labels: Any, samples: int) -> Any:
    """Return labels as one class id a sample, ``[samples]``.

    Takes ``[samples]``, ``[samples, 1]`` or one-hot ``[samples, classes]``. Raises InputError
    ``labels-missing`` or ``labels-misfit``.
    """
    import numpy as np

    labels = checked_labels(labels, samples)
    flat = labels.reshape(samples, -1) if labels.size else np.zeros((samples, 0))
    if labels.dtype.names:
        raise _misfit("they have named fields")
    if flat.shape[1] == 1:
        ids = flat[:, 0]
    elif ((flat == 0) | (flat == 1)).all() and (flat.sum(axis=1) == 1).all():
        ids = flat.argmax(axis=1)
    else:
        raise _misfit(f"they have {flat.shape[1]} values a sample and are not one-hot")
    if ids.dtype.kind == "S":
        return np.array([one.decode("utf-8", "replace") for one in ids.tolist()])
    if ids.dtype.kind in _TEXT_KINDS:
        return ids.astype(str)
    if ids.dtype.kind not in "fiub":
        raise _misfit(f"{ids.dtype} names no classes")
    if ids.dtype.kind == "f":
        real = ids.astype(float)
        if not ((real == np.floor(real)) & (abs(real) < MOST_WHOLE)).all():
            raise _misfit("they are no whole numbers")
    return ids.astype(np.int64) if ids.dtype.kind in "bf" else ids


def checked_labels(labels: Any, samples: int) -> Any:
    """Return ``labels`` as an array with one row a sample, or raise as ``class_labels`` does."""
    import numpy as np

    if labels is None:
        raise InputError(
            "labels-missing",
            "the evaluation data has no labels",
            why="a metric compares what the model answers with what is right",
            fix="save the array `labels`, one row a sample, into the evaluation data",
        )
    labels = np.asarray(labels)
    if labels.ndim == 0 or len(labels) != samples:
        have = len(labels) if labels.ndim else "a single value"
        raise _misfit(f"the model answered {samples} samples and labels have {have}")
    return labels


def same_kind(ids: Any, labels: Any) -> None:
    """Raise InputError ``labels-misfit`` when one side names classes by text and the other by number."""
    if (ids.dtype.kind in _TEXT_KINDS) != (labels.dtype.kind in _TEXT_KINDS):
        kinds = ["text" if one.dtype.kind in _TEXT_KINDS else "numbers" for one in (ids, labels)]
        raise _misfit(f"the model names classes by {kinds[0]}, the labels by {kinds[1]}")


def _misfit(why: str) -> InputError:
    return InputError(
        "labels-misfit",
        "the labels do not fit what the model answers",
        where="labels",
        why=why,
        fix="save labels as the numbers of the classes, in the order of the model's outputs",
    )
