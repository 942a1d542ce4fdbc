"""Stages of other packages: a good one takes part in a run, broken ones stop nothing."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.functional._toy import environment, started, statuses, toy

PLUGINS = Path(__file__).parent.parent / "plugins"
TOY = """
    project: toy
    version: 1.0.0
    model: build/model.txt
    targets: {gateway: , camera: }
    stages:
      build:
        run: |
          for t in gateway camera; do
            mkdir -p build/$t/converted && echo $t > build/$t/converted/model.bin
          done
        outs: [build/gateway/converted, build/camera/converted]
      checksum: {uses: checksum, algorithm: sha1}
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a function that installs a plugin's package with pip, into a folder of its own."""

    def install(name: str) -> str:
        folder = tmp_path_factory.mktemp(name)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        source = tmp_path_factory.mktemp("source")
        for path in (PLUGINS / name).glob("*.*"):
            (source / path.name).write_bytes(path.read_bytes())
        subprocess.run(
            [*command, "--no-build-isolation", "--target", str(folder), str(source)],
            check=True,
            timeout=120,
        )
        return str(folder)

    return install


@pytest.fixture(scope="module")
def checksum(installed):
    return installed("edgeops-stage-checksum")


@pytest.fixture(scope="module")
def broken(installed):
    return installed("edgeops-stage-broken")


def edgeops(*arguments: str, path: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "edgeops", *arguments],
        env=environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def finished(root, path, *arguments):
    process = started(root, "--json", *arguments, PYTHONPATH=path)
    out, err = process.communicate(timeout=120)
    return process.returncode, json.loads(out), err


def test_third_party_stage_takes_part_in_a_run(tmp_path, checksum):
    root = toy(tmp_path, TOY)
    code, document, err = finished(root, checksum)
    assert code == 0, err
    assert statuses(document) == {
        "build": "ran",
        "checksum@gateway": "ran",
        "checksum@camera": "ran",
    }
    sums = json.loads((root / "reports/camera/checksums.json").read_text())
    assert sums == {"model.bin": hashlib.sha1(b"camera\n", usedforsecurity=False).hexdigest()}
    assert "checksum@camera: adding up" in err
    assert finished(root, checksum)[1]["up_to_date"] is True

    text = (root / "edgeops.yaml").read_text()
    (root / "edgeops.yaml").write_text(text.replace("sha1", "sha256"))
    assert statuses(finished(root, checksum)[1]) == {
        "build": "cached",
        "checksum@gateway": "ran",
        "checksum@camera": "ran",
    }


def test_options_and_preflight_of_a_third_party_stage_go_through_the_same_door(tmp_path, checksum):
    root = toy(tmp_path, TOY.replace("algorithm: sha1", "algoritm: sha1"))
    code, document, _ = finished(root, checksum, "--dry-run")
    assert (code, document["error"]["code"]) == (3, "key-unknown")
    assert document["error"]["fix"] == "did you mean 'algorithm'?"
    text = (root / "edgeops.yaml").read_text()
    (root / "edgeops.yaml").write_text(text.replace("algoritm: sha1", "algorithm: rot13"))
    code, document, _ = finished(root, checksum, "--dry-run")
    assert (code, document["error"]["code"]) == (3, "checksum-algorithm")
    schema = json.loads(edgeops("schema", path=checksum).stdout)
    about = schema["definitions"]["stage.checksum"]["properties"]["algorithm"]
    assert about["description"] == "A name that hashlib knows."


def test_project_that_needs_a_missing_plugin_says_so(tmp_path):
    root = toy(tmp_path, TOY)
    code, document, _ = finished(root, "")
    assert (code, document["error"]["code"]) == (3, "stage-unknown")
    assert document["error"]["where"] == "edgeops.yaml:12:20"


def test_broken_plugins_are_listed_with_their_reason_and_stop_nothing(tmp_path, broken):
    listed = json.loads(edgeops("plugins", "--json", path=broken).stdout)
    text = json.dumps(listed)
    for reason in (
        "No module named 'a_package_nobody_has'",
        "it lacks preflight, run",
        "it is written for api 99, this edgeops speaks api 1",
        "it is registered as 'alias' but calls itself 'other'",
        "the name 'convert' is taken by edgeops",
    ):
        assert reason in text, reason
    assert edgeops("--help", path=broken).returncode == 0
    root = toy(tmp_path)
    assert finished(root, broken)[0] == 0


@pytest.mark.parametrize(
    ("plugin", "code", "reason"),
    [
        ("raises", "stage-broken", "a_package_nobody_has"),
        ("half", "stage-broken", "it lacks preflight, run"),
        ("loose", "stage-broken", "no frozen dataclass"),
        ("uneven", "plan-shape", "one DVC stage stands for all targets"),
    ],
)
def test_broken_plugin_is_refused_when_it_is_used(tmp_path, broken, plugin, code, reason):
    yaml = f"""
        project: toy
        version: 1.0.0
        model: m.txt
        targets: {{a: {{precision: fp16}}, b: {{precision: int8}}}}
        stages:
          one: {{uses: {plugin}}}
          quantize:
    """
    root = toy(tmp_path, yaml)
    exit_code, document, _ = finished(root, broken, "--dry-run")
    found = [document["error"], *document.get("findings", [])]
    assert exit_code == 3
    assert any(one["code"] == code and reason in one["why"] for one in found), found
