"""What preparing a model costs beside onnxsim's route, and what is left of the graphs.

Each route runs in a process of its own, from its first import to the prepared model. Time is that
of the processor, which holds also where other work goes on beside.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeops.model.prepare import prepare

pytestmark = pytest.mark.bench

ROUNDS = 3
_START = "import json, sys, time\n"
_OURS = """
import onnx
from edgeops.model.prepare import prepare
made = prepare(onnx.load(sys.argv[1])).proto
"""
_ONNXSIM = """
import onnx, onnxsim
model = onnx.load(sys.argv[1])
if model.opset_import[0].version < 17:
    model = onnx.version_converter.convert_version(model, 17)
made, ok = onnxsim.simplify(model)
made = onnx.shape_inference.infer_shapes(made, data_prop=True)
"""
_END = """
status = open("/proc/self/status").read()
peak = int(status.partition("VmHWM:")[2].split()[0])  # ru_maxrss would hold the parent's too
print(json.dumps({"s": time.process_time(), "mb": peak / 1024, "n": len(made.graph.node)}))
"""


def measured(route, path):
    """Return seconds and megabytes (the least of some runs) and nodes left of a route."""
    runs = []
    for _ in range(ROUNDS):
        done = subprocess.run(
            [sys.executable, "-c", _START + route + _END, str(path)],
            check=True,
            capture_output=True,
            text=True,
        )
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return {key: min(run[key] for run in runs) for key in ("s", "mb", "n")}


def report(name, path):
    ours, other = measured(_OURS, path), measured(_ONNXSIM, path)
    sys.stdout.write(
        f"\n{name}: {ours['s']:.2f} s, {ours['mb']:.0f} MB, {ours['n']} nodes; onnxsim"
        f" {other['s']:.2f} s, {other['mb']:.0f} MB, {other['n']} nodes;"
        f" ratio {ours['s'] / other['s']:.2f} in time, {ours['mb'] / other['mb']:.2f} in memory\n"
    )
    return ours


@pytest.mark.parametrize("model", ["ultraface_rfb320/version-RFB-320", "magika_v3_3/model"])
def test_prepare_as_a_whole_process(corpus, model):
    pytest.importorskip("onnxsim")
    assert report(model, corpus / f"{model}.onnx")["n"] > 0


def randomized(proto):
    """Return one of onnx's light models with noise where it has fills, and its weights inside."""
    random = np.random.default_rng(0)
    sizes = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    nodes, weights = [], []
    for node in proto.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in sizes:
            nodes.append(node)
            continue
        shape = tuple(sizes[node.input[0]])
        noise = random.normal(size=shape) / max(np.sqrt(np.prod(shape[1:])), 1)
        noise = noise if len(shape) > 1 else np.abs(noise) + 0.5
        weights.append(numpy_helper.from_array(noise.astype(np.float32), node.output[0]))
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    made.ir_version = 8
    del made.graph.node[:], made.graph.input[:], made.graph.initializer[:]
    read = {name for node in nodes for name in node.input}
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(weights)
    made.graph.initializer.extend(t for t in proto.graph.initializer if t.name in read)
    made.graph.input.extend(
        value for value in proto.graph.input if value.name not in sizes and value.name in read
    )
    return made


LIGHT = ("densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet")


@pytest.mark.parametrize("model", LIGHT)
def test_prepare_of_architectures(tmp_path, model):
    pytest.importorskip("onnxsim")
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    path = folder / f"light_{model}.onnx"
    if not path.is_file():
        pytest.skip("this onnx does not ship its light models")
    onnx.save(randomized(onnx.load(path)), tmp_path / "m.onnx")
    assert report(model, tmp_path / "m.onnx")["n"] > 0


def test_nodes_left_of_the_corpus(corpus):
    onnxsim = pytest.importorskip("onnxsim")
    for path in sorted(corpus.glob("*/*.onnx")):
        model = onnx.load(path)
        ours = len(prepare(model).proto.graph.node)
        theirs = len(onnxsim.simplify(model)[0].graph.node)
        sys.stdout.write(
            f"\n{path.parent.name}/{path.name}: {len(model.graph.node)} nodes, {ours} left,"
            f" onnxsim leaves {theirs}"
        )
    sys.stdout.write("\n")


@pytest.mark.benchmark(timer=time.process_time)
def test_prepare_of_a_thousand_nodes(benchmark):
    """Below 0.3 s: a check does it first."""
    text = "\n".join(
        f"a{i} = Conv(t{i}, w) b{i} = Relu(a{i}) c{i} = Transpose<perm = [0, 1, 3, 2]>(b{i})"
        f" t{i + 1} = Sigmoid(c{i})"
        for i in range(250)
    )
    head = '<ir_version: 8, opset_import: ["": 17]> g (float[N,8,4,4] t0, float[8,8,1,1] w)'
    model = onnx.parser.parse_model(f"{head} => (float[a,b,c,d] t250) {{ {text} }}")
    made = benchmark.pedantic(prepare, args=(model,), rounds=7, warmup_rounds=1)
    assert len(made.proto.graph.node) == 1000
    sys.stdout.write(f"\nprepare of 1,000 nodes: {1000 * benchmark.stats['median']:.0f} ms\n")
