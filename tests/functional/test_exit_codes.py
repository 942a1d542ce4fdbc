"""Every exit code, each raised by a real situation, with the document that a script reads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from edgeops.cli import main
from edgeops.errors import ExitCode
from edgeops.pipeline.explain import texts
from tests.functional import _bad_models as bad
from tests.functional._digits import files
from tests.functional._toy import plugin
from tests.helpers import build_tree, write_tiny_data, write_tiny_model
from tests.unit._bundles import make_bundle

TO = ("--to", "onnxruntime")
MEASURE = ("validate", "out", "--evaluation", "data.npz", "--seconds", "0.05")
TOY = "project: toy\nversion: 1.0.0\nmodel: m.onnx\nstages: {train: {run: '%s', outs: [m.onnx]}}\n"


@pytest.fixture
def place(tmp_path, settled):
    """Return a folder with a model and data that fits it."""
    write_tiny_data(tmp_path / "data.npz", write_tiny_model(tmp_path / "model.onnx"))
    return tmp_path


@pytest.fixture
def run(place, capsys):
    """Return a function that runs a verb in the folder and returns exit code and document."""

    def runner(*arguments):
        capsys.readouterr()
        code = main(["-C", str(place), *map(str, arguments), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return runner


def _toy(place, command):
    (place / "edgeops.yaml").write_text(TOY % command)
    return ("run",)


def wrong_usage(place):
    return ("convert", "model.onnx")


def truncated_model(place):
    (place / "model.onnx").write_bytes((place / "model.onnx").read_bytes()[:-100])
    return ("convert", "model.onnx", *TO, "-o", "out")


def no_keys(place):
    (place / "t.edgeops").touch()
    return ("publish", "t.edgeops", "--to", "repo", "--channel", "beta", "--key", "nowhere")


def unsupported_operator(place):
    bad.custom_operator(place / "model.onnx")
    return ("check", "model.onnx", *TO)


def failing_command(place):
    return _toy(place, "echo to the log; echo out of memory >&2; exit 7")


def _variant(place):
    assert main(["-C", str(place), "convert", "model.onnx", *TO, "-o", "out"]) == 0


def impossible_gate(place):
    _variant(place)
    return (*MEASURE, "--gate", "latency_p50_ms<=0.0000001")


def undecidable_gate(place):
    _variant(place)
    return (*MEASURE, "--gate", "latency_mean_ms==1")


def changed_bundle(place):
    bundle = make_bundle(place)
    data = bytearray(bundle.read_bytes())
    data[data.index(b"Softmax")] ^= 1
    bundle.write_bytes(data)
    return ("verify", bundle.name)


def missing_blob(place):
    assert main(["-C", str(place), "keys", "init", "keys"]) == 0
    bundle = make_bundle(place, key=place / "keys")
    publish = ["publish", bundle.name, "--to", "repo", "--channel", "beta", "--key", "keys"]
    assert main(["-C", str(place), *publish]) == 0
    for blob in (place / "repo" / "blobs" / "sha256").iterdir():
        blob.unlink()
    root = ("--channel", "beta", "--root", "keys/root.json", "-o", "device")
    return ("unpack", "repo", *root)


SITUATIONS = {
    wrong_usage: (2, "usage"),
    truncated_model: (3, "model-truncated"),
    no_keys: (4, "keys-missing"),
    unsupported_operator: (5, "operator-unsupported"),
    failing_command: (10, "stage-failed"),
    impossible_gate: (11, "gate-failed"),
    undecidable_gate: (12, "gate-inconclusive"),
    changed_bundle: (20, "digest-mismatch"),
    missing_blob: (30, "store-missing"),
}


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.__name__)
def test_situation_has_its_exit_code_and_document(situation, place, run):
    exit_code, code = SITUATIONS[situation]
    found, document = run(*situation(place))
    assert (found, document["error"]["code"]) == (exit_code, code)
    assert set(document["error"]) == {"code", "what", "where", "why", "fix"}
    assert document["error"]["what"]
    assert document["error"]["fix"]
    if code != "usage":
        assert texts()[code]["exit"] == exit_code


def test_every_exit_code_is_raised_here():
    raised = {exit_code for exit_code, _ in SITUATIONS.values()}
    assert raised | {0, 70, 130} == set(ExitCode)


def test_good_call_has_exit_code_0_and_no_error(run):
    code, document = run("inspect", "model.onnx")
    assert code == 0
    assert "error" not in document


def test_failed_command_shows_its_own_output(place, run):
    code, document = run(*failing_command(place))
    assert code == 10
    assert document["error"]["why"] == (
        "it ended with status 7; its last lines were:\nto the log\nout of memory"
    )
    (stage,) = document["stages"]
    assert (stage["name"], stage["target"], stage["status"]) == ("train", None, "failed")


def test_unsupported_model_says_so_at_the_top(place, run):
    code, document = run(*unsupported_operator(place))
    assert code == 5
    assert document["supported"] is False
    assert document["findings"][0]["node"] == "magic"


@pytest.mark.parametrize(
    ("situation", "verdict"), [(impossible_gate, "fail"), (undecidable_gate, "inconclusive")]
)
def test_gate_that_does_not_pass_comes_with_its_figures(situation, verdict, place, run):
    _, document = run(*situation(place))
    assert document["verdict"] == verdict
    (gate,) = document["gates"]
    assert gate["verdict"] == verdict
    assert gate["interval"][0] <= gate["value"] <= gate["interval"][1]
    assert document["metrics"]["accuracy"] == 1.0


def test_device_that_does_not_answer_is_transport(place, run):
    build_tree(
        place,
        {
            "edgeops.yaml": """
                project: shop
                version: 1.0.0
                model: model.onnx
                data: {calibration: data.npz, evaluation: data.npz}
                targets: {gateway: {engine: onnxruntime}}
                stages: {convert: {}, validate: {metric: accuracy, timeout: 0.05}}
            """
        },
    )
    code, document = run("run")
    assert (code, document["error"]["code"]) == (30, "probe-timeout")
    statuses = {row["name"]: row["status"] for row in document["stages"]}
    assert statuses == {"convert": "ran", "validate": "failed"}
    assert not (place / "reports" / "gateway" / "evidence.json").exists()


BROKEN = """
    from dataclasses import dataclass
    from edgeops.plugin import Out, StageInfo, StagePlan

    @dataclass(frozen=True)
    class Options:
        pass

    class Plugin:
        info = StageInfo("breaking", "Break.", scope="project")
        Options = Options

        def plan(self, project, target, options):
            return StagePlan(deps=(project.model,), outs=(Out("never.txt"),))

        def preflight(self, root, project, target, options):
            return []

        def run(self, context, options):
            return 1 // 0
"""


def test_bug_of_a_plugin_is_called_a_bug_and_shows_no_traceback(place, tmp_path_factory):
    (place / "edgeops.yaml").write_text(
        "project: p\nversion: 1.0.0\nmodel: model.onnx\nstages: {breaking: {uses: breaking}}\n"
    )
    path = str(plugin(tmp_path_factory.mktemp("plugins"), "breaking", BROKEN))
    command = [sys.executable, "-m", "edgeops", "-C", str(place), "run", "--json"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 70, done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "bug"
    assert "ZeroDivisionError" in error["why"]
    assert "edgeops --debug stage breaking" in error["fix"]
    assert "Traceback" not in done.stdout + done.stderr


def test_interrupt_is_130_and_names_what_ran(place, run):
    """The signal comes while the stage sleeps, from a thread that waits for its sign."""

    def interrupt():
        while not (place / "sleeping").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    argv = _toy(place, "touch sleeping; sleep 60")
    threading.Thread(target=interrupt, daemon=True).start()
    code, document = run(*argv)
    assert (code, document["error"]["code"]) == (130, "interrupted")
    assert document["error"]["what"] == "interrupted while train ran"


@pytest.mark.slow
def test_run_with_an_impossible_gate_names_it_and_publishes_nothing(digits, capsys):
    published = files(digits / "releases")
    yaml = digits / "edgeops.yaml"
    text = yaml.read_text()
    assert 'accuracy: ">= 0.95"' in text
    yaml.write_text(text.replace('accuracy: ">= 0.95"', 'accuracy: ">= 0.999"'))
    capsys.readouterr()
    assert main(["-C", str(digits), "run", "--json"]) == 11
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "fail"
    failed = [
        (gate["name"], gate["target"]) for gate in document["gates"] if gate["verdict"] == "fail"
    ]
    assert failed == [("accuracy", "desktop"), ("accuracy", "gateway")]
    assert "accuracy >= 0.999" in document["error"]["what"] + document["error"]["why"]
    assert files(digits / "releases") == published

    yaml.write_text(text.replace('"<= 5"', '"== 5"'))  # measured figures are never just a number
    assert main(["-C", str(digits), "run", "--json"]) == 12
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "inconclusive"
    assert files(digits / "releases") == published

    yaml.write_text(text)
    assert main(["-C", str(digits), "run"]) == 0, (
        "the results of these gates are in DVC's run-cache"
    )
