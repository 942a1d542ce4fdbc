"""Warm a candidate up with requests until the gate lets it pass, and look at its answers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError, InputError
from edgeops.runtime.serving import gate as gates
from edgeops.runtime.serving.requests import PREDICT, RUN, reserve
from edgeops.runtime.serving.sanity import Checks, left_tolerance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeops.runtime.baseline import Baseline
    from edgeops.runtime.serving.child import Child
    from edgeops.runtime.serving.gate import Gate
    from edgeops.runtime.serving.local import Local
    from edgeops.runtime.serving.requests import Request

# A candidate that is warmed in one go would take a whole processor from the model that serves.
_MOST_PAUSE_S = 0.02


@dataclass(frozen=True)
class Verdict:
    """What became of a candidate: ``why`` says so in words, ``code`` by name where it was refused.

    ``fix`` says what to do where the device lacks something, which is no fault of the candidate.
    ``figures`` hold what was measured: ``calls``, ``mean_last_ms``, ``bound_ms``, ``tolerance``,
    ``load_ms``, ``warm_s``, ``requests`` (``recorded`` or ``synthetic``), ``baseline_samples``.
    """

    accepted: bool
    why: str
    figures: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON."""
        return {
            "accepted": self.accepted,
            "code": self.code,
            "why": self.why,
            "figures": self.figures,
            "fix": self.fix,
        }


def warm_up(
    runner: Local | Child,
    requests: Sequence[Request],
    gate: Gate,
    *,
    finite: bool = True,
    baseline: Baseline | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Verdict:
    """Replay requests until the gate decides; answers are looked at first and all the way.

    Requests that the candidate refuses as bad input are left out, for inputs may differ between
    versions; when none is left its model alone is asked.
    """
    figures: dict[str, Any] = {"bound_ms": gate.bound_ms, "tolerance": gate.tolerance}
    if baseline is not None:
        figures["baseline_samples"] = len(baseline.rows)
        why = _against(runner, baseline, clock, sleep)
        if why:
            return Verdict(False, why, figures, "warmup-insane")
    begun = clock()
    fit, spare = list(requests) or reserve(runner.arrays), bool(requests)
    checks = {
        PREDICT: Checks(runner.tensors, finite=finite),
        RUN: Checks(runner.outputs, finite=finite),
    }
    times: list[float] = []
    word = gates.WARMING
    while fit and word == gates.WARMING:
        place = len(times) % len(fit)
        start = clock()
        try:
            answer = getattr(runner, fit[place].do)(fit[place].values)
        except InputError:
            del fit[place]
            if not fit and not times and spare:
                fit, spare = reserve(runner.arrays), False
            continue
        except Exception as error:  # noqa: BLE001 - whatever an engine raises refuses it
            return Verdict(False, _words(error), figures, "warmup-failed")
        took = clock() - start
        times.append(took * 1000)
        found = checks[fit[place].do].problem(answer)
        if found is not None:
            return Verdict(False, f"{found[0]}: {found[1]}", figures, "warmup-insane")
        word = gates.judge(times, clock() - begun, gate)
        if word == gates.WARMING:
            sleep(min(took, _MOST_PAUSE_S))
    return _verdict(word, times, clock() - begun, gate, figures)


def _verdict(
    word: str, times: list[float], elapsed_s: float, gate: Gate, figures: dict[str, Any]
) -> Verdict:
    last = times[-max(1, gate.calls) :]
    mean = sum(last) / len(last) if last else None
    figures |= {
        "calls": len(times),
        "first_ms": round(times[0], 4) if times else None,
        "mean_last_ms": None if mean is None else round(mean, 4),
        "warm_s": round(elapsed_s, 4),
    }
    if mean is None:
        return Verdict(
            False,
            "it refuses every request that there is to warm it with",
            figures,
            "warmup-failed",
        )
    told = f"the mean of its last {len(last)} calls is {mean:.3g} ms"
    limit = gate.limit_ms
    if word == gates.READY:
        bound = "nothing to compare it with" if limit is None else f"at or under {limit:.3g} ms"
        return Verdict(True, f"{told}, {bound}", figures)
    why = f"{told} after {elapsed_s:.3g} s"
    if limit is not None:
        why += f", and had to be at or under {limit:.3g} ms"
    return Verdict(False, why, figures, "warmup-too-slow")


def _against(
    runner: Local | Child,
    baseline: Baseline,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> str:
    """Return what of the bundle's baseline the candidate does not answer, "" when it does."""
    answers = []
    for row in baseline.rows:
        sample = {
            name: array if array.ndim == 0 else array[row : row + 1]
            for name, array in baseline.inputs.items()
        }
        start = clock()
        try:
            answers.append(runner.run(sample))
        except Exception as error:  # noqa: BLE001 - as above
            return f"it fails on sample {row} of its baseline: {_words(error)}"
        sleep(min(clock() - start, _MOST_PAUSE_S))
    found = next(left_tolerance(baseline.outputs, answers, baseline.tolerance), "")
    return f"it does not answer as its baseline says: {found}" if found else ""


def _words(error: Exception) -> str:
    if isinstance(error, EdgeopsError):
        return f"{error.code}: {error.what}" + (f" ({error.why})" if error.why else "")
    return f"{type(error).__name__}: {error}"
