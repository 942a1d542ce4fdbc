"""Inputs to a benchmark tool and its outputs back: the same arrays as the engine's own session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeops.core import registry
from edgeops.core.contracts import Samples
from edgeops.core.variant import TensorInfo, Variant
from edgeops.errors import RefusedError
from edgeops.validate.devices.phone.litert import BenchmarkModel, _Port
from edgeops.validate.devices.phone.mnn import MnnBasic, ModuleBasic
from edgeops.validate.devices.phone.rows import evaluate, joined
from edgeops.validate.devices.phone.tools import Plan


def variant(engine, inputs, outputs, **extra):
    return Variant(
        engine=engine,
        engine_version="1",
        precision="fp32",
        model_file="model",
        inputs=tuple(TensorInfo(name, shape, dtype) for name, shape, dtype in inputs),
        outputs=tuple(TensorInfo(name, shape, dtype) for name, shape, dtype in outputs),
        source="sha256:0",
        extra=extra,
    )


MNN = variant("mnn", [("x", (1, 3), "float32")], [("y", (1, 2), "float32"), ("z", (1,), "int64")])
floats = arrays.arrays(
    np.float32, (1, 3), elements=st.floats(allow_nan=False, allow_infinity=False, width=32)
)


@given(floats)
def test_text_of_an_input_reads_back_as_the_same_floats(array):
    (text,) = MnnBasic(MNN, Path()).encode({"x": array})
    assert (np.array(text.split(), np.float32).reshape(1, 3) == array).all()


def test_outputs_of_mnn_are_read_by_their_order():
    data = b"=output\n0.25\t0.75\t\n\n=output\n7\n"
    found = MnnBasic(MNN, Path()).decode(data)
    assert found["y"].tolist() == [[0.25, 0.75]]
    assert found["y"].dtype == np.float32
    assert (found["z"].tolist(), found["z"].dtype) == ([7], np.int64)


@pytest.mark.parametrize("data", [b"", b"=output\n1 2\n", b"=output\n1 2 3\n=output\n7\n"])
def test_outputs_of_another_size_are_refused(data):
    with pytest.raises(ValueError, match=r"values|outputs"):
        MnnBasic(MNN, Path()).decode(data)


def test_mnn_basic_takes_one_input_only():
    two = variant("mnn", [("a", (1, 3), "float32"), ("b", (1, 3), "float32")], [])
    assert MnnBasic(two, Path()).no_outputs
    assert not ModuleBasic(two, Path()).no_outputs


def test_module_basic_is_told_names_and_shapes():
    made = variant("mnn", [("a b", ("N", 3), "float32")], [("y", ("N", 2), "float32")])
    plan = Plan("tools/ModuleBasic.out", "v/model", made, {"a b": (1, 3)}, threads=2)
    command = ModuleBasic(made, Path()).answering(plan)
    assert command.argv == ("./tools/ModuleBasic.out", "v/model", "given", "0", "0", "0", "2", "1")
    assert '{"name": "a b", "shape": [1, 3]}' in command.before
    assert "cp in0 'given/a b.txt'" in command.before


class File:
    """A tensor of a file, as far as a port looks at it."""

    def __init__(self, shape, dtype):
        self.name, self.shape, self.dtype = "t", shape, dtype


def test_litert_turns_axes_and_types_as_the_session_does():
    made = variant(
        "litert", [("x", (1, 2, 3), "int64")], [("y", (1, 2, 3), "int64"), ("z", (1,), "float32")]
    )
    tool = object.__new__(BenchmarkModel)
    tool._variant = made
    tool._in = [_Port(made.inputs[0], File((1, 3, 2), "int32"), (0, 2, 1))]
    # The file gives its outputs in another order than the model.
    tool._out = [
        _Port(made.outputs[1], File((1,), "float32"), ()),
        _Port(made.outputs[0], File((-1, 3, 2), "int32"), (0, 2, 1)),
    ]
    x = np.arange(6).reshape(1, 2, 3)
    (data,) = tool.encode({"x": x})
    there = np.frombuffer(data, np.int32).reshape(1, 3, 2)
    assert (there == x.transpose(0, 2, 1)).all()
    found = tool.decode(np.float32(0.5).tobytes() + data)
    assert list(found) == ["y", "z"]
    assert (found["y"] == x).all()
    assert found["y"].dtype == np.int64
    with pytest.raises(ValueError, match="bytes"):
        tool.decode(data[:-1])


def test_litert_files_of_the_corpus_are_read_as_by_the_engine(corpus):
    engine = registry.get("engines", "litert")
    if engine.available() is not None:
        pytest.skip(engine.available().fix)
    from edgeops.runtime.engines.litert import LiteRtSession

    path = corpus / "kws_dscnn" / "kws_ref_model_int8.tflite"
    session = LiteRtSession(path)
    made = Variant(
        engine="litert",
        engine_version="1",
        precision="int8",
        model_file=path.name,
        inputs=session.inputs,
        outputs=session.outputs,
        source="sha256:0",
    )
    tool = BenchmarkModel(made, path)
    assert not tool.no_outputs
    (tensor,) = session.inputs
    shape = [1 if isinstance(size, str) else size for size in tensor.shape]
    array = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    wanted = session.run({tensor.name: array})
    (data,) = tool.encode({tensor.name: array})
    assert data == array.tobytes()
    answer = next(iter(wanted.values()))
    found = tool.decode(answer.tobytes())
    assert (found[session.outputs[0].name] == answer).all()


def test_rows_of_one_size_lie_one_after_the_other():
    assert joined([[b"ab", b"c"], [b"de", b"f"]], b"") == ([b"abde", b"cf"], [2, 1])
    assert joined([[b"1\n"], [b"22\n"]], b"\n") == ([b"1\n\n22\n"], [3])
    with pytest.raises(ValueError, match="differ in size"):
        joined([[b"a"], [b"bc"]], b"")


def samples(count):
    return Samples({"x": np.zeros((count, 3), np.float32)}, None, count, "", "")


def test_answers_become_one_array_and_failures_their_index():
    tool = MnnBasic(variant("mnn", [("x", (1, 3), "float32")], [("y", (1, 2), "float32")]), Path())

    def ask(files, sizes, count):
        assert len(files[0]) == sizes[0] * count
        rows = [f"=output\n{index} {index}\n".encode() for index in (0, 2)]
        return [len(rows[0]), -9, len(rows[1])], b"".join(rows)

    found = evaluate(tool, tool._variant, samples(3), ask, "adb:x")
    assert found.outputs["y"].tolist() == [[0, 0], [2, 2]]
    assert found.rows == [0, 2]
    assert found.errors["1"]["why"] == "it ended with exit code 9"


@pytest.mark.parametrize("rows", [[3], [3, 3]])
def test_answers_that_do_not_fit_are_refused(rows):
    tool = MnnBasic(variant("mnn", [("x", (1, 3), "float32")], [("y", (1, 2), "float32")]), Path())
    with pytest.raises(RefusedError) as refused:
        evaluate(tool, tool._variant, samples(2), lambda *_: (rows, b"abcdef"), "adb:x")
    assert refused.value.code == "binary-outputs"
