"""Nodes whose answer is known before the model runs: of constants, or without elements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeops.convert.litert.builder import Builder, Node
    from edgeops.convert.litert.ir import Dims

# QuantizeLinear and DequantizeLinear tell on which integers a weight lies; the others answer
# differently each time.
_KEPT = frozenset(
    [
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Multinomial",
        "Bernoulli",
        "Dropout",
        "If",
        "Loop",
        "Scan",
    ]
)
_GROWING = frozenset(
    ["ConstantOfShape", "Expand", "Tile", "Range", "OneHot", "EyeLike", "Pad", "Resize"]
)
_LARGE = 1 << 14  # elements: more than this are not written into the file when a node grows them


def fold(b: Builder, node: Node, proto: Any) -> bool:
    """Bind the outputs of a node that needs no operator to constants; return whether it did."""
    if node.op in _KEPT or not any(node.inputs):
        return False
    return _computed(b, node, proto) or _empty(b, node)


def _empty(b: Builder, node: Node) -> bool:
    """Bind outputs that have no elements, where kernels differ and some fail."""
    from edgeops.convert.litert.lower.operands import filled
    from edgeops.convert.litert.write import DTYPES

    asked = [index for index in range(len(node.outputs)) if node.gives(index)]
    shapes = []
    for index in asked:
        dims = b.dims(node.outputs[index]) or ()
        sizes = [size for size in dims if isinstance(size, int)]
        if 0 not in sizes or len(sizes) < len(dims) or b.out_dtype(node, index) not in DTYPES:
            return False
        shapes.append(sizes)
    for index, sizes in zip(asked, shapes, strict=True):
        b.bind(node.outputs[index], filled(b, sizes, 0, b.out_dtype(node, index)))
    return bool(asked)


def _computed(b: Builder, node: Node, proto: Any) -> bool:
    """Let ONNX Runtime answer a node that reads constants only."""
    arrays = {name: b.array(name) for name in node.inputs if name}
    if any(array is None for array in arrays.values()):
        return False
    most = max(_LARGE, *(array.size for array in arrays.values()))
    if node.op in _GROWING and not _at_most(b.dims(node.outputs[0]), most):
        return False
    answers = _answers(proto, arrays, b.opset)
    if answers is None:
        return False
    for name, answer in answers.items():
        b.bind(name, b.const(answer, name))
    return True


def _at_most(dims: Dims | None, most: int) -> bool:
    """Return whether a value is known to have at most so many elements."""
    sizes = [size if isinstance(size, int) else most + 1 for size in dims or (most + 1,)]
    return math.prod(sizes) <= most


def _answers(proto: Any, arrays: dict[str, Any], opset: int) -> dict[str, Any] | None:
    import numpy as np
    import onnx
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    from edgeops.convert.litert.write import DTYPES

    graph = onnx.helper.make_graph(
        [proto],
        "constant",
        [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in arrays.items()
        ],
        [onnx.helper.make_empty_tensor_value_info(name) for name in proto.output if name],
    )
    imports = [onnx.helper.make_opsetid("", opset)]
    if proto.domain not in ("", "ai.onnx"):
        imports.append(onnx.helper.make_opsetid(proto.domain, 1))
    model = onnx.helper.make_model(graph, opset_imports=imports)
    model.ir_version = 8
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = session.run(None, arrays)
    except (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.NotImplemented,
        state.RuntimeException,
    ):
        return None  # then its lowering says what is wrong with it
    outputs = [name for name in proto.output if name]
    if not all(isinstance(array, np.ndarray) and array.dtype.name in DTYPES for array in found):
        return None
    return dict(zip(outputs, found, strict=True))
