"""What bench makes of requests, variants and verdicts, and what is left when a device fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeops.core.events import Silence
from edgeops.core.variant import TensorInfo, Variant
from edgeops.errors import (
    GateFailed,
    GateInconclusive,
    InputError,
    MissingError,
    TransportError,
    UsageProblem,
)
from edgeops.stages.bench import _judged
from edgeops.stages.bench_inputs import made_up
from edgeops.validate.affinity import processors
from edgeops.validate.figures import cost_figures, energy_figure, noise_summary, paired_figure
from edgeops.validate.measured import Ask, Bench, Measured


@pytest.mark.parametrize(
    ("text", "cpus"), [("", ()), ("0", (0,)), ("3,1", (1, 3)), ("0,2-4,3", (0, 2, 3, 4))]
)
def test_processors_are_numbers_commas_and_ranges(text, cpus):
    assert processors(text) == cpus


@pytest.mark.parametrize(
    "text",
    [pytest.param("9" * 5000, id="huge"), "a", "1-", "-1", "1,,2", "2-1", "99999999999", "0 1"],
)
def test_what_names_no_processors_is_refused(text):
    with pytest.raises(UsageProblem) as caught:
        processors(text)
    assert caught.value.code == "affinity-bad"


def variant(*inputs):
    return Variant("onnxruntime", "1", "fp32", "sha256:0", inputs, (), (), None, {})


def test_made_up_samples_have_shapes_and_dtypes_of_the_inputs_and_are_the_same_again():
    about = variant(
        TensorInfo("x", (1, 3, 4), "float32"),
        TensorInfo("ids", ("batch", 7), "int64"),
        TensorInfo("flag", (2,), "bool"),
        TensorInfo("scale", (), "float32"),
    )
    samples = made_up(about, Path())
    assert {n: (a.shape, a.dtype.name) for n, a in samples.arrays.items()} == {
        "x": ((8, 3, 4), "float32"),
        "ids": ((8, 7), "int64"),
        "flag": ((8,), "bool"),
        "scale": ((), "float32"),
    }
    assert set(np.unique(samples.arrays["ids"])) == {0, 1}
    again = made_up(about, Path())
    assert all(np.array_equal(again.arrays[name], array) for name, array in samples.arrays.items())
    assert samples.source == "seeded noise"


def test_text_is_not_made_up():
    with pytest.raises(InputError, match="made-up input") as caught:
        made_up(variant(TensorInfo("words", ("batch", 1), "str")), Path())
    assert caught.value.code == "bench-needs-data"


def result(verdict, **more):
    against = {
        "variant": "old",
        "why": "because",
        "would_take_s": 90.0,
        "max_seconds": 52.0,
        "counted": 40,
        "disturbed": 1,
        **more,
    }
    return {"variant": "new", "verdict": verdict, "against": against}


def test_verdicts_that_pass_are_results():
    for verdict in ("not slower", "faster"):
        assert _judged(result(verdict)) == result(verdict)
    assert _judged({"against": None}) == {"against": None}


def test_slower_fails_with_the_result():
    with pytest.raises(GateFailed) as caught:
        _judged(result("slower"))
    assert caught.value.result == result("slower")
    assert caught.value.what == "new is slower than old"


@pytest.mark.parametrize(
    ("more", "fix"),
    [
        ({}, "give it more time, about 90 s: --max-seconds 125"),
        ({"would_take_s": 30.0}, "run it again when the device is quieter"),
        ({"would_take_s": None}, "end what else runs on the device"),
        ({"disturbed": 41}, "end what else runs on the device"),
    ],
)
def test_inconclusive_says_what_would_help(more, fix):
    with pytest.raises(GateInconclusive) as caught:
        _judged(result("inconclusive", **more))
    assert caught.value.fix.startswith(fix)


ANSWER = {
    "latency_ns": list(range(1_000_000, 1_100_000, 500)),
    "load_ms": 3.0,
    "first_call_ms": 2.0,
    "cpu_ms_per_call": 1.1,
    "peak_rss_bytes": 60_000_000,
    "peak_rss_source": "VmHWM",
    "energy": {"joules": 2.0, "source": "rapl: package-0", "per_call_mj": 10.0},
}


class Device:
    """A device that answers from a list; an error in it is raised."""

    name = "listed"
    api = 1

    def __init__(self, answers, *, emulated=False):
        self.answers, self.emulated, self.asked = list(answers), emulated, []

    def push(self, source, destination):
        pass

    def run(self, request, *, timeout_s, tell=None):
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


def measuring(device):
    return Bench(device, Path(), {"few": {"file": "few.npz"}}, 2, 60.0, (1,))


def test_three_processes_share_the_time():
    device = Device([ANSWER] * 3)
    ask = Ask(6.0, evaluate=False)
    found = measuring(device).measure(Path("v"), seconds=6.0, events=Silence(), ask=ask)
    assert len(found.answers) == 3
    assert [one["seconds"] for one in device.asked] == [2.0] * 3
    assert device.asked[0]["affinity"] == [1]
    assert device.asked[0]["do"] == "measure"


def test_a_preset_and_a_sustained_run_take_one_process():
    for ask in (Ask(60.0, evaluate=False, preset="mlperf"), Ask(60.0, False, sustained_s=60.0)):
        device = Device([ANSWER])
        measuring(device).measure(Path("v"), seconds=60.0, events=Silence(), ask=ask)
        assert device.asked[0]["preset"] == ask.preset
        assert device.asked[0]["sustained_s"] == ask.sustained_s


@pytest.mark.parametrize("kind", [TransportError, MissingError])
def test_what_was_measured_until_the_device_was_lost_is_kept(kind):
    lost = kind("device-lost", "gone", result={"partial": {"phase": "latency"}})
    lost.result["partial"]["latency_ns"] = [2_000_000] * 50
    device = Device([ANSWER, lost])
    with pytest.raises(kind) as caught:
        measuring(device).measure(
            Path("v"), seconds=3.0, events=Silence(), ask=Ask(3.0, evaluate=False)
        )
    partial = caught.value.result["partial"]
    assert (partial["phase"], partial["processes"]) == ("latency", 1)
    assert partial["figures"]["latency_p50_ms"]["samples"] == 250
    assert "latency_ns" not in partial


def test_costs_have_processor_time_and_energy_and_no_drift_unless_sustained():
    figures = cost_figures(Measured((ANSWER, ANSWER), {}), 1_000_000)
    assert figures["cpu_ms"].value == 1.1
    assert (figures["energy_mj"].value, figures["energy_mj"].unit) == (10.0, "mJ")
    assert "latency_drift" not in figures
    windows = [{"p50_ms": 1.0 + i / 100, "calls": 10} for i in range(30)]
    sustained = {**ANSWER, "sustained": {"windows": windows}}
    assert cost_figures(Measured((sustained,), {}), 1)["latency_drift"].value > 1.1


def test_energy_that_nothing_measures_is_absent_with_the_reason():
    figure = energy_figure([{"absent": "there is no sensor"}])
    assert (figure.value, figure.absent) == (None, "there is no sensor")
    assert energy_figure([{}]).absent == "the device does not say what it uses"


def test_times_of_an_emulated_device_are_not_judged_and_its_size_is():
    device = Device([ANSWER] * 3, emulated=True)
    ask = Ask(3.0, evaluate=False)
    found = measuring(device).measure(Path("v"), seconds=3.0, events=Silence(), ask=ask)
    figures = cost_figures(found, 1_000_000)
    unjudged = {name for name, figure in figures.items() if figure.unjudged}
    assert unjudged == set(figures) - {"model_mb"}
    trials = [{"ratio": 1.0, "pairs": 10, "lost": None}] * 9
    device.answers = [{"trials": trials}]
    paired = measuring(device).pair(Path("v"), Path("w"), seconds=2.0)
    assert paired_figure(paired).unjudged
    assert not paired_figure(trials).unjudged
    assert device.asked[-1]["least"] == 9


def test_noise_is_a_share_of_all_the_time_that_calls_took_also_of_those_not_kept():
    counters = {"steal_ms": 100.0, "involuntary_switches": 400, "other_cpu_ms": 0.0}
    answer = {**ANSWER, "latency_ns": [1_000_000, 3_000_000], "calls": 1000, "noise": counters}
    noise = noise_summary(Measured((answer, answer), {}), processors=2, threads=1)
    assert noise.steal_share == pytest.approx(0.025)
    assert noise.switches_per_s == pytest.approx(200)
    assert noise.level == "busy"
