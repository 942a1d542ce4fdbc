"""Whether features make what a model takes: known before either runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.core.variant import TensorInfo
    from edgeops.runtime.features.features import Features


def misfits(features: Features, inputs: Sequence[TensorInfo], where: str) -> tuple[Finding, ...]:
    """Return a finding for each model input that the features do not make as the model takes it.

    Names must be the same on both sides, dtypes equal, and sizes equal where both are known.
    """
    made = {tensor.name: tensor for tensor in features.outputs}
    wanted = {tensor.name: tensor for tensor in inputs}
    found = [
        _finding(where, f"the model's input {name!r} is not made", f"made: {', '.join(made)}")
        for name in wanted
        if name not in made
    ]
    found += [
        _finding(where, f"the model has no input {name!r}", f"its inputs: {', '.join(wanted)}")
        for name in made
        if name not in wanted
    ]
    for name, tensor in made.items():
        if name in wanted and not _alike(tensor, wanted[name]):
            why = f"features make {_told(tensor)}, the model takes {_told(wanted[name])}"
            found.append(_finding(where, f"{name!r} does not fit the model", why))
    return tuple(found)


def _alike(made: TensorInfo, wanted: TensorInfo) -> bool:
    sizes = zip(made.shape, wanted.shape)
    return (
        made.dtype == wanted.dtype
        and len(made.shape) == len(wanted.shape)
        and all(isinstance(a, str) or isinstance(b, str) or a == b for a, b in sizes)
    )


def _told(tensor: TensorInfo) -> str:
    return f"{tensor.dtype}[{', '.join(map(str, tensor.shape))}]"


def _finding(where: str, what: str, why: str) -> Finding:
    return Finding(
        "features-model",
        what,
        where=where,
        why=why[:400],
        fix="change outputs and the last steps of the features, or the model",
    )
