"""What kind of file a model is, what it takes and gives, and what it computes in."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError, RefusedError
from edgeops.model.source import kind_of, onnx_precision, open_source
from tests.helpers import write_tiny_model
from tests.unit import _model_files as files

PROGRAM = {
    "graph_module": {
        "graph": {
            "tensor_values": {
                "p_w": {"dtype": 7, "sizes": [{"as_int": 3}, {"as_int": 4}]},
                "x": {"dtype": 7, "sizes": [{"as_expr": {"expr_str": "s0"}}, {"as_int": 4}]},
                "linear": {"dtype": 6, "sizes": [{"as_expr": {"expr_str": "s0"}}, {"as_int": 3}]},
            }
        },
        "signature": {
            "input_specs": [
                {"parameter": {"arg": {"name": "p_w"}, "parameter_name": "w"}},
                {"user_input": {"arg": {"as_tensor": {"name": "x"}}}},
            ],
            "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "linear"}}}}],
        },
    }
}


def program(path, document=PROGRAM, *, root="m/", older=False):
    with zipfile.ZipFile(path, "w") as archive:
        if older:
            archive.writestr("version", "8.17")
            archive.writestr("serialized_exported_program.json", json.dumps(document))
        else:
            archive.writestr(f"{root}archive_format", "pt2")
            archive.writestr(f"{root}models/model.json", json.dumps(document))
            archive.writestr(f"{root}data/weights/weight_0", b"\0" * 48)
    return path


@pytest.mark.parametrize("how", [{}, {"root": ""}, {"older": True}])
def test_torch_program_is_known_by_what_is_in_the_archive(tmp_path, how):
    path = program(tmp_path / "named.anything", **how)
    assert kind_of(path) == "pt2"
    source = open_source(path)
    assert source.inputs == (TensorInfo("x", ("s0", 4), "float32"),)
    assert source.outputs == (TensorInfo("linear", ("s0", 3), "float16"),)
    assert source.digest.startswith("sha256:")
    assert source.proto is None


def test_torch_program_has_its_open_axes_by_name(tmp_path):
    document = json.loads(json.dumps(PROGRAM).replace('"s0"', "\"Symbol('s77', positive=True)\""))
    source = open_source(program(tmp_path / "m.pt2", document))
    assert source.inputs == (TensorInfo("x", ("s77", 4), "float32"),)


def test_torch_program_that_is_damaged_is_refused(tmp_path):
    broken = {"graph_module": {"graph": {}, "signature": {}}}
    with pytest.raises(InputError) as caught:
        open_source(program(tmp_path / "m.pt2", broken))
    assert caught.value.code == "model-damaged"


def test_other_archives_are_no_programs(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.zeros(3))
    assert kind_of(tmp_path / "data.npz") == "onnx"
    with pytest.raises(InputError) as caught:
        open_source(tmp_path / "data.npz")
    assert caught.value.code == "model-format"


def test_tflite_is_known_by_its_first_bytes(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(files.tflite(open_batch=True))
    assert kind_of(path) == "tflite"
    source = open_source(path)
    assert source.inputs == (TensorInfo("image", ("?", 4, 4, 2), "float32"),)
    assert [tensor.name for tensor in source.outputs] == ["scores"]
    assert source.precision == "fp32"


def test_tflite_with_integer_weights_computes_in_integers(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(files.tflite(scales=(0.5,)))
    assert open_source(path).precision == "int8"


def test_tflite_that_no_engine_runs_is_refused(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(files.tflite(custom=["FlexErf"]))
    with pytest.raises(RefusedError) as caught:
        open_source(path)
    assert caught.value.code == "tflite-flex"


def test_onnx_is_what_is_nothing_else(tmp_path):
    assert kind_of(tmp_path / "missing") == "onnx"
    path = write_tiny_model(tmp_path / "m.onnx")
    source = open_source(path)
    assert (source.kind, source.precision) == ("onnx", "fp32")
    assert source.proto.graph.node[0].op_type == "Gemm"


def quantized():
    scale = numpy_helper.from_array(np.float32(0.1), "s")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s"], ["y"]),
    ]
    return model(nodes, [scale])


def model(nodes, initializers):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def weights_only():
    tensors = [
        numpy_helper.from_array(np.ones(4, "int8"), "w"),
        numpy_helper.from_array(np.float32(0.1), "s"),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["f"]),
        helper.make_node("Add", ["x", "f"], ["y"]),
    ]
    return model(nodes, tensors)


def halves():
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
    ]
    return model(nodes, [])


@pytest.mark.parametrize(
    ("make", "precision"), [(quantized, "int8"), (weights_only, "fp32"), (halves, "fp16")]
)
def test_precision_of_a_model_is_what_it_computes_in(make, precision):
    made = make()
    onnx.checker.check_model(made)
    assert onnx_precision(made) == precision
