"""Deltas of a network that was really trained on, in each engine's own files."""

from __future__ import annotations

import copy
import sys

import numpy as np
import onnx
import pytest

from edgeops.cli import main
from edgeops.package.deltas import make
from edgeops.runtime.delta import apply
from tests.unit import _deltas

pytestmark = pytest.mark.slow

MOST = {"int8": 0.155, "fp32": 0.66, "fp16": 0.45}
MOST_OF_HEAD = 0.12
CASES = [
    ("onnxruntime", "fp32", "model.onnx", ""),
    ("onnxruntime", "int8", "model.onnx", ""),
    ("litert", "fp32", "model.tflite", "ai_edge_litert"),
    ("litert", "fp16", "model.tflite", "ai_edge_litert"),
    ("litert", "int8", "model.tflite", "ai_edge_litert"),
    ("mnn", "fp32", "model.mnn", "MNN"),
    ("mnn", "fp16", "model.mnn", "MNN"),
    ("ncnn", "fp32", "model.ncnn.bin", "ncnn"),
    ("openvino", "fp16", "model.bin", "openvino"),
]


def save(network, path):
    """Write the network of the digits template as ONNX."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs

    model = to_onnx(
        network,
        initial_types=[("image", FloatTensorType([None, 64]))],
        options={"zipmap": False},
        target_opset=17,
    )
    _label, scores = model.graph.output
    model = select_model_inputs_outputs(model, outputs=[scores.name])
    model.graph.output[0].CopyFrom(scores)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.save(model, path)


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Return a folder with old.onnx, full.onnx and head.onnx, which learned from more images."""
    from threadpoolctl import threadpool_limits

    folder = tmp_path_factory.mktemp("digits")
    with threadpool_limits(1):
        train(folder)
    return folder


def train(folder):
    """Write the three networks, and images that none of them learned from."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    digits = load_digits()
    images, labels = (digits.data / 16).astype(np.float32), digits.target
    old = MLPClassifier((128, 64), alpha=1e-2, random_state=7)
    for _ in range(40):
        old.partial_fit(images[:900], labels[:900], classes=np.arange(10))
    full, head = copy.deepcopy(old), copy.deepcopy(old)
    for network in (full, head):  # fine-tuning goes on at a lower rate
        network._optimizer.learning_rate_init /= 20
    for _ in range(9):
        full.partial_fit(images[900:1200], labels[900:1200])
        head.partial_fit(images[900:1200], labels[900:1200])
        head.coefs_[:-1] = copy.deepcopy(old.coefs_[:-1])
        head.intercepts_[:-1] = copy.deepcopy(old.intercepts_[:-1])
    for name, network in (("old", old), ("full", full), ("head", head)):
        save(network, folder / f"{name}.onnx")
        assert network.score(images[1200:], labels[1200:]) > 0.9
    for before, after in zip(old.coefs_, full.coefs_, strict=True):
        assert 0.0015 < (after - before).std() / before.std() < 0.008
    np.savez(folder / "data.npz", image=images[1200:1400], labels=labels[1200:1400])


def variant(folder, name, engine, precision):
    """Return the folder of a variant that edgeops makes."""
    out = f"{name}-{engine}-{precision}"
    argv = [f"{name}.onnx", "--to", engine, "-o", out]
    if precision == "int8":
        argv = ["quantize", *argv, "--calibration", "data.npz", "--samples", "64"]
    else:
        argv = ["convert", *argv, "--precision", precision]
    if not (folder / out).is_dir():
        assert main(["-C", str(folder), *argv]) == 0
    return folder / out


@pytest.mark.parametrize(("engine", "precision", "file", "needs"), CASES)
def test_delta_of_network_that_learned_more(versions, tmp_path, engine, precision, file, needs):
    if needs:
        pytest.importorskip(needs, reason=f"needs edgeops[{engine}]")
    if engine == "ncnn":
        from edgeops.convert.engines.ncnn_pnnx import binary

        if binary() is None:
            pytest.skip("needs the program pnnx")
    old = variant(versions, "old", engine, precision) / file
    for name, most in (("full", MOST[precision]), ("head", MOST_OF_HEAD)):
        new = variant(versions, name, engine, precision) / file
        delta = make(old, new, name=file, most=1.0)
        size = new.stat().st_size
        apply(old, delta.data, tmp_path / name, expect=_deltas.digest(new.read_bytes()), size=size)
        sys.stdout.write(f"{engine} {precision} {name}: {100 * delta.share:.2f} % of the file\n")
        assert delta.share <= most
        assert delta.header.method == "tensor" or name == "head"
