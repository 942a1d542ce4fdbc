"""Loading: what a caller must give, what has a digest, which weights are broken."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError
from edgeops.model.load import load_model
from tests.helpers import write_tiny_model


def masked(path, *, operator="Add", values=(0.0, -np.inf)):
    """Write y = operator(x, mask)."""
    mask = np.array(values, "float32")
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "mask"], ["y"], name="use")],
        "masked",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(mask, "mask")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_digest_is_the_sha256_of_the_file(tmp_path):
    path = write_tiny_model(tmp_path / "m.onnx")
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_model(path).digest == f"sha256:{expected}"


def test_initializers_listed_as_inputs_are_no_inputs(tmp_path):
    path = write_tiny_model(tmp_path / "m.onnx")
    proto = onnx.load(path)
    proto.ir_version = 3
    for tensor in proto.graph.initializer:
        value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        proto.graph.input.append(value)
    onnx.save(proto, path)
    assert load_model(path).inputs == (TensorInfo("x", ("N", 4), "float32"),)


def test_axis_without_size_or_name_is_said_so(tmp_path):
    path = write_tiny_model(tmp_path / "m.onnx")
    proto = onnx.load(path)
    proto.graph.input[0].type.tensor_type.shape.dim[0].ClearField("dim_param")
    onnx.save(proto, path)
    assert load_model(path).inputs[0].shape == ("?", 4)


def test_size_limit_counts_the_file(tmp_path):
    path = write_tiny_model(tmp_path / "m.onnx")
    with pytest.raises(InputError) as caught:
        load_model(path, limit=100)
    assert caught.value.code == "model-too-large"


def test_size_limit_counts_external_data_before_reading_it(tmp_path):
    path = write_tiny_model(tmp_path / "m.onnx", hidden=64)
    options = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    onnx.save_model(onnx.load(path), path, **options)
    limit = path.stat().st_size + 10
    with pytest.raises(InputError) as caught:
        load_model(path, limit=limit)
    assert caught.value.code == "model-too-large"


def test_external_data_is_read_into_the_model(tmp_path):
    path = write_tiny_model(tmp_path / "m.onnx")
    before = [numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer]
    options = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    onnx.save_model(onnx.load(path), path, **options)
    after = [numpy_helper.to_array(t) for t in load_model(path).proto.graph.initializer]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("operator", "values", "code"),
    [
        ("Add", (0.0, -np.inf), None),
        ("Max", (0.0, -np.inf), None),
        ("Mul", (0.0, -np.inf), "model-weights-inf"),
        ("Add", (0.0, np.inf), "model-weights-inf"),
        ("Add", (0.0, np.nan), "model-weights-nan"),
    ],
)
def test_infinity_is_allowed_as_a_mask_only(tmp_path, operator, values, code):
    path = masked(tmp_path / "m.onnx", operator=operator, values=values)
    if code is None:
        assert load_model(path).inputs[0].name == "x"
        return
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert caught.value.code == code
    assert "'use'" in caught.value.why


def test_nan_in_a_constant_node_is_found(tmp_path):
    path = masked(tmp_path / "m.onnx")
    proto = onnx.load(path)
    tensor = numpy_helper.from_array(np.array([np.nan, 1], "float32"), "c")
    node = helper.make_node("Constant", [], ["mask"], value=tensor)
    del proto.graph.initializer[:]
    proto.graph.node.insert(0, node)
    onnx.save(proto, path)
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert caught.value.code == "model-weights-nan"


def test_bytes_that_are_cut_at_random_never_pass_for_a_model(tmp_path):
    whole = write_tiny_model(tmp_path / "m.onnx").read_bytes()
    random = np.random.default_rng(3)
    path = tmp_path / "x.onnx"
    for _ in range(200):
        damaged = bytearray(whole[: random.integers(1, len(whole))])
        path.write_bytes(bytes(damaged))
        with pytest.raises(InputError) as caught:
            load_model(path)
        assert caught.value.code in {"model-truncated", "model-malformed", "model-invalid"}
