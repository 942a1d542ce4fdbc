#!/usr/bin/env bash
# The digits project from training to a published bundle, and one prediction from what a device has.
# Everything happens in a temporary folder that is removed at the end.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME="$work" # so that nothing of yours is read or changed
export DVC_NO_ANALYTICS=1

say() { printf '\n$ %s\n' "$*"; }
run() { say "$@"; "$@"; }

cd "$work"
run edgeops init digits
run cd digits
run edgeops run
run edgeops run # again: nothing has changed

# A device ships with the root of trust and takes the rest from the published folder.
run edgeops unpack releases --channel beta --root .edgeops/keys/root.json --target gateway -o device

say python predict.py
cat > predict.py <<'PYTHON'
import numpy as np
from edgeops.runtime import Predictor

labels = open("device/labels.txt").read().split()
with np.load("data/evaluation.npz") as data:
    image, truth = data["image"][:1], labels[data["labels"][0]]

scores = Predictor("device").predict({"image": image})["probabilities"][0]
answer = labels[scores.argmax()]
for row in image.reshape(8, 8):
    print("   ", "".join(" .:-=+*#@"[int(value * 8)] for value in row for _ in "12"))
print(f"the device says {answer} with probability {scores.max():.2f}; the label is {truth}")
raise SystemExit(answer != truth)
PYTHON
python predict.py
