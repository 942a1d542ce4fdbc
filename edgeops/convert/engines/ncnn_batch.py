"""Whether a model treats each sample of a batch alone: ncnn runs one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.engines.ncnn_adapt import is_loop
from edgeops.convert.engines.ncnn_pnnx import failed
from edgeops.errors import InputError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.core.variant import TensorInfo

_ROWS = 3
_SIZE = 32  # for open axes other than the first
_SEED = 20261020
_TOLERANCE = 1e-3


def refuse_combined(model: Any, inputs: Sequence[TensorInfo]) -> None:
    """Raise RefusedError ``conversion-failed`` for a model that combines the samples of a batch.

    ONNX Runtime answers three samples at once and one by one; a model that does not take made-up
    input is let through, for the proof to judge.
    """
    from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession

    given = _noise(inputs)
    looped = [tensor.name for tensor in inputs if is_loop(tensor)]
    try:
        session = OnnxRuntimeSession(model.SerializeToString(), where="the prepared model")
        together = session.run(given)
        alone = [
            session.run({**given, **{name: given[name][row : row + 1] for name in looped}})
            for row in range(_ROWS)
        ]
    except (InputError, RefusedError):
        return
    name = _first_difference(together, alone)
    if name:
        one = ",".join(map(str, (1, *inputs[0].shape[1:])))
        raise failed(
            f"the output {name!r} of a sample depends on the others of its batch, and ncnn runs "
            "sample by sample",
            f"fix the batch: --input-shape {looped[0]}={one}",
            node=name,
        )


def _noise(inputs: Sequence[TensorInfo]) -> dict[str, Any]:
    import numpy as np

    random = np.random.default_rng(_SEED)
    given: dict[str, Any] = {}
    for tensor in inputs:
        sizes = [size if isinstance(size, int) else _SIZE for size in tensor.shape]
        if is_loop(tensor):
            sizes[0] = _ROWS
        if tensor.dtype.startswith("float"):
            given[tensor.name] = random.standard_normal(sizes).astype(tensor.dtype)
        else:
            given[tensor.name] = random.integers(0, 2, sizes).astype(tensor.dtype)
    return given


def _first_difference(together: dict[str, Any], alone: list[dict[str, Any]]) -> str:
    import numpy as np

    for name, array in together.items():
        joined = np.concatenate([np.atleast_1d(answer[name]) for answer in alone])
        if joined.shape != array.shape:
            return name
        if array.dtype.kind == "f":
            off = np.linalg.norm(array - joined)
            if off > _TOLERANCE * max(float(np.linalg.norm(array)), 1e-6):
                return name
        elif not np.array_equal(array, joined):
            return name
    return ""
