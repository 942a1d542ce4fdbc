"""Whether what a caller gives is what a model takes; shared by the sessions of all engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.variant import TensorInfo


def fits(arrays: Mapping[str, Any], inputs: Sequence[TensorInfo]) -> bool:
    """Return whether every input is there with its dtype, rank and fixed sizes."""
    return not difference(arrays, inputs)


def difference(arrays: Mapping[str, Any], inputs: Sequence[TensorInfo]) -> str:
    """Return the first thing in which ``arrays`` are not what the model takes, "" when nothing."""
    for tensor in inputs:
        if tensor.name not in arrays:
            return f"{tensor.name!r} is missing"
        array = arrays[tensor.name]
        found = getattr(array, "dtype", None)
        if found is None:
            return f"{tensor.name!r} is a {type(array).__name__}, no array"
        if found.name != tensor.dtype and not (tensor.dtype == "str" and found.kind in "OUS"):
            return f"{tensor.name!r} is {found}, the model takes {tensor.dtype}"
        shape, wanted = array.shape, tensor.shape
        if wanted == ("...",):
            continue
        if len(shape) != len(wanted) or any(
            size != want for size, want in zip(shape, wanted) if isinstance(want, int)
        ):
            return f"{tensor.name!r} has shape {list(shape)}, the model takes {list(wanted)}"
    return ""


def misfit(
    arrays: Mapping[str, Any], inputs: Sequence[TensorInfo], where: str
) -> InputError | None:
    """Return the error ``input-misfit`` that says what does not fit, None when all does."""
    why = difference(arrays, inputs)
    if not why:
        return None
    wanted = ", ".join(f"{t.name}: {t.dtype}{list(t.shape)}" for t in inputs)
    return InputError(
        "input-misfit",
        f"the input does not fit {where}",
        where=where,
        why=f"{why} (given: {', '.join(sorted(arrays)) or 'nothing'})",
        fix=f"give {wanted}",
    )
