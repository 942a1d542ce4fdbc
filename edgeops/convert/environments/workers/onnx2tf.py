"""The worker of ``onnx2tf``: an ONNX file to a .tflite file, and how its tensors differ.

onnx2tf turns channels-first tensors into channels-last ones and may reorder outputs. Which axes it
moved cannot be told from shapes alone when two sizes are equal, so it is found by running both
models on the same numbers.
"""

# mypy: disable-error-code="import-not-found, import-untyped, no-any-return"
# What it imports is in its own environment, and ships no types.

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_USE_LEGACY_KERAS"] = "1"

# onnx2tf downloads this file for models that take pictures, unless it lies here; what is in it only
# matters to its own comparison of outputs, which is switched off.
SAMPLE = "calibration_image_sample_data_20x128x128x3_float32.npy"
OPEN_BATCH, OPEN_SIZE = 2, 64
SEED = 7
CLOSE = 1e-2
LEAST_WITH_CHANNELS = 3  # batch, channels and something else
MOST_TRIED = 5  # axes: 120 orders


def check() -> dict[str, Any]:
    """Return the ONNX operators that onnx2tf has a translation for."""
    import onnx2tf

    files = (Path(onnx2tf.__file__).parent / "ops").glob("[A-Z]*.py")
    return {"operators": sorted(path.stem for path in files)}


def convert(model: str, out: str, precision: str) -> dict[str, Any]:
    """Write ``out`` and return how its inputs and outputs belong to those of ``model``.

    ``{"inputs": {name: {"tensor", "permutation"}}, "outputs": {...}, "custom": [names]}``, where
    ``tensor`` is the name in the file. An input's axes in the order of ``permutation`` are what the
    file takes, an output's are what the model answers; without it both are the same.
    """
    import numpy as np
    import onnx2tf

    random = np.random.default_rng(SEED)
    np.save(SAMPLE, random.random((20, 128, 128, 3), dtype=np.float32))
    onnx2tf.convert(
        input_onnx_file_path=model,
        output_folder_path="made",
        copy_onnx_input_output_names_to_tflite=True,
        not_use_onnxsim=True,
        disable_model_save=False,
        verbosity="warn",
    )
    kind = {"fp32": "float32", "fp16": "float16"}[precision]
    made = [path for path in Path("made").glob("*.tflite") if path.stem.endswith(kind)]
    if len(made) != 1:
        there = ", ".join(sorted(path.name for path in Path("made").iterdir()))
        raise RuntimeError(f"onnx2tf wrote no {kind} file, only: {there or 'nothing'}")
    data = made[0].read_bytes()
    custom = custom_operators(data)
    if not custom:
        mapping = correspondence(model, data)
        Path(out).write_bytes(data)
        return {"custom": [], **mapping}
    return {"custom": custom, "inputs": {}, "outputs": {}}


def custom_operators(data: bytes) -> list[str]:
    """Return the operators of a .tflite file that LiteRT itself does not have (Flex and others)."""
    from tensorflow.lite.python import schema_py_generated as schema

    codes = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0)).operatorCodes
    return sorted({code.customCode.decode() for code in codes if code.customCode})


def correspondence(model: str, data: bytes) -> dict[str, Any]:
    """Return which tensor of the .tflite file each input and output is, and its order of axes."""
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    given = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in given]
    feed = {value.name: numbers(value) for value in inputs}
    expected = reference(model, feed)
    theirs = Lite(data)
    names = paired([value.name for value in inputs], theirs.inputs)
    shapes = {value.name: fixed_shape(value) for value in inputs}
    choices = [
        candidates(shapes[value.name], theirs.inputs[names[value.name]], channels_last=True)
        for value in inputs
    ]
    best = None
    for chosen in itertools.islice(itertools.product(*choices), 64):
        permutations = dict(zip((value.name for value in inputs), chosen, strict=True))
        found = theirs.run(
            {names[name]: feed[name].transpose(order) for name, order in permutations.items()}
        )
        outputs, error = matched(expected, found)
        if best is None or error < best[0]:
            best = (error, permutations, outputs)
        if error < CLOSE:
            break
    if best is None:
        raise RuntimeError("the file's inputs have other shapes than the model's")
    _, permutations, outputs = best
    return {
        "inputs": {name: about(names[name], order) for name, order in permutations.items()},
        "outputs": outputs,
    }


def paired(names: Iterable[str], theirs: Iterable[str]) -> dict[str, str]:
    """Return the name in the file for each name of the model: the same, cleaned, or by order."""
    left = [name for name in theirs if name not in names]
    result = {}
    for name in names:
        result[name] = name if name in theirs else left.pop(0)
    return result


def candidates(
    source: Sequence[int], target: Sequence[int], *, channels_last: bool = False
) -> list[tuple[int, ...]]:
    """Return the orders of axes that turn a shape into the other, the likeliest first.

    Open axes of the target (-1) fit any size.
    """
    rank = len(source)
    if rank != len(target):
        return []
    kept = tuple(range(rank))
    last, back = kept, kept
    if rank >= LEAST_WITH_CHANNELS:
        last, back = (0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))
    first = [last, kept] if channels_last else [kept, back]
    orders = dict.fromkeys([*first, *(itertools.permutations(kept) if rank <= MOST_TRIED else ())])
    return [order for order in orders if fits([source[axis] for axis in order], target)]


def fits(shape: Sequence[int], target: Sequence[int]) -> bool:
    """Return whether a tensor of a shape may stand where ``target`` is wanted."""
    return all(want in (size, -1) for size, want in zip(shape, target, strict=True))


def matched(expected: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Return which found tensor each expected one is, in what order of axes, and the worst error.

    A tensor that kept its name is taken for the one of that name; of the others, the nearest is.
    """
    left = [name for name in found if name not in expected]
    outputs, worst = {}, 0.0
    for name, array in expected.items():
        scored = [
            (difference(found[theirs].transpose(order), array), place, theirs, order)
            for theirs in ([name] if name in found else left)
            for place, order in enumerate(candidates(found[theirs].shape, array.shape))
        ]
        if not scored:
            there = ", ".join(f"{key} {list(value.shape)}" for key, value in found.items())
            raise RuntimeError(f"output {name!r} {list(array.shape)} is none of: {there}")
        # The likeliest order of axes comes first: a later one must be better by more than rounding.
        error, _, theirs, order = min(scored, key=lambda each: (round(each[0], 4), each[1]))
        if theirs in left:
            left.remove(theirs)
        outputs[name] = about(theirs, order)
        worst = max(worst, error)
    return outputs, worst


def difference(mine: Any, other: Any) -> float:
    """Return the norm of the difference over the norm of ``other``; large where one is no number."""
    import numpy as np

    error = np.linalg.norm((mine.astype("float64") - other).ravel())
    size = max(float(np.linalg.norm(other.astype("float64").ravel())), 1e-12)
    return float(np.nan_to_num(error / size, nan=1e9, posinf=1e9))


def about(tensor: str, order: Sequence[int]) -> dict[str, Any]:
    """Return a tensor and its order of axes, where that is not the same."""
    moved = list(order) != sorted(order)
    return {"tensor": tensor, "permutation": list(order)} if moved else {"tensor": tensor}


def fixed_shape(value: Any) -> list[int]:
    """Return a shape with sizes for open axes: a batch of two, enough for pictures and sequences."""
    return [
        size.dim_value if size.dim_value > 0 else (OPEN_BATCH if axis == 0 else OPEN_SIZE)
        for axis, size in enumerate(value.type.tensor_type.shape.dim)
    ]


def numbers(value: Any) -> Any:
    """Return seeded numbers of an input's shape and type; integers small, for they may be indices."""
    import numpy as np
    import onnx

    random = np.random.default_rng(SEED)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    shape = fixed_shape(value)
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 2, shape).astype(dtype)


def reference(model: str, feed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ONNX Runtime answers, by output name."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


class Lite:
    """A .tflite file; its tensors go by the names of its signature, or their own without one."""

    def __init__(self, data: bytes) -> None:
        import tensorflow as tf

        self._interpreter = tf.lite.Interpreter(
            model_content=data,
            num_threads=1,
            experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF,
        )
        signatures = list(self._interpreter.get_signature_list())
        if len(signatures) == 1:
            runner = self._interpreter.get_signature_runner(signatures[0])
            self._ins, self._outs = runner.get_input_details(), runner.get_output_details()
        else:
            self._ins = {each["name"]: each for each in self._interpreter.get_input_details()}
            self._outs = {each["name"]: each for each in self._interpreter.get_output_details()}
        self.inputs = {
            name: [int(size) for size in each.get("shape_signature", each["shape"])]
            for name, each in self._ins.items()
        }

    def run(self, feed: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs by name."""
        for name, array in feed.items():
            self._interpreter.resize_tensor_input(self._ins[name]["index"], array.shape)
        self._interpreter.allocate_tensors()
        for name, array in feed.items():
            self._interpreter.set_tensor(self._ins[name]["index"], array)
        self._interpreter.invoke()
        return {
            name: self._interpreter.get_tensor(each["index"]) for name, each in self._outs.items()
        }
