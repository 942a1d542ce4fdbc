"""Bring a model into the form that converters expect; nothing here is trusted without proof.

Steps: initializers out of the inputs, IR and opset raised, shapes fixed on request and inferred,
simplified. A step that is impossible is left out with a note, except those the user asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.errors import Finding, from_findings
from edgeops.model.load import graph_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.variant import TensorInfo

OPSET = 17
IR = 8  # the first that goes with opset 17
_GROWTH = 1.2  # a simplified file larger than this has constants unfolded into it
_SLACK = 4096


@dataclass(frozen=True)
class Prepared:
    """A model ready for a converter; ``notes`` say which steps were left out, and why."""

    proto: Any
    notes: tuple[str, ...] = ()


def prepare(
    proto: Any,
    *,
    opset: int = OPSET,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    simplify: bool = True,
) -> Prepared:
    """Return a prepared copy of an ``onnx.ModelProto``.

    Raises InputError ``input-unknown``, ``input-rank`` or ``input-fixed`` when a shape that was
    asked for does not go with the model's inputs.
    """
    model = fixed(proto, input_shapes or {})
    tidy_inputs(model)
    notes = []
    model, note = raise_opset(model, opset)
    notes.append(note)
    model, note = infer(model)
    notes.append(note)
    if simplify:
        model, note = simplified(model)
        notes.append(note)
    constants_to_initializers(model)
    return Prepared(model, tuple(filter(None, notes)))


def tidy_inputs(model: Any) -> None:
    """Take initializers out of the inputs (old exporters list them) and raise the IR version."""
    given = {tensor.name for tensor in model.graph.initializer}
    true_inputs = [value for value in model.graph.input if value.name not in given]
    del model.graph.input[:]
    model.graph.input.extend(true_inputs)
    model.ir_version = max(model.ir_version, IR)


def constants_to_initializers(model: Any) -> None:
    """Turn Constant nodes into initializers, where quantizers and writers look for weights."""
    outputs = {value.name for value in model.graph.output}
    kept: list[Any] = []
    for node in model.graph.node:
        tensor = next((a.t for a in node.attribute if a.name == "value" and a.HasField("t")), None)
        if node.op_type != "Constant" or node.domain or tensor is None or node.output[0] in outputs:
            kept.append(node)
            continue
        initializer = model.graph.initializer.add()
        initializer.CopyFrom(tensor)
        initializer.name = node.output[0]
    if len(kept) < len(model.graph.node):
        nodes = [type(node).FromString(node.SerializeToString()) for node in kept]
        del model.graph.node[:]
        model.graph.node.extend(nodes)


def fixed(proto: Any, shapes: Mapping[str, Sequence[int]]) -> Any:
    """Return a copy with input shapes fixed; a dimension's name gets its size everywhere.

    ``shapes`` are sizes by input name, one for each axis.
    """
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(proto)
    findings = _shape_problems(proto, shapes)
    if findings:
        raise from_findings(findings)
    sizes: dict[str, int] = {}
    for value in model.graph.input:
        for dim, size in zip(
            value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False
        ):
            if dim.dim_param:
                sizes[dim.dim_param] = size
            dim.dim_value = size
    if shapes:
        # Shapes inside the graph were those of the open model: inferred anew from the inputs.
        del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    return model


def raise_opset(model: Any, opset: int) -> tuple[Any, str]:
    """Return the model at ``opset`` of ai.onnx or what it has when that is newer, and a note."""
    import onnx

    has = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
    if has is None or has >= opset:
        return model, ""
    try:
        raised = onnx.version_converter.convert_version(model, opset)
        onnx.checker.check_model(raised)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        return model, f"kept opset {has}: it cannot be raised to {opset} ({_line(error)})"
    lost = {o.domain for o in model.opset_import} - {o.domain for o in raised.opset_import}
    if lost or [v.name for v in raised.graph.output] != [v.name for v in model.graph.output]:
        return model, f"kept opset {has}: raising it to {opset} changes the graph's interface"
    return raised, ""


def infer(model: Any) -> tuple[Any, str]:
    """Return the model with inferred shapes, and a note when they do not go together."""
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True), ""
    except (RuntimeError, ValueError, onnx.shape_inference.InferenceError) as error:
        return model, f"shapes were not inferred ({_line(error)})"


def simplified(model: Any) -> tuple[Any, str]:
    """Return the simplified model and a note when it was left as it is.

    What comes back is only as good as its proof: onnxsim answers ``ok`` for graphs it did not run.
    """
    import onnx
    import onnxsim

    try:
        smaller, ok = onnxsim.simplify(model)
        onnx.checker.check_model(smaller)
    except (RuntimeError, ValueError, IndexError, KeyError, TypeError) as error:
        return model, f"not simplified: onnxsim failed ({_line(error)})"
    except onnx.checker.ValidationError as error:
        return model, f"not simplified: onnxsim made an invalid graph ({_line(error)})"
    if not ok or not _same_interface(model, smaller):
        return model, "not simplified: onnxsim changed the inputs or outputs"
    if smaller.ByteSize() > model.ByteSize() * _GROWTH + _SLACK:
        return model, "not simplified: folding constants would make the file larger"
    for side in ("input", "output"):  # onnxsim gives nameless axes names of its own
        values = getattr(smaller.graph, side)
        del values[:]
        values.extend(getattr(model.graph, side))
    return smaller, ""


def _same_interface(model: Any, other: Any) -> bool:
    """Return whether outputs agree in name, inputs also in dtype and every size that is fixed."""

    def fixed_parts(tensors: Sequence[TensorInfo]) -> list[Any]:
        return [
            (t.name, t.dtype, [size if isinstance(size, int) else None for size in t.shape])
            for t in tensors
        ]

    names = [[value.name for value in graph.output] for graph in (model.graph, other.graph)]
    same_inputs = fixed_parts(graph_inputs(model)) == fixed_parts(graph_inputs(other))
    return same_inputs and names[0] == names[1]


def _shape_problems(proto: Any, shapes: Mapping[str, Sequence[int]]) -> list[Finding]:
    inputs = {tensor.name: tensor for tensor in graph_inputs(proto)}
    listing = ", ".join(f"{t.name} {list(t.shape)}" for t in inputs.values())
    findings = []
    for name, sizes in shapes.items():
        asked = f"{name}={','.join(map(str, sizes))}"
        if name not in inputs:
            what = f"the model has no input {name!r}"
            findings.append(_finding("input-unknown", what, asked, listing))
            continue
        shape = inputs[name].shape
        clash = [
            size
            for has, size in zip(shape, sizes, strict=False)
            if size < 1 or (isinstance(has, int) and has != size)
        ]
        if len(shape) != len(sizes):
            what = f"the input {name!r} has {len(shape)} axes, {len(sizes)} sizes were given"
            findings.append(_finding("input-rank", what, asked, listing))
        elif clash:
            what = f"the input {name!r} has fixed sizes that cannot become {list(sizes)}"
            findings.append(_finding("input-fixed", what, asked, listing))
    return findings


def _finding(code: str, what: str, asked: str, listing: str) -> Finding:
    return Finding(
        code,
        what,
        where=asked,
        why=f"its inputs are {listing}",
        fix="give one size per axis for inputs of these names; only named axes can be chosen",
    )


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
