"""Raising a model's opset: ONNX's own converter, and what it gets wrong put right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.model.simplify.infer import line
from edgeops.model.simplify.light import constant_of, with_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOFTMAX_BY_AXIS = 13  # before, Softmax and its relatives flattened at ``axis``
_SCAN_WITHOUT_BATCH = 9  # before, Scan went over batches too
_RESIZE_BY_MODE = 11  # before, Resize had one way of finding pixels, not today's default
_SCALES_AT = 2  # the input of Resize that holds the scales
_DROPOUT_MASK = 12  # before, what the mask holds when nothing is dropped was left open


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
    obstacle = _obstacle(light, has)
    if obstacle:
        return f"kept opset {has}: {obstacle}"
    if has < _SOFTMAX_BY_AXIS:
        _flatten_hardmax(light.graph)
    try:
        raised = onnx.version_converter.convert_version(light, opset)
        if has < _RESIZE_BY_MODE:
            _set_resize_modes(raised, _scales(light))
        _check(raised)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        return f"kept opset {has}: it cannot be raised to {opset} ({line(error)})"
    lost = {o.domain for o in model.opset_import} - {o.domain for o in raised.opset_import}
    if lost or [v.name for v in raised.graph.output] != [v.name for v in model.graph.output]:
        return f"kept opset {has}: raising it to {opset} changes the graph's interface"
    _take_over(model, tensors, raised)
    return ""


def _check(model: Any) -> None:
    """Check a model whose outputs need not have shapes."""
    import onnx

    for value in model.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(model)


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


def _all_nodes(graph: Any) -> Iterator[Any]:
    for inner in _graphs(graph):
        yield from inner.node


def _graphs(graph: Any) -> Iterator[Any]:
    """Yield a graph and those inside of its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
            for inner in attribute.graphs:
                yield from _graphs(inner)


def _attribute(node: Any, name: str, default: Any) -> Any:
    from onnx import helper

    value = next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
    return value.decode() if isinstance(value, bytes) else value


def _obstacle(model: Any, has: int) -> str:
    """Return what the model holds that has no equal in later opsets, or ""."""
    read = {name for node in _all_nodes(model.graph) for name in node.input}
    read |= {value.name for value in model.graph.output}
    scales = _scales(model)
    for node in _all_nodes(model.graph):
        if node.op_type == "Dropout" and has < _DROPOUT_MASK and set(node.output[1:]) & read:
            return "the mask of a Dropout is read, which later opsets fill differently"
        if node.op_type == "Scan" and has < _SCAN_WITHOUT_BATCH:
            return "a Scan goes over a batch, which later opsets do not know"
        nearest = _attribute(node, "mode", "nearest") == "nearest"
        if node.op_type == "Resize" and has < _RESIZE_BY_MODE and nearest:
            factors = scales.get(node.input[1])
            if factors is None or (max(factors) > 1 and min(factors) < 1):
                return "a Resize goes up and down at once, or by what is not known before"
    return ""


def _scales(model: Any) -> dict[str, list[float]]:
    """Return the constants that could be scales, by name."""
    from onnx import numpy_helper

    floats = [t for t in model.graph.initializer if t.data_type == 1 and len(t.dims) == 1]
    return {t.name: numpy_helper.to_array(t).tolist() for t in floats}


def _set_resize_modes(model: Any, scales: dict[str, list[float]]) -> None:
    """Say what Upsample and Resize did before it had to be said; the converter says nothing."""
    from onnx import helper

    for node in _all_nodes(model.graph):
        if node.op_type != "Resize" or node.domain not in {"", "ai.onnx"}:
            continue
        factors = scales.get(node.input[2] if len(node.input) > _SCALES_AT else "", [1.0])
        mode = "floor" if min(factors) >= 1 else "ceil"
        node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
        if _attribute(node, "mode", "nearest") == "nearest":
            node.attribute.append(helper.make_attribute("nearest_mode", mode))


def _flatten_hardmax(graph: Any) -> None:
    """Write down what Hardmax of old opsets means: the converter knows it of Softmax only."""
    from onnx import helper

    for inner in list(_graphs(graph)):
        nodes: list[Any] = []
        for node in inner.node:
            if node.op_type != "Hardmax" or node.domain not in {"", "ai.onnx"}:
                nodes.append(node)
                continue
            source, out = node.input[0], node.output[0]
            shape, flat, hard = (f"{out}_{part}" for part in ("shape", "flat", "hard"))
            nodes += [
                helper.make_node("Shape", [source], [shape]),
                helper.make_node("Flatten", [source], [flat], axis=_attribute(node, "axis", 1)),
                helper.make_node("Hardmax", [flat], [hard], name=node.name, axis=1),
                helper.make_node("Reshape", [hard, shape], [out]),
            ]
        if len(nodes) > len(inner.node):
            del inner.node[:]
            inner.node.extend(nodes)
