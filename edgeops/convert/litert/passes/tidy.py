"""Remove what does nothing: operators that nobody reads, reshapes in a row, copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeops.convert.litert.ir import Op, Tensor

if TYPE_CHECKING:
    from edgeops.convert.litert.ir import Graph

# An operator that is removed leaves its state behind; none that is written has one.


def tidy(graph: Graph) -> None:
    """Fold transposes of constants, turn those that move no element into reshapes, drop the rest."""
    _settle_transposes(graph)
    _share_transposes(graph)
    _merge_reshapes(graph)
    drop_unread(graph)


def drop_unread(graph: Graph) -> None:
    """Remove operators none of whose outputs is read."""
    needed = {id(tensor) for tensor in graph.outputs}
    kept: list[Op] = []
    for op in reversed(graph.ops):
        if any(id(tensor) in needed for tensor in op.outputs):
            kept.append(op)
            needed.update(id(tensor) for tensor in op.inputs if tensor is not None)
    graph.ops = kept[::-1]


def permutation(op: Op) -> tuple[int, ...]:
    """Return the permutation of a TRANSPOSE: axis i of the output is axis permutation[i]."""
    order = op.inputs[1]
    assert order is not None  # noqa: S101 - the schema asks for it
    return tuple(int(axis) for axis in order.data)


def moves_nothing(tensor: Tensor, order: tuple[int, ...]) -> bool:
    """Return whether a transpose leaves the elements in their places in memory."""
    moved = [axis for axis in order if tensor.dims[axis] != 1]
    return moved == sorted(moved)


def reshape_to(source: Tensor, out: Tensor, node: str) -> Op | None:
    """Return the RESHAPE of ``source`` to ``out``, None where several of its axes are open."""
    import numpy as np

    if sum(isinstance(size, str) for size in out.dims) > 1:
        return None
    sizes = [size if isinstance(size, int) else -1 for size in out.dims]
    shape = Tensor(f"{out.name}/shape", (out.rank,), "int32", np.array(sizes, "int32"))
    return Op("RESHAPE", [source, shape], [out], {}, node)


def _settle_transposes(graph: Graph) -> None:
    import numpy as np

    outputs = {id(tensor) for tensor in graph.outputs}
    for position, op in enumerate(graph.ops):
        source = op.inputs[0] if op.inputs else None
        if op.code != "TRANSPOSE" or source is None:
            continue
        out, order = op.outputs[0], permutation(op)
        if source.is_constant and id(out) not in outputs:
            out.data = np.ascontiguousarray(np.transpose(source.data, order))
        elif moves_nothing(source, order):
            graph.ops[position] = reshape_to(source, out, op.node) or op
    graph.ops = [op for op in graph.ops if not all(tensor.is_constant for tensor in op.outputs)]


def _share_transposes(graph: Graph) -> None:
    """Let operators read the first of several equal transposes of a tensor."""
    outputs = {id(tensor) for tensor in graph.outputs}
    first: dict[tuple[int, tuple[int, ...]], Tensor] = {}
    replaced: dict[int, Tensor] = {}
    for op in graph.ops:
        op.inputs = [t if t is None else replaced.get(id(t), t) for t in op.inputs]
        if op.code != "TRANSPOSE":
            continue
        out = op.outputs[0]
        known = first.setdefault((id(op.inputs[0]), permutation(op)), out)
        if known is not out and id(out) not in outputs:
            replaced[id(out)] = known


def _merge_reshapes(graph: Graph) -> None:
    """Let a reshape read what the reshape before it read, and drop those that change nothing."""
    made: dict[int, Op] = {}
    kept: list[Op] = []
    for op in graph.ops:
        source = op.inputs[0] if op.inputs else None
        if op.code == "RESHAPE" and source is not None:
            before = made.get(id(source))
            if before is not None and before.code == "RESHAPE" and before.inputs[0] is not None:
                op.inputs[0] = source = before.inputs[0]
            out = op.outputs[0]
            same = source.dims == out.dims and source.dtype == out.dtype
            if same and not source.is_constant and graph.unite(out, source):
                continue
        for tensor in op.outputs:
            made[id(tensor)] = op
        kept.append(op)
    graph.ops = kept
