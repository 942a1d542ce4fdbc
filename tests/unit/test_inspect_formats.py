"""inspect: what it says of small files of every format, none of their engines at hand."""

from __future__ import annotations

import json

import pytest

from edgeops.cli import main
from edgeops.errors import InputError
from edgeops.model.inspect import inspect_model
from tests.unit import _model_files as files


@pytest.fixture
def made(tmp_path):
    """Return the paths of one file of each format."""
    return files.write_all(tmp_path)


def test_tflite_tells_signatures_quantization_and_runtime(made):
    about = inspect_model(made["tflite"])
    assert about["format"] == "tflite"
    assert about["inputs"] == [{"name": "image", "shape": [1, 4, 4, 2], "dtype": "float32"}]
    assert about["outputs"] == [{"name": "scores", "shape": [1, 4, 4, 3], "dtype": "float32"}]
    assert about["ops"] == {"CONV_2D": 1}
    assert about["parameters"] == 6 + 3
    assert about["macs"] == 4 * 4 * 3 * 2
    assert about["signatures"] == [{"key": "serve", "inputs": ["x"], "outputs": ["y"]}]
    assert about["quantized"] == {"int8_tensors": 1, "per_channel": True}
    assert about["min_runtime"] == "2.3.0"
    assert about["opset"] is None


def test_tflite_shows_an_open_batch_and_counts_one_sample(tmp_path):
    (tmp_path / "m.tflite").write_bytes(files.tflite(open_batch=True))
    about = inspect_model(tmp_path / "m.tflite")
    assert about["inputs"][0]["shape"] == ["?", 4, 4, 2]
    assert about["macs"] == 4 * 4 * 3 * 2
    assert about["quantized"] is None


def test_mnn_tells_inputs_outputs_and_version(made):
    about = inspect_model(made["mnn"])
    assert about["inputs"] == [{"name": "image", "shape": [1, 2, 8, 8], "dtype": "float32"}]
    assert [one["name"] for one in about["outputs"]] == ["answer"]
    assert about["ops"] == {"Convolution": 1, "ReLU": 1}
    assert about["parameters"] == 72 + 4
    assert (about["mnn_version"], about["made_from"]) == ("3.6.1", "ONNX")
    assert about["macs"] is None
    assert about["macs_reason"]


def test_ort_tells_shapes_opset_and_operators_of_other_domains(made):
    about = inspect_model(made["ort"])
    assert about["inputs"] == [{"name": "x", "shape": ["N", 4], "dtype": "float32"}]
    assert about["outputs"] == [{"name": "y", "shape": ["N", 3], "dtype": "float32"}]
    assert about["ops"] == {"Gemm": 1, "com.microsoft:FusedGemm": 1}
    assert (about["parameters"], about["opset"]) == (12, 17)


def test_ncnn_tells_layers_shapes_and_weights_of_the_bin_beside(made):
    about = inspect_model(made["ncnn"])
    assert about["inputs"] == [{"name": "image", "shape": [2, 8, 8], "dtype": "float32"}]
    assert [one["name"] for one in about["outputs"]] == ["answer"]
    assert about["ops"] == {"Convolution": 1, "PReLU": 1, "Softmax": 1}
    assert (about["parameters"], about["layers"]) == (72 + 4 + 4, 4)
    assert about["bytes"] == len(files.PARAM) + len(files.ncnn_weights())


def test_ncnn_tells_weights_in_half_precision(made):
    made["ncnn"].with_suffix(".bin").write_bytes(files.ncnn_weights(0x01306B47, 2))
    assert inspect_model(made["ncnn"])["weights"] == {"float16": 72, "float32": 8}


def test_ncnn_without_its_weights_says_so(made):
    made["ncnn"].with_suffix(".bin").unlink()
    about = inspect_model(made["ncnn"])
    assert about["notes"] == ["its weights are not beside it: n.bin"]


def test_openvino_tells_shapes_macs_and_weights(made):
    about = inspect_model(made["openvino"])
    assert about["inputs"] == [{"name": "image", "shape": ["?", 2, 8, 8], "dtype": "float32"}]
    assert about["outputs"] == [{"name": "answer", "shape": ["?", 4, 6, 6], "dtype": "float32"}]
    assert about["ops"] == {"Convolution": 1}
    assert about["weights"] == {"float16": 72}
    assert about["macs"] == 4 * 6 * 6 * 2 * 9
    assert (about["ir_version"], about["openvino_version"]) == (11, "2026.4.1")


def test_every_format_has_the_promised_fields_and_is_json(made):
    promised = {"format", "digest", "bytes", "inputs", "outputs", "ops", "parameters", "macs"}
    for kind, path in made.items():
        about = inspect_model(path)
        assert about["format"] == kind
        assert promised | {"opset"} <= set(json.loads(json.dumps(about)))
        assert about["macs"] is not None or about["macs_reason"]


def test_text_shows_signatures_and_no_control_characters_of_names(tmp_path, capsys):
    (tmp_path / "m.param").write_text(files.PARAM.replace("answer", "an\x1b[31mswer"))
    (tmp_path / "m.bin").write_bytes(files.ncnn_weights())
    assert main(["inspect", str(tmp_path / "m.param")]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "an\\x1b[31mswer" in shown
    (tmp_path / "m.tflite").write_bytes(files.tflite())
    assert main(["inspect", str(tmp_path / "m.tflite")]) == 0
    assert "serve(x) -> y" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["tflite", "mnn", "ort", "ncnn", "openvino"])
def test_cut_file_is_named_as_damaged(made, kind, capsys):
    path = made[kind]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert main(["inspect", str(path)]) == 3
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "less"), [("ncnn", 17), ("openvino", 1)])
def test_cut_weights_beside_are_named_as_damaged(made, kind, less):
    weights = made[kind].with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:-less])
    with pytest.raises(InputError) as caught:
        inspect_model(made[kind])
    assert caught.value.code == "model-damaged"
    assert "its .bin ends" in caught.value.why


def test_openvino_with_entities_is_refused_before_it_unfolds(made):
    bomb = '<!DOCTYPE net [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    made["openvino"].write_text(files.XML.replace("<net", f"{bomb}<net", 1))
    with pytest.raises(InputError) as caught:
        inspect_model(made["openvino"])
    assert caught.value.code == "xml-doctype"


def test_binary_param_of_ncnn_is_named(tmp_path):
    (tmp_path / "m.param.bin").write_bytes((7767517).to_bytes(4, "little") + bytes(40))
    with pytest.raises(InputError) as caught:
        inspect_model(tmp_path / "m.param.bin")
    assert caught.value.code == "ncnn-binary-param"


def test_tensor_larger_than_any_memory_is_named_as_damaged(made):
    huge = files.XML.replace('shape="4, 2, 3, 3"', 'shape="' + "2000000000, " * 500 + '1"')
    made["openvino"].write_text(huge)
    with pytest.raises(InputError) as caught:
        inspect_model(made["openvino"])
    assert caught.value.code == "model-damaged"
