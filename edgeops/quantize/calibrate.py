"""Find the range of every activation in bounded memory.

Two passes over the data, a few samples at a time, each through a copy of the model:

1. least, greatest and sum of every tensor are reduced inside the graph; only those leave it.
   That is all ``minmax`` needs.
2. for ``entropy`` and ``percentile`` a thinned view of every tensor leaves the graph, in groups
   of at most ``GROUP_BYTES``, and is counted into histograms of 2048 bins.

Nothing but ranges and histograms (16 KiB a tensor) outlives a call of the model, so the peak does
not depend on the number of samples. Tensors of more than ``VALUES`` values over the whole data
set are thinned to about that many by a fixed stride that shares no factor with the tensor's
size; their least and greatest value always come from all of them. One thread is used, so that the
same data gives the same ranges on any number of cores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from edgeops.core.events import Silence
from edgeops.errors import InputError
from edgeops.quantize import graph
from edgeops.quantize.histogram import PERCENTILE, Histogram, entropy_range, percentile_range

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeops.core.contracts import Samples
    from edgeops.core.events import Events
    from edgeops.core.variant import TensorInfo
    from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession

Method = Literal["minmax", "entropy", "percentile"]
METHODS: tuple[Method, ...] = ("minmax", "entropy", "percentile")
VALUES = 1 << 20
GROUP_BYTES = 16 << 20
# Activations of one call, all tensors together, when several samples are fed at once.
CALL_BYTES = 8 << 20
_MOST_SAMPLES = 32


@dataclass(frozen=True)
class Ranges:
    """The range of every activation by tensor name, always with zero in it.

    ``unbounded`` are tensors in which an infinity was seen (masks): they cannot be quantized.
    """

    method: Method
    bounds: Mapping[str, tuple[float, float]]
    unbounded: frozenset[str] = frozenset()
    samples: int = 0


@dataclass
class _Seen:
    low: float = math.inf
    high: float = -math.inf
    size: int = 0
    infinite: bool = False


@dataclass
class Calibrator:
    """Ranges of one model on one data set; each pass is made once, when it is first needed.

    ``model`` is an onnx.ModelProto from ``graph.prepare``, ``inputs`` are its inputs, ``samples``
    fit them.
    """

    model: Any
    inputs: Sequence[TensorInfo]
    samples: Samples
    tensors: Sequence[str]
    events: Events = field(default_factory=Silence)
    percentile: float = PERCENTILE
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _histograms: dict[str, Histogram] = field(default_factory=dict)

    def ranges(self, method: Method) -> Ranges:
        """Return the ranges by one method.

        Raises InputError ``calibration-empty`` and ``calibration-nan``.
        """
        self._first_pass()
        if method != "minmax":
            self._second_pass()
        bounds = {}
        for name, seen in self._seen.items():
            if seen.infinite:
                continue
            low, high = seen.low, seen.high
            if name in self._histograms and method == "entropy":
                low, high = entropy_range(self._histograms[name])
            elif name in self._histograms and method == "percentile":
                low, high = percentile_range(self._histograms[name], self.percentile)
            bounds[name] = (min(low, 0.0), max(high, 0.0))
        unbounded = frozenset(name for name, seen in self._seen.items() if seen.infinite)
        return Ranges(method, bounds, unbounded, self.samples.count)

    def _first_pass(self) -> None:
        if self._seen or not self.tensors:
            return
        if not self.samples.count:
            raise InputError(
                "calibration-empty",
                "the calibration data holds no sample",
                where=self.samples.source,
                why="the ranges of activations are measured on it",
                fix="give at least some tens of samples like those the device will see",
            )
        self._seen = {name: _Seen() for name in self.tensors}
        session = session_of(graph.with_statistics(self.model, self.tensors))
        self.events.step("calibrate: ranges", total=self.samples.count)
        self._note(session, 0, 1, 1)
        if self.samples.count > 1:
            self._note(session, 1, self.samples.count, self._batch())

    def _note(self, session: OnnxRuntimeSession, start: int, stop: int, limit: int) -> None:
        """Widen the ranges by the samples from ``start`` up to ``stop``."""
        for feed, count in self.feeds(limit, start=start, stop=stop):
            broken = self._widen(list(session.run(feed).values()))
            if broken and count > 1 and limit > 1:
                # One by one, to name the sample; nothing is lost, for it ends in a refusal.
                self._note(session, start, start + count, 1)
            if broken:
                raise _not_a_number(broken, start, self.samples.source)
            start += count
            self.events.advance(count)

    def _widen(self, values: list[Any]) -> str:
        """Take in the statistics of one call; return the first tensor that is not a number."""
        for index, (name, seen) in enumerate(self._seen.items()):
            low, high, total, size = (float(value) for value in values[4 * index : 4 * index + 4])
            if not size:
                continue
            bounded = math.isfinite(low) and math.isfinite(high)
            if math.isnan(low) or math.isnan(high) or (math.isnan(total) and bounded):
                return name
            seen.low, seen.high = min(seen.low, low), max(seen.high, high)
            seen.size = max(seen.size, int(size))
            seen.infinite |= not bounded
        return ""

    def _batch(self) -> int:
        """Return how many samples at once keep a call's activations within CALL_BYTES."""
        bytes_each = 4 * sum(seen.size for seen in self._seen.values())
        return max(1, min(_MOST_SAMPLES, CALL_BYTES // max(bytes_each, 1)))

    def _second_pass(self) -> None:
        if self._histograms:
            return
        self._histograms = {
            name: Histogram(seen.low, seen.high)
            for name, seen in self._seen.items()
            if seen.low < seen.high and not seen.infinite and math.isfinite(seen.high - seen.low)
        }
        groups = list(self._groups())
        self.events.step("calibrate: histograms", total=len(groups) * self.samples.count)
        for strides in groups:
            session = session_of(graph.with_thinned(self.model, strides))
            for feed, count in self.feeds(1):
                for name, values in zip(strides, session.run(feed).values(), strict=True):
                    self._histograms[name].add(values)
                self.events.advance(count)

    def _groups(self) -> Iterator[dict[str, int]]:
        """Yield tensors with their strides, so that each group's values fit in GROUP_BYTES."""
        each = max(1, VALUES // self.samples.count)
        group: dict[str, int] = {}
        used = 0
        for name in self._histograms:
            size = self._seen[name].size
            step = stride(size, each)
            weight = 4 * math.ceil(size / step)
            if group and used + weight > GROUP_BYTES:
                yield group
                group, used = {}, 0
            group[name] = step
            used += weight
        if group:
            yield group

    def feeds(
        self, limit: int, *, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield calls of the model with how many samples each holds, at most ``limit``."""
        from edgeops.runtime.batch import feeds

        return feeds(cut(self.samples, start, stop), self.inputs, limit)


def stride(size: int, most: int) -> int:
    """Return the least stride that leaves about ``most`` of ``size`` values in no step with it."""
    step = max(1, size // most)
    while step > 1 and math.gcd(step, size) != 1:
        step += 1
    return step


def cut(samples: Samples, start: int, stop: int | None = None) -> Samples:
    """Return the samples from ``start`` up to ``stop`` as a data set of their own."""
    from dataclasses import replace

    end = samples.count if stop is None else min(stop, samples.count)
    return replace(
        samples,
        arrays={
            name: array if array.ndim == 0 else array[start:end]
            for name, array in samples.arrays.items()
        },
        labels=None if samples.labels is None else samples.labels[start:end],
        count=max(end - start, 0),
    )


def session_of(model: Any, *, optimize: bool = True) -> OnnxRuntimeSession:
    """Return a session of one thread for a model in memory."""
    from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession

    return OnnxRuntimeSession(
        model.SerializeToString(), 1, optimize=optimize, where="the model to be quantized"
    )


def _not_a_number(tensor: str, sample: int, source: str) -> InputError:
    return InputError(
        "calibration-nan",
        f"the tensor {tensor!r} came out as NaN on the calibration data",
        where=f"{source}, sample {sample} (the first is 0)",
        why="no range can be given to what is not a number; the float model fails on this sample too",
        fix="look at that sample: NaN in the data, a division by zero or a logarithm of zero",
    )
