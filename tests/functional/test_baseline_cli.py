"""validate --record and --baseline, as a person and a CI job type them."""

from __future__ import annotations

import json
import shutil
import zipfile
from xml.etree import ElementTree as ET

import pytest

from edgeops.cli import main
from tests.helpers import build_tree, write_tiny_data, write_tiny_model

YAML = """
    project: tiny
    version: 1.0.0
    model: model.onnx
    data: {evaluation: data.npz}
    targets:
      gateway: {engine: onnxruntime}
    stages:
      convert: {}
"""


def convert(folder, out="variant", model="model.onnx", precision="fp32"):
    argv = ["convert", model, "--to", "onnxruntime", "-o", out, "--precision", precision]
    assert main(["-C", str(folder), *argv, "--data", "data.npz"]) == 0


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return a folder with a variant and the baseline that was recorded of it."""
    folder = tmp_path_factory.mktemp("prepared")
    write_tiny_data(folder / "data.npz", write_tiny_model(folder / "model.onnx"))
    convert(folder)
    convert(folder, "half", precision="fp16")
    argv = ["validate", "variant", "--evaluation", "data.npz", "--record", "blessed.zip"]
    assert main(["-C", str(folder), *argv, "--samples", "8"]) == 0
    return folder


@pytest.fixture
def place(prepared, tmp_path, capsys):
    """Return a copy of it that may be changed."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    capsys.readouterr()
    return tmp_path


def answer(folder, capsys, *argv):
    capsys.readouterr()
    code = main(["-C", str(folder), *argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_recording_says_what_is_kept(place, capsys):
    argv = ["validate", "variant", "--evaluation", "data.npz", "--record", "again.zip"]
    code, result = answer(place, capsys, *argv, "--samples", "8")
    assert code == 0
    assert result["samples"] == 8
    assert result["tolerance"] == 1e-3
    assert {case["error"] for case in result["cases"]} == {"input-misfit"}
    assert (place / "again.zip").read_bytes() == (place / "blessed.zip").read_bytes()
    assert main(["-C", str(place), *argv, "--samples", "8"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{place}/again.zip: 8 samples and 3 bad inputs")


def test_the_same_variant_keeps_to_its_baseline_and_half_precision_too(place, capsys):
    code, result = answer(place, capsys, "validate", "variant", "--baseline", "blessed.zip")
    assert (code, result["verdict"], result["first"]) == (0, "pass", None)
    assert result["tolerance"] == 1e-3
    code, result = answer(place, capsys, "validate", "half", "--baseline", "blessed.zip")
    assert (code, result["verdict"]) == (0, "pass")
    assert result["tolerance"] == 2e-2
    assert result["outputs"][0]["worst"]["difference"] > 0


def test_another_variant_leaves_it_and_the_first_place_is_named(place, capsys, golden):
    write_tiny_model(place / "other.onnx", seed=5)
    convert(place, "other", "other.onnx")
    argv = ["validate", "other", "--baseline", "blessed.zip", "--junit", "junit.xml"]
    code, result = answer(place, capsys, *argv)
    assert (code, result["error"]["code"]) == (11, "baseline-differs")
    assert (result["first"]["output"], result["first"]["sample"]) == ("probabilities", 0)
    assert [gate["verdict"] for gate in result["gates"]] == ["fail", "pass"]
    suite = ET.parse(place / "junit.xml").getroot()[0]  # noqa: S314 - we wrote it
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert main(["-C", str(place), *argv]) == 11
    out, err = capsys.readouterr()
    assert out.startswith("fail  8 samples and 3 bad inputs of ")
    golden("errors/baseline-differs.txt", err[err.index("error:") :])


def test_tolerance_may_be_given(place, capsys):
    argv = ["validate", "half", "--baseline", "blessed.zip"]
    code, result = answer(place, capsys, *argv, "--tolerance", "1e-9")
    assert (code, result["tolerance"]) == (11, 1e-9)
    code, result = answer(place, capsys, *argv, "--tolerance", "1")
    assert (code, result["tolerance"]) == (0, 1.0)


@pytest.mark.parametrize(
    ("name", "code"), [("baseline-truncated", 3), ("baseline-text", 3), ("baseline-changed", 20)]
)
def test_damaged_file_is_refused_with_its_text(name, code, place, capsys, golden):
    data = (place / "blessed.zip").read_bytes()
    bad = {
        "baseline-truncated": data[: len(data) // 2],
        "baseline-text": b"no zip at all",
        "baseline-changed": b"",
    }
    (place / "bad.zip").write_bytes(bad[name])
    if name == "baseline-changed":
        # As somebody would who edits it: the checksums of the zip itself are right.
        with zipfile.ZipFile(place / "blessed.zip") as archive:
            files = {one: archive.read(one) for one in archive.namelist()}
        about = files["baseline.json"].replace(b'"tolerance": 0.001', b'"tolerance": 9.001')
        with zipfile.ZipFile(place / "bad.zip", "w") as archive:
            for one, content in {**files, "baseline.json": about}.items():
                archive.writestr(one, content)
    assert main(["-C", str(place), "validate", "variant", "--baseline", "bad.zip"]) == code
    err = capsys.readouterr().err
    golden(f"errors/{name}.txt", err[err.index("error:") :])


def test_baseline_of_a_project_s_target(place, capsys):
    build_tree(place, {"edgeops.yaml": YAML})
    shutil.copytree(place / "variant", place / "build" / "gateway" / "converted")
    code, result = answer(place, capsys, "validate", "--baseline", "blessed.zip")
    assert (code, result["verdict"]) == (0, "pass")
    code, result = answer(place, capsys, "validate", "--target", "gateway", "--record", "own.zip")
    assert code == 0
    assert result["samples"] == 64
    code, result = answer(place, capsys, "validate", "--target", "camera", "--baseline", "own.zip")
    assert (code, result["error"]["code"]) == (2, "validate-usage")


@pytest.mark.parametrize(
    "argv",
    [
        ["variant", "--record", "a", "--baseline", "b", "--evaluation", "data.npz"],
        ["variant", "--record", "a"],
        ["variant", "--record", "a", "--evaluation", "data.npz", "--gate", "accuracy>=1"],
        ["variant", "--evaluation", "data.npz", "--tolerance", "1"],
        ["variant", "--replay", "a"],
        ["variant", "--baseline", "a", "--gate", "accuracy>=1"],
        ["variant", "--record", "a", "--evaluation", "data.npz", "--junit", "a.xml"],
        ["variant", "--baseline", "a", "--tolerance", "inf"],
        ["variant", "--record", ".", "--evaluation", "data.npz"],
        ["variant", "--evaluation", "data.npz", "--junit", "."],
        ["variant", "--evaluation", "data.npz", "--seconds", "inf"],
        ["--replay", "a", "--device", "local"],
        ["--baseline", "a", "--metric", "f1"],
        ["variant", "--baseline", "a", "--metric", "f1"],
        ["variant", "--baseline", "a", "--evaluation", "data.npz"],
        ["variant", "--baseline", "a", "--samples", "3"],
        ["variant", "--record", "a", "--evaluation", "data.npz", "--seconds", "9"],
        ["--baseline", "a", "--device", "local"],
        ["--replay", "a", "--jobs", "2"],
        ["variant", "--evaluation", "data.npz", "--jobs", "2"],
    ],
)
def test_what_does_not_go_together_is_wrong_usage(argv, place, capsys):
    code, result = answer(place, capsys, "validate", *argv)
    assert (code, result["error"]["code"]) == (2, "validate-usage")


def test_recording_a_project_that_names_no_data_says_so(place, capsys):
    build_tree(place, {"edgeops.yaml": YAML.replace("    data: {evaluation: data.npz}\n", "")})
    shutil.copytree(place / "variant", place / "build" / "gateway" / "converted")
    code, result = answer(place, capsys, "validate", "--record", "own.zip")
    assert (code, result["error"]["code"]) == (3, "evaluation-missing")
