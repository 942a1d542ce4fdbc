"""Feed a whole data set through a session, in the batches that its inputs allow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeops.core.events import Silence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeops.core.contracts import Samples, Session
    from edgeops.core.events import Events
    from edgeops.core.variant import TensorInfo

BATCH = 32


def bind(samples: Samples, inputs: Sequence[TensorInfo]) -> Samples:
    """Return ``samples`` with exactly one array per input.

    Arrays that belong to no input are left out. Columns of a table (arrays of rank 1, as a CSV
    file has them) become the one input of rank 2 when no column bears its name, else each column
    the input of its name; text has no dtype, so columns take the dtype of their input. What does
    not fit is left as it is, for ``check_fit`` to name.
    """
    arrays = dict(samples.arrays)
    columns = [array for array in arrays.values() if array.ndim == 1]
    if len(inputs) == 1 and inputs[0].name not in arrays and len(inputs[0].shape) == 2:  # noqa: PLR2004 - samples x features
        if columns and len(columns) == len(arrays):
            arrays = {inputs[0].name: _table(columns, inputs[0].dtype)}
        return replace(samples, arrays=arrays)
    for tensor in inputs:
        column = arrays.get(tensor.name)
        if column is not None and column.ndim == 1 and tensor.shape[1:] == (1,):
            arrays[tensor.name] = _table([column], tensor.dtype)
    names = [tensor.name for tensor in inputs if tensor.name in arrays]
    return replace(samples, arrays={name: arrays[name] for name in names})


def batch_size(samples: Samples, inputs: Sequence[TensorInfo], limit: int = BATCH) -> int:
    """Return how many samples one call takes: the inputs' fixed first axis, else ``limit``."""
    fixed = [
        tensor.shape[0]
        for tensor in inputs
        if tensor.shape and tensor.name in samples.arrays and samples.arrays[tensor.name].ndim > 0
    ]
    sizes = [size for size in fixed if isinstance(size, int)]
    return min(sizes) if sizes else limit


def feeds(
    samples: Samples, inputs: Sequence[TensorInfo], limit: int = BATCH
) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield what ``session.run`` takes, with how many samples of it count.

    Arrays of rank 0 are spread over the shape of their input. With a fixed batch the last feed is
    filled up by repeating its last sample.
    """
    import numpy as np

    samples = bind(samples, inputs)
    size = batch_size(samples, inputs, limit)
    fixed = any(t.shape and isinstance(t.shape[0], int) for t in inputs)
    for batch in samples.batches(size):
        count = max((len(a) for a in batch.values() if a.ndim), default=1)
        feed = {}
        for tensor in inputs:
            array = batch[tensor.name]
            if array.ndim == 0 and tensor.shape:
                rows = tensor.shape[0] if isinstance(tensor.shape[0], int) else count
                array = np.full((rows, *tensor.shape[1:]), array)
            elif array.ndim and fixed and len(array) < size:
                array = np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)])
            feed[tensor.name] = array
        yield feed, count


def run_batched(
    session: Session, samples: Samples, *, events: Events | None = None, limit: int = BATCH
) -> dict[str, Any]:
    """Return the outputs of all samples by output name, first axis = samples.

    A model with a fixed batch is fed in batches of that size. An output without a batch axis is
    got by feeding one sample a call, and stacked; where its shape differs from sample to sample
    (detections) it becomes an object array of one array a sample. Raises what ``session.run``
    raises.
    """
    tell = events or Silence()
    calls = _calls(session, samples, limit, tell) or _calls(session, samples, 1, tell) or []
    return {tensor.name: _join(tensor.name, calls) for tensor in session.outputs}


def _calls(
    session: Session, samples: Samples, limit: int, events: Events
) -> list[tuple[dict[str, Any], bool]] | None:
    """Return each call's outputs and whether all of them have one row a sample.

    None when a call of several samples shows an output without a batch axis.
    """
    calls: list[tuple[dict[str, Any], bool]] = []
    for feed, count in feeds(samples, session.inputs, limit):
        outputs = session.run(feed)
        size = max((len(array) for array in feed.values() if array.ndim), default=1)
        by_row = all(_rows(output) == size for output in outputs.values())
        if not by_row and size > 1 and limit > 1:
            return None
        if by_row:
            outputs = {name: output[:count] for name, output in outputs.items()}
        calls.append((outputs, by_row))
        events.advance(count)
    return calls


def _join(name: str, calls: list[tuple[dict[str, Any], bool]]) -> Any:
    import numpy as np

    parts = [outputs[name] for outputs, _ in calls]
    if all(by_row for _, by_row in calls):
        if len({part.shape[1:] for part in parts}) == 1:
            return np.concatenate(parts)
        parts = [row for part in parts for row in part]
    if len({part.shape for part in parts}) == 1:
        return np.stack(parts)
    ragged = np.empty(len(parts), dtype=object)
    ragged[:] = parts
    return ragged


def _rows(output: Any) -> int:
    return int(output.shape[0]) if output.ndim else 0


def _table(columns: Sequence[Any], dtype: str) -> Any:
    import numpy as np

    table = np.stack(columns, axis=1)
    if dtype == "str" or table.dtype.kind not in "fiub":
        return table
    cast = table.astype(dtype)
    lossless = cast.dtype.kind == "f" or bool((cast == table).all())
    return cast if lossless else table
