"""Reports as values and as Markdown: golden files hold every case, links to nothing."""

from __future__ import annotations

import dataclasses

import pytest

from edgeops.core.evidence import Evidence
from edgeops.core.gates import Figure
from edgeops.core.project import Data, Project, StageSpec, Target
from edgeops.report.compare import comparable, figure_changes, rebuilt
from edgeops.report.github import append_summary, command, fitted, workflow_commands
from edgeops.report.make import build
from edgeops.report.markdown import number, render
from edgeops.report.revision import Revision, read_lock
from edgeops.stages.validate import ValidateOptions

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOCK = {
    "train": {"cmd": "python train.py", "outs": [{"path": "build/model.onnx", "md5": "a1"}]},
    "convert@gateway": {
        "cmd": "edgeops stage convert --target gateway",
        "deps": [{"path": "build/model.onnx", "md5": "a1"}],
        "params": {"edgeops.yaml": {"stages.convert.simplify": True}},
        "outs": [{"path": "build/gateway/converted", "md5": "b1.dir"}],
    },
}


def evidence(target, *, accuracy=0.985, latency=2.0, **changes):
    figures = {
        "accuracy": Figure(accuracy, (accuracy - 0.01, accuracy + 0.01), "", "accuracy", 450),
        "accuracy_drop": Figure(0.002, (0.0, 0.004), "", "before less after, paired", 450),
        "latency_p50_ms": Figure(
            latency, (latency * 0.98, latency * 1.02), "ms", "900 calls", 900, noisy=True
        ),
        "latency_p99_ms": Figure(None, unit="ms", noisy=True, absent="too few calls"),
        "model_mb": Figure(0.25, unit="MB", method="the engine's own files", samples=1),
    }
    made = Evidence(
        target=target,
        date="2026-01-01T00:00:00+00:00",
        engine="onnxruntime",
        engine_version="1.20.0",
        precision="int8",
        threads=1,
        device={"name": "local", "machine": "x86_64", "processor": "Some CPU"},
        model="sha256:1",
        variant="sha256:2",
        data={},
        figures=figures,
    )
    return dataclasses.replace(made, **changes)


def project(gates=None, targets=("gateway",)):
    options = ValidateOptions(
        gates={"accuracy": ">= 0.95", "latency_p50_ms": "<= 5"} if gates is None else gates
    )
    return Project(
        "digits",
        "1.2.0",
        "build/model.onnx",
        Data(),
        {name: Target(name, precision="int8") for name in targets},
        {"validate": StageSpec("validate", "validate", options)},
    )


def revision(*then, missing=None, lock=None):
    found = {one.target: one for one in then}
    return Revision("main", COMMIT, found, missing or {}, LOCK if lock is None else lock)


def test_report_of_what_passed(golden):
    now = {"gateway": evidence("gateway")}
    golden("report/pass.md", render(build(project(), now, None, LOCK)))


def test_report_of_what_failed_against_a_revision(golden):
    now = {
        "gateway": evidence(
            "gateway",
            accuracy=0.92,
            latency=3.0,
            notes=("slower than its fp32 form on this device: 1.30 times its time",),
        ),
        "camera": evidence("camera"),
    }
    lock = {
        **LOCK,
        "train": {"cmd": "python train.py", "outs": [{"path": "build/model.onnx", "md5": "a2"}]},
        "convert@gateway": {
            **LOCK["convert@gateway"],
            "deps": [{"path": "build/model.onnx", "md5": "a2"}],
            "params": {"edgeops.yaml": {"stages.convert.simplify": False}},
            "outs": [{"path": "build/gateway/converted", "md5": "b2.dir"}],
        },
        "pack": {"cmd": "edgeops stage pack", "outs": [{"path": "dist/a.edgeops", "md5": "c1"}]},
    }
    before = revision(evidence("gateway"), missing={"camera": "it was not measured then"})
    report = build(project(targets=("gateway", "camera")), now, before, lock)
    golden("report/fail.md", render(report))


def test_report_of_what_is_not_decided(golden):
    now = {"gateway": evidence("gateway", latency=5.0)}
    golden("report/inconclusive.md", render(build(project(), now, None, LOCK)))


def test_report_of_a_target_that_was_not_measured(golden):
    now = {"gateway": evidence("gateway")}
    report = build(project(targets=("gateway", "camera")), now, None, LOCK)
    assert report["verdict"] == "inconclusive"
    golden("report/unmeasured.md", render(report))


def test_report_without_gates_says_so():
    report = build(project(gates={}), {"gateway": evidence("gateway")}, None, {})
    assert render(report).startswith("## digits 1.2.0 has no gates")


def test_report_says_when_nothing_was_rebuilt():
    now = evidence("gateway")
    report = build(project(), {"gateway": now}, revision(now), LOCK)
    assert "Nothing: every stage is as it was." in render(report)


def test_times_of_another_device_are_not_compared(golden):
    now = evidence("gateway", latency=3.0)
    before = evidence("gateway", device={"name": "local", "machine": "aarch64", "processor": "A72"})
    report = build(project(), {"gateway": now}, revision(before), LOCK)
    golden("report/other-device.md", render(report))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"engine_version": "1.21.0"}, "measured with another engine: onnxruntime 1.20.0"),
        ({"threads": 4}, "measured with 1 thread(s)"),
        ({"device": {"name": "ssh"}}, "measured on another device: name was local, machine was"),
    ],
)
def test_what_makes_times_incomparable(changes, why):
    then = evidence("gateway")
    found = comparable(dataclasses.replace(then, **changes), then)
    assert found == "" if not why else found.startswith(why)


def test_change_is_shown_only_when_intervals_are_apart():
    then = evidence("gateway", latency=2.0)
    near = figure_changes(evidence("gateway", latency=2.05), then)["latency_p50_ms"]
    far = figure_changes(evidence("gateway", latency=2.5), then)["latency_p50_ms"]
    assert (near["shown"], far["shown"]) == (False, True)
    assert far["change"] == pytest.approx(0.5)
    exact = figure_changes(evidence("gateway", accuracy=0.984), then)["accuracy"]
    assert exact["shown"] is True


def test_figures_without_a_before_have_no_change():
    changed = figure_changes(evidence("gateway"), None)["accuracy"]
    assert (changed["before"], changed["change"], changed["shown"]) == (None, None, None)


def test_rebuilt_names_what_differs():
    then = {**LOCK, "old": {"cmd": "true"}}
    now = {
        "train": {**LOCK["train"], "cmd": "python train.py --epochs 9"},
        "convert@gateway": LOCK["convert@gateway"],
        "pack": {"cmd": "edgeops stage pack", "outs": [{"path": "dist", "md5": "1"}]},
    }
    assert rebuilt(now, then) == [
        {
            "stage": "train",
            "target": None,
            "status": "rebuilt",
            "reasons": ["its command"],
            "outs_changed": False,
        },
        {"stage": "pack", "target": None, "status": "new", "reasons": [], "outs_changed": True},
        {"stage": "old", "target": None, "status": "gone", "reasons": [], "outs_changed": False},
    ]


@pytest.mark.parametrize("data", [b"", b"stages: [1, 2]", b"a: [", b"- 1"])
def test_lock_that_says_nothing_is_empty(data):
    assert read_lock(data) == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.985, "0.985"),
        (0.0000123456, "0.000012"),
        (123456.7, "123456.7"),
        (0.0, "0"),
        (None, "–"),  # noqa: RUF001
    ],
)
def test_numbers_have_no_powers_of_ten(value, text):
    assert number(value) == text


def test_cells_do_not_break_the_table():
    now = evidence("gateway", figures={"accuracy": Figure(None, absent="a | b\nc")})
    text = render(build(project(), {"gateway": now}, None, {}))
    assert "not measured: a \\| b c" in text


def test_workflow_commands_are_made_for_what_did_not_pass():
    now = {"gateway": evidence("gateway", accuracy=0.9, latency=5.0)}
    report = build(project(), now, None, {})
    assert workflow_commands(report["gates"]) == [
        (
            "::error title=accuracy on gateway::accuracy is 0.9 and must be >= 0.95: "
            "its value breaks the bound"
        ),
        (
            "::warning title=latency_p50_ms on gateway::latency_p50_ms is 5 and must be <= 5: "
            "the interval lies across the bound: measure longer or on a quieter machine"
        ),
    ]


def test_workflow_commands_stay_on_one_line_and_in_their_fields():
    assert command("error", "a:b, 5%", "50%\r\nof: x, y") == (
        "::error title=a%3Ab%2C 5%25::50%25%0D%0Aof: x, y"
    )


def test_summary_is_appended_and_cut_at_the_limit(tmp_path):
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    append_summary(path, "one\ntwo\n")
    assert path.read_text() == "before\none\ntwo\n"
    append_summary(path, "line ä\n" * 1000, limit=2000)
    text = path.read_text()
    assert len(text.encode()) <= 2000
    assert "line ä\nline ä\n" in text
    assert text.endswith("The job's log has all of it.\n")


def test_summary_that_has_no_room_left_gets_nothing():
    assert fitted("report\n" * 100, 50) == b""
    assert fitted("report\n", -3) == b""
    assert fitted("report\n", 7) == b"report\n"
