"""A device that lacks what a release is loaded with: it is told so, and no release is held to blame."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile

import pytest

from edgeops.errors import MissingError, RefusedError
from edgeops.runtime.agent.cli import main as agent
from edgeops.runtime.agent.status import status
from edgeops.runtime.agent.update import Options, update
from tests.serving import PROGRAM, Running, X
from tests.unit._agent_repo import anchored, variant_files

BROKEN = "raise ImportError('libgomp.so.1: cannot open shared object file')\n"


@pytest.fixture
def repo(tmp_path):
    made = anchored(tmp_path)
    made.publish(made.bundle("1.0.0", variant_files(tmp_path / "one")))
    return made


@pytest.fixture
def options(tmp_path, repo):
    return Options(tmp_path / "home", str(tmp_path / "repo"), tmp_path / "root.json")


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Let the engine be installed and not importable, in processes that are started from now on."""
    place = tmp_path / "lib" / "onnxruntime" / "__init__.py"
    place.parent.mkdir(parents=True)
    place.write_text(BROKEN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"), prepend=os.pathsep)
    return place


def test_engine_that_cannot_be_imported_is_named_and_the_release_is_tried_again(
    repo, options, broken, capsys
):
    for _ in range(4):  # more often than a release may bring its device down
        with pytest.raises(MissingError) as caught:
            update(options)
        error = caught.value
        assert (error.code, int(error.exit_code)) == ("engine-import-failed", 4)
        for word in ("onnxruntime 1.20.0", "libgomp.so.1"):
            assert word in error.why
        assert "pip install --force-reinstall 'onnxruntime>=1.20.0,<2'" in error.fix
    told = status(options.home)
    assert (told["refused"], told["state"], told["current"]) == ({}, "idle", None)
    given = ["--home", str(options.home), "--repo", options.repo, "--root", str(options.root)]
    assert agent(["update", *given]) == 4
    assert "error: tiny 1.0.0 was not taken: this device lacks" in capsys.readouterr().err
    broken.unlink()
    broken.parent.rmdir()
    assert update(options)["outcome"] == "updated"


def test_device_without_numpy_is_told_so(repo, options, tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "numpy.py").write_text("raise ImportError('No module named numpy')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"), prepend=os.pathsep)
    given = ["--home", str(options.home), "--repo", options.repo, "--root", str(options.root)]
    command = [sys.executable, "-m", PROGRAM, "update", *given, "--json"]
    done = subprocess.run(command, capture_output=True, check=False)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (4, "numpy-missing")
    assert "pip install numpy" in error["fix"]
    assert status(options.home)["refused"] == {}


def test_server_refuses_nothing_for_an_engine_that_the_device_does_not_know(
    tmp_path, repo, options
):
    update(options)
    files = variant_files(tmp_path / "two", seed=1)
    about, kind, target = files["variants/gateway/variant.json"]
    of_tomorrow = json.dumps({**json.loads(about), "engine": "of-tomorrow"}).encode()
    files["variants/gateway/variant.json"] = (of_tomorrow, kind, target)
    with Running(options.home) as server:
        repo.publish(repo.bundle("1.1.0", files))
        with pytest.raises(MissingError) as caught:
            update(options)
        assert (caught.value.code, status(options.home)["refused"]) == ("plugin-unknown", {})
        assert server.ask("/v1/predict", {"inputs": {"x": X}})[0] == 200


def test_release_that_brings_an_engine_which_cannot_be_imported_is_at_fault(
    tmp_path, repo, options
):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("onnxruntime/__init__.py", BROKEN)
    name = "runtime/gateway/onnxruntime-1.20.0-py3-none-any.whl"
    files = variant_files(tmp_path / "two") | {name: (out.getvalue(), "runtime", "gateway")}
    two = repo.publish(repo.bundle("2.0.0", files))
    with pytest.raises(RefusedError) as caught:
        update(options)
    assert caught.value.code == "candidate-refused"
    assert "libgomp" in status(options.home)["refused"][two.digest]["why"]


@pytest.mark.parametrize("isolate", [False, True])
def test_server_that_starts_without_its_engine_gives_no_release_up(
    tmp_path, repo, options, broken, isolate
):
    hidden = broken.parent.with_name("hidden")
    broken.parent.rename(hidden)
    update(options)
    repo.publish(repo.bundle("1.1.0", variant_files(tmp_path / "two", seed=1)))
    update(options)
    hidden.rename(broken.parent)
    with Running(options.home, isolate=isolate) as server:
        assert server.ask("/v1/predict", {"inputs": {"x": X}})[0] == 503
        assert "engine-import-failed" in server.status()["trouble"]
        told = status(options.home)
        assert (told["refused"], told["current"]["version"]) == ({}, "1.1.0")
        broken.parent.rename(hidden)
        server.until(lambda about: about["current"] is not None)
        assert server.ask("/v1/predict", {"inputs": {"x": X}})[1]["version"] == "1.1.0"


def test_release_that_was_refused_is_told_again_as_it_was(tmp_path, repo, options, capsys):
    update(options)
    bad = variant_files(tmp_path / "bad")
    bad["variants/gateway/model.onnx"] = (b"no model", "variant", "gateway")
    two = repo.publish(repo.bundle("2.0.0", bad))
    given = ["--home", str(options.home), "--repo", options.repo, "--root", str(options.root)]
    assert [agent(["update", *given]) for _ in range(2)] == [5, 5]
    first, second = capsys.readouterr().err.split("error: ")[1:]
    assert "[candidate-refused]" in first
    assert "2.0.0 is offered and not taken: this device refused it before" in second
    assert "digest-mismatch" in second  # why it was
    assert "--retry" in second
    assert agent(["update", *given, "--json"]) == 5
    told = json.loads(capsys.readouterr().out)
    assert told["error"]["code"] == "release-refused"
    assert (told["outcome"], told["current"]["version"]) == ("refused", "1.0.0")
    assert told["refused"][two.digest]["code"] == "candidate-refused"


def test_release_with_an_unsafe_library_is_told_again_with_its_own_code(
    tmp_path, repo, options, capsys
):
    update(options)
    name = "runtime/gateway/engine-1.0-py3-none-any.whl"
    bad = variant_files(tmp_path / "bad") | {name: (b"no archive", "runtime", "gateway")}
    repo.publish(repo.bundle("2.0.0", bad))
    given = ["--home", str(options.home), "--repo", options.repo, "--root", str(options.root)]
    for _ in range(2):
        assert agent(["update", *given, "--json"]) == 20
        assert json.loads(capsys.readouterr().out)["error"]["code"] == "wheel-unsafe"


def test_release_that_a_person_took_back_is_as_wanted(tmp_path, repo, options, capsys):
    update(options)
    repo.publish(repo.bundle("2.0.0", variant_files(tmp_path / "two", seed=1)))
    update(options)
    given = ["--home", str(options.home), "--repo", options.repo, "--root", str(options.root)]
    assert agent(["rollback", "--home", str(options.home)]) == 0
    capsys.readouterr()
    assert agent(["update", *given]) == 0
    said = capsys.readouterr().out
    assert said.startswith("refused: rolled back by hand\n")
    assert "again:     update with --retry" in said
    assert agent(["update", *given, "--retry"]) == 0
