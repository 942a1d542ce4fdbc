"""Raising a model's opset: ONNX's own converter, and what it gets wrong put right."""

from __future__ import annotations

from typing import Any

from edgeops.model.simplify.infer import line
from edgeops.model.simplify.light import constant_of, with_tensors

_FIRST_WITH_AXIS = 13  # of Softmax and its relatives: before, they flattened at ``axis``


def raise_opset(model: Any, tensors: dict[str, Any], opset: int) -> str:
    """Raise ai.onnx in a model without weights, in place; return a note when it cannot be.

    A newer opset than asked for is kept. ``tensors`` are the model's constants; those that the
    converter makes are added.
    """
    import onnx

    has = opset_of(model)
    if has is None or has >= opset:
        return ""
    light = with_tensors(model, tensors)
    _flatten_hardmax(light, has)
    try:
        raised = onnx.version_converter.convert_version(light, opset)
        onnx.checker.check_model(raised)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        return f"kept opset {has}: it cannot be raised to {opset} ({line(error)})"
    lost = {o.domain for o in model.opset_import} - {o.domain for o in raised.opset_import}
    if lost or [v.name for v in raised.graph.output] != [v.name for v in model.graph.output]:
        return f"kept opset {has}: raising it to {opset} changes the graph's interface"
    _take_over(model, tensors, raised)
    return ""


def opset_of(model: Any) -> int | None:
    """Return the opset of the standard domain, None when the model imports none."""
    return next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), None)


def _take_over(model: Any, tensors: dict[str, Any], raised: Any) -> None:
    outputs = {value.name for value in model.graph.output}
    nodes = []
    for node in raised.graph.node:
        tensor = constant_of(node)
        if tensor is None or node.output[0] in outputs:
            nodes.append(node)
        else:
            tensors[node.output[0]] = tensor
    for tensor in raised.graph.initializer:
        tensors.setdefault(tensor.name, tensor)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.opset_import[:]
    model.opset_import.extend(raised.opset_import)


def _flatten_hardmax(model: Any, has: int) -> None:
    """Write down what Hardmax of old opsets means: the converter knows it of Softmax only."""
    from onnx import helper

    if has >= _FIRST_WITH_AXIS:
        return
    nodes = []
    for node in model.graph.node:
        if node.op_type != "Hardmax" or node.domain not in {"", "ai.onnx"}:
            nodes.append(node)
            continue
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        source, out = node.input[0], node.output[0]
        shape, flat, hard = (f"{out}_{part}" for part in ("shape", "flat", "hard"))
        nodes += [
            helper.make_node("Shape", [source], [shape]),
            helper.make_node("Flatten", [source], [flat], axis=axis),
            helper.make_node("Hardmax", [flat], [hard], name=node.name, axis=1),
            helper.make_node("Reshape", [hard, shape], [out]),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
