"""edgeops.yaml: every problem at once, each at its line and column."""

from __future__ import annotations

import textwrap

import pytest

from edgeops.core.project import Data, Target
from edgeops.errors import InputError
from edgeops.project.load import load_project, parse_project

GOOD = """\
project: digits
version: 1.0.0
model: build/model.onnx
"""


def problems(text):
    with pytest.raises(InputError) as caught:
        parse_project(textwrap.dedent(text).lstrip("\n"))
    findings = caught.value.findings or [caught.value]
    return [(finding.code, finding.where.partition(":")[2]) for finding in findings]


def finding(text):
    with pytest.raises(InputError) as caught:
        parse_project(textwrap.dedent(text).lstrip("\n"))
    assert len(caught.value.findings or [1]) == 1
    return caught.value


def test_project_has_defaults_where_the_file_says_nothing():
    project = parse_project(GOOD).project
    assert (project.name, project.version, project.model) == (
        "digits",
        "1.0.0",
        "build/model.onnx",
    )
    assert project.data == Data(None, None)
    assert dict(project.targets) == {}
    assert project.given == ("project", "version", "model")


def test_targets_and_stages_may_be_empty_entries():
    text = GOOD + "targets: {gateway: , camera: {threads: 2}}\nstages: {convert: }\n"
    project = parse_project(text).project
    assert project.targets == {"gateway": Target("gateway"), "camera": Target("camera", threads=2)}
    assert project.stages["convert"].uses == "convert"


def test_stage_with_run_is_a_command_with_validated_options():
    text = GOOD + "stages: {train: {run: python train.py, deps: [train.py], outs: [data]}}\n"
    spec = parse_project(text).project.stages["train"]
    assert (spec.uses, spec.given) == ("command", ("run", "deps", "outs"))
    assert spec.options.run == "python train.py"
    assert spec.options.deps == ("train.py",)


def test_all_problems_are_reported_at_once_in_the_order_of_the_file():
    text = """
    project: Digits
    version: 1.0
    model: ../model.onnx
    targts: {}
    targets:
      gateway: {engine: onnxruntim, device: usb, precision: int4, threads: two}
      Big One: {}
      camera: {precision: int8, gates: {accuracy: about 1, model_mb: 5}}
    stages:
      train: {run: python train.py, deps: train.py, out: [data]}
      checksum:
      convert: [1]
    """
    assert problems(text) == [
        ("name-bad", "1:10"),
        ("version-bad", "2:10"),
        ("path-outside", "3:8"),
        ("key-unknown", "4:1"),
        ("engine-unknown", "6:21"),
        ("device-unknown", "6:41"),
        ("value-bad", "6:57"),
        ("type-wrong", "6:72"),
        ("name-bad", "7:3"),
        ("quantize-missing", "8:23"),
        ("gate-bound", "8:47"),
        ("type-wrong", "8:66"),
        ("type-wrong", "10:39"),
        ("key-unknown", "10:49"),
        ("stage-unknown", "11:3"),
        ("type-wrong", "12:12"),
    ]


@pytest.mark.parametrize(
    ("key", "near"), [("targts", "targets"), ("Version", "version"), ("modl", "model")]
)
def test_unknown_key_names_the_nearest_valid_one(key, near):
    error = finding(f"{GOOD}{key}: {{}}\n")
    assert error.code == "key-unknown"
    assert error.fix == f"did you mean {near!r}?"


def test_unknown_key_of_a_stage_names_the_nearest_option_of_its_plugin():
    error = finding(GOOD + "stages:\n  train: {run: x, dep: [y]}\n")
    assert (error.code, error.where) == ("key-unknown", "edgeops.yaml:5:19")
    assert error.fix == "did you mean 'deps'?"


def test_unquoted_version_says_that_yaml_read_a_number():
    error = finding("project: digits\nversion: 1.10\nmodel: m.onnx\n")
    assert error.code == "version-bad"
    assert "1.10 is a number" in error.what
    assert error.fix.endswith("1.10.0")


@pytest.mark.parametrize("version", ["v1.0.0", "1.0.0.0", '"1.0"', "one", "01 .0.0"])
def test_version_that_is_none_is_refused(version):
    assert finding(f"project: a\nversion: {version}\nmodel: m\n").code == "version-bad"


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("project: [a\n", "yaml-syntax", "2:1"),
        ("project: a\n\tversion: 1\n", "yaml-syntax", "2:1"),
        ("- a\n", "type-wrong", "1:1"),
        ("", "project-empty", "1:1"),
        ("# nothing\n", "project-empty", "1:1"),
        (GOOD + "model: other.onnx\n", "yaml-duplicate-key", "4:1"),
        (GOOD + "targets: {1: {}}\n", "yaml-key-no-text", "4:11"),
        (GOOD + "data: !!python/name:os.system x\n", "yaml-tag", "4:7"),
        (GOOD + "model2: \x07\n", "yaml-syntax", "4:9"),
        (GOOD + "data: &a [*a]\n", "yaml-syntax", "1:1"),
        (GOOD + "data: {calibration: /data/x.npz}\n", "path-outside", "4:21"),
        (GOOD + "data: {calibration: 'C:\\x.npz'}\n", "path-outside", "4:21"),
        (GOOD + "stages: {x: {uses: conver}}\n", "stage-unknown", "4:20"),
        (GOOD + "stages: {x: {uses: 3}}\n", "type-wrong", "4:20"),
        (GOOD + "stages: {x: {uses: command}}\n", "key-missing", "4:10"),
    ],
)
def test_problem_has_code_and_place(text, code, place):
    assert problems(text) == [(code, place)]


def test_missing_file_is_an_input_error_that_names_init(tmp_path):
    with pytest.raises(InputError) as caught:
        load_project(tmp_path)
    assert caught.value.code == "project-missing"
    assert "edgeops init" in caught.value.fix


def test_file_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "edgeops.yaml").write_bytes(b"project: \xff\xfe\n")
    with pytest.raises(InputError) as caught:
        load_project(tmp_path)
    assert caught.value.code == "project-unreadable"


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    text = "\ufeff" + GOOD.replace("\n", "\r\n")
    (tmp_path / "edgeops.yaml").write_bytes(text.encode())
    assert load_project(tmp_path).name == "digits"


def test_merge_keys_and_anchors_are_resolved():
    text = GOOD + "targets:\n  a: &a {threads: 3}\n  b: {<<: *a, precision: fp16}\n"
    assert parse_project(text).project.targets["b"] == Target("b", precision="fp16", threads=3)


def test_gates_on_parts_of_the_data_and_against_revisions_are_keys_of_the_file():
    text = GOOD + textwrap.dedent("""
    targets:
      gateway: {gates: {"accuracy[light=night]": ">= 0.8"}}
    stages:
      validate:
        gates:
          accuracy[light=night]: ">= 0.9"
          latency_p50_ms_vs[rev=main]: "<= 1.03"
    """)
    project = parse_project(text).project
    assert project.targets["gateway"].gates == {"accuracy[light=night]": ">= 0.8"}
    assert project.stages["validate"].options.gates == {
        "accuracy[light=night]": ">= 0.9",
        "latency_p50_ms_vs[rev=main]": "<= 1.03",
    }


def test_gate_that_names_no_figure_is_refused_at_its_place():
    text = GOOD + textwrap.dedent("""
    stages:
      validate:
        gates:
          accuracy[night]: ">= 0.9"
    """)
    assert problems(text) == [("gate-name", "8:7")]
