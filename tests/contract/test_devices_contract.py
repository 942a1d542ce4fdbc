"""What every registered device keeps, measured with a real model."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgeops.core import registry
from edgeops.core.contracts import Samples
from edgeops.core.variant import TensorInfo, Variant, entries, write_variant
from edgeops.errors import InputError, MissingError, TransportError, TrustError
from edgeops.runtime.probe import FORMAT, read_outputs, write_samples
from edgeops.validate.devices import local
from edgeops.validate.measured import device
from tests.helpers import write_tiny_model

# A device that is elsewhere needs an address; those are measured where there is one.
DEVICES = [name for name in registry.names("devices") if name == "local"]


@pytest.fixture(params=DEVICES)
def reached(request):
    with registry.get("devices", request.param).reach("") as found:
        yield found


def variant(folder, seed=0):
    """Write the variant of a tiny model by hand."""
    folder.mkdir(parents=True)
    write_tiny_model(folder / "model.onnx", seed=seed)
    made = Variant(
        engine="onnxruntime",
        engine_version="1",
        precision="fp32",
        model_file="model.onnx",
        inputs=(TensorInfo("x", ("N", 4), "float32"),),
        outputs=(TensorInfo("probabilities", ("N", 3), "float32"),),
        source="sha256:0",
        files=entries(folder),
    )
    write_variant(folder, made)
    return folder


@pytest.fixture
def request_(tmp_path, reached):
    """Push a variant and samples, and return the request that measures it."""
    arrays = {"x": np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)}
    about = write_samples(tmp_path / "few.npz", Samples(arrays, None, 40, "", ""))
    reached.push(tmp_path / "few.npz", "few.npz")
    reached.push(variant(tmp_path / "v"), "v")
    return {
        "format": FORMAT,
        "variant": "v",
        "threads": 1,
        "few": about,
        "seconds": 0.1,
        "least": 10,
    }


def test_device_says_what_it_is(reached):
    about = reached.probe()
    assert about["name"] == reached.name
    assert about["cores"] >= 1
    json.dumps(about)


def test_device_gives_back_what_was_pushed(reached, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "file").write_bytes(b"\0\1")
    reached.push(tmp_path / "one", "there")
    reached.pull("there", tmp_path / "back")
    assert (tmp_path / "back" / "file").read_bytes() == b"\0\1"


@pytest.mark.parametrize("path", ["../outside", "/etc/outside"])
def test_device_writes_only_into_its_folder(reached, tmp_path, path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError) as refused:
        reached.push(tmp_path / "file", path)
    assert refused.value.code == "path-outside"


def test_device_measures_time_and_memory(reached, request_):
    answer = reached.run(request_, timeout_s=60)
    assert len(answer["latency_ns"]) >= 10
    assert min(answer["latency_ns"]) > 0
    assert answer["load_ms"] > 0
    assert answer["first_call_ms"] > 0
    assert 10e6 < answer["peak_rss_bytes"] < 2e9
    assert "outputs" not in answer


def test_device_evaluates_all_samples(reached, request_, tmp_path):
    answer = reached.run({**request_, "data": request_["few"], "out": "out.npz"}, timeout_s=60)
    reached.pull("out.npz", tmp_path / "out.npz")
    outputs = read_outputs(tmp_path / "out.npz", answer["outputs"])
    assert list(outputs) == ["probabilities"]
    assert outputs["probabilities"].shape == (40, 3)
    assert np.allclose(outputs["probabilities"].sum(axis=1), 1)


def test_device_measures_in_pairs(reached, request_, tmp_path):
    reached.push(variant(tmp_path / "w", seed=1), "w")
    answer = reached.run({**request_, "against": "w", "trials": 3}, timeout_s=60)
    assert len(answer["trials"]) == 3
    assert all(0.1 < trial["ratio"] < 10 for trial in answer["trials"])
    assert all(trial["pairs"] >= 5 for trial in answer["trials"])


def test_device_hands_on_what_the_program_refuses(reached, request_, tmp_path):
    (tmp_path / "v" / "model.onnx").write_bytes(b"changed")
    with pytest.raises(TrustError) as refused:
        reached.run(request_, timeout_s=60)
    assert refused.value.code == "digest-mismatch"


def test_device_of_another_version_is_refused(reached, request_):
    with pytest.raises(InputError) as refused:
        reached.run({**request_, "format": "edgeops.probe/0"}, timeout_s=60)
    assert refused.value.code == "probe-request"


def test_device_kind_nobody_registered_is_refused():
    with pytest.raises(MissingError) as refused, device("carrier-pigeon:coo"):
        pass
    assert refused.value.code == "plugin-unknown"


def test_local_takes_no_address():
    with pytest.raises(InputError) as refused, device("local:there"):
        pass
    assert refused.value.code == "device-address"


def test_work_folder_is_gone_afterwards():
    with device("local") as found:
        folder = found.folder
        assert folder.is_dir()
    assert not folder.exists()


def instead(monkeypatch, code):
    """Have the local device run ``code`` in place of the measuring program."""
    monkeypatch.setattr(local, "PROGRAM", ("-c", code))


def test_program_that_does_not_answer_is_ended(monkeypatch):
    monkeypatch.setattr(local, "_SLACK_S", 0.5)
    instead(monkeypatch, "import time; time.sleep(60)")
    with device("local") as found, pytest.raises(TransportError) as failed:
        found.run({}, timeout_s=0.5)
    assert failed.value.code == "probe-timeout"


def test_killed_program_says_that_memory_may_have_run_out(monkeypatch):
    instead(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    with device("local") as found, pytest.raises(TransportError) as failed:
        found.run({}, timeout_s=20)
    assert failed.value.code == "probe-killed"
    assert "SIGKILL, as the system does when memory runs out" in failed.value.why


def test_failing_program_is_told_by_its_last_line(monkeypatch):
    instead(monkeypatch, "import nothing_of_that_name")
    with device("local") as found, pytest.raises(MissingError) as failed:
        found.run({}, timeout_s=20)
    assert failed.value.code == "probe-failed"
    assert failed.value.why == "ModuleNotFoundError: No module named 'nothing_of_that_name'"


def test_two_measurements_never_share_the_machine(reached, request_):
    path = Path(tempfile.gettempdir()) / local.LOCK
    handle = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(reached.run(request_, timeout_s=60))
        )
        thread.start()
        time.sleep(1.5)
        assert answers == []
        fcntl.flock(handle, fcntl.LOCK_UN)
        thread.join(60)
        assert len(answers) == 1
    finally:
        os.close(handle)
