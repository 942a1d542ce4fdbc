"""check, convert and inspect as a person types them, and data that does not fit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeops.cli import main
from edgeops.core.variant import read_variant
from edgeops.runtime.session import load_session
from tests.functional import _bad_models as bad
from tests.helpers import write_tiny_data, write_tiny_model


@pytest.fixture
def project(tmp_path):
    """Return a folder with a model and data that fits it."""
    write_tiny_model(tmp_path / "model.onnx", opset=13)
    write_tiny_data(tmp_path / "data.npz", tmp_path / "model.onnx")
    return tmp_path


def run(project, capsys, *argv):
    """Run a verb with --json; return its exit code and document."""
    code = main(["-C", str(project), *argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_convert_writes_a_proven_variant(project, capsys):
    argv = ("convert", "model.onnx", "--to", "onnxruntime", "-o", "out", "--data", "data.npz")
    code, result = run(project, capsys, *argv)
    assert code == 0
    assert result["engine"] == "onnxruntime"
    assert result["parity"]["samples"] == 64
    assert result["parity"]["data"] == "data.npz"
    assert result["parity"]["passed"] is True
    assert result["parity"]["top1"] == 1.0
    assert [file["path"] for file in result["files"]] == ["model.onnx"]
    assert result["seconds"] > 0
    variant = read_variant(project / "out")
    assert variant.source == run(project, capsys, "inspect", "model.onnx")[1]["digest"]
    assert variant.inputs[0].shape == ("N", 4)


def test_convert_twice_gives_the_same_bytes_and_replaces_the_first(project, capsys):
    argv = ("convert", "model.onnx", "--to", "onnxruntime", "-o", "out", "--data", "data.npz")
    first = run(project, capsys, *argv)[1]
    second = run(project, capsys, *argv)[1]
    assert first["files"] == second["files"]
    assert [path.name for path in sorted(project.iterdir())] == ["data.npz", "model.onnx", "out"]


def test_convert_without_data_says_that_its_samples_are_made_up(project, capsys):
    code, result = run(project, capsys, "convert", "model.onnx", "--to", "onnxruntime")
    assert code == 0
    assert result["parity"]["data"] == "synthetic"
    assert result["variant"] == str(project / "model-onnxruntime-fp32")


def test_convert_text_names_files_and_figures(project, capsys):
    argv = ["convert", "model.onnx", "--to", "onnxruntime", "-o", "out", "--data", "data.npz"]
    assert main(["-C", str(project), *argv]) == 0
    text = capsys.readouterr().out
    assert "equal to its source on 64 samples of data.npz" in text
    assert "model.onnx" in text


def test_convert_fp16_keeps_float32_at_its_borders_and_is_smaller(project, capsys):
    write_tiny_model(project / "model.onnx", hidden=512)
    argv = ("convert", "model.onnx", "--to", "onnxruntime", "--data", "data.npz")
    full = run(project, capsys, *argv, "-o", "full")[1]
    code, half = run(project, capsys, *argv, "-o", "half", "--precision", "fp16")
    assert code == 0
    assert half["files"][0]["bytes"] < 0.7 * full["files"][0]["bytes"]
    assert 0 < half["parity"]["max_abs"] < 0.01
    assert load_session(project / "half").outputs[0].dtype == "float32"


def test_convert_ort_form_loads_and_answers_the_same(project, capsys):
    argv = ("convert", "model.onnx", "--to", "onnxruntime", "--data", "data.npz")
    code, result = run(project, capsys, *argv, "-o", "ort", "--form", "ort")
    assert code == 0
    assert [file["path"] for file in result["files"]] == ["model.ort"]
    assert str(project).encode() not in (project / "ort" / "model.ort").read_bytes()
    x = np.load(project / "data.npz")["x"]
    answer = load_session(project / "ort").run({"x": x})["probabilities"]
    assert answer.shape == (64, 3)
    code, about = run(project, capsys, "inspect", "ort/model.ort")
    assert about["format"] == "ort"
    assert sum(about["ops"].values()) > 0
    assert about["macs"] is None
    assert about["macs_reason"]


def test_convert_fixes_input_shapes_on_request(project, capsys):
    argv = ("convert", "model.onnx", "--to", "onnxruntime", "-o", "one", "--data", "data.npz")
    code, result = run(project, capsys, *argv, "--input-shape", "x=1,4")
    assert code == 0
    assert result["parity"]["samples"] == 64
    variant = read_variant(project / "one")
    assert variant.inputs[0].shape == (1, 4)
    assert variant.outputs[0].shape == (1, 3)


@pytest.mark.parametrize(
    ("stated", "exit_code", "code"),
    [
        ("y=1,4", 3, "input-unknown"),
        ("x=1,4,1", 3, "input-rank"),
        ("x=1,5", 3, "input-fixed"),
        ("x=0,4", 3, "input-fixed"),
        ("x=one,4", 2, "input-shape-bad"),
        ("1,4", 2, "input-shape-bad"),
    ],
)
def test_wrong_input_shape_is_refused(project, capsys, stated, exit_code, code):
    argv = ("check", "model.onnx", "--to", "onnxruntime", "--input-shape", stated)
    found, document = run(project, capsys, *argv)
    assert (found, document["error"]["code"]) == (exit_code, code)


def test_wrong_input_name_lists_the_inputs(project, capsys, golden):
    argv = ["check", "model.onnx", "--to", "onnxruntime", "--input-shape", "image=1,4"]
    assert main(["-C", str(project), *argv]) == 3
    golden("errors/input-unknown.txt", capsys.readouterr().err)


def test_check_of_a_model_that_can_be_converted_writes_nothing(project, capsys):
    before = sorted(project.rglob("*"))
    code, result = run(project, capsys, "check", "model.onnx", "--to", "onnxruntime")
    assert (code, result["supported"], result["findings"]) == (0, True, [])
    assert sorted(project.rglob("*")) == before


def test_check_takes_int8_for_quantize_makes_it_and_refuses_what_nobody_makes(project, capsys):
    argv = ("check", "model.onnx", "--to", "onnxruntime", "--precision")
    assert run(project, capsys, *argv, "int8")[0] == 0
    code, document = run(project, capsys, *argv, "fp8")
    assert (code, document["supported"]) == (5, False)
    assert document["findings"][0]["code"] == "precision-unsupported"


def test_convert_to_int8_points_to_quantize(project, capsys, golden):
    argv = ["convert", "model.onnx", "--to", "onnxruntime", "--precision", "int8"]
    assert main(["-C", str(project), *argv]) == 5
    golden("errors/convert-int8.txt", capsys.readouterr().err)


def test_unknown_engine_is_missing_and_names_those_there_are(project, capsys):
    code, document = run(project, capsys, "check", "model.onnx", "--to", "onnxruntim")
    assert (code, document["error"]["code"]) == (4, "plugin-unknown")
    assert "onnxruntime" in document["error"]["what"]


def test_unknown_form_is_wrong_usage(project, capsys):
    argv = ("convert", "model.onnx", "--to", "onnxruntime", "--form", "flat")
    code, document = run(project, capsys, *argv)
    assert (code, document["error"]["code"]) == (2, "form-unknown")


def test_unknown_route_is_wrong_usage_and_names_those_there_are(project, capsys):
    argv = ("convert", "model.onnx", "--to", "onnxruntime", "--via", "by-hand")
    code, document = run(project, capsys, *argv)
    assert (code, document["error"]["code"]) == (2, "route-unknown")
    assert "onnxruntime" in document["error"]["fix"]


def test_form_of_another_engine_is_wrong_usage(project, capsys):
    pytest.importorskip("openvino")
    argv = ("convert", "model.onnx", "--to", "openvino", "--form", "ort")
    code, document = run(project, capsys, *argv)
    assert (code, document["error"]["code"]) == (2, "form-unknown")


def test_labels_among_the_data_give_the_accuracy_of_both_models(project, capsys):
    argv = ("convert", "model.onnx", "--to", "onnxruntime", "-o", "out", "--data", "data.npz")
    assert run(project, capsys, *argv)[1]["accuracy"] == {
        "source": 1.0,
        "converted": 1.0,
        "samples": 64,
    }
    assert main(["-C", str(project), *argv]) == 0
    assert "right answers: source 100.0%, here 100.0%" in capsys.readouterr().out


def test_model_beside_the_working_directory_is_found(project, capsys, monkeypatch):
    monkeypatch.chdir(project)
    assert main(["convert", "model.onnx", "--to", "onnxruntime", "-o", "out"]) == 0
    assert (project / "out" / "variant.json").is_file()
    capsys.readouterr()


def test_refused_conversion_leaves_the_folder_as_it_was(project, capsys):
    argv = ("convert", "model.onnx", "--to", "onnxruntime", "-o", "out", "--data", "data.npz")
    run(project, capsys, *argv)
    before = {path: path.read_bytes() for path in (project / "out").iterdir()}
    bad.custom_operator(project / "model.onnx")
    code, document = run(project, capsys, *argv)
    assert (code, document["error"]["code"]) == (5, "operator-unsupported")
    assert {path: path.read_bytes() for path in (project / "out").iterdir()} == before


def test_convert_does_not_replace_a_folder_that_is_no_variant(project, capsys):
    (project / "out").mkdir()
    (project / "out" / "thesis.txt").write_text("years of work")
    argv = ("convert", "model.onnx", "--to", "onnxruntime", "-o", "out")
    code, document = run(project, capsys, *argv)
    assert (code, document["error"]["code"]) == (3, "out-occupied")
    assert (project / "out" / "thesis.txt").read_text() == "years of work"


def test_weights_that_float16_cuts_are_refused_naming_output_and_node(project, capsys, golden):
    bad.linear(project / "model.onnx", 2e5)
    bad.data(project / "data.npz", x=np.full((5, 4), 0.01, "float32"))
    argv = ["convert", "model.onnx", "--to", "onnxruntime", "--data", "data.npz", "-o", "half"]
    assert main(["-C", str(project), *argv, "--precision", "fp16"]) == 5
    golden("errors/parity-failed.txt", capsys.readouterr().err)
    document = run(project, capsys, *argv, "--precision", "fp16")[1]
    assert document["parity"]["passed"] is False
    assert document["error"]["where"] == "MatMul 'scale'"
    assert not (project / "half").exists()


def test_operator_without_kernel_is_refused_by_name(project, capsys, golden):
    bad.no_kernel(project / "model.onnx")
    assert main(["-C", str(project), "check", "model.onnx", "--to", "onnxruntime"]) == 5
    golden("errors/operator-unsupported.txt", capsys.readouterr().err)


X = np.zeros((6, 4), "float32")
DATA = {
    "data-input-missing": ("data-input-missing", {"image": X}),
    "data-shape": ("data-shape", {"x": np.zeros((6, 5), "float32")}),
    "data-rank": ("data-shape", {"x": np.zeros((6, 4, 1), "float32")}),
    "data-dtype-float64": ("data-dtype", {"x": X.astype("float64")}),
    "data-dtype-int": ("data-dtype", {"x": X.astype("int64")}),
    "data-lengths": ("data-lengths", {"x": X, "labels": np.zeros(5, "int64")}),
    "data-no-samples": ("data-empty", {"x": X[:0]}),
    "data-objects": ("data-objects", {"x": np.array([[1], [1, 2]], dtype=object)}),
}


@pytest.mark.parametrize("case", DATA)
def test_data_that_does_not_fit_is_refused_with_expected_and_found(case, project, capsys, golden):
    code, arrays = DATA[case]
    bad.data(project / "wrong.npz", **arrays)
    argv = ["convert", "model.onnx", "--to", "onnxruntime", "-o", "out", "--data", "wrong.npz"]
    assert main(["-C", str(project), *argv]) == 3
    text = capsys.readouterr().err
    assert f"[{code}]" in text
    assert not (project / "out").exists()
    golden(f"errors/{case}.txt", text)


BYTES = {
    "data-truncated": ("data-malformed", "wrong.npz", None),
    "data-not-an-archive": ("data-malformed", "wrong.npz", b"just text"),
    "data-empty-file": ("data-empty", "wrong.npz", b""),
    "data-lfs-pointer": ("data-lfs-pointer", "wrong.npz", bad.LFS),
    "data-unknown-suffix": ("data-format-unknown", "wrong.mat", b"MATLAB"),
    "data-csv-text": ("data-malformed", "wrong.csv", b"labels,a,b,c,d\n0,1,2,3,4\n1,2,x,3,4\n"),
    "data-csv-ragged": ("data-malformed", "wrong.csv", b"0,1,2,3,4\n1,2,3\n"),
}


@pytest.mark.parametrize("case", BYTES)
def test_file_that_is_no_data_set_is_refused(case, project, capsys, golden):
    code, name, content = BYTES[case]
    cut = (project / "data.npz").read_bytes()[:-40]
    (project / name).write_bytes(cut if content is None else content)
    argv = ["convert", "model.onnx", "--to", "onnxruntime", "-o", "out", "--data", name]
    assert main(["-C", str(project), *argv]) == 3
    text = capsys.readouterr().err
    assert f"[{code}]" in text
    golden(f"errors/{case}.txt", text)


def test_missing_data_is_refused(project, capsys, golden):
    argv = ["convert", "model.onnx", "--to", "onnxruntime", "--data", "nowhere.npz"]
    assert main(["-C", str(project), *argv]) == 3
    golden("errors/data-missing.txt", capsys.readouterr().err)


def test_inspect_a_model(project, capsys):
    code, result = run(project, capsys, "inspect", "model.onnx")
    assert code == 0
    assert result["format"] == "onnx"
    assert result["inputs"] == [{"name": "x", "shape": ["N", 4], "dtype": "float32"}]
    assert result["outputs"] == [{"name": "probabilities", "shape": ["N", 3], "dtype": "float32"}]
    assert result["ops"] == {"Gemm": 2, "Relu": 1, "Softmax": 1}
    assert result["parameters"] == 4 * 8 + 8 + 8 * 3 + 3
    assert result["macs"] == 4 * 8 + 8 * 3
    assert result["opset"] == 13
    assert result["bytes"] == (project / "model.onnx").stat().st_size


def test_inspect_a_variant_says_engine_and_parity(project, capsys):
    run(project, capsys, "convert", "model.onnx", "--to", "onnxruntime", "-o", "out")
    code, result = run(project, capsys, "inspect", "out")
    assert (code, result["format"], result["opset"]) == (0, "variant", 17)
    assert result["ops"]["Gemm"] == 2
    assert main(["-C", str(project), "inspect", "out"]) == 0
    text = capsys.readouterr().out
    assert "precision   fp32" in text
    assert "operators   Gemm 2" in text


def test_inspect_a_variant_that_was_touched_is_a_matter_of_trust(project, capsys):
    run(project, capsys, "convert", "model.onnx", "--to", "onnxruntime", "-o", "out")
    with (project / "out" / "model.onnx").open("ab") as file:
        file.write(b"\x00")
    code, document = run(project, capsys, "inspect", "out")
    assert (code, document["error"]["code"]) == (20, "digest-mismatch")
