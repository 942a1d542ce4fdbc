"""Which model answers, in one process and with models that do as they are told."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError, MissingError
from edgeops.runtime import Predictor
from edgeops.runtime.serving import routes
from edgeops.runtime.serving.gate import Gate
from edgeops.runtime.serving.http import Head
from edgeops.runtime.serving.local import Input
from edgeops.runtime.serving.model import Abandoned, Model, load
from edgeops.runtime.serving.options import Options
from edgeops.runtime.serving.requests import Recorder, Request, read_recorded, to_warm_with
from edgeops.runtime.serving.serving import Line, Serving
from edgeops.runtime.serving.warm import warm_up
from tests.predicting import DOUBLED, TOP, add_documents
from tests.unit._bundles import make_bundle
from tests.unit.test_predictor import _unpacked as unpacked

Y = TensorInfo("y", (1,), "float32")
QUICK = Options(cooldown_s=5, call_timeout_s=10, openings=2, probation_requests=2, probation_s=60)


class Runner:
    """A model that answers a number, or raises what it is given."""

    isolated, ready, trouble = False, True, None
    took = 0.0

    def __init__(self, number, fallback=None, rises=None) -> None:
        self.slot, self.digest, self.version = Path(f"/slots/{number}"), f"sha256:{number}", "1"
        self.inputs, self.tensors = (), (Y,)
        self.number, self.declared, self.rises = number, fallback, rises
        self.closed = threading.Event()

    def began(self, asked):
        return asked - self.took

    def predict(self, inputs):
        assert not self.closed.is_set()
        if callable(inputs.get("do")):
            inputs["do"]()
        if self.rises is not None:
            raise self.rises
        return {"y": np.full(1, self.number, np.float32)}

    def fallback(self):
        return self.declared

    def close(self):
        self.closed.set()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def made(tmp_path, *runners, options=QUICK, **callbacks):
    """Return a serving whose current and previous models are these, and its clock."""
    clock = Clock()
    serving = Serving(tmp_path, options, clock=clock, **callbacks)
    serving._put(Line(*(Model(runner, options, 20.0, clock) for runner in runners)))
    return serving, clock


def asked(serving, **inputs):
    answer = serving.answer(inputs)
    return float(answer.outputs["y"][0]), answer.digest


def test_fault_goes_on_to_the_previous_model(tmp_path):
    serving, _ = made(tmp_path, Runner(2, rises=RuntimeError("no")), Runner(1))
    assert asked(serving) == (1.0, "sha256:1")
    assert serving.line.current.breaker.state == "closed"


def test_bad_request_is_nobodys_fault(tmp_path):
    serving, _ = made(tmp_path, Runner(2, rises=InputError("input-shape", "no")), Runner(1))
    for _ in range(10):
        with pytest.raises(InputError):
            asked(serving)
    assert serving.line.current.faults == {}


def test_request_that_no_model_can_answer_is_no_models_fault(tmp_path):
    bad = Runner(2, rises=RuntimeError("no")), Runner(1, rises=RuntimeError("no"))
    serving, _ = made(tmp_path, *bad)
    for _ in range(10):
        with pytest.raises(MissingError):
            serving.answer({})
    assert {model.breaker.state for model in serving.line[:2]} == {"closed"}


@pytest.mark.parametrize(
    "given", [np.array([np.nan, 1]), [[float("inf")]], {"row": [None, np.nan]}]
)
def test_request_that_is_not_finite_is_at_fault_for_such_an_answer(tmp_path, given):
    """A sensor that tells NaN for a while takes no good model from the device."""
    model = Runner(np.nan)
    serving, _ = made(tmp_path, model)
    for _ in range(10):
        with pytest.raises(InputError) as caught:
            asked(serving, x=given)
        assert caught.value.code == "input-not-finite"
    assert serving.line.current.faults == {}
    for _ in range(3):
        with pytest.raises(MissingError):
            asked(serving, x=np.ones(2))
    assert serving.line.current.breaker.state == "open"
    model.number = 2
    serving.line.current.pardon()
    assert asked(serving, x=given)[0] == 2.0


def test_declared_fallback_answers_when_no_model_can(tmp_path):
    broken = RuntimeError("no")
    serving, _ = made(tmp_path, Runner(2, fallback={"label": "unknown"}, rises=broken))
    answer = serving.answer({})
    assert (answer.outputs, answer.digest, answer.version) == ({"label": "unknown"}, None, None)


def test_nobody_left_says_why(tmp_path):
    serving, _ = made(tmp_path, Runner(2, rises=RuntimeError("confused")))
    with pytest.raises(MissingError, match="no model can answer") as caught:
        serving.answer({})
    assert "confused" in caught.value.why


def test_call_in_flight_ends_on_the_model_it_began_on(tmp_path):
    old, new = Runner(1), Runner(2)
    serving, clock = made(tmp_path, old)
    model = serving.line.current
    inside, go, found = threading.Event(), threading.Event(), []

    def wait():
        inside.set()
        assert go.wait(10)

    thread = threading.Thread(target=lambda: found.append(asked(serving, do=wait)))
    thread.start()
    assert inside.wait(10)
    serving._line = Line(Model(new, QUICK, clock=clock))
    serving._retire(model)
    assert asked(serving) == (2.0, "sha256:2")
    assert not old.closed.wait(0.05)
    go.set()
    thread.join()
    assert found == [(1.0, "sha256:1")]
    assert old.closed.wait(10)


def test_probation_ends_after_requests_and_seconds_and_is_told(tmp_path):
    old, told = Runner(1), threading.Event()
    serving, clock = made(tmp_path, Runner(2), old, kept=told.set)
    asked(serving)
    clock.now = 100
    serving.tick()
    assert serving.line.previous is not None
    asked(serving)
    serving.tick()
    assert serving.line.previous is None
    assert old.closed.wait(10)
    assert told.wait(10)


def test_probation_goes_on_while_the_breaker_is_open(tmp_path):
    serving, clock = made(tmp_path, Runner(2), Runner(1))
    for _ in range(2):
        asked(serving)
    serving.line.current._fault("hung", "it hung")
    clock.now = 100
    serving.tick()
    assert serving.line.previous is not None


def test_model_that_opens_too_often_is_given_up_once(tmp_path):
    told = []
    done = threading.Event()

    def given_up(slot, reason):
        told.append((slot.name, reason))
        done.set()

    bad = Runner(2)
    serving, clock = made(tmp_path, bad, Runner(1), given_up=given_up)
    bad.number = np.nan
    for _ in range(6):
        assert asked(serving)[0] == 1.0
        clock.now += 5
    assert done.wait(10)
    assert serving.line.current.digest == "sha256:1"
    assert serving.line.previous is None
    assert [name for name, _ in told] == ["2"]
    assert "not-finite" in told[0][1]
    assert bad.closed.wait(10)


@pytest.mark.parametrize(
    ("old_took", "current"), [(0.01, "sha256:1"), (0.5, "sha256:2"), (None, "sha256:2")]
)
def test_slow_model_is_given_up_when_the_old_one_is_quicker(tmp_path, old_took, current):
    """On a machine that has too much to do both are slow, and alone even a slow answer is one."""
    slow = Runner(2)
    slow.took = 0.5
    runners = [slow]
    if old_took is not None:
        runners.append(Runner(1))
        runners[1].took = old_took
    serving, clock = made(tmp_path, *runners)
    for _ in range(1000):
        asked(serving)
        clock.now += 0.1
    assert serving.line.current.digest == current
    if old_took is None:
        assert serving.line.current.faults == {}


def test_slow_model_that_healed_is_not_given_up(tmp_path):
    """Its breaker opened often enough, and nothing but the machine was to blame."""
    slow = Runner(2, fallback={"y": np.zeros(1, np.float32)})
    serving, clock = made(tmp_path, slow, options=replace(QUICK, cooldown_s=1, trials=2))
    slow.took = 0.5
    while len(serving.line.current.breaker.opened) < QUICK.openings:
        asked(serving)
        clock.now += 0.1
    slow.took = 0.0
    clock.now += 5
    assert [asked(serving)[0] for _ in range(5)] == [2.0] * 5
    assert (serving.line.current.breaker.state, serving.refused) == ("closed", {})


def test_hanging_call_is_given_up_and_abandoned_when_it_ends(tmp_path):
    serving, clock = made(tmp_path, Runner(2), Runner(1))
    inside, go, found, late = threading.Event(), threading.Event(), [], threading.Event()

    def wait():
        inside.set()
        assert go.wait(10)

    def call():
        try:
            serving.answer({"do": wait}, late.set)
        except Abandoned:
            found.append("abandoned")

    thread = threading.Thread(target=call)
    thread.start()
    assert inside.wait(10)
    serving.tick()
    assert not late.is_set()
    clock.now = 11
    serving.tick()
    assert late.is_set()
    assert asked(serving) == (1.0, "sha256:1")
    go.set()
    thread.join()
    assert found == ["abandoned"]


def test_nothing_is_answered_while_it_is_held(tmp_path):
    serving, _ = made(tmp_path, Runner(2))
    serving.held = MissingError("serving-stopped", "out of touch")
    with pytest.raises(MissingError, match="out of touch"):
        asked(serving)
    serving.held = None
    assert asked(serving) == (2.0, "sha256:2")


def test_threads_that_swap_and_ask_meet_no_closed_model(tmp_path):
    """Every runner asserts that nobody calls it after it was closed."""
    serving, clock = made(tmp_path, Runner(0))
    stop, failed = threading.Event(), []

    def ask():
        while not stop.is_set():
            try:
                number, digest = asked(serving)
                assert digest == f"sha256:{int(number)}"
            except BaseException as error:  # noqa: BLE001 - told by the test
                failed.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(1, 300):
        line = serving.line
        serving._line = Line(Model(Runner(number), QUICK, clock=clock), line.current)
        serving._retire(line.previous)
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []


@pytest.mark.parametrize(
    ("kind", "taken"),
    [("image", None), ("audio", None), ("bytes", b"/etc/passwd"), ("text", "/etc/passwd")],
)
def test_nobody_reads_files_with_the_rights_of_the_server(tmp_path, kind, taken):
    runner = Runner(1)
    runner.inputs = (Input("a", (), "uint8", kind),)
    serving, _ = made(tmp_path, runner)
    bodies = {
        "application/json": b'{"inputs": {"a": "/etc/passwd"}}',
        "text/plain": b"/etc/passwd",
    }
    for media, body in bodies.items():
        head = Head("POST", "/v1/predict", {}, {"content-type": media}, keep=True)
        if taken is not None:
            assert routes.inputs(serving, head, body) == {"a": taken}
            continue
        with pytest.raises(InputError) as caught:
            routes.inputs(serving, head, body)
        assert caught.value.code == "serve-malformed"
        assert "path" in caught.value.why
    head = Head("POST", "/v1/predict", {}, {"content-type": "image/png"}, keep=True)
    assert routes.inputs(serving, head, b"\x89PNG") == {"a": b"\x89PNG"}


@pytest.mark.parametrize("isolate", [False, True])
def test_features_and_rules_of_a_bundle_are_served(tmp_path, isolate):
    folder = unpacked(tmp_path / "device", make_bundle(tmp_path))
    add_documents(folder, features=DOUBLED, rules=TOP)
    runner = load(folder, Options(isolate=isolate))
    try:
        assert [(each.name, each.kind) for each in runner.inputs] == [("row", "tensor")]
        expected = Predictor(folder).predict({"row": [1, 2, 3, 4]})
        model = Model(runner, Options())
        assert model.call({"row": [1, 2, 3, 4]}) == expected
        assert runner.fallback() == {"label": "unknown", "score": 0}
        verdict = warm_up(runner, to_warm_with(tmp_path, runner.inputs)[1], Gate(None))
        assert verdict.accepted, verdict
        # Inputs that nobody can make up: then the model alone is asked.
        bad = [Request("predict", {"row": "no"})]
        assert warm_up(runner, bad, Gate(None)).figures["calls"] == 20
        with pytest.raises(InputError):
            model.call({"x": [1]})
        assert model.faults == {}
    finally:
        runner.close()


def test_no_request_ends_an_isolated_model(tmp_path):
    # The last request is large, and takes its time on a machine that is busy.
    options = Options(isolate=True, call_timeout_s=120)
    runner = load(unpacked(tmp_path / "device", make_bundle(tmp_path)), options)
    model, deep = Model(runner, options), []
    for _ in range(5000):
        deep = [deep]
    try:
        for bad in (np.zeros((1, 4), "V4"), np.zeros((1, 4), "M8[s]"), deep):
            with pytest.raises(InputError):
                model.call({"x": bad})
        swapped = np.ones((1, 4), ">f4")
        native = model.call({"x": swapped.astype("f4")})["probabilities"]
        assert np.array_equal(model.call({"x": swapped})["probabilities"], native)
        many = model.call({"x": [[1 / 3] * 4] * 230_000})  # more than 16 MiB of JSON
        assert len(many["probabilities"]) == 230_000
        assert (model.faults, runner.starts) == ({}, 1)
    finally:
        runner.close()


def test_request_that_cannot_be_recorded_is_not_kept(tmp_path):
    recorder = Recorder(tmp_path, 3, 0, 1 << 20)
    recorder.offer({"x": np.zeros(3, "M8[s]")})
    recorder.offer({"x": np.zeros(3)})
    assert [list(each) for each in read_recorded(tmp_path)] == [["x"]]
