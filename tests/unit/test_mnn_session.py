"""MNN sessions: names, types and order of the source, nothing on stdout, refusals with MNN's words."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from edgeops.convert.engines.mnn import MnnConverter
from edgeops.core.contracts import ConvertOptions
from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError, RefusedError
from edgeops.runtime.engines.mnn import MnnEngine, MnnSession
from tests.unit._small_models import model, node, session

pytest.importorskip("MNN", reason="the extra [mnn] is not installed")


@pytest.fixture
def two_ways(tmp_path):
    """Return a session with two inputs and two outputs, one of them int64."""
    proto = model(
        [node("MatMul", "a w", "m"), node("Add", "m b", "sum"), node("ArgMax", "sum", "best")],
        {"b": ("float32", ("N", 3)), "a": ("float32", ("N", 2))},
        {"best": ("int64", None), "sum": ("float32", None)},
        {"w": np.arange(6, dtype="float32").reshape(2, 3)},
    )
    return session(MnnConverter(), proto, tmp_path / "v")


def test_outputs_come_in_the_order_and_types_of_the_source(two_ways):
    a, b = np.ones((4, 2), "float32"), np.zeros((4, 3), "float32")
    answer = two_ways.run({"a": a, "b": b, "more": b})
    assert list(answer) == ["best", "sum"]
    assert answer["best"].dtype == np.int64
    assert answer["sum"].tolist() == [[3, 5, 7]] * 4


def test_answers_stay_when_the_next_call_comes(two_ways):
    first = two_ways.run({"a": np.ones((1, 2), "float32"), "b": np.zeros((1, 3), "float32")})
    kept = first["sum"].copy()
    two_ways.run({"a": np.full((1, 2), 9, "float32"), "b": np.zeros((1, 3), "float32")})
    assert (first["sum"] == kept).all()
    assert first["sum"].flags.owndata


def test_another_shape_is_taken_in_between(two_ways):
    for rows in (1, 5, 1, 2):
        a = np.full((rows, 2), 2, "float32")
        answer = two_ways.run({"a": a, "b": np.ones((rows, 3), "float32")})
        assert answer["sum"].tolist() == [[7, 11, 15]] * rows


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
def test_what_does_not_fit_is_refused_also_after_a_call(arrays, two_ways):
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            two_ways.run(arrays)
        assert caught.value.code == "input-misfit"
        two_ways.run({"a": np.ones((1, 2), "float32"), "b": np.ones((1, 3), "float32")})


def test_whole_numbers_that_int32_cannot_hold_are_refused(tmp_path):
    proto = model([node("Add", "x x", "y")], {"x": ("int64", (2,))}, {"y": ("int64", (2,))})
    session_ = session(MnnConverter(), proto, tmp_path / "v")
    assert session_.run({"x": np.array([3, -4])})["y"].tolist() == [6, -8]
    with pytest.raises(InputError) as caught:
        session_.run({"x": np.array([3, 2**31])})
    assert caught.value.code == "input-misfit"
    assert "int32" in caught.value.why


def test_scalars_bools_and_views_go_in_and_out(tmp_path):
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
    session_ = session(MnnConverter(), proto, tmp_path / "v")
    on = np.array([[True, False, True], [True, True, False]])
    x = np.arange(6, dtype="float32").reshape(3, 2).T  # not contiguous
    answer = session_.run({"on": on, "x": x})
    assert answer["total"].shape == ()
    assert answer["total"] == x[on].sum()
    assert answer["above"].dtype == bool
    assert (answer["above"] == (on & (x > 0))).all()


def test_nothing_is_printed_on_standard_output(tmp_path, capfd):
    proto = model([node("Relu", "x", "y")], {"x": ("float32", (2,))}, {"y": ("float32", (2,))})
    session(MnnConverter(), proto, tmp_path / "v").run({"x": np.ones(2, "float32")})
    assert capfd.readouterr().out == ""


def test_sessions_answer_right_from_several_threads(two_ways):
    wrong = []

    def work(value):
        a, b = np.full((1, 2), value, "float32"), np.zeros((1, 3), "float32")
        right = [[3 * value, 5 * value, 7 * value]]
        found = (two_ways.run({"a": a, "b": b})["sum"].tolist() for _ in range(200))
        wrong.extend(answer for answer in found if answer != right)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("data", [b"", b"no model", b"\0" * 4096])
def test_file_that_is_no_model_is_refused_with_what_mnn_said(data, tmp_path, capfd):
    (tmp_path / "model.mnn").write_bytes(data)
    tensor = TensorInfo("x", (1,), "float32")
    with pytest.raises(RefusedError) as caught:
        MnnSession(tmp_path / "model.mnn", (tensor,), (tensor,))
    assert caught.value.code == "engine-load-failed"
    assert caught.value.why
    assert capfd.readouterr().out == ""


def test_converter_does_not_believe_a_success_without_a_file(tmp_path, monkeypatch):
    import _tools

    def lie(arguments):
        return True

    monkeypatch.setattr(_tools, "mnnconvert", lie)
    proto = model([node("Relu", "x", "y")], {"x": ("float32", (2,))}, {"y": ("float32", (2,))})
    with pytest.raises(RefusedError) as caught:
        MnnConverter().convert(proto, tmp_path, ConvertOptions())
    assert caught.value.code == "conversion-failed"
    assert list(tmp_path.iterdir()) == []


def test_half_precision_halves_the_file(tmp_path):
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype("float32")
    proto = model(
        [node("MatMul", "x w", "y")],
        {"x": ("float32", (1, 64))},
        {"y": ("float32", (1, 64))},
        {"w": weights},
    )
    for precision in ("fp32", "fp16"):
        session(MnnConverter(), proto, tmp_path / precision, precision)
    sizes = [(tmp_path / name / "model.mnn").stat().st_size for name in ("fp32", "fp16")]
    assert sizes[1] < 0.6 * sizes[0]


def test_engine_names_its_version_and_what_is_missing(monkeypatch):
    engine = MnnEngine()
    assert engine.available() is None
    assert engine.version()[0].isdigit()
    monkeypatch.setattr("edgeops.runtime.engines.mnn.find_spec", lambda name: None)
    assert engine.available().code == "engine-missing"
    assert engine.available().fix == "pip install 'edgeops[mnn]'"
