"""What a variant is compared with: what a channel offers, and what a git revision built."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgeops.cli import main
from edgeops.core.events import Silence
from edgeops.core.project import Data, Project, StageSpec, Target
from edgeops.core.variant import read_variant
from edgeops.errors import TrustError
from edgeops.stages.publish import PublishOptions
from edgeops.stages.validate_earlier import Place, at_revision, published, revision_problem
from tests.functional._toy import git
from tests.helpers import build_tree, write_tiny_data, write_tiny_model
from tests.unit._bundles import make_bundle, make_variant, release


def place(root, *, target="gateway", channel="stable", publishes=True, key="keys"):
    options = PublishOptions(to="repo", channel=channel, key=key)
    stages = {"publish": StageSpec("publish", "publish", options)} if publishes else {}
    project = Project("tiny", "1.0.1", "m.onnx", Data(), {target: Target(target)}, stages)
    (root / "scratch").mkdir(exist_ok=True)
    return Place(root, project, project.targets[target], root / "scratch", Silence())


@pytest.fixture
def root(tmp_path, capsys):
    assert main(["-C", str(tmp_path), "keys", "init", "keys"]) == 0
    return tmp_path


@pytest.fixture
def released(root):
    """Return a folder whose repository offers a bundle, and the variant in it."""
    bundle = make_bundle(root / "b", key=root / "keys")
    release(root, bundle, now=None)
    return root, read_variant(root / "b" / "gateway")


def test_before_the_first_release_there_is_nothing_to_compare_with(root):
    found = published(place(root))
    assert (found.moot, found.folder) == ("nothing was published yet", None)


def test_a_project_that_publishes_nothing_says_so(root):
    found = published(place(root, publishes=False))
    assert (found.moot, found.absent) == ("", "the project has no stage that publishes")


def test_what_the_channel_offers_is_taken_with_its_evidence(released):
    root, variant = released
    found = published(place(root))
    assert read_variant(found.folder).digest == variant.digest
    assert found.evidence.figures["accuracy"].value == 0.97
    assert found.label.startswith("the published tiny 1.0.0 (sha256:")
    assert (found.absent, found.moot) == ("", "")


def test_a_new_channel_and_a_new_target_have_nothing_to_compare_with(released):
    root, _ = released
    assert published(place(root, channel="beta")).moot == "nothing was published on beta yet"
    found = published(place(root, target="camera"))
    assert found.moot == "the published 1.0.0 has no target camera"


def test_without_the_root_of_trust_it_is_absent_and_not_moot(released):
    root, _ = released
    found = published(place(root, key="nowhere"))
    assert (found.moot, found.folder) == ("", None)
    assert found.absent == "it cannot be verified without nowhere/root.json"


def test_a_tampered_repository_is_refused(released):
    root, _ = released
    for path in (root / "repo" / "targets" / "channels").iterdir():
        path.write_bytes(path.read_bytes().replace(b"1.0.0", b"6.6.6"))
    with pytest.raises(TrustError):
        published(place(root))


def test_a_repository_that_nobody_renewed_is_absent_with_its_reason(root):
    bundle = make_bundle(root / "b", key=root / "keys")
    release(root, bundle, now=datetime(2020, 1, 1, tzinfo=UTC))
    found = published(place(root))
    assert found.moot == ""
    assert found.absent.startswith("the repository was not renewed in time")


YAML = """
    project: tiny
    version: 1.0.0
    model: model.onnx
    data: {calibration: data.npz, evaluation: data.npz}
    targets:
      gateway: {engine: onnxruntime}
    stages:
      convert: {}
      validate:
        metric: accuracy
        seconds: 0.3
        gates:
          accuracy: ">= 0.9"
"""
MORE = """\
      accuracy_drop[rev=first]: "<= 0.5"
      model_mb_vs[rev=first]: "<= 1.1"
      latency_p50_ms_vs[rev=first]: "<= 100"
"""


@pytest.mark.slow
def test_gates_against_a_revision_use_its_variant_and_its_evidence(tmp_path, capsys):
    build_tree(tmp_path, {"edgeops.yaml": YAML, ".gitignore": "/build\n/reports\n"})
    write_tiny_data(tmp_path / "data.npz", write_tiny_model(tmp_path / "model.onnx"))
    git(tmp_path, "init", "-q")
    assert main(["-C", str(tmp_path), "run"]) == 0
    first = read_variant(tmp_path / "build" / "gateway" / "converted")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    git(tmp_path, "tag", "first")
    assert revision_problem(tmp_path, "first") == ""
    assert revision_problem(tmp_path, "v9")

    write_tiny_model(tmp_path / "model.onnx", hidden=64, seed=0)
    with (tmp_path / "edgeops.yaml").open("a") as file:
        file.write(MORE)
    capsys.readouterr()
    main(["-C", str(tmp_path), "validate", "--json"])
    result = json.loads(capsys.readouterr().out)
    gates = {gate["name"]: gate for gate in result["gates"]}
    assert gates["model_mb_vs[rev=first]"]["verdict"] == "fail"
    assert gates["model_mb_vs[rev=first]"]["value"] > 1.1
    drop = gates["accuracy_drop[rev=first]"]
    assert drop["interval"], "paired over the samples that both evidences keep"
    assert "against first (" in drop["method"]
    latency = gates["latency_p50_ms_vs[rev=first]"]
    assert latency["value"] or "same processor" in latency["why"]

    from edgeops.project.load import load_project

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    project = load_project(tmp_path)
    here = Place(tmp_path, project, project.targets["gateway"], scratch, Silence())
    found = at_revision("first", here)
    assert read_variant(found.folder).digest == first.digest
    assert found.evidence.variant == first.digest
    assert at_revision("v9", here).absent.startswith("git knows no revision 'v9'")

    shutil.rmtree(tmp_path / ".dvc" / "cache")
    shutil.rmtree(scratch)
    scratch.mkdir()
    gone = at_revision("first", here)
    assert gone.folder is None
    assert gone.absent


def test_gate_against_a_revision_that_git_does_not_know_is_refused_before_anything_runs(
    tmp_path, capsys
):
    build_tree(tmp_path, {"edgeops.yaml": YAML})
    write_tiny_data(tmp_path / "data.npz", write_tiny_model(tmp_path / "model.onnx"))
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    with (tmp_path / "edgeops.yaml").open("a") as file:
        file.write('      accuracy_drop[rev=v9]: "<= 0"\n      latency_vs_previous: "<= 1"\n')
    capsys.readouterr()
    assert main(["-C", str(tmp_path), "run", "--dry-run", "--json"]) == 3
    result = json.loads(capsys.readouterr().out)
    assert {(one["code"], one["where"]) for one in result["findings"]} == {
        ("gate-revision", "edgeops.yaml:14:7"),
        ("gate-unknown", "edgeops.yaml:15:7"),
    }


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """Return a folder with two variants and the data that the first one gets all right."""
    folder = tmp_path_factory.mktemp("variants")
    make_variant(folder / "one")
    make_variant(folder / "other", seed=5)
    write_tiny_data(folder / "data.npz", folder / "one" / "model.onnx")
    return folder


def asked(folder, capsys, *argv):
    capsys.readouterr()
    code = main(["-C", str(folder), "validate", *argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_an_earlier_variant_without_evidence_is_run_on_the_same_data(variants, capsys):
    gates = ("--gate", "accuracy_drop_vs_previous<=0.01", "--gate", "model_mb_vs_previous==1")
    argv = ("other", "--evaluation", "data.npz", "--seconds", "0.1", "--previous", "one")
    code, result = asked(variants, capsys, *argv, *gates)
    assert code == 11
    drop, size = result["gates"]
    assert drop["value"] == pytest.approx(1 - result["metrics"]["accuracy"])
    assert drop["interval"][0] > 0.01
    assert (drop["verdict"], size["verdict"]) == ("fail", "pass")


def test_a_variant_is_not_timed_against_itself(variants, capsys):
    argv = ("one", "--evaluation", "data.npz", "--seconds", "0.1", "--previous", "one")
    code, result = asked(variants, capsys, *argv, "--gate", "latency_vs_previous<=1")
    assert code == 0
    assert result["gates"][0]["method"] == "it is one, byte for byte: nothing to compare"


def test_gate_on_the_previous_one_without_one_says_what_to_name(variants, capsys):
    argv = ("one", "--evaluation", "data.npz", "--gate", "latency_vs_previous<=1")
    code, result = asked(variants, capsys, *argv)
    assert (code, result["error"]["code"]) == (3, "gate-unknown")
    assert "--previous VARIANT" in result["error"]["fix"]


def test_what_was_measured_until_the_time_was_over_is_told(variants, capsys):
    argv = ("one", "--evaluation", "data.npz", "--sustained", "60", "--timeout", "5")
    code, result = asked(variants, capsys, *argv)
    assert (code, result["error"]["code"]) == (30, "probe-timeout")
    assert result["partial"]["partial"] is True
    assert result["partial"]["target"] == "one"
    assert result["partial"]["device"]["name"] == "local"
    assert result["partial"]["probe"]["phase"]
    assert "gates" not in result


def test_what_is_left_of_a_broken_measurement_is_kept_marked_and_never_judged(tmp_path, capsys):
    yaml = YAML.replace("seconds: 0.3", "sustained: 60\n        timeout: 5")
    build_tree(tmp_path, {"edgeops.yaml": yaml})
    write_tiny_data(tmp_path / "data.npz", write_tiny_model(tmp_path / "model.onnx"))
    argv = ["convert", "model.onnx", "--to", "onnxruntime", "-o", "build/gateway/converted"]
    assert main(["-C", str(tmp_path), *argv, "--data", "data.npz"]) == 0
    capsys.readouterr()
    assert main(["-C", str(tmp_path), "stage", "validate", "--target", "gateway", "--json"]) == 30
    result = json.loads(capsys.readouterr().out)
    kept = Path(tmp_path / ".edgeops" / "partial" / "gateway.json")
    assert json.loads(kept.read_text())["partial"] is True
    assert str(kept) in result["error"]["fix"]
    assert (kept.parent / ".gitignore").read_text() == "*\n"
    assert not (tmp_path / "reports").exists()
    code, result = asked(tmp_path, capsys, "--replay", str(kept))
    assert (code, result["error"]["code"]) == (3, "evidence-malformed")
