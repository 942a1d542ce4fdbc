"""Tell whether the converted model is the same function as its source, on real samples.

One figure can lie: a cosine of 0.9988 was seen with outputs 200 times too large. So the relative
error, the ratio of norms and the cosine are all bounded, each at its worst sample and output.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeops.core.variant import Parity
from edgeops.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Tolerance:
    """What a precision may differ by.

    ``rel``: norm of the difference over norm of the source's output; ``norm``: distance of the
    ratio of norms from 1; ``cosine``: least allowed; ``absolute``: a largest difference below which
    the relative bounds do not count (outputs near zero); ``exact``: least share of equal integers;
    ``steps``: how many steps integers of a quantized tensor may be apart and still count as equal.
    """

    rel: float
    norm: float
    cosine: float
    absolute: float
    exact: float
    steps: int = 0


# int8 is judged by its accuracy, in quantize; its bounds here only catch a broken conversion.
TOLERANCES = {
    "fp32": Tolerance(rel=1e-3, norm=1e-3, cosine=0.99999, absolute=1e-5, exact=1.0),
    "fp16": Tolerance(rel=2e-2, norm=2e-2, cosine=0.999, absolute=1e-3, exact=0.99),
    "int8": Tolerance(rel=1.0, norm=0.5, cosine=0.8, absolute=1e-2, exact=0.8),
    # Quantized already in the source: the same integers, but engines round halves differently,
    # which moves a value by one step of its scale, here and there, in every layer.
    "quantized": Tolerance(rel=0.1, norm=0.05, cosine=0.995, absolute=1e-2, exact=0.98, steps=1),
}
_QUANTIZED_BYTES = 2  # int8, uint8, int16
_LOOSENESS = ("fp32", "fp16", "quantized")


@dataclass(frozen=True)
class OutputParity:
    """The figures of one output; ``problem`` is empty when it is within the tolerance."""

    name: str
    max_abs: float = 0.0
    max_rel: float = 0.0
    norm_ratio: float = 1.0
    cosine: float = 1.0
    top1: float | None = None
    problem: str = ""
    sample: int = 0


def bounds_for(precision: str, source: str) -> str:
    """Return the tolerance for a precision that was asked for, given what the source computes in.

    A source cannot be held to more than it has itself: float16 stays float16, and one that is
    quantized is compared step by step.
    """
    given = "quantized" if source == "int8" else source
    if precision not in _LOOSENESS or given not in _LOOSENESS:
        return precision
    return max(precision, given, key=_LOOSENESS.index)


def compare(
    reference: Mapping[str, Any],
    outputs: Mapping[str, Any],
    data: str,
    samples: int,
    *,
    precision: str = "fp32",
) -> Parity:
    """Return how near ``outputs`` are to the source model's, first axis = samples.

    Raises nothing for figures out of bounds (``passed`` says so); RefusedError ``parity-layout``
    when names, shapes or dtypes differ, ``parity-nan`` when only one side is not finite.
    """
    return summary(each_output(reference, outputs, precision), data, samples)


def each_output(
    reference: Mapping[str, Any], outputs: Mapping[str, Any], precision: str = "fp32"
) -> list[OutputParity]:
    """Return the figures output by output; raises as ``compare`` does."""
    missing = [name for name in reference if name not in outputs]
    if missing:
        raise _layout(missing[0], f"the converted model has only {', '.join(outputs)}")
    bounds = TOLERANCES.get(precision, TOLERANCES["fp32"])
    return [
        _output(name, _text(reference[name]), _text(outputs[name]), bounds) for name in reference
    ]


def summary(parts: list[OutputParity], data: str, samples: int) -> Parity:
    """Return the worst of all outputs as one Parity."""
    shares = [part.top1 for part in parts if part.top1 is not None]
    return Parity(
        samples=samples,
        max_abs=max((part.max_abs for part in parts), default=0.0),
        max_rel=max((part.max_rel for part in parts), default=0.0),
        norm_ratio=max((part.norm_ratio for part in parts), key=_off, default=1.0),
        cosine=min((part.cosine for part in parts), default=1.0),
        top1=min(shares) if shares else None,
        passed=not any(part.problem for part in parts),
        data=data,
    )


def refusal(parts: list[OutputParity], parity: Parity) -> RefusedError:
    """Return the error for a parity that did not pass."""
    worst = next(part for part in parts if part.problem)
    return RefusedError(
        "parity-failed",
        f"the converted model gives another result for {worst.name!r}",
        where=worst.name,
        why=f"{worst.problem}, on {parity.samples} samples of {parity.data}",
        fix="convert with simplify: false (--no-simplify), or fp32 instead of fp16; "
        "nothing was written",
        result={"parity": asdict(parity)},
    )


def _output(name: str, expected: Any, found: Any, bounds: Tolerance) -> OutputParity:
    if expected.dtype.kind != found.dtype.kind:
        raise _layout(name, f"it was {expected.dtype} and became {found.dtype}")
    if len(expected) != len(found):
        raise _layout(name, f"{len(expected)} rows became {len(found)}")
    if expected.dtype.kind in "biuUS":
        return _exact(name, expected, found, bounds)
    worst = OutputParity(name)
    same_top = 0
    scores = is_score(expected)
    for index, (row, other) in enumerate(_rows(name, expected, found)):
        worst = worse(worst, _row(name, index, row, other, bounds))
        if not scores or not row.size:
            continue
        if row.argmax() == other.argmax():
            same_top += 1
        elif problem := _overturned(index, row, other, bounds):
            worst = worse(worst, OutputParity(name, problem=problem, sample=index))
    if not scores or not expected.size:
        return worst
    return replace(worst, top1=same_top / len(expected))


def _text(array: Any) -> Any:
    """Return text that came as objects, as ONNX Runtime gives it, as text; all else as it is."""
    objects = array.dtype.kind == "O" and array.size and isinstance(array.flat[0], (str, bytes))
    return array.astype(str) if objects else array


def _overturned(index: int, row: Any, other: Any, bounds: Tolerance) -> str:
    """Return what is wrong with another winning class, "" when the source itself was undecided."""
    import numpy as np

    second, first = np.sort(row)[-2:]
    margin = float(first - second)
    tolerance = max(bounds.absolute, bounds.rel * float(np.linalg.norm(row)))
    if not margin > tolerance:
        return ""
    return (
        f"sample {index}: class {int(other.argmax())} instead of {int(row.argmax())}, "
        f"which led by {margin:.3g}"
    )


def _rows(name: str, expected: Any, found: Any) -> Iterator[tuple[Any, Any]]:
    import numpy as np

    for row, other in zip(expected, found, strict=True):
        if np.shape(row) != np.shape(other):
            raise _layout(name, f"its shape was {np.shape(row)} and became {np.shape(other)}")
        yield np.asarray(row, dtype="float64").ravel(), np.asarray(other, dtype="float64").ravel()


def _row(name: str, index: int, row: Any, other: Any, bounds: Tolerance) -> OutputParity:
    import numpy as np

    finite = np.isfinite(row)
    agree = np.isfinite(other) == finite
    same = (row == other) | (np.isnan(row) & np.isnan(other))
    if not agree.all() or not same[~finite].all():
        raise RefusedError(
            "parity-nan",
            f"the converted model gives NaN or infinity in {name!r} where its source does not",
            where=name,
            why=f"sample {index}: {int((~agree).sum())} of {row.size} values",
            fix="use fp32: values beyond 65504 do not fit into float16",
        )
    row, other = row[finite], other[finite]
    if not row.size:
        return OutputParity(name)
    max_abs = float(np.abs(row - other).max())
    before, after = float(np.linalg.norm(row)), float(np.linalg.norm(other))
    # A source of zeros has no relative error: the floor makes it one of absolute size.
    floor = max(before, 1e-12)
    rel = float(np.linalg.norm(row - other)) / floor
    ratio = after / floor if before else (1.0 if not after else after / floor)
    cosine = float(row @ other) / (before * after) if before and after else float(before == after)
    cosine = min(cosine, 1.0)
    problem = _problem(index, max_abs, rel, ratio, cosine, bounds)
    if max_abs <= bounds.absolute and not before:
        rel, ratio, cosine = 0.0, 1.0, 1.0
    return OutputParity(name, max_abs, rel, ratio, cosine, problem=problem, sample=index)


def _problem(
    index: int, max_abs: float, rel: float, ratio: float, cosine: float, bounds: Tolerance
) -> str:
    if max_abs <= bounds.absolute:
        return ""
    if rel > bounds.rel:
        return f"sample {index}: relative error {rel:.3g}, allowed {bounds.rel:g}"
    if _off(ratio) > bounds.norm:
        return f"sample {index}: norm ratio {ratio:.4g}, allowed 1 +- {bounds.norm:g}"
    if cosine < bounds.cosine:
        return f"sample {index}: cosine {cosine:.6f}, at least {bounds.cosine:g} is needed"
    return ""


def _exact(name: str, expected: Any, found: Any, bounds: Tolerance) -> OutputParity:
    import numpy as np

    if expected.shape != found.shape:
        raise _layout(name, f"its shape was {expected.shape} and became {found.shape}")
    equal = expected == found
    if bounds.steps and expected.dtype.itemsize <= _QUANTIZED_BYTES and expected.dtype.kind in "iu":
        equal = abs(expected.astype("int32") - found.astype("int32")) <= bounds.steps
    share = float(equal.mean()) if expected.size else 1.0
    max_abs = 0.0
    if expected.dtype.kind in "iu" and expected.size:
        max_abs = float(np.abs(expected.astype("float64") - found.astype("float64")).max())
    elif expected.size:
        max_abs = float(not equal.all())
    by_sample = equal.reshape(len(expected), -1).all(axis=1) if len(expected) else equal
    top1 = float(by_sample.mean()) if expected.ndim == 1 and expected.size else None
    problem, sample = "", 0
    if share < bounds.exact:
        off = int(expected.size - equal.sum())
        problem = f"{off} of {expected.size} integer values differ"
        sample = int(by_sample.argmin())
    return OutputParity(name, max_abs=max_abs, top1=top1, problem=problem, sample=sample)


def worse(a: OutputParity, b: OutputParity) -> OutputParity:
    """Return the worst figures of two comparisons of one output."""
    return OutputParity(
        a.name,
        max(a.max_abs, b.max_abs),
        max(a.max_rel, b.max_rel),
        max((a.norm_ratio, b.norm_ratio), key=_off),
        min(a.cosine, b.cosine),
        problem=a.problem or b.problem,
        sample=a.sample if a.problem else b.sample,
    )


def is_score(array: Any) -> bool:
    """Return whether an output looks like samples x classes, which may have axes of one around."""
    if array.dtype.kind != "f" or array.ndim not in (2, 4):
        return False
    return bool(sum(size > 1 for size in array.shape[1:]) == 1)


def _off(ratio: float) -> float:
    return abs(ratio - 1.0)


def _layout(name: str, why: str) -> RefusedError:
    return RefusedError(
        "parity-layout",
        f"the converted model answers {name!r} in another form than its source",
        where=name,
        why=why,
        fix="convert with simplify: false (--no-simplify), and report the model if that helps",
    )
