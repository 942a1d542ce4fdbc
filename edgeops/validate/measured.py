"""Have a device measure a variant: what goes over, what is asked, what comes back."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core import registry
from edgeops.runtime.probe import FORMAT, read_outputs, write_samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeops.core.contracts import Device, Samples
    from edgeops.core.events import Events

# Fresh processes that share the time budget: each load lies differently in memory, so more of them
# say more than a longer loop in one.
PROCESSES = 3
TRIALS = 9
LEAST_CALLS = 10
_FEW_SAMPLES = 64
_FEW_BYTES = 32_000_000


@dataclass(frozen=True)
class Measured:
    """What the probe answered in each fresh process, and the outputs of the whole data set."""

    answers: tuple[dict[str, Any], ...]
    outputs: dict[str, Any]


@contextmanager
def device(text: str) -> Iterator[Device]:
    """Yield the device that ``KIND`` or ``KIND:ADDRESS`` names, with an empty work folder.

    Raises MissingError ``plugin-unknown`` for a kind that nobody registered.
    """
    kind, _, address = text.partition(":")
    plugin: Device = registry.get("devices", kind)
    with plugin.reach(address) as reached:
        yield reached


@contextmanager
def bench(reached: Device, samples: Samples, *, threads: int, timeout_s: float) -> Iterator[Bench]:
    """Yield a bench: the samples are pushed to a reached device, scratch files are removed."""
    with tempfile.TemporaryDirectory(prefix="edgeops-measure-") as scratch:
        folder = Path(scratch)
        named = {
            "few": write_samples(folder / "few.npz", few(samples)),
            "data": write_samples(folder / "data.npz", samples),
        }
        for about in named.values():
            reached.push(folder / about["file"], about["file"])
        yield Bench(reached, folder, named, threads, timeout_s)


class Bench:
    """A reached device with the samples on it, ready to measure variants."""

    def __init__(
        self,
        reached: Device,
        scratch: Path,
        samples: dict[str, dict[str, Any]],
        threads: int,
        timeout_s: float,
    ) -> None:
        self._device = reached
        self._scratch = scratch
        self._samples = samples
        self._threads = threads
        self._timeout_s = timeout_s
        self._pushed: dict[Path, str] = {}

    def measure(self, variant: Path, *, seconds: float, events: Events) -> Measured:
        """Return what ``PROCESSES`` fresh processes measured of a variant; the first one evaluates.

        ``seconds`` is the latency budget of all of them together. Raises what the device reports.
        """
        answers = []
        outputs: dict[str, Any] = {}
        for turn in range(PROCESSES):
            request = self._request(variant, seconds / PROCESSES)
            request["least"] = LEAST_CALLS
            if not turn:
                request |= {"data": self._samples["data"], "out": "outputs.npz"}
            answer = self._device.run(request, timeout_s=self._timeout_s)
            if not turn:
                path = self._scratch / "outputs.npz"
                self._device.pull("outputs.npz", path)
                outputs = read_outputs(path, answer["outputs"])
            answers.append(answer)
            events.advance()
        return Measured(tuple(answers), outputs)

    def pair(self, variant: Path, against: Path, *, seconds: float) -> list[dict[str, Any]]:
        """Return the trials of ``variant`` measured in interleaved pairs against another."""
        request = self._request(variant, seconds)
        request |= {"against": self._push(against), "trials": TRIALS}
        answer = self._device.run(request, timeout_s=self._timeout_s)
        return list(answer["trials"])

    def _request(self, variant: Path, seconds: float) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "variant": self._push(variant),
            "threads": self._threads,
            "few": self._samples["few"],
            "seconds": seconds,
        }

    def _push(self, variant: Path) -> str:
        if variant not in self._pushed:
            name = f"variant{len(self._pushed)}"
            self._device.push(variant, name)
            self._pushed[variant] = name
        return self._pushed[variant]


def few(samples: Samples) -> Samples:
    """Return the first samples, at most 64 and at most 32 MB, which latency is measured on."""
    per_sample = sum(array.nbytes // samples.count for array in samples.arrays.values()) or 1
    count = max(1, min(samples.count, _FEW_SAMPLES, _FEW_BYTES // per_sample))
    return first(samples, count)


def first(samples: Samples, count: int) -> Samples:
    """Return the first ``count`` samples with their labels; all when 0 or more than there are."""
    if not count or count >= samples.count:
        return samples
    arrays = {
        name: array if array.ndim == 0 else array[:count] for name, array in samples.arrays.items()
    }
    labels = samples.labels if samples.labels is None else samples.labels[:count]
    return replace(samples, arrays=arrays, labels=labels, count=count)
