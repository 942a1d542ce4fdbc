"""The converters that live in environments of their own, end to end where those exist.

edgeops env create onnx2tf      (and paddle, executorch, coreml)
pytest -m environment
"""

from __future__ import annotations

import json
import subprocess

import numpy as np
import onnx
import pytest

from edgeops.cli import main
from edgeops.core import registry
from edgeops.core.environment import READY, look, place
from edgeops.core.variant import read_variant
from edgeops.runtime.session import load_session

pytestmark = [pytest.mark.environment, pytest.mark.slow]
PLACE = place()  # before the tests get a home of their own

PROGRAMS = """
import sys
import torch
from torch import nn


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(64, 10)

    def forward(self, x):
        return self.second(torch.max_pool2d(torch.relu(self.first(x)), 2).flatten(1))


class Found(nn.Module):
    def forward(self, x):
        return torch.nonzero(x > 0)


class Determinant(nn.Module):
    def forward(self, x):
        return torch.linalg.det(x)


torch.manual_seed(0)
kinds = {"cnn": (Cnn, (1, 1, 8, 8)), "nonzero": (Found, (4, 8)), "det": (Determinant, (2, 3, 3))}
kind, shape = kinds[sys.argv[1]]
program = torch.export.export(kind().eval(), (torch.randn(shape),))
torch.export.save(program, sys.argv[2])
"""


@pytest.fixture(autouse=True)
def real_place(monkeypatch):
    """Use the environments of the person who runs the tests."""
    monkeypatch.setenv("EDGEOPS_ENVS", str(PLACE))


def environment(name):
    """Return an environment, or skip the test saying the line that makes it."""
    found = registry.get("converters", name).environment
    if look(found).state != READY:
        pytest.skip(f"the environment is not here: edgeops env create {name}")
    return found


def program(name, kind, path):
    """Write a torch.export program with the PyTorch of an environment."""
    command = [environment(name).executable, "-I", "-W", "ignore", "-c", PROGRAMS, kind, path]
    subprocess.run(command, check=True, capture_output=True)
    return path


def convert(capsys, model, out, *argv):
    """Convert with --json; return exit code and document."""
    code = main(["convert", str(model), *argv, "-o", str(out), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_onnx2tf_makes_a_litert_variant_in_the_layout_of_its_source(corpus, tmp_path, capsys):
    environment("onnx2tf")
    pytest.importorskip("ai_edge_litert")
    model = corpus / "ultraface_rfb320" / "version-RFB-320.onnx"
    code, result = convert(capsys, model, tmp_path / "v", "--to", "litert", "--via", "onnx2tf")
    assert code == 0, result
    assert result["engine"] == "litert"
    assert result["parity"]["passed"] is True
    variant = read_variant(tmp_path / "v")
    assert variant.extra["inputs"]["input"]["permutation"] == [0, 2, 3, 1]
    answer = load_session(tmp_path / "v").run({"input": np.zeros((1, 3, 240, 320), "float32")})
    assert {name: array.shape for name, array in answer.items()} == {
        "scores": (1, 4420, 2),
        "boxes": (1, 4420, 4),
    }


def test_onnx2tf_takes_channels_last_models_and_several_outputs(corpus, tmp_path, capsys):
    environment("onnx2tf")
    pytest.importorskip("ai_edge_litert")
    model = corpus / "mtcnn" / "onet.onnx"
    code, result = convert(capsys, model, tmp_path / "v", "--to", "litert", "--via", "onnx2tf")
    assert code == 0, result
    answer = load_session(tmp_path / "v").run({"input_3": np.zeros((3, 48, 48, 3), "float32")})
    assert [array.shape for array in answer.values()] == [(3, 4), (3, 10), (3, 2)]


def one_of(kind, shape, answer):
    """Return a model of one node."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, ["x"], ["y"])],
        kind,
        [value("x", onnx.TensorProto.FLOAT, shape)],
        [value("y", onnx.TensorProto.FLOAT, answer)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


@pytest.mark.parametrize(
    ("kind", "shape", "answer", "flex"),
    [("Erf", [1, 8], [1, 8], "FlexErf"), ("Det", [2, 3, 3], [2], "FlexMatrixDeterminant")],
)
def test_onnx2tf_that_falls_back_to_tensorflow_is_refused_by_operator(
    kind, shape, answer, flex, tmp_path, capsys
):
    environment("onnx2tf")
    pytest.importorskip("ai_edge_litert")
    onnx.save(one_of(kind, shape, answer), tmp_path / "m.onnx")
    argv = ("--to", "litert", "--via", "onnx2tf")
    code, result = convert(capsys, tmp_path / "m.onnx", tmp_path / "v", *argv)
    assert (code, result["error"]["code"]) == (5, "conversion-failed")
    assert flex in result["error"]["what"]
    assert not (tmp_path / "v").exists()


def test_onnx2tf_layout_is_found_where_all_sizes_are_equal(tmp_path, capsys):
    environment("onnx2tf")
    pytest.importorskip("ai_edge_litert")
    model = one_of("Relu", [1, 8, 8, 8], [1, 8, 8, 8])
    weights = np.random.default_rng(0).normal(size=(8, 8, 3, 3)).astype("float32")
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    model.graph.node[0].input[0] = "c"
    conv = onnx.helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1])
    model.graph.node.insert(0, conv)
    onnx.save(model, tmp_path / "m.onnx")
    argv = ("--to", "litert", "--via", "onnx2tf")
    code, result = convert(capsys, tmp_path / "m.onnx", tmp_path / "v", *argv)
    assert code == 0, result
    extra = read_variant(tmp_path / "v").extra
    assert extra["inputs"]["x"]["permutation"] == [0, 2, 3, 1]
    assert extra["outputs"]["y"]["permutation"] == [0, 3, 1, 2]


def test_onnx2tf_on_magika_ends_proven_on_its_files_or_refused(corpus, tmp_path, capsys):
    environment("onnx2tf")
    pytest.importorskip("ai_edge_litert")
    folder = corpus / "magika_v3_3"
    with np.load(folder / "eval_204.npz") as files:
        np.savez(tmp_path / "files.npz", bytes=files["features"][:60].astype("int32"))
    code, result = convert(
        capsys,
        folder / "model.onnx",
        tmp_path / "v",
        *("--to", "litert", "--via", "onnx2tf", "--input-shape", "bytes=1,2048"),
        *("--data", str(tmp_path / "files.npz")),
    )
    if code == 0:
        assert result["parity"]["data"].endswith("files.npz")
        assert result["parity"]["top1"] == 1.0
    else:
        assert (code, result["error"]["code"]) == (5, "parity-failed")
        assert not (tmp_path / "v").exists()


def test_paddle_makes_a_variant_that_answers_as_its_source(corpus, tmp_path, capsys):
    environment("paddle")
    model = corpus / "ultraface_rfb320" / "version-RFB-320.onnx"
    code, result = convert(capsys, model, tmp_path / "v", "--to", "paddle")
    assert code == 0, result
    assert result["parity"]["passed"] is True
    assert sorted(file["path"] for file in result["files"]) == ["model.json", "model.pdiparams"]
    session = load_session(tmp_path / "v")
    assert [tensor.name for tensor in session.outputs] == ["scores", "boxes"]


def test_paddle_refuses_what_x2paddle_cannot_convert_in_its_words(corpus, tmp_path, capsys):
    environment("paddle")
    model = corpus / "mtcnn" / "rnet.onnx"
    code, result = convert(capsys, model, tmp_path / "v", "--to", "paddle")
    assert (code, result["error"]["code"]) == (5, "conversion-failed")
    assert "PRelu" in result["error"]["why"]
    assert not (tmp_path / "v").exists()


def test_executorch_is_proven_against_the_program_run_eagerly(tmp_path, capsys):
    model = program("executorch", "cnn", tmp_path / "cnn.pt2")
    code, result = convert(capsys, model, tmp_path / "v", "--to", "executorch")
    assert code == 0, result
    assert result["parity"]["passed"] is True
    assert result["parity"]["max_abs"] < 1e-5
    assert [file["path"] for file in result["files"]] == ["model.pte"]


def test_executorch_whose_nonzero_is_wrong_is_refused_by_the_proof(tmp_path, capsys):
    model = program("executorch", "nonzero", tmp_path / "nonzero.pt2")
    code, result = convert(capsys, model, tmp_path / "v", "--to", "executorch")
    assert (code, result["error"]["code"]) == (5, "parity-failed")
    assert not (tmp_path / "v").exists()


def test_coreml_is_saved_and_marked_unproven(tmp_path, capsys):
    model = program("coreml", "cnn", tmp_path / "cnn.pt2")
    code, result = convert(capsys, model, tmp_path / "v", "--to", "coreml")
    assert code == 0, result
    assert result["unproven"] == "Core ML predicts only on macOS"
    assert result["parity"] is None
    variant = read_variant(tmp_path / "v")
    assert variant.model_file == "model.mlpackage/Manifest.json"
    assert [tensor.name for tensor in variant.inputs] == ["x"]


def test_coreml_refuses_an_operator_that_coremltools_does_not_know(tmp_path, capsys):
    model = program("coreml", "det", tmp_path / "det.pt2")
    code, result = convert(capsys, model, tmp_path / "v", "--to", "coreml")
    assert (code, result["error"]["code"]) == (5, "conversion-failed")
    assert "linalg_det" in result["error"]["why"]
