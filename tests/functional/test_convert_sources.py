"""Sources other than a plain fp32 ONNX file: external data, halves, quantized, .tflite, .pt2."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.cli import main
from edgeops.core.variant import read_variant
from edgeops.runtime.session import load_session
from tests.helpers import write_tiny_model
from tests.unit import _model_files as files
from tests.unit.test_convert_source import program

RANDOM = np.random.default_rng(11)


def convert(folder, capsys, model, engine, *argv):
    """Convert with --json; return the exit code and document."""
    words = ["convert", model, "--to", engine, "-o", "out", *argv]
    code = main(["-C", str(folder), *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def save(path, nodes, initializers, kind=TensorProto.FLOAT, shape=(2, 8)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, (shape[0], 3))],
        initializers,
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def test_weights_in_a_file_of_their_own_are_part_of_the_source(tmp_path, capsys):
    path = write_tiny_model(tmp_path / "m.onnx", hidden=512)
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=1024)
    assert (tmp_path / "weights.bin").stat().st_size > 1024
    code, result = convert(tmp_path, capsys, "m.onnx", "onnxruntime")
    assert code == 0
    assert [file["path"] for file in result["files"]] == ["model.onnx"]
    digest = result["source"]
    with (tmp_path / "weights.bin").open("r+b") as file:
        file.write(b"\0" * 16)
    assert convert(tmp_path, capsys, "m.onnx", "onnxruntime")[1]["source"] != digest


@pytest.fixture
def halves(tmp_path):
    """Return a model whose weights, input and output are float16."""
    weights = RANDOM.normal(size=(8, 3)).astype("float16")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], name="m")]
    nodes.append(helper.make_node("Relu", ["h"], ["y"], name="r"))
    initializers = [numpy_helper.from_array(weights, "w")]
    return save(tmp_path / "half.onnx", nodes, initializers, TensorProto.FLOAT16)


def test_float16_source_stays_float16_and_is_judged_as_such(halves, tmp_path, capsys):
    code, result = convert(tmp_path, capsys, halves.name, "onnxruntime")
    assert code == 0
    assert result["precision"] == "fp16"
    assert read_variant(tmp_path / "out").inputs[0].dtype == "float16"
    answer = load_session(tmp_path / "out").run({"x": np.ones((2, 8), "float16")})
    assert answer["y"].dtype == "float16"


def quantize(name, scale, zero):
    return [
        helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}_q"]),
        helper.make_node("DequantizeLinear", [f"{name}_q", scale, zero], [f"{name}_d"]),
    ]


@pytest.fixture
def quantized(tmp_path):
    """Return a QDQ model: one layer with int8 weights and uint8 activations."""
    weights = RANDOM.integers(-100, 100, size=(8, 3)).astype("int8")
    nodes = [
        *quantize("x", "xs", "xz"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
        helper.make_node("MatMul", ["x_d", "wd"], ["h"], name="m"),
        *quantize("h", "hs", "hz"),
        helper.make_node("Identity", ["h_d"], ["y"]),
    ]
    values = {
        "w": weights,
        "ws": np.float32(0.01),
        "wz": np.int8(0),
        "xs": np.float32(0.05),
        "xz": np.uint8(128),
        "hs": np.float32(0.1),
        "hz": np.uint8(128),
    }
    initializers = [numpy_helper.from_array(np.asarray(v), name) for name, v in values.items()]
    return save(tmp_path / "qdq.onnx", nodes, initializers)


def test_quantized_source_makes_a_variant_that_says_so(quantized, tmp_path, capsys):
    code, result = convert(tmp_path, capsys, quantized.name, "onnxruntime")
    assert code == 0
    assert result["precision"] == "int8"
    assert result["parity"]["max_rel"] < 0.1


def test_made_up_samples_that_the_source_answers_by_chance_prove_nothing(corpus, tmp_path, capsys):
    pytest.importorskip("openvino")
    model = corpus / "magika_v3_3" / "model.onnx"
    code, result = convert(tmp_path, capsys, str(model), "openvino")
    assert code == 0
    assert 0 < result["parity"]["samples"] < 8
    assert any("the source does not agree with itself" in note for note in result["notes"])


@pytest.mark.parametrize("engine", ["litert", "mnn", "openvino"])
def test_tflite_is_taken_as_it_is(engine, corpus, tmp_path, capsys):
    pytest.importorskip("ai_edge_litert")
    if find_spec({"litert": "ai_edge_litert", "mnn": "MNN"}.get(engine, engine)) is None:
        pytest.skip(f"{engine} is not installed")
    source = corpus / "hand_keypoint" / "keypoint_classifier.tflite"
    code, result = convert(tmp_path, capsys, str(source), engine)
    assert code == 0, result
    assert result["parity"]["passed"] is True
    assert result["parity"]["top1"] == 1.0
    variant = read_variant(tmp_path / "out")
    assert [tensor.name for tensor in variant.inputs] == ["input_1"]
    assert [tensor.name for tensor in variant.outputs] == ["Identity"]
    if engine == "litert":
        assert (tmp_path / "out" / "model.tflite").read_bytes() == source.read_bytes()


def test_tflite_is_compared_with_the_reference_kernels(corpus):
    pytest.importorskip("ai_edge_litert")
    from edgeops.convert.reference import TfliteReference
    from edgeops.model.source import open_source

    source = open_source(corpus / "micro_speech" / "micro_speech_quantized.tflite")
    with np.load(corpus / "micro_speech" / "features_4.npz") as data:
        features, expected = data["features"], data["expected_int8_output"]
    session = TfliteReference(source)
    name = source.inputs[0].name
    found = [session.run({name: row[None]})["labels_softmax"][0] for row in features]
    assert np.array_equal(np.stack(found), expected)


def test_reference_takes_other_batches_than_the_one_before(corpus):
    pytest.importorskip("ai_edge_litert")
    from edgeops.convert.reference import TfliteReference
    from edgeops.model.source import open_source

    session = TfliteReference(open_source(corpus / "hand_keypoint" / "keypoint_classifier.tflite"))
    x = RANDOM.normal(size=(4, 42)).astype("float32")
    whole = session.run({"input_1": x})["Identity"]
    rows = [session.run({"input_1": row[None]})["Identity"][0] for row in x]
    assert np.allclose(whole, np.stack(rows), atol=1e-6)


@pytest.mark.parametrize(
    ("custom", "code", "words"),
    [
        ("FlexErf", "tflite-flex", "TensorFlow (Flex) operators"),
        ("MyOwn", "tflite-custom", "custom operators"),
        ("SignalRfft", "tflite-micro", "TensorFlow Lite Micro"),
        ("ethos-u", "tflite-ethos-u", "Ethos-U"),
    ],
)
@pytest.mark.parametrize("engine", ["litert", "openvino"])
def test_tflite_that_no_engine_runs_is_named_as_what_it_is(
    custom, code, words, engine, tmp_path, capsys
):
    if find_spec({"litert": "ai_edge_litert"}.get(engine, engine)) is None:
        pytest.skip(f"{engine} is not installed")
    (tmp_path / "m.tflite").write_bytes(files.tflite(custom=[custom]))
    exit_code, document = convert(tmp_path, capsys, "m.tflite", engine)
    assert (exit_code, document["error"]["code"]) == (5, code)
    assert words in document["error"]["what"]
    assert custom in document["error"]["where"]
    assert not (tmp_path / "out").exists()


def test_tflite_that_is_cut_off_is_bad_input(tmp_path, capsys):
    pytest.importorskip("openvino")
    (tmp_path / "m.tflite").write_bytes(files.tflite()[:-40])
    exit_code, document = convert(tmp_path, capsys, "m.tflite", "openvino")
    assert (exit_code, document["error"]["code"]) == (3, "model-damaged")


def test_torch_program_needs_an_environment_and_says_the_line_to_type(
    tmp_path, capsys, monkeypatch, golden
):
    monkeypatch.setenv("EDGEOPS_ENVS", str(tmp_path / "envs"))
    program(tmp_path / "m.pt2")
    exit_code, document = convert(tmp_path, capsys, "m.pt2", "onnxruntime")
    assert (exit_code, document["error"]["code"]) == (4, "environment-missing")
    assert document["error"]["fix"].startswith("edgeops env create ")
    argv = ["-C", str(tmp_path), "convert", "m.pt2", "--to", "executorch"]
    assert main(argv) == 4
    golden("errors/convert-pt2.txt", capsys.readouterr().err)
