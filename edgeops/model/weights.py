"""Weights that no engine can compute with: NaN and infinity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError
from edgeops.model.external import tensors

if TYPE_CHECKING:
    from pathlib import Path

# Operators that take -inf (attention masks) or an infinite bound by design.
_MASKING = {
    *("Add", "Where", "Max", "Min", "Clip", "Expand", "Reshape", "Cast", "Pad", "Concat"),
    *("Slice", "Gather", "Unsqueeze", "Squeeze", "Transpose", "Tile", "Identity", "Equal"),
    *("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "ScatterND", "ScatterElements", "Trilu"),
}


def refuse_broken_weights(path: Path, proto: Any) -> None:
    """Raise InputError ``model-weights-nan`` or ``model-weights-inf``, naming tensor and node.

    NaN is refused everywhere; infinity except where it is a mask (only -inf) or a bound (one
    value) and goes into nothing but operators that mask, clip or move data.
    """
    import numpy as np
    import onnx

    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16}
    floats.add(onnx.TensorProto.BFLOAT16)
    for tensor in tensors(proto):
        if tensor.data_type not in floats:
            continue
        values = _array(path, tensor)
        if values.dtype.name == "bfloat16":
            values = values.astype(np.float32)
        finite = np.isfinite(values)
        if finite.all():
            continue
        broken = values[~finite]
        users = _users(proto, tensor)
        nan = int(np.isnan(broken).sum())
        if not nan and _is_mask(values, broken, {node.op_type for node in users}):
            continue
        raise _error(path, tensor, users, nan=nan, inf=broken.size - nan, size=values.size)


def _array(path: Path, tensor: Any) -> Any:
    import onnx

    try:
        return onnx.numpy_helper.to_array(tensor)
    except ValueError as error:
        raise InputError(
            "model-invalid",
            f"{path.name} is not a valid ONNX graph",
            where=str(path),
            why=f"the tensor {tensor.name!r} contradicts itself: {error}",
            fix="export the model again",
        ) from error


def _is_mask(values: Any, broken: Any, operators: set[str]) -> bool:
    return operators <= _MASKING and (values.size == 1 or bool((broken < 0).all()))


def _users(proto: Any, tensor: Any) -> list[Any]:
    names = {tensor.name}
    for node in proto.graph.node:
        if any(attribute.t is tensor or attribute.t == tensor for attribute in node.attribute):
            names.update(node.output)
    return [node for node in proto.graph.node if names.intersection(node.input)]


def _error(
    path: Path, tensor: Any, users: list[Any], *, nan: int, inf: int, size: int
) -> InputError:
    user = (
        f", which {users[0].op_type} {users[0].name or users[0].output[0]!r} uses," if users else ""
    )
    where = f"{path}: {tensor.name or 'a constant'}"
    fix = "look at the training (a diverged loss, a division by zero), take an earlier checkpoint"
    if nan:
        return InputError(
            "model-weights-nan",
            f"{path.name} has NaN among its weights",
            where=where,
            why=f"{nan} of the {size} values of {tensor.name!r}{user} are not numbers",
            fix=fix,
        )
    return InputError(
        "model-weights-inf",
        f"{path.name} has infinite weights",
        where=where,
        why=f"{inf} of the {size} values of {tensor.name!r}{user} are infinite",
        fix=fix,
    )
