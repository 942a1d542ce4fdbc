"""What ``check`` costs on large graphs; nothing is judged."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytestmark = pytest.mark.bench
FLOAT = TensorProto.FLOAT


def chain(path, count):
    """Write Conv, Relu, Add, Clip over and over: ``count`` nodes as a real network has them."""
    nodes, weights, last = [], [], "x"
    bounds = [numpy_helper.from_array(np.float32(v), n) for v, n in ((0, "low"), (6, "high"))]
    for index in range(count // 4):
        weight = np.full((8, 8, 3, 3), 0.01, "float32")
        weights.append(numpy_helper.from_array(weight, f"w{index}"))
        names = [f"{kind}{index}" for kind in ("conv", "relu", "sum", "clip")]
        nodes += [
            helper.make_node("Conv", [last, f"w{index}"], names[:1], names[0], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", names[:1], names[1:2], names[1]),
            helper.make_node("Add", [names[1], last], names[2:3], names[2]),
            helper.make_node("Clip", [names[2], "low", "high"], names[3:], names[3]),
        ]
        last = names[3]
    shape = ["N", 8, 32, 32]
    value = helper.make_tensor_value_info
    given, made = [value("x", FLOAT, shape)], [value(last, FLOAT, shape)]
    graph = helper.make_graph(nodes, "chain", given, made, [*weights, *bounds])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize("to", ["--to=onnxruntime", "--to=ncnn", "--all"])
def test_check_of_a_thousand_nodes(to, tmp_path, benchmark):
    """Below a second as a whole process, interpreter and imports included."""
    argv = ["check", str(chain(tmp_path / "m.onnx", 1000)), to, "--json"]

    def check():
        return subprocess.run(
            [sys.executable, "-m", "edgeops", *argv], check=False, capture_output=True
        ).stdout

    result = json.loads(benchmark.pedantic(check, rounds=5, warmup_rounds=1))
    assert "supported" in result or len(result["matrix"]) == len(result["engines"])
    sys.stdout.write(f"\ncheck {to} of 1,000 nodes: {1000 * benchmark.stats['median']:.0f} ms\n")
