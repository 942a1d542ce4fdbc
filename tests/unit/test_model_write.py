"""Writing a model tensor by tensor gives the model."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.model.load import load_model
from edgeops.model.write import save_onnx
from tests.helpers import write_tiny_model


def test_written_model_is_the_model(tmp_path):
    model = onnx.load(write_tiny_model(tmp_path / "m.onnx"))
    entry = model.metadata_props.add()
    entry.key, entry.value = "author", "me"
    model.graph.doc_string = "a graph"
    save_onnx(model, tmp_path / "n.onnx")
    assert onnx.load(tmp_path / "n.onnx") == model
    assert (tmp_path / "n.onnx").stat().st_size == model.ByteSize()


def test_written_model_is_the_same_each_time(tmp_path):
    model = onnx.load(write_tiny_model(tmp_path / "m.onnx"))
    for name in "ab":
        save_onnx(model, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("count", [1, 31, 32, 4095, 4096, 600_000])
def test_lengths_of_every_size_are_written(tmp_path, count):
    weights = numpy_helper.from_array(np.ones(count, "float32"), "w")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [count])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [count])],
        [weights],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    save_onnx(model, tmp_path / "m.onnx")
    assert load_model(tmp_path / "m.onnx").proto == model


def test_large_tensor_that_contradicts_itself_is_found(tmp_path):
    from edgeops.errors import InputError

    weights = numpy_helper.from_array(np.ones(100_000, "float32"), "w")
    weights.dims[0] = 99_999
    graph = helper.make_graph(
        [helper.make_node("Relu", ["w"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
        [weights],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    save_onnx(model, tmp_path / "m.onnx")
    with pytest.raises(InputError) as caught:
        load_model(tmp_path / "m.onnx")
    assert caught.value.code == "model-invalid"
