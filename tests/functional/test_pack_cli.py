"""pack, verify, unpack, diff and keys through the command line, with their error texts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields

import pytest

from edgeops.cli import main
from edgeops.core.project import Data, Project, StageSpec, Target
from edgeops.core.stage import Out
from edgeops.stages.pack import Pack, PackOptions
from edgeops.stages.publish import Publish, PublishOptions
from tests.unit._bundles import (
    FEATURES,
    RULES,
    make_bundle,
    make_evidence,
    make_variant,
    make_wheel,
)


def _masked(text):
    """Return an error without what differs with the versions of the libraries that wrote a file."""
    text = re.sub(r"\b[0-9a-f]{12,64}\b", "<hex>", text)
    return re.sub(r"\b\d{4,6}\b", "<count>", text)


@pytest.fixture
def run(capsys):
    """Return a function that runs one verb and answers exit code, standard output, error."""

    def runner(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return runner


@pytest.fixture
def run_json(run):
    def runner(*arguments):
        code, out, _ = run(*arguments, "--json")
        return code, json.loads(out)

    return runner


@pytest.fixture
def place(tmp_path):
    variant = make_variant(tmp_path / "gateway")
    make_evidence(tmp_path / "evidence.json", variant)
    (tmp_path / "labels.txt").write_text("cat\ndog\nbird\n")
    return tmp_path


_PACK = ("pack", "gateway", "--name", "tiny", "--version", "1.0.0")
_WHOLE = (*_PACK, "--evidence", "evidence.json", "--include", "labels.txt", "-o", "t.edgeops")


def test_pack_verify_unpack_go_round(place, run_json):
    assert run_json("-C", place, "keys", "init", "keys")[0] == 0
    code, packed = run_json("-C", place, *_WHOLE, "--key", "keys")
    assert code == 0
    assert packed["bundle"] == str(place / "t.edgeops")
    assert packed["bytes"] == (place / "t.edgeops").stat().st_size
    assert [item["kind"] for item in packed["layers"]] == [
        "card",
        "evidence",
        "labels",
        "sbom",
        "index",
        "variant",
        "variant",
    ]
    code, verified = run_json("-C", place, "verify", "t.edgeops", "--key", "keys/release.pub")
    assert code == 0
    assert verified["verified"] is True
    assert verified["digest"] == packed["digest"]
    assert len(verified["signed_by"]) == 64
    assert [gate["verdict"] for gate in verified["gates"]] == ["pass"]
    code, unpacked = run_json("-C", place, "unpack", "t.edgeops", "-o", "out")
    assert code == 0
    assert unpacked["digest"] == packed["digest"]
    for item in unpacked["files"]:
        assert (place / "out" / item["path"]).stat().st_size == item["bytes"]


def test_pack_names_targets(place, run_json):
    code, packed = run_json("-C", place, "pack", "camera=gateway", *_PACK[2:], "-o", "t.edgeops")
    assert code == 0
    assert {item["target"] for item in packed["layers"]} == {None, "camera"}


def test_pack_writes_name_and_version_beside_by_default(place, run_json):
    assert run_json("-C", place, *_PACK)[1]["bundle"] == str(place / "tiny-1.0.0.edgeops")


def test_pack_shows_what_it_packed(place, run):
    code, out, _ = run("-C", place, *_WHOLE)
    assert code == 0
    assert "t.edgeops" in out
    assert "not signed" in out
    assert "variants/gateway/model.onnx" in out


def test_unpack_one_kind_and_one_target(place, run_json):
    run_json("-C", place, *_WHOLE)
    code, result = run_json("-C", place, "unpack", "t.edgeops", "-o", "out", "--only", "labels")
    assert code == 0
    assert [item["path"] for item in result["files"]] == ["labels.txt"]
    files = sorted(path.name for path in (place / "out").rglob("*"))
    assert files == ["bundle.json", "labels.txt"]


def test_unpack_replaces_what_it_unpacked_before(place, run_json):
    run_json("-C", place, *_WHOLE)
    run_json("-C", place, "unpack", "t.edgeops", "-o", "out")
    assert run_json("-C", place, "unpack", "t.edgeops", "-o", "out", "--only", "card")[0] == 0
    assert sorted(path.name for path in (place / "out").iterdir()) == ["bundle.json", "card.md"]


def test_diff_of_variants_names_what_changed(place, run_json):
    make_variant(place / "other", seed=5)
    code, result = run_json("-C", place, "diff", "gateway", "other")
    assert code == 0
    assert result["kind"] == "variant"
    changed = {(item["where"], item["what"]) for item in result["changes"]}
    assert ("model.onnx", "sha256") in changed
    assert ("variant.json", "source") in changed
    assert run_json("-C", place, "diff", "gateway", "gateway")[1]["changes"] == []


def test_diff_of_bundles_names_figures_and_files(tmp_path, run_json):
    one = make_bundle(tmp_path / "a")
    two = make_bundle(tmp_path / "b", version="1.1.0", value=0.9)
    code, result = run_json("diff", one, two)
    assert code == 0
    changes = {(item["where"], item["what"]): item for item in result["changes"]}
    figure = changes["gateway/figures", "accuracy"]
    assert (figure["before"], figure["after"]) == (0.97, 0.9)
    assert changes["gateway/gates", "accuracy"]["after"] == ">= 0.95: fail"
    assert changes["bundle", "version"]["after"] == "1.1.0"
    assert ("gateway/model.onnx", "sha256") not in changes


def test_inspect_takes_a_bundle(tmp_path, run_json):
    code, about = run_json("inspect", make_bundle(tmp_path))
    assert code == 0
    assert about["format"] == "edgeops bundle"
    assert about["digest"].startswith("sha256:")


def _damage(path, what):
    data = path.read_bytes()
    weights = data.index(b"blobs/sha256") + 600
    path.write_bytes(
        {
            "truncated": data[:-2000],
            "tampered": data[:weights] + b"\1" + data[weights + 1 :],
            "empty": b"",
            "html": b"<!doctype html>" + b" " * 2000,
        }[what]
    )


@pytest.mark.parametrize(
    ("what", "code"), [("truncated", 20), ("tampered", 20), ("empty", 3), ("html", 3)]
)
def test_verify_of_a_damaged_bundle(place, run, golden, what, code):
    run("-C", place, *_WHOLE)
    _damage(place / "t.edgeops", what)
    found, _, err = run("-C", place, "verify", "t.edgeops")
    assert found == code
    golden(f"errors/bundle-{what}.txt", _masked(err))


def test_unpack_of_a_damaged_bundle_leaves_nothing(place, run):
    run("-C", place, *_WHOLE)
    _damage(place / "t.edgeops", "tampered")
    assert run("-C", place, "unpack", "t.edgeops", "-o", "out")[0] == 20
    assert not (place / "out").exists()


_WHEEL = "ncnn-1.0.0-cp311-cp311-manylinux_2_28_aarch64.whl"
_ERRORS = {
    "bundle-missing": (3, ("verify", "nowhere.edgeops")),
    "bundle-unsigned": (20, ("verify", "t.edgeops", "--key", "keys")),
    "public-key-missing": (3, ("verify", "t.edgeops", "--key", "nowhere.pub")),
    "pack-no-name": (2, ("pack", "gateway")),
    "pack-name-invalid": (3, ("pack", "gateway", "--name", "a/b", "--version", "1")),
    "pack-two-targets": (2, ("pack", "gateway", "gateway", "--name", "a", "--version", "1")),
    "pack-no-variant": (3, ("pack", "nowhere", "--name", "a", "--version", "1")),
    "pack-no-evidence": (3, (*_PACK, "--evidence", "nowhere.json")),
    "pack-no-include": (3, (*_PACK, "--include", "nowhere.txt")),
    "pack-include-reserved": (3, (*_PACK, "--include", "card.md")),
    "pack-no-keys": (4, (*_PACK, "--key", "nowhere")),
    "unpack-occupied": (3, ("unpack", "t.edgeops", "-o", "gateway")),
    "unpack-target": (3, ("unpack", "t.edgeops", "-o", "o", "--target", "gatevay")),
    "unpack-kind": (2, ("unpack", "t.edgeops", "-o", "o", "--only", "weights")),
    "unpack-channel": (2, ("unpack", "t.edgeops", "-o", "o", "--channel", "stable")),
    "diff-mixed": (3, ("diff", "gateway", "t.edgeops")),
    "pack-runtime": (2, (*_PACK, "--runtime", "engine")),
    "wheel-missing": (3, (*_PACK, "--runtime", "gateway=x-1.0-py3-none-any.whl")),
    "wheel-malformed": (3, (*_PACK, "--runtime", "gateway=labels.txt")),
    "wheel-misfit": (5, (*_PACK, "--runtime", f"gateway={_WHEEL}")),
    "sdk-unknown": (2, (*_PACK, "--sdk", "rust")),
    "encrypt-kind": (2, (*_PACK, "--encrypt", "weights", "--recipient", "device")),
    "encrypt-nothing": (2, (*_PACK, "--encrypt", "doc", "--recipient", "device")),
    "encrypt-nobody": (2, (*_PACK, "--encrypt", "variant")),
    "recipient-missing": (3, (*_PACK, "--encrypt", "variant", "--recipient", "nowhere.pub")),
    "recipient-malformed": (
        3,
        (*_PACK, "--encrypt", "variant", "--recipient", "keys/release.pub"),
    ),
    "recipient-exists": (3, ("keys", "recipient", "device")),
    "features-yaml": (3, (*_PACK, "--include", "bad/features.yaml")),
    "rules-unreadable": (3, (*_PACK, "--include", "bad/rules.yaml")),
    "include-several": (3, (*_PACK, "--include", "bad/features.yaml", "--include", "features.yml")),
    "keys-exist": (3, ("keys", "init", "keys")),
    "keys-role": (3, ("keys", "rotate", "keys", "--role", "release")),
}


@pytest.mark.parametrize("case", _ERRORS)
def test_error_text(place, run, golden, case):
    assert run("-C", place, "keys", "init", "keys")[0] == 0
    assert run("-C", place, "keys", "recipient", "device")[0] == 0
    assert run("-C", place, *_WHOLE)[0] == 0
    make_wheel(place, "ncnn", "1.0.0")
    (place / "bad").mkdir()
    (place / "bad" / "features.yaml").write_text("inputs: {x: [}\n")
    (place / "bad" / "rules.yaml").write_text("- one\n- two\n")
    (place / "features.yml").write_text(FEATURES)
    expected, arguments = _ERRORS[case]
    code, _, err = run("-C", place, *arguments)
    assert code == expected
    golden(f"errors/{case}.txt", _masked(err))


def test_pack_refuses_evidence_of_another_variant(place, run, golden):
    make_variant(place / "gateway", seed=9)
    code, _, err = run("-C", place, *_WHOLE)
    assert code == 3
    golden("errors/evidence-foreign.txt", _masked(err))


def test_pack_takes_all_that_a_device_needs_and_seals_what_is_named(place, run, run_json):
    (place / "features.yaml").write_text(FEATURES)
    (place / "rules.yaml").write_text(RULES.replace("models: {other: camera}\n", ""))
    wheel = make_wheel(place / "wheels")
    code, made = run_json("-C", place, "keys", "recipient", "device")
    assert code == 0
    assert set(made) == {"public", "private", "recipient"}
    given = ("--include", "features.yaml", "--include", "rules.yaml", "--runtime", "agent")
    given += ("--runtime", f"gateway={wheel}", "--sdk", "cpp", "--encrypt", "variant")
    code, packed = run_json("-C", place, *_WHOLE, *given, "--recipient", "device/device.pub")
    assert code == 0
    assert packed["sealed"] == ["variants/gateway/model.onnx"]
    kinds = {item["path"]: item["kind"] for item in packed["layers"]}
    assert kinds["runtime/edgeops-agent.pyz"] == kinds[f"runtime/gateway/{wheel.name}"] == "runtime"
    assert kinds["code/gateway/cpp/main.cpp"] == "code"
    assert kinds["rules.json"] == "rules"
    assert kinds["sealed.json"] == "index"
    code, verified = run_json("-C", place, "verify", "t.edgeops")
    assert (code, verified["sealed"]) == (0, packed["sealed"])
    assert "sealed, and not looked into" in run("-C", place, "verify", "t.edgeops")[1]
    code, about = run_json("-C", place, "inspect", "t.edgeops")
    assert about["targets"]["gateway"]["needs"]["architectures"] == ["aarch64"]
    assert run("-C", place, "inspect", "t.edgeops")[0] == 0
    _, out, _ = run("-C", place, "unpack", "t.edgeops", "-o", "device-files")
    assert "sealed.json" in out


def test_diff_of_bundles_counts_their_files(tmp_path, run, run_json):
    one, two = make_bundle(tmp_path / "a"), make_bundle(tmp_path / "b", version="1.1.0")
    code, result = run_json("diff", one, two)
    assert code == 0
    changes = {item["path"]: item["change"] for item in result["layers"]}
    assert changes["variants/gateway/model.onnx"] == "unchanged"
    assert changes["card.md"] == "changed"
    assert "files: 2 changed, 5 unchanged;" in run("diff", one, two)[1]


def _project(**stages):
    specs = {
        name: StageSpec(name, name, options, given) for name, (options, given) in stages.items()
    }
    targets = {name: Target(name) for name in ("desktop", "gateway")}
    return Project("tiny", "1.0.0", "m.onnx", Data(), targets, specs)


def test_pack_plan_reads_variants_evidence_and_includes():
    options = PackOptions(include=("labels.txt",), key=".edgeops/keys")
    project = _project(quantize=(None, ()), validate=(None, ()), pack=(options, ("include", "key")))
    plan = Pack().plan(project, None, options)
    assert plan.deps == (
        "build/desktop/quantized",
        "build/gateway/quantized",
        "reports/desktop/evidence.json",
        "reports/gateway/evidence.json",
        "labels.txt",
    )
    assert plan.outs == (Out("dist/tiny-1.0.0.edgeops"),)
    assert plan.params == ("project", "version", "stages.pack.include", "stages.pack.key")


def test_pack_plan_depends_on_all_that_goes_in():
    options = PackOptions(
        runtime=("agent", "gateway=wheels/a.whl"), encrypt=("variant",), recipients=("k.pub",)
    )
    given = ("runtime", "encrypt", "recipients")
    plan = Pack().plan(_project(pack=(options, given)), None, options)
    assert plan.deps[2:] == ("wheels/a.whl", "k.pub")
    expected = ("include", "key", "runtime", "encrypt", "recipients")
    assert plan.params[2:] == tuple(f"stages.pack.{key}" for key in expected)


def test_pack_plan_without_quantize_and_validate():
    project = _project(pack=(PackOptions(), ()))
    plan = Pack().plan(project, None, PackOptions())
    assert plan.deps == ("build/desktop/converted", "build/gateway/converted")


def test_publish_plan_keeps_the_repository():
    options = PublishOptions(to="releases", channel="beta")
    project = _project(pack=(PackOptions(), ()), publish=(options, ("to", "channel")))
    plan = Publish().plan(project, None, options)
    assert plan.deps == ("dist/tiny-1.0.0.edgeops",)
    assert plan.outs == (Out("releases", persist=True),)
    assert plan.params == tuple(f"stages.publish.{item.name}" for item in fields(PublishOptions))


_YAML = """
project: tiny
version: 1.0.0
model: model.onnx
targets:
  gateway: {engine: onnxruntime, device: local, precision: fp32}
stages:
  convert: {}
  pack: {include: [labels.txt], key: keys}
  publish: {to: releases, channel: beta, key: keys, accept: "no gates in this test"}
"""


def test_pack_in_a_project_does_as_edgeops_yaml_says(place, run_json):
    (place / "edgeops.yaml").write_text(_YAML)
    shutil.copytree(place / "gateway", place / "build" / "gateway" / "converted")
    code, result = run_json("-C", place, "pack")
    assert (code, result["error"]["code"]) == (4, "keys-missing")
    assert run_json("-C", place, "keys", "init", "keys")[0] == 0
    code, result = run_json("-C", place, "pack")
    assert code == 0
    assert result["bundle"] == str(place / "dist" / "tiny-1.0.0.edgeops")
    assert result["signed"] is True
    code, result = run_json("-C", place, "pack", "--name", "x")
    assert (code, result["error"]["code"]) == (2, "pack-usage")
    (place / "labels.txt").unlink()
    code, result = run_json("-C", place, "pack")
    assert (code, result["findings"][0]["code"]) == (3, "include-missing")


def test_preflight_finds_all_that_cannot_be_packed(place):
    from edgeops.project.load import load_project

    (place / "features.yaml").write_text("inputs: {x: [}\n")
    (place / "rules.yaml").write_text("- one\n")
    (place / "edgeops.yaml").write_text(
        _YAML.replace(
            "[labels.txt], key: keys",
            "[features.yaml, rules.yaml], runtime: [agent, gateway=no.whl, x], sdk: [rust], "
            "encrypt: [weights], recipients: [no.pub]",
        )
    )
    project = load_project(place)
    findings = Pack().preflight(place, project, None, project.stages["pack"].options)
    assert [finding.code for finding in findings] == [
        "yaml-syntax",
        "document-unreadable",
        "sdk-unknown",
        "pack-runtime",
        "wheel-malformed",
        "encrypt-usage",
    ]
    assert findings[0].where == "features.yaml:1:14"


@pytest.mark.parametrize(
    ("chosen", "codes"),
    [("variant, labels", []), ("'variant:gateway'", []), ("rules", ["encrypt-usage"])],
)
def test_preflight_finds_that_nothing_would_be_sealed(place, run_json, chosen, codes):
    from edgeops.project.load import load_project

    assert run_json("-C", place, "keys", "recipient", "device")[0] == 0
    (place / "edgeops.yaml").write_text(
        _YAML.replace(
            "[labels.txt], key: keys",
            f"[labels.txt], encrypt: [{chosen}], recipients: [device/device.pub]",
        )
    )
    project = load_project(place)
    findings = Pack().preflight(place, project, None, project.stages["pack"].options)
    assert [finding.code for finding in findings] == codes


def test_rules_that_nothing_is_measured_through_are_found_before_a_run(place, run, golden):
    (place / "rules.yaml").write_text(RULES.replace("models: {other: camera}\n", ""))
    head = _YAML.partition("  convert:")[0]

    def told(validate, accept=""):
        pack = f"include: [rules.yaml]{accept}"
        (place / "edgeops.yaml").write_text(
            f"{head}  validate: {{{validate}}}\n  pack: {{{pack}}}\n"
        )
        code, _, err = run("-C", place, "run", "pack", "--dry-run")
        assert code == 3
        return [part for part in err.split("\n\n") if "rules-not-measured" in part]

    (own,) = told("")
    golden("errors/rules-not-measured.txt", own)
    assert "what other.yaml answers" in told("rules: other.yaml")[0]
    assert not told("rules: rules.yaml")
    assert not told("", ", accept: no metric is of an answer")


def test_stages_run_in_a_project(place, run_json):
    from edgeops.core.events import Silence
    from edgeops.core.stage import StageContext
    from edgeops.project.load import load_project

    (place / "edgeops.yaml").write_text(_YAML)
    shutil.copytree(place / "gateway", place / "build" / "gateway" / "converted")
    run_json("-C", place, "keys", "init", "keys")
    project = load_project(place)
    for stage in (Pack(), Publish()):
        name = stage.info.name
        options = project.stages[name].options
        assert list(stage.preflight(place, project, None, options)) == []
        result = stage.run(StageContext(place, project, name, None, Silence()), options)
        assert all(isinstance(value, int) for value in result.figures.values())
    offer = ("--channel", "beta", "--root", "keys/root.json")
    code, result = run_json("-C", place, "unpack", "releases", *offer, "-o", "device")
    assert (code, result["version"]) == (0, "1.0.0")


@pytest.mark.slow
def test_diff_of_revisions_compares_the_metrics(tmp_path, run_json):
    def do(*command):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    do("git", "init", "-q")
    do(sys.executable, "-m", "dvc", "init", "-q")
    (tmp_path / "dvc.yaml").write_text("metrics:\n  - metrics.json\n")
    code, result = run_json("-C", tmp_path, "diff", "a.edgeops", "b.edgeops")
    assert (code, result["error"]["code"]) == (3, "revision-unknown")
    assert result["error"]["why"] == "the repository has no commit yet"
    for accuracy in (0.9, 0.95):
        (tmp_path / "metrics.json").write_text(json.dumps({"accuracy": accuracy, "mb": 1}))
        do("git", "add", "-A")
        do("git", "commit", "-qm", f"accuracy {accuracy}")
    code, result = run_json("-C", tmp_path, "diff", "HEAD~1", "HEAD")
    assert code == 0
    assert result["changes"] == [
        {"where": "metrics.json", "what": "accuracy", "before": 0.9, "after": 0.95}
    ]
    code, result = run_json("-C", tmp_path, "diff", "HEAD", "nowhere")
    assert (code, result["error"]["code"]) == (3, "revision-unknown")
    assert "nowhere" in result["error"]["what"]
