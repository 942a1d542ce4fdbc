"""What the model of the target @TARGET@ takes and answers. Written by edgeops pack."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

# The file in the variant's folder that the engine opens.
FILE = "@MODEL_FILE@"


class Tensor(NamedTuple):
    """An input or output: the model's name, the engine's, its shape for one sample, its dtype."""

    name: str
    engine: str
    shape: tuple
    dtype: str


INPUTS = [
@INPUTS@
]
OUTPUTS = [
@OUTPUTS@
]


def arguments():
    """Return the variant's folder and the files of the inputs, as the command line names them."""
    folder, *paths = sys.argv[1:] or [""]
    if not folder or (paths and len(paths) != len(INPUTS)):
        names = " ".join(f"{tensor.name}.bin" for tensor in INPUTS)
        sys.exit(f"usage: demo.py FOLDER [{names}]: one file for each input, or none for zeros")
    if not (Path(folder) / FILE).is_file():
        sys.exit(f"{folder} is not the folder of this model: it has no {FILE}")
    if is_sealed(folder):
        sys.exit(
            f"{FILE} is sealed and opens with the device's key, in edgeops' runtime alone: "
            "edgeops.runtime.Predictor(BUNDLE_FOLDER, key=Path('device.key')).predict(inputs)"
        )
    return folder, paths


def is_sealed(folder):
    """Return whether the model's file is longer than it is in clear, by a tag for each piece."""
    try:
        listed = json.loads((Path(folder) / "variant.json").read_bytes())["files"]
        size = next(each["bytes"] for each in listed if each["path"] == FILE)
    except (OSError, ValueError, LookupError, TypeError, StopIteration):
        return False
    return (Path(folder) / FILE).stat().st_size == size + 16 * max(1, -(-size // (1 << 20)))


def read_inputs(paths):
    """Return an array for each input: from the named files in order, else zeros."""
    arrays = []
    for number, tensor in enumerate(INPUTS):
        array = np.zeros(tensor.shape, tensor.dtype)
        if paths:
            try:
                data = Path(paths[number]).read_bytes()
            except OSError as error:
                sys.exit(f"{tensor.name} cannot be read: {error}")
            if len(data) != array.nbytes:
                sys.exit(f"{tensor.name} takes {array.nbytes} bytes, got {len(data)}")
            array = np.frombuffer(data, tensor.dtype).reshape(tensor.shape)
        arrays.append(array)
    return arrays


def show(tensor, array):
    """Print an output on one line: its name, its shape, its values."""
    values = " ".join(f"{value:.9g}" for value in np.asarray(array).ravel().tolist())
    print(f"{tensor.name} {list(array.shape)}: {values}")
