"""What the model of the target @TARGET@ takes and answers. Written by edgeops pack."""

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


def read_inputs(paths):
    """Return an array for each input: from the named files in order, else zeros."""
    if paths and len(paths) != len(INPUTS):
        sys.exit("usage: demo.py FOLDER [INPUT.bin ...], one file for each input")
    arrays = []
    for number, tensor in enumerate(INPUTS):
        array = np.zeros(tensor.shape, tensor.dtype)
        if paths:
            array = np.frombuffer(Path(paths[number]).read_bytes(), tensor.dtype)
        arrays.append(array.reshape(tensor.shape))
    return arrays


def show(tensor, array):
    """Print an output on one line: its name, its shape, its values."""
    values = " ".join(f"{value:.9g}" for value in np.asarray(array).ravel().tolist())
    print(f"{tensor.name} {list(array.shape)}: {values}")
