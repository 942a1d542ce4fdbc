"""Raised to opset 17, old models mean what they meant; where that cannot be said, they stay."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeops.model.prepare import prepare
from tests.unit._graphs import attributes, inputs_of, kinds, model, run

FOUR = "float[2,3,4,5] x"


def opset(proto):
    return {o.domain: o.version for o in proto.opset_import}[""]


def raised(proto):
    """Prepare with and without simplifying, and hold both against the source."""
    arrays = inputs_of(proto)
    for simplify in (False, True):
        made = prepare(proto, simplify=simplify)
        assert made.notes == ()
        assert opset(made.proto) == 17
        onnx.checker.check_model(made.proto)
        for one, other in zip(run(proto, arrays), run(made.proto, arrays), strict=True):
            assert np.allclose(one, other, rtol=1e-6, atol=1e-6)
    return made.proto


CASES = {
    "slice": "y = Slice<starts = [1, -3], ends = [3, 99], axes = [1, 3]>(x)",
    "clip": "y = Clip<min = -0.5>(x)",
    "pad": "y = Pad<pads = [0, 0, 1, 2, 0, 0, 2, 1], value = 1.5>(x)",
    "unsqueeze": "a = Unsqueeze<axes = [0, 5]>(x) \n b = Relu(a) \n y = Squeeze<axes = [0, 5]>(b)",
    "split": "a, b = Split<axis = 2, split = [1, 3]>(x) \n y = Concat<axis = 2>(b, a)",
    "sum": "y = ReduceSum<axes = [1, 3], keepdims = 1>(x)",
    "dropout": "a = Dropout<ratio = 0.5>(x) \n y = Neg(a)",
    "top": "y, i = TopK<axis = 3, k = 2>(x)",
    "nearest": "s = Constant<value = float[4] {1, 1, 1.5, 3.3}>() \n y = Upsample(x, s)",
    "linear": """
        s = Constant<value = float[4] {1, 1, 2, 2}>() \n y = Upsample<mode = "linear">(x, s)""",
}


@pytest.mark.parametrize("case", CASES)
def test_raised_model_answers_the_same(case):
    raised(model(CASES[case], FOUR, opset=9))


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [0, 1, 2, 3, None])
def test_softmax_of_old_opsets_goes_over_all_axes_behind(op, axis):
    given = "" if axis is None else f"<axis = {axis}>"
    raised(model(f"y = {op}{given}(x)", FOUR, opset=9))


def test_softmax_over_what_is_one_axis_becomes_one_node():
    made = raised(model("y = Softmax(x)", "float[N,10,1,1] x", opset=9))
    assert kinds(made) == ["Softmax"]
    assert attributes(made.graph.node[0]) == {"axis": 1}


def test_hardmax_inside_of_a_branch_is_found():
    raised(
        model(
            """
            y = If(c) <
                then_branch = t () => (float[a,b,c,d] o) { o = Hardmax(x) },
                else_branch = e () => (float[a,b,c,d] o) { o = Hardmax(x) }
            >""",
            FOUR + ", bool c",
            opset=11,
        )
    )


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(0.5, 0.4), (1.5, 3.3)])
def test_resize_of_opset_10_finds_the_same_pixels(mode, scales):
    body = f"s = Constant<value = float[4] {{1, 1, {scales[0]}, {scales[1]}}}>()"
    body += f'\n y = Resize<mode = "{mode}">(x, s)'
    made = raised(model(body, FOUR, opset=10))
    assert attributes(made.graph.node[0])["coordinate_transformation_mode"] == b"asymmetric"


KEPT = {
    "resize up and down": (
        "s = Constant<value = float[4] {1, 1, 0.5, 3}>() \n y = Resize(x, s)",
        FOUR,
    ),
    "resize by an input": ("y = Resize(x, s)", FOUR + ", float[4] s"),
    "mask of a dropout": ("y, m = Dropout(x)", FOUR),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_later_opsets_do_not_know_keeps_its_opset_with_a_note(case):
    body, inputs = KEPT[case]
    outputs = "float[a,b,c,d] y" + (", bool[a,b,c,d] m" if "m =" in body else "")
    made = prepare(model(body, inputs, outputs, opset=10))
    assert opset(made.proto) == 10
    assert [note.partition(":")[0] for note in made.notes] == ["kept opset 10", "not simplified"]


def test_scan_over_a_batch_keeps_its_opset():
    body = """
        s, y = Scan<num_scan_inputs = 1, body = b (float[2] a, float[2] v) => (float[2] c, float[2] w)
            { c = Add(a, v) \n w = Identity(c) }>(, start, x)"""
    proto = model(body, "float[1,2] start, float[1,3,2] x", "float[1,2] s, float[1,3,2] y", opset=8)
    assert prepare(proto).notes[0].startswith("kept opset 8: a Scan goes over a batch")


def test_outputs_without_a_shape_are_no_obstacle():
    proto = model("y = Relu(x)", FOUR, opset=9)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    made = prepare(proto)
    assert made.notes == ()
    assert opset(made.proto) == 17
    assert not made.proto.graph.output[0].type.tensor_type.HasField("shape")


def test_weights_do_not_go_through_the_converter():
    """A weight that no converter has seen is the same message, bit by bit."""
    weight = np.random.default_rng(0).normal(size=(3, 3, 3, 3)).astype("float32")
    proto = model("y = Conv(x, w)", "float[2,3,4,5] x", opset=9)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    made = raised(proto)
    assert onnx.numpy_helper.to_array(made.graph.initializer[0]).tobytes() == weight.tobytes()
