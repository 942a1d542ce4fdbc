"""What a lowering works with: ONNX nodes to read, a LiteRT graph to write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from edgeops.convert.litert.ir import Graph, Op, Tensor
from edgeops.errors import Finding, RefusedError, from_findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.convert.litert.ir import Dims, Quant

_OPEN = ("", "ai.onnx")


@dataclass(frozen=True)
class Node:
    """An ONNX node: ``inputs`` holds "" for those that are not given."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute as a Python value, an array or a GraphProto."""
        return self.attributes.get(name, default)

    def has(self, index: int) -> bool:
        """Return whether the input at ``index`` is given."""
        return index < len(self.inputs) and self.inputs[index] != ""

    def gives(self, index: int) -> bool:
        """Return whether the output at ``index`` is asked for."""
        return index < len(self.outputs) and self.outputs[index] != ""


def node_of(proto: Any) -> Node:
    """Return an ``onnx.NodeProto`` as a Node."""
    import onnx

    def value(attribute: Any) -> Any:
        found = onnx.helper.get_attribute_value(attribute)
        if isinstance(found, onnx.TensorProto):
            return onnx.numpy_helper.to_array(found)
        return found.decode() if isinstance(found, bytes) else found

    return Node(
        proto.op_type,
        "" if proto.domain in _OPEN else proto.domain,
        proto.name or (proto.output[0] if proto.output else proto.op_type),
        tuple(proto.input),
        tuple(proto.output),
        {attribute.name: value(attribute) for attribute in proto.attribute},
    )


class Builder:
    """A LiteRT graph being written, and what is known of the ONNX values.

    ``dims`` and ``dtypes`` are those that shape inference found, by value name.
    """

    def __init__(self, dims: dict[str, Dims], dtypes: dict[str, str], opset: int) -> None:
        self.graph = Graph([], [], [])
        self.opset = opset
        self._dims = dims
        self._dtypes = dtypes
        self._values: dict[str, Tensor] = {}
        self._grids: dict[str, Quant] = {}
        self._node = ""
        self._count = 0

    def enter(self, node: Node) -> None:
        """Say which node the operators emitted from now on come from."""
        self._node = node.name
        grids = [self._grids[name] for name in node.inputs if name in self._grids]
        if grids:
            self.graph.grids[node.name] = grids

    def on_grid(self, name: str, quant: Quant) -> None:
        """Say that the constant ONNX value ``name`` lies on these integers."""
        self._grids[name] = quant

    def bind(self, name: str, tensor: Tensor) -> None:
        """Let the ONNX value ``name`` be ``tensor``; "" is ignored.

        Sizes that shape inference found and the lowering did not are those of the tensor.
        """
        if not name:
            return
        known = self._dims.get(name, ())
        if not tensor.is_static and len(known) == tensor.rank:
            pairs = zip(known, tensor.dims, strict=True)
            tensor.dims = tuple(size if isinstance(size, int) else own for size, own in pairs)
        self._values[name] = tensor

    def value(self, name: str) -> Tensor:
        """Return the tensor of an ONNX value, which its node has bound before."""
        return self._values[name]

    def array(self, name: str) -> Any:
        """Return the array of a constant ONNX value, None when it is not constant."""
        tensor = self._values.get(name)
        return None if tensor is None else tensor.data

    def dims(self, name: str) -> Dims | None:
        """Return the dimensions of an ONNX value as shape inference found them, or None."""
        return self._dims.get(name)

    def out_dims(self, node: Node, index: int = 0) -> Dims:
        """Return the dimensions of a node's output; refuses when they are not known."""
        found = self._dims.get(node.outputs[index])
        if found is None:
            self.refuse(
                node,
                f"the shape of its output {node.outputs[index]!r} cannot be told beforehand",
                "fix the input shapes: --input-shape NAME=1,3,224,224",
                code="dynamic-shape",
            )
        return found

    def out_dtype(self, node: Node, index: int = 0) -> str:
        """Return numpy's name of the dtype of a node's output."""
        return self._dtypes.get(node.outputs[index], "float32")

    def const(self, array: Any, hint: str = "const") -> Tensor:
        """Return a constant tensor with the array's shape and dtype."""
        import numpy as np

        array = np.asarray(array, order="C")
        return Tensor(self._name(hint), tuple(array.shape), array.dtype.name, array)

    def emit(
        self,
        code: str,
        inputs: Sequence[Tensor | None],
        dims: Dims,
        dtype: str | None = None,
        **options: Any,
    ) -> Tensor:
        """Append an operator with one output of these dims and return that.

        ``dtype`` is by default that of the first input.
        """
        if dtype is None:
            first = inputs[0]
            dtype = first.dtype if first is not None else "float32"
        out = Tensor(self._name(code.lower()), tuple(dims), dtype)
        self.append(code, inputs, [out], **options)
        return out

    def append(
        self, code: str, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], **options: Any
    ) -> None:
        """Append an operator with outputs made before (``make``)."""
        self.graph.ops.append(Op(code, list(inputs), list(outputs), options, self._node))

    def make(self, dims: Dims, dtype: str, hint: str = "value") -> Tensor:
        """Return a new tensor that an operator is to write."""
        return Tensor(self._name(hint), tuple(dims), dtype)

    def transpose(self, tensor: Tensor, permutation: Sequence[int]) -> Tensor:
        """Return ``tensor`` with its axes in another order: axis i becomes that of permutation[i]."""
        import numpy as np

        if list(permutation) == list(range(tensor.rank)):
            return tensor
        if tensor.is_constant:
            return self.const(np.transpose(tensor.data, permutation), tensor.name)
        dims = tuple(tensor.dims[axis] for axis in permutation)
        order = self.const(np.array(permutation, "int32"), "permutation")
        return self.emit("TRANSPOSE", [tensor, order], dims)

    def reshape(self, tensor: Tensor, dims: Dims) -> Tensor:
        """Return ``tensor`` with other dims; the number of elements stays."""
        import numpy as np

        if tuple(dims) == tensor.dims:
            return tensor
        if tensor.is_constant and all(isinstance(size, int) for size in dims):
            return self.const(np.reshape(tensor.data, dims), tensor.name)
        return self.emit("RESHAPE", [tensor, self.shape_operand(dims)], dims)

    def shape_operand(self, dims: Dims) -> Tensor:
        """Return ``dims`` as what RESHAPE and its like take: int32, -1 for the one open axis.

        With several open axes it is computed when the model runs, from the inputs' own shapes.
        """
        import numpy as np

        opened = [size for size in dims if isinstance(size, str)]
        if len(opened) <= 1:
            sizes = [size if isinstance(size, int) else -1 for size in dims]
            return self.const(np.array(sizes, "int32"), "shape")
        return self.running_shape(dims)

    def running_shape(self, dims: Dims) -> Tensor:
        """Return the sizes of ``dims`` as an int32 vector that is computed when the model runs.

        Every named axis must be one of an input; else the model is refused.
        """
        import numpy as np

        parts = []
        for size in dims:
            if isinstance(size, int):
                parts.append(self.const(np.array([size], "int32"), "size"))
                continue
            source, axis = self._axis_of_input(size)
            shape = self.emit("SHAPE", [source], (source.rank,), "int32", outType=2)
            begin = self.const(np.array([axis], "int32"), "begin")
            parts.append(
                self.emit("SLICE", [shape, begin, self.const(np.array([1], "int32"), "one")], (1,))
            )
        return self.emit("CONCATENATION", parts, (len(parts),), "int32", axis=0)

    def cast(self, tensor: Tensor, dtype: str) -> Tensor:
        """Return ``tensor`` as another dtype."""
        if tensor.dtype == dtype:
            return tensor
        if tensor.is_constant:
            return self.const(tensor.data.astype(dtype), tensor.name)
        return self.emit("CAST", [tensor], tensor.dims, dtype)

    def refuse(
        self, node: Node, why: str, fix: str = "", *, code: str = "operator-unsupported"
    ) -> NoReturn:
        """Raise the refusal that names the node."""
        finding = Finding(
            code,
            f"LiteRT cannot take {node.op} (node {node.name!r})",
            where=node.name,
            why=why,
            fix=fix or "export it otherwise, or see which engines take it: edgeops check --all",
            details={"node": node.name, "op": node.op, "alternatives": []},
        )
        raise from_findings([finding], RefusedError)

    def _axis_of_input(self, name: str) -> tuple[Tensor, int]:
        found = next((tensor for tensor in self.graph.inputs if name in tensor.dims), None)
        if found is None:
            self.refuse(
                Node("", "", self._node, (), (), {}),
                "a size that follows from the data cannot be told beforehand",
                "fix the input shapes: --input-shape NAME=1,3,224,224",
                code="dynamic-shape",
            )
        return found, found.dims.index(name)

    def _name(self, hint: str) -> str:
        self._count += 1
        return f"{self._node or 'graph'}/{hint}_{self._count}"
