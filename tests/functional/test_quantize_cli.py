"""edgeops quantize as a person types it: results, refusals, and what they leave behind."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.cli import main
from edgeops.core.variant import read_variant
from edgeops.runtime.session import load_session
from tests.helpers import write_tiny_data, write_tiny_model

VERB = ("quantize", "model.onnx", "--to", "onnxruntime", "-o", "out")
CALIBRATED = (*VERB, "--calibration", "calibration.npz")
JUDGED = (*CALIBRATED, "--evaluation", "evaluation.npz", "--metric", "accuracy")


@pytest.fixture
def project(tmp_path):
    """Return a folder with a model and data that fits it."""
    model = write_tiny_model(tmp_path / "model.onnx")
    write_tiny_data(tmp_path / "calibration.npz", model)
    write_tiny_data(tmp_path / "evaluation.npz", model, count=300, seed=2)
    return tmp_path


def write_graph(path, nodes, weights=(), outputs=("y",)):
    """Write a model from "x" float32 [N,4] to float32 outputs."""
    shaped = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights],
    )
    model = helper.make_model(shaped, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(onnx.shape_inference.infer_shapes(model), path)


def run(project, capsys, *argv):
    """Run with --json; return exit code and document."""
    code = main(["-C", str(project), *argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


def refused(project, capsys, golden, name, *argv):
    """Run without --json, hold the text against its golden, and return the exit code."""
    code = main(["-C", str(project), *argv])
    text = capsys.readouterr().err
    golden(f"errors/quantize-{name}.txt", text[text.index("error:") :])
    return code


def test_quantize_answers_what_scripts_rely_on(project, capsys):
    code, result = run(project, capsys, *JUDGED)
    assert code == 0
    assert result["variant"] == str(project / "out")
    assert result["metric"]["name"] == "accuracy"
    assert result["metric"]["before"] == 1.0
    assert result["metric"]["drop"] == pytest.approx(1.0 - result["metric"]["after"])
    low, high = result["metric"]["interval"]
    assert low <= result["metric"]["drop"] <= high
    assert result["metric"]["drop"] <= 0.01
    assert [attempt["accepted"] for attempt in result["tried"]] == [True]
    assert result["bytes_after"] == (project / "out" / "model.onnx").stat().st_size
    assert result["kept_float"] == []


def test_quantized_variant_runs_and_says_how_it_was_made(project, capsys):
    code, result = run(project, capsys, *JUDGED)
    assert code == 0
    variant = read_variant(project / "out")
    assert variant.digest == result["digest"]
    assert variant.precision == "int8"
    assert variant.quantization["activations"] == "uint8"
    assert variant.quantization["weights"] == "int8"
    assert variant.quantization["per_channel"] is True
    assert variant.parity.data == "calibration.npz"
    assert variant.parity.top1 > 0.9
    proto = onnx.load(project / "out" / "model.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert max(opset.version for opset in proto.opset_import if not opset.domain) >= 17
    assert any(node.op_type == "QuantizeLinear" for node in proto.graph.node)
    answer = load_session(project / "out").run({"x": np.zeros((2, 4), dtype=np.float32)})
    assert answer["probabilities"].shape == (2, 3)


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_quantize_by_each_method(project, capsys, method):
    code, result = run(project, capsys, *JUDGED, "--method", method, "--max-drop", "0.1")
    assert code == 0
    assert result["tried"][0]["calibration"] == method


@pytest.mark.parametrize(
    ("argv", "precision", "scheme"),
    [
        (("--scheme", "dynamic"), "int8", "dynamic"),
        (("--precision", "fp16"), "fp16", "fp16"),
    ],
)
def test_quantize_by_other_schemes(project, capsys, argv, precision, scheme):
    code, result = run(project, capsys, *JUDGED, *argv, "--max-drop", "0.02")
    assert code == 0
    assert result["precision"] == precision
    assert read_variant(project / "out").quantization["scheme"] == scheme


def test_quantize_takes_a_variant_folder(project, capsys):
    assert (
        run(project, capsys, "convert", "model.onnx", "--to", "onnxruntime", "-o", "fp32")[0] == 0
    )
    argv = ("quantize", "fp32", *JUDGED[2:])
    code, result = run(project, capsys, *argv)
    assert code == 0
    before = read_variant(project / "fp32")
    assert result["bytes_before"] == before.bytes
    assert read_variant(project / "out").source == before.source


def test_quantize_without_a_metric_says_that_nothing_was_judged(project, capsys):
    code, result = run(project, capsys, *CALIBRATED)
    assert code == 0
    assert result["metric"] is None
    assert "not judged" in result["metric_absent"]
    assert result["agreement"] >= 0.95
    assert result["budget"] == 0.05


def test_quantize_keeps_named_nodes_in_float(project, capsys):
    code, result = run(project, capsys, *JUDGED, "--keep-float", "second")
    assert code == 0
    assert "second" in result["kept_float"]
    assert read_variant(project / "out").quantization["kept_float"] == result["kept_float"]


def test_quantize_twice_gives_the_same_bytes(project, capsys):
    assert run(project, capsys, *JUDGED)[0] == 0
    first = (project / "out" / "model.onnx").read_bytes()
    assert run(project, capsys, *JUDGED)[0] == 0
    assert (project / "out" / "model.onnx").read_bytes() == first


def test_quantize_shows_verdict_sizes_and_tries(project, capsys):
    assert main(["-C", str(project), *JUDGED]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("int8 variant in ")
    assert lines[1].startswith("accuracy  1.0000 -> ")
    assert lines[-1].startswith("static, all  minmax")
    assert lines[-1].endswith("accepted")


def test_budget_that_nothing_keeps_is_refused_with_all_tries(project, capsys):
    assert run(project, capsys, *JUDGED)[0] == 0
    kept = (project / "out" / "variant.json").read_bytes()
    code, result = run(project, capsys, *JUDGED, "--max-drop", "-0.5")
    assert code == 5
    assert result["error"]["code"] == "accuracy-budget"
    rungs = [(t["operators"], t["calibration"], len(t["excluded"]) > 0) for t in result["tried"]]
    assert len(set(rungs)) > 5
    assert not any(attempt["accepted"] for attempt in result["tried"])
    front = [attempt for attempt in result["tried"] if attempt["pareto"]]
    assert front
    assert min(t["bytes"] for t in front) == min(t["bytes"] for t in result["tried"] if t["bytes"])
    for attempt in result["tried"]:
        assert {"scheme", "calibration", "operators", "metric", "drop", "bytes", "seconds"} <= set(
            attempt
        )
    assert (project / "out" / "variant.json").read_bytes() == kept
    assert sorted(path.name for path in project.iterdir()) == [
        "calibration.npz",
        "evaluation.npz",
        "model.onnx",
        "out",
    ]


def test_refusal_makes_no_folder(project, capsys):
    code, _ = run(project, capsys, *JUDGED, "--max-drop", "-0.5")
    assert code == 5
    assert not (project / "out").exists()


def test_already_quantized_model_is_refused(project, capsys, golden):
    assert run(project, capsys, *JUDGED)[0] == 0
    argv = ("quantize", "out", "--to", "onnxruntime", "-o", "twice", *JUDGED[6:])
    assert refused(project, capsys, golden, "already", *argv) == 5
    assert not (project / "twice").exists()


def test_model_without_anything_to_quantize_is_refused(project, capsys, golden):
    nodes = [helper.make_node("Tanh", ["x"], ["y"], name="tanh")]
    write_graph(project / "model.onnx", nodes)
    assert refused(project, capsys, golden, "nothing", *CALIBRATED) == 5
    code, result = run(project, capsys, *CALIBRATED)
    assert (code, result["error"]["code"]) == (5, "nothing-to-quantize")


def test_missing_calibration_data_is_refused(project, capsys, golden):
    assert refused(project, capsys, golden, "no-calibration", *VERB) == 3


def test_empty_calibration_data_is_refused(project, capsys):
    np.savez(project / "calibration.npz", x=np.zeros((0, 4), dtype=np.float32))
    code, result = run(project, capsys, *CALIBRATED)
    assert code == 3
    assert result["error"]["code"] in {"data-empty", "calibration-empty"}


def test_calibration_data_that_does_not_fit_is_refused(project, capsys, golden):
    np.savez(project / "calibration.npz", x=np.zeros((5, 3), dtype=np.float32))
    assert refused(project, capsys, golden, "misfit", *CALIBRATED) == 3


def test_evaluation_data_without_labels_is_refused(project, capsys):
    np.savez(project / "evaluation.npz", x=np.zeros((5, 4), dtype=np.float32))
    code, result = run(project, capsys, *JUDGED)
    assert (code, result["error"]["code"]) == (3, "labels-missing")


def test_activation_that_is_no_number_is_refused(project, capsys, golden):
    weights = [("w", np.eye(4, dtype=np.float32))]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
        helper.make_node("Sqrt", ["h"], ["r"], name="root"),
        helper.make_node("MatMul", ["r", "w"], ["s"], name="after"),
        helper.make_node("Relu", ["s"], ["y"], name="relu"),
    ]
    write_graph(project / "model.onnx", nodes, weights)
    values = np.ones((20, 4), dtype=np.float32)
    values[7, 2] = -1.0
    np.savez(project / "calibration.npz", x=values)
    assert refused(project, capsys, golden, "nan", *CALIBRATED) == 3


def test_engine_without_int8_is_refused(project, capsys, golden):
    argv = ("quantize", "model.onnx", "--to", "mnn", "--calibration", "calibration.npz")
    assert refused(project, capsys, golden, "engine", *argv) == 5


def test_unknown_node_to_keep_is_refused(project, capsys, golden):
    assert refused(project, capsys, golden, "node", *JUDGED, "--keep-float", "secnd") == 3
    code, result = run(
        project, capsys, *JUDGED, "--keep-float", "secnd", "--keep-float", "no such node"
    )
    assert code == 3
    assert [finding["code"] for finding in result["findings"]] == ["node-unknown"] * 2


def test_budget_refusal_reads_well(project, capsys, golden):
    argv = (*JUDGED, "--scheme", "dynamic", "--max-drop", "-0.5")
    code = main(["-C", str(project), *argv])
    text = capsys.readouterr().err
    shown = text[text.index("error:") :]
    assert code == 5
    assert "best trades are" in shown
    assert "dynamic, all operators" in shown
    assert "raise --max-drop" in shown


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("--metric", "accuracy"), "metric-without-data"),
        (("--evaluation", "evaluation.npz"), "metric-missing"),
    ],
)
def test_metric_and_evaluation_data_belong_together(project, capsys, argv, code):
    exit_code, result = run(project, capsys, *CALIBRATED, *argv)
    assert (exit_code, result["error"]["code"]) == (2, code)


def test_ort_format_cannot_be_quantized(project, capsys):
    argv = ("convert", "model.onnx", "--to", "onnxruntime", "-o", "ort", "--form", "ort")
    assert run(project, capsys, *argv)[0] == 0
    code, result = run(project, capsys, "quantize", "ort", *JUDGED[2:])
    assert (code, result["error"]["code"]) == (5, "format-not-quantizable")


def test_folder_of_something_else_is_not_replaced(project, capsys):
    (project / "out").mkdir()
    (project / "out" / "thesis.txt").write_text("years of work")
    code, result = run(project, capsys, *JUDGED)
    assert (code, result["error"]["code"]) == (3, "out-occupied")
    assert (project / "out" / "thesis.txt").read_text() == "years of work"


def test_model_that_collapses_without_a_metric_goes_down_the_ladder(project, capsys):
    """What matters rides on a huge constant: eight bits for all operators cannot hold both."""
    classes = np.eye(4, dtype=np.float32)[np.arange(64) % 4]
    np.savez(project / "calibration.npz", x=classes)
    weights = [
        ("w", np.eye(4, dtype=np.float32)),
        ("huge", np.full(4, 1e3, dtype=np.float32)),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Add", ["r", "huge"], ["up"], name="up"),
        helper.make_node("Sub", ["up", "huge"], ["y"], name="down"),
    ]
    write_graph(project / "model.onnx", nodes, weights)
    code, result = run(project, capsys, *CALIBRATED)
    assert code == 0
    assert [attempt["agreement"] for attempt in result["tried"]] == [0.25, 1.0]
    assert [attempt["operators"] for attempt in result["tried"]] == ["all", "compute"]
    assert [attempt["accepted"] for attempt in result["tried"]] == [False, True]
    assert result["kept_float"] == ["up"]
