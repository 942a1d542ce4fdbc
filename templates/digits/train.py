"""Train a small network on scikit-learn's handwritten digits and export it to ONNX.

Writes build/model.onnx (input ``image`` float32 [N, 64] with pixels from 0 to 1, output
``probabilities`` float32 [N, 10]), data/calibration.npz and data/evaluation.npz.
The three parts of the data have no sample in common: what is measured was never learned.

Replace this file by your own training: the pipeline needs the ONNX file and the two data sets.
"""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for so small a network, more threads only wait

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

SEED = 7
CALIBRATION, EVALUATION = 200, 500  # of 1797 samples; the rest is for training


def main() -> None:
    digits = load_digits()
    images = (digits.data / 16).astype(np.float32)
    labels = digits.target.astype(np.int64)
    images, held_images, labels, held_labels = train_test_split(
        images, labels, test_size=CALIBRATION + EVALUATION, stratify=labels, random_state=SEED
    )

    network = MLPClassifier((128, 64), alpha=1e-2, tol=1e-3, random_state=SEED)
    network.fit(images, labels)

    model = to_onnx(
        network,
        initial_types=[("image", FloatTensorType([None, 64]))],
        options={"zipmap": False},
        target_opset=17,
    )
    # Only the scores are kept, with their type and shape: the label is the place of the largest.
    _label, scores = model.graph.output
    model = select_model_inputs_outputs(model, outputs=[scores.name])
    model.graph.output[0].CopyFrom(scores)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    # skl2onnx lists them in an order that changes from run to run, and the file's digest with it.
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)
    del model.opset_import[:]
    model.opset_import.extend(opsets)

    build, data = Path("build"), Path("data")
    build.mkdir(exist_ok=True)
    data.mkdir(exist_ok=True)
    (build / "model.onnx").write_bytes(model.SerializeToString())
    save(data / "calibration.npz", held_images[:CALIBRATION], held_labels[:CALIBRATION])
    save(data / "evaluation.npz", held_images[CALIBRATION:], held_labels[CALIBRATION:])

    accuracy = network.score(held_images[CALIBRATION:], held_labels[CALIBRATION:])
    print(f"trained on {len(labels)} images, accuracy on {EVALUATION} others {accuracy:.3f}")


def save(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write a data set: one array by the name of each model input, and the labels."""
    np.savez_compressed(path, image=images, labels=labels)


if __name__ == "__main__":
    main()
