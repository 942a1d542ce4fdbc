"""From a prepared ONNX model to a LiteRT graph, node by node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.litert.builder import Builder, node_of
from edgeops.convert.litert.fold import fold
from edgeops.convert.litert.ir import Tensor
from edgeops.convert.litert.lower import lowerings
from edgeops.convert.litert.lower.operands import filled
from edgeops.convert.litert.write import DTYPES
from edgeops.errors import Finding, RefusedError, from_findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.convert.litert.builder import Node
    from edgeops.convert.litert.ir import Dims, Graph


def lower(model: Any) -> Graph:
    """Return the LiteRT graph of a prepared ``onnx.ModelProto``; its layout is still ONNX's.

    Raises RefusedError with every node whose operator has no lowering, or else with those whose
    attributes, dtypes or shapes cannot be said in LiteRT.
    """
    import onnx

    nodes = [node_of(proto) for proto in model.graph.node]
    known = lowerings()
    unknown = [node for node in nodes if (node.domain, node.op) not in known]
    if unknown:
        raise from_findings([_no_lowering(node.name, node.op) for node in unknown], RefusedError)
    dims, dtypes = _value_types(model.graph)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 17)
    builder = Builder(dims, dtypes, opset)
    for initializer in model.graph.initializer:
        array = onnx.numpy_helper.to_array(initializer)
        builder.bind(
            initializer.name, Tensor(initializer.name, tuple(array.shape), array.dtype.name, array)
        )
    given = {initializer.name for initializer in model.graph.initializer}
    for value in model.graph.input:
        if value.name in given:
            continue
        tensor = Tensor(value.name, dims[value.name], dtypes[value.name])
        builder.graph.inputs.append(tensor)
        builder.bind(value.name, tensor)
    _lower_all(builder, nodes, model.graph.node)
    _finish(builder, [value.name for value in model.graph.output])
    _refuse_dtypes(builder.graph)
    return builder.graph


def _refuse_dtypes(graph: Graph) -> None:
    """Refuse tensors that the format has no type for."""
    for op in graph.ops:
        for tensor in (*op.inputs, *op.outputs):
            if tensor is not None and tensor.dtype not in DTYPES:
                finding = Finding(
                    "dtype-unsupported",
                    f"LiteRT cannot take node {op.node!r}",
                    where=op.node,
                    why=f"LiteRT has no tensors of {tensor.dtype}",
                    fix="export the model with float32 and int32",
                    details={"node": op.node, "op": op.code, "alternatives": []},
                )
                raise from_findings([finding], RefusedError)


def _lower_all(builder: Builder, nodes: Sequence[Node], protos: Sequence[Any]) -> None:
    """Lower the nodes one after the other; those that are refused are all reported at once."""
    known = lowerings()
    refused: list[Finding] = []
    for node, proto in zip(nodes, protos, strict=True):
        builder.enter(node)
        try:
            if not fold(builder, node, proto):
                known[node.domain, node.op](builder, node)
        except RefusedError as error:
            refused += error.findings
            if not _stand_in(builder, node):
                break
    if refused:
        raise from_findings(refused, RefusedError)


def _stand_in(builder: Builder, node: Node) -> bool:
    """Bind a refused node's outputs to tensors as they would be; return whether that is known."""
    for index, name in enumerate(node.outputs):
        if not name:
            continue
        dims = builder.dims(name)
        if dims is None:
            return False
        builder.bind(name, builder.make(dims, builder.out_dtype(node, index), "refused"))
    return True


def _finish(builder: Builder, names: list[str]) -> None:
    """Give every output a tensor of its own that bears its name."""
    graph = builder.graph
    made = {id(tensor) for op in graph.ops for tensor in op.outputs}
    for name in names:
        tensor = builder.value(name)
        if id(tensor) not in made or tensor in graph.outputs:
            # An input, a constant or a value that is another output too: copied.
            tensor = _copied(builder, tensor)
        tensor.name = name
        graph.outputs.append(tensor)


def _copied(builder: Builder, tensor: Tensor) -> Tensor:
    if tensor.is_constant and tensor.data.size == 0:
        return filled(builder, tensor.data.shape, 0, tensor.dtype)
    return builder.emit("RESHAPE", [tensor, builder.shape_operand(tensor.dims)], tensor.dims)


def _value_types(graph: Any) -> tuple[dict[str, Dims], dict[str, str]]:
    import onnx

    dims: dict[str, Dims] = {}
    dtypes: dict[str, str] = {}
    for value in (*graph.value_info, *graph.output, *graph.input):
        tensor = value.type.tensor_type
        if tensor.elem_type:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            dtypes[value.name] = "str" if dtype.kind in "OSU" else dtype.name
        if tensor.HasField("shape"):
            dims[value.name] = tuple(
                dim.dim_value
                if dim.HasField("dim_value")
                else dim.dim_param or f"?{value.name}.{i}"
                for i, dim in enumerate(tensor.shape.dim)
            )
    return dims, dtypes


def _no_lowering(name: str, operator: str) -> Finding:
    return Finding(
        "operator-unsupported",
        f"LiteRT cannot take {operator} (node {name!r})",
        where=name,
        why="edgeops has no way to say it in LiteRT's operators",
        fix="export it otherwise, or see which engines take it: edgeops check MODEL --all",
        details={"node": name, "op": operator, "alternatives": []},
    )
