"""The measuring program spoken to as a device does: lines in, lines out, and what ends it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgeops.core.contracts import Samples
from edgeops.runtime.probe import FORMAT, read_outputs, write_samples
from tests import faulty_engine
from tests.faulty_engine import gone, pids

COMMAND = [sys.executable, "-m", "edgeops.runtime.probe"]
WAIT_S = 60


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Return a work folder with samples; the faulty engine is there."""
    faulty_engine.install(tmp_path / "engine", monkeypatch)
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


class Program:
    """The program in a work folder; ``lines`` are what it says, ``ask`` begins."""

    def __init__(self, folder, **request):
        self.folder = folder
        arrays = {"x": np.ones((6, 4), np.float32)}
        about = write_samples(folder / "few.npz", Samples(arrays, None, 6, "", ""))
        self.request = {
            "format": FORMAT,
            "do": "measure",
            "variant": "v",
            "threads": 1,
            "few": about,
            "seconds": 0.05,
            "least": 5,
            **request,
        }
        self.process = subprocess.Popen(
            COMMAND, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.say(json.dumps(self.request))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def say(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def until(self, say, what):
        """Read up to the line of progress that says so."""
        for line in self.process.stdout:
            message = json.loads(line)
            if message.get("say") == say and what in message.values():
                return message
        pytest.fail(f"it never said {say} {what}")

    def last(self):
        lines = [json.loads(line) for line in self.process.stdout]
        assert self.process.wait(WAIT_S) == 0
        assert all("say" in line for line in lines[:-1])
        return lines[-1]


def test_answer_comes_after_what_was_done(work):
    faulty_engine.variant(work / "v")
    with Program(
        work, data={"file": "few.npz", "names": ["x"], "count": 6}, out="o.npz"
    ) as program:
        lines = [json.loads(line) for line in program.process.stdout]
    phases = [line["phase"] for line in lines if line.get("say") == "phase"]
    assert phases == ["start", "import", "load", "run", "warm-up", "latency", "timed", "evaluate"]
    assert {"say": "advance", "parts": 6} in lines
    answer = lines[-1]["answer"]
    assert answer["calls"] == len(answer["latency_ns"]) >= 5
    assert list(answer["memory"]) == ["start", "import", "load", "run"]
    assert answer["memory"]["start"] < answer["memory"]["import"]
    assert answer["peak_rss_bytes"] == max(answer["memory"]["load"], answer["memory"]["run"])
    assert set(answer["energy"]) in ({"absent"}, {"joules", "source", "per_call_mj"})
    noise = answer["noise"]
    assert all(noise[name] is not None or noise["absent"][name] for name in set(noise) - {"absent"})
    outputs = read_outputs(work / "o.npz", answer["outputs"])
    assert (outputs["y"] == 2).all()


def test_answer_of_a_process_that_does_not_end_counts(work, tmp_path):
    faulty_engine.variant(work / "v", lingers=True, pids=str(tmp_path / "pids"))
    with Program(work) as program:
        assert json.loads(program.process.stdout.readlines()[-1])["answer"]["calls"]
        assert program.process.wait(WAIT_S) == 0
    assert gone(pids(tmp_path / "pids")[0])


def test_end_of_input_ends_everything_and_removes_an_owned_folder(work, tmp_path):
    faulty_engine.variant(work / "v", run="hang", pids=str(tmp_path / "pids"), starts=True)
    with Program(work, work=str(work), owned=True) as program:
        program.until("phase", "run")
        running = pids(tmp_path / "pids")
        assert len(running) == 3
        program.process.stdin.close()
        assert program.process.wait(WAIT_S) == 130
    assert all(gone(pid) for pid in running)
    assert not work.exists()


def test_folder_that_is_not_owned_stays(work):
    faulty_engine.variant(work / "v", run="hang")
    with Program(work, work=str(work)) as program:
        program.until("phase", "run")
        program.process.stdin.close()
        assert program.process.wait(WAIT_S) == 130
    assert (work / "v").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_everything(work, tmp_path, number):
    faulty_engine.variant(work / "v", run="hang", pids=str(tmp_path / "pids"))
    with Program(work, work=str(work), owned=True) as program:
        program.until("phase", "run")
        child, _ = pids(tmp_path / "pids")
        program.process.send_signal(number)
        assert program.process.wait(WAIT_S) == 130
    assert gone(child)
    assert not work.exists()


def test_child_ends_with_a_supervisor_that_is_killed(work, tmp_path):
    faulty_engine.variant(work / "v", run="hang", pids=str(tmp_path / "pids"))
    with Program(work) as program:
        program.until("phase", "run")
        child, supervisor = pids(tmp_path / "pids")
        assert supervisor == program.process.pid
        program.process.kill()
    assert gone(child)


def test_silence_counts_as_the_end_where_a_heartbeat_is_asked_for(work, tmp_path):
    faulty_engine.variant(work / "v", run="hang", pids=str(tmp_path / "pids"))
    with Program(work, heartbeat_s=3.0, work=str(work), owned=True) as program:
        enough = threading.Event()

        def speak():
            while not enough.wait(0.2):
                program.say("")

        # From the start: what comes before the call that hangs may take long.
        speaking = threading.Thread(target=speak)
        speaking.start()
        try:
            program.until("phase", "run")
            time.sleep(4)
            assert program.process.poll() is None
        finally:
            enough.set()
            speaking.join()
        assert program.process.wait(WAIT_S) == 130
    assert gone(pids(tmp_path / "pids")[0])
    assert not work.exists()


def test_call_that_hangs_is_ended_with_what_was_measured(work, tmp_path):
    faulty_engine.variant(work / "v", run="hang", kept=20, pids=str(tmp_path / "pids"))
    with Program(work, seconds=2, call_timeout_s=3) as program:
        told = program.last()
    assert told["error"]["code"] == "inference-hung"
    assert told["exit"] == 30
    partial = told["partial"]
    assert partial["phase"] == "latency"
    assert partial["calls"] == len(partial["latency_ns"]) == 20
    assert partial["load_ms"] > 0
    assert partial["memory"]["import"] > 0
    assert gone(pids(tmp_path / "pids")[0])


def test_slow_calls_are_no_hung_ones(work):
    faulty_engine.variant(work / "v")
    with Program(work, seconds=3, call_timeout_s=2) as program:
        assert "answer" in program.last()


def test_load_that_hangs_is_ended_by_the_time_for_all(work):
    faulty_engine.variant(work / "v", load="hang")
    # Long enough to come as far as the load on a machine that is busy.
    with Program(work, timeout_s=10, call_timeout_s=0.2) as program:
        told = program.last()
    assert told["error"]["code"] == "probe-timeout"
    assert told["error"]["where"] == "load"


def test_kill_says_that_memory_may_have_run_out_and_how_much_there_was(work):
    faulty_engine.variant(work / "v", run="SIGKILL")
    with Program(work) as program:
        told = program.last()
    assert (told["error"]["code"], told["exit"]) == ("probe-killed", 30)
    assert "as the system does when memory runs out; it held up to" in told["error"]["why"]
    assert told["partial"]["phase"] == "run"


def test_crash_is_the_engines_fault(work):
    faulty_engine.variant(work / "v", run="SIGSEGV")
    with Program(work) as program:
        told = program.last()
    assert told["error"]["code"] == "probe-killed"
    assert told["error"]["why"] == "it was ended by SIGSEGV"
    assert "the engine crashed" in told["error"]["fix"]


def test_memory_that_is_refused_is_said(work):
    faulty_engine.variant(work / "v", run="memory")
    with Program(work) as program:
        told = program.last()
    assert (told["error"]["code"], told["exit"]) == ("probe-memory", 30)


def test_what_engines_print_is_no_answer(work):
    faulty_engine.variant(work / "v", load="chatter", run="chatter")
    with Program(work) as program:
        assert program.last()["answer"]["format"] == FORMAT


def test_lock_is_waited_for_and_the_wait_is_told(work, tmp_path):
    faulty_engine.variant(work / "v")
    lock = tmp_path / "lock"
    handle = os.open(lock, os.O_RDONLY | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with Program(work, lock=str(lock), timeout_s=WAIT_S) as program:
        program.until("step", "waiting for another measurement to end")
        os.close(handle)
        assert "answer" in program.last()


def test_waiting_for_the_lock_ends_with_whoever_asked(work, tmp_path):
    faulty_engine.variant(work / "v")
    lock = tmp_path / "lock"
    handle = os.open(lock, os.O_RDONLY | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with Program(work, lock=str(lock)) as program:
        program.until("step", "waiting for another measurement to end")
        program.process.stdin.close()
        assert program.process.wait(WAIT_S) == 130
    os.close(handle)


def test_lock_is_free_again_after_a_kill(work, tmp_path):
    faulty_engine.variant(work / "v", run="hang")
    lock = tmp_path / "lock"
    with Program(work, lock=str(lock)) as program:
        program.until("phase", "run")
        program.process.kill()
        program.process.wait(WAIT_S)
        handle = os.open(lock, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.close(handle)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "it is no JSON"),
        ("[]", "it is no JSON object"),
        ('{"format": "edgeops.probe/1"}', "format is 'edgeops.probe/1'"),
        (json.dumps({"format": FORMAT, "do": "dance"}), "do is 'dance'"),
    ],
)
def test_request_that_is_none_is_refused(line, why):
    done = subprocess.run(COMMAND, input=line + "\n", capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert (told["error"]["code"], told["exit"]) == ("probe-request", 3)
    assert told["error"]["why"].startswith(why)


def test_end_of_input_before_a_request_is_no_answer():
    done = subprocess.run(COMMAND, input="", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")


def test_processor_that_is_not_there_is_refused(work):
    faulty_engine.variant(work / "v")
    with Program(work, affinity=[4000]) as program:
        told = program.last()
    assert (told["error"]["code"], told["exit"]) == ("affinity-unknown", 3)


def test_about_says_which_engine_ended_the_program_that_imported_it(work, monkeypatch):
    monkeypatch.setenv("FAULTY_VERSION", "SIGILL")
    with Program(work, do="about", engines=["faulty", "onnxruntime", "nothing"]) as program:
        about = program.last()["answer"]
    assert about["engines"]["faulty"]["missing"] == "it was ended by SIGILL"
    assert "made for" in about["engines"]["faulty"]["fix"]
    assert about["engines"]["onnxruntime"]["version"]
    assert about["engines"]["nothing"]["missing"]
    for name in ("governor", "temperature_c", "battery", "memory_mb", "disk_free_mb", "numpy"):
        assert about[name] is not None or about["absent"][name]


def test_replay_answers_each_sample_and_names_the_error_of_those_that_raise(work, tmp_path):
    from tests.measuring import variant

    variant(work / "w")
    arrays = np.empty(4, dtype=object)
    for index, width in enumerate((4, 5, 4, 4)):
        arrays[index] = np.full(width, index, np.float32)
    about = write_samples(work / "all.npz", Samples({"x": arrays}, None, 4, "", ""))
    with Program(work, do="replay", variant="w", data=about, out="o.npz") as program:
        answer = program.last()["answer"]
    assert answer["outputs"]["rows"] == [0, 2, 3]
    assert {index: error["code"] for index, error in answer["errors"].items()} == {
        "1": "input-misfit"
    }
    outputs = read_outputs(work / "o.npz", answer["outputs"])
    assert outputs["probabilities"].shape == (3, 3)


def test_sustained_loop_tells_of_each_window(work):
    faulty_engine.variant(work / "v")
    with Program(work, sustained_s=2.2, seconds=0) as program:
        answer = program.last()["answer"]
    windows = answer["sustained"]["windows"]
    assert len(windows) >= 2
    assert sum(window["calls"] for window in windows) == answer["calls"]
    assert [window["start_s"] for window in windows] == sorted(w["start_s"] for w in windows)
    assert set(windows[0]) == {"start_s", "p50_ms", "calls", "temperature_c", "frequency_mhz"}
    assert len(answer["latency_ns"]) <= 200_000


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="not Linux")
def test_child_is_what_the_system_kills_first(work, tmp_path):
    faulty_engine.variant(work / "v", run="hang", pids=str(tmp_path / "pids"))
    with Program(work) as program:
        program.until("phase", "run")
        child, supervisor = pids(tmp_path / "pids")
        scores = [
            int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in (child, supervisor)
        ]
    assert scores[0] > scores[1]
