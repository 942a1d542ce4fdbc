"""Arrays that a caller gives for a model: names, dtypes and shapes, each fault said in words."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.variant import TensorInfo


def fitted(tensors: Sequence[TensorInfo], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of a model by name, from what a caller gave.

    Raises InputError ``input-missing``, ``input-name-unknown``, ``input-shape`` or ``input-dtype``.
    """
    _check_names(tensors, inputs)
    arrays = {tensor.name: _fit(tensor, inputs[tensor.name]) for tensor in tensors}
    _check_sizes(tensors, arrays)
    return arrays


def _check_names(tensors: Sequence[TensorInfo], inputs: Mapping[str, Any]) -> None:
    known = [tensor.name for tensor in tensors]
    for name in inputs:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            raise InputError(
                "input-name-unknown",
                f"the model has no input {name!r}"
                + (f"; did you mean {near[0]!r}?" if near else ""),
                where=str(name),
                why=f"its inputs are {_described(tensors)}",
                fix=f"name them: predict({{{known[0]!r}: array}})",
            )
    missing = [name for name in known if name not in inputs]
    if missing:
        raise InputError(
            "input-missing",
            f"the input {missing[0]!r} was not given",
            where=missing[0],
            why=f"the model's inputs are {_described(tensors)}",
            fix=f"give an array for {', '.join(map(repr, missing))}",
        )


def _check_sizes(tensors: Sequence[TensorInfo], arrays: Mapping[str, Any]) -> None:
    """Refuse two sizes for one named axis, such as a batch of 4 beside a batch of 5."""
    sizes: dict[str, tuple[int, str]] = {}
    for tensor in tensors:
        for axis, size in zip(tensor.shape, arrays[tensor.name].shape):
            if not isinstance(axis, str) or axis == "?":
                continue
            first, owner = sizes.setdefault(axis, (size, tensor.name))
            if first != size:
                raise InputError(
                    "input-shape",
                    f"{owner!r} and {tensor.name!r} do not fit each other",
                    where=tensor.name,
                    why=f"the axis {axis!r} is {first} in the one and {size} in the other",
                    fix="give all inputs the same number of samples",
                )


def _fit(tensor: TensorInfo, value: Any) -> np.ndarray[Any, Any]:
    array = _typed(tensor, value)
    fits = len(array.shape) == len(tensor.shape) and all(
        isinstance(wanted, str) or wanted == size for wanted, size in zip(tensor.shape, array.shape)
    )
    if fits:
        return array
    given = list(array.shape)
    single = len(given) + 1 == len(tensor.shape) and given == list(tensor.shape[1:])
    raise InputError(
        "input-shape",
        f"{tensor.name!r} has the shape {given}, the model takes {_shape(tensor)}",
        where=tensor.name,
        why="it is one sample without the first axis, which counts samples"
        if single
        else "each axis must have the model's size; a name stands for any size",
        fix="add the axis: array[numpy.newaxis]"
        if single
        else f"bring the array into the shape {_shape(tensor)}; nothing is reshaped for you",
    )


def _typed(tensor: TensorInfo, value: Any) -> np.ndarray[Any, Any]:
    if tensor.dtype == "str":
        return _texts(tensor, value)
    wanted = np.dtype(tensor.dtype)
    if hasattr(value, "dtype") or hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype == wanted:
            return array
        if np.can_cast(array.dtype, wanted, "safe"):
            return array.astype(wanted)
        raise _dtype_error(tensor, str(array.dtype), f"array.astype({tensor.dtype!r})")
    try:
        plain = np.asarray(value)
        whole = plain.dtype.kind in "iu" and wanted.kind in "iu"
        if whole or np.can_cast(plain.dtype, wanted, "same_kind"):
            with np.errstate(over="raise"):  # 1e39 is no float32
                return np.asarray(value, dtype=wanted)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise _dtype_error(tensor, f"no array: {error}", "numpy.array(...)") from error
    raise _dtype_error(tensor, f"{plain.dtype} values", f"numbers that {tensor.dtype} can hold")


def _texts(tensor: TensorInfo, value: Any) -> np.ndarray[Any, Any]:
    try:
        array = np.asarray(value)
    except ValueError as error:  # lists of different lengths
        raise _dtype_error(tensor, f"no array: {error}", "numpy.array(...)") from error
    if array.dtype.kind == "U" or (
        array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat)
    ):
        return array.astype(object)
    raise _dtype_error(tensor, str(array.dtype), "strings")


def _dtype_error(tensor: TensorInfo, given: str, fix: str) -> InputError:
    return InputError(
        "input-dtype",
        f"{tensor.name!r} is {given}, the model takes {tensor.dtype}",
        where=tensor.name,
        why="a cast that could lose something is never made silently",
        fix=f"give {fix}",
    )


def _described(tensors: Sequence[TensorInfo]) -> str:
    return ", ".join(f"{item.name}: {item.dtype}{_shape(item)}" for item in tensors)


def _shape(tensor: TensorInfo) -> str:
    return f"[{', '.join(map(str, tensor.shape))}]"
