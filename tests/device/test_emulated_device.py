"""What the device emulated:arm64 keeps, with the real userland under the real emulator."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from dataclasses import replace

import numpy as np
import pytest

from edgeops.cli import main
from edgeops.core.contracts import Samples
from edgeops.core.environment import look
from edgeops.core.variant import read_variant, write_variant
from edgeops.errors import ExitCode, InputError, MissingError, TransportError, TrustError
from edgeops.runtime.batch import run_batched
from edgeops.runtime.probe import FORMAT, read_outputs, write_samples
from edgeops.runtime.session import load_session
from edgeops.validate.devices.emulated import enter as emulated_enter
from edgeops.validate.devices.emulated.device import EmulatedDevice
from edgeops.validate.devices.emulated.shell import UserlandShell
from tests import corpus_models
from tests.device._emulated import document, needs_qemu, running, userland, userland_place  # noqa: F401 - fixtures
from tests.helpers import write_tiny_data
from tests.measuring import variant

pytestmark = [needs_qemu, pytest.mark.slow]
LONG_S = 300
MODELS = {model.name: model for model in corpus_models.ONNX}


@pytest.fixture
def reached(userland):  # noqa: F811 - pytest's way of naming what a test needs
    with EmulatedDevice().reach("arm64") as found:
        yield found


@pytest.fixture
def shell(userland):  # noqa: F811
    return UserlandShell(emulated_enter.enter(userland))


def measured(reached, folder, arrays, count, work):
    """Return the answer and the outputs of all samples on the device."""
    about = write_samples(work / "few.npz", Samples(arrays, None, count, "", ""))
    reached.push(work / "few.npz", "few.npz")
    reached.push(folder, "v")
    request = {"format": FORMAT, "do": "measure", "variant": "v", "threads": 1, "few": about}
    request |= {"seconds": 0, "least": 1, "data": about, "out": "out.npz"}
    answer = reached.run(request, timeout_s=LONG_S)
    reached.pull("out.npz", work / "out.npz")
    return answer, read_outputs(work / "out.npz", answer["outputs"])


def here(folder, arrays, count):
    """Return the outputs of all samples on this machine."""
    return run_batched(load_session(folder), Samples(arrays, None, count, "", ""))


def converted(model, engine, tmp_path):
    """Convert a model of the corpus and return its variant, or skip where the engine is not here."""
    out = tmp_path / engine
    code = main(["convert", str(model), "--to", engine, "-o", str(out), "--json"])
    if code == ExitCode.MISSING:
        pytest.skip(f"the engine {engine} or its converter is not installed here")
    assert code == 0
    return out


def test_it_says_that_it_is_arm64_and_which_engines_it_has(reached):
    about = reached.probe()
    assert about["machine"] == "aarch64"
    assert about["emulated"] is True
    assert about["where"] == "emulated:arm64"
    assert about["engines"]["onnxruntime"]["version"] == _installed()["onnxruntime"]


def _installed():
    packages = look(EmulatedDevice.environment).marker["packages"]
    assert packages.items() <= EmulatedDevice.environment.versions.items()
    return packages


@pytest.mark.parametrize("engine", ["onnxruntime", "litert", "mnn", "ncnn", "openvino"])
def test_outputs_for_digits_agree_with_this_machine(corpus, reached, engine, tmp_path, capsys):
    model = MODELS["mnist_cnn"]
    folder = converted(corpus / model.file, engine, tmp_path)
    with np.load(model.data(corpus, tmp_path / "data.npz")) as data:
        arrays, labels = {"Input3": data["Input3"][:20]}, data["labels"][:20]
    answer, outputs = measured(reached, folder, arrays, 20, tmp_path)
    assert answer["engine_version"] == read_variant(folder).engine_version
    mine, theirs = here(folder, arrays, 20)[model.score], outputs[model.score]
    np.testing.assert_allclose(theirs, mine, rtol=1e-4, atol=1e-3 * np.abs(mine).max())
    assert (theirs.argmax(axis=1) == mine.argmax(axis=1)).all()
    assert (theirs.argmax(axis=1) == labels).mean() >= 0.95


def test_outputs_for_faces_agree_with_this_machine(corpus, reached, tmp_path, capsys):
    model = MODELS["ultraface"]
    folder = converted(corpus / model.file, "onnxruntime", tmp_path)
    with np.load(model.data(corpus, tmp_path / "data.npz")) as data:
        arrays = {"input": data["input"][:1]}
    _, outputs = measured(reached, folder, arrays, 1, tmp_path)
    for name, mine in here(folder, arrays, 1).items():
        np.testing.assert_allclose(outputs[name], mine, rtol=1e-4, atol=1e-5, err_msg=name)


def test_int8_keywords_agree_with_this_machine(corpus, reached, tmp_path, capsys):
    model = next(model for model in corpus_models.TFLITE if model.name == "kws_int8")
    folder = converted(corpus / model.file, "litert", tmp_path)
    with np.load(model.data(corpus, tmp_path / "data.npz")) as data:
        arrays = {"input_1": data["input_1"][:20]}
    _, outputs = measured(reached, folder, arrays, 20, tmp_path)
    for name, mine in here(folder, arrays, 20).items():
        # Kernels may round the last bit of an integer differently.
        assert np.abs(outputs[name].astype(int) - mine.astype(int)).max() <= 1, name


def test_a_latency_gate_is_inconclusive_and_says_why(userland, tmp_path, capsys):  # noqa: F811
    folder = variant(tmp_path / "v")
    data = write_tiny_data(tmp_path / "data.npz", folder / "model.onnx", count=20)
    gates = ["--gate", "latency_p50_ms<=100000", "--gate", "accuracy>=0.9"]
    where = ["--device", "emulated:arm64", "--evaluation", str(data), "--metric", "accuracy"]
    code = main(["validate", str(folder), *where, "--seconds", "0.1", *gates, "--json"])
    result = document(capsys)
    assert code == ExitCode.GATE_INCONCLUSIVE
    verdicts = {gate["name"]: gate for gate in result["gates"]}
    assert verdicts["accuracy"]["verdict"] == "pass"
    assert verdicts["latency_p50_ms"]["verdict"] == "inconclusive"
    assert "emulated" in verdicts["latency_p50_ms"]["why"]
    assert "measure on a device where this can be judged" in result["error"]["fix"]
    assert result["metrics"]["engine_mb"] > 1


def test_what_was_pushed_comes_back_and_is_gone_afterwards(userland, tmp_path):  # noqa: F811
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a file").write_bytes(b"\0\1")
    with EmulatedDevice().reach("arm64") as reached:
        reached.push(tmp_path / "one", "there")
        reached.pull("there", tmp_path / "back")
        work = reached.work
    assert (tmp_path / "back" / "a file").read_bytes() == b"\0\1"
    assert not (userland.home / work.removeprefix("/home/edgeops/")).exists()


def test_it_writes_only_into_its_folder(reached, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError) as refused:
        reached.push(tmp_path / "file", "../outside")
    assert refused.value.code == "path-outside"


def test_it_hands_on_what_the_program_refuses(reached, tmp_path):
    folder = variant(tmp_path / "v")
    (folder / "model.onnx").write_bytes(b"changed")
    with pytest.raises(TrustError) as refused:
        measured(reached, folder, {"x": np.zeros((2, 4), "float32")}, 2, tmp_path)
    assert refused.value.code == "digest-mismatch"


def test_a_variant_of_an_engine_that_is_not_there_is_refused_before_it_is_sent(reached, tmp_path):
    folder = variant(tmp_path / "v")
    about = replace(read_variant(folder), engine="executorch")
    write_variant(folder, about)
    with pytest.raises(MissingError) as refused:
        reached.push(folder, "v")
    assert refused.value.code == "emulated-engine"
    with pytest.raises(MissingError) as refused:
        EmulatedDevice().answers("arm64", "executorch")
    assert refused.value.code == "emulated-engine"
    EmulatedDevice().answers("arm64", "onnxruntime")


def test_two_measurements_never_share_the_machine(reached, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder, said = variant(tmp_path / "v"), []
    about = write_samples(
        tmp_path / "n.npz", Samples({"x": np.zeros((1, 4), "f")}, None, 1, "", "")
    )
    reached.push(tmp_path / "n.npz", "n.npz")
    reached.push(folder, "v")
    lock = os.open(tmp_path / "edgeops-device-local.lock", os.O_RDONLY | os.O_CREAT, 0o644)
    fcntl.flock(lock, fcntl.LOCK_EX)

    def tell(progress):
        said.append(progress)
        if "waiting" in str(progress.get("what")):
            fcntl.flock(lock, fcntl.LOCK_UN)

    request = {"format": FORMAT, "do": "measure", "variant": "v", "threads": 1, "least": 1}
    request |= {"few": {**about, "file": "n.npz"}, "seconds": 0}
    try:
        reached.run(request, timeout_s=LONG_S, tell=tell)
    finally:
        os.close(lock)
    assert any("waiting" in str(progress.get("what")) for progress in said)


def test_nothing_but_the_home_can_be_written(shell):
    done = shell.run("touch here && touch /tmp/there && ! touch /usr/bin/python4", timeout_s=60)
    assert done.code == 0
    assert b"Read-only" in done.err


def test_no_network_and_no_other_process_is_seen(shell):
    lines = shell.run("cat /proc/net/dev; ls -d /proc/[0-9]*", timeout_s=60).out.decode()
    assert "lo:" in lines
    assert "eth" not in lines
    assert lines.count("/proc/") <= 4


def test_programs_that_a_program_starts_are_emulated_too(shell):
    code = "import subprocess; print(subprocess.check_output(['uname', '-m']).decode().strip())"
    assert shell.run(f'python3 -c "{code}"', timeout_s=60).out == b"aarch64\n"


def test_what_takes_too_long_is_ended_with_all_that_it_started(shell):
    with pytest.raises(TransportError) as ended:
        shell.run("(sleep 98765.25 & sleep 98765.25)", timeout_s=2)
    assert ended.value.code == "device-timeout"
    deadline = time.monotonic() + 30
    while running("98765.25"):  # the kernel takes a moment to end a whole namespace
        assert time.monotonic() < deadline, running("98765.25")
        time.sleep(0.05)


def test_files_are_appended_to_where_they_were_broken_off(shell, userland, tmp_path):  # noqa: F811
    (tmp_path / "file").write_bytes(bytes(range(200)))
    goal = f"{emulated_enter.HOME}/appended"
    shell.put(tmp_path / "file", goal)
    os.truncate(userland.home / "appended", 70)
    shell.put(tmp_path / "file", goal, offset=70)
    shell.get(goal, tmp_path / "back")
    (userland.home / "appended").unlink()
    assert (tmp_path / "back").read_bytes() == bytes(range(200))


@pytest.mark.parametrize("path", ["/etc/passwd", "/home/edgeops/../../etc/passwd"])
def test_the_shell_takes_no_files_from_outside_the_home(shell, tmp_path, path):
    with pytest.raises(InputError) as refused:
        shell.get(path, tmp_path / "file")
    assert refused.value.code == "path-outside"


def test_without_namespaces_proot_is_the_way(userland, tmp_path, monkeypatch):  # noqa: F811
    if not shutil.which("proot"):
        pytest.skip("proot is not here: apt-get install proot")
    _refusing(tmp_path / "bin", "unshare", monkeypatch)
    entrance = emulated_enter.enter(userland)
    assert entrance.way == emulated_enter.PROOT
    done = UserlandShell(entrance).run("pwd; python3 -c 'import numpy'", timeout_s=LONG_S)
    assert (done.code, done.out) == (0, b"/home/edgeops\n")


def test_without_any_way_in_both_refusals_are_told(userland, tmp_path, monkeypatch):  # noqa: F811
    _refusing(tmp_path / "bin", "unshare", monkeypatch)
    _refusing(tmp_path / "bin", "proot", monkeypatch)
    with pytest.raises(MissingError) as refused, EmulatedDevice().reach("arm64"):
        pass
    assert refused.value.code == "emulated-refused"
    assert refused.value.why == "unshare: unshare: not for you; proot: proot: not for you"


def _refusing(folder, name, monkeypatch):
    """Put a program first on the path that refuses."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{name}: not for you' >&2\nexit 1\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
