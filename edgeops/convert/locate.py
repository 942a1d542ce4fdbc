"""Find the first node whose result differs, where both models keep its name and run on ORT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.proof import TOLERANCES
from edgeops.errors import InputError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping


def first_difference(source: Any, converted: Any, feed: Mapping[str, Any], precision: str) -> str:
    """Return ``OPERATOR 'node'`` of the source, or "" when it cannot be told."""
    import numpy as np

    bounds = TOLERANCES.get(precision, TOLERANCES["fp32"])
    theirs = {name for node in converted.graph.node for name in node.output}
    shared = [
        (node, node.output[0])
        for node in source.graph.node
        if node.output and node.output[0] in theirs
    ]
    names = [name for _, name in shared]
    try:
        before = _tap(source, names, feed)
        after = _tap(converted, names, feed)
    except (InputError, RefusedError):
        return ""
    for node, name in shared:
        one, other = before[name], after[name]
        if one.dtype.kind != "f" or one.shape != other.shape or not one.size:
            continue
        one, other = one.astype("float64"), other.astype("float64")
        error = float(np.linalg.norm(one - other))
        if not error <= max(bounds.rel * float(np.linalg.norm(one)), bounds.absolute):
            return f"{node.op_type} {node.name or name!r}"
    return ""


def _tap(model: Any, names: list[str], feed: Mapping[str, Any]) -> dict[str, Any]:
    import onnx

    from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession

    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    have = {value.name for value in tapped.graph.output}
    tapped.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in have
    )
    session = OnnxRuntimeSession(tapped.SerializeToString(), optimize=False)
    return session.run(feed)
