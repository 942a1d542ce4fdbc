"""Sink transposes through the operators behind them until they meet their inverse.

ONNX's layout is channels first and LiteRT's kernels want channels last, so lowering puts a
transpose before and behind every convolution and pool. One sweep over the operators in their order
moves each transpose behind whatever does not care for the order of axes; two in a row become one,
and one that undoes the other goes away. Where a branch brings no transpose along, one may have to
be added: the sweep is made with and without that, and the cheaper graph is taken, so the number of
elements that are moved never grows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeops.convert.litert.ir import Graph, Op, Tensor
from edgeops.convert.litert.passes.moves import ELEMENTWISE, data_inputs, inverse, moved
from edgeops.convert.litert.passes.tidy import drop_unread, moves_nothing, permutation, tidy

if TYPE_CHECKING:
    from edgeops.convert.litert.passes.moves import Moved, Order


def cancel_transposes(graph: Graph) -> None:
    """Rewrite ``graph`` in place to the cheapest of what the sweeps make of it."""
    best, least = graph, cost(graph)
    for bold in (False, True):
        tried = copy(graph)
        _Sweep(tried, bold=bold).run()
        _into_weights(tried)
        tidy(tried)
        spent = cost(tried)
        # Sunk as far as it goes, a transpose stands in nobody's way, even where it stays.
        if spent < least or (spent == least and not bold):
            best, least = tried, spent
    graph.inputs, graph.outputs, graph.ops = best.inputs, best.outputs, best.ops


def cost(graph: Graph) -> int:
    """Return how many elements the transposes of a graph move; one that moves none counts 1."""
    total = 0
    for op in graph.ops:
        source = op.inputs[0] if op.inputs else None
        if op.code == "TRANSPOSE" and source is not None and not source.is_constant:
            total += 1 if moves_nothing(source, permutation(op)) else math.prod(source.shape)
    return total


def copy(graph: Graph) -> Graph:
    """Return a copy whose operators and tensors are its own; arrays are shared."""
    known: dict[int, Tensor] = {}

    def own(tensor: Tensor) -> Tensor:
        if id(tensor) not in known:
            known[id(tensor)] = Tensor(
                tensor.name, tensor.dims, tensor.dtype, tensor.data, tensor.quant
            )
        return known[id(tensor)]

    ops = [
        Op(
            op.code,
            [None if tensor is None else own(tensor) for tensor in op.inputs],
            [own(tensor) for tensor in op.outputs],
            dict(op.options),
            op.node,
        )
        for op in graph.ops
    ]
    inputs, outputs = ([own(t) for t in side] for side in (graph.inputs, graph.outputs))
    return Graph(inputs, outputs, ops, graph.grids)


@dataclass
class _Before:
    """A tensor that a TRANSPOSE makes: what it was before, and how it is transposed."""

    source: Tensor
    order: Order


class _Sweep:
    """One walk over the operators; ``bold`` adds transposes where a branch brings none."""

    def __init__(self, graph: Graph, *, bold: bool) -> None:
        self.graph = graph
        self.bold = bold
        self.made: dict[int, _Before] = {}
        self.uses = {key: len(ops) for key, ops in graph.readers().items()}
        for tensor in graph.outputs:
            self.uses[id(tensor)] = self.uses.get(id(tensor), 0) + 1
        self.ops: list[Op] = []

    def run(self) -> None:
        """Rewrite the graph's operators."""
        for op in self.graph.ops:
            if op.code == "TRANSPOSE":
                self._merge(op)
            elif not self._sink(op):
                self.ops.append(op)
        self.graph.ops = self.ops
        drop_unread(self.graph)

    def _merge(self, op: Op) -> None:
        source = op.inputs[0]
        if source is None or source.is_constant:
            self.ops.append(op)
            return
        order = permutation(op)
        before = self.made.get(id(source))
        if before is not None:
            source, order = before.source, tuple(before.order[axis] for axis in order)
        self._transpose(source, order, op.outputs[0], op.node)

    def _transpose(self, source: Tensor, order: Order, out: Tensor, node: str) -> None:
        """Append the transpose of ``source`` into ``out``, or let ``out`` be ``source``."""
        import numpy as np

        if order == tuple(range(len(order))) and self.graph.unite(out, source):
            self.uses[id(source)] = self.uses.get(id(source), 0) + self.uses.get(id(out), 0)
            if id(source) in self.made:
                self.made[id(out)] = self.made[id(source)]
            return
        axes = Tensor(f"{out.name}/order", (len(order),), "int32", np.array(order, "int32"))
        self.made[id(out)] = _Before(source, order)
        self.ops.append(Op("TRANSPOSE", [source, axes], [out], {}, node))

    def _sink(self, op: Op) -> bool:
        """Put the operator before the transposes of its inputs; return whether that was done."""
        places = data_inputs(op)
        known = {
            index: self.made[id(op.inputs[index])]
            for index in places
            if op.inputs[index] is not None and id(op.inputs[index]) in self.made
        }
        if not known:
            return False
        order = self._common(op, known)
        if order is None:
            return False
        added: list[Op] = []
        before = self._operands(op, places, known, order, added)
        found = moved(op, order, before) if before is not None else None
        if found is None or not self._pays(op, known, added, found):
            return False
        self.ops += added
        self._replace(op, found)
        return True

    def _common(self, op: Op, known: dict[int, _Before]) -> Order | None:
        """Return the permutation that most of the elements come through; all must fit its rank."""
        rank = max(tensor.rank for tensor in op.inputs if tensor is not None and tensor.rank)
        weights: dict[Order, int] = {}
        for before in known.values():
            if len(before.order) == rank or op.code not in ELEMENTWISE:
                size = math.prod(before.source.shape)
                weights[before.order] = weights.get(before.order, 0) + size
        return max(weights, key=lambda order: (weights[order], order)) if weights else None

    def _operands(
        self,
        op: Op,
        places: list[int],
        known: dict[int, _Before],
        order: Order,
        added: list[Op],
    ) -> dict[int, Tensor] | None:
        """Return the data inputs over the axes before the transpose, None when one cannot be."""
        found: dict[int, Tensor] = {}
        for index in places:
            tensor = op.inputs[index]
            if tensor is None:
                continue
            before = known.get(index)
            if before is not None and before.order == order:
                found[index] = before.source
                continue
            operand = self._brought(tensor, order, op, added)
            if operand is None:
                return None
            found[index] = operand
        return found

    def _brought(self, tensor: Tensor, order: Order, op: Op, added: list[Op]) -> Tensor | None:
        """Return an operand without that transpose over the axes before it."""
        import numpy as np

        rank, back = len(order), inverse(order)
        if tensor.is_constant and tensor.data.size == 1 and op.code in ELEMENTWISE:
            return tensor if tensor.rank <= 1 else _constant(tensor, tensor.data.reshape(()))
        if tensor.rank > rank or (tensor.rank < rank and op.code not in ELEMENTWISE):
            return None
        if op.code == "PRELU":
            return _slope(tensor, back) if tensor.is_constant else None
        wide = (1,) * (rank - tensor.rank) + tensor.dims
        if tensor.is_constant:
            return _constant(tensor, np.transpose(tensor.data.reshape(wide), back))
        if tensor.rank < rank:
            return None
        out = Tensor(
            f"{tensor.name}/{op.node}/moved", tuple(tensor.dims[a] for a in back), tensor.dtype
        )
        out.quant = tensor.quant
        axes = Tensor(f"{out.name}/order", (rank,), "int32", np.array(back, "int32"))
        before = self.made.get(id(tensor))
        if before is not None:
            composed = tuple(before.order[axis] for axis in back)
            axes.data = np.array(composed, "int32")
            added.append(Op("TRANSPOSE", [before.source, axes], [out], {}, op.node))
        else:
            added.append(Op("TRANSPOSE", [tensor, axes], [out], {}, op.node))
        return out

    def _pays(self, op: Op, known: dict[int, _Before], added: list[Op], found: Moved) -> bool:
        """Return whether fewer elements are moved behind the operator than before it."""
        if self.bold:
            return True
        spent = sum(_moved_elements(one.inputs[0], permutation(one)) for one in added)
        if found.order != tuple(range(len(found.order))):
            spent += sum(_moved_elements(out, found.order) for out in op.outputs)
        saved = 0
        for index, before in known.items():
            tensor = op.inputs[index]
            if tensor is not None and self.uses.get(id(tensor), 0) <= _uses(op, tensor):
                saved += _moved_elements(before.source, before.order)
        return spent <= saved

    def _replace(self, op: Op, found: Moved) -> None:
        for tensor in op.inputs:
            if tensor is not None:
                self.uses[id(tensor)] = self.uses.get(id(tensor), 1) - 1
        for tensor in found.inputs:
            if tensor is not None:
                self.uses[id(tensor)] = self.uses.get(id(tensor), 0) + 1
        back = inverse(found.order)
        inner = []
        for out in op.outputs:
            dims = tuple(out.dims[axis] for axis in back)
            inner.append(Tensor(f"{out.name}/before", dims, out.dtype, None, out.quant))
        self.ops.append(Op(op.code, found.inputs, inner, found.options, op.node))
        for out, tensor in zip(op.outputs, inner, strict=True):
            self.uses[id(tensor)] = 1
            self._transpose(tensor, found.order, out, op.node)


def _uses(op: Op, tensor: Tensor) -> int:
    return sum(1 for other in op.inputs if other is tensor)


def _moved_elements(tensor: Tensor | None, order: Order) -> int:
    if tensor is None or moves_nothing(tensor, order):
        return 0
    return math.prod(tensor.shape)


def _constant(tensor: Tensor, data: object) -> Tensor:
    import numpy as np

    array = np.asarray(data, order="C")
    return Tensor(f"{tensor.name}/moved", tuple(array.shape), tensor.dtype, array)


def _slope(tensor: Tensor, back: Order) -> Tensor | None:
    """Return PRELU's slope, which has no batch axis, for channels that moved."""
    import numpy as np

    if back[0] != 0:
        return None
    rank = len(back)
    wide = np.reshape(tensor.data, (1,) * (rank - tensor.rank) + tensor.data.shape)
    if wide.shape[0] != 1:
        return None
    return _constant(tensor, np.transpose(wide, back)[0])


def _into_weights(graph: Graph) -> None:
    """Let a fully connected layer read its input as it lies, its weights reordered.

    Where features [N, C, H, W] are flattened behind a transpose, the columns of the weights are
    permuted instead of the features.
    """
    import numpy as np

    producers, readers = graph.producers(), graph.readers()
    for op in graph.ops:
        weights = op.inputs[1] if op.code == "FULLY_CONNECTED" else None
        flat = op.inputs[0] if op.code == "FULLY_CONNECTED" else None
        if weights is None or flat is None or not weights.is_constant or flat.rank != 2:  # noqa: PLR2004 - [batch, features]
            continue
        reshape = producers.get(id(flat))
        turned = reshape.inputs[0] if reshape and reshape.code == "RESHAPE" else None
        transpose = producers.get(id(turned)) if turned is not None else None
        if reshape is None or transpose is None or transpose.code != "TRANSPOSE":
            continue
        order = permutation(transpose)
        source = transpose.inputs[0]
        features = turned.dims[1:] if turned is not None else ()
        batch_stays = order[0] == 0 and turned is not None and turned.dims[0] == flat.dims[0]
        if source is None or not batch_stays or any(isinstance(size, str) for size in features):
            continue
        if len(readers.get(id(flat), [])) > 1 or flat in graph.outputs:
            continue
        table = weights.data.reshape(-1, *features)
        moved_table = np.transpose(table, (0, *(axis for axis in inverse(order)[1:])))
        op.inputs[1] = _constant(weights, moved_table.reshape(weights.data.shape))
        reshape.inputs[0] = source
    drop_unread(graph)
