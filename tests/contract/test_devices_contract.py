"""What every registered device keeps, measured with a real model."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgeops.core import registry
from edgeops.core.contracts import Samples
from edgeops.errors import InputError, MissingError, TransportError, TrustError
from edgeops.runtime.probe import read_outputs, write_samples
from edgeops.validate.devices import local
from edgeops.validate.devices.remote import asking
from edgeops.validate.measured import device
from tests import faulty_engine
from tests.faulty_engine import gone, pids
from tests.measuring import pushed, variant

# A device that is elsewhere needs an address; those are measured where there is one.
DEVICES = [name for name in registry.names("devices") if name == "local"]


@pytest.fixture(params=DEVICES)
def reached(request):
    with registry.get("devices", request.param).reach("") as found:
        yield found


@pytest.fixture
def request_(tmp_path, reached):
    """Push a variant and samples, and return the request that measures it."""
    return pushed(reached, tmp_path)


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
    asked = {**request_, "do": "pair", "against": "w", "trials": 3, "seconds": 2}
    told = []
    answer = reached.run(asked, timeout_s=60, tell=told.append)
    assert len(answer["trials"]) == 3
    assert all(0.1 < trial["ratio"] < 10 for trial in answer["trials"])
    assert [line["ratio"] for line in told if line["say"] == "trial"] == [
        trial["ratio"] for trial in answer["trials"]
    ]


def test_device_replays_samples(reached, request_, tmp_path):
    asked = {**request_, "do": "replay", "data": request_["few"], "out": "out.npz"}
    answer = reached.run(asked, timeout_s=60)
    reached.pull("out.npz", tmp_path / "out.npz")
    outputs = read_outputs(tmp_path / "out.npz", answer["outputs"])
    assert outputs["probabilities"].shape == (40, 3)
    assert answer["outputs"]["rows"] == list(range(40))
    assert answer["errors"] == {}


def test_device_tells_what_is_done(reached, request_):
    told = []
    asked = {**request_, "data": request_["few"], "out": "out.npz"}
    reached.run(asked, timeout_s=60, tell=told.append)
    phases = [line["phase"] for line in told if line["say"] == "phase"]
    assert phases[:4] == ["start", "import", "load", "run"]
    assert sum(line["parts"] for line in told if line["say"] == "advance") == 40


def test_device_says_what_each_phase_held_and_who_disturbed(reached, request_):
    answer = reached.run(request_, timeout_s=60)
    assert list(answer["memory"]) == ["start", "import", "load", "run"]
    assert all(1e6 < held < 2e9 for held in answer["memory"].values())
    noise = answer["noise"]
    assert all(noise[name] is not None or noise["absent"][name] for name in set(noise) - {"absent"})
    assert answer["energy"].get("absent") or answer["energy"]["per_call_mj"] > 0
    assert answer["cpu_ms_per_call"] > 0


def test_device_runs_on_the_processors_that_are_asked_for(reached, request_):
    assert reached.run({**request_, "affinity": [0]}, timeout_s=60)["calls"] >= 10
    with pytest.raises(InputError) as refused:
        reached.run({**request_, "affinity": [4000]}, timeout_s=60)
    assert refused.value.code == "affinity-unknown"


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


@pytest.fixture
def faulty(tmp_path, monkeypatch, reached, request_):
    """Return a function that pushes a variant which fails as told, and what asks for it."""
    faulty_engine.install(tmp_path / "engine", monkeypatch)

    def push(**extra):
        extra["pids"] = str(tmp_path / "pids")
        reached.push(faulty_engine.variant(tmp_path / "faulty", **extra), "faulty")
        few = write_samples(
            tmp_path / "f.npz", Samples({"x": np.ones((8, 4), np.float32)}, None, 8, "", "")
        )
        reached.push(tmp_path / "f.npz", "f.npz")
        return {**request_, "variant": "faulty", "few": few}

    return push


def nothing_left(tmp_path):
    return all(gone(pid) for pid in pids(tmp_path / "pids")[::2])


def test_call_that_hangs_is_ended_and_what_was_measured_is_kept(reached, faulty, tmp_path):
    asked = {**faulty(run="hang", kept=20, starts=True), "seconds": 2, "call_timeout_s": 3}
    with pytest.raises(TransportError) as failed:
        reached.run(asked, timeout_s=60)
    assert failed.value.code == "inference-hung"
    partial = failed.value.result["partial"]
    assert partial["phase"] == "latency"
    assert len(partial["latency_ns"]) == partial["calls"] == 20
    assert nothing_left(tmp_path)


def test_measurement_that_takes_too_long_is_ended_in_its_phase(reached, faulty, tmp_path):
    with pytest.raises(TransportError) as failed:
        # Long enough to come as far as the load on a machine that is busy.
        reached.run(faulty(load="hang", starts=True), timeout_s=10)
    assert failed.value.code == "probe-timeout"
    assert failed.value.result["partial"]["phase"] == "load"
    assert nothing_left(tmp_path)


def test_process_that_is_killed_leaves_what_it_had_measured(reached, faulty, tmp_path):
    with pytest.raises(TransportError) as failed:
        reached.run(faulty(run="SIGKILL", starts=True), timeout_s=60)
    assert failed.value.code == "probe-killed"
    assert "as the system does when memory runs out" in failed.value.why
    assert failed.value.result["partial"]["load_ms"] >= 0
    assert nothing_left(tmp_path)


def test_device_goes_on_after_a_failure(reached, faulty, request_):
    with pytest.raises(TransportError):
        reached.run(faulty(run="SIGSEGV"), timeout_s=60)
    assert reached.run(request_, timeout_s=60)["calls"] >= 10


def test_what_was_reached_is_gone_when_edgeops_is_killed(tmp_path, monkeypatch):
    faulty_engine.install(tmp_path / "engine", monkeypatch)
    faulty_engine.variant(tmp_path / "v", run="hang", pids=str(tmp_path / "pids"), starts=True)
    few = write_samples(
        tmp_path / "few.npz", Samples({"x": np.ones((8, 4), np.float32)}, None, 8, "", "")
    )
    code = (
        "import json, sys\nfrom pathlib import Path\nfrom edgeops.validate.measured import device\n"
        "with device('local') as found:\n"
        "    print(found.folder, flush=True)\n"
        f"    found.push(Path({str(tmp_path / 'v')!r}), 'v')\n"
        f"    found.push(Path({str(tmp_path / 'few.npz')!r}), 'few.npz')\n"
        f"    found.run(json.loads({json.dumps({'variant': 'v', 'threads': 1, 'few': few, 'lock': ''})!r}),"
        " timeout_s=60)\n"
    )
    client = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with client:
        folder = Path(client.stdout.readline().strip())
        running = pids(tmp_path / "pids")
        client.kill()
    assert all(gone(pid) for pid in running)
    assert not folder.exists()


def instead(monkeypatch, code):
    """Have the local device run ``code`` in place of the measuring program."""
    monkeypatch.setattr(local, "PROGRAM", ("-c", code))


def test_program_that_does_not_answer_is_ended(monkeypatch):
    monkeypatch.setattr(asking, "_SLACK_S", 0.5)
    instead(monkeypatch, "import time; time.sleep(60)")
    with device("local") as found, pytest.raises(TransportError) as failed:
        found.run({}, timeout_s=0.5)
    assert failed.value.code == "probe-timeout"


def test_program_that_fails_while_it_measures_leaves_what_it_told(monkeypatch):
    instead(
        monkeypatch,
        'import sys; input(); print(\'{"say": "phase", "phase": "load"}\'); sys.exit(3)',
    )
    with device("local") as found, pytest.raises(MissingError) as failed:
        found.run({}, timeout_s=20)
    assert failed.value.code == "probe-failed"
    assert failed.value.result["partial"] == {"phase": "load"}


def test_answer_counts_although_the_program_does_not_end(monkeypatch):
    monkeypatch.setattr(asking, "_SLACK_S", 0.5)
    instead(
        monkeypatch,
        'import time; input(); print(\'{"answer": {"calls": 1}}\', flush=True); time.sleep(60)',
    )
    with device("local") as found:
        assert found.run({}, timeout_s=5) == {"calls": 1}


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
        thread.join(300)  # another measurement on this machine may come before it
        assert len(answers) == 1
    finally:
        os.close(handle)
