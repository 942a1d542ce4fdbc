"""Small ONNX models from nodes, for tests of converters."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper


def model(nodes, inputs, outputs, constants=(), opset=17):
    """Return a checked model; inputs and outputs are arrays or (dtype, shape) by name."""

    def value(name, of):
        dtype, shape = of if isinstance(of, tuple) else (of.dtype, of.shape)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        nodes,
        "g",
        [value(name, of) for name, of in inputs.items()],
        [value(name, of) for name, of in outputs.items()],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in dict(constants).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    made = onnx.shape_inference.infer_shapes(made, data_prop=True)
    onnx.checker.check_model(made)
    return made


def node(op, inputs, outputs, **attributes):
    """Return a node; names are separated by blanks, ``-`` stands for one that is left out."""
    names = [["" if name == "-" else name for name in text.split()] for text in (inputs, outputs)]
    return helper.make_node(op, *names, name=f"n_{names[1][0]}", **attributes)


def session(converter, proto, folder, precision="fp32"):
    """Convert a model for the converter's engine and load what came out."""
    from edgeops.core.contracts import ConvertOptions
    from edgeops.core.variant import write_variant
    from edgeops.runtime.session import load_session

    folder.mkdir(exist_ok=True)
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    write_variant(folder, converter.convert(copy, folder, ConvertOptions(precision)))
    return load_session(folder)
