"""Record a baseline on a device, replay one there, and name what left tolerance first."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.contracts import Samples
from edgeops.runtime.baseline import Baseline, Case, ragged
from edgeops.runtime.probe import FORMAT, read_outputs, write_samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeops.core.contracts import Device, Tell
    from edgeops.core.events import Events
    from edgeops.core.variant import Variant

# What an element may differ by, as a share of the largest value of its output in the baseline:
# what the proof of a conversion lets fp32 and fp16 differ by, and some steps of a quantized range.
TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "int8": 1e-1}
SAMPLES = 64
_MOST_INPUTS = 4
_FLOATS = "f"


@dataclass(frozen=True)
class Answers:
    """What a variant answered: outputs of the samples in ``rows``, error codes of the others."""

    outputs: Mapping[str, Any]
    rows: tuple[int, ...]
    errors: Mapping[int, str]
    engine_version: str = ""


@dataclass(frozen=True)
class Player:
    """A reached device, and how a variant is to be run there."""

    reached: Device
    threads: int = 1
    timeout_s: float = 600.0
    options: Mapping[str, Any] | None = None

    def play(self, variant: Path, sets: Sequence[Samples], events: Events) -> list[Answers]:
        """Run each sample of each set by itself and return what came; raises what devices raise."""
        with tempfile.TemporaryDirectory(prefix="edgeops-baseline-") as scratch:
            self.reached.push(variant, "replayed")
            found = []
            for number, samples in enumerate(sets):
                here, name = Path(scratch), f"replay{number}.npz"
                about = write_samples(here / name, samples)
                self.reached.push(here / name, name)
                request = {
                    "format": FORMAT,
                    "do": "replay",
                    "variant": "replayed",
                    "threads": self.threads,
                    "data": about,
                    "out": f"answers{number}.npz",
                    **(self.options or {}),
                }
                answer = self.reached.run(request, timeout_s=self.timeout_s, tell=telling(events))
                self.reached.pull(request["out"], here / str(request["out"]))
                found.append(_answers(here / str(request["out"]), answer))
        return found


def telling(events: Events) -> Tell:
    """Return what shows the measuring program's progress as that of this work."""

    def tell(said: Mapping[str, Any]) -> None:
        if said["say"] == "step":
            events.step(str(said["what"]), total=said.get("total"))
        elif said["say"] == "advance":
            events.advance(int(said["parts"]))

    return tell


def _answers(path: Path, answer: Mapping[str, Any]) -> Answers:
    return Answers(
        read_outputs(path, answer["outputs"]),
        tuple(answer["outputs"]["rows"]),
        {int(index): error["code"] for index, error in answer["errors"].items()},
        str(answer.get("engine_version", "")),
    )


def record(
    variant: Variant,
    folder: Path,
    samples: Samples,
    player: Player,
    *,
    tolerance: float | None,
    events: Events,
) -> Baseline:
    """Return the baseline of a variant: what it answers to samples, and what it refuses.

    Inputs of a wrong shape, rank or dtype and of nothing but NaN are tried; those that the engine
    refuses become cases that must fail.
    """
    bad = list(bad_inputs(variant, samples))
    sets = [samples, _together(variant, bad, samples)] if bad else [samples]
    good, *tried = player.play(folder, sets, events)
    refused = tried[0].errors if tried else {}
    cases = [
        replace(case, error=refused[index]) for index, case in enumerate(bad) if index in refused
    ]
    return Baseline(
        about={
            "variant": variant.digest,
            "model": variant.source,
            "engine": variant.engine,
            "engine_version": good.engine_version,
            "precision": variant.precision,
            "data": {"source": samples.source, "digest": samples.digest},
        },
        count=samples.count,
        inputs={tensor.name: samples.arrays[tensor.name] for tensor in variant.inputs},
        outputs=good.outputs,
        rows=good.rows,
        errors=good.errors,
        tolerance=TOLERANCES.get(variant.precision, 1e-3) if tolerance is None else tolerance,
        cases=tuple(cases),
    )


def bad_inputs(variant: Variant, samples: Samples) -> Iterator[Case]:
    """Yield inputs that no variant should take, made from the first sample; errors are open.

    The arrays are those of one sample, without the axis of samples.
    """
    import numpy as np

    first = {
        name: array if array.ndim == 0 else np.asarray(array[0])
        for name, array in samples.arrays.items()
    }
    for tensor in variant.inputs[:_MOST_INPUTS]:
        right = first[tensor.name]
        if not right.ndim:
            continue
        wrong = {
            "one value too many": np.concatenate([right, right[..., -1:]], axis=-1),
            "one axis too many": right[None],
            "another dtype": np.zeros(right.shape, np.int32 if right.dtype.kind == "f" else "f4"),
        }
        if right.dtype.kind in _FLOATS:
            wrong["nothing but NaN"] = np.full_like(right, np.nan)
        for name, array in wrong.items():
            yield Case(f"{tensor.name}: {name}", {**first, tensor.name: array}, "")


def _together(variant: Variant, cases: Sequence[Case], samples: Samples) -> Samples:
    """Return cases as samples whose shapes differ from one to the next."""
    import numpy as np

    arrays = {}
    for tensor in variant.inputs:
        parts = [case.arrays[tensor.name] for case in cases]
        if samples.arrays[tensor.name].ndim == 0:
            arrays[tensor.name] = samples.arrays[tensor.name]
        elif parts[0].ndim == 0:
            arrays[tensor.name] = np.stack(parts)
        else:
            arrays[tensor.name] = ragged(parts)
    return Samples(arrays, None, len(cases), "bad inputs", "")


def replay(
    baseline: Baseline,
    variant: Variant,
    folder: Path,
    player: Player,
    *,
    tolerance: float | None,
    events: Events,
) -> dict[str, Any]:
    """Replay a baseline on a device and return what came of it.

    ``tolerance`` None takes the looser of what the baseline and this variant's precision allow.
    The result has ``outputs`` (each with ``left``, how many samples left tolerance, and its
    ``worst`` element), ``errors`` (expected and found, where they differ), ``first`` and ``passed``.
    """
    arrays = baseline.inputs
    given = Samples(arrays, None, baseline.count, "baseline", baseline.digest)
    sets = [given]
    if baseline.cases:
        sets.append(_together(variant, baseline.cases, given))
    good, *tried = player.play(folder, sets, events)
    if tolerance is None:
        tolerance = max(baseline.tolerance, TOLERANCES.get(variant.precision, 0.0))
    return {
        "tolerance": tolerance,
        "engine_version": good.engine_version,
        **compare(baseline, good, tried[0].errors if tried else {}, tolerance),
    }


def compare(
    baseline: Baseline, found: Answers, refused: Mapping[int, str], tolerance: float
) -> dict[str, Any]:
    """Return where answers leave a baseline; pure. ``refused`` are the errors of its cases."""
    errors = [
        {"sample": index, "expected": code, "found": found.errors.get(index)}
        for index, code in sorted(baseline.errors.items())
        if found.errors.get(index) != code
    ]
    errors += [
        {"sample": index, "expected": None, "found": code}
        for index, code in sorted(found.errors.items())
        if index not in baseline.errors
    ]
    cases = [
        {"case": case.name, "expected": case.error, "found": refused.get(number)}
        for number, case in enumerate(baseline.cases)
        if refused.get(number) != case.error
    ]
    outputs = [
        _output(name, expected, baseline.rows, found, tolerance)
        for name, expected in baseline.outputs.items()
    ]
    left = [output["first"] for output in outputs if output["first"]]
    first = min(left, key=lambda one: one["sample"], default=None)
    return {
        "outputs": outputs,
        "first": first,
        "errors": errors,
        "cases": cases,
        "passed": not (left or errors or cases),
    }


def _output(
    name: str, expected: Any, rows: Sequence[int], found: Answers, tolerance: float
) -> dict[str, Any]:
    """Return how one output came out: how many samples left tolerance, the first, the worst."""
    if name not in found.outputs:
        gone = {"output": name, "sample": rows[0] if rows else 0, "why": "there is no such output"}
        return {"name": name, "left": len(rows), "allowed": None, "worst": None, "first": gone}
    allowed = tolerance * _largest(expected)
    places = {row: place for place, row in enumerate(found.rows)}
    each: list[dict[str, Any]] = [
        {"output": name, "sample": row, **_difference(expected[place], found.outputs[name][here])}
        for place, (row, here) in enumerate((row, places.get(row)) for row in rows)
        if here is not None
    ]
    far = [one.pop("far") for one in each]
    left = [one for one, distance in zip(each, far, strict=True) if distance > allowed]
    worst = each[far.index(max(far))] if each else None
    return {
        "name": name,
        "left": len(left),
        "allowed": allowed,
        "worst": worst,
        "first": left[0] if left else None,
    }


def _largest(expected: Any) -> float:
    import numpy as np

    parts = expected if expected.dtype.kind == "O" else [expected]
    finite = [
        np.abs(part[np.isfinite(part)])
        for part in map(np.asarray, parts)
        if part.dtype.kind in _FLOATS
    ]
    return max((float(part.max()) for part in finite if part.size), default=0.0)


def _difference(right: Any, here: Any) -> dict[str, Any]:
    """Return the worst element of one sample of an output; ``far`` is how far apart it is.

    ``why`` says what else than a difference within reason it is, such as NaN on one side.
    """
    import numpy as np

    right, here = np.asarray(right), np.asarray(here)
    if right.shape != here.shape:
        why = f"its shape is {list(here.shape)}, not {list(right.shape)}"
        return {"far": math.inf, "why": why, "difference": None}
    if not right.size:
        return {"far": 0.0, "why": "", "difference": 0.0}
    flat, other = np.atleast_1d(right), np.atleast_1d(here)
    if right.dtype.kind in _FLOATS and here.dtype.kind in _FLOATS:
        with np.errstate(invalid="ignore", over="ignore"):
            far = np.abs(flat.astype(float) - other.astype(float))
        same = (flat == other) | (np.isnan(flat) & np.isnan(other))
        far = np.where(same, 0.0, np.where(np.isnan(far), np.inf, far))
    else:
        # Classes, counts and texts are what they are: nothing near them will do.
        far = np.where(flat == other, 0.0, np.inf)
    place = np.unravel_index(int(far.argmax()), far.shape)
    worst = float(far[place])
    finite = math.isfinite(worst)
    return {
        "far": worst,
        "why": "" if finite else f"{_plain(other[place])!r} came, not {_plain(flat[place])!r}",
        "element": [int(one) for one in place][: right.ndim],
        "expected": _plain(flat[place]),
        "found": _plain(other[place]),
        "difference": worst if finite else None,
    }


def _plain(value: Any) -> Any:
    """Return one element as JSON; what is no finite number as text."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, float) and math.isfinite(plain):
        return plain
    return plain if isinstance(plain, bool | int) else str(plain)
