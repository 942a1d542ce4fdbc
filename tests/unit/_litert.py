"""Run an ONNX model through our LiteRT writer and hold LiteRT's answers against ONNX Runtime's."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

OPSET = 18
RTOL = 1e-5
ATOL = 1e-6


def one_node(op, inputs, *, outputs=1, constants=None, opset=OPSET, open_axes=None, **attributes):
    """Return a model of one node.

    ``inputs`` are arrays by name, in the node's order; None is an input that is not given. Those
    named in ``constants`` become initializers. ``open_axes`` is ``{name: {axis: "N"}}``.
    ``outputs`` is how many the node has, or their names.
    """
    constants, open_axes = set(constants or ()), open_axes or {}
    names = [f"y{i}" if i else "y" for i in range(outputs)] if isinstance(outputs, int) else outputs
    node = helper.make_node(
        op,
        [name if array is not None else "" for name, array in inputs.items()],
        names,
        **attributes,
    )
    node.name = f"the_{op}"
    return model_of(
        [node],
        {
            name: array
            for name, array in inputs.items()
            if array is not None and name not in constants
        },
        names,
        constants={name: inputs[name] for name in constants},
        opset=opset,
        open_axes=open_axes,
    )


def model_of(nodes, inputs, outputs, *, constants=None, opset=OPSET, open_axes=None):
    """Return a model of ``nodes``; the types of its outputs are inferred."""
    open_axes = open_axes or {}
    graph = helper.make_graph(
        nodes,
        "case",
        [
            helper.make_tensor_value_info(
                name,
                helper.np_dtype_to_tensor_dtype(array.dtype),
                [open_axes.get(name, {}).get(axis, size) for axis, size in enumerate(array.shape)],
            )
            for name, array in inputs.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs if name],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 10
    return inferred(model)


def inferred(model):
    """Return the model with inferred shapes, its outputs' too."""
    full = onnx.shape_inference.infer_shapes(
        model, check_type=True, strict_mode=True, data_prop=True
    )
    if all(value.type.tensor_type.HasField("shape") for value in full.graph.output):
        onnx.checker.check_model(full)
    return full


def check_op(model, inputs, *, rtol=RTOL, atol=ATOL, expected=None):
    """Write the model as .tflite, run it, compare every output; return LiteRT's outputs.

    ``expected`` are outputs in their order, by default what ONNX Runtime answers. Shapes and dtypes
    must be equal, NaN and infinities at the same places; ``inputs`` not in the model are left out.
    """
    names = [value.name for value in model.graph.output]
    wanted = expected if expected is not None else run_onnx(model, inputs)
    got = run_litert(to_tflite(model), inputs, names)
    for name, want, have in zip(names, wanted, got, strict=True):
        same(have, np.asarray(want), name, rtol=rtol, atol=atol)
    return got


def same(have, want, name="", *, rtol=RTOL, atol=ATOL):
    """Assert that two arrays are equal: exactly, or floats within the tolerances."""
    assert have.shape == want.shape, (name, have.shape, want.shape)
    assert have.dtype == want.dtype, (name, have.dtype, want.dtype)
    if want.dtype.kind == "f":
        np.testing.assert_allclose(have, want, rtol=rtol, atol=atol, equal_nan=True, err_msg=name)
    else:
        np.testing.assert_array_equal(have, want, err_msg=name)


def to_tflite(model):
    """Return the bytes of the .tflite file that our writer makes of the model."""
    pytest.importorskip("ai_edge_litert", reason="the extra [litert] is not installed")
    from edgeops.convert.litert.make import tflite

    return bytes(tflite(model))


def run_litert(content, inputs, outputs, *, delegate=True):
    """Return the outputs, by name in the order asked, of a .tflite file run by LiteRT.

    Without ``delegate`` LiteRT's own kernels run, else XNNPACK's where it takes a node.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        model_content=content, num_threads=1, experimental_op_resolver_type=resolver
    )
    details = {detail["name"]: detail for detail in interpreter.get_input_details()}
    for name, detail in details.items():
        if tuple(detail["shape"]) != inputs[name].shape:
            interpreter.resize_tensor_input(detail["index"], inputs[name].shape, strict=True)
    interpreter.allocate_tensors()
    for name, detail in details.items():
        interpreter.set_tensor(detail["index"], inputs[name])
    interpreter.invoke()
    found = {
        detail["name"]: np.array(interpreter.get_tensor(detail["index"]))
        for detail in interpreter.get_output_details()
    }
    return [found[name] for name in outputs]


def run_onnx(model, inputs):
    """Return what ONNX Runtime answers, without its optimizations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    wanted = {value.name for value in session.get_inputs()}
    return session.run(None, {name: array for name, array in inputs.items() if name in wanted})


def refusal(model):
    """Return the RefusedError that writing the model raises."""
    from edgeops.errors import RefusedError

    with pytest.raises(RefusedError) as caught:
        to_tflite(model)
    return caught.value
