"""Which .tflite files no CPU engine runs, and what they are called."""

from __future__ import annotations

import pytest

from edgeops.cli import main
from edgeops.errors import InputError, RefusedError
from edgeops.model.tflite import read_tflite, refuse_unusable
from tests.unit import _model_files as files


@pytest.mark.parametrize(
    ("custom", "metadata", "kind", "code"),
    [
        (["ethos-u"], [], "ethos-u", "tflite-ethos-u"),
        (["edgetpu-custom-op"], [], "edge-tpu", "tflite-compiled"),
        (["DISPATCH_OP"], [], "npu", "tflite-compiled"),
        (["SignalRfft"], [], "micro", "tflite-micro"),
        ([], [("COMPRESSION_METADATA", b"x")], "micro", "tflite-micro"),
        (["FlexErf", "FlexAddV2"], [], "flex", "tflite-flex"),
        (["MyOwn"], [], "custom", "tflite-custom"),
    ],
)
def test_model_that_no_cpu_engine_runs_is_named(tmp_path, custom, metadata, kind, code):
    path = tmp_path / "m.tflite"
    path.write_bytes(files.tflite(custom=custom, metadata=metadata))
    model = read_tflite(path)
    assert model.kind == kind
    assert model.custom_operators == tuple(sorted(custom))
    with pytest.raises(RefusedError) as caught:
        refuse_unusable(model, path)
    assert caught.value.code == code
    assert all(name in caught.value.where for name in custom)


@pytest.mark.parametrize("custom", [[], ["TFLite_Detection_PostProcess"]])
def test_model_with_only_what_the_engine_brings_is_let_through(tmp_path, custom):
    path = tmp_path / "m.tflite"
    path.write_bytes(files.tflite(custom=custom))
    model = read_tflite(path)
    refuse_unusable(model, path)
    assert model.kind == ""


def test_inspect_shows_what_such_a_file_is(tmp_path, capsys):
    path = tmp_path / "m.tflite"
    path.write_bytes(files.tflite(custom=["ethos-u"]))
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "compiled for an Arm Ethos-U" in shown
    assert "ethos-u 1" in shown


def test_operator_numbers_have_the_names_of_the_schema():
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    from edgeops.model.tflite_names import dtype_name, operator_name

    stated = {n: v for n, v in vars(schema.BuiltinOperator).items() if not n.startswith("_")}
    assert {operator_name(value): value for value in stated.values()} == stated
    types = {n: v for n, v in vars(schema.TensorType).items() if not n.startswith("_")}
    ours = {n: dtype_name(value) for n, value in types.items()}
    assert ours == {n: "str" if n == "STRING" else n.lower() for n in types}


def test_indexes_that_lead_nowhere_are_damage(tmp_path):
    path = tmp_path / "m.tflite"
    data = files.tflite()
    # The operator reads tensors 0, 1, 2 by three int32 in a row.
    inputs = b"".join(number.to_bytes(4, "little") for number in (3, 0, 1, 2))
    assert data.count(inputs) == 1
    path.write_bytes(data.replace(inputs, inputs[:-4] + (77).to_bytes(4, "little")))
    with pytest.raises(InputError) as caught:
        read_tflite(path)
    assert caught.value.code == "model-damaged"
    assert "77" in caught.value.why
