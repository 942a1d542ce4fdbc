"""What the latency gate can tell apart on this machine, and what validate costs; nothing is judged.

A/A is a model against its own copy, A/B against one that does 3 % more work of the same kind.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from edgeops.core.contracts import Samples
from edgeops.core.events import Silence
from edgeops.core.gates import judge
from edgeops.core.variant import TensorInfo, Variant, entries, write_variant
from edgeops.validate.figures import cost_figures, paired_figure
from edgeops.validate.measured import bench, device

pytestmark = pytest.mark.bench

ROUNDS = 8
SECONDS = 2.0
LAYERS = 64
WIDTH = 160


def chain(folder, layers):
    """Write a variant of ``layers`` equal matrix products, about half a millisecond in all."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir()
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(
            (random.normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32), f"w{i}"
        )
        for i in range(layers)
    ]
    nodes = [
        helper.make_node("MatMul", [f"h{i}" if i else "x", f"w{i}"], [f"h{i + 1}"])
        for i in range(layers)
    ]
    shape = ["N", WIDTH]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"h{layers}", TensorProto.FLOAT, shape)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, folder / "model.onnx")
    about = Variant(
        engine="onnxruntime",
        engine_version="1",
        precision="fp32",
        model_file="model.onnx",
        inputs=(TensorInfo("x", ("N", WIDTH), "float32"),),
        outputs=(TensorInfo(f"h{layers}", ("N", WIDTH), "float32"),),
        source="sha256:0",
        files=entries(folder),
    )
    write_variant(folder, about)
    return folder


@pytest.fixture
def measuring(tmp_path):
    """Yield a bench on this machine with sixteen samples."""
    arrays = {"x": np.random.default_rng(1).normal(size=(16, WIDTH)).astype(np.float32)}
    samples = Samples(arrays, None, 16, "made here", "")
    with (
        device("local") as reached,
        bench(reached, samples, threads=1, timeout_s=300) as found,
    ):
        yield found


def say(capsys, *lines):
    with capsys.disabled():
        sys.stdout.write("\n  " + "\n  ".join(lines) + "\n")


def test_bench_what_the_paired_gate_tells_apart(measuring, tmp_path, capsys):
    one, copy = chain(tmp_path / "one", LAYERS), chain(tmp_path / "copy", LAYERS)
    more = chain(tmp_path / "more", LAYERS + 2)
    same, slower = [], []
    for _ in range(ROUNDS):
        same.append(paired_figure(measuring.pair(copy, one, seconds=SECONDS)))
        slower.append(paired_figure(measuring.pair(more, one, seconds=SECONDS)))
    lines = [f"paired latency gate, {ROUNDS} rounds of {SECONDS:g} s each:"]
    for name, measured in (("A/A", same), ("A/B, 3.1 % more work", slower)):
        # Those that a neighbour spoilt have none.
        figures = [figure for figure in measured if figure.interval]
        if not figures:
            lines.append(f"{name}: {measured[0].absent}")
            continue
        values = sorted(figure.value for figure in figures)
        widths = [figure.interval[1] - figure.interval[0] for figure in figures]
        found = sum(figure.interval[0] > 1 for figure in figures)
        failed = sum(judge("r", "<= 1.03", figure).verdict == "fail" for figure in figures)
        lines.append(
            f"{name}: ratio {values[0]:.3f} to {values[-1]:.3f}, interval {np.median(widths):.3f} "
            f"wide; shown slower in {found} of {len(figures)}, "
            f"gate <= 1.03 failed in {failed}"
        )
    say(capsys, *lines)
    assert len(same) == len(slower) == ROUNDS


def test_bench_what_a_measurement_costs(measuring, tmp_path, capsys):
    variant = chain(tmp_path / "one", LAYERS)
    rows = []
    for budget in (0.5, SECONDS):
        start = time.perf_counter()
        measured = measuring.measure(variant, seconds=budget, events=Silence())
        wall = time.perf_counter() - start
        start = time.perf_counter()
        figures = cost_figures(measured, 1)
        figuring = time.perf_counter() - start
        low, high = figures["latency_p50_ms"].interval
        p50 = figures["latency_p50_ms"].value
        rows.append(
            f"budget {budget:g} s: {wall:.2f} s in all, {wall - budget:.2f} s beside the budget "
            f"(three processes, warm-up, evaluation), figures {figuring * 1000:.0f} ms; "
            f"p50 {p50:.4f} ms, interval {(high - low) / p50:.1%} of it"
        )
    say(capsys, "one variant, three fresh processes:", *rows)
    assert len(rows) == 2
