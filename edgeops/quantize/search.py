"""Make the variants of a ladder one after another until one is good enough.

What judges a variant is passed in: this room measures no accuracy.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from edgeops.core.digest import sha256_bytes
from edgeops.core.files import folder_atomic
from edgeops.core.variant import Parity, Variant, entries, write_variant
from edgeops.errors import EdgeopsError, Finding, RefusedError, from_findings
from edgeops.quantize import graph, schemes, worst
from edgeops.quantize.calibrate import METHODS, Calibrator, Method
from edgeops.quantize.ladder import Climb, Outcome, Rung, climb, rungs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgeops.core.contracts import Samples
    from edgeops.core.events import Events
    from edgeops.quantize.schemes import Quantized, Scheme

MODEL_FILE = "model.onnx"
# Minmax costs one pass over the data and is right most of the time; the others cut outliers off.
AUTO: tuple[Method, ...] = ("minmax", "percentile", "entropy")
# So many samples rank the nodes; more did not change the order on the models it was tried on.
_RANKED = 8
_NAMED = {"all": "all operators", "compute": "Conv, MatMul and Gemm only"}


@dataclass(frozen=True)
class Judgement:
    """What a variant is worth; ``loss`` is what is held against the budget."""

    loss: float
    metric: float | None = None
    drop: float | None = None
    interval: tuple[float, float] | None = None
    agreement: float | None = None


class Judge(Protocol):
    """How good a variant is beside its float source; ``budget`` is the loss that is allowed."""

    budget: float

    def score(self, variant: Path) -> Judgement:
        """Return the worth of the variant in a folder."""

    def parity(self, variant: Path) -> Parity | None:
        """Return how near it is to its source on the calibration data, None without any."""


@dataclass(frozen=True)
class Recipe:
    """What is asked for: ``calibration`` is a method or ``auto``, ``keep_float`` names nodes."""

    precision: str
    scheme: Scheme
    calibration: str = "auto"
    per_channel: bool = True
    keep_float: tuple[str, ...] = ()

    @property
    def methods(self) -> tuple[Method, ...]:
        """The calibration methods that may be tried, in order."""
        return (
            AUTO
            if self.calibration == "auto"
            else tuple(method for method in METHODS if method == self.calibration)
        )


@dataclass
class Workshop:
    """Makes quantized models of one float model (an onnx.ModelProto at opset 17 or more).

    ``variant`` is the float one that a result is held against. ``deliver`` writes a model into an
    empty folder as the files of an engine that does not run ONNX, and returns that variant.

    Raises RefusedError ``already-quantized`` and InputError ``node-unknown`` at once.
    """

    source: Any
    variant: Variant
    recipe: Recipe
    calibration: Samples | None
    events: Events
    deliver: Callable[[Any, Path], Variant] | None = None
    _losses: list[worst.Loss] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _refuse_quantized(self.source)
        self.model = graph.prepare(self.source)
        self.kept = _resolved(self.recipe.keep_float, self.source, self.model)
        self.calibrator: Calibrator | None = None
        if self.calibration is not None:
            every = {node.op_type for node in self.model.graph.node}
            wanted = every if self.recipe.scheme == "fp16" else schemes.static_operators()
            self.calibrator = Calibrator(
                self.model,
                self.variant.inputs,
                self.calibration,
                graph.activations(self.model, wanted),
                self.events,
            )

    def make(self, rung: Rung) -> tuple[Quantized, tuple[str, ...]]:
        """Return the model of a rung and the nodes it was told to keep in float.

        Raises RefusedError ``quantizer-failed`` or ``nothing-to-quantize``, InputError
        ``calibration-empty`` or ``calibration-nan``.
        """
        excluded = self.kept + self._worst(rung.spared)
        if rung.scheme == "static":
            return self._static(rung, excluded), excluded
        if rung.scheme == "dynamic":
            operators = {"all": schemes.DYNAMIC, "compute": schemes.DYNAMIC_COMPUTE}
            return schemes.dynamic_int8(
                self.model,
                operators=operators[rung.operators],
                exclude=excluded,
                per_channel=self.recipe.per_channel,
            ), excluded
        if rung.operators == "all":
            return schemes.half(self.model, exclude=excluded), excluded
        ranges = self.calibrator.ranges("minmax") if self.calibrator else None
        made = schemes.half(self.model, operators=schemes.COMPUTE, exclude=excluded, ranges=ranges)
        return made, excluded

    def operators(self, rung: Rung) -> list[str]:
        """Return the operator types that a rung quantizes and the model has, sorted."""
        has = {node.op_type for node in self.model.graph.node}
        every = {"static": schemes.static_operators(), "dynamic": schemes.DYNAMIC}
        wanted = set(every.get(rung.scheme, has))
        if rung.operators == "compute":
            wanted &= set(schemes.DYNAMIC_COMPUTE if rung.scheme == "dynamic" else schemes.COMPUTE)
        return sorted(has & wanted)

    def _static(self, rung: Rung, excluded: Sequence[str]) -> Quantized:
        if self.calibrator is None or rung.calibration is None:
            message = "a static rung needs calibration data and a method"
            raise ValueError(message)
        every = schemes.static_operators()
        return schemes.static_int8(
            self.model,
            self.calibrator.ranges(rung.calibration),
            operators=schemes.COMPUTE if rung.operators == "compute" else every,
            exclude=excluded,
            per_channel=self.recipe.per_channel,
        )

    def _worst(self, share: float) -> tuple[str, ...]:
        """Return the worst share of the quantized nodes, ranked once with all operators."""
        if not share or self.calibrator is None:
            return ()
        if self._losses is None:
            self.events.step("rank the nodes by what quantizing each one costs")
            first = self._static(Rung("static", "all", "minmax"), self.kept)
            feeds = (feed for feed, _ in self.calibrator.feeds(1))
            self._losses = worst.rank(
                self.model, first.model, first.changed, islice(feeds, _RANKED)
            )
        count = max(1, round(share * len(self._losses)))
        return tuple(loss.node for loss in self._losses[:count])


class Unchanged(Workshop):
    """Hands the float model on as it is, for engines whose converter makes the precision itself."""

    def make(self, rung: Rung) -> tuple[Quantized, tuple[str, ...]]:  # noqa: ARG002 - there is one way
        """Return the float model."""
        return schemes.Quantized(self.model, (), ()), ()


def search(
    workshop: Workshop, judge: Judge, out: Path, events: Events
) -> tuple[Variant, Climb, Quantized]:
    """Write the first variant within the budget into ``out`` and say what was tried.

    Raises RefusedError ``accuracy-budget`` with ``tried`` in its result; ``out`` is left as it was
    by everything that is raised.
    """
    recipe = workshop.recipe
    ladder = rungs(recipe.scheme, recipe.methods)
    with folder_atomic(out) as folder:
        attempt = _Attempt(workshop, judge, folder, events)
        result = climb(ladder, judge.budget, attempt)
        if result.accepted is None or attempt.last is None:
            raise _refusal(workshop, result, judge)
        quantized = attempt.last
        final = replace(
            attempt.variant(quantized, result.accepted.rung), parity=judge.parity(folder)
        )
        write_variant(folder, final)
    return final, result, quantized


class _Attempt:
    """Makes, writes and judges one rung; a model made before is not judged again."""

    def __init__(self, workshop: Workshop, judge: Judge, folder: Path, events: Events) -> None:
        self.last: Quantized | None = None
        self._workshop = workshop
        self._judge = judge
        self._folder = folder
        self._events = events
        self._tried: list[tuple[str, Outcome]] = []
        self._written = workshop.variant

    def __call__(self, rung: Rung) -> Outcome:
        number = len(self._tried)
        self._events.step(f"try {number + 1}: {describe(rung)}")
        started = time.perf_counter()
        try:
            quantized, excluded = self._workshop.make(rung)
            self.last = quantized
            outcome, name = self._judged(rung, quantized)
            outcome = replace(outcome, excluded=excluded)
        except RefusedError as error:
            outcome, name = Outcome(rung, float("inf"), why=f"{error.what}: {error.why}"), ""
        outcome = replace(outcome, seconds=time.perf_counter() - started)
        self._tried.append((name, outcome))
        if outcome.loss != float("inf"):
            self._events.figure("drop" if outcome.drop is not None else "loss", outcome.loss)
        return outcome

    def variant(self, quantized: Quantized, rung: Rung) -> Variant:
        """Return variant.json of what lies in the folder, without its parity."""
        workshop = self._workshop
        return replace(
            self._written,
            precision=workshop.recipe.precision,
            source=workshop.variant.source,
            files=entries(self._folder),
            parity=None,
            quantization={
                "scheme": rung.scheme,
                "calibration": rung.calibration,
                "per_channel": workshop.recipe.per_channel and rung.scheme != "fp16",
                "operators": workshop.operators(rung),
                "kept_float": list(quantized.kept_float),
                "activations": "float16" if rung.scheme == "fp16" else "uint8",
                "weights": "float16" if rung.scheme == "fp16" else "int8",
                "float_model": workshop.variant.digest,
            },
        )

    def _judged(self, rung: Rung, quantized: Quantized) -> tuple[Outcome, str]:
        data = quantized.model.SerializeToString(deterministic=True)
        name = sha256_bytes(data)
        for index, (other, outcome) in enumerate(self._tried):
            if other == name:
                return replace(outcome, rung=rung, same_as=index), name
        self._written = self._deliver(quantized.model, data)
        variant = self.variant(quantized, rung)
        write_variant(self._folder, variant)
        judged = self._judge.score(self._folder)
        outcome = Outcome(
            rung,
            judged.loss,
            variant.bytes,
            metric=judged.metric,
            drop=judged.drop,
            interval=judged.interval,
            agreement=judged.agreement,
        )
        return outcome, name

    def _deliver(self, model: Any, data: bytes) -> Variant:
        if self._workshop.deliver is None:
            (self._folder / MODEL_FILE).write_bytes(data)
            return replace(self._workshop.variant, model_file=MODEL_FILE)
        for path in self._folder.iterdir():
            path.unlink()
        return self._workshop.deliver(model, self._folder)


def describe(rung: Rung) -> str:
    """Return a rung in words."""
    if rung.scheme != "static":
        return f"{rung.scheme}, {_NAMED[rung.operators]}"
    spared = f", without the worst {rung.spared:.0%} of nodes" if rung.spared else ""
    return f"{_NAMED[rung.operators]}, {rung.calibration}{spared}"


def _refusal(workshop: Workshop, result: Climb, judge: Judge) -> EdgeopsError:
    usable = [outcome for outcome in result.tried if outcome.loss != float("inf")]
    tried = [outcome.to_json() for outcome in result.tried]
    if not usable:
        first = result.tried[0]
        nothing = all("no node of the model was quantized" in o.why for o in result.tried)
        if nothing:
            return RefusedError(
                "nothing-to-quantize",
                "the model has nothing to quantize",
                where=workshop.variant.model_file,
                why=first.why,
                fix="keep the model in fp32, or try --precision fp16",
                result={"tried": tried},
            )
        return RefusedError(
            "quantizer-failed",
            "no variant could be made that runs",
            where=workshop.variant.model_file,
            why=first.why,
            fix="keep the node it names in float (--keep-float NODE), or try another --scheme",
            result={"tried": tried},
        )
    what = "drop" if usable[0].drop is not None else "changed answers"
    front = [
        f"{what} {outcome.loss:.4f}, {outcome.bytes} bytes: {describe(outcome.rung)}"
        for outcome in sorted(usable, key=lambda outcome: outcome.loss)
        if outcome.pareto
    ]
    return RefusedError(
        "accuracy-budget",
        f"no {workshop.recipe.precision} variant keeps the accuracy budget",
        where=workshop.variant.model_file,
        why=f"allowed is {judge.budget:g}; of {len(tried)} tries the best trades are\n"
        + "\n".join(front),
        fix="raise --max-drop (max_drop in edgeops.yaml) to what you can bear, give more "
        "calibration samples, or keep the target in fp32 or fp16",
        result={"tried": tried},
    )


def _refuse_quantized(model: Any) -> None:
    nodes = graph.is_quantized(model)
    if nodes:
        raise RefusedError(
            "already-quantized",
            "the model is quantized already",
            where=nodes[0],
            why=f"{len(nodes)} of its nodes are of quantized types",
            fix="give the float model it was made from",
        )


def _resolved(names: Sequence[str], source: Any, model: Any) -> tuple[str, ...]:
    """Return the prepared model's names of the nodes that must stay in float.

    A node that was fused goes by its own name with a suffix. Raises InputError ``node-unknown``
    with a finding for every name that the source model does not have.
    """
    import difflib

    has = [node.name for node in model.graph.node]
    known = {node.name for node in source.graph.node} | set(has)
    findings = []
    resolved: list[str] = []
    for name in names:
        same = [other for other in has if other == name or other.startswith(f"{name}/")]
        resolved += same
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
            findings.append(
                Finding(
                    "node-unknown",
                    f"the model has no node called {name!r}",
                    where="keep_float",
                    why=f"the nearest name is {near[0]!r}" if near else "no node has a name",
                    fix="take the name from: edgeops inspect MODEL --json, or kept_float of a result",
                )
            )
    if findings:
        raise from_findings(findings)
    return tuple(resolved)
