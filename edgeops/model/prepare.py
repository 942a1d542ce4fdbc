"""Bring a model into the form that converters expect; nothing here is trusted without proof.

Steps: initializers out of the inputs, IR and opset raised, shapes fixed on request, simplified
(edgeops/model/simplify), shapes inferred, every node named. A step that is impossible is left out
with a note, except those the user asked for. Weights are copied once, into the finished model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.errors import Finding, from_findings
from edgeops.model.load import graph_inputs
from edgeops.model.simplify.infer import line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OPSET = 17
IR = 8  # the first that goes with opset 17
# What a pass may stumble over in a model whose shapes, axes and numbers contradict each other:
# ONNX's checker lets many such models through, and it is for the engine to refuse them.
_MISFITS = (ArithmeticError, LookupError, TypeError, ValueError)


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
    """Return a prepared copy of an ``onnx.ModelProto``; inputs and outputs keep names and types.

    ``simplify`` False leaves out what makes the graph smaller, not the rest. Raises InputError
    ``input-unknown``, ``input-rank`` or ``input-fixed`` when a shape that was asked for does not go
    with the model's inputs.
    """
    shapes = input_shapes or {}
    _refuse_shapes(proto, shapes)
    if simplify:
        try:
            return _prepared(proto, opset, shapes, simplify=True)
        except _MISFITS as error:
            made = _prepared(proto, opset, shapes, simplify=False)
            note = f"not simplified: its parts do not go together ({line(error)})"
            return Prepared(made.proto, (*made.notes, note))
    return _prepared(proto, opset, shapes, simplify=False)


def _prepared(
    proto: Any, opset: int, shapes: Mapping[str, Sequence[int]], *, simplify: bool
) -> Prepared:
    from edgeops.model.opset import raise_opset
    from edgeops.model.simplify import finish, simplified
    from edgeops.model.simplify.light import lighten

    model, tensors = lighten(proto)
    fix_inputs(model, shapes)
    tidy_inputs(model, tensors)
    note = raise_opset(model, tensors, opset)
    model, more = simplified(model, tensors) if simplify else finish(model, tensors)
    return Prepared(model, tuple(filter(None, [note, *more])))


def tidy_inputs(model: Any, given: Mapping[str, Any]) -> None:
    """Take initializers out of the inputs (old exporters list them) and raise the IR version."""
    true_inputs = [value for value in model.graph.input if value.name not in given]
    del model.graph.input[:]
    model.graph.input.extend(true_inputs)
    model.ir_version = max(model.ir_version, IR)


def fixed(proto: Any, shapes: Mapping[str, Sequence[int]]) -> Any:
    """Return a copy with input shapes fixed; a dimension's name gets its size everywhere.

    ``shapes`` are sizes by input name, one for each axis. Raises as ``prepare`` does.
    """
    import onnx

    _refuse_shapes(proto, shapes)
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    fix_inputs(model, shapes)
    return model


def fix_inputs(model: Any, shapes: Mapping[str, Sequence[int]]) -> None:
    """Fix input shapes in a model, which is changed; the shapes must be known to fit."""
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


def infer(model: Any) -> tuple[Any, str]:
    """Return the model with inferred shapes, and a note when they do not go together."""
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True), ""
    except (RuntimeError, ValueError, onnx.shape_inference.InferenceError) as error:
        return model, f"shapes were not inferred ({line(error)})"


def _refuse_shapes(proto: Any, shapes: Mapping[str, Sequence[int]]) -> None:
    findings = _shape_problems(proto, shapes)
    if findings:
        raise from_findings(findings)


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
