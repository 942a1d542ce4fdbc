"""Run the source and what was made of it on the same samples, and judge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeops.convert import proof
from edgeops.convert import samples as sample_files
from edgeops.errors import RefusedError
from edgeops.runtime.batch import BATCH, run_batched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.contracts import Samples, Session
    from edgeops.core.variant import Parity, TensorInfo

# Batches beside the usual one where the batch is open: (samples a call, samples in all).
_OTHER_BATCHES = ((1, 2), (3, 4))


@dataclass(frozen=True)
class Proof:
    """What a proof found; ``accuracy`` holds both models' share of right answers, if labelled."""

    parity: Parity
    accuracy: Mapping[str, float | int] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Expected:
    """What the source answers: (samples a call, samples in all, outputs) of each run."""

    samples: Samples
    runs: tuple[tuple[int, int, Mapping[str, Any]], ...]


def expect(source: Session, inputs: Sequence[TensorInfo], samples: Samples | None) -> Expected:
    """Run the source on ``samples``, on seeded noise when None, in the batches of ``inputs``.

    These are the converted model's; where its batch is open, several sizes are run. Raises
    InputError ``samples-needed`` and what running raises.
    """
    given = sample_files.given(samples, source)
    runs = [
        (batch, count, run_batched(source, sample_files.pick(given, count), limit=batch))
        for batch, count in _batches(given, inputs)
    ]
    return Expected(given, tuple(runs))


def compare(expected: Expected, converted: Session, tolerance: str) -> Proof:
    """Compare a converted model with what its source answered.

    Raises RefusedError ``parity-failed``, ``parity-nan`` or ``parity-layout``, with ``differs``
    (batch and sample) in its result, and what running raises.
    """
    given = expected.samples
    parts: list[proof.OutputParity] = []
    accuracy = None
    for batch, count, answers in expected.runs:
        part = sample_files.pick(given, count)
        try:
            found = run_batched(converted, part, limit=batch)
            each = proof.each_output(answers, found, tolerance)
        except RefusedError as error:
            error.result["differs"] = {"batch": batch, "count": count, "sample": 0}
            raise
        parts = merged(parts, each) if parts else each
        if any(one.problem for one in each):
            first = next(one for one in each if one.problem)
            parity = proof.summary(parts, given.source, given.count)
            refusal = proof.refusal(parts, parity)
            refusal.result["differs"] = {"batch": batch, "count": count, "sample": first.sample}
            raise refusal
        if accuracy is None and given.labels is not None:
            accuracy = _accuracies(answers, found, part.labels)
    parity = proof.summary(parts, given.source, given.count)
    return Proof(parity, accuracy, _notes(given))


def merged(
    parts: Sequence[proof.OutputParity], others: Sequence[proof.OutputParity]
) -> list[proof.OutputParity]:
    """Return the worse of two runs, output by output; the share of top-1 is the first run's."""
    return [
        replace(proof.worse(one, other), top1=one.top1)
        for one, other in zip(parts, others, strict=True)
    ]


def _batches(samples: Samples, inputs: Sequence[TensorInfo]) -> list[tuple[int, int]]:
    """Return (samples a call, samples in all) of each run; the first has all samples."""
    usual = [(BATCH, samples.count)]
    shaped = [tensor.shape for tensor in inputs if tensor.shape]
    if samples.count < 2 or not shaped or any(isinstance(s[0], int) for s in shaped):  # noqa: PLR2004 - one is no batch
        return usual
    return usual + [(batch, min(count, samples.count)) for batch, count in _OTHER_BATCHES]


def _accuracies(
    expected: Mapping[str, Any], found: Mapping[str, Any], labels: Any
) -> dict[str, float | int] | None:
    """Return both shares of samples whose class is the label; None where no output is a class."""
    for name, outputs in expected.items():
        before, after = _classes(outputs), _classes(found[name])
        if before is None or after is None or getattr(labels, "shape", None) != before.shape:
            continue
        if labels.dtype.kind not in "iu":
            continue
        return {
            "source": float((before == labels).mean()),
            "converted": float((after == labels).mean()),
            "samples": len(labels),
        }
    return None


def _classes(outputs: Any) -> Any:
    """Return the class of each sample, None where the output is neither scores nor classes."""
    if proof.is_score(outputs):
        return outputs.reshape(len(outputs), -1).argmax(axis=1)
    if outputs.dtype.kind in "iu" and outputs.size == len(outputs):
        return outputs.reshape(-1)
    return None


def _notes(samples: Samples) -> tuple[str, ...]:
    if samples.source != sample_files.SYNTHETIC:
        return ()
    return ("proven on made-up noise only, which proves little: give real samples with --data",)
