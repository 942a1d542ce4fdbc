"""What ``convert`` costs as a whole process; nothing is judged.

Conversions run in rounds, each beside its bare tool in a process of its own, since the clock of a
machine drifts. Peak memory is that of the largest process of the tree.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

pytestmark = pytest.mark.bench
ROUNDS = 5
MODEL = "ultraface_rfb320/version-RFB-320.onnx"

# The tool alone, from a file as it comes, without anything that edgeops adds.
BARE = {
    "openvino": "import openvino as o; o.save_model(o.convert_model(src), out + '/m.xml', "
    "compress_to_fp16=False)",
    "mnn": "import _tools; _tools.mnnconvert(['mnnconvert', '-f', 'ONNX', '--modelFile', src, "
    "'--MNNModel', out + '/m.mnn', '--bizCode', 'x'])",
    "onnxruntime": "import onnxruntime as o; s = o.SessionOptions(); "
    "s.optimized_model_filepath = out + '/m.onnx'; o.InferenceSession(src, s)",
    "ncnn": "import shutil, subprocess, importlib.util as u; shutil.copy(src, out + '/m.onnx'); "
    "tool = u.find_spec('pnnx').origin.replace('__init__.py', 'pnnx'); "
    "subprocess.run([tool, out + '/m.onnx', 'fp16=0'], cwd=out, check=True)",
}
# Of the process itself as the kernel counted it since it began, of its children as it reports it.
PEAK = """
import resource
own = int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024 / 1e6)
"""
PACKAGES = {"litert": "ai_edge_litert", "mnn": "MNN"}


@pytest.mark.parametrize("engine", ["onnxruntime", "litert", "mnn", "ncnn", "openvino"])
def test_convert_of_ultraface(engine, corpus, tmp_path):
    """LiteRT: 1.5 s and 150 MB; the others: 1.3 times the bare tool, plus the proof."""
    if find_spec(PACKAGES.get(engine, engine)) is None:
        pytest.skip(f"{engine} is not installed")
    whole, bare, answer = [], [], {}
    for turn in range(ROUNDS + 1):
        out = tmp_path / f"out{turn}"
        argv = ["-m", "edgeops", "convert", str(corpus / MODEL), "--to", engine, "-o", str(out)]
        seconds, cpu, text = _timed([*argv, "--json"])
        answer = json.loads(text)
        if turn:  # the first one warms the caches
            whole.append((seconds, cpu))
        if engine in BARE:
            room = tmp_path / f"bare{turn}"
            room.mkdir()
            code = f"src, out = {str(corpus / MODEL)!r}, {str(room)!r}\n{BARE[engine]}"
            seconds, cpu, _ = _timed(["-c", code])
            if turn:
                bare.append((seconds, cpu))
    _say(engine, whole, bare, answer)


def large_model(path):
    """Write a network of 210 MB: two convolutions and two matrix products."""
    random = np.random.default_rng(0)
    sizes = {"k0": (1024, 1024, 3, 3), "k1": (1024, 1024, 3, 3), "w0": (4096, 4096)}
    weights = [
        numpy_helper.from_array(random.standard_normal(size, "float32") / 64, name)
        for name, size in {**sizes, "w1": (4096, 4096)}.items()
    ]
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[1,1024,2,2] x) => (float[1,4096] y) {'
        "a = Conv<pads = [1,1,1,1]>(x, k0) b = Relu(a) c = Conv<pads = [1,1,1,1]>(b, k1)"
        "f = Flatten(c) d = MatMul(f, w0) e = Relu(d) y = MatMul(e, w1) }"
    )
    proto.graph.initializer.extend(weights)
    onnx.save(proto, path)
    return path


@pytest.mark.parametrize("engine", ["onnxruntime", "litert", "mnn", "ncnn", "openvino"])
def test_memory_of_a_large_model(engine, tmp_path):
    """Three times the model, beside what the tool takes by itself."""
    if find_spec(PACKAGES.get(engine, engine)) is None:
        pytest.skip(f"{engine} is not installed")
    model = large_model(tmp_path / "large.onnx")
    argv = ["-m", "edgeops", "convert", str(model), "--to", engine, "-o", str(tmp_path / "out")]
    answer = json.loads(_timed([*argv, "--json"])[2])
    size, bare = model.stat().st_size / 1e6, ""
    if engine in BARE:
        code = f"src, out = {str(model)!r}, {str(tmp_path)!r}\n{BARE[engine]}\n{PEAK}"
        alone = float(_timed(["-c", code])[2].splitlines()[-1])
        bare = f"; the bare tool {alone:.0f} MB"
    sys.stdout.write(
        f"\n{engine}: {answer['peak_mb']:.0f} MB for a model of {size:.0f} MB, "
        f"{answer['peak_mb'] / size:.1f} times it{bare}\n"
    )


def _timed(argv):
    """Return wall and processor time of a Python process and its children, and what it said."""
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *argv], capture_output=True, check=True, env={**os.environ, "CI": "true"}
    )
    after = os.times()
    cpu = sum(after[2:4]) - sum(before[2:4])
    return time.perf_counter() - start, cpu, done.stdout


def _say(engine, whole, bare, answer):
    def middle(runs, index):
        return statistics.median(run[index] for run in runs)

    took = answer["took_s"]
    line = f"\n{engine}: {middle(whole, 0):.2f} s wall, {middle(whole, 1):.2f} s processor, "
    line += f"{answer['peak_mb']:.0f} MB; of that "
    line += ", ".join(f"{name} {seconds:.2f}" for name, seconds in took.items())
    if bare:
        line += f"; the bare tool {middle(bare, 0):.2f} s wall, {middle(bare, 1):.2f} s processor"
    sys.stdout.write(line + "\n")
