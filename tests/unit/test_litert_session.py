from __future__ import annotations

import numpy as np
import pytest

from edgeops.core.variant import TensorInfo, Variant, write_variant
from edgeops.errors import InputError, RefusedError
from tests.unit._litert import model_of, one_node, to_tflite

pytest.importorskip("ai_edge_litert", reason="the extra [litert] is not installed")

from onnx import helper

from edgeops.runtime.engines.litert import LiteRtEngine, LiteRtSession

X = np.array([[-1.0, 2.0, -3.0]], "float32")


def relu(**kwargs):
    return to_tflite(one_node("Relu", {"x": X}, **kwargs))


def packed(ops, inputs, outputs):
    """Return a .tflite file of operators written by hand."""
    from edgeops.convert.litert.ir import Graph
    from edgeops.convert.litert.write import pack

    return bytes(pack(Graph(inputs, outputs, ops)))


def test_session_answers_by_the_names_of_the_file_when_nobody_gives_others():
    session = LiteRtSession(relu())
    assert session.inputs == (TensorInfo("x", (1, 3), "float32"),)
    assert session.outputs == (TensorInfo("y", (1, 3), "float32"),)
    np.testing.assert_array_equal(session.run({"x": X})["y"], [[0, 2, 0]])


def test_session_follows_an_open_axis_and_keeps_what_it_used_last():
    session = LiteRtSession(relu(open_axes={"x": {0: "N"}}))
    for batch in (1, 4, 4, 2):
        x = np.full((batch, 3), -1.5, "float32")
        x[-1] = 7
        np.testing.assert_array_equal(session.run({"x": x})["y"], np.maximum(x, 0))


def test_outputs_are_not_overwritten_by_the_next_call():
    session = LiteRtSession(relu())
    first = session.run({"x": X})["y"]
    session.run({"x": -X})
    np.testing.assert_array_equal(first, [[0, 2, 0]])


def test_session_ignores_arrays_that_are_no_inputs():
    assert set(LiteRtSession(relu()).run({"x": X, "label": X})) == {"y"}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, "'x' is missing"),
        ({"x": X.astype("float64")}, "'x' is float64, the model takes float32"),
        ({"x": X[:, :2]}, "'x' has shape [1, 2], the model takes [1, 3]"),
        ({"x": X[0]}, "'x' has shape [3], the model takes [1, 3]"),
        ({"x": 3}, "'x' is a int, no array"),
    ],
)
def test_session_says_what_does_not_fit_and_serves_on(arrays, said):
    session = LiteRtSession(relu())
    with pytest.raises(InputError) as caught:
        session.run(arrays)
    assert caught.value.code == "input-misfit"
    assert said in caught.value.why
    np.testing.assert_array_equal(session.run({"x": X})["y"], [[0, 2, 0]])


def nhwc_file():
    """Return a file that works in NHWC, with names and integers of its own."""
    from edgeops.convert.litert.ir import Op, Tensor

    image = Tensor("image:0", (1, 2, 2, 3), "float32")
    index = Tensor("index:0", (2,), "int32")
    out, same = Tensor("a", (1, 2, 2, 3), "float32"), Tensor("b", (2,), "int32")
    ops = [Op("NEG", [image], [out]), Op("NEG", [index], [same])]
    return packed(ops, [index, image], [same, out])


def test_session_maps_names_order_layout_and_dtypes_back():
    inputs = (TensorInfo("x", (1, 3, 2, 2), "float32"), TensorInfo("i", (2,), "int64"))
    outputs = (TensorInfo("y", (1, 3, 2, 2), "float32"), TensorInfo("j", (2,), "int64"))
    sides = {
        "inputs": {
            "x": {"tensor": "image:0", "permutation": [0, 2, 3, 1]},
            "i": {"tensor": "index:0"},
        },
        "outputs": {"y": {"tensor": "a", "permutation": [0, 3, 1, 2]}, "j": {"tensor": "b"}},
    }
    session = LiteRtSession(nhwc_file(), inputs, outputs, sides=sides)
    x = np.arange(12, dtype="float32").reshape(1, 3, 2, 2)
    found = session.run({"x": x, "i": np.array([4, -5])})
    np.testing.assert_array_equal(found["y"], -x)
    assert found["y"].flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(found["j"], [-4, 5])
    assert found["j"].dtype == "int64"


def test_session_refuses_integers_that_the_file_cannot_hold():
    inputs = (TensorInfo("image:0", (1, 2, 2, 3), "float32"), TensorInfo("index:0", (2,), "int64"))
    outputs = (TensorInfo("a", (1, 2, 2, 3), "float32"), TensorInfo("b", (2,), "int32"))
    session = LiteRtSession(nhwc_file(), inputs, outputs)
    x = np.zeros((1, 2, 2, 3), "float32")
    with pytest.raises(InputError) as caught:
        session.run({"image:0": x, "index:0": np.array([2**40, 0])})
    assert caught.value.code == "input-misfit"
    assert "int32 cannot hold" in caught.value.why


def test_session_refuses_names_that_the_file_does_not_have():
    sides = {"inputs": {"x": {"tensor": "nobody"}}}
    with pytest.raises(RefusedError) as caught:
        LiteRtSession(relu(), (TensorInfo("x", (1, 3), "float32"),), sides=sides)
    assert caught.value.code == "engine-load-failed"
    assert "it has no input 'nobody', only 'x'" in caught.value.why


def test_session_refuses_a_file_that_is_none():
    with pytest.raises(RefusedError) as caught:
        LiteRtSession(b"no flatbuffer at all")
    assert caught.value.code == "engine-load-failed"


@pytest.mark.parametrize(("custom", "fix"), [("FlexErf", "TFLITE_BUILTINS"), ("Magic", "standard")])
def test_session_names_operators_that_come_from_elsewhere(custom, fix):
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(relu())
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].customCode = custom
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(RefusedError) as caught:
        LiteRtSession(bytes(builder.Output()))
    assert caught.value.code == "engine-load-failed"
    assert caught.value.why == f"it has no kernel for the operator {custom}"
    assert fix in caught.value.fix


def test_session_says_nothing_on_standard_error(capfd):
    session = LiteRtSession(
        to_tflite(model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": X}, ["y"]))
    )
    session.run({"x": X})
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_engine_loads_a_variant_by_its_own_names(tmp_path):
    (tmp_path / "model.tflite").write_bytes(relu())
    inputs = (TensorInfo("x", ("N", 3), "float32"),)
    outputs = (TensorInfo("y", ("N", 3), "float32"),)
    variant = Variant("litert", "0", "fp32", "model.tflite", inputs, outputs, "")
    write_variant(tmp_path, variant)
    session = LiteRtEngine().load(tmp_path, threads=2)
    assert (session.inputs, session.outputs) == (inputs, outputs)
    np.testing.assert_array_equal(session.run({"x": X})["y"], [[0, 2, 0]])


def test_session_loads_a_file_whose_open_sizes_are_too_small_as_they_stand():
    w = np.ones((1, 1, 40, 40), "float32")
    x = np.ones((1, 1, 41, 40), "float32")
    model = one_node("Conv", {"x": x, "w": w}, constants=["w"], open_axes={"x": {2: "H", 3: "W"}})
    session = LiteRtSession(to_tflite(model))
    np.testing.assert_allclose(session.run({"x": x})["y"], np.full((1, 1, 2, 1), 1600.0))
    with pytest.raises(RefusedError) as caught:
        session.run({"x": x[:, :, :39]})
    assert caught.value.code == "engine-run-failed"
    np.testing.assert_allclose(session.run({"x": x})["y"], np.full((1, 1, 2, 1), 1600.0))
