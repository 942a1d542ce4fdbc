"""What a session costs on top of the bare engine call, interleaved; nothing is judged.

The aim is 2 % or 20 microseconds a call. An engine joins by a function in BARE: it loads the
variant's file with the engine's own package, and returns a call that hands an array over and reads
all outputs, without copying what the engine itself does not.
"""

from __future__ import annotations

import gc
import sys
import time
from statistics import median

import numpy as np
import pytest

from edgeops.core import registry
from edgeops.core.contracts import ConvertOptions
from edgeops.core.variant import read_variant, write_variant
from edgeops.model.load import load_model
from edgeops.model.prepare import prepare
from edgeops.runtime.session import load_session
from tests.helpers import write_tiny_model

pytestmark = pytest.mark.bench

SECONDS = 2.0
MODELS = {
    "tiny": ("", "x", (1, 4)),
    "onet": ("mtcnn/onet.onnx", "input_3", (1, 48, 48, 3)),
    "mnist": ("mnist_cnn/mnist.onnx", "Input3", (1, 1, 28, 28)),
    "ultraface": ("ultraface_rfb320/version-RFB-320.onnx", "input", (1, 3, 240, 320)),
}


def bare_onnxruntime(folder, name, array):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = str(folder / read_variant(folder).model_file)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {name: array})


def bare_mnn(folder, name, array):
    from MNN import expr, nn

    config = {"backend": "CPU", "numThread": 1, "precision": "high"}
    manager = nn.create_runtime_manager((config,))
    outputs = [tensor.name for tensor in read_variant(folder).outputs]
    path = str(folder / read_variant(folder).model_file)
    module = nn.load_module_from_file(path, [name], outputs, runtime_manager=manager)
    shape = list(array.shape)

    def call(_keep=manager):
        given = expr.const(array, shape, expr.NCHW, expr.float)
        return [found.read() for found in module.forward([given])]

    return call


def bare_openvino(folder, name, array):
    import openvino

    config = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    path = folder / read_variant(folder).model_file
    request = openvino.Core().compile_model(path, "CPU", config).create_infer_request()
    return lambda: request.infer({name: array})


def bare_litert(folder, name, array):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / read_variant(folder).model_file), num_threads=1)
    (given,) = interpreter.get_input_details()
    if list(given["shape"]) != list(array.shape):
        array = np.moveaxis(array, 1, -1).copy() if array.ndim == 4 else array
    interpreter.allocate_tensors()
    places = [detail["index"] for detail in interpreter.get_output_details()]

    def call():
        interpreter.set_tensor(given["index"], array)
        interpreter.invoke()
        return [interpreter.get_tensor(place) for place in places]

    return call


def bare_ncnn(folder, name, array):
    import ncnn

    about = read_variant(folder)
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    net.load_param(str(folder / about.model_file))
    net.load_model(str(folder / about.model_file).removesuffix("param") + "bin")
    blob = about.extra["inputs"][name]["blob"]
    blobs = [about.extra["outputs"][tensor.name]["blob"] for tensor in about.outputs]

    def call():
        extractor = net.create_extractor()
        extractor.input(blob, ncnn.Mat(array[0]).clone())
        return [np.array(extractor.extract(made)[1]) for made in blobs]

    return call


BARE = {
    "onnxruntime": bare_onnxruntime,
    "litert": bare_litert,
    "mnn": bare_mnn,
    "ncnn": bare_ncnn,
    "openvino": bare_openvino,
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("engine", BARE)
def test_session_beside_the_bare_call(engine, model, request, tmp_path, capfd):
    if registry.get("converters", engine).available() is not None:
        pytest.skip(f"{engine} is not installed")
    file, name, shape = MODELS[model]
    path = request.getfixturevalue("corpus") / file if file else write_tiny_model(tmp_path / "m")
    out = tmp_path / "v"
    out.mkdir()
    prepared = prepare(load_model(path).proto, input_shapes={name: shape} if not file else {})
    write_variant(out, registry.get("converters", engine).convert(prepared.proto, out, OPTIONS))
    session, feed = load_session(out), {name: np.random.default_rng(0).random(shape, "float32")}
    bare = BARE[engine](out, name, feed[name])
    ours, theirs = interleaved(lambda: session.run(feed), bare)
    capfd.readouterr()
    more = ours - theirs
    with capfd.disabled():
        sys.stdout.write(
            f"\n{engine:12} {model:10} bare {theirs:8.1f} us, session {more:+6.1f} us "
            f"({more / theirs:+.1%})"
        )
    assert set(session.run(feed)) == {tensor.name for tensor in session.outputs}


OPTIONS = ConvertOptions()


def interleaved(ours, theirs):
    """Return the median time of each in microseconds, called in turns."""
    for call in (ours, theirs):
        call()
        call()
    taken = ([], [])
    clock, end = time.perf_counter_ns, time.monotonic() + SECONDS
    gc.disable()
    try:
        while time.monotonic() < end:
            for call, times in ((ours, taken[0]), (theirs, taken[1])):
                start = clock()
                call()
                times.append(clock() - start)
    finally:
        gc.enable()
    return median(taken[0]) / 1000, median(taken[1]) / 1000
