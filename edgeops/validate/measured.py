"""Have a device measure a variant: what goes over, what is asked, what comes back."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core import registry, sequential
from edgeops.core.events import Silence
from edgeops.errors import InputError, MissingError, TransportError
from edgeops.runtime.probe import FORMAT, read_outputs, write_samples
from edgeops.validate.devices.phone.tools import with_binary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeops.core.contracts import Device, Samples
    from edgeops.core.events import Events

# Fresh processes that share the time budget: each load lies differently in memory, so more of them
# say more than a longer loop in one.
PROCESSES = 3
LEAST_CALLS = 10
_FEW_SAMPLES = 64
_FEW_BYTES = 32_000_000
EMULATED = "the device is emulated, and its times say nothing of a real one"


@dataclass(frozen=True)
class Measured:
    """What the probe answered in each fresh process, and the outputs of the whole data set.

    ``unjudged`` says why times and memory of this device may not be judged, "" when they may;
    ``no_outputs`` why the device gives no outputs, so that there is nothing to say of accuracy.
    """

    answers: tuple[dict[str, Any], ...]
    outputs: dict[str, Any]
    unjudged: str = ""
    no_outputs: str = ""


@dataclass(frozen=True)
class Ask:
    """How latency is measured: ``seconds`` in all processes together, and what else is asked for.

    ``preset`` "mlperf" times 1,024 queries and 60 s at least, ``sustained_s`` goes on for so long;
    both take one process. ``evaluate`` has the first process run the whole data set as well.
    """

    seconds: float
    evaluate: bool = True
    preset: str = ""
    sustained_s: float = 0.0

    @property
    def processes(self) -> int:
        """How many fresh processes measure."""
        return 1 if self.preset or self.sustained_s else PROCESSES


@dataclass(frozen=True)
class Predicting:
    """What the predictor has beside the variant: an evaluation then goes through all of it.

    ``raw`` is what ``predict`` takes, ``features`` and ``rules`` are the compiled documents or None,
    ``models`` the variants that rules ask, by the name they give them.
    """

    raw: Samples
    features: bytes | None = None
    rules: bytes | None = None
    labels: tuple[str, ...] = ()
    models: Mapping[str, Path] = field(default_factory=dict)


@contextmanager
def device(text: str, binary: Path | None = None) -> Iterator[Device]:
    """Yield the device that ``KIND`` or ``KIND:ADDRESS`` names, with an empty work folder.

    ``binary`` is the benchmark tool that measures there in place of our own program. Raises
    MissingError ``plugin-unknown`` for a kind that nobody registered, InputError
    ``binary-not-taken`` for one that takes no tool.
    """
    kind, _, address = text.partition(":")
    plugin: Any = registry.get("devices", kind)
    if binary is not None:
        plugin = with_binary(plugin, binary)
    with plugin.reach(address) as reached:
        yield reached


@contextmanager
def bench(
    reached: Device,
    samples: Samples,
    *,
    threads: int,
    timeout_s: float,
    affinity: Sequence[int] = (),
    evaluate: bool = True,
    predicting: Predicting | None = None,
) -> Iterator[Bench]:
    """Yield a bench: the samples are pushed to a reached device, scratch files are removed.

    ``affinity`` are the processors to run on, () leaves that to the device. Without ``evaluate``
    only the first samples are pushed, which latency is measured on. With ``predicting`` an
    evaluation is of the predictor, on its raw samples; latency stays that of the model.
    """
    with tempfile.TemporaryDirectory(prefix="edgeops-measure-") as scratch:
        folder = Path(scratch)
        named = {"few": write_samples(folder / "few.npz", few(samples))}
        if evaluate:
            whole = samples if predicting is None else predicting.raw
            named["data"] = write_samples(folder / "data.npz", whole)
        for about in named.values():
            reached.push(folder / about["file"], about["file"])
        measuring = Bench(reached, folder, named, threads, timeout_s, tuple(affinity))
        if predicting is not None:
            measuring.predict(predicting)
        yield measuring


class Bench:
    """A reached device with the samples on it, ready to measure variants."""

    def __init__(
        self,
        reached: Device,
        scratch: Path,
        samples: dict[str, dict[str, Any]],
        threads: int,
        timeout_s: float,
        affinity: tuple[int, ...] = (),
    ) -> None:
        self._device = reached
        self._scratch = scratch
        self._samples = samples
        self._threads = threads
        self._timeout_s = timeout_s
        self._affinity = affinity
        self._unjudged = EMULATED if getattr(reached, "emulated", False) else ""
        self._pushed: dict[Path, str] = {}
        self._predictor: dict[str, Any] = {}

    def predict(self, predicting: Predicting) -> None:
        """Have evaluations go through features and rules, which are pushed to the device."""
        for name in ("features", "rules"):
            data = getattr(predicting, name)
            if data is not None:
                (self._scratch / f"{name}.json").write_bytes(data)
                self._device.push(self._scratch / f"{name}.json", f"{name}.json")
                self._predictor[name] = f"{name}.json"
        models = {name: self._push(folder) for name, folder in predicting.models.items()}
        self._predictor |= {"labels": list(predicting.labels), "models": models}

    def measure(
        self, variant: Path, *, seconds: float, events: Events, ask: Ask | None = None
    ) -> Measured:
        """Return what fresh processes measured of a variant; the first one evaluates.

        ``seconds`` is the latency budget of all of them together; ``ask`` has it and more. Raises
        what the device reports; of a TransportError or MissingError, ``partial`` of the result has
        what was measured until then: what the last process had, and ``figures`` of all processes.
        """
        asked = ask or Ask(seconds)
        answers: list[dict[str, Any]] = []
        outputs: dict[str, Any] = {}
        for turn in range(asked.processes):
            try:
                answer = self._run(self._ask(variant, asked, first=not turn), events)
            except (TransportError, MissingError) as error:
                error.result["partial"] = partial(answers, error.result.get("partial") or {})
                raise
            if not turn and asked.evaluate and "outputs" in answer:
                path = self._scratch / "outputs.npz"
                self._device.pull("outputs.npz", path)
                outputs = read_outputs(path, answer["outputs"])
            answers.append(answer)
            events.advance()
        no_outputs = "" if outputs else str((answers[0].get("absent") or {}).get("outputs", ""))
        return Measured(tuple(answers), outputs, self._unjudged, no_outputs)

    def outputs(self, variant: Path, *, events: Events) -> dict[str, Any]:
        """Return what a variant answers to the whole data set; nothing is timed.

        Raises InputError ``outputs-absent`` where the device gives none, and what it reports.
        """
        answer = self._run(self._ask(variant, Ask(0.0), first=True), events)
        if "outputs" not in answer:
            raise InputError(
                "outputs-absent",
                "the device gives no outputs of a variant",
                why=str((answer.get("absent") or {}).get("outputs", "")),
                fix="measure accuracy on a device with Python",
            )
        path = self._scratch / "outputs.npz"
        self._device.pull("outputs.npz", path)
        return read_outputs(path, answer["outputs"])

    def pair(
        self,
        variant: Path,
        against: Path,
        *,
        seconds: float,
        bounds: Sequence[float] = (),
        events: Events | None = None,
    ) -> list[dict[str, Any]]:
        """Return the trials of ``variant`` measured in interleaved pairs against another.

        At least nine, which the interval takes, unless they take four times ``seconds``. It goes
        on until none of ``bounds`` on the ratio lies within the interval, or the time is over.
        """
        answer = self.compare(
            variant,
            against,
            seconds=seconds,
            least=sequential.FIRST,
            bounds=bounds,
            events=events or Silence(),
        )
        return list(answer["trials"])

    def compare(
        self,
        variant: Path,
        against: Path,
        *,
        seconds: float,
        margin: float = sequential.MARGIN,
        least: int = 0,
        bounds: Sequence[float] = (),
        events: Events,
    ) -> dict[str, Any]:
        """Return the answer to a request ``pair``: trials, verdict, ratio, ``ratio_ci`` and so on.

        See ``edgeops.runtime.pairs``; where times say nothing, ``unjudged`` of each trial says why.
        """
        request = self._request(variant, "pair")
        request |= {"against": self._push(against), "seconds": seconds, "margin": margin}
        request |= {"least": least, "bounds": list(bounds)}
        answer = self._run(request, events)
        if self._unjudged:
            answer["trials"] = [{**one, "unjudged": self._unjudged} for one in answer["trials"]]
        return answer

    def _run(self, request: dict[str, Any], events: Events) -> dict[str, Any]:
        def tell(said: Mapping[str, Any]) -> None:
            # The parts of a step are processes or trials; of what happens within, waiting is told.
            if said.get("say") == "trial":
                events.advance()
            elif said.get("say") == "step" and "waiting" in str(said.get("what")):
                events.step(str(said["what"]))

        return self._device.run(request, timeout_s=self._timeout_s, tell=tell)

    def _ask(self, variant: Path, asked: Ask, *, first: bool) -> dict[str, Any]:
        request = self._request(variant, "measure")
        request |= {"seconds": asked.seconds / asked.processes, "least": LEAST_CALLS}
        request |= {"preset": asked.preset, "sustained_s": asked.sustained_s}
        if first and asked.evaluate:
            request |= {"data": self._samples["data"], "out": "outputs.npz", **self._predictor}
        return request

    def _request(self, variant: Path, do: str) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "do": do,
            "variant": self._push(variant),
            "threads": self._threads,
            "affinity": list(self._affinity),
            "few": self._samples["few"],
        }

    def _push(self, variant: Path) -> str:
        if variant not in self._pushed:
            name = f"variant{len(self._pushed)}"
            self._device.push(variant, name)
            self._pushed[variant] = name
        return self._pushed[variant]


def partial(answers: Sequence[Mapping[str, Any]], last: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is left of a measurement whose last process failed, without the single times.

    ``processes`` is how many had ended, ``figures`` what all of them measured of latency.
    """
    from edgeops.validate.latency import latency_figures

    runs = [one.get("latency_ns") or [] for one in (*answers, last)]
    figures = latency_figures(runs)
    return {
        **{name: value for name, value in last.items() if name != "latency_ns"},
        "processes": len(answers),
        "figures": {name: figure.to_json() for name, figure in figures.items()},
    }


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
    slices = {key: array[:count] for key, array in samples.slices.items()}
    return replace(samples, arrays=arrays, labels=labels, count=count, slices=slices)
