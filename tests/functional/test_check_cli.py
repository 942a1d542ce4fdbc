"""``edgeops check`` as a person types it: one engine, all engines, engines that are not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.cli import main
from tests.functional import _bad_models as bad
from tests.helpers import write_tiny_model

FLOAT = TensorProto.FLOAT
# Finds everything but the packages that the variable names, as if they were not installed.
HIDING = """
import os, sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in os.environ["WITHOUT"].split():
            return None
        return super().find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""


def write(path, nodes, inputs, outputs, weights=()):
    """Write a model from ``(name, dtype, shape)`` of inputs and outputs."""
    values = [[helper.make_tensor_value_info(*row) for row in rows] for rows in (inputs, outputs)]
    graph = helper.make_graph(nodes, "g", *values, list(weights))
    opsets = [helper.make_opsetid(domain, 17) for domain in {n.domain for n in nodes} | {""}]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def several_faults(path):
    """Write a model with faults of several kinds, one of them at several nodes."""
    weights = {"w": (4, 3, 3, 3), "gw": (1, 6, 4), "gr": (1, 6, 2)}
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], name="conv"),
        *(
            helper.make_node("MagicScale", [a], [b], name=f"magic_{b}", domain="com.acme")
            for a, b in ("c1", "12", "23")
        ),
        helper.make_node(
            "GRU", ["seq", "gw", "gr"], ["", "h"], hidden_size=2, layout=1, name="gru"
        ),
    ]
    write(
        path,
        nodes,
        [("image", FLOAT, ["N", 3, "height", "width"]), ("seq", FLOAT, [1, 5, 4])],
        [("3", FLOAT, ["N", 4, "h", "w"]), ("h", FLOAT, [1, 1, 2])],
        [numpy_helper.from_array(np.zeros(s, "float32"), n) for n, s in weights.items()],
    )
    return path


def answer(root, capsys, *argv):
    """Run check with --json; return its exit code and document."""
    code = main(["-C", str(root), "check", *argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


def without(packages, root, *argv):
    """Run edgeops in a process that does not find some packages."""
    (root / "hiding").mkdir(exist_ok=True)
    (root / "hiding" / "sitecustomize.py").write_text(HIDING)
    paths = os.pathsep.join([str(root / "hiding"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "edgeops", "-C", str(root), *argv],
        env=os.environ | {"PYTHONPATH": paths, "WITHOUT": packages},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_finding_is_named_at_once_and_alike_ones_together(tmp_path, capsys, golden):
    several_faults(tmp_path / "model.onnx")
    assert main(["-C", str(tmp_path), "check", "model.onnx", "--to", "onnxruntime"]) == 5
    golden("errors/check-several.txt", capsys.readouterr().err)
    code, document = answer(tmp_path, capsys, "model.onnx", "--to", "onnxruntime")
    assert (code, document["supported"]) == (5, False)
    found = [(f["code"], f["node"], f["op"]) for f in document["findings"]]
    assert found == [
        ("operator-unsupported", "magic_1", "com.acme:MagicScale"),
        ("operator-unsupported", "magic_2", "com.acme:MagicScale"),
        ("operator-unsupported", "magic_3", "com.acme:MagicScale"),
        ("attribute-unsupported", "gru", "GRU"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_text_says_what_to_type_next(tmp_path, capsys):
    write_tiny_model(tmp_path / "model.onnx")
    assert main(["-C", str(tmp_path), "check", "model.onnx", "--to", "onnxruntime"]) == 0
    assert capsys.readouterr().out == (
        "supported: onnxruntime takes all 4 nodes (fp32)\n"
        "  convert it with: edgeops convert model.onnx --to onnxruntime\n"
    )


def test_matrix_has_every_model_and_engine(tmp_path, capsys):
    (tmp_path / "models" / "deep").mkdir(parents=True)
    write_tiny_model(tmp_path / "models" / "good.onnx")
    several_faults(tmp_path / "models" / "deep" / "odd.onnx")
    write_tiny_model(tmp_path / "other.onnx")
    code, document = answer(tmp_path, capsys, "models", "other.onnx", "--all")
    names = ["models/deep/odd.onnx", "models/good.onnx", "other.onnx"]
    assert document["models"] == names
    engines = document["engines"]
    assert set(engines) >= {"onnxruntime"}
    pairs = [(row["model"], row["engine"]) for row in document["matrix"]]
    assert pairs == [(name, engine) for name in names for engine in engines]
    by_pair = {(row["model"], row["engine"]): row for row in document["matrix"]}
    assert by_pair["other.onnx", "onnxruntime"]["supported"] is True
    odd = by_pair["models/deep/odd.onnx", "onnxruntime"]
    assert odd["supported"] is False
    assert len(odd["findings"]) == 4
    assert (code, document["error"]["code"]) == (5, "no-engine")
    assert document["error"]["what"] == "1 model of 3 can go to no engine: models/deep/odd.onnx"


def test_matrix_is_shown_also_when_a_model_has_no_engine(tmp_path, capsys):
    bad.custom_operator(tmp_path / "odd.onnx")
    write_tiny_model(tmp_path / "good.onnx")
    assert main(["-C", str(tmp_path), "check", "good.onnx", "odd.onnx", "--all"]) == 5
    out, err = capsys.readouterr()
    head, good, odd = out.splitlines()[:3]
    assert head.split()[0] == "model"
    assert good.split()[:2] == ["good.onnx", "yes"]
    assert odd.split()[:3] == ["odd.onnx", "no", "(1)"]
    assert "all engines: has no operator com.acme:MagicScale (node 'magic')" in out
    assert "[no-engine]" in err


def test_matrix_of_models_that_all_have_an_engine_is_a_success(tmp_path, capsys):
    write_tiny_model(tmp_path / "good.onnx")
    assert answer(tmp_path, capsys, "good.onnx", "--all")[0] == 0


def test_matrix_goes_on_past_a_broken_model(tmp_path, capsys):
    write_tiny_model(tmp_path / "good.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x07junk")
    code, document = answer(tmp_path, capsys, ".", "--all")
    assert (code, document["error"]["code"]) == (3, "models-broken")
    supported = {row["model"]: row["supported"] for row in document["matrix"]}
    assert supported == {"broken.onnx": False, "good.onnx": True}


def test_matrix_of_one_broken_model_says_what_is_broken(tmp_path, capsys):
    (tmp_path / "broken.onnx").write_bytes(b"")
    code, document = answer(tmp_path, capsys, "broken.onnx", "--all")
    assert (code, document["error"]["code"]) == (3, "model-empty")


def test_input_shapes_hold_in_the_matrix_for_the_models_that_have_the_input(tmp_path, capsys):
    write_tiny_model(tmp_path / "a.onnx")
    bad.no_kernel(tmp_path / "b.onnx")
    argv = ("a.onnx", "b.onnx", "--all", "--input-shape", "x=1,4")
    code, document = answer(tmp_path, capsys, *argv)
    assert (code, document["error"]["code"]) == (3, "models-broken")  # b's x has one axis


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("a.onnx",), "check-engine"),
        (("a.onnx", "--to", "onnxruntime", "--all"), "check-engine"),
        (("a.onnx", "b.onnx", "--to", "onnxruntime"), "check-models"),
    ],
)
def test_wrong_usage_is_told(tmp_path, capsys, argv, code):
    found, document = answer(tmp_path, capsys, *argv)
    assert (found, document["error"]["code"]) == (2, code)


def test_folder_without_models_is_told(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    code, document = answer(tmp_path, capsys, "empty", "--all")
    assert (code, document["error"]["code"]) == (3, "models-none")


@pytest.mark.parametrize(("engine", "near"), [("onnxruntim", "onnxruntime"), ("mn", "mnn")])
def test_unknown_engine_names_the_near_one(tmp_path, capsys, engine, near):
    write_tiny_model(tmp_path / "a.onnx")
    code, document = answer(tmp_path, capsys, "a.onnx", "--to", engine)
    assert (code, document["error"]["code"]) == (4, "plugin-unknown")
    assert f"did you mean {near!r}?" in document["error"]["what"]


EXTRAS = {
    "mnn": ("MNN _tools", "pip install 'edgeops[mnn]'"),
    "litert": ("ai_edge_litert", "pip install 'edgeops[litert]'"),
    "ncnn": ("ncnn", "pip install 'edgeops[ncnn]'"),
    "openvino": ("openvino", "pip install 'edgeops[openvino]'"),
}


@pytest.mark.parametrize("engine", EXTRAS)
def test_engine_that_is_not_installed_is_checked_all_the_same(tmp_path, engine):
    write_tiny_model(tmp_path / "a.onnx")
    packages, line = EXTRAS[engine]
    argv = ("check", "a.onnx", "--to", engine, "--input-shape", "x=1,4")
    done = without(packages, tmp_path, *argv)
    assert done.returncode == 0, done.stderr
    assert f"supported: {engine} takes all" in done.stdout
    assert line in done.stdout
    result = json.loads(without(packages, tmp_path, *argv, "--json").stdout)
    assert result["installed"] is False


@pytest.mark.parametrize("engine", EXTRAS)
def test_converting_for_an_engine_that_is_not_installed_names_its_extra(tmp_path, engine):
    write_tiny_model(tmp_path / "a.onnx")
    packages, line = EXTRAS[engine]
    done = without(packages, tmp_path, "convert", "a.onnx", "--to", engine)
    assert done.returncode == 4, done.stderr
    assert "[engine-missing]" in done.stderr
    assert f"fix:   {line}" in done.stderr


def test_doctor_names_every_missing_engine_with_the_line_that_installs_it(tmp_path):
    packages = " ".join(names for names, _ in EXTRAS.values())
    done = without(packages, tmp_path, "doctor")
    assert done.returncode == 0, done.stderr
    for engine, (_, line) in EXTRAS.items():
        rows = done.stdout.splitlines()
        at = next(i for i, row in enumerate(rows) if row.split()[:2] == ["engine", engine])
        assert "missing: " in rows[at]
        assert rows[at + 1].strip() == f"fix: {line}"


def test_doctor_names_pnnx_apart_from_ncnn(tmp_path):
    pytest.importorskip("ncnn")
    done = without("pnnx", tmp_path, "doctor", "--json")
    (ncnn,) = (c for c in json.loads(done.stdout)["converters"] if c["name"] == "ncnn")
    assert ncnn["fix"] == "pip install --no-deps pnnx==20261020"
    assert done.returncode == 0


TOY = """
from pathlib import Path

class Toy:
    name = "toy"
    api = 1
    precisions = ("fp32",)
    support = Path(__file__).with_name("toy.toml")

    def available(self):
        return None

    def check(self, model, options):
        return []

    def convert(self, model, out, options):
        raise NotImplementedError
"""


def test_table_that_a_plugin_brings_decides_for_it(tmp_path):
    write_tiny_model(tmp_path / "a.onnx")
    (tmp_path / "hiding" / "toy-1.dist-info").mkdir(parents=True)
    (tmp_path / "hiding" / "toy.py").write_text(TOY)
    about = tmp_path / "hiding" / "toy-1.dist-info"
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[edgeops.converters]\ntoy = toy:Toy\n")
    head = 'engine = "toy"\nversion = "1"\nverified = "here"\n'
    table = tmp_path / "hiding" / "toy.toml"
    table.write_text(head + "[operators.Gemm]\n[operators.Relu]\n")
    done = without("", tmp_path, "check", "a.onnx", "--to", "toy", "--json")
    assert done.returncode == 5, done.stderr
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["node"], finding["op"]) == ("softmax", "Softmax")
    assert "onnxruntime" in finding["alternatives"]
    table.write_text(head + "[operators.Gemm]\n[operators.Relu]\n[operators.Softmax]\n")
    assert without("", tmp_path, "check", "a.onnx", "--to", "toy").returncode == 0
    assert " toy " in without("", tmp_path, "check", "a.onnx", "--all").stdout.splitlines()[0] + " "
    table.write_text(head)
    done = without("", tmp_path, "check", "a.onnx", "--to", "toy")
    assert done.returncode == 4
    assert "[support-table-bad]" in done.stderr
