"""Models written as text, and whether two of them answer the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import parser

from edgeops.model.prepare import prepare


def model(body, inputs="float[N,3,8,8] x", outputs="float[a,b,c,d] y", *, opset=17, more=""):
    """Return a model whose nodes are given in ONNX's text form."""
    text = f'<ir_version: 8, opset_import: ["": {opset}{more}]> g ({inputs}) => ({outputs}) '
    return parser.parse_model(text + "{" + body + "}")


def kinds(proto):
    """Return the operators of a model in order."""
    return [node.op_type for node in proto.graph.node]


def attributes(node):
    """Return a node's attributes as Python values."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def constant(proto, name):
    """Return an initializer as a list."""
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    return onnx.numpy_helper.to_array(tensors[name]).tolist()


def run(proto, arrays):
    """Run a model as it stands, nothing optimized."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, arrays)


def inputs_of(proto, batch=2, seed=0):
    """Return random inputs; open first axes get ``batch``, other open ones 5."""
    random = np.random.default_rng(seed)
    given = {tensor.name for tensor in proto.graph.initializer}
    arrays = {}
    for value in proto.graph.input:
        if value.name in given:
            continue
        tensor = value.type.tensor_type
        shape = [
            dim.dim_value if dim.HasField("dim_value") else 5 if axis else batch
            for axis, dim in enumerate(tensor.shape.dim)
        ]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        noise = random.normal(size=shape) if dtype.kind == "f" else random.integers(0, 2, shape)
        arrays[value.name] = noise.astype(dtype)
    return arrays


def prepared(proto, *, exact=False, **options):
    """Prepare a model and hold it against its source on two batches; return what was made."""
    made = prepare(proto, **options)
    assert made.notes == ()
    for batch in (1, 3):
        arrays = inputs_of(proto, batch)
        for one, other in zip(run(proto, arrays), run(made.proto, arrays), strict=True):
            assert one.shape == other.shape
            assert one.dtype == other.dtype
            if exact:
                assert (one == other).all()
            else:
                assert np.allclose(one, other, rtol=1e-5, atol=1e-5)
    return made.proto
