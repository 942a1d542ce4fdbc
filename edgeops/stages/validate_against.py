"""Compare what is measured with its fp32 form, the last published variant, or a revision's."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edgeops.core.gates import Figure, parse_bound
from edgeops.core.variant import read_variant
from edgeops.errors import EdgeopsError, InputError, MissingError, RefusedError, StageFailed
from edgeops.validate import again, relative

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeops.core.events import Events
    from edgeops.core.variant import Variant
    from edgeops.stages.validate_job import Job
    from edgeops.validate.measured import Bench, Measured
    from edgeops.validate.relative import Earlier
    from edgeops.validate.worst import Worst

_CANNOT = (InputError, RefusedError, MissingError, StageFailed)


@dataclass
class Found:
    """What is known of a job so far; all of it is kept when the device is lost."""

    device: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    trials: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    measured: Measured | None = None
    worst: Sequence[Worst] = ()


@dataclass(frozen=True)
class Comparing:
    """A job that was measured on a device which is still reached; figures go into ``found``."""

    job: Job
    measuring: Bench
    found: Found
    events: Events

    def with_fp32(self) -> None:
        """Add the ratio of times to the fp32 form on the same engine."""
        from edgeops.validate.figures import RATIO, same_bytes

        job = self.job
        if job.fp32 is None:
            self.found.figures[RATIO] = Figure(None, noisy=True, absent=job.no_fp32)
        elif job.fp32 == job.folder:
            self.found.figures[RATIO] = same_bytes()
        else:
            self.events.step(f"comparing {job.name} with its fp32 form, in pairs")
            self._pair(RATIO, job.fp32, "")

    def with_earlier(self, against: str) -> None:
        """Add the figures against ``previous``, or the variant of a git revision, ``rev=REV``."""
        metric, figures = self.job.metric, self.found.figures
        names = relative.names_of(against, metric.name)
        earlier = self.job.earlier[against]
        then = read_variant(earlier.folder) if earlier.folder else None
        kept = earlier.kept(metric.name, then.bytes if then else None)
        if names.drop in self.job.gates:
            kept |= self._score(earlier, kept)
        self.found.kept.setdefault("earlier", {})[against] = kept
        figures[names.size] = relative.size_ratio(kept, figures["model_mb"].value or 0.0)
        figures[names.drop] = relative.loss(
            kept, metric, figures.get(metric.name), self.found.kept["accuracy"], self._data
        )
        if then is None:
            figures[names.latency] = replace(relative.missing(kept), noisy=True)
        else:
            self._time(names.latency, earlier, then)

    @property
    def _data(self) -> dict[str, Any]:
        samples = self.job.samples
        return {"digest": samples.digest, "samples": samples.count}

    def _score(self, earlier: Earlier, kept: dict[str, Any]) -> dict[str, Any]:
        """Return what the earlier variant answers to the data of now, where it must be run for it.

        Its evidence will do when that has the metric of now, measured on the same samples.
        """
        from edgeops.validate.accuracy import scored

        job = self.job
        there = kept["data"] == self._data and kept["value"] is not None
        same = relative.same_rule(kept["accuracy"], self.found.kept["accuracy"])
        if earlier.folder is None or (there and same):
            return {}
        self.events.step(f"running {earlier.label} on the same data")
        try:
            outputs = self.measuring.outputs(earlier.folder, events=self.events)
            score = scored(outputs, job.samples.labels, job.metric, output=job.options.output)
        except _CANNOT as error:
            return {"absent": _cannot(earlier, error)}
        value = score.figures[job.metric.name].value
        return {"data": self._data, "value": value, "accuracy": score.kept}

    def _time(self, name: str, earlier: Earlier, then: Variant) -> None:
        if then.digest == self.job.variant.digest:
            method = f"it is {earlier.label}, byte for byte: nothing to compare"
            self.found.figures[name] = Figure(1.0, method=method)
            return
        self.events.step(f"comparing {self.job.name} with {earlier.label}, in pairs")
        try:
            self._pair(name, earlier.folder or self.job.folder, earlier.label)
        except _CANNOT as error:
            absent = _cannot(earlier, error)
            self.found.figures[name] = Figure(None, noisy=True, absent=absent)

    def _pair(self, name: str, against: Path, label: str) -> None:
        """Add the ratio of times against another variant, and its trials.

        Measured until the gate on it is decided, or the time is over.
        """
        job, found = self.job, self.found
        bounds = [parse_bound(job.gates[name]).number] if name in job.gates else []
        try:
            trials = self.measuring.pair(
                job.folder,
                against,
                seconds=job.options.seconds,
                bounds=bounds,
                events=self.events,
            )
        except RefusedError as error:
            if error.code != "binary-pairs":
                raise
            found.figures[name] = Figure(None, noisy=True, absent=error.what)
            return
        found.trials[name] = trials
        found.kept.setdefault("pairs", {})[name] = {"label": label, "trials": trials}
        found.figures[name] = again.paired(found.kept["pairs"][name])


def _cannot(earlier: Earlier, error: EdgeopsError) -> str:
    """Return why an earlier variant cannot be run on this device; raises what is no matter of it."""
    if "disk" in error.code:
        raise error
    why = ": ".join(filter(None, (error.what, error.why)))
    return f"{earlier.label} cannot be run here: {why}"
