"""Hold a quantized variant against the float one it was made from.

With a metric and labelled evaluation data, the loss is the drop of the metric. Without them nothing
is claimed about accuracy; as a guard against collapse, the answers are compared with the float
variant's on the calibration data: at most ``GUARD`` of them may change their class (or, for a model
that names no class, the outputs may differ by ``GUARD_ERROR`` of their norm), more only when
``max_drop`` allows more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeops.core.contracts import Metric, Samples, Session
    from edgeops.core.events import Events
    from edgeops.core.variant import Parity
    from edgeops.quantize.ladder import Outcome
    from edgeops.quantize.search import Judgement

GUARD = 0.05
GUARD_ERROR = 0.2
# Activations of more samples fall out of the cache: 32 at once took 1.3 to 1.7 times as long each.
_BATCH = 8
# Samples that the parity of the final variant is measured on.
_PARITY = 64


def spread(samples: Samples, most: int) -> Samples:
    """Return at most ``most`` samples, evenly spread, so that sorted data keeps its variety."""
    import numpy as np

    if most <= 0 or samples.count <= most:
        return samples
    chosen = np.linspace(0, samples.count - 1, most).round().astype(int)
    return replace(
        samples,
        arrays={name: a if a.ndim == 0 else a[chosen] for name, a in samples.arrays.items()},
        labels=None if samples.labels is None else samples.labels[chosen],
        count=most,
    )


class FloatJudge:
    """The judge that ``quantize.search`` asks; the float variant is run once.

    ``data`` are the samples that are judged on: labelled ones with ``metric``, else the
    calibration data. ``calibration`` are those of the parity.
    """

    def __init__(
        self,
        source: Path,
        data: Samples,
        calibration: Samples,
        metric: Metric | None,
        *,
        output: str,
        max_drop: float,
        events: Events,
    ) -> None:
        self._data, self._calibration = data, calibration
        self._metric, self._output = metric, output
        events.step("run the float model", total=data.count)
        self._source = source
        self._before = _outputs(source, data, events)
        self._value = self._score(self._before)
        guard = GUARD_ERROR if self._agreement(self._before) is None else GUARD
        self.budget = max_drop if metric else max(max_drop, guard)

    def score(self, variant: Path) -> Judgement:
        """Return loss, metric and agreement of the variant in a folder."""
        from edgeops.quantize.search import Judgement
        from edgeops.validate.accuracy import drop

        after = _outputs(variant, self._data)
        agreement = self._agreement(after)
        if self._metric is None:
            loss = relative_error(self._before, after) if agreement is None else 1.0 - agreement
            return Judgement(loss, agreement=agreement)
        lost = drop(self._before, after, self._data.labels, self._metric, output=self._output)
        if lost.value is None:
            return Judgement(float("inf"), agreement=agreement)
        return Judgement(lost.value, self._score(after), lost.value, lost.interval, agreement)

    def parity(self, variant: Path) -> Parity:
        """Return the parity on the calibration data: a quantized model is made for such inputs."""
        from edgeops.convert.proof import compare
        from edgeops.core.variant import read_variant

        data = spread(self._calibration, _PARITY)
        before = self._before if data is self._data else _outputs(self._source, data)
        precision = read_variant(variant, verify=False).precision
        after = _outputs(variant, data)
        return compare(before, after, data.source, data.count, precision=precision)

    def metric_json(self, outcome: Outcome | None) -> dict[str, Any] | None:
        """Return ``metric`` of the result, None when none was measured."""
        if self._metric is None or outcome is None:
            return None
        return {
            "name": self._metric.name,
            "before": self._value,
            "after": outcome.metric,
            "drop": outcome.drop,
            "interval": list(outcome.interval) if outcome.interval else None,
            "samples": self._data.count,
        }

    def _score(self, outputs: Mapping[str, Any]) -> float | None:
        from edgeops.validate.accuracy import evaluate

        if self._metric is None:
            return None
        labels = self._data.labels
        return evaluate(outputs, labels, self._metric, output=self._output, rounds=0).value

    def _agreement(self, outputs: Mapping[str, Any]) -> float | None:
        """Return the share of samples with the float model's class, None where there are none."""
        from edgeops.validate.accuracy import agreement

        try:
            return agreement(self._before, outputs, output=self._output).value
        except InputError:
            return None


def relative_error(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    """Return the norm of the difference over the norm of ``before``, the worst output's.

    Infinite where only ``after`` is not finite or has another size.
    """
    import numpy as np

    worst = 0.0
    for name, array in before.items():
        one, other = (
            np.concatenate([np.ravel(row) for row in side] or [np.empty(0)])
            for side in (array, after[name])
        )
        if one.dtype.kind not in "fiub":
            continue
        if one.size != other.size or not np.isfinite(other[np.isfinite(one)]).all():
            return float("inf")
        finite = np.isfinite(one)
        one, other = one[finite].astype(np.float64), other[finite].astype(np.float64)
        error, size = float(np.linalg.norm(one - other)), float(np.linalg.norm(one))
        worst = max(worst, error / max(size, 1e-12))
    return worst


def _outputs(variant: Path, samples: Samples, events: Events | None = None) -> dict[str, Any]:
    from edgeops.runtime.batch import run_batched
    from edgeops.runtime.session import load_session

    session: Session = load_session(variant)
    return run_batched(session, samples, events=events, limit=_BATCH)
