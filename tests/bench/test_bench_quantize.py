"""Calibration beside ONNX Runtime's own, and the time to an accepted int8; nothing is judged.

Every calibration runs in a fresh process; peak memory is VmHWM of all of it: interpreter, packages,
model and data.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from edgeops.cli import main
from tests.functional._quantize_memory import MEASURE
from tests.functional.test_corpus_quantize import faces, files

pytestmark = pytest.mark.bench


def prepared(corpus, folder, name):
    """Convert a model and write its calibration data; return the number of samples."""
    if name == "magika":
        model, arrays = "magika_v3_3/model.onnx", {"bytes": files(corpus)[0][:68]}
    else:
        model, arrays = "ultraface_rfb320/version-RFB-320.onnx", {"input": faces(corpus, 64)}
    np.savez(folder / "calibration.npz", **arrays)
    argv = ["convert", str(corpus / model), "--to", "onnxruntime", "-o", "float", "--json"]
    assert main(["-C", str(folder), *argv]) == 0
    return len(next(iter(arrays.values())))


def measure(folder, who, method, count):
    argv = [sys.executable, "-c", MEASURE, who, method, "float", "calibration.npz", str(count)]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def say(text):
    sys.stdout.write(text + "\n")


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
@pytest.mark.parametrize("name", ["magika", "ultraface"])
def test_calibration_against_onnxruntime(corpus, tmp_path, capsys, name, method):
    count = prepared(corpus, tmp_path, name)
    found = {who: measure(tmp_path, who, method, count) for who in ("ours", "onnxruntime")}
    ours, theirs = found["ours"], found["onnxruntime"]
    with capsys.disabled():
        say(
            f"\n{name} {method}, {count} samples: "
            f"peak {ours['peak_mb']:.0f} MB, onnxruntime {theirs['peak_mb']:.0f} MB "
            f"(ratio {ours['peak_mb'] / theirs['peak_mb']:.2f}); "
            f"{ours['seconds']:.1f} s, onnxruntime {theirs['seconds']:.1f} s "
            f"(ratio {ours['seconds'] / theirs['seconds']:.2f})"
        )
    assert ours["tensors"] > 0


def test_time_to_an_accepted_int8_of_magika(corpus, tmp_path, capsys):
    prepared(corpus, tmp_path, "magika")
    x, labels = files(corpus)
    np.savez(tmp_path / "evaluation.npz", bytes=x[68:], labels=labels[68:])
    argv = ["quantize", "float", "--to", "onnxruntime", "-o", "out"]
    data = ["--calibration", "calibration.npz", "--evaluation", "evaluation.npz"]
    capsys.readouterr()
    start = time.perf_counter()
    assert main(["-C", str(tmp_path), *argv, *data, "--metric", "accuracy", "--json"]) == 0
    took = time.perf_counter() - start
    result = json.loads(capsys.readouterr().out)
    with capsys.disabled():
        say(
            f"\nmagika: accepted int8 in {took:.1f} s, {len(result['tried'])} tries of "
            f"{', '.join(format(t['seconds'], '.1f') for t in result['tried'])} s, "
            f"accuracy {result['metric']['after']:.3f}, {result['bytes_after']} bytes"
        )
    assert result["metric"]["drop"] <= 0.01
