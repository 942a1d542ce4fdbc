"""What models of the corpus must come to when edgeops measures them, on whatever device.

Each entry writes model and data into a folder as a person would have them there, and names the
figures that the corpus states. ``convert`` and ``validate`` are the arguments of the two verbs; a
test adds ``-C FOLDER`` and, for a device other than this machine, ``--device``.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tests.corpus_models import ONNX, TFLITE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DATA = "e.npz"
_MODELS = {model.name: model for model in (*ONNX, *TFLITE)}


@dataclass(frozen=True)
class CorpusFigure:
    """One model measured by one metric: ``value`` is stated by the corpus, within ``within``.

    ``prepare(corpus, folder)`` writes what ``validate`` reads beside the model, and the model too
    where ``file`` is empty.
    """

    name: str
    file: str
    engine: str
    metric: str
    gate: str
    stated: Callable[[Path], float]
    within: float
    prepare: Callable[[Path, Path], None]
    output: str = ""
    more: dict[str, float] = field(default_factory=dict)

    @property
    def figure(self):
        """The name of the figure in the result."""
        return self.metric.rpartition(":")[2]

    def lay(self, corpus, folder):
        """Write model and data into ``folder``, which is the working directory of the verbs."""
        if self.file:
            shutil.copy(corpus / self.file, folder / self.model)
        self.prepare(corpus, folder)

    @property
    def model(self):
        return "model" + (self.file[self.file.rindex(".") :] if self.file else ".onnx")

    @property
    def convert(self):
        """The arguments that make the folder ``variant``."""
        return ["convert", self.model, "--to", self.engine, "-o", "variant", "--data", DATA]

    @property
    def validate(self):
        """The arguments that measure it; ``--seconds`` is short, for nothing here is about time."""
        argv = ["validate", "variant", "--evaluation", DATA, "--metric", self.metric]
        argv += ["--gate", self.gate, "--seconds", "0.3"]
        if self.output:
            argv += ["--output", self.output]
        # Only ONNX can be run as the source; what comes from elsewhere is measured by itself.
        return argv + (["--source", self.model] if self.model.endswith(".onnx") else [])

    def holds(self, corpus, result):
        """Assert that what ``validate --json`` answered is what the corpus states."""
        metrics = result["metrics"]
        assert abs(metrics[self.figure] - self.stated(corpus)) <= self.within
        for name, value in self.more.items():
            assert metrics[name] == value, name
        assert result["verdict"] == "pass"


def recomputed(name, *keys):
    """Return a function that looks up what the corpus's index says was recomputed."""

    def look(corpus):
        index = json.loads((corpus / "index.json").read_text())
        entries = index if isinstance(index, list) else index["entries"]
        value = next(entry for entry in entries if entry["id"] == name)["recomputed"]["value"]
        for key in keys:
            value = value[key]
        return value

    return look


def _own(name):
    def prepare(corpus, folder):
        _MODELS[name].write(corpus, folder / DATA)

    return prepare


_ANOMALY = """
def anomaly(outputs, labels):
    (rebuilt,) = outputs.values()
    return float(((rebuilt - labels) ** 2).mean(axis=1).mean())

anomaly.higher_is_better = False
"""


def _toycar(corpus, folder):
    _MODELS["ad_toycar"].write(corpus, folder / DATA)
    with np.load(folder / DATA) as data:
        windows = data["input_1"]
    np.savez(folder / DATA, input_1=windows, labels=windows)
    (folder / "toycar.py").write_text(_ANOMALY)


def toycar_scores(corpus, kind="tflite"):
    """Return the published anomaly score of each file, and whether it is an anomaly."""
    path = corpus / f"ad_toycar/published_{kind}_anomaly_score_ToyCar_id_01.csv"
    rows = [line.split(",") for line in path.read_text().split()]
    labels = np.array([name.startswith("anomaly") for name, _ in rows]).astype(np.int64)
    return np.array([float(score) for _, score in rows]), labels


def toycar_auc(corpus, kind="tflite"):
    """Return the published area under the ROC curve of those scores."""
    lines = (corpus / f"ad_toycar/published_{kind}_result.csv").read_text().split()
    return float(next(line for line in lines if line.startswith("01,")).split(",")[1])


def _toycar_auc(corpus, folder):
    """Write the published scores as data, and a model that answers what it is given.

    The sounds themselves are not in the corpus, so the arithmetic is all that can be held.
    """
    import onnx
    from onnx import TensorProto, helper

    scores, labels = toycar_scores(corpus)
    np.savez(folder / DATA, score=scores.astype(np.float32)[:, None], labels=labels)
    given, answer = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1])
        for name in ("score", "answer")
    )
    node = helper.make_node("Abs", ["score"], ["answer"])
    graph = helper.make_graph([node], "scores", [given], [answer])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")


_NOTES = """
import numpy as np


def _difference(outputs, labels, name):
    # Each window overlaps its neighbours by 15 frames a side; beyond the end labels are nan.
    own = outputs[name][:, 15:-15]
    return np.abs(own - labels)[np.isfinite(labels)]


def note_most(outputs, labels):
    return float(_difference(outputs, labels, "StatefulPartitionedCall:1").max())


def note_mean(outputs, labels):
    return float(_difference(outputs, labels, "StatefulPartitionedCall:1").mean())


note_most.higher_is_better = note_mean.higher_is_better = False
"""


def _basic_pitch(corpus, folder):
    _MODELS["basic_pitch"].write(corpus, folder / DATA)
    with np.load(folder / DATA) as data:
        arrays = dict(data)
    (windows,) = arrays.values()
    with np.load(corpus / "basic_pitch/expected_output.npz") as expected:
        frames = expected["note"]
    labels = np.full((len(windows) * 142, frames.shape[1]), np.nan, np.float32)
    labels[: len(frames)] = frames
    np.savez(folder / DATA, **arrays, labels=labels.reshape(len(windows), 142, -1))
    (folder / "notes.py").write_text(_NOTES)


SAME = {"agreement": 1.0}
FIGURES = (
    CorpusFigure(
        name="kws_dscnn",
        file="kws_dscnn/kws_ref_model_int8.tflite",
        engine="litert",
        metric="accuracy",
        gate="accuracy>=0.9",
        stated=recomputed("kws_dscnn", "int8"),
        within=0.0,
        prepare=_own("kws_int8"),
    ),
    CorpusFigure(
        name="mnist_cnn",
        file="mnist_cnn/mnist.onnx",
        engine="onnxruntime",
        metric="accuracy",
        gate="accuracy>=0.989",
        stated=recomputed("mnist_cnn"),
        within=0.0,
        prepare=_own("mnist_cnn"),
        more={**SAME, "accuracy_drop": 0.0},
    ),
    CorpusFigure(
        name="hand_keypoint",
        file="hand_keypoint/keypoint_classifier_argmax.onnx",
        engine="onnxruntime",
        metric="accuracy",
        gate="accuracy>=0.963",
        stated=recomputed("hand_keypoint", "onnx"),
        within=5e-6,
        prepare=_own("hand_keypoint"),
        more={**SAME, "accuracy_drop": 0.0},
    ),
    CorpusFigure(
        name="hand_keypoint_litert",
        file="hand_keypoint/keypoint_classifier.tflite",
        engine="litert",
        metric="accuracy",
        gate="accuracy>=0.963",
        stated=recomputed("hand_keypoint", "tflite"),
        within=5e-6,
        prepare=_own("hand_tflite"),
    ),
    CorpusFigure(
        name="ad_toycar",
        file="ad_toycar/ad01_fp32.tflite",
        engine="litert",
        metric="toycar:anomaly",
        gate="anomaly<=9.708",
        stated=recomputed("ad_toycar", "fp32"),
        within=1e-4,
        prepare=_toycar,
    ),
    CorpusFigure(
        name="ad_toycar_auc",
        file="",
        engine="onnxruntime",
        metric="auc",
        gate="auc>=0.9",
        stated=toycar_auc,
        within=1e-12,
        prepare=_toycar_auc,
        more={"auc_drop": 0.0},
    ),
    CorpusFigure(
        name="basic_pitch",
        file="basic_pitch/nmp.onnx",
        engine="onnxruntime",
        metric="notes:note_most",
        gate="note_most<=0.0011",
        stated=recomputed("basic_pitch", "note", 0),
        within=1e-4,
        prepare=_basic_pitch,
    ),
    CorpusFigure(
        name="basic_pitch_mean",
        file="basic_pitch/nmp.onnx",
        engine="onnxruntime",
        metric="notes:note_mean",
        gate="note_mean<=0.000015",
        stated=recomputed("basic_pitch", "note", 1),
        within=1e-6,
        prepare=_basic_pitch,
    ),
)
