"""What ncnn does not take and no table can say, for it depends on values or on the whole graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.engines.ncnn_adapt import Copy, is_loop
from edgeops.convert.engines.ncnn_forms import POWERS, exponent_of
from edgeops.convert.engines.ncnn_resize import why_not
from edgeops.errors import Finding
from edgeops.model.load import graph_inputs, graph_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_INITIAL_STATES = (5, 6)
_STEPS = 4
_AXES = 4
# Layers whose first axis pnnx takes for the batch (pnnx's solve_batch_index).
_BATCHED = {
    *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
    *("BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization"),
    *("PRelu", "LRN", "Resize", "DepthToSpace", "Gemm", "GridSample"),
}


def findings_by_value(model: Any, single: Any) -> list[Finding]:
    """Return the findings of a prepared model; ``single`` is that model with a batch of one."""
    return [*_batches(model), *_empty(single), *_values(single), *_axes(single)]


def _batches(model: Any) -> Iterator[Finding]:
    """Yield outputs that have no batch axis where inputs have one: samples were combined."""
    inputs = graph_inputs(model)
    if not inputs:
        yield _finding("the graph", "", "it takes no inputs", "there is nothing to give it")
    looped = [tensor for tensor in inputs if is_loop(tensor)]
    if not looped:
        return
    one = ",".join(map(str, (1, *looped[0].shape[1:])))
    for tensor in graph_outputs(model):
        if not is_loop(tensor) and tensor.shape != ("...",):
            yield Finding(
                "dynamic-shape",
                f"ncnn runs sample by sample, and the output {tensor.name!r} has no batch axis",
                where=tensor.name,
                why=f"it is {list(tensor.shape)}, {looped[0].name!r} takes any number of samples",
                fix=f"edgeops convert MODEL --to ncnn --input-shape {looped[0].name}={one}",
                details={"node": tensor.name, "op": "", "alternatives": []},
            )


def _empty(single: Any) -> Iterator[Finding]:
    copy = Copy(single)
    for value in single.graph.input:
        if 0 in (copy.sizes(value.name) or ()):
            yield _finding(value.name, "", f"the input {value.name!r} is empty", "ncnn has no such")
    for node in single.graph.node:
        for name in node.output:
            if 0 in (copy.sizes(name) or ()):
                yield _finding(node.name, node.op_type, "its result is empty", "ncnn has no such")


def _values(single: Any) -> Iterator[Finding]:
    copy = Copy(single)
    for node in single.graph.node:
        judge = _JUDGES.get(node.op_type)
        has, why = judge(node, copy) if judge else ("", "")
        if has:
            yield _finding(node.name, node.op_type, has, why)


def _slice(node: Any, copy: Copy) -> tuple[str, str]:
    steps = copy.value(node, _STEPS)
    if steps is None or (steps == 1).all():
        return "", ""
    return f"it has steps {steps.tolist()}", "ncnn cuts out only what lies together"


def _split(node: Any, copy: Copy) -> tuple[str, str]:
    parts = copy.value(node, 1)
    return ("one of its parts is empty", _EMPTY) if parts is not None and 0 in parts else ("", "")


def _reduce(node: Any, copy: Copy) -> tuple[str, str]:
    idle = any(a.name == "noop_with_empty_axes" and a.i for a in node.attribute)
    axes = copy.value(node, 1)
    nothing = idle and (axes is None or not axes.size)
    return (
        ("it reduces nothing", "a network of ncnn must compute something") if nothing else ("", "")
    )


def _transpose(node: Any, _: Copy) -> tuple[str, str]:
    order = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
    same = order is not None and order == sorted(order)
    return ("it turns nothing", "a network of ncnn must compute something") if same else ("", "")


def _resize(node: Any, copy: Copy) -> tuple[str, str]:
    return why_not(node, copy), "ncnn finds pixels in another way"


def _pow(node: Any, copy: Copy) -> tuple[str, str]:
    if exponent_of(node, copy) in POWERS:
        return "", ""
    has = "its exponent is no constant of 0.5 or a small whole number"
    return has, "ncnn's powers of zero and below are wrong"


def _prelu(node: Any, copy: Copy) -> tuple[str, str]:
    """Take a slope that is one number, or one for each of the second axis."""
    sizes, slope = copy.sizes(node.input[0]), copy.sizes(node.input[1])
    if sizes is not None and slope is not None:
        whole = [1] * (len(sizes) - len(slope)) + slope
        if all(size == 1 for axis, size in enumerate(whole) if axis != 1):
            return "", ""
    return "its slope is not one a channel", "ncnn has no other"


def _recurrent(node: Any, copy: Copy) -> tuple[str, str]:
    states = [copy.value(node, index) for index in _INITIAL_STATES]
    if not any(state is not None and state.any() for state in states):
        return "", ""
    return "its initial state is not zero", "pnnx lets it begin at zero"


_EMPTY = "ncnn has no tensors without values"
_REDUCTIONS = ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "LogSumExp")
_JUDGES: dict[str, Callable[[Any, Copy], tuple[str, str]]] = {
    **dict.fromkeys((f"Reduce{kind}" for kind in _REDUCTIONS), _reduce),
    **dict.fromkeys(("LSTM", "GRU"), _recurrent),
    "PRelu": _prelu,
    "Pow": _pow,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _split,
    "Transpose": _transpose,
}


def _axes(single: Any) -> Iterator[Finding]:
    """Yield nodes with five axes, or constants with a batch, where pnnx does not see the batch.

    A network of ncnn has four axes beside the batch, and pnnx knows the batch by the layers that
    have one; operators that move axes lose it.
    """
    copy = Copy(single)
    batched = any(node.op_type in _BATCHED for node in single.graph.node)
    for node in single.graph.node:
        before, after = (
            copy.sizes(node.input[0]) if node.input else None,
            copy.sizes(node.output[0]),
        )
        if after is not None and len(after) > _AXES:
            first = next((a.ints[0] for a in node.attribute if a.name == "perm"), 0)
            if not batched or first != 0 or (before and before[0] != after[0]):
                has = f"its {len(after)} axes do not begin with a batch"
                yield _finding(node.name, node.op_type, has, "ncnn has four axes beside the batch")
        if node.op_type == "Concat" and batched:
            sizes = [copy.sizes(name) for name in node.input if name in copy.constants]
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            if axis != 0 and any(each and (each[0] or 0) > 1 for each in sizes):
                has = "a constant among its parts has a batch of its own"
                yield _finding(node.name, "Concat", has, "constants of ncnn have none")


def _finding(node: str, op: str, has: str, why: str) -> Finding:
    return Finding(
        "attribute-unsupported",
        f"ncnn does not take {op or 'a model'} (node {node!r}): {has}" if op else f"ncnn: {has}",
        where=node,
        why=why,
        fix="export the model without it, or see which engines take it: edgeops check MODEL --all",
        details={"node": node, "op": op, "alternatives": []},
    )
