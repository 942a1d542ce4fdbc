"""Preparing: opset and IR raised, shapes fixed, graphs left alone where a step is impossible."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.errors import InputError
from edgeops.model.load import graph_inputs, graph_outputs
from edgeops.model.prepare import prepare
from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession
from tests.helpers import write_tiny_model


@pytest.fixture
def tiny(tmp_path):
    """Return the tiny model at opset 9 with its initializers among the inputs, as of old."""
    proto = onnx.load(write_tiny_model(tmp_path / "m.onnx", opset=13))
    proto.opset_import[0].version = 9
    proto.ir_version = 3
    for tensor in proto.graph.initializer:
        value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        proto.graph.input.append(value)
    proto.graph.node[3].attribute[0].i = 1  # Softmax of opset 9 knows no -1
    onnx.checker.check_model(proto)
    return proto


def opset(proto):
    return {o.domain: o.version for o in proto.opset_import}[""]


def test_old_model_is_raised_and_answers_the_same(tiny):
    prepared = prepare(tiny)
    assert prepared.notes == ()
    assert opset(prepared.proto) == 17
    assert prepared.proto.ir_version == 8
    assert [value.name for value in prepared.proto.graph.input] == ["x"]
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    before = OnnxRuntimeSession(tiny.SerializeToString()).run({"x": x})["probabilities"]
    after = OnnxRuntimeSession(prepared.proto.SerializeToString()).run({"x": x})["probabilities"]
    assert np.allclose(before, after, atol=1e-6)


def test_source_is_left_as_it_was(tiny):
    before = tiny.SerializeToString()
    prepare(tiny, input_shapes={"x": (1, 4)})
    assert tiny.SerializeToString() == before


def test_newer_opset_is_kept(tmp_path):
    proto = onnx.load(write_tiny_model(tmp_path / "m.onnx", opset=19))
    assert opset(prepare(proto).proto) == 19


def test_fixed_axis_gets_its_size_wherever_its_name_stands(tiny):
    proto = prepare(tiny, input_shapes={"x": (3, 4)}).proto
    assert graph_inputs(proto)[0].shape == (3, 4)
    assert graph_outputs(proto)[0].shape == (3, 3)


def test_all_wrong_shapes_are_found_at_once(tiny):
    with pytest.raises(InputError) as caught:
        prepare(tiny, input_shapes={"y": (1,), "x": (1, 2, 3)})
    assert [f.code for f in caught.value.findings] == ["input-unknown", "input-rank"]
    assert "x ['N', 4]" in caught.value.why


def test_simplifying_folds_what_is_constant():
    def constant(name, value):
        tensor = numpy_helper.from_array(np.array(value, "float32"), name)
        return helper.make_node("Constant", [], [name], value=tensor)

    graph = helper.make_graph(
        [
            constant("a", 2.0),
            constant("b", 3.0),
            helper.make_node("Mul", ["a", "b"], ["c"]),
            helper.make_node("Mul", ["x", "c"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert [n.op_type for n in prepare(proto).proto.graph.node] == ["Mul"]
    assert [n.op_type for n in prepare(proto, simplify=False).proto.graph.node] == ["Mul", "Mul"]


def test_simplifying_takes_a_model_whose_batch_axis_has_no_name(tmp_path):
    proto = onnx.load(write_tiny_model(tmp_path / "m.onnx"))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
    prepared = prepare(proto)
    assert prepared.notes == ()
    axis = prepared.proto.graph.input[0].type.tensor_type.shape.dim[0]
    assert (axis.dim_param, axis.dim_value) == ("", 0)
    session = OnnxRuntimeSession(prepared.proto.SerializeToString())
    assert session.run({"x": np.zeros((5, 4), np.float32)})["probabilities"].shape == (5, 3)


def test_simplifying_is_left_out_when_it_would_blow_the_file_up():
    shape = numpy_helper.from_array(np.array([512, 512]), "shape")
    graph = helper.make_graph(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            helper.make_node("Add", ["x", "zeros"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [512, 512])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [512, 512])],
        [shape],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    prepared = prepare(proto)
    assert prepared.proto.ByteSize() < 10_000


def test_custom_operators_survive_raising_and_simplifying(tmp_path):
    graph = helper.make_graph(
        [
            helper.make_node("Magic", ["x"], ["h"], domain="com.acme"),
            helper.make_node("Relu", ["h"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
    )
    opsets = [helper.make_opsetid("", 12), helper.make_opsetid("com.acme", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=7)
    prepared = prepare(proto)
    assert [n.op_type for n in prepared.proto.graph.node] == ["Magic", "Relu"]
    assert {o.domain for o in prepared.proto.opset_import} == {"", "com.acme"}
