"""The samples of a proof: real ones spread over the data set, or seeded noise when there are none."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeops.core.contracts import Samples
from edgeops.errors import InputError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.contracts import Session
    from edgeops.core.variant import TensorInfo

COUNT = 64
SYNTHETIC = "synthetic"
_SYNTHETIC_COUNT = 8
_SEED = 20240229
_OPEN_SIZES = (64, 32, 224, 16, 1)  # tried for open axes other than the batch
_SCALES = (1.0, 3.0)  # of noise, sample by sample: the second reaches where Relu6 and others bend
# Integers that are tried where 0 and 1 work, the widest first: indices have an end nobody states.
_RANGES = (256, 32, 8)
_OUTPUT_BYTES = 256 * 1024**2
_LABELS = "labels"
_ARRAY = "input:"


def pick(samples: Samples, count: int = COUNT) -> Samples:
    """Return at most ``count`` samples, evenly spread, for files are often sorted by class."""
    if samples.count <= count:
        return samples
    return chosen(samples, [index * samples.count // count for index in range(count)])


def chosen(samples: Samples, rows: Sequence[int]) -> Samples:
    """Return the samples of these numbers."""
    picked = list(rows)
    arrays = {
        name: array if array.ndim == 0 else array[picked] for name, array in samples.arrays.items()
    }
    labels = None if samples.labels is None else samples.labels[picked]
    return replace(samples, arrays=arrays, labels=labels, count=len(picked))


def affordable(samples: Samples, session: Session) -> Samples:
    """Return as many of ``samples`` as keep the model's outputs below 256 MiB, at least one."""
    from edgeops.runtime.batch import run_batched

    one = run_batched(session, pick(samples, 1))
    size = sum(getattr(output, "nbytes", 0) for output in one.values())
    return pick(samples, max(1, _OUTPUT_BYTES // max(size, 1)))


def given(samples: Samples | None, session: Session) -> Samples:
    """Return what a proof runs on: as many samples as are affordable, seeded noise for None."""
    return affordable(samples, session) if samples else synthetic(session)


def synthetic(session: Session) -> Samples:
    """Return seeded noise that the model takes: N(0,1) and N(0,9) for floats, integers from 0.

    Integers are 0 or 1, and in every second sample reach as far as the model takes them. Raises
    InputError ``samples-needed`` when no size of its open axes works.
    """
    last = ""
    for size in _OPEN_SIZES:
        samples = _noise(session.inputs, size)
        try:
            samples = affordable(samples, session)
        except (InputError, RefusedError) as error:
            last = error.why
            continue
        return _wider(samples, session, size)
    raise InputError(
        "samples-needed",
        "the model does not run on made-up input, so nothing can be proven without data",
        where=", ".join(f"{t.name} {t.dtype}{list(t.shape)}" for t in session.inputs),
        why=last,
        fix="give real samples with --data FILE.npz, one array per input",
    )


def save(samples: Samples, path: Path) -> None:
    """Write the samples for the contained process."""
    import numpy as np

    arrays = {f"{_ARRAY}{name}": array for name, array in samples.arrays.items()}
    # Labels of different numbers (boxes) name no class of a sample, and could only be pickled.
    if samples.labels is not None and samples.labels.dtype.kind != "O":
        arrays[_LABELS] = samples.labels
    np.savez(path, **arrays)


def read(path: Path, source: str) -> Samples:
    """Read what ``save`` wrote."""
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        found: dict[str, Any] = {name: archive[name] for name in archive.files}
    labels = found.pop(_LABELS, None)
    arrays = {name.removeprefix(_ARRAY): array for name, array in found.items()}
    count = max((len(array) for array in arrays.values() if array.ndim), default=1)
    return Samples(arrays, labels, count, source, "")


def _noise(inputs: Sequence[TensorInfo], size: int) -> Samples:
    import numpy as np

    random = np.random.default_rng(_SEED)
    count = _count(inputs)
    arrays: dict[str, Any] = {}
    for tensor in inputs:
        shape = _shape(tensor, count, size)
        if tensor.dtype.startswith(("float", "bfloat")):
            noise = random.standard_normal(shape)
            if shape:
                scales = np.resize(_SCALES, count).reshape(-1, *[1] * (len(shape) - 1))
                noise = noise * scales
            arrays[tensor.name] = np.asarray(noise).astype(tensor.dtype)
        elif tensor.dtype == "str":
            arrays[tensor.name] = np.full(shape, "a")
        else:
            arrays[tensor.name] = np.asarray(random.integers(0, 2, shape)).astype(tensor.dtype)
    return Samples(arrays, None, count, SYNTHETIC, "")


def _count(inputs: Sequence[TensorInfo]) -> int:
    """Return how many samples to make: a multiple of every batch size that is fixed."""
    first = [tensor.shape[0] for tensor in inputs if tensor.shape]
    fixed = math.lcm(*(size for size in first if isinstance(size, int) and size > 0), 1)
    return max(fixed, _SYNTHETIC_COUNT // fixed * fixed)


def _shape(tensor: TensorInfo, count: int, size: int) -> tuple[int, ...]:
    if not tensor.shape:
        return ()
    return (count, *(axis if isinstance(axis, int) else size for axis in tensor.shape[1:]))


def _wider(samples: Samples, session: Session, size: int) -> Samples:
    """Return the samples with every second one's integers over as wide a range as the model takes.

    Vectors and scalars keep 0 and 1: they are lengths and axes more often than content.
    """
    integers = [t for t in session.inputs if len(t.shape) > 1 and t.dtype.lstrip("u")[:3] == "int"]
    if not integers:
        return samples
    for end in _RANGES:
        wide = replace(
            samples, arrays={**samples.arrays, **_integers(integers, samples, size, end)}
        )
        try:
            affordable(pick_odd(wide), session)
        except (InputError, RefusedError):
            continue
        return wide
    return samples


def _integers(
    tensors: Sequence[TensorInfo], samples: Samples, size: int, end: int
) -> Mapping[str, Any]:
    import numpy as np

    random = np.random.default_rng(_SEED + end)
    made = {}
    for tensor in tensors:
        about = np.iinfo(tensor.dtype)
        low = int(about.min) if about.bits == 8 else 0  # noqa: PLR2004 - bytes are content, not indices
        high = min(end, int(about.max) + 1)
        values = random.integers(low, high, _shape(tensor, samples.count, size))
        array = np.array(samples.arrays[tensor.name])
        array[1::2] = values[1::2]
        made[tensor.name] = array
    return made


def pick_odd(samples: Samples) -> Samples:
    """Return every second sample, from the second on; all of them when there is but one."""
    if samples.count < 2:  # noqa: PLR2004 - one has no second
        return samples
    arrays = {n: array if array.ndim == 0 else array[1::2] for n, array in samples.arrays.items()}
    return replace(samples, arrays=arrays, count=samples.count // 2)
