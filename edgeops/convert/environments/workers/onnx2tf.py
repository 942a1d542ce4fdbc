"""The worker of ``onnx2tf``: an ONNX file to a .tflite file, and how its tensors differ.

onnx2tf turns channels-first tensors into channels-last ones and may reorder outputs. Which axes it
moved cannot be told from shapes alone when two sizes are equal, so it is found by running both
models on the same numbers.
"""

import itertools
import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_USE_LEGACY_KERAS"] = "1"

# onnx2tf downloads this file for models that take pictures, unless it lies here; what is in it only
# matters to its own comparison of outputs, which is switched off.
SAMPLE = "calibration_image_sample_data_20x128x128x3_float32.npy"
SIZE_OF_OPEN_AXES = 2
SEED = 7
SAMPLES_WITHIN = 1e-2


def check():
    """Return the ONNX operators that onnx2tf has a translation for."""
    import onnx2tf

    files = (Path(onnx2tf.__file__).parent / "ops").glob("[A-Z]*.py")
    return {"operators": sorted(path.stem for path in files)}


def convert(model, out, precision):
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


def custom_operators(data):
    """Return the operators of a .tflite file that LiteRT itself does not have (Flex and others)."""
    from tensorflow.lite.python import schema_py_generated as schema

    codes = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0)).operatorCodes
    return sorted({code.customCode.decode() for code in codes if code.customCode})


def correspondence(model, data):
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
        if error < SAMPLES_WITHIN:
            break
    if best is None:
        raise RuntimeError("the file's inputs have other shapes than the model's")
    _, permutations, outputs = best
    return {
        "inputs": {name: about(names[name], order) for name, order in permutations.items()},
        "outputs": outputs,
    }


def paired(names, theirs):
    """Return the name in the file for each name of the model: the same, cleaned, or by order."""
    left = [name for name in theirs if name not in names]
    result = {}
    for name in names:
        result[name] = name if name in theirs else left.pop(0)
    return result


def candidates(source, target, *, channels_last):
    """Return the orders of axes that turn a shape into the other, the likeliest first.

    Sizes of 1 in the file stand for axes that are open there too.
    """
    rank = len(source)
    if rank != len(target):
        raise RuntimeError(f"a tensor of {rank} axes became one of {len(target)}")
    kept = tuple(range(rank))
    last = (0, *range(2, rank), 1) if rank > 2 else kept
    back = (0, rank - 1, *range(1, rank - 1)) if rank > 2 else kept
    first = [last, kept] if channels_last else [kept, back]
    orders = dict.fromkeys([*first, *(itertools.permutations(kept) if rank <= 5 else ())])
    return [order for order in orders if fits([source[axis] for axis in order], target)]


def fits(shape, target):
    return all(want in (size, -1) for size, want in zip(shape, target))


def matched(expected, found):
    """Return which found tensor each expected one is, in what order of axes, and the worst error."""
    import numpy as np

    names = paired(list(expected), found)
    outputs, worst = {}, 0.0
    for name, array in expected.items():
        other = found[names[name]]
        scored = []
        for order in candidates(other.shape, array.shape, channels_last=False):
            mine = other.transpose(order).astype("float64")
            error = np.linalg.norm(mine - array) / max(np.linalg.norm(mine), 1e-12)
            scored.append((float(np.nan_to_num(error, nan=1e9, posinf=1e9)), order))
        if not scored:
            raise RuntimeError(
                f"output {name!r} has shape {list(array.shape)} and became {list(other.shape)}"
            )
        # The first of equals is the likeliest: a later one must be better by far.
        error, order = min(scored, key=lambda pair: round(pair[0], 4))
        outputs[name] = about(names[name], order)
        worst = max(worst, error)
    return outputs, worst


def about(tensor, order):
    moved = list(order) != sorted(order)
    return {"tensor": tensor, "permutation": list(order)} if moved else {"tensor": tensor}


def fixed_shape(value):
    sizes = value.type.tensor_type.shape.dim
    return [size.dim_value if size.dim_value > 0 else SIZE_OF_OPEN_AXES for size in sizes]


def numbers(value):
    """Return seeded numbers of an input's shape and type; integers small, for they may be indices."""
    import numpy as np
    import onnx

    random = np.random.default_rng(SEED)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    shape = fixed_shape(value)
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 2, shape).astype(dtype)


def reference(model, feed):
    """Return what ONNX Runtime answers, by output name."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


class Lite:
    """A .tflite file run by its signature, whose names are what -coion copies."""

    def __init__(self, data):
        import tensorflow as tf

        self._interpreter = tf.lite.Interpreter(
            model_content=data,
            num_threads=1,
            experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF,
        )
        signature = next(iter(self._interpreter.get_signature_list()))
        self._runner = self._interpreter.get_signature_runner(signature)
        self.inputs = {
            name: [int(size) for size in about["shape_signature"]]
            for name, about in self._runner.get_input_details().items()
        }

    def run(self, feed):
        return {name: array for name, array in self._runner(**feed).items()}
