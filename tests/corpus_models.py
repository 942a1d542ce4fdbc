"""The models of the corpus, each with data that fits it: what tests and tables are made over."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class CorpusModel:
    """A model file, how its data set is written, and the top-1 that the corpus's index states.

    ``shapes`` fixes open axes for engines that keep none; ``score`` is the output that top-1 is of.
    """

    name: str
    file: str
    write: Callable[[Path, Path], None]
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    score: str = ""
    top1: float | None = None

    def data(self, corpus: Path, path: Path) -> Path:
        """Write the data set and return its path."""
        self.write(corpus, path)
        return path


def _mnist(corpus, path):
    images = gzip.decompress((corpus / "mnist_cnn/t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((corpus / "mnist_cnn/t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    x = np.frombuffer(images, "uint8").reshape(-1, 1, 28, 28).astype("float32")
    np.savez(path, Input3=x, labels=np.frombuffer(labels, "uint8").astype("int64"))


def _magika(corpus, path):
    data = np.load(corpus / "magika_v3_3/eval_204.npz")
    np.savez(path, bytes=data["features"].astype("int32"), labels=data["expected_index"])


def _mtcnn(name, array):
    def write(corpus, path):
        np.savez(path, **{name: np.load(corpus / "mtcnn/reference.npz")[array]})

    return write


def _ultraface(name="input", *, channels_last=False):
    def write(corpus, path):
        x = np.load(corpus / "ultraface_rfb320/reference_rfb320.npz")["input"]
        np.savez(path, **{name: x.transpose(0, 2, 3, 1) if channels_last else x})

    return write


def _hand(name):
    def write(corpus, path):
        table = np.loadtxt(corpus / "hand_keypoint/keypoint_test_split.csv", delimiter=",")
        x, labels = table[:, 1:].astype("float32"), table[:, 0].astype("int64")
        np.savez(path, **{name: x}, labels=labels)

    return write


def _basic_pitch(corpus, path):
    windows = np.load(corpus / "basic_pitch/windows_22050.npz")
    x = windows[windows.files[0]].reshape(-1, 43844, 1).astype("float32")
    np.savez(path, **{"serving_default_input_2:0": x})


def _kws(name, dtype):
    def write(corpus, path):
        found = np.load(corpus / "kws_dscnn/kws01_1000.npz")
        x = next(found[key] for key in found.files if found[key].ndim > 1).reshape(-1, 49, 10, 1)
        labels = next((found[key] for key in found.files if found[key].ndim == 1), None)
        if dtype == "float32":
            x = (x.astype("float32") - 83) * 0.5847029
        arrays = {name: x.astype(dtype)}
        if labels is not None:
            arrays["labels"] = labels.astype("int64")
        np.savez(path, **arrays)

    return write


def _toycar(corpus, path):
    raw = np.fromfile(corpus / "ad_toycar/normal_id_01_00000000_hist_librosa.bin", "float32")
    rows = raw.reshape(200, 128)
    np.savez(path, input_1=np.stack([rows[i : i + 5].ravel() for i in range(196)]))


ONNX = (
    CorpusModel("mnist_cnn", "mnist_cnn/mnist.onnx", _mnist, {}, "Plus214_Output_0", 0.9891),
    CorpusModel(
        "hand_keypoint",
        "hand_keypoint/keypoint_classifier_argmax.onnx",
        _hand("input"),
        {"input": (1, 42)},
        "class_ids",
        0.9631,
    ),
    CorpusModel("ultraface", "ultraface_rfb320/version-RFB-320.onnx", _ultraface()),
    CorpusModel("ultraface_slim", "ultraface_rfb320/version-slim-320.onnx", _ultraface()),
    CorpusModel(
        "ultraface_nopost",
        "ultraface_rfb320/version-RFB-320_without_postprocessing.onnx",
        _ultraface(),
    ),
    CorpusModel(
        "mtcnn_pnet", "mtcnn/pnet.onnx", _mtcnn("input_1", "pnet_in"), {"input_1": (1, 114, 106, 3)}
    ),
    CorpusModel(
        "mtcnn_rnet", "mtcnn/rnet.onnx", _mtcnn("input_2", "rnet_in"), {"input_2": (1, 24, 24, 3)}
    ),
    CorpusModel(
        "mtcnn_onet", "mtcnn/onet.onnx", _mtcnn("input_3", "onet_in"), {"input_3": (1, 48, 48, 3)}
    ),
    CorpusModel(
        "basic_pitch",
        "basic_pitch/nmp.onnx",
        _basic_pitch,
        {"serving_default_input_2:0": (1, 43844, 1)},
    ),
    CorpusModel(
        "magika", "magika_v3_3/model.onnx", _magika, {"bytes": (1, 2048)}, "target_label", 1.0
    ),
)
TFLITE = (
    CorpusModel("kws_int8", "kws_dscnn/kws_ref_model_int8.tflite", _kws("input_1", "int8")),
    CorpusModel("kws_float", "kws_dscnn/kws_ref_model_float32.tflite", _kws("input_1", "float32")),
    CorpusModel("ad_toycar", "ad_toycar/ad01_fp32.tflite", _toycar),
    CorpusModel(
        "hand_tflite",
        "hand_keypoint/keypoint_classifier.tflite",
        _hand("input_1"),
        score="Identity",
    ),
    CorpusModel(
        "ultraface_tflite",
        "ultraface_rfb320/version-RFB-320_without_postprocessing.tflite",
        _ultraface("input_1", channels_last=True),
    ),
)
