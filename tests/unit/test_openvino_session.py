"""OpenVINO sessions: names, types and order of the source, refusals with OpenVINO's words."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from edgeops.convert.engines.openvino import OpenVinoConverter
from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError, RefusedError
from edgeops.runtime.engines.openvino import OpenVinoEngine, OpenVinoSession
from tests.unit._small_models import model, node, session

pytest.importorskip("openvino", reason="the extra [openvino] is not installed")


@pytest.fixture
def two_ways(tmp_path):
    """Return a session with two inputs and two outputs, one of them int64."""
    proto = model(
        [node("MatMul", "a w", "m"), node("Add", "m b", "sum"), node("ArgMax", "sum", "best")],
        {"b": ("float32", ("N", 3)), "a": ("float32", ("N", 2)), "unread": ("float32", (1,))},
        {"best": ("int64", None), "sum": ("float32", None)},
        {"w": np.arange(6, dtype="float32").reshape(2, 3)},
    )
    return session(OpenVinoConverter(), proto, tmp_path / "v")


UNREAD = {"unread": np.zeros(1, "float32")}


def test_outputs_come_in_the_order_and_types_of_the_source(two_ways):
    assert [tensor.name for tensor in two_ways.inputs] == ["b", "a", "unread"]
    for rows in (4, 1, 2):
        a, b = np.ones((rows, 2), "float32"), np.zeros((rows, 3), "float32")
        answer = two_ways.run({"a": a, "b": b, **UNREAD, "more": b})
        assert list(answer) == ["best", "sum"]
        assert answer["best"].dtype == np.int64
        assert answer["sum"].tolist() == [[3, 5, 7]] * rows


def test_answers_stay_when_the_next_call_comes(two_ways):
    b = np.zeros((1, 3), "float32")
    first = two_ways.run({"a": np.ones((1, 2), "float32"), "b": b, **UNREAD})
    kept = first["sum"].copy()
    two_ways.run({"a": np.full((1, 2), 9, "float32"), "b": b, **UNREAD})
    assert (first["sum"] == kept).all()


@pytest.mark.parametrize(
    "arrays",
    [
        {"a": np.ones((1, 2), "float32")},
        {"a": np.ones((1, 2), "float64"), "b": np.ones((1, 3), "float32")},
        {"a": np.ones((1, 9), "float32"), "b": np.ones((1, 3), "float32")},
        {"a": [[1.0, 2.0]], "b": np.ones((1, 3), "float32")},
    ],
    ids=["missing", "dtype", "shape", "list"],
)
def test_what_does_not_fit_is_refused(arrays, two_ways):
    with pytest.raises(InputError) as caught:
        two_ways.run({**arrays, **UNREAD})
    assert caught.value.code == "input-misfit"


def test_views_scalars_and_bools_go_in_and_out(tmp_path):
    proto = model(
        [
            node("Where", "on x zero", "kept"),
            node("ReduceSum", "kept", "total", keepdims=0),
            node("Greater", "kept zero", "above"),
        ],
        {"on": ("bool", (2, 3)), "x": ("float32", (2, 3))},
        {"total": ("float32", ()), "above": ("bool", (2, 3))},
        {"zero": np.float32(0)},
    )
    session_ = session(OpenVinoConverter(), proto, tmp_path / "v")
    on = np.array([[True, False, True], [True, True, False]])
    x = np.arange(6, dtype="float32").reshape(3, 2).T  # not contiguous
    answer = session_.run({"on": on, "x": x})
    assert answer["total"].shape == ()
    assert answer["total"] == x[on].sum()
    assert answer["above"].dtype == bool
    assert (answer["above"] == (on & (x > 0))).all()


def test_sessions_answer_right_from_several_threads(two_ways):
    wrong = []

    def work(value):
        a, b = np.full((1, 2), value, "float32"), np.zeros((1, 3), "float32")
        for _ in range(200):
            found = two_ways.run({"a": a, "b": b, **UNREAD})["sum"]
            if found.tolist() != [[3 * value, 5 * value, 7 * value]]:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_threshold_of_suppression_keeps_boxes_that_overlap_by_just_that(tmp_path):
    """OpenVINO drops a box whose overlap equals the threshold; ONNX one above it."""
    boxes = np.array([[[0, 0, 1, 1], [0, 0, 1, 0.5]]], "float32")
    proto = model(
        [node("NonMaxSuppression", "boxes scores most iou", "y")],
        {"boxes": boxes, "scores": ("float32", (1, 1, 2))},
        {"y": ("int64", None)},
        {"most": np.array([9]), "iou": np.array([0.5], "float32")},
    )
    session_ = session(OpenVinoConverter(), proto, tmp_path / "v")
    answer = session_.run({"boxes": boxes, "scores": np.array([[[0.9, 0.8]]], "float32")})
    assert answer["y"].tolist() == [[0, 0, 0], [0, 0, 1]]


def test_first_of_equal_values_is_named(tmp_path):
    proto = model(
        [node("TopK", "x k", "values places")],
        {"x": ("float32", (1, 5))},
        {"values": ("float32", (1, 3)), "places": ("int64", (1, 3))},
        {"k": np.array([3])},
    )
    answer = session(OpenVinoConverter(), proto, tmp_path / "v").run(
        {"x": np.array([[2, 7, 7, 1, 7]], "float32")}
    )
    assert list(answer) == ["values", "places"]
    assert answer["places"].tolist() == [[1, 2, 4]]


def test_hardmax_names_the_first_of_equal_values(tmp_path):
    """OpenVINO reads it as a TopK in no order, which it cannot make stable."""
    proto = model(
        [node("Hardmax", "x", "y", axis=1)],
        {"x": ("float32", (1, 4))},
        {"y": ("float32", (1, 4))},
    )
    answer = session(OpenVinoConverter(), proto, tmp_path / "v").run(
        {"x": np.array([[1, 3, 3, 2]], "float32")}
    )
    assert answer["y"].tolist() == [[0, 1, 0, 0]]


@pytest.mark.parametrize("data", [b"", b"no model", b"<net></net>"])
def test_file_that_is_no_model_is_refused_with_what_openvino_said(data, tmp_path):
    (tmp_path / "model.xml").write_bytes(data)
    tensor = TensorInfo("x", (1,), "float32")
    with pytest.raises(RefusedError) as caught:
        OpenVinoSession(tmp_path / "model.xml", (tensor,), (tensor,))
    assert caught.value.code == "engine-load-failed"
    assert caught.value.why


def test_half_precision_halves_the_weights(tmp_path):
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype("float32")
    proto = model(
        [node("MatMul", "x w", "y")],
        {"x": ("float32", (1, 64))},
        {"y": ("float32", (1, 64))},
        {"w": weights},
    )
    for precision in ("fp32", "fp16"):
        session(OpenVinoConverter(), proto, tmp_path / precision, precision)
    sizes = [(tmp_path / name / "model.bin").stat().st_size for name in ("fp32", "fp16")]
    assert sizes == [4 * 64 * 64, 2 * 64 * 64]


def test_engine_names_its_version_and_what_is_missing(monkeypatch):
    engine = OpenVinoEngine()
    assert engine.available() is None
    assert engine.version()[0].isdigit()
    monkeypatch.setattr("edgeops.runtime.engines.openvino.find_spec", lambda name: None)
    assert engine.available().code == "engine-missing"
    assert engine.available().fix == "pip install 'edgeops[openvino]'"
