"""What ``check`` costs on a large graph; nothing is judged."""

from __future__ import annotations

import json
import subprocess
import sys

import onnx
import pytest
from onnx import TensorProto, helper

pytestmark = pytest.mark.bench


def test_check_of_a_thousand_nodes(tmp_path, benchmark):
    """Below a second as a whole process, interpreter and imports included."""
    nodes = [helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"], name=f"n{i}") for i in range(1000)]
    graph = helper.make_graph(
        nodes,
        "long",
        [helper.make_tensor_value_info("t0", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("t1000", TensorProto.FLOAT, ["N", 4])],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    argv = ["check", str(tmp_path / "m.onnx"), "--to", "onnxruntime", "--json"]

    def check():
        return subprocess.run(
            [sys.executable, "-m", "edgeops", *argv], check=True, capture_output=True
        ).stdout

    result = json.loads(benchmark.pedantic(check, rounds=5, warmup_rounds=1))
    assert result["supported"] is True
    sys.stdout.write(f"\ncheck of 1,000 nodes: {1000 * benchmark.stats['median']:.0f} ms\n")
