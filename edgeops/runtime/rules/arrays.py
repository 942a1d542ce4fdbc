"""What of a model's outputs a step or an expression gets: one sample, without the axis of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def sample(array: Any) -> Any:
    """Return an output without its first axis when that counts one sample."""
    return array[0] if array.ndim and array.shape[0] == 1 else array


def chosen(outputs: Mapping[str, Any], name: str) -> Any:
    """Return the output called ``name``, or the only one, of one sample; ValueError if none is."""
    if not name and len(outputs) == 1:
        name = next(iter(outputs))
    if name not in outputs:
        listed = ", ".join(outputs)
        why = f"there is no output {name!r}" if name else "which output is meant was not said"
        message = f"{why}; the model has {listed}"
        raise ValueError(message)
    return sample(outputs[name])


def numbers(array: Any, what: str) -> Any:
    """Return an array as float64; ValueError when it holds other things, or what is not finite."""
    import numpy as np

    if array.dtype.kind not in "fiub":
        message = f"{what} holds {array.dtype}, no numbers"
        raise ValueError(message)
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        message = f"{what} holds values that are not finite"
        raise ValueError(message)
    return values


def softmax(values: Any) -> Any:
    """Return the softmax over the last axis."""
    import numpy as np

    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(values: Any) -> Any:
    """Return the logistic function of each value, without overflow."""
    import numpy as np

    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, small) / (1.0 + small)


def applied(name: str, values: Any) -> Any:
    """Return values after ``softmax``, ``sigmoid`` or nothing."""
    return {"softmax": softmax, "sigmoid": sigmoid}.get(name, lambda same: same)(values)
