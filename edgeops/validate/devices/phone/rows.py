"""Run every sample of a data set through a benchmark tool, and put its answers together again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeops.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edgeops.core.contracts import Samples
    from edgeops.core.variant import TensorInfo, Variant
    from edgeops.validate.devices.phone.tools import Tool

    # The files, how many bytes of each a call takes, and how many calls there are; the size of each
    # answer (below 0: the tool failed) and all answers.
    Ask = Callable[[list[bytes], list[int], int], tuple[list[int], bytes]]


@dataclass
class Found:
    """The outputs of the samples that were answered; ``errors`` by index of those that were not."""

    outputs: dict[str, Any]
    rows: list[int] = field(default_factory=list)
    errors: dict[str, dict[str, str]] = field(default_factory=dict)


def evaluate(tool: Tool, variant: Variant, samples: Samples, ask: Ask, where: str) -> Found:
    """Return the outputs of all samples, first axis = samples.

    Raises RefusedError ``binary-outputs`` when samples differ in size or what the tool wrote is
    not what the model answers.
    """
    from edgeops.runtime.batch import feeds, run_batched

    calls = [tool.encode(feed) for feed, _ in feeds(samples, variant.inputs, 1)]
    try:
        files, sizes = joined(calls, tool.pad)
        rows, data = ask(files, sizes, len(calls))
        found = Found({})
        answers: list[dict[str, Any] | None] = []
        start = 0
        for index, size in enumerate(rows):
            if size < 0:
                found.errors[str(index)] = _failed(tool.name, -size)
                answers.append(None)
                continue
            answers.append(tool.decode(data[start : start + size]))
            found.rows.append(index)
            start += size
        if len(rows) != len(calls):
            raise ValueError(f"{len(rows)} of {len(calls)} calls were answered")
    except ValueError as error:
        raise RefusedError(
            "binary-outputs",
            f"the outputs of {tool.name} cannot be read",
            where=where,
            why=str(error),
            fix="measure the accuracy on a device with Python, or leave its gates away here",
        ) from error
    given = [answer for answer in answers if answer is not None]
    if not given:
        return found
    if len(given) < len(answers):
        samples = _only(samples, found.rows)
    found.outputs = run_batched(_Recorded(variant, given), samples, limit=1)
    return found


def joined(calls: Sequence[Sequence[bytes]], pad: bytes) -> tuple[list[bytes], list[int]]:
    """Return the files with the inputs of all calls, and the bytes that each call takes of them.

    Raises ValueError when calls differ in size and nothing may fill them up.
    """
    files, sizes = [], []
    for parts in zip(*calls, strict=True):
        size = max(map(len, parts))
        if not pad and any(len(part) != size for part in parts):
            raise ValueError("the samples differ in size, and the tool takes one size only")
        files.append(b"".join(part + pad * (size - len(part)) for part in parts))
        sizes.append(size)
    return files, sizes


class _Recorded:
    """A session that gives recorded answers in their order."""

    def __init__(self, variant: Variant, answers: Sequence[dict[str, Any]]) -> None:
        self.inputs: tuple[TensorInfo, ...] = variant.inputs
        self.outputs: tuple[TensorInfo, ...] = variant.outputs
        self._answers: Iterator[dict[str, Any]] = iter(answers)

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - the contract's name
        """Return the next answer."""
        return next(self._answers)


def _only(samples: Samples, rows: Sequence[int]) -> Samples:
    from dataclasses import replace

    arrays = {
        name: array if array.ndim == 0 else array[list(rows)]
        for name, array in samples.arrays.items()
    }
    return replace(samples, arrays=arrays, count=len(rows))


def _failed(tool: str, code: int) -> dict[str, str]:
    return {
        "code": "binary-failed",
        "what": f"{tool} failed on this sample",
        "where": tool,
        "why": f"it ended with exit code {code}",
        "fix": "run it there by hand on this sample",
    }
