"""The worker of ``paddle``: an ONNX file to a Paddle Inference model by X2Paddle, and running it."""

# mypy: disable-error-code="import-not-found, import-untyped, no-any-return"
# What it imports is in its own environment, and ships no types.

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["GLOG_minloglevel"] = "2"  # noqa: SIM112 - glog spells it so

LOADED: dict[str, Any] = {}
FILES = ("model.json", "model.pdiparams")


def check() -> dict[str, Any]:
    """Return the ONNX operators that X2Paddle has a translation for."""
    from types import SimpleNamespace

    from x2paddle.op_mapper.onnx2paddle.opset15 import OpSet15

    newest = OpSet15(SimpleNamespace(graph=None), None)
    methods = {name for name in dir(newest) if name[:1].isupper()}
    return {"operators": sorted(methods | {*newest.directly_map_ops, *newest.elementwise_ops})}


def convert(model: str, out: str, precision: str) -> dict[str, Any]:  # noqa: ARG001 - there is one
    """Write the files into the folder ``out``; return how Paddle calls inputs and outputs."""
    import paddle
    from x2paddle.convert import onnx2paddle

    tidied(model)
    onnx2paddle(model, "made", convert_to_lite=False, disable_feedback=True)
    made = Path("made") / "inference_model"
    for name in FILES:
        if not (made / name).is_file():
            raise RuntimeError(f"X2Paddle wrote no {name}")
    for name in FILES:
        (Path(out) / name).write_bytes((made / name).read_bytes())
    predictor = opened(str(Path(out) / FILES[0]), 1)
    return {
        "paddle": paddle.__version__,
        "inputs": predictor.get_input_names(),
        "outputs": predictor.get_output_names(),
    }


def load(
    model: str, threads: int, inputs_there: list[str], outputs_there: list[str]
) -> dict[str, Any]:
    """Load a model; the names are Paddle's names in the order of the source's."""
    LOADED["predictor"] = opened(model, threads)
    LOADED["inputs"], LOADED["outputs"] = inputs_there, outputs_there
    return {}


def run(given: str, answer: str) -> dict[str, Any]:
    """Run the loaded model on the arrays of one .npz file and write the answer to another."""
    import numpy as np

    predictor = LOADED["predictor"]
    with np.load(given, allow_pickle=False) as arrays:
        for place, name in enumerate(LOADED["inputs"]):
            array = np.ascontiguousarray(arrays[str(place)])
            handle = predictor.get_input_handle(name)
            handle.reshape(array.shape)
            handle.copy_from_cpu(array)
    predictor.run()
    found = [predictor.get_output_handle(name).copy_to_cpu() for name in LOADED["outputs"]]
    np.savez(answer, **{str(place): array for place, array in enumerate(found)})
    return {}


def opened(model: str, threads: int) -> Any:
    """Return a predictor on the CPU."""
    from paddle import inference

    config = inference.Config(model, str(Path(model).with_suffix(".pdiparams")))
    config.disable_gpu()
    # Its fusions for oneDNN fail on a Reshape after a Transpose: "The type of outputs[0][0] must be
    # equal to type of inputs[0]" (3.3.1, on ultraface).
    config.disable_onednn()
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(threads)
    return inference.create_predictor(config)


def tidied(model: str) -> None:
    """Take out what X2Paddle trips over and nothing needs: dilations of 1 at pooling nodes."""
    import onnx

    proto = onnx.load(model)
    for node in proto.graph.node:
        if node.op_type in ("MaxPool", "AveragePool"):
            for attribute in list(node.attribute):
                if attribute.name == "dilations" and set(attribute.ints) == {1}:
                    node.attribute.remove(attribute)
    onnx.save(proto, model)
