"""The samples of a proof: real ones spread over the data set, or seeded noise when there are none."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeops.core.contracts import Samples
from edgeops.errors import InputError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeops.core.contracts import Session
    from edgeops.core.variant import TensorInfo

COUNT = 64
SYNTHETIC = "synthetic"
_SYNTHETIC_COUNT = 8
_SEED = 20240229
_OPEN_SIZES = (64, 32, 224, 16, 1)  # tried for open axes other than the batch
_OUTPUT_BYTES = 256 * 1024**2


def pick(samples: Samples, count: int = COUNT) -> Samples:
    """Return at most ``count`` samples, evenly spread, for files are often sorted by class."""
    if samples.count <= count:
        return samples
    rows = [index * samples.count // count for index in range(count)]
    arrays = {
        name: array if array.ndim == 0 else array[rows] for name, array in samples.arrays.items()
    }
    labels = None if samples.labels is None else samples.labels[rows]
    return replace(samples, arrays=arrays, labels=labels, count=count)


def affordable(samples: Samples, session: Session) -> Samples:
    """Return as many of ``samples`` as keep the model's outputs below 256 MiB, at least one."""
    from edgeops.runtime.batch import run_batched

    one = run_batched(session, pick(samples, 1))
    size = sum(getattr(output, "nbytes", 0) for output in one.values())
    return pick(samples, max(1, _OUTPUT_BYTES // max(size, 1)))


def synthetic(session: Session) -> Samples:
    """Return seeded noise that the model takes: N(0,1) for floats, 0 or 1 for the rest.

    Raises InputError ``samples-needed`` when no size of its open axes works.
    """
    last = ""
    for size in _OPEN_SIZES:
        samples = _noise(session.inputs, size)
        try:
            affordable(samples, session)
        except (InputError, RefusedError) as error:
            last = error.why
            continue
        return samples
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

    np.savez(path, **samples.arrays)


def read(path: Path, source: str) -> Samples:
    """Read what ``save`` wrote."""
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        arrays: dict[str, Any] = {name: archive[name] for name in archive.files}
    count = max((len(array) for array in arrays.values() if array.ndim), default=1)
    return Samples(arrays, None, count, source, "")


def _noise(inputs: Sequence[TensorInfo], size: int) -> Samples:
    import numpy as np

    random = np.random.default_rng(_SEED)
    first = [tensor.shape[0] for tensor in inputs if tensor.shape]
    fixed = math.lcm(*(size for size in first if isinstance(size, int)), 1)
    count = max(fixed, _SYNTHETIC_COUNT // fixed * fixed)
    arrays: dict[str, Any] = {}
    for tensor in inputs:
        rest = [axis if isinstance(axis, int) else size for axis in tensor.shape[1:]]
        shape = (count, *rest) if tensor.shape else ()
        if tensor.dtype.startswith(("float", "bfloat")):
            arrays[tensor.name] = random.standard_normal(shape).astype(tensor.dtype)
        elif tensor.dtype == "str":
            arrays[tensor.name] = np.full(shape, "a")
        else:
            arrays[tensor.name] = random.integers(0, 2, shape).astype(tensor.dtype)
    return Samples(arrays, None, count, SYNTHETIC, "")
