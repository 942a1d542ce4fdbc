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

import pytest

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
