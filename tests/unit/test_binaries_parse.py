"""What the engines' own benchmark tools print, read: what they say, and nothing they do not."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError
from edgeops.validate.devices.phone.litert import BenchmarkModel
from edgeops.validate.devices.phone.mnn import MnnBasic, MnnBenchmark, ModuleBasic
from edgeops.validate.devices.phone.ncnn import BenchNcnn
from edgeops.validate.devices.phone.onnxruntime import PerfTest
from edgeops.validate.devices.phone.tools import Timed, one_size, tool_for

GOLDEN = Path(__file__).parent.parent / "golden" / "binaries"
FIELDS = [name for name in Timed.__dataclass_fields__ if name not in {"absent", "latency_ns"}]
KINDS = [BenchmarkModel, MnnBasic, ModuleBasic, MnnBenchmark, BenchNcnn, PerfTest]


def parse(kind, text):
    # Reading needs nothing of the variant.
    return kind.parse(object.__new__(kind), text)


def read(kind, name):
    return parse(kind, (GOLDEN / f"{name}.txt").read_text())


def said(timed):
    return {name: getattr(timed, name) for name in FIELDS if getattr(timed, name) is not None}


def test_benchmark_model_with_percentiles():
    timed = read(BenchmarkModel, "benchmark_model-android")
    assert said(timed) == {
        "calls": 25,
        "mean_ms": pytest.approx(145.528),
        "p50_ms": pytest.approx(141.253),
        "min_ms": pytest.approx(140.071),
        "max_ms": pytest.approx(195.121),
        "load_ms": pytest.approx(92.318),
        "first_call_ms": pytest.approx(187.533),
    }
    assert timed.absent["p90_ms"] == (
        "benchmark_model tells the 5th, 50th and 95th percentile only"
    )


def test_benchmark_model_of_a_time_without_percentiles():
    timed = read(BenchmarkModel, "benchmark_model-2.12")
    assert timed.calls == 50
    assert timed.mean_ms == pytest.approx(2950.34)
    assert timed.p50_ms is None
    assert timed.absent["p50_ms"] == "this version of benchmark_model tells no median"


def test_benchmark_model_whose_calls_all_took_the_same():
    text = (
        "count=50 curr=7 (all same)\n\nInference timings in us: Init: 5, First inference: 9, "
        "Warmup (avg): 8, Inference (avg): 7\n"
    )
    timed = parse(BenchmarkModel, text)
    assert (timed.calls, timed.p50_ms, timed.min_ms) == (50, pytest.approx(7e-3), timed.p50_ms)


def test_benchmark_model_without_warm_up_has_no_first_call():
    text = (
        "count=0\ncount=1 curr=12\nInference timings in us: Init: 5, First inference: 0, "
        "Warmup (avg): nan, Inference (avg): 12\n"
    )
    assert "first_call_ms" in parse(BenchmarkModel, text.replace("nan", "0")).absent
    with pytest.raises(ValueError, match="summary"):
        parse(BenchmarkModel, text)


def test_perf_test_with_statistics():
    timed = read(PerfTest, "onnxruntime_perf_test-1.20")
    assert said(timed) == {
        "calls": 100,
        "mean_ms": pytest.approx(1.85739),
        "p50_ms": pytest.approx(1.85674),
        "p90_ms": pytest.approx(1.87215),
        "p99_ms": pytest.approx(1.90312),
        "min_ms": pytest.approx(1.83404),
        "max_ms": pytest.approx(1.90312),
        "load_ms": pytest.approx(10.2016),
        "first_call_ms": pytest.approx(2.0),
        "peak_bytes": 36696064,
    }
    assert timed.latency_ns == ()


def test_perf_test_with_the_file_of_single_calls():
    timed = read(PerfTest, "onnxruntime_perf_test-1.24")
    assert timed.latency_ns == (99012300, 95820400, 101519000, 99508600, 98949700)
    assert timed.absent["first_call_ms"] == ("it took less than the whole millisecond that is told")


def test_perf_test_of_the_first_versions():
    timed = read(PerfTest, "onnxruntime_perf_test-1.0")
    assert (timed.calls, timed.mean_ms) == (1000, pytest.approx(58.8053))
    assert timed.p99_ms == pytest.approx(61.9517)


def test_rows_in_another_unit_are_not_taken_for_seconds():
    text = "Average inference time cost: 2 ms\nmodel,2000000,1,1,0\nmodel,2000000,1,1,1\n"
    assert parse(PerfTest, text).latency_ns == ()


def test_benchncnn():
    timed = read(BenchNcnn, "benchncnn-20260722")
    assert timed.calls == 20
    assert timed.mean_ms is not None
    assert timed.min_ms <= timed.mean_ms <= timed.max_ms
    assert timed.absent["p50_ms"] == (
        "benchncnn tells the least, the largest and the mean time only"
    )


def test_benchncnn_without_its_model_says_zero_and_ends_well():
    with pytest.raises(ValueError, match=r"below the 0\.01 ms"):
        read(BenchNcnn, "benchncnn-no-model")


def test_benchncnn_of_all_its_own_networks_is_not_this_one():
    text = "a  min = 1.00  max = 2.00  avg = 1.50\nb  min = 1.00  max = 2.00  avg = 1.50\n"
    with pytest.raises(ValueError, match="2 networks"):
        parse(BenchNcnn, text)


def test_mnn_basic():
    timed = read(MnnBasic, "MNNV2Basic-3.0")
    assert said(timed) == {
        "calls": 10,
        "mean_ms": pytest.approx(6.6916),
        "min_ms": pytest.approx(4.769),
        "max_ms": pytest.approx(9.124001),
    }


@pytest.mark.parametrize(
    ("kind", "name", "calls", "mean"),
    [
        (MnnBasic, "MNNV2Basic-20260820", 20, None),
        (ModuleBasic, "ModuleBasic-20260820", None, 2.9519),
        (MnnBenchmark, "benchmark.out-20260820", 20, None),
    ],
)
def test_mnn_tools_of_today(kind, name, calls, mean):
    timed = read(kind, name)
    assert timed.calls == calls
    assert timed.min_ms < timed.mean_ms < timed.max_ms
    assert mean is None or timed.mean_ms == pytest.approx(mean)
    assert timed.absent["load_ms"]


def test_mnn_benchmark():
    timed = read(MnnBenchmark, "benchmark.out-2.8")
    assert (timed.calls, timed.mean_ms) == (20, pytest.approx(15.222))
    assert (timed.min_ms, timed.max_ms) == (pytest.approx(15.124), pytest.approx(15.802))


times = st.floats(1e-3, 1e6, allow_nan=False).map(lambda value: float(f"{value:.6g}"))


@given(times, times, times, times, st.integers(2, 10**6))
def test_benchmark_model_reads_back_what_is_printed(init, first, mean, median, count):
    text = (
        f"count={count} first=1 curr=1 min=1 max=2 avg={mean:.6g} std=0 p5=1 median={median:.6g} "
        f"p95=2\n\nInference timings in us: Init: {init:.6g}, First inference: {first:.6g}, "
        f"Warmup (avg): 1, Inference (avg): {mean:.6g}\n"
    )
    timed = parse(BenchmarkModel, text)
    wanted = [value / 1000 for value in (init, first, mean, median)]
    found = [timed.load_ms, timed.first_call_ms, timed.mean_ms, timed.p50_ms]
    assert found == pytest.approx(wanted)
    assert timed.calls == count


@given(st.lists(times.map(lambda ms: float(f"{ms / 1000:.6g}")), min_size=1, max_size=50))
def test_perf_test_reads_back_single_calls(seconds):
    rows = "".join(f"m,{value:.6g},1,1,{index}\n" for index, value in enumerate(seconds))
    mean = sum(seconds) / len(seconds) * 1000
    timed = parse(PerfTest, f"Average inference time cost: {mean:.6g} ms\n{rows}")
    assert timed.latency_ns == tuple(round(value * 1e9) for value in seconds)


words = st.sampled_from(
    [
        "Inference timings in us: Init: ",
        ", First inference: ",
        ", Warmup (avg): ",
        ", Inference (avg): ",
        "count=",
        " median=",
        " min = ",
        "  max = ",
        "  avg = ",
        "Avg= ",
        " ms, OpSum = ",
        " ms min= ",
        " ms, max= ",
        " ms",
        "[ - ] m ",
        "loop = ",
        "Average inference time cost: ",
        "P50 Latency: ",
        " s",
        "m,",
        ",1,1,0",
        "\n",
        "0",
        "0.00",
        "-3",
        "1e400",
        "nan",
        "7.5",
        "99999999999999999999",
    ]
)


@pytest.mark.parametrize("kind", KINDS)
@given(st.one_of(st.text(max_size=200), st.lists(words, max_size=30).map("".join)))
def test_no_text_becomes_a_zero_or_an_unexplained_gap(kind, text):
    try:
        timed = parse(kind, text)
    except ValueError:
        return
    for name in FIELDS:
        value = getattr(timed, name)
        if value is None:
            assert timed.absent[name]
        else:
            assert math.isfinite(value)
            assert value > 0
    assert timed.latency_ns or timed.absent["latency_ns"]
    assert timed.mean_ms is not None or timed.p50_ms is not None


@given(
    st.lists(st.one_of(st.integers(1, 5), st.just("?")), min_size=1, max_size=4),
    st.integers(1, 500),
)
def test_open_axes_are_filled_to_the_size(shape, size):
    try:
        found = one_size(shape, size)
    except ValueError:
        return
    assert math.prod(found) == size
    assert all(isinstance(one, str) or one == two for one, two in zip(shape, found, strict=True))


VARIANT = SimpleNamespace(
    engine="ncnn", inputs=(TensorInfo("x", (1, 3, 4, 5), "float32"),), outputs=(), extra={}
)


def test_a_tool_is_known_by_its_name_with_any_prefix():
    assert tool_for(Path("build/benchncnn"), VARIANT, Path()).name == "benchncnn"


def test_a_name_that_nobody_gives_is_refused():
    with pytest.raises(InputError) as refused:
        tool_for(Path("my-bench"), VARIANT, Path())
    assert refused.value.code == "binary-unknown"


def test_a_tool_of_another_engine_is_refused():
    with pytest.raises(InputError) as refused:
        tool_for(Path("android_aarch64_benchmark_model"), VARIANT, Path())
    assert refused.value.code == "binary-engine"
