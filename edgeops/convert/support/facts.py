"""What rules ask about a model: nodes with the types, sizes and attributes that are known.

Nothing is guessed: what inference did not find is None, and rules decide what that means.
"""

from __future__ import annotations

from collections import ChainMap
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    Scope = MutableMapping[str, "Tensor"]

_STANDARD = ("", "ai.onnx")
_READ: ContextVar[tuple[Any, Graph] | None] = ContextVar("read", default=None)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value in the graph; ``shape`` holds None for open sizes. None: not known."""

    name: str
    dtype: str | None = None
    shape: tuple[int | None, ...] | None = None
    constant: bool | None = False

    @property
    def is_static(self) -> bool:
        """Return whether all sizes are known."""
        return self.shape is not None and None not in self.shape


@dataclass(frozen=True, slots=True)
class Node:
    """One node; an input that is not given is None, ``owner`` is the node whose body it is in.

    ``read`` counts the outputs up to the last that anything reads.
    """

    proto: Any
    name: str
    op: str
    domain: str
    opset: int
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor | None, ...]
    read: int
    owner: int | None

    @property
    def operator(self) -> str:
        """Return ``OP``, or ``domain:OP`` outside of the standard domain."""
        return f"{self.domain}:{self.op}" if self.domain else self.op

    def attribute(self, name: str) -> Any:
        """Return an attribute's value, its default when it is not stated, or None."""
        import onnx

        for attribute in self.proto.attribute:
            if attribute.name == name:
                if attribute.ref_attr_name:
                    return None
                return _plain(onnx.helper.get_attribute_value(attribute))
        return _default(self.domain, self.op, self.opset, name)

    def input_name(self, index: int) -> str:
        """Return what the operator calls an input, for people."""
        schema = _schema(self.domain, self.op, self.opset)
        formal = list(schema.inputs) if schema else []
        if index < len(formal):
            return repr(str(formal[index].name))
        return f"{formal[-1].name!r} (number {index})" if formal else f"number {index}"

    def typed(self, parameter: str) -> list[Tensor]:
        """Return the inputs and outputs whose type is a parameter of the operator's schema."""
        schema = _schema(self.domain, self.op, self.opset)
        if schema is None:
            return []
        sides = ((schema.inputs, self.inputs), (schema.outputs, self.outputs))
        return [
            tensor
            for formal, actual in sides
            for index, tensor in enumerate(actual)
            if tensor is not None
            and len(formal)
            and formal[min(index, len(formal) - 1)].type_str == parameter
        ]


@dataclass(frozen=True, slots=True)
class Graph:
    """A model as rules see it; nodes of bodies and of the model's functions are included.

    ``takers`` remembers which engines' tables were found to take it whole.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    axes: dict[str, tuple[int | str, ...]]
    takers: dict[str, bool] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Return whether an input of the model has a size that is not fixed."""
        return any(not tensor.is_static for tensor in self.inputs)


@contextmanager
def read_once(model: Any) -> Iterator[None]:
    """Within, the facts of this model are read once, however many engines ask; it must not change."""
    token = _READ.set((model, read_graph(model)))
    try:
        yield
    finally:
        _READ.reset(token)


def read_graph(model: Any) -> Graph:
    """Return the facts of an ``onnx.ModelProto`` whose shapes were inferred."""
    read = _READ.get()
    if read is not None and read[0] is model:
        return read[1]
    reader = _Reader(model)
    scope: Scope = {}
    reader.graph(model.graph, scope, owner=None)
    for function in model.functions:
        reader.function(function)
    given = {tensor.name for tensor in model.graph.initializer}
    given |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    inputs = [value for value in model.graph.input if value.name not in given]
    return Graph(
        nodes=tuple(reader.nodes),
        inputs=tuple(_tensor(value) for value in inputs),
        outputs=tuple(scope[value.name] for value in model.graph.output if value.name in scope),
        axes={value.name: _axes(value) for value in inputs},
    )


class _Reader:
    def __init__(self, model: Any) -> None:
        self.nodes: list[Node] = []
        self._opsets = {_domain(o.domain): o.version for o in model.opset_import}
        self._functions = {(_domain(f.domain), f.name) for f in model.functions}

    def graph(self, graph: Any, scope: Scope, owner: int | None) -> None:
        for value in (*graph.value_info, *graph.input, *graph.output):
            scope[value.name] = _tensor(value)
        for tensor in graph.initializer:
            scope[tensor.name] = _weight(tensor)
        for tensor in graph.sparse_initializer:
            dims = tuple(tensor.dims)
            name = tensor.values.name
            scope[name] = Tensor(name, _dtype(tensor.values.data_type), dims, constant=True)
        read = {output.name for output in graph.output}
        for node in graph.node:
            if node.op_type == "Constant" and not _domain(node.domain):
                scope[node.output[0]] = _constant(node, scope.get(node.output[0]))
            read.update(_reads(node))
        for node in graph.node:
            self._node(node, scope, read, owner, self._opsets)

    def function(self, function: Any) -> None:
        """Read a body of the model's own: types are those of its callers, so not known here."""
        opsets = {_domain(o.domain): o.version for o in function.opset_import}
        scope: Scope = {name: Tensor(name, constant=None) for name in function.input}
        read = {name for node in function.node for name in _reads(node)} | set(function.output)
        for node in function.node:
            self._node(node, scope, read, None, opsets)

    def _node(
        self, node: Any, scope: Scope, read: set[str], owner: int | None, opsets: dict[str, int]
    ) -> None:
        domain = _domain(node.domain)
        if (domain, node.op_type) in self._functions:
            return  # its body is read instead
        index = len(self.nodes)
        outputs = tuple(node.output)
        used = [place for place, name in enumerate(outputs, 1) if name and name in read]
        self.nodes.append(
            Node(
                proto=node,
                name=node.name or next(filter(None, outputs), node.op_type),
                op=node.op_type,
                domain=domain,
                opset=opsets.get(domain, 1),
                inputs=tuple(
                    scope.get(name, Tensor(name)) if name else None for name in node.input
                ),
                outputs=tuple(scope.get(name, Tensor(name)) if name else None for name in outputs),
                read=max(used, default=0),
                owner=owner,
            )
        )
        for attribute in node.attribute:
            bodies = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
            for body in bodies:
                self.graph(body, ChainMap({}, scope), index)


def _reads(node: Any) -> Iterator[str]:
    yield from node.input
    for attribute in node.attribute:
        bodies = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
        for body in bodies:
            yield from (output.name for output in body.output)
            for inner in body.node:
                yield from _reads(inner)


def _tensor(value: Any) -> Tensor:
    kind = value.type.WhichOneof("value")
    if kind is None:
        return Tensor(value.name)
    if kind != "tensor_type":
        return Tensor(value.name, kind.removesuffix("_type"))
    tensor = value.type.tensor_type
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None
            for dim in tensor.shape.dim
        )
    return Tensor(value.name, _dtype(tensor.elem_type), shape)


def _weight(tensor: Any) -> Tensor:
    return Tensor(tensor.name, _dtype(tensor.data_type), tuple(tensor.dims), constant=True)


def _constant(node: Any, known: Tensor | None) -> Tensor:
    for attribute in node.attribute:
        if attribute.name == "value" and attribute.HasField("t"):
            tensor = attribute.t
            dims = tuple(tensor.dims)
            return Tensor(node.output[0], _dtype(tensor.data_type), dims, constant=True)
    if known is None:
        return Tensor(node.output[0], constant=True)
    return Tensor(known.name, known.dtype, known.shape, constant=True)


def _axes(value: Any) -> tuple[int | str, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in dims)


@cache
def _dtype(number: int) -> str | None:
    import onnx

    if number == onnx.TensorProto.UNDEFINED:
        return None
    if number == onnx.TensorProto.STRING:
        return "str"
    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(number))
    except KeyError:
        return f"type {number}"


@cache
def _schema(domain: str, op: str, opset: int) -> Any:
    import onnx

    if not onnx.defs.has(op, opset, domain):
        return None
    return onnx.defs.get_schema(op, opset, domain)


@cache
def _default(domain: str, op: str, opset: int, name: str) -> Any:
    import onnx

    schema = _schema(domain, op, opset)
    if schema is None or name not in schema.attributes:
        return None
    value = schema.attributes[name].default_value
    if not value.name:
        return None
    return _plain(onnx.helper.get_attribute_value(value))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, (int, float, str)):
        return value
    try:
        return [_plain(part) for part in value]
    except TypeError:
        return value


def _domain(domain: str) -> str:
    return "" if domain in _STANDARD else domain
