"""ncnn sessions: names, types and shapes of the source, one sample or many, and what is refused."""

from __future__ import annotations

import json
import threading

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.convert.engines.ncnn import NcnnConverter
from edgeops.core.contracts import ConvertOptions
from edgeops.core.variant import write_variant
from edgeops.errors import InputError, RefusedError
from edgeops.model.prepare import prepare
from edgeops.runtime.engines.ncnn import NcnnEngine
from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession

pytest.importorskip("ncnn", reason="the extra [ncnn] is not installed")
if NcnnConverter().available() is not None:
    pytest.skip("pnnx is not installed", allow_module_level=True)

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def model(nodes, inputs, outputs, constants=None):
    """Return a prepared model; inputs and outputs are (name, type, shape)."""
    sides = [
        [helper.make_tensor_value_info(*value) for value in side] for side in (inputs, outputs)
    ]
    weights = [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()]
    made = helper.make_model(
        helper.make_graph(nodes, "g", *sides, weights),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    made.ir_version = 8
    return prepare(made).proto


def load(proto, folder, precision="fp32"):
    """Return the session of a converted model."""
    folder.mkdir()
    options = ConvertOptions(precision)
    assert list(NcnnConverter().check(proto, options)) == []
    write_variant(folder, NcnnConverter().convert(proto, folder, options))
    return NcnnEngine().load(folder)


def agree(proto, session, given, tolerance=1e-5):
    """Hold the session's answers against ONNX Runtime's."""
    wanted = OnnxRuntimeSession(proto.SerializeToString()).run(given)
    found = session.run(given)
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        np.testing.assert_allclose(found[name], array, rtol=tolerance, atol=tolerance)
    return found


def convolution(batch="N"):
    weight = np.random.default_rng(5).standard_normal((4, 3, 3, 3)).astype("float32")
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["features"], ["means"]),
    ]
    outputs = [("means", FLOAT, [batch, 4, 1, 1]), ("features", FLOAT, [batch, 4, 8, 8])]
    return model(nodes, [("image", FLOAT, [batch, 3, 8, 8])], outputs, {"w": weight})


@pytest.fixture
def image():
    return lambda count: (
        np.random.default_rng(1).standard_normal((count, 3, 8, 8)).astype("float32")
    )


@pytest.mark.parametrize("count", [1, 2, 5])
def test_batches_are_answered_sample_by_sample_in_the_order_of_the_source(count, image, tmp_path):
    proto = convolution()
    agree(proto, load(proto, tmp_path / "v"), {"image": image(count)})


def test_fixed_batch_of_several_is_one_call(image, tmp_path):
    proto = convolution(batch=3)
    agree(proto, load(proto, tmp_path / "v"), {"image": image(3)})


def test_answers_do_not_change_with_the_next_call(image, tmp_path):
    session = load(convolution(batch=1), tmp_path / "v")
    first = session.run({"image": image(1)})
    kept = {name: array.copy() for name, array in first.items()}
    session.run({"image": image(1) * 7})
    for name, array in first.items():
        np.testing.assert_array_equal(array, kept[name])
        assert array.flags.owndata or array.base.flags.owndata


def test_the_callers_array_is_left_alone_and_need_not_be_contiguous(image, tmp_path):
    proto = model(
        [helper.make_node("Relu", ["image"], ["y"])],
        [("image", FLOAT, [1, 3, 8, 8])],
        [("y", FLOAT, [1, 3, 8, 8])],
    )
    turned = image(1).transpose(0, 1, 3, 2)
    before = turned.copy()
    agree(proto, load(proto, tmp_path / "v"), {"image": turned})
    np.testing.assert_array_equal(turned, before)


def test_several_threads_may_call_one_session(image, tmp_path):
    proto = convolution(batch=1)
    session = load(proto, tmp_path / "v")
    given = [{"image": image(1) * factor} for factor in (1, 2, 3, 4)]
    wanted = [session.run(one)["features"] for one in given]
    found = [None] * len(given)

    def call(index):
        for _ in range(20):
            found[index] = session.run(given[index])["features"]

    workers = [threading.Thread(target=call, args=(index,)) for index in range(len(given))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for array, other in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize("count", [1, 3])
def test_integers_are_looked_up_as_integers(count, tmp_path):
    table = np.random.default_rng(2).standard_normal((70000, 4)).astype("float32")
    proto = model(
        [helper.make_node("Gather", ["table", "words"], ["y"])],
        [("words", INT64, ["N", 5])],
        [("y", FLOAT, ["N", 5, 4])],
        {"table": table},
    )
    words = np.random.default_rng(3).integers(0, 70000, (count, 5))
    agree(proto, load(proto, tmp_path / "v"), {"words": words}, 0)


def test_input_that_nothing_reads_is_part_of_the_interface(tmp_path):
    proto = model(
        [helper.make_node("Relu", ["x"], ["y"])],
        [("unused", FLOAT, [1, 2]), ("x", FLOAT, [1, 3])],
        [("y", FLOAT, [1, 3])],
    )
    session = load(proto, tmp_path / "v")
    x = np.array([[-1, 0, 2]], "float32")
    assert session.run({"x": x, "unused": np.zeros((1, 2), "float32")})["y"].tolist() == [[0, 0, 2]]
    with pytest.raises(InputError) as caught:
        session.run({"x": x})
    assert caught.value.code == "input-misfit"


def test_open_sizes_beside_the_batch_stay_open(image, tmp_path):
    weight = np.random.default_rng(5).standard_normal((2, 3, 1, 1)).astype("float32")
    proto = model(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])],
        [("x", FLOAT, ["N", 3, "H", "W"])],
        [("y", FLOAT, ["N", 2, "H", "W"])],
        {"w": weight},
    )
    session = load(proto, tmp_path / "v")
    for height, width in ((8, 8), (5, 3), (1, 9)):
        agree(
            proto,
            session,
            {"x": image(2)[:, :, :1, :1] * np.ones((1, 1, height, width), "float32")},
        )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "missing"),
        ({"image": np.zeros((1, 3, 8, 9), "float32")}, "shape"),
        ({"image": np.zeros((1, 3, 8, 8), "float64")}, "float64"),
        ({"image": np.zeros((3, 8, 8), "float32")}, "shape"),
        ({"image": np.zeros((0, 3, 8, 8), "float32")}, "0 samples"),
    ],
)
def test_what_does_not_fit_is_refused_though_ncnn_would_compute_with_it(given, said, tmp_path):
    session = load(convolution(), tmp_path / "v")
    with pytest.raises(InputError) as caught:
        session.run(given)
    assert caught.value.code == "input-misfit"
    assert said in caught.value.why


def test_half_precision_is_smaller_and_near(image, tmp_path):
    proto = convolution(batch=1)
    agree(proto, load(proto, tmp_path / "half", "fp16"), {"image": image(1)}, 2e-2)
    load(proto, tmp_path / "full")
    sizes = [(tmp_path / name / "model.ncnn.bin").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.6 * sizes[1]


@pytest.mark.parametrize("harm", ["cut weights", "unknown layer", "no weights", "no blobs"])
def test_broken_variant_does_not_load(harm, tmp_path):
    load(convolution(), tmp_path / "v")
    param, weights = (tmp_path / "v" / f"model.ncnn.{end}" for end in ("param", "bin"))
    if harm == "cut weights":
        weights.write_bytes(weights.read_bytes()[:40])
    elif harm == "unknown layer":
        param.write_text(param.read_text().replace("Convolution", "Convoluted"))
    elif harm == "no weights":
        weights.unlink()
    else:
        about = json.loads((tmp_path / "v/variant.json").read_text())
        about["extra"] = {}
        (tmp_path / "v/variant.json").write_text(json.dumps(about))
    with pytest.raises(RefusedError) as caught:
        NcnnEngine().load(tmp_path / "v")
    assert caught.value.code == "engine-load-failed"


def combined(axis_of_softmax):
    nodes = [helper.make_node("Softmax", ["x"], ["y"], axis=axis_of_softmax)]
    return model(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])])


def test_model_that_combines_samples_is_refused(tmp_path):
    with pytest.raises(RefusedError) as caught:
        NcnnConverter().convert(combined(0), tmp_path, ConvertOptions())
    assert caught.value.code == "conversion-failed"
    assert "depends on the others of its batch" in caught.value.why
    assert caught.value.fix.endswith("--input-shape x=1,3")
    assert list(tmp_path.iterdir()) == []


def test_output_without_a_batch_is_found_by_check():
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)]
    proto = model(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, [])])
    (finding,) = NcnnConverter().check(proto, ConvertOptions())
    assert finding.code == "dynamic-shape"
    assert finding.fix.endswith("--input-shape x=1,3")


def test_model_stays_as_it_was(tmp_path):
    proto = convolution()
    before = proto.SerializeToString()
    NcnnConverter().check(proto, ConvertOptions())
    NcnnConverter().convert(proto, tmp_path, ConvertOptions())
    assert proto.SerializeToString() == before
    assert isinstance(proto, onnx.ModelProto)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("count", [1, 3])
def test_recurrent_layers_agree_over_a_batch(kind, count, tmp_path):
    random = np.random.default_rng(4)
    gates = 4 if kind == "LSTM" else 3
    stated = {} if kind == "LSTM" else {"linear_before_reset": 1}
    constants = {
        "w": random.standard_normal((1, gates * 3, 4)),
        "r": random.standard_normal((1, gates * 3, 3)),
        "b": random.standard_normal((1, gates * 6)),
        "d": random.standard_normal((3, 2)),
    }
    constants = {name: value.astype("float32") for name, value in constants.items()}
    constants["one"] = np.array([1])
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node(kind, ["t", "w", "r", "b"], ["y", "h"], hidden_size=3, **stated),
        helper.make_node("Squeeze", ["y", "one"], ["s"]),
        helper.make_node("Transpose", ["s"], ["u"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["u", "d"], ["scores"]),
    ]
    inputs, outputs = [("x", FLOAT, ["N", 5, 4])], [("scores", FLOAT, ["N", 5, 2])]
    proto = model(nodes, inputs, outputs, constants)
    given = random.standard_normal((count, 5, 4)).astype("float32")
    agree(proto, load(proto, tmp_path / "v"), {"x": given})


def test_five_axes_are_refused_where_no_layer_tells_the_batch():
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    ends = [("x", FLOAT, [2, 24])], [("y", FLOAT, [2, 2, 3, 2, 2])]
    proto = model(nodes, *ends, {"s": np.array([2, 2, 3, 2, 2])})
    (finding,) = NcnnConverter().check(proto, ConvertOptions())
    assert finding.details["op"] == "Reshape"
    assert "5 axes" in finding.what
