"""What our LiteRT writer costs, and how fast its files are beside others'; nothing is judged.

The aims: ultraface in at most 1.5 s and 150 MB as a whole process, and files at most 1.1 times as
slow as those that TensorFlow's converter made of the same networks.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the extra [litert] is not installed")

from edgeops.convert.litert.make import tflite
from edgeops.model.load import load_model
from edgeops.model.prepare import prepare

pytestmark = pytest.mark.bench
ROUNDS = 5
SECONDS = 5.0
WRITE = """
import resource, sys
from pathlib import Path
from edgeops.convert.litert.make import tflite
from edgeops.model.load import load_model
from edgeops.model.prepare import prepare
Path(sys.argv[2]).write_bytes(tflite(prepare(load_model(Path(sys.argv[1])).proto).proto))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
# Networks that the corpus has as ONNX and as a publisher's own .tflite.
PAIRS = {
    "ultraface": (
        "ultraface_rfb320/version-RFB-320_without_postprocessing.onnx",
        "ultraface_rfb320/version-RFB-320_without_postprocessing.tflite",
    ),
    "basic_pitch": ("basic_pitch/nmp.onnx", "basic_pitch/nmp.tflite"),
}


@pytest.mark.parametrize(
    "model", ["ultraface_rfb320/version-RFB-320.onnx", "magika_v3_3/model.onnx"]
)
def test_writing_as_a_whole_process(model, corpus, tmp_path):
    runs = []
    argv = [sys.executable, "-c", WRITE, str(corpus / model), str(tmp_path / "m.tflite")]
    for _ in range(ROUNDS):
        before, start = os.times(), time.perf_counter()
        done = subprocess.run(argv, capture_output=True, check=True, text=True)
        seconds, after = time.perf_counter() - start, os.times()
        runs.append((seconds, sum(after[2:4]) - sum(before[2:4]), float(done.stdout)))
    wall, cpu, peak = (statistics.median(run[index] for run in runs) for index in range(3))
    sys.stdout.write(f"\n{model}: {wall:.2f} s wall, {cpu:.2f} s processor, {peak:.0f} MB\n")
    assert (tmp_path / "m.tflite").stat().st_size > 0


@pytest.mark.parametrize("name", PAIRS)
def test_answering_beside_the_publishers_file_and_onnx_runtime(name, corpus):
    source, published = (corpus / file for file in PAIRS[name])
    calls = {
        "ours": _call(bytes(tflite(prepare(load_model(source).proto).proto))),
        "publisher's": _call(published.read_bytes()),
        "ONNX Runtime": _onnx_runtime(source),
    }
    times: dict[str, list[float]] = {called: [] for called in calls}
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for called, call in calls.items():
            start = time.perf_counter()
            call()
            times[called].append(time.perf_counter() - start)
    ours = times["ours"]
    for called, found in times.items():
        ratio = statistics.median(a / b for a, b in zip(ours, found, strict=True))
        sys.stdout.write(
            f"\n{name}: {called} {statistics.median(found) * 1e3:.2f} ms, ours {ratio:.3f} of it\n"
        )
    assert len(ours) > 1


def _call(content):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    random = np.random.default_rng(0)
    feeds = [
        (detail["index"], random.standard_normal(detail["shape"]).astype(detail["dtype"]))
        for detail in interpreter.get_input_details()
    ]
    places = [detail["index"] for detail in interpreter.get_output_details()]

    def call():
        for index, array in feeds:
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        return [interpreter.get_tensor(place) for place in places]

    call()
    return call


def _onnx_runtime(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    feed = {
        value.name: random.standard_normal(
            [size if isinstance(size, int) else 1 for size in value.shape]
        ).astype("float32")
        for value in session.get_inputs()
    }
    session.run(None, feed)
    return lambda: session.run(None, feed)
