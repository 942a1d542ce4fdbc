"""The agent's program as one file: complete, the same each time, and trusting without cryptography."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile

import pytest

from edgeops.cli import main
from edgeops.core import pyz
from edgeops.errors import MissingError
from edgeops.package import agent_pyz
from edgeops.publish.keys import init_keys
from tests.unit._bundles import make_bundle, release
from tests.unit.test_device_python import bare_python

MOST_BYTES = 3_000_000


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "agent.pyz"
    agent_pyz.make(path)
    return path


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Return a Python that has numpy and nothing else."""
    return bare_python(tmp_path_factory.mktemp("bare") / "venv", sys.executable, "numpy")


def _run(python, *arguments):
    return subprocess.run(
        [python, "-I", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )


def test_program_holds_sources_entry_points_and_licences(program):
    with zipfile.ZipFile(program) as archive:
        names = archive.namelist()
        points = archive.read(next(name for name in names if name.endswith("entry_points.txt")))
    assert names == sorted(names)
    assert {"edgeops/runtime/agent/cli.py", "tuf/ngclient/updater.py", "urllib3/poolmanager.py"} < {
        *names
    }
    assert b"onnxruntime = edgeops.runtime.engines.onnxruntime:OnnxRuntimeEngine" in points
    for package in agent_pyz.PACKAGES:
        assert [name for name in names if name.startswith(f"{package}-") and "/licenses/" in name]
    allowed = ("edgeops", "tuf", "securesystemslib", "urllib3", "__main__.py")
    assert all(name.startswith(allowed) for name in names)
    rooms = {name.split("/")[1] for name in names if name.startswith("edgeops/")}
    assert rooms == {"__init__.py", "core", "errors.py", "runtime"}
    assert program.stat().st_size < MOST_BYTES


def test_program_is_the_same_each_time(program):
    again = (agent_pyz.PROGRAM, agent_pyz._modules(), agent_pyz.PACKAGES)
    assert pyz.content(*again, compressed=False) == program.read_bytes()
    with zipfile.ZipFile(program) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_package_that_is_not_installed_is_said():
    with pytest.raises(MissingError) as caught:
        pyz.content(agent_pyz.PROGRAM, (), ("no-such-package",))
    assert caught.value.code == "pyz-package"


def test_verb_writes_it(tmp_path, capsys):
    assert main(["-C", str(tmp_path), "agent", "pyz", "-o", "a.pyz", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["bytes"] == (tmp_path / "a.pyz").stat().st_size
    assert result["program"] == str(tmp_path / "a.pyz")


def _update(python, program, place):
    given = ("--repo", place / "repo", "--root", place / "keys" / "root.json")
    names = ("--home", place / "home", "--target", "gateway", "--channel", "stable")
    done = _run(python, program, "update", *given, *names, "--device-id", "d", "--json")
    return done.returncode, json.loads(done.stdout), done.stderr


def test_signatures_are_verified_where_there_is_only_numpy(program, python, tmp_path):
    assert _run(python, "-c", "import cryptography").returncode == 1
    assert _run(python, program, "--version").returncode == 0
    init_keys(tmp_path / "keys")
    release(tmp_path, make_bundle(tmp_path / "b", key=tmp_path / "keys"), now=None)
    code, result, error = _update(python, program, tmp_path)
    # The metadata held; what is missing is an engine, which this Python does not have.
    assert (code, result["error"]["code"]) == (5, "device-unfit"), (result, error)
    timestamp = tmp_path / "repo" / "metadata" / "timestamp.json"
    document = json.loads(timestamp.read_bytes())
    document["signed"]["version"] += 1
    timestamp.write_text(json.dumps(document))
    code, result, _ = _update(python, program, tmp_path)
    assert code == 20, result


def test_wheel_of_pure_sources_is_importable_from_the_program(program, python):
    asked = "import sys; sys.path.insert(0, sys.argv[1]); import securesystemslib.signer, urllib3"
    done = _run(python, "-c", asked, program)
    assert (done.returncode, done.stderr) == (0, "")
    assert zipfile.is_zipfile(io.BytesIO(program.read_bytes()))
