"""A graph that is being edited: nodes with who makes and reads what, constants, shapes."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Any

from edgeops.model.graph import captured
from edgeops.model.simplify.dims import Dim, Term, product

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Dtypes whose numbers numpy has; tensors of others are never looked into.
_PLAIN = {1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13}


class Node:
    """One node; ``op`` has the domain in front when it is not the standard one."""

    __slots__ = ("_attributes", "captured", "inputs", "op", "outputs", "proto")

    def __init__(self, proto: Any) -> None:
        """Wrap an ``onnx.NodeProto``, whose attributes stay where they are."""
        standard = proto.domain in {"", "ai.onnx"}
        self.proto = proto
        self.op: str = proto.op_type if standard else f"{proto.domain}::{proto.op_type}"
        self.inputs: list[str] = list(proto.input)
        self.outputs: list[str] = list(proto.output)
        self._attributes: dict[str, Any] | None = None
        self.captured: frozenset[str] = captured(proto)

    @property
    def attributes(self) -> dict[str, Any]:
        """Return the attributes as Python values, tensors and graphs as messages."""
        if self._attributes is None:
            from onnx import helper

            values = {a.name: helper.get_attribute_value(a) for a in self.proto.attribute}
            self._attributes = {
                name: value.decode(errors="replace") if isinstance(value, bytes) else value
                for name, value in values.items()
            }
        return self._attributes

    def reread(self) -> None:
        """Read the attributes anew when they are asked for next."""
        self._attributes = None

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute or the default."""
        return self.attributes.get(name, default)

    def set(self, name: str, value: Any) -> None:
        """Set an attribute; None takes it away."""
        from onnx import helper

        kept = [a for a in self.proto.attribute if a.name != name]
        if len(kept) < len(self.proto.attribute):
            copies = [type(a).FromString(a.SerializeToString()) for a in kept]
            del self.proto.attribute[:]
            self.proto.attribute.extend(copies)
        if value is not None:
            self.proto.attribute.append(helper.make_attribute(name, value))
        self._attributes = None

    def become(self, op: str, **attributes: Any) -> None:
        """Turn the node into one of another operator, with its name, inputs and outputs."""
        from onnx import helper

        self.proto = helper.make_node(
            op, self.inputs, self.outputs, name=self.proto.name, **attributes
        )
        self.op = op
        self._attributes = None

    def input(self, index: int) -> str:
        """Return the name at an input, "" where none is given."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def reads(self) -> Iterator[str]:
        """Yield what the node reads, subgraphs included; a name may come twice."""
        yield from (name for name in self.inputs if name)
        yield from self.captured

    def to_proto(self) -> Any:
        """Return the message, its inputs and outputs up to date."""
        if list(self.proto.input) != self.inputs:
            del self.proto.input[:]
            self.proto.input.extend(self.inputs)
        if list(self.proto.output) != self.outputs:
            del self.proto.output[:]
            self.proto.output.extend(self.outputs)
        return self.proto


class Graph:
    """The main graph of a model without weights, and its constants; made for editing.

    ``tensors`` are the constants by name: messages, shared with the source and never changed.
    ``pinned`` are tensors whose names must stay: outputs, and what subgraphs read.
    """

    def __init__(self, model: Any, tensors: Mapping[str, Any], interface: Any) -> None:
        """Take over a model without constants (its nodes are edited) and the constants.

        ``interface`` holds the inputs and outputs as they have to be in the end.
        """
        self.model = model
        self.interface = interface
        self.tensors: dict[str, Any] = dict(tensors)
        self.inputs = {value.name for value in model.graph.input}
        self.outputs = {value.name for value in model.graph.output}
        self.opset = next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 0)
        self.nodes: dict[Node, None] = {}
        self.makers: dict[str, Node] = {}
        self.readers: dict[str, dict[Node, None]] = {}
        self.pinned = set(self.outputs)
        self.dtypes: dict[str, int] = {}
        self.shapes: dict[str, tuple[Dim, ...]] = {}
        self.values: dict[str, Any] = {}
        self.same: dict[str, Dim] = {}
        self.edges: dict[str, tuple[bytes, bytes] | None] = {}  # of constants that were compared
        self._arrays: dict[str, Any] = {}
        for proto in model.graph.node:
            self.add(Node(proto))

    def add(self, node: Node) -> Node:
        """Add a node at the end; ``sort`` puts it where it belongs."""
        self.nodes[node] = None
        self.pinned |= node.captured
        for name in filter(None, node.outputs):
            self.makers[name] = node
        for name in node.reads():
            self.readers.setdefault(name, {})[node] = None
        return node

    def new(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> Node:
        """Add a node of the standard domain; it gets its name when the model is finished."""
        from onnx import helper

        return self.add(Node(helper.make_node(op, inputs, outputs, **attributes)))

    def remove(self, node: Node) -> None:
        """Take a node away; what it made has no maker any more."""
        del self.nodes[node]
        for name in node.reads():
            self.readers.get(name, {}).pop(node, None)
        for name in node.outputs:
            if self.makers.get(name) is node:
                del self.makers[name]

    def set_input(self, node: Node, index: int, name: str) -> None:
        """Let a node read another tensor; the list of inputs grows where needed."""
        node.inputs += [""] * (index + 1 - len(node.inputs))
        self.set_inputs(node, [*node.inputs[:index], name, *node.inputs[index + 1 :]])

    def set_inputs(self, node: Node, names: Sequence[str]) -> None:
        """Give a node other inputs; empty ones at the end are left off."""
        for name in node.reads():
            self.readers.get(name, {}).pop(node, None)
        node.inputs = list(names)
        while node.inputs and not node.inputs[-1]:
            node.inputs.pop()
        for name in node.reads():
            self.readers.setdefault(name, {})[node] = None

    def only_reader(self, name: str) -> Node | None:
        """Return the one node that reads a tensor, None when others or the graph's end do too."""
        readers = self.readers.get(name, {})
        if name in self.pinned or len(readers) != 1:
            return None
        (reader,) = readers
        return reader if reader.inputs.count(name) == 1 else None

    def replace(self, old: str, new: str) -> None:
        """Let every node that reads ``old`` read ``new``; ``old`` must not be pinned."""
        for reader in list(self.readers.get(old, ())):
            self.set_inputs(reader, [new if name == old else name for name in reader.inputs])

    def bypass(self, node: Node, source: str) -> bool:
        """Take a node away whose first output is ``source``; False when names forbid it."""
        out = node.outputs[0]
        if out not in self.pinned:
            self.replace(out, source)
            self.remove(node)
            return True
        maker = self.makers.get(source)
        if out not in self.outputs or maker is None or source in self.pinned:
            return False
        if any(out in other.captured for other in self.readers.get(out, ())):
            return False
        self.remove(node)
        maker.outputs[maker.outputs.index(source)] = out
        del self.makers[source]
        self.makers[out] = maker
        self.replace(source, out)
        return True

    def fresh(self, base: str) -> str:
        """Return a tensor name that is not taken."""
        taken = (self.makers, self.tensors, self.inputs, self.readers, self.outputs)
        name, number = base, 1
        while any(name in names for names in taken):
            number += 1
            name = f"{base}_{number}"
        return name

    def constant(self, base: str, array: Any) -> str:
        """Add a constant and return its name, which starts as ``base``."""
        name = self.fresh(base)
        self.set_constant(name, array)
        return name

    def set_constant(self, name: str, array: Any) -> None:
        """Make a tensor a constant; its maker must be gone."""
        from onnx import numpy_helper

        self.tensors[name] = numpy_helper.from_array(array, name)
        self._arrays.pop(name, None)
        self.edges.pop(name, None)
        self.dtypes[name] = self.tensors[name].data_type
        self.shapes[name] = tuple(array.shape)

    def array(self, name: str) -> Any | None:
        """Return a constant as a numpy array that must not be written to, or None."""
        tensor = self.tensors.get(name)
        if tensor is None or tensor.data_type not in _PLAIN or tensor.data_location:
            return None
        if name not in self._arrays:
            from onnx import numpy_helper

            array = numpy_helper.to_array(tensor)
            if math.prod(tensor.dims) > 1024:  # noqa: PLR2004 # small ones are read again and again
                return array
            self._arrays[name] = array
        return self._arrays[name]

    def dtype(self, name: str) -> int:
        """Return the element type of a tensor, 0 when it is not known."""
        tensor = self.tensors.get(name)
        return tensor.data_type if tensor is not None else self.dtypes.get(name, 0)

    def shape(self, name: str) -> tuple[Dim, ...] | None:
        """Return what is known of a tensor's shape; None when not even its rank is."""
        tensor = self.tensors.get(name)
        if tensor is not None:
            return tuple(tensor.dims)
        shape = self.shapes.get(name)
        return None if shape is None else tuple(self.resolved(dim) for dim in shape)

    def resolved(self, dim: Dim) -> Dim:
        """Return a size by the name that its equals go by."""
        if isinstance(dim, int) or not any(name in self.same for name in dim.names):
            return dim
        factors = [self.resolved(self.same.get(name, Term(1, (name,)))) for name in dim.names]
        return product([dim.factor, *factors])

    def sort(self) -> None:
        """Put the nodes in an order in which each tensor is made before it is read."""
        nodes = list(self.nodes)
        index = {node: number for number, node in enumerate(nodes)}
        waits = [
            {index[self.makers[name]] for name in node.reads() if name in self.makers}
            for node in nodes
        ]
        free = [number for number, needed in enumerate(waits) if not needed]
        order: dict[Node, None] = {}
        while free:
            node = nodes[heapq.heappop(free)]
            order[node] = None
            for name in node.outputs:
                for reader in self.readers.get(name, ()):
                    waiting = waits[index[reader]]
                    if index[node] in waiting:
                        waiting.discard(index[node])
                        if not waiting:
                            heapq.heappush(free, index[reader])
        self.nodes = order if len(order) == len(nodes) else self.nodes

    def to_model(self) -> Any:
        """Return the model with its nodes as they are now, still without constants."""
        self.sort()
        protos = [node.to_proto() for node in self.nodes]
        del self.model.graph.node[:]
        self.model.graph.node.extend(protos)
        return self.model
