"""Answer for one image the way a device does: from the files that edgeops unpack left in device/.

    edgeops unpack releases --channel beta --root .edgeops/keys/root.json --target gateway -o device
    python predict.py

A device needs numpy, the engine and edgeops.runtime for this; no training package, no DVC.
"""

import numpy as np
from edgeops.errors import EdgeopsError
from edgeops.runtime import Predictor

SAMPLE = 3  # of the evaluation data, which the network has never seen


def main() -> None:
    predictor = Predictor("device")
    labels = predictor.labels
    with np.load("data/evaluation.npz") as data:
        image, truth = data["image"][SAMPLE : SAMPLE + 1], labels[data["labels"][SAMPLE]]

    scores = predictor.predict({"image": image})["probabilities"][0]

    answer = labels[scores.argmax()]
    for row in image.reshape(8, 8):
        print("   ", "".join(2 * " .:-=+*%@"[int(8 * pixel)] for pixel in row).rstrip())
    print(f"the device says {answer} with probability {scores.max():.3f}; the label is {truth}")
    if answer != truth:
        raise SystemExit("the device is wrong")


if __name__ == "__main__":
    try:
        main()
    except EdgeopsError as error:  # what is in device/, or what it was given, does not fit
        raise SystemExit("\n".join(filter(None, (error.what, error.why, error.fix)))) from None
