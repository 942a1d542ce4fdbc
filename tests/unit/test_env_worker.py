"""The protocol: what a worker answers, and every way in which it does not."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgeops.core.environment import MARKER
from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError, MissingError, RefusedError
from edgeops.runtime.remote import WorkerSession
from edgeops.runtime.worker import Refusal, Worker, last_words
from tests.faulty_engine import gone
from tests.unit import _environments as made


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return the folder of environments of this test."""
    monkeypatch.setenv("EDGEOPS_ENVS", str(tmp_path / "envs"))
    return tmp_path


@pytest.fixture
def worker(place):
    """Return a worker that behaves."""
    with Worker(made.standing(place / "plugin")) as started:
        yield started


def do(worker, what, timeout_s=60.0, **arguments):
    return worker.ask("convert", timeout_s=timeout_s, do=what, **arguments)


def test_worker_answers_one_request_after_another(worker):
    assert do(worker, "echo", a=1, b="ö") == {"a": 1, "b": "ö"}
    assert do(worker, "echo", a=2) == {"a": 2}
    assert worker.ask("hello", timeout_s=60, imports=["json"])["imported"] == ["json"]


def test_worker_lives_in_its_scratch_folder_without_anything_of_edgeops(worker, monkeypatch):
    about = do(worker, "about")
    assert about["home"] == about["cwd"] == str(worker.scratch)
    assert about["edgeops"] is False
    assert not {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"} & set(about["variables"])


def test_worker_that_prints_and_reads_disturbs_nothing(worker):
    assert do(worker, "noisy") == {"read": ""}
    assert do(worker, "echo", a=1) == {"a": 1}


def test_worker_that_raises_answers_with_the_reason_and_its_last_words(worker):
    with pytest.raises(Refusal) as caught:
        do(worker, "fail")
    assert caught.value.kind == "LookupError"
    assert caught.value.text() == ("LookupError: no such layer\ncounting 2\nlayer 7 is too wide")
    assert do(worker, "echo", a=1) == {"a": 1}


def test_worker_that_ends_itself_inside_a_tool_is_a_refusal(worker):
    with pytest.raises(Refusal) as caught:
        do(worker, "leave")
    assert caught.value.why.startswith("it ended itself with status 3 in worker.py:")


@pytest.mark.parametrize("name", ["_echo", "exec", "missing"])
def test_worker_runs_only_what_the_protocol_names(worker, name):
    with pytest.raises(Refusal) as caught:
        worker.ask(name, timeout_s=60)
    assert caught.value.why == f"this worker has no {name!r}"


def test_worker_whose_answer_is_no_json_is_a_refusal(worker):
    with pytest.raises(Refusal) as caught:
        do(worker, "unspeakable")
    assert caught.value.kind == "TypeError"


def test_worker_that_dies_is_named_with_its_last_words(worker):
    with pytest.raises(RefusedError) as caught:
        do(worker, "abort")
    assert caught.value.code == "worker-died"
    assert "died of SIGABRT while asked to convert" in caught.value.what
    assert caught.value.why == "heap is on fire"
    with pytest.raises(RefusedError) as again:
        do(worker, "echo")
    assert again.value.code == "worker-died"


def test_worker_that_hangs_is_ended(worker):
    pid = do(worker, "about")["pid"]
    start = time.monotonic()
    with pytest.raises(RefusedError) as caught:
        do(worker, "hang", timeout_s=2)
    assert caught.value.code == "worker-timeout"
    assert caught.value.why == "thinking"
    assert time.monotonic() - start < 60  # the worker hangs for ten minutes
    assert gone(pid)


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("echo Converted Success!; cat > /dev/null", "worker-garbage", "Converted Success!"),
        ("echo '[1, 2]'; cat > /dev/null", "worker-garbage", "[1, 2]"),
        ('echo \'{"api": 1, "id": 9, "ok": 1}\'; cat > /dev/null', "worker-garbage", "9"),
        ('echo \'{"api": 1, "id": 1}\'; cat > /dev/null', "worker-garbage", "api"),
        ("yes | tr -d '\\n'", "worker-garbage", "without end"),
        ("exit 7", "worker-died", "it said nothing"),
        ("echo no disk >&2; exit 7", "worker-died", "no disk"),
        ('echo \'{"api": 2, "id": 1, "ok": 1}\'; cat > /dev/null', "worker-version", "speaks 2"),
    ],
)
def test_what_is_no_worker_is_refused_by_name(place, script, code, words):
    with Worker(made.standing(place / "plugin", executable=script)) as worker:
        with pytest.raises((RefusedError, MissingError)) as caught:
            worker.ask("hello", timeout_s=60, imports=[])
        assert caught.value.code == code
        assert words in caught.value.why


def test_python_that_does_not_start_is_a_broken_environment(place):
    environment = made.standing(place / "plugin")
    environment.executable.write_text("#!/no/such/interpreter\n")
    with pytest.raises(MissingError) as caught:
        Worker(environment)
    assert caught.value.code == "environment-broken"
    assert caught.value.fix == "edgeops env create standing"


def test_worker_does_not_start_without_its_environment(place):
    environment = made.standing(place / "plugin")
    (environment.folder / MARKER).unlink()
    with pytest.raises(MissingError) as caught:
        Worker(environment)
    assert caught.value.code == "environment-broken"
    assert caught.value.why == "its making was interrupted"


def test_worker_outlives_the_thread_that_started_it(place):
    environment, started = made.standing(place / "plugin"), []
    thread = threading.Thread(target=lambda: started.append(Worker(environment)))
    thread.start()
    thread.join()
    with started[0] as worker:
        time.sleep(0.2)
        assert do(worker, "echo", a=1) == {"a": 1}


def test_worker_ends_and_leaves_nothing_when_nobody_holds_it(place):
    worker = Worker(made.standing(place / "plugin"))
    pid, scratch = do(worker, "about")["pid"], worker.scratch
    del worker
    gc.collect()
    assert gone(pid)
    assert not scratch.exists()


def test_worker_dies_with_a_parent_that_is_killed(place):
    made.standing(place / "plugin")
    code = (
        "from edgeops.core.environment import Environment\n"
        "from tests.unit._environments import current_python\n"
        "from pathlib import Path\n"
        "from edgeops.runtime.worker import Worker\n"
        f"folder = Path({str(place / 'plugin')!r})\n"
        "environment = Environment('standing', current_python(), folder / 'lock.txt',"
        " folder / 'worker.py', 'tests')\n"
        "worker = Worker(environment)\n"
        "print(worker.ask('convert', timeout_s=60, do='about')['pid'], flush=True)\n"
        "worker.ask('convert', timeout_s=60, do='hang')\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(pid)


def test_last_words_are_the_last_lines_without_colours_counters_and_chatter():
    text = (
        "\n".join(f"line {number}" for number in range(20))
        + "\n\x1b[31mred\x1b[0m\n 1%\r 2%\rdone\n"
        + "W0000 00:00:17 chatter.cc:1] noise\n[2026-01-01 10:00:00,1] [    INFO] x.py: noise\n"
    )
    assert last_words(text) == "line 16\nline 17\nline 18\nline 19\nred\ndone"


@pytest.fixture
def session(place):
    """Return a session of a model that a worker runs: two inputs, two outputs."""
    inputs = (TensorInfo("a/b", ("N",), "float32"), TensorInfo("file", ("N",), "float32"))
    outputs = (TensorInfo("sum", ("N",), "float32"), TensorInfo("sign", ("N",), "int32"))
    environment = made.standing(place / "plugin")
    return WorkerSession(environment, place / "m.tiny", 1, inputs, outputs, factor=10)


def test_session_answers_in_the_names_and_dtypes_of_the_model(session):
    one, two = np.array([1, -2], "float32"), np.array([5, 6], "float32")
    answer = session.run({"file": two, "a/b": one, "more": one})
    assert list(answer) == ["sum", "sign"]
    np.testing.assert_array_equal(answer["sum"], np.array([15, -14], "float32"))
    np.testing.assert_array_equal(answer["sign"], np.array([1, 0], "int32"))
    assert answer["sign"].dtype == np.int32
    again = session.run({"file": two, "a/b": two})
    np.testing.assert_array_equal(answer["sum"], np.array([15, -14], "float32"))
    np.testing.assert_array_equal(again["sum"], np.array([55, 66], "float32"))


def test_session_names_input_that_does_not_fit(session):
    with pytest.raises(InputError) as caught:
        session.run({"a/b": np.zeros(2, "float64"), "file": np.zeros(2, "float32")})
    assert caught.value.code == "input-misfit"


def test_session_says_what_the_model_failed_on(session):
    three = np.zeros(3, "float32")
    with pytest.raises(RefusedError) as caught:
        session.run({"a/b": three, "file": three})
    assert caught.value.code == "engine-run-failed"
    assert caught.value.why.startswith("ValueError: three is too many")


def test_session_of_what_the_engine_cannot_load_is_refused(place):
    environment = made.standing(place / "plugin")
    with pytest.raises(RefusedError) as caught:
        WorkerSession(environment, place / "m.other", 1, (), ())
    assert caught.value.code == "engine-load-failed"
    assert "this is no tiny model" in caught.value.why
